package main

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestReadmeCommands runs each curl line of the README, as it is printed,
// against a demonstration. Only the port is another one.
func TestReadmeCommands(t *testing.T) {
	t.Parallel()
	src, err := os.ReadFile(root + "/README.md")
	require.NoError(t, err)
	commands := regexp.MustCompile(`(?m)^curl .*$`).FindAllString(string(src), -1)
	require.GreaterOrEqual(t, len(commands), 12, "one for each endpoint")
	p := startHancock(t, t.TempDir(), "demo", "--web.listen-address=127.0.0.1:0")
	for _, command := range commands {
		command = strings.ReplaceAll(command, "http://127.0.0.1:5000", p.base)
		// The simulated model fails now and then on purpose; a person tries again.
		var out []byte
		p.eventually(command, func() bool {
			out, err = exec.CommandContext(t.Context(), "sh", "-c", strings.Replace(command, "curl ", "curl -sS --fail-with-body ", 1)).CombinedOutput()
			// A stream that breaks off has begun with 200, and tells the failure as its last event.
			failed := err != nil || strings.Contains(string(out), `"error":`)
			return !failed || !strings.Contains(string(out), "backend")
		})
		require.NoError(t, err, "%s\n%s", command, out)
		if strings.Contains(command, `"stream": true`) {
			require.Contains(t, string(out), `"done":true`, command)
		} else {
			require.Contains(t, string(out), `"model":"demo-`, command)
		}
	}
	p.stop()
}
