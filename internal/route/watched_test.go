package route

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/detect"
	"github.com/pavise/pavise/internal/onnx"
	"github.com/pavise/pavise/internal/store"
	"github.com/pavise/pavise/internal/theft"
	"github.com/pavise/pavise/internal/tier"
)

// softmaxCalibration is of clients who ask the model of two numbers and three scores.
func softmaxCalibration(t *testing.T) []byte {
	t.Helper()
	c, err := theft.Calibrate(func(yield func(*theft.Asked, error) bool) {
		for i := range 24 {
			for j := range 60 {
				row := []float64{math.Sin(float64(i + j*j)), math.Cos(float64(i * j))}
				e := []float64{math.Exp(row[0]), math.Exp(2 * row[1]), math.Exp(-row[0])}
				sum := e[0] + e[1] + e[2]
				if !yield(&theft.Asked{Client: fmt.Sprint(i), Input: row, Scores: []float64{e[0] / sum, e[1] / sum, e[2] / sum}, Class: -1}, nil) {
					return
				}
			}
		}
	}, 0.05, 1)
	if err != nil {
		t.Fatal(err)
	}
	text, err := c.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// otherSoftmax takes and gives what softmaxModel does, and says something else.
func otherSoftmax() []byte {
	other := onnx.NewWriter("other")
	weights := other.Floats("w", []int{2, 3}, []float32{0, 1, 2, -1, 0, 1})
	other.Node("Softmax", "scores", []string{other.Node("MatMul", "z", []string{other.Input("x", 2), weights})})
	other.Output("scores", 3)
	return other.Bytes()
}

// exec changes the store behind the table's back.
func (w *world) exec(t *testing.T, query string, args ...any) {
	t.Helper()
	if err := w.db.Update(t.Context(), func(tx *store.Tx) error { _, err := tx.Exec(query, args...); return err }); err != nil {
		t.Fatal(err)
	}
}

// fill makes so many other routes like the model's, in the store.
func (w *world) fill(t *testing.T, n int) {
	t.Helper()
	for i := range n {
		w.exec(t, `INSERT INTO gateway_routes SELECT 'local/model/other-' || ?, replace(route, '"local/model/m"', '"local/model/other-' || ? || '"') FROM gateway_routes WHERE name = ?`, i, i, theModel.String())
	}
}

// unwatched are the notes of routes whose callers nobody looks at.
func (w *world) unwatched() (notes []string) {
	for _, r := range w.log.Records(0, w.log.Size()) {
		if r.Kind == KindUnwatched {
			notes = append(notes, r.On.ID+" "+string(r.Detail))
		}
	}
	return notes
}

// TestOneCalibrationTooMany: one route more than there is room for with a calibration is refused; one that is in the
// store all the same keeps no gateway from starting, answers, and is said.
func TestOneCalibrationTooMany(t *testing.T) {
	dir := t.TempDir()
	w := newWorld(t, dir)
	calibration := softmaxCalibration(t)
	w.put(t, func(s *Spec) { s.Calibration = calibration })
	w.fill(t, tier.MaxWatched-1)
	w.close()
	w = newWorld(t, dir)
	if notes := w.unwatched(); len(notes) != 0 {
		t.Fatalf("%q", notes)
	}
	_, err := w.Put(t.Context(), operator, Spec{Name: "local/model/one-more", ONNX: softmaxModel(), Calibration: calibration})
	if pavise.KindOf(err) != pavise.Invalid || !strings.Contains(err.Error(), "no more can be") || w.Has(pavise.Name{Tenant: tenant, Kind: "model", ID: "one-more"}) {
		t.Errorf("the last: %v", err)
	}
	if plan := w.planTooMany(t); !strings.Contains(plan.Warning, "no more can be") || plan.Will.Calibration != "" {
		t.Errorf("%+v", plan)
	}
	for _, name := range []string{"late", "zlater"} { // for the model itself has none any more
		w.exec(t, `INSERT INTO gateway_routes SELECT 'local/model/' || ?, replace(route, '"local/model/other-1"', '"local/model/' || ? || '"') FROM gateway_routes WHERE name = 'local/model/other-1'`, name, name)
	}
	w.close()
	w = newWorld(t, dir)
	notes := w.unwatched()
	if len(notes) != 1 || !strings.Contains(notes[0], "nobody looks for those who copy") || !strings.Contains(notes[0], `"severity":"warning"`) {
		t.Errorf("the notes are %q", notes)
	}
	for l := range w.All() {
		if l.Predictor == nil {
			t.Errorf("%s does not answer", l.Model)
		}
	}
}

// planTooMany releases another model behind a calibrated name, fills the room of its calibration
// meanwhile, and plans the way back.
func (w *world) planTooMany(t *testing.T) ReleasePlan {
	t.Helper()
	w.change(t, Spec{ONNX: otherSoftmax()})
	table := *w.live.Load()
	one := *table[pavise.Name{Tenant: tenant, Kind: "model", ID: "other-1"}]
	one.Model.ID = "meanwhile"
	table[one.Model] = &one
	defer delete(table, one.Model)
	plan, err := w.PlanRollback(t.Context(), theModel)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// TestWayBackOfCalibrations goes back to a model whose calibration is of another version, or
// was changed, or that had none, or whose amber the terms of today do not allow: it comes back,
// and the plan says what is otherwise. The gateway starts afterwards.
func TestWayBackOfCalibrations(t *testing.T) {
	calibration := softmaxCalibration(t)
	older := bytes.Replace(calibration, []byte(`"pavise.calibration/6"`), []byte(`"pavise.calibration/1"`), 1)
	for name, c := range map[string]struct {
		before  func(t *testing.T, w *world) // the release of another model
		after   func(t *testing.T, w *world)
		warning string
		watched bool
	}{
		"as it was": {watched: true},
		"changed": {after: func(t *testing.T, w *world) {
			w.exec(t, `UPDATE gateway_models SET onnx = ? WHERE onnx = ?`, older, calibration)
		}, warning: "cannot be used"},
		"gone": {after: func(t *testing.T, w *world) { w.exec(t, `DELETE FROM gateway_models WHERE onnx = ?`, calibration) }, warning: "cannot be used"},
		"none then": {
			before:  func(t *testing.T, w *world) { w.change(t, Spec{Calibration: []byte("none")}) },
			after:   func(t *testing.T, w *world) { w.change(t, Spec{Calibration: calibration}) },
			warning: "had no calibration",
		},
		"no altered answers now": {
			before:  func(t *testing.T, w *world) { w.change(t, Spec{Alterable: new(true), Amber: "label"}) },
			after:   func(t *testing.T, w *world) { w.change(t, Spec{Alterable: new(false), Amber: "budget"}) },
			warning: "do not get what they got then", watched: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			w := newWorld(t, dir)
			w.put(t, func(s *Spec) { s.Calibration = calibration })
			if c.before != nil {
				c.before(t, w)
			}
			w.change(t, Spec{ONNX: otherSoftmax()})
			if c.after != nil {
				c.after(t, w)
			}
			plan, err := w.PlanRollback(t.Context(), theModel)
			if err != nil || c.warning == "" && plan.Warning != "" || !strings.Contains(plan.Warning, c.warning) {
				t.Fatalf("%q, %v", plan.Warning, err)
			}
			if err := w.Rollback(t.Context(), changing(), theModel, plan.Before, unmarked); err != nil {
				t.Fatal(err)
			}
			w.close()
			w = newWorld(t, dir)
			if now := w.current(theModel.String()); now.ONNX != plan.Model || (now.Calibration != "") != c.watched || now.Amber != "" {
				t.Errorf("%+v", now)
			}
			if notes := w.unwatched(); len(notes) != 0 {
				t.Errorf("%q", notes)
			}
		})
	}
}

// TestCalibrationOfAnotherVersion: a stored calibration that this version does not read keeps no
// gateway from starting.
func TestCalibrationOfAnotherVersion(t *testing.T) {
	dir := t.TempDir()
	w := newWorld(t, dir)
	calibration := softmaxCalibration(t)
	w.put(t, func(s *Spec) { s.Calibration = calibration })
	older := bytes.Replace(calibration, []byte(`"pavise.calibration/6"`), []byte(`"pavise.calibration/1"`), 1)
	w.exec(t, `INSERT INTO gateway_models VALUES (?, ?)`, digestOf(older), older)
	w.exec(t, `UPDATE gateway_routes SET route = replace(route, ?, ?)`, digestOf(calibration), digestOf(older))
	w.close()
	w = newWorld(t, dir)
	if notes := w.unwatched(); len(notes) != 1 || !strings.Contains(notes[0], "pavise.calibration/1") {
		t.Errorf("%q", notes)
	}
}

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// looked reports whether the callers of the model are looked at.
func (w *world) looked() bool {
	w.tiers.See(&detect.Observation{Model: theModel}) // of no rows, which fit no calibration
	return w.tiers.Odd()[theModel] > 0
}

// TestAdoptCalibrationOfAnotherVersion: of two routes that a control plane tells, one has a
// calibration that this version does not read. Both are adopted, the quarantine holds, nobody
// is looked at by the calibration of before, and a note says so, once. A calibration that is
// not the one that its route names is an error.
func TestAdoptCalibrationOfAnotherVersion(t *testing.T) {
	calibration := softmaxCalibration(t)
	older := bytes.Replace(calibration, []byte(`"pavise.calibration/6"`), []byte(`"pavise.calibration/3"`), 1)
	from, to := newWorld(t, t.TempDir()), newWorld(t, t.TempDir())
	from.put(t, func(s *Spec) { s.Calibration = calibration })
	bytesOf := func(digest string) ([]byte, error) {
		if digest == digestOf(older) {
			return older, nil
		}
		return from.Model(t.Context(), digest)
	}
	watched := from.Standings()[0]
	if err := to.Adopt(t.Context(), []Standing{watched}, 1, bytesOf); err != nil || !to.looked() {
		t.Fatalf("the callers are not looked at: %v", err)
	}
	unread, other := watched, watched
	unread.Calibration = digestOf(older)
	other.Model.ID, other.Calibration, other.Quarantined = "other", "", true
	for range 2 {
		if err := to.Adopt(t.Context(), []Standing{unread, other}, 1, bytesOf); err != nil {
			t.Fatal(err)
		}
	}
	if !to.Has(other.Model) || !to.Quarantined(other.Model) || to.current(theModel.String()).Calibration != digestOf(older) {
		t.Errorf("%+v", to.Standings())
	}
	if notes := to.unwatched(); len(notes) != 1 || !strings.Contains(notes[0], "another version") || to.looked() {
		t.Errorf("%q, or somebody is looked at", notes)
	}
	forged := unread
	forged.Calibration = digestOf([]byte("another"))
	err := to.Adopt(t.Context(), []Standing{forged, other}, 1, func(string) ([]byte, error) { return older, nil })
	if pavise.KindOf(err) != pavise.Unverified {
		t.Errorf("a calibration that is not the one named: %v", err)
	}
}

// TestAdoptFiveHundredCalibrations: a control plane tells of 500 routes with three calibrations,
// and the callers of all are looked at; of more than there is room for, all routes are adopted, the
// last by name are not looked at, and that is said.
func TestAdoptFiveHundredCalibrations(t *testing.T) {
	calibration := softmaxCalibration(t)
	from, to := newWorld(t, t.TempDir()), newWorld(t, t.TempDir())
	from.put(t, func(s *Spec) { s.Calibration = calibration })
	files := map[string][]byte{digestOf(calibration): calibration}
	for _, space := range []string{"\n", "\n\n"} { // the same in other bytes
		b := append(bytes.Clone(calibration), space...)
		files[digestOf(b)] = b
	}
	bytesOf := func(digest string) ([]byte, error) {
		if b := files[digest]; b != nil {
			return b, nil
		}
		return from.Model(t.Context(), digest)
	}
	var all []Standing
	digests := slices.Sorted(maps.Keys(files))
	for i := range 600 {
		one := from.Standings()[0]
		one.Model.ID, one.Calibration = fmt.Sprintf("m-%04d", i), digests[i/200]
		all = append(all, one)
	}
	odd := func() int {
		for _, s := range all {
			to.tiers.See(&detect.Observation{Model: s.Model}) // of no rows, which fit no calibration
		}
		return len(to.tiers.Odd())
	}
	if err := to.Adopt(t.Context(), all[:500], 1, bytesOf); err != nil || odd() != 500 || len(to.unwatched()) != 0 {
		t.Fatalf("%v; %q", err, to.unwatched())
	}
	if err := to.Adopt(t.Context(), all, 1, bytesOf); err != nil || odd() != tier.MaxWatched || to.Len() != 600 {
		t.Fatalf("%v; %d routes", err, to.Len())
	}
	notes := to.unwatched()
	if len(notes) != 600-tier.MaxWatched || !strings.HasPrefix(notes[0], fmt.Sprintf("m-%04d ", tier.MaxWatched)) || !strings.Contains(notes[0], "no more can be") {
		t.Errorf("%d notes, the first %q", len(notes), notes[0])
	}
}

// TestAMeasureOfBeforeEnds: what a route was given for callers in amber, before it was refused
// there, stands in the way of no other change: it ends, and that is said.
func TestAMeasureOfBeforeEnds(t *testing.T) {
	dir := t.TempDir()
	w := newWorld(t, dir)
	w.put(t, func(s *Spec) { s.Alterable, s.Shape = new(true), "label" })
	w.exec(t, `UPDATE gateway_routes SET route = json_set(route, '$.amber', 'guard')`)
	w.close()
	w = newWorld(t, dir)
	if l, err := w.Find(theModel); err != nil || l.Amber != "guard" || l.ForAmber.Alters() {
		t.Fatalf("%+v, %v", l, err)
	}
	if _, err := w.Put(t.Context(), operator, Spec{Name: theModel.String(), MaxRows: 10, Amber: "guard"}); pavise.KindOf(err) != pavise.Invalid {
		t.Errorf("it is taken anew: %v", err)
	}
	placed, err := w.Put(t.Context(), operator, Spec{Name: theModel.String(), MaxRows: 10})
	if err != nil || placed.Route.Amber != "" || placed.Route.MaxRows != 10 || !strings.HasPrefix(placed.Warning, "guard, which callers in amber got, ended") {
		t.Errorf("%+v, %v", placed, err)
	}
	if placed, err = w.Put(t.Context(), operator, Spec{Name: theModel.String(), MaxRows: 11}); err != nil || placed.Warning != "" {
		t.Errorf("again: %+v, %v", placed, err)
	}
}
