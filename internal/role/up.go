package role

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/user"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pavise/pavise"
	threatdetector "github.com/pavise/pavise/examples/threat-detector"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/archive"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/console"
	"github.com/pavise/pavise/internal/demo"
	"github.com/pavise/pavise/internal/feed"
	"github.com/pavise/pavise/internal/firewall"
	"github.com/pavise/pavise/internal/gateway"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/identity"
	"github.com/pavise/pavise/internal/issuer"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/policy"
	"github.com/pavise/pavise/internal/proof"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/siem"
	"github.com/pavise/pavise/internal/store"
	"github.com/pavise/pavise/internal/subject"
	"github.com/pavise/pavise/internal/witness"
)

const (
	// Tenant is the only one that up knows.
	Tenant = "local"
	// DefaultListen is where up listens when nobody says otherwise.
	DefaultListen = "127.0.0.1:8470"
	// Sample is the model that up shows.
	Sample = "threat-detector"
	// renewEvery is how often the operator's own token is made anew; it lives
	// an hour.
	renewEvery = 30 * time.Minute
	// lookEvery is how often up looks whether that is due.
	lookEvery = 2 * time.Second
	// beginning is how many records the log has when a new installation is
	// surely complete.
	beginning = 256
	// tolerance is how far the clock may be behind, as the guard sees it.
	tolerance = 2 * time.Second
	// drainWithin is how long requests under way may take once up is stopped.
	drainWithin = 10 * time.Second
)

// UpConfig says what the role is to be.
type UpConfig struct {
	Data        Data
	Listen      string                       // host:port; the host must be this machine's own
	Issuers     []identity.Issuer            // trusted beside the local one
	AcceptClock bool                         // take the clock as it is, although it was set back
	Witnesses   *proof.Policy                // who is asked to cosign the log's checkpoints; nil: nobody
	Archive     string                       // where whole segments go; empty: nowhere
	Findings    string                       // where findings are written as JSON lines; empty: nowhere
	Printer     io.Writer                    // gets findings as JSON lines, too; nil: nobody
	SendTo      []netip.Prefix               // webhooks may go to these addresses, although they never do otherwise
	Stage       *demo.Stage                  // where a demo is played: its cast is known, and the console shows its tale; nil: nowhere
	PublicTiles bool                         // the log's hashes are shown to everybody
	Say         func(word string, err error) // tells whoever started it what goes wrong meanwhile, and how bad it is; nil: nobody
	Now         func() time.Time
}

// An Up is the role that runs everything in one process, on one machine, for
// one person: a laptop's Pavise.
type Up struct {
	cfg        UpConfig
	install    string
	protection string // what keeps the keys
	operator   pavise.Principal
	fresh      bool         // no earlier process has put the sample model in its place
	access     Access       // the last one granted; owned by greet, then by renewAccess
	caller     issuer.Token // the first one given out

	log      *ledger.Log
	db       *store.DB
	guard    *guard.Guard
	policies *guard.Policies
	grants   *guard.Grants
	issuer   *issuer.Local
	revoked  *issuer.Revocations
	exchange *issuer.Exchange
	verifier *identity.Verifier
	subjects *subject.Keys
	gateway  *gateway.Gateway
	feeds    *feed.Feeds
	archive  *archive.Archive
	witness  *witness.Server
	quorum   *witness.Quorum // nil: nobody is asked to cosign
	changes  *change.Changes
	wires    *siem.Wires
	rooms    *api.Rooms
	console  *console.Console
	listener net.Listener
	server   *http.Server
}

// NewUp opens everything, from the ground up. What it opened is closed again
// when something fails.
func NewUp(ctx context.Context, cfg UpConfig) (u *Up, err error) {
	if cfg.Say == nil {
		cfg.Say = func(string, error) {}
	}
	u = &Up{cfg: cfg}
	defer func() {
		if err != nil {
			err = errors.Join(err, u.Close())
		}
	}()
	keys, err := cfg.Data.Open()
	if err != nil {
		return u, err
	}
	if err := cfg.Data.withLog(); err != nil {
		return u, err
	}
	u.install, u.protection = keys.Install, keys.KEK.Protection()
	if u.listener, err = listenLoopback(cfg.Listen); err != nil {
		return u, err
	}
	if err := u.openLog(keys); err != nil {
		return u, err
	}
	if err := u.confront(ctx); err != nil {
		return u, err
	}
	if u.db, err = store.Open(ctx, cfg.Data.Path("pavise.db")); err != nil {
		return u, err
	}
	if err := u.openGuard(ctx, keys); err != nil {
		return u, err
	}
	verifier, err := u.openIdentity(ctx, keys)
	if err != nil {
		return u, err
	}
	for _, open := range []func() error{
		func() error { return u.openEvidence(ctx, keys) },
		func() error { return u.openGateway(ctx, verifier) },
		func() error { return u.openChanges(ctx, keys) },
		func() error { return u.openWires(ctx, keys) },
		func() error { return u.seed(ctx) },
		func() error { return u.mintCaller(ctx) },
		func() error { return u.openServer(ctx, verifier) },
	} {
		if err := open(); err != nil {
			return u, err
		}
	}
	return u, nil
}

// listenLoopback listens on this machine only: up gives its tokens to whoever
// starts it, which is no way to serve a network.
func listenLoopback(addr string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(addr)
	ip := net.ParseIP(host)
	if err != nil || host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, &pavise.Error{
			Kind: pavise.Invalid, Msg: fmt.Sprintf("up does not listen on %q: it is for this machine alone", addr),
			Hint: "use a loopback address, for example --listen 127.0.0.1:8470",
		}
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, &pavise.Error{
			Kind: pavise.Unavailable, Msg: fmt.Sprintf("up cannot listen on %s: %v", addr, err),
			Hint: "is another pavise running there? choose another port with --listen 127.0.0.1:0", Err: err,
		}
	}
	return l, nil
}

func (u *Up) openLog(k Keys) (err error) {
	u.log, err = ledger.Open(ledger.Options{
		Dir: u.cfg.Data.Ledger(), Origin: "pavise.local/" + k.Install, Key: k.Log, MLDSA: k.MLDSA, Tenant: Tenant, Now: u.cfg.Now,
	})
	if err != nil {
		return err
	}
	os.Remove(u.cfg.Data.Path("access.json")) // a killed process's: from now on a server runs here, and it is another
	u.fresh = !u.complete()
	return u.checkClock()
}

// complete reports whether the installation was finished by an earlier process,
// which may have been killed on the way: the sample model was put behind the
// firewall, or so much has happened since that its absence is somebody's wish.
func (u *Up) complete() bool {
	name := pavise.Name{Tenant: Tenant, Kind: "route", ID: Sample}
	for _, r := range u.log.Records(0, beginning) {
		if r.Kind == "route.put" && r.On == name && r.Phase == record.Exit && r.Error == nil {
			return true
		}
	}
	return u.log.Size() >= beginning
}

// checkClock refuses to start behind the log, where the guard would admit
// nothing, unless the operator says that the clock is right.
func (u *Up) checkClock() error {
	last, ok := u.log.Last()
	behind := last.At.Sub(u.cfg.Now())
	if !ok || u.cfg.AcceptClock || behind <= tolerance {
		return nil
	}
	return &pavise.Error{
		Kind: pavise.Unavailable, Msg: fmt.Sprintf("the clock is %v behind the last record of the log", behind.Round(time.Second)),
		Hint: "correct the clock, or, if it is right now, start with " + u.cfg.Data.Command("up --accept-clock") + ": the step is recorded",
	}
}

// openGuard opens the door and the issuer, closes what the last process left
// open, and gives a new installation its first policies.
func (u *Up) openGuard(ctx context.Context, k Keys) (err error) {
	u.guard, err = guard.New(guard.Config{
		Actions: api.Actions(), Log: u.log, Now: u.cfg.Now, Tenant: Tenant, DemoIssuer: issuer.LocalURL(k.Install),
		Facts: func(name pavise.Name) policy.Facts {
			return policy.Facts{Quarantined: u.gateway != nil && u.gateway.Routes.Quarantined(name)}
		},
		Approved: func(name pavise.Name, verb string, on pavise.Name) bool {
			return u.changes != nil && u.changes.UnderWay(name, verb, on)
		},
	})
	if err != nil {
		return err
	}
	if u.policies, err = guard.OpenPolicies(ctx, u.guard, u.db); err != nil {
		return err
	}
	if u.fresh { // an earlier process may have come as far as this
		if err := u.policies.Seed(ctx, Tenant, guard.Defaults()); err != nil && pavise.KindOf(err) != pavise.Conflict {
			return err
		}
	}
	if !u.guard.Loaded(Tenant) {
		return u.cfg.Data.stateLost(u.log.Size())
	}
	if err := u.policies.Renew(ctx, Tenant); err != nil && pavise.KindOf(err) != pavise.Conflict {
		return err
	}
	if u.grants, err = guard.OpenGrants(ctx, u.guard, u.db); err != nil {
		return err
	}
	if _, err := u.guard.Recover(ctx); err != nil {
		return err
	}
	u.operator = pavise.Principal{
		Tenant: Tenant, Kind: pavise.Human, ID: userName(), Issuer: issuer.LocalURL(k.Install),
		Roles: []string{issuer.RoleOperator}, Proof: "started the process",
	}
	u.issuer, err = issuer.New(issuer.Config{Guard: u.guard, Seed: k.Token, Install: k.Install, Tenant: Tenant, Now: u.cfg.Now})
	return err
}

// openIdentity opens the token service, puts what was revoked in force, and returns who
// is known.
func (u *Up) openIdentity(ctx context.Context, k Keys) (_ *identity.Verifier, err error) {
	epochs := identity.NewEpochs()
	if u.revoked, err = issuer.OpenRevocations(ctx, u.guard, u.db, epochs, u.cfg.Now); err != nil {
		return nil, err
	}
	u.exchange, err = issuer.NewExchange(issuer.ExchangeConfig{Guard: u.guard, Key: k.Exchange, URL: u.url(), Tenant: Tenant, Now: u.cfg.Now})
	if err != nil {
		return nil, err
	}
	issuers := append(slices.Clone(u.cfg.Issuers), u.issuer.Record())
	if u.cfg.Stage != nil {
		cast, err := castIssuer(u.cfg.Stage)
		if err != nil {
			return nil, err
		}
		issuers = append(issuers, cast)
	}
	var roles, origins []string
	for _, i := range issuers {
		roles = append(roles, i.Roles...)
	}
	for _, host := range u.hosts() {
		origins = append(origins, "http://"+host)
	}
	u.verifier, err = identity.New(identity.Config{
		Now: u.cfg.Now, Issuers: append(issuers, u.exchange.Record(roles)), Origins: origins, Epochs: epochs,
	})
	return u.verifier, err
}

// userName is the person who started the process, as a name may spell it.
func userName() string {
	me, err := user.Current()
	if err != nil || (pavise.Name{Tenant: Tenant, Kind: pavise.Human, ID: me.Username}).Validate() != nil {
		return "operator"
	}
	return me.Username
}

// seed puts the sample model behind the firewall of a new installation, through
// the same door as anybody.
func (u *Up) seed(ctx context.Context) error {
	if u.cfg.AcceptClock {
		if err := api.AcceptClock(ctx, u.guard, u.operator); err != nil {
			return err
		}
	}
	name := pavise.Name{Tenant: Tenant, Kind: "model", ID: Sample}
	if !u.fresh || u.gateway.Routes.Has(name) {
		return nil
	}
	_, err := u.gateway.Routes.Put(ctx, u.operator, gateway.RouteSpec{
		Name: name.String(), ONNX: threatdetector.Model(), Signature: sampleSignature(), Purpose: "security",
	})
	return err
}

// sampleSignature is the sample model's, with the bounds of its card, so that
// the gate knows what a connection can look like.
func sampleSignature() *firewall.Signature {
	card := threatdetector.Card()
	in := firewall.Port{Name: card.Input, Datatype: firewall.FP32, Shape: []int64{-1, int64(len(card.Features))}}
	for _, f := range card.Features {
		in.Columns = append(in.Columns, firewall.Column{Name: f.Name, Min: &f.Min, Max: &f.Max})
	}
	out := firewall.Port{Name: card.Output, Datatype: firewall.FP32, Shape: []int64{-1, int64(len(card.Classes))}}
	for _, class := range card.Classes {
		out.Columns = append(out.Columns, firewall.Column{Name: class})
	}
	return &firewall.Signature{Inputs: []firewall.Port{in}, Outputs: []firewall.Port{out}}
}

// openServer puts the three doors on one port: the data plane, the control
// plane and the console.
func (u *Up) openServer(ctx context.Context, verifier *identity.Verifier) (err error) {
	u.console, err = console.New(console.Config{
		API: u.url(), Host: u.hosts(), Verify: u.verifyCommand(), Command: u.cfg.Data.Command, Now: u.cfg.Now,
		Hint: u.curl(SampleRow(0)), Tale: u.tale(),
	})
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/v2", u.gateway.Handler())
	mux.Handle("/v2/", u.gateway.Handler())
	control := api.NewServer(ctx, u.rooms, verifier)
	mux.Handle("/v1/", control.Handler())
	mux.Handle(api.TilesPrefix, control.Tiles(u.cfg.PublicTiles))
	mux.Handle(witnessPrefix+"/", http.StripPrefix(witnessPrefix, u.witness.Handler()))
	mux.Handle(api.WellKnownPrefix, control.WellKnown())
	mux.Handle("/", u.console.Handler())
	u.server = &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
	return nil
}

// Rooms are the rooms that it runs, for whoever works with them in its process.
func (u *Up) Rooms() *api.Rooms { return u.rooms }

// Operator is the person who started the process.
func (u *Up) Operator() pavise.Principal { return u.operator }

func (u *Up) url() string { return "http://" + u.listener.Addr().String() }

// hosts are the Host headers that mean this listener.
func (u *Up) hosts() []string {
	_, port, _ := net.SplitHostPort(u.listener.Addr().String())
	return []string{u.listener.Addr().String(), "localhost:" + port, "127.0.0.1:" + port}
}

// operatorLink is a link that opens the console, once, for the person who started
// the process.
func (u *Up) operatorLink() string { return u.url() + u.console.Link(u.consoleToken) }

// consoleLink is a link that opens the console, once, for the person whose token it
// is.
func (u *Up) consoleLink(token string, expires time.Time) string {
	return u.url() + u.console.Link(func(context.Context) (string, time.Time, error) { return token, expires, nil })
}

// consoleToken mints the operator's token of one console session, through the same
// door as everybody's.
func (u *Up) consoleToken(ctx context.Context) (string, time.Time, error) {
	token, err := u.issuer.Mint(ctx, u.operator, issuer.MintRequest{
		Subject: u.operator.ID, Kind: pavise.Human, Roles: u.operator.Roles, TTL: issuer.MaxTTL,
	})
	return token.Value, token.Expires, err
}

// verifyCommand is what an auditor types.
func (u *Up) verifyCommand() string {
	return fmt.Sprintf("%s ledger verify %s --key %s", Program(), Quote(u.cfg.Data.Ledger()), u.log.Keys()[0].Fingerprint())
}

// Run serves until ctx is done, then stops accepting and lets requests under way
// end. Close comes after it.
func (u *Up) Run(ctx context.Context) error {
	rooms, stopRooms := context.WithCancel(context.WithoutCancel(ctx))
	defer stopRooms()
	var house errgroup.Group
	house.Go(func() error { return u.guard.Run(rooms) })
	house.Go(func() error { return u.verifier.Run(rooms) })
	house.Go(func() error { return u.gateway.Run(rooms) })
	house.Go(func() error { return u.archive.Run(rooms) })
	house.Go(func() error { return u.changes.Run(rooms) })
	house.Go(func() error { return u.wires.Run(rooms) })
	house.Go(func() error { u.followShreddings(rooms); return nil })
	house.Go(func() error { u.patrol(rooms); return nil })
	house.Go(func() error { u.renewAccess(rooms); return nil })
	house.Go(func() error { u.watchLog(rooms); return nil })
	if u.quorum != nil {
		house.Go(func() error { return u.quorum.Run(rooms) })
	}

	err := serveUntil(ctx, u.server, u.listener)
	stopRooms()
	return errors.Join(err, house.Wait())
}

// watchLog says why the log stopped, as soon as it does: from then on nothing is
// answered, and whoever sits before it would learn that from the callers.
func (u *Up) watchLog(ctx context.Context) {
	_ = u.log.AwaitSigned(ctx, math.MaxUint64) // no log gets there: it stops, or ctx is done
	if err := u.log.Stopped(); err != nil {
		u.cfg.Say("error", err)
	}
}

// renewAccess keeps a good operator token in access.json while up runs, also
// when the clock is set back to before the token was made: without one nobody
// could accept the clock.
func (u *Up) renewAccess(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			// Wall times: a monotonic reading would hide a clock set back.
			made, now := u.access.Expires.Add(-issuer.MaxTTL), u.cfg.Now().Round(0)
			if now.Before(made.Add(-tolerance)) || now.After(made.Add(renewEvery)) {
				_ = u.grantAccess(ctx) // what cannot be done now is tried again
			}
		case <-ctx.Done():
			return
		}
	}
}

// grantAccess gives the person who started the process an operator's token, and
// records that it did.
func (u *Up) grantAccess(ctx context.Context) error {
	token, err := u.issuer.Bootstrap(issuer.MintRequest{Subject: u.operator.ID, Kind: pavise.Human, Roles: u.operator.Roles, TTL: issuer.MaxTTL})
	if err != nil {
		return err
	}
	detail := map[string]any{"token": token.ID, "expires": token.Expires, "roles": u.operator.Roles}
	if err := u.guard.Note(ctx, "issuer.bootstrap", &u.operator, pavise.Name{}, detail); err != nil {
		return err
	}
	a := Access{Server: u.url(), Token: token.Value, Expires: token.Expires}
	if err := u.cfg.Data.writeAccess(a); err != nil {
		return err
	}
	u.access = a
	return nil
}

// Close flushes the log and closes the store, in that order. It may be called
// on an Up that was never finished.
func (u *Up) Close() error {
	var errs []error
	if u.access.Token != "" {
		os.Remove(u.cfg.Data.Path("access.json")) // what stays says that nobody answers, no more
	}
	if u.listener != nil {
		u.listener.Close()
	}
	if u.log != nil {
		errs = append(errs, u.log.Close())
	}
	if u.db != nil {
		errs = append(errs, u.db.Close())
	}
	return errors.Join(errs...)
}
