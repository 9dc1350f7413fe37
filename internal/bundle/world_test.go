package bundle

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/seal"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const origin = "test/bundles"

// A world is a control plane whose sections can be set, and a clock.
type world struct {
	dir string
	kek *seal.KEK

	mu       sync.Mutex
	now      time.Time
	sections map[string]string
	blobs    map[string]string // digest → content
	named    map[string]int64  // what the section policies says of them
	broken   error
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{dir: t.TempDir(), now: noon, sections: map[string]string{"policies": `{"a":1}`, "routes": `[]`}, blobs: map[string]string{}, named: map[string]int64{}}
	var err error
	if w.kek, err = seal.OpenFileKEK(filepath.Join(w.dir, "kek")); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) set(section, contents string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sections[section] = contents
}

// addBlob has the next bundle name a blob.
func (w *world) addBlob(content string) (digest string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	digest = digestOf([]byte(content))
	w.blobs[digest], w.named[digest] = content, int64(len(content))
	return digest
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func (w *world) config(t *testing.T) PublisherConfig {
	t.Helper()
	signer, err := OpenSigner(w.kek, w.dir)
	if err != nil {
		t.Fatal(err)
	}
	section := func(name string) Section {
		return func(context.Context) (json.RawMessage, map[string]int64, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			if name != "policies" {
				return json.RawMessage(w.sections[name]), nil, w.broken
			}
			return json.RawMessage(w.sections[name]), maps.Clone(w.named), w.broken
		}
	}
	return PublisherConfig{
		Origin: origin, Dir: filepath.Join(w.dir, "published"), Signer: signer, Now: w.clock, Lifetime: time.Hour,
		Sections: map[string]Section{"policies": section("policies"), "routes": section("routes")},
	}
}

func (w *world) publisher(t *testing.T, edit ...func(*PublisherConfig)) *Publisher {
	t.Helper()
	cfg := w.config(t)
	for _, e := range edit {
		e(&cfg)
	}
	p, err := OpenPublisher(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// publish publishes, and returns what a reader of format 1 would get.
func publish(t *testing.T, p *Publisher) []byte {
	t.Helper()
	if _, err := p.Publish(t.Context()); err != nil {
		t.Fatal(err)
	}
	return p.edition().frames[1]
}

func (w *world) storeConfig(p *Publisher, name string) StoreConfig {
	return StoreConfig{Dir: filepath.Join(w.dir, name), KEK: w.kek, Trust: p.Trust(), Now: w.clock}
}

func openStore(t *testing.T, cfg StoreConfig) *Store {
	t.Helper()
	s, err := OpenStore(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustPut(t *testing.T, s *Store, signed []byte) *Bundle {
	t.Helper()
	b, err := s.Put(signed)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// wantRefusal wants an error of a kind, for a reason, with words for people.
func wantRefusal(t *testing.T, err error, kind pavise.Kind, why error) {
	t.Helper()
	e, ok := errors.AsType[*pavise.Error](err)
	if !ok || e.Kind != kind || !errors.Is(err, why) || e.Msg == "" || e.Hint == "" {
		t.Fatalf("error = %v (%v), want %v: %v, with a message and a hint", err, pavise.KindOf(err), kind, why)
	}
}

// A forger makes bundles that no publisher of ours would.
type forger struct {
	keys   []ed25519.PrivateKey
	format int
}

// testKey is the nth key of the tests.
func testKey(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(slices.Repeat([]byte{n}, ed25519.SeedSize))
}

func public(private ed25519.PrivateKey) Key {
	return Key{Public: private.Public().(ed25519.PublicKey)}
}

func revoked(k Key) Key { k.Revoked = true; return k }

// sign signs a body as it is.
func (f forger) sign(body string) []byte {
	first := fmt.Sprintf("pavise-bundle %d\n", max(f.format, 1))
	out := []byte(first)
	for _, k := range f.keys {
		out = fmt.Appendf(out, "%s %s\n", public(k), encoding.EncodeToString(ed25519.Sign(k, []byte(first+body))))
	}
	return append(append(out, '\n'), body...)
}

// body is a good body with its members replaced, in the order of the format.
func body(t *testing.T, edit func(*body1)) string {
	t.Helper()
	b := body1{
		Origin: origin, Serial: 7, Issued: "2026-03-01T12:00:00Z", Expires: "2026-03-01T13:00:00Z", Keys: []Key{public(testKey(1))},
		Sections: map[string]json.RawMessage{"policies": json.RawMessage(`{"a":1}`)}, Blobs: map[string]int64{},
	}
	if edit != nil {
		edit(&b)
	}
	text, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
