// Package browsertest opens the page in a headless Chromium, for the tests of
// the page and of the whole process.
package browsertest

import (
	"context"
	"fmt"
	"os"
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

// Browser is one tab of a headless Chromium, which has to be in the PATH.
type Browser struct {
	// Context is that of the tab, for chromedp.
	Context context.Context

	t *testing.T

	mu      sync.Mutex
	console []string // errors and warnings, refused by the policy among them
}

// Open starts a Chromium of its own: what one test stores no other one sees.
func Open(t *testing.T, width int64) *Browser {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.NoSandbox, // tests may run as root
		chromedp.DisableGPU,
		chromedp.UserDataDir(folder(t)),
		chromedp.WSURLReadTimeout(2*time.Minute), // a busy machine takes its time to start one
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
	)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	b := &Browser{t: t, Context: ctx}
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

// folder is for what one browser stores. A process of it may end a little after the one that is waited for, and fill the
// folder meanwhile.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "browser") //nolint:usetesting // See above: TempDir tries to remove it once.
	require.NoError(t, err)
	t.Cleanup(func() {
		require.Eventually(t, func() bool { return os.RemoveAll(dir) == nil }, time.Minute, 10*time.Millisecond)
	})
	return dir
}

// Navigate opens a page.
func (b *Browser) Navigate(address string) {
	b.t.Helper()
	require.NoError(b.t, chromedp.Do(b.Context, chromedp.Navigate(address)))
}

// Eval gives the value of a JavaScript expression, once it is there if it is a promise.
func Eval[T any](b *Browser, expression string) T {
	b.t.Helper()
	value, err := chromedp.Run(b.Context, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	require.NoError(b.t, err, expression)
	return value
}

// Until waits for an expression to be true. One that fails, as the element is not there yet, is not true yet. The page
// has the time to ask again what was not answered in time. (chromedp's own polling compiles a string in the page,
// which the policy forbids.)
func (b *Browser) Until(expression string) {
	b.t.Helper()
	ok := Eval[bool](b, fmt.Sprintf(`(async () => {
		for (const end = Date.now() + 120000; Date.now() < end; await new Promise((r) => setTimeout(r, 20))) {
			try {
				if (%s) return true;
			} catch {}
		}
		return false;
	})()`, expression))
	require.True(b.t, ok, "%s did not come true; the page says:\n%s", expression, Eval[string](b, `document.body.innerText`))
}

// Click clicks on the first element that a selector matches, once there is one.
func (b *Browser) Click(selector string) {
	b.t.Helper()
	b.Until(fmt.Sprintf(`(document.querySelector(%q).click(), true)`, selector))
}

// Complaints are what the console holds, without the failed requests that a test provoked.
func (b *Browser) Complaints() []string {
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

// Counters are the browser's own, after it has collected its garbage.
func (b *Browser) Counters() map[string]float64 {
	b.t.Helper()
	_, err := chromedp.Call(b.Context, heapprofiler.CollectGarbage, cdp.Empty{})
	require.NoError(b.t, err)
	metrics, err := chromedp.Call(b.Context, performance.GetMetrics, cdp.Empty{})
	require.NoError(b.t, err)
	found := map[string]float64{}
	for _, m := range metrics.Metrics {
		found[m.Name] = m.Value
	}
	return found
}
