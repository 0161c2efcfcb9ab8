package alertmanager_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/alerting/alertmanager"
)

// oneReceiver is a configuration with one receiver, "it", in which URL stands
// for an address.
func oneReceiver(route, integrations, address string) string {
	return lines(
		"route:",
		"  receiver: it", route,
		"receivers:",
		"- name: it",
		strings.ReplaceAll(integrations, "URL", address),
	)
}

// rude is a server on a real socket that reads a request and then answers with
// its own idea of HTTP. The connection is closed when behave returns.
func rude(t *testing.T, behave func(conn net.Conn, released <-chan struct{})) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	released := make(chan struct{})
	accepting := make(chan struct{})
	go func() {
		defer close(accepting)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				r, err := http.ReadRequest(bufio.NewReader(conn))
				if err != nil {
					return
				}
				_, _ = io.Copy(io.Discard, r.Body)
				behave(conn, released)
			}()
		}
	}()
	t.Cleanup(func() {
		close(released)
		_ = l.Close()
		<-accepting
	})
	return "http://" + l.Addr().String()
}

func say(conn net.Conn, text string) { _, _ = io.WriteString(conn, text) }

// Whatever a receiver does, the ledger tells it, it is tried again when that
// is worth it, the receiver beside it gets its message, and Close is bounded.
func TestReceiversMisbehave(t *testing.T) {
	t.Parallel()
	elsewhere := newReceiver(t)
	redirecting := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusFound))
	t.Cleanup(redirecting.Close)
	mux := http.NewServeMux()
	mux.Handle("/in", http.RedirectHandler("/nowhere", http.StatusSeeOther))
	lost := httptest.NewServer(mux)
	t.Cleanup(lost.Close)
	circle := httptest.NewServer(http.RedirectHandler("/again", http.StatusTemporaryRedirect))
	t.Cleanup(circle.Close)
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.TLS = newAuthority(t).server(t, "127.0.0.1")
	secure.StartTLS()
	t.Cleanup(secure.Close)
	hangs := func(head string) string {
		return rude(t, func(conn net.Conn, released <-chan struct{}) {
			say(conn, head)
			<-released
		})
	}
	says := func(text string) string {
		return rude(t, func(conn net.Conn, _ <-chan struct{}) { say(conn, text) })
	}
	tests := []struct {
		name    string
		address string
		retry   bool
		code    int
		fails   string
	}{
		{"refuses the connection", refusing, true, 0, "connection refused"},
		{"hangs before the headers", hangs(""), true, 0, "timeout"},
		{"hangs in the headers", hangs("HTTP/1.1 200 OK\r\nContent-"), true, 0, "timeout"},
		{"hangs in the body of an error", hangs("HTTP/1.1 500 No\r\nContent-Length: 9\r\n\r\nno"), true, 500, "500"},
		{"closes before the headers", says(""), true, 0, "EOF"},
		{"closes midway", says("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n"), true, 0, "unexpected EOF"},
		{"says garbage", says("220 mail.example ESMTP\r\n"), true, 0, "malformed HTTP"},
		{"says nothing but bytes", says("\x00\xff\x16\x03\x01"), true, 0, "malformed HTTP"},
		{"has a certificate of an unknown authority", secure.URL, true, 0, "certificate"},
		{"speaks TLS where none is expected", strings.Replace(secure.URL, "https", "http", 1), false, 400, "400"},
		{"has a name that does not resolve", nameless + "/in", true, 0, "no such host"},
		{"redirects to a page", redirecting.URL, false, 200, "the receiver redirects"},
		{"redirects to a page that is not there", lost.URL + "/in", false, 404, "the receiver redirects"},
		{"redirects in a circle", circle.URL, true, 307, "stopped after 10 redirects"},
	}
	var routes, receivers []string
	for _, test := range tests {
		// They are all receivers of one alert: none holds up another.
		receiver := strings.ReplaceAll(test.name, " ", "-")
		timeout := "1m"
		if strings.HasPrefix(test.name, "hangs") {
			timeout = "1s"
		}
		routes = append(routes, "  - {receiver: "+receiver+", continue: true}")
		receivers = append(receivers, "- name: "+receiver, "  webhook_configs: [{url: '"+test.address+"', timeout: "+timeout+"}]")
	}
	beside := newReceiver(t)
	s := newStation(t, lines(
		"route:",
		"  receiver: beside", once,
		"  routes:", strings.Join(routes, "\n"),
		"  - {receiver: beside}",
		"receivers:", strings.Join(receivers, "\n"),
		"- name: beside",
		"  webhook_configs: [{url: "+beside.URL+"}]",
	))
	s.Send(alertOf("HancockDown", "critical"))
	beside.next(t)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			receiver := strings.ReplaceAll(test.name, " ", "-")
			// Any try: the time of one may be up before it gets as far as this.
			a := s.attempt(t, test.fails, func(a alertmanager.Attempt) bool {
				return a.Receiver == receiver && a.StatusCode == test.code && strings.Contains(a.Error, test.fails)
			})
			require.Equal(t, "failed", a.Outcome)
			require.Equal(t, test.retry, a.Retry)
			require.Equal(t, "first notification", a.Reason)
			require.Less(t, a.DurationMS, float64(2*patience.Milliseconds()))
			if test.retry {
				s.attempt(t, "another try", func(a alertmanager.Attempt) bool { return a.Receiver == receiver && a.Try == 2 })
			}
		})
	}
	start := time.Now()
	require.NoError(t, s.Close())
	require.Less(t, time.Since(start), patience)
}

// A receiver that moved keeps its messages: 307 and 308 keep the POST.
func TestReceiversMove(t *testing.T) {
	t.Parallel()
	hook := newReceiver(t)
	moved := httptest.NewServer(http.RedirectHandler(hook.URL+"/new", http.StatusPermanentRedirect))
	t.Cleanup(moved.Close)
	s := newStation(t, oneReceiver(once, "  webhook_configs: [{url: URL}]", moved.URL))
	s.Send(alertOf("HancockDown", "critical"))
	c := hook.next(t)
	require.Equal(t, "/new", c.path)
	require.Equal(t, "4", c.decode(t)["version"])
	require.Equal(t, "ok", s.first(t, "it").Outcome)
}

// An error page without end must not fill the memory, nor the ledger.
func TestReceiversWithoutEnd(t *testing.T) {
	t.Parallel()
	written := make(chan int64, 100)
	address := rude(t, func(conn net.Conn, _ <-chan struct{}) {
		say(conn, "HTTP/1.1 500 No\r\nConnection: close\r\n\r\n")
		page := strings.Repeat("no\n", 1<<14)
		var sum int64
		for sum < 1<<30 {
			n, err := io.WriteString(conn, page)
			sum += int64(n)
			if err != nil {
				break
			}
		}
		written <- sum
	})
	s := newStation(t, oneReceiver(once, "  webhook_configs: [{url: URL}]", address))
	s.Send(alertOf("HancockDown", "critical"))
	a := s.first(t, "it")
	require.Equal(t, "failed", a.Outcome)
	require.True(t, a.Retry)
	require.LessOrEqual(t, len(a.Error), 4<<10)
	require.NotContains(t, a.Error, "\n")
	require.Less(t, next(t, written), int64(64<<20), "what the sockets hold, and no more")
}
