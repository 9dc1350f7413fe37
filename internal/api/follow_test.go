package api

import (
	"crypto/ed25519"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/ledger"
)

// newGuard returns a guard whose policies let auditors and operators follow the log.
func newGuard(t *testing.T) *guard.Guard {
	t.Helper()
	key := ed25519.NewKeyFromSeed([]byte("api test, a log key of 32 bytes."))
	log, err := ledger.Open(ledger.Options{Dir: t.TempDir(), Origin: "test/api", Key: key, Tenant: "local"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	g, err := guard.New(guard.Config{Log: log, Actions: []guard.Action{{Verb: "ledger.follow", On: []string{"ledger"}, Class: guard.Pooled}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Load("local", map[string]string{
		"auditor":  `permit (principal in Role::"auditor", action == Action::"ledger.follow", resource);`,
		"operator": `permit (principal in Role::"operator", action == Action::"ledger.follow", resource);`,
	}); err != nil {
		t.Fatal(err)
	}
	return g
}

// TestAFeedEndsWithTheGrant: who follows the log by a role that was granted sees no more
// once the grant is taken back, however long their token lives.
func TestAFeedEndsWithTheGrant(t *testing.T) {
	s := &Server{guard: newGuard(t)} // asks behind every step
	ana := pavise.Name{Tenant: "local", Kind: pavise.Human, ID: "ana"}
	name, err := guard.GrantName(ana, "auditor")
	if err != nil {
		t.Fatal(err)
	}
	s.guard.HoldGrants([]guard.Grant{{Name: name, Holder: ana, Role: "auditor", Until: time.Now().Add(time.Hour)}})
	following := func(id string, roles ...string) follower {
		return follower{
			who:  pavise.Principal{Tenant: "local", Kind: pavise.Human, ID: id, Roles: roles},
			verb: "ledger.follow", on: pavise.Name{Tenant: "local", Kind: "ledger", ID: "log"},
		}
	}
	steps := 0
	err = s.whileTheyMay(following("ana"), func() bool {
		if steps++; steps == 3 {
			s.guard.HoldGrants(nil)
		}
		return steps < 10
	})
	if pavise.KindOf(err) != pavise.Denied || steps != 3 {
		t.Errorf("the feed goes on for %d steps, and ends with %v", steps, err)
	}
	if err := s.whileTheyMay(following("olga", "operator"), func() bool { steps++; return steps < 10 }); err != nil {
		t.Errorf("a feed of who may follow ends with %v", err)
	}
}
