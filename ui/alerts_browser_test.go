//go:build browser

package ui

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/ui/browsertest"
)

const (
	chip     = `document.querySelector('[data-alerts]').innerText.replace(/\s+/g, ' ')`
	listed   = `[...document.querySelectorAll('[data-alert]')].map((a) => a.dataset.alert + ' ' + a.dataset.state)`
	listText = `document.querySelector('#alert-list').innerText`
)

// openList opens the page and its list of alerts, once the chip is in this state.
func openList(t *testing.T, api *fakeAPI, state string) *browsertest.Browser {
	t.Helper()
	b := browsertest.Open(t, 1440)
	b.Navigate(servePage(t, api))
	b.Until(`document.querySelector('[data-alerts]')?.dataset.alerts === '` + state + `'`)
	b.Click("[data-alerts]")
	b.Until(`document.querySelector('#alert-list').matches(':popover-open')`)
	return b
}

// press sends keys to whatever has the focus.
func press(t *testing.T, b *browsertest.Browser, keys string) {
	t.Helper()
	require.NoError(t, chromedp.Do(b.Context, chromedp.KeyEvent(keys)))
}

func TestPageListsTheAlerts(t *testing.T) {
	api := &fakeAPI{manager: fakeManager{foreign: true}}
	b := openList(t, api, "firing")
	require.Equal(t, "1 firing critical", browsertest.Eval[string](b, chip), "the heartbeat and what is inhibited do not count")
	require.Equal(t,
		[]string{"HancockNoTraffic firing", "HancockMemoryGrowth pending", "DiskFull inhibited"},
		browsertest.Eval[[]string](b, listed))
	require.Contains(t, browsertest.Eval[string](b, `document.querySelector('[data-alert=HancockNoTraffic]').innerText`), "0.25")
	require.Contains(t, browsertest.Eval[string](b, `document.querySelector('[data-alert=DiskFull]').innerText`), "while HancockNoTraffic fires")
	require.Equal(t, []string{"https://runbooks.example/HancockNoTraffic noopener noreferrer", "https://runbooks.example/HancockMemoryGrowth noopener noreferrer"},
		browsertest.Eval[[]string](b, `[...document.querySelectorAll('#alert-list a')].map((a) => a.href + ' ' + a.rel)`), "no other scheme")
	require.Equal(t, 1, browsertest.Eval[int](b, `document.querySelectorAll('[data-heartbeat=fires]').length`))
	require.Contains(t, browsertest.Eval[string](b, listText), "Nobody outside is notified")
	require.Equal(t, 0, browsertest.Eval[int](b, `document.querySelectorAll('img, #app script').length`))
	require.Empty(t, b.Complaints())
}

// TestPageShowsWhatIsMuted: an alert whose route has hours to be quiet in does not count as one that fires.
func TestPageShowsWhatIsMuted(t *testing.T) {
	api := &fakeAPI{manager: fakeManager{muted: true}}
	b := openList(t, api, "pending")
	require.Equal(t, "1 pending", browsertest.Eval[string](b, chip))
	b.Until(`document.querySelector('[data-alert=HancockNoTraffic]')?.dataset.state === 'muted'`)
	require.Contains(t, browsertest.Eval[string](b, `document.querySelector('[data-alert=HancockNoTraffic] [data-quiet]').innerText`), "Muted by time interval: nights <img")
	require.Equal(t, 1, browsertest.Eval[int](b, `document.querySelectorAll('[data-alert=HancockNoTraffic] [data-silence]').length`), "for when it is over")
	require.NotContains(t, browsertest.Eval[string](b, `document.querySelector('[aria-live=polite]').textContent`), "firing")
	require.Empty(t, b.Complaints())
}

// TestPageBoundsItsList: thousands of names, each of thousands of letters, neither stop the page nor stick out.
func TestPageBoundsItsList(t *testing.T) {
	api := &fakeAPI{manager: fakeManager{many: 2000}}
	b := openList(t, api, "firing")
	b.Until(`document.querySelectorAll('[data-alert]').length === 200`)
	require.Equal(t, "2001 firing 1 critical, 2000 other", browsertest.Eval[string](b, chip))
	require.Equal(t, "And 1802 more.", browsertest.Eval[string](b, `document.querySelector('[data-alerts-hidden]').innerText`))
	require.True(t, browsertest.Eval[bool](b, `(() => {
		const list = document.querySelector('#alert-list');
		const heads = [...list.querySelectorAll('[data-alert] > div')];
		return list.scrollWidth <= list.clientWidth && heads.every((e) => e.scrollWidth <= e.clientWidth);
	})()`))
	require.NotContains(t, browsertest.Eval[string](b, listText), "\u202e", "it would turn what follows around")
	b.Click("#alert-list summary")
	b.Until(`document.querySelectorAll('[data-alert][data-state=inactive]').length === 2`)
	require.Empty(t, b.Complaints())
}

// TestPageSilencesAnAlert: with the keyboard alone, from the alert to its silence and back.
func TestPageSilencesAnAlert(t *testing.T) {
	api := &fakeAPI{}
	b := openList(t, api, "firing")
	b.Click("[data-alerts]")
	b.Until(`!document.querySelector('#alert-list').matches(':popover-open')`)
	browsertest.Eval[bool](b, `(document.querySelector('[data-alerts]').focus(), true)`)
	press(t, b, kb.Enter)
	b.Until(`document.querySelector('[data-silence]') !== null`)
	browsertest.Eval[bool](b, `(document.querySelector('[data-silence]').focus(), true)`)

	// Escape closes the form, not the list.
	press(t, b, kb.Enter)
	b.Until(`document.activeElement.name === 'seconds'`)
	press(t, b, kb.Escape)
	b.Until(`document.activeElement.matches('[data-silence]')`)
	require.True(t, browsertest.Eval[bool](b, `document.querySelector('#alert-list').matches(':popover-open')`))

	// A second one closes the list, and what opened it has the focus again.
	press(t, b, kb.Escape)
	b.Until(`document.activeElement.matches('[data-alerts]') && document.querySelector('[data-silence]') === null`)
	press(t, b, kb.Enter)
	b.Until(`document.querySelector('[data-silence]') !== null`)
	browsertest.Eval[bool](b, `(document.querySelector('[data-silence]').focus(), true)`)

	press(t, b, kb.Enter)
	b.Until(`document.activeElement.name === 'seconds'`)
	press(t, b, kb.ArrowDown+kb.Tab+"refuse"+kb.Enter)
	b.Until(`document.querySelector('[data-silence-error][role=alert]')?.innerText.includes('bad silence <img src=x')`)
	require.Equal(t, "1 firing critical", browsertest.Eval[string](b, chip))

	browsertest.Eval[bool](b, `(document.activeElement.select(), true)`)
	press(t, b, "works "+`<b>`+kb.Enter)
	b.Until(`document.querySelector('[data-alert=HancockNoTraffic]').dataset.state === 'silenced'`)
	b.Until(`document.activeElement.id === 'alert-list'`)
	require.Equal(t, "1 pending", browsertest.Eval[string](b, chip))
	require.Contains(t, browsertest.Eval[string](b, `document.querySelector('[data-alert=HancockNoTraffic] [data-quiet]').innerText`), "works <b>")
	require.Contains(t, browsertest.Eval[string](b, `document.querySelector('[data-silenced]').innerText`), `alertname="HancockNoTraffic", severity="critical"`)
	require.Regexp(t, `^\d+ alerts?$`, browsertest.Eval[string](b, `document.querySelector('[data-silence-reach]').innerText`))
	require.Equal(t, "HancockNoTraffic is silenced.", browsertest.Eval[string](b, `document.querySelector('[aria-live=polite]').textContent`))
	api.manager.change(func() {
		require.Len(t, api.manager.posted, 1)
		s := api.manager.posted[0]
		require.Equal(t, "page", s["createdBy"])
		require.Equal(t, []any{
			map[string]any{"name": "alertname", "value": "HancockNoTraffic", "isRegex": false, "isEqual": true},
			map[string]any{"name": "severity", "value": "critical", "isRegex": false, "isEqual": true},
		}, s["matchers"])
		from, err := time.Parse(time.RFC3339, s["startsAt"].(string))
		require.NoError(t, err)
		to, err := time.Parse(time.RFC3339, s["endsAt"].(string))
		require.NoError(t, err)
		require.Equal(t, 8*time.Hour, to.Sub(from))
	})

	// A page that is opened now never says that it fires.
	b.Navigate(browsertest.Eval[string](b, `location.href`) + "?again")
	b.Until(allReady + ` && document.querySelector('[data-alerts]').dataset.alerts === 'pending'`)
	require.NotContains(t, browsertest.Eval[string](b, `document.querySelector('[aria-live=polite]').textContent`), "firing")

	b.Click("[data-alerts]")
	b.Until(`document.querySelector('[data-silenced] button') !== null`)
	b.Click("[data-silenced] button")
	b.Until(`document.querySelector('[data-silenced]') === null && document.querySelector('[data-alerts]').dataset.alerts === 'firing'`)
	require.Empty(t, b.Complaints())
}

func TestPageSaysWhoWasNotTold(t *testing.T) {
	api := &fakeAPI{manager: fakeManager{quiet: true, failing: true, notifies: true}}
	api.set("quiet")
	b := openList(t, api, "error")
	require.Equal(t, "Notifying fails", browsertest.Eval[string](b, chip))
	require.Equal(t, []string{"slack-warnings"}, browsertest.Eval[[]string](b, `[...document.querySelectorAll('[data-failing]')].map((e) => e.dataset.failing)`),
		"not the receiver that is gone")
	require.Contains(t, browsertest.Eval[string](b, `document.querySelector('[data-failing]').innerText`), "unexpected status code 500 <img")
	require.Equal(t, []string{"error", "ok", "error"}, browsertest.Eval[[]string](b, `[...document.querySelectorAll('[data-attempt]')].map((e) => e.dataset.state)`))
	require.NotContains(t, browsertest.Eval[string](b, listText), "Nobody outside")

	api.manager.change(func() { api.manager.failing = false })
	b.Click("[data-refresh]")
	b.Until(`document.querySelector('[data-alerts]').dataset.alerts === 'inactive' && document.querySelector('[data-failing]') === null`)
	require.Empty(t, b.Complaints())
}

func TestPageMissesTheHeartbeat(t *testing.T) {
	api := &fakeAPI{manager: fakeManager{quiet: true}}
	api.set("no heartbeat")
	b := openList(t, api, "error")
	require.Equal(t, "No heartbeat", browsertest.Eval[string](b, chip))
	require.Equal(t, 1, browsertest.Eval[int](b, `document.querySelectorAll('[data-heartbeat=missing]').length`))
}

// TestPageWithoutAlertmanager: what fires is shown all the same, and the rest of the page does not notice.
func TestPageWithoutAlertmanager(t *testing.T) {
	api := &fakeAPI{manager: fakeManager{mode: "away"}}
	b := openList(t, api, "firing")
	b.Until(allReady + " && " + live)
	b.Until(`document.querySelector('[data-manager-error]')?.innerText.includes('not ready <img') && document.querySelector('[data-told-error]') !== null`)
	require.Equal(t, 2, browsertest.Eval[int](b, `document.querySelectorAll('[data-alert]').length`))
	require.Contains(t, browsertest.Eval[string](b, listText), "2 rules at rest")
	api.manager.change(func() { api.manager.mode = "" })
	b.Click("[data-refresh]")
	b.Until(`document.querySelector('[data-manager-error], [data-told-error]') === null`)
	require.Empty(t, b.Complaints())
}

// TestPageAsksAlertmanagerAtEachRefresh, since others post alerts there, but not before the page can be seen.
func TestPageAsksAlertmanagerAtEachRefresh(t *testing.T) {
	api := &fakeAPI{manager: fakeManager{quiet: true}}
	api.set("quiet")
	b := browsertest.Open(t, 1440)
	// When the first frame was made; when the screen had it is told later on a busy machine. And what is meant for a
	// tab in the background, which has no frames, waits longer than the first one takes.
	_, err := chromedp.Call(b.Context, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: `
		const wait = setTimeout, frame = requestAnimationFrame;
		window.setTimeout = (f, ms, ...args) => wait(f, ms === 1000 ? 60000 : ms, ...args);
		window.requestAnimationFrame = (f) => frame((now) => { window.drawn ??= performance.now(); f(now); });`})
	require.NoError(t, err)
	b.Navigate(servePage(t, api))
	b.Until(allReady + ` && document.querySelector('[data-refresh]').ariaBusy === 'false'`)
	for range 3 {
		b.Click("[data-refresh]")
		b.Until(`document.querySelector('[data-refresh]').ariaBusy === 'false'`)
	}
	require.GreaterOrEqual(t, api.manager.calls("/groups"), 4)
	require.Equal(t, 1, api.manager.calls("/notifications"), "once in a while")

	require.True(t, browsertest.Eval[bool](b, `(() => {
		const first = (part) => Math.min(...performance.getEntriesByType('resource').filter((e) => e.name.includes(part)).map((e) => e.startTime));
		return Math.min(first('/api/v2/'), first('/api/hancock/')) > drawn;
	})()`))
}

// TestPageShowsItsList keeps pictures of the list in the folder that SCREENSHOTS names, and looks that
// nothing sticks out of it.
func TestPageShowsItsList(t *testing.T) {
	full := &fakeAPI{manager: fakeManager{failing: true, notifies: true, foreign: true}}
	full.manager.silences = []map[string]any{{
		"id": "s", "matchers": []any{map[string]any{"name": "site", "value": "he.*", "isRegex": true, "isEqual": true}},
		"startsAt": "2026-01-02T03:04:05Z", "endsAt": time.Now().Add(3 * time.Hour).UTC(), "createdBy": "ops", "comment": "planned work",
		"status": map[string]string{"state": "active"},
	}}
	quiet := &fakeAPI{manager: fakeManager{quiet: true}}
	quiet.set("quiet")
	form := &fakeAPI{manager: fakeManager{notifies: true}}
	for _, shot := range []struct {
		name, state string
		api         *fakeAPI
	}{{"list-full", "error", full}, {"list-quiet", "inactive", quiet}, {"list-form", "firing", form}} {
		t.Run(shot.name, func(t *testing.T) {
			b := openList(t, shot.api, shot.state)
			b.Until(`document.querySelector('[data-heartbeat]') !== null && ` + allReady)
			switch shot.api {
			case form:
				b.Click("[data-silence]")
				b.Until(`document.querySelector('form.silence') !== null`)
			case quiet:
				b.Click("#alert-list summary")
			}
			for _, size := range []struct {
				name, scheme string
				width        int64
			}{{"wide-light", "light", 1440}, {"wide-dark", "dark", 1440}, {"narrow-light", "light", 390}, {"narrow-dark", "dark", 390}} {
				_, err := chromedp.Call(b.Context, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
					Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: size.scheme}},
				})
				require.NoError(t, err)
				require.NoError(t, chromedp.Do(b.Context, chromedp.EmulateViewport(size.width, 900)))
				b.Until(`document.documentElement.dataset.theme === '` + size.scheme + `'`)
				// Nothing sticks out, once the list has followed the window.
				b.Until(`(() => {
					const list = document.querySelector('#alert-list');
					return list.scrollWidth <= list.clientWidth && list.getBoundingClientRect().right <= innerWidth && list.getBoundingClientRect().left >= 0;
				})()`)
				picture, err := chromedp.Run(b.Context, chromedp.CaptureScreenshot())
				require.NoError(t, err)
				if dir := os.Getenv("SCREENSHOTS"); dir != "" {
					require.NoError(t, os.WriteFile(filepath.Join(dir, shot.name+"-"+size.name+".png"), picture, 0o600))
				}
			}
			require.Empty(t, b.Complaints())
		})
	}
}
