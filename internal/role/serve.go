package role

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/bundle"
	"github.com/pavise/pavise/internal/config"
	"github.com/pavise/pavise/internal/console"
	"github.com/pavise/pavise/internal/evidence"
	"github.com/pavise/pavise/internal/fleet"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/identity"
	"github.com/pavise/pavise/internal/installation"
	"github.com/pavise/pavise/internal/issuer"
	"github.com/pavise/pavise/internal/mlflow"
	"github.com/pavise/pavise/internal/oci"
	"github.com/pavise/pavise/internal/openlineage"
	"github.com/pavise/pavise/internal/premises"
	"github.com/pavise/pavise/internal/proof"
	"github.com/pavise/pavise/internal/server"
	"github.com/pavise/pavise/internal/verbs"
	"github.com/pavise/pavise/internal/witness"
)

const (
	// noteBegan is the note that bootstrap is done, and will not be done again.
	noteBegan = "serve.began"
	// settle is how long records may gather before the bundle is looked at again.
	settle = 20 * time.Millisecond
)

// ServeConfig says what a control plane is to be.
type ServeConfig struct {
	config.Serve
	AcceptClock bool                         // take the clock as it is, although it was set back
	Above       uint64                       // no bundle has a number up to this one: after a restore
	Reinvite    []string                     // people who are invited anew, for they have no good certificate any more
	Printer     io.Writer                    // gets findings where the configuration says to print them
	Say         func(word string, err error) // tells whoever started it what goes wrong meanwhile; nil: nobody
	Now         func() time.Time
	Formats     []bundle.Format // of bundles; nil: those of this build
	Actions     []guard.Action  // verbs that gateways are told of; nil: those of this build
}

// A Serve is the role that is a fleet's control plane: policies, routes, changes, the
// CA, the console and the log of the fleet's logs. It answers no caller of a model.
type Serve struct {
	control
	cfg         ServeConfig
	actions     []guard.Action
	issuers     []identity.Issuer
	issuerTexts []json.RawMessage // their records as they were given
	epochs      *identity.Epochs
	revoked     *issuer.Revocations
	exchange    *issuer.Exchange
	members     memberSessions // of people who have opened the console with a certificate
	ca          *issuer.CA
	own         *issuer.Own
	publisher   *bundle.Publisher
	sizes       map[string]int64 // of models, by digest; owned by the publisher's section
	nodes       *fleet.Nodes
	verdicts    *fleet.Verdicts
	invitations []issuer.Invitation // of those who begin, or are invited anew
	ignored     bool                // there is a bootstrap block, and it was done before

	believing sync.Mutex // held while who is believed changes
	verifier  *identity.Verifier
	doors     []*api.Server // whose callers it knows

	console           *console.Console
	listener, fleet   net.Listener
	public, fleetDoor server.Server
}

// NewServe opens everything, from the ground up, and begins an empty store as the
// configuration says. What it opened is closed again when something fails.
func NewServe(ctx context.Context, cfg ServeConfig) (s *Serve, err error) {
	if cfg.Say == nil {
		cfg.Say = func(string, error) {}
	}
	if cfg.Actions == nil {
		cfg.Actions = verbs.Actions()
	}
	s = newServe(cfg)
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	keys, err := s.Data.Open()
	if err != nil {
		return s, err
	}
	for _, open := range []func() error{
		func() error { return s.readFiles() },
		func() error { return s.listen() },
		func() error { return s.OpenTelemetry("serve", "", s.cfg.Telemetry) },
		func() error { return s.openLog(keys) },
		func() error { return s.Face(ctx) },
		func() error { return s.OpenStore(ctx) },
		func() error { return s.openGuard(ctx, "", s.firstPolicies()) },
		func() error { return s.OpenEvidence(ctx, keys) },
		func() error { return s.openWitness(ctx, keys) },
		func() error { return s.openCA(ctx, keys) },
		func() error { return s.OpenGateway(ctx, s.verifier, premises.Plane{TLS: s.cfg.ModelTLS}) },
		func() error { return s.openPublisher(keys) },
		func() error { return s.openNodes(ctx) },
		func() error { return s.OpenGate(ctx, keys, s.cfg.Admitted) },
		func() error { return s.OpenReceivers(ctx, s.cfg.Receive) },
		func() error { return s.OpenCatalog(ctx, s.cfg.Datasets.Below(), s.cfg.Datasets.Room()) },
		func() error { return s.OpenDepot(ctx, keys, s.cfg.Models) },
		func() error { return s.OpenModels(ctx, keys, s.cfg.Signers, s.cfg.Models, s.Files()) },
		func() error {
			return s.OpenDeployments(ctx, keys, s.Depot, premises.Gateways{Reach: s.words, Moved: s.publisher.Nudge})
		},
		func() error { return s.OpenLineage(ctx) },
		func() error { return s.openChanges(ctx, keys, s.moreRooms()) },
		func() error { return s.openMLflow(ctx, s.cfg.Models, s.URL()) },
		func() error { return s.openOCI(ctx, s.URL()) },
		func() error { return s.openWires(ctx, keys) },
		func() error { return s.bootstrap(ctx) },
		func() error { return s.reinvite(ctx) },
		func() error { return s.openServers(ctx) },
		func() error { _, err := s.publisher.Publish(ctx); return err },
	} {
		if err := open(); err != nil {
			return s, err
		}
	}
	return s, nil
}

// newServe returns a control plane of which nothing is open yet.
func newServe(cfg ServeConfig) *Serve {
	s := &Serve{cfg: cfg, members: memberSessions{now: cfg.Now}, actions: cfg.Actions, epochs: identity.NewEpochs(), sizes: map[string]int64{}, control: control{House: premises.House{
		Data: installation.Data(cfg.Data), Tenant: cfg.Tenant, AcceptClock: cfg.AcceptClock, ArchiveAt: cfg.Archive,
		Command: func(words string) string { return installation.Program() + " serve --config FILE " + words }, Say: cfg.Say, Now: cfg.Now,
	}}}
	return s
}

// readFiles reads the files that the configuration names, before anything is made.
func (s *Serve) readFiles() (err error) {
	if s.issuerTexts, err = premises.IssuerFiles(s.cfg.Issuers); err != nil {
		return err
	}
	for i, text := range s.issuerTexts {
		record, err := identity.ParseIssuer(text, s.Tenant)
		if err != nil {
			return premises.RefusedIssuer(s.cfg.Issuers[i], err)
		}
		if record.Demo || strings.HasPrefix(record.URL, issuer.LocalURL("")) {
			return &pavise.Error{
				Kind: pavise.Denied, Msg: fmt.Sprintf("issuer file %s is of an issuer for demonstration, whose tokens no control plane takes", s.cfg.Issuers[i]),
				Hint: "name an issuer of your organisation",
			}
		}
		s.issuers = append(s.issuers, record)
	}
	if s.cfg.Witnesses == "" {
		return nil
	}
	text, err := os.ReadFile(s.cfg.Witnesses)
	if err != nil {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("read the witness policy: %v", err), Hint: "serve.witnesses in pavise.yaml names it", Err: err}
	}
	s.Witnesses, err = proof.ParsePolicy(text)
	return err
}

func (s *Serve) listen() (err error) {
	if s.listener, err = premises.ListenOn(s.cfg.Listen, "serve.listen"); err != nil {
		return err
	}
	if s.fleet, err = premises.ListenOn(s.cfg.Fleet, "serve.fleet"); err != nil {
		return err
	}
	return s.ListenBeside(s.cfg.Health)
}

// openLog opens the log, and tells whether the store is empty.
func (s *Serve) openLog(k installation.Keys) error {
	s.Origin = s.cfg.TrustDomain + "/control/" + k.Install
	if err := s.House.OpenLog(k); err != nil {
		return err
	}
	s.fresh = s.Log.Size() < beginning
	for _, r := range s.Log.Records(0, beginning) {
		s.fresh = s.fresh && r.Kind != noteBegan
	}
	return nil
}

// firstPolicies are those that an empty store begins with.
func (s *Serve) firstPolicies() map[string]string {
	first := guard.Defaults()
	if s.cfg.Bootstrap != nil {
		for id, text := range s.cfg.Bootstrap.Policies {
			first[id] = text
		}
	}
	return first
}

// openCA opens the built-in authority, and who is believed by it.
func (s *Serve) openCA(ctx context.Context, k installation.Keys) (err error) {
	s.ca, err = issuer.OpenCA(ctx, issuer.CAConfig{
		Guard: s.Guard, Store: s.DB, KEK: k.KEK, Dir: s.Data.Path("ca"), TrustDomain: s.cfg.TrustDomain, Tenant: s.Tenant,
		URL: s.FleetURL(), Leaf: s.cfg.Certificate, Bundle: s.trust, Now: s.Now,
	})
	if err != nil {
		return err
	}
	dns, ips := split(s.cfg.Names)
	if s.own, err = s.ca.Own(fleet.ControlID, dns, ips); err != nil {
		return err
	}
	if s.revoked, err = issuer.OpenRevocations(ctx, s.Guard, s.DB, s.epochs, s.Now); err != nil {
		return err
	}
	s.exchange, err = issuer.NewExchange(issuer.ExchangeConfig{Guard: s.Guard, Key: k.Exchange, URL: s.URL(), Tenant: s.Tenant, Now: s.Now})
	if err != nil {
		return err
	}
	if s.verifier, err = identity.New(identity.Config{Now: s.Now, Origins: append(originsOf(s.cfg.Names, s.listener), originsOf(s.cfg.Names, s.fleet)...), Epochs: s.epochs}); err != nil {
		return err
	}
	return s.believe()
}

// trust is where those who join begin to believe bundles.
func (s *Serve) trust() bundle.Trust { return s.publisher.Trust() }

// split parts host names from addresses.
func split(names []string) (dns []string, ips []net.IP) {
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			ips = append(ips, ip)
		} else {
			dns = append(dns, name)
		}
	}
	return dns, ips
}

// believe takes the holders of certificates as of now for those who may call.
func (s *Serve) believe() error {
	s.believing.Lock()
	defer s.believing.Unlock()
	anchor, err := fleet.AnchorOf(s.ca)
	if err != nil {
		return err
	}
	domain, err := anchor.Domain(fleet.Terms{Tenant: s.Tenant, Domain: s.cfg.TrustDomain})
	if err != nil {
		return err
	}
	v, err := s.verifier.With(append(slices.Clone(s.issuers), s.service()), []identity.TrustDomain{domain})
	if err != nil {
		return err
	}
	s.verifier = v
	for _, door := range s.doors {
		door.Believe(v)
	}
	return nil
}

// service is the record of the token service: it may say of somebody what the issuers
// and the list of holders say.
func (s *Serve) service() identity.Issuer {
	var roles []string
	for _, i := range s.issuers {
		roles = append(roles, i.Roles...)
	}
	roles = append(roles, s.ca.Holders().AllRoles()...)
	slices.Sort(roles)
	return s.exchange.Record(slices.Compact(roles))
}

// believed is who knows the callers of now.
func (s *Serve) believed() *identity.Verifier {
	s.believing.Lock()
	defer s.believing.Unlock()
	return s.verifier
}

// changed follows a change of roots or holders.
func (s *Serve) changed() {
	err := s.believe()
	if s.nodes != nil {
		holders := s.ca.Holders()
		err = errors.Join(err, s.nodes.Forget(context.Background(), func(id string) bool {
			_, member := holders.Lookup(pavise.Node, id, s.Now())
			return member
		}))
	}
	if err != nil {
		s.Say("error", err)
	}
	if s.publisher != nil {
		s.publisher.Nudge()
	}
}

// openPublisher opens what tells the gateways.
func (s *Serve) openPublisher(k installation.Keys) error {
	signer, err := bundle.OpenSigner(k.KEK, s.Data.Path("bundle"))
	if err != nil {
		return err
	}
	s.publisher, err = bundle.OpenPublisher(bundle.PublisherConfig{
		Origin: s.cfg.TrustDomain + "/" + s.Tenant, Dir: s.Data.Path("bundle"), Signer: signer, Sections: fleet.Sections(s.orders, s.withdrawn, s.size), Blob: s.blob,
		Lifetime: 2 * s.cfg.Grace, After: s.cfg.Above, Formats: s.cfg.Formats, Now: s.Now, Trouble: func(err error) { s.Say("error", err) },
	})
	if err == nil {
		s.ca.OnChange(s.changed)
	}
	return err
}

// orders are what the gateways are told, as of now.
func (s *Serve) orders(ctx context.Context) (*fleet.Orders, error) {
	texts, err := s.policies.Texts(ctx, s.Tenant)
	if err != nil {
		return nil, err
	}
	routes, err := s.standings(ctx)
	if err != nil {
		return nil, err
	}
	anchor, err := fleet.AnchorOf(s.ca)
	return &fleet.Orders{
		Terms:    fleet.Terms{Tenant: s.Tenant, Domain: s.cfg.TrustDomain, Grace: s.cfg.Grace, Share: s.nodes.Gateways()},
		Actions:  s.actions,
		Policies: map[string]map[string]string{s.Tenant: texts},
		Grants:   s.Guard.Granted(), Routes: routes, Issuers: s.issuerTexts, Service: []identity.Issuer{s.service()}, Anchor: anchor, Revocations: s.epochs.Snapshot(),
		Tiers: fleet.TierOrders(s.Gateway.Tiers, s.Tenant),
	}, err
}

// size returns how long a model is.
func (s *Serve) size(ctx context.Context, digest string) (int64, error) {
	if _, known := s.sizes[digest]; !known {
		onnx, err := s.Gateway.Routes.Model(ctx, digest)
		if err != nil {
			return 0, err
		}
		s.sizes[digest] = int64(len(onnx))
	}
	return s.sizes[digest], nil
}

// blob opens a model that the routes name.
func (s *Serve) blob(ctx context.Context, digest string) (io.ReadCloser, error) {
	onnx, err := s.Gateway.Routes.Model(ctx, digest)
	return io.NopCloser(bytes.NewReader(onnx)), err
}

func (s *Serve) openNodes(ctx context.Context) (err error) {
	s.nodes, err = fleet.OpenNodes(ctx, s.DB, s.Now, func(ctx context.Context, id, kind string, detail any) error {
		return s.Guard.Note(ctx, kind, nil, pavise.Name{Tenant: s.Tenant, Kind: pavise.Node, ID: id}, detail)
	})
	s.verdicts = s.openVerdicts()
	return err
}

// moreRooms are the rooms that only a control plane has.
func (s *Serve) moreRooms() verbs.Rooms {
	return verbs.Rooms{CA: s.ca, Strangers: len(s.cfg.Issuers) > 0, Revoked: s.revoked, Exchange: s.exchange, Nodes: s.nodes.States, Bundles: s.bundleKeys(), Link: s.consoleLink, MemberLink: s.memberLink, Rooms: evidence.Rooms{WitnessURL: s.FleetURL() + witnessPrefix}}
}

// openWires opens where findings go.
func (s *Serve) openWires(ctx context.Context, k installation.Keys) error {
	cfg := premises.Told(s.cfg.Findings, s.cfg.Printer)
	for _, text := range s.cfg.SendTo {
		network, err := config.Network(text)
		if err != nil {
			return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%.60q is no network", text), Hint: "serve.send_to in pavise.yaml lists networks, as 10.1.0.0/16", Err: err}
		}
		cfg.Allow = append(cfg.Allow, network)
	}
	return s.control.openWires(ctx, k, cfg)
}

// bundleKeys are the verbs on the keys that sign what gateways are told.
func (s *Serve) bundleKeys() *fleet.BundleKeys {
	return &fleet.BundleKeys{Guard: s.Guard, Publisher: s.publisher, Store: s.DB, Tenant: s.Tenant}
}

// bootstrap begins an empty store, through the verbs that anybody would use, and says
// so in the log. Afterwards it is ignored.
func (s *Serve) bootstrap(ctx context.Context) error {
	if s.cfg.AcceptClock {
		if err := verbs.AcceptClock(ctx, s.Guard, s.beginner()); err != nil {
			return err
		}
	}
	b := s.cfg.Bootstrap
	if !s.fresh {
		s.ignored = b != nil
		return nil
	}
	var began struct {
		People   []config.Person `json:"people"`
		Policies []string        `json:"policies"`
		Routes   []string        `json:"routes"`
	}
	if b != nil {
		for _, r := range b.Routes {
			if err := s.firstRoute(ctx, s.beginner(), r); err != nil {
				return err
			}
			began.Routes = append(began.Routes, r.Name)
		}
		for _, p := range b.People {
			if err := s.Guard.KnowsRoles(s.Tenant, p.Roles); err != nil {
				return err
			}
			inv, err := s.ca.First(ctx, issuer.Invite{ID: p.ID, Roles: p.Roles, Key: p.Key})
			if pavise.KindOf(err) == pavise.Conflict {
				continue // joined by the word of an earlier start, which came no further than this
			}
			if err != nil {
				return err
			}
			s.invitations = append(s.invitations, inv)
		}
		began.People = b.People
	}
	for id := range s.firstPolicies() {
		began.Policies = append(began.Policies, id)
	}
	slices.Sort(began.Policies)
	return s.Guard.Note(ctx, noteBegan, nil, pavise.Name{}, began)
}

// beginner is in whose name an empty store begins: whoever can start the process.
func (s *Serve) beginner() pavise.Principal {
	return pavise.Principal{Tenant: s.Tenant, Kind: pavise.Human, ID: userName(), Issuer: "bootstrap", Roles: []string{issuer.RoleOperator}, Proof: "started the process"}
}

// openServers makes the two doors: one for people and programs with tokens, and one for
// machines and people with certificates.
func (s *Serve) openServers(ctx context.Context) (err error) {
	own, err := server.CertificateOf(s.cfg.TLS, s.own.Get)
	if err != nil {
		return err
	}
	control := verbs.NewServer(ctx, s.rooms, s.verifier)
	members := verbs.NewServer(ctx, s.rooms, s.verifier)
	s.doors = []*api.Server{control, members}
	s.console, err = console.New(console.Config{
		API: s.URL(), Host: s.hosts(), HTTP: &http.Client{Transport: inProcess{handler: control.Handler(), members: &s.members}}, Now: s.Now,
		Verify:  fmt.Sprintf("%s ledger verify %s --key %s", installation.Program(), installation.Quote(s.Data.Ledger()), s.Log.Keys()[0].Fingerprint()),
		Command: func(words string) string { return installation.Program() + " " + words },
	})
	if err != nil {
		return err
	}
	public := http.NewServeMux()
	asPeople, asMembers := control.Handler(), members.Handler()
	public.Handle("/v1/", asPeople)
	public.Handle(openlineage.PathEvent, asPeople)
	public.Handle(openlineage.PathBatch, asPeople)
	for _, pattern := range mlflow.Patterns() {
		public.Handle(pattern, asPeople)
	}
	public.Handle(oci.Path, asPeople)
	public.Handle(issuer.WellKnownPrefix, s.exchange.WellKnown())
	public.Handle(evidence.TilesPrefix, s.rooms.Tiles(control.Admit, s.cfg.PublicTiles))
	public.Handle("/", s.console.Handler())
	s.public = server.People(public, own)

	fleet := http.NewServeMux()
	fleet.Handle("/v1/", asMembers)
	fleet.Handle(openlineage.PathEvent, asMembers)
	fleet.Handle(openlineage.PathBatch, asMembers)
	for _, pattern := range mlflow.Patterns() {
		fleet.Handle(pattern, asMembers)
	}
	fleet.Handle(oci.Path, asMembers)
	fleet.Handle(evidence.TilesPrefix, s.rooms.Tiles(members.Admit, s.cfg.PublicTiles))
	fleet.Handle("/v1/bundle", s.machine(s.publisher.Handler()))
	fleet.Handle("/v1/bundle/", s.machine(s.publisher.Handler()))
	fleet.Handle(witnessPrefix+"/", s.machine(http.StripPrefix(witnessPrefix, s.witness.Handler())))
	fleet.Handle("POST /fleet/report", s.machine(http.HandlerFunc(s.takeReport)))
	s.fleetDoor = server.Members(fleet, s.own.Get)
	return s.believe()
}

// hosts are the Host headers that mean the console.
func (s *Serve) hosts() (hosts []string) {
	_, port, _ := net.SplitHostPort(s.listener.Addr().String())
	for _, name := range s.cfg.Names {
		hosts = append(hosts, net.JoinHostPort(name, port))
	}
	return hosts
}

// URL is where people reach it.
func (s *Serve) URL() string { return originsOf(s.cfg.Names[:1], s.listener)[0] }

// FleetURL is where machines reach it.
func (s *Serve) FleetURL() string { return originsOf(s.cfg.Names[:1], s.fleet)[0] }

// Fingerprint is that of its log's key, Authority that of the built-in CA's root.
func (s *Serve) Fingerprint() string { return s.Log.Keys()[0].Fingerprint() }

// Authority is the fingerprint of the built-in CA's root.
func (s *Serve) Authority() string { return s.ca.Fingerprint() }

// Invitations are of those who begin, or are invited anew: each lets one person join, once.
func (s *Serve) Invitations() []issuer.Invitation { return s.invitations }

// Ignored reports whether the configuration has a bootstrap block for a store that had
// begun before.
func (s *Serve) Ignored() bool { return s.ignored }

// consoleLink is a link that opens the console, once, for the person whose token it is.
func (s *Serve) consoleLink(token string, expires time.Time) string {
	return s.URL() + s.console.Link(func(context.Context) (string, time.Time, error) { return token, expires, nil })
}

// memberLink is one for a person who has called with a certificate: the session acts as
// they would, as long as the certificate is good, and for an hour at most.
func (s *Serve) memberLink(chain []*x509.Certificate, expires time.Time) string {
	if most := s.Now().Add(issuer.MaxTTL); expires.After(most) {
		expires = most
	}
	return s.consoleLink(s.members.open(chain, expires), expires)
}

// machine lets machines of the fleet through, and nobody else.
func (s *Serve) machine(inner http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		source, _, _ := net.SplitHostPort(r.RemoteAddr)
		who, err := s.Guard.Admit(r.Context(), s.believed(), identity.FromRequest(r), source)
		if err == nil && (who.Kind != pavise.Node || who.Proof != "mtls" || who.Tenant != s.Tenant) {
			err = &pavise.Error{Kind: pavise.Denied, Msg: who.Name().String() + " is no machine of this fleet", Hint: "machines are invited: pavise node invite NAME"}
		}
		if err != nil {
			refuse(w, err)
			return
		}
		inner.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), machineKey{}, who.ID)))
	})
}

// machineKey is where machine leaves the id for takeReport, inside one request and
// this file.
type machineKey struct{}

// takeReport keeps what a machine says of itself, becomes a witness of its log, and
// tells it who else is.
func (s *Serve) takeReport(w http.ResponseWriter, r *http.Request) {
	id, _ := r.Context().Value(machineKey{}).(string)
	answer, err := s.reported(r, id)
	if err != nil {
		refuse(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer) // whoever went away reads nothing
}

func (s *Serve) reported(r *http.Request, id string) (fleet.Reply, error) {
	var said fleet.Report
	text, err := io.ReadAll(io.LimitReader(r.Body, fleet.MaxReport))
	if err == nil {
		err = json.Unmarshal(text, &said)
	}
	if err != nil {
		return fleet.Reply{}, &pavise.Error{Kind: pavise.Invalid, Msg: "the report cannot be read: " + err.Error(), Hint: "use the same version, or the one before, on both sides", Err: err}
	}
	if err := fleet.CheckReport(said, s.cfg.TrustDomain, id); err != nil {
		return fleet.Reply{}, err
	}
	if err := s.watch(r.Context(), id, said.Log); err != nil {
		return fleet.Reply{}, err
	}
	before := s.nodes.Gateways()
	news, err := s.nodes.Take(r.Context(), id, said)
	if err != nil {
		return fleet.Reply{}, err
	}
	if news && s.Deployments != nil {
		s.Deployments.Heard()
	}
	s.verdicts.Hear(id, said.Bad)
	if s.nodes.Gateways() != before {
		s.publisher.Nudge()
	}
	var answer fleet.Reply
	for _, root := range s.ca.Roots() {
		answer.Roots = append(answer.Roots, root.Raw)
	}
	if said.Role == "agent" {
		answer.Watch = append(fleet.KeysOf(s.Log), s.nodes.Logs(id)...)
	} else {
		answer.Policy, answer.Peers = s.witnessesOf(id)
	}
	return answer, nil
}

// watch becomes a witness of a machine's log.
func (s *Serve) watch(ctx context.Context, id string, keys []string) error {
	logs, err := s.witness.Logs(ctx)
	if err != nil {
		return err
	}
	known, own := map[string]bool{}, map[string]bool{}
	for _, l := range logs {
		for _, key := range l.Keys {
			known[key] = true
		}
		if strings.HasPrefix(l.Origin, fleet.LogName(s.cfg.TrustDomain, id)+"/") {
			own[l.Origin] = true
		}
	}
	for _, text := range keys {
		if known[text] {
			continue
		}
		key, err := proof.ParseKey(text)
		if err != nil {
			return err
		}
		if own[key.Name()] = true; len(own) > fleet.MaxLogs {
			return &pavise.Error{Kind: pavise.Throttled, Msg: fmt.Sprintf("machine %s has begun more than %d logs", id, fleet.MaxLogs), Hint: "forget those that are gone: pavise witness forget ORIGIN"}
		}
		if err := s.witness.Trust(ctx, key); err != nil {
			return err
		}
		if err := s.Guard.Note(ctx, "witness.trusted", nil, witness.Name(s.Tenant, key.Name()), map[string]string{"node": id, "key": text}); err != nil {
			return err
		}
	}
	return nil
}

// witnessesOf says who cosigns the log of a machine: the control plane, and every agent
// on another machine.
func (s *Serve) witnessesOf(id string) (policy string, peers []fleet.Peer) {
	keys, urls := []string{s.witness.Keys()[0].String()}, []string{s.FleetURL() + witnessPrefix}
	peers = []fleet.Peer{{URL: urls[0], ID: fleet.ControlID}}
	reports, ids := s.nodes.Witnesses(id)
	for i, r := range reports {
		keys, urls = append(keys, r.Witness[0]), append(urls, r.URL)
		peers = append(peers, fleet.Peer{URL: r.URL, ID: ids[i]})
	}
	return fleet.PolicyOf(keys, urls), peers
}

// askAgents has the agents of the fleet cosign this log, unless a file says who does,
// until ctx is done.
func (s *Serve) askAgents(ctx context.Context) {
	roots := func() *x509.CertPool {
		pool := x509.NewCertPool()
		for _, root := range s.ca.Roots() {
			pool.AddCert(root)
		}
		return pool
	}
	watchers := fleet.NewWatchers(s.Log, s.Now, func(id string) *http.Client {
		return fleet.Client(s.own.Get, roots, s.Now, fleet.NodeID(s.cfg.TrustDomain, id))
	})
	for ctx.Err() == nil && s.Witnesses == nil {
		reports, ids := s.nodes.Witnesses("")
		if policy, peers := policyOf(reports, ids); len(peers) > 0 {
			if err := watchers.Follow(ctx, policy, peers); err != nil {
				s.Say("warning", err)
			}
		}
		select {
		case <-time.After(fleet.ReportEvery):
		case <-ctx.Done():
		}
	}
}

// policyOf asks agents, by the first of their keys.
func policyOf(reports []fleet.Report, ids []string) (policy string, peers []fleet.Peer) {
	var keys, urls []string
	for i, r := range reports {
		keys, urls = append(keys, r.Witness[0]), append(urls, r.URL)
		peers = append(peers, fleet.Peer{URL: r.URL, ID: ids[i]})
	}
	return fleet.PolicyOf(keys, urls), peers
}

// follow has the publisher look again whenever the log has grown: whatever changes
// something leaves a record.
func (s *Serve) follow(ctx context.Context) {
	for seen := s.Log.Size(); s.Log.AwaitSigned(ctx, seen) == nil; {
		select {
		case <-time.After(settle):
		case <-ctx.Done():
			return
		}
		// Before the nudge: what comes between the two is looked at once more, and not when
		// the publisher looks by itself.
		seen = s.Log.Size()
		s.publisher.Nudge()
	}
}

// Run serves until ctx is done, then stops accepting and lets requests under way end.
// Close comes after it.
func (s *Serve) Run(ctx context.Context) error {
	rooms, stopRooms := context.WithCancel(context.WithoutCancel(ctx))
	defer stopRooms()
	var house errgroup.Group
	s.House.Keep(rooms, &house)
	s.ServeHealth(rooms, &house, s.Standing("serve"))
	house.Go(func() error { return s.Changes.Run(rooms) })
	house.Go(func() error { return s.publisher.Run(ctx) }) // or a door would wait for those who wait for news
	house.Go(func() error { s.follow(rooms); return nil })
	house.Go(func() error { return premises.FetchKeys(rooms, s.believed) })
	house.Go(func() error { s.nodes.Look(rooms); return nil })
	house.Go(func() error { s.verdicts.Run(rooms); return nil })
	house.Go(func() error { s.askAgents(rooms); return nil })
	// Either door that closes by itself takes the other with it.
	doors, closeDoors := context.WithCancel(ctx)
	defer closeDoors()
	door := make(chan error, 1)
	go func() {
		defer closeDoors()
		door <- server.Until(doors, s.fleetDoor, s.fleet)
	}()
	err := server.Until(doors, s.public, s.listener)
	closeDoors()
	err = errors.Join(err, <-door)
	stopRooms()
	return errors.Join(err, house.Wait())
}

// Close flushes the log and closes the store, in that order. It may be called on one
// that was never finished.
func (s *Serve) Close() error {
	for _, l := range []net.Listener{s.listener, s.fleet} {
		if l != nil {
			l.Close()
		}
	}
	return s.House.Close()
}
