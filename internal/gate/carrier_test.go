package gate

import (
	"crypto/ed25519"
	"path/filepath"
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

// TestHeldTwice keeps in quarantine what two batches have in common until the last of them
// has left, however the first did.
func TestHeldTwice(t *testing.T) {
	bad := []byte(`{"id":1,"amount":5000}` + "\n")
	for name, leave := range map[string]func(*world, string) error{
		"released": func(w *world, sum string) error {
			return w.Release(t.Context(), approved(operator), rows, sum, nil)
		},
		"discarded": func(w *world, sum string) error {
			_, err := w.Discard(t.Context(), operator, rows, sum, "")
			return err
		},
	} {
		w := newWorld(t)
		w.put(t, Spec{Contract: []byte(promise)})
		var sum string
		for _, id := range []string{"log/0", "log/9"} {
			r, err := w.Admit(t.Context(), pusher, rows, Batch{ID: id, Form: FormNDJSON, Body: bad, Placed: true})
			if err != nil {
				t.Fatal(err)
			}
			wantVerdict(t, r, Held)
			sum = r.SHA256
		}
		before, err := w.PlanRelease(t.Context(), rows, sum)
		if err != nil {
			t.Fatal(err)
		}
		if err := leave(w, sum); err != nil {
			t.Fatal(err)
		}
		after, err := w.PlanRelease(t.Context(), rows, sum)
		if err != nil || before.Batch != "log/0" || after.Batch != "log/9" || before.Before == after.Before {
			t.Errorf("%s: the plans are %+v and %+v, %v", name, before, after, err)
		}
		if err := w.Release(t.Context(), approved(operator), rows, sum, nil); err != nil {
			t.Errorf("%s: the other one: %v", name, err)
		}
		if files, _ := filepath.Glob(filepath.Join(w.cfg.Dir, "local", "rows", "*")); len(files) != 0 {
			t.Errorf("%s: in quarantine lie %v", name, files)
		}
	}
}

// TestNamesThatWereTaken lets a writer of the source bring a batch under a name with which
// somebody else was held, and holds other bytes under a name that the writer used.
func TestNamesThatWereTaken(t *testing.T) {
	w := newWorld(t)
	w.put(t, Spec{Writer: []string{"writer", "second"}})
	for _, c := range []struct {
		writer, id string
		from       int
		verdict    string
		word       string
	}{
		{"squatter", "monday", 1, Held, "none of the source's writers"},
		{"squatter", "monday", 2, Held, "conflict"},
		{"writer", "monday", 3, Admitted, ""},
		{"writer", "monday", 4, Held, "conflict"},
		{"second", "monday", 5, Held, "conflict"}, // with what was admitted
	} {
		r, err := w.Admit(t.Context(), pusher, rows, Batch{ID: c.id, Form: FormNDJSON, Body: []byte(good(c.from, 1)), Writer: c.writer})
		if err != nil {
			t.Fatal(err)
		}
		wantVerdict(t, r, c.verdict, c.word)
	}
}
