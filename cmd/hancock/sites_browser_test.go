//go:build browser

package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/ui/browsertest"
)

// attempts are what a page of another site can do; target is the address of a Hancock. Each sends one request at least.
const attempts = `
const target = %q, query = target + "/api/v1/query_range?query=up&start=0&end=1&step=1";
const add = (name, set) => document.body.append(Object.assign(document.createElement(name), set));
const quiet = (promise) => promise.catch(() => {});
for (let i = 0; i < 6; i++) add("img", {src: query + "&i=" + i});
add("script", {src: target + "/metrics"});
add("link", {rel: "stylesheet", href: target + "/api/v1/labels"});
add("iframe", {src: target + "/"});
add("iframe", {src: target + "/graph?g0.expr=up"});
add("object", {data: target + "/api/v1/series?match[]=up"});
add("video", {src: query + "&video"});
add("iframe", {name: "sink"});
quiet(fetch(query + "&nocors", {mode: "no-cors"}));
quiet(fetch(query + "&norefer", {mode: "no-cors", referrerPolicy: "no-referrer"}));
quiet(fetch(query + "&cors"));
quiet(fetch(target + "/v1/ask", {method: "POST", mode: "no-cors", body: '{"question":"q"}'}));
quiet(fetch(target + "/v1/ask", {method: "POST", headers: {"Content-Type": "application/json"}, body: '{"question":"q"}'}));
navigator.sendBeacon(target + "/-/reload");
new EventSource(target + "/api/hancock/logs?follow=true").onerror = (e) => e.target.close();
new WebSocket(target.replace("http", "ws") + "/api/v1/notifications/live");
for (const where of ["sink", "_blank"]) {
	const form = document.createElement("form");
	Object.assign(form, {method: "POST", action: target + "/api/v2/silences", target: where, enctype: "text/plain"});
	document.body.append(form);
	form.submit();
}
open(query + "&open");
const image = open(target + "/v1/agents", "_blank", "noopener,noreferrer");
`

// requests are the numbers of completed requests in a log of level DEBUG, by endpoint and status.
func requests(t *testing.T, log string) map[string]map[int]int {
	t.Helper()
	found := make(map[string]map[int]int)
	for line := range strings.Lines(log) {
		var l struct {
			Event    string `json:"event"`
			Endpoint string `json:"endpoint"`
			Status   int    `json:"status"`
		}
		if json.Unmarshal([]byte(line), &l) != nil || l.Event != "request_completed" {
			continue
		}
		if found[l.Endpoint] == nil {
			found[l.Endpoint] = make(map[int]int)
		}
		found[l.Endpoint][l.Status]++
	}
	return found
}

// TestOtherSitesInABrowser opens a hostile page, of another site and of the same site at another port: none of its
// requests reaches a handler. A link on it opens the page, and what the link brings runs after a click.
func TestOtherSitesInABrowser(t *testing.T) {
	dir, model := t.TempDir(), newFakeModel(t)
	configure(t, dir, model.url, "")
	p := startHancock(t, dir, "--log.level=DEBUG")
	p.scrapes(1)
	link := p.base + "/graph?" + url.Values{"g0.expr": {"up"}}.Encode()
	hostile := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = fmt.Fprintf(w, `<!doctype html><body><a href=%q>look</a><script>%s</script>`, link, fmt.Sprintf(attempts, p.base))
	}))
	t.Cleanup(hostile.Close)
	b := browsertest.Open(t, 1440)
	// Requests that wait for none of the page's data, by the route that they are for.
	want := map[string]int{
		"/api/v1/*": 12, "/metrics": 1, "/": 1, "/graph": 1, "/v1/ask": 2, "/v1/agents": 1, "/-/reload": 1,
		"/api/hancock/logs": 1, "/api/v1/notifications/live": 1,
	}
	for _, host := range []string{"localhost", "127.0.0.1"} { // cross-site and same-site
		t.Run(host, func(t *testing.T) {
			before := len(p.log.String())
			b.Navigate(strings.Replace(hostile.URL, "127.0.0.1", host, 1) + "/")
			var got map[string]map[int]int
			p.eventually("all attempts", func() bool {
				got = requests(t, p.log.String()[before:])
				posted := 0
				for endpoint, statuses := range got {
					if strings.HasPrefix(endpoint, "/api/v2/") {
						posted += statuses[http.StatusForbidden]
					}
				}
				for endpoint, n := range want {
					if got[endpoint][http.StatusForbidden] < n {
						return false
					}
				}
				return posted >= 2
			})
			delete(got, "/favicon.ico") // which the browser itself looks for, of what it opened
			for endpoint, statuses := range got {
				require.Len(t, statuses, 1, "%s: %v", endpoint, statuses)
				require.Contains(t, statuses, http.StatusForbidden, endpoint)
			}
		})
	}
	count, _ := p.scalar("hancock_requests_total")
	require.Zero(t, count, "the agent has counted nothing")

	// What leaves the page waits until the browser has answered; what is asked of the page meanwhile fails.
	leave := func(statement string) {
		t.Helper()
		browsertest.Eval[bool](b, "(window.left = true, setTimeout(() => {"+statement+"}), true)")
	}
	arrives := func(expression string) {
		t.Helper()
		p.eventually(expression, func() bool {
			ok, err := chromedp.Run(b.Context, chromedp.Evaluate[bool]("window.left === undefined && "+expression))
			return err == nil && ok
		})
	}
	const (
		result = `document.querySelector("[data-result=vector]") !== null`
		live   = `document.querySelector("[data-status]").dataset.status === "live"`
	)
	const asked = `performance.getEntriesByType("resource").filter((e) => e.name.includes("/api/v1/query")).length`
	before := len(p.log.String())
	leave(`document.querySelector("a").click()`)
	arrives(`document.querySelector("[data-expression] textarea").value === "up"`)
	arrives(live)
	require.NotEmpty(t, browsertest.Eval[string](b, `document.referrer`))
	require.Equal(t, 0, browsertest.Eval[int](b, asked), "a link of another site runs nothing")
	require.Equal(t, map[int]int{http.StatusOK: 1}, requests(t, p.log.String()[before:])["/graph"])
	b.Click("[data-run]")
	arrives(result)

	// It ran, so it runs again after a reload, and when the reader comes back.
	leave(`location.reload()`)
	arrives(result)
	b.Navigate(p.base + "/docs/")
	leave(`history.back()`)
	arrives(result)

	// Neither does one without a referrer; one of our own page does.
	b.Navigate("about:blank")
	b.Navigate(link)
	arrives(live)
	require.Equal(t, 0, browsertest.Eval[int](b, asked))
	b.Navigate(p.base + "/docs/")
	leave(fmt.Sprintf(`location.href = %q`, link))
	arrives(result)
	require.Equal(t, p.base+"/docs/", browsertest.Eval[string](b, `document.referrer`))
	p.stop()
}
