package verbs

import (
	"crypto/ecdsa"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/issuer"
	"github.com/pavise/pavise/internal/registry"
	"github.com/pavise/pavise/internal/route"
)

// TestNewcomers: while fewer than three people have joined, one other person lets somebody in;
// from then on it takes two, as a version of high risk does, also when one of the three is
// revoked; and where people come by issuers of others it always does.
func TestNewcomers(t *testing.T) {
	w := newWorld(t)
	ana := w.client(t, "operator")
	keys := map[string]*ecdsa.PrivateKey{}
	invite := func(id string) (ch api.ChangeView, key *ecdsa.PrivateKey) {
		t.Helper()
		if key = keys[id]; key == nil {
			key = newKey(t)
			keys[id] = key
		}
		fingerprint, err := issuer.KeyFingerprint(&key.PublicKey)
		if err == nil {
			err = ana.Call(t.Context(), "person.invite", PersonRequest{ID: id, Key: fingerprint, Role: []string{"operator"}}, &ch)
		}
		if err != nil {
			t.Fatal(err)
		}
		return ch, key
	}
	early, _ := invite("mike") // while there is nobody yet
	for _, id := range []string{"carl", "dora", "eve"} {
		ch, key := invite(id)
		if ch.Need != 1 {
			t.Fatalf("%s is let in by %d others, while %d people are here", id, ch.Need, w.CA.Holders().People())
		}
		if err := w.person(t, "another", "operator").Call(t.Context(), "change.approve", VoteRequest{ID: ch.Name.ID, Digest: ch.Digest}, nil); err != nil {
			t.Fatal(err)
		}
		var list HolderList
		if err := ana.Call(t.Context(), "node.list", api.Empty{}, &list); err != nil {
			t.Fatal(err)
		}
		for _, h := range list.Holders {
			if h.ID == id {
				if status, _, p := w.join(t, joinBody(t, word(t, h.Invitation), key)); status != 200 {
					t.Fatalf("%s: %+v", id, p)
				}
			}
		}
	}
	if ch, _ := invite("mallory"); ch.Need != 2 {
		t.Errorf("with three people here, somebody is let in by %d others", ch.Need)
	}
	if err := w.person(t, "another", "operator").Call(t.Context(), "change.approve", VoteRequest{ID: early.Name.ID, Digest: early.Digest}, nil); err == nil {
		t.Error("what was proposed while fewer were here is approved by one now")
	}
	if ch, _ := invite("carl"); ch.Need != 1 {
		t.Errorf("who comes back with their key is let in by %d others", ch.Need)
	}
	delete(keys, "carl")
	if ch, _ := invite("carl"); ch.Need != 2 {
		t.Errorf("who comes back with another key is let in by %d others", ch.Need)
	}
	if err := ana.Call(t.Context(), "node.revoke", HolderRequest{ID: "eve", Kind: pavise.Human}, nil); err != nil {
		t.Fatal(err)
	}
	if ch, _ := invite("mallet"); ch.Need != 2 {
		t.Errorf("with one of three revoked, somebody is let in by %d others", ch.Need)
	}
}

// TestReleaseTakesWhatTheModelDoes: a route whose model the registry knows is given another one
// by as many people as its versions are published by.
func TestReleaseTakesWhatTheModelDoes(t *testing.T) {
	w := newWorld(t)
	ana := w.client(t, "operator")
	for _, want := range []struct {
		risk string
		need int
	}{{"", 1}, {"low", 1}, {"high", 2}} {
		name := pavise.Name{Tenant: "local", Kind: registry.Kind, ID: "of" + want.risk}
		if want.risk != "" {
			if err := ana.Call(t.Context(), "model.create", ModelCreate{Name: name, Risk: want.risk}, nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := ana.Call(t.Context(), "route.put", route.Spec{Name: name.String(), ONNX: networkOf(2, 3)}, nil); err != nil {
			t.Fatal(err)
		}
		var ch api.ChangeView
		if err := ana.Call(t.Context(), "route.release", ReleaseRequest{ReleaseSpec: route.ReleaseSpec{Name: name.String(), ONNX: networkOf(2, 2)}}, &ch); err != nil {
			t.Fatal(err)
		}
		if ch.Need != want.need {
			t.Errorf("of risk %q: %d approvals, want %d", want.risk, ch.Need, want.need)
		}
	}
}
