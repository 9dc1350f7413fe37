package registries

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/depot"
	"github.com/pavise/pavise/internal/disk"
	"github.com/pavise/pavise/internal/evidence"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/identity"
	"github.com/pavise/pavise/internal/issuer"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/premises"
	"github.com/pavise/pavise/internal/registry"
	"github.com/pavise/pavise/internal/seal"
	"github.com/pavise/pavise/internal/store"
	"github.com/pavise/pavise/internal/store/blob"
	"github.com/pavise/pavise/internal/verbs"
)

// A world is as much of an installation as it takes to push and pull models.
type world struct {
	premises.House
	server   *httptest.Server
	verifier *identity.Verifier
	engineer string // the token of one
}

func newWorld(t *testing.T) *world {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	w := &world{House: premises.House{Tenant: "local", Now: time.Now, Say: func(word string, err error) { t.Log(word, err) }}}
	dir, seed := t.TempDir(), bytes.Repeat([]byte{3}, ed25519.SeedSize)
	var err error
	w.Log, err = ledger.Open(ledger.Options{Dir: filepath.Join(dir, "ledger"), Origin: "bench.pavise.example/registries", Key: ed25519.NewKeyFromSeed(seed), MLDSA: seed, Tenant: "local"})
	must(err)
	w.DB, err = store.Open(t.Context(), filepath.Join(dir, "db"))
	must(err)
	t.Cleanup(func() { w.Close() })
	w.Guard, err = guard.New(guard.Config{Actions: verbs.Actions(), Log: w.Log, Tenant: "local", DemoIssuer: issuer.LocalURL("bench"), Facts: w.Facts})
	must(err)
	must(w.Guard.Load("local", guard.Defaults()))
	local, err := issuer.New(issuer.Config{Guard: w.Guard, Seed: seed, Install: "bench", Tenant: "local", Now: time.Now})
	must(err)
	w.verifier, err = identity.NewVerifier(time.Now, local.Record())
	must(err)
	token, err := local.Bootstrap(issuer.MintRequest{Subject: "mia", Roles: []string{issuer.RoleOperator}})
	must(err)
	w.engineer = token.Value
	kek, err := seal.OpenFileKEK(filepath.Join(dir, "kek"))
	must(err)
	bucket, err := blob.Open(t.Context(), filepath.Join(dir, "depot"))
	must(err)
	w.Depot, err = depot.Open(t.Context(), depot.Config{Bucket: bucket.(depot.Bucket), Stage: disk.Dir{Path: t.TempDir()}, Store: w.DB, KEK: kek, Now: time.Now})
	must(err)
	w.Models, err = registry.Open(t.Context(), registry.Config{Guard: w.Guard, Store: w.DB, Now: time.Now, Files: shelf{w.Depot}, Dir: filepath.Join(dir, "models")})
	must(err)
	rooms := verbs.Rooms{Rooms: evidence.Rooms{Guard: w.Guard, Log: w.Log}, Models: w.Models}
	w.Changes, err = change.New(t.Context(), change.Config{Guard: w.Guard, Store: w.DB, Log: w.Log, Runners: rooms.Runners(), Now: time.Now})
	must(err)
	var door http.Handler
	w.server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { door.ServeHTTP(rw, r) }))
	t.Cleanup(w.server.Close)
	must(w.OpenOCI(t.Context(), w.server.URL))
	door = w.OCI.NewDoor(func(r *http.Request) (pavise.Principal, error) {
		return w.Guard.Admit(r.Context(), w.verifier, identity.FromRequest(r), r.RemoteAddr)
	})
	_, err = w.Models.Create(t.Context(), w.mia(t), registry.ModelSpec{Name: pavise.Name{Tenant: "local", Kind: registry.Kind, ID: "fraud"}, Risk: registry.Low})
	must(err)
	return w
}

// A shelf has the files of the depot, as the registry of models looks at them.
type shelf struct{ *depot.Depot }

// Open implements registry.Files.
func (s shelf) Open(ctx context.Context, digest registry.Digest) (io.ReadCloser, error) {
	return s.Depot.Open(ctx, "local", depot.Digest(digest))
}

// Has implements registry.Files.
func (s shelf) Has(ctx context.Context, digest registry.Digest) (size int64, has bool) {
	size, has, err := s.Depot.Has(ctx, "local", depot.Digest(digest))
	return size, has && err == nil
}

// mia is the engineer, as the installation knows her.
func (w *world) mia(t *testing.T) pavise.Principal {
	t.Helper()
	who, err := w.verifier.Verify(t.Context(), identity.Credentials{Authorization: []string{"Bearer " + w.engineer}, Method: "GET", URL: "/"})
	if err != nil {
		t.Fatal(err)
	}
	return who
}
