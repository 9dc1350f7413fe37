package siem

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/pavise/pavise"
)

func newTLS(t *testing.T, h http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewTLSServer(h)
	t.Cleanup(s.Close)
	return s
}

// lines are the messages of the events in files, in order.
func lines(t *testing.T, paths ...string) (all []string) {
	t.Helper()
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			continue
		}
		defer f.Close()
		for s := bufio.NewScanner(f); s.Scan(); {
			var e ocsfEvent
			if err := json.Unmarshal(s.Bytes(), &e); err != nil {
				t.Errorf("%s: %v: %.100q", path, err, s.Bytes())
			}
			all = append(all, e.Message)
		}
	}
	return all
}

// TestFindingsInAFile writes the log's findings from its beginning, goes on where it was
// after a restart, and lets somebody else put the file aside.
func TestFindingsInAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "findings.jsonl")
	w := newWorld(t, func(c *Config) { c.File = path })
	w.finding(t, "local", "finding 0")
	w.finding(t, "acme", "another's")
	w.run(t)
	wait := func(n int, paths ...string) {
		t.Helper()
		until(t, func() bool { return len(lines(t, paths...)) >= n })
	}
	wait(1, path)
	w.stop()
	w.finding(t, "local", "finding 1")
	w.open(t)
	w.run(t)
	wait(2, path)
	aside := path + ".yesterday"
	if err := os.Rename(path, aside); err != nil {
		t.Fatal(err)
	}
	w.finding(t, "local", "finding 2")
	wait(3, aside, path)
	if got := lines(t, aside, path); !slices.Equal(got, numbered("finding", 0, 3)) {
		t.Errorf("%q", got)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	w.stop()
	w.cfg.File = "" // nobody wants them any more
	w.open(t)
	if backlogs, err := w.cfg.Feeds.Backlogs(t.Context(), "local"); err != nil || len(backlogs) != 0 {
		t.Errorf("%v, %v", backlogs, err)
	}
}

// some is a batch of one telling, with a summary.
func some(t *testing.T, summary string) []telling {
	t.Helper()
	f, ok := Worth(1, refusal("local", "ci", "gate", summary, testTime))
	if !ok {
		t.Fatal("no finding")
	}
	return []telling{{Finding: f}}
}

// TestFileIsPutAside keeps so many files and no more.
func TestFileIsPutAside(t *testing.T) {
	dir := t.TempDir()
	o := &file{path: filepath.Join(dir, "f"), most: 4 << 10, spell: speller{"example.test/log", "1"}}
	defer o.close()
	for i := range 100 {
		if err := o.tell(t.Context(), &state{}, some(t, fmt.Sprint("finding ", i))); err != nil {
			t.Fatal(err)
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != maxFiles+1 {
		t.Errorf("%v, %v", files, err)
	}
	var paths []string
	for n := maxFiles; n > 0; n-- {
		paths = append(paths, o.aside(n))
	}
	got := lines(t, append(paths, o.path)...)
	if want := numbered("finding", 100-len(got), 100); !slices.Equal(got, want) || len(got) < 10 {
		t.Errorf("%q", got)
	}
	for _, f := range files {
		if info, err := f.Info(); err != nil || info.Size() > o.most {
			t.Errorf("%s is %d bytes long", f.Name(), info.Size())
		}
	}
}

// TestTornLineIsCut goes on behind the last whole line.
func TestTornLineIsCut(t *testing.T) {
	line := string(speller{"example.test/log", "1"}.line(some(t, "finding 0")[0]))
	for name, before := range map[string]string{"nothing": "", "a whole line": line, "a torn line": line + line[:40], "only a torn line": line[:40]} {
		path := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(path, []byte(before), 0o600); err != nil {
			t.Fatal(err)
		}
		o := &file{path: path, most: maxFile, spell: speller{"example.test/log", "1"}}
		if err := o.tell(t.Context(), &state{}, some(t, "finding 1")); err != nil {
			t.Fatal(err)
		}
		o.close()
		want := strings.Count(before, "\n") + 1
		if got := lines(t, path); len(got) != want || got[want-1] != "finding 1" {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// TestFileRefuses what is no plain file, and says what to do.
func TestFileRefuses(t *testing.T) {
	dir := t.TempDir()
	victim := filepath.Join(dir, "victim")
	if err := os.WriteFile(victim, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	link, pipe := filepath.Join(dir, "link"), filepath.Join(dir, "pipe")
	if err := os.Symlink(victim, link); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	long := filepath.Join(dir, "long")
	if err := os.WriteFile(long, bytes.Repeat([]byte("x"), 80<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{link, pipe, dir, long, filepath.Join(dir, "absent", "f"), "/dev/full"} {
		o := &file{path: path, most: maxFile}
		err := o.tell(t.Context(), &state{}, some(t, "x"))
		if pavise.KindOf(err) != pavise.Unavailable || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
		o.close()
	}
	if info, err := os.Stat(victim); err != nil || info.Size() != 0 {
		t.Error("it was written through the link")
	}
}
