package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pavise/pavise/internal/config"
	"github.com/pavise/pavise/internal/oms"
	"github.com/pavise/pavise/internal/registry"
	"github.com/pavise/pavise/internal/role"
)

// modelKey is a key that signs models of tests.
var modelKey = sync.OnceValue(func() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
})

// modelSigner is whom a server believes that is to believe modelKey.
func modelSigner(t *testing.T) config.Signer {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(&modelKey().PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "training.pub")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return config.Signer{Name: "training", File: file}
}

// signedFiles are the files of a version that somebody signed and found clean.
func signedFiles(t *testing.T, text string) registry.FileSpec {
	t.Helper()
	sum := sha256.Sum256([]byte(text))
	signer, err := oms.NewSigner(modelKey(), nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := signer.Sign(&oms.Manifest{Name: "fraud", Hash: "sha256", Files: []oms.File{{Path: "w.json", Parts: []oms.Part{{Digest: sum[:]}}}}})
	if err != nil {
		t.Fatal(err)
	}
	return registry.FileSpec{
		Files: []registry.File{{Path: "w.json", Size: int64(len(text)), Digest: sum}}, Scan: &registry.Scan{Verdict: "clean"}, Signature: bundle,
	}
}

// modelExamples have versions of the model fraud be where the examples take them on, by the
// hands of dora.
func (r *running) modelExamples(t *testing.T, x *examples) {
	models, dora := r.Rooms().Models, r.person("dora")
	add := func() *registry.Version {
		t.Helper()
		v, err := models.Add(t.Context(), dora, registry.AddSpec{
			Model: registry.Ref{Model: "fraud"}.Of(role.Tenant), FileSpec: signedFiles(t, fmt.Sprintf(`{"at": %d}`, time.Now().UnixNano())),
		})
		if err != nil {
			t.Fatal(err)
		}
		x.words = strings.NewReplacer("DIGEST", v.Digest.String()[:20])
		return v
	}
	propose := func() {
		t.Helper()
		v := add()
		for _, kind := range []string{registry.EvidenceEvaluation, registry.EvidenceAttack} {
			if _, err := models.Evidence(t.Context(), dora, role.Tenant, v.Ref, registry.EvidenceSpec{Kind: kind, Digest: v.Digest.String(), Result: registry.Pass, Summary: "it passed"}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := models.Propose(t.Context(), dora, role.Tenant, v.Ref, "better"); err != nil {
			t.Fatal(err)
		}
	}
	x.before["model.propose"] = func() { add() }
	x.before["model.review"], x.before["model.reject"] = propose, propose
	x.before["model.retire"] = func() { add() }
}
