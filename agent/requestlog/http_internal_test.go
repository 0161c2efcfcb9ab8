package requestlog

import (
	"bufio"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"
)

// A live tail that is silent for longer than a reader may take for one piece
// goes on, over HTTP/2 as well.
func TestSilentLiveTailOverHTTP2(t *testing.T) {
	l := NewLog(io.Discard, slog.LevelInfo)
	l.patience = 2 * time.Second // A busy machine takes its time between setting a deadline and writing.
	e := echo.New()
	l.Register(e)
	server := httptest.NewUnstartedServer(e)
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+LogsPath+"?follow=true", http.NoBody)
	require.NoError(t, err)
	resp, err := server.Client().Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, 2, resp.ProtoMajor)
	s := bufio.NewScanner(resp.Body)
	require.True(t, s.Scan())
	require.Equal(t, ": new lines follow", s.Text())
	require.True(t, s.Scan())

	read := make(chan bool, 1)
	go func() { read <- s.Scan() }()
	require.Never(t, func() bool { return len(read) > 0 }, l.patience+l.patience/2, l.patience/10)
	l.Logger(slog.LevelInfo).Info("at last")
	require.True(t, <-read, s.Err())
	require.Contains(t, s.Text(), "at last")
	l.EndStreams()
}
