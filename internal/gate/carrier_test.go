package gate

import (
	"crypto/ed25519"
	"testing"

	"github.com/pavise/pavise"
)

// TestPlaced counts the same bytes once wherever they come from, unless their name says
// where they lie: then elsewhere they are other records.
func TestPlaced(t *testing.T) {
	w := newWorld(t)
	w.put(t, Spec{})
	bring := func(id string, placed bool) Receipt {
		r, err := w.Admit(t.Context(), pusher, rows, Batch{ID: id, Form: FormNDJSON, Body: []byte(good(1, 1)), Placed: placed})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	wantVerdict(t, bring("log/0", true), Admitted)
	wantVerdict(t, bring("log/9", true), Admitted)
	wantVerdict(t, bring("log/0", true), Repeated)
	w.open(t)
	wantVerdict(t, bring("log/9", true), Repeated)
	wantVerdict(t, bring("pushed", false), Repeated)
	if got := w.output(t); len(got) != 2 {
		t.Errorf("the output has %d batches", len(got))
	}
}

// TestDoubt holds what its carrier doubts, unless a signer of the source vouches for it.
func TestDoubt(t *testing.T) {
	keys, key, other := signers(t)
	body := []byte(good(1, 1))
	for name, c := range map[string]struct {
		spec    Spec
		by      ed25519.PrivateKey
		verdict string
	}{
		"nobody signed":                  {Spec{}, nil, Held},
		"signed, and nobody knows whose": {Spec{}, key, Held},
		"signed":                         {Spec{Signers: keys, Signed: SignedOptional}, key, Admitted},
		"signed by another":              {Spec{Signers: keys, Signed: SignedOptional}, other, Held},
		"could be signed":                {Spec{Signers: keys, Signed: SignedOptional}, nil, Held},
	} {
		w := newWorld(t)
		w.put(t, c.spec)
		b := Batch{Form: FormNDJSON, Body: body, Doubt: "its server has no pin"}
		if c.by != nil {
			b.Signature = ed25519.Sign(c.by, body)
		}
		if r, err := w.Admit(t.Context(), pusher, rows, b); err != nil || r.Verdict != c.verdict {
			t.Errorf("%s: %s %q %v", name, r.Verdict, r.Reasons, err)
		}
	}
	if _, err := newWorld(t).Form(pavise.Name{Tenant: "local", Kind: KindSource, ID: "nowhere"}); pavise.KindOf(err) != pavise.NotFound {
		t.Errorf("a source that is none: %v", err)
	}
}
