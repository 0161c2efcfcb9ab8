package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"
)

// TestDocumentedQueries parses each query that the page on metrics offers.
func TestDocumentedQueries(t *testing.T) {
	src, err := os.ReadFile("../../docs/metrics.md")
	require.NoError(t, err)
	queries := 0
	for _, block := range regexp.MustCompile("(?s)```promql\n(.*?)```").FindAllStringSubmatch(string(src), -1) {
		for line := range strings.Lines(block[1]) {
			if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
				continue
			}
			_, err := parser.NewParser(parser.Options{}).ParseExpr(line)
			require.NoError(t, err, line)
			queries++
		}
	}
	require.Greater(t, queries, 20)
}
