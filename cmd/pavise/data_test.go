package main

import (
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
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
)

// TestKilledServersAccess leaves access.json behind, as kill -9 does, while
// another program answers on the server's port.
func TestKilledServersAccess(t *testing.T) {
	thief := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("%s with %q", r.URL, r.Header.Get("Authorization"))
	}))
	defer thief.Close()
	dir := dataDir(t.TempDir())
	r := runUp(t, upConfig{Data: dir})
	if _, err := dir.readAccess(); err != nil {
		t.Fatal(err)
	}
	r.stop()
	left := access{Server: thief.URL, Token: r.access.Token, Expires: r.access.Expires}
	if err := dir.writeAccess(left); err != nil {
		t.Fatal(err)
	}
	code, _, stderr := pavised(t, "--data", string(dir), "ledger", "status")
	if code != 8 || !strings.Contains(stderr, "no server runs on") || !strings.Contains(stderr, "hint: start one with "+dir.command("up")+", or") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
	openUp(t, upConfig{Data: dir}) // has not granted access yet
	code, _, stderr = pavised(t, "--data", string(dir), "ledger", "status")
	if code != 8 {
		t.Errorf("while the next one starts: exit code %d\n%s", code, stderr)
	}
}

// TestAccessFollowsNoLink plants a link where access.json is made.
func TestAccessFollowsNoLink(t *testing.T) {
	dir := dataDir(t.TempDir())
	victim := filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(victim, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"access.json", "access.json.new"} {
		if err := os.Symlink(victim, dir.path(name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := dir.writeAccess(access{Token: "secret"}); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(victim); err != nil || string(text) != "mine" {
		t.Errorf("the token went to %q, %v", text, err)
	}
	info, err := os.Lstat(dir.path("access.json"))
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("access.json is %v, %v", info.Mode(), err)
	}
}

// TestAccessIsAPlainFile puts other things in the place of access.json.
func TestAccessIsAPlainFile(t *testing.T) {
	dir := dataDir(t.TempDir())
	r := runUp(t, upConfig{Data: dir})
	good, err := json.Marshal(r.access)
	if err != nil {
		t.Fatal(err)
	}
	path := dir.path("access.json")
	for name, plant := range map[string]func() error{
		"pipe":      func() error { return syscall.Mkfifo(path, 0o600) },
		"directory": func() error { return os.Mkdir(path, 0o700) },
		"link": func() error {
			elsewhere := filepath.Join(t.TempDir(), "access")
			if err := os.WriteFile(elsewhere, good, 0o600); err != nil {
				return err
			}
			return os.Symlink(elsewhere, path)
		},
		"endless": func() error {
			return os.WriteFile(path, append(bytes.Repeat([]byte(" "), maxAccess), good...), 0o600)
		},
	} {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := plant(); err != nil {
			t.Fatal(err)
		}
		read := make(chan error, 1)
		go func() { _, err := dir.readAccess(); read <- err }()
		select {
		case err := <-read:
			if pavise.KindOf(err) != pavise.Invalid {
				t.Errorf("%s: %v", name, err)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: it waits", name)
		}
	}
}

// TestDataDirOfOthers refuses a directory where others may put files.
func TestDataDirOfOthers(t *testing.T) {
	refused := func(dir dataDir, word string) {
		t.Helper()
		_, opened := dir.open()
		_, read := dir.readAccess()
		for _, err := range []error{opened, read} {
			if pavise.KindOf(err) != pavise.Denied || !strings.Contains(err.Error(), word) {
				t.Errorf("%s: %v", dir, err)
			}
		}
	}
	for _, mode := range []os.FileMode{0o777, 0o775, 0o702, 0o777 | os.ModeSticky} {
		dir := t.TempDir()
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		refused(dataDir(dir), "other users may write")
	}
	theirs := "/usr"
	if os.Geteuid() == 0 {
		theirs = t.TempDir()
		if err := os.Chown(theirs, 12345, 12345); err != nil {
			t.Skipf("even root may give no directory to another user here: %v", err)
		}
	}
	refused(dataDir(theirs), "belongs to another user")
}

// TestMissingKeys takes keys away that others, or the log, were made with. A
// start is refused, and makes nothing in their place.
func TestMissingKeys(t *testing.T) {
	for name, c := range map[string]struct {
		removed []string
		msg     string
	}{
		"kek":               {[]string{"kek"}, "kek is missing and %s holds keys sealed under it"},
		"kek, log's left":   {[]string{"kek", "token.key", "ledger"}, "kek is missing and %s holds keys sealed under it"},
		"kek, token's left": {[]string{"kek", "log.key", "ledger"}, "kek is missing and %s holds keys sealed under it"},
		"all keys":          {[]string{"kek", "log.key", "token.key"}, "kek is missing and %s holds a log whose records are sealed under it"},
		"log.key":           {[]string{"log.key"}, "log.key is missing and %s holds a log signed with it"},
	} {
		dir := dataDir(t.TempDir())
		openUp(t, upConfig{Data: dir}).Close()
		for _, file := range c.removed {
			if err := os.RemoveAll(dir.path(file)); err != nil {
				t.Fatal(err)
			}
		}
		before := tree(t, dir)
		code, stdout, stderr := pavised(t, "up", "--data", string(dir), "--listen", "127.0.0.1:0")
		want := "pavise: error: " + fmt.Sprintf(c.msg, dir) + "\npavise: hint: restore " + dir.path(c.removed[0]) + " from a backup\n"
		if code != 7 || stdout != "" || stderr != want {
			t.Errorf("%s: exit code %d\n%s%s, want %s", name, code, stdout, stderr, want)
		}
		if after := tree(t, dir); !slices.Equal(before, after) {
			t.Errorf("%s: there was %q, and now is %q", name, before, after)
		}
	}
}

// tree names every file of a directory.
func tree(t *testing.T, dir dataDir) (names []string) {
	t.Helper()
	err := filepath.WalkDir(string(dir), func(path string, _ os.DirEntry, err error) error {
		names = append(names, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestCellsStayCells shows a name that would make a row of its own.
func TestCellsStayCells(t *testing.T) {
	const answer = `{"events":[{"index":1,"record":{"kind":"model.infer\n2\t00:00:00\thuman/op","who":{"kind":"workload","id":"a\nb\tc\fd\u000be"},"verdicts":[{"check":"x\n","outcome":"deny","reason":"y\tz"}]}}]}`
	var a api.ListAnswer
	if err := json.Unmarshal([]byte(answer), &a); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	printRecords(&out, &api.ListRequest{}, a)
	if lines := strings.Count(out.String(), "\n"); lines != 2 || strings.ContainsAny(out.String(), "\t\f\v") {
		t.Errorf("%d lines: %q", lines, out.String())
	}
}
