package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
)

const secret = "a-secret-that-must-not-be-found-again"

// TestEraseLeavesNothing deletes rows of which copies lie in the database, in its log,
// and in an index: afterwards no file holds a byte of them, and the rows between are
// whole.
func TestEraseLeavesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	db := openNotes(t, path)
	for i := range 300 {
		insert(t, db, strings.Repeat("kept ", 40)+string(rune('a'+i%26))+strings.Repeat("x", i))
		if i%30 == 0 {
			insert(t, db, secret+strings.Repeat(" padded", i*20)) // some of them over several pages
		}
		if i == 150 {
			checkpoint(t, db)
		}
	}
	if found := filesWith(t, path, secret); len(found) != 2 {
		t.Fatalf("before, %v hold it; want the database and its log", found)
	}
	if err := db.Erase(t.Context(), deleteSecrets); err != nil {
		t.Fatal(err)
	}
	if found := filesWith(t, path, secret); len(found) != 0 {
		t.Errorf("%v still hold it", found)
	}
	if got := count(t, db); got != 300 {
		t.Errorf("%d rows, want 300", got)
	}
}

func deleteSecrets(tx *Tx) error {
	_, err := tx.Exec("DELETE FROM notes_line WHERE text LIKE ?", secret+"%")
	return err
}

// checkpoint moves what the log holds into the database.
func checkpoint(t *testing.T, db *DB) {
	t.Helper()
	if _, err := db.write.Exec("PRAGMA wal_checkpoint(PASSIVE)"); err != nil {
		t.Fatal(err)
	}
}

// filesWith returns which of a database's files hold a text.
func filesWith(t *testing.T, path, text string) (names []string) {
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
		if bytes.Contains(b, []byte(text)) {
			names = append(names, filepath.Base(name))
		}
	}
	return names
}

// TestEraseBesideAReader deletes while somebody reads an older state, which must stay
// as it is: Erase says so, the rows are gone for everybody else, and the next Erase, of
// nothing, finishes it.
func TestEraseBesideAReader(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	db := openNotes(t, path)
	if _, err := db.write.Exec("PRAGMA busy_timeout = 1"); err != nil { // it would wait for seconds
		t.Fatal(err)
	}
	insert(t, db, secret)
	err := db.View(t.Context(), func(tx *Tx) error {
		if got := countIn(t, tx); got != 1 {
			t.Errorf("the reader sees %d rows", got)
		}
		wantError(t, db.Erase(t.Context(), deleteSecrets), pavise.Unavailable, "somebody reads an older state")
		if got := countIn(t, tx); got != 1 {
			t.Errorf("the reader sees %d rows afterwards", got)
		}
		if got := count(t, db); got != 0 {
			t.Errorf("others see %d rows", got)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Erase(t.Context(), func(*Tx) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if found := filesWith(t, path, secret); len(found) != 0 {
		t.Errorf("%v still hold it", found)
	}
}

// TestEraseWaitsForReaders lets a reader that is done in a moment delay it, and no more.
func TestEraseWaitsForReaders(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	db := openNotes(t, path)
	insert(t, db, secret)
	reads, ended := make(chan struct{}), make(chan error)
	go func() {
		ended <- db.View(context.Background(), func(tx *Tx) error {
			var n int
			err := tx.QueryRow("SELECT count(*) FROM notes_line").Scan(&n)
			reads <- struct{}{}
			time.Sleep(50 * time.Millisecond)
			return err
		})
	}()
	<-reads
	if err := errors.Join(db.Erase(t.Context(), deleteSecrets), <-ended); err != nil {
		t.Fatal(err)
	}
	if found := filesWith(t, path, secret); len(found) != 0 {
		t.Errorf("%v still hold it", found)
	}
}

// TestEraseThatFails changes nothing: when fn fails, when nobody waits any more, and
// when the database is closed.
func TestEraseThatFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	db := openNotes(t, path)
	insert(t, db, secret)
	broken := errors.New("broken")
	err := db.Erase(t.Context(), func(tx *Tx) error { return errors.Join(deleteSecrets(tx), broken) })
	if !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := db.Erase(ctx, deleteSecrets); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if got := count(t, db); got != 1 {
		t.Errorf("%d rows, want 1", got)
	}
	close(t, db)
	wantError(t, db.Erase(t.Context(), deleteSecrets), pavise.Unavailable, "is closed")
}

// TestEveryWriterOverwrites asks each connection that may write, the first and the one
// that takes its place, whether it overwrites what it deletes. The others cannot delete.
func TestEveryWriterOverwrites(t *testing.T) {
	db := openNotes(t, filepath.Join(t.TempDir(), "state.db"))
	db.write.SetConnMaxLifetime(time.Nanosecond) // each is a new one
	for range 3 {
		err := db.Update(t.Context(), func(tx *Tx) error {
			var on string
			err := tx.QueryRow("PRAGMA secure_delete").Scan(&on)
			if on != "1" {
				t.Errorf("secure_delete = %s", on)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for range readers + 1 {
		err := db.View(t.Context(), deleteSecrets)
		wantError(t, err, pavise.Unavailable, "cannot be written")
	}
}

// TestCancelledTransactionSaysSo ends the context within a transaction at different
// points: whatever the driver calls it, the error is the context's, and nothing remains.
func TestCancelledTransactionSaysSo(t *testing.T) {
	db := openNotes(t, filepath.Join(t.TempDir(), "state.db"))
	for i := range 40 {
		ctx, cancel := context.WithCancel(t.Context())
		err := db.Update(ctx, func(tx *Tx) error {
			if _, err := tx.Exec("INSERT INTO notes_line (text) VALUES ('gone')"); err != nil {
				return err
			}
			cancel()
			time.Sleep(time.Duration(i%4) * time.Millisecond / 2) // until the driver has noticed, or not
			if i%2 == 0 {
				return nil
			}
			_, err := tx.Exec("INSERT INTO notes_line (text) VALUES ('too')")
			return err
		})
		if !errors.Is(err, context.Canceled) || errors.Is(err, sql.ErrTxDone) {
			t.Errorf("error %v", err)
		}
	}
	if got := count(t, db); got != 0 {
		t.Errorf("%d rows, want 0", got)
	}
}
