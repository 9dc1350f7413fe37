package witness

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/proof"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/store"
)

// TestCosignaturesVerify has a checkpoint cosigned, and opens it as a stranger does:
// with the keys of the log and both of the witness, at the witness's time.
func TestCosignaturesVerify(t *testing.T) {
	w := open(t, "witness.example/w")
	a := newAuthor(t, "example.com/log").grow(t, 7, "true")
	w.trust(t, a)
	lines := w.must(t, a, 0, 7)
	cp, sigs, err := proof.Open(append(a.checkpoint(t, 7), lines...), append(w.Keys(), a.signer.Key())...)
	if err != nil {
		t.Fatal(err)
	}
	if cp.Size != 7 || len(sigs) != 3 {
		t.Fatalf("%d signatures of %d records, want 3 of 7", len(sigs), cp.Size)
	}
	for i, want := range []proof.Algorithm{proof.Ed25519, proof.CosignatureMLDSA, proof.CosignatureEd25519} {
		if got := sigs[i].Key.Algorithm(); got != want {
			t.Errorf("signature %d is of type %s, want %s", i, got, want)
		}
		if i > 0 && !sigs[i].At.Equal(testTime) {
			t.Errorf("signature %d is of %s, want %s", i, sigs[i].At, testTime)
		}
	}
}

// TestLatestIsWhatWasCosigned shows the newest checkpoint, with the signature of the
// log that was checked and all cosignatures, and nothing that somebody else added: a
// line in the witness's own name, say, which would spoil it.
func TestLatestIsWhatWasCosigned(t *testing.T) {
	w := open(t, "witness.example/w")
	a := newAuthor(t, "example.com/log").grow(t, 7, "true")
	w.trust(t, a)
	if _, err := w.Latest(t.Context(), "example.com/log"); pavise.KindOf(err) != pavise.NotFound {
		t.Errorf("before any: %v", err)
	}
	planted := append(a.checkpoint(t, 7), strings.ReplaceAll(string(w.must(t, a, 0, 5)), "A", "B")...)
	stranger, err := proof.NewLogSigner("elsewhere.example", keyOf("stranger"))
	if err != nil {
		t.Fatal(err)
	}
	planted = append(planted, mustCosign(t, a.checkpoint(t, 7), stranger)...)
	lines, err := w.Cosign(t.Context(), 5, a.prove(t, 5, 7), planted)
	if err != nil {
		t.Fatal(err)
	}
	got, err := w.Latest(t.Context(), "example.com/log")
	if want := append(a.checkpoint(t, 7), lines...); err != nil || !bytes.Equal(got, want) {
		t.Errorf("latest is\n%s, want\n%s, error %v", got, want, err)
	}
}

func mustCosign(t testing.TB, checkpoint []byte, signers ...*proof.Signer) []byte {
	t.Helper()
	lines, err := proof.Cosign(checkpoint, testTime, signers...)
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

// TestStuffedNoteIsNotKept has a stranger stuff a log's public checkpoint with
// signatures of unknown keys until it is as long as a note can be. It is cosigned, for
// those are ignored; and the log goes on at this witness, and is not taken for forked.
func TestStuffedNoteIsNotKept(t *testing.T) {
	var recorded proof.Checkpoint
	w := open(t, "witness.example/w", func(c *Config) {
		c.Record = func(_ context.Context, cp proof.Checkpoint) error { recorded = cp; return nil }
		c.Forked = func(context.Context, string, []byte, []byte) error { return errors.New("there is no fork") }
	})
	a := newAuthor(t, "example.com/log").grow(t, 9, "true")
	w.trust(t, a)
	stuffed := stuff(a.checkpoint(t, 4), proof.MaxNote)
	if _, err := w.Cosign(t.Context(), 0, nil, stuffed); err != nil {
		t.Fatal(err)
	}
	if want := a.checkpoint(t, 4); !bytes.Equal(recorded.Note, want) {
		t.Errorf("recorded is a note of %d bytes, want the log's own of %d", len(recorded.Note), len(want))
	}
	w.must(t, a, 4, 4)
	w.must(t, a, 4, 9)
}

// stuff adds signature lines of unknown keys to a note until it has a length.
func stuff(note []byte, length int) []byte {
	for len(note) < length {
		line := 1400
		if rest := length - len(note); rest < 2*line {
			line = rest
		}
		note = append(note, "— "+strings.Repeat("x", line-14)+" AAAAAAAA\n"...)
	}
	return note
}

// TestNoteThatCannotBeKept refuses a checkpoint that the log itself has made so long,
// by extension lines, that with the cosignatures it would be no note any more.
func TestNoteThatCannotBeKept(t *testing.T) {
	w := open(t, "witness.example/w")
	a := newAuthor(t, "example.com/log").grow(t, 3, "true")
	w.trust(t, a)
	short := a.checkpoint(t, 3)
	text, _, _ := strings.Cut(string(short), "\n\n")
	text += "\n" + strings.Repeat("x", proof.MaxNote-len(short)-2) + "\n"
	long := append([]byte(text+"\n"), mustCosign(t, []byte(text+"\n— x\n"), a.signer)...)
	if len(long) != proof.MaxNote-1 {
		t.Fatalf("the note is %d bytes long", len(long))
	}
	if _, err := w.Cosign(t.Context(), 0, nil, long); pavise.KindOf(err) != pavise.Invalid || !strings.Contains(err.Error(), "with its cosignatures") {
		t.Errorf("error %v", err)
	}
	w.must(t, a, 0, 3)
}

// TestSameOldSizeTwiceAtOnce has many submit at the same time what continues the same
// tree: exactly one is cosigned and recorded, the others are told the new size, and
// nothing is rolled back afterwards.
func TestSameOldSizeTwiceAtOnce(t *testing.T) {
	var records atomic.Int64
	w := open(t, "witness.example/w", func(c *Config) {
		c.Record = func(context.Context, proof.Checkpoint) error { records.Add(1); return nil }
	})
	a := newAuthor(t, "example.com/log").grow(t, 40, "true")
	w.trust(t, a)
	w.must(t, a, 0, 10)
	var cosigned, stale atomic.Int64
	var won atomic.Uint64
	var wg sync.WaitGroup
	for i := range int64(16) {
		note, path := a.checkpoint(t, 11+i), a.prove(t, 10, 11+i)
		wg.Go(func() {
			_, err := w.Cosign(t.Context(), 10, path, note)
			seen, is := errors.AsType[*Seen](err)
			switch {
			case err == nil:
				cosigned.Add(1)
				won.Store(uint64(11 + i))
			case is && seen.Size > 10:
				stale.Add(1)
			default:
				t.Errorf("size %d: %v", 11+i, err)
			}
		})
	}
	wg.Wait()
	if cosigned.Load() != 1 || stale.Load() != 15 || records.Load() != 2 {
		t.Errorf("%d cosigned, %d told the new size, %d recorded; want 1, 15 and 2", cosigned.Load(), stale.Load(), records.Load())
	}
	if got := w.sizeSeen(t, a); got != won.Load() {
		t.Errorf("the witness is at %d, and has cosigned %d", got, won.Load())
	}
}

// TestRecordFails has the log of logs refuse: then no cosignature leaves, and the
// state stays, so that the same checkpoint is cosigned once it is recorded.
func TestRecordFails(t *testing.T) {
	broken := errors.New("the log is full")
	var fails error
	w := open(t, "witness.example/w", func(c *Config) {
		c.Record = func(context.Context, proof.Checkpoint) error { return fails }
	})
	a := newAuthor(t, "example.com/log").grow(t, 8, "true")
	w.trust(t, a)
	w.must(t, a, 0, 3)
	fails = broken
	if lines, err := w.show(t, a, 3, 8); !errors.Is(err, broken) || lines != nil {
		t.Errorf("cosigned %q, error %v", lines, err)
	}
	if got := w.sizeSeen(t, a); got != 3 {
		t.Errorf("the witness is at %d, want 3", got)
	}
	fails = nil
	w.must(t, a, 3, 8)
}

// TestRecordedOnce records each checkpoint once, however often it is cosigned again:
// also that of no records, which is a checkpoint like another.
func TestRecordedOnce(t *testing.T) {
	var sizes []uint64
	w := open(t, "witness.example/w", func(c *Config) {
		c.Record = func(_ context.Context, cp proof.Checkpoint) error { sizes = append(sizes, cp.Size); return nil }
	})
	a := newAuthor(t, "example.com/log").grow(t, 8, "true")
	w.trust(t, a)
	for _, step := range [][2]int64{{0, 0}, {0, 0}, {0, 5}, {5, 5}, {5, 5}, {5, 8}} {
		w.must(t, a, step[0], step[1])
	}
	if want := []uint64{0, 5, 8}; !slices.Equal(sizes, want) {
		t.Errorf("recorded %v, want %v", sizes, want)
	}
}

// TestShownAgain shows one checkpoint over and over, as anybody can who has found it: for
// ten seconds the answer is the one that was given, and nothing is written or recorded.
// Then the tree is cosigned anew. What says more of the same tree is, too.
func TestShownAgain(t *testing.T) {
	now, records := testTime.Add(300*time.Millisecond), 0
	w := open(t, "witness.example/w", func(c *Config) {
		c.Now = func() time.Time { return now }
		c.Record = func(context.Context, proof.Checkpoint) error { records++; return nil }
	})
	a := newAuthor(t, "example.com/log").grow(t, 9, "true")
	w.trust(t, a)
	first := w.must(t, a, 0, 7)
	had := w.rows(t)
	for _, later := range []time.Duration{0, time.Second, 9500 * time.Millisecond} {
		now = testTime.Add(later + 100*time.Millisecond)
		for range 20 {
			if again := w.must(t, a, 7, 7); !bytes.Equal(again, first) {
				t.Fatalf("after %s the answer is\n%s, want\n%s", later, again, first)
			}
		}
	}
	if wrote := w.rows(t) - had; wrote != 0 || records != 1 {
		t.Errorf("showing it again wrote %d times, and %d records", wrote, records)
	}
	stuffed := stuff(a.checkpoint(t, 7), proof.MaxNote)
	if again, err := w.Cosign(t.Context(), 7, nil, stuffed); err != nil || !bytes.Equal(again, first) {
		t.Errorf("with lines of strangers: %s, %v", again, err)
	}
	if _, err := w.Cosign(t.Context(), 7, a.prove(t, 7, 9), a.checkpoint(t, 7)); pavise.KindOf(err) != pavise.Unverified {
		t.Errorf("with a proof where none can be: %v", err)
	}
	for _, later := range []time.Duration{10 * time.Second, -time.Second} {
		now = testTime.Add(later)
		lines := w.must(t, a, 7, 7)
		if _, sigs, err := proof.Open(append(a.checkpoint(t, 7), lines...), w.Keys()...); err != nil || len(sigs) != 2 || !sigs[0].At.Equal(now) {
			t.Errorf("after %s: %+v, %v", later, sigs, err)
		}
	}
	text, _, _ := strings.Cut(string(a.checkpoint(t, 7)), "\n\n")
	more := []byte(text + "\nmore\n\n")
	more = append(more, mustCosign(t, append(slices.Clone(more), "— x\n"...), a.signer)...)
	lines, err := w.Cosign(t.Context(), 7, nil, more)
	if err != nil {
		t.Fatal(err)
	}
	if _, sigs, err := proof.Open(append(more, lines...), w.Keys()...); err != nil || len(sigs) != 2 {
		t.Errorf("with an extension line: %+v, %v", sigs, err)
	}
	if records != 1 {
		t.Errorf("%d records of one tree", records)
	}
}

// rows is how many rows were ever changed in the witness's database.
func (b *bench) rows(t testing.TB) (n int) {
	t.Helper()
	err := b.db.Update(context.Background(), func(tx *store.Tx) error { return tx.QueryRow(`SELECT total_changes()`).Scan(&n) })
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestForkIsKeptAndTold has a log sign two roots for one size: whoever is to know is
// given both notes, until that has worked; both are kept; and nothing of the log is
// cosigned any more, until it is forgotten.
func TestForkIsKeptAndTold(t *testing.T) {
	broken := errors.New("the log is full")
	var told [][]byte
	fails := broken
	w := open(t, "witness.example/w", func(c *Config) {
		c.Forked = func(_ context.Context, origin string, a, b []byte) error {
			if fails == nil {
				told = append(told, a, b)
			}
			return fails
		}
	})
	a := newAuthor(t, "example.com/log").grow(t, 20, "true")
	other := a.forkAt(6).grow(t, 14, "false")
	w.trust(t, a)
	w.must(t, a, 0, 10)
	if _, err := w.show(t, other, 10, 10); !errors.Is(err, broken) {
		t.Errorf("while nobody can be told: %v", err)
	}
	fails = nil
	if _, err := w.show(t, other, 0, 10); !isSeen(err, 10) { // with any old size
		t.Errorf("the fork was answered with %v", err)
	}
	if _, err := w.show(t, other, 10, 10); pavise.KindOf(err) != pavise.Unverified {
		t.Errorf("the fork again was answered with %v", err)
	}
	if _, err := w.show(t, a, 10, 20); pavise.KindOf(err) != pavise.Unverified {
		t.Errorf("after the fork, its continuation: %v", err)
	}
	logs, err := w.Logs(t.Context())
	if err != nil || len(logs) != 1 || !logs[0].Forked || len(logs[0].Fork) != 2 || len(told) != 2 {
		t.Fatalf("logs %+v, told %d notes, error %v", logs, len(told), err)
	}
	for i, of := range []*author{a, other} {
		cp, err := proof.OpenSigned(told[i], a.signer.Key())
		if err != nil || cp.Root != of.root(t, 10) || cp.Size != 10 || logs[0].Fork[i] != string(told[i]) {
			t.Errorf("note %d of the fork: %d records, error %v", i, cp.Size, err)
		}
	}
	if err := w.Forget(t.Context(), "example.com/log"); err != nil {
		t.Fatal(err)
	}
	w.trust(t, a)
	w.must(t, a, 0, 20)
}

// isSeen reports whether an error says that the witness has seen this size.
func isSeen(err error, size uint64) bool {
	seen, ok := errors.AsType[*Seen](err)
	return ok && seen.Size == size && pavise.KindOf(err) == pavise.Conflict
}

// TestForkNeedsTheLogsSignature shows another root under somebody else's signature:
// that is no fork, and the log goes on.
func TestForkNeedsTheLogsSignature(t *testing.T) {
	w := open(t, "witness.example/w", func(c *Config) {
		c.Forked = func(context.Context, string, []byte, []byte) error { return errors.New("there is no fork") }
	})
	a := newAuthor(t, "example.com/log").grow(t, 12, "true")
	w.trust(t, a)
	w.must(t, a, 0, 10)
	forger, err := proof.NewLogSigner("example.com/log", keyOf("forger"))
	if err != nil {
		t.Fatal(err)
	}
	forged := signed(t, "example.com/log", 10, tlog.Hash{1}, forger)
	if _, err := w.Cosign(t.Context(), 10, nil, forged); pavise.KindOf(err) != pavise.Denied {
		t.Errorf("forged: %v", err)
	}
	w.must(t, a, 10, 12)
}

// TestStateIsOnDiskBeforeTheCosignature copies the database at two moments, as a kill
// would leave it: while a checkpoint is recorded, when nothing has left yet and the old
// state holds; and as soon as the cosignature has left, when the new one must.
func TestStateIsOnDiskBeforeTheCosignature(t *testing.T) {
	var path, during string
	w := open(t, "witness.example/w", func(c *Config) {
		c.Record = func(context.Context, proof.Checkpoint) error { during = copyStore(t, path); return nil }
	})
	path = w.path
	a := newAuthor(t, "example.com/log").grow(t, 12, "true")
	w.trust(t, a)
	w.must(t, a, 0, 4)
	w.must(t, a, 4, 12)
	after := copyStore(t, path)
	if got := openAt(t, during, "witness.example/w").sizeSeen(t, a); got != 4 {
		t.Errorf("before the cosignature has left, %d records are on disk, want 4", got)
	}
	again := openAt(t, after, "witness.example/w")
	if got := again.sizeSeen(t, a); got != 12 {
		t.Errorf("after it has, %d records are on disk, want 12", got)
	}
	if _, err := again.show(t, a, 4, 12); !isSeen(err, 12) {
		t.Errorf("the next process: %v", err)
	}
}

// copyStore copies a database as a kill leaves it, log and all.
func copyStore(t testing.TB, path string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "state.db")
	for _, suffix := range []string{"", "-wal"} {
		b, err := os.ReadFile(path + suffix)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.WriteFile(to+suffix, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// TestOlderDatabaseIsCaughtUpWith puts an older copy of the witness's database back.
// It has forgotten what it cosigned since; an honest log is told so and catches it up.
func TestOlderDatabaseIsCaughtUpWith(t *testing.T) {
	w := open(t, "witness.example/w")
	a := newAuthor(t, "example.com/log").grow(t, 30, "true")
	w.trust(t, a)
	w.must(t, a, 0, 10)
	older := copyStore(t, w.path)
	w.must(t, a, 10, 20)
	w = openAt(t, older, "witness.example/w")
	if _, err := w.show(t, a, 20, 30); !isSeen(err, 10) {
		t.Errorf("the log is answered %v", err)
	}
	w.must(t, a, 10, 30)
}

// TestTrust takes a log's keys, adds them up, and refuses those that no log may have
// here: the witness's own, one below whose name it lies, and a witness's.
func TestTrust(t *testing.T) {
	w := open(t, "example.com/log/witness")
	mldsa := cosigners(t, "elsewhere.example/log")[0]
	for _, tt := range []struct {
		name string
		key  *proof.Key
		kind pavise.Kind
	}{
		{"our own log", newAuthor(t, "example.com/log").signer.Key(), pavise.Invalid},
		{"our own name", newAuthor(t, "example.com/log/witness").signer.Key(), pavise.Invalid},
		{"our own key by another name", logKey(t, "elsewhere.example/x", "example.com/log/witness"), pavise.Invalid},
		{"a witness's key", cosigners(t, "elsewhere.example/log")[1].Key(), pavise.Invalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := w.Trust(t.Context(), tt.key)
			if e, ok := errors.AsType[*pavise.Error](err); !ok || e.Kind != tt.kind || e.Hint == "" {
				t.Errorf("error %v, want %s and a hint", err, tt.kind)
			}
		})
	}
	for _, key := range []*proof.Key{newAuthor(t, "elsewhere.example/log").signer.Key(), mldsa.Key(), mldsa.Key(), newAuthor(t, "example.com/logs").signer.Key()} {
		if err := w.Trust(t.Context(), key); err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
	logs, err := w.Logs(t.Context())
	if err != nil || len(logs) != 2 || len(logs[0].Keys) != 2 || len(logs[1].Keys) != 1 {
		t.Fatalf("the witness watches %+v, error %v", logs, err)
	}
}

// logKey is the key of a log with a name, made of another name.
func logKey(t testing.TB, origin, of string) *proof.Key {
	t.Helper()
	signer, err := proof.NewLogSigner(origin, keyOf(of))
	if err != nil {
		t.Fatal(err)
	}
	return signer.Key()
}

// TestKeysOfOneLogAreBounded takes eight keys of one origin, and says what to do about
// a ninth.
func TestKeysOfOneLogAreBounded(t *testing.T) {
	w := open(t, "witness.example/w")
	for i := range 9 {
		err := w.Trust(t.Context(), logKey(t, "example.com/log", string(rune('a'+i))))
		if want := i == 8; (pavise.KindOf(err) == pavise.Conflict) != want || (err != nil) != want {
			t.Errorf("key %d: %v", i, err)
		}
	}
}

// TestAnotherKeyOfTheLog cosigns what any of a log's keys has signed, and nothing in
// which one of them did not make the signature in its name.
func TestAnotherKeyOfTheLog(t *testing.T) {
	w := open(t, "witness.example/w")
	a := newAuthor(t, "example.com/log").grow(t, 9, "true")
	w.trust(t, a)
	quantum := cosigners(t, "example.com/log")[0]
	if err := w.Trust(t.Context(), quantum.Key()); err != nil {
		t.Fatal(err)
	}
	alone := signed(t, "example.com/log", 3, a.root(t, 3), quantum)
	if _, err := w.Cosign(t.Context(), 0, nil, alone); err != nil {
		t.Errorf("signed by the second key alone: %v", err)
	}
	both := a.checkpoint(t, 9, quantum)
	spoilt := append(a.checkpoint(t, 9), mustCosign(t, a.checkpoint(t, 8), quantum)...)
	if _, err := w.Cosign(t.Context(), 3, a.prove(t, 3, 9), spoilt); pavise.KindOf(err) != pavise.Denied {
		t.Errorf("with a signature of something else in the second key's name: %v", err)
	}
	if _, err := w.Cosign(t.Context(), 3, a.prove(t, 3, 9), both); err != nil {
		t.Errorf("signed by both: %v", err)
	}
}

// TestForget watches a log no more: nothing of it is cosigned, and nothing is known of
// it when it is trusted again.
func TestForget(t *testing.T) {
	w := open(t, "witness.example/w")
	a := newAuthor(t, "example.com/log").grow(t, 9, "true")
	if err := w.Forget(t.Context(), "example.com/log"); pavise.KindOf(err) != pavise.NotFound {
		t.Errorf("forget what was never watched: %v", err)
	}
	w.trust(t, a)
	w.must(t, a, 0, 9)
	if err := w.Forget(t.Context(), "example.com/log"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.show(t, a, 9, 9); pavise.KindOf(err) != pavise.NotFound {
		t.Errorf("forgotten: %v", err)
	}
	if _, err := w.Latest(t.Context(), "example.com/log"); pavise.KindOf(err) != pavise.NotFound {
		t.Errorf("its checkpoint: %v", err)
	}
	w.trust(t, a)
	w.must(t, a, 0, 4)
}

// TestStateSurvives closes the witness and opens it again: it goes on where it was.
func TestStateSurvives(t *testing.T) {
	w := open(t, "witness.example/w")
	a := newAuthor(t, "example.com/log").grow(t, 9, "true")
	w.trust(t, a)
	w.must(t, a, 0, 5)
	before, err := w.Logs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.db.Close(); err != nil {
		t.Fatal(err)
	}
	w = openAt(t, w.path, "witness.example/w")
	after, err := w.Logs(t.Context())
	if err != nil || len(after) != 1 || after[0].Root != a.root(t, 5).String() || after[0].At != testTime || string(after[0].note) != string(before[0].note) {
		t.Errorf("before %+v, after %+v, error %v", before, after, err)
	}
	w.must(t, a, 5, 9)
}

// TestCosigningIsARecord goes from a checkpoint to the detail of a note about it and
// back, and takes no other record for one.
func TestCosigningIsARecord(t *testing.T) {
	a := newAuthor(t, "example.com/log").grow(t, 5, "true")
	cp, err := proof.OpenSigned(a.checkpoint(t, 5), a.signer.Key())
	if err != nil {
		t.Fatal(err)
	}
	detail, err := json.Marshal(NewCosigning(cp))
	if err != nil {
		t.Fatal(err)
	}
	r := record.Record{Kind: KindCosigned, Phase: record.Note, Detail: detail}
	got, err := Cosigned(&r)
	if err != nil || got.Origin != cp.Origin || got.Size != 5 || got.Root != cp.Root || string(got.Note) != string(cp.Note) {
		t.Errorf("got %+v, error %v", got, err)
	}
	for _, other := range []record.Record{
		{Kind: "model.infer", Phase: record.Note, Detail: detail},
		{Kind: KindCosigned, Phase: record.Enter, Detail: detail},
		{Kind: KindCosigned, Phase: record.Note, Detail: []byte(`{"checkpoint":5}`)},
		{Kind: KindCosigned, Phase: record.Note, Detail: []byte(`{}`)},
	} {
		if _, err := Cosigned(&other); err == nil {
			t.Errorf("%s %s %s was taken for a checkpoint", other.Kind, other.Phase, other.Detail)
		}
	}
}

// TestName names a log as policies and records do, whatever its origin is spelled like.
func TestName(t *testing.T) {
	for origin, want := range map[string]string{
		"example.com/log/7": "acme/log/example.com:log:7",
		"Ölprotokoll":       "acme/log/" + originHash("Ölprotokoll"),
		"/":                 "acme/log/" + originHash("/"),
		"a b":               "acme/log/" + originHash("a b"),
	} {
		got := Name("acme", origin)
		if got.String() != want || got.Validate() != nil {
			t.Errorf("%q is %s, want %s", origin, got, want)
		}
	}
	if long := Name("acme", strings.Repeat("x", 200)); long.Validate() != nil {
		t.Errorf("a long one is %s", long)
	}
}

// TestClosedStore answers that it cannot be done now, and cosigns nothing.
func TestClosedStore(t *testing.T) {
	w := open(t, "witness.example/w")
	a := newAuthor(t, "example.com/log").grow(t, 5, "true")
	w.trust(t, a)
	if err := w.db.Close(); err != nil {
		t.Fatal(err)
	}
	if lines, err := w.show(t, a, 0, 5); pavise.KindOf(err) != pavise.Unavailable || lines != nil {
		t.Errorf("cosigned %q, error %v", lines, err)
	}
}

// TestSignatureSpelledOtherwise has a stranger spell a log's signature in another way
// that base64 has. What is kept is spelled as the log does, so that nobody's reader
// stumbles over it.
func TestSignatureSpelledOtherwise(t *testing.T) {
	w := open(t, "witness.example/w")
	a := newAuthor(t, "example.com/log").grow(t, 5, "true")
	w.trust(t, a)
	note := a.checkpoint(t, 5)
	end := len(note) - len("A=\n")
	otherwise := slices.Clone(note)
	otherwise[end]++ // the bits that the padding leaves over
	if bytes.Equal(note, otherwise) || note[end+1] != '=' {
		t.Fatalf("the note ends in %q", note[end:])
	}
	if _, err := w.Cosign(t.Context(), 0, nil, otherwise); err != nil {
		t.Fatal(err)
	}
	latest, err := w.Latest(t.Context(), "example.com/log")
	if err != nil || !bytes.HasPrefix(latest, note) {
		t.Errorf("kept is\n%s, want\n%s, error %v", latest, note, err)
	}
}
