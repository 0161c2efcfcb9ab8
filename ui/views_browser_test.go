//go:build browser

package ui

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/prometheus/alertmanager/matcher/parse"
	"github.com/prometheus/alertmanager/pkg/labels"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/ui/browsertest"
)

const (
	settled = `document.querySelector('[data-status]')?.dataset.status === 'live' && document.querySelector('[data-refresh]').ariaBusy === 'false'`
	field   = `document.querySelector('[data-expression] textarea').value`
)

// text is the text of the first element that a selector matches.
func text(b *browsertest.Browser, selector string) string {
	return browsertest.Eval[string](b, fmt.Sprintf(`document.querySelector(%q)?.innerText ?? 'nothing matches'`, selector))
}

// openView opens a view of the page below its prefix.
func openView(t *testing.T, api *fakeAPI, address string) *browsertest.Browser {
	t.Helper()
	b := browsertest.Open(t, 1440)
	b.Navigate(servePage(t, api) + address)
	return b
}

// TestExpressionView: an expression of a link is shown and not run; then chart and table are of the link's range.
func TestExpressionView(t *testing.T) {
	const expr = `up{job="a+b", path=~"/x.*"} == 0 # "ü" <b>`
	api := &fakeAPI{}
	b := openView(t, api, "graph?"+url.Values{
		"g0.expr": {expr}, "g0.tab": {"1"}, "g0.range_input": {"30m"}, "g0.end_input": {"2026-01-02 03:04:05"},
		"g1.expr": {"second\nline"}, "g1.tab": {"0"},
	}.Encode())
	b.Until(settled)
	require.Equal(t, expr, browsertest.Eval[string](b, field))
	require.Equal(t, "second\nline", browsertest.Eval[string](b, `document.querySelectorAll('[data-expression] textarea')[1].value`))
	require.Equal(t, "30m 2026-01-02 03:04:05", browsertest.Eval[string](b, `(() => { const f = document.querySelector('[data-expression]'); return f.range.value + ' ' + f.end.value; })()`))
	require.Contains(t, text(b, "[data-idle]"), "runs when you press Run")
	require.Empty(t, api.queries(), "nothing runs before a click")

	b.Click("[data-run]")
	b.Until(`document.querySelectorAll('[data-result] [data-row]').length === 1 && document.querySelector('[data-result] canvas') !== null`)
	require.Equal(t, "1234", text(b, "[data-row] .number"))
	require.Equal(t, []string{"m{instance=\"line-0\", mode=\"line-0\", endpoint=\"line-0\"}"}, browsertest.Eval[[]string](b, `[...document.querySelectorAll('[data-row] code')].map((e) => e.textContent).map((s) => s.replace(/\{.*\}/, (m) => '{' + m.slice(1, -1).split(', ').sort((a, b) => 'ime'.indexOf(a[0]) - 'ime'.indexOf(b[0])).join(', ') + '}'))`))
	require.True(t, browsertest.Eval[bool](b, `document.querySelector('[data-result]').firstElementChild.querySelector('table') !== null`), "tab 1 is the table")
	end := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).Unix()
	require.ElementsMatch(t, []string{fmt.Sprintf("%s %d", expr, end), fmt.Sprintf("%s %d", expr, end)}, api.queries(), "only what was run")
	require.Equal(t, expr, browsertest.Eval[string](b, `new URLSearchParams(location.search).get('g0.expr')`))
	require.Equal(t, 0, browsertest.Eval[int](b, `document.querySelectorAll('#app b, #app script').length`))
	require.Empty(t, b.Complaints())
}

// TestExpressionViewSaysWhatIsWrong: the place of a parse error, a range that is none, an empty result.
func TestExpressionViewSaysWhatIsWrong(t *testing.T) {
	api := &fakeAPI{}
	b := openView(t, api, "query?"+url.Values{"g0.expr": {"sum by (ä) (up)\n+ äö(((x"}}.Encode())
	b.Click("[data-run]")
	b.Until(`document.querySelector('[data-error]') !== null`)
	require.Contains(t, text(b, "[data-error]"), `Line 2, column 5: unexpected "<img src=x>"`, "Prometheus counts bytes: its column 7")
	require.Equal(t, "(", text(b, "mark"))
	require.Equal(t, "+ äö(((x", text(b, ".excerpt"))

	set := func(name, value string) {
		browsertest.Eval[bool](b, fmt.Sprintf(`(() => { const f = document.querySelector('[data-expression]')[%q]; f.value = %q; f.dispatchEvent(new Event('input', {bubbles: true})); return true; })()`, name, value))
	}
	set("expr", "up")
	set("range", "soon")
	asked := len(api.queries())
	b.Click("[data-run]")
	b.Until(`document.querySelector('[data-error]')?.innerText.includes('not a duration')`)
	set("range", "1h")
	set("end", "yesterday")
	b.Click("[data-run]")
	b.Until(`document.querySelector('[data-error]')?.innerText.includes('not a time')`)
	require.Len(t, api.queries(), asked)
	set("end", "")

	api.set("empty")
	browsertest.Eval[bool](b, `(document.querySelector('[data-expression] textarea').focus(), true)`)
	require.NoError(t, chromedp.Do(b.Context, chromedp.KeyEvent(kb.Enter, chromedp.KeyModifiers(2)))) // Ctrl
	b.Until(`document.querySelector('[data-empty]')?.innerText.includes('The result is empty')`)
	require.Contains(t, text(b, "[data-undrawn]"), "no result in this range")

	api.set("hostile")
	b.Click("[data-run]")
	b.Until(`document.querySelector('[data-row]')?.innerText.includes('<img src=x')`)
	require.Equal(t, 0, browsertest.Eval[int](b, `document.querySelectorAll('#app img, #app script').length`))
	api.set("negative")
	b.Click("[data-run]")
	b.Until(`document.querySelector('[data-result] canvas') !== null && document.querySelector('[data-result]').dataset.stale === 'false'`)
	require.Empty(t, b.Complaints())
}

// TestTableViews: data, no data, and an API that does not answer.
func TestTableViews(t *testing.T) {
	tests := []struct {
		view, full string
		empty      []string
	}{
		{"targets", "connection refused <img", []string{"No targets are configured."}},
		{"config", "scrape_interval: 15s # <img", []string{"Nothing is configured."}},
		{"status", "hancock_requests_total <img", []string{"Nothing is stored."}},
	}
	for _, tt := range tests {
		t.Run(tt.view, func(t *testing.T) {
			api := &fakeAPI{}
			b := openView(t, api, tt.view)
			b.Until(settled + ` && document.querySelector('[data-view]')?.dataset.state === 'ready'`)
			require.Equal(t, tt.view, browsertest.Eval[string](b, `document.querySelector('[data-view]').dataset.view`))
			require.Contains(t, text(b, "main"), tt.full)
			require.Equal(t, 0, browsertest.Eval[int](b, `document.querySelectorAll('#app img, #app script').length`))
			require.Empty(t, api.queries(), "the dashboard's panels are not asked")

			api.set("empty")
			b.Click("[data-refresh]")
			for _, words := range tt.empty {
				b.Until(fmt.Sprintf(`document.querySelector('main').innerText.includes(%q)`, words))
			}
			api.set("gone")
			b.Click("[data-refresh]")
			b.Until(`document.querySelector('[data-view]').dataset.state === 'error'`)
			require.Contains(t, text(b, "[data-error]"), "Below is what was last known")
			require.Empty(t, b.Complaints())
		})
	}
	t.Run("a place in it", func(t *testing.T) {
		b := openView(t, &fakeAPI{}, "flags")
		b.Until(`location.pathname.endsWith('/status') && document.querySelector('#flags') !== null`)
		b.Until(`document.querySelector('#flags').getBoundingClientRect().bottom <= innerHeight + 80`)
		require.Empty(t, b.Complaints())
	})
}

// TestFilteredAlerts: the links of Alertmanager's page show what they name.
func TestFilteredAlerts(t *testing.T) {
	others := []fakePost{{"DiskFull", "critical", "pager"}, {"DiskSlow", "warning", "pager"}, {"Elsewhere", "critical", "team (a)"}}
	tests := []struct {
		name, hash string
		want       []string
		note       string
	}{
		{"equal", `filter={alertname="DiskFull"}`, []string{"DiskFull firing"}, `alertname="DiskFull"`},
		{"regular expression of Go", `filter={alertname=~"(?i)disk.*"}`, []string{"DiskFull firing", "DiskSlow firing"}, `alertname=~"(?i)disk.*"`},
		{"negative", `filter={severity!="critical",alertname!~"Watch.*"}`, []string{"DiskSlow firing"}, `severity!="critical", alertname!~"Watch.*"`},
		{"UTF-8 name", `filter={"service.name"="x"}`, []string{}, `"service.name"="x"`},
		{"without braces", `filter=severity="warning"`, []string{"DiskSlow firing"}, `severity="warning"`},
		{"receiver", `receiver=pager`, []string{"DiskFull firing", "DiskSlow firing"}, "receiver pager"},
		{"receiver as Alertmanager writes it", `receiver=team+%5C%28a%5C%29`, []string{"Elsewhere firing"}, "receiver team (a)"},
		{"receiver by its plain name", `receiver=team+%28a%29`, []string{"Elsewhere firing"}, "receiver team (a)"},
		{"receivers", `receiver=pager%7Cnobody`, []string{"DiskFull firing", "DiskSlow firing"}, "receiver pager|nobody"},
		{"both", `silenced=false&active=true&filter={severity="critical"}&receiver=pager`, []string{"DiskFull firing"}, `{severity="critical"}, receiver pager`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			api := &fakeAPI{manager: fakeManager{quiet: true, others: others}}
			api.set("quiet")
			query, err := url.ParseQuery(tt.hash)
			require.NoError(t, err)
			b := openView(t, api, "#/alerts?"+query.Encode())
			b.Until(settled + ` && document.querySelector('[data-filter]') !== null`)
			b.Until(fmt.Sprintf(`%s.length === %d`, listed, len(tt.want)))
			require.ElementsMatch(t, tt.want, browsertest.Eval[[]string](b, listed))
			require.Contains(t, text(b, "[data-filter]"), tt.note)
			if len(tt.want) == 0 {
				b.Until(`document.querySelector('[data-alerts-empty]')?.innerText.includes('No active alert matches')`)
			}
			b.Click("[data-filter-clear]")
			b.Until(listed + `.length === 3`)
			require.Empty(t, b.Complaints())
		})
	}
	t.Run("unreadable", func(t *testing.T) {
		api := &fakeAPI{manager: fakeManager{quiet: true, others: others}}
		api.set("quiet")
		b := openView(t, api, `#/alerts?filter=`+url.QueryEscape(`{alertname="Dis<img src=x>`))
		b.Until(`document.querySelector('[data-filter-error]') !== null && ` + listed + `.length === 3`)
		require.Contains(t, text(b, "[data-filter-error]"), "position 12: the closing quote is missing")
	})
}

// TestLinkedSilences: the form has all matchers of the link, and a silence is found by its id.
func TestLinkedSilences(t *testing.T) {
	const filter = `{alertname="DiskFull",severity!="info",site=~"he.*|th\"ere",zone!~"x\\d",service.name="ü <img src=x>"}`
	api := &fakeAPI{manager: fakeManager{quiet: true, others: []fakePost{{"DiskFull", "critical", "pager"}}}}
	api.set("quiet")
	b := openView(t, api, "#/silences/new?filter="+url.QueryEscape(filter)+"&comment=why+%3Cb%3E")
	b.Until(settled + ` && document.querySelectorAll('[data-matcher]').length === 5`)
	require.Equal(t, filter, browsertest.Eval[string](b, `document.querySelector('[data-silence-new]').matchers.value`))
	require.Equal(t, []string{`alertname="DiskFull"`, `severity!="info"`, `site=~"he.*|th\"ere"`, `zone!~"x\\d"`, `"service.name"="ü <img src=x>"`},
		browsertest.Eval[[]string](b, `[...document.querySelectorAll('[data-matcher]')].map((e) => e.innerText)`))
	b.Until(`document.querySelector('[data-matched]')?.innerText.includes('No active alert')`)
	require.Empty(t, api.manager.posted, "nothing is silenced before a click")
	write := func(matchers string) {
		browsertest.Eval[bool](b, fmt.Sprintf(`(() => { const f = document.querySelector('[data-silence-new]').matchers; f.value = %q; f.dispatchEvent(new Event('input', {bubbles: true})); return true; })()`, matchers))
	}
	write(`alertname=DiskFull,site=~`)
	b.Until(`document.querySelector('[data-matchers-error]')?.innerText.includes('position 26: expected a label value')`)
	write(`alertname=DiskFull, site=~"he.*"`)
	b.Until(`document.querySelector('[data-matched]')?.innerText.includes('1 active alert matches now')`)
	b.Click("[data-silence-new] button")
	b.Until(`document.querySelector('[data-silenced]') !== null && document.querySelector('[data-silence-new]') === null`)
	api.manager.change(func() {
		require.Len(t, api.manager.posted, 1)
		require.Equal(t, "why <b>", api.manager.posted[0]["comment"])
		require.Equal(t, []any{
			map[string]any{"name": "alertname", "value": "DiskFull", "isRegex": false, "isEqual": true},
			map[string]any{"name": "site", "value": "he.*", "isRegex": true, "isEqual": true},
		}, api.manager.posted[0]["matchers"])
	})

	// The same tab is sent to further links.
	b.Navigate(browsertest.Eval[string](b, `location.href.split('#')[0]`) + "#/silences/silence-1")
	b.Until(`document.querySelector('[data-silence-linked=active]')?.innerText.includes('alertname="DiskFull"')`)
	api.manager.change(func() {
		old := fakeSilence("old", "expired")
		api.manager.expired = []map[string]any{old}
	})
	b.Navigate(browsertest.Eval[string](b, `location.href.split('#')[0]`) + "#/silences/old")
	b.Until(`document.querySelector('[data-silence-linked=expired]')?.innerText.includes('expired')`)
	require.Equal(t, 0, browsertest.Eval[int](b, `document.querySelectorAll('[data-silence-linked] button').length`))
	b.Navigate(browsertest.Eval[string](b, `location.href.split('#')[0]`) + "#/silences/never")
	b.Until(`document.querySelector('[data-silence-missing]') !== null`)
	require.Equal(t, 0, browsertest.Eval[int](b, `document.querySelectorAll('#app img, #app b').length`))
	require.Empty(t, b.Complaints())
}

func fakeSilence(id, state string) map[string]any {
	return map[string]any{
		"id": id, "matchers": []any{map[string]any{"name": "site", "value": "he.*", "isRegex": true, "isEqual": true}},
		"startsAt": "2026-01-02T03:04:05Z", "endsAt": time.Now().Add(3 * time.Hour).UTC(), "createdBy": "ops", "comment": "planned work",
		"status": map[string]string{"state": state},
	}
}

// TestMatchersAreRead compares the page's reading of matchers with Alertmanager's own.
func TestMatchersAreRead(t *testing.T) {
	inputs := []string{
		``, `{}`, `{a="b"}`, `a=b`, `{a=b,}`, ` { a = "b" , c != d } `, `{a=~"x|y",b!~"(z)+"}`, `{"service.name"="x"}`, `{service.name="x"}`, `{ü=ö}`,
		`{"a b"="c d"}`, `{a="\"\\\n\t\x41\101\u00fc\U0001F525"}`, `{a="\xc3\xbc"}`, `{a="\xff"}`, `{a="\ud800"}`, `{a="\q"}`, `{a="\'"}`, "{a=\"b\nc\"}",
		`{a="b"`, `a="b"}`, `{a="b"} x`, `{a="b",,c="d"}`, `{a}`, `{a=}`, `{="b"}`, `a=="b"`, `a=b c=d`, `{a!b}`, `"a`, `{a="b\"}`, `a='b'`, "a=`b`", `{,a=b}`,
		`{a="日本",b="🔥"}`, `{a=""}`, `{""="b"}`, `a = ~b`, `a=~b`, `{{a=b}}`, `{a=b},`,
	}
	for _, m := range []labels.Matcher{
		{Name: "a", Value: `back\slash "quoted"` + "\n\ttab", Type: labels.MatchNotEqual},
		{Name: "with space", Value: "x\u0085\u2028\ufeff", Type: labels.MatchRegexp},
		{Name: `q"uote`, Value: "\x00\x01\u200b", Type: labels.MatchNotRegexp},
	} {
		inputs = append(inputs, m.String(), labels.Matchers{&m, &m}.String())
	}
	u := newUI(t, Options{})
	b := openView(t, &fakeAPI{}, "")
	type matcher struct {
		Name, Value      string
		IsRegex, IsEqual bool
	}
	for _, input := range inputs {
		t.Run(input, func(t *testing.T) {
			src, err := json.Marshal(input)
			require.NoError(t, err)
			got := browsertest.Eval[struct {
				Matchers []matcher
				Filter   []string
				Error    string
			}](b, fmt.Sprintf(`import('./%s').then(({parseMatchers, formatMatcher}) => { try { const m = parseMatchers(%s); return {Matchers: m, Filter: m.map(formatMatcher), Error: ''}; } catch (e) { return {Matchers: [], Filter: [], Error: e.message}; } })`,
				u.Asset("page/matchers.js"), src))
			want, err := parse.Matchers(input)
			if err != nil {
				require.NotEmpty(t, got.Error, "%v", err)
				return
			}
			require.Empty(t, got.Error)
			require.Len(t, got.Matchers, len(want))
			for i, m := range want {
				require.Equal(t, matcher{
					m.Name, m.Value, m.Type == labels.MatchRegexp || m.Type == labels.MatchNotRegexp, m.Type == labels.MatchRegexp || m.Type == labels.MatchEqual,
				}, got.Matchers[i])
				again, err := parse.Matcher(got.Filter[i])
				require.NoError(t, err, "what the page sends is read again")
				require.Equal(t, m.String(), again.String())
			}
		})
	}
}

// TestHeaderCountsEveryAlert: those of rules and those that were posted, each once; what is unknown is grey.
func TestHeaderCountsEveryAlert(t *testing.T) {
	var many []fakePost
	for i := range 25 {
		severity := "warning"
		if i < 9 {
			severity = "critical"
		}
		many = append(many, fakePost{fmt.Sprintf("Posted%d", i), severity, "pager"})
	}
	tests := []struct {
		name, rules, manager string
		others               []fakePost
		quiet                bool
		state, text, title   string
	}{
		{"posted alone", "quiet", "", many, true, "firing", "25 firing 9 critical, 16 warning", "25 firing · Hancock"},
		{"posted and of rules", "", "", many, false, "firing", "26 firing 10 critical, 16 warning", "26 firing · Hancock"},
		{"posted, without rules", "no rules", "", many, true, "firing", "25 firing 9 critical, 16 warning, others unknown", "25 firing · Hancock"},
		{"of rules, without Alertmanager", "", "away", many, false, "firing", "1 firing critical, others unknown", "1 firing · Hancock"},
		{"nothing", "quiet", "", nil, true, "inactive", "No alerts", "Hancock"},
		{"no severity", "quiet", "", []fakePost{{"A", "", ""}, {"B", "sev1", ""}}, true, "firing", "2 firing", "2 firing · Hancock"},
		{"one severity", "quiet", "", many[:9], true, "firing", "9 firing all critical", "9 firing · Hancock"},
		{"nothing known without Alertmanager", "quiet", "away", many, true, "unknown", "Alerts unknown", "Alerts unknown · Hancock"},
		{"nothing known without rules", "no rules", "", nil, true, "unknown", "Alerts unknown", "Alerts unknown · Hancock"},
		{"neither", "no rules", "away", many, true, "unknown", "Alerts unknown", "Alerts unknown · Hancock"},
		{"not evaluated yet", "young", "", nil, true, "unknown", "Rules not evaluated yet", "Alerts unknown · Hancock"},
	}
	green := `getComputedStyle(document.querySelector('[data-alerts] .mark')).backgroundColor`
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			api := &fakeAPI{manager: fakeManager{quiet: tt.quiet, others: tt.others, mode: tt.manager}}
			api.set(tt.rules)
			b := openView(t, api, "")
			b.Until(fmt.Sprintf(`%s && document.querySelector('[data-alerts]').dataset.alerts === %q`, settled, tt.state))
			require.Equal(t, tt.text, browsertest.Eval[string](b, chip))
			b.Until(fmt.Sprintf(`document.title === %q`, tt.title)) // set after the frame
			if tt.state == "unknown" {
				require.Equal(t, "rgba(0, 0, 0, 0)", browsertest.Eval[string](b, green), "a ring without a colour")
			}
		})
	}
	t.Run("before the first answer", func(t *testing.T) {
		api := &fakeAPI{cancelled: make(chan string, 100)}
		api.set("hang")
		b := openView(t, api, "")
		b.Until(`document.querySelector('[data-alerts]') !== null`)
		require.NotEqual(t, "inactive", browsertest.Eval[string](b, `document.querySelector('[data-alerts]').dataset.alerts`))
	})
	t.Run("later", func(t *testing.T) {
		api := &fakeAPI{manager: fakeManager{quiet: true}}
		api.set("quiet")
		b := openView(t, api, "")
		b.Until(settled + ` && document.querySelector('[data-alerts]').dataset.alerts === 'inactive'`)
		api.manager.change(func() { api.manager.others = many })
		b.Click("[data-refresh]")
		b.Until(`document.querySelector('[data-alerts]').dataset.alerts === 'firing'`)
		require.Equal(t, "25 firing 9 critical, 16 warning", browsertest.Eval[string](b, chip))
		api.set("gone")
		b.Click("[data-refresh]")
		b.Until(`document.querySelector('[data-alerts]').dataset.alerts === 'unknown'`)
		require.Empty(t, b.Complaints())
	})
}

// TestPageShowsItsViews keeps pictures of the views in the directory that SCREENSHOTS names, and looks that nothing sticks
// out of them.
func TestPageShowsItsViews(t *testing.T) {
	long := `sum by (endpoint, mode) (rate(hancock_requests_total{instance=~"127.0.0.1:.*"}[5m])) / on() group_left() sum(rate(hancock_requests_total[5m])) > 0.05`
	expression := "graph?" + url.Values{"g0.expr": {long}, "g0.tab": {"1"}}.Encode()
	many := []fakePost{{"DiskFull", "critical", "pager"}, {"DiskSlow", "warning", "pager"}, {"Elsewhere", "info", "chat"}}
	full := func() *fakeAPI { return &fakeAPI{manager: fakeManager{others: many, notifies: true}} }
	empty := &fakeAPI{}
	empty.set("empty")
	run := func(b *browsertest.Browser) {
		b.Click("[data-run]")
		b.Until(`document.querySelector('[data-result], [data-error]') !== null`)
	}
	ready := func(b *browsertest.Browser) {
		b.Until(`document.querySelector('[data-view]')?.dataset.state === 'ready'`)
	}
	list := func(b *browsertest.Browser) {
		b.Until(`document.querySelector('#alert-list').matches(':popover-open')`)
	}
	shots := []struct {
		name, address string
		api           *fakeAPI
		prepare       func(*browsertest.Browser)
	}{
		{"query-idle", expression, full(), nil},
		{"query-full", expression, full(), run},
		{"query-empty", expression, empty, run},
		{"query-error", "query?" + url.Values{"g0.expr": {long + "\n  unless sum((("}}.Encode(), full(), run},
		{"targets", "targets", full(), ready},
		{"targets-empty", "targets", empty, ready},
		{"config", "config", full(), ready},
		{"status", "status", full(), ready},
		{"alerts-filtered", "#/alerts?receiver=pager&filter=" + url.QueryEscape(`{alertname=~"Disk.*"}`), full(), list},
		{"silence-new", "#/silences/new?filter=" + url.QueryEscape(`{alertname="DiskFull",severity="critical",service.name=~"api.*"}`), full(), list},
		{"silence-missing", "#/silences/gone", full(), list},
	}
	for _, shot := range shots {
		t.Run(shot.name, func(t *testing.T) {
			b := openView(t, shot.api, shot.address)
			b.Until(settled)
			if shot.prepare != nil {
				shot.prepare(b)
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
				b.Until(`document.documentElement.scrollWidth <= innerWidth && document.querySelector('#alert-list').scrollWidth <= document.querySelector('#alert-list').clientWidth`)
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
