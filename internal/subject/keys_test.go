package subject

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/seal"
	"github.com/pavise/pavise/internal/store"
)

var testTime = time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)

// open opens the keys in a database, with the KEK that lies beside it.
func open(t testing.TB, path string) *Keys {
	t.Helper()
	return openWith(t, path, filepath.Join(filepath.Dir(path), "kek"))
}

func openWith(t testing.TB, path, kekPath string) *Keys {
	t.Helper()
	kek, err := seal.OpenFileKEK(kekPath)
	if err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	k, err := Open(context.Background(), db, kek, func() time.Time { return testTime })
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newKeys(t testing.TB) (k *Keys, path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "state.db")
	return open(t, path), path
}

func of(t testing.TB, k *Keys, tenant, subject string) Subject {
	t.Helper()
	s, err := k.Of(context.Background(), tenant, subject)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func shred(t testing.TB, k *Keys, tenant, id string) Receipt {
	t.Helper()
	r, err := k.Shred(context.Background(), tenant, id, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func wantError(t testing.TB, err error, kind pavise.Kind, msg string) {
	t.Helper()
	e, ok := errors.AsType[*pavise.Error](err)
	if !ok || e.Kind != kind || !strings.Contains(e.Msg, msg) || e.Hint == "" {
		t.Errorf("error %v, want %s %q and a hint", err, kind, msg)
	}
}

// TestOf gives a subject one pseudonym and one key, for good, which are on disk before
// anything is sealed under them; the pseudonym says nothing, and no file holds the name.
func TestOf(t *testing.T) {
	k, path := newKeys(t)
	s := of(t, k, "acme", "maria.muster@example.com")
	if !IsPseudonym(s.ID) || len(s.ID) != 34 {
		t.Errorf("the pseudonym is %q", s.ID)
	}
	envelope := s.Key.Seal([]byte("1"), []byte("what is kept"))
	killed := filepath.Join(t.TempDir(), "state.db")
	copyStore(t, path, killed)
	for name, other := range map[string]*Keys{"the same": k, "after a kill": openWith(t, killed, filepath.Join(filepath.Dir(path), "kek"))} {
		if again := of(t, other, "acme", "maria.muster@example.com"); again.ID != s.ID || again.Key.ID() != s.Key.ID() {
			t.Errorf("%s: %s %s, want %s %s", name, again.ID, again.Key, s.ID, s.Key)
		}
		key, err := other.Key(t.Context(), "acme", s.ID)
		if err != nil {
			t.Fatal(err)
		}
		if plain, err := key.Open([]byte("1"), envelope); err != nil || string(plain) != "what is kept" {
			t.Errorf("%s: opened %q, error %v", name, plain, err)
		}
		id, err := other.Find(t.Context(), "acme", "maria.muster@example.com")
		if byID, err2 := other.Find(t.Context(), "acme", s.ID); id != s.ID || byID != s.ID || err != nil || err2 != nil {
			t.Errorf("%s: found %q and %q, errors %v, %v", name, id, byID, err, err2)
		}
	}
	if other := of(t, k, "acme", "max.muster@example.com"); other.ID == s.ID || other.Key.ID() == s.Key.ID() {
		t.Error("two subjects have one key")
	}
	if found := filesWith(t, path, []byte("maria.muster")); len(found) > 0 {
		t.Errorf("%v hold the name", found)
	}
}

// copyStore copies a database as a kill leaves it, log and all.
func copyStore(t testing.TB, from, to string) {
	t.Helper()
	for _, suffix := range []string{"", "-wal"} {
		b, err := os.ReadFile(from + suffix)
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
}

// filesWith returns which of a database's files hold any of these bytes.
func filesWith(t testing.TB, path string, needles ...[]byte) (names []string) {
	t.Helper()
	files, err := filepath.Glob(path + "*")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, needle := range needles {
			if bytes.Contains(b, needle) {
				names = append(names, fmt.Sprintf("%s: %x", filepath.Base(name), needle))
			}
		}
	}
	return names
}

// TestOfAtOnce has many ask for the same new names at once, in one process and as two:
// for each name there is one key.
func TestOfAtOnce(t *testing.T) {
	k, _ := newKeys(t)
	twin, err := Open(t.Context(), k.db, k.kek, k.now)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	got := map[string]map[string]bool{}
	var wg sync.WaitGroup
	for i := range 60 {
		wg.Go(func() {
			name := fmt.Sprint("p", i%4)
			s, err := []*Keys{k, twin}[i%2].Of(t.Context(), "acme", name)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if got[name] == nil {
				got[name] = map[string]bool{}
			}
			got[name][s.ID+" "+s.Key.String()] = true
		})
	}
	wg.Wait()
	for name, all := range got {
		if len(all) != 1 {
			t.Errorf("%s has %d keys", name, len(all))
		}
	}
	if keys, shredded, err := k.Count(t.Context(), "acme"); keys != 4 || shredded != 0 || err != nil {
		t.Errorf("%d keys, %d shredded, error %v", keys, shredded, err)
	}
}

// TestTenantsAreApart gives one name in two tenants two pseudonyms and two keys, and
// neither tenant anything of the other's.
func TestTenantsAreApart(t *testing.T) {
	k, _ := newKeys(t)
	a, b := of(t, k, "acme", "maria"), of(t, k, "other", "maria")
	if a.ID == b.ID || a.Key.ID() == b.Key.ID() {
		t.Error("two tenants share a subject")
	}
	only := of(t, k, "acme", "max")
	_, err := k.Key(t.Context(), "other", a.ID)
	wantError(t, err, pavise.NotFound, "tenant other has no key")
	for _, name := range []string{"max", only.ID} {
		_, err = k.Find(t.Context(), "other", name)
		wantError(t, err, pavise.NotFound, "tenant other has no key")
	}
	_, err = k.Shred(t.Context(), "other", a.ID, nil)
	wantError(t, err, pavise.NotFound, "tenant other has no key")
	shred(t, k, "other", b.ID)
	if again := of(t, k, "acme", "maria"); again.ID != a.ID {
		t.Error("shredding in one tenant changed another's")
	}
	for tenant, want := range map[string][2]int{"acme": {2, 0}, "other": {0, 1}, "nobody": {0, 0}} {
		if keys, shredded, err := k.Count(t.Context(), tenant); keys != want[0] || shredded != want[1] || err != nil {
			t.Errorf("%s has %d keys and %d shredded, error %v; want %v", tenant, keys, shredded, err, want)
		}
	}
}

// TestShred forgets somebody: what was sealed opens no more, the error says since when,
// the receipt says what is gone, and the same name is somebody else the next time.
func TestShred(t *testing.T) {
	k, _ := newKeys(t)
	s := of(t, k, "acme", "maria")
	envelope := s.Key.Seal(nil, []byte("what is kept"))
	k.now = func() time.Time { return testTime.AddDate(0, 1, 0) }
	receipt := shred(t, k, "acme", s.ID)
	if want := (Receipt{s.ID, s.Key.ID().String(), testTime, method}); receipt != want {
		t.Errorf("receipt %+v, want %+v", receipt, want)
	}
	_, err := k.Key(t.Context(), "acme", s.ID)
	wantError(t, err, pavise.NotFound, "was shredded on 2026-06-04")
	_, err = k.Find(t.Context(), "acme", "maria")
	wantError(t, err, pavise.NotFound, "has no key of that data subject")
	_, err = k.Find(t.Context(), "acme", s.ID)
	wantError(t, err, pavise.NotFound, "was shredded on 2026-06-04")
	_, err = k.Shred(t.Context(), "acme", s.ID, nil)
	wantError(t, err, pavise.NotFound, "has no key")
	again := of(t, k, "acme", "maria")
	if again.ID == s.ID || again.Key.ID() == s.Key.ID() {
		t.Error("the same name is the same subject")
	}
	if _, err := again.Key.Open(nil, envelope); !errors.Is(err, seal.ErrWrongKey) {
		t.Errorf("the new key opens the old envelope: %v", err)
	}
	if keys, shredded, err := k.Count(t.Context(), "acme"); keys != 1 || shredded != 1 || err != nil {
		t.Errorf("%d keys, %d shredded, error %v", keys, shredded, err)
	}
}

// row is what the table holds of a subject: its handle and its envelope, and a part of
// that, in case a page was cut.
func row(t testing.TB, k *Keys, id string) [][]byte {
	t.Helper()
	var handle, envelope []byte
	err := k.db.View(context.Background(), func(tx *store.Tx) error {
		return tx.QueryRow("SELECT handle, envelope FROM subject_keys WHERE id = ?", id).Scan(&handle, &envelope)
	})
	if err != nil {
		t.Fatal(err)
	}
	return [][]byte{handle, envelope, envelope[40:64]}
}

// TestShredLeavesNothing forgets every third of many, whose keys have moved between the
// pages of the database and its log: no file holds anything of them, and the others
// have theirs.
func TestShredLeavesNothing(t *testing.T) {
	k, path := newKeys(t)
	var subjects []Subject
	var gone [][]byte
	for i := range 300 {
		subjects = append(subjects, of(t, k, "acme", fmt.Sprint("p", i)))
		if i == 150 { // some are in the database, others only in its log
			if err := k.Settle(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i := 0; i < 300; i += 3 {
		gone = append(gone, row(t, k, subjects[i].ID)...)
	}
	if found := filesWith(t, path, gone...); len(found) < len(gone) {
		t.Fatalf("before, the files hold %d of %d", len(found), len(gone))
	}
	for i := 0; i < 300; i += 3 {
		shred(t, k, "acme", subjects[i].ID)
		if i == 30 {
			if found := filesWith(t, path, gone[:33]...); len(found) > 0 {
				t.Errorf("half-way, %v", found)
			}
		}
	}
	if found := filesWith(t, path, gone...); len(found) > 0 {
		t.Errorf("%d of %d pieces are left: %.300v", len(found), len(gone), found)
	}
	for i := range 300 {
		if _, err := k.Key(t.Context(), "acme", subjects[i].ID); (err != nil) != (i%3 == 0) {
			t.Errorf("subject %d: %v", i, err)
		}
	}
}

// TestShredBesideAReader forgets somebody while somebody else reads an older state of
// the database and does not end. The key is gone, the receipt says what is still to be
// overwritten, and Settle does that once it can be done.
func TestShredBesideAReader(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits for the reader as long as the database does: five seconds")
	}
	t.Parallel()
	k, path := newKeys(t)
	s := of(t, k, "acme", "maria")
	gone := row(t, k, s.ID)
	err := k.db.View(t.Context(), func(tx *store.Tx) error {
		var n int
		if err := tx.QueryRow("SELECT count(*) FROM subject_keys").Scan(&n); err != nil {
			return err
		}
		if receipt := shred(t, k, "acme", s.ID); receipt.Method != methodBusy || receipt.KeyID != s.Key.ID().String() {
			t.Errorf("receipt %+v", receipt)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = k.Key(t.Context(), "acme", s.ID)
	wantError(t, err, pavise.NotFound, "was shredded")
	if found := filesWith(t, path, gone...); len(found) == 0 {
		t.Error("nothing was left to be overwritten")
	}
	if err := k.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	if found := filesWith(t, path, gone...); len(found) > 0 {
		t.Errorf("left are %v", found)
	}
}

// TestMark is part of the same transaction as the shredding: both are done, or neither.
func TestMark(t *testing.T) {
	k, _ := newKeys(t)
	if err := k.db.Migrate(t.Context(), "mark", []string{"CREATE TABLE mark_made (id TEXT) STRICT"}); err != nil {
		t.Fatal(err)
	}
	marks := func() (n int) {
		err := k.db.View(t.Context(), func(tx *store.Tx) error { return tx.QueryRow("SELECT count(*) FROM mark_made").Scan(&n) })
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	s := of(t, k, "acme", "maria")
	broken := errors.New("broken")
	var fails error
	mark := func(tx *store.Tx) error {
		_, err := tx.Exec("INSERT INTO mark_made VALUES ('x')")
		return errors.Join(err, fails)
	}
	fails = broken
	if _, err := k.Shred(t.Context(), "acme", s.ID, mark); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := k.Shred(ctx, "acme", s.ID, mark); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := k.Key(t.Context(), "acme", s.ID); err != nil || marks() != 0 {
		t.Errorf("%d marks, and the key: %v", marks(), err)
	}
	fails = nil
	if _, err := k.Shred(t.Context(), "acme", s.ID, mark); err != nil || marks() != 1 {
		t.Errorf("%d marks, error %v", marks(), err)
	}
	if _, err := k.Shred(t.Context(), "acme", s.ID, mark); pavise.KindOf(err) != pavise.NotFound || marks() != 1 {
		t.Errorf("again: %d marks, error %v", marks(), err)
	}
}

// TestShredAgainstOf asks for somebody all the time while they are forgotten again and
// again: who asks after it gets another key, whatever the memory of others says.
func TestShredAgainstOf(t *testing.T) {
	k, _ := newKeys(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				if _, err := k.Of(t.Context(), "acme", "maria"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 50 {
		s := of(t, k, "acme", "maria")
		shred(t, k, "acme", s.ID)
		if again := of(t, k, "acme", "maria"); again.ID == s.ID {
			t.Error("a shredded key is still given out")
		}
	}
	cancel()
	wg.Wait()
}

// TestReapply puts an older copy of the database back, in which a forgotten subject has
// its key again. Reapply and Settle forget it again: no key, nothing in the files,
// nothing in memory, not even for who asked in between.
func TestReapply(t *testing.T) {
	k, path := newKeys(t)
	s, other := of(t, k, "acme", "maria"), of(t, k, "acme", "max")
	gone := row(t, k, s.ID)
	if err := k.Settle(t.Context()); err != nil { // so that the key is in the database itself
		t.Fatal(err)
	}
	older := filepath.Join(t.TempDir(), "state.db")
	copyStore(t, path, older)
	shred(t, k, "acme", s.ID)
	k = openWith(t, older, filepath.Join(filepath.Dir(path), "kek"))
	if _, err := k.Key(t.Context(), "acme", s.ID); err != nil {
		t.Fatalf("the older copy has no key: %v", err)
	}
	for range 2 { // and again, which changes nothing
		err := k.db.Update(t.Context(), func(tx *store.Tx) error {
			err := errors.Join(k.Reapply(tx, "acme", s.ID), k.Reapply(tx, "acme", "s-never-seen"))
			of(t, k, "acme", "max") // somebody asks while it is not committed yet
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := k.Settle(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	_, err := k.Key(t.Context(), "acme", s.ID)
	wantError(t, err, pavise.NotFound, "was shredded")
	if found := filesWith(t, older, gone...); len(found) > 0 {
		t.Errorf("left are %v", found)
	}
	if again := of(t, k, "acme", "maria"); again.ID == s.ID {
		t.Error("it has its old pseudonym")
	}
	if again := of(t, k, "acme", "max"); again.ID != other.ID {
		t.Error("somebody else was forgotten")
	}
}

// TestReapplyAgainstMemory has somebody ask for a key after Reapply and before its
// transaction is committed, when it is still there for readers: Settle, which comes
// after, drops it from memory.
func TestReapplyAgainstMemory(t *testing.T) {
	k, _ := newKeys(t)
	s := of(t, k, "acme", "maria")
	err := k.db.Update(t.Context(), func(tx *store.Tx) error {
		err := k.Reapply(tx, "acme", s.ID)
		if between := of(t, k, "acme", "maria"); between.ID != s.ID {
			t.Error("a reader sees what is not committed")
		}
		return err
	})
	if err := errors.Join(err, k.Settle(t.Context())); err != nil {
		t.Fatal(err)
	}
	if again := of(t, k, "acme", "maria"); again.ID == s.ID {
		t.Error("the shredded key is still given out")
	}
}

// TestReapplyThatIsUndone leaves everything as it was when its transaction fails.
func TestReapplyThatIsUndone(t *testing.T) {
	k, _ := newKeys(t)
	s := of(t, k, "acme", "maria")
	broken := errors.New("broken")
	err := k.db.Update(t.Context(), func(tx *store.Tx) error { return errors.Join(k.Reapply(tx, "acme", s.ID), broken) })
	if !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
	if again := of(t, k, "acme", "maria"); again.ID != s.ID {
		t.Error("it was forgotten")
	}
}

// TestAnotherKEK opens a database with the KEK of another installation. That is an
// error for everybody, and makes nobody a new key: they would lose what was sealed.
func TestAnotherKEK(t *testing.T) {
	k, path := newKeys(t)
	s := of(t, k, "acme", "maria")
	if err := k.db.Close(); err != nil {
		t.Fatal(err)
	}
	k = openWith(t, path, filepath.Join(t.TempDir(), "kek"))
	_, err := k.Key(t.Context(), "acme", s.ID)
	if pavise.KindOf(err) != pavise.Unverified || !errors.Is(err, seal.ErrWrongKey) {
		t.Errorf("Key: %v", err)
	}
	if _, err := k.Shred(t.Context(), "acme", s.ID, nil); pavise.KindOf(err) != pavise.Unverified {
		t.Errorf("Shred: %v", err)
	}
	for _, name := range []string{"maria", "somebody new"} {
		_, err := k.Of(t.Context(), "acme", name)
		wantError(t, err, pavise.Unverified, "wrapped under another key")
		_, err = k.Find(t.Context(), "acme", name)
		wantError(t, err, pavise.Unverified, "wrapped under another key")
	}
	if keys, _, err := k.Count(t.Context(), "acme"); keys != 1 || err != nil {
		t.Errorf("%d keys, error %v", keys, err)
	}
	of(t, k, "empty", "maria") // a tenant without keys may begin
}

// TestEnvelopeFromElsewhere puts one subject's wrapped key into another's row, of its
// own tenant or of another: it does not open there.
func TestEnvelopeFromElsewhere(t *testing.T) {
	k, _ := newKeys(t)
	victim := of(t, k, "acme", "maria")
	for _, from := range []Subject{of(t, k, "acme", "max"), of(t, k, "other", "maria")} {
		err := k.db.Update(t.Context(), func(tx *store.Tx) error {
			_, err := tx.Exec("UPDATE subject_keys SET envelope = (SELECT envelope FROM subject_keys WHERE id = ?) WHERE id = ?", from.ID, victim.ID)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := k.Key(t.Context(), "acme", victim.ID); pavise.KindOf(err) != pavise.Unverified {
			t.Errorf("Key: %v", err)
		}
		fresh, err := Open(t.Context(), k.db, k.kek, k.now)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fresh.Of(t.Context(), "acme", "maria"); pavise.KindOf(err) != pavise.Unverified {
			t.Errorf("Of: %v", err)
		}
	}
}

// TestNames takes any bytes for a name, each for another subject, and refuses what is
// empty, too long, or passes for a pseudonym.
func TestNames(t *testing.T) {
	k, _ := newKeys(t)
	ids := map[string]string{}
	for _, name := range []string{"a", "A", "a\x00", "\x00a", "a\x00b", "\xff", "\xff\xfe", "ä", "a\u0308", " a", "a ", "a\n", "'; DROP TABLE subject_keys; --", "%", strings.Repeat("x", 255), strings.Repeat("x", 256), "s-", "s-" + strings.Repeat("a", 31), "s-" + strings.Repeat("g", 32), "S-" + strings.Repeat("a", 32)} {
		s := of(t, k, "acme", name)
		if before, ok := ids[s.ID]; ok {
			t.Errorf("%q and %q are one subject", before, name)
		}
		ids[s.ID] = name
		if id, err := k.Find(t.Context(), "acme", name); id != s.ID || err != nil {
			t.Errorf("%q is found as %q, error %v", name, id, err)
		}
	}
	for name, msg := range map[string]string{
		"":                             "1 to 256 bytes",
		strings.Repeat("x", 257):       "not 257",
		of(t, k, "acme", "a").ID:       "spelled like a pseudonym",
		"s-" + strings.Repeat("A", 32): "spelled like a pseudonym",
	} {
		_, err := k.Of(t.Context(), "acme", name)
		wantError(t, err, pavise.Invalid, msg)
	}
}

// TestMemoryIsBounded keeps at most 4,096 subjects in memory, and still knows the rest.
func TestMemoryIsBounded(t *testing.T) {
	k, _ := newKeys(t)
	first := of(t, k, "acme", "first")
	for i := range maxCached - 1 {
		k.known[name{"acme", fmt.Sprint(i)}] = Subject{}
	}
	of(t, k, "acme", "one more")
	if n := len(k.known); n > maxCached {
		t.Errorf("%d subjects are in memory", n)
	}
	if again := of(t, k, "acme", "first"); again.ID != first.ID {
		t.Error("a subject that memory has dropped is another")
	}
}

// TestClosedStore says that it cannot be done now, of everything.
func TestClosedStore(t *testing.T) {
	k, _ := newKeys(t)
	s := of(t, k, "acme", "maria")
	if err := k.db.Close(); err != nil {
		t.Fatal(err)
	}
	_, ofErr := k.Of(t.Context(), "acme", "max")
	_, keyErr := k.Key(t.Context(), "acme", s.ID)
	_, findErr := k.Find(t.Context(), "acme", "maria")
	_, shredErr := k.Shred(t.Context(), "acme", s.ID, nil)
	_, _, countErr := k.Count(t.Context(), "acme")
	for i, err := range []error{ofErr, keyErr, findErr, shredErr, countErr, k.Settle(t.Context())} {
		if pavise.KindOf(err) != pavise.Unavailable {
			t.Errorf("%d: %v", i, err)
		}
	}
}

// FuzzNames makes subjects of any names: two names are two subjects, and one is found
// again as itself.
func FuzzNames(f *testing.F) {
	k, _ := newKeys(f)
	f.Add("maria", "max")
	f.Add("a", "a\x00")
	f.Add("s-00112233445566778899aabbccddeeff", "")
	f.Add("\xff", "\ufffd")
	f.Fuzz(func(t *testing.T, a, b string) {
		ids := map[string]string{}
		for _, name := range []string{a, b} {
			s, err := k.Of(t.Context(), "acme", name)
			if err != nil {
				if pavise.KindOf(err) != pavise.Invalid {
					t.Errorf("%q: %v", name, err)
				}
				continue
			}
			if id, err := k.Find(t.Context(), "acme", name); err != nil || id != s.ID || !IsPseudonym(id) || id == name {
				t.Errorf("%q is found as %q, error %v", name, id, err)
			}
			if before, ok := ids[s.ID]; ok && before != name {
				t.Errorf("%q and %q are one subject", before, name)
			}
			ids[s.ID] = name
		}
	})
}

// TestOfCaller finds whoever the caller names, and else the caller, as Of does by their
// names; a key that has to be made is made though the caller goes away.
func TestOfCaller(t *testing.T) {
	k, _ := newKeys(t)
	gone, leave := context.WithCancel(context.Background())
	leave()
	caller := pavise.Name{Tenant: "acme", Kind: "workload", ID: "app"}
	for named, want := range map[string]string{"": caller.String(), "alice": "alice"} {
		for range 2 { // the second time from memory
			s, err := k.OfCaller(gone, "acme", named, caller)
			if err != nil {
				t.Fatal(err)
			}
			if same := of(t, k, "acme", want); s.ID != same.ID {
				t.Errorf("%q is %s, and %s by name", named, s.ID, same.ID)
			}
		}
	}
	if _, err := k.OfCaller(gone, "acme", "", pavise.Name{}); pavise.KindOf(err) != pavise.Invalid {
		t.Errorf("nobody: %v", err)
	}
	if other, err := k.OfCaller(gone, "other", "", caller); err != nil || other.ID == of(t, k, "acme", caller.String()).ID {
		t.Errorf("another tenant: %v, %v", other.ID, err)
	}
}
