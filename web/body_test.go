package web

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"
)

// TestSlowBody sends a part of a body and then nothing more: who reads it is
// not held, whatever the endpoint.
func TestSlowBody(t *testing.T) {
	for name, head := range map[string]string{
		"of a known length": "Content-Length: 100\r\n\r\n{",
		"in chunks":         "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			opts := DefaultOptions()
			opts.BodyTimeout = 100 * time.Millisecond
			read := make(chan error, 1)
			s, _ := newServer(t, opts, func(e *echo.Echo) {
				e.POST("/reads", func(c echo.Context) error {
					_, err := io.ReadAll(c.Request().Body)
					read <- err
					return echo.NewHTTPError(http.StatusBadRequest, "request body could not be read")
				})
			})
			base, stop := start(t, s)
			conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(base, "http://"))
			require.NoError(t, err)
			defer conn.Close()
			_, err = io.WriteString(conn, "POST /reads HTTP/1.1\r\nHost: 127.0.0.1\r\n"+head)
			require.NoError(t, err)
			var timeout net.Error
			require.ErrorAs(t, <-read, &timeout)
			require.True(t, timeout.Timeout())
			require.NoError(t, conn.SetReadDeadline(time.Now().Add(20*time.Second)))
			answer, err := io.ReadAll(conn) // until the server closes it
			require.NoError(t, err)
			require.Contains(t, string(answer), "400 Bad Request")
			require.NoError(t, stop())
		})
	}
}
