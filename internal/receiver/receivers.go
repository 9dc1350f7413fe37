package receiver

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/store"
)

// KindSource is the kind of thing that a source is.
const KindSource = "source"

// The forms of batches, as the gate has them.
const (
	formNDJSON = "ndjson"
	formCSV    = "csv"
	formLines  = "lines"
	formOTLP   = "otlp"
	formSTIX   = "stix"
)

// The verdicts of the gate.
const (
	admitted = "admitted"
	held     = "held"
)

// A Batch is what one delivery to the gate holds.
type Batch struct {
	ID        string    // which bytes of what: the same id always has the same bytes
	Form      string    // of the source
	Body      []byte    // the gate may keep it
	Writer    string    // who wrote it as far as the carrier knows; "": unknown
	At        time.Time // when the carrier says that it was written; zero: it does not
	Signature []byte    // detached, over Body; nil: none
	Placed    bool      // the same bytes under another id are other records
	Doubt     string    // why it is to be held whatever it holds; "": nothing speaks against it
}

// A Receipt says what became of a batch.
type Receipt struct {
	Verdict string // admitted, held or repeated
	SHA256  string
	Rows    int
	Reasons []string
}

// A Gate takes batches.
type Gate interface {
	// Admit says what became of a batch, which it has kept by then. The same id with the
	// same bytes counts once. An error of kind Invalid or Conflict is about the batch, which
	// can never be taken; after any other the batch is brought again.
	Admit(ctx context.Context, who pavise.Principal, source pavise.Name, b Batch) (Receipt, error)
	// Form is the form that batches of a source have. The error is of kind NotFound if there
	// is no such source.
	Form(source pavise.Name) (string, error)
}

// Config is what receivers are made of. All but Roots, Servers and Say are required.
type Config struct {
	Guard   *guard.Guard
	Store   *store.DB
	Gate    Gate
	Roots   []string // directories and buckets that something may be received from
	Servers []Server
	Scratch string                       // a directory for objects that are being read; made when it is not there
	Now     func() time.Time             // the clock
	Say     func(word string, err error) // tells the operator what goes wrong; nil: nobody
}

// grace is how long a program may go on writing to a file that was put aside, after the
// last line in it.
const grace = 5 * time.Second

// Receivers fetch records. They are safe for concurrent use.
type Receivers struct {
	cfg     Config
	files   folder        // how files are opened; never changes
	grace   time.Duration // how long a file that was put aside has nothing new before the next one is read; never changes
	breath  time.Duration // between pages of a feed that follow on each other; never changes
	most    int           // entries of the journal of a source; never changes
	editing sync.Mutex    // held by the verbs that change orders, so that each is followed as it is stored

	mu      sync.Mutex      // guards what follows
	ctx     context.Context // of Run; nil: it does not run
	running map[place]*line
	group   sync.WaitGroup // their goroutines; grows only under mu
}

// Open returns the receivers whose orders are in the store. Nothing is fetched before Run.
func Open(ctx context.Context, cfg Config) (*Receivers, error) {
	if err := cfg.Store.Migrate(ctx, "receiver", steps); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.Scratch, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, &pavise.Error{Kind: pavise.Unavailable, Msg: fmt.Sprintf("make %s, where objects lie while they are read: %v", cfg.Scratch, err), Hint: "check the owner, the mode and the disk of the data directory", Err: err}
	}
	if cfg.Say == nil {
		cfg.Say = func(string, error) {}
	}
	return &Receivers{cfg: cfg, files: disks{}, grace: grace, breath: breath, most: maxJournal, running: map[place]*line{}}, nil
}

// Run fetches until ctx is done. Its caller owns the goroutine.
//
// Unguarded: nobody asks for it; who may order was asked then, and each batch enters at
// the gate.
func (r *Receivers) Run(ctx context.Context) error {
	all, err := r.rows(ctx, "")
	if ctx.Err() != nil {
		return nil // stopped before it began
	}
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.ctx = ctx
	for _, one := range all {
		r.start(one)
	}
	r.mu.Unlock()
	<-ctx.Done()
	r.mu.Lock()
	r.ctx = nil
	r.mu.Unlock()
	r.group.Wait()
	return nil
}

// start fetches for an order, unless it is stopped or Run does not run. The caller holds mu.
func (r *Receivers) start(one row) {
	if r.ctx == nil || one.stopped {
		return
	}
	ctx, cancel := context.WithCancel(r.ctx)
	l := &line{room: r, row: one, cancel: cancel, done: make(chan struct{}), told: map[string]*telling{}}
	r.running[one.place] = l
	r.group.Go(func() {
		defer close(l.done)
		defer cancel()
		l.serve(ctx)
	})
}

// stop ends the fetching for a source, and waits for it. The caller must not hold mu.
func (r *Receivers) stop(at place) {
	r.mu.Lock()
	l := r.running[at]
	delete(r.running, at)
	r.mu.Unlock()
	if l != nil {
		l.cancel()
		<-l.done
	}
}

// The bounds of an order.
const (
	maxOrders    = 64 // of one tenant: each has a goroutine and some megabytes
	leastEvery   = 100 * time.Millisecond
	mostEvery    = 24 * time.Hour
	leastSilence = time.Second
	mostSilence  = 90 * 24 * time.Hour
)

// An Order says that records of a source are to be fetched.
type Order struct {
	Source  pavise.Name   // the source
	From    string        // where from: file, bucket, NATS or TAXII
	Every   time.Duration // between passes; 0: as before, or what the carrier is usually asked
	Silence time.Duration // without anything that are a finding; 0: as before, or never
	Retake  bool          // take what an object was replaced with, too
}

// Receive has records of a source fetched from a place: the verb ingest.receive. A source
// that is fetched from there already, or was, goes on where it is; one that is fetched
// from elsewhere begins anew. The error is of kind Invalid for a place that pavise.yaml
// does not allow, or that does not have the source's form, NotFound if there is no such
// source, and Conflict if there are too many.
func (r *Receivers) Receive(ctx context.Context, who pavise.Principal, o Order) (s Standing, err error) {
	entry, err := r.cfg.Guard.Enter(ctx, who, "ingest.receive", o.Source)
	if err != nil {
		return s, err
	}
	defer entry.Exit(&err)
	at := place{o.Source.Tenant, o.Source.ID}
	entry.Detail(map[string]any{"from": o.From, "every_ms": o.Every.Milliseconds(), "silence_ms": o.Silence.Milliseconds(), "retake": o.Retake})
	t, err := r.admissible(at, o)
	if err != nil {
		return s, err
	}
	r.editing.Lock()
	defer r.editing.Unlock()
	r.stop(at)
	var one row
	err = r.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		one, err = r.order(tx, who, at, o, t)
		return err
	})
	if err != nil {
		return s, errors.Join(err, r.goOn(at))
	}
	r.mu.Lock()
	r.start(one)
	r.mu.Unlock()
	return r.shown(one), nil
}

// goOn fetches again for an order that was not changed after all.
func (r *Receivers) goOn(at place) error {
	return r.cfg.Store.View(context.Background(), func(tx *store.Tx) error {
		one, err := find(tx, at)
		if pavise.KindOf(err) == pavise.NotFound {
			return nil
		}
		if err == nil {
			r.mu.Lock()
			r.start(one)
			r.mu.Unlock()
		}
		return err
	})
}

// admissible checks an order.
func (r *Receivers) admissible(at place, o Order) (target, error) {
	t, err := r.cfg.resolve(o.From)
	if err != nil {
		return t, err
	}
	for _, d := range []struct {
		what                string
		is, least, greatest time.Duration
	}{{"every", o.Every, leastEvery, mostEvery}, {"silence", o.Silence, leastSilence, mostSilence}} {
		if d.is != 0 && (d.is < d.least || d.is > d.greatest) {
			return t, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s %v is not between %v and %v", d.what, d.is, d.least, d.greatest), Hint: "leave it out for the usual"}
		}
	}
	_, err = r.cfg.admits(at.source(), t)
	return t, err
}

// admits returns the form that a source takes. The error is of kind NotFound if there is no
// such source, and Invalid if what comes from a target does not have that form.
func (cfg *Config) admits(source pavise.Name, t target) (form string, err error) {
	if form, err = cfg.Gate.Form(source); err != nil {
		return "", err
	}
	if can := t.forms(); can != nil && !slices.Contains(can, form) {
		return "", &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s takes batches of form %s, and what comes from a %s is %s", source, form, t.carrier, strings.Join(can, ", ")), Hint: "declare a source with one of these forms"}
	}
	return form, nil
}

// usual is how often a carrier is asked when nobody says.
func (t target) usual() time.Duration {
	switch t.carrier {
	case carrierFile, carrierNATS:
		return time.Second
	}
	return time.Minute
}

// order writes an order.
func (r *Receivers) order(tx *store.Tx, who pavise.Principal, at place, o Order, t target) (row, error) {
	now := r.cfg.Now().UTC()
	one, err := find(tx, at)
	switch {
	case pavise.KindOf(err) == pavise.NotFound:
		var n int
		if err := tx.QueryRow(`SELECT count(*) FROM receiver_orders WHERE tenant = ?`, at.tenant).Scan(&n); err != nil {
			return one, err
		}
		if n >= maxOrders {
			return one, &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("tenant %s has %d receivers already", at.tenant, n), Hint: "forget one that nobody needs: pavise ingest stop NAME --forget"}
		}
	case err != nil:
		return one, err
	}
	if one.from != o.From {
		if err := forget(tx, at); err != nil {
			return one, err
		}
		one = row{place: at, from: o.From, epoch: rand.Text()[:12], every: t.usual(), position: []byte("{}")}
	}
	one.orderer, one.made, one.stopped, one.retake, one.quiet = who.Name().String(), now, false, o.Retake, time.Time{}
	if o.Every != 0 {
		one.every = o.Every
	}
	if o.Silence != 0 {
		one.silence = o.Silence
	}
	return one, write(tx, one)
}

// forget deletes an order and its journal.
func forget(tx *store.Tx, at place) error {
	if _, err := tx.Exec(`DELETE FROM receiver_objects WHERE tenant = ? AND source = ?`, at.tenant, at.name); err != nil {
		return err
	}
	_, err := tx.Exec(`DELETE FROM receiver_orders WHERE tenant = ? AND name = ?`, at.tenant, at.name)
	return err
}

// Stop ends the fetching for a source: the verb ingest.stop. The order stays, with how far
// it is, and Receive goes on there; with forgotten it goes, with its journal. The error is
// of kind NotFound if there is none.
func (r *Receivers) Stop(ctx context.Context, who pavise.Principal, source pavise.Name, forgotten bool) (err error) {
	entry, err := r.cfg.Guard.Enter(ctx, who, "ingest.stop", source)
	if err != nil {
		return err
	}
	defer entry.Exit(&err)
	entry.Detail(map[string]any{"forget": forgotten})
	at := place{source.Tenant, source.ID}
	r.editing.Lock()
	defer r.editing.Unlock()
	r.stop(at)
	err = r.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		one, err := find(tx, at)
		if err != nil {
			return err
		}
		if forgotten {
			return forget(tx, at)
		}
		one.stopped = true
		return write(tx, one)
	})
	if err != nil {
		return errors.Join(err, r.goOn(at))
	}
	return nil
}

// List returns the tenant's receivers, by the name of the source: the verb
// ingest.receivers.
func (r *Receivers) List(ctx context.Context, who pavise.Principal) (all []Standing, err error) {
	entry, err := r.cfg.Guard.Enter(ctx, who, "ingest.receivers", pavise.Name{Tenant: who.Tenant, Kind: KindSource, ID: "all"})
	if err != nil {
		return nil, err
	}
	defer entry.Exit(&err)
	rows, err := r.rows(ctx, who.Tenant)
	for _, one := range rows {
		all = append(all, r.shown(one))
	}
	return all, err
}
