package edge_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/pavise/pavise/internal/edgetest"
)

// FuzzGRPCFrames sends calls whose bodies are anything. Each ends with one status, that of
// a message that the codec reads or of one that it does not, and never with a server's own
// fault.
func FuzzGRPCFrames(f *testing.F) {
	w := edgetest.New(f)
	w.Put(f, nil)
	good := question(f, "m")
	framed := append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(good))), good...)
	for _, body := range [][]byte{framed, nil, framed[:3], framed[:len(framed)-1], append(bytes.Clone(framed), framed...), {1, 0, 0, 0, 0}, {0, 255, 255, 255, 255}} {
		f.Add(body, "ModelInfer")
		f.Add(body, "ModelStreamInfer")
		f.Add(body, "ModelMetadata")
	}
	client := &http.Client{Transport: &http.Transport{Protocols: new(http.Protocols)}}
	client.Transport.(*http.Transport).Protocols.SetUnencryptedHTTP2(true)
	f.Fuzz(func(t *testing.T, body []byte, method string) {
		if strings.Trim(method, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
			return // a path of its own kind, which other tests are of
		}
		r, err := http.NewRequest("POST", w.Server.URL+service+method, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/grpc")
		r.Header.Set("Authorization", "Bearer "+w.Token)
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Fatal(err)
		}
		switch status := resp.Header.Get("Grpc-Status") + resp.Trailer.Get("Grpc-Status"); status {
		case "0", "3", "5", "7", "8", "12":
		default:
			t.Errorf("%s of %d bytes: HTTP %d, gRPC status %q: %v %v", method, len(body), resp.StatusCode, status, resp.Header, resp.Trailer)
		}
	})
}
