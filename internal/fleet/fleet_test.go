package fleet

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/bundle"
	"github.com/pavise/pavise/internal/disk"
	"github.com/pavise/pavise/internal/proof"
	"github.com/pavise/pavise/internal/route"
	"github.com/pavise/pavise/internal/seal"
	"github.com/pavise/pavise/internal/store"
)

// logKey is the verifier key of a log, witnessKey that of a witness.
func logKey(t *testing.T, name string) string {
	t.Helper()
	signer, err := proof.NewLogSigner(name, ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err != nil {
		t.Fatal(err)
	}
	return signer.Key().String()
}

func witnessKey(t *testing.T, name string, seed byte) string {
	t.Helper()
	key := make([]byte, ed25519.SeedSize)
	key[0] = seed
	signer, err := proof.NewCosigner(name, ed25519.NewKeyFromSeed(key))
	if err != nil {
		t.Fatal(err)
	}
	return signer.Key().String()
}

// TestReports lets machines say what they may, and no more.
func TestReports(t *testing.T) {
	fraud := pavise.Name{Tenant: "acme", Kind: "model", ID: "fraud"}
	good := Report{Role: "gateway", Version: "v0.3.0", Log: []string{logKey(t, "acme.example/node/gw-1/abc")}, Runs: []Run{{Model: fraud, ONNX: "sha256:0"}}}
	if err := CheckReport(good, "acme.example", "gw-1"); err != nil {
		t.Error(err)
	}
	for name, edit := range map[string]func(*Report){
		"no role":                 func(r *Report) { r.Role = "" },
		"the control plane's":     func(r *Report) { r.Role = "serve" },
		"another machine's log":   func(r *Report) { r.Log = []string{logKey(t, "acme.example/node/gw-10/abc")} },
		"the control plane's log": func(r *Report) { r.Log = []string{logKey(t, "acme.example/control/abc")} },
		"a log named as itself":   func(r *Report) { r.Log = []string{logKey(t, "acme.example/node/gw-1")} },
		"no key":                  func(r *Report) { r.Log = []string{"x"} },
		"many logs":               func(r *Report) { r.Log = make([]string, 5) },
		"another's witness":       func(r *Report) { r.Witness = []string{witnessKey(t, "acme.example/node/gw-2/abc/witness", 1)} },
		"clear text":              func(r *Report) { r.URL = "http://gw-1:8473" },
		"a line of a policy":      func(r *Report) { r.URL = "https://gw-1:8473\nquorum none" },
		"a space":                 func(r *Report) { r.URL = "https://gw-1:8473 x" },
		"an address that is none": func(r *Report) {
			r.URL, r.Witness = "https://%zz", []string{witnessKey(t, "acme.example/node/gw-1/abc/witness", 1)}
		},
		"an address with a query": func(r *Report) {
			r.URL, r.Witness = "https://gw-1:8473?x", []string{witnessKey(t, "acme.example/node/gw-1/abc/witness", 1)}
		},
		"a log's key as a witness": func(r *Report) {
			r.URL, r.Witness = "https://gw-1:8473", []string{logKey(t, "acme.example/node/gw-1/abc")}
		},
		"a long version":   func(r *Report) { r.Version = strings.Repeat("v", 101) },
		"what is no model": func(r *Report) { r.Runs = []Run{{Model: pavise.Name{Tenant: "acme", Kind: "route", ID: "fraud"}}} },
		"a model unnamed":  func(r *Report) { r.Runs = []Run{{}} },
		"a long address":   func(r *Report) { r.Runs = []Run{{Model: fraud, Upstream: strings.Repeat("x", 3000)}} },
		"a long digest": func(r *Report) {
			r.Runs = []Run{{Model: fraud, Versions: []route.Version{{ONNX: strings.Repeat("x", 3000)}}}}
		},
		"a long replica": func(r *Report) {
			r.Runs = []Run{{Model: fraud, Replicas: []route.Replica{{URL: strings.Repeat("x", 3000)}}}}
		},
		"a version unnamed":         func(r *Report) { r.Bad = []Bad{{fraud, ""}} },
		"very many bad":             func(r *Report) { r.Bad = make([]Bad, 65) },
		"an agent's verdict":        func(r *Report) { r.Role, r.Bad = "agent", []Bad{{fraud, "v1"}} },
		"a long version of a model": func(r *Report) { r.Bad = []Bad{{fraud, strings.Repeat("x", 3000)}} },
		"very many models":          func(r *Report) { r.Runs = make([]Run, 1025) },
		"a long trouble":            func(r *Report) { r.Bundle.Trouble = strings.Repeat("x", 2001) },
	} {
		r := good
		edit(&r)
		if err := CheckReport(r, "acme.example", "gw-1"); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestPolicies asks more than half of the witnesses.
func TestPolicies(t *testing.T) {
	keys := []string{witnessKey(t, "a", 1), witnessKey(t, "b", 2), witnessKey(t, "c", 3), witnessKey(t, "d", 4)}
	urls := []string{"https://a:1", "https://b:1", "https://c:1", "https://d:1"}
	for n, want := range map[int]string{1: "group all 1 w0\n", 2: "group all 2 w0 w1\n", 3: "group all 2 w0 w1 w2\n", 4: "group all 3 w0 w1 w2 w3\n"} {
		text := PolicyOf(keys[:n], urls[:n])
		if _, err := proof.ParsePolicy([]byte(text)); err != nil || !strings.Contains(text, want) {
			t.Errorf("of %d: %v\n%s", n, err, text)
		}
	}
}

// TestPolicyWithStolenKeys has a member give others' witness keys out for its own, and
// their addresses for its own: the others are asked all the same.
func TestPolicyWithStolenKeys(t *testing.T) {
	keys := []string{witnessKey(t, "acme/control/x/witness", 1), witnessKey(t, "acme/node/evil/x/witness", 1), witnessKey(t, "acme/node/good/x/witness", 2)}
	urls := []string{"https://control:1", "https://evil:1", "https://good:1"}
	policy, err := proof.ParsePolicy([]byte(PolicyOf(keys, urls)))
	if err != nil {
		t.Fatal(err)
	}
	var asked []string
	for _, w := range policy.Witnesses {
		asked = append(asked, w.URL)
	}
	if !slices.Equal(asked, []string{"https://control:1", "https://good:1"}) {
		t.Errorf("asked are %v", asked)
	}
	for name, want := range map[string]bool{"acme/node/good/x/witness": true, "acme/node/evil/x/witness": false, "acme/node/good2/x/witness": false, "acme/control/x/witness": false} {
		if isOf(name, "good") != want {
			t.Errorf("%s is good's: %v", name, !want)
		}
	}
}

// TestMembersByAddress refuses a member that is known by no id at a bare address, where
// any other member's certificate would pass.
func TestMembersByAddress(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS13}
	server.StartTLS()
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	none := func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &tls.Certificate{}, nil }
	client := Client(none, func() *x509.CertPool { return roots }, time.Now, "")
	defer client.CloseIdleConnections()
	if resp, err := client.Get(server.URL); err == nil {
		resp.Body.Close()
		t.Error("a bare address was believed")
	} else if !strings.Contains(err.Error(), "bare address") {
		t.Error(err)
	}
}

// TestMembershipFile refuses what is not what the machine joined with.
func TestMembershipFile(t *testing.T) {
	dir := t.TempDir()
	kek, err := seal.OpenFileKEK(filepath.Join(dir, "kek"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := OpenMembership(dir, "https://x", kek, time.Now)
	if err != nil || m.Is() != nil {
		t.Fatalf("%+v, %v", m.Is(), err)
	}
	path := filepath.Join(dir, memberFile)
	for name, text := range map[string]string{
		"nothing":       "",
		"no JSON":       "{",
		"empty":         "{}",
		"no chain":      `{"roots":["eA=="]}`,
		"no roots":      `{"chain":["eA=="]}`,
		"a broken root": `{"chain":["eA=="],"roots":["eA=="]}`,
		"too long":      strings.Repeat(" ", maxMember) + "{}",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenMembership(dir, "https://x", kek, time.Now); pavise.KindOf(err) != pavise.Unverified {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, plant := range map[string]func() error{
		"a pipe": func() error { return syscall.Mkfifo(path, 0o600) },
		"a link": func() error { return os.Symlink("/etc/hostname", path) },
	} {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := plant(); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenMembership(dir, "https://x", kek, time.Now); pavise.KindOf(err) != pavise.Unverified {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestReplace follows no link, and leaves nothing beside the file.
func TestReplace(t *testing.T) {
	dir, victim := t.TempDir(), filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(victim, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"f", "f.new"} {
		if err := os.Symlink(victim, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, text := range []string{"one", "two"} {
		if err := Replace(dir, "f", []byte(text)); err != nil {
			t.Fatal(err)
		}
		got, err := disk.ReadPlain(filepath.Join(dir, "f"), 2)
		if err != nil || string(got) != text[:2] {
			t.Errorf("%q, %v", got, err)
		}
	}
	if text, err := os.ReadFile(victim); err != nil || string(text) != "mine" {
		t.Errorf("the victim holds %q, %v", text, err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("%d files, %v", len(entries), err)
	}
}

// FuzzReadOrders reads sections that somebody with the control plane's key made.
func FuzzReadOrders(f *testing.F) {
	for name := range (&Orders{}).parts() {
		f.Add(name, []byte(`{}`))
		f.Add(name, []byte(`[]`))
		f.Add(name, []byte(`null`))
	}
	f.Add(sectionNeeds, []byte(`["x"]`))
	f.Fuzz(func(t *testing.T, name string, text []byte) {
		needs, err := json.Marshal(understood)
		if err != nil {
			t.Fatal(err)
		}
		b := &bundle.Bundle{Serial: 1, Sections: map[string]json.RawMessage{
			sectionNeeds: needs, sectionTerms: json.RawMessage(`{"tenant":"a","trust_domain":"b","grace_ns":1,"share":1}`), sectionActions: json.RawMessage(`[]`),
			sectionPolicies: json.RawMessage(`{}`), sectionGrants: json.RawMessage(`[]`), sectionRoutes: json.RawMessage(`[]`), sectionIssuers: json.RawMessage(`[]`),
			sectionAnchor: json.RawMessage(`{"roots":[],"holders":[]}`), sectionRevocations: json.RawMessage(`[]`), sectionService: json.RawMessage(`[]`),
		}}
		b.Sections[name] = text
		o, err := ReadOrders(b)
		if err != nil {
			if pavise.KindOf(err) != pavise.Invalid {
				t.Errorf("kind %v: %v", pavise.KindOf(err), err)
			}
			return
		}
		if o.Terms.Share < 1 || o.Terms.Grace <= 0 {
			t.Errorf("it accepts %+v", o.Terms)
		}
		_, _ = o.Anchor.Domain(o.Terms) // whatever it says, it does not panic
	})
}

// TestNodes keeps how machines stand: what changed is a record, a machine that says too
// much is not heard, one that says nothing is away, and one that is no member is gone.
func TestNodes(t *testing.T) {
	path, now := filepath.Join(t.TempDir(), "x.db"), time.Unix(1_800_000_000, 0)
	var notes []string
	open := func() (*store.DB, *Nodes) {
		db, err := store.Open(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		n, err := OpenNodes(t.Context(), db, func() time.Time { return now }, func(_ context.Context, id, kind string, _ any) error {
			notes = append(notes, kind+" "+id)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return db, n
	}
	db, n := open()
	say := func(id string, r Report) error { _, err := n.Take(t.Context(), id, r); return err }
	gateway := Report{Role: "gateway", Version: "v0.3.0", Bundle: bundle.State{Serial: 4}}
	for _, id := range []string{"gw-1", "gw-2"} {
		if err := say(id, gateway); err != nil {
			t.Fatal(err)
		}
	}
	if err := say("gw-1", gateway); pavise.KindOf(err) != pavise.Throttled {
		t.Errorf("at once again: %v", err)
	}
	now = now.Add(ReportEvery)
	if err := say("gw-1", gateway); err != nil || len(notes) != 2 {
		t.Errorf("nothing new: %v, %q", err, notes)
	}
	now = now.Add(awayAfter)
	if gone := n.gone(); len(gone) != 1 || gone[0].ID != "gw-2" || len(n.gone()) != 0 {
		t.Errorf("away are %+v", gone)
	}
	now = now.Add(-24 * time.Hour) // it was ahead
	if all := n.States(); !all[0].Away || !all[1].Away {
		t.Errorf("heard of by a clock that was ahead, and not since: %+v", all)
	}
	now = now.Add(24 * time.Hour)
	if n.Gateways() != 2 {
		t.Errorf("budgets are shared out among %d", n.Gateways())
	}
	now = now.Add(ReportEvery)
	gateway.Bundle.Serial = 5
	for _, id := range []string{"gw-1", "gw-2"} {
		if err := say(id, gateway); err != nil {
			t.Fatal(err)
		}
	}
	if len(notes) != 4 {
		t.Errorf("records %q", notes)
	}
	now = now.Add(ReportEvery)
	fraud := pavise.Name{Tenant: "acme", Kind: "model", ID: "fraud"}
	gateway.Runs = []Run{{Model: fraud, ONNX: "sha256:1", Versions: []route.Version{{ONNX: "sha256:1", Weight: 9}, {ONNX: "sha256:2", Weight: 1}}, ShadowONNX: "sha256:3", Barred: true}}
	if err := say("gw-2", gateway); err != nil || len(notes) != 5 {
		t.Errorf("what it asks is news: %v, %q", err, notes)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db, n = open()
	defer db.Close()
	said := n.Words(fraud, 5)
	if len(said) != 2 || said[0].Route != nil || !said[0].Newest || said[1].Route == nil || said[1].Route.ONNX != "sha256:1" || len(said[1].Route.Versions) != 2 || said[1].Route.ShadowONNX != "sha256:3" || !said[1].Barred || n.Words(fraud, 6)[1].Newest {
		t.Errorf("after a restart: %+v", said)
	}
	if all := n.States(); len(all) != 2 || all[1].Serial != 5 || n.Gateways() != 2 {
		t.Errorf("after a restart: %+v", all)
	}
	if err := n.Forget(t.Context(), func(id string) bool { return id == "gw-1" }); err != nil || len(n.States()) != 1 || n.Gateways() != 1 {
		t.Errorf("without gw-2: %+v, %v", n.States(), err)
	}
}

// TestIdentityOfOthers refuses a directory where others could put another control plane
// in the place of ours.
func TestIdentityOfOthers(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := PersonKey(dir); pavise.KindOf(err) != pavise.Denied || !strings.Contains(err.Error(), "other users may write") {
		t.Errorf("%v", err)
	}
	if _, err := OpenIdentity(t.Context(), t.TempDir(), time.Now); pavise.KindOf(err) != pavise.NotFound {
		t.Errorf("where nobody joined: %v", err)
	}
}
