package theft

import (
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

const (
	worldColumns  = 10
	worldClusters = 12
	worldClasses  = 3
)

// A world is a made-up table: clusters in columns of several kinds, and a model that knows
// them.
type world struct {
	at [worldClusters][worldColumns]float64
}

func newWorld(seed uint64) *world {
	w, rng := &world{}, rand.New(rand.NewPCG(seed, 5))
	for k := range w.at {
		for j := range w.at[k] {
			w.at[k][j] = rng.NormFloat64()
		}
	}
	return w
}

// row draws a row around a cluster: numbers as they are, of wildly different sizes, whole
// ones, and such of two digits.
func (w *world) row(rng *rand.Rand, cluster int) []float64 {
	row := make([]float64, worldColumns)
	for j := range row {
		row[j] = shown(j, w.at[cluster][j]+0.4*rng.NormFloat64())
	}
	return row
}

func shown(column int, v float64) float64 {
	switch column % 4 {
	case 1:
		return math.Exp(3 * v)
	case 2:
		return math.Round(3 * v)
	case 3:
		return math.Round(100*v) / 100
	}
	return v
}

// scores are the model's: by how near a row is to the clusters of each class.
func (w *world) scores(row []float64) []float64 {
	var p [worldClasses]float64
	for k := range w.at {
		var d float64
		for j, v := range row {
			switch j % 4 {
			case 1:
				v = math.Log(max(v, 1e-6)) / 3
			case 2:
				v /= 3
			}
			d += (v - w.at[k][j]) * (v - w.at[k][j])
		}
		p[k%worldClasses] += math.Exp(-d / 4)
	}
	sum := p[0] + p[1] + p[2] + 1e-30
	for k := range p {
		p[k] = (p[k] + 1e-30/worldClasses) / sum
	}
	return p[:]
}

func (w *world) asked(client string, row []float64) *Asked {
	return &Asked{Client: client, Input: row, Scores: w.scores(row), Class: -1}
}

// habit gives the rows of one honest client: each asks for other clusters than others do.
func (w *world) habit(rng *rand.Rand) func() []float64 {
	mix, flat := make([]float64, worldClusters), []float64{0.2, 0.5, 1, 3}[rng.IntN(4)]
	for k := range mix {
		mix[k] = math.Pow(rng.ExpFloat64(), 1/flat)
		if k > 0 {
			mix[k] += mix[k-1]
		}
	}
	return func() []float64 {
		k, _ := slices.BinarySearch(mix, rng.Float64()*mix[len(mix)-1])
		return w.row(rng, min(k, len(mix)-1))
	}
}

func clientRand(seed uint64, i int) *rand.Rand { return rand.New(rand.NewPCG(seed, uint64(i))) }

// honest is the traffic of clients from one number to another, each of some hundred rows.
func (w *world) honest(from, to, rows int) Traffic {
	return func(yield func(*Asked, error) bool) {
		for i := from; i < to; i++ {
			rng := clientRand(7, i)
			next := w.habit(rng)
			for range rows + rng.IntN(rows/2) {
				if !yield(w.asked(fmt.Sprint("client-", i), next()), nil) {
					return
				}
			}
		}
	}
}

// recorded is a traffic that is drawn once.
func recorded(traffic Traffic) Traffic {
	var rows []*Asked
	for a := range traffic {
		rows = append(rows, a)
	}
	return func(yield func(*Asked, error) bool) {
		for _, a := range rows {
			if !yield(a, nil) {
				return
			}
		}
	}
}

// watched are the world that most tests are about and what its honest clients are like.
var watched = struct {
	*world
	c *Calibration
}{world: newWorld(1)}

func calibrated(t testing.TB) (*world, *Calibration) {
	t.Helper()
	if watched.c == nil {
		c, err := Calibrate(recorded(watched.honest(0, 60, 250)), 0.02, 1)
		if err != nil {
			t.Fatal(err)
		}
		watched.c = c
	}
	return watched.world, watched.c
}

// found plays rows of one client and returns after how many it was seen, or 0.
func found(c *Calibration, w *world, n int, next func() []float64) (int, Sighting) {
	e := NewExtraction(c)
	for i := 1; i <= n; i++ {
		if s, ok := e.See(w.asked("somebody", next())); ok {
			return i, s
		}
	}
	return 0, Sighting{}
}

// A thief gives its next row.
type thief func(w *world, rng *rand.Rand) func() []float64

// any draws a row as honest clients have them, of any cluster.
func (w *world) any(rng *rand.Rand) []float64 { return w.row(rng, rng.IntN(worldClusters)) }

func between(a, b []float64, t float64) []float64 {
	row := slices.Clone(a)
	for j := range row {
		row[j] += t * (b[j] - a[j])
	}
	return row
}

// noise is of the size of rows, and no row.
func noise(w *world, rng *rand.Rand) func() []float64 {
	return func() []float64 {
		row := make([]float64, worldColumns)
		for j := range row {
			row[j] = shown(j, 4*rng.Float64()-2)
		}
		return row
	}
}

// halves has half of its columns from one row, and half from another.
func halves(w *world, rng *rand.Rand) func() []float64 {
	return func() []float64 {
		a, b := w.any(rng), w.any(rng)
		for j := range a {
			if rng.IntN(2) == 0 {
				a[j] = b[j]
			}
		}
		return a
	}
}

var thieves = map[string]thief{
	"noise": noise,
	"marginals": func(w *world, rng *rand.Rand) func() []float64 {
		return func() []float64 {
			row := make([]float64, worldColumns)
			for j := range row {
				row[j] = w.any(rng)[j]
			}
			return row
		}
	},
	"crossed": halves,
	"jbda": func(w *world, rng *rand.Rand) func() []float64 {
		var rows [][]float64
		return func() []float64 {
			if len(rows) < 50 {
				rows = append(rows, w.any(rng))
				return rows[len(rows)-1]
			}
			row := slices.Clone(rows[(len(rows)-50)%len(rows)])
			for j := range row {
				step := 0.1 * float64(2*rng.IntN(2)-1)
				switch j % 4 {
				case 1:
					row[j] *= math.Exp(3 * step)
				case 2:
					row[j] += float64(rng.IntN(2) * rng.IntN(2))
				default:
					row[j] += step
				}
			}
			rows = append(rows, row)
			return row
		}
	},
	"line": func(w *world, rng *rand.Rand) func() []float64 {
		var a, b []float64
		var low, high float64
		left := 0
		return func() []float64 {
			if left == 0 {
				a, b, left, low, high = w.any(rng), w.any(rng), 12, 0, 1
			}
			left--
			mid := (low + high) / 2
			if low = mid; rng.IntN(2) == 0 {
				low, high = low-(high-low), mid
			}
			return between(a, b, mid)
		}
	},
	"one-feature": func(w *world, rng *rand.Rand) func() []float64 {
		var base []float64
		left, column := 0, 0
		return func() []float64 {
			if left == 0 {
				base, left, column = w.any(rng), 15, rng.IntN(worldColumns)
			}
			left--
			row := slices.Clone(base)
			row[column] = shown(column, 6*rng.Float64()-3)
			return row
		}
	},
	"noise-25": func(w *world, rng *rand.Rand) func() []float64 {
		return diluted(w, rng, 0.25, noise)
	},
	"crossed-25": func(w *world, rng *rand.Rand) func() []float64 {
		return diluted(w, rng, 0.25, halves)
	},
}

// diluted hides rows of a thief among those of an honest client.
func diluted(w *world, rng *rand.Rand, share float64, k thief) func() []float64 {
	steal, use := k(w, rng), w.habit(rng)
	return func() []float64 {
		if rng.Float64() < share {
			return steal()
		}
		return use()
	}
}

// TestThievesAreFound holds how soon thieves are found to what it was.
func TestThievesAreFound(t *testing.T) {
	w, c := calibrated(t)
	const each, most = 3, 500
	got := map[string][]int{}
	for name, k := range thieves {
		for i := range each {
			n, s := found(c, w, most, k(w, clientRand(99, i)))
			if got[name] = append(got[name], n); n > 0 && (s.Score <= s.Threshold || s.Client != "somebody" || s.Rows != n || s.Detector == "" || !strings.HasPrefix(s.Evidence, fmt.Sprint(n, " rows: "))) {
				t.Errorf("%s: %+v", name, s)
			}
		}
		slices.Sort(got[name])
		// Halves of honest rows among honest rows take more clients than 60 to be told apart:
		// they stand in the golden file, found or not.
		if median := got[name][each/2]; name != "crossed-25" && (median == 0 || median > 300) {
			t.Errorf("%s: rows to detection %v", name, got[name])
		}
	}
	const file = "testdata/extraction.json"
	text, err := json.MarshalIndent(got, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(file, append(text, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != string(text)+"\n" {
		t.Errorf("rows to detection are\n%s\nand were\n%s", text, want)
	}
}

// TestHonestClientsStayGreen plays clients whom the calibration has not seen.
func TestHonestClientsStayGreen(t *testing.T) {
	w, c := calibrated(t)
	if c.Clients != 60 || c.Judged != 49 || math.Abs(c.Bound-1.0/50) > 1e-9 || !slices.Equal(c.Looks, []int{50, 100, 150, 250}) || c.Scores != worldClasses {
		t.Errorf("%d clients, %d judged, bound %v, looks %v, %d scores", c.Clients, c.Judged, c.Bound, c.Looks, c.Scores)
	}
	e, amber := NewExtraction(c), []Sighting(nil)
	for a := range w.honest(1000, 1040, 250) {
		if s, ok := e.See(a); ok {
			amber = append(amber, s)
		}
	}
	if len(amber) > 2 { // of 40, with a bound of 2 %
		t.Errorf("%d left green: %v", len(amber), amber)
	}
	for a := range w.honest(0, 60, 250) { // whom the calibration has learnt from, among them
		a.Client = "again-" + a.Client
		if s, ok := e.See(a); ok {
			t.Errorf("one of the calibration left green: %v", s)
		}
	}
	if s := e.Closest("client-1000"); s.Detector == "" || s.Score <= 0 || s.Score > 2*c.Threshold {
		t.Errorf("%+v", s)
	}
	if s := e.Closest("nobody"); s != (Sighting{}) {
		t.Errorf("%+v", s)
	}
}

// TestRepetitionsAreNoRows plays honest clients who ask the same again and again, or in an
// order of theirs.
func TestRepetitionsAreNoRows(t *testing.T) {
	w, c := calibrated(t)
	rng := clientRand(3, 0)
	some := func(n int) (rows [][]float64) {
		next := w.habit(rng)
		for range n {
			rows = append(rows, next())
		}
		return rows
	}
	cycle := func(rows [][]float64) func() []float64 {
		i := -1
		return func() []float64 { i++; return rows[i%len(rows)] }
	}
	one := clientRand(3, 1)
	sorted := some(400)
	slices.SortFunc(sorted, func(a, b []float64) int { return int(a[2] - b[2]) })
	for name, next := range map[string]func() []float64{
		"one row, ten thousand times": cycle(some(1)),
		"49 rows, over and over":      cycle(some(49)),
		"50 rows, over and over":      cycle(some(50)),
		"200 rows, over and over":     cycle(some(200)),
		"sorted rows":                 cycle(sorted),
		"one class only":              func() []float64 { return w.row(one, worldClasses*one.IntN(worldClusters/worldClasses)) },
	} {
		n := 400
		if strings.HasPrefix(name, "one row") || strings.HasPrefix(name, "200") {
			n = 10000
		}
		if at, s := found(c, w, n, next); at > 0 {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

// TestNobodyEarnsTrust has a client behave for long before it steals.
func TestNobodyEarnsTrust(t *testing.T) {
	w, c := calibrated(t)
	rng := clientRand(4, 0)
	use, steal := w.habit(rng), thieves["noise"](w, rng)
	last := c.Looks[len(c.Looks)-1]
	n, asked := 0, 2*last+1
	at, _ := found(c, w, asked+2*last, func() []float64 {
		if n++; n <= asked {
			return use()
		}
		return steal()
	})
	if at <= asked || at > asked+last {
		t.Errorf("a thief of the rows after %d is seen at %d", asked, at)
	}
}

// TestKindsOfHonestClients plays honest clients who ask in another way than those of the
// calibration, though none of their rows is odd.
func TestKindsOfHonestClients(t *testing.T) {
	w, c := calibrated(t)
	amber := map[string]int{}
	for name, kind := range map[string]func(rng *rand.Rand) func() []float64{
		"seasonal": func(rng *rand.Rand) func() []float64 {
			n, first, then := 0, w.habit(rng), w.habit(rng)
			return func() []float64 {
				if n++; n > 150 {
					return then()
				}
				return first()
			}
		},
		"bursting": func(rng *rand.Rand) func() []float64 {
			n, k := 0, 0
			return func() []float64 {
				if n%30 == 0 {
					k = rng.IntN(worldClusters)
				}
				n++
				return w.row(rng, k)
			}
		},
		"of one kind of rows": func(rng *rand.Rand) func() []float64 {
			k := rng.IntN(worldClusters)
			return func() []float64 { return w.row(rng, k) }
		},
		"sorting": func(rng *rand.Rand) func() []float64 {
			n := 0
			return func() []float64 { n++; return w.row(rng, n*worldClusters/401) }
		},
		"repeating": func(rng *rand.Rand) func() []float64 {
			next := w.habit(rng)
			own := make([][]float64, 70)
			for i := range own {
				own[i] = next()
			}
			return func() []float64 { return own[rng.IntN(len(own))] }
		},
	} {
		for i := range 10 {
			if n, s := found(c, w, 400, kind(clientRand(55, i))); n > 0 {
				amber[name]++
				t.Logf("%s: %+v", name, s)
			}
		}
	}
	sum := 0
	for _, n := range amber {
		sum += n
	}
	if sum > 3 { // of 50, with a bound of 2 % for clients as the calibration has them
		t.Errorf("left green: %v", amber)
	}
}

// TestManyNames has one who steals by small changes ask under eight names.
func TestManyNames(t *testing.T) {
	w, c := calibrated(t)
	next, e, seen := thieves["jbda"](w, clientRand(5, 0)), NewExtraction(c), map[string]string{}
	for i := range 8 * 260 {
		if s, ok := e.See(w.asked(fmt.Sprint("name-", i%8), next())); ok {
			seen[s.Client] = s.Detector
		}
	}
	cross := 0
	for _, detector := range seen {
		if detector == "cross-duplicates" {
			cross++
		}
	}
	if len(seen) < 8 || cross == 0 {
		t.Errorf("seen are %v", seen)
	}
	var values [measures]float64
	e.clients["name-3"].values(c, &values)
	if values[measureCross] < 0.2 {
		t.Errorf("%.2f of the rows nearly repeat another client's", values[measureCross])
	}
}

// TestForgetting has more clients come than are remembered: names that ask once push out
// each other.
func TestForgetting(t *testing.T) {
	w, c := calibrated(t)
	e := NewExtraction(c)
	row := w.any(clientRand(6, 0))
	for i := range extractionClients + 1000 {
		e.See(w.asked("", row))
		e.See(w.asked("steady", row))
		e.See(w.asked(fmt.Sprint("name-", i), row))
	}
	if len(e.clients) != extractionClients || len(e.oldest) != extractionClients || cap(e.oldest) > 8*extractionClients {
		t.Errorf("%d clients are kept, in a list of %d", len(e.clients), cap(e.oldest))
	}
	for _, name := range []string{"", "steady"} {
		if s := e.clients[name]; s == nil || s.rows != extractionClients+1000 {
			t.Errorf("%q was forgotten", name)
		}
	}
	if e.clients["name-0"] != nil || e.clients[fmt.Sprint("name-", extractionClients+999)] == nil {
		t.Error("it is not the oldest that is forgotten")
	}
}

// TestHostileRows plays what no honest client asks, and what no sound model answers.
func TestHostileRows(t *testing.T) {
	w, c := calibrated(t)
	rng := clientRand(8, 0)
	nan, inf := math.NaN(), math.Inf(1)
	for name, alter := range map[string]func(a *Asked){
		"no numbers":     func(a *Asked) { a.Input[rng.IntN(worldColumns)] = nan },
		"infinite":       func(a *Asked) { a.Input[0], a.Input[1] = inf, -inf },
		"beyond 32 bits": func(a *Asked) { a.Input[0], a.Input[4] = math.MaxFloat64, -math.MaxFloat64 },
		"as others":      func(*Asked) {},
	} {
		use := w.habit(rng)
		e, at := NewExtraction(c), 0
		for i := range 300 {
			a := w.asked("", use())
			alter(a)
			if _, ok := e.See(a); ok && at == 0 {
				at = i + 1
			}
		}
		if want := name != "as others"; (at > 0 && at <= 100) != want {
			t.Errorf("%s: seen at %d", name, at)
		}
	}
	e, use := NewExtraction(c), w.habit(rng)
	for i := range 400 { // what a model says is not the client's fault
		a := w.asked("a", use())
		a.Scores = [][]float64{{nan, nan, nan}, {inf, -inf, inf}, {1e308, 1e308, -1e308}, {-inf, -inf, -inf}, {0.5}, {nan}, {}}[i%7]
		a.Class = []int{-1, 1 << 31, math.MaxInt, math.MinInt}[i%4]
		e.See(a)
		a.Input = a.Input[:i%(worldColumns+1)]
		e.See(a)
		a.Input = append(a.Input, make([]float64, 2*worldColumns)...)
		e.See(a)
	}
	a := w.asked("b", use())
	a.Scores = make([]float64, 100_000)
	a.Scores[99_999] = 1
	e.See(a)
	for name, s := range e.clients {
		for m, v := range s.sums {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				t.Errorf("client %q: the sum of %s is %v", name, measureNames[m], v)
			}
		}
	}
}
