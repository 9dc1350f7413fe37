package role

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/config"
)

// TestModelKeys are read from files that nobody else can read, and no error shows one.
func TestModelKeys(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, mode os.FileMode) config.ModelKey {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("sk-secret\n"), mode); err != nil {
			t.Fatal(err)
		}
		return config.ModelKey{Address: "https://" + name, File: path}
	}
	a, b, open := file("a", 0o600), file("b", 0o400), file("open", 0o644)
	keys, err := readModelKeys([]config.ModelKey{a, b})
	if err != nil || keys["https://a"] != "sk-secret" || keys["https://b"] != "sk-secret" {
		t.Errorf("%v, %v", keys, err)
	}
	for name, list := range map[string][]config.ModelKey{"open": {open}, "away": {{Address: "https://c", File: filepath.Join(dir, "c")}}, "twice": {a, a}} {
		if _, err := readModelKeys(list); pavise.KindOf(err) != pavise.Invalid || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
