package seal

import (
	"bytes"
	"encoding/hex"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/pavise/pavise"
)

// constants returns the constants of a type that a file of this package declares: a new
// one takes part in these tests by being there.
func constants(t *testing.T, path, typ string) []string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var values []string
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if of, ok := spec.Type.(*ast.Ident); ok && of.Name == typ {
			value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			values = append(values, value)
		}
		return true
	})
	if len(values) < 5 {
		t.Fatalf("%s declares %v", path, values)
	}
	return values
}

// TestEveryLabelHasAVector holds the list of labels against the vectors, and derives
// another key for each in the same context.
func TestEveryLabelHasAVector(t *testing.T) {
	pinned := map[string]bool{}
	for _, v := range readVectors(t, "testdata/derive.txt") {
		pinned[v.one("label")] = true
	}
	key := mustKey(t, bytes.Repeat([]byte{7}, KeySize))
	seen := map[KeyID]string{key.ID(): "the key itself"}
	for _, label := range constants(t, "key.go", "Label") {
		if !pinned[label] {
			t.Errorf("no vector of testdata/derive.txt derives %s", label)
		}
		id := key.Derive(Label(label), "local").ID()
		if before, ok := seen[id]; ok {
			t.Errorf("%s and %s derive one key", label, before)
		}
		seen[id] = label
	}
}

// TestKeysOfATenantAreDistinct derives what the KEK gives out for two tenants: no two of
// these keys are one, and each is the same the next time.
func TestKeysOfATenantAreDistinct(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kek")
	kek, again := openKEK(t, path), openKEK(t, path)
	keys := func(k *KEK, tenant string) map[string]*Key {
		wrap, handle := k.Subjects(tenant)
		return map[string]*Key{tenant + " record": k.Tenant(tenant), tenant + " wrap": wrap, tenant + " handle": handle}
	}
	seen := map[KeyID]string{kek.ID(): "the KEK", kek.files.ID(): "the key of files"}
	for _, tenant := range []string{"acme", "other", ""} {
		second := keys(again, tenant)
		for what, key := range keys(kek, tenant) {
			if before, ok := seen[key.ID()]; ok {
				t.Errorf("%s is %s", what, before)
			}
			if seen[key.ID()] = what; second[what].ID() != key.ID() {
				t.Errorf("%s is another the next time", what)
			}
		}
	}
}

// TestMACVectors runs testdata/mac.txt.
func TestMACVectors(t *testing.T) {
	seen := map[string]string{}
	for _, v := range readVectors(t, "testdata/mac.txt") {
		got := hex.EncodeToString(mustKey(t, v.bytes(t, "key")).MAC(string(v.bytes(t, "text"))))
		if got != v.one("mac") {
			t.Errorf("%s: %s, want %s", v.one("name"), got, v.one("mac"))
		}
		if before, ok := seen[got]; ok {
			t.Errorf("%s and %s have one MAC", v.one("name"), before)
		}
		seen[got] = v.one("name")
	}
	if len(seen) < 5 {
		t.Errorf("%d vectors", len(seen))
	}
}

// TestHandleFindsAName derives, from the vectors' key, the handle under which a tenant's
// subject is found: the label, its context and the MAC together.
func TestHandleFindsAName(t *testing.T) {
	root := mustKey(t, bytes.Repeat([]byte{0x42}, KeySize))
	_, handle := (&KEK{root: root}).Subjects("local")
	for _, v := range readVectors(t, "testdata/mac.txt") {
		if v.one("name") == "the handle of a subject of tenant local" {
			if got := hex.EncodeToString(handle.MAC("maria")); got != v.one("mac") {
				t.Errorf("the handle is %s, want %s", got, v.one("mac"))
			}
			return
		}
	}
	t.Error("no vector of a handle")
}

// TestPurposesAreApart makes a key file for each purpose: it loads for that one and for
// no other.
func TestPurposesAreApart(t *testing.T) {
	dir := t.TempDir()
	kek := openKEK(t, filepath.Join(dir, "kek"))
	purposes := constants(t, "kek.go", "Purpose")
	for i, made := range purposes {
		if slices.Contains(purposes[:i], made) {
			t.Errorf("two purposes are %q", made)
		}
		path := filepath.Join(dir, made+".key")
		create(t, kek, path, Purpose(made))
		for _, wanted := range purposes {
			_, err := kek.LoadOrCreate(path, Purpose(wanted), mustNotGenerate(t))
			if made == wanted && err != nil || made != wanted && pavise.KindOf(err) != pavise.Unverified {
				t.Errorf("made for %s, wanted for %s: %v", made, wanted, err)
			}
		}
	}
}
