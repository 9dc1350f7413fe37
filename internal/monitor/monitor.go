package monitor

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/drift"
	"github.com/pavise/pavise/internal/drift/book"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/seal"
	"github.com/pavise/pavise/internal/store"
	"github.com/pavise/pavise/internal/tensor"
)

// Kind is the kind of thing that the verbs are on: the drift of a model, under its id.
const Kind = "drift"

// The kinds of note that the room leaves.
const (
	KindLearned   = "drift.learned"   // a first baseline was learnt, or one that others approved
	KindSuspected = "drift.suspected" // a window found that something moved
	KindConfirmed = "drift.confirmed" // three of five agree, and what is taken for the cause
	KindActed     = "drift.acted"     // what was done about it
	KindEnded     = "drift.ended"     // all is as it was again
	KindHeld      = "drift.held"      // which book of baselines is in force; no finding
	KindSwapped   = "drift.swapped"   // what the store has of baselines is not what was signed, or not the newest
)

// A House does what a verdict asks for. Its errors are for people.
type House interface {
	// Rollback has the version answer again that did before the one named, which answers now,
	// and returns what answers then. It refuses when another one does by now, and when the one
	// before may not answer. The error is ErrElsewhere where others do it, who hear of it.
	Rollback(ctx context.Context, model pavise.Name, version, why string) (now string, err error)
	// Slow holds a caller to less of a model for a while.
	Slow(ctx context.Context, model, caller pavise.Name, why string) error
	// Ask asks the version that answered for a model before the present one. Nobody is told.
	Ask(ctx context.Context, model pavise.Name, asked *tensor.Request) (*tensor.Response, error)
}

// ErrElsewhere is the error of a house that brings no version back itself: BadVersions tells who does.
var ErrElsewhere = errors.New("versions are brought back elsewhere")

// Config is what a monitor is made of. Guard, Log, Store, Key, Sign and Now are required.
type Config struct {
	Guard *guard.Guard
	Log   Log // the guard's
	Store *store.DB
	Key   func(tenant string) *seal.Key // seals a tenant's baselines, and draws projections
	Sign  ed25519.PrivateKey            // signs which of them are in force
	// Review proposes to people that what a model is asked now is as usual, and returns the change,
	// and until when they may decide; no name: there is nobody to decide on that model. nil: nobody
	// is asked.
	Review func(ctx context.Context, ask Ask, why string) (change pavise.Name, until time.Time, err error)
	House  House // nil: nothing is done, and people are told
	Now    func() time.Time
	Say    func(word string, err error) // tells the operator what goes wrong; nil: nobody

	Window time.Duration // the shortest; 0: five minutes
	Learn  int           // rows of which a first baseline is learnt; 0: 2,000
	Few    int           // how many callers together cannot have a version rolled back; 0: three; below: none is looked at
}

// A Monitor says whether models still answer what they answered. Hear is safe for concurrent
// use, as are the verbs; Run is called once.
type Monitor struct {
	cfg   Config
	queue *queue
	found chan struct{} // of room for one: a version was found to be bad
	taken []*item       // that are counted together; of Run alone

	writing sync.Mutex // held while a book is drafted and put, so that each number is given once; before mu

	mu     sync.Mutex
	models map[pavise.Name]*watched // guarded by mu
	away   map[pavise.Name]*watched // models that nobody asks and there is no room for: what they are held to; guarded by mu
	heads  map[pavise.Name]head     // the books in force, also of models whose store has another; guarded by mu
	broken map[pavise.Name]string   // models whose kept baseline was not the sealed one, and why; guarded by mu
}

// The usual numbers.
const (
	usualWindow = 5 * time.Minute
	usualLearn  = 2000
	usualFew    = 3
)

// Open returns the monitor that is in the store. Nothing is counted before Run. What the store
// has as a baseline and was not sealed as such is told, and not used.
func Open(ctx context.Context, cfg Config) (*Monitor, error) {
	if err := cfg.Store.Migrate(ctx, "monitor", steps); err != nil {
		return nil, err
	}
	cfg.Window, cfg.Learn, cfg.Few = cmp.Or(cfg.Window, usualWindow), cmp.Or(cfg.Learn, usualLearn), max(cmp.Or(cfg.Few, usualFew), 0)
	if cfg.Say == nil {
		cfg.Say = func(string, error) {}
	}
	m := &Monitor{cfg: cfg, found: make(chan struct{}, 1), models: map[pavise.Name]*watched{}, away: map[pavise.Name]*watched{}, broken: map[pavise.Name]string{}}
	m.queue = newQueue(func(model pavise.Name, port string) [32]byte {
		return [32]byte(cfg.Key(model.Tenant).MAC("projections of " + model.String() + " " + port))
	})
	if err := m.load(ctx); err != nil {
		return nil, err
	}
	return m, nil
}

func compareNames(a, b pavise.Name) int { return cmp.Compare(a.String(), b.String()) }

// A tenth of one processor is what counting takes at most: what it owes is slept off. It sleeps
// between any two times that it counts, too, so that what comes meanwhile is counted together:
// waking up costs a busy gateway more than counting does.
const (
	restParts = 9
	restLeast = 5 * time.Millisecond
	restMost  = 50 * time.Millisecond
	together  = 1 << 14 // numbers and texts that are counted at once: they stay near, and nobody who asks how a model stands waits long
)

// Run counts what comes, and ends windows when their time has come, until ctx is done.
//
// Unguarded: it acts for nobody: what it finds is noted, and what it has done passes the guard
// where it is done.
func (m *Monitor) Run(ctx context.Context) error {
	tick := time.NewTicker(m.cfg.Window)
	defer tick.Stop()
	pause := time.NewTimer(0)
	defer pause.Stop()
	var items <-chan *item // nil while it rests
	var owed time.Duration
	rest := func() {
		piece := min(owed, restMost)
		owed, items = owed-piece, nil
		pause.Reset(piece)
	}
	for {
		select {
		case <-ctx.Done():
			m.drain()
			return m.saveAll(context.WithoutCancel(ctx))
		case <-tick.C:
			m.endAll(ctx)
		case <-pause.C:
			if items = m.queue.items; owed > 0 {
				rest()
			}
		case o := <-items:
			began := time.Now()
			m.count(ctx, o)
			owed += restParts * time.Since(began)
			if len(items) == 0 {
				owed = max(owed, restLeast)
			}
			if owed >= restLeast {
				rest()
			}
		}
	}
}

// drain counts what waits still.
func (m *Monitor) drain() {
	for {
		select {
		case o := <-m.queue.items:
			m.count(context.Background(), o)
		default:
			return
		}
	}
}

// count counts an item, with what waits behind it.
func (m *Monitor) count(ctx context.Context, o *item) {
	m.taken = append(m.taken[:0], o)
	for size := o.size; size < together; {
		select {
		case o = <-m.queue.items:
			m.taken = append(m.taken, o)
			size += o.size
			continue
		default:
		}
		break
	}
	var ready []*watched
	m.mu.Lock()
	var w *watched // mostly, one exchange is of the model that the one before was of
	for _, o := range m.taken {
		o.version = book.Known(o.version)
		if w == nil || w.layout != o.layout || w.model != o.model {
			w = m.of(o)
		}
		w.see(o, w.seats.Of(o.who))
	}
	w = nil
	for _, o := range m.taken {
		if w != nil && w.model == o.model {
			continue
		}
		w = m.models[o.model]
		w.count()
		if w.learn != nil && w.learn.ready(w.last, m.cfg.Window) && !slices.Contains(ready, w) {
			ready = append(ready, w)
		}
	}
	m.mu.Unlock()
	for _, o := range m.taken {
		m.queue.free(o)
	}
	clear(m.taken)
	for _, w := range ready {
		m.learnt(ctx, w)
	}
}

// of returns what is watched of an item's model, from now on if nobody did. Another layout
// than it had is another model: nothing of what was counted holds for it. m.mu is held.
func (m *Monitor) of(o *item) *watched {
	w := m.models[o.model]
	switch {
	case w != nil && w.layout == o.layout:
		return w
	case w != nil && w.layout != nil && w.layout.same(o.layout):
		w.layout = o.layout
		return w
	case w != nil && w.layout == nil: // it was loaded, and nothing has come since
		if err := w.fit(o.layout); err != nil {
			m.broken[o.model] = err.Error()
			w.bases = [2]*based{}
		}
	case w == nil || !w.same(o.layout):
		was := cmp.Or(w, m.away[o.model])
		delete(m.away, o.model)
		w = newWatched(o.model, o.layout, m.cfg.Now())
		if was != nil {
			w.kept = kept{Version: was.Version, Former: was.Former, Switched: was.Switched, Back: was.Back}
			w.book, w.texts = was.book, was.texts
		}
		w.leaf(o.version)
		m.models[o.model] = w
	}
	if w.bases[now] == nil && w.learn == nil && m.broken[o.model] == "" {
		w.learn = newLearning(o.layout, m.cfg.Learn)
	}
	if order := w.Wait; order != nil && w.learn == nil {
		w.learn = newLearning(o.layout, order.Rows)
		w.learn.first = order.Anew
	}
	return w
}

// same reports whether the layout is that of the watched model.
func (w *watched) same(l *layout) bool { return w.layout != nil && w.layout.same(l) }

// learnt puts in force what was learnt.
func (m *Monitor) learnt(ctx context.Context, w *watched) {
	m.mu.Lock()
	if w.learn == nil || m.models[w.model] != w { // people approved another baseline meanwhile, or the model is another
		m.mu.Unlock()
		return
	}
	text := w.learn.baseline(w.layout)
	anew, version := w.learn.first, w.Version
	before := w.bases[now]
	m.mu.Unlock()
	if len(text.Features) == 0 {
		return
	}
	b, err := w.based(text)
	if err == nil {
		err = m.install(ctx, w, b, version, anew, func(tx *store.Tx) error { return nil })
	}
	if err != nil {
		m.cfg.Say("warning", fmt.Errorf("the baseline that was learnt of %s cannot be kept: %w", w.model, err))
		return
	}
	detail := struct {
		Finding pavise.Finding `json:"finding"`
		Digest  string         `json:"baseline"`
		Before  string         `json:"before,omitempty"`
		Rows    uint64         `json:"rows"`
		Version string         `json:"version"`
	}{pavise.Finding{
		Kind: KindLearned, Severity: pavise.Info, On: w.model, At: m.cfg.Now().UTC(),
		Summary: fmt.Sprintf("what is asked of %s, and answered, is held to what its last %d rows were like", w.model, b.Rows),
	}, b.Digest, "", b.Rows, version}
	if before != nil {
		detail.Before = before.Digest
	}
	if err := m.cfg.Guard.Note(ctx, KindLearned, nil, w.model, detail); err != nil {
		m.cfg.Say("warning", err)
	}
}

// based makes bins of a baseline.
func (w *watched) based(b *drift.Baseline) (*based, error) {
	held, err := rulers(w.layout, b)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(held, func(r ruler) bool { return r.Base != nil }) {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the baseline names no feature of %s", w.model), Hint: "features are named as pavise drift show lists them"}
	}
	return &based{Baseline: b, Digest: b.Digest(), held: held, votes: make([]drift.Votes, len(held))}, nil
}

// install has a version be held to a baseline, and keeps that in one transaction with mark. Anew
// makes it the first one, too, as does that the first one is of other inputs and outputs.
func (m *Monitor) install(ctx context.Context, w *watched, b *based, version string, anew bool, mark func(*store.Tx) error) error {
	m.writing.Lock()
	defer m.writing.Unlock()
	m.mu.Lock()
	if m.models[w.model] != w {
		m.mu.Unlock()
		return another(w.model)
	}
	own := version == w.Version
	next := m.draft(w)
	next.Put(book.Page{Version: version, Baseline: b.Digest, At: next.At}, w.Version)
	next.Original = cmp.Or(next.Original, b.Digest)
	texts := maps.Clone(w.texts)
	if texts == nil {
		texts = map[string]*drift.Baseline{}
	}
	texts[b.Digest] = b.Baseline
	origin, err := (*based)(nil), error(nil)
	if !anew && next.First != "" && next.First != b.Digest {
		if origin, err = w.based(texts[next.First]); err != nil {
			origin = nil
		}
	}
	if next.First = b.Digest; origin != nil {
		next.First = origin.Digest
	}
	m.mu.Unlock()
	err = m.put(ctx, w, next, next.Texts(texts), func(tx *store.Tx) error {
		// What was to be learnt is: a process that is killed now learns nothing once more.
		if !own {
			return mark(tx)
		}
		if _, err := tx.Exec(`UPDATE monitor_models SET doc = json_remove(doc, '$.wait') WHERE tenant = ? AND id = ?`, w.model.Tenant, w.model.ID); err != nil {
			return err
		}
		return mark(tx)
	})
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if own {
		w.Wait = nil
	}
	if by := next.Held(w.Version); by != nil && by.Version == version {
		w.hold(b, origin)
		w.Quiet, w.Verdict = nil, Verdict{Stage: Stable, Words: "nothing has moved"}
	}
	delete(m.broken, w.model)
	return nil
}

// another is why a baseline does not hold that was made for what a model took before.
func another(model pavise.Name) error {
	return &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("%s takes and gives something else than when it was looked at", model), Hint: "propose it anew"}
}

// endAll ends the window of every model, and does what follows.
func (m *Monitor) endAll(ctx context.Context) {
	m.mu.Lock()
	names := slices.SortedFunc(maps.Keys(m.models), compareNames)
	m.mu.Unlock()
	var errs []error
	for _, name := range names {
		m.endOne(ctx, name)
		errs = append(errs, m.save(ctx, name))
	}
	if err := errors.Join(errs...); err != nil && ctx.Err() == nil {
		m.cfg.Say("warning", fmt.Errorf("what was counted of drift cannot be kept: %w", err))
	}
}

// idle is after how long without a question a model is watched no more, where there is no room.
const idle = 24 * time.Hour

// endOne ends the window of a model.
func (m *Monitor) endOne(ctx context.Context, name pavise.Name) {
	at := m.cfg.Now()
	m.mu.Lock()
	w := m.models[name]
	if w == nil || w.layout == nil {
		m.mu.Unlock()
		return
	}
	if len(m.models) >= mostModels && at.Sub(w.last) > idle {
		delete(m.models, name)
		m.away[name] = &watched{model: name, kept: w.kept, book: w.book, texts: w.texts}
		m.queue.leave(name)
		m.mu.Unlock()
		return
	}
	e := w.end(at, m.cfg.Few)
	by := w.bases[now]
	var held []ruler
	if by != nil {
		held = by.held
	}
	ask := some(e.outputs) && !some(e.inputs) && !e.lean && e.broad && w.Verdict.Stage != Confirmed
	m.mu.Unlock()
	if ask {
		e.elder = m.askElder(ctx, name, e.sample, held, slices.Concat(e.outputs[:]...))
	}
	m.mu.Lock()
	if w.bases[now] != by { // another baseline was put meanwhile: this says nothing of it
		m.mu.Unlock()
		return
	}
	was := w.Verdict
	if !ask && was.Stage == Confirmed { // what was found by asking is not asked again
		e.elder = w.Elder
	}
	w.Elder = e.elder
	w.Verdict = w.next(&e, at)
	verdict := w.Verdict
	m.mu.Unlock()
	m.tell(ctx, w, was, verdict)
	if err := m.pages(ctx, w); err != nil {
		m.cfg.Say("warning", fmt.Errorf("what %s of %s is held to cannot be kept: %w", w.Version, name, err))
	}
}
