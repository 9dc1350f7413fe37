package route

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/chat"
	"github.com/pavise/pavise/internal/firewall"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/infer"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/shadow"
	"github.com/pavise/pavise/internal/store"
	"github.com/pavise/pavise/internal/telemetry"
	"github.com/pavise/pavise/internal/tensor"
	"github.com/pavise/pavise/internal/tier"
	"github.com/pavise/pavise/internal/upstream"
)

// steps are the migrations of the data plane, whose room was once one: what callers have
// taken is kept by package gateway. They are only ever appended to.
var steps = []string{
	`CREATE TABLE gateway_routes (name TEXT PRIMARY KEY, route TEXT NOT NULL) STRICT;
	 CREATE TABLE gateway_models (digest TEXT PRIMARY KEY, onnx BLOB NOT NULL) STRICT;
	 CREATE TABLE gateway_spends (id INTEGER PRIMARY KEY CHECK (id = 0), records INTEGER NOT NULL, spends TEXT NOT NULL) STRICT;`,
	`ALTER TABLE gateway_spends ADD COLUMN signed INTEGER NOT NULL DEFAULT 0;`,
	`CREATE TABLE gateway_releases (
		name  TEXT NOT NULL,
		seq   INTEGER NOT NULL, -- in the order in which they answered
		route TEXT NOT NULL,    -- as it was then
		gone  INTEGER NOT NULL DEFAULT 0, -- it was rolled back
		PRIMARY KEY (name, seq)
	 ) STRICT;
	 INSERT INTO gateway_releases (name, seq, route) SELECT name, 1, route FROM gateway_routes;
	 CREATE TABLE gateway_quarantine (name TEXT PRIMARY KEY) STRICT;`,
}

// A Table has what stands behind the models' names. Readers never wait: a change
// puts a new table in the place of the old one.
type Table struct {
	guard   *guard.Guard
	db      *store.DB
	meter   *firewall.Meter
	servers *infer.Servers   // that routes lead to
	watch   *telemetry.Meter // nil: nobody counts
	tiers   *tier.Book       // who copies models; nil: nobody looks
	aside   int              // bytes of models that run beside others, at most
	fit     Fit              // nil: any file may answer; set before requests come
	parsed  atomic.Pointer[parsed]
	formers atomic.Pointer[formers] // of a table of before, or of this one

	changing sync.Mutex                            // held over a whole change, store and table
	live     atomic.Pointer[map[pavise.Name]*Live] // replaced whole, under changing
	barred   atomic.Pointer[map[pavise.Name]bool]  // models in quarantine; replaced whole, under changing
}

// Open loads the routes from the store, and has the meter hold callers to their terms, and
// the book of tiers look at them. watch may be nil: nobody counts; and tiers: nobody looks.
func Open(ctx context.Context, g *guard.Guard, db *store.DB, meter *firewall.Meter, servers *infer.Servers, watch *telemetry.Meter, tiers *tier.Book) (*Table, error) {
	if err := db.Migrate(ctx, "gateway", steps); err != nil {
		return nil, err
	}
	t := &Table{guard: g, db: db, meter: meter, servers: servers, watch: watch, tiers: tiers, aside: maxAside}
	table := map[pavise.Name]*Live{}
	t.live.Store(&table)
	if err := db.View(ctx, t.startAll); err != nil {
		return t, err
	}
	byName := func(a, b *Live) int { return strings.Compare(a.Model.String(), b.Model.String()) }
	for _, l := range slices.SortedFunc(t.All(), byName) { // so that each start has room for the same calibrations
		if err := t.lookOrSay(ctx, l); err != nil {
			return t, fmt.Errorf("start route %s: %w", l.Model, err)
		}
	}
	return t, nil
}

// A Fit says why a route may not be a name's first by the word of one person; nil: it may. Its
// errors are of kind Denied.
type Fit func(ctx context.Context, first Route) error

// HoldFirst has each name's first route held to what may answer, where one person puts it.
// Those that come later are releases, which others approve, and so can the first be. It is
// called before requests come.
func (t *Table) HoldFirst(fit Fit) { t.fit = fit }

// startAll starts the routes that the store has.
func (t *Table) startAll(tx *store.Tx) error {
	if err := t.readQuarantine(tx); err != nil {
		return err
	}
	routes, err := stored(tx)
	if err != nil {
		return err
	}
	for _, route := range routes {
		l, err := t.start(tx, route)
		if err == nil {
			err = t.install(l)
		}
		if err != nil {
			return fmt.Errorf("start route %s: %w", route.Model, err)
		}
	}
	return nil
}

// stored reads the routes that the store has.
func stored(tx *store.Tx) ([]Route, error) {
	routes, err := store.Docs[Route](tx, `SELECT route FROM gateway_routes ORDER BY name`)
	if err != nil {
		return nil, fmt.Errorf("read the stored routes: %w", err)
	}
	return routes, nil
}

// start makes a stored route ready to take requests.
func (t *Table) start(tx *store.Tx, route Route) (*Live, error) {
	l, err := t.startModel(tx, route)
	switch {
	case err != nil || route.Shadow == "" && route.ShadowONNX == "":
		return l, err
	case route.ShadowONNX != "":
		l.Mirror = shadow.New(l.loaded[len(l.loaded)-1].Native, shadow.Here, l.Gate, route.answers(), route.ShadowONNX)
		return l, nil
	}
	// Servers that are called otherwise share nothing with those of callers: a shadow that
	// hangs fills its own connections alone.
	apart := upstream.Options{Name: "the shadow of " + route.Model.String()}
	at := []upstream.Endpoint{{URL: route.Shadow, Weight: 1}}
	copied, err := t.servers.Upstream(at, apart, route.copied(), route.Signature, tensor.DefaultLimits())
	if err != nil {
		l.stop()
		return nil, err
	}
	l.Mirror = shadow.New(copied, shadow.OnServer, l.Gate, route.answers(), route.copied().Model+" at "+route.Shadow)
	return l, nil
}

// startModel is start without the shadow.
func (t *Table) startModel(tx *store.Tx, route Route) (*Live, error) {
	l := t.liveOf(route)
	options := upstream.Options{Balance: balances[route.Balance]}
	if route.Language() {
		server, err := t.servers.Chat(route.endpoints(), options, route.Place(), chat.DefaultLimits())
		if err != nil {
			return nil, err
		}
		l.Chat = server
		return l, nil
	}
	if route.ONNX == "" {
		remote, err := t.servers.Upstream(route.endpoints(), options, route.Place(), route.Signature, tensor.DefaultLimits())
		if err != nil {
			return nil, err
		}
		l.Predictor = remote
		return l, nil
	}
	return l, t.startNative(tx, l)
}

// install lets requests take the route.
func (t *Table) install(l *Live) error {
	limits, err := l.Limits()
	if err != nil {
		return err
	}
	if err := t.meter.SetTerms(l.Model, limits); err != nil {
		return err
	}
	table := maps.Clone(*t.live.Load())
	table[l.Model] = l
	t.live.Store(&table)
	t.guard.Observe(l.Model, l.Observe)
	return nil
}

// Find returns the route to a model that requests take now. The error is of kind NotFound.
func (t *Table) Find(name pavise.Name) (*Live, error) {
	if l, ok := (*t.live.Load())[name]; ok {
		return l, nil
	}
	return nil, &pavise.Error{
		Kind: pavise.NotFound,
		Msg:  fmt.Sprintf("no route leads to %s", name),
		Hint: "pavise route list shows those that exist",
	}
}

// Get returns the route to a model, for whoever wires the house.
func (t *Table) Get(name pavise.Name) (Route, bool) {
	l, ok := (*t.live.Load())[name]
	if !ok {
		return Route{}, false
	}
	return l.Route, true
}

// Has reports whether a route leads to the model, for whoever wires the house.
func (t *Table) Has(name pavise.Name) bool {
	_, err := t.Find(name)
	return err == nil
}

// A Placed route is one that was put.
type Placed struct {
	Route
	// Warning says what is amiss with the server that it leads to, which may be put right
	// there, or that a calibration ended with its model; empty: nothing.
	Warning string `json:"warning,omitempty"`

	calibration *calibrated       // a new one; nil: there is none
	models      map[string][]byte // ONNX models that come, by digest
}

// Put makes a route or changes what the words say of it, while requests run. It
// is the verb route.put on tenant/route/id. Requests under way end on the route
// they began on. Another model for a name that has one already, another server of it or
// another shadow is a release, which others must approve: Put refuses it with kind
// Conflict. Weights and the balance change on the connections that there are.
func (t *Table) Put(ctx context.Context, who pavise.Principal, spec Spec) (placed Placed, err error) {
	entry, err := t.guard.Enter(ctx, who, "route.put", routeName(spec.Name))
	if err != nil {
		return Placed{}, err
	}
	defer entry.Exit(&err)
	found, err := t.describe(ctx, spec, t.current(spec.Name)) // without the lock: a server may be slow
	if err != nil {
		return Placed{}, err
	}
	t.changing.Lock()
	defer t.changing.Unlock()
	if placed, err = t.compose(ctx, spec, found, t.current(spec.Name)); err != nil {
		return Placed{}, err
	}
	entry.Detail(placed)
	last, err := t.lastRelease(ctx, placed.Model)
	if err != nil {
		return Placed{}, err
	}
	if last != nil && !last.sameModel(placed.Route) {
		is := map[bool]string{true: "is", false: "was"}[t.current(spec.Name) != nil]
		return Placed{}, &pavise.Error{
			Kind: pavise.Conflict, Msg: fmt.Sprintf("%s %s answered by %s, and another model, server or shadow for it is a release, which others approve", placed.Model, is, last.behind()),
			Hint: "propose it: pavise route release " + placed.Model.String() + " with the same model, servers and shadow",
		}
	}
	if last == nil && t.fit != nil {
		if err := t.fit(ctx, placed.Route); err != nil {
			return Placed{}, err
		}
	}
	return placed, t.save(ctx, t.db.Update, placed, nil)
}

// compose makes the route that the words ask for, of the one that was there, if any,
// and what was found out about the model. Callers hold changing.
func (t *Table) compose(ctx context.Context, spec Spec, found *finding, was *Route) (placed Placed, err error) {
	route, err := spec.route(was)
	if err != nil {
		return placed, err
	}
	if found != nil && (route.Place() != found.place) {
		return placed, &pavise.Error{
			Kind: pavise.Conflict, Msg: fmt.Sprintf("somebody else changed where %s runs at the same time", route.Model),
			Hint: "look at it with pavise route list, and put it again",
		}
	}
	if err := found.complete(&route, was, spec); err != nil {
		return placed, err
	}
	if route.Drift, err = route.Drift.Put(spec.Baseline, spec.Drift, route.Signature.Inputs); err != nil {
		return placed, err
	}
	if _, err := route.Limits(); err != nil {
		return placed, err
	}
	own, ended, err := t.watched(ctx, &route, was, spec)
	if err != nil {
		return placed, err
	}
	placed.Route, placed.Warning, placed.calibration = route, ended, own
	if found != nil {
		if placed.models = found.models; found.doubt != "" {
			placed.Warning = strings.TrimPrefix(ended+"; "+found.doubt, "; ")
		}
		if err := t.room(route, found.models); err != nil {
			return placed, err
		}
	}
	if err := route.Shape.ValidateFor(route.Signature); err != nil {
		return placed, err
	}
	return placed, route.recordable()
}

// maxRoute bounds what is said of a route, in bytes of JSON: each change of it is a record
// that holds all of it, beside who changed it and what was warned of.
const maxRoute = record.MaxEntry - 8<<10

// recordable refuses a route whose changes would be records without it.
func (r Route) recordable() error {
	text, err := json.Marshal(r)
	if err == nil && len(text) > maxRoute {
		err = &pavise.Error{
			Kind: pavise.Invalid, Msg: fmt.Sprintf("what is said of the route to %s takes %d bytes, more than %d, and its record has to hold it", r.Model, len(text), maxRoute),
			Hint: "give columns shorter names or none, and bounds and baselines to those that need them",
		}
	}
	return err
}

// current returns the route to a model as it is now, or nil.
func (t *Table) current(model string) *Route {
	name, err := pavise.ParseName(model)
	if l, ok := (*t.live.Load())[name]; ok && err == nil {
		return &l.Route
	}
	return nil
}

// routeName is the name of the route that leads to a model, as tenant/route/id.
// A model's name that is none is left to the guard to refuse.
func routeName(model string) pavise.Name {
	name, _ := pavise.ParseName(model)
	name.Kind = "route"
	return name
}

// A finding is what a model that was named anew takes and gives.
type finding struct {
	stays     bool // the model that answers was not named: it stays
	signature tensor.Signature
	digest    string      // of an ONNX model
	place     infer.Place // or where it runs
	doubt     string      // what was amiss there when nothing had to be asked; empty: nothing

	beside, shadow *infer.Native     // ONNX models that were named beside it; nil: none
	models         map[string][]byte // the bytes of those that were named, by digest
}

// describe finds out what the models take and give. It is nil when the words
// name none, and the route's stay.
func (t *Table) describe(ctx context.Context, spec Spec, was *Route) (*finding, error) {
	route, err := spec.route(was)
	if err != nil {
		return nil, err
	}
	f, err := t.describeMain(ctx, spec, was, route)
	if err != nil || spec.Beside == nil && spec.ShadowONNX == nil {
		return f, err
	}
	if f == nil {
		f = &finding{stays: true, place: route.Place()}
	}
	var main *tensor.Signature
	if l, err := t.Find(route.Model); f.digest != "" {
		main = &f.signature
	} else if err == nil && len(l.loaded) > 0 {
		main = new(l.loaded[0].Signature())
	}
	return f, f.aside(spec, route.Model.ID, main)
}

// describeMain finds out what the model takes and gives that is to answer, if it is named.
func (t *Table) describeMain(ctx context.Context, spec Spec, was *Route, route Route) (*finding, error) {
	f := finding{place: route.Place()}
	switch {
	case spec.ONNX != nil:
		native, err := infer.NewNative(route.Model.ID, spec.ONNX)
		if err != nil {
			return nil, err
		}
		f.signature, f.digest = native.Signature(), native.Digest()
		f.keep(f.digest, spec.ONNX)
	case route.Language() && (spec.namesModel() || len(spec.Replicas) > 0):
		if err := t.servers.Alike(route.endpoints()); err != nil {
			return nil, err
		}
		f.doubt = t.servers.Probe(ctx, route.Place()) // what it takes and gives, the protocol says
	case spec.namesModel():
		first := []upstream.Endpoint{{URL: route.Upstream, Weight: 1}}
		server, err := t.servers.Upstream(first, upstream.Options{}, route.Place(), route.Signature, tensor.DefaultLimits())
		if err != nil {
			return nil, err
		}
		defer server.Close()
		if spec.Signature != nil {
			f.doubt = t.servers.Probe(ctx, route.Place())
			break
		}
		if route.Upstream == infer.External && was != nil {
			f.signature = was.Signature // nobody can ask it; it gives what the name always gave
			break
		}
		if f.signature, err = server.Describe(ctx); err != nil {
			return nil, infer.Unreached(route.Place(), err)
		}
	default:
		return nil, nil
	}
	return &f, nil
}

// complete fills in what the model takes and gives: as the words say, else as was
// found, else as it was. Columns and their bounds stay where the ports do.
func (f *finding) complete(route, was *Route, spec Spec) error {
	if f != nil && !f.stays {
		route.ONNX, route.Signature = f.digest, f.signature
		if was != nil {
			firewall.KeepColumns(route.Signature.Inputs, was.Signature.Inputs)
			firewall.KeepColumns(route.Signature.Outputs, was.Signature.Outputs)
		}
	}
	if err := spec.versions(route, was, f); err != nil {
		return err
	}
	if route.Language() {
		return nil
	}
	if spec.Signature != nil {
		said, err := infer.ReadSignature(spec.Signature)
		if err != nil {
			return err
		}
		route.Signature = said
	}
	if err := route.Signature.Validate(); err != nil {
		return err
	}
	if spec.Bounds == nil {
		return nil
	}
	route.Signature.Inputs = slices.Clone(route.Signature.Inputs) // may be those of was
	if err := firewall.Bound(route.Signature.Inputs, spec.Bounds); err != nil {
		return err
	}
	return route.Signature.Validate()
}

// save stores the route, starts it, and lets requests take it, all or nothing: update
// is the store's Update or UpdateSafe, and more, unless nil, is part of the same
// transaction. Callers hold changing.
func (t *Table) save(ctx context.Context, update func(context.Context, func(*store.Tx) error) error, placed Placed, more func(*store.Tx) error) error {
	route := placed.Route
	text, err := json.Marshal(route)
	if err != nil {
		return fmt.Errorf("encode route %s: %w", route.Model, err)
	}
	was := (*t.live.Load())[route.Model]
	var l *Live
	err = update(ctx, func(tx *store.Tx) error {
		if err := placed.keepBytes(tx); err != nil {
			return err
		}
		if l = t.liveOf(route); !l.inherit(was) {
			if l, err = t.start(tx, route); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(`INSERT INTO gateway_routes VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET route = excluded.route`, route.Model.String(), string(text)); err != nil {
			return err
		}
		if more != nil {
			if err := more(tx); err != nil {
				return err
			}
		}
		return keepRelease(tx, route, string(text))
	})
	return t.take(ctx, l, was, err)
}

// keepBytes keeps the bytes of what a route names: those of ONNX models that come, and
// those of a new calibration.
func (p Placed) keepBytes(tx *store.Tx) error {
	for digest, onnx := range p.models {
		if err := keepBytes(tx, digest, onnx); err != nil {
			return err
		}
	}
	if c := p.calibration; c != nil {
		return keepBytes(tx, c.digest, c.text)
	}
	return nil
}

// take lets requests take a route that was stored, unless err says that it was not, and ends
// the one that is not kept. l is nil where it did not start.
func (t *Table) take(ctx context.Context, l, was *Live, err error) error {
	if err == nil {
		err = l.settle()
	}
	if err == nil {
		err = t.install(l)
	}
	kept, left := l, was
	if err != nil {
		kept, left = was, l
	}
	t.leave(ctx, left, kept)
	if err == nil {
		err = t.look(ctx, l)
	}
	return err
}

// leave ends a route's model, unless the route that is kept goes on with it, and notes
// how its shadow did. Either may be nil.
func (t *Table) leave(ctx context.Context, left, kept *Live) {
	if left == nil || kept != nil && left.Predictor == kept.Predictor && left.Chat == kept.Chat && left.Mirror == kept.Mirror {
		return
	}
	t.tell(ctx, left)
	left.stop()
}

// Delete takes a route away. It is the verb route.delete on tenant/route/id. What is
// known of the name stays: its history, with the route as it was at the end, and a
// quarantine.
func (t *Table) Delete(ctx context.Context, who pavise.Principal, model pavise.Name) (err error) {
	entry, err := t.guard.Enter(ctx, who, "route.delete", routeName(model.String()))
	if err != nil {
		return err
	}
	defer entry.Exit(&err)
	t.changing.Lock()
	defer t.changing.Unlock()
	l, err := t.Find(model)
	if err != nil {
		return err
	}
	err = t.db.Update(ctx, func(tx *store.Tx) error {
		if err := keepLast(tx, l.Route); err != nil {
			return err
		}
		_, err := tx.Exec(`DELETE FROM gateway_routes WHERE name = ?`, model.String())
		return err
	})
	if err != nil {
		return err
	}
	table := maps.Clone(*t.live.Load())
	delete(table, model)
	t.live.Store(&table)
	t.guard.Observe(model, false)
	t.meter.DropTerms(model)
	t.leave(ctx, l, nil)
	if t.tiers != nil {
		_, err = t.tiers.Calibrate(ctx, model, nil)
	}
	return err
}

// List returns a tenant's routes by name, and how it stands with each and its servers.
// It is the verb route.list on tenant/route/all.
func (t *Table) List(ctx context.Context, who pavise.Principal, tenant string) (routes []Standing, err error) {
	entry, err := t.guard.Enter(ctx, who, "route.list", pavise.Name{Tenant: tenant, Kind: "route", ID: "all"})
	if err != nil {
		return nil, err
	}
	defer entry.Exit(&err)
	for _, l := range *t.live.Load() {
		if l.Model.Tenant == tenant {
			routes = append(routes, Standing{Route: l.Route, Quarantined: t.Barred(l.Model), Servers: l.state(), Running: l.versions()})
		}
	}
	slices.SortFunc(routes, func(a, b Standing) int { return strings.Compare(a.Model.ID, b.Model.ID) })
	return routes, nil
}
