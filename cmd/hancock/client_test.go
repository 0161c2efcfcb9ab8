package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const clientKey = "a-key-of-thirty-two-characters-x"

// selfSigned writes a certificate for a name, or an address, and its key.
func selfSigned(t *testing.T, dir, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	if ip := net.ParseIP(name); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{name}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	for file, block := range map[string]*pem.Block{
		"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: private},
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600))
	}
}

// secured is a running process with TLS and a key.
type secured struct {
	*process
	dir, base string
	curl      string // as it was printed
}

// startSecured configures TLS with a certificate for a name, a key, and an external URL that leads nowhere.
func startSecured(t *testing.T, model, name string) secured {
	t.Helper()
	s := secured{dir: t.TempDir()}
	configure(t, s.dir, model, "")
	selfSigned(t, s.dir, name)
	require.NoError(t, os.WriteFile(filepath.Join(s.dir, "web.yml"), []byte("tls_server_config: {cert_file: cert.pem, key_file: key.pem}\n"), 0o600))
	file := filepath.Join(s.dir, "hancock.yml")
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	address := reserve(t)
	text = bytes.Replace(text, []byte(`web: {listen_address: "127.0.0.1:0"`), fmt.Appendf(nil,
		`web: {listen_address: %q, config_file: web.yml, api_key: %s, external_url: "https://127.0.0.1:1/hancock"`, address, clientKey), 1)
	require.NoError(t, os.WriteFile(file, text, 0o600))
	s.base = "https://" + address

	s.process = &process{t: t, log: new(safeBuffer), done: make(chan error, 1)}
	s.cmd = exec.CommandContext(context.Background(), os.Args[0])
	s.cmd.Dir, s.cmd.Env = s.dir, append(os.Environ(), asHancock+"=1")
	greeting := new(safeBuffer)
	s.cmd.Stdout, s.cmd.Stderr = greeting, s.log
	require.NoError(t, s.cmd.Start())
	go func() { s.done <- s.cmd.Wait() }()
	t.Cleanup(s.kill)
	s.eventually("ready", func() bool { _, _, ok := s.command("healthcheck"); return ok })
	for line := range strings.Lines(greeting.String()) {
		if strings.HasPrefix(strings.TrimSpace(line), "curl ") {
			s.curl = strings.TrimSpace(line)
		}
	}
	return s
}

// command runs a command in the process' directory.
func (s secured) command(args ...string) (stdout, stderr string, ok bool) {
	var out, errors bytes.Buffer
	cmd := exec.CommandContext(s.t.Context(), os.Args[0], args...)
	cmd.Dir, cmd.Env = s.dir, append(os.Environ(), asHancock+"=1")
	cmd.Stdout, cmd.Stderr = &out, &errors
	err := cmd.Run()
	return out.String(), errors.String(), err == nil
}

// TestCommandsReachTheServer runs commands beside a server whose certificate names another host and whose proxy is down.
func TestCommandsReachTheServer(t *testing.T) {
	t.Parallel()
	s := startSecured(t, newFakeModel(t).url, "hancock.example")
	run := func(args ...string) (string, string, bool) {
		t.Helper()
		return s.command(args...)
	}
	for _, args := range [][]string{{"healthcheck"}, {"ask", "what is this"}, {"ask", "--stream", "what is this"}, {"backtest", "--from", "1m"}} {
		stdout, stderr, ok := run(args...)
		require.True(t, ok, "%v: %s", args, stderr)
		require.NotEmpty(t, stdout, args)
	}

	_, stderr, ok := run("alert", "test")
	require.False(t, ok)
	require.Contains(t, stderr, "the receiver has no integrations", "the server's own answer")

	// The authority is trusted, but the name is another.
	_, stderr, ok = run("ask", "--url="+s.base, "--tls.ca-file=cert.pem", "x")
	require.False(t, ok)
	require.Contains(t, stderr, "x509")
	_, stderr, ok = run("ask", "--url="+s.base, "--tls.ca-file=web.yml", "x")
	require.False(t, ok)
	require.Contains(t, stderr, "no certificate in PEM format")
	_, stderr, ok = run("ask", "--url="+s.base, "x")
	require.False(t, ok)
	require.Contains(t, stderr, "x509")
	_, stderr, ok = run("ask", "--url=http://192.0.2.1:5000", "x")
	require.False(t, ok)
	require.Contains(t, stderr, "the API key would be sent to 192.0.2.1:5000 unencrypted")

	// A server with another certificate gets nothing.
	other := filepath.Join(s.dir, "other")
	require.NoError(t, os.Mkdir(other, 0o700))
	selfSigned(t, other, "hancock.example")
	require.NoError(t, os.WriteFile(filepath.Join(other, "web.yml"), []byte("tls_server_config: {cert_file: cert.pem, key_file: key.pem}\n"), 0o600))
	for _, command := range []string{"ask", "healthcheck"} {
		args := []string{command, "--web.config.file=other/web.yml"}
		if command == "ask" {
			args = append(args, "x")
		}
		_, stderr, ok = run(args...)
		require.False(t, ok)
		require.Contains(t, stderr, "is another server listening there?")
	}
}

// TestPrintedCurl runs the line that is printed at the start.
func TestPrintedCurl(t *testing.T) {
	t.Parallel()
	model := newFakeModel(t)
	for _, name := range []string{"hancock.example", "127.0.0.1"} {
		s := startSecured(t, model.url, name)
		require.NotContains(t, s.curl, clientKey)
		require.Equal(t, name == "127.0.0.1", strings.Contains(s.curl, "--cacert"), s.curl)
		cmd := exec.CommandContext(t.Context(), "sh", "-c", strings.Replace(s.curl, "curl ", "curl -sS --fail-with-body ", 1))
		cmd.Dir, cmd.Env = s.dir, append(os.Environ(), "HANCOCK_API_KEY="+clientKey)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s\n%s", s.curl, out)
		require.Contains(t, string(out), `"answer"`)
		s.kill()
	}
}

// TestKeyIsForOneServer has a server redirect to another one.
func TestKeyIsForOneServer(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("the redirect was followed")
	}))
	defer other.Close()
	first := httptest.NewServer(http.RedirectHandler(other.URL+"/elsewhere", http.StatusTemporaryRedirect))
	defer first.Close()
	environment := func(name string) (string, bool) { return clientKey, name == "HANCOCK_API_KEY" }
	for _, args := range [][]string{{"ask", "--url=" + first.URL, "x"}, {"alert", "test", "--url=" + first.URL}, {"healthcheck", "--url=" + first.URL}} {
		var stdout, stderr bytes.Buffer
		require.Equal(t, 1, run(args, environment, streams{out: &stdout, err: &stderr}))
		require.Contains(t, stderr.String(), "it redirects to "+other.URL+": give that address with --url")
		require.NotContains(t, stderr.String(), clientKey)
	}
}

// TestSteeringCharacters has a model answer with sequences that steer terminals.
func TestSteeringCharacters(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for _, piece := range []string{`evil \u001b`, `[2J\u001b]52;c;`, `aGk=\u0007 \u202egnp \u009b1A`} {
			fmt.Fprintf(w, "data: {\"delta\": \"%s\"}\n\n", piece)
		}
		fmt.Fprint(w, "data: {\"done\": true}\n\n")
	}))
	defer server.Close()
	var stdout, stderr bytes.Buffer
	require.Zero(t, run([]string{"ask", "--stream", "--url=" + server.URL, "x"}, noEnvironment, streams{out: &stdout, err: &stderr}), stderr.String())
	require.Equal(t, `evil \x1b[2J\x1b]52;c;aGk=\x07 \u202egnp \x9b1A`+"\n", stdout.String())

	failing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadGateway)
		fmt.Fprint(w, `{"error": "\u001b[2Jbad\u202e"}`)
	}))
	defer failing.Close()
	stdout.Reset()
	require.Equal(t, 1, run([]string{"ask", "--url=" + failing.URL, "x"}, noEnvironment, streams{out: &stdout, err: &stderr}))
	require.Contains(t, stderr.String(), `\x1b[2Jbad\u202e`)
}

// TestSuggestions names what was probably meant.
func TestSuggestions(t *testing.T) {
	for line, want := range map[string]string{
		"chekc":                           "did you mean check?",
		"healtcheck":                      "did you mean healthcheck?",
		"alert tset":                      "did you mean test?",
		"--web.listn.address=127.0.0.1:0": "did you mean --web.listen-address?",
		"--storage.retention-time=1d":     "did you mean --storage.retention.time?",
		"ask --steam x":                   "did you mean --stream?",
		"ask --mode=socc x":               "did you mean soc?",
		"--no-alerting.builtin-rule":      "did you mean --alerting.builtin-rules?",
		"backtest --form=1d":              "did you mean --from?",
		"serve --tls.ca-fil=x":            "unknown long flag",
		"xyzzy":                           "unexpected xyzzy",
		"--xyzzy":                         "unknown long flag '--xyzzy'; see hancock --help",
	} {
		var stdout, stderr bytes.Buffer
		require.Equal(t, 2, run(strings.Fields(line), noEnvironment, streams{out: &stdout, err: &stderr}), line)
		require.Contains(t, stderr.String(), want, line)
	}
}

// TestOwnOptionsFirst has the options of a command before those of all commands.
func TestOwnOptionsFirst(t *testing.T) {
	for command, own := range map[string]string{"ask": "--mode=", "check": "--[no-]strict", "alert test": "--label=", "backtest": "--from="} {
		var stdout, stderr bytes.Buffer
		require.Zero(t, run(append(strings.Fields(command), "--help"), noEnvironment, streams{out: &stdout, err: &stderr}))
		help := stdout.String()
		require.Contains(t, help, own)
		require.Less(t, strings.Index(help, own), strings.Index(help, "Options of all commands:"), help)
		require.Less(t, strings.Index(help, own), strings.Index(help, "--web.listen-address"), help)
		require.Equal(t, 1, strings.Count(help, "--web.listen-address"))
	}
}
