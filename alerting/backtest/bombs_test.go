package backtest_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/alerting/backtest"
)

// A template that asks in loops within loops for what its own rule finds ends
// with the context, though the engine is never asked.
func TestTemplateThatAsksWithoutEnd(t *testing.T) {
	t.Parallel()
	const depth = 20
	text := "groups: [{name: a, rules: [{alert: A, expr: up, labels: {x: '" +
		strings.Repeat(`{{ range query "up" }}`, depth) + strings.Repeat("{{ end }}", depth) + "'}}]}]"
	db := openDB(t)
	put(t, db, machines().samples(t, time.Hour))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := backtest.Run(ctx, backtest.Storage{Queryable: db, Engine: newEngine()}, backtest.Request{Files: files(text), From: t0(), To: t0().Add(time.Hour)}, nil)
		done <- err
	}()
	select {
	case err := <-done:
		require.ErrorIs(t, err, context.DeadlineExceeded)
	case <-time.After(20 * time.Second):
		require.FailNow(t, "the backtest goes on after its end")
	}
}
