package guard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/policy"
	"github.com/pavise/pavise/internal/record"
)

// The checks whose verdicts the guard itself writes.
const (
	checkPolicy     = "policy"     // Cedar's word; only a Deny is written
	checkGuard      = "guard"      // refused before any policy was asked
	checkQuarantine = "quarantine" // a fact the decision saw that the record's other fields do not hold
	checkFacts      = "facts"      // others that the rooms know
	checkChange     = "change"     // the act is an approved change
	checkGrant      = "grant"      // a role that was granted, by the grant's name
)

// maxText bounds the free text that a record takes over from errors, in bytes.
const maxText = 512

// An Entry is a question that was answered with yes. The caller defers Exit
// directly, as in
//
//	e, err := g.Enter(ctx, who, "model.infer", on)
//	if err != nil {
//		return err
//	}
//	defer e.Exit(&err)
//
// Its methods may be called from several goroutines until Exit returns.
type Entry struct {
	guard  *Guard
	ctx    unending // a caller that went away is still recorded
	asked  asked    // the question
	action *policy.Act
	who    pavise.Principal
	on     pavise.Name
	began  time.Time // with its monotonic reading
	at     time.Time // what the records carry
	policy record.Policy
	bound  uint64   // Control: the log's size just before the Enter record
	slot   *slot    // Pooled: what the act holds
	tried  *Attempt // what a refusal's record says besides; nil: nothing

	mu       sync.Mutex // guards what follows
	verdicts []pavise.Verdict
	detail   any
	subject  string
	sealed   []byte
	record   uint64
	durable  bool
	written  bool // record is the index of a record that is in the log
	closed   bool

	room [4]pavise.Verdict // where an act's few verdicts lie, so that they need no room of their own
}

// An unending context has the caller's values and never ends: context.WithoutCancel, but
// within the entry.
type unending struct{ context.Context }

func (*unending) Deadline() (time.Time, bool) { return time.Time{}, false }
func (*unending) Done() <-chan struct{}       { return nil }
func (*unending) Err() error                  { return nil }

// A page is where the last record of an act is written, with the detail that spells
// itself. It is used again and again, for profiled, room made for each was a third of
// what the guard allocated. No act reads of another: a page is wiped before it is put
// back, and the log keeps nothing of it.
type page struct {
	last   record.Record
	detail []byte
}

var pages = sync.Pool{New: func() any { return &page{detail: make([]byte, 0, 512)} }}

// mostKept is up to what size the room of a detail is kept for another.
const mostKept = 8 << 10

// wipe empties the page and puts it back.
func (p *page) wipe() {
	if cap(p.detail) <= mostKept {
		clear(p.detail)
		p.last, p.detail = record.Record{}, p.detail[:0]
		pages.Put(p)
	}
}

// A speller is a detail that appends what json.Marshal would write of it.
type speller interface{ AppendJSON(dst []byte) []byte }

// entries are those that nobody uses: an act allocates nothing larger.
var entries = sync.Pool{New: func() any { return new(Entry) }}

// Free gives the entry's memory to another act. It comes after Exit, once, and only from
// who knows that nobody uses the entry any more. Who does not call it leaves the entry to
// the garbage collector.
func (e *Entry) Free() {
	*e = Entry{}
	entries.Put(e)
}

// Verdict adds a check's word to the record. After Exit it does nothing.
func (e *Entry) Verdict(v pavise.Verdict) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.verdicts = append(e.verdicts, v)
}

// Detail sets the room's own facts about the act. They are marshalled as JSON
// at Exit, so v must not change after it; the last call wins. One that has the method
// AppendJSON(dst []byte) []byte is asked for that JSON instead, which must be valid.
func (e *Entry) Detail(v any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.detail = v
}

// Subject says whose data the record keeps, by the pseudonym under whose key its
// sealed payload is.
func (e *Entry) Subject(pseudonym string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.subject = pseudonym
}

// Seal sets the record's sealed payload, an envelope of package seal.
func (e *Entry) Seal(envelope []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sealed = envelope
}

// Durable makes Exit wait until the record survives power loss, as that of a
// Control verb always does.
func (e *Entry) Durable() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.durable = true
}

// Observed reports whether the tenant's policies denied the act and observe
// mode let it pass.
func (e *Entry) Observed() bool { return e.policy.Observed }

// Who is whom the guard let in. It is the entry's own, and nobody may change it.
func (e *Entry) Who() *pavise.Principal { return &e.who }

// Began is when the guard was asked, with its monotonic reading.
func (e *Entry) Began() time.Time { return e.began }

// Verdicts are what the checks have said so far. Nobody may change them.
func (e *Entry) Verdicts() []pavise.Verdict {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.verdicts[:len(e.verdicts):len(e.verdicts)]
}

// Record returns the index of the record: that of the Enter for a Control
// verb, at once; that of the one record of a Pooled verb, after Exit. It is
// false while there is none, or when it could not be written.
func (e *Entry) Record() (index uint64, written bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.record, e.written
}

// Exit records how the act ended: well if *err is nil, else with that error.
// If the ending cannot be recorded and *err was nil, *err becomes the reason:
// what was not written down must not be answered. Exit must be deferred
// directly, not from inside another deferred function, because that is how it
// sees a panic: it records one and lets it go on. A second Exit does nothing.
func (e *Entry) Exit(err *error) {
	if p := recover(); p != nil {
		e.end(fmt.Errorf("panic: %v", p))
		panic(p)
	}
	var cause error
	if err != nil {
		cause = *err
	}
	if unwritten := e.end(cause); unwritten != nil && cause == nil && err != nil {
		*err = unwritten
	}
}

// begin makes the question of a Control verb durable. A caller who is gone is
// refused before anything could be recorded, and one who goes later no longer
// matters: an append that fails leaves it open until the next start whether the
// question is in the log, and no caller may bring that about.
func (e *Entry) begin() error {
	g := e.guard
	if err := e.ctx.Context.Err(); err != nil {
		g.refusals.add(noteRefused, e.who.Name().String(), "the caller gave up")
		return &pavise.Error{
			Kind: pavise.Unavailable,
			Msg:  "the caller gave up before " + e.action.Verb + " began",
			Hint: "ask again, and wait for the answer",
			Err:  err,
		}
	}
	e.bound = g.open.begin(g.log)
	receipt, err := g.append(&e.ctx, &record.Record{
		Kind: e.action.Verb, Phase: record.Enter, Tenant: e.on.Tenant, At: e.at,
		Who: &e.who, On: e.on, Outcome: pavise.Allow, Policy: &e.policy,
		Verdicts: e.verdicts, Safe: e.action.Safe,
	}, ledger.Durable)
	if err != nil {
		g.open.lost(e.bound)
		return err
	}
	e.record, e.written = receipt.Index, true
	return nil
}

// end writes the last record and releases what the act held.
func (e *Entry) end(cause error) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil
	}
	e.closed = true
	g := e.guard
	p := pages.Get().(*page)
	defer p.wipe()
	r, how, bad := e.ending(p, cause)
	receipt, err := g.append(&e.ctx, r, how)
	if _, ok := errors.AsType[*tooLarge](err); ok {
		bad, err = errors.Join(bad, err), nil
	}
	switch {
	case e.action.Class == Pooled:
		g.slots.give(e.slot)
		e.record, e.written = receipt.Index, err == nil
	case err != nil:
		g.open.lost(e.bound)
	default:
		g.open.done(e.bound)
	}
	if err == nil && bad != nil {
		err = &pavise.Error{
			Kind: pavise.Internal,
			Msg:  fmt.Sprintf("the record of %s at index %d lacks its payload", r.Kind, receipt.Index),
			Hint: "keep the payload elsewhere and its digest in the record",
			Err:  bad,
		}
	}
	return err
}

// ending builds the last record of the act on a page. The error says what the record
// should hold and cannot.
func (e *Entry) ending(p *page, cause error) (*record.Record, ledger.Durability, error) {
	p.last = record.Record{
		Kind: e.action.Verb, Phase: record.Act, Tenant: e.on.Tenant, At: e.at,
		Who: &e.who, On: e.on, Outcome: outcome(e.verdicts), Policy: &e.policy,
		Verdicts: e.verdicts, Error: failure(cause), Subject: e.subject, Sealed: e.sealed, Safe: e.action.Safe,
		Took: e.guard.clock.since(e.began),
	}
	r, how := &p.last, ledger.Written
	if e.durable {
		how = ledger.Durable
	}
	if e.action.Class == Control {
		how = ledger.Durable
		r.Phase, r.At, r.Enter = record.Exit, e.guard.clock.stamp(), new(e.record)
	}
	if e.detail == nil {
		return r, how, nil
	}
	if s, ok := e.detail.(speller); ok {
		p.detail = s.AppendJSON(p.detail)
		r.Detail = p.detail
		return r, how, nil
	}
	detail, err := json.Marshal(e.detail)
	if err != nil {
		if r.Error == nil {
			r.Error = &record.Failure{Kind: pavise.Internal.String(), Msg: "the detail of this record cannot be encoded"}
		}
		return r, how, fmt.Errorf("encode detail of %s: %w", r.Kind, err)
	}
	r.Detail = detail
	return r, how, nil
}

// outcome is the worst of the verdicts that were enforced.
func outcome(verdicts []pavise.Verdict) pavise.Outcome {
	worst := pavise.Allow
	for _, v := range verdicts {
		if v.Stops() {
			return pavise.Deny
		}
		if v.Outcome == pavise.Alter && !v.Observed {
			worst = pavise.Alter
		}
	}
	return worst
}

// failure is what a record keeps of an error: for one of ours the words meant
// for people, never the cause behind them.
func failure(err error) *record.Failure {
	if err == nil {
		return nil
	}
	msg := err.Error()
	if e, ok := errors.AsType[*pavise.Error](err); ok {
		msg = e.Msg
	}
	return &record.Failure{Kind: pavise.KindOf(err).String(), Msg: clip(msg, maxText)}
}

// A tooLarge error says that a record was written without its payload.
type tooLarge struct{ err error }

func (e *tooLarge) Error() string { return "record without its payload: " + e.err.Error() }

// stripped takes the room's payload out of a record that is too large, and
// reports whether there was one. Otherwise whoever can inflate a payload could
// act without leaving a record.
func stripped(r *record.Record) bool {
	if r.Detail == nil && r.Sealed == nil && len(r.Verdicts) == 0 {
		return false
	}
	r.Detail, r.Sealed = nil, nil
	r.Verdicts = slices.Clone(r.Verdicts[:min(len(r.Verdicts), 64)])
	for i := range r.Verdicts {
		r.Verdicts[i].Check = clip(r.Verdicts[i].Check, 64)
		r.Verdicts[i].Reason = clip(r.Verdicts[i].Reason, 64)
	}
	if r.Error == nil {
		r.Error = &record.Failure{Kind: pavise.Internal.String(), Msg: "the payload of this record was too large"}
	}
	return true
}

// clip returns at most n bytes of s, cut between characters.
func clip(s string, n int) string {
	if len(s) > n {
		s = s[:n]
	}
	return strings.ToValidUTF8(s, "")
}
