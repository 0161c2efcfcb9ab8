package requestlog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"net/url"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/rules"
	"github.com/stretchr/testify/require"
)

type (
	hidden  struct{ secret string }
	locked  struct{ _ sync.Mutex }
	shown   struct{ Name string }
	named   struct{ Name string }
	panics  struct{ Name string }
	valuer  struct{ password string }
	grouped struct{ password string }
)

func (n named) String() string      { return "named " + n.Name }
func (*panics) String() string      { panic("no text") }
func (*panics) Error() string       { panic("no text") }
func (valuer) LogValue() slog.Value { return slog.DurationValue(time.Second) }
func (grouped) LogValue() slog.Value {
	return slog.GroupValue(slog.String("user", "u"), slog.Duration("age", time.Minute))
}

// TestValues writes a value of every kind.
func TestValues(t *testing.T) {
	second := 1500 * time.Millisecond
	address, err := url.Parse("https://user:sesame@example.org/x?y=z")
	require.NoError(t, err)
	expr, err := parser.NewParser(parser.Options{}).ParseExpr("up == 0")
	require.NoError(t, err)
	rule := rules.NewAlertingRule("Down", expr, time.Minute, 0, labels.FromStrings("severity", "page"), labels.EmptyLabels(), labels.EmptyLabels(), "", false, nil)
	for name, tc := range map[string]struct {
		value any
		want  string // as JSON
	}{
		"duration":                    {second, `"1.5s"`},
		"pointer to a duration":       {&second, `"1.5s"`},
		"list of durations":           {[]time.Duration{second, 0}, `["1.5s","0s"]`},
		"map of durations":            {map[string]time.Duration{"a": second}, `{"a":"1.5s"}`},
		"Prometheus' duration":        {model.Duration(second), `"1s500ms"`},
		"time":                        {time.Date(2026, 7, 25, 12, 0, 0, 0, time.UTC), `"2026-07-25T12:00:00Z"`},
		"month":                       {time.July, `"July"`},
		"text":                        {"a", `"a"`},
		"number":                      {uint64(math.MaxUint64), `18446744073709551615`},
		"not a number":                {math.NaN(), `"NaN"`},
		"endless":                     {[]float64{1, math.Inf(-1)}, `[1,"-Inf"]`},
		"nil":                         {nil, `null`},
		"nil pointer":                 {(*named)(nil), `null`},
		"nil error in a list":         {[]error{nil, errors.New("a")}, `[null,"a"]`},
		"error":                       {fmt.Errorf("a: %w", errors.New("b")), `"a: b"`},
		"joined errors":               {errors.Join(errors.New("a"), errors.New("b")), `"a\nb"`},
		"map of errors":               {map[string]error{"x": errors.New("a")}, `{"x":"a"}`},
		"Stringer":                    {named{"a"}, `"named a"`},
		"pointer to a Stringer":       {&named{"a"}, `"named a"`},
		"list of Stringers":           {[]fmt.Stringer{named{"a"}, second}, `["named a","1.5s"]`},
		"nested lists":                {[][]named{{{"a"}}}, `[["named a"]]`},
		"number with a name":          {syscall.SIGTERM, `"terminated"`},
		"fingerprint":                 {model.Fingerprint(255), `"00000000000000ff"`},
		"rule":                        {rule, `"alert: Down\nexpr: up == 0\nfor: 1m\nlabels:\n  severity: page\n"`},
		"rule of a file":              {&rulefmt.Rule{Alert: "A", Expr: "up"}, `{"Record":"","Alert":"A"`},
		"labels":                      {labels.FromStrings("a", "b"), `{"a":"b"}`},
		"label set":                   {model.LabelSet{"a": "b"}, `{"a":"b"}`},
		"address":                     {address, `"https://user:xxxxx@example.org/x?y=z"`},
		"address by value":            {*address, `"https://user:xxxxx@example.org/x?y=z"`},
		"address of a configuration":  {config.URL{URL: address}, `"https://user:xxxxx@example.org/x?y=z"`},
		"IP address":                  {netip.MustParseAddr("::1"), `"::1"`},
		"secret":                      {config.Secret("sesame"), `"\u003csecret\u003e"`},
		"struct with exported fields": {shown{"a"}, `{"Name":"a"}`},
		"struct without":              {hidden{"sesame"}, `"requestlog.hidden"`},
		"pointer to one":              {&hidden{"sesame"}, `"*requestlog.hidden"`},
		"with a lock":                 {&locked{}, `"*requestlog.locked"`},
		"list of such":                {[]any{hidden{"sesame"}, 1, "x", []byte("y")}, `["requestlog.hidden",1,"x","eQ=="]`},
		"method that panics":          {&panics{}, `"%!v(PANIC=Error method: no text)"`},
		"LogValuer":                   {valuer{"sesame"}, `"1s"`},
		"LogValuer in a list":         {[]any{valuer{"sesame"}, grouped{"sesame"}}, `["1s",{"age":"1m0s","user":"u"}]`},
		"LogValuer that is a group":   {grouped{"sesame"}, `{"user":"u","age":"1m0s"}`},
		"function":                    {func() {}, `"func()"`},
		"channel":                     {make(chan int), `"chan int"`},
		"complex number":              {1i, `"(0+1i)"`},
		"raw JSON":                    {json.RawMessage(`{"a":1}`), `{"a":1}`},
	} {
		t.Run(name, func(t *testing.T) {
			for place, write := range map[string]func(*slog.Logger){
				"of the line":   func(l *slog.Logger) { l.Info("m", "value", tc.value) },
				"of the logger": func(l *slog.Logger) { l.With("value", tc.value).Info("m") },
				"in a group":    func(l *slog.Logger) { l.WithGroup("g").Info("m", "value", tc.value) },
			} {
				var out bytes.Buffer
				write(New(&out, slog.LevelInfo))
				require.NotContains(t, out.String(), "sesame", place)
				require.NotContains(t, out.String(), "!ERROR", place)
				require.NotContains(t, out.String(), "{}", place)
				require.True(t, json.Valid(out.Bytes()), "%s: %s", place, out.String())
				require.Contains(t, out.String(), `"value":`+tc.want, place)
			}
		})
	}
}
