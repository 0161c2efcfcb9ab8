//go:build browser

package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/ui"
	"github.com/cyberviser/hancock/ui/browsertest"
)

const allReady = `[...document.querySelectorAll("[data-panel]")].filter((p) => p.dataset.state === "ready").length === 10`

// keep stores a screenshot in the folder that SCREENSHOTS names, if it does.
func keep(t *testing.T, b *browsertest.Browser, name string) {
	t.Helper()
	picture, err := chromedp.Run(b.Context, chromedp.FullScreenshot(100))
	require.NoError(t, err)
	require.NotEmpty(t, picture)
	if dir := os.Getenv("SCREENSHOTS"); dir != "" {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name+".png"), picture, 0o600))
	}
}

// TestDemoInABrowser opens the page of a real demonstration: ten panels with
// data over six hours, the incident's alert in the past, no complaint of the
// browser, wide and narrow, light and dark. Screenshots are kept in the folder
// that SCREENSHOTS names.
func TestDemoInABrowser(t *testing.T) {
	p := startHancock(t, t.TempDir(), "demo", "--storage.scrape-interval=5s")
	b := browsertest.Open(t, 1440)
	b.Navigate(p.base + "/#range=6h")
	b.Until(allReady)
	b.Until(`document.querySelector("[data-health]").dataset.health === "ok"`)
	b.Until(`document.querySelector("[data-demo]") !== null`)
	board, err := ui.Dashboard()
	require.NoError(t, err)
	var names []string
	for _, panel := range board.Panels {
		names = append(names, panel.Name)
	}
	require.ElementsMatch(t, names, browsertest.Eval[[]string](b, `[...document.querySelectorAll("[data-panel]")].map((p) => p.dataset.panel)`))

	// The counters on the page move with the generated traffic.
	p.eventually("traffic", func() bool { v, _ := p.scalar("hancock_requests_total"); return v > 0 })
	b.Click("[data-refresh]")
	b.Until(`Number(document.querySelector("[data-panel='Total Requests (stat)'] [data-value]").dataset.value) > 0`)

	for _, shot := range []struct {
		name, scheme string
		width        int64
	}{{"wide-light", "light", 1440}, {"wide-dark", "dark", 1440}, {"narrow-light", "light", 390}, {"narrow-dark", "dark", 390}} {
		_, err := chromedp.Call(b.Context, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: shot.scheme}},
		})
		require.NoError(t, err)
		require.NoError(t, chromedp.Do(b.Context, chromedp.EmulateViewport(shot.width, 1300)))
		b.Until(allReady)
		b.Until(`document.documentElement.scrollWidth <= innerWidth`) // once the charts have followed the window
		keep(t, b, shot.name)
	}
	require.Empty(t, b.Complaints())

	// The same ten queries, as Grafana would ask them.
	grafana, err := ui.Grafana()
	require.NoError(t, err)
	var exported struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	require.NoError(t, json.Unmarshal(grafana, &exported))
	asked := 0
	for _, panel := range exported.Panels {
		for _, target := range panel.Targets {
			asked++
			require.NotEmpty(t, p.query("last_over_time(("+target.Expr+")[6h:1m])"), "Grafana's panel %q is empty", panel.Title)
		}
	}
	require.Equal(t, 10, asked)
	peak, _ := p.scalar(`max_over_time((rate(hancock_errors_total[2m]) / rate(hancock_requests_total[2m]) * 100)[6h:30s])`)
	require.Greater(t, peak, 20.0, "there is an incident in the history")
	fired, _ := p.scalar(`max(max_over_time(ALERTS{alertname="HancockHighErrorRate",alertstate="firing"}[6h]))`)
	require.InDelta(t, 1, fired, 0)

	// The page says when the process has gone.
	p.stop()
	b.Click("[data-refresh]")
	b.Until(`document.querySelector("[data-outage]") !== null`)
}

// TestEmptyPage opens the page of a process that nobody has asked anything.
func TestEmptyPage(t *testing.T) {
	dir, model := t.TempDir(), newFakeModel(t)
	configure(t, dir, model.url, "")
	p := startHancock(t, dir)
	b := browsertest.Open(t, 1440)
	b.Navigate(p.base + "/")
	b.Until(`document.querySelector("[data-first-steps]") !== null`)
	keep(t, b, "empty")

	// One question, and the page counts it by itself.
	start := time.Now()
	code, body := p.post("/v1/ask", `{"question":"What is a SYN flood?"}`)
	require.Equal(t, http.StatusOK, code, body)
	p.eventually("the sample", func() bool { v, _ := p.scalar("hancock_requests_total"); return v == 1 })
	t.Logf("queryable %s after the request began; the scrape interval is 1s", time.Since(start).Round(time.Millisecond))
	b.Click("[data-refresh]")
	b.Until(`document.querySelector("[data-panel='Total Requests (stat)'] [data-value]")?.dataset.value === "1"`)
	b.Until(`document.querySelector("[data-first-steps]") === null`)
	require.Empty(t, b.Complaints())
	p.stop()
}

// TestAlertsInABrowser silences an alert of a real process where it is seen,
// and ends the silence; a receiver that refuses is told.
func TestAlertsInABrowser(t *testing.T) {
	dir, model := t.TempDir(), newFakeModel(t)
	configure(t, dir, model.url, switchRule(true))
	deaf := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "no", http.StatusForbidden)
	}))
	t.Cleanup(deaf.Close)
	route(t, dir, deaf.URL, "10ms")
	p := startHancock(t, dir)
	p.eventually("the receiver has refused", func() bool {
		_, body := p.get("/api/hancock/notifications?outcome=failed")
		return strings.Contains(body, `"status_code":403`)
	})
	b := browsertest.Open(t, 1440)
	b.Navigate(p.base + "/")
	const row = `document.querySelector("[data-alert=Switch]")`
	b.Until(`document.querySelector("[data-alerts]")?.dataset.alerts === "firing"`)
	b.Click("[data-alerts]")
	b.Until(row + `?.dataset.state === "firing"`)
	b.Until(`document.querySelector("[data-failing=pager]")?.textContent.includes("403")`)
	require.Equal(t, "https://example.org/switch", browsertest.Eval[string](b, row+`.querySelector("a").href`))
	keep(t, b, "alert-fires")

	b.Click("[data-silence]")
	b.Click("form.silence button")
	b.Until(row + `?.dataset.state === "silenced"`)
	b.Until(`document.querySelector("[data-silenced]") !== null`)
	keep(t, b, "alert-silenced")
	_, body := p.get("/api/v2/alerts?filter=alertname%3DSwitch")
	require.Contains(t, body, `"state":"suppressed"`)
	b.Click("[data-silenced] button")
	b.Until(row + `?.dataset.state === "firing"`)

	// The link in a message opens the list.
	b.Navigate("about:blank")
	b.Navigate(p.base + "/#/alerts?receiver=pager")
	b.Until(row + `?.checkVisibility()`)
	require.Empty(t, b.Complaints())
	p.stop()
}
