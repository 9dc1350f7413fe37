package role

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/deploy"
	"github.com/pavise/pavise/internal/installation"
	"github.com/pavise/pavise/internal/model"
	"github.com/pavise/pavise/internal/notary"
	"github.com/pavise/pavise/internal/registry"
	"github.com/pavise/pavise/internal/store"
	"github.com/pavise/pavise/internal/verbs"
)

// TestHouseSignature takes the signature of this installation, and the key by which it holds, out
// of it: the files verify with them offline, and others do not. What is changed in the database
// after its publication is deployed nowhere, and is a finding.
func TestHouseSignature(t *testing.T) {
	data := installation.Data(t.TempDir())
	r := runUp(t, UpConfig{Data: data})
	fraud := pavise.Name{Tenant: Tenant, Kind: "model", ID: "fraud"}
	if _, err := r.Models.Create(t.Context(), r.person("dora"), registry.ModelSpec{Name: fraud, Risk: registry.Low}); err != nil {
		t.Fatal(err)
	}
	content := []byte(`{"weights": [1, 2, 3]}`)
	r.publish(t, fraud, content)
	dir := t.TempDir()
	top := filepath.Join(dir, "model")
	files := map[string][]byte{filepath.Join(top, "model.onnx"): content}
	for _, part := range []string{registry.PartSignature, registry.PartKey} {
		s, err := r.Models.ShowPart(t.Context(), r.person("dora"), Tenant, registry.Ref{Model: "fraud", Version: 1}, part)
		if err != nil {
			t.Fatal(err)
		}
		files[filepath.Join(dir, part)] = s.Part
	}
	if err := os.Mkdir(top, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	holds := func() bool {
		v, err := (&model.Verify{Path: top, Signature: filepath.Join(dir, registry.PartSignature), Key: filepath.Join(dir, registry.PartKey)}).Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return v.Holds
	}
	if !holds() {
		t.Error("the files of the version do not verify")
	}
	if err := os.WriteFile(filepath.Join(top, "model.onnx"), append(content, ' '), 0o600); err != nil {
		t.Fatal(err)
	}
	if holds() {
		t.Error("other files verify")
	}

	r.do(t, "target.put", pavise.Name{Tenant: Tenant, Kind: deploy.KindTarget, ID: "edge"}, `{"kind":"edge","settings":{"agent":"workload/edge-1"}}`)
	on := pavise.Name{Tenant: Tenant, Kind: deploy.Kind, ID: "fraud"}
	release := func() error {
		_, err := r.Changes.Propose(t.Context(), r.person("dora"), change.Proposal{Verb: "deploy.release", On: on, Request: json.RawMessage(`{"version":1,"to":["edge"]}`)})
		return err
	}
	alias := func() error {
		_, err := r.Changes.Propose(t.Context(), r.person("dora"), change.Proposal{Verb: "model.alias", On: fraud, Request: json.RawMessage(`{"alias":"champion","version":1}`)})
		return err
	}
	edit := func(from, to string) {
		t.Helper()
		err := r.DB.Update(t.Context(), func(tx *store.Tx) error {
			_, err := tx.Exec(`UPDATE registry_versions SET files = replace(files, ?, ?)`, from, to)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	problem := func() string {
		t.Helper()
		a, err := data.ReadAccess("")
		if err != nil {
			t.Fatal(err)
		}
		var shown registry.Shown
		if err := (&api.Client{Base: a.Server, Token: a.Token}).Call(t.Context(), "model.show", verbs.ModelShow{Model: "fraud/1"}, &shown); err != nil {
			t.Fatal(err)
		}
		return shown.Versions[0].Problem
	}
	if said := problem(); said != "" {
		t.Errorf("what is as it was is shown as changed: %s", said)
	}
	edit("model.onnx", "other.onnx")
	if said := problem(); !strings.Contains(said, "as this installation signed it") {
		t.Errorf("what was changed is shown as if it was not: %q", said)
	}
	if err := release(); pavise.KindOf(err) != pavise.Unverified || !strings.Contains(err.Error(), "as this installation signed it") {
		t.Errorf("what was changed is released: %v", err)
	}
	if err := alias(); pavise.KindOf(err) != pavise.Unverified || !strings.Contains(err.Error(), "as this installation signed it") {
		t.Errorf("what was changed is to have an alias: %v", err)
	}
	found := false
	for _, rec := range r.Log.Records(0, r.Log.Size()) {
		found = found || rec.Kind == registry.KindAltered
	}
	if !found {
		t.Error("nobody was told")
	}
	edit("other.onnx", "model.onnx")
	if err := release(); err != nil {
		t.Errorf("what was put back: %v", err)
	}
	if err := alias(); err != nil {
		t.Errorf("an alias of what was put back: %v", err)
	}

	asked := "true"
	if err := r.Models.Tag(t.Context(), r.person("dora"), Tenant, registry.Ref{Model: "fraud"}, registry.Words{Tags: map[string]*string{registry.TagSigned: &asked}}); err != nil {
		t.Fatal(err)
	}
	if err := release(); pavise.KindOf(err) != pavise.Denied || !strings.Contains(err.Error(), "waits for a signature") {
		t.Errorf("without the producer's signature: %v", err)
	}
}

// TestLostModelKey takes the key away by which the installation signs models, as whoever wrote
// other files into the database would like it: the next start has a new key, signs nothing of what
// is there, and says so once.
func TestLostModelKey(t *testing.T) {
	data := installation.Data(t.TempDir())
	r := runUp(t, UpConfig{Data: data})
	fraud := pavise.Name{Tenant: Tenant, Kind: "model", ID: "fraud"}
	if _, err := r.Models.Create(t.Context(), r.person("dora"), registry.ModelSpec{Name: fraud, Risk: registry.Low}); err != nil {
		t.Fatal(err)
	}
	r.publish(t, fraud, []byte(`{"weights": [1, 2, 3]}`))
	r.stop()
	if err := os.Remove(data.Path("model.key")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		r = runUp(t, UpConfig{Data: data})
		v, err := r.Models.Resolve(t.Context(), Tenant, registry.Ref{Model: "fraud", Version: 1})
		if err != nil {
			t.Fatal(err)
		}
		if why := r.Models.Altered(t.Context(), v); why == "" {
			t.Error("what another key signed passes")
		}
		findings := 0
		for _, rec := range r.Log.Records(0, r.Log.Size()) {
			if rec.Kind == notary.KindKey && strings.Contains(string(rec.Detail), `"critical"`) {
				findings++
			}
		}
		if findings != 1 {
			t.Errorf("%d findings", findings)
		}
		r.stop()
	}
}
