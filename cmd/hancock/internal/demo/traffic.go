package demo

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// TrafficOptions describe the simulated clients. Take [DefaultTrafficOptions] and change it.
type TrafficOptions struct {
	// Rate is the mean number of requests per second; the rate swings between a third and five
	// thirds of it. The process's own rate limit has to allow 60 times five thirds of it a minute.
	Rate float64
	// Clients bounds the requests under way at a time; at the bound, traffic waits.
	Clients int
	// APIKey is asked before each request for what is sent as a bearer token,
	// where it is not empty. nil is none.
	APIKey func() string
	// WebhookSecret signs what is sent to the webhook when it is not empty.
	WebhookSecret string
	// TLS is used for an https URL; nil means the system's defaults.
	TLS *tls.Config
	// Seed decides the order of requests.
	Seed uint64
}

// DefaultTrafficOptions is one and a half requests per second from up to eight clients.
func DefaultTrafficOptions() TrafficOptions {
	return TrafficOptions{Rate: meanRate, Clients: 8, Seed: DefaultSeed}
}

// Validate reports the first option that is out of range.
func (o TrafficOptions) Validate() error {
	switch {
	case !(o.Rate > 0 && o.Rate <= 10000):
		return fmt.Errorf("rate %v: not above 0 and at most 10000", o.Rate)
	case o.Clients < 1 || o.Clients > 1000:
		return fmt.Errorf("clients %d: not from 1 to 1000", o.Clients)
	}
	return nil
}

// TrafficStats counts what the clients sent and saw. Sent is the sum of the other three.
type TrafficStats struct {
	Sent       uint64 // requests that were begun and are over
	Answered   uint64 // with a status below 400, read to the end
	Refused    uint64 // with a status of 400 and more
	Unanswered uint64 // without an answer, or with one that broke off
}

// Traffic sends requests of all modes to a Hancock, most of them right.
type Traffic struct {
	opts    TrafficOptions
	base    *url.URL
	catalog *catalog
	client  *http.Client

	answered, refused, unanswered atomic.Uint64
}

// NewTraffic prepares traffic to the Hancock at baseURL, whose host must be a loopback address or
// localhost. It connects to nothing before Run.
func NewTraffic(baseURL string, opts TrafficOptions) (*Traffic, error) {
	base, err := loopbackURL(baseURL)
	if err != nil {
		return nil, fmt.Errorf("demo traffic: %w", err)
	}
	if err := opts.Validate(); err != nil {
		return nil, fmt.Errorf("demo traffic: %w", err)
	}
	cat, err := loadCatalog()
	if err != nil {
		return nil, fmt.Errorf("demo traffic: %w", err)
	}
	dialer := &net.Dialer{Timeout: 2 * time.Second, Control: onlyLoopback}
	return &Traffic{
		opts:    opts,
		base:    base,
		catalog: cat,
		client: &http.Client{
			Transport: &http.Transport{ // no Proxy: the environment's would see the traffic
				DialContext:         dialer.DialContext,
				TLSClientConfig:     opts.TLS,
				MaxIdleConnsPerHost: opts.Clients,
				IdleConnTimeout:     20 * time.Second,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Timeout:       3 * time.Minute,
		},
	}, nil
}

// Stats may be called at any time, also while Run runs.
func (t *Traffic) Stats() TrafficStats {
	s := TrafficStats{Answered: t.answered.Load(), Refused: t.refused.Load(), Unanswered: t.unanswered.Load()}
	s.Sent = s.Answered + s.Refused + s.Unanswered
	return s
}

// Run sends requests until ctx ends, then waits for those under way, which ctx ends too, and returns
// nil. While nobody listens it tries again with growing pauses of up to two seconds. It must not be
// called twice at a time.
func (t *Traffic) Run(ctx context.Context) error {
	defer t.client.CloseIdleConnections()
	rng := rand.New(rand.NewPCG(t.opts.Seed, 1))
	cards := newDeck(rng)
	places := make(chan struct{}, t.opts.Clients)
	var failures atomic.Int64 // requests in a row that nobody answered
	var wg sync.WaitGroup
	defer wg.Wait()

	for begin := time.Now(); ; {
		pause := time.Duration(rng.ExpFloat64() / load(t.opts.Rate, time.Since(begin)) * float64(time.Second))
		if n := failures.Load(); n > 0 {
			pause = min(50*time.Millisecond<<min(n, 6), 2*time.Second)
		}
		if wait(ctx, pause) != nil {
			return nil
		}
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		if ctx.Err() != nil {
			return nil // The place became free because the end cut a request off.
		}
		d := cards.next()
		wg.Go(func() {
			defer func() { <-places }()
			if t.send(ctx, d) {
				failures.Store(0)
			} else {
				failures.Add(1)
			}
		})
	}
}

// send makes one request, reads its answer and counts it. It reports whether there was an answer.
func (t *Traffic) send(ctx context.Context, d draw) bool {
	req, err := t.request(ctx, d)
	if err != nil {
		t.unanswered.Add(1)
		return false
	}
	resp, err := t.client.Do(req)
	if err != nil {
		t.unanswered.Add(1)
		return false
	}
	_, err = io.Copy(io.Discard, resp.Body)
	err = errors.Join(err, resp.Body.Close())
	switch {
	case resp.StatusCode >= http.StatusBadRequest:
		t.refused.Add(1)
	case err != nil:
		t.unanswered.Add(1)
	default:
		t.answered.Add(1)
	}
	return true
}

// request builds what d describes.
func (t *Traffic) request(ctx context.Context, d draw) (*http.Request, error) {
	entries := t.catalog.byMode[d.mode]
	question := entries[d.question%len(entries)].question
	body, err := d.body(question)
	if err != nil {
		return nil, err
	}
	path, contentType := d.kind.outcome().endpoint, "application/json"
	switch d.kind {
	case unknownPath:
		path = "/v1/scan"
	case wrongContentType:
		contentType = "text/plain"
	}
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, d.kind.outcome().method, t.base.JoinPath(path).String(), reader)
	if err != nil {
		return nil, fmt.Errorf("building request: %w", err)
	}
	if body != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if d.kind == webhook && t.opts.WebhookSecret != "" {
		mac := hmac.New(sha256.New, []byte(t.opts.WebhookSecret))
		mac.Write([]byte(body))
		req.Header.Set("X-Hancock-Signature", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	}
	req.Header.Set("User-Agent", "hancock-demo")
	if t.opts.APIKey != nil && t.opts.APIKey() != "" {
		req.Header.Set("Authorization", "Bearer "+t.opts.APIKey())
	}
	return req, nil
}

// body is the JSON, or what stands in its place, that d sends with question.
func (d draw) body(question string) (string, error) {
	var fields map[string]any
	if a, ok := d.kind.assignment(); ok {
		fields = map[string]any{a.field: question}
		switch d.kind {
		case ioc:
			fields = map[string]any{"indicator": indicatorOf(d.question), "context": question}
		case webhook:
			fields["source"] = []string{"splunk", "crowdstrike", "sentinel", "wazuh"}[d.question%4]
			fields["severity"] = []string{"critical", "high", "medium", "low"}[d.question/4%4]
		}
	}
	switch d.kind {
	case chatWhole:
		fields = map[string]any{"message": question, "mode": d.mode}
		if d.question%3 == 0 { // now and then in the middle of a conversation
			fields["history"] = []map[string]string{
				{"role": "user", "content": "Hello, can you help me with a security question?"},
				{"role": "assistant", "content": "Yes. What would you like to know?"},
			}
		}
	case chatStream:
		fields = map[string]any{"message": question, "mode": d.mode, "stream": true}
	case ask, wrongContentType:
		fields = map[string]any{"question": question, "mode": d.mode}
	case unknownMode:
		fields = map[string]any{"message": question, "mode": "forensics"}
	case missingMessage:
		fields = map[string]any{"mode": d.mode}
	case malformedJSON:
		return `{"message": "` + d.mode + ` question`, nil
	case unknownPath:
		fields = map[string]any{"target": "10.20.0.0/16"}
	case listAgents:
		return "", nil
	}
	data, err := json.Marshal(fields)
	if err != nil {
		return "", fmt.Errorf("encoding request: %w", err)
	}
	return string(data), nil
}

// indicatorOf is one of some indicators that are reserved for examples.
func indicatorOf(n int) string {
	all := [...]string{
		"203.0.113.7", "2001:db8::bad", "login-update.example.com", "https://files.example.net/invoice.zip",
		"d41d8cd98f00b204e9800998ecf8427e", "CVE-2021-44228", "billing@example.org",
	}
	return all[n%len(all)]
}
