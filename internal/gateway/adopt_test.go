package gateway

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/route"
)

// TestAdopt lets a second gateway adopt the routes of a first one, which then change:
// the second follows, shares budgets out, and forgets what is gone.
func TestAdopt(t *testing.T) {
	from, to := newWorld(t, t.TempDir()), newWorld(t, t.TempDir())
	from.put(t, func(s *route.Spec) { s.Budget = "101/24h" })
	asked := 0
	model := func(digest string) ([]byte, error) {
		asked++
		return from.Routes.Model(t.Context(), digest)
	}
	adopt := func(all []route.Standing) error { return to.Routes.Adopt(t.Context(), all, 2, model) }
	for range 2 { // the model is fetched once
		if err := adopt(from.Routes.Standings()); err != nil || asked != 1 {
			t.Fatalf("%v, the model was asked for %d times", err, asked)
		}
	}
	if got := to.Routes.Standings()[0].Terms; got.Budget.Count != 50 || got.Budget.Burst != 50 || got.Rate != from.Routes.Standings()[0].Terms.Rate {
		t.Errorf("half of the terms are %+v", got)
	}
	if resp, text := to.post(t, good, nil); resp.StatusCode != 200 {
		t.Fatalf("%d %s", resp.StatusCode, text)
	}
	if err := from.Routes.Quarantine(t.Context(), changing(), theModel, unmarked); err != nil {
		t.Fatal(err)
	}
	if err := adopt(from.Routes.Standings()); err != nil || !to.Routes.Quarantined(theModel) {
		t.Errorf("the quarantine is not adopted: %v", err)
	}
	to.close()
	to = newWorld(t, to.dir)
	if !to.Routes.Quarantined(theModel) || !to.Routes.Has(theModel) {
		t.Error("what was adopted is gone after a restart")
	}
	if err := adopt(nil); err != nil || to.Routes.Has(theModel) {
		t.Errorf("the route stays: %v", err)
	}
	if _, err := to.Routes.Model(t.Context(), from.Routes.Standings()[0].ONNX); pavise.KindOf(err) != pavise.NotFound {
		t.Errorf("the model stays: %v", err)
	}
}

// TestAdoptPartedOnce: a route that stays while its next model is on its way is adopted as it is:
// its budgets are a gateway's part already, and are not parted again each time.
func TestAdoptPartedOnce(t *testing.T) {
	from, to := newWorld(t, t.TempDir()), newWorld(t, t.TempDir())
	from.put(t, func(s *route.Spec) { s.Budget, s.ModelBudget = "100/24h", "1000/24h" })
	model := func(digest string) ([]byte, error) { return from.Routes.Model(t.Context(), digest) }
	if err := to.Routes.Adopt(t.Context(), from.Routes.Standings(), 4, model); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		all := to.Routes.Standings()
		for i := range all {
			all[i].Parted = true
		}
		if err := to.Routes.Adopt(t.Context(), all, 4, model); err != nil {
			t.Fatal(err)
		}
	}
	if got := to.Routes.Standings()[0].Terms; got.Budget.Count != 25 || got.ModelBudget.Count != 250 {
		t.Errorf("a fourth of 100 and of 1,000 rows is %+v", got)
	}
}

// TestAdoptAllOrNothing refuses whole what is wrong in part.
func TestAdoptAllOrNothing(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.put(t, nil)
	now := w.Routes.Standings()
	other := func(edit func(*route.Standing)) []route.Standing {
		s := now[0]
		s.Model.ID = "other"
		edit(&s)
		return append(slices.Clone(now), s)
	}
	for name, all := range map[string][]route.Standing{
		"twice":            append(slices.Clone(now), now[0]),
		"no model":         other(func(s *route.Standing) { s.ONNX = "" }),
		"both":             other(func(s *route.Standing) { s.Upstream = "http://x" }),
		"another kind":     other(func(s *route.Standing) { s.Model.Kind = "route" }),
		"no name":          other(func(s *route.Standing) { s.Model = pavise.Name{} }),
		"no rows":          other(func(s *route.Standing) { s.MaxRows = 0 }),
		"a shape it bars":  other(func(s *route.Standing) { s.Alterable, s.Purpose = true, "security" }),
		"no terms":         other(func(s *route.Standing) { s.Terms.Rate.Per = 0 }),
		"another's bytes":  other(func(s *route.Standing) { s.ONNX = "sha256:" + fmt.Sprintf("%064d", 1) }),
		"no such upstream": other(func(s *route.Standing) { s.ONNX, s.Upstream = "", "ftp://x" }),
	} {
		err := w.Routes.Adopt(context.Background(), all, 1, func(string) ([]byte, error) { return softmaxModel(), nil })
		if err == nil || len(w.Routes.Standings()) != 1 {
			t.Errorf("%s: %v, and there are %d routes", name, err, len(w.Routes.Standings()))
		}
	}
	if resp, text := w.post(t, good, nil); resp.StatusCode != 200 {
		t.Errorf("afterwards: %d %s", resp.StatusCode, text)
	}
}
