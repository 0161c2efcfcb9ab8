package web

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// writeCertificate puts a self-signed certificate for 127.0.0.1 and a web
// configuration that uses it into a folder.
func writeCertificate(t *testing.T, dir string) (config string, roots *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "hancock"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	keyDER, err := x509.MarshalECPrivateKey(key)
	require.NoError(t, err)
	for name, block := range map[string]*pem.Block{
		"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "EC PRIVATE KEY", Bytes: keyDER},
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600))
	}
	config = filepath.Join(dir, "web.yml")
	require.NoError(t, os.WriteFile(config, []byte("tls_server_config: {cert_file: cert.pem, key_file: key.pem}\n"), 0o600))
	roots = x509.NewCertPool()
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	roots.AddCert(cert)
	return config, roots
}

func TestServeOverTLS(t *testing.T) {
	opts := DefaultOptions()
	var roots *x509.CertPool
	opts.ConfigFile, roots = writeCertificate(t, t.TempDir())
	s, _ := newServer(t, opts)
	base, stop := start(t, s)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	defer client.CloseIdleConnections()
	code, body := get(t, client, strings.Replace(base, "http://", "https://", 1)+"/readyz")
	require.Equal(t, http.StatusOK, code, body)
	code, _ = get(t, http.DefaultClient, base+"/readyz")
	http.DefaultClient.CloseIdleConnections()
	require.Equal(t, http.StatusBadRequest, code, "plain HTTP on the TLS port")
	require.NoError(t, stop())
}
