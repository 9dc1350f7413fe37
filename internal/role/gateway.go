package role

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/bundle"
	"github.com/pavise/pavise/internal/config"
	"github.com/pavise/pavise/internal/edge"
	"github.com/pavise/pavise/internal/edge/extproc"
	"github.com/pavise/pavise/internal/fleet"
	"github.com/pavise/pavise/internal/gateway"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/identity"
	"github.com/pavise/pavise/internal/installation"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/premises"
	"github.com/pavise/pavise/internal/route"
	"github.com/pavise/pavise/internal/seal"
	"github.com/pavise/pavise/internal/server"
	"github.com/pavise/pavise/internal/telemetry"
	"github.com/pavise/pavise/internal/verbs"
)

// GatewayConfig says what a machine of the data plane is to be.
type GatewayConfig struct {
	config.Gateway
	Invitation  string                       // with which it joins, if it is no member yet
	AcceptClock bool                         // take the clock as it is, although it was set back
	Printer     io.Writer                    // gets findings where the configuration says to print them
	Say         func(word string, err error) // tells whoever started it what goes wrong meanwhile; nil: nobody
	Now         func() time.Time
	Formats     []bundle.Format // of bundles; nil: those of this build
	Actions     []guard.Action  // its verbs; nil: those of this build
}

// A Gateway is the role that answers callers, by the orders of a control plane and in
// a log of its own. It has no other say: nothing is changed here.
type Gateway struct {
	premises.House
	cfg      GatewayConfig
	member   *fleet.Membership
	store    *bundle.Store
	client   *bundle.Client
	epochs   *identity.Epochs
	watchers *fleet.Watchers

	applying  sync.Mutex                           // held while a bundle is put into force
	taken     uint64                               // the number of the newest bundle that the log has as put in force; guarded by applying
	policies  map[string]map[string]string         // in force; guarded by applying
	withdrawn map[pavise.Name]fleet.Withdrawn      // in quarantine, as it was told; guarded by applying
	barred    atomic.Pointer[map[pavise.Name]bool] // models that nobody may ask for that; replaced whole, under applying
	verifier  atomic.Pointer[identity.Verifier]    // replaced whole, under applying
	orders    atomic.Pointer[inForce]              // nil: none yet
	stale     atomic.Bool                          // as of the last look

	listener net.Listener
	proxies  *extproc.Door // nil: no proxy asks here
	second   net.Listener  // for gRPC; nil: none
	server   server.Server
}

// inForce is what a gateway goes by.
type inForce struct {
	bundle *bundle.Bundle
	grace  time.Duration
	whole  bool // all models that it names are here
}

// NewGateway opens everything, joins the fleet if it has not, and puts in force what
// the control plane said last. What it opened is closed again when something fails.
func NewGateway(ctx context.Context, cfg GatewayConfig) (g *Gateway, err error) {
	if cfg.Say == nil {
		cfg.Say = func(string, error) {}
	}
	if cfg.Actions == nil {
		cfg.Actions = verbs.Actions()
	}
	data := installation.Data(cfg.Data)
	g = &Gateway{cfg: cfg, epochs: identity.NewEpochs(), House: premises.House{
		Data: data, AcceptClock: cfg.AcceptClock, ArchiveAt: cfg.Archive, Say: cfg.Say, Now: cfg.Now,
		Command: func(words string) string { return installation.Program() + " gateway --config FILE " + words },
	}}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.Close())
		}
	}()
	keys, err := data.Open()
	if err != nil {
		return g, err
	}
	for _, open := range []func() error{
		func() error { return g.listen() },
		func() error { return g.join(ctx, keys) },
		func() error { return g.OpenTelemetry("gateway", g.member.Is().Name.ID, g.cfg.Telemetry) },
		func() error { return g.OpenLog(keys) },
		func() error { return g.Face(ctx) },
		func() error { return g.OpenStore(ctx) },
		func() error { return g.openBundles(keys) },
		func() error { return g.openGuard(ctx) },
		func() error { return g.OpenEvidence(ctx, keys) },
		func() error { return g.OpenMonitor(ctx, keys, cfg.Drift) },
		func() error {
			vectors, err := vectorKey(cfg.Vectors)
			if err != nil {
				return err
			}
			return g.OpenGateway(ctx, g.verifier.Load(), premises.Plane{Keys: cfg.ModelKeys, TLS: cfg.ModelTLS, Detectors: cfg.Detectors, Vectors: vectors})
		},
		func() error { // no policy lets anybody in yet: whoever starts it holds the machine
			if !cfg.AcceptClock {
				return nil
			}
			return g.Guard.AcceptClock(ctx, pavise.Principal{Tenant: g.Tenant, Kind: pavise.Node, ID: g.member.Is().Name.ID})
		},
		func() error { return g.OpenWires(ctx, keys, premises.Told(cfg.Findings, cfg.Printer)) },
		func() error { g.tellBundle(); return g.resume(ctx) },
		func() error { return g.openServer() },
	} {
		if err := open(); err != nil {
			return g, err
		}
	}
	return g, nil
}

// vectorKey reads the key by which vectors are altered; nil: no file is named.
func vectorKey(path string) (*seal.Key, error) {
	if path == "" {
		return nil, nil
	}
	key, err := seal.ReadKey(path)
	if err != nil {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: "read the key of embeddings: " + err.Error(), Hint: "embedding_key in pavise.yaml names it", Err: err}
	}
	return key, nil
}

func (g *Gateway) listen() (err error) {
	if g.listener, err = premises.ListenOn(g.cfg.Listen, "listen"); err != nil {
		return err
	}
	if g.cfg.GRPC != "" {
		if g.second, err = premises.ListenOn(g.cfg.GRPC, "grpc"); err != nil {
			return err
		}
	}
	return g.ListenBeside(g.cfg.Health)
}

// join finds the machine's membership, or joins. The log is named by it.
func (g *Gateway) join(ctx context.Context, k installation.Keys) (err error) {
	if g.member, err = joinFleet(ctx, g.Data, g.cfg.Server, g.cfg.Invitation, k, g.Now); err != nil {
		return err
	}
	j := g.member.Is()
	g.Tenant, g.Origin = j.Name.Tenant, fleet.LogName(j.Domain, j.Name.ID)+"/"+k.Install
	return nil
}

// joinFleet finds a machine's membership, or joins with an invitation.
func joinFleet(ctx context.Context, data installation.Data, server, invitation string, k installation.Keys, now func() time.Time) (*fleet.Membership, error) {
	m, err := fleet.OpenMembership(string(data), server, k.KEK, now)
	if err != nil {
		return nil, err
	}
	if m.Is() == nil && invitation == "" {
		return nil, &pavise.Error{
			Kind: pavise.Denied, Msg: "this machine is no member of a fleet yet",
			Hint: "have it invited at the control plane, pavise node invite NAME, and start it once with --join INVITATION",
		}
	}
	if m.Is() == nil {
		if err := m.Join(ctx, invitation); err != nil {
			return nil, err
		}
	}
	if m.Is().Name.Kind != pavise.Node {
		return nil, &pavise.Error{Kind: pavise.Denied, Msg: fmt.Sprintf("the data directory %s belongs to %s, and not to a machine", data, m.Is().Name), Hint: "name another one in pavise.yaml, and join with an invitation of pavise node invite"}
	}
	return m, nil
}

// openBundles opens the store of what the control plane said, and who follows it.
func (g *Gateway) openBundles(k installation.Keys) error {
	g.watchers = fleet.NewWatchers(g.Log, g.Now, g.member.ClientFor)
	trust, err := g.member.Is().Trust()
	if err != nil {
		return err
	}
	g.store, err = bundle.OpenStore(bundle.StoreConfig{Dir: g.Data.Path("bundle"), KEK: k.KEK, Trust: trust, Formats: g.cfg.Formats, Now: g.Now})
	if err != nil {
		return err
	}
	g.client, err = bundle.NewClient(bundle.ClientConfig{URL: g.member.Server(), HTTP: g.member.Client(), Store: g.store, Use: g.use, Report: g.trouble, Now: g.Now})
	return err
}

// openGuard opens the door, which lets nobody through yet, and closes what the last
// process left open.
func (g *Gateway) openGuard(ctx context.Context) (err error) {
	g.Guard, err = guard.New(guard.Config{
		Actions: g.cfg.Actions, Log: g.Log, Now: g.Now, Tenant: g.Tenant,
		Facts: g.facts, Pool: premises.UnderWay,
	})
	if err != nil {
		return err
	}
	if _, err := g.Guard.Recover(ctx); err != nil {
		return err
	}
	v, err := identity.New(identity.Config{Now: g.Now, Origins: g.origins(), Epochs: g.epochs})
	g.verifier.Store(v)
	return err
}

// origins are how callers reach it, as a proof of possession names it.
func (g *Gateway) origins() []string {
	return append(originsOf(g.cfg.Names, g.listener), g.cfg.ExtProc.Reached()...)
}

func originsOf(names []string, l net.Listener) (origins []string) {
	_, port, _ := net.SplitHostPort(l.Addr().String())
	for _, name := range names {
		origins = append(origins, "https://"+net.JoinHostPort(name, port))
	}
	return origins
}

// noteTaken is the note of a bundle that is put in force.
const noteTaken = "bundle.taken"

// lookBack is in how many records at a time the newest bundle is looked for.
const lookBack = 1 << 16

// lastTaken is the number of the newest bundle that the log says was put in force here; 0: none.
func (g *Gateway) lastTaken(ctx context.Context) (serial uint64, err error) {
	first := g.Log.First()
	for to := g.Log.Size(); to > first && serial == 0; {
		from := max(first, to-min(to, lookBack))
		for found, err := range g.Log.Select(ctx, ledger.Filter{Kinds: []string{noteTaken}, Phase: "note"}, from, to) {
			if err != nil {
				return 0, err
			}
			var d struct {
				Serial uint64 `json:"serial"`
			}
			if json.Unmarshal(found.Record.Detail, &d) == nil {
				serial = max(serial, d.Serial)
			}
		}
		to = from
	}
	return serial, nil
}

// resume puts in force what lies on disk, verified again. What is refused there is
// told, and a newer word is waited for: so is what is older than the log says, for then somebody
// put it back.
func (g *Gateway) resume(ctx context.Context) (err error) {
	if g.taken, err = g.lastTaken(ctx); err != nil {
		return err
	}
	if err := g.store.Refused(); err != nil {
		g.trouble(err)
	}
	b := g.store.Current()
	if b == nil {
		return nil
	}
	if err := g.use(ctx, b); err != nil {
		g.trouble(err)
	}
	return nil
}

// use puts a bundle in force: what was revoked first, then policies, then routes. Each
// is all or nothing; on an error what came before it stays, and is the newer one.
func (g *Gateway) use(ctx context.Context, b *bundle.Bundle) error {
	g.applying.Lock()
	defer g.applying.Unlock()
	o, err := fleet.ReadOrders(b)
	if err != nil {
		return err
	}
	if o.Terms.Tenant != g.Tenant || o.Terms.Domain != g.member.Is().Domain {
		return &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("bundle %d is for %s in %s, and this machine is of %s in %s", b.Serial, o.Terms.Tenant, o.Terms.Domain, g.Tenant, g.member.Is().Domain), Hint: "is the right control plane running at its address?"}
	}
	if b.Serial < g.taken {
		return &pavise.Error{
			Kind: pavise.Conflict, Msg: fmt.Sprintf("the bundle on disk is number %d, and the log says that number %d was in force here", b.Serial, g.taken),
			Hint: "somebody put it back: what the control plane says next is waited for", Err: bundle.ErrRollback,
		}
	}
	now := g.orders.Load()
	again := now != nil && now.bundle.Serial == b.Serial
	if again && now.whole {
		return nil
	}
	if !again {
		if err := g.Guard.Note(ctx, noteTaken, nil, pavise.Name{}, fleet.Summary(b)); err != nil {
			return err
		}
	}
	g.taken = b.Serial
	if err := g.believe(o); err != nil {
		return err
	}
	if err := g.withdraw(ctx, b.Serial, o.Withdrawn); err != nil {
		return err
	}
	if err := g.govern(ctx, b.Serial, o); err != nil {
		return err
	}
	routes, whole := g.routesNow(o.Routes)
	for i := range routes {
		fleet.Hold(o.Withdrawn, &routes[i])
	}
	if err := g.Gateway.Routes.Adopt(ctx, routes, o.Terms.Share, g.store.Blob); err != nil {
		return err
	}
	g.bar(o.Withdrawn)
	if err := fleet.ObeyTiers(ctx, g.Gateway.Tiers, o.Tiers, g.Now()); err != nil {
		return err
	}
	grace := o.Terms.Grace
	if g.cfg.Grace > 0 {
		grace = min(grace, g.cfg.Grace)
	}
	g.orders.Store(&inForce{bundle: b, grace: grace, whole: whole})
	return nil
}

// routesNow are the routes that can be adopted at once: what is to answer next may be
// on its way still. Until it has come the route stays as it was, on the new terms of
// whether anybody may ask, or is not there yet.
func (g *Gateway) routesNow(all []route.Standing) (now []route.Standing, whole bool) {
	whole = true
	for _, s := range all {
		if !slices.ContainsFunc(s.Blobs(), func(digest string) bool { return !g.has(digest) }) {
			now = append(now, s)
			continue
		}
		whole = false
		for _, old := range g.Gateway.Routes.Standings() {
			if old.Model == s.Model {
				now = append(now, route.Standing{Route: old.Route, Quarantined: s.Quarantined, Parted: true})
			}
		}
	}
	return now, whole
}

// has reports whether a model, or a calibration, is here.
func (g *Gateway) has(digest string) bool {
	if is, err := g.Gateway.Routes.Holds(context.Background(), digest); err == nil && is {
		return true
	}
	_, err := g.store.Blob(digest)
	return err == nil
}

// believe puts in force who may vouch for callers.
func (g *Gateway) believe(o *fleet.Orders) error {
	if err := g.epochs.Merge(o.Revocations); err != nil {
		return err
	}
	issuers, err := premises.ParseIssuers(g.Tenant, o.Issuers)
	if err != nil {
		return err
	}
	domain, err := o.Anchor.Domain(o.Terms)
	if err != nil {
		return err
	}
	v, err := g.verifier.Load().With(append(issuers, o.Service...), []identity.TrustDomain{domain})
	if err != nil {
		return err
	}
	if v.Demo() {
		return &pavise.Error{Kind: pavise.Denied, Msg: "the bundle has an issuer for demonstration, whose tokens no gateway takes", Hint: "take it out of issuers at the control plane"}
	}
	g.verifier.Store(v)
	g.Gateway.Believe(v)
	return nil
}

// govern puts the policies in force, and records each text that is new here: the log
// alone tells by which policies something was decided.
func (g *Gateway) govern(ctx context.Context, serial uint64, o *fleet.Orders) error {
	all := fleet.Unite(g.cfg.Actions, o.Actions)
	for _, tenant := range slices.Sorted(maps.Keys(o.Policies)) {
		texts := o.Policies[tenant]
		if maps.Equal(texts, g.policies[tenant]) {
			continue
		}
		for _, id := range slices.Sorted(maps.Keys(texts)) {
			if was, ok := g.policies[tenant][id]; ok && was == texts[id] {
				continue
			}
			detail := map[string]any{"serial": serial, "text": texts[id]}
			if err := g.Guard.Note(ctx, "policy.adopted", nil, pavise.Name{Tenant: tenant, Kind: "policy", ID: id}, detail); err != nil {
				return err
			}
		}
		for id := range g.policies[tenant] {
			if _, stays := texts[id]; stays {
				continue
			}
			if err := g.Guard.Note(ctx, "policy.dropped", nil, pavise.Name{Tenant: tenant, Kind: "policy", ID: id}, map[string]any{"serial": serial}); err != nil {
				return err
			}
		}
	}
	if err := g.Guard.Govern(all, o.Policies); err != nil {
		return err
	}
	g.Guard.HoldGrants(o.Grants)
	g.policies = o.Policies
	return nil
}

// trouble tells what is wrong with what the control plane says. A bundle that somebody
// else signed, or that turns back, is a finding.
func (g *Gateway) trouble(err error) {
	if err == nil {
		return
	}
	g.Say("warning", err)
	for _, cause := range []error{bundle.ErrRollback, bundle.ErrEquivocation, bundle.ErrUnknownKey, bundle.ErrRevokedKey, bundle.ErrForged, bundle.ErrOrigin} {
		if errors.Is(err, cause) {
			_ = g.Finding(context.Background(), "bundle.refused", pavise.Name{Tenant: g.Tenant, Kind: "bundle", ID: "orders"}, err.Error(), nil)
			return
		}
	}
}

// fresh returns nil while what the control plane said last may still be gone by: for
// the grace after its last word, and never past the end of the bundle.
func (g *Gateway) fresh() error {
	o := g.orders.Load()
	if o == nil {
		return &pavise.Error{Kind: pavise.Unavailable, Msg: "this gateway has no orders from its control plane yet", Hint: "is pavise serve running, and to be reached from here? /healthz says more"}
	}
	now, heard := g.Now(), g.lastHeard(o)
	// By the clock on the wall, and by the one that nobody can set: the first goes on while
	// the machine sleeps.
	alone := max(now.Sub(heard), now.Round(0).Sub(heard.Round(0)))
	if alone > o.grace || now.After(o.bundle.Expires) {
		return &pavise.Error{
			Kind: pavise.Unavailable, Msg: fmt.Sprintf("this gateway has heard nothing from its control plane for longer than %v, and refuses everything", o.grace),
			Hint: "bring the control plane back, or the network to it; it goes on by itself then",
		}
	}
	return nil
}

// lastHeard is when this gateway last had the control plane's word that it goes by what
// is true: in this process, or in one before, or else when that was said.
func (g *Gateway) lastHeard(o *inForce) time.Time {
	heard := g.client.State().Confirmed
	if heard.IsZero() { // the client has not begun
		heard = g.store.Heard()
	}
	if heard.Before(o.bundle.Issued) {
		return o.bundle.Issued
	}
	return heard
}

// refuses is why it refuses everything: what it was told is too old, or the clock was set back.
func (g *Gateway) refuses() error { return cmp.Or(g.fresh(), g.Guard.Backward()) }

// watchOrders records when it begins and ends to refuse everything.
func (g *Gateway) watchOrders(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		err := g.refuses()
		if stale := err != nil; stale != g.stale.Load() && g.orders.Load() != nil {
			g.stale.Store(stale)
			if stale {
				_ = g.Finding(ctx, "gateway.stale", pavise.Name{Tenant: g.Tenant, Kind: "bundle", ID: "orders"}, err.Error(), nil)
				g.Say("error", err)
			} else {
				_ = g.Guard.Note(ctx, "gateway.fresh", nil, pavise.Name{}, g.client.State())
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// tellBundle has the readings of what the control plane said told.
func (g *Gateway) tellBundle() {
	m := g.Telemetry
	m.Ask(telemetry.BundleSerial, func() float64 { return float64(g.client.State().Serial) })
	m.Ask(telemetry.BundleStale, func() float64 {
		if g.fresh() != nil {
			return 1
		}
		return 0
	})
	m.Ask(telemetry.BundleAge, func() float64 {
		if o := g.orders.Load(); o != nil {
			return max(g.Now().Sub(g.lastHeard(o)).Seconds(), 0)
		}
		return 0
	})
}

// openServer makes the callers' door.
func (g *Gateway) openServer() error {
	own, err := server.CertificateOf(g.cfg.TLS, g.member.Certificate)
	if err != nil {
		return err
	}
	if g.cfg.TLS == nil {
		g.member.Missing(g.cfg.Names, g.Say)
	}
	inner := edge.New(g.Gateway).Handler()
	door := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := g.fresh(); err != nil && r.URL.Path != "/v2/health/live" {
			g.Telemetry.Refused(nil, "", err, 0, false)
			w.Header().Set("Retry-After", "5")
			refuse(w, err)
			return
		}
		inner.ServeHTTP(w, r)
	})
	g.server = server.Callers(door, own, g.Stranger)
	g.proxies, err = extproc.Open(g.cfg.ExtProc, door, g.Stranger)
	return err
}

// refuse answers with what somebody may be told about an error.
func refuse(w http.ResponseWriter, err error) {
	msg, hint := gateway.Message(err)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(pavise.KindOf(err).HTTPStatus())
	_ = json.NewEncoder(w).Encode(map[string]string{"error": msg, "hint": hint}) // whoever went away reads nothing
}

// Health is how a gateway stands.
type Health struct {
	Status  string       `json:"status"` // ok, or stale: it refuses everything
	Node    string       `json:"node"`
	Version string       `json:"version"`
	Bundle  bundle.State `json:"bundle"`
	Age     string       `json:"age,omitempty"` // since the control plane's last word
	Records uint64       `json:"records"`
	Key     string       `json:"key"` // fingerprint of its log
	Why     string       `json:"why,omitempty"`
}

// Health says how the gateway stands.
func (g *Gateway) Health() Health {
	state := g.client.State()
	h := Health{
		Status: "ok", Node: g.member.Is().Name.ID, Version: installation.Version(), Bundle: state, Records: g.Log.Size(), Key: g.Log.Keys()[0].Fingerprint(),
	}
	if !state.Confirmed.IsZero() {
		h.Age = state.Stale(g.Now()).Truncate(time.Second).String()
	}
	if err := errors.Join(g.refuses(), g.Log.Stopped()); err != nil {
		h.Status, h.Why = "stale", err.Error()
	}
	return h
}

// Run serves until ctx is done, then stops accepting and lets requests under way end.
// Close comes after it.
func (g *Gateway) Run(ctx context.Context) error {
	premises.PaceCollector()
	rooms, stopRooms := context.WithCancel(context.WithoutCancel(ctx))
	defer stopRooms()
	var house errgroup.Group
	house.Go(func() error { premises.StandIn(rooms); return nil })
	house.Go(func() error { premises.Tidy(rooms); return nil })
	g.House.Keep(rooms, &house)
	house.Go(func() error { return g.client.Run(rooms) })
	house.Go(func() error { g.watchOrders(rooms); return nil })
	house.Go(func() error { g.member.Renew(rooms, func(err error) { g.Say("warning", err) }); return nil })
	house.Go(func() error { g.report(rooms); return nil })
	house.Go(func() error { return premises.FetchKeys(rooms, g.verifier.Load) })
	g.ServeHealth(rooms, &house, func() (any, bool) { h := g.Health(); return h, h.Status == "ok" })
	if g.second != nil {
		house.Go(func() error { return server.Until(rooms, g.server, g.second) })
	}
	err := g.proxies.Beside(ctx, func(ctx context.Context) error { return server.Until(ctx, g.server, g.listener) })
	stopRooms()
	return errors.Join(err, house.Wait())
}

// URL is where callers reach it.
func (g *Gateway) URL() string { return originsOf(g.cfg.Names[:1], g.listener)[0] }

// Name is the machine's name in the fleet.
func (g *Gateway) Name() pavise.Name { return g.member.Is().Name }

// Fingerprint is that of its log's key.
func (g *Gateway) Fingerprint() string { return g.Log.Keys()[0].Fingerprint() }

// Close flushes the log and closes the store, in that order. It may be called on a
// gateway that was never finished.
func (g *Gateway) Close() error {
	if g.listener != nil {
		g.listener.Close()
	}
	g.proxies.Close()
	if g.second != nil {
		g.second.Close()
	}
	return g.House.Close()
}
