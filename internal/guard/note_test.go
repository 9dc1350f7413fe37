package guard

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/policy"
	"github.com/pavise/pavise/internal/record"
)

// TestNote: a note is durable, in the name and tenant it says, and never goes
// back in time.
func TestNote(t *testing.T) {
	now := epoch
	g, log := newGuard(t, func(c *Config) { c.Now = func() time.Time { return now } })
	if err := g.Note(t.Context(), "issuer.bootstrap", &operator, pavise.Name{}, map[string]string{"token": "t1"}); err != nil {
		t.Fatal(err)
	}
	r := log.last(t)
	if r.Kind != "issuer.bootstrap" || r.Phase != record.Note || log.hows[0] != ledger.Durable || r.Tenant != "local" ||
		r.Who == nil || r.Who.ID != operator.ID || string(r.Detail) != `{"token":"t1"}` {
		t.Errorf("recorded as %+v", r)
	}
	now = epoch.Add(-time.Hour)
	acme := pavise.Name{Tenant: "acme", Kind: policy.KindPolicy, ID: "p"}
	if err := g.Note(t.Context(), "policy.seeded", nil, acme, nil); err != nil {
		t.Fatal(err)
	}
	if r := log.last(t); r.Tenant != "acme" || r.On != acme || r.Who != nil || r.Detail != nil || !r.At.Equal(epoch) {
		t.Errorf("recorded as %+v", r)
	}
	if err := g.Note(t.Context(), "policy.seeded", nil, acme, func() {}); err == nil {
		t.Error("a detail that is no JSON was recorded")
	}
	log.fail = func(*record.Record) error { return errors.New("disk full") }
	if err := g.Note(t.Context(), "policy.seeded", nil, acme, nil); pavise.KindOf(err) != pavise.Unavailable {
		t.Errorf("error %v, want unavailable", err)
	}
}

// TestNotesKeepRecoveryShort: a quiet process that left nothing but notes does
// not make the next one read the whole log.
func TestNotesKeepRecoveryShort(t *testing.T) {
	g, log := newGuard(t, nil)
	for range 3 * lookBack {
		if err := g.Note(t.Context(), "issuer.bootstrap", &operator, pavise.Name{}, nil); err != nil {
			t.Fatal(err)
		}
	}
	g, _ = restart(t, log.records)
	if size := log.Size(); g.open.before < size-1 {
		t.Errorf("recovery begins at %d of %d", g.open.before, size)
	}
}

// TestHangingUpDoesNotFreezeSettled: a Control verb whose caller is gone before
// it begins leaves no doubt behind, or every restart would read the log from
// there on.
func TestHangingUpDoesNotFreezeSettled(t *testing.T) {
	g, log := newGuard(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if e, err := g.Enter(ctx, operator, "route.put", route); e != nil || pavise.KindOf(err) != pavise.Unavailable {
		t.Fatalf("entry %v, error %v, want none and unavailable", e, err)
	}
	if log.Size() != 0 {
		t.Errorf("recorded as %+v", log.last(t))
	}
	e, err := g.Enter(t.Context(), operator, "route.put", route)
	if err != nil {
		t.Fatal(err)
	}
	e.Exit(&err)
	if settled, size := g.open.settled(log), log.Size(); err != nil || settled != size {
		t.Errorf("error %v; %d of %d is settled", err, settled, size)
	}
	if err := g.flush(t.Context()); err != nil || !strings.Contains(string(log.last(t).Detail), "the caller gave up") {
		t.Errorf("error %v, the last note %s", err, log.last(t).Detail)
	}
}

// TestHangingUpMeanwhile: a caller who goes while the question is being written
// can neither keep it out of the log nor leave its fate in doubt.
func TestHangingUpMeanwhile(t *testing.T) {
	g, log := newGuard(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	g.log = &hangUpLog{log, cancel}
	e, err := g.Enter(ctx, operator, "route.put", route)
	if err != nil {
		t.Fatal(err)
	}
	e.Exit(&err)
	if settled, size := g.open.settled(log), log.Size(); err != nil || size != 2 || settled != size {
		t.Errorf("error %v; %d of %d is settled", err, settled, size)
	}
}

// A hangUpLog is one whose callers go just before it looks for them.
type hangUpLog struct {
	*fakeLog
	hangUp context.CancelFunc
}

func (l *hangUpLog) Append(ctx context.Context, r *record.Record, how ledger.Durability) (ledger.Receipt, error) {
	l.hangUp()
	return l.fakeLog.Append(ctx, r, how)
}

// TestFullDiskIsNamed: who is refused because the log's disk is full is told so,
// whatever part of the act could not be recorded.
func TestFullDiskIsNamed(t *testing.T) {
	full := &pavise.Error{Kind: pavise.Unavailable, Msg: "the disk of the evidence log is full", Hint: "free space"}
	g, log := newGuard(t, nil)
	e, err := g.Enter(t.Context(), caller, "model.infer", model)
	if err != nil {
		t.Fatal(err)
	}
	log.fail = func(*record.Record) error { return fmt.Errorf("append: %w", full) }
	e.Exit(&err)
	_, control := g.Enter(t.Context(), operator, "route.put", route)
	_, denied := g.Enter(t.Context(), analyst, "route.put", route)
	note := g.Note(t.Context(), "issuer.bootstrap", nil, pavise.Name{}, nil)
	for what, err := range map[string]error{"exit": err, "enter": control, "refusal": denied, "note": note} {
		e, ok := errors.AsType[*pavise.Error](err)
		if !ok || e.Kind != pavise.Unavailable || !strings.Contains(e.Msg, full.Msg) || e.Hint != full.Hint {
			t.Errorf("%s: %v", what, err)
		}
	}
}
