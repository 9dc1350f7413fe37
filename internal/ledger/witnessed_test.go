package ledger

import (
	"context"
	"crypto/ed25519"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/audit"
	"github.com/pavise/pavise/internal/disk/disktest"
	"github.com/pavise/pavise/internal/proof"
	"github.com/pavise/pavise/internal/record"
)

// cosigned is a log's published checkpoint, with the word of a witness.
func cosigned(t *testing.T, l *Log) proof.Checkpoint {
	t.Helper()
	if err := l.AwaitPublished(t.Context(), l.Size()-1); err != nil {
		t.Fatal(err)
	}
	cosigner, err := proof.NewCosigner("witness.example/w", ed25519.NewKeyFromSeed([]byte("a witness of ledger's tests, 32b")))
	if err != nil {
		t.Fatal(err)
	}
	cp := l.Published()
	line, err := proof.Cosign(cp.Note, time.Unix(1_800_000_000, 0), cosigner)
	if err != nil {
		t.Fatal(err)
	}
	cp.Note = append(cp.Note[:len(cp.Note):len(cp.Note)], line...)
	return cp
}

// TestProofsCarryWitnesses makes proof files from the best checkpoint that covers the
// record, also after a restart.
func TestProofsCarryWitnesses(t *testing.T) {
	d := disktest.New()
	l := longLog(t, d, 300)
	if err := l.KeepWitnessed(cosigned(t, l)); err != nil {
		t.Fatal(err)
	}
	appendN(t, l, 10, Durable)
	for range 2 {
		for index, witnessed := range map[uint64]bool{0: true, 298: true, 305: false} {
			file, err := l.ProofFile(index)
			if err != nil {
				t.Fatal(err)
			}
			if has := strings.Contains(string(file), "— witness.example/w "); has != witnessed {
				t.Errorf("record %d: a witness's line: %t", index, has)
			}
			report, err := audit.VerifyProof(file, audit.Options{Key: l.Keys()[0].Fingerprint()})
			if err != nil || report.Conclusion != audit.Proved || report.Record.On.ID != testRecord(int(index)%300).On.ID {
				t.Errorf("record %d: %+v, %v", index, report, err)
			}
		}
		if _, err := l.ProofFile(310); pavise.KindOf(err) != pavise.NotFound {
			t.Errorf("a record that is not there: %v", err)
		}
		l.Close()
		var err error
		if l, err = openFault(d); err != nil {
			t.Fatal(err)
		}
	}
	l.Close()
}

// TestShorterThanWitnessed puts the records and the checkpoint back to an older state,
// and leaves the witnessed checkpoint: the log refuses to open, and so it does when its
// records are others.
func TestShorterThanWitnessed(t *testing.T) {
	d := disktest.New()
	l := longLog(t, d, 300)
	l.Close()
	old := d.Frozen()
	l, err := openFault(d)
	if err != nil {
		t.Fatal(err)
	}
	appendN(t, l, 50, Durable)
	if err := l.KeepWitnessed(cosigned(t, l)); err != nil {
		t.Fatal(err)
	}
	l.Close()
	witnessed, _ := d.Bytes("witnessed")
	old.Put("witnessed", witnessed)
	if _, err := openFault(old); pavise.KindOf(err) != pavise.Unverified || !strings.Contains(err.Error(), "rolled back") {
		t.Errorf("an older state: %v", err)
	}
	other := disktest.New()
	l, err = openFault(other)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 400 {
		r := testRecord(i)
		r.Kind = "model.describe"
		if _, err := l.Append(t.Context(), r, Durable); err != nil {
			t.Fatal(err)
		}
	}
	l.Close()
	other.Put("witnessed", witnessed)
	if _, err := openFault(other); pavise.KindOf(err) != pavise.Unverified {
		t.Errorf("another history: %v", err)
	}
	if _, err := openFault(d); err != nil {
		t.Errorf("the log itself: %v", err)
	}
}

// TestHaltIsForGood stops a log for a reason from outside: nothing is taken any more,
// nothing more is signed, and whoever asks hears why and what to do.
func TestHaltIsForGood(t *testing.T) {
	l := longLog(t, disktest.New(), 5)
	defer l.Close()
	head := l.Head()
	l.Halt(&pavise.Error{Kind: pavise.Unverified, Msg: "it has two histories", Hint: "restore the newest backup"})
	l.Halt(errors.New("a second reason"))
	_, err := l.Append(context.Background(), testRecord(0), Durable)
	safe := testRecord(1)
	safe.Safe = true
	_, safeErr := l.Append(context.Background(), safe, Written)
	for _, err := range []error{err, safeErr, l.Stopped()} {
		e, ok := errors.AsType[*pavise.Error](err)
		if !ok || e.Kind != pavise.Unavailable || !strings.Contains(e.Msg, "two histories") || e.Hint != "restore the newest backup" {
			t.Errorf("%v", err)
		}
	}
	if now := l.Head(); now.Size != head.Size {
		t.Errorf("it signed %d records after it was stopped at %d", now.Size, head.Size)
	}
	if s := l.Status(); !strings.Contains(s.Problem, "two histories") {
		t.Errorf("the status says %q", s.Problem)
	}
	if _, err := l.Read(3); err != nil {
		t.Errorf("it can no longer be read: %v", err)
	}
}

// TestTilesAndBundles reads every tile and bundle that there is, and none beyond, and
// lets whoever looks at the entries refuse a bundle.
func TestTilesAndBundles(t *testing.T) {
	const n = 700
	d := disktest.New()
	l := longLog(t, d, n)
	defer l.Close()
	for path, want := range map[string]int{
		"tile/0/000": 256, "tile/0/001": 256, "tile/0/002.p/188": 188, "tile/0/002.p/1": 1, "tile/1/000.p/2": 2,
		"tile/0/002": 0, "tile/0/002.p/189": 0, "tile/0/003.p/1": 0, "tile/1/000.p/3": 0, "tile/2/000.p/1": 0, "tile/5/000": 0,
		"tile/0/x999/x999/x999/x999/999": 0,
	} {
		tile, err := proof.ParseTile(path)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		b, err := l.Tile(tile)
		if want == 0 && pavise.KindOf(err) != pavise.NotFound || want > 0 && (err != nil || len(b) != 32*want) {
			t.Errorf("%s: %d bytes, %v", path, len(b), err)
		}
	}
	for path, want := range map[string]int{"tile/entries/000": 256, "tile/entries/002.p/188": 188, "tile/entries/002.p/7": 7, "tile/entries/002": 0, "tile/entries/002.p/189": 0, "tile/entries/x001/000": 0} {
		tile, err := proof.ParseTile(path)
		if err != nil {
			t.Fatal(err)
		}
		seen := 0
		b, err := l.Bundle(tile, func(g record.Glimpse) error {
			seen++
			return nil
		})
		if want == 0 && pavise.KindOf(err) != pavise.NotFound || want > 0 && (err != nil || seen != want || len(b) == 0) {
			t.Errorf("%s: %d entries, %d bytes, %v", path, seen, len(b), err)
		}
	}
	refusal := &pavise.Error{Kind: pavise.Denied, Msg: "not yours"}
	tile, _ := proof.ParseTile("tile/entries/000")
	if b, err := l.Bundle(tile, func(g record.Glimpse) error { return refusal }); !errors.Is(err, refusal) || b != nil {
		t.Errorf("a refused bundle: %d bytes, %v", len(b), err)
	}
}

// TestRootOfChangedHashes changes a hash on the disk of a running log: what it would
// sign of an earlier size is refused, as is a proof that leads through it.
func TestRootOfChangedHashes(t *testing.T) {
	d := disktest.New()
	l := longLog(t, d, 700)
	defer l.Close()
	if err := l.AwaitPublished(t.Context(), 699); err != nil {
		t.Fatal(err)
	}
	want, err := l.RootAt(300)
	if err != nil {
		t.Fatal(err)
	}
	if cp, err := l.CheckpointAt(300); err != nil || cp.Root != want {
		t.Errorf("%+v, %v", cp, err)
	}
	f, err := d.Open("hash.0", false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("changed"), 290*32); err != nil {
		t.Fatal(err)
	}
	l.tree.folded.forget()
	if _, err := l.CheckpointAt(300); pavise.KindOf(err) != pavise.Unverified {
		t.Errorf("a checkpoint over a changed hash: %v", err)
	}
	if _, err := l.Prove(289); pavise.KindOf(err) != pavise.Unverified {
		t.Errorf("a proof through a changed hash: %v", err)
	}
}
