package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"go.yaml.in/yaml/v3"
)

// certificate returns the certificate of the server's TLS, and the file that it is in, which is empty when it stands in
// the configuration file itself. Without TLS there is none.
func certificate(configFile string) (leaf *x509.Certificate, file string, err error) {
	if configFile == "" {
		return nil, "", nil
	}
	src, err := os.ReadFile(configFile)
	if err != nil {
		return nil, "", err
	}
	var settings struct {
		TLS *struct {
			Cert     string `yaml:"cert"`
			CertFile string `yaml:"cert_file"`
		} `yaml:"tls_server_config"`
	}
	if err := yaml.Unmarshal(src, &settings); err != nil || settings.TLS == nil {
		return nil, "", err
	}
	content := []byte(settings.TLS.Cert)
	if file = settings.TLS.CertFile; file != "" {
		if !filepath.IsAbs(file) {
			file = filepath.Join(filepath.Dir(configFile), file)
		}
		if content, err = os.ReadFile(file); err != nil {
			return nil, "", err
		}
	}
	for {
		var block *pem.Block
		if block, content = pem.Decode(content); block == nil {
			return nil, file, errors.New("no certificate in PEM format")
		}
		if block.Type == "CERTIFICATE" { // The server's own is the first.
			leaf, err = x509.ParseCertificate(block.Bytes)
			return leaf, file, err
		}
	}
}

// pinned trusts the certificate of the server on this machine and no other. Its name need not be that of the listen
// address. It returns nil without TLS.
func pinned(configFile string) (*tls.Config, error) {
	leaf, _, err := certificate(configFile)
	if err != nil {
		return nil, fmt.Errorf("web.config_file: %w", err)
	}
	if leaf == nil {
		return nil, nil
	}
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, // #nosec G402 -- VerifyConnection compares the whole certificate.
		VerifyConnection: func(state tls.ConnectionState) error {
			if !state.PeerCertificates[0].Equal(leaf) {
				return errors.New("the server's certificate is not the one that web.config_file names: is another server listening there?")
			}
			return nil
		},
	}, nil
}

// trusting trusts the authorities of a file.
func trusting(caFile string) (*tls.Config, error) {
	content, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("--tls.ca-file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(content) {
		return nil, fmt.Errorf("--tls.ca-file: %s: no certificate in PEM format", caFile)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}, nil
}
