package gateway

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/route"
	"github.com/pavise/pavise/internal/shadow"
)

// tallies sums what the log says of the model's shadow.
func (w *world) tallies(t *testing.T) (sum shadow.Tally) {
	t.Helper()
	for i := range w.log.Size() {
		r, err := w.log.Read(i)
		if err != nil {
			t.Fatal(err)
		}
		if r.Kind != route.KindShadowed {
			continue
		}
		var one shadow.Tally
		if err := json.Unmarshal(r.Detail, &one); err != nil || r.Phase != record.Note || r.On != (pavise.Name{Tenant: theModel.Tenant, Kind: "route", ID: theModel.ID}) {
			t.Fatalf("%+v, %v", r, err)
		}
		sum.Model, sum.Shadow, sum.Furthest = one.Model, one.Shadow, max(sum.Furthest, one.Furthest)
		sum.Asked, sum.Rows, sum.Same, sum.Failed, sum.Dropped = sum.Asked+one.Asked, sum.Rows+one.Rows, sum.Same+one.Same, sum.Failed+one.Failed, sum.Dropped+one.Dropped
		if one.LastFault != "" {
			sum.LastFault = one.LastFault
		}
	}
	return sum
}

// heard waits until a shadow was done with so many exchanges, and returns what was noted.
func (w *world) heard(t *testing.T, n int) shadow.Tally {
	t.Helper()
	for {
		w.Routes.TellShadows(t.Context())
		if sum := w.tallies(t); sum.Asked+sum.Failed+sum.Dropped >= n {
			return sum
		}
		if t.Context().Err() != nil {
			t.Fatal("the shadow does not come to an end")
		}
		time.Sleep(time.Millisecond)
	}
}

// TestShadow has shadows that agree, differ, fail and lie. The caller gets the same bytes
// beside each, and the log says how each did.
func TestShadow(t *testing.T) {
	model := newScorer(t, "0.25,0.75")
	var alone string
	for name, c := range map[string]struct {
		scores string
		status int32
		want   shadow.Tally
		fault  string
	}{
		"no shadow":  {},
		"agrees":     {scores: "0.25,0.75", want: shadow.Tally{Asked: 3, Rows: 3, Same: 3}},
		"same class": {scores: "0.125,0.875", want: shadow.Tally{Asked: 3, Rows: 3, Same: 3, Furthest: 0.125}},
		"differs":    {scores: "0.75,0.25", want: shadow.Tally{Asked: 3, Rows: 3, Furthest: 0.5}},
		"fails":      {scores: "1,2", status: 500, want: shadow.Tally{Failed: 3}, fault: "status 500"},
		"lies":       {scores: "1,2,3", want: shadow.Tally{Failed: 3}, fault: "m"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, t.TempDir())
			aside := newScorer(t, c.scores)
			aside.status.Store(c.status)
			w.onServers(t, []*scorer{model}, func(s *route.Spec) {
				if name != "no shadow" {
					s.Shadow, s.ShadowName = aside.URL, "next"
				}
			})
			for range 3 {
				resp, text := w.post(t, good, nil)
				if resp.StatusCode != 200 || alone != "" && text != alone {
					t.Fatalf("%d %s, and beside another shadow %s", resp.StatusCode, text, alone)
				}
				alone = text
			}
			if name == "no shadow" {
				w.Routes.TellShadows(t.Context())
				if got := w.tallies(t); got != (shadow.Tally{}) || aside.asked.Load() > 0 {
					t.Errorf("a shadow that there is not: %+v", got)
				}
				return
			}
			got := w.heard(t, 3)
			c.want.Model, c.want.Shadow = model.URL, "next at "+aside.URL
			if !strings.Contains(got.LastFault, c.fault) || (c.fault == "") != (got.LastFault == "") {
				t.Errorf("the fault is %q", got.LastFault)
			}
			if got.LastFault = ""; got != c.want {
				t.Errorf("%+v, not %+v", got, c.want)
			}
		})
	}
}

// TestRefusedRequestsReachNoShadow asks what is refused before the model, and what the
// model answers wrongly.
func TestRefusedRequestsReachNoShadow(t *testing.T) {
	model, aside := newScorer(t, "1"), newScorer(t, "1,2")
	w := newWorld(t, t.TempDir())
	w.onServers(t, []*scorer{model}, func(s *route.Spec) { s.Shadow = aside.URL })
	for _, body := range []string{`{}`, strings.Replace(good, "[1,2]", "[1,3]", 1), good} {
		if resp, _ := w.post(t, body, nil); resp.StatusCode == 200 {
			t.Errorf("%s is answered", body)
		}
	}
	if err := w.Routes.Delete(t.Context(), operator, theModel); err != nil {
		t.Fatal(err)
	}
	if got := w.tallies(t); got != (shadow.Tally{}) || aside.asked.Load() > 0 {
		t.Errorf("%+v", got)
	}
}

// TestHangingShadowCostsNothing has a shadow that never answers: every caller is answered
// meanwhile, what it is too slow for is dropped, and the route ends without it.
func TestHangingShadowCostsNothing(t *testing.T) {
	hang := make(chan bool)
	stuck := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-hang:
		case <-r.Context().Done():
		}
	}))
	defer stuck.Close()
	defer close(hang)
	model := newScorer(t, "1,2")
	w := newWorld(t, t.TempDir())
	w.onServers(t, []*scorer{model}, func(s *route.Spec) { s.Shadow = stuck.URL })
	for range 100 {
		if resp, text := w.post(t, good, nil); resp.StatusCode != 200 {
			t.Fatalf("%d %s", resp.StatusCode, text)
		}
	}
	w.rewrite(t, route.Spec{Rate: "5000000/1m"}) // the shadow goes on
	if got := w.tallies(t); got != (shadow.Tally{}) {
		t.Errorf("noted before it was time: %+v", got)
	}
	if err := w.Routes.Delete(t.Context(), operator, theModel); err != nil {
		t.Fatal(err)
	}
	// 64 wait, 2 are asked, and the rest was dropped.
	if got := w.tallies(t); got.Dropped < 100-64-2 || got.Dropped > 100-64 || got.Asked+got.Failed > 0 {
		t.Errorf("%+v", got)
	}
}
