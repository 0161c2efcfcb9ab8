package alerting_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/alerting"
	"github.com/cyberviser/hancock/alerting/ruletemplate"
	"github.com/cyberviser/hancock/internal/render"
)

// TestCheckTemplates refuses templates of rules that exceed their limits, each by its name, and no others.
func TestCheckTemplates(t *testing.T) {
	file := filepath.Join(t.TempDir(), "rules.yml")
	check := func(rules string) (error, bool) {
		require.NoError(t, os.WriteFile(file, []byte("groups: [{name: g, labels: {team: '{{ $externalLabels.team }}'}, rules: ["+rules+"]}]"), 0o600))
		o := alerting.DefaultOptions()
		o.RuleFiles = []string{file}
		read, err := alerting.Read(o)
		require.NoError(t, err)
		p := render.New(render.Options{}, ruletemplate.Kind())
		defer p.Close()
		err = read.CheckTemplates(t.Context(), p, o)
		return err, p.Started()
	}
	err, started := check("{record: a, expr: up}")
	require.NoError(t, err)
	require.False(t, started)

	err, _ = check(`{alert: Fine, expr: up, annotations: {
		a: '{{ $labels.rack }}{{ .Labels.zone }}{{ index $labels "k8s.pod" }}{{ with query "up" }}{{ . | first | label "instance" }}{{ end }}',
		b: '{{ range query "up" }}{{ .Value | humanize }}{{ end }}', c: '{{ slice $labels.short 100 }}', d: '{{ humanize "x" }}'}}`)
	require.NoError(t, err)

	err, _ = check(`{alert: One, expr: up, labels: {a: '{{ range 100000000000 }}{{ end }}'}, annotations: {b: '{{ $value }}', c: '{{ range 100000 }}x{{ end }}'}},
		{alert: Two, expr: up, annotations: {d: '{{ range 101 }}{{ query "up" | first | value }}{{ end }}'}}`)
	var lines []string
	for line := range strings.SplitSeq(err.Error(), "\n") {
		lines = append(lines, strings.TrimPrefix(line, file+": "))
	}
	require.Equal(t, []string{
		`group "g", rule "One": labels.a: the template does not end within 5s: shorten its loops`,
		`group "g", rule "One": annotations.c: the result of the template has 100000 bytes, more than the limit of 65536: shorten it`,
		`group "g", rule "Two": annotations.d: the template asks more than 100 queries: ask fewer`,
	}, lines)
}
