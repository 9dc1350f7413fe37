package main

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise/internal/porttest"
	"github.com/pavise/pavise/internal/route"
)

// TestOIPPeers puts a model server that is none of our code behind the firewall,
// MLServer, and has clients that are none of ours ask it: NVIDIA's and KServe's, which
// are told another address and a token, and nothing else. PAVISE_OIP names a Python that
// has the packages mlserver, tritonclient and kserve.
func TestOIPPeers(t *testing.T) {
	python := os.Getenv("PAVISE_OIP")
	if python == "" {
		t.Skip("PAVISE_OIP names no Python with the packages mlserver, tritonclient and kserve")
	}
	p := start(t, t.TempDir()+"/data")
	rest, grpc := mlserver(t, python)
	for _, spec := range []route.Spec{
		{Name: "local/model/risk", Upstream: rest},
		{Name: "local/model/risk-grpc", Upstream: grpc, Remote: "risk", Protocol: "oip-grpc"},
	} {
		if err := p.operator(t).Call(t.Context(), "route.put", spec, nil); err != nil {
			t.Fatal(err)
		}
		id := strings.TrimPrefix(spec.Name, "local/model/")
		a, err := ask(p.Server, p.Token, id, `{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[0.5,0.25]}]}`)
		if want := `{"model_name":"` + id + `","outputs":[{"name":"scores","shape":[1,3],"datatype":"FP32","data":[0.4223,0.4223,0.1554]}]}`; err != nil || a.body != want {
			t.Errorf("%+v, %v", a, err)
		}
	}
	for _, client := range []string{"tritonclient-http-json", "tritonclient-http-binary", "kserve-v1", "kserve-v2"} {
		t.Run(client, func(t *testing.T) {
			out, err := exec.Command(python, "-W", "ignore", "testdata/oip/clients.py", client, strings.TrimPrefix(p.Server, "http://"), p.Token).CombinedOutput()
			if err != nil || strings.TrimSpace(string(out)) != "ok" {
				t.Errorf("%v\n%s", err, strings.ReplaceAll(string(out), p.Token, "TOKEN"))
			}
		})
	}
}

// mlserver starts MLServer with the model risk, and returns where it answers.
func mlserver(t *testing.T, python string) (rest, grpc string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/oip/risk")); err != nil {
		t.Fatal(err)
	}
	ports := map[string]int{}
	for _, use := range []string{"http_port", "grpc_port", "metrics_port"} {
		var err error
		if ports[use], err = porttest.Free(); err != nil {
			t.Fatal(err)
		}
	}
	settings := fmt.Sprintf(`{"host": "127.0.0.1", "http_port": %d, "grpc_port": %d, "metrics_port": %d, "parallel_workers": 0, "debug": false}`, ports["http_port"], ports["grpc_port"], ports["metrics_port"])
	if err := os.WriteFile(filepath.Join(dir, "settings.json"), []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(filepath.Dir(python), "mlserver"), "start", dir)
	var said strings.Builder
	cmd.Stdout, cmd.Stderr, cmd.Dir = &said, &said, dir
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-ended
	})
	address := fmt.Sprintf("http://127.0.0.1:%d", ports["http_port"])
	for deadline := time.Now().Add(90 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if resp, err := http.Get(address + "/v2/models/risk/ready"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return address, fmt.Sprintf("http://127.0.0.1:%d", ports["grpc_port"])
			}
		}
	}
	cmd.Process.Kill()
	<-ended
	t.Fatalf("MLServer was not ready in time:\n%s", said.String())
	return "", ""
}
