package record

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
)

// agree fails unless Glance gives the fields of an entry that Decode gives, and
// reports whether Decode reads it.
func agree(t *testing.T, entry []byte) bool {
	t.Helper()
	r, err := Decode(entry)
	g, glanceErr := Glance(entry)
	if err != nil {
		return false
	}
	if glanceErr != nil {
		t.Fatalf("%q is decoded and not glanced at: %v", entry, glanceErr)
	}
	who, on := "", r.On.String()
	if r.Who != nil {
		who = r.Who.Name().String()
	}
	if g.Kind != r.Kind || g.Phase != r.Phase || g.Tenant != r.Tenant || g.Subject != r.Subject || g.Outcome != string(r.Outcome) ||
		g.Who != who || g.On != on || !g.At.Equal(r.At) || g.Failed != (r.Error != nil) || (g.Enter == nil) != (r.Enter == nil) || g.Enter != nil && *g.Enter != *r.Enter {
		t.Fatalf("%q is glanced at as\n%+v\nand decoded as\n%+v", entry, g, r)
	}
	return true
}

// TestGlanceSeesWhatDecodeReads: of every record that can be encoded, the glance gives
// the same fields, and in one walk: without decoding what our own writer wrote.
func TestGlanceSeesWhatDecodeReads(t *testing.T) {
	for seed := range uint64(5000) {
		r := randomRecord(rand.New(rand.NewPCG(seed, 1)))
		entry, err := r.Encode()
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if !agree(t, append(entry, make([]byte, TagSize)...)) {
			t.Fatalf("seed %d: %s is not decoded", seed, entry)
		}
		var w walk
		if err := fields(entry[1:], w.take); err != nil {
			t.Fatalf("seed %d: our own entry %s is not walked over: %v", seed, entry, err)
		}
	}
}

// randomRecord returns a record in which each field is there or not, with texts that
// need escaping or not.
func randomRecord(rng *rand.Rand) *Record {
	texts := []string{"", "plain", `quo"te`, "<script>&", "back\\slash", "näme", "\x00\n\t", "\xff\xfe", "\u2028", "{}", `","phase":"act",`, "[}"}
	text := func() string { return texts[rng.IntN(len(texts))] }
	maybe := func() bool { return rng.IntN(2) == 0 }
	name := func() pavise.Name { return pavise.Name{Tenant: "t", Kind: "k", ID: fmt.Sprint("i", rng.IntN(9))} }
	stamp := func() time.Time { return time.Unix(rng.Int64N(1<<32), rng.Int64N(1e9)*int64(rng.IntN(2))).UTC() }
	r := &Record{Kind: text(), Phase: text(), Tenant: text(), At: stamp(), Outcome: pavise.Outcome(text()), Settled: uint64(rng.IntN(2)), Safe: maybe()}
	if maybe() {
		r.Who = &pavise.Principal{Tenant: text(), Kind: text(), ID: text(), Issuer: text(), Proof: text()}
		if maybe() {
			r.Who.Roles, r.Who.Expires, r.Who.Change = []string{text()}, stamp(), name()
		}
		if maybe() {
			r.Who.Environment, r.Who.By = text(), name()
		}
	}
	if maybe() {
		r.On, r.Subject = name(), text()
	}
	if maybe() {
		r.Policy, r.Verdicts = &Policy{Digest: text(), Reasons: []string{text()}}, []pavise.Verdict{{Check: text()}}
	}
	if maybe() {
		r.Error, r.Took = &Failure{Kind: text(), Msg: text()}, time.Duration(rng.IntN(5))
	}
	if maybe() {
		r.Enter = new(rng.Uint64())
	}
	if maybe() {
		r.Detail, _ = json.Marshal(map[string]any{"kind": text(), "enter": 5, text(): []string{text()}})
		r.Sealed = []byte(text())
	}
	return r
}

// oddities are bodies that no writer of ours writes and that Decode reads, often in
// another way than a quick look would.
var oddities = []string{
	`null`, ` {} `, `{}`, "\t{\n\"kind\" :\r\"a\" , \"phase\":\"act\"}",
	`{"kind":"a","kind":"b"}`, `{"KIND":"a"}`, `{"kind":"a","Kind":"b"}`, `{"\u006bind":"a"}`, `{"kınd":"a"}`, `{"kind":null,"phase":null,"at":null,"who":null,"on":null,"enter":null,"error":null}`,
	`{"phase":"act","kind":"a"}`, `{"more":{"kind":"b"},"kind":"a"}`, `{"kind":"a","more":1}`, `{"":1}`, `{"kind":"a","detail":{"kind":"b"},"detail":{"x":"}"}}`,
	`{"kind":"\u0061\n\"","tenant":"\ud83d\ude00 \ud83d"}`, "{\"kind\":\"\xff\"}", "{\"ki\xffnd\":\"a\"}", `{"\ud800":"a"}`,
	`{"on":""}`, `{"on":"a\/b\/c"}`, `{"On":"a/b/c"}`, `{"at":"2027-01-15T08:00:00.5+02:00"}`, `{"AT":"2027-01-15T08:00:00Z"}`,
	`{"enter":0}`, `{"enter":18446744073709551615}`, `{"enter":7,"enter":null}`, `{"Enter":7}`, `{"error":{}}`, `{"error":{},"error":null}`, `{"ERROR":{}}`,
	`{"who":{}}`, `{"who":{"tenant":"a"},"who":{"id":"b"}}`, `{"who":{"id":"a","ID":"b"}}`, `{"who":{"id":"a","tenant":"t"}}`, `{"who":{"more":1,"id":"a"}}`, `{"who":{"id":null}}`,
	`{"error":null}`, `{"kind":"a","kind":null}`, `{"on":"a/b/c","on":null}`, `{"who":{"id":"a"},"who":{"id":null}}`, `{"who":{"id":"a","id":null}}`, `{"phase":"act","kind":"b","phase":null}`,
	`{"who":{"i\u0064":"a"}}`, `{"WHO":{"id":"a"}}`, `{"who":{"tenant":"a/b","kind":"c","id":"d/e"}}`, `{"outcome":"perhaps","ſubject":"a","subject":"b"}`,
}

// TestGlanceIsNotFooled by entries that are spelled oddly: keys twice, in capitals, in
// escapes or in another order, and null for anything.
func TestGlanceIsNotFooled(t *testing.T) {
	for _, body := range oddities {
		if !agree(t, tagged(1, body)) {
			t.Errorf("Decode does not read %s", body)
		}
	}
	deep := `{"detail":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `,"kind":"a"}`
	agree(t, tagged(1, deep))
	agree(t, tagged(1, strings.Repeat("[", 60_000)))
}

// FuzzGlance: whatever Decode reads, Glance reads the same, and it fails on nothing
// else than Decode does with a panic.
func FuzzGlance(f *testing.F) {
	entry, err := full().Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(entry[1:])
	for _, body := range oddities {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) { agree(t, tagged(1, string(body))) })
}
