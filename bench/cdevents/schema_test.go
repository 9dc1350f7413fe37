package cdevents

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	sdk "github.com/cdevents/sdk-go/pkg/api"
	"github.com/cdevents/sdk-go/pkg/api/v05"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/cdevents"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/outbound"
	"github.com/pavise/pavise/internal/seal"
	"github.com/pavise/pavise/internal/store"
	"github.com/pavise/pavise/internal/ticket"
)

var (
	ann   = pavise.Principal{Tenant: "local", Kind: pavise.Human, ID: "ann", Issuer: "test", Roles: []string{"operator"}, Proof: "bearer"}
	eve   = pavise.Name{Tenant: "local", Kind: pavise.Human, ID: "eve"}
	model = pavise.Name{Tenant: "local", Kind: "route", ID: "threat-detector"}
	epoch = time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)
)

// scripted are changes that stand as a test says.
type scripted []*change.Change

func (s scripted) Look(_ context.Context, name pavise.Name) (*change.Change, error) {
	i := slices.IndexFunc(s, func(c *change.Change) bool { return c.Name == name })
	return s[i], nil
}

func (s scripted) Proposed(context.Context, string, time.Time, int) (names []pavise.Name, last time.Time, err error) {
	for _, c := range s {
		names = append(names, c.Name)
	}
	return names, epoch, nil
}

func (scripted) Outside(context.Context, pavise.Principal, pavise.Name, change.Word) (*change.Change, error) {
	return nil, &pavise.Error{Kind: pavise.Denied, Msg: "nobody votes here"}
}

// ended is a change that has come to an end.
func ended(id, verb string, state change.State, edit func(*change.Change)) *change.Change {
	c := &change.Change{
		Name: pavise.Name{Tenant: "local", Kind: "change", ID: id}, Verb: verb, On: model, Reason: "it is better", Proposer: ann, Proposed: epoch,
		Until: epoch.Add(72 * time.Hour), Rule: change.Rule{Need: 1, Days: 3}, Plan: change.Plan{Summary: "let it be answered by another", Digests: map[string]string{"model": "sha256:" + strings.Repeat("ab", 32)}},
		Digest: strings.Repeat("cd", 32), State: state, Outcome: "run as approved", Ended: epoch.Add(time.Hour),
		Votes: []change.Vote{{By: eve, Yes: state == change.Done, Reason: "seen", At: epoch.Add(time.Hour), Record: 7}},
	}
	if edit != nil {
		edit(c)
	}
	return c
}

// script is a change for each way in which one may go.
func script() scripted {
	return scripted{
		ended("c-release", "route.release", change.Done, nil),
		ended("c-first", "route.release", change.Done, func(c *change.Change) {
			c.Plan.Detail, c.Plan.Digests["model"] = map[string]any{"was": map[string]any{"quarantined": true}}, "fraud at http://10.0.0.7"
		}),
		ended("c-back", "route.rollback", change.Done, nil),
		ended("c-out", "route.quarantine", change.Contested, func(c *change.Change) { c.Plan.Digests, c.Outcome = nil, "denied after it was run" }),
		ended("c-denied", "policy.put", change.Denied, nil), ended("c-withdrawn", "policy.put", change.Withdrawn, nil),
		ended("c-void", "policy.put", change.Void, nil), ended("c-failed", "policy.put", change.Failed, nil),
		ended("c-expired", "policy.put", change.Expired, func(c *change.Change) { c.Votes, c.Unseen, c.On.Kind = nil, epoch.Add(36*time.Hour), "policy" }),
		ended("c-broken", "route.release", change.Done, func(c *change.Change) {
			c.Glass = &change.Glass{Ticket: "INC 4711 / <b>", Reason: "nobody is here", At: epoch.Add(time.Minute), Record: 8}
		}),
	}
}

// TestPublishedSchemas: each event that a tool is sent of a change, however it goes, is what
// the published schema of its type says, and all types that the house knows are among them.
func TestPublishedSchemas(t *testing.T) {
	all := script()
	got := sent(t, all)
	seen := map[string]bool{}
	for id, body := range got {
		var e struct {
			Type string          `json:"type"`
			ID   string          `json:"id"`
			Data json.RawMessage `json:"data"`
		}
		if err := json.Unmarshal(body, &e); err != nil || e.ID != id {
			t.Fatalf("%s: %v", body, err)
		}
		seen[e.Type] = true
		if strings.Contains(e.Type, ".approval.") {
			continue // of the draft, which no SDK has
		}
		event, err := v05.NewFromJsonBytes(e.Data)
		if err != nil {
			t.Errorf("%s: %v", e.Data, err)
			continue
		}
		_, schema, err := event.GetSchema()
		var plain any
		if err == nil {
			err = json.Unmarshal(e.Data, &plain)
		}
		if err == nil {
			err = schema.Validate(plain) // as it was sent, with what the SDK would not read
		}
		if err == nil && !(strings.Contains(e.Type, ".incident.") && !strings.Contains(string(e.Data), "artifactId")) { // for its reader an incident has an artefact, for the schema it may
			err = sdk.Validate(event)
		}
		if err != nil {
			t.Errorf("%s: %v", e.Data, err)
		}
	}
	for _, kind := range []cdevents.Kind{
		cdevents.ApprovalCreated, cdevents.ApprovalUpdated, cdevents.ApprovalClosed, cdevents.ChangeCreated, cdevents.ChangeReviewed, cdevents.ChangeMerged, cdevents.ChangeAbandoned,
		cdevents.TicketCreated, cdevents.TicketUpdated, cdevents.TicketClosed, cdevents.ServiceDeployed, cdevents.ServiceUpgraded, cdevents.ServiceRolledBack, cdevents.ServiceRemoved,
		cdevents.IncidentDetected, cdevents.IncidentReported, cdevents.IncidentResolved,
	} {
		if !seen[kind.Type()] {
			t.Errorf("none is a %s", kind.Type())
		}
	}
	t.Logf("%d events of %d types", len(got), len(slices.Collect(maps.Keys(seen))))
}

// sent are the messages that a tool gets of changes, by their ids.
func sent(t *testing.T, all scripted) map[string][]byte {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var mu sync.Mutex
	got := map[string][]byte{}
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Header.Get("Content-Type") != cdevents.Media {
			t.Error(err, r.Header)
		}
		mu.Lock()
		got[r.Header.Get("Webhook-Id")] = body
		mu.Unlock()
	}))
	defer receiver.Close()
	dir := t.TempDir()
	log, err := ledger.Open(ledger.Options{Dir: filepath.Join(dir, "ledger"), Origin: "example.test/log", Key: ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)), Tenant: "local"})
	must(err)
	defer log.Close()
	db, err := store.Open(t.Context(), filepath.Join(dir, "db"))
	must(err)
	defer db.Close()
	g, err := guard.New(guard.Config{Actions: []guard.Action{{Verb: "ticket.remove", On: []string{ticket.KindTool}}}, Log: log, Tenant: "local"})
	must(err)
	must(g.Load("local", map[string]string{"all": `permit (principal in Role::"operator", action in Action::"ticket", resource);`}))
	kek, err := seal.OpenFileKEK(filepath.Join(dir, "kek"))
	must(err)
	began := epoch.Add(-time.Hour)
	desk, err := ticket.Open(t.Context(), ticket.Config{
		Guard: g, Store: db, KEK: kek, Changes: all, Hears: func(*change.Change) string { return "" }, Revoked: func(pavise.Principal, time.Time) bool { return false },
		Reach: outbound.Reach{Loopback: true}, Now: func() time.Time { return began }, Every: time.Millisecond,
	})
	must(err)
	_, err = desk.Put(t.Context(), ann, ticket.Put{Name: "events", Kind: "cloudevents", URL: receiver.URL})
	must(err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- desk.Run(ctx) }()
	for range 5000 {
		if s, err := desk.Show(t.Context(), ann, "events"); err == nil && s.Behind == 0 && s.Open == 0 && len(s.Tickets) == len(all) {
			break
		}
		time.Sleep(2 * time.Millisecond)
	}
	cancel()
	must(<-done)
	mu.Lock()
	defer mu.Unlock()
	return got
}
