package role

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os/user"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pavise/pavise"
	threatdetector "github.com/pavise/pavise/examples/threat-detector"
	"github.com/pavise/pavise/internal/config"
	"github.com/pavise/pavise/internal/console"
	"github.com/pavise/pavise/internal/demo"
	"github.com/pavise/pavise/internal/edge"
	"github.com/pavise/pavise/internal/edge/extproc"
	"github.com/pavise/pavise/internal/evidence"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/identity"
	"github.com/pavise/pavise/internal/infer"
	"github.com/pavise/pavise/internal/installation"
	"github.com/pavise/pavise/internal/issuer"
	"github.com/pavise/pavise/internal/mlflow"
	"github.com/pavise/pavise/internal/oci"
	"github.com/pavise/pavise/internal/openlineage"
	"github.com/pavise/pavise/internal/premises"
	"github.com/pavise/pavise/internal/proof"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/route"
	"github.com/pavise/pavise/internal/server"
	"github.com/pavise/pavise/internal/siem"
	"github.com/pavise/pavise/internal/tensor"
	"github.com/pavise/pavise/internal/verbs"
)

const (
	// Tenant is the only one that up knows.
	Tenant = config.UpTenant
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
)

// UpConfig says what the role is to be.
type UpConfig struct {
	Data        installation.Data
	Listen      string                       // host:port; the host must be this machine's own
	Issuers     []identity.Issuer            // trusted beside the local one
	AcceptClock bool                         // take the clock as it is, although it was set back
	Witnesses   *proof.Policy                // who is asked to cosign the log's checkpoints; nil: nobody
	Archive     string                       // where whole segments go; empty: nowhere
	Health      string                       // host:port of this machine's own for /metrics and /healthz; empty: nowhere
	Telemetry   *config.Telemetry            // where telemetry is sent; nil: nowhere
	Findings    string                       // where findings are written as JSON lines; empty: nowhere
	Printer     io.Writer                    // gets findings as JSON lines, too; nil: nobody
	SendTo      []netip.Prefix               // webhooks may go to these addresses, although they never do otherwise
	People      []string                     // ids of other people of this machine, operators all
	Stage       *demo.Stage                  // where a demo is played: its cast is known, and the console shows its tale; nil: nowhere
	ModelKeys   []config.ModelKey            // with which servers of language models let it in
	ModelTLS    []config.ModelTLS            // options of TLS for model servers
	Detectors   *config.Detectors            // nil: as usual
	Drift       *config.Drift                // nil: as usual
	Receive     *config.Receive              // where records may be fetched from; nil: nowhere
	Routes      []config.Route               // the models that an empty store begins with, beside the sample
	Signers     []config.Signer              // whose signatures of models are believed
	Models      *config.Models               // where the files of models are; nil: below the data directory
	Datasets    []string                     // directories below which datasets can be watched
	DatasetRoom config.Room                  // how much of their seals and indexes is kept
	ExtProc     *config.ExtProc              // where proxies ask about their exchanges; nil: nowhere
	PublicTiles bool                         // the log's hashes are shown to everybody
	Say         func(word string, err error) // tells whoever started it what goes wrong meanwhile, and how bad it is; nil: nobody
	Now         func() time.Time
}

// ReadIssuers reads the records of the issuers in the files, for up.
func ReadIssuers(paths []string) ([]identity.Issuer, error) {
	texts, err := premises.IssuerFiles(paths)
	if err != nil {
		return nil, err
	}
	var issuers []identity.Issuer
	for i, text := range texts {
		issuer, err := identity.ParseIssuer(text, Tenant)
		if err != nil {
			return nil, premises.RefusedIssuer(paths[i], err)
		}
		issuers = append(issuers, issuer)
	}
	return issuers, nil
}

// An Up is the role that runs everything in one process, on one machine, for
// one person: a laptop's Pavise.
type Up struct {
	control
	cfg      UpConfig
	install  string
	operator pavise.Principal
	access   installation.Access // the last one granted; owned by Greet, then by renewAccess
	caller   issuer.Token        // the first one given out

	issuer   *issuer.Local
	revoked  *issuer.Revocations
	exchange *issuer.Exchange
	verifier *identity.Verifier
	console  *console.Console
	listener net.Listener
	proxies  *extproc.Door // nil: no proxy asks here
	server   server.Server
}

// NewUp opens everything, from the ground up. What it opened is closed again
// when something fails.
func NewUp(ctx context.Context, cfg UpConfig) (u *Up, err error) {
	u = newUp(cfg)
	defer func() {
		if err != nil {
			err = errors.Join(err, u.Close())
		}
	}()
	keys, err := cfg.Data.Open()
	if err != nil {
		return u, err
	}
	for _, open := range []func() error{
		func() error { return u.listen() },
		func() error { return u.OpenTelemetry("up", "", u.cfg.Telemetry) },
		func() error { return u.openLog(keys) },
		func() error { return u.Face(ctx) },
		func() error { return u.OpenStore(ctx) },
		func() error { return u.openGuard(ctx, issuer.LocalURL(keys.Install), guard.Defaults()) },
		func() error { return u.openIssuer(ctx, keys) },
		func() error { return u.OpenEvidence(ctx, keys) },
		func() error { return u.openWitness(ctx, keys) },
		func() error { return u.OpenMonitor(ctx, keys, u.cfg.Drift) },
		func() error {
			return u.OpenGateway(ctx, u.verifier, premises.Plane{Keys: u.cfg.ModelKeys, TLS: u.cfg.ModelTLS, Detectors: u.cfg.Detectors, Vectors: keys.KEK.Embeddings()})
		},
		func() error { return u.OpenGate(ctx, keys, "") },
		func() error { return u.OpenReceivers(ctx, u.cfg.Receive) },
		func() error { return u.OpenCatalog(ctx, u.cfg.Datasets, u.cfg.DatasetRoom) },
		func() error { return u.OpenDepot(ctx, keys, u.cfg.Models) },
		func() error { return u.OpenModels(ctx, keys, u.cfg.Signers, u.cfg.Models, u.Files()) },
		func() error { return u.OpenDeployments(ctx, keys, u.Depot, premises.Gateways{}) },
		func() error { return u.OpenLineage(ctx) },
		func() error {
			return u.openChanges(ctx, keys, verbs.Rooms{Issuer: u.issuer, Revoked: u.revoked, Exchange: u.exchange, Link: u.consoleLink, Rooms: evidence.Rooms{WitnessURL: u.url() + witnessPrefix}})
		},
		func() error { return u.openMLflow(ctx, u.cfg.Models, u.url()) },
		func() error { return u.openOCI(ctx, u.url()) },
		func() error { return u.openWires(ctx, keys) },
		func() error { return u.seed(ctx) },
		func() error { return u.mintCaller(ctx) },
		func() error { return u.openServer(ctx) },
	} {
		if err := open(); err != nil {
			return u, err
		}
	}
	return u, nil
}

// listen opens the port before anything else: who started a second one learns that at once.
func (u *Up) listen() (err error) {
	if u.listener, err = listenLoopback(u.cfg.Listen); err != nil || u.cfg.Health == "" {
		return err
	}
	u.Beside, err = listenLoopback(u.cfg.Health)
	return err
}

// newUp returns an up of which nothing is open yet.
func newUp(cfg UpConfig) *Up {
	if cfg.Say == nil {
		cfg.Say = func(string, error) {}
	}
	return &Up{cfg: cfg, control: control{House: premises.House{
		Data: cfg.Data, Tenant: Tenant, AcceptClock: cfg.AcceptClock, Witnesses: cfg.Witnesses, ArchiveAt: cfg.Archive,
		Command: func(words string) string { return cfg.Data.Command("up " + words) }, Say: cfg.Say, Now: cfg.Now,
	}}}
}

// openLog opens the log, and tells whether the installation is new.
func (u *Up) openLog(k installation.Keys) error {
	u.install, u.Origin = k.Install, "pavise.local/"+k.Install
	if err := u.House.OpenLog(k); err != nil {
		return err
	}
	u.Data.RemoveAccess() // a killed process's: from now on a server runs here, and it is another
	u.fresh = !u.complete()
	return nil
}

// openWires opens where findings go.
func (u *Up) openWires(ctx context.Context, k installation.Keys) error {
	return u.control.openWires(ctx, k, siem.Config{File: u.cfg.Findings, Printer: u.cfg.Printer, Local: true, Allow: u.cfg.SendTo})
}

// openIssuer opens the issuer of tokens for this machine, and names who may do
// everything here: the person who started the process.
func (u *Up) openIssuer(ctx context.Context, k installation.Keys) (err error) {
	u.operator = pavise.Principal{
		Tenant: Tenant, Kind: pavise.Human, ID: userName(), Issuer: issuer.LocalURL(k.Install),
		Roles: []string{issuer.RoleOperator}, Proof: "started the process",
	}
	if err := u.checkPeople(); err != nil {
		return err
	}
	u.issuer, err = issuer.New(issuer.Config{Guard: u.Guard, Seed: k.Token, Install: k.Install, Tenant: Tenant, Now: u.Now})
	if err != nil {
		return err
	}
	return u.openIdentity(ctx, k)
}

// openIdentity opens the token service, puts what was revoked in force, and says who is
// known.
func (u *Up) openIdentity(ctx context.Context, k installation.Keys) (err error) {
	epochs := identity.NewEpochs()
	if u.revoked, err = issuer.OpenRevocations(ctx, u.Guard, u.DB, epochs, u.Now); err != nil {
		return err
	}
	u.exchange, err = issuer.NewExchange(issuer.ExchangeConfig{Guard: u.Guard, Key: k.Exchange, URL: u.url(), Tenant: Tenant, Now: u.Now})
	if err != nil {
		return err
	}
	issuers := append(slices.Clone(u.cfg.Issuers), u.issuer.Record())
	if u.cfg.Stage != nil {
		cast, err := castIssuer(u.cfg.Stage)
		if err != nil {
			return err
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
	origins = append(origins, u.cfg.ExtProc.Reached()...)
	u.verifier, err = identity.New(identity.Config{
		Now: u.Now, Issuers: append(issuers, u.exchange.Record(roles)), Origins: origins, Epochs: epochs,
	})
	return err
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

// complete reports whether the installation was finished by an earlier process,
// which may have been killed on the way: the sample model was put behind the
// firewall, or so much has happened since that its absence is somebody's wish.
func (u *Up) complete() bool {
	name := pavise.Name{Tenant: Tenant, Kind: "route", ID: Sample}
	for _, r := range u.Log.Records(0, beginning) {
		if r.Kind == "route.put" && r.On == name && r.Phase == record.Exit && r.Error == nil {
			return true
		}
	}
	return u.Log.Size() >= beginning
}

// userName is the person who started the process, as a name may spell it.
func userName() string {
	me, err := user.Current()
	if err != nil || (pavise.Name{Tenant: Tenant, Kind: pavise.Human, ID: me.Username}).Validate() != nil {
		return "operator"
	}
	return me.Username
}

// seed puts the first models behind the firewall of a new installation, through
// the same door as anybody: the sample last, which tells that it is complete.
func (u *Up) seed(ctx context.Context) error {
	if u.cfg.AcceptClock {
		if err := verbs.AcceptClock(ctx, u.Guard, u.operator); err != nil {
			return err
		}
	}
	name := pavise.Name{Tenant: Tenant, Kind: "model", ID: Sample}
	if !u.fresh || u.Gateway.Routes.Has(name) {
		return nil
	}
	for _, r := range u.cfg.Routes {
		if err := u.firstRoute(ctx, u.operator, r); err != nil {
			return err
		}
	}
	_, err := u.Gateway.Routes.Put(ctx, u.operator, route.Spec{
		Name: name.String(), ONNX: threatdetector.Model(), Signature: infer.SignatureText(sampleSignature()), Purpose: "security",
	})
	return err
}

// sampleSignature is the sample model's, with the bounds of its card, so that
// the gate knows what a connection can look like.
func sampleSignature() tensor.Signature {
	card := threatdetector.Card()
	in := tensor.Port{Name: card.Input, Datatype: tensor.FP32, Shape: []int64{-1, int64(len(card.Features))}}
	for _, f := range card.Features {
		in.Columns = append(in.Columns, tensor.Column{Name: f.Name, Min: &f.Min, Max: &f.Max})
	}
	out := tensor.Port{Name: card.Output, Datatype: tensor.FP32, Shape: []int64{-1, int64(len(card.Classes))}}
	for _, class := range card.Classes {
		out.Columns = append(out.Columns, tensor.Column{Name: class})
	}
	return tensor.Signature{Inputs: []tensor.Port{in}, Outputs: []tensor.Port{out}}
}

// openServer puts the three doors on one port: the data plane, the control
// plane and the console.
func (u *Up) openServer(ctx context.Context) (err error) {
	u.console, err = console.New(console.Config{
		API: u.url(), Host: u.hosts(), Verify: u.verifyCommand(), Command: u.Data.Command, Now: u.Now,
		Hint: u.curl(Sample, SampleRow(0)), Tale: u.tale(),
	})
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	door := edge.New(u.Gateway).Handler()
	for _, pattern := range slices.Concat(edge.OpenAIPaths(), edge.TensorPaths(), []string{"/v2", edge.GRPCPath}) {
		mux.Handle(pattern, door)
	}
	control := verbs.NewServer(ctx, u.rooms, u.verifier)
	verbsDoor := control.Handler()
	mux.HandleFunc(oci.Path, func(w http.ResponseWriter, r *http.Request) { // of registries, and of a protocol of inference
		if oci.Knows(r.URL.Path) {
			verbsDoor.ServeHTTP(w, r)
			return
		}
		door.ServeHTTP(w, r)
	})
	mux.Handle("/v1/", verbsDoor)
	mux.Handle(openlineage.PathEvent, verbsDoor)
	mux.Handle(openlineage.PathBatch, verbsDoor)
	for _, pattern := range mlflow.Patterns() {
		mux.Handle(pattern, verbsDoor)
	}
	mux.Handle(evidence.TilesPrefix, u.rooms.Tiles(control.Admit, u.cfg.PublicTiles))
	mux.Handle(witnessPrefix+"/", http.StripPrefix(witnessPrefix, u.witness.Handler()))
	mux.Handle(issuer.WellKnownPrefix, u.exchange.WellKnown())
	mux.Handle("/", u.console.Handler())
	u.server = server.Callers(modelsFirst(door, mux), nil, u.Stranger)
	u.proxies, err = extproc.Open(u.cfg.ExtProc, door, u.Stranger)
	return err
}

// modelsFirst is the way to the data plane that passes no multiplexer for most of its
// callers. What model servers have aside from inference goes there too, to be refused with
// a record; the verbs of the control plane have a dot. Requests are lent to the data plane;
// the others may keep what they get.
func modelsFirst(models, others http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		plain := r.URL.Path
		if !oci.Knows(plain) { // whose clients ask for /v2/
			plain = path.Clean("/" + plain) // a multiplexer would send callers there; the data plane refuses other forms with a record
		}
		if ofModels(r, r.URL.Path) || plain != r.URL.Path && ofModels(r, plain) {
			models.ServeHTTP(w, r)
			return
		}
		others.ServeHTTP(w, r.Clone(r.Context()))
	})
}

// ofModels reports whether a path is of the data plane.
func ofModels(r *http.Request, path string) bool {
	verb, below := strings.CutPrefix(path, "/v1/")
	tells := path == openlineage.PathEvent || path == openlineage.PathBatch || mlflow.Serves(path) // below /api/, where a model server has its own
	return strings.HasPrefix(path, "/v2/") && !oci.Knows(path) || below && !strings.Contains(verb, ".") && !controls(verb) || !below && !tells && edge.Knows(r.Method, path)
}

// controls reports whether a path below /v1 without a dot is of the control plane.
func controls(path string) bool {
	return path == "token" || path == "logs" || strings.HasPrefix(path, "ingest/") || strings.HasPrefix(path, "tickets/") || strings.HasPrefix(path, "edge/")
}

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
	return fmt.Sprintf("%s ledger verify %s --key %s", installation.Program(), installation.Quote(u.Data.Ledger()), u.Log.Keys()[0].Fingerprint())
}

// Run serves until ctx is done, then stops accepting and lets requests under way
// end. Close comes after it.
func (u *Up) Run(ctx context.Context) error {
	premises.PaceCollector()
	rooms, stopRooms := context.WithCancel(context.WithoutCancel(ctx))
	defer stopRooms()
	var house errgroup.Group
	house.Go(func() error { premises.StandIn(rooms); return nil })
	house.Go(func() error { premises.Tidy(rooms); return nil })
	u.House.Keep(rooms, &house)
	u.ServeHealth(rooms, &house, u.Standing("up"))
	house.Go(func() error { return u.verifier.Run(rooms) })
	house.Go(func() error { return u.Changes.Run(rooms) })
	house.Go(func() error { u.renewAccess(rooms); return nil })

	err := u.proxies.Beside(ctx, func(ctx context.Context) error { return server.Until(ctx, u.server, u.listener) })
	stopRooms()
	return errors.Join(err, house.Wait())
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
			made, now := u.access.Expires.Add(-issuer.MaxTTL), u.Now().Round(0)
			if now.Before(made.Add(-premises.Tolerance)) || now.After(made.Add(renewEvery)) || u.accessRevoked(ctx) {
				_ = u.grantAccess(ctx) // what cannot be done now is tried again
			}
		case <-ctx.Done():
			return
		}
	}
}

// accessRevoked reports whether the token in access.json was revoked: with all of the
// tenant's, for example. Whoever starts the process is not locked out by that.
func (u *Up) accessRevoked(ctx context.Context) bool {
	_, err := u.verifier.Verify(ctx, identity.Credentials{Authorization: []string{"Bearer " + u.access.Token}})
	refusal, ok := errors.AsType[*identity.Refusal](err)
	return ok && refusal.Reason == identity.Revoked
}

// grantAccess gives the person who started the process, and those whom they vouch for,
// an operator's token each, and records that it did.
func (u *Up) grantAccess(ctx context.Context) error {
	for _, id := range u.cfg.People {
		who := u.operator
		who.ID = id
		if _, err := u.grant(ctx, who, id); err != nil {
			return err
		}
	}
	a, err := u.grant(ctx, u.operator, "")
	if err == nil {
		u.access = a
	}
	return err
}

// grant gives one person a token. as is how commands name the person; empty: whoever
// started the process.
func (u *Up) grant(ctx context.Context, who pavise.Principal, as string) (installation.Access, error) {
	token, err := u.issuer.Bootstrap(issuer.MintRequest{Subject: who.ID, Kind: pavise.Human, Roles: who.Roles, TTL: issuer.MaxTTL})
	if err != nil {
		return installation.Access{}, err
	}
	detail := map[string]any{"token": token.ID, "expires": token.Expires, "roles": who.Roles}
	if err := u.Guard.Note(ctx, "issuer.bootstrap", &who, pavise.Name{}, detail); err != nil {
		return installation.Access{}, err
	}
	a := installation.Access{Server: u.url(), Token: token.Value, Expires: token.Expires}
	return a, u.Data.WriteAccess(as, a)
}

// checkPeople refuses people whose names are none, or the operator's own.
func (u *Up) checkPeople() error {
	for i, id := range u.cfg.People {
		name := pavise.Name{Tenant: Tenant, Kind: pavise.Human, ID: id}
		if err := name.Validate(); err != nil {
			return err
		}
		if id == u.operator.ID || slices.Contains(u.cfg.People[:i], id) {
			return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s is there already", id), Hint: "give each person another name: --person bob"}
		}
	}
	return nil
}

// Close flushes the log and closes the store, in that order. It may be called
// on an Up that was never finished.
func (u *Up) Close() error {
	if u.access.Token != "" {
		u.Data.RemoveAccess() // what stays says that nobody answers, no more
	}
	if u.listener != nil {
		u.listener.Close()
	}
	u.proxies.Close()
	return u.House.Close()
}
