package bundle

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
)

// A machine whose clock is wrong is told so, and not that the control plane is away.
func TestUnanswered(t *testing.T) {
	s := httptest.NewTLSServer(http.NotFoundHandler())
	defer s.Close()
	trusting := s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	for _, when := range []time.Time{time.Unix(-1e6, 0), time.Now().AddDate(500, 0, 0)} {
		client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusting, Time: func() time.Time { return when }}}}
		_, err := client.Get(s.URL)
		if err = Unanswered(s.URL, "what runs goes on", err); pavise.KindOf(err) != pavise.Unavailable || !strings.Contains(err.Error(), "is not good now: current time") || strings.Contains(err.Error(), "does not answer") {
			t.Errorf("at %v: %v", when, err)
		}
	}
	_, err := http.Get(s.URL) // and nobody trusts its authority
	if err = Unanswered(s.URL, "what runs goes on", err); !strings.Contains(err.Error(), "does not answer") {
		t.Error(err)
	}
}
