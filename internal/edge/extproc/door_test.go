package extproc_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/pavise/pavise/internal/config"
	"github.com/pavise/pavise/internal/edge/extproc"
)

var hello = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") })

// knock opens a door, asks once, and returns what the proxy got.
func knock(t *testing.T, c *config.ExtProc, how credentials.TransportCredentials) result {
	t.Helper()
	d, err := extproc.Open(c, hello, func(string, string) {})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Beside(ctx, func(ctx context.Context) error { <-ctx.Done(); return nil }) }()
	target := d.Addr().String()
	if strings.HasPrefix(c.Listen, config.UnixSocket) {
		target = c.Listen
	}
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(how))
	if err != nil {
		t.Fatal(err)
	}
	got := envoy{request: buffered, response: buffered}.do(t, conn, message{header: [][2]string{{":method", "GET"}, {":path", "/"}}})
	conn.Close()
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	return got
}

// TestDoor opens where a configuration says: on a socket that a killed process left
// behind, and by TLS to proxies of one authority only.
func TestDoor(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "s")
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false)
	left.Close()
	if got := knock(t, &config.ExtProc{Listen: "unix:" + socket}, insecure.NewCredentials()); string(got.body) != "hello" {
		t.Errorf("by a socket: %+v", got)
	}
	root, rootKey := certificate(t, nil, nil, "")
	leaf, key := certificate(t, root, rootKey, "spiffe://acme.example/workload/envoy")
	other, otherKey := certificate(t, nil, nil, "")
	stranger, strangerKey := certificate(t, other, otherKey, "spiffe://acme.example/workload/envoy")
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	c := &config.ExtProc{
		Listen: "127.0.0.1:0", Clients: write("ca", "CERTIFICATE", root.Raw),
		TLS: &config.TLS{Certificate: write("cert", "CERTIFICATE", leaf.Raw), Key: write("key", "PRIVATE KEY", pkcs8)},
	}
	as := func(cert *x509.Certificate, key *ecdsa.PrivateKey) credentials.TransportCredentials {
		own := &tls.Config{InsecureSkipVerify: true} // who the server is, is not asked here
		if cert != nil {
			own.Certificates = []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}}
		}
		return credentials.NewTLS(own)
	}
	if got := knock(t, c, as(leaf, key)); string(got.body) != "hello" {
		t.Errorf("by TLS: %+v", got)
	}
	for name, how := range map[string]credentials.TransportCredentials{"nobody": as(nil, nil), "a stranger": as(stranger, strangerKey), "clear text": insecure.NewCredentials()} {
		if got := knock(t, c, how); got.err == nil {
			t.Errorf("%s got in: %+v", name, got)
		}
	}
}

// TestNoDoor has what cannot be opened say why, and no door at all be one that never opens.
func TestNoDoor(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]*config.ExtProc{
		"a file in its place": {Listen: "unix:" + file},
		"no directory":        {Listen: "unix:" + file + "/s"},
		"a port of others":    {Listen: "192.0.2.1:1"},
		"no certificate":      {Listen: "127.0.0.1:0", TLS: &config.TLS{Certificate: file, Key: file}},
	} {
		if d, err := extproc.Open(c, hello, nil); err == nil || d != nil {
			t.Errorf("%s: %v, %v", name, d, err)
		}
	}
	d, err := extproc.Open(nil, hello, nil)
	if d != nil || err != nil {
		t.Fatalf("%v, %v", d, err)
	}
	d.Close()
	broken := errors.New("broken")
	if err := d.Beside(t.Context(), func(context.Context) error { return broken }); err != broken {
		t.Error(err)
	}
}
