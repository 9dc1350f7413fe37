package gateway

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/onnx"
	"github.com/pavise/pavise/internal/parts"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/route"
	"github.com/pavise/pavise/internal/tier"
	"github.com/pavise/pavise/internal/watermark"
)

// wideModel takes so many numbers and gives so many scores.
func wideModel(columns, classes int) []byte {
	rng := rand.New(rand.NewPCG(uint64(columns), uint64(classes)))
	list := make([]float32, columns*classes)
	for i := range list {
		list[i] = float32(2 * rng.NormFloat64() / math.Sqrt(float64(columns)))
	}
	w := onnx.NewWriter("wide")
	w.Node("Softmax", "scores", []string{w.Node("MatMul", "z", []string{w.Input("x", columns), w.Floats("w", []int{columns, classes}, list)})})
	w.Output("scores", classes)
	return w.Bytes()
}

// putWide puts a route to such a model, with room for many rows.
func (w *world) putWide(t *testing.T, columns, classes int, edit func(*route.Spec)) {
	t.Helper()
	w.put(t, func(s *route.Spec) {
		s.ONNX, s.Alterable, s.MaxRows = wideModel(columns, classes), new(true), 1<<16
		s.Rate, s.Budget, s.ModelBudget = "1000000/1s burst 1000000", "1000000/1h", "1000000/1h"
		if edit != nil {
			edit(s)
		}
	})
}

// manyClasses is a model server that gives so many scores for each row, always the same.
func manyClasses(t *testing.T, classes int) (url string, sig json.RawMessage) {
	rng := rand.New(rand.NewPCG(1, uint64(classes)))
	row, sum := make([]float64, classes), 0.0
	for k := range row {
		row[k] = math.Exp(3 * rng.NormFloat64())
		sum += row[k]
	}
	for k := range row {
		row[k] /= sum
	}
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		var asked struct{ Inputs []struct{ Shape []int } }
		if err := json.NewDecoder(r.Body).Decode(&asked); err != nil || len(asked.Inputs) != 1 {
			http.NotFound(rw, r)
			return
		}
		rows := asked.Inputs[0].Shape[0]
		data, _ := json.Marshal(slices.Repeat(row, rows))
		rw.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(rw, `{"model_name":"m","outputs":[{"name":"scores","shape":[%d,%d],"datatype":"FP64","data":%s}]}`, rows, classes, data)
	}))
	t.Cleanup(server.Close)
	return server.URL, json.RawMessage(fmt.Sprintf(`{"inputs":[{"name":"x","datatype":"FP32","shape":[-1,2]}],"outputs":[{"name":"scores","datatype":"FP64","shape":[-1,%d]}]}`, classes))
}

// drawnRows is a request of so many rows, which seed chooses.
func drawnRows(rows, columns int, seed uint64) string {
	rng := rand.New(rand.NewPCG(seed, 9))
	list := make([]float32, rows*columns)
	for i := range list {
		list[i] = float32(rng.NormFloat64())
	}
	data, _ := json.Marshal(list)
	return fmt.Sprintf(`{"inputs":[{"name":"x","shape":[%d,%d],"datatype":"FP32","data":%s}]}`, rows, columns, data)
}

// scoresIn are those of an answer.
func scoresIn(t *testing.T, text string) []float64 {
	t.Helper()
	var answer struct{ Outputs []struct{ Data []float64 } }
	if err := json.Unmarshal([]byte(text), &answer); err != nil || len(answer.Outputs) != 1 {
		t.Fatalf("%.200s: %v", text, err)
	}
	return answer.Outputs[0].Data
}

// sealedOf opens what is kept of an exchange, and holds the truth in it to its commitment.
func (w *world) sealedOf(t *testing.T, resp *http.Response) (record.Record, Trail, kept) {
	t.Helper()
	r := w.record(t, resp)
	var trail Trail
	if err := json.Unmarshal(r.Detail, &trail); err != nil {
		t.Fatal(err)
	}
	plain, err := w.open(t, r)
	if err != nil {
		t.Fatal(err)
	}
	var own kept
	if err := json.Unmarshal(plain, &own); err != nil {
		t.Fatal(err)
	}
	for sum, text := range map[string][]byte{trail.Truth: own.Truth, trail.Marks: own.Marks} {
		if h := sha256.Sum256(slices.Concat(own.Salt, text)); sum != "" && hex.EncodeToString(h[:]) != sum {
			t.Errorf("what is kept, %.80s, is not what is committed to", text)
		}
	}
	return r, trail, own
}

// TestBatchesInAmber asks for many rows and many classes at once, in green and in amber: no
// row is the true one, whatever the size; the text is as long, and has as many digits; and
// the log keeps all of what the model said.
func TestBatchesInAmber(t *testing.T) {
	for _, c := range []struct{ rows, columns, classes int }{{1, 8, 10}, {205, 8, 10}, {512, 8, 4}, {2100, 8, 10}, {2, 2, 16_384}, {1, 2, 100_000}} {
		t.Run(fmt.Sprintf("%dx%d", c.rows, c.classes), func(t *testing.T) {
			w := newWorld(t, t.TempDir())
			w.putWide(t, c.columns, min(c.classes, 16_384), func(s *route.Spec) {
				if s.Shape = "round:6"; c.classes > 16_384 {
					s.ONNX = nil
					s.Upstream, s.Signature = manyClasses(t, c.classes)
				}
			})
			body := drawnRows(c.rows, c.columns, 1)
			_, before := w.post(t, body, nil)
			w.inTier(t, app, tier.Amber)
			resp, after := w.post(t, body, nil)
			if resp.StatusCode != 200 || len(before) != len(after) {
				t.Fatalf("%d, %d letters and not %d: %.100s", resp.StatusCode, len(after), len(before), after)
			}
			truth, given := scoresIn(t, before), scoresIn(t, after)
			fine, moved := [2]int{}, 0.0
			for at := 0; at < len(truth); at += c.classes {
				p, q := truth[at:at+c.classes], given[at:at+c.classes]
				away := 0.0
				for k := range p {
					away += math.Abs(p[k] - q[k])
					fine[0] += fineDigits(p[k])
					fine[1] += fineDigits(q[k])
				}
				moved += away
				// How far a row is moved is drawn with the route's key: here and there one hardly is.
				if top := slices.Index(p, slices.Max(p)); slices.Index(q, slices.Max(q)) != top || away < 1e-3 {
					t.Fatalf("row %d: %.80v of %.80v", at/c.classes, q, p)
				}
			}
			if moved < 0.2*float64(c.rows) {
				t.Errorf("%d rows are moved by %.3f in all", c.rows, moved)
			}
			if fine[1] < fine[0]*8/10 {
				t.Errorf("%d scores have more than two digits, and %d of the true ones", fine[1], fine[0])
			}
			r, trail, own := w.sealedOf(t, resp)
			if !trail.Altered || trail.Standing != "amber" || len(own.Truth) == 0 || r.Error != nil {
				t.Fatalf("%s keeps %d bytes", r.Detail, len(own.Truth))
			}
			for i, v := range scoresIn(t, string(own.Truth)) {
				if math.Abs(v-truth[i]) > 1.1e-6 {
					t.Fatalf("score %d is kept as %v, and was %v", i, v, truth[i])
				}
			}
			if parts := len(trail.Parts); (parts > 0) != (len(own.Truth) > maxInline-100) {
				t.Errorf("%d bytes are kept in %d parts", len(own.Truth), parts)
			}
		})
	}
}

func fineDigits(v float64) int {
	if math.Abs(v*100-math.Round(v*100)) > 1e-9 {
		return 1
	}
	return 0
}

// TestWhatCannotBeKeptReachesNobody: where callers in amber get other answers, one that is
// too long to be kept is refused, in the same words to all.
func TestWhatCannotBeKeptReachesNobody(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.putWide(t, 2, 16_384, nil)
	body := drawnRows(60, 2, 1)
	one, green := w.post(t, body, nil)
	w.inTier(t, app, tier.Amber)
	two, amber := w.post(t, body, nil)
	if one.StatusCode != 400 || two.StatusCode != 400 || !strings.HasPrefix(green, "the answer takes ") || green != amber {
		t.Errorf("%d %s, and %d %s", one.StatusCode, green, two.StatusCode, amber)
	}
	w.change(t, route.Spec{Alterable: new(false)})
	if resp, text := w.post(t, body, nil); resp.StatusCode != 200 {
		t.Errorf("where none is altered: %d %s", resp.StatusCode, text)
	}
}

// TestLabelsHaveABudget: where a route's answers tell the top class alone there is nothing to
// guard. Callers in amber pay four times as much, and no record says that they were told
// another thing than all.
func TestLabelsHaveABudget(t *testing.T) {
	for _, shape := range []string{"label", "round:0"} {
		w := newWorld(t, t.TempDir())
		w.putWide(t, 8, 10, func(s *route.Spec) { s.Shape = shape })
		body := drawnRows(5, 8, 1)
		_, before := w.post(t, body, nil)
		w.inTier(t, app, tier.Amber)
		resp, after := w.post(t, body, nil)
		_, trail, _ := w.sealedOf(t, resp)
		if before != after || trail.Charged != 20 || trail.Standing != "amber" {
			t.Errorf("%s: %s, %+v", shape, after, trail)
		}
		if r := w.record(t, resp); strings.Contains(fmt.Sprint(r.Verdicts), "guard") || shape == "round:0" && trail.Altered {
			t.Errorf("%s: %v, %+v", shape, r.Verdicts, trail)
		}
		if _, err := w.Routes.Put(t.Context(), operator, route.Spec{Name: theModel.String(), Amber: "guard"}); pavise.KindOf(err) != pavise.Invalid || !strings.Contains(err.Error(), "the top class alone") {
			t.Errorf("%s: guard is taken: %v", shape, err)
		}
		w.change(t, route.Spec{Shape: "round:4", Amber: "guard"})
		if _, err := w.Routes.Put(t.Context(), operator, route.Spec{Name: theModel.String(), Shape: shape, Amber: "guard"}); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%s undoes guard: %v", shape, err)
		}
		placed, err := w.Routes.Put(t.Context(), operator, route.Spec{Name: theModel.String(), Shape: shape})
		if err != nil || placed.Route.Amber != "" || !strings.Contains(placed.Warning, "guard, which callers in amber got, ended") {
			t.Errorf("%s ends guard: %+v, %v", shape, placed, err)
		}
	}
}

// TestAlteredMeansOther: what happens to be the same answer as in green is not said to be
// another.
func TestAlteredMeansOther(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.putWide(t, 8, 4, func(s *route.Spec) { s.Amber, s.Shape = "round:6", "round:4" })
	w.inTier(t, app, tier.Amber)
	resp, _ := w.post(t, drawnRows(3, 8, 1), nil)
	if r, trail, own := w.sealedOf(t, resp); trail.Altered || trail.Truth != "" || len(own.Truth) > 0 || strings.Contains(fmt.Sprint(r.Verdicts), "tier") {
		t.Errorf("%s: %v", r.Detail, r.Verdicts)
	}
}

// TestMarksOfWideRows asks for rows of images and of wider ones, 256 at once: all marks that
// the key makes are given, and come out of the log again.
func TestMarksOfWideRows(t *testing.T) {
	for _, columns := range []int{784, 1500} {
		w := newWorld(t, t.TempDir())
		w.putWide(t, columns, 10, func(s *route.Spec) { s.Mark, s.Amber = "0.05", "budget" })
		exporting(t, w)
		w.inTier(t, app, tier.Amber)
		m, err := w.marking(t.Context(), theModel, 0.05)
		if err != nil {
			t.Fatal(err)
		}
		marker, want := m.Key.Marker(), 0
		for seed := range uint64(2) {
			body := drawnRows(256, columns, seed)
			var asked struct{ Inputs []struct{ Data []float64 } }
			if err := json.Unmarshal([]byte(body), &asked); err != nil {
				t.Fatal(err)
			}
			for row := range slices.Chunk(asked.Inputs[0].Data, columns) {
				if f, _ := marker.Fate(row); f.Role != watermark.Plain {
					want++
				}
			}
			resp, text := w.post(t, body, nil)
			if resp.StatusCode != 200 {
				t.Fatalf("%d %s", resp.StatusCode, text)
			}
			if _, trail, own := w.sealedOf(t, resp); len(trail.Parts) < 2 || len(own.Marks) == 0 || len(own.Truth) == 0 {
				t.Errorf("%d parts, %d bytes of marks", len(trail.Parts), len(own.Marks))
			}
		}
		all, err := w.MarksOf(t.Context(), operator, theModel)
		if err != nil || len(all) != 1 || all[0].Rows != want || want < 60 {
			t.Errorf("%d columns: %d marks and controls of %d come back, %v", columns, all[0].Rows, want, err)
		}
	}
}

// TestMarksThatCannotBeGiven are refused when the route is put, and not left out in silence.
func TestMarksThatCannotBeGiven(t *testing.T) {
	w := newWorld(t, t.TempDir())
	for why, input := range map[string]string{
		"at most 131072 numbers":  fmt.Sprintf(`"datatype":"FP32","shape":[-1,%d]`, watermark.MaxColumns+1),
		"only answers to numbers": `"datatype":"BYTES","shape":[-1,1]`,
	} {
		sig := fmt.Sprintf(`{"inputs":[{"name":"x",%s}],"outputs":[{"name":"scores","datatype":"FP32","shape":[-1,3]}]}`, input)
		spec := route.Spec{Name: theModel.String(), Upstream: "http://127.0.0.1:1", Signature: json.RawMessage(sig), Alterable: new(true), Mark: "0.05"}
		if _, err := w.Routes.Put(t.Context(), operator, spec); pavise.KindOf(err) != pavise.Invalid || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v", why, err)
		}
	}
}

// TestPartsAreHeldToTheirRecord: what another note keeps, or the same in another place, is
// not taken for what a record keeps.
func TestPartsAreHeldToTheirRecord(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.putWide(t, 8, 10, nil)
	w.inTier(t, app, tier.Amber)
	resp, _ := w.post(t, drawnRows(900, 8, 1), nil)
	r, trail, _ := w.sealedOf(t, resp)
	if len(trail.Parts) < 2 {
		t.Fatalf("%d parts", len(trail.Parts))
	}
	for name, parts := range map[string][]uint64{
		"in another order": {trail.Parts[1], trail.Parts[0]}, "another record": {0, trail.Parts[1]}, "one that there is not": {1 << 40}, "too many": make([]uint64, parts.Most+1),
	} {
		changed := trail
		changed.Parts = parts
		other := r
		other.Detail = changed.AppendJSON(nil)
		if _, err := w.open(t, other); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
	part, err := w.log.Read(trail.Parts[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.open(t, part); pavise.KindOf(err) != pavise.Invalid || part.Subject != r.Subject || part.Kind != parts.Kind {
		t.Errorf("a part alone: %v", err)
	}
}

// TestWhatDetectorsMissIsNoted: a queue that is full drops requests, and the log says how many,
// once for each time that somebody looks.
func TestWhatDetectorsMissIsNoted(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.put(t, func(s *route.Spec) { s.Rate = "1000/1s burst 1000" })
	for range 70 { // and nothing looks: Run was not called
		if resp, text := w.post(t, good, nil); resp.StatusCode != 200 {
			t.Fatalf("%d %s", resp.StatusCode, text)
		}
	}
	for range 2 {
		w.tellUnseen(t.Context())
	}
	notes := w.notes(t, KindOverlooked, 1)
	if len(notes) != 1 || notes[0].On != theModel || notes[0].Summary != "detectors did not look at 6 answered requests, which came too fast or were too large" {
		t.Errorf("%+v", notes)
	}
	if got := w.Tiers.Unseen(tenant); len(got) != 1 || got[0].Requests != 6 {
		t.Errorf("%+v", got)
	}
}
