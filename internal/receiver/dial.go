package receiver

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"os"
	"strings"

	"github.com/pavise/pavise"
)

// tlsConfig is how a server is met. The files are read anew each time.
func (s Server) tlsConfig() (*tls.Config, error) {
	wrong := func(file string, err error) error {
		return &pavise.Error{Kind: pavise.Unavailable, Msg: fmt.Sprintf("read %s, of server %s: %v", file, s.Name, err), Hint: "receive.servers in pavise.yaml names it", Err: err}
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.Authorities != "" {
		text, err := os.ReadFile(s.Authorities)
		if err != nil {
			return nil, wrong(s.Authorities, err)
		}
		if cfg.RootCAs = x509.NewCertPool(); !cfg.RootCAs.AppendCertsFromPEM(text) {
			return nil, wrong(s.Authorities, fmt.Errorf("it holds no certificate in PEM"))
		}
	}
	if s.Certificate != "" {
		pair, err := tls.LoadX509KeyPair(s.Certificate, s.Key)
		if err != nil {
			return nil, wrong(s.Certificate, err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	if s.Pin == "" {
		return cfg, nil
	}
	// Who holds the pinned key is the server: no authority has to vouch for it as well,
	// unless some are named.
	cfg.InsecureSkipVerify = s.Authorities == ""
	cfg.VerifyConnection = func(c tls.ConnectionState) error {
		if len(c.PeerCertificates) == 0 {
			return fmt.Errorf("server %s shows no certificate", s.Name)
		}
		sum := sha256.Sum256(c.PeerCertificates[0].RawSubjectPublicKeyInfo)
		if is := "sha256:" + hex.EncodeToString(sum[:]); is != s.Pin {
			return fmt.Errorf("server %s has the key %s, and its pin is another", s.Name, is)
		}
		return nil
	}
	return cfg, nil
}

// pinned reports whether who answers holds the key that pavise.yaml names.
func (s Server) pinned() bool {
	return s.Pin != "" && (strings.HasPrefix(s.Address, "https:") || strings.HasPrefix(s.Address, "tls:"))
}

// maxCredentials bounds a file of credentials, in bytes.
const maxCredentials = 64 << 10

// credentials returns what the server is told of who asks, or "".
func (s Server) credentials() (string, error) {
	if s.Credentials == "" {
		return "", nil
	}
	text, err := os.ReadFile(s.Credentials)
	if err == nil && len(text) > maxCredentials {
		err = fmt.Errorf("it is %d bytes long, more than %d", len(text), maxCredentials)
	}
	if err != nil {
		return "", &pavise.Error{Kind: pavise.Unavailable, Msg: fmt.Sprintf("read the credentials of server %s: %v", s.Name, err), Hint: "receive.servers in pavise.yaml names the file", Err: err}
	}
	return strings.TrimSpace(string(text)), nil
}
