package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	amconfig "github.com/prometheus/alertmanager/config"
	promconfig "github.com/prometheus/prometheus/config"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/cyberviser/hancock/cmd/hancock/internal/config"
)

// setting is one setting of the configuration, changed while the process runs.
type setting struct {
	name  string
	value any
	// observe asks the process what the setting does; want is the answer once it has taken the value, and no other time.
	observe func(*bench) string
	want    string
	// with are the other settings that it takes to see this one.
	with map[string]any
	// sticks says that what was observed does not go away with the value.
	sticks bool
}

// with is shorter to write.
type with = map[string]any

// bench is a process whose configuration is changed again and again.
type bench struct {
	*process
	dir  string
	base map[string]any
	// server and others answer as models do, sink takes what is sent to it, exporter has one metric.
	server, other, third *echoModel
	sink                 *sink
	// exporter and silent are addresses: of metrics, and of a server that takes connections and says nothing.
	exporter, silent string
	asked, seen      int64
}

// key is the API key of those settings that need one. It is always sent, but by open.
const key = "sesame"

// newBench starts a process with a base configuration in which everything can be observed.
func newBench(t *testing.T, args ...string) *bench {
	t.Helper()
	b := &bench{dir: t.TempDir(), server: newEchoModel(t), other: newEchoModel(t), third: newEchoModel(t), sink: newSink(t)}
	exporter := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "accepts{what=%q,long_name_of_a_label=\"long value of a label\"} 1\nanother 1\n", strings.Split(r.Header.Get("Accept"), ";")[0])
	}))
	t.Cleanup(exporter.Close)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, silent.Close()) })
	b.silent = silent.Addr().String()
	b.exporter = strings.TrimPrefix(exporter.URL, "http://")
	endpoint := func(m *echoModel) with {
		return with{"base_url": m.url + "/v1", "model": "first-model", "coder_model": "first-coder"}
	}
	b.base = with{
		"web": with{"shutdown_timeout": "80s"},
		"agent": with{
			"rate_limit": 100000, "timeout": "20s", "retry_wait": "1ms",
			"ollama": endpoint(b.server), "nvidia": endpoint(b.other), "openai": endpoint(b.third),
			"health": with{"cache_ttl": "1h", "metric_age": "0", "traffic_age": "1ms", "min_disk": "1MiB", "min_memory": "1MiB"},
		},
		"prometheus": with{
			"global":         with{"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
			"scrape_configs": []any{job("other")},
		},
		"alertmanager": with{
			"route":     with{"receiver": "nobody", "group_wait": "1s", "repeat_interval": "1h"},
			"receivers": []any{with{"name": "nobody"}},
		},
	}
	for name, text := range map[string]string{
		"jobs-1.yml":  "scrape_configs: [{job_name: filed, static_configs: [{targets: ['" + b.exporter + "']}]}]",
		"rules-1.yml": "groups: [{name: g, rules: [{alert: FromAFile, expr: vector(1)}]}]",
		"one.tmpl":    `{{ define "one" }}one{{ end }}`,
		"key":         key, "viewer": "viewer\n", "model-key": "k-3\n", "secret": "s", "slack": b.sink.url + "/slack", "teams": b.sink.url + "/teams",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(b.dir, name), []byte(text), 0o600))
	}
	b.write(nil)
	b.process = startHancock(t, b.dir, args...)
	return b
}

// job scrapes the exporter.
func job(name string) with {
	return with{"job_name": name, "static_configs": []any{with{"targets": []string{"$EXPORTER"}}}}
}

// write replaces the configuration file by the base with some settings changed.
func (b *bench) write(changes map[string]any) {
	text, err := json.Marshal(b.base)
	var now map[string]any
	if err == nil {
		err = json.Unmarshal(text, &now)
	}
	if err == nil {
		for name, value := range changes {
			at := now
			path := strings.Split(name, ".")
			for _, part := range path[:len(path)-1] {
				below, ok := at[part].(map[string]any)
				if !ok {
					below = map[string]any{}
					at[part] = below
				}
				at = below
			}
			at[path[len(path)-1]] = value
		}
		text, _ = yaml.Marshal(now)
		known := strings.NewReplacer("$SERVER", b.server.url, "$OTHER", b.other.url, "$SINK", b.sink.url, "$EXPORTER", b.exporter, "$SILENT", b.silent, "$DIR", b.dir)
		err = os.WriteFile(filepath.Join(b.dir, "hancock.yml"), []byte(known.Replace(string(text))), 0o600)
	}
	if err != nil {
		panic(err)
	}
}

// reload applies changes to the base and returns what needs a restart.
func (b *bench) reload(changes map[string]any) []string {
	b.t.Helper()
	b.write(changes)
	code, body, _ := b.ask("POST", "/-/reload", "")
	require.Equal(b.t, http.StatusOK, code, "%s: %v", body, changes)
	var answer reloadAnswer
	require.NoError(b.t, json.Unmarshal([]byte(body), &answer))
	return answer.NeedRestart
}

// ask sends a request with the key and pairs of further headers.
func (b *bench) ask(method, path, body string, headers ...string) (int, string, http.Header) {
	return b.open(method, path, body, append(headers, "Authorization", "Bearer "+key)...)
}

// open sends a request without the key.
func (b *bench) open(method, path, body string, headers ...string) (int, string, http.Header) {
	r, err := http.NewRequestWithContext(b.t.Context(), method, b.process.base+path, strings.NewReader(body))
	require.NoError(b.t, err)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		}
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err.Error(), nil
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(b.t, err)
	return resp.StatusCode, string(text), resp.Header
}

// code is the status of a request.
func code(method, path, body string, headers ...string) func(*bench) string {
	return func(b *bench) string {
		status, _, _ := b.ask(method, path, body, headers...)
		return strconv.Itoa(status)
	}
}

// shows tells whether the answer to a request has a text.
func shows(path, text string) func(*bench) string {
	return func(b *bench) string {
		status, body, _ := b.ask("GET", path, "")
		require.Equal(b.t, http.StatusOK, status, body)
		return strconv.FormatBool(strings.Contains(body, text))
	}
}

// answers is what the model says to a question.
func answers(question string) func(*bench) string {
	return func(b *bench) string {
		path := "/v1/ask"
		body := `{"question":"` + question + `"}`
		if question == "code" {
			path, body = "/v1/code", `{"task":"code"}`
		}
		_, text, _ := b.ask("POST", path, body)
		return text
	}
}

// says tells whether the model's answer has a text.
func says(question, text string) func(*bench) string {
	return func(b *bench) string { return strconv.FormatBool(strings.Contains(answers(question)(b), text)) }
}

// change takes a setting through its life.
func (b *bench) change(s setting) {
	b.t.Helper()
	b.reload(s.with)
	b.until(s, "nothing", func(got string) bool { return got != s.want })
	changed := with{s.name: s.value}
	maps.Copy(changed, s.with)
	require.Empty(b.t, b.reload(changed), s.name)
	b.until(s, "it was changed", func(got string) bool { return got == s.want })
	if s.sticks {
		return
	}
	require.Empty(b.t, b.reload(s.with), s.name)
	b.until(s, "it was taken back", func(got string) bool { return got != s.want })
}

// until waits until what is observed is as it should be.
func (b *bench) until(s setting, when string, right func(string) bool) {
	b.t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	got := s.observe(b)
	for ; !right(got); got = s.observe(b) {
		if time.Now().After(deadline) {
			require.FailNow(b.t, "not within "+patience.String(), "%s: %q after %s, want %q", s.name, got, when, s.want)
		}
		<-tick.C
	}
}

// settingNames are those of all settings of a section: structs are sections of their own.
func settingNames(prefix string, section reflect.Type, sections ...string) (names []string) {
	for f := range section.Fields() {
		tag, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if tag == "" || tag == "-" {
			continue
		}
		kind, name := f.Type, prefix+"."+tag
		if kind.Kind() == reflect.Pointer {
			kind = kind.Elem()
		}
		if kind.Kind() == reflect.Struct && (sections == nil || slices.Contains(sections, name)) {
			names = append(names, settingNames(name, kind, sections...)...)
			continue
		}
		names = append(names, name)
	}
	return names
}

// allSettings are the names of all settings that there are.
func allSettings() (names []string) {
	c := reflect.TypeFor[config.Config]()
	for _, section := range []string{"Web", "Agent", "Storage", "Alerting"} {
		f, _ := c.FieldByName(section)
		names = append(names, settingNames(strings.ToLower(section), f.Type)...)
	}
	names = append(names, settingNames("prometheus", reflect.TypeFor[promconfig.Config](),
		"prometheus.global", "prometheus.storage", "prometheus.storage.tsdb", "prometheus.storage.exemplars")...)
	return append(names, settingNames("alertmanager", reflect.TypeFor[amconfig.Config](), "none")...)
}

// TestEverySettingIsReloaded wants each setting of the configuration in a table, in which it is changed while the
// process runs, and its effect seen. A setting that is added later is missing there.
func TestEverySettingIsReloaded(t *testing.T) {
	have := map[string]bool{
		// A start alone takes these.
		"web.listen_address": true, "web.config_file": true, "storage.path": true,
		// TestReloadOfAnOpenListener, TestReloadOfTheShutdownTimeout.
		"web.allow_unauthenticated": true, "web.shutdown_timeout": true,
		// TestConnectionsPerClient of package web: it does not bound this machine.
		"web.max_connections_per_client": true,
		// They have no effect, of which a start and a reload warn.
		"prometheus.runtime": true, "prometheus.tracing": true, "alertmanager.tracing": true, "alertmanager.event_recorder": true,
	}
	for _, table := range [][]setting{webSettings(), agentSettings(), storageSettings(), prometheusSettings(), alertmanagerSettings()} {
		for _, s := range table {
			name := s.name
			for _, part := range []string{".translation_strategy", ".resolve_timeout"} { // of a section that is compared as a whole
				name = strings.TrimSuffix(name, part)
			}
			require.False(t, have[name], "twice: %s", name)
			have[name] = true
		}
	}
	all := allSettings()
	for _, name := range all {
		require.True(t, have[name], "no test changes %s while the process runs", name)
		delete(have, name)
	}
	require.Empty(t, have, "settings that there are not")
}

// TestReloadedSettings changes every setting while a process runs.
func TestReloadedSettings(t *testing.T) {
	for name, table := range map[string][]setting{
		"web": webSettings(), "agent": agentSettings(), "storage": storageSettings(),
		"prometheus": prometheusSettings(), "alertmanager": alertmanagerSettings(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.scrapes(1)
			for _, s := range table {
				t.Run(s.name, func(t *testing.T) {
					of, p := *b, *b.process
					p.t, of.process = t, &p
					of.change(s)
				})
			}
			require.NotContains(t, b.stop(), "DATA RACE")
		})
	}
}

// echoModel is an OpenAI-compatible server that answers with what it was sent. "fail" is answered with 503, "slow"
// after a while, and "hold" when it is let go.
type echoModel struct {
	url          string
	calls, looks atomic.Int64
	held         chan struct{}
	release      chan struct{}
}

func newEchoModel(t *testing.T) *echoModel {
	t.Helper()
	m := &echoModel{held: make(chan struct{}, 100), release: make(chan struct{})}
	s := httptest.NewServer(m)
	t.Cleanup(s.Close)
	m.url = s.URL
	return m
}

func (m *echoModel) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	slowly := func() {
		timer := time.NewTimer(time.Second)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
		}
	}
	w.Header().Set("Content-Type", "application/json")
	if r.Method == http.MethodGet {
		m.looks.Add(1)
		if strings.HasPrefix(r.URL.Path, "/slow/") {
			slowly()
		}
		fmt.Fprint(w, `{"object":"list","data":[{"id":"first-model","object":"model"},{"id":"first-coder","object":"model"},{"id":"second-model","object":"model"}]}`)
		return
	}
	m.calls.Add(1)
	var in struct {
		Model    string
		Stream   bool
		Messages []struct{ Content string }
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil || len(in.Messages) == 0 {
		http.Error(w, `{"error":{"message":"bad request"}}`, http.StatusBadRequest)
		return
	}
	switch question := in.Messages[len(in.Messages)-1].Content; question {
	case "fail":
		http.Error(w, `{"error":{"message":"overloaded"}}`, http.StatusServiceUnavailable)
		return
	case "slow":
		slowly()
	case "hold":
		m.held <- struct{}{}
		<-m.release
	}
	if in.Stream {
		w.Header().Set("Content-Type", "text/event-stream")
		for range 3 {
			fmt.Fprintf(w, "data: {\"id\":\"1\",\"object\":\"chat.completion.chunk\",\"model\":%q,\"choices\":[{\"index\":0,\"delta\":{\"content\":\"piece \"}}]}\n\n", in.Model)
			w.(http.Flusher).Flush()
		}
		fmt.Fprint(w, "data: [DONE]\n\n")
		return
	}
	answer := fmt.Sprintf("path %s host http://%s key %s org %s", r.URL.Path, r.Host, r.Header.Get("Authorization"), r.Header.Get("OpenAI-Organization"))
	fmt.Fprintf(w, `{"id":"1","object":"chat.completion","model":%q,"choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":%s}}],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}`,
		in.Model, quoted(answer))
}

// sink takes everything and counts it by path.
type sink struct {
	url string
	got [256]atomic.Int64
}

func newSink(t *testing.T) *sink {
	t.Helper()
	s := new(sink)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		s.got[r.URL.Path[1]].Add(1)
	}))
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

// count is how many requests had a path that begins with letter.
func (s *sink) count(letter byte) int64 { return s.got[letter].Load() }
