package tsdb_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"
)

// TestExpressionBounds sends expressions that the parser takes seconds or gigabytes for to everything that parses.
func TestExpressionBounds(t *testing.T) {
	o := apiOptions()
	o.EnableAdmin = true
	api := open(t, options(t)).run().NewAPI(o)
	deep := strings.Repeat("(", 30_000) + "1" + strings.Repeat(")", 30_000)
	for target, parameter := range map[string]string{
		"query": "query", "query_range?start=1&end=2&step=1": "query", "query_exemplars?start=1&end=2": "query", "format_query": "query",
		"parse_query": "query", "series": "match[]", "labels": "match[]", "label/job/values": "match[]",
		"targets/metadata": "match_target", "admin/tsdb/delete_series": "match[]",
	} {
		for name, query := range map[string]string{
			"minus": strings.Repeat("-", 60_000) + "1", "parentheses": deep, "open": deep[:30_000],
			"chain": "1" + strings.Repeat("+1", 30_000), "large": `{a="` + strings.Repeat("b", 65_536) + `"}`,
		} {
			methods := []string{http.MethodGet, http.MethodPost}
			switch {
			case strings.HasPrefix(target, "label/"), target == "targets/metadata":
				methods = methods[:1]
			case strings.HasPrefix(target, "admin"):
				methods = methods[1:]
			}
			for _, method := range methods {
				form := url.Values{parameter: {query}}
				to := target
				if method == http.MethodGet {
					to, form = target+map[bool]string{true: "&", false: "?"}[strings.Contains(target, "?")]+form.Encode(), nil
				}
				code, got := ask(t, api, method, to, form)
				require.Equal(t, http.StatusBadRequest, code, "%s %s %s", method, target, name)
				require.Equal(t, "bad_data", got.ErrorType)
				require.Regexp(t, "nested deeper than|the limit is 65536|more than 65536 bytes", got.Error)
				require.Less(t, len(got.Error), 500)
			}
		}
	}

	// The formatter is slower than the parser, and has a bound of its own.
	chain := "1" + strings.Repeat("+1", 500)
	code, _ := ask(t, api, http.MethodPost, "query", url.Values{"query": {chain}})
	require.Equal(t, http.StatusOK, code)
	code, got := ask(t, api, http.MethodPost, "format_query", url.Values{"query": {chain}})
	require.Equal(t, http.StatusBadRequest, code)
	require.Contains(t, got.Error, "nested deeper than 100 levels")
	code, _ = ask(t, api, http.MethodPost, "format_query", url.Values{"query": {chain[:100] + "1"}})
	require.Equal(t, http.StatusOK, code)

	code, _ = ask(t, api, http.MethodPost, "query", url.Values{"query": {strings.Repeat("-", 8<<20)}})
	require.Equal(t, http.StatusRequestEntityTooLarge, code)
	code, got = ask(t, api, http.MethodPost, "series", url.Values{"match[]": strings.Split(strings.Repeat("a ", 1001), " ")})
	require.Equal(t, http.StatusBadRequest, code)
	require.Contains(t, got.Error, "series selectors, the limit is 1000")
}

// blockedClient does not read the body of its answer until it is let.
type blockedClient struct {
	*httptest.ResponseRecorder
	writes chan int
	read   chan struct{}
}

func (c blockedClient) Write(b []byte) (int, error) {
	c.writes <- len(b)
	<-c.read
	return len(b), nil
}

// TestAnswersThatAreNotRead holds large answers and asks for more: what is small passes, what is large is refused until
// there is memory again.
func TestAnswersThatAreNotRead(t *testing.T) {
	o := options(t)
	o.QueryMaxSamples = 300_000
	// The memory for answers is then 32 MiB on every machine: that of three of these, and a bit.
	before := debug.SetMemoryLimit(4 << 30)
	defer debug.SetMemoryLimit(before)
	s := open(t, o).run()
	now := time.Now()
	app := s.Appendable().Appender(t.Context())
	for i := range 16 {
		_, err := app.Append(0, labels.FromStrings("__name__", "many", "n", strconv.Itoa(i)), now.UnixMilli(), float64(i))
		require.NoError(t, err)
	}
	require.NoError(t, app.Commit())
	api := s.NewAPI(apiOptions())
	large := fmt.Sprintf("/api/v1/query_range?query=many&start=%d&end=%d&step=0.03", now.Unix()+1, now.Unix()+299)

	clients := make([]blockedClient, 5)
	ended := make(chan int, len(clients))
	for i := range clients {
		c := blockedClient{httptest.NewRecorder(), make(chan int, 1), make(chan struct{})}
		clients[i] = c
		go func() {
			api.ServeHTTP(c, httptest.NewRequest(http.MethodGet, large, nil))
			ended <- i
		}()
	}
	sizes := 0
	for i := range clients {
		select {
		case n := <-clients[i].writes:
			if clients[i].Code == http.StatusServiceUnavailable {
				require.Less(t, n, 1000)
				close(clients[i].read)
				require.Equal(t, i, <-ended)
				clients[i].read = nil
				continue
			}
			sizes++
			require.Greater(t, n, 2<<20)
		case <-time.After(5 * time.Minute):
			require.FailNow(t, "no answer was written")
		}
	}
	require.Less(t, sizes, len(clients), "all large answers were held at once")
	require.Equal(t, 3, sizes)

	for range 20 {
		code, _ := ask(t, api, http.MethodGet, "query?query=many", nil)
		require.Equal(t, http.StatusOK, code)
	}
	code, got := ask(t, api, http.MethodGet, strings.TrimPrefix(large, "/api/v1/"), nil)
	require.Equal(t, http.StatusServiceUnavailable, code)
	require.Contains(t, got.Error, "memory that large answers to other clients take")
	// Rules and backtests use the engine itself.
	q, err := s.Engine().NewRangeQuery(t.Context(), s.Queryable(), nil, "many", now.Add(time.Second), now.Add(299*time.Second), 30*time.Millisecond)
	require.NoError(t, err)
	require.NoError(t, q.Exec(t.Context()).Err)
	q.Close()

	for _, c := range clients {
		if c.read != nil {
			close(c.read)
			<-ended
		}
	}
	code, _ = ask(t, api, http.MethodGet, strings.TrimPrefix(large, "/api/v1/"), nil)
	require.Equal(t, http.StatusOK, code)
}

// TestTooManySamples names the setting.
func TestTooManySamples(t *testing.T) {
	o := options(t)
	o.QueryMaxSamples = 100
	api := open(t, o).run().NewAPI(apiOptions())
	code, got := ask(t, api, http.MethodGet, "query_range?query=vector(1)&start=0&end=1000&step=1", nil)
	require.Equal(t, http.StatusUnprocessableEntity, code)
	require.Contains(t, got.Error, "raise storage.query.max_samples")
}
