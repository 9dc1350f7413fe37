package identity

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
)

// TestRememberedTokens: what is remembered is refused as soon as it would be otherwise.
func TestRememberedTokens(t *testing.T) {
	w := theWorld()
	v, c := bound(t)
	token := w.sign(header(nil), body(nil), w.byEd)
	first := wantGood(t, v, token)
	if v.memory.get(digest(sumOf(token))) == nil {
		t.Fatal("the token is not remembered")
	}
	if again := wantGood(t, v, token); again.Name() != first.Name() || !again.Expires.Equal(first.Expires) || again.Proof != first.Proof {
		t.Errorf("remembered as %+v, not %+v", again, first)
	}
	c.move(14*time.Minute + DefaultLeeway - time.Second)
	wantGood(t, v, token)
	c.move(time.Second)
	wantBad(t, v, token, Expired)
	c.move(-17 * time.Minute)
	wantBad(t, v, token, NotYetValid) // the clock went back
}

// TestRecentTokens: one that is found at once is held against the same as any other, and a
// token that differs from it by a byte is another one.
func TestRecentTokens(t *testing.T) {
	w := theWorld()
	v, c := bound(t)
	token := w.sign(header(nil), body(nil), w.byEd)
	for range 3 {
		wantGood(t, v, token)
	}
	if known, _ := v.memory.recall(token); known == nil {
		t.Fatal("the token is no recent one")
	}
	for i := range len(token) {
		other := []byte(token)
		other[i] ^= 1
		if known, _ := v.memory.recall(string(other)); known != nil {
			t.Fatalf("byte %d does not count", i)
		}
	}
	if known, _ := v.memory.recall(token[:len(token)-1]); known != nil {
		t.Fatal("the last byte does not count")
	}
	long := strings.Repeat("x", maxRecent+1)
	v.memory.note(long, 0, &verified{}, time.Time{})
	if known, _ := v.memory.recall(long); known != nil {
		t.Error("a long token is kept")
	}
	c.move(15*time.Minute + DefaultLeeway)
	wantBad(t, v, token, Expired)
}

func TestRefusalsAreNotRemembered(t *testing.T) {
	w := theWorld()
	v, _ := bound(t)
	wantBad(t, v, w.sign(header(nil), body(members{"aud": "other"}), w.byEd), WrongAudience)
	for i := range v.memory.shards {
		if n := len(v.memory.shards[i].known); n != 0 {
			t.Errorf("%d refusals are remembered", n)
		}
	}
}

// TestMemoryIsShared fills one issuer's share: the others keep theirs.
func TestMemoryIsShared(t *testing.T) {
	var m memory
	m.start()
	quiet, loud := &voucher{}, &voucher{}
	sum := func(s string) digest { return digest(sumOf(s)) }
	m.put(sum("quiet"), &verified{voucher: quiet})
	for n := range 3 * maxShare {
		m.put(sum(fmt.Sprint(n)), &verified{voucher: loud})
		m.put(sum(fmt.Sprint(n)), &verified{voucher: loud}) // again: takes no place
	}
	total := 0
	for i := range m.shards {
		total += len(m.shards[i].known)
	}
	if total != maxShare+1 || m.get(sum("quiet")) == nil || m.get(sum(fmt.Sprint(3*maxShare-1))) == nil || m.get(sum("0")) != nil {
		t.Errorf("%d are remembered", total)
	}
}

// TestRevoked revokes by principal, by issuer and by tenant: tokens from before are
// refused at once, remembered or not, and new ones are not.
func TestRevoked(t *testing.T) {
	w := theWorld()
	alice := pavise.Name{Tenant: "acme", Kind: "human", ID: "alice@acme"}
	for _, tt := range []struct {
		name  string
		epoch Epoch
		want  bool
	}{
		{"her", Epoch{Tenant: "acme", Principal: alice}, true},
		{"her issuer", Epoch{Tenant: "acme", Issuer: "https://ed.example"}, true},
		{"her tenant", Epoch{Tenant: "acme"}, true},
		{"somebody else", Epoch{Tenant: "acme", Principal: pavise.Name{Tenant: "acme", Kind: "workload", ID: "alice@acme"}}, false},
		{"another issuer", Epoch{Tenant: "acme", Issuer: "https://ec.example"}, false},
		{"another tenant", Epoch{Tenant: "other"}, false},
		{"her issuer in another tenant", Epoch{Tenant: "other", Issuer: "https://ed.example"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			epochs := NewEpochs()
			v, _ := bound(t, func(c *Config) { c.Epochs = epochs })
			remembered := w.sign(header(nil), body(nil), w.byEd)
			wantGood(t, v, remembered)
			tt.epoch.Before = time.Unix(begin+1, 0)
			if err := epochs.Revoke(tt.epoch); err != nil {
				t.Fatal(err)
			}
			old, fresh := w.sign(header(nil), body(members{"jti": "j2"}), w.byEd), w.sign(header(nil), body(members{"iat": begin + 1}), w.byEd)
			if tt.want {
				wantBad(t, v, remembered, Revoked)
				wantBad(t, v, remembered, Revoked)
				wantBad(t, v, old, Revoked)
			} else {
				wantGood(t, v, remembered)
				wantGood(t, v, old)
			}
			wantGood(t, v, fresh)
		})
	}
}

// TestRevokedWithIts: what somebody had made, and who acts for them, ends with them.
func TestRevokedWithIts(t *testing.T) {
	w := theWorld()
	epochs := NewEpochs()
	i := w.issuers["ed"]
	i.Ours = true
	v, _ := bound(t, func(c *Config) { c.Epochs, c.Issuers = epochs, []Issuer{i} })
	tokens := map[string]string{
		"human/olga":     w.sign(header(nil), body(members{"pavise_by": "human/olga"}), w.byEd),
		"workload/agent": w.sign(header(nil), body(members{"act": members{"sub": "acme/workload/agent"}}), w.byEd),
		"workload/first": w.sign(header(nil), body(members{"act": members{"sub": "acme/workload/last", "act": members{"sub": "acme/workload/first"}}}), w.byEd),
		"origin":         w.sign(header(nil), body(members{"pavise_origin": "https://idp.example"}), w.byEd),
		"voucher": w.sign(header(nil), body(members{"act": members{"sub": "acme/workload/a", "iss": "https://fine.example",
			"act": members{"sub": "acme/workload/b", "iss": "https://programs.example"}}}), w.byEd),
	}
	for _, token := range tokens {
		wantGood(t, v, token)
	}
	for whose, token := range tokens {
		e := Epoch{Tenant: "acme", Before: noon}
		if whose == "origin" {
			e.Issuer = "https://idp.example"
		} else if whose == "voucher" {
			e.Issuer = "https://programs.example"
		} else if e.Principal.UnmarshalText([]byte("acme/"+whose)) != nil {
			t.Fatal(whose)
		}
		if err := epochs.Revoke(e); err != nil {
			t.Fatal(err)
		}
		t.Log(whose)
		wantBad(t, v, token, Revoked)
	}
}

func TestEpochsOnlyGrow(t *testing.T) {
	e := NewEpochs()
	epoch := func(before time.Time) Epoch { return Epoch{Tenant: "acme", Issuer: "https://i", Before: before} }
	for _, before := range []time.Time{noon, noon.Add(-time.Hour)} {
		if err := e.Revoke(epoch(before)); err != nil {
			t.Fatal(err)
		}
	}
	bundle := NewEpochs()
	if err := bundle.Revoke(Epoch{Tenant: "acme", Before: noon}); err != nil {
		t.Fatal(err)
	}
	if err := bundle.Revoke(epoch(noon.Add(time.Hour))); err != nil {
		t.Fatal(err)
	}
	if err := e.Merge(bundle.Snapshot()); err != nil {
		t.Fatal(err)
	}
	if err := e.Merge([]Epoch{epoch(noon)}); err != nil { // an older bundle
		t.Fatal(err)
	}
	got := fmt.Sprint(e.Snapshot())
	if want := fmt.Sprint([]Epoch{{Tenant: "acme", Before: noon}, epoch(noon.Add(time.Hour))}); got != want {
		t.Errorf("in force are %v, want %v", got, want)
	}
}

func TestEpochsAreChecked(t *testing.T) {
	e := NewEpochs()
	name := func(s string) (n pavise.Name) { n.UnmarshalText([]byte(s)); return n }
	for _, bad := range []Epoch{
		{}, {Tenant: "acme"}, {Before: noon}, {Tenant: "a/b", Before: noon},
		{Tenant: "acme", Principal: name("other/human/a"), Before: noon},
		{Tenant: "acme", Principal: name("acme/model/a"), Before: noon},
		{Tenant: "acme", Principal: name("acme/human/a"), Issuer: "i", Before: noon},
		{Tenant: "acme", Before: time.Unix(-1, 0)},
		{Tenant: "acme", Issuer: string(make([]byte, maxIssuer+1)), Before: noon},
	} {
		if err := e.Revoke(bad); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%+v: %v", bad, err)
		}
		if err := e.Merge([]Epoch{{Tenant: "acme", Before: noon}, bad}); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%+v in a bundle: %v", bad, err)
		}
	}
	if len(e.Snapshot()) != 0 {
		t.Error("a refused bundle changed something")
	}
}

// TestEpochsAreBounded: one who revokes very many callers can still revoke all.
func TestEpochsAreBounded(t *testing.T) {
	var many []Epoch
	for n := range MaxEpochs {
		many = append(many, Epoch{Tenant: "acme", Principal: pavise.Name{Tenant: "acme", Kind: "human", ID: fmt.Sprint(n)}, Before: noon})
	}
	e := NewEpochs()
	if err := e.Merge(many); err != nil {
		t.Fatal(err)
	}
	one := Epoch{Tenant: "acme", Principal: pavise.Name{Tenant: "acme", Kind: "human", ID: "x"}, Before: noon}
	if err := e.Revoke(one); pavise.KindOf(err) != pavise.Unavailable {
		t.Errorf("one too many: %v", err)
	}
	for _, epoch := range []Epoch{many[0], {Tenant: "acme", Before: noon}, {Tenant: "acme", Issuer: "i", Before: noon}} {
		if err := e.Revoke(epoch); err != nil {
			t.Errorf("%+v: %v", epoch, err)
		}
	}
	if err := e.Merge(append(many, make([]Epoch, MaxEpochs+1)...)); pavise.KindOf(err) != pavise.Unavailable {
		t.Errorf("a bundle of too many: %v", err)
	}
}

// TestEpochsOfIssuersAreBounded: whoever revokes issuers that nobody ever heard of fills
// neither the memory nor the bundles, and keeps nobody from revoking all.
func TestEpochsOfIssuersAreBounded(t *testing.T) {
	e := NewEpochs()
	var err error
	for n := 0; n <= maxIssuers && err == nil; n++ {
		err = e.Revoke(Epoch{Tenant: "acme", Issuer: fmt.Sprint(n), Before: noon})
	}
	if pavise.KindOf(err) != pavise.Unavailable || len(e.Snapshot()) != maxIssuers {
		t.Errorf("%d issuers are revoked, %v", len(e.Snapshot()), err)
	}
	for _, epoch := range []Epoch{{Tenant: "acme", Issuer: "0", Before: noon.Add(time.Hour)}, {Tenant: "acme", Before: noon}, {Tenant: "other", Issuer: "i", Before: noon}} {
		if err := e.Revoke(epoch); err != nil {
			t.Errorf("%+v: %v", epoch, err)
		}
	}
}

func BenchmarkCachedBearer(b *testing.B) {
	w := theWorld()
	v, _ := bound(b)
	c := post("Bearer", w.sign(header(nil), body(nil), w.byEd))
	benchmark(b, v, func() Credentials { return c })
}

func BenchmarkCachedMTLS(b *testing.B) {
	f := newForest(b)
	v, _ := bound(b, func(c *Config) { c.Domains = []TrustDomain{f.domain()} })
	leaf := f.leaf(b, "spiffe://prod.acme.example/workload/trainer", nil)
	c := Credentials{Method: "POST", URL: "/v1/x", TLS: &tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}}}
	benchmark(b, v, func() Credentials { return c })
}

// BenchmarkDPoP is a remembered token with a new proof each time. Making the proof is
// part of what is measured only while the clock is stopped.
func BenchmarkDPoP(b *testing.B) {
	h := newHolder()
	token := h.token(nil)
	v, _ := bound(b, func(c *Config) { c.Replays = 1 << 24 })
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		c := post("DPoP", token, h.proof(token, nil, nil))
		b.StartTimer()
		if _, err := v.Verify(b.Context(), c); err != nil {
			b.Fatal(err)
		}
	}
}

func benchmark(b *testing.B, v *Verifier, c func() Credentials) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(b.Context(), c()); err != nil {
			b.Fatal(err)
		}
	}
}

// TestRefuses says of who was let in without a proof what a proof would meet.
func TestRefuses(t *testing.T) {
	e, at := NewEpochs(), time.Unix(1_800_000_000, 0)
	ann := pavise.Principal{Tenant: "local", Kind: pavise.Human, ID: "ann@tool", Issuer: "https://tool.example.org", By: pavise.Name{Tenant: "local", Kind: pavise.Human, ID: "ann"}}
	if e.Refuses(ann, at) {
		t.Error("refused, and nothing was revoked")
	}
	for _, epoch := range []Epoch{{Principal: ann.By}, {Issuer: ann.Issuer}, {}} {
		e = NewEpochs()
		epoch.Tenant, epoch.Before = "local", at
		if err := e.Revoke(epoch); err != nil {
			t.Fatal(err)
		}
		if !e.Refuses(ann, at.Add(-time.Second)) || e.Refuses(ann, at) {
			t.Errorf("%+v", epoch)
		}
	}
}
