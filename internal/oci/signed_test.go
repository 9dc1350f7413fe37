package oci

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/pavise/pavise"
)

// refer makes a manifest that refers to another, of a type, with layers.
func (w *world) refer(to []byte, kind string, layers ...string) []byte {
	w.t.Helper()
	m := manifest{
		SchemaVersion: 2, MediaType: mediaManifest, ArtifactType: kind,
		Subject: &descriptor{MediaType: mediaManifest, Digest: digestOf(to), Size: int64(len(to))},
		Config:  descriptor{MediaType: mediaEmpty, Digest: digestOf([]byte("{}")), Size: 2, Data: []byte("{}")},
		Layers:  []descriptor{},
	}
	for _, l := range layers {
		m.Layers = append(m.Layers, w.blobOf(kind, []byte(l)))
	}
	text, err := json.Marshal(m)
	w.must(err)
	return text
}

// TestSignaturesAreHeld has signatures that are pushed held to who is believed, as often as they
// are pushed; one that does not hold is kept, and its client told.
func TestSignaturesAreHeld(t *testing.T) {
	w := newWorld(t)
	text := w.push("candidate", "weights")
	const bundle = bundleType + ".v0.3+json"
	for _, c := range []struct {
		kind   string
		layers []string
		held   int
		warns  string
	}{
		{bundle, []string{"good"}, 1, ""},
		{bundle, []string{"good"}, 2, ""}, // pushed again it is held again
		{modelSignature + ".v1+json", []string{"bad"}, 3, `299 - "the signature is kept, and counts for nothing: somebody 'else' signed''it"`},
		{bundle, []string{"late"}, 4, "at its end"},
		{bundle, []string{"good", "bad"}, 4, "2 layers"},
		{bundle, nil, 4, "0 layers"},
		{"application/vnd.cyclonedx+json", []string{"good"}, 4, ""},
		{"application/vnd.dev.cosign.artifact.sig.v1+json", []string{"good"}, 4, ""},
	} {
		sig := w.refer(text, c.kind, c.layers...)
		a := w.put(201, "", digestOf(sig), sig)
		if says := a.header.Get("Warning"); (c.warns == "") != (says == "") || !strings.Contains(says, c.warns) || strings.Count(says, `"`) != 2*min(len(says), 1) {
			t.Errorf("%s %q: it says %q", c.kind, c.layers, says)
		}
		if n := len(w.models.signed); n != c.held {
			t.Errorf("%s %q: %d were held, want %d", c.kind, c.layers, n, c.held)
		}
		w.want(200, "", "engineer", "GET", manifests+digestOf(sig), nil)
	}
	if s := w.models.signed[0]; s.Number != 1 || s.Manifest != digestOf(text) || s.Sum != w.models.of[pavise.Name{Tenant: "local", Kind: KindModel, ID: "fraud"}].versions[0].Sum || string(s.Bundle) != "good" {
		t.Errorf("%+v", s)
	}
	broken := w.refer(text, bundle, "broken")
	w.want(503, "UNAVAILABLE", "engineer", "PUT", manifests+digestOf(broken), strings.NewReader(string(broken)), "Content-Type", mediaManifest)
	w.models.become(1, "quarantined")
	late := w.refer(text, bundle, "good", "")
	w.put(201, "", digestOf(late), late)
	if n := len(w.models.signed); n != 5 {
		t.Errorf("%d were held of a version that nobody gets", n)
	}
}
