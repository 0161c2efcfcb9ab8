//go:build browser

package ui

import (
	"fmt"
	"testing"
	"time"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/performance"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/ui/browsertest"
)

const (
	// The charts are made after the frame that shows their panels.
	allReady = `document.querySelectorAll('[data-panel][data-state=ready][data-stale=false]').length === 10 && document.querySelectorAll('[data-kind=timeseries] canvas').length === 6`
	live     = `document.querySelector('[data-status]')?.dataset.status === 'live'`
)

func TestPageDrawsThePanels(t *testing.T) {
	api := &fakeAPI{}
	for _, width := range []int64{1440, 390} {
		t.Run(fmt.Sprintf("%d px", width), func(t *testing.T) {
			b := browsertest.Open(t, width)
			b.Navigate(servePage(t, api))
			b.Until(live + " && " + allReady)

			board, err := Dashboard()
			require.NoError(t, err)
			var names []string
			for _, p := range board.Panels {
				names = append(names, p.Name)
			}
			require.ElementsMatch(t, names, browsertest.Eval[[]string](b, `[...document.querySelectorAll('[data-panel]')].map((p) => p.dataset.panel)`))
			require.ElementsMatch(t, names, browsertest.Eval[[]string](b, `[...document.querySelectorAll('[data-panel] h2')].map((h) => h.textContent)`))
			require.Equal(t, 6, browsertest.Eval[int](b, `document.querySelectorAll('[data-kind=timeseries] canvas').length`))
			require.Equal(t, 18, browsertest.Eval[int](b, `document.querySelectorAll('[data-kind=timeseries] [data-series]').length`))
			require.Equal(t, "1,234", browsertest.Eval[string](b, `document.querySelector('[data-panel="Total Requests (stat)"] [data-value]').innerText`))
			require.Equal(t, "v1.2.3", browsertest.Eval[string](b, `document.querySelector('[data-version]').innerText`))
			require.Equal(t, 1, browsertest.Eval[int](b, `document.querySelectorAll('[data-demo]').length`))
			require.Equal(t, "ok", browsertest.Eval[string](b, `document.querySelector('[data-health]').dataset.health`))
			require.Equal(t, 1, browsertest.Eval[int](b, `document.querySelectorAll('main, header.top').length / 2`))
			b.Until(fmt.Sprintf(`document.documentElement.scrollWidth <= %d`, width)) // nothing sticks out, once the charts have their width
			require.Empty(t, b.Complaints())
		})
	}
}

func TestPageDrawsGapsAsGaps(t *testing.T) {
	b := browsertest.Open(t, 1440)
	b.Navigate(servePage(t, &fakeAPI{}))
	b.Until(allReady)
	// Two strokes in a small line of a number: one before the gap, one after it.
	require.Equal(t, 2, browsertest.Eval[int](b, `document.querySelector('[data-kind=stat] .spark-line').getAttribute('d').split('M').length - 1`))
	// And in a chart, once it is drawn, the columns of the gap hold no colour but the grid's.
	b.Until(`(() => {
		const canvas = document.querySelector('[data-panel="Memory Usage"] canvas');
		const over = document.querySelector('[data-panel="Memory Usage"] .u-over');
		const at = (part) => {
			const x = Math.round((over.offsetLeft + over.offsetWidth * part) * devicePixelRatio);
			const data = canvas.getContext('2d').getImageData(x, 0, 1, over.offsetHeight * devicePixelRatio).data;
			return [...data].some((v, i) => i % 4 === 1 && data[i + 2] > 0 && Math.max(data[i - 1], v, data[i + 1]) - Math.min(data[i - 1], v, data[i + 1]) > 60);
		};
		return at(0.2) && !at(0.45) && at(0.8);
	})()`)
}

func TestPageTakesLabelsAsText(t *testing.T) {
	api := &fakeAPI{}
	api.set("hostile")
	b := browsertest.Open(t, 1440)
	b.Navigate(servePage(t, api))
	b.Until(allReady)
	b.Click("[data-alerts]")
	b.Until(`document.querySelector('[data-alert=HancockNoTraffic]')?.textContent.includes('<script>')`)
	b.Click("[data-health]")
	require.Contains(t, browsertest.Eval[string](b, `document.querySelector('[data-panel="Requests by Mode"] [data-series]').innerText`), "<img src=x")
	require.Contains(t, browsertest.Eval[string](b, `document.querySelector('[data-check=disk]').textContent`), "<script>")
	api.set("one error")
	b.Click("[data-refresh]")
	b.Until(`document.querySelector('[data-error]')?.innerText.includes('<img src=x')`)
	require.Equal(t, 0, browsertest.Eval[int](b, `document.querySelectorAll('img, #app script').length`))
	b.Until(`document.title === '1 firing · Hancock'`) // set after the frame
	require.Empty(t, b.Complaints())
}

func TestPageKeepsOnePanelsErrorInThatPanel(t *testing.T) {
	api := &fakeAPI{}
	b := browsertest.Open(t, 1440)
	b.Navigate(servePage(t, api))
	b.Until(allReady)
	api.set("one error")
	b.Click("[data-refresh]")
	b.Until(`document.querySelector('[data-panel="Requests by Mode"]').dataset.state === 'error'`)
	require.Equal(t, 9, browsertest.Eval[int](b, `document.querySelectorAll('[data-panel][data-state=ready][data-stale=false]').length`))
	require.Equal(t, "true", browsertest.Eval[string](b, `document.querySelector('[data-panel="Requests by Mode"]').dataset.stale`))
	require.Equal(t, 1, browsertest.Eval[int](b, `document.querySelectorAll('[data-panel="Requests by Mode"] canvas').length`), "old data stay")
	api.set("")
	b.Click("[data-refresh]")
	b.Until(allReady)
}

func TestPageSurvivesAnOutage(t *testing.T) {
	api := &fakeAPI{}
	b := browsertest.Open(t, 1440)
	b.Navigate(servePage(t, api))
	b.Until(allReady)
	api.set("gone")
	b.Click("[data-refresh]")
	b.Until(`document.querySelector('[data-status]').dataset.status === 'outage'`)
	require.Equal(t, 1, browsertest.Eval[int](b, `document.querySelectorAll('[data-outage]').length`))
	require.Equal(t, 10, browsertest.Eval[int](b, `document.querySelectorAll('[data-panel][data-state=ready][data-stale=true]').length`))
	require.Equal(t, 6, browsertest.Eval[int](b, `document.querySelectorAll('canvas').length`), "old data stay")
	require.Contains(t, browsertest.Eval[string](b, `document.querySelector('[aria-live=polite]').textContent`), "does not answer")
	api.set("")
	b.Until(live + " && " + allReady)
	require.Equal(t, 0, browsertest.Eval[int](b, `document.querySelectorAll('[data-outage]').length`))
	require.Empty(t, b.Complaints())
}

func TestPageBeginsDuringAnOutage(t *testing.T) {
	api := &fakeAPI{}
	api.set("gone")
	b := browsertest.Open(t, 1440)
	b.Navigate(servePage(t, api))
	b.Until(`document.querySelector('[data-status]')?.dataset.status === 'outage'`)
	api.set("")
	b.Until(live + " && " + allReady)
}

// TestPageRenewsItself runs the page's waits a hundred times as fast.
func TestPageRenewsItself(t *testing.T) {
	api := &fakeAPI{}
	b := browsertest.Open(t, 1440)
	_, err := chromedp.Call(b.Context, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: `
		const wait = setTimeout;
		window.setTimeout = (f, ms, ...args) => wait(f, ms >= 1000 ? ms / 100 : ms, ...args);
		window.pass = (ms) => new Promise((r) => wait(r, ms));
		let hidden = false;
		Object.defineProperty(document, 'hidden', { get: () => hidden });
		window.setHidden = (value) => { hidden = value; document.dispatchEvent(new Event('visibilitychange')); return true; };`})
	require.NoError(t, err)
	b.Navigate(servePage(t, api))
	b.Until(allReady)
	const updated = `Number(document.querySelector('[data-updated]').dataset.updated)`
	b.Until(fmt.Sprintf("%s > %d", updated, browsertest.Eval[int64](b, updated)))

	browsertest.Eval[bool](b, `setHidden(true)`)
	b.Until(`document.querySelector('[data-paused=true]') && document.querySelector('[data-refresh]').ariaBusy === 'false'`)
	api.set("")
	asked := api.manager.calls("")
	require.Positive(t, asked)
	browsertest.Eval[bool](b, `pass(1500).then(() => true)`)
	require.Empty(t, api.askedSteps(), "nobody looks, so nothing is asked")
	require.Equal(t, asked, api.manager.calls(""), "nor Alertmanager")

	browsertest.Eval[bool](b, `setHidden(false)`)
	require.Eventually(t, func() bool { return len(api.askedSteps()) > 0 }, time.Minute, 10*time.Millisecond)
	require.Empty(t, b.Complaints())
}

func TestPageWithoutData(t *testing.T) {
	api := &fakeAPI{}
	api.set("empty")
	b := browsertest.Open(t, 1440)
	address := servePage(t, api)
	b.Navigate(address)
	b.Until(`document.querySelectorAll('[data-panel][data-state=empty]').length === 10`)
	require.Contains(t, browsertest.Eval[string](b, `document.querySelector('[data-first-steps]').innerText`), "curl -s "+address+"v1/ask")
	api.set("")
	b.Click("[data-refresh]")
	b.Until(allReady + ` && document.querySelector('[data-first-steps]') === null`)
}

func TestPageChangesItsRange(t *testing.T) {
	api := &fakeAPI{cancelled: make(chan string, 100)}
	b := browsertest.Open(t, 1440)
	b.Navigate(servePage(t, api) + "#range=6h")
	b.Until(allReady)
	require.Equal(t, "6h", browsertest.Eval[string](b, `document.querySelector('[data-range]').dataset.range`))
	require.NotContains(t, api.askedSteps(), "15")

	// A choice made while answers are awaited takes those questions back.
	api.set("hang")
	b.Click("input[value='15d']")
	b.Until(`location.hash === '#range=15d' && document.querySelector('[data-refresh]').ariaBusy === 'true'`)
	require.Eventually(t, func() bool { return len(api.askedSteps()) > 0 }, time.Minute, 10*time.Millisecond)
	api.set("")
	b.Click("input[value='5m']")
	b.Until(`document.querySelector('[data-range]').dataset.range === '5m' && document.querySelector('[data-refresh]').ariaBusy === 'false'`)
	select {
	case <-api.cancelled:
	case <-t.Context().Done():
	}
	require.Contains(t, api.askedSteps(), "15")
	b.Until(allReady)

	browsertest.Eval[bool](b, `(history.back(), true)`)
	b.Until(`document.querySelector('[data-range]').dataset.range === '15d' && document.querySelector('input[value="15d"]').checked`)
	require.Empty(t, b.Complaints())
}

func TestPageZoomsByDragging(t *testing.T) {
	b := browsertest.Open(t, 1440)
	b.Navigate(servePage(t, &fakeAPI{}))
	b.Until(allReady)
	box := browsertest.Eval[[]float64](b, `(() => { const r = document.querySelector('.u-over').getBoundingClientRect(); return [r.left, r.top, r.width, r.height]; })()`)
	at := func(part float64) (float64, float64) { return box[0] + box[2]*part, box[1] + box[3]/2 }
	x0, y := at(0.25)
	x1, _ := at(0.75)
	require.NoError(t, chromedp.Do(b.Context,
		chromedp.MouseEvent(chromedp.MouseMoved, x0-5, y),
		chromedp.MouseEvent(chromedp.MouseMoved, x0, y),
		chromedp.MouseEvent(chromedp.MousePressed, x0, y, chromedp.ButtonLeft, chromedp.ClickCount(1)),
		chromedp.MouseEvent(chromedp.MouseMoved, (x0+x1)/2, y, chromedp.ButtonLeft),
		chromedp.MouseEvent(chromedp.MouseMoved, x1, y, chromedp.ButtonLeft),
		chromedp.MouseEvent(chromedp.MouseReleased, x1, y, chromedp.ButtonLeft, chromedp.ClickCount(1)),
	))
	b.Until(`document.querySelector('[data-range]').dataset.range === 'fixed'`)
	length := browsertest.Eval[int](b, `(() => { const p = new URLSearchParams(location.hash.slice(1)); return p.get('to') - p.get('from'); })()`)
	require.InDelta(t, 1800, length, 60)
	b.Click("[data-range-reset]")
	b.Until(`document.querySelector('[data-range]').dataset.range === '1h'`)
}

func TestPageReadsOutTheCursor(t *testing.T) {
	b := browsertest.Open(t, 1440)
	b.Navigate(servePage(t, &fakeAPI{}))
	// What fires is announced in the same place, and might come after the reading.
	b.Until(allReady + ` && document.querySelector('[data-alerts]').dataset.alerts === 'firing'`)
	browsertest.Eval[bool](b, `(document.querySelector('.plot').focus(), true)`)
	require.NoError(t, chromedp.Do(b.Context, chromedp.KeyEvent(kb.ArrowLeft)))
	b.Until(`document.querySelectorAll('[data-cursor]').length === 6`)
	b.Until(`document.querySelector('[aria-live=polite]').textContent.includes('line-0 ')`)
}

func TestPageRemembersItsTheme(t *testing.T) {
	b := browsertest.Open(t, 1440)
	address := servePage(t, &fakeAPI{})
	b.Navigate(address)
	b.Until(allReady)
	const theme = `document.documentElement.dataset.theme`
	first := browsertest.Eval[string](b, theme)
	b.Click("[data-theme-toggle]")
	second := browsertest.Eval[string](b, theme)
	require.NotEqual(t, first, second)
	b.Navigate(address + "?again")
	b.Until(allReady)
	require.Equal(t, second, browsertest.Eval[string](b, theme))
	b.Click("[data-theme-toggle]")
	require.True(t, browsertest.Eval[bool](b, `localStorage.getItem('hancock-theme') === null`), "back at what the system says, it follows the system")
	require.Empty(t, b.Complaints())
}

// TestPageStaysSmall: a page that is left open all day keeps no charts, nodes or listeners of the past.
func TestPageStaysSmall(t *testing.T) {
	api := &fakeAPI{}
	b := browsertest.Open(t, 1440)
	b.Navigate(servePage(t, api))
	b.Until(allReady)
	_, err := chromedp.Call(b.Context, performance.Enable, performance.EnableParams{})
	require.NoError(t, err)

	// A day has 2,880 refreshes; what leaks would show after some dozens. Every fifth one loses all
	// series and gets them back, which destroys and makes the charts anew.
	rounds := func(n int) {
		for i := range n {
			if i%5 == 0 {
				api.set("empty")
				b.Click("[data-refresh]")
				b.Until(`document.querySelectorAll('[data-panel][data-state=empty]').length === 10`)
				api.set("")
			}
			b.Click("[data-refresh]")
			b.Until(allReady + ` && document.querySelector('[data-refresh]').ariaBusy === 'false'`)
		}
	}
	rounds(10)
	before := b.Counters()
	rounds(50)
	after := b.Counters()
	for name, growth := range map[string]float64{"Nodes": 1.1, "JSEventListeners": 1.1, "JSHeapUsedSize": 1.25} {
		t.Logf("%s: %.0f, then %.0f", name, before[name], after[name])
		require.LessOrEqual(t, after[name], before[name]*growth, name)
	}
}
