package issuer

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/identity"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/record"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// A memory is a log in memory, which can be made to fail.
type memory struct {
	mu      sync.Mutex
	records []record.Record
	full    string // the phase that cannot be written
}

func (m *memory) Append(_ context.Context, r *record.Record, _ ledger.Durability) (ledger.Receipt, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r.Phase == m.full {
		return ledger.Receipt{}, &pavise.Error{Kind: pavise.Unavailable, Msg: "log is full"}
	}
	m.records = append(m.records, *r)
	return ledger.Receipt{Index: uint64(len(m.records) - 1), Size: uint64(len(m.records))}, nil
}

func (m *memory) Size() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return uint64(len(m.records))
}

func (m *memory) Records(from, to uint64) iter.Seq2[uint64, record.Record] {
	return func(yield func(uint64, record.Record) bool) {
		for i := from; i < to && yield(i, m.records[i]); i++ {
		}
	}
}

func newLocal(t *testing.T) (*Local, *memory) {
	t.Helper()
	log := &memory{}
	g, err := guard.New(guard.Config{
		Actions: []guard.Action{{Verb: "issuer.mint", On: []string{"issuer"}, Class: guard.Control}},
		Log:     log, Now: func() time.Time { return noon }, DemoIssuer: LocalURL("i1"),
	})
	if err != nil {
		t.Fatal(err)
	}
	permit := `permit (principal in Role::"operator", action == Action::"issuer.mint", resource);`
	if err := g.Load("local", map[string]string{"mint": permit}); err != nil {
		t.Fatal(err)
	}
	l, err := New(config(g))
	if err != nil {
		t.Fatal(err)
	}
	return l, log
}

func config(g *guard.Guard) Config {
	return Config{Guard: g, Seed: bytes.Repeat([]byte{9}, 32), Install: "i1", Tenant: "local", Now: func() time.Time { return noon }}
}

func operator(kind string) pavise.Principal {
	return pavise.Principal{Tenant: "local", Kind: kind, ID: "olga", Issuer: LocalURL("i1"), Roles: []string{RoleOperator}, Proof: "bearer", Expires: noon.Add(time.Hour)}
}

func verify(t *testing.T, l *Local, now time.Time, token string) (pavise.Principal, error) {
	t.Helper()
	v, err := identity.NewVerifier(func() time.Time { return now }, l.Record())
	if err != nil {
		t.Fatal(err)
	}
	if !v.Demo() {
		t.Error("the record does not say Demo")
	}
	return v.Verify(t.Context(), identity.Credentials{Authorization: []string{"Bearer " + token}})
}

func TestMint(t *testing.T) {
	l, log := newLocal(t)
	tok, err := l.Mint(t.Context(), operator(pavise.Human), MintRequest{Subject: "carl", Kind: pavise.Human, Roles: []string{RoleCaller}, TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	who, err := verify(t, l, noon, tok.Value)
	if err != nil {
		t.Fatal(err)
	}
	if who.Name().String() != "local/human/carl" || !who.HasRole(RoleCaller) || len(who.Roles) != 1 ||
		who.Issuer != "urn:pavise:local:i1" || who.Root().String() != "local/human/olga" || !who.Expires.Equal(noon.Add(time.Hour)) || !tok.Expires.Equal(who.Expires) {
		t.Errorf("the token proves %+v", who)
	}
	checkRecords(t, log, tok)
}

// checkRecords wants the Enter and Exit of one mint, which say everything about
// the token but the token.
func checkRecords(t *testing.T, log *memory, tok Token) {
	t.Helper()
	if len(log.records) != 2 || log.records[0].Phase != record.Enter || log.records[1].Phase != record.Exit {
		t.Fatalf("records: %+v", log.records)
	}
	var d detail
	if err := json.Unmarshal(log.records[1].Detail, &d); err != nil {
		t.Fatal(err)
	}
	if d.Subject != "carl" || d.Kind != pavise.Human || len(d.Roles) != 1 || d.ID != tok.ID || !d.Expires.Equal(tok.Expires) {
		t.Errorf("detail = %+v", d)
	}
	if log.records[0].On.String() != "local/issuer/local" || log.records[0].Kind != "issuer.mint" {
		t.Errorf("recorded as %s on %s", log.records[0].Kind, log.records[0].On)
	}
	all, err := json.Marshal(log.records)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range append(strings.Split(tok.Value, "."), tok.Value) {
		if bytes.Contains(all, []byte(part)) {
			t.Errorf("the records hold %.12s… of the token", part)
		}
	}
}

// TestMintSaysForWhom: who has a token made answers for it, over any number of steps,
// unless the issuer itself knows them and it is for themself.
func TestMintSaysForWhom(t *testing.T) {
	l, _ := newLocal(t)
	made := func(who pavise.Principal, id, kind string) pavise.Principal {
		tok, err := l.Mint(t.Context(), who, MintRequest{Subject: id, Kind: kind, Roles: []string{RoleOperator}})
		if err != nil {
			t.Fatal(err)
		}
		made, err := verify(t, l, noon, tok.Value)
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	olga := operator(pavise.Human)
	bob := made(olga, "bob", pavise.Human)
	for _, tt := range []struct {
		who  pavise.Principal
		by   string
		root string
	}{
		{bob, "local/human/olga", "local/human/olga"},
		{made(bob, "carl", pavise.Human), "local/human/olga", "local/human/olga"},
		{made(bob, "bob", pavise.Human), "local/human/olga", "local/human/olga"},
		{made(olga, "olga", pavise.Human), "", "local/human/olga"},
		{made(bob, "olga", pavise.Human), "local/human/olga", "local/human/olga"}, // holds none of her grants
		{made(made(bob, "olga", pavise.Human), "olga", pavise.Human), "local/human/olga", "local/human/olga"},
		{made(olga, "olga", pavise.Workload), "local/human/olga", "local/human/olga"},
		{made(operator(pavise.Workload), "job", pavise.Workload), "local/workload/olga", "local/workload/olga"},
	} {
		if tt.who.By.String() != tt.by || tt.who.Root().String() != tt.root {
			t.Errorf("%s is made by %q and rooted in %q, want %q and %q", tt.who.Name(), tt.who.By, tt.who.Root(), tt.by, tt.root)
		}
	}
}

// TestNobodyHandsOnWhatTheyWereGranted: the role operator, granted for an hour, makes no
// operators, who would make others for ever.
func TestNobodyHandsOnWhatTheyWereGranted(t *testing.T) {
	l, _ := newLocal(t)
	ana := operator(pavise.Human)
	ana.ID, ana.Roles = "ana", []string{RoleAnalyst}
	name, err := guard.GrantName(ana.Name(), RoleOperator)
	if err != nil {
		t.Fatal(err)
	}
	l.guard.HoldGrants([]guard.Grant{{Name: name, Holder: ana.Name(), Role: RoleOperator, Until: noon.Add(time.Hour)}})
	for _, id := range []string{"ana", "bob"} {
		tok, err := l.Mint(t.Context(), ana, MintRequest{Subject: id, Kind: pavise.Human, Roles: []string{RoleOperator}, TTL: time.Hour})
		if pavise.KindOf(err) != pavise.Denied || tok != (Token{}) {
			t.Errorf("an operator for an hour makes an operator %s: %v", id, err)
		}
	}
	if _, err := l.Mint(t.Context(), ana, MintRequest{Subject: "ci", Roles: []string{RoleCaller}}); err != nil {
		t.Errorf("an operator for an hour makes no caller: %v", err)
	}
}

func TestMintDefaults(t *testing.T) {
	l, _ := newLocal(t)
	tok, err := l.Mint(t.Context(), operator(pavise.Workload), MintRequest{Subject: "job"})
	if err != nil {
		t.Fatal(err)
	}
	who, err := verify(t, l, noon, tok.Value)
	if err != nil || who.Kind != pavise.Workload || len(who.Roles) != 0 || !who.Expires.Equal(noon.Add(DefaultTTL)) {
		t.Errorf("the token proves %+v, %v", who, err)
	}
	if _, err := verify(t, l, noon.Add(DefaultTTL+identity.DefaultLeeway), tok.Value); err == nil {
		t.Error("the token outlives its end")
	}
}

func TestMintRefuses(t *testing.T) {
	stranger := operator(pavise.Human)
	stranger.Tenant = "other"
	analyst := operator(pavise.Human)
	analyst.Roles = []string{RoleAnalyst}
	good := MintRequest{Subject: "carl", Roles: []string{RoleCaller}}
	with := func(edit func(*MintRequest)) MintRequest {
		req := good
		edit(&req)
		return req
	}
	for _, tt := range []struct {
		name string
		who  pavise.Principal
		req  MintRequest
		kind pavise.Kind
	}{
		{"nobody", pavise.Principal{}, good, pavise.Denied},
		{"an analyst", analyst, good, pavise.Denied},
		{"an operator of another tenant", stranger, good, pavise.Denied},
		{"a program for a person", operator(pavise.Workload), with(func(r *MintRequest) { r.Kind = pavise.Human }), pavise.Denied},
		{"for a machine", operator(pavise.Human), with(func(r *MintRequest) { r.Kind = pavise.Node }), pavise.Invalid},
		{"a role beyond the demo", operator(pavise.Human), with(func(r *MintRequest) { r.Roles = []string{RoleCaller, "admin"} }), pavise.Invalid},
		{"a role in another case", operator(pavise.Human), with(func(r *MintRequest) { r.Roles = []string{"Operator"} }), pavise.Invalid},
		{"an empty role", operator(pavise.Human), with(func(r *MintRequest) { r.Roles = []string{""} }), pavise.Invalid},
		{"a second too long", operator(pavise.Human), with(func(r *MintRequest) { r.TTL = MaxTTL + time.Second }), pavise.Invalid},
		{"a negative life", operator(pavise.Human), with(func(r *MintRequest) { r.TTL = -time.Minute }), pavise.Invalid},
		{"less than a second", operator(pavise.Human), with(func(r *MintRequest) { r.TTL = time.Millisecond }), pavise.Invalid},
		{"no subject", operator(pavise.Human), with(func(r *MintRequest) { r.Subject = "" }), pavise.Invalid},
		{"a subject that is a path", operator(pavise.Human), with(func(r *MintRequest) { r.Subject = "a/b" }), pavise.Invalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, log := newLocal(t)
			tok, err := l.Mint(t.Context(), tt.who, tt.req)
			if pavise.KindOf(err) != tt.kind || tok != (Token{}) {
				t.Fatalf("Mint = %v, %v (%v); want %v", tok, err, pavise.KindOf(err), tt.kind)
			}
			if len(log.records) == 0 {
				t.Fatal("the refusal left no record")
			}
			last := log.records[len(log.records)-1]
			if last.Error == nil && last.Outcome != pavise.Deny {
				t.Errorf("recorded as if it had gone well: %+v", last)
			}
		})
	}
}

// TestNoRecordNoToken makes the log fail before and after the act.
func TestNoRecordNoToken(t *testing.T) {
	for _, phase := range []string{record.Enter, record.Exit} {
		l, log := newLocal(t)
		log.full = phase
		tok, err := l.Mint(t.Context(), operator(pavise.Human), MintRequest{Subject: "carl"})
		if pavise.KindOf(err) != pavise.Unavailable || tok != (Token{}) {
			t.Errorf("without its %s record, Mint = %v, %v", phase, tok, err)
		}
	}
}

func TestBootstrap(t *testing.T) {
	l, log := newLocal(t)
	tok, err := l.Bootstrap(MintRequest{Subject: "me", Kind: pavise.Human, Roles: []string{RoleOperator}})
	if err != nil {
		t.Fatal(err)
	}
	if who, err := verify(t, l, noon, tok.Value); err != nil || !who.HasRole(RoleOperator) || who.Kind != pavise.Human {
		t.Errorf("the token proves %+v, %v", who, err)
	}
	if _, err := l.Bootstrap(MintRequest{Subject: "me", Roles: []string{"admin"}}); pavise.KindOf(err) != pavise.Invalid {
		t.Errorf("a role beyond the demo: %v", err)
	}
	if _, err := l.Bootstrap(MintRequest{Subject: "me", TTL: 2 * time.Hour}); pavise.KindOf(err) != pavise.Invalid {
		t.Errorf("a life beyond the hour: %v", err)
	}
	if len(log.records) != 0 {
		t.Errorf("Bootstrap wrote %d records; its caller does", len(log.records))
	}
}

// TestInstallationsAreApart takes a token of one installation to another, with
// another key and then with the very same key.
func TestInstallationsAreApart(t *testing.T) {
	l, _ := newLocal(t)
	tok, err := l.Bootstrap(MintRequest{Subject: "me"})
	if err != nil {
		t.Fatal(err)
	}
	for name, edit := range map[string]func(*Config){
		"another id":  func(c *Config) { c.Install = "i2" },
		"another key": func(c *Config) { c.Seed = bytes.Repeat([]byte{8}, 32) },
	} {
		cfg := config(nil)
		edit(&cfg)
		other, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if who, err := verify(t, other, noon, tok.Value); pavise.KindOf(err) != pavise.Unverified {
			t.Errorf("%s: an installation took the token for %+v, %v", name, who, err)
		}
	}
}

// TestTokenHeader pins what the token's header says: the verifier refuses more.
func TestTokenHeader(t *testing.T) {
	l, _ := newLocal(t)
	a, errA := l.Bootstrap(MintRequest{Subject: "me"})
	b, errB := l.Bootstrap(MintRequest{Subject: "me"})
	if err := errors.Join(errA, errB); err != nil {
		t.Fatal(err)
	}
	head, _, _ := strings.Cut(a.Value, ".")
	got, err := base64.RawURLEncoding.DecodeString(head)
	want := fmt.Sprintf(`{"alg":"EdDSA","kid":%q,"typ":"JWT"}`, l.public.KeyID)
	if err != nil || string(got) != want {
		t.Errorf("header = %s, %v, want %s", got, err, want)
	}
	if a.ID == b.ID || a.Value == b.Value {
		t.Error("two tokens have one id")
	}
}

func TestTokenPrintsAsID(t *testing.T) {
	l, _ := newLocal(t)
	tok, err := l.Bootstrap(MintRequest{Subject: "me"})
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if got := fmt.Sprintf(verb, tok); got != "token "+tok.ID {
			t.Errorf("%s prints %q", verb, got)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for name, edit := range map[string]func(*Config){
		"no seed":           func(c *Config) { c.Seed = nil },
		"a private key":     func(c *Config) { c.Seed = make([]byte, 64) },
		"no installation":   func(c *Config) { c.Install = "" },
		"a path as its id":  func(c *Config) { c.Install = "a/b" },
		"no tenant":         func(c *Config) { c.Tenant = "" },
		"a tenant in parts": func(c *Config) { c.Tenant = "a/b" },
	} {
		cfg := config(nil)
		edit(&cfg)
		if _, err := New(cfg); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestRolesAreThoseOfThePolicies reads the policies this build starts with: the
// roles this issuer gives must be the ones they know.
func TestRolesAreThoseOfThePolicies(t *testing.T) {
	text := strings.Join(slices.Collect(maps.Values(guard.Defaults())), "\n")
	for _, role := range demoRoles {
		if !strings.Contains(text, fmt.Sprintf("Role::%q", role)) {
			t.Errorf("no default policy has the role %q", role)
		}
	}
}
