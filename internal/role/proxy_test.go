package role

import (
	"path/filepath"
	"testing"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	mode "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	proc "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/pavise/pavise/internal/config"
	"github.com/pavise/pavise/internal/installation"
)

// TestProxyDoor has up serve the sample model through the door that proxies ask at.
func TestProxyDoor(t *testing.T) {
	socket := "unix:" + filepath.Join(t.TempDir(), "s")
	r := runUp(t, UpConfig{Data: installation.Data(t.TempDir()), ExtProc: &config.ExtProc{Listen: socket}})
	conn, err := grpc.NewClient(socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	stream, err := proc.NewExternalProcessorClient(conn).Process(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	head := &core.HeaderMap{}
	for _, f := range [][2]string{{":method", "GET"}, {":path", "/v2/models/" + Sample}, {"authorization", "Bearer " + r.Token}} {
		head.Headers = append(head.Headers, &core.HeaderValue{Key: f[0], RawValue: []byte(f[1])})
	}
	both := mode.ProcessingMode_BUFFERED
	err = stream.Send(&proc.ProcessingRequest{
		Request:        &proc.ProcessingRequest_RequestHeaders{RequestHeaders: &proc.HttpHeaders{Headers: head, EndOfStream: true}},
		ProtocolConfig: &proc.ProtocolConfiguration{RequestBodyMode: both, ResponseBodyMode: both},
	})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := stream.Recv()
	if i := answer.GetImmediateResponse(); err != nil || i.GetStatus().GetCode() != 200 {
		t.Fatalf("%v, %v", answer, err)
	}
	stream.CloseSend()
	r.stop()
}
