package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/pavise/pavise/internal/installation"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/role"
)

// TestPythonVerifier lets the verifier of docs/formats/proof.md, which is none of our
// code, check proof files of a running log, and refuse what was changed in them.
// PAVISE_PYTHON names a Python that has the package cryptography.
func TestPythonVerifier(t *testing.T) {
	python := os.Getenv("PAVISE_PYTHON")
	if python == "" {
		t.Skip("PAVISE_PYTHON names no Python with the package cryptography")
	}
	v := &verifier{python: python, script: documented(t)}
	vector, err := os.ReadFile("../../internal/ledger/testdata/record.tlog-proof")
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := v.check(t, vector, "ec6212530b7e2573eb52f4126b173618ea72a22262761970441b2d8c1366b920"); !ok || got.On.ID != "m1" {
		t.Errorf("the vector: %v, %+v", ok, got)
	}

	r := runUp(t, role.UpConfig{Data: installation.Data(t.TempDir())})
	for range 300 {
		r.ask(t)
	}
	last := r.ask(t).record
	if err := r.Rooms().Log.AwaitPublished(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	fingerprint := r.Rooms().Log.Keys()[0].Fingerprint()
	var file []byte
	for _, index := range []uint64{0, 7, 255, 256, last} {
		if file, err = r.Rooms().Log.ProofFile(index); err != nil {
			t.Fatal(err)
		}
		want, err := r.Rooms().Log.Read(index)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := v.check(t, file, fingerprint); !ok || got.Kind != want.Kind || !got.At.Equal(want.At) {
			t.Errorf("record %d: %v, %+v", index, ok, got)
		}
	}
	if _, ok := v.check(t, file, strings.Repeat("0", 64)); ok {
		t.Error("it takes another key for the one that is known")
	}
	for what, changed := range changedProofs(file) {
		if got, ok := v.check(t, changed, fingerprint); ok {
			t.Errorf("%s: it accepts %+v", what, got)
		}
	}
}

// changedProofs are what an attacker makes of a proof file.
func changedProofs(file []byte) map[string][]byte {
	line := func(pattern string, change func(string) string) []byte {
		return regexp.MustCompile(pattern).ReplaceAllFunc(file, func(b []byte) []byte { return []byte(change(string(b))) })
	}
	swap := func(s string) string { // one character of base64
		at := len(s) / 2
		return s[:at] + map[bool]string{true: "B", false: "A"}[s[at] == 'A'] + s[at+1:]
	}
	return map[string][]byte{
		"the entry":         line(`(?m)^extra .*$`, func(s string) string { return s[:len(s)-40] + swap(s[len(s)-40:]) }),
		"the index":         line(`(?m)^index .*$`, func(string) string { return "index 1" }),
		"the root":          line(`(?m)^\d+\n.*$`, swap),
		"the size":          line(`(?m)^\d+$`, func(s string) string { return s + "0" }),
		"the origin":        line(`(?m)^pavise\.local`, func(string) string { return "pavise.locam" }),
		"the signatures":    line(`(?m)^— .*$`, swap),
		"no signature":      line(`(?m)^— .*\n`, func(string) string { return "" }),
		"a hash less":       bytes.Replace(file, bytes.SplitAfter(file, []byte("\n"))[3], nil, 1),
		"a hash more":       line(`(?m)^index .*\n`, func(s string) string { return s + strings.Repeat("A", 43) + "=\n" }),
		"not a proof":       []byte("hello\n\nworld"),
		"nothing":           nil,
		"no text":           []byte("\xff\xfe\n\n\x00"),
		"no number":         line(`(?m)^index .*$`, func(string) string { return "index one" }),
		"no base64":         line(`(?m)^extra .*$`, func(s string) string { return s + "*" }),
		"no keys":           line(`(?m)^extra .*$`, func(string) string { return "extra AAAA" }),
		"no checkpoint":     file[:bytes.Index(file, []byte("\n\n"))],
		"the first line":    line(`@v1`, func(string) string { return "@v2" }),
		"half of the entry": line(`(?m)^extra .*$`, func(s string) string { return s[:len(s)/2/4*4] }),
	}
}

// A verifier is the documented one.
type verifier struct{ python, script string }

// documented takes the verifier out of its document.
func documented(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/formats/proof.md")
	if err != nil {
		t.Fatal(err)
	}
	_, code, _ := strings.Cut(string(text), "```python\n")
	code, _, ok := strings.Cut(code, "```\n")
	if !ok {
		t.Fatal("docs/formats/proof.md holds no Python")
	}
	path := filepath.Join(t.TempDir(), "verify.py")
	if err := os.WriteFile(path, []byte(code), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// check returns the record that the verifier prints, and whether it is content.
func (v *verifier) check(t *testing.T, file []byte, fingerprint string) (r record.Record, ok bool) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.tlog-proof")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(v.python, v.script, path, fingerprint).Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		if said := string(exit.Stderr); !strings.HasPrefix(said, "NOT PROVED: ") || strings.Count(said, "\n") != 1 || len(out) > 0 {
			t.Errorf("it says %q and prints %q", said, out)
		}
		return r, false
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out, &r); err != nil {
		t.Errorf("it prints %q: %v", out, err)
	}
	return r, true
}
