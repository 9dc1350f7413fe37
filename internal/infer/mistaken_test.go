package infer

import (
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/tensor"
)

// TestMistaken asks servers that speak something else than their route says: callers get
// to know what was expected, whoever put the route also where.
func TestMistaken(t *testing.T) {
	plain := httptest.NewServer(nil)
	defer plain.Close()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() { // a server of HTTP/2 alone: it begins with its settings
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conn.Write([]byte{0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 100})
			conn.Read(make([]byte, 1))
			conn.Close()
		}
	}()
	secret := httptest.NewUnstartedServer(nil)
	secret.Config.ErrorLog = log.New(io.Discard, "", 0)
	secret.StartTLS()
	defer secret.Close()
	for _, tt := range []struct{ address, protocol, want string }{
		{"http://" + secret.Listener.Addr().String(), tensor.NameOIP, "asked without TLS and takes TLS alone"},
		{"http://" + secret.Listener.Addr().String(), tensor.NameTFServing, "asked without TLS and takes TLS alone"},
		{plain.URL, tensor.NameOIPGRPC, "asked in HTTP/2, as gRPC is, and answered in something else"},
		{"https://" + plain.Listener.Addr().String(), tensor.NameOIP, "asked by TLS and answered without"},
		{"https://" + plain.Listener.Addr().String(), tensor.NameOIPGRPC, "asked by TLS and answered without"},
		{"http://" + listener.Addr().String(), tensor.NameOIP, "without an answer in it"},
	} {
		at := Place{Address: tt.address, Model: "m", Protocol: tt.protocol}
		err := described(t, at)
		for range 20 { // a server that hangs up may have its reset overtake its answer, seen when read or when written
			if !strings.Contains(err.Error(), "connection reset") && !strings.Contains(err.Error(), "broken pipe") {
				break
			}
			err = described(t, at)
		}
		e, ok := errors.AsType[*pavise.Error](err)
		if !ok {
			t.Fatalf("%s by %s: %v", tt.address, tt.protocol, err)
		}
		if said := e.Msg + e.Hint; !strings.Contains(said, tt.want) || !strings.Contains(said, "the route's") || strings.Contains(said, "127.0.0.1") {
			t.Errorf("%s by %s: a caller gets %v, want %s", tt.address, tt.protocol, err, tt.want)
		}
		if err := Unreached(at, err); !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), tt.address) {
			t.Errorf("%s by %s: whoever put it gets %v", tt.address, tt.protocol, err)
		}
	}
}

// described is what comes of asking a server what its model takes.
func described(t *testing.T, at Place) error {
	t.Helper()
	u, err := NewUpstream(at, tensor.Signature{}, tensor.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	if _, err = u.Describe(t.Context()); err == nil {
		t.Fatalf("%s by %s is described", at.Address, at.Protocol)
	}
	return err
}

// TestClearText has servers say that they take TLS alone, in their own words: callers of
// a language model and whoever puts a route learn it. A server that quotes the request
// says nothing of the kind.
func TestClearText(t *testing.T) {
	const phrase = "The plain HTTP request was sent to HTTPS port"
	for body, want := range map[string]bool{
		"Client sent an HTTP request to an HTTPS server.\n":                                                               true,
		"<html>\r\n<head><title>400 " + phrase + "</title></head>\r\n<body>\r\n<center><h1>400 Bad Request</h1></center>": true,
		"<!DOCTYPE HTML><p>Reason: You're speaking plain HTTP to an SSL-enabled server port.<br />":                       true,
		"Bad Request\nThis combination of host and port requires TLS.\n":                                                  false,
		"<h1>Bad Request</h1><b>Message</b> This combination of host and port requires TLS.":                              true,
		"This combination of host and port requires TLS.":                                                                 true,
		`{"error":"cannot read: ` + phrase + `"}`:                                                                         false,
		`{"error":"Client sent an HTTP request to an HTTPS server."}`:                                                     false,
		strings.Repeat(" ", maxWords) + "Client sent an HTTP request to an HTTPS server.":                                 false,
		"": false,
	} {
		for _, stream := range []bool{false, true} {
			c, r := asked(t, stream, say(400, body))
			var err error
			if stream {
				_, err = c.Stream(t.Context(), r, c.Encode(r, nil))
			} else {
				_, err = c.Ask(t.Context(), r, c.Encode(r, nil))
			}
			if got := strings.Contains(err.Error(), "takes TLS alone"); got != want || want != (pavise.KindOf(err) == pavise.Unavailable) {
				t.Errorf("%.60q, streamed %t: %v", body, stream, err)
			}
		}
		for _, protocol := range []string{tensor.NameOpenAI, tensor.NameMLflow, tensor.NameOIP} {
			server := httptest.NewServer(say(400, body))
			doubt := NewServers().Probe(t.Context(), Place{Address: server.URL, Model: "m", Protocol: protocol})
			if server.Close(); strings.Contains(doubt, "takes TLS alone") != want {
				t.Errorf("%.60q by %s: %s", body, protocol, doubt)
			}
		}
	}
	if secured(http.StatusOK, []byte("Client sent an HTTP request to an HTTPS server.")) != nil {
		t.Error("an answer is taken for a refusal")
	}
}
