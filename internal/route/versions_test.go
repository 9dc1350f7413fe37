package route

import (
	"bytes"
	"context"
	"fmt"
	"runtime/pprof"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/firewall"
	"github.com/pavise/pavise/internal/infer"
	"github.com/pavise/pavise/internal/onnx"
	"github.com/pavise/pavise/internal/tier"
)

// version is a model that takes and gives what softmaxModel does, and answers otherwise.
func version(weight float32) []byte {
	w := onnx.NewWriter("softmax")
	weights := w.Floats("w", []int{2, 3}, []float32{weight, 0, -1, 0, 2, 0})
	w.Node("Softmax", "scores", []string{w.Node("MatMul", "z", []string{w.Input("x", 2), weights})})
	w.Output("scores", 3)
	return w.Bytes()
}

// let releases it, as people who approved it.
func (w *world) let(t *testing.T, s ReleaseSpec) Route {
	t.Helper()
	s.Name = theModel.String()
	plan, err := w.PlanRelease(t.Context(), s)
	if err == nil {
		err = w.Release(t.Context(), changing(), s, plan.Before, unmarked)
	}
	if err != nil {
		t.Fatal(err)
	}
	r, _ := w.Get(theModel)
	return r
}

// picks says which models so many calls are answered by.
func (w *world) picks(t *testing.T, calls int) map[string]int {
	t.Helper()
	l, err := w.Find(theModel)
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for i := range calls {
		p, is := l.Pick(pavise.Name{Tenant: tenant, Kind: "workload", ID: fmt.Sprint("w-", i)})
		if n, ok := p.(*running); ok && len(l.Versions) > 0 && n.Digest() != is {
			t.Fatalf("%s answers, and it is said that %s does", n.Digest(), is)
		}
		count[is]++
	}
	return count
}

// TestVersionsShareCalls has a second model beside the first: approved, without a share,
// then with shares that are put at once, and gone again in one move.
func TestVersionsShareCalls(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.put(t, nil)
	one, two := digestOf(softmaxModel()), digestOf(version(7))
	if _, err := w.Put(t.Context(), operator, Spec{Name: theModel.String(), Beside: version(7)}); pavise.KindOf(err) != pavise.Conflict {
		t.Errorf("another model answers and nobody approved it: %v", err)
	}
	plan, err := w.PlanRelease(t.Context(), ReleaseSpec{Name: theModel.String(), Beside: version(7)})
	if err != nil || plan.Model != one || !slices.Equal(plan.Beside, []string{two}) {
		t.Errorf("%+v %v", plan, err)
	}
	r := w.let(t, ReleaseSpec{Beside: version(7)})
	if want := []Version{{one, 1}, {two, 0}}; r.ONNX != one || !slices.Equal(r.Versions, want) {
		t.Fatalf("%+v", r)
	}
	if got := w.picks(t, 50); got[one] != 50 {
		t.Errorf("a version without a share answers: %v", got)
	}
	for _, share := range []int{10, 25, 50, 99} {
		if _, err := w.Put(t.Context(), operator, Spec{Name: theModel.String(), Weights: []string{fmt.Sprintf("%s=%d", one, 100-share), fmt.Sprintf("%s=%d", two[:15], share)}}); err != nil {
			t.Fatal(err)
		}
		if got := w.picks(t, 200); got[one] != 200-2*share || got[two] != 2*share {
			t.Errorf("at %d in 100: %v", share, got)
		}
	}
	if l, _ := w.Find(theModel); l.Said != one+" and 1 more" || l.Is != one+" beside "+two || !strings.HasSuffix(l.behind(), "for 99 in 100 calls") {
		t.Errorf("%q, %q, %q", l.Said, l.Is, l.behind())
	}
	if all, err := w.List(t.Context(), operator, tenant); err != nil || len(all[0].Running) != 2 || all[0].Running[1] != (Running{ONNX: two, Weight: 99}) {
		t.Errorf("%+v %v", all, err)
	}
	if err := w.Rollback(t.Context(), changing(), theModel, w.leaving(t), unmarked); err != nil {
		t.Fatal(err)
	}
	if r, _ := w.Get(theModel); len(r.Versions) != 0 || w.picks(t, 10)[one] != 10 {
		t.Errorf("%+v", r)
	}
	w.let(t, ReleaseSpec{Beside: version(7)})
	r = w.let(t, ReleaseSpec{ONNX: version(7), Keep: []string{nothing}})
	if r.ONNX != two || len(r.Versions) != 0 || w.picks(t, 10)[two] != 10 {
		t.Errorf("%+v", r)
	}
}

// TestVersionsKeepTheirCallers has the balance caller send each caller to one version, and
// more of them when its share grows, and none away.
func TestVersionsKeepTheirCallers(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.put(t, func(s *Spec) { s.Balance = "caller" })
	one, two := digestOf(softmaxModel()), digestOf(version(7))
	w.let(t, ReleaseSpec{Beside: version(7), Weights: []string{one + "=90", two + "=10"}})
	where := func() (at []string) {
		l, _ := w.Find(theModel)
		for i := range 500 {
			_, is := l.Pick(pavise.Name{Tenant: tenant, Kind: "workload", ID: fmt.Sprint("w-", i)})
			at = append(at, is)
		}
		return at
	}
	count := func(at []string) (n int) {
		for _, is := range at {
			if is == two {
				n++
			}
		}
		return n
	}
	before := where()
	if again := where(); !slices.Equal(before, again) || count(before) < 25 || count(before) > 80 {
		t.Errorf("callers are not kept, or %d of 500 are asked of a tenth", count(before))
	}
	if _, err := w.Put(t.Context(), operator, Spec{Name: theModel.String(), Weights: []string{one + "=50", two + "=50"}}); err != nil {
		t.Fatal(err)
	}
	after := where()
	for i := range after {
		if before[i] == two && after[i] != two {
			t.Fatalf("caller %d leaves the version whose share grew", i)
		}
	}
	if n := count(after); n < 200 || n > 300 {
		t.Errorf("%d of 500 callers are asked of a half", n)
	}
}

// TestVersionsAreThereAfterAKill opens the store again after each step, as after a kill,
// and finds what was released; a version whose bytes were exchanged there answers nobody.
func TestVersionsAreThereAfterAKill(t *testing.T) {
	dir := t.TempDir()
	w := newWorld(t, dir)
	w.put(t, func(s *Spec) { s.Balance = "caller" })
	one, two, three := digestOf(softmaxModel()), digestOf(version(7)), digestOf(version(9))
	steps := []struct {
		do       func()
		versions []Version
		shadow   string
	}{
		{func() { w.let(t, ReleaseSpec{Beside: version(7)}) }, []Version{{one, 1}, {two, 0}}, ""},
		{func() { w.change(t, Spec{Weights: []string{one + "=9", two + "=1"}}) }, []Version{{one, 9}, {two, 1}}, ""},
		{func() { w.let(t, ReleaseSpec{ShadowONNX: version(9)}) }, []Version{{one, 9}, {two, 1}}, three},
		{func() { w.let(t, ReleaseSpec{Shadow: nothing}) }, []Version{{one, 9}, {two, 1}}, ""},
	}
	for i, step := range steps {
		step.do()
		before := w.picks(t, 100)
		w.close()
		w = newWorld(t, dir)
		r, _ := w.Get(theModel)
		l, _ := w.Find(theModel)
		if !slices.Equal(r.Versions, step.versions) || r.ShadowONNX != step.shadow || (l.Mirror != nil) != (step.shadow != "") {
			t.Fatalf("step %d: %+v", i, r)
		}
		if after := w.picks(t, 100); after[one] != before[one] || after[two] != before[two] {
			t.Errorf("step %d: callers moved from %v to %v", i, before, after)
		}
	}
	w.exec(t, `UPDATE gateway_models SET onnx = (SELECT onnx FROM gateway_models WHERE digest = ?) WHERE digest = ?`, one, two)
	reopen := func() error {
		_, err := Open(t.Context(), w.guard, w.db, firewall.NewMeter(10), infer.NewServers(), nil, new(tier.Book))
		return err
	}
	if err := reopen(); pavise.KindOf(err) != pavise.Unverified || !strings.Contains(err.Error(), two) {
		t.Errorf("other bytes under the digest: %v", err)
	}
	w.exec(t, `DELETE FROM gateway_models WHERE digest = ?`, two)
	if err := reopen(); err == nil || !strings.Contains(err.Error(), two) {
		t.Errorf("no bytes: %v", err)
	}
}

// TestVersionsRefused says of each what is wrong, and changes nothing.
func TestVersionsRefused(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.put(t, nil)
	one, two := digestOf(softmaxModel()), digestOf(version(7))
	before := w.let(t, ReleaseSpec{Beside: version(7), Weights: []string{two + "=1"}})
	for want, s := range map[string]ReleaseSpec{
		"the version beside it: this is not an ONNX": {Beside: []byte("PK")},
		"the shadow: this is not an ONNX model":      {ShadowONNX: []byte{}},
		"the version beside it takes and gives":      {Beside: otherModel("x", 2)},
		"the shadow takes and gives (y":              {ShadowONNX: otherModel("y", 2)},
		"would be there twice":                       {Beside: softmaxModel()},
		two[:19] + " would be there twice":           {ShadowONNX: version(7)},
		"not said whether they stay":                 {ONNX: version(9)},
		"is no version that answers":                 {Keep: []string{one}},
		"is no version that answers on":              {Keep: []string{"sha256:"}},
		"one shadow: on a server, or":                {Shadow: "http://127.0.0.1:1", ShadowONNX: version(9)},
		"weight \"sha256:0\" is not":                 {Keep: []string{two}, Weights: []string{"sha256:0"}},
		"every version":                              {Keep: []string{two}, Weights: []string{one + "=0", two + "=0"}},
		"the weight -1":                              {Keep: []string{two}, Weights: []string{two + "=-1"}},
		"the weight 10001":                           {Keep: []string{two}, Weights: []string{two + "=10001"}},
	} {
		s.Name = theModel.String()
		if _, err := w.PlanRelease(t.Context(), s); pavise.KindOf(err) != pavise.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q in it", err, want)
		}
	}
	if _, err := w.Put(t.Context(), operator, Spec{Name: theModel.String(), Balance: "least-request"}); pavise.KindOf(err) != pavise.Invalid {
		t.Errorf("the less busy of two models in one process: %v", err)
	}
	for _, s := range []Spec{{Beside: version(9)}, {ShadowONNX: version(9)}, {Weights: []string{one + "=1"}}, {Keep: []string{one}}} {
		s.Name, s.Upstream, s.Signature = "local/model/served", "http://127.0.0.1:1", infer.SignatureText(before.Signature)
		if _, err := w.Put(t.Context(), operator, s); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("a model in the gateway beside servers: %v", err)
		}
	}
	for i := range maxVersions {
		s := ReleaseSpec{Name: theModel.String(), Beside: version(float32(20 + i))}
		if _, err := w.PlanRelease(t.Context(), s); err != nil {
			if i != maxVersions-2 || !strings.Contains(err.Error(), "4 of a model at most") {
				t.Errorf("version %d: %v", i, err)
			}
			return
		}
		w.let(t, s)
	}
	t.Error("there is no end of versions")
}

// TestVersionsAreBounded has the models beside others take no more memory than there is for
// them, whichever routes they are of; those that are there already take no more.
func TestVersionsAreBounded(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.put(t, nil)
	w.put(t, func(s *Spec) { s.Name = "local/model/other" })
	w.aside = len(version(7))*2 + 10
	w.let(t, ReleaseSpec{Beside: version(7)})
	w.let(t, ReleaseSpec{ShadowONNX: version(8)})
	other := ReleaseSpec{Name: "local/model/other", Beside: version(9)}
	if _, err := w.PlanRelease(t.Context(), other); pavise.KindOf(err) != pavise.Conflict || !strings.Contains(err.Error(), "of the gateway's memory") {
		t.Errorf("more than there is room for: %v", err)
	}
	w.let(t, ReleaseSpec{Beside: version(7), Weights: []string{digestOf(version(7)) + "=1"}}) // it is there
	w.let(t, ReleaseSpec{Shadow: nothing})
	if _, err := w.PlanRelease(t.Context(), other); err != nil {
		t.Errorf("when one has gone: %v", err)
	}
}

// TestSteerVersions has a room of the house step a version up beside another, let it hear
// the calls, and take it back, without its bytes being fetched again.
func TestSteerVersions(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.put(t, func(s *Spec) { s.Rate, s.Balance = "7/1m", "caller" })
	one, two := digestOf(softmaxModel()), digestOf(version(7))
	fetched := 0
	give := func(b []byte) func(context.Context) ([]byte, error) {
		return func(context.Context) ([]byte, error) { fetched++; return b, nil }
	}
	for i, step := range []struct {
		beside   string
		weight   int
		versions []Version
		shadow   string
	}{
		{two, 10, []Version{{one, 90}, {two, 10}}, ""},
		{two, 50, []Version{{one, 50}, {two, 50}}, ""},
		{"", 0, nil, ""},
		{two, 0, nil, two},
		{two, 5, []Version{{one, 95}, {two, 5}}, ""},
		{"", 0, nil, ""},
	} {
		c := Course{Model: theModel, Digest: one, ONNX: give(softmaxModel()), Beside: step.beside, BesideONNX: give(version(7)), Weight: step.weight}
		for range 2 { // the second time it is so already
			if err := w.Steer(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		if r, _ := w.Get(theModel); r.ONNX != one || !slices.Equal(r.Versions, step.versions) || r.ShadowONNX != step.shadow || r.Terms.Rate.Count != 7 || !r.PerCaller() || fetched != 1 {
			t.Errorf("step %d: %+v, fetched %d times", i, r, fetched)
		}
	}
	was, _ := w.Get(theModel)
	for what, c := range map[string]struct {
		Course
		kind pavise.Kind
	}{
		"other bytes": {Course{Digest: one, Beside: digestOf(version(9)), BesideONNX: give(version(8)), Weight: 10}, pavise.Unverified},
		"missing": {Course{Digest: one, Beside: digestOf(version(9)), Weight: 10, BesideONNX: func(context.Context) ([]byte, error) {
			return nil, &pavise.Error{Kind: pavise.NotFound, Msg: "no such file"}
		}}, pavise.NotFound},
		"other inputs": {Course{Digest: one, Beside: digestOf(otherModel("x", 2)), BesideONNX: give(otherModel("x", 2)), Weight: 10}, pavise.Invalid},
	} {
		c.Model = theModel
		if err := w.Steer(t.Context(), c.Course); pavise.KindOf(err) != c.kind {
			t.Errorf("%s: %v", what, err)
		}
		if r, _ := w.Get(theModel); !slices.Equal(r.Versions, was.Versions) || r.ONNX != was.ONNX {
			t.Errorf("%s: %+v", what, r)
		}
	}
}

// shadows is how many shadows in this process are being asked.
func shadows() int {
	var text bytes.Buffer
	_ = pprof.Lookup("goroutine").WriteTo(&text, 2) // to memory
	return strings.Count(text.String(), "shadow.(*Shadow).work(")
}

// TestShadowEndsWithItsRelease has a shadow end when it is taken away from a model that stays.
func TestShadowEndsWithItsRelease(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.put(t, nil)
	before := shadows()
	for _, step := range []struct {
		ReleaseSpec
		more int
	}{{ReleaseSpec{ShadowONNX: version(7)}, 1}, {ReleaseSpec{ShadowONNX: version(8)}, 1}, {ReleaseSpec{Shadow: nothing}, 0}} {
		w.let(t, step.ReleaseSpec)
		for end := time.Now().Add(5 * time.Second); shadows() != before+step.more; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%d shadows are asked, not %d", shadows()-before, step.more)
			}
		}
	}
}

// TestAdoptVersions has a gateway adopt a route with versions and a shadow: it fetches the
// bytes of each, once, picks as the control plane does, and forgets what no route names.
func TestAdoptVersions(t *testing.T) {
	from, to := newWorld(t, t.TempDir()), newWorld(t, t.TempDir())
	from.put(t, func(s *Spec) { s.Balance = "caller" })
	two := digestOf(version(7))
	from.let(t, ReleaseSpec{Beside: version(7), Weights: []string{two + "=1"}})
	from.let(t, ReleaseSpec{ShadowONNX: version(9)})
	fetched := 0
	adopt := func() error {
		return to.Adopt(t.Context(), from.Standings(), 1, func(digest string) ([]byte, error) { fetched++; return from.Model(t.Context(), digest) })
	}
	if len(from.Standings()[0].Blobs()) != 3 {
		t.Errorf("it needs %q", from.Standings()[0].Blobs())
	}
	for range 2 {
		if err := adopt(); err != nil {
			t.Fatal(err)
		}
	}
	l, err := to.Find(theModel)
	if err != nil || fetched != 3 || l.Mirror == nil || to.picks(t, 100)[two] != from.picks(t, 100)[two] {
		t.Errorf("%v, %d fetched, %v and %v", err, fetched, to.picks(t, 100), from.picks(t, 100))
	}
	from.change(t, Spec{Weights: []string{two + "=0"}})
	if err := adopt(); err != nil || to.picks(t, 100)[two] != 0 || fetched != 3 {
		t.Errorf("%v: %v", err, to.picks(t, 100))
	}
	from.let(t, ReleaseSpec{Keep: []string{nothing}, Shadow: nothing})
	if err := adopt(); err != nil {
		t.Fatal(err)
	}
	if _, err := to.Model(t.Context(), two); pavise.KindOf(err) != pavise.NotFound {
		t.Errorf("a model that no route names stays: %v", err)
	}
	bad := from.Standings()
	bad[0].Versions = []Version{{two, 1}, {bad[0].ONNX, 1}}
	if err := to.Adopt(t.Context(), bad, 1, func(string) ([]byte, error) { return nil, nil }); pavise.KindOf(err) != pavise.Invalid {
		t.Errorf("versions that do not begin with the one that answers: %v", err)
	}
	bad[0].Versions = []Version{{bad[0].ONNX, 1}, {two, 1}}
	if err := to.Adopt(t.Context(), bad, 1, func(string) ([]byte, error) { return version(8), nil }); pavise.KindOf(err) != pavise.Unverified {
		t.Errorf("other bytes: %v", err)
	}
	if r, _ := to.Get(theModel); len(r.Versions) != 0 {
		t.Errorf("what was not adopted is there: %+v", r)
	}
}

// TestRollbackLeavesAPromotedVersion: going back from a version that had a share first, or heard the
// calls, is to be without it: it does not come back in that share, nor by going back once more.
func TestRollbackLeavesAPromotedVersion(t *testing.T) {
	t.Parallel()
	one, two, three := digestOf(softmaxModel()), digestOf(version(7)), digestOf(version(9))
	for name, first := range map[string][]ReleaseSpec{
		"a share":           {{Beside: version(7), Weights: []string{one + "=1", two + "=1"}}},
		"all of the calls":  {{Beside: version(7), Weights: []string{one + "=0", two + "=1"}}},
		"a shadow":          {{ShadowONNX: version(7)}},
		"a shadow, a share": {{ShadowONNX: version(7)}, {Beside: version(7), Shadow: nothing}},
	} {
		w := newWorld(t, t.TempDir())
		w.put(t, nil)
		for _, s := range first {
			w.let(t, s)
		}
		w.let(t, ReleaseSpec{ONNX: version(7), Keep: []string{nothing}, Shadow: nothing})
		if err := w.Rollback(t.Context(), changing(), theModel, w.leaving(t), unmarked); err != nil {
			t.Fatal(err)
		}
		if r, _ := w.Get(theModel); r.ONNX != one || len(r.Versions) > 0 || r.ShadowONNX != "" || w.picks(t, 10)[one] != 10 {
			t.Errorf("%s: %+v", name, r)
		}
		if plan, err := w.PlanRollback(t.Context(), theModel); pavise.KindOf(err) != pavise.NotFound {
			t.Errorf("%s: it goes back again to %+v: %v", name, plan.Will, err)
		}
	}
	w := newWorld(t, t.TempDir())
	w.put(t, nil)
	w.let(t, ReleaseSpec{Beside: version(9)})
	w.let(t, ReleaseSpec{Beside: version(7), Weights: []string{one + "=0", two + "=1"}})
	w.let(t, ReleaseSpec{ONNX: version(7), Keep: []string{nothing}})
	if err := w.Rollback(t.Context(), changing(), theModel, w.leaving(t), unmarked); err != nil {
		t.Fatal(err)
	}
	if r, _ := w.Get(theModel); !slices.Equal(r.Versions, []Version{{one, 1}, {three, 0}}) {
		t.Errorf("%+v", r)
	}
}
