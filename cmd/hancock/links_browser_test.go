//go:build browser

package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/ui/browsertest"
)

// TestLinksInABrowser opens every link of a real alert's messages, behind a proxy with a prefix: the page shows what the
// link promises.
func TestLinksInABrowser(t *testing.T) {
	p, in, base := linked(t, true)
	var links []string
	for _, found := range in.links(base) {
		links = append(links, found...)
	}
	const filter = `{alertname="Linked",severity=~"crit.*",team!="b",instance!~"x\\d+"}`
	links = append(links, base+"/#/silences/new?filter="+url.QueryEscape(filter), base+"/alerts", base+"/classic/targets")
	slices.Sort(links)
	p.eventually("the alert fires again", func() bool {
		_, body := p.get("/api/v2/alerts?filter=alertname%3DLinked")
		return strings.Contains(body, `"state":"active"`)
	})
	b := browsertest.Open(t, 1440)
	for _, link := range slices.Compact(links) {
		if link == base {
			continue // the proxy's matter: the dashboard is below it
		}
		t.Logf("%s", link)
		u, err := url.Parse(link)
		require.NoError(t, err)
		b.Navigate("about:blank")
		b.Navigate(link)
		is := func(condition string, args ...any) { b.Until(fmt.Sprintf(condition, args...)) }
		switch route, query, _ := strings.Cut(u.EscapedFragment(), "?"); {
		case strings.HasSuffix(u.Path, "/graph"):
			is(`document.querySelector("[data-expression] textarea").value === %q`, u.Query().Get("g0.expr"))
			is(`document.querySelector("[data-status]").dataset.status === "live"`)
			require.Equal(t, 0, browsertest.Eval[int](b, `performance.getEntriesByType("resource").filter((e) => e.name.includes("/api/v1/query")).length`), "nothing runs by itself")
			b.Click("[data-run]")
			is(`document.querySelector("[data-result=vector]") !== null`)
			if strings.Contains(link, url.QueryEscape(linkedExpr)) {
				is(`document.querySelector("[data-row]").innerText.includes("job=")`)
				keep(t, b, "expression")
			}
		case route == "/alerts":
			params, err := url.ParseQuery(query)
			require.NoError(t, err)
			require.NotEmpty(t, params.Get("receiver"))
			is(`document.querySelector("[data-filter]").innerText.includes(%q)`, "receiver "+linkedReceiver)
			is(`document.querySelector("[data-alert=Linked][data-state=firing]").checkVisibility()`)
			require.True(t, strings.HasPrefix(browsertest.Eval[string](b, `document.querySelector("[data-alert=Linked] a").href`), base+"/docs/runbooks/"))
			keep(t, b, "alert-filtered")
		case route == "/silences/new":
			params, err := url.ParseQuery(query)
			require.NoError(t, err)
			is(`document.querySelector("[data-silence-new]").matchers.value === %q`, params.Get("filter"))
			is(`document.querySelectorAll("[data-matcher]").length >= 4`)
			is(`document.querySelector("[data-matched]").innerText.includes("1 active alert matches now")`)
		case strings.HasSuffix(u.Path, "/alerts"):
			is(`document.querySelector("[data-alert=Linked]").checkVisibility()`)
		case strings.HasSuffix(u.Path, "/targets"):
			is(`document.querySelector("[data-view=targets] [data-row]").innerText.includes("hancock")`)
		case strings.Contains(u.Path, "/docs/runbooks/"):
			is(`document.querySelector("h1").innerText === %q`, u.Path[strings.LastIndex(u.Path, "/")+1:])
			keep(t, b, "runbook")
		default:
			is(`document.querySelector("[data-panel]") !== null`)
		}
	}
	require.Empty(t, b.Complaints())
	p.stop()
}

// TestTablesInABrowser opens the tables of a real process.
func TestTablesInABrowser(t *testing.T) {
	dir, model := t.TempDir(), newFakeModel(t)
	configure(t, dir, model.url, switchRule(false))
	route(t, dir, "http://127.0.0.1:1/of-the-webhook", "10ms")
	p := startHancock(t, dir)
	p.scrapes(1)
	b := browsertest.Open(t, 1440)
	for view, words := range map[string][]string{
		"targets": {"up", "hancock"}, "config": {"scrape_configs", "receiver: pager"}, "status": {"goroutineCount", "goVersion", "numSeries", "web.listen-address"},
	} {
		b.Navigate(p.base + "/" + view)
		b.Until(`document.querySelector("[data-view]")?.dataset.state === "ready"`)
		for _, word := range words {
			require.Contains(t, browsertest.Eval[string](b, `document.querySelector("main").innerText`), word, view)
		}
		require.NotContains(t, browsertest.Eval[string](b, `document.documentElement.innerHTML`), "of-the-webhook")
		keep(t, b, "view-"+view)
	}
	b.Navigate(p.base + "/docs/")
	b.Until(`document.querySelector("h1").innerText === "Documentation"`)
	keep(t, b, "docs")
	b.Navigate(p.base + "/docs/metrics")
	b.Until(`document.querySelector("table") !== null && document.documentElement.scrollWidth <= innerWidth`)
	keep(t, b, "docs-metrics")
	require.Empty(t, b.Complaints())
	p.stop()
}

// TestPostedAlertsInABrowser counts the alerts that others post beside one of a rule, which has further labels in
// Alertmanager: each once.
func TestPostedAlertsInABrowser(t *testing.T) {
	dir, model := t.TempDir(), newFakeModel(t)
	configure(t, dir, model.url, switchRule(false))
	file := filepath.Join(dir, "hancock.yml")
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, []byte(strings.Replace(string(text), "prometheus: {", "prometheus: {global: {external_labels: {site: here}}, ", 1)), 0o600))
	p := startHancock(t, dir)
	b := browsertest.Open(t, 1440)
	b.Navigate(p.base + "/")
	const alerts = `document.querySelector("[data-alerts]").innerText.replace(/\s+/g, " ")`
	b.Until(`document.querySelector("[data-refresh]").ariaBusy === "false"`)
	p.scrapes(1)
	b.Click("[data-refresh]")
	b.Until(alerts + ` === "No alerts"`)

	var posted []map[string]any
	for i := range 25 {
		severity := "warning"
		if i < 9 {
			severity = "critical"
		}
		posted = append(posted, map[string]any{"labels": map[string]string{"alertname": fmt.Sprintf("Posted%d", i), "severity": severity}})
	}
	over := map[string]any{"labels": map[string]string{"alertname": "Over", "severity": "critical"}, "endsAt": time.Now().Add(-time.Minute).Format(time.RFC3339)}
	body, err := json.Marshal(append(posted, over))
	require.NoError(t, err)
	code, answer := p.post("/api/v2/alerts", string(body))
	require.Equal(t, http.StatusOK, code, answer)
	b.Click("[data-refresh]")
	b.Until(alerts + ` === "25 firing 9 critical, 16 warning"`)
	b.Until(`document.title === "25 firing · Hancock"`)

	p.rewrite(dir, switchRule(true))
	p.eventually("the rule's alert arrives", func() bool {
		_, body := p.get("/api/v2/alerts?filter=alertname%3DSwitch")
		return strings.Contains(body, `"site":"here"`)
	})
	b.Click("[data-refresh]")
	b.Until(alerts + ` === "26 firing 10 critical, 16 warning"`)
	keep(t, b, "posted")
	require.Empty(t, b.Complaints())

	p.stop()
	b.Click("[data-refresh]")
	b.Until(`document.querySelector("[data-alerts]").dataset.alerts === "unknown"`)
}
