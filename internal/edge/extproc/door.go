package extproc

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/config"
)

// A Door is a server where a configuration says. A nil one is none, and may be used.
type Door struct {
	server   *Server
	listener net.Listener
}

// Open listens where c says; nil: nowhere. h serves the exchanges, and refused counts
// what proxies do wrong.
func Open(c *config.ExtProc, h http.Handler, refused func(source, reason string)) (*Door, error) {
	if c == nil {
		return nil, nil
	}
	secure, err := secured(c)
	if err != nil {
		return nil, err
	}
	d := &Door{server: New(Config{Handler: h, Refused: refused, TLS: secure, TrustCertificates: c.Trust})}
	path, socket := strings.CutPrefix(c.Listen, config.UnixSocket)
	if !socket {
		if d.listener, err = net.Listen("tcp", c.Listen); err != nil {
			return nil, fault(pavise.Unavailable, err, "nobody can listen on %s: %v", c.Listen, err)
		}
		return d, nil
	}
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() == fs.ModeSocket {
		_ = os.Remove(path) // of a process that was killed; if it cannot go, listening says so
	}
	if d.listener, err = net.Listen("unix", path); err != nil {
		return nil, fault(pavise.Unavailable, err, "nobody can listen on the socket %s: %v", path, err)
	}
	if err := os.Chmod(path, 0o660); err != nil { // for the proxy's group, and nobody else
		d.Close()
		return nil, fault(pavise.Unavailable, err, "the socket %s cannot be kept from others: %v", path, err)
	}
	return d, nil
}

func fault(kind pavise.Kind, err error, format string, args ...any) error {
	return &pavise.Error{Kind: kind, Msg: fmt.Sprintf(format, args...), Hint: "ext_proc in pavise.yaml says where proxies ask", Err: err}
}

// secured is how a proxy and this server show who they are; nil: where it listens
// nobody else can be.
func secured(c *config.ExtProc) (*tls.Config, error) {
	if c.TLS == nil {
		return nil, nil
	}
	own := func(*tls.ClientHelloInfo) (*tls.Certificate, error) { // anew each time: files are renewed
		pair, err := tls.LoadX509KeyPair(c.TLS.Certificate, c.TLS.Key)
		return &pair, err
	}
	if _, err := own(nil); err != nil {
		return nil, fault(pavise.Invalid, err, "read the certificate for proxies: %v", err)
	}
	secure := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: own}
	if c.Clients == "" {
		return secure, nil
	}
	text, err := os.ReadFile(c.Clients)
	if err != nil {
		return nil, fault(pavise.Invalid, err, "read the authorities of proxies: %v", err)
	}
	secure.ClientAuth, secure.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
	if !secure.ClientCAs.AppendCertsFromPEM(text) {
		return nil, fault(pavise.Invalid, nil, "%s holds no certificate in PEM", c.Clients)
	}
	return secure, nil
}

// Addr is where it listens, as it is dialled.
func (d *Door) Addr() net.Addr { return d.listener.Addr() }

// Beside serves proxies as long as serve does, and serve as long as it does itself.
//
// Unguarded: whoever it serves enters in the handler.
func (d *Door) Beside(ctx context.Context, serve func(context.Context) error) error {
	if d == nil {
		return serve(ctx)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() {
		defer stop()
		ended <- d.server.Run(ctx, d.listener)
	}()
	err := serve(ctx)
	stop()
	return errors.Join(err, <-ended)
}

// Close lets go of where it listens, when it never served.
func (d *Door) Close() {
	if d != nil && d.listener != nil {
		d.listener.Close()
	}
}
