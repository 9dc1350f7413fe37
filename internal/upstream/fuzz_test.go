package upstream

import (
	"net"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/pavise/pavise"
)

// FuzzAddress reads the address of a model server, as whoever may put a route writes it. What
// is taken can be dialled, names one host, and stands in a head and a request line without
// ending either; its own spelling says the same address again.
func FuzzAddress(f *testing.F) {
	for _, text := range []string{
		"http://127.0.0.1:8000", "https://models.internal", "http://[::1]:80/base/", "http://[fe80::1%25eth0]:8000", "HTTP://Example:08",
		"http://a/b/../c//d/./", "http://a/%2f%2e%2e/x", "http://a:99999", "http://a:0", "http://a:", "http://u:p@a", "http://a?b", "http://a?", "http://a#b",
		"http://a%0d%0aX: y", "http://a\r\nb", "http://a b", "http://%61", "http://a%ff", "http://a<b>", "http://a,b:1", "//a", "a:1", "unix:/x", "ftp://a", "http://:80", "http://a:8000/é x", "http://[::1", "http://a:+1",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		a, err := parseAddress(text)
		if err != nil {
			if pavise.KindOf(err) != pavise.Invalid {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		host, port, err := net.SplitHostPort(a.at)
		number, no := strconv.ParseUint(port, 10, 16)
		if err != nil || host == "" || host != a.server || no != nil || number == 0 {
			t.Fatalf("%q is dialled at %q, of %q", text, a.at, a.server)
		}
		for _, part := range []string{a.host, a.base} { // one stands behind "Host: ", the other in the request line
			if strings.ContainsFunc(part, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
				t.Fatalf("%q has %q in it", text, part)
			}
		}
		if strings.ContainsAny(a.host, "/?#@\\\"<>,;") || a.base != "" && a.base[0] != '/' || strings.ContainsAny(a.base, "?#") || strings.HasSuffix(a.base, "/") {
			t.Fatalf("%q is the host %q and the path %q", text, a.host, a.base)
		}
		if u, err := url.Parse(a.url); err != nil || u.Hostname() != a.server || a.secure != (u.Scheme == "https") {
			t.Fatalf("%q is %q", text, a.url)
		}
		if again, err := parseAddress(a.url); err != nil || again != a {
			t.Fatalf("%q is %+v, which is %+v, %v", text, a, again, err)
		}
	})
}
