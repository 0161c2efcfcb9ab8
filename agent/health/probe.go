package health

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode"
)

// maxReportBytes is more than any report of ours.
const maxReportBytes = 1 << 20

// String tells the status in one line, with what is wrong.
func (r Report) String() string {
	var line strings.Builder
	line.WriteString(string(r.Status))
	separator := ": "
	for _, name := range slices.Sorted(maps.Keys(r.Checks)) {
		if check := r.Checks[name]; check.Status != OK {
			fmt.Fprintf(&line, "%s%s %s", separator, name, check.Status)
			if check.Detail != "" {
				line.WriteString(" (" + check.Detail + ")")
			}
			separator = ", "
		}
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, line.String())
}

// Probe asks the Hancock whose address is base for its health, over client, or
// one of its own where that is nil. It returns one line for people. The error
// is nil while Hancock can answer, degraded or not; without an answer that is a
// report it says why. It blocks as long as ctx allows.
func Probe(ctx context.Context, base string, client *http.Client) (string, error) {
	at, err := url.Parse(base)
	if err != nil || at.Scheme != "http" && at.Scheme != "https" || at.Host == "" {
		return "", errors.New("the address must be like http://127.0.0.1:5000")
	}
	at = at.JoinPath("health")
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), http.NoBody)
	if err != nil {
		return "", fmt.Errorf("asking %s: %w", at.Redacted(), err)
	}
	if client == nil {
		// No proxy and no connection that stays: this is one question to a
		// neighbour.
		transport := &http.Transport{DisableKeepAlives: true}
		client = &http.Client{Transport: transport}
	}
	resp, err := client.Do(r)
	if err != nil {
		return "", fmt.Errorf("no answer: %w", err)
	}
	defer resp.Body.Close()
	var report Report
	err = json.NewDecoder(io.LimitReader(resp.Body, maxReportBytes)).Decode(&report)
	switch known := report.Status == OK || report.Status == Degraded || report.Status == Error; {
	case err != nil || !known:
		return "", fmt.Errorf("%s answers with status %d and no health report", at.Redacted(), resp.StatusCode)
	case report.Status == Error || resp.StatusCode != http.StatusOK:
		return report.String(), errors.New(report.String())
	default:
		return report.String(), nil
	}
}
