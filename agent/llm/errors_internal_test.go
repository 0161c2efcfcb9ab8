package llm

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReasonsTellNoAddresses(t *testing.T) {
	for want, err := range map[string]error{
		"name not found":                      &net.OpError{Op: "dial", Err: &net.DNSError{Name: "llm.corp", IsNotFound: true}},
		"timed out":                           &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded},
		"connection closed without an answer": io.EOF,
		"connection failed":                   errors.New("dial 10.0.0.1"),
	} {
		require.Equal(t, want, networkReason(err))
	}
}
