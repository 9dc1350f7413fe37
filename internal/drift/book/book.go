// Package book is the signed book of baselines: which versions of a model are held to which of them,
// by their digests, numbered, so that none that was in force once stands for the one that is. It
// owns no state and no key. docs/formats/drift-book.md has the form.
package book

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/drift"
	"github.com/pavise/pavise/internal/dsse"
	"github.com/pavise/pavise/internal/plainjson"
)

const (
	format      = "pavise-drift-book/1"
	payloadType = "application/vnd.pavise.drift-book+json"
	maxSize     = 64 << 10 // bytes of a book with its signature
)

// The bounds of a book.
const (
	MostPages  = 8       // versions of which it tells
	MaxVersion = 4 << 10 // bytes of what says which version: see Known
)

// A Book says which baselines a model is held to, by their digests. It is signed and numbered, and
// the log knows the number of the one in force: none that was in force once stands for it.
// docs/formats/drift-book.md has its form.
type Book struct {
	Format   string      `json:"format"`
	Model    pavise.Name `json:"model"`
	Serial   uint64      `json:"serial"`           // one more than that of the book before
	Before   string      `json:"before,omitempty"` // the digest of that one
	At       time.Time   `json:"at"`
	Original string      `json:"original"` // the first baseline that there ever was; no later book has another
	First    string      `json:"first"`    // what windows are held to beside the version's own
	Pages    []Page      `json:"pages"`    // what was put last comes last; at most MostPages
}

// A Page is what a version is held to.
type Page struct {
	Version   string    `json:"version"`  // what answers, as a release's plan says it
	Baseline  string    `json:"baseline"` // its digest
	At        time.Time `json:"at"`
	Inherited bool      `json:"inherited,omitempty"` // from what answered before: it has none of its own
}

// New is a model's book without a page, which comes behind the one that a head says is in force.
func New(model pavise.Name, after Head, at time.Time) *Book {
	return &Book{Format: format, Model: model, Serial: after.Serial + 1, Before: after.Book, At: at.UTC()}
}

// Page returns what the book says of a version; nil: nothing.
func (b *Book) Page(version string) *Page {
	if b == nil {
		return nil
	}
	for i := range b.Pages {
		if b.Pages[i].Version == version {
			return &b.Pages[i]
		}
	}
	return nil
}

// Held returns the page by which what answers is held; nil: the book says nothing of it. Several
// models that share the calls, which plans of releases call ONE beside OTHER, are held to what the
// first of them is, unless they have a page of their own: an inherited one is as old as the first
// time that they shared calls, and the first may have been given another since.
func (b *Book) Held(version string) *Page {
	p := b.Page(version)
	if first, _, several := strings.Cut(version, " beside "); several && (p == nil || p.Inherited) {
		if of := b.Page(first); of != nil {
			return of
		}
	}
	return p
}

// Put puts a page in the place of the version's. Where there are too many, the one goes that was
// put the longest ago, but not that by which what answers is held.
func (b *Book) Put(p Page, answers string) {
	if by := b.Held(answers); by != nil {
		answers = by.Version
	}
	b.Pages = slices.DeleteFunc(slices.Clone(b.Pages), func(was Page) bool { return was.Version == p.Version })
	if len(b.Pages) == MostPages {
		at := slices.IndexFunc(b.Pages, func(was Page) bool { return was.Version != answers })
		b.Pages = slices.Delete(b.Pages, at, at+1)
	}
	b.Pages = append(b.Pages, p)
}

// Digests are all baselines that the book names, each once; no book names none.
func (b *Book) Digests() []string {
	if b == nil {
		return nil
	}
	all := []string{b.Original, b.First}
	for _, p := range b.Pages {
		all = append(all, p.Baseline)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Texts are those of all that the book names.
func (b *Book) Texts(all map[string]*drift.Baseline) map[string]*drift.Baseline {
	texts := map[string]*drift.Baseline{}
	for _, digest := range b.Digests() {
		texts[digest] = all[digest]
	}
	return texts
}

// Sign spells a book, signed, and returns its digest.
func (b *Book) Sign(key ed25519.PrivateKey) (envelope []byte, digest string, err error) {
	text, err := json.Marshal(b)
	if err == nil {
		public := key.Public().(ed25519.PublicKey)
		envelope, err = json.Marshal(dsse.Envelope{PayloadType: payloadType, Payload: text, Signatures: []dsse.Signature{{KeyID: digestOf(public), Sig: ed25519.Sign(key, dsse.PAE(payloadType, text))}}})
	}
	if err != nil {
		return nil, "", fmt.Errorf("spell what %s is held to: %w", b.Model, err)
	}
	if len(envelope) > maxSize {
		return nil, "", &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("what says which versions of %s are held to what is %d bytes long, more than %d", b.Model, len(envelope), maxSize), Hint: "a route with fewer servers has a shorter name"}
	}
	return envelope, digestOf(text), nil
}

// Known is how books call a version: as it is called, or, where that is long, by its digest.
func Known(version string) string {
	if len(version) > MaxVersion {
		return digestOf([]byte(version))
	}
	return version
}

func digestOf(text []byte) string {
	sum := sha256.Sum256(text)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// The errors of a book that was kept.
var (
	errBook   = errors.New("it is no book of baselines")
	errSigned = errors.New("this installation has not signed it")
	errOther  = errors.New("it is of another model")
)

// Read verifies a model's book, reads it strictly, and returns its digest.
func Read(public ed25519.PublicKey, model pavise.Name, envelope []byte) (*Book, string, error) {
	if len(envelope) > maxSize {
		return nil, "", errBook
	}
	e, err := plainjson.ReadKnown[dsse.Envelope](envelope)
	if err != nil || len(e.Signatures) != 1 || e.PayloadType != payloadType {
		return nil, "", errBook
	}
	if !ed25519.Verify(public, dsse.PAE(payloadType, e.Payload), e.Signatures[0].Sig) {
		return nil, "", errSigned
	}
	b, err := plainjson.ReadKnown[Book](e.Payload)
	if err != nil || b.Format != format || b.Serial == 0 || b.Original == "" || b.First == "" || len(b.Pages) == 0 || len(b.Pages) > MostPages {
		return nil, "", errBook
	}
	if b.Model != model {
		return nil, "", errOther
	}
	for i, p := range b.Pages {
		if len(p.Version) > MaxVersion || p.Baseline == "" || b.Page(p.Version) != &b.Pages[i] {
			return nil, "", errBook
		}
	}
	return &b, digestOf(e.Payload), nil
}

// A Head says which book of a model is in force.
type Head struct {
	Book     string `json:"book"` // its digest
	Serial   uint64 `json:"serial"`
	Original string `json:"original"`
	Version  string `json:"version"` // whose page was put
	Baseline string `json:"baseline"`
}

// HeadOf is the head where a book with a digest is in force.
func HeadOf(b *Book, digest string) Head {
	p := b.Pages[len(b.Pages)-1]
	return Head{Book: digest, Serial: b.Serial, Original: b.Original, Version: p.Version, Baseline: p.Baseline}
}

// Refuses says why a book is not the one in force; nil: it is, or it is newer than what the head
// knows of: the process ended between keeping and noting it, and only the key signs one.
func (h Head) Refuses(b *Book, digest string) error {
	switch {
	case b.Serial < h.Serial:
		return fmt.Errorf("it is number %d, and number %d was put since", b.Serial, h.Serial)
	case b.Serial == h.Serial && digest != h.Book:
		return fmt.Errorf("the log knows another one by its number, %d", b.Serial)
	}
	return nil
}

// Baseline reads the text of a baseline that has a digest.
func Baseline(text []byte, digest string) (*drift.Baseline, error) {
	if digestOf(text) != digest {
		return nil, fmt.Errorf("a baseline is not the one whose digest is %s", digest)
	}
	b, err := drift.ParseBaseline(text)
	if err == nil && !bytes.Equal(b.Text(), text) {
		err = fmt.Errorf("the baseline %s is spelled in another way", digest)
	}
	return b, err
}
