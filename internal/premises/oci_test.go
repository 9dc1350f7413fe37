package premises

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/disk/disktest"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/oci"
	"github.com/pavise/pavise/internal/registry"
	"github.com/pavise/pavise/internal/runner"
	"github.com/pavise/pavise/internal/store"
)

// TestPushedVersions makes versions of what is pushed: one of the same files while they are a
// draft, none of files in quarantine, and one that nobody gets of files that do harm.
func TestPushedVersions(t *testing.T) {
	t.Parallel()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	log, err := ledger.Open(ledger.Options{Disk: disktest.New(), Origin: "example.test/log", Key: ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32)), Tenant: "local"})
	must(err)
	t.Cleanup(func() { log.Close() })
	db, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "db"))
	must(err)
	t.Cleanup(func() { db.Close() })
	g, err := guard.New(guard.Config{Log: log})
	must(err)
	must(g.Load("local", map[string]string{"all": `permit (principal, action, resource);`}))
	kept := shelfOf{}
	models, err := registry.Open(t.Context(), registry.Config{Guard: g, Store: db, Now: time.Now, Files: kept, Dir: t.TempDir()})
	must(err)
	mia := pavise.Principal{Tenant: "local", Kind: pavise.Human, ID: "mia", Roles: []string{"operator"}, Proof: "test"}
	fraud := pavise.Name{Tenant: "local", Kind: registry.Kind, ID: "fraud"}
	_, err = models.Create(t.Context(), mia, registry.ModelSpec{Name: fraud, Risk: registry.Low})
	must(err)
	p := pushed{models}
	add := func(text string) (int, error) {
		return p.Add(t.Context(), mia, fraud, oci.Draft{Files: []oci.File{kept.file("model.bin", text)}, Manifest: "m"})
	}
	if _, err := p.Add(t.Context(), mia, pavise.Name{Tenant: "local", Kind: registry.Kind, ID: "none"}, oci.Draft{Files: []oci.File{kept.file("a", "b")}}); pavise.KindOf(err) != pavise.NotFound {
		t.Fatal(err)
	}
	for range 2 {
		if n, err := add(`{"w": 1}`); n != 1 || err != nil {
			t.Fatal(n, err)
		}
	}
	v, err := p.Version(t.Context(), fraud, 1)
	if err != nil || v.State != "draft" || v.Published || v.Barred != "" || v.Sum == "" {
		t.Fatalf("%+v, %v", v, err)
	}
	if files, err := v.Files(t.Context()); err != nil || len(files) != 1 || files[0] != kept.file("model.bin", `{"w": 1}`) {
		t.Fatalf("%+v, %v", files, err)
	}
	was, err := p.Version(t.Context(), fraud, 1)
	must(err)
	other, err := registry.ParseDigest(kept.file("other.json", "{}").Digest)
	must(err)
	_, err = models.Fill(t.Context(), mia, "local", registry.Ref{Model: "fraud", Version: 1}, registry.FileSpec{Files: []registry.File{{Path: "other.json", Size: 2, Digest: other}}})
	must(err)
	if _, err := was.Files(t.Context()); pavise.KindOf(err) != pavise.Conflict { // they are not those of its sum
		t.Fatal(err)
	}
	same, err := registry.ParseDigest(kept.file("model.bin", `{"w": 1}`).Digest)
	must(err)
	_, err = models.Fill(t.Context(), mia, "local", registry.Ref{Model: "fraud", Version: 1}, registry.FileSpec{Files: []registry.File{{Path: "model.bin", Size: 8, Digest: same}}})
	must(err)
	_, err = models.Take(t.Context(), "local", registry.Ref{Model: "fraud", Version: 1})
	must(err)
	if n, err := add("cos\nsystem\n(S'id'\ntR."); n != 2 || pavise.KindOf(err) != pavise.Denied {
		t.Fatal(n, err)
	}
	if v, err := p.Version(t.Context(), fraud, 2); err != nil || v.Barred == "" {
		t.Fatalf("%+v, %v", v, err)
	}
	if v, err = p.Version(t.Context(), fraud, 1); err != nil {
		t.Fatal(err)
	}
	if counts, why, err := p.Signed(t.Context(), mia, fraud, oci.Signing{Number: 1, Sum: v.Sum, Manifest: v.Sum, Bundle: []byte("{}")}); counts || why == "" || err != nil {
		t.Fatal(counts, why, err)
	}
	if _, _, err := p.Signed(t.Context(), mia, fraud, oci.Signing{Number: 1, Sum: "x", Manifest: v.Sum}); pavise.KindOf(err) != pavise.Invalid {
		t.Fatal(err)
	}
	_, err = models.Propose(t.Context(), mia, "local", registry.Ref{Model: "fraud", Version: 1}, "")
	must(err)
	if n, err := add(`{"w": 1}`); n != 3 || err != nil { // what is around the files was not looked at with them
		t.Fatal(n, err)
	}
	_, err = models.Quarantine(t.Context(), mia, "local", registry.Ref{Model: "fraud", Version: 1}, "it leaks")
	must(err)
	if v, err := p.Version(t.Context(), fraud, 1); err != nil || v.Barred == "" {
		t.Fatalf("%+v, %v", v, err)
	}
	if n, err := add(`{"w": 1}`); n != 0 || pavise.KindOf(err) != pavise.Denied || !strings.Contains(err.Error(), "fraud/1") {
		t.Fatal(n, err)
	}
	if aliases, newest, err := p.Names(t.Context(), fraud); err != nil || len(aliases) != 0 || newest != 3 {
		t.Fatal(aliases, newest, err)
	}

	rooms := runner.Rooms{Models: models}
	h := &House{Models: models}
	h.Changes, err = change.New(t.Context(), change.Config{Guard: g, Store: db, Log: log, Runners: map[string]change.Runner{"model.alias": runner.All(&rooms)["model.alias"]}, Now: time.Now})
	must(err)
	if _, _, err := (renamed{h, "https://p.test"}).Propose(t.Context(), mia, fraud, "champion", 3); pavise.KindOf(err) != pavise.Conflict {
		t.Fatal(err) // it is a draft
	}
}

// shelfOf is files by digest.
type shelfOf map[registry.Digest]string

// file is a file with a text, which is on the shelf then.
func (s shelfOf) file(path, text string) oci.File {
	d := registry.Digest(sha256.Sum256([]byte(text)))
	s[d] = text
	return oci.File{Path: path, Size: int64(len(text)), Digest: d.String()}
}

// Has implements registry.Files.
func (s shelfOf) Has(_ context.Context, d registry.Digest) (int64, bool) {
	text, ok := s[d]
	return int64(len(text)), ok
}

// Open implements registry.Files.
func (s shelfOf) Open(_ context.Context, d registry.Digest) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(s[d])), nil
}
