package firewall

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	threatdetector "github.com/pavise/pavise/examples/threat-detector"
	"github.com/pavise/pavise/internal/tensor"
)

// flow is the input of the sample model.
var flow = tensor.Port{Name: "flow", Datatype: tensor.FP32, Shape: []int64{-1, int64(len(threatdetector.Card().Features))}}

// flows draws rows of the sample model, of the classes given in turn.
func flows(rng *rand.Rand, n int, classes ...threatdetector.Class) [][]float64 {
	var rows [][]float64
	for i := range n {
		var row []float64
		for _, v := range threatdetector.Rows(rng, classes[i%len(classes)], 1).Row(0) {
			row = append(row, float64(v))
		}
		rows = append(rows, row)
	}
	return rows
}

// requestOf is a request of rows.
func requestOf(port tensor.Port, rows ...[]float64) *tensor.Request {
	shape := []int64{int64(len(rows)), port.Shape[1]}
	return &tensor.Request{Inputs: []tensor.Tensor{{Name: port.Name, Datatype: port.Datatype, Shape: shape, Data: tensor.Data{Floats: slices.Concat(rows...)}}}}
}

// baselineOf measures rows, as somebody does who writes a baseline: by deciles, or by
// the shares between them.
func baselineOf(port tensor.Port, rows [][]float64, exact bool) Baseline {
	b := Baseline{Input: port.Name}
	for j := range int(port.Shape[1]) {
		var column []float64
		for _, row := range rows {
			column = append(column, row[j])
		}
		slices.Sort(column)
		s := Spread{Name: threatdetector.Card().Features[j].Name}
		for i := range 11 {
			s.Quantiles = append(s.Quantiles, column[i*(len(column)-1)/10])
		}
		if exact {
			s.Edges, s.Quantiles = slices.Compact(s.Quantiles), nil
			before := 0
			for _, edge := range s.Edges {
				upTo := sort.Search(len(column), func(i int) bool { return column[i] > edge })
				s.Shares, before = append(s.Shares, float64(upTo-before)/float64(len(column))), upTo
			}
			s.Shares = append(s.Shares, 0)
		}
		b.Features = append(b.Features, s)
	}
	return b
}

// TestDrift watches the sample model: everyday traffic is like everyday traffic, a flood
// is not, and a route that refuses recovers with the first whole window that is well.
func TestDrift(t *testing.T) {
	t.Run("shares", func(t *testing.T) { testDrift(t, true) })
	t.Run("quantiles", func(t *testing.T) { testDrift(t, false) })
}

func testDrift(t *testing.T, exact bool) {
	rng := rand.New(rand.NewPCG(1, 2))
	text, err := json.Marshal(baselineOf(flow, flows(rng, 5000, threatdetector.Normal), exact))
	if err != nil {
		t.Fatal(err)
	}
	var b Baseline
	if err := json.Unmarshal(text, &b); err != nil {
		t.Fatal(err)
	}
	if err := b.Validate([]tensor.Port{flow}); err != nil {
		t.Fatal(err)
	}
	w, now, turns := NewWatch(Drift{DriftDeny, b}, []tensor.Port{flow}), time.Unix(0, 0), 0
	ask := func(n int, classes ...threatdetector.Class) (v pavise.Verdict) {
		for _, row := range flows(rng, n, classes...) {
			turned := false
			if v, turned = w.See(now, requestOf(flow, row)); turned {
				turns++
			}
		}
		return v
	}
	if v := ask(5*windowRows, threatdetector.Normal); v.Outcome != pavise.Allow || v.Reason != "" || turns != 0 {
		t.Fatalf("everyday traffic: %+v, %d turns", v, turns)
	}
	if v := ask(windowRows-1, threatdetector.DoS); v.Outcome != pavise.Allow {
		t.Errorf("denied before the window is whole: %+v", v)
	}
	v := ask(1, threatdetector.DoS)
	if v.Outcome != pavise.Deny || turns != 1 || !strings.Contains(v.Reason, "of the last 1000 rows") {
		t.Errorf("a flood: %+v, %d turns", v, turns)
	}
	if v := ask(windowRows-1, threatdetector.Normal); v.Outcome != pavise.Deny {
		t.Errorf("recovered before the window is whole: %+v", v)
	}
	if v := ask(1, threatdetector.Normal); v.Outcome != pavise.Allow || turns != 2 {
		t.Errorf("did not recover: %+v, %d turns", v, turns)
	}
}

// TestDriftAlarm lets everything pass, and says what has moved.
func TestDriftAlarm(t *testing.T) {
	port := tensor.Port{Name: "x", Datatype: tensor.FP32, Shape: []int64{-1, 2}}
	b := Baseline{Input: "x", Features: []Spread{{Name: "a", Quantiles: []float64{0, 0.1, 0.2, 0.7, 1}}, {Name: "still", Quantiles: []float64{0.7, 0.7}}}}
	w, now := NewWatch(Drift{DriftAlarm, b}, []tensor.Port{port}), time.Unix(0, 0)
	draw := func(at float64, n int) (v pavise.Verdict) {
		for i := range n {
			a := []float64{0.05, 0.15, 0.5, 0.9}[i%4]
			if at > 0 {
				a = at
			}
			v, _ = w.See(now, requestOf(port, []float64{a, float64(float32(0.7))}))
		}
		return v
	}
	if v := draw(0, windowRows); v.Reason != "" || v.Observed {
		t.Errorf("as the baseline: %+v", v)
	}
	if v := draw(0.5, windowRows); v.Outcome != pavise.Allow || !v.Observed || !strings.Contains(v.Reason, `1 of 2 columns have drifted from the baseline: "a" (index `) || !strings.Contains(v.Reason, "one bin by 50 %") {
		t.Errorf("one value over and over: %+v", v)
	}
	// A slow route's window ends with time, but not with a handful of rows.
	draw(0, leastRows-1)
	now = now.Add(windowTime)
	if v := draw(0, 1); v.Reason != "" {
		t.Errorf("an hour later: %+v", v)
	}
	draw(0.5, leastRows-2)
	now = now.Add(2 * windowTime)
	if v := draw(0.5, 1); v.Reason != "" {
		t.Errorf("judged on too few rows: %+v", v)
	}
	if v := draw(0.5, 1); v.Reason == "" {
		t.Errorf("not judged after an hour: %+v", v)
	}
}

// TestOutlier tells of one row that is where no other was.
func TestOutlier(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	w := NewWatch(Drift{DriftDeny, baselineOf(flow, flows(rng, 5000, threatdetector.Normal), true)}, []tensor.Port{flow})
	rows := flows(rng, 3, threatdetector.Normal)
	for j := range rows[2] {
		rows[2][j] = 1e6
	}
	if v, _ := w.See(time.Unix(0, 0), requestOf(flow, rows...)); v.Outcome != pavise.Allow || !strings.Contains(v.Reason, "41 of 41 columns of row 2") {
		t.Errorf("%+v", v)
	}
}

// TestBins finds the bins of values, at their edges too.
func TestBins(t *testing.T) {
	lo, hi := 1.0, 3.0
	type bins = []float64
	for name, tt := range map[string]struct {
		spread      Spread
		least, most []float64 // the shares up to each edge
		values      map[float64]int
	}{
		"evenly":   {Spread{Quantiles: []float64{1, 2, 3}}, bins{0, 0.5, 1}, bins{0, 1, 1}, map[float64]int{0: 0, 1: 1, 2: 1, 2.1: 2, 3: 2, 4: 3, math.NaN(): 0, math.Inf(1): 3}},
		"masses":   {Spread{Quantiles: []float64{0, 0, 0, 5, 5}}, bins{0, 0.5, 1}, bins{0, 0.75, 1}, map[float64]int{-1: 0, 0: 1, 1: 2, 5: 2, 6: 3}},
		"one":      {Spread{Quantiles: []float64{7, 7, 7}}, bins{0, 1}, bins{0, 1}, map[float64]int{6.9: 0, 7: 1, 7.1: 2}},
		"shares":   {Spread{Edges: []float64{0, 9}, Shares: []float64{0.5, 0.25, 0.25}}, bins{0.5, 0.75}, bins{0.5, 0.75}, map[float64]int{-1: 0, 0: 0, 9: 1, 10: 2}},
		"min, max": {Spread{Min: &lo, Max: &hi}, bins{0, 1}, bins{0, 1}, map[float64]int{0: 0, 1: 1, 3: 1, 4: 2}},
		"min":      {Spread{Min: &lo}, bins{0}, bins{0}, map[float64]int{0: 0, 1: 1, 9: 1}},
		"max":      {Spread{Max: &hi}, bins{1}, bins{1}, map[float64]int{0: 0, 3: 0, 4: 1}},
		"nothing":  {Spread{}, bins{}, bins{}, map[float64]int{-5: 0, 5: 0}},
		"most": {Spread{Edges: []float64{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14}, Shares: append([]float64{1}, make([]float64, 15)...)},
			nil, nil, map[float64]int{-1: 0, 0: 0, 0.5: 1, 1: 1, 7: 7, 7.5: 8, 14: 14, 15: 15}},
	} {
		for _, single := range []bool{false, true} {
			c := tt.spread.bin(single)
			for v, want := range tt.values {
				if got := c.of(v); got != want {
					t.Errorf("%s: %v is in bin %d, want %d", name, v, got, want)
				}
			}
			n := c.bins - 1
			if tt.least != nil && (!slices.Equal(c.least[:n], tt.least) || !slices.Equal(c.most[:n], tt.most)) {
				t.Errorf("%s: shares %v to %v, want %v to %v", name, c.least[:n], c.most[:n], tt.least, tt.most)
			}
		}
	}
}

// TestBaselines refuses what is none.
func TestBaselines(t *testing.T) {
	inputs := []tensor.Port{{Name: "x", Datatype: tensor.FP32, Shape: []int64{-1, 2}}, {Name: "text", Datatype: tensor.Bytes, Shape: []int64{-1, 2}}, {Name: "cube", Datatype: tensor.FP32, Shape: []int64{-1, 2, 2}}}
	for text, want := range map[string]string{
		`{"input":"y"}`:    `no input "y"`,
		`{"input":"text"}`: "no numbers",
		`{"input":"cube","features":[{"name":"a"},{"name":"b"}]}`:                                                   "2 features for input",
		`{"input":"x","features":[{"name":"a"}]}`:                                                                   "1 features",
		`{"input":"x","features":[{"name":"a"},{"name":"b"}]}`:                                                      "no feature has shares",
		`{"input":"x","features":[{"name":"a"},{"min":1}]}`:                                                         "has no name",
		`{"input":"x","features":[{"name":"a","min":2,"max":1},{"name":"b"}]}`:                                      "goes from 2 to 1",
		`{"input":"x","features":[{"name":"a","quantiles":[1]},{"name":"b"}]}`:                                      "1 quantiles",
		`{"input":"x","features":[{"name":"a","quantiles":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]},{"name":"b"}]}`: "16 quantiles",
		`{"input":"x","features":[{"name":"a","quantiles":[2,1]},{"name":"b"}]}`:                                    "quantiles that fall",
		`{"input":"x","features":[{"name":"a","edges":[1]},{"name":"b"}]}`:                                          "1 edges and 0 shares",
		`{"input":"x","features":[{"name":"a","shares":[1]},{"name":"b"}]}`:                                         "no feature has shares",
		`{"input":"x","features":[{"name":"a","edges":[1,1],"shares":[0.5,0,0.5]},{"name":"b"}]}`:                   "edges that do not rise",
		`{"input":"x","features":[{"name":"a","edges":[1],"shares":[-0.5,1.5]},{"name":"b"}]}`:                      "share below 0",
		`{"input":"x","features":[{"name":"a","edges":[1],"shares":[0.5,0.6]},{"name":"b"}]}`:                       "add up to 1.1",
		`{"input":"x","features":[{"name":"a","edges":[1],"shares":[0.5,0.5]},{"name":"b"}],"classes":["c"]}`:       "",
		`{"input":"x","features":[{"name":"a","quantiles":[1,2,2]},{"name":"b","min":0}]}`:                          "",
	} {
		var b Baseline
		if err := json.Unmarshal([]byte(text), &b); err != nil {
			t.Fatal(err)
		}
		err := b.Validate(inputs)
		if (want == "") != (err == nil) || err != nil && (!strings.Contains(err.Error(), want) || pavise.KindOf(err) != pavise.Invalid) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	if err := (Baseline{Input: "x", Features: []Spread{{Name: "a", Quantiles: []float64{math.NaN(), math.NaN()}}, {Name: "b"}}}).Validate(inputs); err == nil {
		t.Error("NaN is a quantile")
	}
}

// TestWatchTakesNothing sees a row without an allocation, and requests that no gate has
// looked at without harm.
func TestWatchTakesNothing(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	w := NewWatch(Drift{DriftAlarm, baselineOf(flow, flows(rng, 1000, threatdetector.Normal), true)}, []tensor.Port{flow})
	r, now := requestOf(flow, flows(rng, 1, threatdetector.Normal)...), time.Unix(0, 0)
	if n := testing.AllocsPerRun(100, func() { w.See(now, r) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	for _, r := range []*tensor.Request{{}, requestOf(flow), requestOf(flow, []float64{1, 2}), {Inputs: []tensor.Tensor{{Name: "flow", Datatype: tensor.Bytes, Data: tensor.Data{Bytes: [][]byte{{1}}}}}}} {
		if v, turned := w.See(now, r); v.Outcome != pavise.Allow || turned {
			t.Errorf("%+v: %+v", r, v)
		}
	}
}

func BenchmarkWatch(b *testing.B) {
	rng := rand.New(rand.NewPCG(7, 8))
	w := NewWatch(Drift{DriftAlarm, baselineOf(flow, flows(rng, 1000, threatdetector.Normal), true)}, []tensor.Port{flow})
	var requests []*tensor.Request
	for _, row := range flows(rng, 256, threatdetector.Normal) {
		requests = append(requests, requestOf(flow, row))
	}
	now := time.Unix(0, 0)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		w.See(now, requests[i%len(requests)])
	}
}
