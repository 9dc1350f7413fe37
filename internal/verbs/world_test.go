package verbs

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/archive"
	"github.com/pavise/pavise/internal/catalog"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/dataset"
	"github.com/pavise/pavise/internal/deploy"
	"github.com/pavise/pavise/internal/evidence"
	"github.com/pavise/pavise/internal/feed"
	"github.com/pavise/pavise/internal/gate"
	"github.com/pavise/pavise/internal/gateway"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/identity"
	"github.com/pavise/pavise/internal/issuer"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/monitor"
	"github.com/pavise/pavise/internal/onnx"
	"github.com/pavise/pavise/internal/openlineage"
	"github.com/pavise/pavise/internal/outbound"
	"github.com/pavise/pavise/internal/policy"
	"github.com/pavise/pavise/internal/proof"
	"github.com/pavise/pavise/internal/receiver"
	"github.com/pavise/pavise/internal/registry"
	"github.com/pavise/pavise/internal/rowseal"
	"github.com/pavise/pavise/internal/screening"
	"github.com/pavise/pavise/internal/seal"
	"github.com/pavise/pavise/internal/siem"
	"github.com/pavise/pavise/internal/store"
	"github.com/pavise/pavise/internal/store/blob"
	"github.com/pavise/pavise/internal/subject"
	"github.com/pavise/pavise/internal/ticket"
	"github.com/pavise/pavise/internal/witness"
)

// A world is a whole control plane on a temporary directory.
type world struct {
	*Rooms
	dir    string
	base   string // the server's address, which the token service has as its name
	server *httptest.Server
	stop   context.CancelFunc // what SIGINT does
	lake   string             // where its datasets lie
	sites  *sites             // where versions of its models run
	shelf  shelf              // files of its models
	made   int                // models
	linked []string           // the tokens that links to the console were made for, and when those end
}

// formOf is a gate of which receivers, which do not run, ask what sources take.
type formOf struct{ *gate.Gate }

func (formOf) Admit(context.Context, pavise.Principal, pavise.Name, receiver.Batch) (receiver.Receipt, error) {
	return receiver.Receipt{}, errors.New("nothing is fetched here")
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{dir: t.TempDir(), shelf: shelf{}}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	kek, err := seal.OpenFileKEK(filepath.Join(w.dir, "kek"))
	must(err)
	logKey := ed25519.NewKeyFromSeed([]byte("api test, a log key of 32 bytes."))
	log, err := ledger.Open(ledger.Options{Dir: filepath.Join(w.dir, "ledger"), Origin: "test/api", Key: logKey, Tenant: "local"})
	must(err)
	db, err := store.Open(t.Context(), filepath.Join(w.dir, "db"))
	must(err)
	w.Rooms = &Rooms{Rooms: evidence.Rooms{Log: log, KEK: kek, Protection: kek.Protection()}, Link: func(token string, expires time.Time) string {
		w.linked = append(w.linked, fmt.Sprint(token, " until ", expires.Unix()))
		return "http://console/login"
	}}
	w.Guard, err = guard.New(guard.Config{
		Actions: Actions(), Log: log, DemoIssuer: issuer.LocalURL("test"),
		Facts: func(name pavise.Name) policy.Facts {
			if _, is := registry.RefOf(name); is {
				return w.Models.Facts(name)
			}
			return policy.Facts{Quarantined: w.Routes != nil && w.Routes.Quarantined(name)}
		},
		Approved: func(name pavise.Name, verb string, on pavise.Name) bool { return w.Changes.UnderWay(name, verb, on) },
	})
	must(err)
	w.Policies, err = guard.OpenPolicies(t.Context(), w.Guard, db)
	must(err)
	must(w.Policies.Seed(t.Context(), "local", guard.Defaults()))
	w.Grants, err = guard.OpenGrants(t.Context(), w.Guard, db)
	must(err)
	w.Issuer, err = issuer.New(issuer.Config{Guard: w.Guard, Seed: bytes.Repeat([]byte{7}, 32), Install: "test", Tenant: "local", Now: time.Now})
	must(err)
	epochs := identity.NewEpochs()
	w.Revoked, err = issuer.OpenRevocations(t.Context(), w.Guard, db, epochs, time.Now)
	must(err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	w.base = "http://" + listener.Addr().String()
	key, err := issuer.NewExchangeKey()
	must(err)
	w.Exchange, err = issuer.NewExchange(issuer.ExchangeConfig{Guard: w.Guard, Key: key, URL: w.base, Tenant: "local", Audiences: []string{"sts.cloud.example"}, Now: time.Now})
	must(err)
	local := w.Issuer.Record()
	verifier, err := identity.New(identity.Config{
		Now: time.Now, Issuers: []identity.Issuer{local, w.Exchange.Record(local.Roles)}, Origins: []string{w.base}, Epochs: epochs,
	})
	must(err)
	w.CA, err = issuer.OpenCA(t.Context(), issuer.CAConfig{
		Guard: w.Guard, Store: db, KEK: kek, Dir: filepath.Join(w.dir, "ca"), TrustDomain: "test.example", Tenant: "local", URL: "https://control.example:8471", Now: time.Now,
	})
	must(err)
	_, err = w.CA.Own("control", []string{"control.example"}, nil)
	must(err)
	w.Subjects, err = subject.Open(t.Context(), db, kek, time.Now)
	must(err)
	w.Feeds, err = feed.Open(t.Context(), log, db, time.Now)
	must(err)
	bucket, err := blob.Open(t.Context(), filepath.Join(w.dir, "archive"))
	must(err)
	w.Archive, err = archive.Open(t.Context(), archive.Config{
		Log: log, Store: db, Bucket: bucket, Now: time.Now, Oldest: w.Feeds.Oldest,
		Note: func(ctx context.Context, kind string, detail any) error {
			return w.Guard.Note(ctx, kind, nil, pavise.Name{}, detail)
		},
	})
	must(err)
	cosigner, err := proof.NewCosigner("test/api/witness", ed25519.NewKeyFromSeed([]byte("api test, a witness key, 32 byte")))
	must(err)
	w.Witness, err = witness.Open(t.Context(), witness.Config{
		Signers: []*proof.Signer{cosigner}, Store: db, Now: time.Now,
		Record: func(ctx context.Context, cp proof.Checkpoint) error {
			return w.Guard.Note(ctx, witness.KindCosigned, nil, witness.Name("local", cp.Origin), witness.NewCosigning(cp))
		},
		Forked: func(context.Context, string, []byte, []byte) error { return nil },
	})
	must(err)
	plane, err := gateway.New(t.Context(), gateway.Config{Guard: w.Guard, Verifier: verifier, Store: db, Log: log, Subjects: w.Subjects})
	must(err)
	w.Routes, w.Tiers, w.Marks = plane.Routes, plane.Tiers, plane
	w.Bundles = &bundleKeys{w, db}
	admitted, err := blob.Open(t.Context(), filepath.Join(w.dir, "admitted"))
	must(err)
	w.Gate, err = gate.Open(t.Context(), gate.Config{Guard: w.Guard, Store: db, KEK: kek, Dir: filepath.Join(w.dir, "quarantine"), Output: admitted})
	must(err)
	w.Receivers, err = receiver.Open(t.Context(), receiver.Config{Guard: w.Guard, Store: db, Gate: formOf{w.Gate}, Roots: []string{w.dir}, Scratch: filepath.Join(w.dir, "receiving"), Now: time.Now})
	must(err)
	w.lake = t.TempDir()
	w.Catalog, err = catalog.Open(t.Context(), catalog.Config{
		Guard: w.Guard, Log: log, Store: db, Places: lake(w.lake), Dir: filepath.Join(w.dir, "datasets"), Now: time.Now, Signed: dataset.SignedAs, Prove: proves, Screen: lake(w.lake).screen,
		Compare: func(context.Context, string, string) (catalog.Differences, error) { return differs, nil },
	})
	must(err)
	w.sites = &sites{}
	w.Deployments, err = deploy.Open(t.Context(), deploy.Config{Guard: w.Guard, Store: db, Versions: w.sites, Drivers: w.sites.drivers(), Now: time.Now})
	must(err)
	w.Models, err = registry.Open(t.Context(), registry.Config{Guard: w.Guard, Store: db, Now: time.Now, Files: w.shelf, Dir: filepath.Join(w.dir, "models")})
	must(err)
	w.Monitor, err = monitor.Open(t.Context(), monitor.Config{Guard: w.Guard, Log: log, Store: db, Key: kek.Baselines, Sign: ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)), Now: time.Now, Window: 100 * time.Millisecond, Learn: 500})
	must(err)
	w.Changes, err = change.New(t.Context(), change.Config{Guard: w.Guard, Store: db, Log: log, Runners: w.Runners()})
	must(err)
	w.Wires, err = siem.Open(t.Context(), siem.Config{Guard: w.Guard, Log: log, Feeds: w.Feeds, Store: db, KEK: kek, Now: time.Now, Tenant: "local", Local: true})
	must(err)
	w.Tickets, err = ticket.Open(t.Context(), ticket.Config{
		Guard: w.Guard, Store: db, KEK: kek, Changes: w.Changes, Propose: w.Changes.Propose, Withdraw: w.Changes.Withdraw, Hears: w.Changes.Hears, Revoked: w.Revoked.Refuses, Reach: outbound.Reach{Loopback: true}, Now: time.Now,
	})
	must(err)
	w.Lineage, err = openlineage.Open(t.Context(), openlineage.Config{Guard: w.Guard, Store: db, Now: time.Now})
	must(err)
	ctx, stop := context.WithCancel(t.Context())
	w.stop = stop
	looked := make(chan error, 2)
	go func() { looked <- w.Catalog.Run(ctx) }()
	go func() { looked <- w.Monitor.Run(ctx) }()
	control, mux := NewServer(ctx, w.Rooms, verifier), http.NewServeMux()
	mux.Handle("/v1/", control.Handler())
	mux.Handle(openlineage.PathEvent, control.Handler())
	mux.Handle(openlineage.PathBatch, control.Handler())
	mux.Handle(issuer.WellKnownPrefix, w.Exchange.WellKnown())
	w.server = &httptest.Server{Listener: listener, Config: &http.Server{Handler: mux}}
	w.server.Start()
	t.Cleanup(func() {
		stop()
		w.server.Close()
		<-looked
		<-looked
		log.Close()
		db.Close()
	})
	return w
}

// client speaks as a person with the roles.
func (w *world) client(t *testing.T, roles ...string) *api.Client {
	t.Helper()
	return w.person(t, "somebody", roles...)
}

// person speaks as a certain person with the roles.
func (w *world) person(t *testing.T, id string, roles ...string) *api.Client {
	t.Helper()
	token, err := w.Issuer.Bootstrap(issuer.MintRequest{Subject: id, Kind: pavise.Human, Roles: roles})
	if err != nil {
		t.Fatal(err)
	}
	return &api.Client{Base: w.server.URL, Token: token.Value}
}

// hold lets somebody hold a role beside those of their token, as if it had been granted.
func (w *world) hold(role string) {
	holder := pavise.Name{Tenant: "local", Kind: pavise.Human, ID: "somebody"}
	name, _ := guard.GrantName(holder, role)
	w.Guard.HoldGrants([]guard.Grant{{Name: name, Holder: holder, Role: role, Until: time.Now().Add(time.Hour)}})
}

// done proposes a verb as somebody, and approves it as somebody else.
func (w *world) done(t *testing.T, verb string, request any) api.ChangeView {
	t.Helper()
	var ch api.ChangeView
	if err := w.client(t, "operator").Call(t.Context(), verb, request, &ch); err != nil {
		t.Fatalf("propose %s: %v", verb, err)
	}
	if err := w.person(t, "another", "operator").Call(t.Context(), "change.approve", VoteRequest{ID: ch.Name.ID, Digest: ch.Digest[:8]}, &ch); err != nil {
		t.Fatalf("approve %s: %v", verb, err)
	}
	return ch
}

// post sends a body as it is.
func post(t *testing.T, c *api.Client, verb, body string) (*http.Response, api.Problem) {
	t.Helper()
	req, err := http.NewRequest("POST", c.Base+"/v1/"+verb, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if c.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	return send(t, req)
}

// send returns the response and, if it is one, its problem. A refusal that is
// no problem fails the test.
func send(t *testing.T, req *http.Request) (*http.Response, api.Problem) {
	t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var p api.Problem
	if resp.StatusCode < 400 {
		return resp, p
	}
	if err := json.Unmarshal(text, &p); err != nil || p.Status != resp.StatusCode || p.Detail == "" ||
		resp.Header.Get("Content-Type") != "application/problem+json" || p.Title != pavise.ParseKind(p.Title).String() {
		t.Errorf("%s %s: %s %q is no problem: %v", req.Method, req.URL.Path, resp.Status, text, err)
	}
	return resp, p
}

// networkOf is a model; its file has four bytes for each pair of columns.
func networkOf(in, out int) []byte {
	w := onnx.NewWriter("product")
	weights := w.Floats("w", []int{in, out}, make([]float32, in*out))
	w.Node("MatMul", "y", []string{w.Input("x", in), weights})
	w.Output("y", out)
	return w.Bytes()
}

// bundleKeys stands for the keys that sign what gateways are told: one alone, about which
// nothing changes. The real ones are a room's above this one.
type bundleKeys struct {
	w  *world
	db *store.DB
}

func (b *bundleKeys) List(ctx context.Context, who pavise.Principal) (list SigningKeys, err error) {
	entry, err := b.w.Guard.Enter(ctx, who, "bundle.list", pavise.Name{Tenant: who.Tenant, Kind: "bundle", ID: "orders"})
	if err != nil {
		return list, err
	}
	defer entry.Exit(&err)
	return SigningKeys{Serial: 1, Keys: []SigningKey{{Key: "ed25519:x", State: "active"}}}, nil
}

func (b *bundleKeys) Change(verb string) change.Runner {
	return change.Runner{
		Plan: func(context.Context, pavise.Name, json.RawMessage) (change.Plan, error) {
			return change.Plan{Summary: verb}, nil
		},
		Run: func(ctx context.Context, act change.Act) (err error) {
			entry, err := b.w.Guard.Enter(ctx, act.Who, verb, act.On)
			if err != nil {
				return err
			}
			defer entry.Exit(&err)
			return b.db.Update(ctx, act.Mark)
		},
	}
}

const permit = `permit (principal in Role::"analyst", action == Action::"route.list", resource);`

// A lake is a directory with datasets, whose addresses are the names of files in it.
type lake string

func (l lake) Allowed(at catalog.Place) error {
	if strings.ContainsAny(at.URL, "/\\") {
		return &pavise.Error{Kind: pavise.Denied, Msg: "there is no " + at.URL + " in the lake"}
	}
	return nil
}

func (l lake) Seal(ctx context.Context, at catalog.Place, out string, _ func(int64) error) (int, error) {
	_, err := (&dataset.Seal{Path: filepath.Join(string(l), at.URL), Out: out}).Run(ctx)
	return 0, err
}

func (l lake) Hold(ctx context.Context, at catalog.Place, seal string, fast bool) (catalog.Differences, int, error) {
	held, err := (&dataset.Verify{Path: filepath.Join(string(l), at.URL), Seal: seal, Fast: fast}).Run(ctx)
	if err != nil || held.Clean {
		return catalog.Differences{}, 0, err
	}
	return differs, 0, nil
}

// proves proves that a row is in a seal, or is not.
func proves(ctx context.Context, seal string, digest rowseal.Digest, parquet bool) (catalog.Proof, error) {
	p, err := dataset.ProveRow(ctx, seal, dataset.Row{Digest: rowseal.Hash(digest), Parquet: parquet})
	if err != nil {
		return catalog.Proof{}, err
	}
	return catalog.Proof{Root: p.Root, Member: p.Member, Count: p.Count, Statement: p.Statement}, nil
}

// differs is what differs in the lake.
var differs = catalog.Differences{Files: []catalog.Difference{{File: ".", What: "changed", Changed: []uint64{1}, Rows: 1}}}

// screen screens what lies in the lake.
func (l lake) screen(ctx context.Context, ask catalog.ToScreen) (catalog.Judged, *catalog.Report, error) {
	return judge.Judge(ctx, screening.Place{Path: filepath.Join(string(l), ask.Place.URL), Within: string(l)}, ask)
}

var judge = screening.NewJudge(screening.UsualBounds, 2)
