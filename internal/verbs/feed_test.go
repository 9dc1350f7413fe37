package verbs

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/evidence"
	"github.com/pavise/pavise/internal/issuer"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/record"
)

// plant writes another tenant's record into the log.
func (w *world) plant(t *testing.T) uint64 {
	t.Helper()
	receipt, err := w.Log.Append(t.Context(), &record.Record{Kind: "secret.plan", Phase: record.Note, Tenant: "rival", At: time.Now().UTC()}, ledger.Durable)
	if err != nil {
		t.Fatal(err)
	}
	return receipt.Index
}

// TestTenantsSeeTheirOwn looks for another tenant's record through every verb
// that shows records.
func TestTenantsSeeTheirOwn(t *testing.T) {
	w := newWorld(t)
	operator := w.client(t, "operator")
	index := w.plant(t)
	for _, request := range []evidence.ListRequest{{}, {After: new(uint64)}, {After: &index}, {Conditions: evidence.Conditions{Kind: []string{"secret.plan"}}}, {After: new(uint64), Conditions: evidence.Conditions{Kind: []string{"secret"}}}, {Conditions: evidence.Conditions{Since: "24h"}}} {
		var answer evidence.ListAnswer
		if err := operator.Call(t.Context(), "ledger.list", request, &answer); err != nil {
			t.Fatal(err)
		}
		for _, e := range answer.Events {
			if e.Record.Tenant != "local" {
				t.Errorf("%+v shows record %d of %s", request, e.Index, e.Record.Tenant)
			}
		}
	}
	var answer evidence.ReadAnswer
	if err := operator.Call(t.Context(), "ledger.read", evidence.ReadRequest{Index: index}, &answer); pavise.KindOf(err) != pavise.NotFound || answer.Record.Kind != "" {
		t.Errorf("ledger.read: %v, %+v", err, answer)
	}
	if err := operator.Call(t.Context(), "policy.explain", ExplainRequest{Record: &index}, nil); pavise.KindOf(err) != pavise.NotFound {
		t.Errorf("policy.explain: %v", err)
	}
	if err := operator.Call(t.Context(), "policy.explain", ExplainRequest{Verb: "route.list", On: pavise.Name{Tenant: "rival", Kind: "route", ID: "all"}}, nil); pavise.KindOf(err) != pavise.Invalid {
		t.Errorf("policy.explain of another tenant's thing: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	for e, err := range evidence.Follow(ctx, operator, evidence.Following{}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Record.Tenant != "local" {
			t.Errorf("ledger.follow shows record %d of %s", e.Index, e.Record.Tenant)
		}
		if e.Index > index {
			break
		}
	}
}

// TestProofNeedsNothingElse checks a record's proof from the answer alone, with
// the log's key, as an auditor who never saw the server would.
func TestProofNeedsNothingElse(t *testing.T) {
	w := newWorld(t)
	operator := w.client(t, "operator")
	w.plant(t)
	var read struct {
		Index uint64
		Proof struct {
			Leaf, Root, Checkpoint string
			Path                   []string
			Size                   int64
		}
	}
	if err := operator.Call(t.Context(), "ledger.read", evidence.ReadRequest{Index: 2}, &read); err != nil {
		t.Fatal(err)
	}
	verifier, err := note.NewVerifier(w.Log.Keys()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	signed, err := note.Open([]byte(read.Proof.Checkpoint), note.VerifierList(verifier))
	if err != nil {
		t.Fatal(err)
	}
	root := strings.Split(signed.Text, "\n")[2]
	if root != read.Proof.Root {
		t.Errorf("the proof's root is %s, the checkpoint's %s", read.Proof.Root, root)
	}
	hash := func(s string) (h tlog.Hash) {
		b, err := base64.StdEncoding.DecodeString(s)
		if err != nil || copy(h[:], b) != len(h) {
			t.Fatalf("%q is no hash: %v", s, err)
		}
		return h
	}
	var path tlog.RecordProof
	for _, s := range read.Proof.Path {
		path = append(path, hash(s))
	}
	if err := tlog.CheckRecord(path, read.Proof.Size, hash(root), int64(read.Index), hash(read.Proof.Leaf)); err != nil {
		t.Error(err)
	}
	if err := tlog.CheckRecord(path, read.Proof.Size, hash(root), int64(read.Index)+1, hash(read.Proof.Leaf)); err == nil {
		t.Error("the proof proves another index, too")
	}
}

// TestFollow sees what is there, then what comes, resumes, and ends with the
// server; and leaves one record.
func TestFollow(t *testing.T) {
	w := newWorld(t)
	operator := w.client(t, "operator")
	next, stopped := uint64(0), false
	for e, err := range evidence.Follow(t.Context(), operator, evidence.Following{}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Index != next {
			t.Fatalf("record %d, want %d", e.Index, next)
		}
		next++
		if e.Index == 1 {
			if err := operator.Call(t.Context(), "route.list", api.Empty{}, nil); err != nil { // while the feed runs
				t.Fatal(err)
			}
		}
		if e.Record.Kind == "route.list" {
			break
		}
	}
	resumed := next
	for e, err := range evidence.Follow(t.Context(), operator, evidence.Following{After: resumed}) {
		switch {
		case stopped:
			if pavise.KindOf(err) != pavise.Unavailable {
				t.Errorf("after the server stopped: %+v, %v", e, err)
			}
		case err != nil:
			t.Fatal(err)
		case e.Index != next:
			t.Fatalf("resumed at record %d, want %d", e.Index, next)
		default: // the record of the first stream
			if e.Record.Kind != "ledger.follow" || e.Record.Phase != record.Act || e.Record.Error != nil {
				t.Errorf("record %+v", e.Record)
			}
			stopped = true
			w.stop()
		}
	}
	if !stopped {
		t.Error("the second stream ended by itself")
	}
	w.server.Close() // waits for the handlers
	if got := phases(w, 0, "ledger.follow"); got != "act act" {
		t.Errorf("two streams left %q", got)
	}
	caller := w.client(t, "caller")
	req := httptest.NewRequest("GET", "/v1/ledger.follow", nil)
	req.Header.Set("Authorization", "Bearer "+caller.Token)
	rec := httptest.NewRecorder()
	w.server.Config.Handler.ServeHTTP(rec, req)
	if rec.Code != http.StatusForbidden {
		t.Errorf("as caller: %d %s", rec.Code, rec.Body)
	}
}

// TestFollowEnds ends a feed that always has something new to say: with the
// server, and with the token.
func TestFollowEnds(t *testing.T) {
	w := newWorld(t)
	busy, cancel := context.WithCancel(t.Context())
	var load sync.WaitGroup
	for range 8 {
		load.Go(func() {
			for busy.Err() == nil {
				w.Log.Append(busy, &record.Record{Kind: "test.load", Phase: record.Note, Tenant: "local", At: time.Now().UTC()}, ledger.Written)
			}
		})
	}
	defer load.Wait()
	defer cancel()
	brief, err := w.Issuer.Bootstrap(issuer.MintRequest{Subject: "brief", Roles: []string{"analyst"}, TTL: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	ctx, giveUp := context.WithTimeout(t.Context(), 10*time.Second)
	defer giveUp()
	for _, err := range evidence.Follow(ctx, &api.Client{Base: w.server.URL, Token: brief.Value}, evidence.Following{}) {
		if err != nil && ctx.Err() != nil {
			t.Error("the feed outlives the token by seconds")
		}
	}
	for e, err := range evidence.Follow(ctx, w.client(t, "operator"), evidence.Following{}) {
		if e.Index == 10 {
			w.stop()
		}
		if err != nil && ctx.Err() != nil {
			t.Error("the feed outlives the server by seconds")
		}
	}
}

// TestChangedRecord is met by every reader: none skips it, none turns in circles.
func TestChangedRecord(t *testing.T) {
	w := newWorld(t)
	operator := w.client(t, "operator")
	w.fill(t, "test.noise", 300)
	index := w.Log.Size()
	if err := operator.Call(t.Context(), "issuer.mint", MintRequest{Subject: "ci", Role: []string{"caller"}}, nil); err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob(filepath.Join(w.dir, "ledger", "*.seg"))
	if err != nil || len(names) != 1 {
		t.Fatal(names, err)
	}
	f, err := os.OpenFile(names[0], os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	text, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	at := strings.Index(string(text), `"kind":"issuer.mint"`)
	if _, err := f.WriteAt([]byte(`"kind":"issuer.mins"`), int64(at)); err != nil {
		t.Fatal(err)
	}
	for _, request := range []evidence.ListRequest{{}, {After: new(uint64), Limit: 1000}} {
		if err := operator.Call(t.Context(), "ledger.list", request, nil); pavise.KindOf(err) != pavise.Unverified {
			t.Errorf("ledger.list %+v: %v", request, err)
		}
	}
	if err := operator.Call(t.Context(), "ledger.read", evidence.ReadRequest{Index: index}, nil); pavise.KindOf(err) != pavise.Unverified {
		t.Errorf("ledger.read: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	seen := uint64(0)
	for _, err := range evidence.Follow(ctx, operator, evidence.Following{}) {
		if err == nil {
			seen++
		}
	}
	if seen != index || ctx.Err() != nil {
		t.Errorf("the feed showed %d records before the changed one, want %d; %v", seen, index, ctx.Err())
	}
}

// TestAfterIsForNewFollowers gives a follower that there is another beginning: that is
// refused, and where it is stays.
func TestAfterIsForNewFollowers(t *testing.T) {
	w := newWorld(t)
	w.follower(t, "x")
	operator := w.client(t, "operator")
	for _, err := range evidence.Follow(t.Context(), operator, evidence.Following{Name: "x", After: 2}) {
		if e, ok := errors.AsType[*pavise.Error](err); !ok || e.Kind != pavise.Conflict || !strings.Contains(e.Msg, "goes on at 0, and after, 2, is for a new one") || !strings.Contains(e.Hint, "pavise ledger acknowledge x 2") {
			t.Errorf("error %v", err)
		}
		break
	}
	if backlogs, err := w.Feeds.Backlogs(t.Context(), "local"); err != nil || backlogs[0].Next != 0 {
		t.Errorf("%+v, %v", backlogs, err)
	}
}

// TestHouseFollowersAreItsOwn lets nobody move or forget the follower that shreds again
// what an older database brings back, nor follow in its place.
func TestHouseFollowersAreItsOwn(t *testing.T) {
	w := newWorld(t)
	w.follower(t, "pavise.shred-again")
	operator := w.client(t, "operator")
	for verb, request := range map[string]any{
		"ledger.acknowledge": evidence.AcknowledgeRequest{Name: "pavise.shred-again", Next: 1}, "ledger.unfollow": evidence.UnfollowRequest{Name: "pavise.shred-again"},
	} {
		if err := operator.Call(t.Context(), verb, request, nil); pavise.KindOf(err) != pavise.Denied {
			t.Errorf("%s: %v", verb, err)
		}
	}
	for _, err := range evidence.Follow(t.Context(), operator, evidence.Following{Name: "pavise.shred-again"}) {
		if pavise.KindOf(err) != pavise.Denied {
			t.Errorf("ledger.follow: %v", err)
		}
	}
	backlogs, err := w.Feeds.Backlogs(t.Context(), "local")
	if err != nil || len(backlogs) != 1 || backlogs[0].Next != 0 {
		t.Errorf("%+v, %v", backlogs, err)
	}
}
