package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/pavise/pavise"
)

var notes = []string{"CREATE TABLE notes_line (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE) STRICT"}

func TestUpdateAndView(t *testing.T) {
	db := openNotes(t, filepath.Join(t.TempDir(), "state.db"))
	insert(t, db, "one")
	err := db.View(t.Context(), func(tx *Tx) error {
		insert(t, db, "two") // a writer goes on beside a reader
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := count(t, db); got != 2 {
		t.Errorf("%d rows, want 2", got)
	}
}

func TestViewSeesOneState(t *testing.T) {
	db := openNotes(t, filepath.Join(t.TempDir(), "state.db"))
	insert(t, db, "one")
	err := db.View(t.Context(), func(tx *Tx) error {
		before := countIn(t, tx)
		insert(t, db, "two")
		if after := countIn(t, tx); after != before {
			t.Errorf("a View saw %d rows, then %d", before, after)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestViewCannotWrite(t *testing.T) {
	db := openNotes(t, filepath.Join(t.TempDir(), "state.db"))
	err := db.View(t.Context(), func(tx *Tx) error {
		_, err := tx.Exec("INSERT INTO notes_line (text) VALUES ('x')")
		return err
	})
	wantError(t, err, pavise.Unavailable, "cannot be written")
	if got := count(t, db); got != 0 {
		t.Errorf("%d rows, want 0", got)
	}
}

func TestRollback(t *testing.T) {
	broken := errors.New("broken")
	for _, tt := range []struct {
		name string
		end  func(cancel func()) error
		want error
	}{
		{"error", func(func()) error { return broken }, broken},
		{"panic", func(func()) error { panic(broken) }, broken},
		{"context ended", func(cancel func()) error { cancel(); return nil }, context.Canceled},
	} {
		t.Run(tt.name, func(t *testing.T) {
			db := openNotes(t, filepath.Join(t.TempDir(), "state.db"))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			err := recovered(func() error {
				return db.Update(ctx, func(tx *Tx) error {
					if _, err := tx.Exec("INSERT INTO notes_line (text) VALUES ('gone')"); err != nil {
						t.Fatal(err)
					}
					return tt.end(cancel)
				})
			})
			if !errors.Is(err, tt.want) {
				t.Errorf("error = %v, want %v", err, tt.want)
			}
			if got := count(t, db); got != 0 {
				t.Errorf("%d rows, want 0", got)
			}
			insert(t, db, "the writer is free again")
		})
	}
}

func recovered(fn func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = p.(error)
		}
	}()
	return fn()
}

// TestConcurrentUpdates has writers that read and then write the same row. Were
// two of them ever inside together, an increment would be lost or refused.
func TestConcurrentUpdates(t *testing.T) {
	db := openNotes(t, filepath.Join(t.TempDir(), "state.db"))
	if err := db.Migrate(t.Context(), "counter", []string{"CREATE TABLE counter_n (n INTEGER) STRICT; INSERT INTO counter_n VALUES (0)"}); err != nil {
		t.Fatal(err)
	}
	const writers, each = 8, 25
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				if err := db.Update(t.Context(), increment); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() { // readers take turns with them
			for range each {
				countIn := 0
				if err := db.View(t.Context(), func(tx *Tx) error { return tx.QueryRow("SELECT n FROM counter_n").Scan(&countIn) }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	var n int
	if err := db.View(t.Context(), func(tx *Tx) error { return tx.QueryRow("SELECT n FROM counter_n").Scan(&n) }); err != nil {
		t.Fatal(err)
	}
	if n != writers*each {
		t.Errorf("n = %d, want %d", n, writers*each)
	}
}

func increment(tx *Tx) error {
	var n int
	if err := tx.QueryRow("SELECT n FROM counter_n").Scan(&n); err != nil {
		return err
	}
	_, err := tx.Exec("UPDATE counter_n SET n = ?", n+1)
	return err
}

func TestConnectionsAreStrict(t *testing.T) {
	db := openNotes(t, filepath.Join(t.TempDir(), "state.db"))
	both := []func(context.Context, func(*Tx) error) error{db.Update, db.View}
	for i, begin := range both {
		err := begin(t.Context(), func(tx *Tx) error {
			for pragma, want := range map[string]string{"foreign_keys": "1", "synchronous": "2", "journal_mode": "wal", "trusted_schema": "0", "busy_timeout": "5000"} {
				var got string
				if err := tx.QueryRow("PRAGMA " + pragma).Scan(&got); err != nil {
					return err
				}
				if got != want {
					t.Errorf("connection %d: %s = %s, want %s", i, pragma, got, want)
				}
			}
			if _, err := tx.Query(`SELECT "no_such_column" FROM notes_line`); err == nil {
				t.Errorf("connection %d: a misspelt column is a string", i)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}

func TestDuplicateIsConflict(t *testing.T) {
	db := openNotes(t, filepath.Join(t.TempDir(), "state.db"))
	insert(t, db, "one")
	err := db.Update(t.Context(), func(tx *Tx) error {
		_, err := tx.Exec("INSERT INTO notes_line (text) VALUES ('one')")
		return err
	})
	wantError(t, err, pavise.Conflict, "exists already")
}

func TestFilesArePrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	db := openNotes(t, path)
	insert(t, db, "one")
	for _, suffix := range []string{"", "-wal", "-shm", "-lock"} {
		info, err := os.Stat(path + suffix)
		if err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v, %v", suffix, info, err)
		}
	}
}

func TestOpenOddPath(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a b?c#d%41&mode=memory")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "state.db")
	insert(t, openNotes(t, path), "one")
	if info, err := os.Stat(path); err != nil || info.Size() == 0 {
		t.Errorf("state is not in %s: %v", path, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, tt := range []struct {
		name    string
		prepare func(t *testing.T, path string)
		kind    pavise.Kind
		msg     string
	}{
		{"open already", func(t *testing.T, path string) { openNotes(t, path) }, pavise.Conflict, "open in another process"},
		{"readable by others", func(t *testing.T, path string) { writeFile(t, path, nil, 0o644) }, pavise.Invalid, "mode 0644"},
		{"lock readable by others", func(t *testing.T, path string) { writeFile(t, path+"-lock", nil, 0o666) }, pavise.Invalid, "mode 0666"},
		{"symbolic link", func(t *testing.T, path string) {
			if err := os.Symlink(filepath.Join(t.TempDir(), "elsewhere"), path); err != nil {
				t.Fatal(err)
			}
		}, pavise.Invalid, "not a regular file"},
		{"directory", func(t *testing.T, path string) {
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}, pavise.Invalid, "not a regular file"},
		{"not a database", func(t *testing.T, path string) {
			writeFile(t, path, bytes.Repeat([]byte("garbage "), 1000), 0o600)
		}, pavise.Internal, "not a database"},
		{"header overwritten", func(t *testing.T, path string) {
			damage(t, path, func(b []byte) { copy(b, "SQLite format 4") })
		}, pavise.Internal, "not a database"},
		{"schema page overwritten", func(t *testing.T, path string) {
			damage(t, path, func(b []byte) { copy(b[100:4096], bytes.Repeat([]byte{0xff}, 3996)) })
		}, pavise.Internal, "is damaged"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "state.db")
			tt.prepare(t, path)
			_, err := Open(t.Context(), path)
			wantError(t, err, tt.kind, tt.msg)
		})
	}
}

func TestOpenInBadDirectory(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "file"), nil, 0o600)
	paths := map[string]string{"missing": filepath.Join(dir, "no", "state.db"), "a file": filepath.Join(dir, "file", "state.db")}
	if os.Geteuid() != 0 { // root may write anywhere
		readOnly := filepath.Join(dir, "read-only")
		if err := os.Mkdir(readOnly, 0o500); err != nil {
			t.Fatal(err)
		}
		paths["read-only"] = filepath.Join(readOnly, "state.db")
	}
	for name, path := range paths {
		t.Run(name, func(t *testing.T) {
			_, err := Open(t.Context(), path)
			wantError(t, err, pavise.Unavailable, "neither opened nor made")
		})
	}
}

func TestDamagedPage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	db := openNotes(t, path)
	for i := range 200 {
		insert(t, db, strings.Repeat("x", 200)+fmt.Sprint(i))
	}
	close(t, db)
	damage(t, path, func(b []byte) { copy(b[4096*2:], bytes.Repeat([]byte{0xff}, len(b)-4096*2)) })
	db, err := Open(t.Context(), path)
	if err != nil {
		wantError(t, err, pavise.Internal, "damaged")
		return
	}
	defer close(t, db)
	err = db.View(t.Context(), func(tx *Tx) error {
		var n int
		return tx.QueryRow("SELECT sum(length(text)) FROM notes_line").Scan(&n)
	})
	wantError(t, err, pavise.Internal, "is damaged")
}

// TestDiskFull limits the pages of the file: SQLite answers as for a full disk.
func TestDiskFull(t *testing.T) {
	db := openNotes(t, filepath.Join(t.TempDir(), "state.db"))
	insert(t, db, "kept")
	if _, err := db.write.Exec("PRAGMA max_page_count = 8"); err != nil {
		t.Fatal(err)
	}
	err := db.Update(t.Context(), func(tx *Tx) error {
		_, err := tx.Exec("INSERT INTO notes_line (text) VALUES (?)", strings.Repeat("x", 1<<20))
		return err
	})
	wantError(t, err, pavise.Unavailable, "disk is full")
	if got := count(t, db); got != 1 {
		t.Errorf("%d rows, want the one from before", got)
	}
	insert(t, db, "small ones still fit")
}

// TestReserve spends what is kept for acts in the safe direction, and for no others, and
// has it again after the next start.
func TestReserve(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	db := openNotes(t, path)
	if _, err := db.write.Exec("PRAGMA max_page_count = 8"); err != nil {
		t.Fatal(err)
	}
	tries := 0
	long := func(tx *Tx) error {
		tries++
		_, err := tx.Exec("INSERT INTO notes_line (text) VALUES (?)", strings.Repeat("x", 1<<20))
		return err
	}
	reserved := func() bool { info, err := os.Stat(path + "-reserve"); return err == nil && info.Size() == reserveSize }
	wantError(t, db.Update(t.Context(), long), pavise.Unavailable, "disk is full")
	if tries != 1 || !reserved() {
		t.Errorf("an ordinary act spent the reserve, or was tried %d times", tries)
	}
	wantError(t, db.UpdateSafe(t.Context(), long), pavise.Unavailable, "disk is full")
	if tries != 3 || reserved() {
		t.Errorf("an act in the safe direction did not spend the reserve, or was tried %d times", tries-1)
	}
	wantError(t, db.UpdateSafe(t.Context(), long), pavise.Unavailable, "disk is full")
	if tries != 4 {
		t.Errorf("without a reserve it was tried %d times", tries-3)
	}
	close(t, db)
	close(t, openNotes(t, path))
	if !reserved() {
		t.Error("the next start kept no room")
	}
}

func TestClosed(t *testing.T) {
	db := openNotes(t, filepath.Join(t.TempDir(), "state.db"))
	close(t, db)
	wantError(t, db.Update(t.Context(), func(*Tx) error { return nil }), pavise.Unavailable, "is closed")
	wantError(t, db.View(t.Context(), func(*Tx) error { return nil }), pavise.Unavailable, "is closed")
}

// TestCloseWaits closes while a transaction runs, which must still commit, and
// must keep other processes out until it has.
func TestCloseWaits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	db := openNotes(t, path)
	closed := make(chan error)
	err := db.Update(t.Context(), func(tx *Tx) error {
		go func() { closed <- db.Close() }()
		for { // until Close has begun
			if err := db.View(t.Context(), func(*Tx) error { return nil }); err != nil {
				break
			}
		}
		if _, err := Open(t.Context(), path); pavise.KindOf(err) != pavise.Conflict {
			t.Errorf("opened while a transaction was running: %v", err)
		}
		_, err := tx.Exec("INSERT INTO notes_line (text) VALUES ('late')")
		return err
	})
	if err := errors.Join(err, <-closed); err != nil {
		t.Fatal(err)
	}
	if got := count(t, openNotes(t, path)); got != 1 {
		t.Errorf("%d rows, want 1", got)
	}
}

func TestLockIsReleased(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	close(t, openNotes(t, path))
	close(t, openNotes(t, path))
	ctx, cancel := context.WithCancel(t.Context())
	db, err := Open(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	defer close(t, db)
	cancel() // the lock outlives the context of Open
	_, err = Open(t.Context(), path)
	wantError(t, err, pavise.Conflict, "open in another process")
}

// TestAnotherProcess runs this test binary as the other process, which finds
// the database open here, then dies in the middle of a transaction of its own.
func TestAnotherProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	db := openNotes(t, path)
	insert(t, db, "kept")
	if out := other(t, path); !strings.Contains(out, "conflict: state database "+path+" is open in another process") {
		t.Errorf("the other process said %q", out)
	}
	insert(t, db, "still ours")
	close(t, db)
	if out := other(t, path); !strings.Contains(out, "dying with 3 rows") {
		t.Errorf("the other process said %q", out)
	}
	if got := count(t, openNotes(t, path)); got != 2 {
		t.Errorf("%d rows after the crash, want 2", got)
	}
}

const otherEnv = "PAVISE_STORE_TEST_PATH"

func other(t *testing.T, path string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestOtherProcess$")
	cmd.Env = append(os.Environ(), otherEnv+"="+path)
	out, err := cmd.CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 9 {
		t.Fatalf("other process: %v\n%s", err, out)
	}
	return string(out)
}

func TestOtherProcess(t *testing.T) {
	path := os.Getenv(otherEnv)
	if path == "" {
		t.Skip("runs only as the child of TestAnotherProcess")
	}
	db, err := Open(t.Context(), path)
	if err != nil {
		fmt.Printf("%v: %v\n", pavise.KindOf(err), err)
		os.Exit(9)
	}
	err = db.Update(t.Context(), func(tx *Tx) error {
		if _, err := tx.Exec("INSERT INTO notes_line (text) VALUES ('lost')"); err != nil {
			return err
		}
		fmt.Printf("dying with %d rows\n", countIn(t, tx))
		os.Exit(9)
		return nil
	})
	t.Fatal(err)
}

func openNotes(t *testing.T, path string) *DB {
	t.Helper()
	db, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if err := db.Migrate(t.Context(), "notes", notes); err != nil {
		t.Fatal(err)
	}
	return db
}

func close(t *testing.T, db *DB) {
	t.Helper()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func insert(t *testing.T, db *DB, text string) {
	t.Helper()
	err := db.Update(t.Context(), func(tx *Tx) error {
		_, err := tx.Exec("INSERT INTO notes_line (text) VALUES (?)", text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func count(t *testing.T, db *DB) (n int) {
	t.Helper()
	err := db.View(t.Context(), func(tx *Tx) error {
		n = countIn(t, tx)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func countIn(t *testing.T, tx *Tx) (n int) {
	t.Helper()
	if err := tx.QueryRow("SELECT count(*) FROM notes_line").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// damage makes a database at path unless there is one, and edits its bytes.
func damage(t *testing.T, path string, edit func([]byte)) {
	t.Helper()
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		close(t, openNotes(t, path))
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	edit(b)
	writeFile(t, path, b, 0o600)
}

func writeFile(t *testing.T, path string, content []byte, mode fs.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, content, mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // past the umask
		t.Fatal(err)
	}
}

func wantError(t *testing.T, err error, kind pavise.Kind, msg string) {
	t.Helper()
	e, ok := errors.AsType[*pavise.Error](err)
	if !ok {
		t.Fatalf("error = %v, want a *pavise.Error", err)
	}
	if e.Kind != kind || !strings.Contains(e.Msg, msg) || e.Hint == "" {
		t.Errorf("error = %v %q, hint %q; want %v and %q and a hint", e.Kind, e.Msg, e.Hint, kind, msg)
	}
}
