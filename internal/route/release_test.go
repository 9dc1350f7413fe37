package route

import (
	"errors"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/store"
)

// TestReleaseIsTheOnlyWay tries to bring another model behind a name without one.
func TestReleaseIsTheOnlyWay(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.put(t, nil)
	first := w.current(theModel.String()).ONNX
	spec := Spec{Name: theModel.String(), ONNX: otherModel("x", 2)}
	if _, err := w.Put(t.Context(), operator, spec); pavise.KindOf(err) != pavise.Conflict {
		t.Errorf("put another model: %v", err)
	}
	if err := w.Delete(t.Context(), operator, theModel); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Put(t.Context(), operator, spec); pavise.KindOf(err) != pavise.Conflict {
		t.Errorf("delete, and put another model: %v", err)
	}
	w.put(t, nil) // the same one may come back
	if err := w.Release(t.Context(), operator, ReleaseSpec{Name: spec.Name, ONNX: spec.ONNX}, "", unmarked); pavise.KindOf(err) != pavise.Denied {
		t.Errorf("release without a change: %v", err)
	}
	if got := w.current(theModel.String()).ONNX; got != first {
		t.Errorf("%s answers, not %s", got, first)
	}
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
	if err := w.Rollback(t.Context(), changing(), theModel, leaving, unmarked); pavise.KindOf(err) != pavise.Conflict {
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
		"quarantine": func(w *world) error { return w.Quarantine(t.Context(), changing(), theModel, unmarked) },
		"terms": func(w *world) error {
			_, err := w.Put(t.Context(), operator, Spec{Name: theModel.String(), Rate: "7/1m"})
			return err
		},
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t, t.TempDir())
			w.put(t, nil)
			first := w.current(theModel.String()).ONNX
			spec := ReleaseSpec{Name: theModel.String(), ONNX: otherModel("x", 2)}
			before := w.before(t, spec)
			if err := meanwhile(w); err != nil {
				t.Fatal(err)
			}
			if err := w.Release(t.Context(), changing(), spec, before, unmarked); pavise.KindOf(err) != pavise.Conflict {
				t.Errorf("release: %v", err)
			}
			if w.current(theModel.String()).ONNX != first || w.Quarantined(theModel) != (what == "quarantine") {
				t.Error("the release left something")
			}
		})
	}
}

// TestFirstRelease brings a name its first model by a release, on the terms of new routes: not
// without a model, and not once somebody else has put one.
func TestFirstRelease(t *testing.T) {
	w := newWorld(t, t.TempDir())
	if _, err := w.PlanRelease(t.Context(), ReleaseSpec{Name: theModel.String(), Shadow: "http://127.0.0.1:1"}); pavise.KindOf(err) != pavise.Invalid {
		t.Errorf("a shadow of nothing: %v", err)
	}
	spec := ReleaseSpec{Name: theModel.String(), ONNX: softmaxModel()}
	plan, err := w.PlanRelease(t.Context(), spec)
	if err != nil || !plan.Was.New || plan.Will.New || plan.Will.MaxRows != defaultMaxRows || plan.Will.Terms.Rate.Count != 1200 {
		t.Fatalf("%+v %v", plan, err)
	}
	w.put(t, nil)
	if err := w.Release(t.Context(), changing(), spec, plan.Before, unmarked); pavise.KindOf(err) != pavise.Conflict {
		t.Errorf("the first release beside somebody's put: %v", err)
	}
	other := pavise.Name{Tenant: theModel.Tenant, Kind: "model", ID: "another"}
	spec.Name = other.String()
	if plan, err = w.PlanRelease(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	if err := w.Release(t.Context(), changing(), spec, plan.Before, unmarked); err != nil {
		t.Fatal(err)
	}
	if now := w.current(other.String()); now == nil || now.ONNX != plan.Model || now.MaxRows != defaultMaxRows {
		t.Errorf("%+v answers", now)
	}
}

// TestReleaseAfterDelete brings another model under a name whose route was deleted: on
// the terms that it had at the end, and by a plan that is of no route that is there.
func TestReleaseAfterDelete(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.put(t, nil)
	w.change(t, Spec{Rate: "7/1m", Purpose: "health"})
	there, err := w.PlanRelease(t.Context(), ReleaseSpec{Name: theModel.String(), ONNX: otherModel("x", 2)})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Delete(t.Context(), operator, theModel); err != nil {
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
	if err := w.Rollback(t.Context(), changing(), theModel, w.leaving(t), unmarked); err != nil {
		t.Errorf("back to the model of before: %v", err)
	}
}

// TestReleaseOfNothing releases the model that answers already, which comes to nothing
// unless it ends a quarantine.
func TestReleaseOfNothing(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.put(t, nil)
	same := ReleaseSpec{Name: theModel.String(), ONNX: softmaxModel()}
	if _, err := w.PlanRelease(t.Context(), same); pavise.KindOf(err) != pavise.Conflict || !strings.Contains(err.Error(), "already") {
		t.Errorf("%v", err)
	}
	other, err := w.PlanRelease(t.Context(), ReleaseSpec{Name: theModel.String(), ONNX: otherModel("x", 2)})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Quarantine(t.Context(), changing(), theModel, unmarked); err != nil {
		t.Fatal(err)
	}
	if again, err := w.PlanRelease(t.Context(), ReleaseSpec{Name: theModel.String(), ONNX: otherModel("x", 2)}); err != nil || again.Before == other.Before {
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
		models = append(models, w.change(t, Spec{ONNX: onnx}).ONNX)
		if i == 0 {
			w.change(t, Spec{Rate: "7/1m"})
		}
	}
	w.close()
	w = newWorld(t, dir)
	for _, want := range []string{models[1], models[0]} {
		plan, err := w.PlanRollback(t.Context(), theModel)
		if err != nil || plan.Model != want {
			t.Fatalf("plan %+v, %v; want %s", plan, err, want)
		}
		if err := w.Rollback(t.Context(), changing(), theModel, w.leaving(t), unmarked); err != nil {
			t.Fatal(err)
		}
		if now := w.current(theModel.String()); now.ONNX != want || now.Terms.Rate.Count != 7 {
			t.Fatalf("%+v answers, want %s", now, want)
		}
	}
	if err := w.Rollback(t.Context(), changing(), theModel, w.leaving(t), unmarked); pavise.KindOf(err) != pavise.NotFound {
		t.Errorf("back before the first: %v", err)
	} else if !strings.Contains(err.Error(), "what was rolled back does not come back") {
		t.Errorf("it does not say where the others are: %v", err)
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
			spec := ReleaseSpec{Name: theModel.String(), ONNX: otherModel("x", 2)}
			return w.Release(t.Context(), changing(), spec, w.before(t, spec), fails)
		},
		"quarantine": func() error { return w.Quarantine(t.Context(), changing(), theModel, fails) },
	} {
		if err := act(); err == nil {
			t.Errorf("%s without its mark", what)
		}
		if w.current(theModel.String()).ONNX != first || w.Quarantined(theModel) {
			t.Errorf("%s left something", what)
		}
	}
}
