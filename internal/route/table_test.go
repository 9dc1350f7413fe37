package route

import (
	"crypto/ed25519"
	"path/filepath"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/firewall"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/infer"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/onnx"
	"github.com/pavise/pavise/internal/policy"
	"github.com/pavise/pavise/internal/store"
	"github.com/pavise/pavise/internal/tier"
)

const tenant = "local"

var (
	operator = pavise.Principal{Tenant: tenant, Kind: pavise.Human, ID: "op", Roles: []string{"operator"}, Issuer: "https://issuer.test"}
	theModel = pavise.Name{Tenant: tenant, Kind: "model", ID: "m"}
	approved = pavise.Name{Tenant: tenant, Kind: "change", ID: "c-1"} // the one change that the world's guard takes for approved
)

// changing is the operator as whom an approved change acts.
func changing() pavise.Principal {
	who := operator
	who.Change = approved
	return who
}

// unmarked is a mark for changes that no test looks for.
func unmarked(*store.Tx) error { return nil }

// A world is a table of routes with a guard, a log and a store, and no data plane: what
// requests see of routes is tested in package gateway.
type world struct {
	*Table
	log *ledger.Log
	db  *store.DB
}

// newWorld opens a world, or the same one again if dir was used before.
func newWorld(t *testing.T, dir string) *world {
	t.Helper()
	w := &world{}
	t.Cleanup(w.close)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	key := ed25519.NewKeyFromSeed([]byte("route test log key, of 32 bytes."))
	w.log, err = ledger.Open(ledger.Options{Dir: filepath.Join(dir, "ledger"), Origin: "test/route", Key: key, Tenant: tenant})
	must(err)
	w.db, err = store.Open(t.Context(), filepath.Join(dir, "db"))
	must(err)
	g, err := guard.New(guard.Config{
		Actions: actions(), Log: w.log,
		Approved: func(change pavise.Name, _ string, _ pavise.Name) bool { return change == approved },
		Facts: func(name pavise.Name) policy.Facts {
			return policy.Facts{Quarantined: w.Table != nil && w.Table.Quarantined(name)}
		},
	})
	must(err)
	policies, err := guard.OpenPolicies(t.Context(), g, w.db)
	must(err)
	if w.log.Size() == 0 {
		must(policies.Seed(t.Context(), tenant, guard.Defaults()))
	}
	book, err := tier.Open(t.Context(), tier.Config{Store: w.db})
	must(err)
	w.Table, err = Open(t.Context(), g, w.db, firewall.NewMeter(100), infer.NewServers(), nil, book)
	must(err)
	return w
}

func (w *world) close() {
	if w.log != nil {
		w.log.Close()
	}
	if w.db != nil {
		w.db.Close()
	}
}

func actions() (list []guard.Action) {
	on := []string{"route"}
	for _, verb := range []string{"route.put", "route.delete"} {
		list = append(list, guard.Action{Verb: verb, On: on})
	}
	for _, verb := range []string{"route.release", "route.rollback", "route.quarantine"} {
		list = append(list, guard.Action{Verb: verb, On: on, Safe: verb != "route.release", Consequential: true})
	}
	return append(list, guard.Action{Verb: "route.list", On: on, Class: guard.Pooled})
}

// put puts a route to a model that takes two numbers.
func (w *world) put(t *testing.T, edit func(*Spec)) {
	t.Helper()
	spec := Spec{Name: theModel.String(), ONNX: softmaxModel()}
	if edit != nil {
		edit(&spec)
	}
	if _, err := w.Put(t.Context(), operator, spec); err != nil {
		t.Fatal(err)
	}
}

// change changes the route, by a release where it is another model's.
func (w *world) change(t *testing.T, spec Spec) Route {
	t.Helper()
	spec.Name = theModel.String()
	names := spec.ONNX != nil || spec.Upstream != "" || spec.Remote != ""
	if now := w.current(spec.Name); now != nil && names {
		release := ReleaseSpec{Name: spec.Name, ONNX: spec.ONNX, Upstream: spec.Upstream, Remote: spec.Remote}
		if err := w.Release(t.Context(), changing(), release, w.before(t, release), unmarked); err != nil {
			t.Fatal(err)
		}
		return *w.current(spec.Name)
	}
	placed, err := w.Put(t.Context(), operator, spec)
	if err != nil {
		t.Fatal(err)
	}
	return placed.Route
}

// before returns the digest of the route that a release replaces.
func (w *world) before(t *testing.T, s ReleaseSpec) string {
	t.Helper()
	was, err := w.released(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	digest, err := was.digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

// release plans a release of an ONNX model.
func (w *world) release(t *testing.T, onnx []byte) ReleasePlan {
	t.Helper()
	s := ReleaseSpec{Name: theModel.String(), ONNX: onnx}
	plan, err := w.PlanRelease(t.Context(), s)
	if err == nil {
		err = w.Release(t.Context(), changing(), s, plan.Before, unmarked)
	}
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// leaving returns the digest of the route that a rollback leaves, "" if there is no way
// back.
func (w *world) leaving(t *testing.T) string {
	t.Helper()
	plan, err := w.PlanRollback(t.Context(), theModel)
	if err != nil && pavise.KindOf(err) != pavise.NotFound {
		t.Fatal(err)
	}
	return plan.Before
}

// softmaxModel takes two numbers and gives three scores.
func softmaxModel() []byte {
	w := onnx.NewWriter("softmax")
	weights := w.Floats("w", []int{2, 3}, []float32{1, 0, -1, 0, 2, 0})
	w.Node("Softmax", "scores", []string{w.Node("MatMul", "z", []string{w.Input("x", 2), weights})})
	w.Output("scores", 3)
	return w.Bytes()
}

// otherModel takes so many numbers as input and says them back.
func otherModel(input string, columns int) []byte {
	w := onnx.NewWriter("other")
	w.Node("Relu", "scores", []string{w.Input(input, columns)})
	w.Output("scores", columns)
	return w.Bytes()
}

const bounds = `{"name":"a card","input":"x","output":"scores","features":[{"name":"a","min":0,"max":1,"codes":["no","yes"]},{"name":"b","min":-1}]}`
