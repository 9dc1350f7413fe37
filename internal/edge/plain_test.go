package edge

import (
	"net/url"
	"path"
	"strings"
	"testing"
)

// FuzzPlain shows that what is plain at the first look is so at the second.
func FuzzPlain(f *testing.F) {
	for _, p := range []string{"/", "//", "/v2/models/m/infer", "/a/", "/a/./b", "/a%2fb", "/A-_9", "/a@b", "/a[", "/a`", "", "a", "/\x01"} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p string) {
		if !isPlain(p) {
			return
		}
		if path.Clean(p) != p || strings.ContainsAny(p, "\\\x00") || (&url.URL{Path: p}).EscapedPath() != p {
			t.Fatalf("%q is not plain", p)
		}
	})
}
