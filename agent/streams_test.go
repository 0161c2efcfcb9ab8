package agent_test

import (
	"bufio"
	"io"
	"net"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/agent/llm/llmtest"
)

// concurrent is how many streams run at once.
const concurrent = 1000

// streams opens that many streams, of which each has brought its first piece
// when they are measured, and lets them end. It returns what one of them takes
// of memory and of goroutines, with its three sockets: the client's end and the
// backend are in this process as well.
func streams(tb testing.TB) (bytes, goroutines float64) {
	tb.Helper()
	released := make(chan struct{})
	release := sync.OnceFunc(func() { close(released) })
	defer release() // or the backend would never close after a failure
	a := newAPI(tb, func(c *llmtest.Call) {
		c.Piece("first ")
		<-released
		llmtest.Say("and last")(c)
	}, func(s *settings) { s.inFlight = concurrent })
	const body = `{"message":"hi","mode":"soc","stream":true}`
	request := "POST /v1/chat HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: " +
		strconv.Itoa(len(body)) + "\r\n\r\n" + body

	before, idle := usage()
	readers := make([]*bufio.Reader, concurrent)
	var wg sync.WaitGroup
	for i := range concurrent {
		conn, err := new(net.Dialer).DialContext(tb.Context(), "tcp", strings.TrimPrefix(a.url, "http://"))
		require.NoError(tb, err)
		defer conn.Close()
		_, err = io.WriteString(conn, request)
		require.NoError(tb, err)
		readers[i] = bufio.NewReaderSize(conn, 512)
		wg.Go(func() {
			for line := ""; !strings.HasPrefix(line, `data: {"delta":"first "}`); {
				if line, err = readers[i].ReadString('\n'); err != nil {
					tb.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	after, running := usage()
	require.InDelta(tb, concurrent, a.gauge("hancock_llm_in_flight"), 0)
	release()
	for _, r := range readers {
		rest, err := io.ReadAll(r)
		require.NoError(tb, err)
		require.Contains(tb, string(rest), `{"done":true,"response":"first and last"}`)
	}
	require.InDelta(tb, concurrent, a.counters()["hancock_llm_answers_total{finish_reason=stop,model=test-model,provider=ollama}"], 0)
	require.Empty(tb, a.ofLLM()["streams_aborted_total{by=client}"])

	// What is left are idle connections to the backend, with two goroutines at
	// either end of each, and the last of the handlers.
	require.Eventually(tb, func() bool {
		_, n := usage()
		return a.gauge("hancock_llm_in_flight") == 0 && n < idle+concurrent/2
	}, waitFor, 10*tick)
	return (after - before) / concurrent, (running - idle) / concurrent
}

// usage is the memory that heap and stacks take now, and the goroutines.
func usage() (bytes, goroutines float64) {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc + m.StackInuse), float64(runtime.NumGoroutine())
}

// All goroutines are gone when the tests are over, which their main looks at.
func TestManyStreams(t *testing.T) {
	bytes, goroutines := streams(t)
	t.Logf("%.0f bytes and %.1f goroutines a stream", bytes, goroutines)
	require.Less(t, bytes, 200_000.0)
	require.Less(t, goroutines, 10.0)
}

func BenchmarkStreams(b *testing.B) {
	var bytes, goroutines float64
	for b.Loop() {
		m, g := streams(b)
		bytes, goroutines = max(bytes, m), max(goroutines, g)
	}
	b.ReportMetric(bytes, "B/stream")
	b.ReportMetric(goroutines, "goroutines/stream")
}
