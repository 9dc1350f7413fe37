package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/record"
)

// TestShredderDies copies the data directory, as the death of the process would leave
// it, at the moment between the record that a key is being shredded and the commit that
// shreds it. The next start shreds it, as the change that was approved, with a receipt.
func TestShredderDies(t *testing.T) {
	data, image := filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "image")
	var armed atomic.Bool
	now := func() time.Time {
		if calledFrom("subject.(*Keys).erase") && armed.CompareAndSwap(true, false) {
			if err := os.CopyFS(image, os.DirFS(data)); err != nil {
				t.Error(err)
			}
		}
		return time.Now()
	}
	u := openUp(t, upConfig{Data: dataDir(data), Now: now})
	s, err := u.subjects.Of(t.Context(), tenant, "alice@example.com")
	if err != nil {
		t.Fatal(err)
	}
	on := pavise.Name{Tenant: tenant, Kind: "subject", ID: s.ID}
	ch, err := u.changes.Propose(t.Context(), u.operator, change.Proposal{Verb: "subject.shred", On: on, Request: json.RawMessage(`{}`)})
	if err != nil {
		t.Fatal(err)
	}
	bob := u.operator
	bob.ID = "bob"
	armed.Store(true)
	if _, err := u.changes.Approve(t.Context(), bob, ch.Name, ch.Digest, ""); err != nil || armed.Load() {
		t.Fatalf("approve: %v; the copy was made: %v", err, !armed.Load())
	}
	keepToOneself(t, image)

	u = openUp(t, upConfig{Data: dataDir(image)})
	if _, err := u.subjects.Key(t.Context(), tenant, s.ID); pavise.KindOf(err) != pavise.NotFound {
		t.Errorf("the key after the start: %v", err)
	}
	if ch, err = u.changes.Show(t.Context(), u.operator, ch.Name); err != nil || ch.State != change.Done {
		t.Errorf("the change: %+v, %v", ch, err)
	}
	receipts := 0
	for _, r := range u.log.Records(0, u.log.Size()) {
		if r.Kind == "subject.shred" && r.Phase == record.Exit && r.Error == nil && strings.Contains(string(r.Detail), s.ID) {
			receipts++
		}
	}
	if receipts != 1 {
		t.Errorf("%d receipts", receipts)
	}
}

// keepToOneself gives a copy the modes of the original, without which no start takes it.
func keepToOneself(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		mode := fs.FileMode(0o600)
		if err == nil && d.IsDir() {
			mode = 0o700
		}
		return errors.Join(err, os.Chmod(path, mode))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// calledFrom reports whether a function is among the callers.
func calledFrom(function string) bool {
	var pcs [32]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for {
		frame, more := frames.Next()
		if strings.Contains(frame.Function, function) {
			return true
		}
		if !more {
			return false
		}
	}
}
