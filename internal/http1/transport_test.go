package http1

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestShutdownUnderLoadLosesNothing has callers that ask until an answer says that it was
// the last of its connection.
func TestShutdownUnderLoadLosesNothing(t *testing.T) {
	for which, config := range map[string]*tls.Config{"http": nil, "https": serverTLS(t)} {
		s := &Server{TLSConfig: config, lastCall: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/early" { // the head is gone before the server begins to close
				w.Header().Set("Content-Length", "5")
				flush(w)
			}
			time.Sleep(time.Millisecond)
			io.Copy(w, r.Body)
		})}
		addr := start(t, s)
		var wg, connected sync.WaitGroup
		var answered atomic.Int64
		for i := range 16 {
			connected.Add(1)
			wg.Go(func() {
				first := sync.OnceFunc(connected.Done)
				defer first()
				path := []string{"/", "/early"}[i%2]
				transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
				defer transport.CloseIdleConnections()
				for last := false; !last; answered.Add(1) {
					// A body that cannot be sent again: the transport does not hide a lost request.
					req, _ := http.NewRequest("POST", which+"://"+addr+path, io.MultiReader(strings.NewReader("hello")))
					r, err := transport.RoundTrip(req)
					if err != nil {
						t.Errorf("%s: lost: %v", which, err)
						return
					}
					if body, err := io.ReadAll(r.Body); string(body) != "hello" {
						t.Errorf("%s: lost: %q, %v", which, body, err)
						return
					}
					last = r.Close
					first()
				}
			})
		}
		connected.Wait() // nobody is to come when the server takes no new connection
		for answered.Load() < 200 {
			time.Sleep(time.Millisecond)
		}
		if err := s.Shutdown(t.Context()); err != nil {
			t.Errorf("%s: %v", which, err)
		}
		wg.Wait()
		if n := s.open.Load(); n != 0 {
			t.Errorf("%s: %d connections are left", which, n)
		}
	}
}

func TestShutdownThatIsNotWaitedFor(t *testing.T) {
	entered := make(chan struct{})
	canceled := make(chan struct{})
	s := &Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done()
		close(canceled)
	})}
	c := dial(t, start(t, s))
	io.WriteString(c, crlf("GET / HTTP/1.1|Host: h||"))
	<-entered
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); err != context.DeadlineExceeded {
		t.Fatal(err)
	}
	s.Close()
	<-canceled
	ended(t, c)
}

func TestTooManyConnections(t *testing.T) {
	var told atomic.Int64
	s := &Server{Handler: echo, MaxConns: 2, Refused: func(remote string, status int, why string) {
		if status == 503 && why != "" && remote != "" {
			told.Add(1)
		}
	}}
	addr := start(t, s)
	a, b := dial(t, addr), dial(t, addr)
	for _, c := range []net.Conn{a, b} {
		io.WriteString(c, crlf("GET / HTTP/1.1|Host: h||"))
		if _, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil {
			t.Fatal(err)
		}
	}
	got := say(t, addr, crlf("GET / HTTP/1.1|Host: h||"))
	if !strings.HasPrefix(got, "HTTP/1.1 503") || told.Load() != 1 {
		t.Fatalf("%q, told %d", got, told.Load())
	}
	a.Close()
	for deadline := time.Now().Add(10 * time.Second); ; {
		if strings.HasPrefix(say(t, addr, crlf("GET / HTTP/1.1|Host: h|Connection: close||")), "HTTP/1.1 200") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the place of a closed connection is not given to another")
		}
	}
}

// TestDepartureIsNoticed leaves while a handler waits, over every transport.
func TestDepartureIsNoticed(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("departures are noticed on Linux only")
	}
	entered, canceled := make(chan struct{}, 2), make(chan struct{}, 2)
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		entered <- struct{}{}
		<-r.Context().Done()
		canceled <- struct{}{}
	})
	plain := dial(t, start(t, &Server{Handler: h}))
	secure := tls.Client(dial(t, start(t, &Server{Handler: h, TLSConfig: serverTLS(t)})), &tls.Config{InsecureSkipVerify: true})
	for _, c := range []net.Conn{plain, secure} {
		io.WriteString(c, crlf("GET / HTTP/1.1|Host: h||GET /next HTTP/1.1|Host: h||")) // more waits to be read
	}
	for range 2 {
		<-entered
	}
	plain.Close()
	secure.Close()
	for range 2 {
		<-canceled
	}
}

// serverTLS is a configuration with a certificate of its own, which asks for the caller's.
func serverTLS(t testing.TB) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{certificate(t, "server")}, ClientAuth: tls.RequestClientCert}
}

func certificate(t testing.TB, name string) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// TestTransports asks over each way that leads here, with a certificate where there is TLS.
func TestTransports(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := "nobody"
		if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
			name = r.TLS.PeerCertificates[0].Subject.CommonName
		}
		_, ours := w.(*answer)
		body, err := io.ReadAll(r.Body)
		fmt.Fprint(w, r.Proto, " ", name, " ", ours, " ", len(body), " ", err)
	})
	plain, secure := start(t, &Server{Handler: h}), start(t, &Server{Handler: h, TLSConfig: serverTLS(t)})
	client := certificate(t, "client")
	for _, row := range []struct {
		name, url, method, want string
		set                     func(*http.Protocols)
	}{
		{"plain", "http://" + plain, "POST", "HTTP/1.1 nobody true 100000 <nil>", func(p *http.Protocols) { p.SetHTTP1(true) }},
		{"plain, passed", "http://" + plain, "PROPFIND", "HTTP/1.1 nobody false 100000 <nil>", func(p *http.Protocols) { p.SetHTTP1(true) }},
		{"h2c", "http://" + plain, "POST", "HTTP/2.0 nobody false 100000 <nil>", func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) }},
		{"TLS", "https://" + secure, "POST", "HTTP/1.1 client true 100000 <nil>", func(p *http.Protocols) { p.SetHTTP1(true) }},
		{"TLS, passed", "https://" + secure, "PROPFIND", "HTTP/1.1 client false 100000 <nil>", func(p *http.Protocols) { p.SetHTTP1(true) }},
		{"h2", "https://" + secure, "POST", "HTTP/2.0 client false 100000 <nil>", func(p *http.Protocols) { p.SetHTTP2(true) }},
	} {
		transport := &http.Transport{Protocols: new(http.Protocols), TLSClientConfig: &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{client}}}
		row.set(transport.Protocols)
		for range 3 {
			req, _ := http.NewRequest(row.method, row.url, bytes.NewReader(make([]byte, 100_000)))
			r, err := transport.RoundTrip(req)
			if err != nil {
				t.Fatal(row.name, err)
			}
			if body, err := io.ReadAll(r.Body); string(body) != row.want {
				t.Errorf("%s: %q, %v", row.name, body, err)
			}
			r.Body.Close()
		}
		transport.CloseIdleConnections()
	}
	if got := say(t, secure, crlf("GET / HTTP/1.1|Host: h||")); !strings.HasPrefix(got, "HTTP/1.1 400") {
		t.Errorf("without TLS: %q", got)
	}
	c := tls.Client(dial(t, secure), &tls.Config{InsecureSkipVerify: true})
	io.WriteString(c, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	if got := ended(t, c); !strings.HasPrefix(got, "HTTP/1.1 400") {
		t.Errorf("HTTP/2 that was not agreed on: %q", got)
	}
}

func TestListenerThatDoesTLS(t *testing.T) {
	l, err := tls.Listen("tcp", "127.0.0.1:0", serverTLS(t))
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Handler: echo}
	defer s.Close()
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	dial(t, l.Addr().String())
	if err := <-done; err != errTLSTwice {
		t.Fatal(err)
	}
}

// TestMemoryOfConnections opens many that do nothing, and as many that wait for events.
func TestMemoryOfConnections(t *testing.T) {
	if testing.Short() {
		t.Skip("opens thousands of connections")
	}
	release := make(chan struct{})
	addr := start(t, &Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, "data: x\n\n")
		if r.URL.Path == "/events" {
			flush(w)
			select {
			case <-release:
			case <-r.Context().Done():
			}
		}
	})})
	defer close(release)
	for path, most := range map[string]uint64{"/idle": 12 << 10, "/events": 25 << 10} {
		const conns = 1000
		before := inUse()
		for range conns {
			c := dial(t, addr)
			io.WriteString(c, crlf("POST "+path+" HTTP/1.1|Host: h|Content-Length: 5||hello"))
			if line := make([]byte, 15); func() bool { _, err := io.ReadFull(c, line); return err != nil }() {
				t.Fatal("no answer")
			}
		}
		each := (inUse() - before) / conns
		t.Logf("%s: %d bytes a connection, with the test's own side", path, each)
		if each > most {
			t.Errorf("%s: %d bytes a connection, more than %d", path, each, most)
		}
	}
}

func inUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}
