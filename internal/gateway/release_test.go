package gateway

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/route"
	"github.com/pavise/pavise/internal/store"
)

// TestReleaseIsTheOnlyWay tries to bring another model behind a name without one.
func TestReleaseIsTheOnlyWay(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.put(t, nil)
	first := w.current(theModel.String()).ONNX
	spec := route.Spec{Name: theModel.String(), ONNX: otherModel("x", 2)}
	if _, err := w.Routes.Put(t.Context(), operator, spec); pavise.KindOf(err) != pavise.Conflict {
		t.Errorf("put another model: %v", err)
	}
	if err := w.Routes.Delete(t.Context(), operator, theModel); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Routes.Put(t.Context(), operator, spec); pavise.KindOf(err) != pavise.Conflict {
		t.Errorf("delete, and put another model: %v", err)
	}
	w.put(t, nil) // the same one may come back
	if err := w.Routes.Release(t.Context(), operator, route.ReleaseSpec{Name: spec.Name, ONNX: spec.ONNX}, "", unmarked); pavise.KindOf(err) != pavise.Denied {
		t.Errorf("release without a change: %v", err)
	}
	if got := w.current(theModel.String()).ONNX; got != first {
		t.Errorf("%s answers, not %s", got, first)
	}
}

// release plans a release, and does it as planned.
func (w *world) release(t *testing.T, onnx []byte) route.ReleasePlan {
	t.Helper()
	spec := route.ReleaseSpec{Name: theModel.String(), ONNX: onnx}
	plan, err := w.Routes.PlanRelease(t.Context(), spec)
	if err == nil {
		err = w.Routes.Release(t.Context(), changing(), spec, plan.Before, unmarked)
	}
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// before returns the digest of the route that a release replaces, without asking a model
// server what it would replace it with.
func (w *world) before(t *testing.T, s route.ReleaseSpec) string {
	t.Helper()
	for _, standing := range w.Routes.Standings() {
		if standing.Model.String() == s.Name {
			text, err := json.Marshal(standing)
			if err != nil {
				t.Fatal(err)
			}
			return fmt.Sprintf("%x", sha256.Sum256(text))
		}
	}
	plan, err := w.Routes.PlanRelease(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return plan.Before
}

// leaving returns the digest of the route that a rollback leaves, "" if there is no way
// back.
func (w *world) leaving(t *testing.T) string {
	t.Helper()
	plan, err := w.Routes.PlanRollback(t.Context(), theModel)
	if err != nil && pavise.KindOf(err) != pavise.NotFound {
		t.Fatal(err)
	}
	return plan.Before
}

// TestRollbackOfWhatIsAnotherByNow releases a good model between the last look at a
// rollback and its act: the rollback leaves it, and does not bring the bad one back.
func TestRollbackOfWhatIsAnotherByNow(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.put(t, nil)
	good := w.current(theModel.String()).ONNX
	w.release(t, otherModel("x", 2))
	leaving := w.leaving(t)
	w.release(t, softmaxModel())
	if err := w.Routes.Rollback(t.Context(), changing(), theModel, leaving, unmarked); pavise.KindOf(err) != pavise.Conflict {
		t.Errorf("rollback: %v", err)
	}
	if got := w.current(theModel.String()).ONNX; got != good {
		t.Errorf("%s answers, not %s", got, good)
	}
}

// TestReleaseOfWhatIsAnotherByNow quarantines a model, and changes its terms, between
// the last look at a release and its act: the release does nothing.
func TestReleaseOfWhatIsAnotherByNow(t *testing.T) {
	for what, meanwhile := range map[string]func(w *world) error{
		"quarantine": func(w *world) error { return w.Routes.Quarantine(t.Context(), changing(), theModel, unmarked) },
		"terms": func(w *world) error {
			_, err := w.Routes.Put(t.Context(), operator, route.Spec{Name: theModel.String(), Rate: "7/1m"})
			return err
		},
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t, t.TempDir())
			w.put(t, nil)
			first := w.current(theModel.String()).ONNX
			spec := route.ReleaseSpec{Name: theModel.String(), ONNX: otherModel("x", 2)}
			before := w.before(t, spec)
			if err := meanwhile(w); err != nil {
				t.Fatal(err)
			}
			if err := w.Routes.Release(t.Context(), changing(), spec, before, unmarked); pavise.KindOf(err) != pavise.Conflict {
				t.Errorf("release: %v", err)
			}
			if w.current(theModel.String()).ONNX != first || w.Routes.Quarantined(theModel) != (what == "quarantine") {
				t.Error("the release left something")
			}
		})
	}
}

// TestReleaseAfterDelete brings another model under a name whose route was deleted: on
// the terms that it had at the end, and by a plan that is of no route that is there.
func TestReleaseAfterDelete(t *testing.T) {
	w := newWorld(t, t.TempDir())
	if _, err := w.Routes.PlanRelease(t.Context(), route.ReleaseSpec{Name: theModel.String(), ONNX: softmaxModel()}); pavise.KindOf(err) != pavise.NotFound {
		t.Errorf("release under a name that nobody knows: %v", err)
	}
	w.put(t, nil)
	w.change(t, route.Spec{Rate: "7/1m", Purpose: "health"})
	there, err := w.Routes.PlanRelease(t.Context(), route.ReleaseSpec{Name: theModel.String(), ONNX: otherModel("x", 2)})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Routes.Delete(t.Context(), operator, theModel); err != nil {
		t.Fatal(err)
	}
	plan := w.release(t, otherModel("x", 2))
	if !plan.Was.Deleted || plan.Will.Deleted || plan.Before == there.Before {
		t.Errorf("the plan does not say that no route was there: %+v", plan)
	}
	now := w.current(theModel.String())
	if now == nil || now.ONNX != plan.Model || now.Terms.Rate.Count != 7 || now.Purpose != "health" {
		t.Errorf("%+v answers", now)
	}
	if err := w.Routes.Rollback(t.Context(), changing(), theModel, w.leaving(t), unmarked); err != nil {
		t.Errorf("back to the model of before: %v", err)
	}
}

// TestReleaseOfNothing releases the model that answers already, which comes to nothing
// unless it ends a quarantine.
func TestReleaseOfNothing(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.put(t, nil)
	same := route.ReleaseSpec{Name: theModel.String(), ONNX: softmaxModel()}
	if _, err := w.Routes.PlanRelease(t.Context(), same); pavise.KindOf(err) != pavise.Conflict || !strings.Contains(err.Error(), "already") {
		t.Errorf("%v", err)
	}
	other, err := w.Routes.PlanRelease(t.Context(), route.ReleaseSpec{Name: theModel.String(), ONNX: otherModel("x", 2)})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Routes.Quarantine(t.Context(), changing(), theModel, unmarked); err != nil {
		t.Fatal(err)
	}
	if again, err := w.Routes.PlanRelease(t.Context(), route.ReleaseSpec{Name: theModel.String(), ONNX: otherModel("x", 2)}); err != nil || again.Before == other.Before {
		t.Errorf("a release approved before the quarantine would end it: %v", err)
	}
	if plan := w.release(t, softmaxModel()); !plan.Was.Quarantined || plan.Will.Quarantined {
		t.Errorf("the plan does not say that it ends a quarantine: %+v", plan)
	}
}

// TestRollback goes back one release at a time, keeps today's terms, and does not
// come back to what it left.
func TestRollback(t *testing.T) {
	dir := t.TempDir()
	w := newWorld(t, dir)
	var models []string
	for i, onnx := range [][]byte{softmaxModel(), otherModel("x", 2), otherModel("y", 2)} {
		models = append(models, w.change(t, route.Spec{ONNX: onnx}).ONNX)
		if i == 0 {
			w.change(t, route.Spec{Rate: "7/1m"})
		}
	}
	w.close()
	w = newWorld(t, dir)
	for _, want := range []string{models[1], models[0]} {
		plan, err := w.Routes.PlanRollback(t.Context(), theModel)
		if err != nil || plan.Model != want {
			t.Fatalf("plan %+v, %v; want %s", plan, err, want)
		}
		if err := w.Routes.Rollback(t.Context(), changing(), theModel, w.leaving(t), unmarked); err != nil {
			t.Fatal(err)
		}
		if now := w.current(theModel.String()); now.ONNX != want || now.Terms.Rate.Count != 7 {
			t.Fatalf("%+v answers, want %s", now, want)
		}
	}
	if err := w.Routes.Rollback(t.Context(), changing(), theModel, w.leaving(t), unmarked); pavise.KindOf(err) != pavise.NotFound {
		t.Errorf("back before the first: %v", err)
	} else if !strings.Contains(err.Error(), "what was rolled back does not come back") {
		t.Errorf("it does not say where the others are: %v", err)
	}
}

// TestQuarantine stops a model at once, outlives the process, and ends with a
// release.
func TestQuarantine(t *testing.T) {
	dir := t.TempDir()
	w := newWorld(t, dir)
	w.put(t, nil)
	if err := w.Routes.Quarantine(t.Context(), changing(), theModel, unmarked); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if resp, body := w.post(t, good, nil); resp.StatusCode != 403 || !strings.Contains(body, "quarantine") {
			t.Fatalf("in quarantine: %d %s", resp.StatusCode, body)
		}
		w.close()
		w = newWorld(t, dir)
	}
	w.change(t, route.Spec{ONNX: softmaxModel()})
	if resp, body := w.post(t, good, nil); resp.StatusCode != 200 {
		t.Errorf("after a release: %d %s", resp.StatusCode, body)
	}
}

// TestQuarantineOutlivesItsRoute deletes a route in quarantine: callers are told that
// there is no such model, and putting it again opens nothing.
func TestQuarantineOutlivesItsRoute(t *testing.T) {
	dir := t.TempDir()
	w := newWorld(t, dir)
	w.put(t, nil)
	if err := w.Routes.Quarantine(t.Context(), changing(), theModel, unmarked); err != nil {
		t.Fatal(err)
	}
	if list, err := w.Routes.List(t.Context(), operator, tenant); err != nil || !list[0].Quarantined {
		t.Errorf("the list does not show it: %+v, %v", list, err)
	}
	if err := w.Routes.Delete(t.Context(), operator, theModel); err != nil {
		t.Fatal(err)
	}
	if resp, body := w.post(t, good, nil); resp.StatusCode != 404 {
		t.Errorf("deleted: %d %s", resp.StatusCode, body)
	}
	w.close()
	w = newWorld(t, dir)
	w.put(t, nil)
	if resp, body := w.post(t, good, nil); resp.StatusCode != 403 || !strings.Contains(body, "quarantine") {
		t.Errorf("put again: %d %s", resp.StatusCode, body)
	}
	if err := w.Routes.Delete(t.Context(), operator, theModel); err != nil {
		t.Fatal(err)
	}
	w.release(t, softmaxModel())
	if resp, body := w.post(t, good, nil); resp.StatusCode != 200 {
		t.Errorf("after a release: %d %s", resp.StatusCode, body)
	}
}

// TestMarkIsPartOfIt fails the mark: nothing of the act remains.
func TestMarkIsPartOfIt(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.put(t, nil)
	first := w.current(theModel.String()).ONNX
	fails := func(*store.Tx) error { return errors.New("no mark") }
	for what, act := range map[string]func() error{
		"release": func() error {
			spec := route.ReleaseSpec{Name: theModel.String(), ONNX: otherModel("x", 2)}
			return w.Routes.Release(t.Context(), changing(), spec, w.before(t, spec), fails)
		},
		"quarantine": func() error { return w.Routes.Quarantine(t.Context(), changing(), theModel, fails) },
	} {
		if err := act(); err == nil {
			t.Errorf("%s without its mark", what)
		}
		if w.current(theModel.String()).ONNX != first || w.Routes.Quarantined(theModel) {
			t.Errorf("%s left something", what)
		}
	}
}
