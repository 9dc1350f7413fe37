package outbound

import (
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/pavise/pavise"
)

func mustURL(t testing.TB, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// TestReach tells addresses that a receiver may have from others, in every spelling.
func TestReach(t *testing.T) {
	never := []string{
		"169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16", "192.0.0.192", "0.0.0.0", "0.1.2.3", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
		"fe80::1", "fe80::1%eth0", "ff02::1", "::", "fd00:ec2::254", "fd20:ce::254",
		"::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a9fe:a9fe", "2002:a9fe:a9fe::1", "::169.254.169.254",
	}
	for _, text := range never {
		if why := (Reach{Loopback: true}).Refused(netip.MustParseAddr(text), true); why == "" {
			t.Errorf("%s is reached", text)
		}
	}
	for _, text := range []string{"127.0.0.1", "127.255.0.1", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"} {
		ip := netip.MustParseAddr(text)
		if (Reach{}).Refused(ip, true) == "" || (Reach{Loopback: true}).Refused(ip, false) == "" || (Reach{Loopback: true}).Refused(ip, true) != "" {
			t.Errorf("this machine as %s", text)
		}
	}
	for _, text := range []string{"192.0.2.1", "10.0.0.7", "172.16.9.1", "192.168.1.1", "8.8.8.8", "100.64.0.1", "2001:db8::1", "fd12:3456::1", "2606:4700::1111"} {
		if why := (Reach{}).Refused(netip.MustParseAddr(text), false); why != "" {
			t.Errorf("%s: %s", text, why)
		}
	}
	allowed := Reach{Allow: []netip.Prefix{netip.MustParsePrefix("169.254.7.0/24")}}
	if allowed.Refused(netip.MustParseAddr("169.254.7.9"), false) != "" || allowed.Refused(netip.MustParseAddr("169.254.8.9"), false) == "" {
		t.Error("what the operator allows")
	}
}

// addresses that are none, for a start of the fuzzer, too.
var addresses = map[string]bool{ // whether findings may be sent there
	"https://siem.example.org/hook?token=x": true, "https://siem.example.org:8443": true, "https://[2001:db8::1]/": true, "https://10.1.2.3/x": true,
	"http://127.0.0.1:9/x": true, "http://localhost/x": true, "http://[::1]:9/x": true, "https://localhost/": true,
	"": false, "siem.example.org": false, "//siem.example.org": false, "https:siem": false, "https://": false, "https:///x": false,
	"ftp://siem.example.org": false, "file:///etc/passwd": false, "gopher://x": false, "http://siem.example.org/": false, "http://10.0.0.1/": false,
	"https://user:hunter2@siem.example.org": false, "https://siem.example.org/#x": false, "https://siem.example.org/#": false, "https://siem.example.org/a b": false, "https://siem.example.org/\n": false, "https://s\u00efem.example.org/": false,
	"https://169.254.169.254/latest/meta-data/": false, "https://[fe80::1]/": false, "https://[::ffff:169.254.169.254]/": false, "https://0.0.0.0/": false, "http://0.0.0.0/": false,
	"https://siem.example.org/" + strings.Repeat("x", MaxURL): false,
}

// TestAddress reads addresses, and says of those that it refuses no more than the host.
func TestAddress(t *testing.T) {
	for text, good := range addresses {
		_, err := Reach{Loopback: true}.Address(text)
		if (err == nil) != good || err != nil && pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%.80q: %v", text, err)
		}
		if err != nil && (strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "meta-data")) {
			t.Errorf("%.80q is repeated: %v", text, err)
		}
	}
	for _, text := range []string{"http://127.0.0.1:9/x", "http://localhost/x", "https://127.0.0.1/"} {
		if _, err := (Reach{}).Address(text); err == nil {
			t.Errorf("%s, where this machine is not allowed", text)
		}
	}
	allowed := Reach{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32"), netip.MustParsePrefix("10.0.0.0/8")}}
	for text, good := range map[string]bool{
		"http://127.0.0.1:9/x": true, "http://127.0.0.2:9/x": false, "http://localhost/x": false, "http://10.0.0.1/x": false, "https://10.0.0.1/x": true,
	} {
		if _, err := allowed.Address(text); (err == nil) != good {
			t.Errorf("%s, where one address of this machine is allowed: %v", text, err)
		}
	}
}

// FuzzAddress takes no address whose host could be another than the one that is shown.
func FuzzAddress(f *testing.F) {
	for text := range addresses {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		u, err := Reach{Loopback: true}.Address(text)
		if err != nil {
			return
		}
		again := mustURL(t, u.String())
		if u.User != nil || u.Host == "" || again.Host != u.Host || u.Scheme == "http" && !names(u.Hostname()) {
			t.Errorf("%q is %+v", text, u)
		}
		if ip, err := netip.ParseAddr(u.Hostname()); err == nil && (Reach{Loopback: true}).Refused(ip, true) != "" {
			t.Errorf("%q leads to %s", text, ip)
		}
	})
}

// TestProxiesAreNotUsed: one of the environment would dial in our place, unchecked.
func TestProxiesAreNotUsed(t *testing.T) {
	if transport := (Reach{}).Client(mustURL(t, "https://x.example"), nil).Transport.(*http.Transport); transport.Proxy != nil {
		t.Error("the environment's proxy is used")
	}
}

// TestPause waits longer each time, within bounds, and as long as the receiver asks.
func TestPause(t *testing.T) {
	for failed := 1; failed < 70; failed++ {
		want := maxPause
		if failed < 10 {
			want = min(firstPause<<(failed-1), maxPause)
		}
		if got := Pause(failed, 0); got < want*3/4 || got > want*5/4 {
			t.Errorf("after %d: %v, about %v is wanted", failed, got, want)
		}
		if got := Pause(failed, maxAsked); got != maxAsked {
			t.Errorf("asked for an hour: %v", got)
		}
	}
}
