package role

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/config"
	"github.com/pavise/pavise/internal/edge"
	"github.com/pavise/pavise/internal/gateway"
	"github.com/pavise/pavise/internal/installation"
)

// drainWithin is how long requests under way may take once a role is stopped.
const drainWithin = 10 * time.Second

// serveUntil serves until ctx is done, then lets requests under way end.
func serveUntil(ctx context.Context, server *http.Server, listener net.Listener) error {
	return servedUntil(ctx, server, func() error { return server.Serve(listener) })
}

// serveTLSUntil does the same over TLS, as the server's own configuration has it.
func serveTLSUntil(ctx context.Context, server *http.Server, listener net.Listener) error {
	return servedUntil(ctx, server, func() error { return server.ServeTLS(listener, "", "") })
}

func servedUntil(ctx context.Context, server *http.Server, serve func() error) error {
	served := make(chan error, 1)
	go func() { served <- serve() }()
	select {
	case err := <-served:
		if errors.Is(err, http.ErrServerClosed) { // by who serves another listener of it
			return nil
		}
		return err
	case <-ctx.Done():
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainWithin)
		defer cancel()
		err := server.Shutdown(drain)
		if errors.Is(err, context.DeadlineExceeded) {
			err = server.Close()
		}
		return err
	}
}

// newServer is a server that holds nobody's connection for ever, over TLS. It asks for a
// client's certificate and leaves it to package identity to judge: one that is none of
// ours is a caller whom nobody knows, and not a broken connection.
func newServer(handler http.Handler, certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)) *http.Server {
	return &http.Server{
		Handler:           handler,
		HTTP2:             edge.HTTP2(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		TLSConfig: &tls.Config{
			MinVersion: tls.VersionTLS12, GetCertificate: certificate, ClientAuth: tls.RequestClientCert,
			SessionTicketsDisabled: true, // who calls is judged by the certificate of this connection
		},
		ErrorLog: log.New(io.Discard, "", 0), // of broken handshakes: anybody can make as many as they like
	}
}

// refuse answers with what somebody may be told about an error.
func refuse(w http.ResponseWriter, err error) {
	msg, hint := gateway.Message(err)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(pavise.KindOf(err).HTTPStatus())
	_ = json.NewEncoder(w).Encode(map[string]string{"error": msg, "hint": hint}) // whoever went away reads nothing
}

// certificateOf is the certificate in the files of a configuration, read again when
// they change, or else our own.
func certificateOf(files *config.TLS, own func(*tls.ClientHelloInfo) (*tls.Certificate, error)) (func(*tls.ClientHelloInfo) (*tls.Certificate, error), error) {
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
