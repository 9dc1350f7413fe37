package store

import (
	"path/filepath"
	"testing"

	"github.com/pavise/pavise"
)

var thread = []string{
	"CREATE TABLE thread_a (n INTEGER) STRICT; CREATE INDEX thread_a_n ON thread_a (n)",
	"ALTER TABLE thread_a ADD COLUMN m INTEGER",
	"CREATE TABLE thread_b (n INTEGER) STRICT",
}

func TestMigrateGrows(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	for n := range len(thread) + 1 {
		db := openNotes(t, path)
		if err := db.Migrate(t.Context(), "thread", thread[:n]); err != nil {
			t.Fatalf("%d steps: %v", n, err)
		}
		ran, err := db.ran(t.Context(), "thread")
		if err != nil || len(ran) != n {
			t.Fatalf("ran %d steps, %v; want %d", len(ran), err, n)
		}
		close(t, db)
	}
}

func TestMigrateRefuses(t *testing.T) {
	for _, tt := range []struct {
		name  string
		steps []string
		msg   string
	}{
		{"a newer database", thread[:2], "is at step 3 of room thread, and this build knows 2"},
		{"no steps at all", nil, "is at step 3 of room thread, and this build knows 0"},
		{"an edited step", []string{thread[0], thread[1] + " ", thread[2]}, "another text of step 2 of room thread"},
		{"swapped steps", []string{thread[0], thread[2], thread[1]}, "another text of step 2"},
		{"an edited step before a new one", []string{thread[0] + ";", thread[1], thread[2], "CREATE TABLE thread_c (n INTEGER)"}, "another text of step 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			db := openNotes(t, filepath.Join(t.TempDir(), "state.db"))
			if err := db.Migrate(t.Context(), "thread", thread); err != nil {
				t.Fatal(err)
			}
			wantError(t, db.Migrate(t.Context(), "thread", tt.steps), pavise.Conflict, tt.msg)
			if ran, err := db.ran(t.Context(), "thread"); err != nil || len(ran) != 3 {
				t.Errorf("ran %d steps, %v; want 3", len(ran), err)
			}
		})
	}
}

// TestMigrateStepIsWhole has a step whose second statement fails: the first must
// leave no trace, and the corrected step must run.
func TestMigrateStepIsWhole(t *testing.T) {
	db := openNotes(t, filepath.Join(t.TempDir(), "state.db"))
	broken := []string{thread[0], "CREATE TABLE thread_half (n INTEGER); CREATE TABLE thread_a (n INTEGER)"}
	if err := db.Migrate(t.Context(), "thread", broken); err == nil {
		t.Fatal("a step that cannot run was accepted")
	}
	fixed := []string{thread[0], "CREATE TABLE thread_half (n INTEGER)"}
	if err := db.Migrate(t.Context(), "thread", fixed); err != nil {
		t.Errorf("after the failed step: %v", err)
	}
}

func TestMigrateKeepsRoomsApart(t *testing.T) {
	db := openNotes(t, filepath.Join(t.TempDir(), "state.db"))
	if err := db.Migrate(t.Context(), "thread", thread); err != nil {
		t.Fatal(err)
	}
	if err := db.Migrate(t.Context(), "notes", notes); err != nil {
		t.Errorf("room notes was disturbed: %v", err)
	}
	err := db.Update(t.Context(), func(tx *Tx) error {
		_, err := tx.Exec("UPDATE store_migrations SET digest = 'x' WHERE room = 'thread'")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, db.Migrate(t.Context(), "thread", thread), pavise.Conflict, "another text of step 1")
	if err := db.Migrate(t.Context(), "notes", notes); err != nil {
		t.Errorf("room notes was disturbed: %v", err)
	}
}
