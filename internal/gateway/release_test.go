package gateway

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/route"
)

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
