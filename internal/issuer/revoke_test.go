package issuer

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/identity"
	"github.com/pavise/pavise/internal/store"
)

// newRevocations opens what was revoked in a database, with a guard that lets operators
// revoke.
func newRevocations(t *testing.T, db *store.DB) (*Revocations, *identity.Epochs, *memory) {
	t.Helper()
	log := &memory{}
	g, err := guard.New(guard.Config{
		Actions: []guard.Action{
			{Verb: "issuer.revoke", On: []string{"issuer"}, Safe: true},
			{Verb: "issuer.revocations", On: []string{"issuer"}, Class: guard.Pooled},
		},
		Log: log, Now: func() time.Time { return noon },
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Load("local", map[string]string{"p": `permit (principal in Role::"operator", action, resource);`}); err != nil {
		t.Fatal(err)
	}
	epochs := identity.NewEpochs()
	r, err := OpenRevocations(t.Context(), g, db, epochs, func() time.Time { return noon.Add(300 * time.Millisecond) })
	if err != nil {
		t.Fatal(err)
	}
	return r, epochs, log
}

func openDB(t *testing.T, path string) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// TestRevoke revokes, and finds it in force again after a restart.
func TestRevoke(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	db := openDB(t, path)
	r, epochs, log := newRevocations(t, db)
	ci := pavise.Name{Tenant: "local", Kind: "workload", ID: "ci"}
	for _, req := range []RevokeRequest{{Principal: ci, Reason: "lost"}, {Issuer: "https://idp.example"}, {Reason: "all"}, {Principal: ci, Reason: "again"}} {
		done, err := r.Revoke(t.Context(), operator(pavise.Human), req)
		if err != nil || !done.Before.Equal(noon.Add(time.Second)) {
			t.Fatalf("Revoke(%+v) = %+v, %v", req, done, err)
		}
	}
	if len(log.records) != 8 || !strings.Contains(string(log.records[1].Detail), `"reason":"lost"`) {
		t.Errorf("%d records, the first ending in %s", len(log.records), log.records[1].Detail)
	}
	before := epochs.Snapshot()
	list, err := r.List(t.Context(), operator(pavise.Human))
	if err != nil || len(list) != 3 || list[2].Reason != "again" || list[2].Who.String() != "local/human/olga" {
		t.Errorf("listed are %+v, %v", list, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = openDB(t, path)
	defer db.Close()
	_, epochs, _ = newRevocations(t, db)
	after := epochs.Snapshot()
	if len(before) != 3 || len(after) != 3 || before[0] != after[0] || before[1] != after[1] || before[2] != after[2] {
		t.Errorf("in force were %+v, and are %+v", before, after)
	}
}

func TestRevokeRefuses(t *testing.T) {
	db := openDB(t, filepath.Join(t.TempDir(), "db"))
	defer db.Close()
	r, epochs, _ := newRevocations(t, db)
	analyst := operator(pavise.Human)
	analyst.Roles = []string{RoleAnalyst}
	for _, tt := range []struct {
		name string
		who  pavise.Principal
		req  RevokeRequest
		kind pavise.Kind
	}{
		{"an analyst", analyst, RevokeRequest{}, pavise.Denied},
		{"somebody of another tenant", operator(pavise.Human), RevokeRequest{Principal: pavise.Name{Tenant: "other", Kind: "human", ID: "a"}}, pavise.Invalid},
		{"a thing", operator(pavise.Human), RevokeRequest{Principal: pavise.Name{Tenant: "local", Kind: "model", ID: "a"}}, pavise.Invalid},
		{"two at once", operator(pavise.Human), RevokeRequest{Principal: pavise.Name{Tenant: "local", Kind: "human", ID: "a"}, Issuer: "x"}, pavise.Invalid},
		{"a long reason", operator(pavise.Human), RevokeRequest{Reason: strings.Repeat("x", maxReason+1)}, pavise.Invalid},
	} {
		if _, err := r.Revoke(t.Context(), tt.who, tt.req); pavise.KindOf(err) != tt.kind {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if _, err := r.List(t.Context(), analyst); pavise.KindOf(err) != pavise.Denied {
		t.Errorf("an analyst lists: %v", err)
	}
	if n := len(epochs.Snapshot()); n != 0 {
		t.Errorf("%d are in force", n)
	}
}
