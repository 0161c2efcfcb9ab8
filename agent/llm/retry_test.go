package llm_test

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/agent/llm"
	"github.com/cyberviser/hancock/agent/llm/llmtest"
)

// refuse answers the first n calls with a status and a Retry-After, the others
// properly.
func refuse(n int64, status int, retryAfter string) llmtest.Reply {
	var calls atomic.Int64
	return func(c *llmtest.Call) {
		if calls.Add(1) > n {
			llmtest.Say("at last")(c)
			return
		}
		if retryAfter != "" {
			c.Header().Set("Retry-After", retryAfter)
		}
		llmtest.JSON(status, `{"error":{"message":"later"}}`)(c)
	}
}

// observed asks and returns what was told of each call.
func observed(ctx context.Context, c *llm.Client, stream bool) (llm.Answer, []llm.Attempt, error) {
	var attempts []llm.Attempt
	q := question()
	q.Observe = func(a llm.Attempt) { attempts = append(attempts, a) }
	a, _, err := ask(ctx, c, stream, q)
	return a, attempts, err
}

func TestRetryThenSuccess(t *testing.T) {
	for _, tc := range []struct {
		name  string
		reply func() llmtest.Reply
		kind  llm.Kind
	}{
		{"full queue", func() llmtest.Reply { return refuse(2, http.StatusServiceUnavailable, "") }, llm.Unavailable},
		{"bad gateway", func() llmtest.Reply { return refuse(2, http.StatusBadGateway, "") }, llm.Unavailable},
		{"rate limit", func() llmtest.Reply { return refuse(2, http.StatusTooManyRequests, "") }, llm.RateLimited},
		{"rate limit with rubbish in Retry-After", func() llmtest.Reply { return refuse(2, http.StatusTooManyRequests, "soon") }, llm.RateLimited},
		{"date in Retry-After", func() llmtest.Reply {
			return refuse(2, http.StatusServiceUnavailable, time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat))
		}, llm.Unavailable},
		{"closed before headers", func() llmtest.Reply {
			var calls atomic.Int64
			return func(c *llmtest.Call) {
				if calls.Add(1) <= 2 {
					llmtest.Abort(c)
				}
				llmtest.Say("at last")(c)
			}
		}, llm.Unavailable},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bothWays(t, func(t *testing.T, stream bool) {
				cloud := llmtest.New(t, llmtest.Say("not needed"))
				c, _ := newClient(t, withFallback(options(llmtest.New(t, tc.reply()).URL, patience), cloud.URL))
				a, attempts, err := observed(t.Context(), c, stream)
				require.NoError(t, err)
				require.Equal(t, "at last", a.Text)
				require.Empty(t, cloud.Requests())
				require.Len(t, attempts, 3)
				require.Empty(t, attempts[0].RetryOf)
				for i, at := range attempts {
					require.False(t, at.Fallback)
					if i < 2 {
						require.Equal(t, tc.kind, at.Err.Kind)
						require.Positive(t, at.RetryIn)
						require.Equal(t, tc.kind, attempts[i+1].RetryOf)
					}
				}
				require.Zero(t, attempts[2].RetryIn)
				require.Nil(t, attempts[2].Err)
				succeeded, failed, _ := c.Backends()[0].Traffic()
				require.True(t, succeeded.After(failed))
			})
		})
	}
}

func TestRetryAfterIsHonoured(t *testing.T) {
	bothWays(t, func(t *testing.T, stream bool) {
		c, _ := newClient(t, options(llmtest.New(t, refuse(1, http.StatusTooManyRequests, "1")).URL, patience))
		start := time.Now()
		_, attempts, err := observed(t.Context(), c, stream)
		require.NoError(t, err)
		require.GreaterOrEqual(t, time.Since(start), time.Second)
		require.GreaterOrEqual(t, attempts[0].RetryIn, time.Second)
	})
}

// What would not be over in time is not waited for.
func TestRetryFitsIntoTheDeadline(t *testing.T) {
	for _, tc := range []struct {
		name             string
		timeout, callers time.Duration
		retryAfter       string
	}{
		{"of the options", patience, time.Hour, "3600"},
		{"of the caller", time.Hour, patience, "3600"},
		{"when they are told to come back in thousands of years", patience, time.Hour, "Fri, 31 Dec 9999 23:59:59 GMT"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server := llmtest.New(t, refuse(9, http.StatusTooManyRequests, tc.retryAfter))
			cloud := llmtest.New(t, llmtest.Say("from the cloud"))
			c, _ := newClient(t, withFallback(options(server.URL, tc.timeout), cloud.URL))
			ctx, cancel := context.WithTimeout(t.Context(), tc.callers)
			defer cancel()
			a, attempts, err := observed(ctx, c, true)
			require.NoError(t, err)
			require.Equal(t, "from the cloud", a.Text)
			require.Len(t, server.Requests(), 1)
			require.Zero(t, attempts[0].RetryIn)
		})
	}
	t.Run("every try counts against it", func(t *testing.T) {
		const timeout = 4 * time.Second // Which leaves two seconds to a machine that is busy.
		var calls atomic.Int64
		server := llmtest.New(t, func(c *llmtest.Call) {
			if calls.Add(1) == 1 {
				<-time.After(timeout / 2)
				llmtest.JSON(http.StatusServiceUnavailable, `{}`)(c)
				return
			}
			c.Hang()
		})
		c, _ := newClient(t, options(server.URL, timeout))
		_, attempts, err := observed(t.Context(), c, true)
		require.Equal(t, llm.Timeout, llm.KindOf(err))
		require.Len(t, attempts, 2)
		require.Less(t, attempts[1].Duration, timeout)
	})
}

func TestRetriesAreExhaustedThenTheFallback(t *testing.T) {
	bothWays(t, func(t *testing.T, stream bool) {
		server := llmtest.New(t, refuse(99, http.StatusServiceUnavailable, ""))
		cloud := llmtest.New(t, llmtest.Say("from the cloud"))
		c, _ := newClient(t, withFallback(options(server.URL, patience), cloud.URL))
		a, attempts, err := observed(t.Context(), c, stream)
		require.NoError(t, err)
		require.Equal(t, "openai", a.Provider)
		require.Len(t, server.Requests(), 3)
		require.Len(t, cloud.Requests(), 1)
		var fallbacks, retries int
		for _, at := range attempts {
			if at.Fallback && at.RetryOf == "" {
				fallbacks++
			}
			if at.RetryOf != "" {
				retries++
			}
		}
		require.Equal(t, 1, fallbacks)
		require.Equal(t, 2, retries)
	})
}

func TestTheFallbackIsAskedOnce(t *testing.T) {
	bothWays(t, func(t *testing.T, stream bool) {
		server := llmtest.New(t, llmtest.JSON(http.StatusInternalServerError, `{}`))
		cloud := llmtest.New(t, refuse(1, http.StatusTooManyRequests, ""))
		c, _ := newClient(t, withFallback(options(server.URL, patience), cloud.URL))
		_, attempts, err := observed(t.Context(), c, stream)
		require.Equal(t, llm.RateLimited, llm.KindOf(err))
		require.Len(t, cloud.Requests(), 1)
		require.Len(t, attempts, 2)
		require.True(t, attempts[1].Fallback)
		require.Zero(t, attempts[1].RetryIn)
	})
}

func TestNotWorthARetry(t *testing.T) {
	code := func(status int, code string) llmtest.Reply {
		return llmtest.JSON(status, `{"error":{"code":"`+code+`"}}`)
	}
	for name, reply := range map[string]llmtest.Reply{
		"wrong key":       code(401, "invalid_api_key"),
		"forbidden":       code(403, ""),
		"too long":        code(400, "context_length_exceeded"),
		"too long as 503": code(503, "context_length_exceeded"),
		"bad request":     code(400, "invalid_request_error"),
		"missing model":   code(404, "model_not_found"),
		"no money":        code(429, "insufficient_quota"),
		"crash":           code(500, ""),
		"slow gateway":    code(504, ""),
		"rubbish":         llmtest.JSON(200, `{`),
		"empty":           llmtest.Say(""),
		"midway":          llmtest.Midway(llmtest.Abort),
	} {
		t.Run(name, func(t *testing.T) {
			bothWays(t, func(t *testing.T, stream bool) {
				server := llmtest.New(t, reply)
				c, _ := newClient(t, options(server.URL, patience))
				_, attempts, err := observed(t.Context(), c, stream)
				require.Error(t, err)
				require.Len(t, server.Requests(), 1)
				require.Len(t, attempts, 1)
				require.Zero(t, attempts[0].RetryIn)
			})
		})
	}
	t.Run("retries turned off", func(t *testing.T) {
		server := llmtest.New(t, refuse(1, http.StatusServiceUnavailable, ""))
		o := options(server.URL, patience)
		o.MaxRetries = 0
		c, _ := newClient(t, o)
		_, _, err := observed(t.Context(), c, false)
		require.Equal(t, llm.Unavailable, llm.KindOf(err))
		require.Len(t, server.Requests(), 1)
	})
}

func TestCallerLeavesWhileWaiting(t *testing.T) {
	server := llmtest.New(t, refuse(9, http.StatusTooManyRequests, "5"))
	cloud := llmtest.New(t, llmtest.Say("no"))
	c, _ := newClient(t, withFallback(options(server.URL, patience), cloud.URL))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	q := question()
	q.Observe = func(a llm.Attempt) {
		if a.RetryIn > 0 {
			cancel()
		}
	}
	_, err := c.Chat(ctx, q)
	require.Equal(t, llm.Canceled, llm.KindOf(err))
	require.ErrorIs(t, err, context.Canceled)
	require.Len(t, server.Requests(), 1)
	require.Empty(t, cloud.Requests())
}

func TestCapOnRequestsInFlight(t *testing.T) {
	bothWays(t, func(t *testing.T, stream bool) {
		arrived, release := make(chan struct{}), make(chan struct{})
		server := llmtest.New(t, func(c *llmtest.Call) {
			arrived <- struct{}{}
			<-release
			llmtest.Say("ok")(c)
		})
		o := options(server.URL, patience)
		o.MaxInFlight = 2
		c, _ := newClient(t, o)
		var wg sync.WaitGroup
		for range o.MaxInFlight {
			wg.Go(func() {
				if _, _, err := ask(context.Background(), c, stream, question()); err != nil {
					t.Error(err)
				}
			})
			<-arrived
		}
		_, attempts, err := observed(t.Context(), c, stream)
		require.ErrorIs(t, err, llm.ErrBusy)
		require.Equal(t, llm.Busy, llm.KindOf(err))
		require.Empty(t, attempts, "no backend was asked")
		require.Len(t, server.Requests(), o.MaxInFlight)
		_, failed, _ := c.Backends()[0].Traffic()
		require.True(t, failed.IsZero())
		close(release)
		wg.Wait()

		go func() { <-arrived }()
		_, _, err = observed(t.Context(), c, stream)
		require.NoError(t, err, "places are given back")
	})
}
