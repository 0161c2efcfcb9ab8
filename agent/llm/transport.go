package llm

import (
	"io"
	"net"
	"net/http"
	"time"
)

// maxAnswerBytes bounds what is read of one answer. The longest that we ask
// for, 2048 tokens, is some 10 KB; a stream wraps each token in some 300 bytes.
const maxAnswerBytes = 4 << 20

// newTransport is a transport of one backend's own: its connections are not
// shared, so that closing it closes them. It is used without an http.Client,
// whose redirects, cookies and deadlines are not wanted.
func newTransport(connectTimeout time.Duration, local bool) *http.Transport {
	dialer, proxy := &net.Dialer{Timeout: connectTimeout, KeepAlive: 30 * time.Second}, http.ProxyFromEnvironment
	if local {
		dialer, proxy = localDialer(dialer), nil
	}
	return &http.Transport{
		Proxy:                 proxy,
		DialContext:           dialer.DialContext,
		TLSHandshakeTimeout:   connectTimeout,
		ForceAttemptHTTP2:     true,
		MaxIdleConns:          64,
		MaxIdleConnsPerHost:   64,
		IdleConnTimeout:       90 * time.Second,
		ExpectContinueTimeout: time.Second,
		// A compressor would hold the pieces of a stream back.
		DisableCompression: true,
	}
}

// boundedBody fails the reading of an answer beyond maxAnswerBytes.
type boundedBody struct {
	io.ReadCloser
	left int64
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooLarge
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	return n, err
}
