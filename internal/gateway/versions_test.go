package gateway

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/pavise/pavise/internal/onnx"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/route"
	"github.com/pavise/pavise/internal/shadow"
)

// steepModel takes and gives what softmaxModel does, and answers otherwise.
func steepModel() []byte {
	w := onnx.NewWriter("softmax")
	weights := w.Floats("w", []int{2, 3}, []float32{-9, 0, -1, 0, 2, 9})
	w.Node("Softmax", "scores", []string{w.Node("MatMul", "z", []string{w.Input("x", 2), weights})})
	w.Output("scores", 3)
	return w.Bytes()
}

// release brings what a spec says behind the model's name.
func (w *world) releaseSpec(t *testing.T, s route.ReleaseSpec) {
	t.Helper()
	s.Name = theModel.String()
	plan, err := w.Routes.PlanRelease(t.Context(), s)
	if err == nil {
		err = w.Routes.Release(t.Context(), changing(), s, plan.Before, unmarked)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// answered counts, by what answered, the answers whose records say so, from a record on.
func (w *world) answered(t *testing.T, from uint64) map[string]int {
	t.Helper()
	count := map[string]int{}
	for i := from; i < w.log.Size(); i++ {
		r, err := w.log.Read(i)
		if err != nil {
			t.Fatal(err)
		}
		var trail Trail
		if r.Kind == "model.infer" && r.Phase != record.Note && json.Unmarshal(r.Detail, &trail) == nil && trail.Output != "" {
			count[trail.Model]++
		}
	}
	return count
}

// TestRecordsSayWhichVersion has two versions share the calls: each record says which one
// answered, what it said is that one's answer, and the telemetry counts the same.
func TestRecordsSayWhichVersion(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.put(t, nil)
	_, first := w.post(t, good, nil)
	w.releaseSpec(t, route.ReleaseSpec{ONNX: steepModel()})
	_, second := w.post(t, good, nil)
	if first == second {
		t.Fatal("the versions answer alike")
	}
	steep := w.Routes.Standings()[0].ONNX
	w.releaseSpec(t, route.ReleaseSpec{ONNX: softmaxModel()})
	soft := w.Routes.Standings()[0].ONNX
	w.releaseSpec(t, route.ReleaseSpec{Beside: steepModel(), Weights: []string{soft + "=3", steep + "=1"}})
	from, said := w.log.Size(), map[string]int{}
	for range 40 {
		resp, text := w.post(t, good, nil)
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("%d %s", resp.StatusCode, text)
		}
		said[text]++
	}
	if said[first] != 30 || said[second] != 10 {
		t.Errorf("%d and %d of 40 were answered by each", said[first], said[second])
	}
	if got := w.answered(t, from); got[soft] != 30 || got[steep] != 10 || len(got) != 2 {
		t.Errorf("the records say %v", got)
	}
	told := map[string]uint64{}
	w.Routes.EachVersion(func(model, version string, n uint64) { told[model+" "+version] = n })
	if told["m "+steep[:19]] != 10 || len(told) != 2 {
		t.Errorf("the telemetry says %v", told)
	}
	from = w.log.Size()
	if resp, _ := w.post(t, strings.Replace(good, "[1,2]", "[1,3]", 1), nil); resp.StatusCode == http.StatusOK || len(w.answered(t, from)) != 0 {
		t.Error("what no version answered is said to be answered")
	}
}

// TestVersionsChangeUnderLoad steps shares, brings a version and takes it back while
// callers ask: each call is answered by one version or the other.
func TestVersionsChangeUnderLoad(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.put(t, func(s *route.Spec) { s.Rate, s.Budget, s.ModelBudget = "10000000/1m", "10000000/1m", "10000000/1m" })
	soft := w.Routes.Standings()[0].ONNX
	var callers sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		callers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if resp, text := w.post(t, good, nil); resp.StatusCode != http.StatusOK {
					t.Errorf("%d %s", resp.StatusCode, text)
					return
				}
			}
		})
	}
	for range 3 {
		w.releaseSpec(t, route.ReleaseSpec{Beside: steepModel()})
		steep := w.Routes.Standings()[0].Versions[1].ONNX
		for _, share := range []int{10, 50, 100} {
			if _, err := w.Routes.Put(t.Context(), operator, route.Spec{Name: theModel.String(), Weights: []string{fmt.Sprintf("%s=%d", soft, 100-share), fmt.Sprintf("%s=%d", steep, share)}}); err != nil {
				t.Fatal(err)
			}
			w.post(t, good, nil) // so that each share answers somebody, however slow the others are
		}
		w.releaseSpec(t, route.ReleaseSpec{Keep: []string{"none"}, ShadowONNX: steepModel()})
		w.releaseSpec(t, route.ReleaseSpec{Shadow: "none"})
	}
	close(stop)
	callers.Wait()
	if got := w.answered(t, 0); len(got) != 2 {
		t.Errorf("the records say %v", got)
	}
}

// TestShadowInTheGateway has a model that runs here hear what another one is asked: callers
// get the same bytes, and the log says how far the two agree, as of a shadow on a server.
func TestShadowInTheGateway(t *testing.T) {
	for name, c := range map[string]struct {
		model []byte
		same  int
	}{"agrees": {append(softmaxModel(), 0x12, 1, 'x'), 3}, "differs": {steepModel(), 0}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, t.TempDir())
			w.put(t, nil)
			_, alone := w.post(t, good, nil)
			w.releaseSpec(t, route.ReleaseSpec{ShadowONNX: c.model})
			r := w.Routes.Standings()[0].Route
			for range 3 {
				if resp, text := w.post(t, good, nil); resp.StatusCode != http.StatusOK || text != alone {
					t.Fatalf("%d %s", resp.StatusCode, text)
				}
			}
			got := w.heard(t, 3)
			if (got.Furthest > 0) != (c.same == 0) {
				t.Errorf("%+v", got)
			}
			if got.Furthest = 0; got != (shadow.Tally{Model: r.ONNX, Shadow: r.ShadowONNX, Asked: 3, Rows: 3, Same: c.same}) {
				t.Errorf("%+v", got)
			}
			w.releaseSpec(t, route.ReleaseSpec{Shadow: "none"})
			w.post(t, good, nil)
			w.Routes.TellShadows(t.Context())
			if again := w.tallies(t); again.Asked != 3 {
				t.Errorf("it hears on: %+v", again)
			}
		})
	}
}
