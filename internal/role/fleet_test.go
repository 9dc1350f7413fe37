package role

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pavise/pavise"
	threatdetector "github.com/pavise/pavise/examples/threat-detector"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/config"
	"github.com/pavise/pavise/internal/fleet"
	"github.com/pavise/pavise/internal/identity/identitytest"
	"github.com/pavise/pavise/internal/issuer"
	"github.com/pavise/pavise/internal/porttest"
	"github.com/pavise/pavise/internal/proof"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/seal"
	"github.com/pavise/pavise/internal/server"
	"github.com/pavise/pavise/internal/verbs"
)

// A started role, and how it is stopped.
type started struct {
	stop func() // as Ctrl-C, and returns when it has stopped
	once sync.Once
}

// runRole runs a role until it is stopped, at the end of the test at the latest.
func runRole(t *testing.T, r interface {
	Run(context.Context) error
	Close() error
}) *started {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	s := &started{}
	s.stop = func() {
		s.once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("run: %v", err)
			}
			if err := r.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
	}
	t.Cleanup(s.stop)
	return s
}

// A party is a fleet: a control plane, people who have joined, and gateways.
type party struct {
	*Serve
	running *started
	cfg     ServeConfig
	ana     *api.Client
	bob     *api.Client
	cats    *http.Client // speaks as cat, an analyst, to every member
}

// begin starts a control plane with two operators and the sample model.
func begin(t *testing.T) *party {
	t.Helper()
	model := filepath.Join(t.TempDir(), "model.onnx")
	if err := os.WriteFile(model, threatdetector.Model(), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := ServeConfig{Now: time.Now, Say: func(word string, err error) { t.Logf("serve: %s: %v", word, err) }, Serve: config.Serve{
		Data: t.TempDir(), Tenant: "acme", TrustDomain: "acme.example", Listen: porttest.Address(), Fleet: porttest.Address(), Names: []string{"localhost", "127.0.0.1"}, Grace: time.Hour,
		Bootstrap: &config.Bootstrap{
			People: []config.Person{{ID: "ana", Roles: []string{"operator"}}, {ID: "bob", Roles: []string{"operator"}}, {ID: "cat", Roles: []string{"analyst"}}},
			Routes: []config.Route{{Name: "acme/model/" + Sample, ONNX: model}},
		},
	}}
	p := &party{cfg: cfg}
	p.serve(t)
	if len(p.Invitations()) != 3 || p.Ignored() {
		t.Fatalf("invitations %v", p.Invitations())
	}
	p.ana, p.bob, p.cats = join(t, p.Invitations()[0]).Client(), join(t, p.Invitations()[1]).Client(), join(t, p.Invitations()[2]).Dial()
	return p
}

// serve starts the control plane, for the first time or again.
func (p *party) serve(t *testing.T) {
	t.Helper()
	s, err := NewServe(t.Context(), p.cfg)
	if err != nil {
		t.Fatal(err)
	}
	p.Serve, p.running = s, runRole(t, s)
}

// join lets a person join.
func join(t *testing.T, inv issuer.Invitation) *fleet.Identity {
	t.Helper()
	id, err := fleet.Join(t.Context(), t.TempDir(), inv.Text, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// invite lets a machine be invited, by ana.
func (p *party) invite(t *testing.T, id string) string {
	t.Helper()
	var inv issuer.Invitation
	if err := p.ana.Call(t.Context(), "node.invite", verbs.InviteRequest{ID: id, DNS: []string{"localhost"}, IP: []string{"127.0.0.1"}}, &inv); err != nil {
		t.Fatal(err)
	}
	return inv.Text
}

// gateway opens one, and lets it join if it has not.
func (p *party) gateway(t *testing.T, id string, edit func(*GatewayConfig)) (*Gateway, *started) {
	t.Helper()
	cfg := GatewayConfig{
		Now: time.Now, Say: func(word string, err error) { t.Logf("%s: %s: %v", id, word, err) }, Invitation: p.invite(t, id),
		Gateway: config.Gateway{Data: t.TempDir(), Server: p.FleetURL(), Listen: "127.0.0.1:0", Health: "127.0.0.1:0", Names: []string{"localhost", "127.0.0.1"}, Grace: time.Hour},
	}
	if edit != nil {
		edit(&cfg)
	}
	g, err := NewGateway(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return g, runRole(t, g)
}

// again starts a gateway anew on its data directory.
func again(t *testing.T, g *Gateway, edit func(*GatewayConfig)) (*Gateway, *started, error) {
	t.Helper()
	cfg := g.cfg
	cfg.Invitation = ""
	if edit != nil {
		edit(&cfg)
	}
	next, err := NewGateway(t.Context(), cfg)
	if err != nil {
		return nil, nil, err
	}
	return next, runRole(t, next), nil
}

// caller returns an HTTP client of a program that holds a certificate of the CA.
func (p *party) caller(t *testing.T, id string, roles ...string) *http.Client {
	t.Helper()
	var inv issuer.Invitation
	if err := p.ana.Call(t.Context(), "node.invite", verbs.InviteRequest{ID: id, Kind: pavise.Workload}, &inv); err != nil {
		t.Fatal(err)
	}
	who, err := fleet.Join(t.Context(), t.TempDir(), inv.Text, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	p.change(t, "node.roles", verbs.RolesRequest{ID: id, Kind: pavise.Workload, Role: roles})
	return who.Dial()
}

// change proposes as ana and approves as bob, and returns when it was done.
func (p *party) change(t *testing.T, verb string, request any) time.Time {
	t.Helper()
	var ch api.ChangeView
	if err := p.ana.Call(t.Context(), verb, request, &ch); err != nil {
		t.Fatal(err)
	}
	if err := p.bob.Call(t.Context(), "change.approve", verbs.VoteRequest{ID: ch.Name.ID, Digest: ch.Digest}, &ch); err != nil {
		t.Fatal(err)
	}
	if ch.State != change.Done {
		t.Fatalf("%s is %s: %s", verb, ch.State, ch.Outcome)
	}
	return time.Now()
}

// infer asks a gateway's model, and returns the status and the body.
func inferOver(client *http.Client, url string) (int, string, error) {
	resp, err := client.Post(url+"/v2/models/"+Sample+"/infer", "application/json", bytes.NewReader(SampleRow(0)))
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}

// until waits until a gateway answers with a status.
func until(t *testing.T, client *http.Client, g *Gateway, status int) {
	t.Helper()
	var got int
	var text string
	var err error
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if got, text, err = inferOver(client, g.URL()); err == nil && got == status {
			return
		}
	}
	t.Fatalf("%s answers %d %s, %v, and not %d: %+v", g.Name().ID, got, text, err, status, g.Health())
}

// TestFleet has a control plane and two gateways: what is decided there holds here, with
// the control plane and for a while without it, over a restart, and not for ever.
func TestFleet(t *testing.T) {
	t.Parallel()
	p := begin(t)
	var later atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
	one, running := p.gateway(t, "gw-1", func(cfg *GatewayConfig) { cfg.Now = now })
	two, _ := p.gateway(t, "gw-2", nil)
	var hour atomic.Int64
	three, _ := p.gateway(t, "gw-3", func(cfg *GatewayConfig) {
		cfg.Now = func() time.Time { return time.Now().Add(time.Duration(hour.Load())) }
	})
	app := p.caller(t, "app", "caller")
	for _, g := range []*Gateway{one, two, three} {
		until(t, app, g, 200)
	}

	forbid := verbs.PolicyPut{ID: "closed", Text: `@doc("closed for the night") forbid (principal in Role::"caller", action == Action::"model.infer", resource);`}
	decided := p.change(t, "policy.put", forbid)
	for _, g := range []*Gateway{one, two} {
		until(t, app, g, 403)
		t.Logf("%s enforces it %v after it was approved", g.Name().ID, time.Since(decided).Round(time.Millisecond))
	}
	p.change(t, "policy.delete", verbs.PolicyDelete{ID: "closed"})
	for _, g := range []*Gateway{one, two} {
		until(t, app, g, 200)
	}
	p.listed(t)

	p.running.stop() // the control plane is away
	for deadline := time.Now().Add(20 * time.Second); three.Health().Bundle.Trouble == ""; time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) { // what is on its way yet would be heard in the hour to come
			t.Fatal("gw-3 does not miss the control plane")
		}
	}
	hour.Store(int64(59 * time.Minute))
	until(t, app, three, 200)
	hour.Store(int64(61 * time.Minute)) // since its last word; what it has is good for two hours
	until(t, app, three, 503)
	for _, g := range []*Gateway{one, two} {
		until(t, app, g, 200)
	}
	running.stop()
	one, running, err := again(t, one, nil)
	if err != nil {
		t.Fatal(err)
	}
	until(t, app, one, 200)
	for deadline := time.Now().Add(10 * time.Second); one.Health().Bundle.Serial == 0 && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
	}
	if h := one.Health(); h.Status != "ok" || h.Bundle.Serial == 0 {
		t.Errorf("after a restart without the control plane: %+v", h)
	}
	later.Store(int64(3 * time.Hour)) // beyond the end of what is on its disk; certificates live longer
	until(t, app, one, 503)
	if h := one.Health(); h.Status != "stale" {
		t.Errorf("after three hours alone: %+v", h)
	}
	later.Store(0)
	until(t, app, two, 200)

	p.serve(t) // and back
	if len(p.Invitations()) > 0 || !p.Ignored() {
		t.Errorf("a store that has begun begins again: %v", p.Invitations())
	}
	running.stop()
	if one, _, err = again(t, one, func(cfg *GatewayConfig) { cfg.AcceptClock = true }); err != nil {
		t.Fatal(err)
	}
	decided = p.change(t, "policy.put", forbid)
	for _, g := range []*Gateway{one, two} {
		until(t, app, g, 403)
	}
	t.Logf("after it was away: enforced at both %v after it was approved", time.Since(decided).Round(time.Millisecond))
}

// listed waits until node list shows all three gateways with the bundle of now.
func (p *party) listed(t *testing.T) {
	t.Helper()
	var list verbs.HolderList
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if err := p.ana.Call(t.Context(), "node.list", api.Empty{}, &list); err != nil {
			t.Fatal(err)
		}
		good := 0
		for _, n := range list.Nodes {
			if n.Role == "gateway" && n.Serial == p.publisher.Serial() && !n.Away && n.Records > 0 {
				good++
			}
		}
		if good == 3 {
			return
		}
	}
	t.Fatalf("node list shows %+v, and the bundle is %d", list.Nodes, p.publisher.Serial())
}

// TestGatewayDoor knocks at a gateway's door in clear text, with a certificate of
// another CA, and as somebody who was revoked.
func TestGatewayDoor(t *testing.T) {
	t.Parallel()
	p := begin(t)
	g, _ := p.gateway(t, "gw-1", nil)
	app := p.caller(t, "app", "caller")
	until(t, app, g, 200)
	if resp, err := http.Post(strings.Replace(g.URL(), "https", "http", 1)+"/v2/models/"+Sample+"/infer", "application/json", bytes.NewReader(SampleRow(0))); err == nil {
		resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("in clear text: %s", resp.Status)
		}
	}
	other := begin(t)
	stranger := other.caller(t, "app", "caller").Transport.(*http.Transport)
	mine := app.Transport.(*http.Transport).Clone()
	mine.TLSClientConfig.GetClientCertificate = stranger.TLSClientConfig.GetClientCertificate
	if status, text, err := inferOver(&http.Client{Transport: mine}, g.URL()); status != 401 {
		t.Errorf("with a certificate of another CA: %d %s, %v", status, text, err)
	}
	nobody := app.Transport.(*http.Transport).Clone()
	nobody.TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &tls.Certificate{}, nil }
	if status, text, err := inferOver(&http.Client{Transport: nobody}, g.URL()); status != 401 {
		t.Errorf("without a certificate: %d %s, %v", status, text, err)
	}
	if err := p.ana.Call(t.Context(), "node.revoke", verbs.HolderRequest{ID: "app", Kind: pavise.Workload}, nil); err != nil {
		t.Fatal(err)
	}
	until(t, app, g, 401)
}

// TestFleetDoor asks the fleet's door for what is for machines alone.
func TestFleetDoor(t *testing.T) {
	t.Parallel()
	p := begin(t)
	app := p.caller(t, "app", "caller")
	machine, err := fleet.Join(t.Context(), t.TempDir(), p.invite(t, "gw-1"), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	get := func(client *http.Client, path string) int {
		resp, err := client.Get(p.FleetURL() + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	anonymous := app.Transport.(*http.Transport).Clone()
	anonymous.TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &tls.Certificate{}, nil }
	for name, c := range map[string]struct {
		client *http.Client
		want   int
	}{
		"a machine":         {machine.Dial(), 200},
		"a program":         {app, 403},
		"a person":          {p.ana.HTTP, 403},
		"no certificate":    {&http.Client{Transport: anonymous}, 401},
		"another authority": {begin(t).ana.HTTP, 0},
	} {
		if c.want == 0 {
			if resp, err := c.client.Get(p.FleetURL() + "/v1/bundle"); err == nil {
				resp.Body.Close()
				t.Errorf("%s believes the control plane of another fleet", name)
			}
			continue
		}
		if got := get(c.client, "/v1/bundle?after=0"); got != c.want {
			t.Errorf("%s: status %d, want %d", name, got, c.want)
		}
	}
	for _, body := range []string{"", "{", `{"role":"king"}`, `{"role":"gateway","log":["` + keyText(t, "acme.example/node/gw-2/x") + `"]}`, `{"role":"agent","url":"http://x"}`} {
		resp, err := machine.Dial().Post(p.FleetURL()+"/fleet/report", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 400 {
			t.Errorf("the report %s: %s", body, resp.Status)
		}
	}
}

// TestNobodyPassesForTheControlPlane lets a member that has a certificate of the CA
// answer in the control plane's place.
func TestNobodyPassesForTheControlPlane(t *testing.T) {
	p := begin(t)
	evil, err := fleet.OpenMembership(t.TempDir(), p.FleetURL(), newKEK(t), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if err := evil.Join(t.Context(), p.invite(t, "evil")); err != nil {
		t.Fatal(err)
	}
	p.running.stop()
	l, err := net.Listen("tcp", p.cfg.Fleet)
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan string, 16)
	door := server.Members(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked <- r.URL.Path }), evil.Certificate)
	go door.Serve(l)
	defer door.Close()
	resp, err := p.ana.HTTP.Get(p.FleetURL() + "/v1/ledger.status")
	if err == nil {
		resp.Body.Close()
		t.Errorf("a member answers as the control plane: %s", resp.Status)
	}
	if len(asked) > 0 {
		t.Errorf("it was told %s", <-asked)
	}
	var names []string
	if cert, err := x509.ParseCertificate(evil.Is().Chain[0]); err == nil {
		names = cert.DNSNames
	}
	if len(names) == 0 {
		t.Error("its certificate has not even the name, and the test proves nothing")
	}
}

// TestServeRefuses starts control planes that may not be.
func TestServeRefuses(t *testing.T) {
	demo := filepath.Join(t.TempDir(), "issuer.json")
	f := identitytest.New(t)
	text, err := os.ReadFile(issuerFile(t, f))
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte("https://issuer.example"), []byte(issuer.LocalURL("0123456789ab")), 1)
	if err := os.WriteFile(demo, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, edit := range map[string]func(*config.Serve){
		"an issuer for demonstration": func(c *config.Serve) { c.Issuers = []string{demo} },
		"no such issuer file":         func(c *config.Serve) { c.Issuers = []string{demo + "x"} },
		"no such certificate":         func(c *config.Serve) { c.TLS = &config.TLS{Certificate: demo, Key: demo} },
		"a policy that cannot be": func(c *config.Serve) {
			c.Bootstrap = &config.Bootstrap{Policies: map[string]string{"p": "permit (principal, action == Action::\"no.such\", resource);"}}
		},
		"no such model": func(c *config.Serve) {
			c.Bootstrap = &config.Bootstrap{Routes: []config.Route{{Name: "acme/model/x", ONNX: demo + "x"}}}
		},
	} {
		cfg := ServeConfig{Now: time.Now, Serve: config.Serve{
			Data: t.TempDir(), Tenant: "acme", TrustDomain: "acme.example", Listen: "127.0.0.1:0", Fleet: "127.0.0.1:0", Names: []string{"localhost"}, Grace: time.Hour,
		}}
		edit(&cfg.Serve)
		if s, err := NewServe(t.Context(), cfg); err == nil {
			s.Close()
			t.Errorf("%s: it starts", name)
		} else if pavise.KindOf(err) != pavise.Invalid && pavise.KindOf(err) != pavise.Denied {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestGatewayWithoutAFleet starts a gateway that was never invited.
func TestGatewayWithoutAFleet(t *testing.T) {
	_, err := NewGateway(t.Context(), GatewayConfig{Now: time.Now, Gateway: config.Gateway{
		Data: t.TempDir(), Server: "https://localhost:1", Listen: "127.0.0.1:0", Health: "127.0.0.1:0", Names: []string{"localhost"},
	}})
	if pavise.KindOf(err) != pavise.Denied || !strings.Contains(err.Error(), "no member") {
		t.Errorf("%v", err)
	}
}

// TestConsoleOfServe opens the console as a person who has a certificate and no token. The
// console reaches the API in the process, in that person's name, until it is revoked.
func TestConsoleOfServe(t *testing.T) {
	p := begin(t)
	pool := x509.NewCertPool()
	pool.AddCert(p.ca.Roots()[0])
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	page := func(url string) (int, string) {
		resp, err := browser.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(text)
	}
	if status, text := page(p.URL() + "/"); strings.Contains(text, "Sign out") {
		t.Errorf("without a session: %d %s", status, text)
	}
	var link verbs.ConsoleLink
	if err := p.ana.Call(t.Context(), "console.link", api.Empty{}, &link); err != nil {
		t.Fatal(err)
	}
	if status, text := page(link.Link); status != 200 {
		t.Fatalf("the link: %d %s", status, text)
	}
	if status, text := page(p.URL() + "/"); status != 200 || !strings.Contains(text, "ana") || !strings.Contains(text, "console.link") {
		t.Errorf("the log: %d %s", status, text)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", p.URL()+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	events, err := browser.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer events.Body.Close()
	p.invite(t, "gw-1")
	seen := ""
	for lines := bufio.NewScanner(events.Body); !strings.Contains(seen, "node.invite") && lines.Scan(); {
		seen += lines.Text() + "\n"
	}
	if !strings.Contains(seen, "node.invite") {
		t.Errorf("the live feed: %s, %.500q", events.Status, seen)
	}
	for word := range p.members.known { // it is good in the process, and nowhere else
		req, err := http.NewRequest("POST", p.URL()+"/v1/route.list", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+word)
		req.Header.Set("Content-Type", "application/json")
		resp, err := browser.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 401 {
			t.Errorf("the session's word from outside: %s", resp.Status)
		}
	}
	if err := p.bob.Call(t.Context(), "node.revoke", verbs.HolderRequest{ID: "ana", Kind: pavise.Human}, nil); err != nil {
		t.Fatal(err)
	}
	if status, text := page(p.URL() + "/"); status == 200 && strings.Contains(text, "console.link") {
		t.Errorf("the log, as somebody who was revoked: %d", status)
	}
	if err := p.bob.Call(t.Context(), "issuer.mint", verbs.MintRequest{Subject: "x"}, nil); pavise.KindOf(err) != pavise.Unavailable {
		t.Errorf("a demonstration token of a control plane: %v", err)
	}
}

// TestRevokedEverywhere revokes what somebody has, without ending the membership: it is
// refused at gateways, too.
func TestRevokedEverywhere(t *testing.T) {
	t.Parallel()
	p := begin(t)
	g, _ := p.gateway(t, "gw-1", nil)
	app := p.caller(t, "app", "caller")
	until(t, app, g, 200)
	time.Sleep(1100 * time.Millisecond) // epochs are whole seconds, and the certificate began a minute before
	if err := p.ana.Call(t.Context(), "issuer.revoke", verbs.RevokeRequest{Principal: pavise.Name{Tenant: "acme", Kind: pavise.Workload, ID: "app"}, Reason: "lost"}, nil); err != nil {
		t.Fatal(err)
	}
	until(t, app, g, 401)
}

// newKEK makes a KEK of its own.
func newKEK(t *testing.T) *seal.KEK {
	t.Helper()
	kek, err := seal.OpenFileKEK(filepath.Join(t.TempDir(), "kek"))
	if err != nil {
		t.Fatal(err)
	}
	return kek
}

// keyText is the verifier key of some log.
func keyText(t *testing.T, name string) string {
	t.Helper()
	signer, err := proof.NewLogSigner(name, ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err != nil {
		t.Fatal(err)
	}
	return signer.Key().String()
}

// noted waits until a gateway's log has a record of a kind.
func noted(t *testing.T, g *Gateway, kind string) record.Record {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		for _, r := range g.Log.Records(0, g.Log.Size()) {
			if r.Kind == kind {
				return r
			}
		}
	}
	t.Fatalf("the log of %s has no %s: %+v", g.Name().ID, kind, g.Health())
	return record.Record{}
}

// TestBundlesPutBack gives the control plane its bundles of yesterday, and a gateway a
// bundle that another key has signed: the gateway goes on with what it has, and says so
// in its log.
func TestBundlesPutBack(t *testing.T) {
	t.Parallel()
	p := begin(t)
	g, running := p.gateway(t, "gw-1", nil)
	app := p.caller(t, "app", "caller")
	until(t, app, g, 200)
	dir, kept := filepath.Join(p.cfg.Data, "bundle"), filepath.Join(t.TempDir(), "kept")
	if err := os.CopyFS(kept, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	old := filepath.Join(t.TempDir(), "old") // the gateway's own
	if err := os.CopyFS(old, os.DirFS(filepath.Join(g.cfg.Data, "bundle"))); err != nil {
		t.Fatal(err)
	}
	before := p.publisher.Serial()
	for _, id := range []string{"more", "most", "all"} { // a bundle for each
		p.change(t, "policy.put", verbs.PolicyPut{ID: id, Text: `permit (principal in Role::"nobody", action == Action::"model.infer", resource);`})
		before++
		for deadline := time.Now().Add(20 * time.Second); g.Health().Bundle.Serial < before && time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		}
	}
	serial := g.Health().Bundle.Serial
	p.running.stop()
	if err := errors.Join(os.RemoveAll(dir), os.CopyFS(dir, os.DirFS(kept))); err != nil {
		t.Fatal(err)
	}
	keepToOneself(t, dir)
	p.serve(t)
	t.Logf("the gateway has seen %d, and the control plane is at %d again", serial, p.publisher.Serial())
	found := noted(t, g, "bundle.refused")
	if !strings.Contains(string(found.Detail), `"severity":"critical"`) {
		t.Errorf("the finding is %s", found.Detail)
	}
	until(t, app, g, 200)
	if got := g.Health().Bundle.Serial; got < serial {
		t.Errorf("it went back to bundle %d from %d", got, serial)
	}
	p.running.stop()
	p.cfg.Above = g.Health().Bundle.Held
	p.serve(t)
	for deadline := time.Now().Add(40 * time.Second); g.Health().Bundle.Serial <= p.cfg.Above; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it does not follow bundles above %d: %+v", p.cfg.Above, g.Health())
		}
	}

	running.stop()
	now := filepath.Join(t.TempDir(), "now")
	if err := errors.Join(os.CopyFS(now, os.DirFS(filepath.Join(g.cfg.Data, "bundle"))), os.RemoveAll(filepath.Join(g.cfg.Data, "bundle")), os.CopyFS(filepath.Join(g.cfg.Data, "bundle"), os.DirFS(old))); err != nil {
		t.Fatal(err)
	}
	keepToOneself(t, filepath.Join(g.cfg.Data, "bundle"))
	p.running.stop()
	back, ended, err := again(t, g, nil)
	if err != nil {
		t.Fatal(err)
	}
	if status, text, err := inferOver(app, back.URL()); status != 503 {
		t.Errorf("by a bundle that was put back on its disk, while nobody tells it another: %d %s, %v", status, text, err)
	}
	ended.stop()
	if err := errors.Join(os.RemoveAll(filepath.Join(g.cfg.Data, "bundle")), os.CopyFS(filepath.Join(g.cfg.Data, "bundle"), os.DirFS(now))); err != nil {
		t.Fatal(err)
	}
	keepToOneself(t, filepath.Join(g.cfg.Data, "bundle"))
	name := filepath.Join(g.cfg.Data, "bundle", "bundle")
	text, err := os.ReadFile(name)
	if err != nil {
		names, _ := filepath.Glob(filepath.Join(g.cfg.Data, "bundle", "*"))
		t.Fatalf("%v; there are %v", err, names)
	}
	text[len(text)/2] ^= 1
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
	g, _, err = again(t, g, nil)
	if err != nil {
		t.Fatal(err)
	}
	if status, text, err := inferOver(app, g.URL()); status != 503 || g.Health().Status == "ok" {
		t.Errorf("with an edited bundle: %d %s, %v, %+v", status, text, err, g.Health())
	}
}

// TestCommandsRenewTogether has several commands of one person renew the certificate at
// the same moment: it stays one that can be renewed.
func TestCommandsRenewTogether(t *testing.T) {
	p := begin(t)
	dir := t.TempDir()
	if _, err := fleet.Join(t.Context(), dir, p.invite(t, "gw-1"), time.Now); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		later := func() time.Time { return time.Now().Add(13 * time.Hour) } // when it is due; the CA has its own clock
		var commands sync.WaitGroup
		for range 8 {
			commands.Go(func() {
				if _, err := fleet.OpenIdentity(t.Context(), dir, later); err != nil {
					t.Error(err)
				}
			})
		}
		commands.Wait()
	}
	if id, err := fleet.OpenIdentity(t.Context(), dir, time.Now); err != nil {
		t.Error(err)
	} else if resp, err := id.Client().HTTP.Get(p.FleetURL() + "/v1/bundle?after=0"); err != nil || resp.StatusCode != 200 {
		t.Errorf("%+v, %v", resp, err)
	} else {
		resp.Body.Close()
	}
}

// TestGrantsHoldEverywhere gives a person a role for a time, and takes it back: a gateway
// knows both.
func TestGrantsHoldEverywhere(t *testing.T) {
	t.Parallel()
	p := begin(t)
	g, _ := p.gateway(t, "gw-1", nil)
	until(t, p.cats, g, 403) // an analyst is no caller
	cat := pavise.Name{Tenant: "acme", Kind: pavise.Human, ID: "cat"}
	p.change(t, "grant.give", verbs.GrantRequest{Holder: cat, Role: "caller", For: "1h", Reason: "an incident"})
	until(t, p.cats, g, 200)
	if err := p.ana.Call(t.Context(), "grant.revoke", verbs.GrantRef{Holder: cat, Role: "caller"}, nil); err != nil {
		t.Fatal(err)
	}
	until(t, p.cats, g, 403)
}

// TestTokenOfTheControlPlane exchanges a certificate for a token that is bound to it, and
// shows both to a gateway; with another certificate the token is worth nothing.
func TestTokenOfTheControlPlane(t *testing.T) {
	t.Parallel()
	p := begin(t)
	g, _ := p.gateway(t, "gw-1", nil)
	app, other := p.caller(t, "app", "caller"), p.caller(t, "other", "caller")
	until(t, app, g, 200)
	resp, err := app.PostForm(p.FleetURL()+"/v1/token", url.Values{
		"grant_type":    {"urn:ietf:params:oauth:grant-type:token-exchange"},
		"subject_token": {"connection"}, "subject_token_type": {"urn:pavise:token-type:certificate"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var given struct {
		Token string `json:"access_token"`
		Why   string `json:"error_description"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&given); err != nil || given.Token == "" {
		t.Fatalf("%s: %v, %s", resp.Status, err, given.Why)
	}
	for name, c := range map[string]struct {
		client *http.Client
		want   int
	}{"its own certificate": {app, 200}, "another certificate": {other, 401}} {
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			req, err := http.NewRequest("POST", g.URL()+"/v2/models/"+Sample+"/infer", bytes.NewReader(SampleRow(0)))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("Authorization", "Bearer "+given.Token)
			resp, err := c.client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			text, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.StatusCode == c.want {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("with %s: %s %s", name, resp.Status, text)
			}
		}
	}
}
