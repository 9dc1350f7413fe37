package login

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
)

// TestKept keeps tokens for two servers, finds each and the last one, and forgets them.
func TestKept(t *testing.T) {
	home := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", home)
	t.Setenv("HOME", home)
	if _, ok, err := Find(""); ok || err != nil {
		t.Fatalf("before any login: %t, %v", ok, err)
	}
	if _, err := Forget(""); pavise.KindOf(err) != pavise.NotFound {
		t.Errorf("before any login: %v", err)
	}
	a := Kept{Server: "https://a.example", Token: "secret-a"}
	b := Kept{Server: "https://b.example/", Token: "secret-b", Expires: time.Now().Add(time.Hour).UTC()}
	for _, k := range []Kept{a, b} {
		if err := Keep(k); err != nil {
			t.Fatal(err)
		}
	}
	for server, want := range map[string]string{"": "secret-b", "https://a.example": "secret-a", "https://a.example/": "secret-a", "https://b.example": "secret-b"} {
		if k, ok, err := Find(server); !ok || err != nil || k.Token != want {
			t.Errorf("for %q: %v, %t, %v", server, k, ok, err)
		}
	}
	if _, ok, err := Find("https://c.example"); ok || err != nil {
		t.Errorf("for a stranger: %t, %v", ok, err)
	}
	where := filepath.Join(home, "pavise", "logins")
	files, err := os.ReadDir(where)
	if err != nil || len(files) != 3 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, f := range files {
		if info, err := f.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, %v", f.Name(), info.Mode(), err)
		}
	}
	if server, err := Forget(""); err != nil || server != "https://b.example" {
		t.Errorf("forgotten is %q, %v", server, err)
	}
	if _, ok, err := Find(""); ok || err != nil {
		t.Errorf("after logout: %t, %v", ok, err)
	}
	if _, err := Forget("https://a.example"); err != nil {
		t.Error(err)
	}
	if s := fmt.Sprintf("%v %+v %#v", a, a, a); strings.Contains(s, "secret") {
		t.Errorf("a token prints as %s", s)
	}
}

func TestKeptRefuses(t *testing.T) {
	for _, tt := range []struct {
		name string
		edit func(where, file string) error
		kind pavise.Kind
	}{
		{"a directory that others look into", func(where, _ string) error { return os.Chmod(where, 0o755) }, pavise.Denied},
		{"a link", func(where, file string) error {
			if err := os.Rename(file, file+".real"); err != nil {
				return err
			}
			return os.Symlink(file+".real", file)
		}, pavise.Invalid},
		{"rubbish", func(_, file string) error { return os.WriteFile(file, []byte("{"), 0o600) }, pavise.Invalid},
		{"another server's", func(_, file string) error {
			return os.WriteFile(file, []byte(`{"server":"https://b","token":"x"}`), 0o600)
		}, pavise.Invalid},
		{"one that has ended", func(_, file string) error {
			return os.WriteFile(file, []byte(`{"server":"https://a","token":"x","expires":"2020-01-01T00:00:00Z"}`), 0o600)
		}, pavise.Unverified},
	} {
		t.Run(tt.name, func(t *testing.T) {
			home := t.TempDir()
			t.Setenv("XDG_CONFIG_HOME", home)
			t.Setenv("HOME", home)
			if err := Keep(Kept{Server: "https://a", Token: "x"}); err != nil {
				t.Fatal(err)
			}
			where := filepath.Join(home, "pavise", "logins")
			if err := tt.edit(where, file(where, "https://a")); err != nil {
				t.Fatal(err)
			}
			if _, ok, err := Find("https://a"); ok || pavise.KindOf(err) != tt.kind {
				t.Errorf("%t, %v, want %v", ok, err, tt.kind)
			}
		})
	}
}
