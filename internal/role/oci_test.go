package role

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/installation"
	"github.com/pavise/pavise/internal/issuer"
	"github.com/pavise/pavise/internal/registry"
)

// TestRegistryBesideInference pushes a model to the address at which models answer, and both
// protocols that begin with /v2 are served: who logs in is an operator with a token.
func TestRegistryBesideInference(t *testing.T) {
	up := runUp(t, UpConfig{Data: installation.Data(t.TempDir())})
	token, err := up.issuer.Mint(t.Context(), up.operator, issuer.MintRequest{Subject: "mia", Kind: pavise.Human, Roles: []string{issuer.RoleOperator}})
	if err != nil {
		t.Fatal(err)
	}
	fraud := pavise.Name{Tenant: up.operator.Tenant, Kind: registry.Kind, ID: "fraud"}
	if _, err := up.Models.Create(t.Context(), up.operator, registry.ModelSpec{Name: fraud, Risk: registry.Low}); err != nil {
		t.Fatal(err)
	}
	send := func(status int, method, path string, body io.Reader, media string) (at string, text []byte) {
		t.Helper()
		if !strings.HasPrefix(path, "http") {
			path = up.Server + path
		}
		r, err := http.NewRequestWithContext(t.Context(), method, path, body)
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth("anybody", token.Value)
		if media != "" {
			r.Header.Set("Content-Type", media)
		}
		got, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer got.Body.Close()
		text, err = io.ReadAll(got.Body)
		if err != nil || got.StatusCode != status {
			t.Fatalf("%s %s: %d %s, %v", method, path, got.StatusCode, text, err)
		}
		return got.Header.Get("Location"), text
	}
	digest := func(b []byte) string {
		sum := sha256.Sum256(b)
		return "sha256:" + hex.EncodeToString(sum[:])
	}
	send(200, "GET", "/v2/", nil, "")
	weights := bytes.Repeat([]byte(`{"w": [1, 2, 3]}`+"\n"), 200_000) // 3 MB, without a length, as clients that stream send it
	at, _ := send(202, "POST", "/v2/fraud/blobs/uploads/", nil, "")
	send(202, "PATCH", at, io.MultiReader(bytes.NewReader(weights)), "")
	send(201, "PUT", at+"?digest="+digest(weights), nil, "")
	config := []byte(`{"descriptor":{},"config":{},"modelfs":{"type":"layers","diffIds":["` + digest(weights) + `"]}}`)
	send(201, "POST", "/v2/fraud/blobs/uploads/?digest="+digest(config), bytes.NewReader(config), "")
	manifest := fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"application/vnd.cncf.model.manifest.v1+json",
		"config":{"mediaType":"application/vnd.cncf.model.config.v1+json","digest":%q,"size":%d},
		"layers":[{"mediaType":"application/vnd.cncf.model.weight.v1.raw","digest":%q,"size":%d,"annotations":{"org.cncf.model.filepath":"w.json"}}]}`, digest(config), len(config), digest(weights), len(weights))
	send(201, "PUT", "/v2/fraud/manifests/1.0", strings.NewReader(manifest), "application/vnd.oci.image.manifest.v1+json")
	if _, text := send(200, "GET", "/v2/fraud/blobs/"+digest(weights), nil, ""); !bytes.Equal(text, weights) {
		t.Fatalf("%d bytes came back", len(text))
	}
	v, err := up.Models.Resolve(t.Context(), fraud.Tenant, registry.Ref{Model: "fraud", Version: 1})
	if err != nil || v.State != registry.Draft || v.Intake != registry.Ready || v.House == nil || v.Creator.ID != "mia" {
		t.Fatalf("%+v, %v", v, err)
	}
	if a := up.ask(t); a.status != http.StatusOK || !json.Valid([]byte(a.body)) {
		t.Fatalf("the model does not answer any more: %+v", a)
	}
	resp, err := http.Get(up.Server + "/v2/health/live")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound {
		t.Fatal("the protocol of inference lost its health")
	}
}
