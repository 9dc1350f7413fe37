package verbs

import (
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/issuer"
)

// TestRevokedCallersAreOut revokes a caller and then everybody: their next requests are
// refused, and new tokens work.
func TestRevokedCallersAreOut(t *testing.T) {
	w := newWorld(t)
	olga, bob := w.person(t, "olga", "operator"), w.person(t, "bob", "operator")
	var made issuer.Token
	if err := bob.Call(t.Context(), "issuer.mint", MintRequest{Subject: "job", Role: []string{"operator"}}, &made); err != nil {
		t.Fatal(err)
	}
	job := &api.Client{Base: w.server.URL, Token: made.Value}
	refused := func(c *api.Client, want bool) {
		t.Helper()
		if err := c.Call(t.Context(), "policy.list", api.Empty{}, nil); (err != nil) != want || want && pavise.KindOf(err) != pavise.Unverified {
			t.Errorf("refused: %v, want %t", err, want)
		}
	}
	refused(bob, false)
	refused(job, false)
	if err := olga.Call(t.Context(), "issuer.revoke", RevokeRequest{Principal: pavise.Name{Tenant: "local", Kind: "human", ID: "bob"}, Reason: "lost"}, nil); err != nil {
		t.Fatal(err)
	}
	refused(bob, true)
	refused(job, true) // bob had it made
	refused(olga, false)
	if err := olga.Call(t.Context(), "issuer.revoke", RevokeRequest{}, nil); pavise.KindOf(err) != pavise.Invalid {
		t.Errorf("a revocation of nothing: %v", err)
	}
	if err := olga.Call(t.Context(), "issuer.revoke", RevokeRequest{All: true}, nil); err != nil {
		t.Fatal(err)
	}
	refused(olga, true)
	time.Sleep(time.Second) // tokens are dated in seconds
	fresh := w.person(t, "bob", "operator")
	refused(fresh, false)
	var list RevocationList
	if err := fresh.Call(t.Context(), "issuer.revocations", api.Empty{}, &list); err != nil || len(list.Revocations) != 2 {
		t.Errorf("listed are %+v, %v", list, err)
	}
}
