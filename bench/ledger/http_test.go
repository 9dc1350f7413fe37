package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"

	"github.com/pavise/pavise/bench/installation"
	"github.com/pavise/pavise/internal/evidence"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/proof"
	"github.com/pavise/pavise/internal/store"
	"github.com/pavise/pavise/internal/witness"
)

// TestTilesOverHTTP lets tessera's own client read a running log as any other: it
// checks every tile and every entry, with nothing but the address, a token and the
// log's key.
func TestTilesOverHTTP(t *testing.T) {
	in, err := installation.Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	l := newLoad(16)
	for i := range 700 {
		if _, err := in.Log.Append(t.Context(), l.records[i%16], ledger.Written); err != nil {
			t.Fatal(err)
		}
	}
	if err := in.Log.AwaitPublished(t.Context(), 699); err != nil {
		t.Fatal(err)
	}
	root, err := url.Parse(in.Server.URL + evidence.TilesPrefix)
	if err != nil {
		t.Fatal(err)
	}
	fetcher, err := client.NewHTTPFetcher(root, nil)
	if err != nil {
		t.Fatal(err)
	}
	fetcher.SetAuthorizationHeader("Bearer " + in.Client.Token)
	verifier, err := note.NewVerifier(in.Log.Keys()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	// Reading leaves records, so the log grows under the reader: as any log does.
	if err := fsck.New(verifier.Name(), verifier, fetcher, leafHashes, fsck.Opts{N: 2}).Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	stranger, err := client.NewHTTPFetcher(root, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stranger.ReadTile(t.Context(), 0, 0, 0); err == nil {
		t.Error("a stranger reads hashes that are not public")
	}
	if _, err := stranger.ReadCheckpoint(t.Context()); err != nil {
		t.Errorf("a stranger reads no checkpoint: %v", err)
	}
}

// TestTesseraIsWitnessed has a log of tessera's ask our witness, which it must, before
// it publishes: the witness's word stands under its checkpoint.
func TestTesseraIsWitnessed(t *testing.T) {
	db, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	cosigner, err := proof.NewCosigner("bench.pavise.example/witness", ed25519.NewKeyFromSeed([]byte("a witness of the bench, 32 bytes")))
	if err != nil {
		t.Fatal(err)
	}
	ours, err := witness.Open(t.Context(), witness.Config{Signers: []*proof.Signer{cosigner}, Store: db, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(ours.Handler())
	defer server.Close()

	secret, public, err := note.GenerateKey(rand.Reader, "tessera.example/log")
	if err != nil {
		t.Fatal(err)
	}
	key, err := proof.ParseKey(public)
	if err != nil {
		t.Fatal(err)
	}
	if err := ours.Trust(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	checkpoint := witnessedByOurs(t, secret, cosigner.Key().String(), server.URL)
	cp, sigs, err := proof.Open(checkpoint, key, cosigner.Key())
	if err != nil || len(sigs) != 2 || cp.Size < 300 {
		t.Errorf("%d signatures, %d records, %v:\n%s", len(sigs), cp.Size, err, checkpoint)
	}
	seen, err := ours.Logs(t.Context())
	if err != nil || len(seen) != 1 || seen[0].Size != cp.Size || seen[0].Root != cp.Root.String() {
		t.Errorf("the witness has seen %+v, %v", seen, err)
	}
}

// witnessedByOurs runs tessera until a checkpoint covers 300 entries, and returns it.
func witnessedByOurs(t *testing.T, secret, witnessKey, address string) []byte {
	t.Helper()
	signer, err := note.NewSigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	root, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	w, err := tessera.NewWitness(witnessKey, root)
	if err != nil {
		t.Fatal(err)
	}
	driver, err := posix.New(t.Context(), posix.Config{Path: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	appender, shutdown, reader, err := tessera.NewAppender(t.Context(), driver, tessera.NewAppendOptions().
		WithCheckpointSigner(signer).WithBatching(64, 10*time.Millisecond).WithCheckpointInterval(checkpointEvery).
		WithWitnesses(tessera.NewWitnessGroup(1, w), &tessera.WitnessOptions{Timeout: 5 * time.Second}))
	if err != nil {
		t.Fatal(err)
	}
	defer shutdown(context.WithoutCancel(t.Context()))
	awaiter := tessera.NewPublicationAwaiter(t.Context(), reader.ReadCheckpoint, awaitPoll)
	var checkpoint []byte
	for i := range 300 {
		future := appender.Add(t.Context(), tessera.NewEntry([]byte(strings.Repeat("x", i+1))))
		if i%100 < 99 {
			continue
		}
		if _, checkpoint, err = awaiter.Await(t.Context(), future); err != nil {
			t.Fatal(err)
		}
	}
	return checkpoint
}
