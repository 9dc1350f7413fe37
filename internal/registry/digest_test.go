package registry

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pavise/pavise"
)

// TestVectors holds the digest to the table in docs/formats/model.md, in whatever order the
// files come.
func TestVectors(t *testing.T) {
	text, err := os.ReadFile("../../docs/formats/model.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile("(?m)^\\| ([a-z ]+) \\|(.*)\\| `(sha256:[0-9a-f]{64})` \\|$").FindAllStringSubmatch(string(text), -1)
	if len(rows) != 4 {
		t.Fatalf("%d vectors", len(rows))
	}
	for _, row := range rows {
		var files []File
		for _, f := range regexp.MustCompile("`([^ ]+) ([0-9]+) ([0-9a-f]{64})`").FindAllStringSubmatch(row[2], -1) {
			d, err := ParseDigest("sha256:" + f[3])
			if err != nil {
				t.Fatal(err)
			}
			var size int64
			fmt.Sscan(f[2], &size)
			files = append(files, File{f[1], size, d})
		}
		if got := DigestOf(files); got.String() != row[3] {
			t.Errorf("%s: %s", row[1], got)
		}
		slices.Reverse(files)
		if got := DigestOf(files); got.String() != row[3] {
			t.Errorf("%s, in another order: %s", row[1], got)
		}
	}
}

// TestDigestTells: no two lists of files have one digest, however their parts are cut.
func TestDigestTells(t *testing.T) {
	seen := map[Digest]string{}
	for _, files := range [][]File{
		nil, {{"a", 1, Digest{1}}}, {{"a", 2, Digest{1}}}, {{"a", 1, Digest{2}}}, {{"b", 1, Digest{1}}}, {{"a", 1, Digest{1}}, {"b", 1, Digest{1}}},
		{{"a\n1 " + strings.Repeat("0", 64) + " 1 b", 1, Digest{1}}}, {{"a ", 1, Digest{1}}},
	} {
		d := DigestOf(files)
		if other, is := seen[d]; is {
			t.Errorf("%v and %s have one digest", files, other)
		}
		seen[d] = fmt.Sprint(files)
	}
}

func TestParseRef(t *testing.T) {
	for _, text := range []string{"fraud/1", "a.b-c_d/1000000"} {
		if r, err := ParseRef(text); err != nil || r.String() != text {
			t.Errorf("%s: %v, %v", text, r, err)
		}
	}
	for _, text := range []string{"", "fraud", "fraud/", "fraud/0", "fraud/-1", "fraud/01", "fraud/+1", "fraud/1/2", "/1", "fr@ud/1", "fraud/1000001", "fraud/1 ", strings.Repeat("a", 101) + "/1", "../1"} {
		if r, err := ParseRef(text); pavise.KindOf(err) != pavise.Invalid || r != (Ref{}) {
			t.Errorf("%q: %v, %v", text, r, err)
		}
	}
}

// FuzzParse: what is read as a reference, a name of a version or a digest is spelled in one
// way alone.
func FuzzParse(f *testing.F) {
	for _, text := range []string{"fraud/1", "fraud@1", "a@b/2", "sha256:" + strings.Repeat("0a", 32), "fraud/01", "fraud@01", "SHA256:" + strings.Repeat("0A", 32)} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if r, err := ParseRef(text); err == nil {
			back, ok := RefOf(r.Name("local"))
			if r.String() != text || !ok || back != r || r.Name("local").Validate() != nil {
				t.Errorf("%q is %v, %v", text, r, back)
			}
		}
		name := pavise.Name{Tenant: "local", Kind: Kind, ID: text}
		if r, ok := RefOf(name); ok && (r.Name("local") != name || strings.Contains(r.Model, "@")) {
			t.Errorf("%q is %v", text, r)
		}
		if d, err := ParseDigest(text); err == nil && d != (Digest{}) && d.String() != text {
			t.Errorf("%q is %s", text, d)
		}
	})
}
