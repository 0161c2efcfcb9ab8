package render_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"text/template"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/cyberviser/hancock/internal/render"
)

// input is a text template with the name that it greets.
type input struct{ Text, Name string }

// kind renders text templates that may ask.
func kind() render.Kind {
	return render.Kind{Name: "text", Types: []any{input{}, ""}, Render: func(_ context.Context, in any, ask render.Ask) (string, error) {
		t, err := template.New("").Funcs(template.FuncMap{
			"ask": func(q string) (any, error) { return ask(q) },
			"env": func() string { return fmt.Sprint(os.Environ()) },
			"die": func() string { panic("dead") },
			"exit": func() string {
				fmt.Fprintln(os.Stderr, "the reason")
				os.Exit(1)
				return ""
			},
			"pid": os.Getpid,
		}).Parse(in.(input).Text)
		if err != nil {
			return "", err
		}
		var b strings.Builder
		err = t.Execute(&b, in.(input).Name)
		return b.String(), err
	}}
}

// asParent makes the test binary a parent that waits for a template without end.
const asParent = "HANCOCK_TEST_PARENT"

func TestMain(m *testing.M) {
	render.Child(kind())
	if os.Getenv(asParent) != "" {
		p := render.New(render.Options{}, kind())
		_, err := p.Render(context.Background(), jobs("{{ pid }}"), nil)
		_, err2 := p.Render(context.Background(), jobs("{{ ask (pid | printf `%d`) }}{{ range 1000000000000 }}{{ end }}"), func(_ int, q any) (any, error) {
			fmt.Println(q)
			return "", nil
		})
		fmt.Println(errors.Join(err, err2))
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func jobs(texts ...string) (all []render.Job) {
	for _, text := range texts {
		all = append(all, render.Job{Kind: "text", Input: input{text, "you"}, Size: len(text)})
	}
	return all
}

func newProcess(t *testing.T, o render.Options) *render.Process {
	t.Helper()
	p := render.New(o, kind())
	t.Cleanup(p.Close)
	return p
}

func TestRender(t *testing.T) {
	p := newProcess(t, render.Options{})
	answer := func(job int, q any) (any, error) {
		if q == "bad" {
			return nil, errors.New("no answer")
		}
		return fmt.Sprint(q, " of ", job), nil
	}
	results, err := p.Render(t.Context(), jobs("hello {{ . }}", "{{ nope }}", "{{ .X }}", `{{ ask "a" }}, {{ ask "b" }}`, `{{ ask "bad" }}`, "{{ die }}", "{{ env }}", ""), answer)
	require.NoError(t, err)
	require.Equal(t, "hello you", results[0].Text)
	require.Contains(t, results[1].Err, `function "nope" not defined`)
	require.Contains(t, results[2].Err, "can't evaluate field X")
	require.Equal(t, "a of 3, b of 3", results[3].Text)
	require.Contains(t, results[4].Err, "no answer")
	require.Contains(t, results[5].Err, "dead")
	require.Equal(t, "[]", results[6].Text)
	require.Equal(t, render.Result{}, results[7])

	// Many jobs and large ones go in batches through one child.
	many := make([]string, 2000)
	for i := range many {
		many[i] = "{{ pid }} " + strings.Repeat("x", i) + ` {{ ask "q" }}`
	}
	results, err = p.Render(t.Context(), jobs(many...), answer)
	require.NoError(t, err)
	pid, _, _ := strings.Cut(results[0].Text, " ")
	for i, r := range results {
		require.Equal(t, fmt.Sprintf("%s %s q of %d", pid, strings.Repeat("x", i), i), r.Text)
	}
	require.True(t, p.Started())
	unused := newProcess(t, render.Options{})
	results, err = unused.Render(t.Context(), nil, nil)
	require.NoError(t, err)
	require.Empty(t, results)
	require.False(t, unused.Started())
}

// A template that exceeds a limit ends its child; those before it are there, and the next call has another child.
func TestLimits(t *testing.T) {
	p := newProcess(t, render.Options{})
	for text, want := range map[string]string{
		strings.Repeat("x", render.MaxOutput+1):                                                     "has 65537 bytes, more than the limit of 65536",
		"{{ range 1000000000000 }}{{ end }}":                                                        "does not end within 5s",
		`{{ $s := "0123456789" }}{{ range 31 }}{{ $s = print $s $s }}{{ end }}`:                     "more than 64 MiB of memory",
		`{{ define "a" }}{{ template "a" . }}{{ end }}{{ template "a" . }}`:                         "calls itself too deeply",
		`{{ range 101 }}{{ ask "a" }}{{ end }}`:                                                     "more than 100 queries",
		`{{ range 101 }}{{ with $x := ask "a" }}{{ end }}{{ end }}{{ range 1000000000000 }}{{end}}`: "more than 100 queries",
	} {
		results, err := p.Render(t.Context(), jobs("one", "two", text, "four"), func(int, any) (any, error) { return "", nil })
		exceeded, ok := errors.AsType[*render.BoundError](err)
		require.True(t, ok, "%v: %.80s", err, text)
		require.Contains(t, exceeded.Bound, want)
		require.Equal(t, 2, exceeded.Job)
		require.Equal(t, []render.Result{{Text: "one"}, {Text: "two"}}, results)
	}
	results, err := p.Render(t.Context(), jobs(strings.Repeat("x", render.MaxOutput), "{{ exit }}"), nil)
	require.ErrorContains(t, err, "the reason")
	require.Len(t, results, 1)

	// The time of an answer is not that of the template.
	slow := newProcess(t, render.Options{MaxTotal: time.Nanosecond})
	results, err = slow.Render(t.Context(), jobs(`{{ ask "a" }}`), func(int, any) (any, error) {
		time.Sleep(render.MaxTime + time.Second)
		return "yes", nil
	})
	require.NoError(t, err)
	require.Equal(t, "yes", results[0].Text)
	_, err = newProcess(t, render.Options{MaxTotal: time.Minute}).Render(t.Context(), jobs("x", "{{ range 100000 }}{{ end }}", "x"), nil)
	require.NoError(t, err)
	p = newProcess(t, render.Options{MaxTotal: time.Nanosecond})
	_, err = p.Render(t.Context(), jobs("{{ range 1000000 }}{{ with $ }}{{ end }}{{ end }}"), nil)
	require.NoError(t, err)
	_, err = p.Render(t.Context(), jobs("x"), nil)
	require.ErrorContains(t, err, "more than 1ns beside a millisecond for each")
}

func TestCancelled(t *testing.T) {
	p := newProcess(t, render.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	_, err := p.Render(ctx, jobs(`{{ ask "a" }}{{ range 1000000000000 }}{{ end }}`), func(int, any) (any, error) {
		cancel()
		return "", nil
	})
	require.ErrorIs(t, err, context.Canceled)
}

// The child ends when its parent is killed, even in a template without end.
func TestParentKilled(t *testing.T) {
	parent := exec.CommandContext(t.Context(), os.Args[0])
	parent.Env = append(os.Environ(), asParent+"=1")
	stdout, err := parent.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, parent.Start())
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	require.NoError(t, err, line)
	require.True(t, running(t, pid))
	require.NoError(t, parent.Process.Kill())
	require.Error(t, parent.Wait())
	require.Eventually(t, func() bool { return !running(t, pid) }, time.Minute, time.Millisecond)
}

// running reports whether there is a process that has not ended.
func running(t *testing.T, pid int) bool {
	t.Helper()
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if errors.Is(err, os.ErrNotExist) {
		return syscall.Kill(pid, 0) == nil
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(after, "Z") && after != ""
}

// BenchmarkStart is the cost of the first template.
func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		p := render.New(render.Options{}, kind())
		_, err := p.Render(b.Context(), jobs("hello {{ . }}"), nil)
		require.NoError(b, err)
		p.Close()
	}
}

// BenchmarkRender is the cost of each further template, in batches.
func BenchmarkRender(b *testing.B) {
	p := render.New(render.Options{}, kind())
	defer p.Close()
	texts := make([]string, 256)
	for i := range texts {
		texts[i] = "hello {{ . }}"
	}
	all := jobs(texts...)
	for b.Loop() {
		_, err := p.Render(b.Context(), all, nil)
		require.NoError(b, err)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(all)), "ns/template")
}
