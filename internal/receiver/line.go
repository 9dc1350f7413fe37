package receiver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/store"
)

// The kinds of note that the room leaves.
const (
	KindSilent       = "ingest.silent"       // nothing came for as long as somebody said
	KindUnreachable  = "ingest.unreachable"  // nothing can be fetched
	KindReplaced     = "ingest.replaced"     // what was taken already is another now
	KindTruncated    = "ingest.truncated"    // a file became shorter, or is not there any more before its end was read
	KindGone         = "ingest.gone"         // objects that were taken are not there any more
	KindLost         = "ingest.lost"         // a server threw messages away before they were fetched
	KindContradicted = "ingest.contradicted" // a feed goes backwards, or says two things of one
	KindRefused      = "ingest.refused"      // a batch that the gate, or the receiver, cannot take at all
	KindTerms        = "ingest.terms"        // who may do what with a bucket was changed
)

// roleProducer is what receivers are to the guard, at the gate: who brings records, and may
// do nothing else.
const roleProducer = "producer"

const (
	// unreachableFor is how long nothing can be fetched before that is a finding.
	unreachableFor = 5 * time.Minute
	// mostPause is the longest pause behind a failure.
	mostPause = 5 * time.Minute
	// toldEvery is how far apart findings are of what one page or batch after the other can
	// have: who sends them must not fill the log.
	toldEvery = time.Minute
)

// A carrier fetches from one place.
type carrier interface {
	// pass brings what there is, and reports whether there may be more at once. It can be
	// called again after an error, and goes on where it was.
	pass(ctx context.Context) (more bool, err error)
	// where says in words how far it is.
	where() string
	close()
}

// A laterError is a server's wish not to be asked for some time.
type laterError struct {
	after time.Duration
	err   error
}

func (e *laterError) Error() string { return e.err.Error() }
func (e *laterError) Unwrap() error { return e.err }

// A telling is when a kind of finding was told last, and how many there were since.
type telling struct {
	last   time.Time
	count  int
	latest string
}

// A line is an order that is being followed. Its goroutine owns it, but for what mu guards.
type line struct {
	room   *Receivers
	form   string
	cancel context.CancelFunc
	done   chan struct{} // closed when its goroutine has ended
	told   map[string]*telling
	pruned time.Time // when its journal was looked through last

	mu      sync.Mutex // guards what follows, which others look at; the goroutine alone writes it
	row     row
	failed  int       // passes in a row that came to nothing
	since   time.Time // when the first of them was
	problem string    // why the last of them did
	said    bool      // that this has been so for long was told
	at      string    // how far it is
}

// serve fetches until ctx is done, again whenever it cannot.
func (l *line) serve(ctx context.Context) {
	var c carrier
	defer func() {
		if c != nil {
			c.close()
		}
	}()
	for ctx.Err() == nil {
		var err error
		if c != nil && !l.current() {
			c.close()
			c = nil
		}
		if c == nil {
			c, err = l.open(ctx)
		}
		more := false
		if err == nil {
			more, err = c.pass(ctx)
			l.set(func() { l.at = c.where() })
		}
		if ctx.Err() != nil {
			return
		}
		pause := l.row.every
		if err != nil {
			pause = l.failing(ctx, err)
		} else {
			l.set(func() { l.failed, l.since, l.problem, l.said = 0, time.Time{}, "", false })
		}
		l.wait(ctx, pause, more && err == nil)
	}
}

// set changes what others look at.
func (l *line) set(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
}

// open opens the place that the order names.
func (l *line) open(ctx context.Context) (carrier, error) {
	t, err := l.room.cfg.resolve(l.row.from)
	if err != nil {
		return nil, err
	}
	if l.form, err = l.room.cfg.admits(l.row.source(), t); err != nil {
		return nil, err // it waits until the source is revised again
	}
	switch t.carrier {
	case carrierFile:
		return openTail(l, t)
	case carrierNATS:
		return openStream(l, t)
	case carrierTAXII:
		return openFeed(l, t)
	}
	return openBucket(ctx, l, t)
}

// current reports whether the source still takes the form that its batches are cut in:
// others can have approved another one.
func (l *line) current() bool {
	form, err := l.room.cfg.Gate.Form(l.row.source())
	return err == nil && form == l.form
}

// failing notes a pass that came to nothing, and returns how long to wait.
func (l *line) failing(ctx context.Context, err error) time.Duration {
	now := l.room.cfg.Now()
	l.set(func() {
		if l.failed++; l.failed == 1 {
			l.since = now
		}
		l.problem = pavise.MsgOf(err)
	})
	if l.failed == 1 {
		l.room.cfg.Say("warning", fmt.Errorf("receive for %s: %w", l.row.source(), err))
	}
	if !l.said && now.Sub(l.since) >= unreachableFor {
		summary := fmt.Sprintf("nothing can be fetched for %s from %s since %s: %s", l.row.source(), l.row.from, l.since.UTC().Format(time.RFC3339), clip(pavise.MsgOf(err)))
		if l.find(ctx, KindUnreachable, pavise.Warning, summary, nil) == nil {
			l.set(func() { l.said = true })
		}
	}
	pause := min(time.Second<<min(l.failed-1, 20), mostPause)
	pause = pause*3/4 + rand.N(pause/2)
	if e, ok := errors.AsType[*laterError](err); ok {
		pause = max(pause, e.after)
	}
	return pause
}

// wait returns after some time, or at once where there is more, and meanwhile tells what is
// due.
func (l *line) wait(ctx context.Context, pause time.Duration, more bool) {
	until := l.room.cfg.Now().Add(pause)
	for ctx.Err() == nil {
		next := l.due(ctx)
		left := until.Sub(l.room.cfg.Now())
		if more || left <= 0 {
			return
		}
		if next > 0 {
			left = min(left, next)
		}
		select {
		case <-time.After(left):
		case <-ctx.Done():
		}
	}
}

// due tells what is to be told by now, and returns how long until something may be; 0:
// nothing will.
func (l *line) due(ctx context.Context) (next time.Duration) {
	now := l.room.cfg.Now()
	for kind, t := range l.told {
		if t.count == 0 {
			continue
		}
		left := toldEvery - now.Sub(t.last)
		if left <= 0 {
			_ = l.rarely(ctx, kind, 0, "") // it is tried again
			left = toldEvery
		}
		if next == 0 || left < next {
			next = left
		}
	}
	if l.row.silence == 0 || !l.row.quiet.IsZero() {
		return next
	}
	from := l.row.made
	if l.row.came.After(from) {
		from = l.row.came
	}
	left := l.row.silence - now.Sub(from)
	if left > 0 {
		if next > 0 {
			left = min(left, next)
		}
		return left
	}
	summary := fmt.Sprintf("nothing came for %s from %s since %s", l.row.source(), l.row.from, from.UTC().Format(time.RFC3339))
	if l.find(ctx, KindSilent, pavise.Warning, summary, nil) == nil {
		l.set(func() { l.row.quiet = now.UTC() })
		if err := l.save(ctx, nil); err != nil {
			l.room.cfg.Say("warning", err)
		}
	}
	return next
}

// principal is whom the gate takes the receiver for.
func (l *line) principal() pavise.Principal {
	who := pavise.Principal{Tenant: l.row.tenant, Kind: pavise.Workload, ID: "receiver", Issuer: "pavise", Roles: []string{roleProducer}, Proof: "this process"}
	if by, err := pavise.ParseName(l.row.orderer); err == nil {
		who.By = by
	}
	return who
}

// bring gives the gate a batch. A batch that it cannot take at all is passed over, with a
// finding; its verdict is refused.
func (l *line) bring(ctx context.Context, b Batch) (verdict string, err error) {
	b.Form = l.form
	receipt, err := l.room.cfg.Gate.Admit(ctx, l.principal(), l.row.source(), b)
	now := l.room.cfg.Now().UTC()
	if kind := pavise.KindOf(err); err != nil && (kind == pavise.Invalid || kind == pavise.Conflict) {
		if !l.current() {
			return "", &pavise.Error{Kind: pavise.Unavailable, Msg: fmt.Sprintf("%s was revised when this was fetched already", l.row.source()), Hint: "it is brought again by itself, as the source takes it now", Err: err}
		}
		l.set(func() { l.row.passed++; l.row.came, l.row.quiet = now, time.Time{} })
		return refused, l.refused(ctx, fmt.Sprintf("batch %s: %v", b.ID, err))
	}
	if err != nil {
		return "", err
	}
	l.set(func() {
		switch receipt.Verdict {
		case admitted:
			l.row.admitted++
			l.row.records += int64(receipt.Rows)
		case held:
			l.row.held++
		}
		l.row.came, l.row.quiet = now, time.Time{}
	})
	return receipt.Verdict, nil
}

// refused is the verdict on what cannot be taken at all.
const refused = "refused"

// refused tells that something cannot be taken at all.
func (l *line) refused(ctx context.Context, what string) error {
	return l.rarely(ctx, KindRefused, 1, what)
}

// rarely tells of what can come again and again: the first at once, and then at most once a
// minute how many there were. What is the newest of them.
func (l *line) rarely(ctx context.Context, kind string, more int, what string) error {
	t, now := l.told[kind], l.room.cfg.Now()
	if t == nil {
		t = &telling{}
		l.told[kind] = t
	}
	if more > 0 {
		t.count += more
		t.latest = what
	}
	if now.Sub(t.last) < toldEvery {
		return nil
	}
	severity, summary := pavise.Warning, fmt.Sprintf("%d of what came for %s from %s cannot be taken, the last of it: %s", t.count, l.row.source(), l.row.from, clip(t.latest))
	if kind == KindContradicted {
		severity, summary = pavise.Critical, fmt.Sprintf("what %s says now and said before cannot both be true: %s (%d times)", l.row.from, t.latest, t.count)
	}
	err := l.find(ctx, kind, severity, summary, map[string]any{"count": t.count})
	if err == nil {
		t.last, t.count = now, 0
	}
	return err
}

// find leaves a finding in the log.
func (l *line) find(ctx context.Context, kind, severity, summary string, more map[string]any) error {
	on := l.row.source()
	detail := map[string]any{"finding": pavise.Finding{Kind: kind, Severity: severity, On: on, Summary: summary, At: l.room.cfg.Now().UTC()}, "from": l.row.from}
	for key, value := range more {
		detail[key] = value
	}
	return l.room.cfg.Guard.Note(ctx, kind, nil, on, detail)
}

// keep keeps where the carrier is.
func (l *line) keep(ctx context.Context, position any) error {
	text, err := json.Marshal(position)
	if err != nil {
		return fmt.Errorf("encode where %s is: %w", l.row.source(), err)
	}
	l.set(func() { l.row.position = text })
	return l.save(ctx, nil)
}

// save writes the row, and what else belongs to it. It is not given up when the line is
// stopped: what the gate has would be brought again.
func (l *line) save(ctx context.Context, more func(*store.Tx) error) error {
	return l.room.cfg.Store.Update(context.WithoutCancel(ctx), func(tx *store.Tx) error {
		if more != nil {
			if err := more(tx); err != nil {
				return err
			}
		}
		return write(tx, l.row)
	})
}

// restore reads where the carrier was.
func (l *line) restore(position any) error {
	if err := json.Unmarshal(l.row.position, position); err != nil {
		return fmt.Errorf("read where %s was: %w", l.row.source(), err)
	}
	return nil
}

// clip shortens what others wrote.
func clip(s string) string {
	if r := []rune(s); len(r) > 200 {
		return string(r[:199]) + "…"
	}
	return s
}

// A Standing is a receiver as people may see it.
type Standing struct {
	Source   string        `json:"source"` // its id
	From     string        `json:"from"`
	State    string        `json:"state"`             // receiving, silent, failing, stopped
	Problem  string        `json:"problem,omitempty"` // why the last pass came to nothing
	Since    time.Time     `json:"since,omitzero"`    // when it began to, or to be silent
	Every    time.Duration `json:"every_ns"`
	Silence  time.Duration `json:"silence_ns,omitempty"`
	Retake   bool          `json:"retake,omitempty"` // what an object was replaced with is taken, too
	By       string        `json:"by"`               // who ordered it
	Made     time.Time     `json:"made"`
	Came     time.Time     `json:"came,omitzero"` // when something came last
	Admitted int64         `json:"admitted"`      // batches
	Held     int64         `json:"held"`
	Refused  int64         `json:"refused"` // batches that the gate could not take at all
	Records  int64         `json:"records"` // in admitted batches
	Where    string        `json:"where,omitempty"`
}

// shown is an order as people may see it.
func (r *Receivers) shown(one row) Standing {
	s := Standing{State: "stopped"}
	if !one.stopped {
		s.State = "receiving"
	}
	r.mu.Lock()
	l := r.running[one.place]
	r.mu.Unlock()
	if l != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		one, s.Where = l.row, l.at
		switch {
		case l.failed > 0:
			s.State, s.Problem, s.Since = "failing", l.problem, l.since.UTC()
		case !l.row.quiet.IsZero():
			s.State, s.Since = "silent", l.row.quiet
		}
	}
	s.Source, s.From, s.Every, s.Silence, s.Retake, s.By, s.Made = one.name, one.from, one.every, one.silence, one.retake, one.orderer, one.made
	s.Came, s.Admitted, s.Held, s.Refused, s.Records = one.came, one.admitted, one.held, one.passed, one.records
	return s
}
