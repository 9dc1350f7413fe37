package siem

import (
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/pavise/pavise/internal/outbound"
)

func mustURL(t testing.TB, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// TestDialIsChecked dials, as a name of somewhere else, an address of this machine: the
// name may have led elsewhere when it was put.
func TestDialIsChecked(t *testing.T) {
	r := newReceiver(t)
	for name, c := range map[string]struct {
		reach outbound.Reach
		url   string
		good  bool
	}{
		"this machine":                        {outbound.Reach{Loopback: true}, r.URL, true},
		"this machine, not allowed":           {outbound.Reach{}, r.URL, false},
		"a name that leads to this machine":   {outbound.Reach{Loopback: true}, "https://siem.example.org", false},
		"a name, and the operator says it is": {outbound.Reach{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}, "https://siem.example.org", true},
	} {
		client := c.reach.Client(mustURL(t, c.url), nil)
		answer, err := client.Get(r.URL)
		if err == nil {
			answer.Body.Close()
		}
		if (err == nil) != c.good || err != nil && !strings.Contains(err.Error(), "is this machine") {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && !strings.HasPrefix(outbound.Unreached(err), "127.0.0.1 is this machine") {
			t.Errorf("%s: %s", name, outbound.Unreached(err))
		}
	}
}

// TestCertificateIsChecked speaks TLS with a receiver whose certificate nobody believes.
func TestCertificateIsChecked(t *testing.T) {
	r := newReceiver(t)
	r.Server.Close()
	r.Server = newTLS(t, r)
	w := newWorld(t)
	if _, err := w.Put(t.Context(), operator, Put{Name: "soc", URL: r.URL + "/secret"}); err != nil {
		t.Fatal(err)
	}
	tried, err := w.Test(t.Context(), operator, "soc")
	if err != nil || tried.Taken || tried.Why != "its certificate is not believed" {
		t.Errorf("%+v, %v", tried, err)
	}
	w.cfg.Roots = r.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	w.open(t)
	if tried, err = w.Test(t.Context(), operator, "soc"); err != nil || !tried.Taken {
		t.Errorf("%+v, %v", tried, err)
	}
}
