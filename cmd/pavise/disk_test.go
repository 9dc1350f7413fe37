package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/audit"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/installation"
	"github.com/pavise/pavise/internal/role"
	"github.com/pavise/pavise/internal/verbs"
)

// TestDiskFullReal fills a real file system, one that PAVISE_TMPFS names and
// that may be filled, under a working pavise: whatever cannot be recorded is
// refused, and once there is space it goes on by itself.
func TestDiskFullReal(t *testing.T) {
	mount := os.Getenv("PAVISE_TMPFS")
	if mount == "" {
		t.Skip("PAVISE_TMPFS names no small file system to fill, for example a tmpfs of 24 MiB")
	}
	data, err := os.MkdirTemp(mount, "data")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(data)
	dir := installation.Data(filepath.Join(data, "pavise"))
	s := &storm{policies: map[string]int{}}
	p := start(t, string(dir), "--person", "another")
	s.begin(t, p)
	if !s.infer(p, 0, 0) {
		t.Fatal(s.faults)
	}
	operator := p.operator(t)
	bob, err := another(p)
	if err != nil {
		t.Fatal(err)
	}
	filler := fill(t, data)
	defer os.Remove(filler)

	full := ""
	for i := 0; full == "" && i < 50000; i++ {
		if !s.infer(p, 0, i) {
			if len(s.faults) == 0 {
				t.Fatal("pavise is gone")
			}
			full = s.faults[0]
		}
	}
	if !strings.Contains(full, "status:503") || !strings.Contains(full, "free space on the disk") {
		t.Fatalf("on a full disk, after %d answers: %s", len(s.answers), full)
	}
	t.Logf("after %d more answers: %s", len(s.answers)-1, full)
	if s.change(t.Context(), operator, bob) {
		t.Error("a policy was changed on a full disk")
	}
	if err := operator.Call(t.Context(), "clock.accept", struct{}{}, nil); err != nil {
		t.Errorf("a verb in the safe direction, which has a reserve: %v", err)
	}
	var ch api.ChangeView
	err = operator.Call(t.Context(), "route.quarantine", verbs.RouteRequest{Name: "local/model/" + role.Sample}, &ch)
	if err != nil || ch.State != change.Ran {
		t.Errorf("a quarantine, for which the database has a reserve, too: %s, %v", ch.State, err)
	}
	err = operator.Call(t.Context(), "route.list", struct{}{}, nil)
	if pavise.KindOf(err) != pavise.Unavailable {
		t.Errorf("route.list on a full disk: %v", err)
	}

	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(10 * time.Second)
	for !s.infer(p, 0, 1) {
		if time.Now().After(deadline) {
			t.Fatalf("it does not go on: %s", s.faults[len(s.faults)-1])
		}
		time.Sleep(50 * time.Millisecond)
	}
	if !s.change(t.Context(), operator, bob) {
		t.Error("no policy can be changed afterwards")
	}
	if a, err := ask(p.Server, p.Token, role.Sample, string(role.SampleRow(0))); err != nil || a.status != 403 {
		t.Errorf("a model in quarantine answers %+v, %v", a, err)
	}
	s.checkPolicies(t, operator)
	p.interrupt(t)
	if report := verify(t, dir); report.Conclusion != audit.Consistent || len(report.Open) > 0 {
		t.Errorf("report %+v", report)
	}
	s.checkLog(t, dir)
}

// fill takes all the space there is, and returns the file that has it.
func fill(t *testing.T, dir string) string {
	t.Helper()
	name := filepath.Join(dir, "filler")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 1<<20); len(block) > 0; {
		n, err := f.Write(block)
		switch {
		case errors.Is(err, syscall.ENOSPC) && n == 0:
			block = block[:len(block)/2]
		case err != nil && !errors.Is(err, syscall.ENOSPC):
			t.Fatal(err)
		}
	}
	return name
}
