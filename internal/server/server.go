// Package server is how the doors of a role are served over HTTP: what bounds a
// connection, whose certificate it shows, and how it ends.
//
// Callers of models come by package http1, which costs a fraction of net/http and hands
// over to it what it does not serve itself. Doors for people and machines are net/http's.
// It owns no state but the certificates that it has read.
package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/config"
	"github.com/pavise/pavise/internal/edge"
	"github.com/pavise/pavise/internal/http1"
	"github.com/pavise/pavise/internal/installation"
)

// drainWithin is how long requests under way may take once a role is stopped.
const drainWithin = 10 * time.Second

// A Server is one that can be stopped.
type Server interface {
	Serve(net.Listener) error
	Shutdown(context.Context) error // takes nothing new, and lets requests under way end
	Close() error                   // ends them
}

// Until serves until ctx is done, then lets requests under way end.
func Until(ctx context.Context, s Server, listener net.Listener) error {
	served := make(chan error, 1)
	go func() { served <- s.Serve(listener) }()
	select {
	case err := <-served:
		if errors.Is(err, http.ErrServerClosed) { // by who serves another listener of it
			return nil
		}
		return err
	case <-ctx.Done():
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainWithin)
		defer cancel()
		err := s.Shutdown(drain)
		if errors.Is(err, context.DeadlineExceeded) {
			err = s.Close()
		}
		return err
	}
}

// Plain has the end of a server of net/http wait for no connection on which nothing was
// asked. That waits five seconds for each, although it answers nothing that comes by then;
// and there often is one: a client that has dialled takes the connection that came free
// meanwhile, and keeps the new one for later. It takes the server's ConnState.
func Plain(s *http.Server) *http.Server {
	q := &quiet{conns: map[net.Conn]bool{}}
	s.ConnState = q.state
	s.RegisterOnShutdown(q.end)
	return s
}

// quiet are the connections of a server on which nothing was asked yet.
type quiet struct {
	mu    sync.Mutex // guards what follows
	conns map[net.Conn]bool
	over  bool // the server ends: one that comes is closed
}

// state notes what became of a connection.
func (q *quiet) state(c net.Conn, is http.ConnState) {
	q.mu.Lock()
	over := q.over
	if delete(q.conns, c); is == http.StateNew {
		q.conns[c] = true
	}
	q.mu.Unlock()
	if over && is == http.StateNew {
		c.Close()
	}
}

// end closes them.
func (q *quiet) end() {
	q.mu.Lock()
	q.over = true
	silent := slices.Collect(maps.Keys(q.conns))
	q.mu.Unlock()
	for _, c := range silent {
		c.Close()
	}
}

// Callers serves callers of models, by handlers that keep no request beyond their return.
// Without a certificate it speaks clear text, HTTP/2 included. refused counts what no
// handler gets to see, by source and reason.
func Callers(handler http.Handler, certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error), refused func(source, reason string)) Server {
	s := &http1.Server{
		Handler:           handler,
		HTTP2:             edge.HTTP2(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		MaxConns:          maxCallers,
		Lend:              true,
		Refused: func(remote string, _ int, why string) {
			if host, _, err := net.SplitHostPort(remote); err == nil {
				remote = host
			}
			refused(remote, "http: "+why)
		},
		ErrorLog: log.New(io.Discard, "", 0),
	}
	if certificate != nil {
		s.TLSConfig = tlsConfig(certificate)
	}
	return s
}

// maxCallers bounds the connections of callers, which take about ten kilobytes each.
const maxCallers = 1 << 16

// People serves people with a browser or a token, over TLS. It asks for no certificate: a
// browser would ask which one to show.
func People(handler http.Handler, certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)) Server {
	s := secure(handler, certificate)
	s.TLSConfig.ClientAuth = tls.NoClientCert
	return s
}

// Members serves machines and people with a certificate of the built-in CA.
func Members(handler http.Handler, certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)) Server {
	s := secure(handler, certificate)
	s.TLSConfig.MinVersion = tls.VersionTLS13
	return s
}

// secure is a server that holds nobody's connection for ever.
func secure(handler http.Handler, certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)) overTLS {
	return overTLS{Plain(&http.Server{
		Handler:           handler,
		HTTP2:             edge.HTTP2(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		TLSConfig:         tlsConfig(certificate),
		ErrorLog:          log.New(io.Discard, "", 0), // of broken handshakes: anybody can make as many as they like

		DisableGeneralOptionsHandler: true, // the doors answer OPTIONS * as they do all else
	})}
}

// overTLS is a server that takes plain listeners.
type overTLS struct{ *http.Server }

// Serve serves over TLS, as the server's own configuration has it.
func (s overTLS) Serve(l net.Listener) error { return s.ServeTLS(l, "", "") }

// tlsConfig asks for a client's certificate and leaves it to package identity to judge:
// one that is none of ours is a caller whom nobody knows, and not a broken connection.
func tlsConfig(certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, GetCertificate: certificate, ClientAuth: tls.RequestClientCert,
		SessionTicketsDisabled: true, // who calls is judged by the certificate of this connection
	}
}

// CertificateOf is the certificate in the files of a configuration, read again when
// they change, or else our own.
func CertificateOf(files *config.TLS, own func(*tls.ClientHelloInfo) (*tls.Certificate, error)) (func(*tls.ClientHelloInfo) (*tls.Certificate, error), error) {
	if files == nil {
		return own, nil
	}
	f := &certificateFiles{files: *files}
	_, err := f.get(nil)
	return f.get, err
}

// certificateFiles are a certificate of the operator's own.
type certificateFiles struct {
	files config.TLS

	mu     sync.Mutex // guards what follows
	looked time.Time
	stamp  string // of both files as they were read
	cert   *tls.Certificate
}

// lookAgain is how often the files are looked at.
const lookAgain = 10 * time.Second

// get returns the certificate. One that cannot be read takes the place of none.
func (f *certificateFiles) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cert != nil && time.Since(f.looked) < lookAgain {
		return f.cert, nil
	}
	f.looked = time.Now()
	stamp, err := f.stampNow()
	if err == nil && f.cert != nil && stamp == f.stamp {
		return f.cert, nil
	}
	var cert tls.Certificate
	if err == nil {
		cert, err = f.load()
	}
	if err != nil && f.cert != nil {
		return f.cert, nil // half of a pair was exchanged, or it is damaged: the next look tells
	}
	if err != nil {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the certificate of tls cannot be read: %v", err), Hint: "tls.certificate and tls.key in pavise.yaml name two PEM files that belong together", Err: err}
	}
	f.cert, f.stamp = &cert, stamp
	return f.cert, nil
}

// load reads both files. A key that everybody on the machine can read is none to serve
// with.
func (f *certificateFiles) load() (cert tls.Certificate, err error) {
	info, err := os.Stat(f.files.Key)
	if err != nil {
		return cert, err
	}
	if mode := info.Mode().Perm(); mode&0o007 != 0 {
		return cert, fmt.Errorf("the key %s has mode %#o, and everybody on this machine can reach it: take that away, chmod o= %s", f.files.Key, mode, installation.Quote(f.files.Key))
	}
	return tls.LoadX509KeyPair(f.files.Certificate, f.files.Key)
}

func (f *certificateFiles) stampNow() (stamp string, err error) {
	for _, path := range []string{f.files.Certificate, f.files.Key} {
		info, err := os.Stat(path)
		if err != nil {
			return "", err
		}
		stamp += fmt.Sprint(info.Size(), info.ModTime().UnixNano(), " ")
	}
	return stamp, nil
}
