package issuer

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/identity"
	"github.com/pavise/pavise/internal/record"
)

const serviceURL = "https://pavise.example"

func newExchange(t *testing.T, edit ...func(*ExchangeConfig)) (*Exchange, *memory) {
	t.Helper()
	log := &memory{}
	g, err := guard.New(guard.Config{Log: log, Now: func() time.Time { return noon }, Actions: []guard.Action{
		{Verb: "issuer.exchange", On: []string{"issuer"}, Class: guard.Pooled},
	}})
	if err != nil {
		t.Fatal(err)
	}
	permit := `permit (principal, action == Action::"issuer.exchange", resource) unless { principal in Role::"banned" };`
	if err := g.Load("acme", map[string]string{"p": permit}); err != nil {
		t.Fatal(err)
	}
	key, err := NewExchangeKey()
	if err != nil {
		t.Fatal(err)
	}
	cfg := ExchangeConfig{Guard: g, Key: key, URL: serviceURL, Tenant: "acme", Audiences: []string{"sts.cloud.example"}, Bearer: true, Now: func() time.Time { return noon }}
	for _, e := range edit {
		e(&cfg)
	}
	x, err := NewExchange(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return x, log
}

// proven is what package identity says of a caller with the roles.
func proven(kind, id string, roles ...string) identity.Proof {
	who := pavise.Principal{
		Tenant: "acme", Kind: kind, ID: id, Issuer: "https://idp.example", Roles: roles, Proof: "bearer",
		Expires: noon.Add(8 * time.Minute), Environment: "prod",
	}
	return identity.Proof{Principal: who, Subject: who.Name(), Issued: noon, Origin: who.Issuer}
}

// reread verifies what the service gave, as another request would bring it.
func reread(t *testing.T, x *Exchange, token string) identity.Proof {
	t.Helper()
	v, err := identity.New(identity.Config{Now: func() time.Time { return noon }, Issuers: []identity.Issuer{x.Record([]string{"caller", "analyst", "operator"})}, Origins: []string{serviceURL}})
	if err != nil {
		t.Fatal(err)
	}
	proofs, err := v.Present(t.Context(), identity.Credentials{}, token)
	if err != nil {
		t.Fatal(err)
	}
	return proofs[0]
}

// TestExchange gives a token that says as much as the proof and no more.
func TestExchange(t *testing.T) {
	x, log := newExchange(t)
	subject := proven(pavise.Human, "alice", "analyst", "caller")
	subject.Principal.By = pavise.Name{Tenant: "acme", Kind: "human", ID: "olga"}
	got, err := x.Exchange(t.Context(), ExchangeRequest{Subject: subject, Roles: []string{"caller"}})
	if err != nil {
		t.Fatal(err)
	}
	p := reread(t, x, got.Value)
	who := p.Principal
	if who.Name() != subject.Principal.Name() || who.By != subject.Principal.By || who.Environment != "prod" || strings.Join(who.Roles, ",") != "caller" ||
		!who.Expires.Equal(subject.Principal.Expires) || who.Issuer != serviceURL || p.Origin != "https://idp.example" || len(p.Actors) != 0 || got.Scheme != "Bearer" {
		t.Errorf("the token proves %+v", p)
	}
	if len(log.records) != 1 || log.records[0].Phase != record.Act || log.records[0].Kind != "issuer.exchange" {
		t.Fatalf("records: %+v", log.records)
	}
	var d exchangeDetail
	if err := json.Unmarshal(log.records[0].Detail, &d); err != nil || d.Subject != "acme/human/alice" || d.Audience != serviceURL || d.ID != got.ID || d.Origin != p.Origin {
		t.Errorf("recorded as %s", log.records[0].Detail)
	}
	all, _ := json.Marshal(log.records)
	for part := range strings.SplitSeq(got.Value, ".") {
		if strings.Contains(string(all), part) {
			t.Error("the record holds a part of the token")
		}
	}
}

// TestExchangedSubjectIsAWholeName: who trusts the service by subject alone takes nobody
// for another.
func TestExchangedSubjectIsAWholeName(t *testing.T) {
	x, _ := newExchange(t)
	got, err := x.Exchange(t.Context(), ExchangeRequest{Subject: proven(pavise.Workload, "ci"), Audience: "sts.cloud.example"})
	if err != nil {
		t.Fatal(err)
	}
	claims := payload(t, got.Value)
	if claims["sub"] != "acme/workload/ci" || claims["aud"] != "sts.cloud.example" || claims["iss"] != serviceURL {
		t.Errorf("the token says %v", claims)
	}
}

// TestDelegation: who acts for a person is who it is, and is rooted in the person.
func TestDelegation(t *testing.T) {
	x, _ := newExchange(t)
	alice, agent := proven(pavise.Human, "alice", "analyst"), proven(pavise.Workload, "agent", "operator")
	agent.Principal.Environment, agent.Principal.Expires = "dev", noon.Add(3*time.Minute)
	agent.Origin = "https://agents.example"
	got, err := x.Exchange(t.Context(), ExchangeRequest{Subject: alice, Actor: &agent})
	if err != nil {
		t.Fatal(err)
	}
	p := reread(t, x, got.Value)
	who := p.Principal
	if who.Name().String() != "acme/workload/agent" || who.Root().String() != "acme/human/alice" || strings.Join(who.Roles, ",") != "analyst" ||
		who.Environment != "dev" || !who.Expires.Equal(noon.Add(3*time.Minute)) || p.Subject.String() != "acme/human/alice" || len(p.Actors) != 1 {
		t.Errorf("the token proves %+v", p)
	}
	claims := payload(t, got.Value)
	if claims["sub"] != "acme/human/alice" || claims["act"].(map[string]any)["sub"] != "acme/workload/agent" {
		t.Errorf("the token says %v", claims)
	}
	// What she had made may act for her, too.
	agent.Principal.By = alice.Principal.Name()
	if _, err = x.Exchange(t.Context(), ExchangeRequest{Subject: alice, Actor: &agent}); err != nil {
		t.Errorf("her own agent: %v", err)
	}
	// The agent sends a tool, which sends another: everyone stays in the chain.
	for n, id := range []string{"tool", "last", "fourth"} {
		next := proven(pavise.Workload, id)
		if got, err = x.Exchange(t.Context(), ExchangeRequest{Subject: p, Actor: &next}); err != nil {
			t.Fatal(err)
		}
		p = reread(t, x, got.Value)
		if p.Principal.ID != id || p.Principal.Root().String() != "acme/human/alice" || len(p.Actors) != n+2 || p.Actors[n+1].ID != "agent" {
			t.Errorf("the token of %s proves %+v", id, p)
		}
	}
	fifth := proven(pavise.Workload, "fifth")
	if _, err = x.Exchange(t.Context(), ExchangeRequest{Subject: p, Actor: &fifth}); pavise.KindOf(err) != pavise.Invalid {
		t.Errorf("a fifth in the chain: %v", err)
	}
	// Exchanged for itself, the chain stays.
	if got, err = x.Exchange(t.Context(), ExchangeRequest{Subject: p}); err != nil {
		t.Fatal(err)
	}
	if again := reread(t, x, got.Value); again.Principal.Name() != p.Principal.Name() || again.Principal.Root() != p.Principal.Root() || len(again.Actors) != 4 ||
		strings.Join(again.Vouchers, " ") != "https://idp.example https://idp.example https://idp.example https://agents.example" {
		t.Errorf("exchanged again it proves %+v", again)
	}
}

// TestExchangeNeverAddsLife exchanges over and over: the end stays that of the first
// proof.
func TestExchangeNeverAddsLife(t *testing.T) {
	x, _ := newExchange(t)
	p := proven(pavise.Human, "alice")
	for range 5 {
		got, err := x.Exchange(t.Context(), ExchangeRequest{Subject: p})
		if err != nil || !got.Expires.Equal(noon.Add(8*time.Minute)) {
			t.Fatalf("%v, %v", got, err)
		}
		p = reread(t, x, got.Value)
	}
	long := proven(pavise.Human, "alice")
	long.Principal.Expires = noon.Add(24 * time.Hour)
	if got, err := x.Exchange(t.Context(), ExchangeRequest{Subject: long}); err != nil || !got.Expires.Equal(noon.Add(DefaultExchangeTTL)) {
		t.Errorf("%v, %v", got, err)
	}
}

// TestExchangeBinds binds what is given to the key that the caller has.
func TestExchangeBinds(t *testing.T) {
	x, _ := newExchange(t, func(c *ExchangeConfig) { c.Bearer = false })
	p := proven(pavise.Workload, "ci")
	_, err := x.Exchange(t.Context(), ExchangeRequest{Subject: p})
	if fault, ok := errors.AsType[*ExchangeFault](err); !ok || fault.Name != InvalidRequest {
		t.Errorf("bound to nothing: %v", err)
	}
	thumb := strings.Repeat("A", 43)
	p.Held = identity.Keys{JKT: thumb, X5T: thumb}
	got, err := x.Exchange(t.Context(), ExchangeRequest{Subject: p})
	if err != nil || got.Scheme != "DPoP" || payload(t, got.Value)["cnf"].(map[string]any)["jkt"] != thumb {
		t.Errorf("with a key: %v, %v", got, err)
	}
	p.Held = identity.Keys{X5T: thumb}
	if got, err = x.Exchange(t.Context(), ExchangeRequest{Subject: p}); err != nil || got.Scheme != "Bearer" || payload(t, got.Value)["cnf"].(map[string]any)["x5t#S256"] != thumb {
		t.Errorf("with a certificate: %v, %v", got, err)
	}
	if !x.Record(nil).Bound {
		t.Error("the record takes tokens that are bound to nothing")
	}
}

func TestExchangeRefuses(t *testing.T) {
	x, _ := newExchange(t)
	alice := proven(pavise.Human, "alice", "analyst")
	stranger := alice
	stranger.Principal.Tenant, stranger.Subject.Tenant = "other", "other"
	banned := proven(pavise.Human, "mallory", "banned")
	made := proven(pavise.Workload, "bot")
	made.Principal.By = pavise.Name{Tenant: "acme", Kind: "human", ID: "mallory"}
	ended := alice
	ended.Principal.Expires = noon
	for _, tt := range []struct {
		name  string
		req   ExchangeRequest
		kind  pavise.Kind
		fault string
	}{
		{"a role more", ExchangeRequest{Subject: alice, Roles: []string{"analyst", "operator"}}, pavise.Invalid, InvalidScope},
		{"one of two that check each other", ExchangeRequest{Subject: proven(pavise.Human, "pat", "model-approver", "publisher"), Roles: []string{"publisher"}}, pavise.Invalid, InvalidScope},
		{"an actor's role", ExchangeRequest{Subject: alice, Actor: new(proven(pavise.Workload, "a", "operator")), Roles: []string{"operator"}}, pavise.Invalid, InvalidScope},
		{"for a stranger", ExchangeRequest{Subject: alice, Audience: "evil.example"}, pavise.Invalid, InvalidTarget},
		{"for ours in another spelling", ExchangeRequest{Subject: alice, Audience: serviceURL + "/"}, pavise.Invalid, InvalidTarget},
		{"of another tenant", ExchangeRequest{Subject: stranger}, pavise.Denied, ""},
		{"of another tenant, by one of ours", ExchangeRequest{Subject: stranger, Actor: new(proven(pavise.Workload, "a"))}, pavise.Invalid, InvalidRequest},
		{"by one of another tenant", ExchangeRequest{Subject: alice, Actor: &stranger}, pavise.Denied, ""},
		{"who may not", ExchangeRequest{Subject: banned}, pavise.Denied, ""},
		{"for who may, by who may not", ExchangeRequest{Subject: alice, Actor: &banned}, pavise.Denied, ""},
		{"for themself", ExchangeRequest{Subject: alice, Actor: &alice}, pavise.Invalid, InvalidRequest},
		{"by a person", ExchangeRequest{Subject: proven(pavise.Workload, "ci"), Actor: &alice}, pavise.Invalid, InvalidRequest},
		{"by what another had made", ExchangeRequest{Subject: alice, Actor: &made}, pavise.Invalid, InvalidRequest},
		{"just ended", ExchangeRequest{Subject: ended}, pavise.Invalid, InvalidRequest},
		{"nobody", ExchangeRequest{}, pavise.Denied, ""},
	} {
		got, err := x.Exchange(t.Context(), tt.req)
		fault, _ := errors.AsType[*ExchangeFault](err)
		if pavise.KindOf(err) != tt.kind || got.Value != "" || (fault == nil) != (tt.fault == "") || fault != nil && fault.Name != tt.fault {
			t.Errorf("%s: %v, %v; want %v %s", tt.name, got, err, tt.kind, tt.fault)
		}
	}
}

// TestNoRecordNoExchange makes the log fail.
func TestNoRecordNoExchange(t *testing.T) {
	x, log := newExchange(t)
	log.full = record.Act
	got, err := x.Exchange(t.Context(), ExchangeRequest{Subject: proven(pavise.Human, "alice")})
	if pavise.KindOf(err) != pavise.Unavailable || got.Value != "" {
		t.Errorf("%v, %v", got, err)
	}
}

func TestNewExchangeRefuses(t *testing.T) {
	for name, edit := range map[string]func(*ExchangeConfig){
		"no key":             func(c *ExchangeConfig) { c.Key = nil },
		"a zero key":         func(c *ExchangeConfig) { c.Key = make([]byte, 32) },
		"no URL":             func(c *ExchangeConfig) { c.URL = "" },
		"an URL with a path": func(c *ExchangeConfig) { c.URL = "https://pavise.example/x" },
		"a slash":            func(c *ExchangeConfig) { c.URL = "https://pavise.example/" },
		"a user":             func(c *ExchangeConfig) { c.URL = "https://a@pavise.example" },
		"a name":             func(c *ExchangeConfig) { c.URL = "pavise" },
		"no tenant":          func(c *ExchangeConfig) { c.Tenant = "" },
		"too short a life":   func(c *ExchangeConfig) { c.TTL = time.Minute },
		"too long a life":    func(c *ExchangeConfig) { c.TTL = time.Hour },
		"an empty audience":  func(c *ExchangeConfig) { c.Audiences = []string{""} },
	} {
		key, err := NewExchangeKey()
		if err != nil {
			t.Fatal(err)
		}
		cfg := ExchangeConfig{Key: key, URL: serviceURL, Tenant: "acme", Now: time.Now}
		edit(&cfg)
		if _, err := NewExchange(cfg); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// payload are the claims of a token, unverified.
func payload(t *testing.T, token string) map[string]any {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(b, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}
