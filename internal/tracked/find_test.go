package tracked

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/store"
)

// TestFindIsBounded cuts pages short that would be long, and goes on where they end; and looks
// in so many experiments, and no more.
func TestFindIsBounded(t *testing.T) {
	db, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	const n = 18
	err = db.Migrate(t.Context(), "runs", []string{`CREATE TABLE mlflow_runs (tenant TEXT NOT NULL, id TEXT NOT NULL, owner TEXT NOT NULL, created INTEGER NOT NULL, doc TEXT NOT NULL, experiment TEXT NOT NULL, PRIMARY KEY (tenant, id)) STRICT`})
	if err == nil {
		err = db.Update(t.Context(), func(tx *store.Tx) error {
			for i := range n {
				doc := fmt.Sprintf(`{"info":{"run_id":"%02d"},"tags":{"long":"%s"}}`, i, strings.Repeat("x", 1<<20))
				if _, err := tx.Exec(`INSERT INTO mlflow_runs VALUES ('a', ?, 'o', ?, ?, '0'), ('b', ?, 'o', ?, '{}', '0')`, fmt.Sprintf("%02d", i), i, doc, fmt.Sprintf("%02d", i), i); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	seen, pages := "", 0
	err = db.View(t.Context(), func(tx *store.Tx) error {
		for from, found := 0, 1; from < found; pages++ {
			all, end, in, err := Runs.Find(tx, "a", Query{Experiments: []string{"0", "7"}, From: from, Most: 100, May: func(id string) bool { return id != "03" }})
			if err != nil || end <= from {
				return fmt.Errorf("from %d to %d: %w", from, end, err)
			}
			from, found = end, in
			for _, r := range all {
				seen += r.Info.ID + " "
			}
		}
		for _, experiments := range [][]string{nil, make([]string, maxWithin+1)} {
			if _, _, _, err := Runs.Find(tx, "a", Query{Experiments: experiments, Most: 1}); pavise.KindOf(err) != pavise.Invalid {
				t.Errorf("in %d experiments: %v", len(experiments), err)
			}
		}
		return nil
	})
	if want := "17 16 15 14 13 12 11 10 09 08 07 06 05 04 02 01 00 "; err != nil || seen != want || pages != 2 {
		t.Errorf("%d pages: %s, want %s: %v", pages, seen, want, err)
	}
}
