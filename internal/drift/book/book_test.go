package book

import (
	"crypto/ed25519"
	"fmt"
	"testing"

	"github.com/pavise/pavise"
)

// testKey is a key that guards nothing.
var testKey = ed25519.NewKeyFromSeed([]byte("pavise drift book test, 32 bytes"))

var scorer = pavise.Name{Tenant: "local", Kind: "model", ID: "scorer"}

// TestPagesAreBounded: a book tells of few versions, and always of the one that answers.
func TestPagesAreBounded(t *testing.T) {
	b := &Book{}
	b.Put(Page{Version: "answers", Baseline: "a"}, "answers")
	for i := range 3 * MostPages {
		b.Put(Page{Version: fmt.Sprint(i), Baseline: "b"}, "answers")
	}
	if long := Known(string(make([]byte, MaxVersion+1))); len(long) > MaxVersion || Known("v1") != "v1" {
		t.Errorf("a long name is %d bytes", len(long))
	}
	if len(b.Pages) != MostPages || b.Page("answers") == nil || b.Page(fmt.Sprint(3*MostPages-1)) == nil || b.Page("0") != nil {
		t.Errorf("%+v", b.Pages)
	}
}

// TestSeveralAreHeldToTheFirst: models that share the calls take no page of the few, and what they
// are held to stays.
func TestSeveralAreHeldToTheFirst(t *testing.T) {
	b := &Book{}
	if b.Held("a beside b") != nil {
		t.Error("there is none")
	}
	b.Put(Page{Version: "a beside b", Baseline: "old", Inherited: true}, "")
	if p := b.Held("a beside b"); p == nil || p.Baseline != "old" {
		t.Errorf("%+v", p)
	}
	b.Put(Page{Version: "a", Baseline: "new"}, "a beside b")
	for i := range 3 * MostPages {
		b.Put(Page{Version: fmt.Sprint(i), Baseline: "other"}, "a beside b")
	}
	if p := b.Held("a beside b"); p == nil || p.Baseline != "new" {
		t.Errorf("%+v", p)
	}
	b.Put(Page{Version: "a beside b", Baseline: "own"}, "a beside b")
	if p := b.Held("a beside b"); p == nil || p.Baseline != "own" || b.Held("a").Baseline != "new" || b.Held("b") != nil {
		t.Errorf("%+v", p)
	}
}

// FuzzReadBook: whatever the store has is no book but what was signed, and that is read back.
func FuzzReadBook(f *testing.F) {
	b := &Book{Format: format, Model: scorer, Serial: 3, Before: "sha256:00", Original: "sha256:01", First: "sha256:01", Pages: []Page{{Version: "v1", Baseline: "sha256:01"}}}
	envelope, _, err := b.Sign(testKey)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(envelope)
	f.Add([]byte(`{"payloadType":"application/vnd.pavise.drift-book+json","payload":"e30=","signatures":[{"keyid":"","sig":""}]}`))
	f.Add([]byte(`{}`))
	public := testKey.Public().(ed25519.PublicKey)
	want, digest, err := Read(public, scorer, envelope)
	if err != nil || want.Serial != 3 {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		got, is, err := Read(public, scorer, text)
		if err == nil && (is != digest || got.Serial != 3) {
			t.Errorf("%q is read as a book that nobody signed", text)
		}
	})
}
