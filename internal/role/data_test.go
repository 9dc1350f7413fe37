package role

import (
	"bytes"
	"encoding/json"
	"errors"
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
	"github.com/pavise/pavise/internal/installation"
	"github.com/pavise/pavise/internal/verbs"
)

// TestKilledServersAccess leaves access.json behind, as kill -9 does, while
// another program answers on the server's port.
func TestKilledServersAccess(t *testing.T) {
	thief := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("%s with %q", r.URL, r.Header.Get("Authorization"))
	}))
	defer thief.Close()
	dir := installation.Data(t.TempDir())
	r := runUp(t, UpConfig{Data: dir})
	if _, err := dir.ReadAccess(""); err != nil {
		t.Fatal(err)
	}
	r.stop()
	left := installation.Access{Server: thief.URL, Token: r.access.Token, Expires: r.access.Expires}
	if err := dir.WriteAccess("", left); err != nil {
		t.Fatal(err)
	}
	_, err := dir.ReadAccess("")
	e, ok := errors.AsType[*pavise.Error](err)
	if !ok || e.Kind != pavise.Unavailable || !strings.HasPrefix(e.Msg, "no server runs on") || !strings.HasPrefix(e.Hint, "start one with "+dir.Command("up")+", or") {
		t.Errorf("the access is %v", err)
	}
	openUp(t, UpConfig{Data: dir}) // has not granted access yet
	if _, err := dir.ReadAccess(""); pavise.KindOf(err) != pavise.Unavailable {
		t.Errorf("while the next one starts: %v", err)
	}
}

// TestAccessFollowsNoLink plants a link where access.json is made.
func TestAccessFollowsNoLink(t *testing.T) {
	dir := installation.Data(t.TempDir())
	victim := filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(victim, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"access.json", "access.json.new"} {
		if err := os.Symlink(victim, dir.Path(name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := dir.WriteAccess("", installation.Access{Token: "secret"}); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(victim); err != nil || string(text) != "mine" {
		t.Errorf("the token went to %q, %v", text, err)
	}
	info, err := os.Lstat(dir.Path("access.json"))
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("access.json is %v, %v", info.Mode(), err)
	}
}

// TestAccessIsAPlainFile puts other things in the place of access.json.
func TestAccessIsAPlainFile(t *testing.T) {
	dir := installation.Data(t.TempDir())
	r := runUp(t, UpConfig{Data: dir})
	good, err := json.Marshal(r.access)
	if err != nil {
		t.Fatal(err)
	}
	path := dir.Path("access.json")
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
			return os.WriteFile(path, append(bytes.Repeat([]byte(" "), 64<<10), good...), 0o600)
		},
	} {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := plant(); err != nil {
			t.Fatal(err)
		}
		read := make(chan error, 1)
		go func() { _, err := dir.ReadAccess(""); read <- err }()
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
	refused := func(dir installation.Data, word string) {
		t.Helper()
		_, opened := dir.Open()
		_, read := dir.ReadAccess("")
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
		refused(installation.Data(dir), "other users may write")
	}
	theirs := "/usr"
	if os.Geteuid() == 0 {
		theirs = t.TempDir()
		if err := os.Chown(theirs, 12345, 12345); err != nil {
			t.Skipf("even root may give no directory to another user here: %v", err)
		}
	}
	refused(installation.Data(theirs), "belongs to another user")
}

// TestMissingKeys takes keys away that others, or the log, were made with. A
// start is refused, and makes nothing in their place.
func TestMissingKeys(t *testing.T) {
	t.Parallel()
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
		dir := installation.Data(t.TempDir())
		openUp(t, UpConfig{Data: dir}).Close()
		for _, file := range c.removed {
			if err := os.RemoveAll(dir.Path(file)); err != nil {
				t.Fatal(err)
			}
		}
		before := tree(t, dir)
		_, err := NewUp(t.Context(), UpConfig{Data: dir, Listen: "127.0.0.1:0", Now: time.Now})
		e, ok := errors.AsType[*pavise.Error](err)
		if !ok || e.Kind != pavise.Unverified || e.Msg != fmt.Sprintf(c.msg, dir) || e.Hint != "restore "+dir.Path(c.removed[0])+" from a backup" {
			t.Errorf("%s: %v", name, err)
		}
		if after := tree(t, dir); !slices.Equal(before, after) {
			t.Errorf("%s: there was %q, and now is %q", name, before, after)
		}
	}
}

// tree names every file of a directory.
func tree(t *testing.T, dir installation.Data) (names []string) {
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

// TestAccessOutlivesARevocation revokes everybody's tokens: whoever started the process
// soon has another.
func TestAccessOutlivesARevocation(t *testing.T) {
	t.Parallel()
	dir := installation.Data(t.TempDir())
	r := runUp(t, UpConfig{Data: dir})
	before, err := dir.ReadAccess("")
	if err != nil {
		t.Fatal(err)
	}
	client := &api.Client{Base: before.Server, Token: before.Token}
	if err := client.Call(t.Context(), "issuer.revoke", verbs.RevokeRequest{All: true, Reason: "drill"}, nil); err != nil {
		t.Fatal(err)
	}
	if err := client.Call(t.Context(), "policy.list", api.Empty{}, nil); pavise.KindOf(err) != pavise.Unverified {
		t.Errorf("the old token: %v", err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		now, err := dir.ReadAccess("")
		if err == nil {
			err = (&api.Client{Base: r.Server, Token: now.Token}).Call(t.Context(), "policy.list", api.Empty{}, nil)
		}
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("no new token: %v", err)
		}
	}
}
