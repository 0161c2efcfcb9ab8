package main

import (
	"net"
	"os/exec"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"
)

// TestScripts runs the command lines of testdata/script.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status": wantStatus,
			"taken":  takePort,
		},
	})
}

// wantStatus runs a command that must end with the given exit status, and with
// one line on standard error when that is not 0.
func wantStatus(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status CODE COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	code := 0
	if exit, ok := err.(*exec.ExitError); ok { //nolint:errorlint // Exec returns it as it is.
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if code != want {
		ts.Fatalf("exit status %d, want %d", code, want)
	}
}

// takePort listens on a free port until the script ends, and puts its address
// into the variable that it is given.
func takePort(ts *testscript.TestScript, _ bool, args []string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Setenv(args[0], ln.Addr().String())
	ts.Defer(func() { _ = ln.Close() })
}

// TestSecondProcess starts a second hancock on the folder of a running one.
func TestSecondProcess(t *testing.T) {
	t.Parallel()
	dir, model := t.TempDir(), newFakeModel(t)
	configure(t, dir, model.url, "")
	p := startHancock(t, dir)
	second := exec.CommandContext(t.Context(), p.cmd.Path)
	second.Dir, second.Env = dir, p.cmd.Env
	out, err := second.CombinedOutput()
	require.Error(t, err)
	require.Equal(t, 1, second.ProcessState.ExitCode())
	require.Regexp(t, `(?m)^hancock: opening storage: .*data.*another`, string(out))
	p.scrapes(1) // the first one goes on
	p.stop()
}
