package amcompat_test

import (
	"bytes"
	"log/slog"
	"sync"
	"testing"

	"github.com/prometheus/alertmanager/config"
	"github.com/prometheus/alertmanager/matcher/compat"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/internal/amcompat"
)

// TestInit is also for the race detector: whoever calls Init may parse at once.
func TestInit(t *testing.T) {
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			amcompat.Init()
			if !compat.IsValidLabelName("service.name") || compat.IsValidLabelName("") || compat.IsValidLabelName(model.LabelName("\xff")) {
				t.Error("not the names of the UTF-8 syntax")
			}
			if m, err := compat.Matcher(`"service.name"="a"`, "api"); err != nil || m.Name != "service.name" {
				t.Errorf("%v: %v", m, err)
			}
		})
	}
	all.Wait()
}

func TestWarnings(t *testing.T) {
	amcompat.Init()
	for name, tt := range map[string]struct {
		text string
		want []amcompat.Warning
	}{
		"both syntaxes": {text: `
route:
  receiver: r
  matchers: [severity="critical", 'team=~"a|b"', '{"service.name"="x"}', 'service.name=x', '"städte"!="köln"']
receivers: [{name: r}]
`},
		"classic only": {
			text: `
route:
  receiver: r
  routes:
    - matchers: ['a="b"', "job=~one two"]
    - routes: [{matchers: ['url=~^(a|b)$,x=y z']}]
inhibit_rules:
  - source_matchers:
      - foo=
      - bar=baz qux
    target_matchers: &same [x="y"]
  - {source_matchers: *same, target_matchers: ['path=\d+']}
receivers: [{name: r}]
`,
			want: []amcompat.Warning{
				{[]any{"route", "routes", 0, "matchers", 1}, "job=~one two is only valid in the classic syntax of matchers", `write job=~"one two"`},
				{[]any{"route", "routes", 1, "routes", 0, "matchers", 0}, "url=~^(a|b)$,x=y z is only valid in the classic syntax of matchers", `write url=~"^(a|b)$", x="y z"`},
				{[]any{"inhibit_rules", 0, "source_matchers", 0}, "foo= is only valid in the classic syntax of matchers", `write foo=""`},
				{[]any{"inhibit_rules", 0, "source_matchers", 1}, "bar=baz qux is only valid in the classic syntax of matchers", `write bar="baz qux"`},
				{[]any{"inhibit_rules", 1, "target_matchers", 0}, `path=\d+ is only valid in the classic syntax of matchers`, `write path="\\d+"`},
			},
		},
		"two meanings": {
			text: "route: {receiver: r}\ninhibit_rules: [{source_matchers: ['a=\"\\u00e9\"'], target_matchers: [b=c]}]\nreceivers: [{name: r}]\n",
			want: []amcompat.Warning{{
				[]any{"inhibit_rules", 0, "source_matchers", 0},
				`a="\u00e9" has one meaning in the classic syntax of matchers, which applies, and another in the UTF-8 syntax`, `write a="\\u00e9"`,
			}},
		},
		"elsewhere": {text: `
route: {receiver: r, annotations: {matchers: ['x=a b']}}
receivers: [{name: r, webhook_configs: [{matchers: ['x=a b']}]}]
`},
		"no YAML": {text: "\t{"},
		"empty":   {text: ""},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, tt.want, amcompat.Warnings(tt.text))
		})
	}
}

// TestWarningsHelp: what a warning says to write has the same meaning, and no warning.
func TestWarningsHelp(t *testing.T) {
	amcompat.Init()
	load := func(matcher string) (*config.Config, []amcompat.Warning) {
		text := "route: {receiver: r, routes: [{receiver: r, matchers: [" + matcher + "]}]}\nreceivers: [{name: r}]\n"
		cfg, err := config.Load(text)
		require.NoError(t, err)
		return cfg, amcompat.Warnings(text)
	}
	before, warnings := load(`'job=~one two \w+'`)
	require.Len(t, warnings, 1)
	after, warnings := load("'" + before.Route.Routes[0].Matchers[0].String() + "'")
	require.Empty(t, warnings)
	require.Equal(t, before.Route.Routes[0].Matchers[0].String(), after.Route.Routes[0].Matchers[0].String())
}

// TestRequestsAreNotWarnedOf parses what requests bring: nothing that an operator who does not debug has to read.
func TestRequestsAreNotWarnedOf(t *testing.T) {
	amcompat.Init()
	before := slog.Default()
	defer slog.SetDefault(before)
	var out bytes.Buffer
	level := new(slog.LevelVar)
	slog.SetDefault(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: level})))
	_, err := compat.Matcher("job=~one two", "api")
	require.NoError(t, err)
	require.Empty(t, out.String())

	level.Set(slog.LevelDebug)
	_, err = compat.Matcher("job=~one two", "api")
	require.NoError(t, err)
	require.Contains(t, out.String(), `level=DEBUG msg="matcher parsed in classic syntax" input="job=~one two" origin=api suggestion="job=~\"one two\""`)
	out.Reset()
	_, err = compat.Matcher(`job="one"`, "api")
	require.NoError(t, err)
	require.Empty(t, out.String())
}
