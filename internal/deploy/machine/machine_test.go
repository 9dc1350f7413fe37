package machine

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise/internal/deploy"
	"github.com/pavise/pavise/internal/seal"
	"github.com/pavise/pavise/internal/store"
)

// TestHeardAhead has a machine heard of last by a clock that was ahead: once that is put right,
// nobody knows when it was, and it is not taken for well until the clock has caught up.
func TestHeardAhead(t *testing.T) {
	db, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if _, err := deploy.Open(t.Context(), deploy.Config{Store: db}); err != nil { // which makes the tables
		t.Fatal(err)
	}
	kek, err := seal.OpenFileKEK(filepath.Join(t.TempDir(), "kek"))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 28, 6, 0, 0, 0, time.UTC)
	edges := New(Config{Store: db, KEK: kek, Dir: filepath.Join(t.TempDir(), "edge"), Origin: "control.example", Now: func() time.Time { return now }})
	name := target("edge-1")
	e, err := edges.Driver().Open(name, map[string]string{"agent": "workload/edge-1"})
	if err != nil {
		t.Fatal(err)
	}
	well := func(what string, want bool) {
		t.Helper()
		if s, err := e.Observe(t.Context()); err != nil || s.Healthy != want || strings.Contains(s.Problem, "not heard of since") == want {
			t.Errorf("%s: %+v, %v", what, s, err)
		}
	}
	keep := func(at time.Time) {
		t.Helper()
		err := db.Update(t.Context(), func(tx *store.Tx) error {
			return deploy.Remember(tx, name, kept{Report: &Report{Target: name, Healthy: true}, At: at})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	keep(now.Add(-time.Minute))
	well("a minute ago", true)
	keep(now.Add(5 * 24 * time.Hour))
	well("in five days", false)
	edges.heard[name] = now.Add(-time.Minute)
	well("and a minute ago", true)
	edges.heard[name] = now.Add(5 * 24 * time.Hour)
	well("in five days, in this process", false)
}
