package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func fastTraffic() TrafficOptions {
	o := DefaultTrafficOptions()
	o.Rate = 5000
	return o
}

// run starts traffic and returns what ends it and waits for it.
func run(t *testing.T, traffic *Traffic) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- traffic.Run(ctx) }()
	return func() {
		cancel()
		require.NoError(t, <-done)
	}
}

func TestTrafficGoesToLoopbackOnly(t *testing.T) {
	for name, c := range map[string]struct{ url, want string }{
		"a name":           {"http://example.test", "loopback"},
		"an address":       {"http://192.0.2.1:5000", "loopback"},
		"IPv6":             {"http://[2001:db8::1]:5000", "loopback"},
		"all interfaces":   {"http://0.0.0.0:5000", "loopback"},
		"localhost's look": {"http://localhost.example.test", "loopback"},
		"another scheme":   {"ftp://127.0.0.1", "scheme"},
		"no scheme":        {"127.0.0.1:5000", "parsing base URL"},
		"a password":       {"http://u:p@127.0.0.1", "credentials"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := NewTraffic(c.url, DefaultTrafficOptions())
			require.ErrorContains(t, err, c.want)
			require.NotContains(t, err.Error(), "u:p")
		})
	}
	for _, good := range []string{"http://127.0.0.1:5000", "http://localhost:5000/hancock", "https://[::1]:5000", "http://127.1.2.3", "http://[::ffff:127.0.0.1]:1"} {
		_, err := NewTraffic(good, DefaultTrafficOptions())
		require.NoError(t, err, good)
	}
	// A name can resolve to anything, so the address is looked at again when it is dialled.
	require.NoError(t, onlyLoopback("tcp4", "127.0.0.1:80", nil))
	require.NoError(t, onlyLoopback("tcp6", "[::1]:80", nil))
	for _, bad := range []string{"192.0.2.1:80", "[2001:db8::1]:80", "example.test:80", "nonsense"} {
		require.Error(t, onlyLoopback("tcp", bad, nil), bad)
	}
}

func TestTrafficOptions(t *testing.T) {
	for name, change := range map[string]func(*TrafficOptions){
		"no rate":    func(o *TrafficOptions) { o.Rate = 0 },
		"no clients": func(o *TrafficOptions) { o.Clients = 0 },
	} {
		t.Run(name, func(t *testing.T) {
			o := DefaultTrafficOptions()
			change(&o)
			_, err := NewTraffic("http://127.0.0.1:1", o)
			require.ErrorContains(t, err, "demo traffic: ")
		})
	}
}

func TestTrafficSendsEachKindInEachMode(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]int{}
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var fields struct {
			Mode    string
			Stream  bool
			History []map[string]string
		}
		valid := json.Unmarshal(body, &fields) == nil
		mu.Lock()
		defer mu.Unlock()
		seen[r.Method+" "+r.URL.Path]++
		seen["mode "+fields.Mode]++
		for what, is := range map[string]bool{
			"stream": fields.Stream, "history": len(fields.History) > 0, "malformed": len(body) > 0 && !valid,
			"text": r.Header.Get("Content-Type") == "text/plain", "no key": r.Header.Get("Authorization") != "Bearer secret",
			"forwarded": r.Header.Get("X-Forwarded-For") != "", "unmarked": r.Header.Get("User-Agent") != "hancock-demo",
		} {
			if is {
				seen[what]++
			}
		}
	}))
	defer server.Close()
	o := fastTraffic()
	o.APIKey = func() string { return "secret" }
	traffic, err := NewTraffic(server.URL+"/prefix", o)
	require.NoError(t, err)
	stop := run(t, traffic)
	require.Eventually(t, func() bool { return traffic.Stats().Sent >= 700 }, time.Minute, 5*time.Millisecond)
	stop()
	server.Close() // waits for the handlers of requests that were cut off

	for _, want := range []string{
		"POST /prefix/v1/chat", "POST /prefix/v1/ask", "GET /prefix/v1/agents", "POST /prefix/v1/scan",
		"stream", "history", "malformed", "text", "mode forensics",
	} {
		require.Positive(t, seen[want], want)
	}
	for _, mode := range modes {
		require.Positive(t, seen["mode "+mode], mode)
	}
	for _, never := range []string{"no key", "forwarded", "unmarked"} {
		require.Zero(t, seen[never], never)
	}
}

func TestTrafficWaitsForTheServer(t *testing.T) {
	// The port is ours from the beginning, or somebody else might get it, but nobody listens yet.
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	require.NoError(t, err)
	socket := os.NewFile(uintptr(fd), "door")
	defer socket.Close()
	require.NoError(t, syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	name, err := syscall.Getsockname(fd)
	require.NoError(t, err)

	traffic, err := NewTraffic(fmt.Sprintf("http://127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port), fastTraffic())
	require.NoError(t, err)
	stop := run(t, traffic)
	require.Eventually(t, func() bool { return traffic.Stats().Unanswered >= 3 }, time.Minute, time.Millisecond)

	require.NoError(t, syscall.Listen(fd, 128))
	ln, err := net.FileListener(socket)
	require.NoError(t, err)
	server := &httptest.Server{Listener: ln, Config: &http.Server{Handler: http.NotFoundHandler()}}
	server.Start()
	defer server.Close()
	require.Eventually(t, func() bool { return traffic.Stats().Refused >= 50 }, time.Minute, 5*time.Millisecond)
	stop()
	require.Less(t, traffic.Stats().Unanswered, uint64(40), "it does not hammer on a closed door")
}

func TestTrafficIsBoundedAndEndsAtOnce(t *testing.T) {
	var now, most atomic.Int64
	begun := make(chan struct{}, 100)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		n := now.Add(1)
		defer now.Add(-1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		begun <- struct{}{}
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done() // never answers
	}))
	defer server.Close()
	o := fastTraffic()
	o.Clients = 3
	traffic, err := NewTraffic(server.URL, o)
	require.NoError(t, err)
	stop := run(t, traffic)
	for range o.Clients {
		<-begun
	}
	stop()
	require.EqualValues(t, 3, most.Load())
	require.EqualValues(t, 3, traffic.Stats().Unanswered)
}

func TestTrafficFollowsNoRedirect(t *testing.T) {
	var elsewhere atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	server := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	defer server.Close()
	traffic, err := NewTraffic(server.URL, fastTraffic())
	require.NoError(t, err)
	stop := run(t, traffic)
	require.Eventually(t, func() bool { return traffic.Stats().Answered >= 20 }, time.Minute, time.Millisecond)
	stop()
	require.Zero(t, elsewhere.Load())
}

func TestDeckIsEven(t *testing.T) {
	d := newDeck(rand.New(rand.NewPCG(1, 2)))
	counts := map[kind]int{}
	total := map[string]int{}
	for range 40 {
		wrong := 0
		for range 50 {
			c := d.next()
			counts[c.kind]++
			total[c.mode]++
			if c.kind >= unknownMode {
				wrong++
			}
		}
		require.Equal(t, 1, wrong, "of fifty in a row")
	}
	require.Len(t, counts, int(wrongContentType)+1)
	require.Len(t, total, len(modes))
	sum := 0
	for _, s := range modeShares {
		sum += s.share
		require.Contains(t, modes, s.mode)
	}
	require.Equal(t, 100, sum)
}
