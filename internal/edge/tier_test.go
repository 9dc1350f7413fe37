package edge_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/edgetest"
	"github.com/pavise/pavise/internal/gateway"
	"github.com/pavise/pavise/internal/issuer"
	"github.com/pavise/pavise/internal/onnx"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/route"
	"github.com/pavise/pavise/internal/theft"
	"github.com/pavise/pavise/internal/tier"
)

const (
	tableColumns  = 6
	tableClusters = 8
	tableClasses  = 4
)

// A table is a made-up one: where its clusters lie, and the weights of a model of it.
var table = sync.OnceValue(func() (t struct {
	at      [tableClusters][tableColumns]float64
	weights []float32
}) {
	rng := rand.New(rand.NewPCG(4, 2))
	for k := range t.at {
		for j := range t.at[k] {
			t.at[k][j] = 2 * rng.NormFloat64()
		}
	}
	for range tableColumns * tableClasses {
		t.weights = append(t.weights, float32(0.6*rng.NormFloat64()))
	}
	return t
})

// tableModel is the model as ONNX, and tableScores what it says.
func tableModel() []byte {
	w := onnx.NewWriter("table")
	weights := w.Floats("w", []int{tableColumns, tableClasses}, table().weights)
	w.Node("Softmax", "scores", []string{w.Node("MatMul", "z", []string{w.Input("x", tableColumns), weights})})
	w.Output("scores", tableClasses)
	return w.Bytes()
}

func tableScores(row []float64) []float64 {
	p, sum := make([]float64, tableClasses), 0.0
	for k := range p {
		for j, v := range row {
			p[k] += v * float64(table().weights[j*tableClasses+k])
		}
		p[k] = math.Exp(p[k])
		sum += p[k]
	}
	for k := range p {
		p[k] /= sum
	}
	return p
}

// Clients of the table give their next row.
type client func() []float64

// honest asks for some clusters more than for others.
func honest(seed uint64) client {
	rng := rand.New(rand.NewPCG(seed, 2))
	own := 2 + rng.IntN(tableClusters-1)
	return func() []float64 {
		k, row := rng.IntN(own), make([]float64, tableColumns)
		for j := range row {
			row[j] = float64(float32(table().at[k][j] + 0.5*rng.NormFloat64()))
		}
		return row
	}
}

// noise is of the size of rows, and no row.
func noise(seed uint64) client {
	rng := rand.New(rand.NewPCG(seed, 3))
	return func() []float64 {
		row := make([]float64, tableColumns)
		for j := range row {
			row[j] = float64(float32(8*rng.Float64() - 4))
		}
		return row
	}
}

// jbda begins with some rows of an honest client, and steps away from those and from what
// it stepped to (Papernot et al., "Practical Black-Box Attacks against Machine Learning").
func jbda(seed uint64) client {
	rng, use := rand.New(rand.NewPCG(seed, 5)), honest(seed)
	var rows [][]float64
	return func() []float64 {
		if len(rows) < 40 {
			rows = append(rows, use())
			return rows[len(rows)-1]
		}
		row := slices.Clone(rows[len(rows)-40])
		for j := range row {
			row[j] = float64(float32(row[j] + 0.1*float64(2*rng.IntN(2)-1)))
		}
		rows = append(rows, row)
		return row
	}
}

// calibrationFile is a calibration of generated honest clients, as its file.
var calibrationFile = sync.OnceValues(func() ([]byte, error) {
	c, err := theft.Calibrate(func(yield func(*theft.Asked, error) bool) {
		for i := range 60 {
			next := honest(uint64(i))
			for range 300 {
				row := next()
				if !yield(&theft.Asked{Client: fmt.Sprint(i), Input: row, Scores: tableScores(row), Class: -1}, nil) {
					return
				}
			}
		}
	}, 0.02, 1)
	if err != nil {
		return nil, err
	}
	return c.Marshal()
})

// watchedWorld has a route to the table's model whose callers are looked at.
func watchedWorld(t *testing.T, edit func(*route.Spec)) *edgetest.World {
	t.Helper()
	w := edgetest.New(t)
	file, err := calibrationFile()
	if err != nil {
		t.Fatal(err)
	}
	w.Put(t, func(s *route.Spec) {
		s.ONNX, s.Calibration, s.Rate, s.Budget = tableModel(), file, "100000/1s burst 100000", "1000000/24h"
		if edit != nil {
			edit(s)
		}
	})
	ctx, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() {
		if err := w.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { stop(); all.Wait() })
	return w
}

// A visitor is somebody who asks over HTTP.
type visitor struct {
	*edgetest.World
	name  pavise.Name
	token string
}

func visit(t *testing.T, w *edgetest.World, id string) visitor {
	return visitor{w, pavise.Name{Tenant: edgetest.Tenant, Kind: "workload", ID: id}, w.Mint(t, id, issuer.RoleCaller)}
}

// ask asks rows in one request.
func (v visitor) ask(t *testing.T, rows ...[]float64) (*http.Response, string) {
	t.Helper()
	data, err := json.Marshal(slices.Concat(rows...))
	if err != nil {
		t.Fatal(err)
	}
	body := fmt.Sprintf(`{"inputs":[{"name":"x","shape":[%d,%d],"datatype":"FP32","data":%s}]}`, len(rows), tableColumns, data)
	return v.Post(t, "/v2/models/m/infer", body, func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+v.token) })
}

// rows asks for rows of a client, ten at once, until it is amber, and returns how many that
// took, or 0. It gives the detector the time to look at each.
func (v visitor) rows(t *testing.T, next client, most int) int {
	t.Helper()
	for n := 10; n <= most; n += 10 {
		var batch [][]float64
		for range 10 {
			batch = append(batch, next())
		}
		if resp, text := v.ask(t, batch...); resp.StatusCode != 200 {
			t.Fatalf("%d %s", resp.StatusCode, text)
		}
		if n%50 != 0 {
			continue
		}
		for range 40 { // long for what takes a millisecond, and short for a person
			if v.Tiers.Of(edgetest.Model, v.name) != tier.Green {
				return n
			}
			time.Sleep(time.Millisecond)
		}
	}
	return 0
}

// found is rows of a thief who is to be found: on a machine that has much to do the
// detector may come to look at the last rows late.
func (v visitor) found(t *testing.T, next client, most int) int {
	t.Helper()
	if n := v.rows(t, next, most); n != 0 {
		return n
	}
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if v.Tiers.Of(edgetest.Model, v.name) != tier.Green {
			return most
		}
	}
	return 0
}

func (w wrapped) detail(t *testing.T, resp *http.Response) (record.Record, gateway.Trail) {
	t.Helper()
	r := w.Record(t, resp)
	var trail gateway.Trail
	if err := json.Unmarshal(r.Detail, &trail); err != nil {
		t.Fatal(err)
	}
	return r, trail
}

type wrapped struct{ *edgetest.World }

// numbersOf are the scores of an answer, and the answer without them.
func numbersOf(t *testing.T, text string) (scores []float64, rest string) {
	t.Helper()
	from := strings.Index(text, `"data":[`) + len(`"data":[`)
	to := from + strings.Index(text[from:], "]")
	if err := json.Unmarshal([]byte("["+text[from:to]+"]"), &scores); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return scores, text[:from] + text[to:]
}

// TestTheftThroughTheDoor has held-out honest clients and thieves ask over HTTP: the
// thieves are in amber soon, the honest ones stay in green. Who draws its rows as honest
// clients do is none that is found: what happens is said.
func TestTheftThroughTheDoor(t *testing.T) {
	w := watchedWorld(t, nil)
	for name, next := range map[string]client{"noise": noise(7), "jbda": jbda(1007)} {
		v := visit(t, w, name)
		if n := v.found(t, next, 300); n == 0 {
			t.Errorf("%s is not found in 300 rows", name)
		} else {
			s, _ := w.Tiers.Get(edgetest.Model, v.name)
			t.Logf("%s is in amber after %d rows: %s", name, n, s.Evidence.Evidence)
		}
	}
	for i := range 12 {
		if n := visit(t, w, fmt.Sprint("honest-", i)).rows(t, honest(uint64(2000+i)), 300); n != 0 {
			t.Errorf("an honest client is in amber after %d rows", n)
		}
	}
	if n := visit(t, w, "mimic").rows(t, honest(3), 500); n != 0 {
		t.Errorf("a thief who asks what a client of the calibration asked is found after %d rows, and docs/theft.md says that it is not", n)
	}
	for _, r := range records(t, w) {
		if r.Kind == "firewall.suspected" && !strings.Contains(string(r.Detail), `"detector":"extraction"`) {
			t.Errorf("%s", r.Detail)
		}
	}
}

func records(t *testing.T, w *edgetest.World) (all []record.Record) {
	t.Helper()
	for _, r := range w.Log.Records(0, w.Log.Size()) {
		all = append(all, r)
	}
	return all
}

// TestAmberTellsNothing compares what two callers get for the same rows, one of whom is in
// amber on an alterable route: all but the numbers is alike, no number has more digits, and
// the top class is the same. The record has what was done, and keeps the model's answer.
func TestAmberTellsNothing(t *testing.T) {
	w := watchedWorld(t, func(s *route.Spec) { s.Alterable = new(true) })
	green, eve := visit(t, w, "green"), visit(t, w, "eve")
	if n := eve.found(t, noise(1), 300); n == 0 {
		t.Fatal("the thief is not found")
	}
	next, differ, unlike := honest(5), 0, 0
	for range 40 {
		row := next()
		one, a := green.ask(t, row)
		two, b := eve.ask(t, row)
		if one.StatusCode != 200 || two.StatusCode != 200 {
			t.Fatalf("%d and %d", one.StatusCode, two.StatusCode)
		}
		for _, h := range []http.Header{one.Header, two.Header} { // these tell one request from the next
			for _, name := range []string{"Date", "Pavise-Record"} {
				h.Del(name)
			}
		}
		if fmt.Sprint(one.Header) != fmt.Sprint(two.Header) {
			t.Errorf("headers %v and %v", one.Header, two.Header)
		}
		p, rest := numbersOf(t, a)
		q, rest2 := numbersOf(t, b)
		if strings.TrimRight(rest, " ") != strings.TrimRight(rest2, " ") || len(p) != len(q) {
			t.Errorf("%s and %s", a, b)
		}
		if slices.Index(p, slices.Max(p)) != slices.Index(q, slices.Max(q)) {
			t.Errorf("another class is on top: %v and %v", p, q)
		}
		for _, v := range q {
			if math.Abs(v*1e4-math.Round(v*1e4)) > 1e-6 || v < 0 || v > 1 {
				t.Errorf("a score %v", v)
			}
		}
		if !slices.Equal(p, q) {
			differ++
		}
		if len(a) != len(b) {
			unlike++
		}
	}
	if differ < 38 || unlike > 0 {
		t.Errorf("%d of 40 answers were altered, %d have another length than those to callers in green", differ, unlike)
	}
	resp, _ := eve.ask(t, next())
	r, trail := wrapped{w}.detail(t, resp)
	if trail.Standing != "amber" || !trail.Altered || trail.Truth == "" || !slices.ContainsFunc(r.Verdicts, func(v pavise.Verdict) bool {
		return v.Check == "tier" && v.Outcome == pavise.Alter && v.Reason == "guard"
	}) {
		t.Errorf("%s %v", r.Detail, r.Verdicts)
	}
	resp, _ = green.ask(t, next())
	if _, trail := (wrapped{w}).detail(t, resp); trail.Standing != "" || trail.Altered {
		t.Errorf("green: %+v", trail)
	}
}

// TestAmberInBatches asks for batches of all sizes that the route has over HTTP, beyond what
// is guarded in time, too: the answer to a caller in amber has the length of that in green, in
// every protocol, and no row of it is the model's.
func TestAmberInBatches(t *testing.T) {
	w := watchedWorld(t, func(s *route.Spec) { s.Alterable, s.MaxRows = new(true), 8192 })
	green, eve := visit(t, w, "green"), visit(t, w, "eve")
	word := tier.Word{Model: edgetest.Model, Who: eve.name, Tier: tier.Amber, By: edgetest.Operator.Name(), Reason: "a test"}
	if _, err := w.Tiers.Hold(t.Context(), word); err != nil {
		t.Fatal(err)
	}
	for _, rows := range []int{1, 205, 512, 4097, 8192} {
		var batch [][]float64
		for next := honest(uint64(rows)); len(batch) < rows; {
			batch = append(batch, next())
		}
		one, a := green.ask(t, batch...)
		two, b := eve.ask(t, batch...)
		if one.StatusCode != 200 || two.StatusCode != 200 || len(a) != len(b) {
			t.Fatalf("%d rows: %d and %d, %d and %d letters", rows, one.StatusCode, two.StatusCode, len(a), len(b))
		}
		p, _ := numbersOf(t, a)
		q, _ := numbersOf(t, b)
		for at := 0; at < len(p); at += tableClasses {
			away := 0.0
			for k, v := range p[at : at+tableClasses] {
				away += math.Abs(v - q[at+k])
			}
			if top := slices.Index(p[at:at+tableClasses], slices.Max(p[at:at+tableClasses])); away < 0.01 || slices.Index(q[at:at+tableClasses], slices.Max(q[at:at+tableClasses])) != top {
				t.Fatalf("row %d of %d: %v of %v", at/tableClasses, rows, q[at:at+tableClasses], p[at:at+tableClasses])
			}
		}
		if rows > 512 {
			continue
		}
		data, _ := json.Marshal(map[string]any{"instances": batch})
		lengths := [2]int{}
		for i, v := range []visitor{green, eve} {
			resp, text := v.Post(t, "/v1/models/m:predict", string(data), func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+v.token) })
			if resp.StatusCode != 200 || !json.Valid([]byte(text)) {
				t.Fatalf("%d %.100s", resp.StatusCode, text)
			}
			lengths[i] = len(text)
		}
		if lengths[0] != lengths[1] {
			t.Errorf("%d rows of v1: %d and %d letters", rows, lengths[0], lengths[1])
		}
	}
}

// TestAmberWithoutConsent: where the owner does not let answers be altered, callers in
// amber get the model's, on a quarter of the rate, and nobody else does.
func TestAmberWithoutConsent(t *testing.T) {
	w := watchedWorld(t, func(s *route.Spec) { s.Rate = "4000/1h burst 4000"; s.Purpose = "security" })
	green, eve := visit(t, w, "green"), visit(t, w, "eve")
	if n := eve.found(t, noise(1), 300); n == 0 {
		t.Fatal("the thief is not found")
	}
	next := honest(5)
	row := next()
	_, a := green.ask(t, row)
	_, b := eve.ask(t, row)
	if a != b {
		t.Errorf("%s and %s", a, b)
	}
	asked, refused := 0, (*http.Response)(nil)
	for ; asked < 1000 && refused == nil; asked += 10 {
		var batch [][]float64
		for range 10 {
			batch = append(batch, next())
		}
		resp, text := eve.ask(t, batch...)
		if resp.StatusCode == http.StatusTooManyRequests {
			refused = resp
			if resp.Header.Get("Retry-After") == "" || strings.Contains(text, "amber") || !strings.Contains(text, "1000 rows per 1h,") {
				t.Errorf("%v %s", resp.Header, text)
			}
		}
	}
	if refused == nil || asked > 1000 {
		t.Errorf("refused after %d rows", asked)
	}
	if resp, text := green.ask(t, row); resp.StatusCode != 200 {
		t.Errorf("green: %d %s", resp.StatusCode, text)
	}
}

// TestRedIsRefused: visibly, by an operator's word, with no measure in it; once lifted, the
// caller is answered as before.
func TestRedIsRefused(t *testing.T) {
	w := watchedWorld(t, nil)
	eve := visit(t, w, "eve")
	word := tier.Word{Model: edgetest.Model, Who: eve.name, Tier: tier.Red, By: edgetest.Operator.Name(), Reason: "it copies our model"}
	if _, err := w.Tiers.Hold(t.Context(), word); err != nil {
		t.Fatal(err)
	}
	resp, text := eve.ask(t, honest(1)())
	if resp.StatusCode != http.StatusForbidden || !strings.Contains(text, "does not answer you for now") || strings.Contains(text, "copies") {
		t.Errorf("%d %s", resp.StatusCode, text)
	}
	if r, trail := (wrapped{w}).detail(t, resp); trail.Standing != "red" || trail.Charged != 0 || r.Error == nil {
		t.Errorf("%s", r.Detail)
	}
	if _, err := w.Tiers.Lift(t.Context(), word); err != nil {
		t.Fatal(err)
	}
	if resp, text := eve.ask(t, honest(1)()); resp.StatusCode != 200 {
		t.Errorf("lifted: %d %s", resp.StatusCode, text)
	}
}
