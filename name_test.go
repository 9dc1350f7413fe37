package pavise_test

import (
	"strings"
	"testing"

	"github.com/pavise/pavise"
)

// FuzzParseName reads names as callers write them: what is taken has one spelling, and nothing in it
// that a path, a policy or a line of the log would read otherwise.
func FuzzParseName(f *testing.F) {
	for _, text := range []string{"local/model/threat-detector", "a/b", "a/b/c/d", "../model/x", "a//b", "a/b/.c", "A/B/c@d:e+f-g_h", "a/b/\u00e9", "a/b/c\x00", "a/b/c\n"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := pavise.ParseName(text)
		switch {
		case err != nil && (pavise.KindOf(err) != pavise.Invalid || n != pavise.Name{}):
			t.Fatalf("%q: %+v, %v", text, n, err)
		case err == nil && (n.String() != text || string(n.Append(nil)) != text || len(text) > 3*128+2):
			t.Fatalf("%q is %+v", text, n)
		case err == nil && (strings.ContainsAny(text, "\\%?#*\"'<>&") || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) || strings.Contains(text, "/.")):
			t.Fatalf("%q is taken", text)
		}
	})
}
