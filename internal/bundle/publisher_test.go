package bundle

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pavise/pavise"
)

// TestPublishNumbers bumps the serial when something is new, and only then, over
// restarts, too.
func TestPublishNumbers(t *testing.T) {
	w := newWorld(t)
	p := w.publisher(t)
	want := func(step string, serial uint64) {
		t.Helper()
		got, err := p.Publish(t.Context())
		if err != nil || got != serial || p.Serial() != serial {
			t.Errorf("%s: serial %d, %v, want %d", step, got, err, serial)
		}
	}
	if p.Serial() != 0 {
		t.Errorf("begins with serial %d", p.Serial())
	}
	want("the first", 1)
	want("nothing new", 1)
	w.set("policies", "{\n \"a\": 1\n}")
	want("other spaces", 1)
	w.set("policies", `{"a":"<&>"}`)
	want("other contents", 2)
	p = w.publisher(t)
	want("after a restart", 2)
	w.addBlob("model")
	want("a blob", 3)
	w.pass(30*time.Minute - time.Second)
	want("before half its life", 3)
	w.pass(time.Second)
	want("at half its life", 4)
	w.broken = errors.New("no database")
	if got, err := p.Publish(t.Context()); err == nil || got != 4 {
		t.Errorf("a section that fails: %d, %v", got, err)
	}
	w.broken = nil
	w.set("policies", `{"a":1,"a":2}`)
	if got, err := p.Publish(t.Context()); !errors.Is(err, ErrMalformed) || got != 4 {
		t.Errorf("a section that nobody would read: %d, %v", got, err)
	}
	w.set("policies", `{"a":`)
	if _, err := p.Publish(t.Context()); err == nil {
		t.Error("a section that is no JSON was published")
	}
	w.set("policies", `{}`)
	want("mended", 5)
	p = w.publisher(t, func(cfg *PublisherConfig) { cfg.After = 41 })
	want("gone on after a serial", 42)
	want("and not once more", 42)
}

// TestPublisherOnAFullDisk shows nothing that is not on disk: its number could be given
// to another.
func TestPublisherOnAFullDisk(t *testing.T) {
	w := newWorld(t)
	p := w.publisher(t)
	publish(t, p)
	w.set("policies", `{"a":2}`)
	whole := p.dir.make
	fill(p.dir, 100)
	if serial, err := p.Publish(t.Context()); pavise.KindOf(err) != pavise.Unavailable || serial != 1 || p.Serial() != 1 {
		t.Errorf("serial %d, %v", serial, err)
	}
	p.dir.make = whole
	if serial, err := p.Publish(t.Context()); err != nil || serial != 2 {
		t.Errorf("serial %d, %v", serial, err)
	}
}

// TestPublisherAfterDamage refuses to go on from what it cannot know.
func TestPublisherAfterDamage(t *testing.T) {
	for name, damage := range map[string]func(file, key string) error{
		"the bundle is gone": func(file, _ string) error { return os.Remove(file) },
		"the bundle is torn": func(file, _ string) error { return os.Truncate(file, 80) },
		"the bundle was edited": func(file, _ string) error {
			b, err := os.ReadFile(file)
			b[len(b)/2] ^= 1
			return errors.Join(err, os.WriteFile(file, b, 0o600))
		},
		"the key is gone": func(_, key string) error { return os.Remove(key) },
		"the key is another": func(_, key string) error {
			return os.WriteFile(key, []byte("not sealed under this KEK, or anything, really"), 0o600)
		},
	} {
		w := newWorld(t)
		p := w.publisher(t)
		publish(t, p)
		if err := damage(p.dir.file(filePublished), filepath.Join(w.dir, "bundle-1.key")); err != nil {
			t.Fatal(err)
		}
		signer, err := OpenSigner(w.kek, w.dir)
		if err == nil {
			cfg := w.config(t)
			cfg.Signer = signer
			_, err = OpenPublisher(cfg)
		}
		if kind := pavise.KindOf(err); kind != pavise.Conflict && kind != pavise.Unverified {
			t.Errorf("%s: %v", name, err)
		}
	}
	w := newWorld(t)
	p := w.publisher(t)
	reader := openStore(t, w.storeConfig(p, "reader"))
	mustPut(t, reader, publish(t, p))
	if err := os.Remove(p.dir.file(filePublished)); err != nil {
		t.Fatal(err)
	}
	p = w.publisher(t, func(cfg *PublisherConfig) { cfg.After = 1 })
	if b := mustPut(t, reader, publish(t, p)); b.Serial != 2 {
		t.Errorf("went on with %d", b.Serial)
	}
}

// TestPublisherCutOffAtTheStart opens a directory in which only the first steps of a
// first start were done.
func TestPublisherCutOffAtTheStart(t *testing.T) {
	w := newWorld(t)
	w.publisher(t) // which has a key, and has published nothing
	publish(t, w.publisher(t))
	w = newWorld(t)
	w.publisher(t)
	if err := os.Remove(filepath.Join(w.dir, "bundle-1.key")); err != nil { // as before it was made
		t.Fatal(err)
	}
	publish(t, w.publisher(t))
}

// TestRotateManyTimes keeps the list within its bound, and a reader that follows.
func TestRotateManyTimes(t *testing.T) {
	w := newWorld(t)
	p := w.publisher(t)
	s := openStore(t, w.storeConfig(p, "reader"))
	mustPut(t, s, publish(t, p))
	for i := range 2 * MaxKeys {
		old := p.keys()[len(p.keys())-1]
		k, err := p.Rotate(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Revoke(t.Context(), old); err != nil {
			t.Fatal(err)
		}
		b := mustPut(t, s, p.edition().frames[1])
		if got := b.Keys[len(b.Keys)-1]; !got.Same(k) || got.Revoked || len(b.Keys) > MaxKeys {
			t.Fatalf("after %d rotations the list is %v", i+1, b.Keys)
		}
	}
	p = w.publisher(t)
	mustPut(t, s, publish(t, p))
	for range MaxKeys - 1 {
		if _, err := p.Rotate(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.Rotate(t.Context()); pavise.KindOf(err) != pavise.Conflict {
		t.Errorf("more active keys than fit: %v", err)
	}
}

// format2 is a format of the future: the first one, with another word.
func format2() Format {
	return Format{
		Number: 2,
		Encode: func(b *Bundle) ([]byte, error) {
			body, err := encode1(b)
			if err != nil {
				return nil, err
			}
			return fmt.Appendf(nil, `{"two":%s}`, body), nil
		},
		Decode: func(text []byte) (*Bundle, error) {
			var body json.RawMessage
			if err := unambiguous(text); err != nil {
				return nil, err
			}
			if err := fields(text, map[string]any{"two": &body}); err != nil {
				return nil, err
			}
			return decode1(body)
		},
	}
}

func format3() Format { f := format2(); f.Number = 3; return f }

// TestUpgrades walks a publisher from format 1 to 3 and back, with restarts.
func TestUpgrades(t *testing.T) {
	w := newWorld(t)
	with := func(formats ...Format) func(*PublisherConfig) {
		return func(cfg *PublisherConfig) { cfg.Formats = formats }
	}
	one := Formats()[0]
	for i, step := range []struct {
		formats []Format
		serial  uint64
	}{
		{[]Format{one}, 1},
		{[]Format{format2(), one}, 2}, // a format that has no bundle of the last number
		{[]Format{format2(), one}, 2},
		{[]Format{one}, 2}, // back again: the very bytes that were shown before
		{[]Format{format2(), one}, 2},
		{[]Format{format3(), format2()}, 3},
	} {
		p := w.publisher(t, with(step.formats...))
		serial, err := p.Publish(t.Context())
		if err != nil || serial != step.serial {
			t.Errorf("step %d: serial %d, %v, want %d", i, serial, err, step.serial)
		}
	}
	cfg := w.config(t)
	if _, err := OpenPublisher(cfg); pavise.KindOf(err) != pavise.Unavailable || !errors.Is(err, ErrFormat) {
		t.Errorf("a build two formats older: %v", err)
	}
}

// TestReaderSkew has readers of each build follow publishers of each build.
func TestReaderSkew(t *testing.T) {
	one := Formats()[0]
	builds := map[string][]Format{"N-1": {one}, "N": {format2(), one}, "N+1": {format3(), format2()}}
	for writer, formats := range builds {
		for reader, readable := range builds {
			w := newWorld(t)
			p := w.publisher(t, func(cfg *PublisherConfig) { cfg.Formats = formats })
			if _, err := p.Publish(t.Context()); err != nil {
				t.Fatal(err)
			}
			cfg := w.storeConfig(p, "reader")
			cfg.Formats = readable
			s := openStore(t, cfg)
			accept := fmt.Sprint(MediaType(readable[0].Number), ", ", MediaType(readable[len(readable)-1].Number))
			apart := writer == "N-1" && reader == "N+1" || writer == "N+1" && reader == "N-1"
			number, ok := negotiate([]string{accept}, formats)
			if ok == apart {
				t.Errorf("%s and %s have a format in common: %t", writer, reader, ok)
			}
			if !ok {
				continue
			}
			if b := mustPut(t, s, p.edition().frames[number]); b.Format != number || string(b.Sections["policies"]) != `{"a":1}` {
				t.Errorf("%s to %s: format %d, %+v", writer, reader, number, b)
			}
		}
	}
}

// TestReaderUpgrade holds a bundle in a format that its next build does not read any
// more: it fetches the same number in another, and equivocation is told from that.
func TestReaderUpgrade(t *testing.T) {
	w := newWorld(t)
	p := w.publisher(t, func(cfg *PublisherConfig) { cfg.Formats = []Format{format2(), Formats()[0]} })
	cfg := w.storeConfig(p, "reader")
	mustPut(t, openStore(t, cfg), publish(t, p))
	cfg.Formats = []Format{format3(), format2()}
	s := openStore(t, cfg)
	if !errors.Is(s.Refused(), ErrFormat) || s.Current() != nil || s.Seen() != 1 {
		t.Fatalf("refused %v, seen %d", s.Refused(), s.Seen())
	}
	if b := mustPut(t, s, p.edition().frames[2]); b.Format != 2 || b.Serial != 1 {
		t.Errorf("%+v", b)
	}
	cfg.Formats = []Format{format2(), Formats()[0]}
	s = openStore(t, cfg)
	_, err := s.Put(p.edition().frames[1])
	wantRefusal(t, err, pavise.Conflict, ErrEquivocation)
}

func TestNegotiate(t *testing.T) {
	both := []Format{Formats()[0], format2()}
	for _, tt := range []struct {
		accept []string
		want   int
	}{
		{nil, 2},
		{[]string{"*/*"}, 2},
		{[]string{MediaType(1)}, 1},
		{[]string{MediaType(2) + ", " + MediaType(1)}, 2},
		{[]string{MediaType(3), MediaType(2)}, 2},
		{[]string{MediaType(3) + "," + MediaType(1) + ";q=0.1"}, 1},
		{[]string{MediaType(2) + "; q=0, " + MediaType(1)}, 1},
		{[]string{"Application/VND.pavise.bundle.V1"}, 1},
		{[]string{MediaType(3)}, 0},
		{[]string{"text/html"}, 0},
		{[]string{""}, 0},
		{[]string{"application/vnd.pavise.bundle.v"}, 0},
	} {
		got, ok := negotiate(tt.accept, both)
		if got != tt.want || ok != (tt.want > 0) {
			t.Errorf("%q: %d, want %d", tt.accept, got, tt.want)
		}
	}
}

func TestPublisherConfigs(t *testing.T) {
	for name, edit := range map[string]func(*PublisherConfig){
		"no origin":              func(c *PublisherConfig) { c.Origin = "" },
		"an origin of two lines": func(c *PublisherConfig) { c.Origin = "a\nb" },
		"a short life":           func(c *PublisherConfig) { c.Lifetime = time.Second },
		"a long life":            func(c *PublisherConfig) { c.Lifetime = 31 * 24 * time.Hour },
		"nobody signs":           func(c *PublisherConfig) { c.Signer = nil },
		"no serial comes after":  func(c *PublisherConfig) { c.After = MaxSerial },
		"a section like a path":  func(c *PublisherConfig) { c.Sections = map[string]Section{"a/b": nil} },
	} {
		cfg := newWorld(t).config(t)
		edit(&cfg)
		if _, err := OpenPublisher(cfg); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestPublishAfterALeap has the clock ahead for a while, and then right: what was made meanwhile
// is refused by every reader, and so another is made, although it says nothing new.
func TestPublishAfterALeap(t *testing.T) {
	w := newWorld(t)
	p := w.publisher(t)
	want := func(step string, serial uint64) {
		t.Helper()
		if got, err := p.Publish(t.Context()); err != nil || got != serial {
			t.Errorf("%s: serial %d, %v, want %d", step, got, err, serial)
		}
	}
	want("the first", 1)
	w.pass(5 * 24 * time.Hour)
	want("five days ahead", 2)
	w.pass(-5 * 24 * time.Hour)
	want("put right", 3)
	want("and not once more", 3)
	w.pass(-4 * time.Minute)
	want("a little back, which readers let pass", 3)
	w.pass(-2 * time.Minute)
	want("further back", 4)
}
