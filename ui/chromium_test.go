//go:build browser

package ui

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/heapprofiler"
	"github.com/chromedp/cdproto/performance"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// browser is one tab of a headless Chromium, which has to be in the PATH.
type browser struct {
	t   *testing.T
	ctx context.Context

	mu      sync.Mutex
	console []string // errors and warnings, refused by the policy among them
}

// openBrowser starts a Chromium of its own: what one test stores no other one sees.
func openBrowser(t *testing.T, width int64) *browser {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.NoSandbox, // tests may run as root
		chromedp.DisableGPU,
		chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
	)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	b := &browser{t: t, ctx: ctx}
	require.NoError(t, chromedp.Do(ctx, chromedp.EmulateViewport(width, 900)), "is chromium installed?")

	messages := chromedp.Console(ctx)
	var reader sync.WaitGroup
	reader.Go(func() {
		for m, err := range messages {
			if err != nil {
				return
			}
			b.mu.Lock()
			b.console = append(b.console, fmt.Sprintf("%s: %s", m.Type, m.Text))
			b.mu.Unlock()
		}
	})
	t.Cleanup(func() {
		// Closed before its folder is removed, which a browser that still runs would fill again.
		_ = chromedp.Cancel(ctx)
		cancel()
		reader.Wait()
	})
	return b
}

func (b *browser) open(address string) {
	b.t.Helper()
	require.NoError(b.t, chromedp.Do(b.ctx, chromedp.Navigate(address)))
}

// eval gives the value of a JavaScript expression, once it is there if it is a promise.
func eval[T any](b *browser, expression string) T {
	b.t.Helper()
	value, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	require.NoError(b.t, err, expression)
	return value
}

// until waits for an expression to be true. (chromedp's own polling compiles a string in the page, which
// the policy forbids.)
func (b *browser) until(expression string) {
	b.t.Helper()
	ok := eval[bool](b, fmt.Sprintf(`(async () => {
		for (const end = Date.now() + 30000; Date.now() < end; await new Promise((r) => setTimeout(r, 20))) {
			if (%s) return true;
		}
		return false;
	})()`, expression))
	require.True(b.t, ok, "%s did not come true; the page says:\n%s", expression, eval[string](b, `document.body.innerText`))
}

func (b *browser) click(selector string) {
	b.t.Helper()
	eval[bool](b, fmt.Sprintf(`(document.querySelector(%q).click(), true)`, selector))
}

// complaints are what the console holds, without the failed requests that a test provoked.
func (b *browser) complaints() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var rest []string
	for _, line := range b.console {
		if !strings.Contains(line, "Failed to load resource") {
			rest = append(rest, line)
		}
	}
	return rest
}

// counters are the browser's own, after it has collected its garbage.
func (b *browser) counters() map[string]float64 {
	b.t.Helper()
	_, err := chromedp.Call(b.ctx, heapprofiler.CollectGarbage, cdp.Empty{})
	require.NoError(b.t, err)
	metrics, err := chromedp.Call(b.ctx, performance.GetMetrics, cdp.Empty{})
	require.NoError(b.t, err)
	found := map[string]float64{}
	for _, m := range metrics.Metrics {
		found[m.Name] = m.Value
	}
	return found
}
