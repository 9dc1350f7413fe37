package bundle

import (
	"crypto/ed25519"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/seal"
)

// TestStoreTakesOnlyWhatIsNewer goes up, and never down or sideways.
func TestStoreTakesOnlyWhatIsNewer(t *testing.T) {
	w := newWorld(t)
	p := w.publisher(t)
	cfg := w.storeConfig(p, "reader")
	s := openStore(t, cfg)
	if err := s.Fresh(); pavise.KindOf(err) != pavise.Unavailable || s.Seen() != 0 {
		t.Errorf("an empty store: %v, seen %d", err, s.Seen())
	}
	first := publish(t, p)
	w.set("policies", `{"a":2}`)
	second := publish(t, p)
	if b := mustPut(t, s, second); b.Serial != 2 || string(b.Sections["policies"]) != `{"a":2}` {
		t.Errorf("bundle %+v", b)
	}
	again, err := s.Put(second)
	if err != nil || again != s.Current() {
		t.Errorf("the same one again: %v, %v", again, err)
	}
	_, err = s.Put(first)
	wantRefusal(t, err, pavise.Conflict, ErrRollback)
	other := forger{keys: p.cfg.Signer.keys}
	_, err = s.Put(other.sign(body(t, func(b *body1) { b.Serial, b.Keys = 2, p.keys() })))
	wantRefusal(t, err, pavise.Conflict, ErrEquivocation)
	for range 2 { // a restart remembers
		s = openStore(t, cfg)
		if s.Seen() != 2 || s.Current() == nil || s.Refused() != nil || s.Fresh() != nil {
			t.Fatalf("after a restart: seen %d, refused %v, fresh %v", s.Seen(), s.Refused(), s.Fresh())
		}
		_, err = s.Put(first)
		wantRefusal(t, err, pavise.Conflict, ErrRollback)
	}
}

// TestStoreAndTheClock refuses what has ended, or is from the future, and remembers
// nothing of it.
func TestStoreAndTheClock(t *testing.T) {
	w := newWorld(t)
	p := w.publisher(t)
	s := openStore(t, w.storeConfig(p, "reader"))
	signed := publish(t, p)
	w.pass(time.Hour)
	_, err := s.Put(signed)
	wantRefusal(t, err, pavise.Unavailable, ErrStale)
	w.pass(-time.Hour - leeway - time.Second)
	_, err = s.Put(signed)
	wantRefusal(t, err, pavise.Unavailable, ErrClock)
	if s.Seen() != 0 || s.Current() != nil {
		t.Errorf("seen %d", s.Seen())
	}
	w.pass(time.Second)
	mustPut(t, s, signed)
	w.pass(leeway + time.Hour - time.Second)
	if err := s.Fresh(); err != nil {
		t.Error(err)
	}
	w.pass(time.Second)
	wantRefusal(t, s.Fresh(), pavise.Unavailable, ErrStale)
	w.pass(-3 * time.Hour)
	wantRefusal(t, s.Fresh(), pavise.Unavailable, ErrClock)
}

// TestStoreFollowsTheKeys rotates and revokes under a store that follows, and under one
// that was away meanwhile.
func TestStoreFollowsTheKeys(t *testing.T) {
	w := newWorld(t)
	p := w.publisher(t)
	follows, away, cut := openStore(t, w.storeConfig(p, "follows")), openStore(t, w.storeConfig(p, "away")), openStore(t, w.storeConfig(p, "cut"))
	first := publish(t, p)
	for _, s := range []*Store{follows, away, cut} {
		mustPut(t, s, first)
	}
	old := p.keys()[0]
	if _, err := p.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustPut(t, follows, p.edition().frames[1])
	if err := p.Revoke(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	signed := p.edition().frames[1]
	if b := mustPut(t, follows, signed); b.Serial != 3 || !b.Keys[0].Revoked || b.Keys[1].Revoked {
		t.Errorf("the list is %v", b.Keys)
	}
	mustPut(t, away, signed)
	thief := forger{keys: []ed25519.PrivateKey{p.cfg.Signer.keys[0]}}
	stolen := thief.sign(body(t, func(b *body1) { b.Serial, b.Keys = 99, []Key{old} }))
	for _, s := range []*Store{follows, away, openStore(t, w.storeConfig(p, "follows")), openStore(t, w.storeConfig(p, "away"))} {
		_, err := s.Put(stolen)
		wantRefusal(t, err, pavise.Unverified, ErrRevokedKey)
	}
	if err := p.Revoke(t.Context(), p.keys()[1]); pavise.KindOf(err) != pavise.Conflict {
		t.Errorf("the last key was revoked: %v", err)
	}
	if err := p.Revoke(t.Context(), public(testKey(9))); pavise.KindOf(err) != pavise.NotFound {
		t.Errorf("a stranger was revoked: %v", err)
	}
}

// TestStoreAfterDamage puts the files of a store into states that a crash, a disk or a
// hand may leave, and opens it.
func TestStoreAfterDamage(t *testing.T) {
	write := func(name, content string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	edit := func(name string, f func([]byte) []byte) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			b, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			write(name, string(f(b)))(t, dir)
		}
	}
	remove := func(name string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	copyTo := func(from, to string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			b, err := os.ReadFile(filepath.Join(dir, from))
			if err != nil {
				t.Fatal(err)
			}
			write(to, string(b))(t, dir)
		}
	}
	half := func(b []byte) []byte { return b[:len(b)/2] }
	for _, tt := range []struct {
		name    string
		damage  []func(*testing.T, string)
		open    error // why OpenStore refuses; nil: it does not
		serial  uint64
		refused error
	}{
		{"none", nil, nil, 2, nil},
		{"the bundle is torn", []func(*testing.T, string){edit("bundle", half)}, nil, 0, ErrForged},
		{"the bundle is empty", []func(*testing.T, string){write("bundle", "")}, nil, 0, ErrMalformed},
		{"the bundle was edited", []func(*testing.T, string){edit("bundle", func(b []byte) []byte { return []byte(strings.Replace(string(b), `{"a":2}`, `{"a":9}`, 1)) })}, nil, 0, ErrForged},
		{"the bundle is gone", []func(*testing.T, string){remove("bundle")}, nil, 0, ErrRollback},
		{"the older bundle is put back", []func(*testing.T, string){copyTo("bundle.old", "bundle")}, nil, 0, ErrRollback},
		{"cut off before what was seen was written", []func(*testing.T, string){copyTo("seen.1", "seen")}, nil, 2, nil},
		{"the same, and the bundle is torn", []func(*testing.T, string){copyTo("seen.1", "seen"), edit("bundle", half)}, nil, 1, ErrForged},
		{"the older one and what was seen then: all of an older state", []func(*testing.T, string){copyTo("seen.1", "seen"), copyTo("bundle.old", "bundle")}, nil, 1, nil},
		{"a file that was not finished", []func(*testing.T, string){write("bundle.XYZ.tmp", "half")}, nil, 2, nil},
		{"what was seen is gone", []func(*testing.T, string){remove("seen")}, errAny, 0, nil},
		{"what was seen is gone, and the older bundle", []func(*testing.T, string){remove("seen"), remove("bundle.old")}, errAny, 0, nil},
		{"what was seen is torn", []func(*testing.T, string){edit("seen", half)}, errAny, 0, nil},
		{"what was seen is in the clear", []func(*testing.T, string){write("seen", `{"origin":"test/bundles","serial":1}`)}, errAny, 0, nil},
		{"what was seen can be read by others", []func(*testing.T, string){func(t *testing.T, dir string) { os.Chmod(filepath.Join(dir, "seen"), 0o644) }}, ErrMalformed, 0, nil},
		{"the bundle is a link", []func(*testing.T, string){func(t *testing.T, dir string) {
			os.Rename(filepath.Join(dir, "bundle"), filepath.Join(dir, "elsewhere"))
			os.Symlink(filepath.Join(dir, "elsewhere"), filepath.Join(dir, "bundle"))
		}}, nil, 0, ErrMalformed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			p := w.publisher(t)
			cfg := w.storeConfig(p, "reader")
			s := openStore(t, cfg)
			mustPut(t, s, publish(t, p))
			copyTo("seen", "seen.1")(t, cfg.Dir)
			w.set("policies", `{"a":2}`)
			mustPut(t, s, publish(t, p))
			for _, d := range tt.damage {
				d(t, cfg.Dir)
			}
			s, err := OpenStore(cfg)
			if tt.open != nil {
				if pavise.KindOf(err) != pavise.Unverified || tt.open != errAny && !errors.Is(err, tt.open) {
					t.Fatalf("opened: %v, want %v", err, tt.open)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var serial uint64
			if b := s.Current(); b != nil {
				serial = b.Serial
			}
			if serial != tt.serial || !errors.Is(s.Refused(), tt.refused) {
				t.Errorf("holds %d, want %d; refused %v, want %v", serial, tt.serial, s.Refused(), tt.refused)
			}
			// Whatever happened, the newest one can be fetched again, and is the last word.
			mustPut(t, s, p.edition().frames[1])
			if s = openStore(t, cfg); s.Current() == nil || s.Current().Serial != 2 || s.Seen() != 2 {
				t.Errorf("after the repair: %+v, seen %d", s.Current(), s.Seen())
			}
		})
	}
}

// errAny stands for a refusal for whatever reason.
var errAny = errors.New("any")

// TestStoreIsOfOneKEK takes a store to another installation.
func TestStoreIsOfOneKEK(t *testing.T) {
	w := newWorld(t)
	p := w.publisher(t)
	cfg := w.storeConfig(p, "reader")
	mustPut(t, openStore(t, cfg), publish(t, p))
	other, err := seal.OpenFileKEK(filepath.Join(w.dir, "kek2"))
	if err != nil {
		t.Fatal(err)
	}
	cfg.KEK = other
	if _, err := OpenStore(cfg); pavise.KindOf(err) != pavise.Unverified {
		t.Errorf("opened under another KEK: %v", err)
	}
	cfg = w.storeConfig(p, "reader")
	cfg.Trust.Origin = "test/others"
	_, err = OpenStore(cfg)
	wantRefusal(t, err, pavise.Unverified, ErrOrigin)
	cfg.Trust.Keys = nil
	if _, err := OpenStore(cfg); pavise.KindOf(err) != pavise.Invalid {
		t.Errorf("opened with nobody to trust: %v", err)
	}
}

// A full disk takes some bytes, and no more.
type full struct {
	*os.File
	room *int
}

func (f full) Write(b []byte) (int, error) {
	n := min(len(b), *f.room)
	*f.room -= n
	if _, err := f.File.Write(b[:n]); err != nil {
		return 0, err
	}
	if n < len(b) {
		return n, syscall.ENOSPC
	}
	return n, nil
}

// fill has a directory's new files find so much room.
func fill(d *directory, room int) {
	d.make = func(path string) (file, error) {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		return full{f, &room}, err
	}
}

// TestStoreOnAFullDisk takes a bundle on a disk that has room for less and less of it:
// it counts in memory, the disk has the one before or it, and Keep makes it good.
func TestStoreOnAFullDisk(t *testing.T) {
	for room := 0; ; room += 97 {
		w := newWorld(t)
		p := w.publisher(t)
		cfg := w.storeConfig(p, "reader")
		s := openStore(t, cfg)
		mustPut(t, s, publish(t, p))
		w.set("policies", `{"a":2}`)
		signed := publish(t, p)
		whole := s.dir.make
		fill(s.dir, room)
		b, err := s.Put(signed)
		if b == nil || b.Serial != 2 || s.Current() != b || s.Seen() != 2 {
			t.Fatalf("with room for %d bytes: %+v, %v, seen %d", room, b, err, s.Seen())
		}
		if err == nil {
			return // from here on there is room for all of it
		}
		if pavise.KindOf(err) != pavise.Unavailable {
			t.Fatalf("with room for %d bytes: %v", room, err)
		}
		after := openStore(t, cfg)
		if after.Current() == nil || after.Current().Serial < 1 || after.Refused() != nil {
			t.Fatalf("with room for %d bytes, a restart holds %+v: %v", room, after.Current(), after.Refused())
		}
		s.dir.make = whole
		if err := s.Keep(); err != nil {
			t.Fatal(err)
		}
		if after := openStore(t, cfg); after.Current().Serial != 2 || after.Seen() != 2 {
			t.Fatalf("after Keep: %d, seen %d", after.Current().Serial, after.Seen())
		}
	}
}

// TestBlobs keeps what is what it says, and nothing else.
func TestBlobs(t *testing.T) {
	w := newWorld(t)
	p := w.publisher(t)
	s := openStore(t, w.storeConfig(p, "reader"))
	digest := w.addBlob("a model")
	b := mustPut(t, s, publish(t, p))
	if missing := s.missing(b); len(missing) != 1 || missing[0] != digest {
		t.Fatalf("missing %v", missing)
	}
	for name, tt := range map[string]struct {
		from io.Reader
		kind pavise.Kind
	}{
		"other content": {strings.NewReader("a modem"), pavise.Unverified},
		"too short":     {strings.NewReader("a mode"), pavise.Unverified},
		"too long":      {strings.NewReader("a models"), pavise.Unverified},
		"endless":       {endless{}, pavise.Unverified},
		"breaks off":    {io.MultiReader(strings.NewReader("a mo"), breaks{}), pavise.Unavailable},
	} {
		if err := s.putBlob(digest, 7, tt.from); pavise.KindOf(err) != tt.kind {
			t.Errorf("%s: %v, want %v", name, err, tt.kind)
		}
		if _, err := s.Blob(digest); pavise.KindOf(err) != pavise.NotFound {
			t.Errorf("%s: %v", name, err)
		}
	}
	whole := s.blobs.make
	fill(s.blobs, 3)
	if err := s.putBlob(digest, 7, strings.NewReader("a model")); pavise.KindOf(err) != pavise.Unavailable {
		t.Errorf("on a full disk: %v", err)
	}
	s.blobs.make = whole
	if err := s.putBlob(digest, 7, strings.NewReader("a model")); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Blob(digest); err != nil || string(got) != "a model" || len(s.missing(b)) != 0 {
		t.Errorf("%q, %v", got, err)
	}
	entries, err := os.ReadDir(s.blobs.path)
	if err != nil || len(entries) != 1 {
		t.Errorf("beside it lie %v, %v", entries, err)
	}
	if err := os.WriteFile(s.blobs.file(blobFile(digest)), []byte("a modem"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Blob(digest); pavise.KindOf(err) != pavise.Unverified {
		t.Errorf("edited: %v", err)
	}
	s = openStore(t, w.storeConfig(p, "reader"))
	if missing := s.missing(s.Current()); len(missing) != 1 {
		t.Error("after a restart, an edited blob is taken for whole")
	}
	if err := s.sweep(nil); err != nil || len(s.missing(s.Current())) != 1 {
		t.Errorf("swept: %v", err)
	}
	for _, bad := range []string{"", "sha256:", "../bundle", "sha256:../../kek", digest + "0", strings.ToUpper(digest)} {
		if _, err := s.Blob(bad); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

type breaks struct{}

func (breaks) Read([]byte) (int, error) { return 0, errors.New("connection reset") }

// TestStoreRemembersWhenItHeard keeps the control plane's last word over a restart, to
// within some seconds, and takes none from the future.
func TestStoreRemembersWhenItHeard(t *testing.T) {
	w := newWorld(t)
	p := w.publisher(t)
	cfg := w.storeConfig(p, "reader")
	s := openStore(t, cfg)
	mustPut(t, s, publish(t, p))
	if !s.Heard().IsZero() {
		t.Errorf("heard at %v before anybody said so", s.Heard())
	}
	heardAt := func(want time.Time) {
		t.Helper()
		if err := s.Keep(); err != nil {
			t.Fatal(err)
		}
		if s = openStore(t, cfg); !s.Heard().Equal(want) || s.Current() == nil {
			t.Errorf("after a restart: heard at %v, want %v", s.Heard(), want)
		}
	}
	s.confirm(noon)
	heardAt(noon)
	s.confirm(noon.Add(heardEvery - time.Second))
	heardAt(noon)
	w.pass(time.Hour)
	s.confirm(w.clock())
	heardAt(noon.Add(time.Hour))
	w.set("policies", `{"a":2}`)
	mustPut(t, s, publish(t, p))
	heardAt(noon.Add(time.Hour))
	w.pass(-time.Hour)
	heardAt(time.Time{})
}
