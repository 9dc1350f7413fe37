package role

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/config"
	"github.com/pavise/pavise/internal/installation"
	"github.com/pavise/pavise/internal/issuer"
	"github.com/pavise/pavise/internal/oms"
	"github.com/pavise/pavise/internal/registry"
)

// TestSignaturePushed pushes a model and two signatures over its files to an installation that
// believes one signer: theirs counts, and a stranger's does not.
func TestSignaturePushed(t *testing.T) {
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	newKey := func() *ecdsa.PrivateKey {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		must(err)
		return key
	}
	key, stranger := newKey(), newKey()
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	must(err)
	file := filepath.Join(t.TempDir(), "training.pub")
	must(os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o600))
	up := runUp(t, UpConfig{Data: installation.Data(t.TempDir()), Signers: []config.Signer{{Name: "training", File: file}}})
	token, err := up.issuer.Mint(t.Context(), up.operator, issuer.MintRequest{Subject: "mia", Kind: pavise.Human, Roles: []string{issuer.RoleOperator}})
	must(err)
	fraud := pavise.Name{Tenant: up.operator.Tenant, Kind: registry.Kind, ID: "fraud"}
	_, err = up.Models.Create(t.Context(), up.operator, registry.ModelSpec{Name: fraud, Risk: registry.Low})
	must(err)

	sum := func(b []byte) string { s := sha256.Sum256(b); return "sha256:" + hex.EncodeToString(s[:]) }
	type m = map[string]any
	blob := func(media string, content []byte) m {
		return m{"mediaType": media, "digest": sum(content), "size": len(content), "data": content}
	}
	put := func(body m) (digest string, size int, warning string) {
		t.Helper()
		body["schemaVersion"], body["mediaType"] = 2, "application/vnd.oci.image.manifest.v1+json"
		text, err := json.Marshal(body)
		must(err)
		r, err := http.NewRequestWithContext(t.Context(), "PUT", up.Server+"/v2/fraud/manifests/"+sum(text), strings.NewReader(string(text)))
		must(err)
		r.SetBasicAuth("any", token.Value)
		r.Header.Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
		a, err := http.DefaultClient.Do(r)
		must(err)
		defer a.Body.Close()
		if a.StatusCode != http.StatusCreated {
			t.Fatalf("%s: %v", a.Status, a.Header)
		}
		return sum(text), len(text), a.Header.Get("Warning")
	}
	weights := []byte(`{"w": [1, 2, 3]}`)
	layer := blob("application/vnd.cncf.model.weight.v1.raw", weights)
	layer["annotations"] = m{"org.cncf.model.filepath": "w.json"}
	digest, size, _ := put(m{
		"artifactType": "application/vnd.cncf.model.manifest.v1+json", "layers": []m{layer},
		"config": blob("application/vnd.cncf.model.config.v1+json", []byte(`{"descriptor":{},"config":{},"modelfs":{"type":"layers","diffIds":["`+sum(weights)+`"]}}`)),
	})
	for _, c := range []struct {
		by    *ecdsa.PrivateKey
		warns bool
	}{{stranger, true}, {key, false}} {
		signer, err := oms.NewSigner(c.by, nil, time.Now())
		must(err)
		of := sha256.Sum256(weights)
		bundle, err := signer.Sign(&oms.Manifest{Name: "fraud", Hash: "sha256", Files: []oms.File{{Path: "w.json", Parts: []oms.Part{{Digest: of[:]}}}}})
		must(err)
		const kind = "application/vnd.dev.sigstore.bundle.v0.3+json"
		_, _, warning := put(m{
			"artifactType": kind, "config": blob("application/vnd.oci.empty.v1+json", []byte("{}")), "layers": []m{blob(kind, bundle)},
			"subject": m{"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": size},
		})
		v, err := up.Models.Resolve(t.Context(), fraud.Tenant, registry.Ref{Model: "fraud", Version: 1})
		if err != nil || (warning != "") != c.warns || (v.Signature == nil) != c.warns || v.Signature != nil && v.Signature.Signer != "training" {
			t.Errorf("%q, %+v, %v", warning, v, err)
		}
	}
}
