package role

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/pavise/pavise/internal/edge"
	"github.com/pavise/pavise/internal/installation"
)

// live asks whether a server is live, as gRPC does, and returns gRPC's status.
func live(t *testing.T, client *http.Client, url string) string {
	t.Helper()
	r, err := http.NewRequest("POST", url+edge.GRPCPath+"ServerLive", bytes.NewReader(make([]byte, 5)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/grpc")
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.ProtoMajor != 2 {
		t.Errorf("%s %q, %v", resp.Proto, body, err)
	}
	return resp.Header.Get("Grpc-Status") + resp.Trailer.Get("Grpc-Status")
}

// TestGRPCUp speaks gRPC with up, in clear text and on its one port.
func TestGRPCUp(t *testing.T) {
	r := runUp(t, UpConfig{Data: installation.Data(t.TempDir())})
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	if got := live(t, &http.Client{Transport: transport}, r.url()); got != "0" {
		t.Errorf("status %s", got)
	}
}

// TestGRPCPort speaks gRPC with a gateway, over TLS, on both of its ports.
func TestGRPCPort(t *testing.T) {
	t.Parallel()
	p := begin(t)
	g, _ := p.gateway(t, "gw-grpc", func(c *GatewayConfig) { c.GRPC = "127.0.0.1:0" })
	client := p.caller(t, "app", "caller")
	until(t, client, g, 200)
	client = &http.Client{Transport: client.Transport.(*http.Transport).Clone()}
	client.Transport.(*http.Transport).ForceAttemptHTTP2 = true
	_, port, _ := net.SplitHostPort(g.second.Addr().String())
	second := g.URL()[:strings.LastIndex(g.URL(), ":")+1] + port
	for _, url := range []string{g.URL(), second} {
		if got := live(t, client, url); got != "0" {
			t.Errorf("%s: status %s", url, got)
		}
	}
}
