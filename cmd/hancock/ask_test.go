package main

import (
	"bytes"
	"context"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAsk asks a running process from the command line: in a process of its own
// where main has a part in it.
func TestAsk(t *testing.T) {
	t.Parallel()
	dir, model := t.TempDir(), newFakeModel(t)
	configure(t, dir, model.url, "")
	p := startHancock(t, dir)
	for _, tc := range []struct {
		name, stdin string
		args        []string
		stdout      string
		stderr      string
		own         bool
	}{
		{"words", "", []string{"what", "is", "this"}, "to: what is this\n", "", false},
		{"stream", "", []string{"--stream", "--mode=soc", "what is this"}, "to: what is this\n", "", false},
		{"piped", "Failed password for root", []string{"--mode", "soc", "triage this"}, "to: triage this\n\nFailed password for root\n", "", true},
		{"only piped", "Failed password", nil, "to: Failed password\n", "", false},
		{"a word with @", "", []string{"@everyone what is this"}, "to: @everyone what is this\n", "", true},
		{"nothing", "", nil, "", "hancock: ask what? ", false},
		{"unknown mode", "", []string{"--mode=hacking", "x"}, "", "hancock: enum value must be one of pentest,soc", false},
		{"model fails", "", []string{"fail"}, "", "(status 502, request ", false},
		{"nobody there", "", []string{"--url=http://127.0.0.1:1", "x"}, "", "connection refused (is hancock running there?)", false},
		{"no address", "", []string{"--url=localhost:5000", "x"}, "", "--url: must be like http://127.0.0.1:5000", false},
		{"password in the address", "", []string{"--url=http://u:p@127.0.0.1:1", "x"}, "", "hancock: asking http://127.0.0.1:1: ", false},
		{"too much", strings.Repeat("x", maxInput+1), []string{"x"}, "", "standard input is larger than 1MiB", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			args := append([]string{"ask"}, tc.args...)
			if !strings.Contains(strings.Join(tc.args, " "), "--url") {
				args = append(args, "--url="+p.base)
			}
			var stdout, stderr bytes.Buffer
			var ok bool
			if tc.own {
				cmd := exec.CommandContext(context.Background(), p.cmd.Path, args...)
				cmd.Dir, cmd.Env = dir, p.cmd.Env
				cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(tc.stdin), &stdout, &stderr
				ok = cmd.Run() == nil
			} else {
				ok = run(args, noEnvironment, streams{in: strings.NewReader(tc.stdin), out: &stdout, err: &stderr}) == 0
			}
			require.Equal(t, tc.stderr == "", ok, stderr.String())
			require.Equal(t, tc.stdout, stdout.String())
			require.Contains(t, stderr.String(), tc.stderr)
			require.LessOrEqual(t, strings.Count(stderr.String(), "\n"), 1)
		})
	}
	p.stop()
}

// TestHealthcheck asks a running process, and one that is gone, as the health
// check of a container does.
func TestHealthcheck(t *testing.T) {
	t.Parallel()
	dir, model := t.TempDir(), newFakeModel(t)
	configure(t, dir, model.url, "")
	p := startHancock(t, dir)
	run := func() (string, int) {
		cmd := exec.CommandContext(context.Background(), p.cmd.Path, "healthcheck", "--url="+p.base)
		cmd.Dir, cmd.Env = dir, p.cmd.Env
		out, _ := cmd.CombinedOutput()
		return string(out), cmd.ProcessState.ExitCode()
	}
	out, code := run()
	require.Equal(t, "ok\n", out)
	require.Zero(t, code)
	p.stop()
	out, code = run()
	require.Contains(t, out, "connection refused")
	require.Equal(t, 1, code)
}
