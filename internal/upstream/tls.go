package upstream

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"

	"github.com/pavise/pavise"
)

// TLS says whom a cluster believes and who it is itself, for endpoints whose URL
// is https. The zero TLS believes the system's roots and shows no certificate.
type TLS struct {
	CAFile     string // PEM; the only roots that are believed; empty: the system's
	CertFile   string // PEM; what is shown to a server that asks (mTLS); with KeyFile
	KeyFile    string
	ServerName string // the name in the server's certificate; empty: the URL's host
}

// Check reports, as an error of kind Invalid, what is wrong with the files.
func (t TLS) Check() error {
	_, err := t.load()
	return err
}

// maxPEM bounds a file of certificates.
const maxPEM = 1 << 20

// load reads the files. The certificate is read anew at each handshake, so that one
// which was renewed is shown without a restart; the roots are read once. The error
// is of kind Invalid.
func (t TLS) load() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName, ClientSessionCache: tls.NewLRUClientSessionCache(64)}
	if t.CAFile != "" {
		pem, err := readPEM(t.CAFile)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("there is no certificate in %s, the roots of an upstream", t.CAFile), Hint: "write it as PEM"}
		}
	}
	if (t.CertFile == "") != (t.KeyFile == "") {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: "an upstream's client certificate needs both its certificate and its key", Hint: "name both files, or none"}
	}
	if t.CertFile != "" {
		if _, err := t.certificate(); err != nil {
			return nil, err
		}
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return t.certificate() }
	}
	return config, nil
}

// certificate reads who we are.
func (t TLS) certificate() (*tls.Certificate, error) {
	cert, err := readPEM(t.CertFile)
	if err != nil {
		return nil, err
	}
	key, err := readPEM(t.KeyFile)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s and %s are not a certificate and its key", t.CertFile, t.KeyFile), Hint: "write both as PEM", Err: err}
	}
	return &pair, nil
}

// readPEM reads a small file.
func readPEM(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err == nil && (!info.Mode().IsRegular() || info.Size() > maxPEM) {
		err = fmt.Errorf("it is no file of at most %d bytes", maxPEM)
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("read %s of an upstream", path), Hint: "name a file of PEM that the gateway may read", Err: err}
	}
	return data, nil
}
