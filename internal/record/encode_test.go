package record

import (
	"encoding/json"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/pavise/pavise"
)

// TestAppendIsMarshal holds the encoder by hand against encoding/json, over
// records in which every field is there or not and texts need escaping or not.
func TestAppendIsMarshal(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	texts := []string{"", "plain", `quo"te`, "<script>&", "back\\slash", "näme", "\x00\n\t", "\xff\xfe", "\u2028", "{}"}
	text := func() string { return texts[rng.IntN(len(texts))] }
	list := func() []string {
		var l []string
		for range rng.IntN(3) {
			l = append(l, text())
		}
		return l
	}
	maybe := func() bool { return rng.IntN(2) == 0 }
	stamp := func() time.Time { return time.Unix(rng.Int64N(1<<32), rng.Int64N(1e9)*int64(rng.IntN(2))).UTC() }
	for range 5000 {
		r := Record{Kind: text(), Phase: text(), Tenant: text(), At: stamp(), Outcome: pavise.Outcome(text()), Settled: uint64(rng.IntN(2)), Took: time.Duration(rng.IntN(3)), Safe: maybe()}
		if maybe() {
			r.Who = &pavise.Principal{Tenant: text(), Kind: text(), ID: text(), Issuer: text(), Roles: list(), Proof: text()}
			if maybe() {
				r.Who.Expires = stamp()
			}
			if maybe() {
				r.Who.Change = pavise.Name{Tenant: text(), Kind: text(), ID: text()}
			}
			if maybe() {
				r.Who.Environment, r.Who.By = text(), pavise.Name{Tenant: text(), Kind: text(), ID: text()}
			}
		}
		if maybe() {
			r.Subject = text()
		}
		if maybe() {
			r.On = pavise.Name{Tenant: text(), Kind: text(), ID: text()}
		}
		if maybe() {
			r.Policy = &Policy{Digest: text(), Reasons: list(), Errors: list(), Observed: maybe()}
		}
		for range rng.IntN(3) {
			r.Verdicts = append(r.Verdicts, pavise.Verdict{Check: text(), Outcome: pavise.Outcome(text()), Reason: text(), Observed: maybe()})
		}
		if maybe() {
			r.Error = &Failure{Kind: text(), Msg: text()}
		}
		if maybe() {
			r.Enter = new(rng.Uint64())
		}
		if maybe() {
			r.Detail, _ = json.Marshal(map[string]any{"text": text(), "list": list()})
		}
		if maybe() {
			r.Sealed = []byte(text())
		}
		want, err := json.Marshal(&r)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.append(nil); string(got) != string(want) {
			t.Fatalf("appended\n%s\nencoding/json writes\n%s", got, want)
		}
	}
}
