package extraction

import (
	"bytes"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/learn"
)

var update = flag.Bool("update", false, "write the golden ledgers anew")

// A victim answers rows.
type victim func(learn.Matrix) learn.Matrix

// blobs are rows around one centre for each class, columns of unlike sizes, the last one
// whole.
func blobs(rows, cols, classes int, seed uint64) Data {
	rng := rand.New(rand.NewPCG(seed, 77))
	centre := rand.New(rand.NewPCG(5, 5)) // those of every seed are the same
	at := learn.NewMatrix(classes, cols)
	for i := range at.Data {
		at.Data[i] = float32(2 * centre.NormFloat64())
	}
	d := Data{Rows: learn.NewMatrix(rows, cols), Labels: make([]int, rows)}
	for i := range rows {
		d.Labels[i] = rng.IntN(classes)
		for j := range cols {
			v := (float64(at.Row(d.Labels[i])[j]) + rng.NormFloat64()) * math.Pow(10, float64(j%3))
			if j == cols-1 {
				v = math.Round(v)
			}
			d.Rows.Row(i)[j] = float32(v)
		}
	}
	return d
}

// centres is a victim that is no linear model: the softmax of how near each class's rows
// are, of blobs.
func centres(cols, classes int) victim {
	train := blobs(400, cols, classes, 1)
	mean, n := learn.NewMatrix(classes, cols), make([]float32, classes)
	for i, y := range train.Labels {
		n[y]++
		for j, v := range train.Rows.Row(i) {
			mean.Row(y)[j] += v
		}
	}
	return func(x learn.Matrix) learn.Matrix {
		p := learn.NewMatrix(x.Rows, classes)
		for i := range x.Rows {
			for k := range classes {
				d := 0.0
				for j, v := range x.Row(i) {
					e := float64(v-mean.Row(k)[j]/n[k]) / math.Pow(10, float64(j%3))
					d += e * e
				}
				p.Row(i)[k] = float32(-math.Sqrt(d))
			}
			logits(p.Row(i))
		}
		return p
	}
}

// drive runs an attack to its end, so many rows at a time.
func drive(t *testing.T, a *Attack, v victim, most int) {
	t.Helper()
	for {
		rows, err := a.Next(most)
		if err != nil {
			t.Fatal(err)
		}
		if rows.Rows == 0 {
			return
		}
		if err := a.Answer(v(rows)); err != nil {
			t.Fatal(err)
		}
	}
}

func begin(t *testing.T, cfg Config, data Data) *Attack {
	t.Helper()
	a, err := New(cfg, data)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// tree is a decision tree over three columns, the last one whole, with its thresholds.
func tree(x learn.Matrix) learn.Matrix {
	p := learn.NewMatrix(x.Rows, 3)
	for i := range x.Rows {
		r, leaf := x.Row(i), 0
		switch {
		case r[0] <= 0.3125 && r[1] <= -40.5:
			leaf = 0
		case r[0] <= 0.3125:
			leaf = 1
		case r[2] <= 3 && r[1] <= 17.25:
			leaf = 2
		case r[2] <= 3:
			leaf = 3
		case r[0] <= 0.75:
			leaf = 4
		default:
			leaf = 5
		}
		p.Row(i)[leaf%3] = 0.6 + 0.05*float32(leaf)
		p.Row(i)[(leaf+1)%3] = 0.4 - 0.05*float32(leaf)
	}
	return p
}

// treeData are rows for it.
func treeData() Data {
	rng := rand.New(rand.NewPCG(3, 3))
	d := Data{Rows: learn.NewMatrix(300, 3)}
	for i := range d.Rows.Rows {
		copy(d.Rows.Row(i), []float32{float32(rng.Float64()), float32(200*rng.Float64() - 100), float32(rng.IntN(8))})
	}
	return d
}

// everyAttack is each of them, with a victim that suits it.
func everyAttack(f func(name string, cfg Config, data Data, v victim)) {
	for _, name := range Names() {
		cfg := Config{Attack: name, Budget: 400, Seed: 7, Classes: 3}
		if name == "tree-path-finding" {
			f(name, cfg, treeData(), tree)
			continue
		}
		f(name, cfg, blobs(300, 5, 3, 2), centres(5, 3))
	}
}

// TestGoldenLedgers holds every attack to the rows that it asked before: a change of them
// is a change of what was measured.
func TestGoldenLedgers(t *testing.T) {
	var b strings.Builder
	everyAttack(func(name string, cfg Config, data Data, v victim) {
		for _, adapted := range []Config{cfg, {Attack: name, Budget: 400, Seed: 7, Classes: 3, Repeat: 3, Sybils: 4, Share: 25}} {
			a := begin(t, adapted, data)
			drive(t, a, v, 64)
			fmt.Fprintf(&b, "%s repeat %d sybils %d share %d: %d rows, %.0f bits, %s\n", name, a.cfg.Repeat, a.cfg.Sybils, a.cfg.Share, a.Rows(), a.Bits(a.Rows()), a.LedgerDigest())
		}
	})
	file := filepath.Join("testdata", "ledgers.txt")
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got := b.String(); got != string(want) {
		t.Errorf("other rows are asked than before; if that is meant, write them with make attack-ledgers:\n%s", got)
	}
}

// TestResumeAtEveryQuery stops each attack after every answer, and goes on from its state:
// the ledger is that of a run that was never stopped, however many rows are taken at once.
func TestResumeAtEveryQuery(t *testing.T) {
	everyAttack(func(name string, cfg Config, data Data, v victim) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg.Budget, cfg.Repeat, cfg.Share = 150, 2, 60
			whole := begin(t, cfg, data)
			drive(t, whole, v, 1000)
			a := begin(t, cfg, data)
			for step := 0; ; step++ {
				resumed, err := Resume(cfg, data, a.State())
				if err != nil {
					t.Fatalf("after %d rows: %v", a.Rows(), err)
				}
				if a = resumed; step%3 == 1 { // rows that were given out when the process died are asked again
					if _, err := a.Next(5); err != nil {
						t.Fatal(err)
					}
				}
				rows, err := a.Next(1 + step%4)
				if err != nil {
					t.Fatal(err)
				}
				if rows.Rows == 0 {
					break
				}
				if step%5 == 2 { // the last were not answered
					rows = head(rows, 1)
				}
				if err := a.Answer(v(rows)); err != nil {
					t.Fatal(err)
				}
			}
			if a.LedgerDigest() != whole.LedgerDigest() || a.Rows() != whole.Rows() {
				t.Errorf("%d rows, %s; a run without a stop has %d, %s", a.Rows(), a.LedgerDigest(), whole.Rows(), whole.LedgerDigest())
			}
			held := Held{X: data.Rows, Victim: v(data.Rows).ArgMax()}
			one, _, err := a.Measure(Theft{}, a.Rows(), held)
			if err != nil {
				t.Fatal(err)
			}
			other, _, err := whole.Measure(Theft{}, a.Rows(), held)
			if err != nil || one != other {
				t.Errorf("the copies differ: %+v, %+v, %v", one, other, err)
			}
		})
	})
}

// TestFidelityRises has a copy get better with what was asked, and stand well above chance.
func TestFidelityRises(t *testing.T) {
	v, data := centres(5, 3), blobs(2000, 5, 3, 2)
	fresh := blobs(1000, 5, 3, 9)
	held := Held{X: fresh.Rows, Victim: v(fresh.Rows).ArgMax(), Labels: fresh.Labels}
	for _, name := range []string{"in-distribution", "knockoff-adaptive", "near-ood", "jbda", "jbda-tr", "line-search", "random"} {
		for _, use := range []string{Scores, Top1} {
			a := begin(t, Config{Attack: name, Budget: 1000, Seed: 3, Classes: 3, Answers: use}, data)
			drive(t, a, v, 500)
			few, _, err := a.Measure(Theft{}, 30, held)
			if err != nil {
				t.Fatal(err)
			}
			many, _, err := a.Measure(Theft{}, 1000, held)
			if err != nil {
				t.Fatal(err)
			}
			if many.Agreement.Low < 0.85 || many.Agreement.Share < few.Agreement.Share-0.01 || many.Accuracy == nil {
				t.Errorf("%s, %s: %s at 30 rows, %s at 1,000", name, use, few.Agreement, many.Agreement)
			}
		}
	}
}

// logistic is a linear victim of given weights, each class's constant last, whose scores
// are exact or rounded.
func logistic(weights [][]float64, digits int) victim {
	return func(x learn.Matrix) learn.Matrix {
		p, z, u := learn.NewMatrix(x.Rows, len(weights)), make([]float64, len(weights)), make([]float64, x.Cols+1)
		for i := range x.Rows {
			for j, v := range x.Row(i) {
				u[j] = float64(v)
			}
			u[x.Cols] = 1
			softened(z, weights, u)
			for k, v := range z {
				if digits >= 0 {
					v = math.Round(v*math.Pow10(digits)) / math.Pow10(digits)
				}
				p.Row(i)[k] = float32(v)
			}
		}
		return p
	}
}

// TestEquationsAreExact recovers the weights of logistic and softmax models, to 1e-6 of
// the largest where scores are exact.
func TestEquationsAreExact(t *testing.T) {
	for _, tt := range []struct {
		classes, digits int
		scale           float64
		most            float64 // error of a weight, of the largest
	}{{2, -1, 1, 1e-6}, {5, -1, 1, 1e-6}, {2, -1, 40, 2e-6}, {10, -1, 6, 2e-6}, {2, 3, 1, 0.02}, {4, 2, 1, 0.1}} {
		const cols = 6
		rng := rand.New(rand.NewPCG(8, uint64(tt.classes)))
		weights := make([][]float64, tt.classes)
		for k := range weights {
			for range cols + 1 {
				weights[k] = append(weights[k], tt.scale*rng.NormFloat64())
			}
		}
		data := Data{Rows: learn.NewMatrix(200, cols)}
		for i := range data.Rows.Data {
			data.Rows.Data[i] = float32(rng.NormFloat64())
		}
		v := logistic(weights, tt.digits)
		a := begin(t, Config{Attack: "equation-solving", Budget: 2000, Seed: 1, Classes: tt.classes}, data)
		drive(t, a, v, 100)
		s, err := a.Steal(Theft{}, a.Rows())
		if err != nil {
			t.Fatal(err)
		}
		worst, largest := 0.0, 0.0
		for k := range weights {
			for j, w := range s.(*Linear).Weights(k) {
				want := weights[k][j] - weights[0][j]
				worst, largest = max(worst, math.Abs(w-want)), max(largest, math.Abs(want))
			}
		}
		if worst > tt.most*largest {
			t.Errorf("%d classes, %d digits: a weight is %.2g of %.2g wrong after %d rows", tt.classes, tt.digits, worst, largest, a.Rows())
		}
		if exact := tt.digits < 0; exact && a.Rows() > 2000/4 {
			t.Errorf("%d classes: %d rows for %d weights", tt.classes, a.Rows(), cols+1)
		}
		held := Held{X: data.Rows, Victim: v(data.Rows).ArgMax()}
		if f := Compare(s, held); tt.digits < 0 && f.Agreement.Count != 200 || f.Agreement.Count < 190 {
			t.Errorf("%d classes, %d digits: %s", tt.classes, tt.digits, f.Agreement)
		}
	}
}

// TestPathFinding finds every leaf of a tree and each of its thresholds.
func TestPathFinding(t *testing.T) {
	data := treeData()
	a := begin(t, Config{Attack: "tree-path-finding", Budget: 5000, Seed: 1, Classes: 3}, data)
	drive(t, a, tree, 100)
	s, err := a.Steal(Theft{}, a.Rows())
	if err != nil {
		t.Fatal(err)
	}
	found := s.(*Boxes)
	for col, want := range [][]float64{{0.3125, 0.75}, {-40.5, 17.25}, {3.5}} {
		got := found.Thresholds(col)
		if len(got) != len(want) {
			t.Errorf("column %d: thresholds %v, want %v", col, got, want)
			continue
		}
		for i := range got {
			if math.Abs(got[i]-want[i]) > 1e-6*a.column[col].span() {
				t.Errorf("column %d: threshold %v, want %v", col, got[i], want[i])
			}
		}
	}
	if found.Leaves() != 6 || a.Rows() > 1500 {
		t.Errorf("%d leaves of 6, %d rows", found.Leaves(), a.Rows())
	}
	fresh := blobs(500, 3, 2, 4)
	for i := range fresh.Rows.Rows {
		fresh.Rows.Row(i)[2] = float32(i % 9)
	}
	if f := Compare(s, Held{X: fresh.Rows, Victim: tree(fresh.Rows).ArgMax()}); f.Agreement.Count != 500 {
		t.Errorf("%s", f.Agreement)
	}
}

// TestSybilsAndCover counts who asks what: identities take turns, cover is as much as was
// asked for, and neither changes what the attack itself asks or learns of an answer.
func TestSybilsAndCover(t *testing.T) {
	data, v := blobs(1500, 5, 3, 2), centres(5, 3)
	plain := begin(t, Config{Attack: "in-distribution", Budget: 300, Seed: 5, Classes: 3}, data)
	drive(t, plain, v, 64)
	for _, share := range []int{10, 25, 50} {
		a := begin(t, Config{Attack: "in-distribution", Budget: 2000, Seed: 5, Classes: 3, Sybils: 7, Share: share}, data)
		drive(t, a, v, 64)
		own, by := 0, make([]int, 7)
		for i, e := range a.Ledger() {
			if e.Number != i || e.Identity != i%7 {
				t.Fatalf("entry %d is %+v", i, e)
			}
			by[e.Identity]++
			if !e.Cover {
				if own < plain.Rows() && e.Input != plain.Ledger()[own].Input && own < 200 {
					t.Fatalf("%d %%: the attack's row %d is another than without cover", share, own)
				}
				own++
			}
		}
		if want := 2000 * share / 100; math.Abs(float64(own-want)) > 100 || a.asked.Rows != own {
			t.Errorf("%d %%: %d rows of %d are the attack's, it learnt from %d", share, own, a.Rows(), a.asked.Rows)
		}
		if by[0] != 286 || by[6] != 285 {
			t.Errorf("the identities asked %v", by)
		}
	}
}

// TestAveraging undoes noise by asking again, which a defence that never varies survives.
func TestAveraging(t *testing.T) {
	data, clean := blobs(600, 5, 3, 2), centres(5, 3)
	rng := rand.New(rand.NewPCG(4, 4))
	noisy := func(x learn.Matrix) learn.Matrix {
		p := clean(x)
		for i := range p.Data {
			p.Data[i] = max(0, p.Data[i]+float32(0.4*(rng.Float64()-0.5)))
		}
		return p
	}
	far := map[int]float64{}
	for _, repeat := range []int{1, 20} {
		a := begin(t, Config{Attack: "in-distribution", Budget: 1000, Seed: 5, Classes: 3, Repeat: repeat}, data)
		drive(t, a, noisy, 64)
		if want := min(1000/repeat, 600); a.asked.Rows != want {
			t.Errorf("%d times: %d rows, want %d", repeat, a.asked.Rows, want)
		}
		truth := clean(a.asked)
		for i := range truth.Rows {
			far[repeat] += apart(truth.Row(i), a.answers.Row(i)) / float64(truth.Rows)
		}
	}
	if far[20] > far[1]/2 {
		t.Errorf("the mean of 20 answers is %.3f from the truth, one answer %.3f", far[20], far[1])
	}
}

// TestLookup undoes a perturbation that never varies, whose scores mislead who believes them.
func TestLookup(t *testing.T) {
	data, clean := blobs(1500, 5, 4, 2), centres(5, 4)
	perturb := func(row []float32) { // all but the top class change places, and flatten it
		top := 0
		for j, v := range row {
			if v > row[top] {
				top = j
			}
		}
		lift := row[top] * 0.45
		row[top] -= lift
		for j := range row {
			if j != top {
				row[j] = row[j]/8 + lift/float32(len(row)-1)
			}
		}
	}
	v := func(x learn.Matrix) learn.Matrix {
		p := clean(x)
		for i := range p.Rows {
			perturb(p.Row(i))
		}
		return p
	}
	a := begin(t, Config{Attack: "in-distribution", Budget: 1000, Seed: 5, Classes: 4, Answers: Lookup}, data)
	drive(t, a, v, 100)
	if _, err := a.Steal(Theft{}, 1000); pavise.KindOf(err) != pavise.Invalid {
		t.Errorf("a lookup without the defence: %v", err)
	}
	first, err := fitMLP(a, 1000, named(a.answers), stealPasses)
	if err != nil {
		t.Fatal(err)
	}
	truth, back := clean(a.asked), undone(a.answers, first.Predict(a.asked), perturb)
	before, after := 0.0, 0.0
	for i := range truth.Rows {
		before += apart(truth.Row(i), a.answers.Row(i)) / float64(truth.Rows)
		after += apart(truth.Row(i), back.Row(i)) / float64(truth.Rows)
	}
	if after > before/2 {
		t.Errorf("scores are %.3f from the truth, and %.3f once undone", before, after)
	}
	if _, err := a.Steal(Theft{Perturb: perturb}, 1000); err != nil {
		t.Error(err)
	}
}

// TestRefusals are settings, data and answers that make no sense.
func TestRefusals(t *testing.T) {
	good, data := Config{Attack: "random", Budget: 10, Classes: 3}, blobs(20, 3, 3, 1)
	change := func(f func(*Config, *Data)) error {
		cfg, d := good, data
		f(&cfg, &d)
		_, err := New(cfg, d)
		return err
	}
	nan := blobs(20, 3, 3, 1).Rows
	nan.Data[4] = float32(math.NaN())
	for want, f := range map[string]func(*Config, *Data){
		"there is no attack \"x\"":         func(c *Config, _ *Data) { c.Attack = "x" },
		"a budget of 0 rows":               func(c *Config, _ *Data) { c.Budget = 0 },
		"a budget of 1000001 rows":         func(c *Config, _ *Data) { c.Budget = MaxBudget + 1 },
		"a model with 1 scores":            func(c *Config, _ *Data) { c.Classes = 1 },
		"more than an attack keeps":        func(c *Config, _ *Data) { c.Budget, c.Classes = MaxBudget, MaxClasses },
		"a thief who uses \"x\"":           func(c *Config, _ *Data) { c.Answers = "x" },
		"works with scores":                func(c *Config, _ *Data) { c.Attack, c.Answers = "equation-solving", Top1 },
		"each row asked 101 times":         func(c *Config, _ *Data) { c.Repeat = 101 },
		"10001 identities":                 func(c *Config, _ *Data) { c.Sybils = 10001 },
		"101 per cent":                     func(c *Config, _ *Data) { c.Share = 101 },
		"the data have 0 rows":             func(_ *Config, d *Data) { d.Rows = learn.Matrix{Cols: 3} },
		"the pool has 2 columns":           func(_ *Config, d *Data) { d.Pool = learn.NewMatrix(5, 2) },
		"row 1, column 1 of the data":      func(_ *Config, d *Data) { d.Rows = nan },
		"there are 2 labels for 20 rows":   func(_ *Config, d *Data) { d.Labels = []int{1, 2} },
		"numbers for 20 rows of 3 columns": func(_ *Config, d *Data) { d.Rows.Data = d.Rows.Data[1:] },
	} {
		if err := change(f); pavise.KindOf(err) != pavise.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	a := begin(t, good, data)
	for name, m := range map[string]learn.Matrix{
		"more rows than asked": learn.NewMatrix(1, 3),
		"other width":          {Rows: 0, Cols: 2},
	} {
		if err := a.Answer(m); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := a.Next(2); err != nil {
		t.Fatal(err)
	}
	bad := learn.NewMatrix(2, 3)
	bad.Data[5] = float32(math.Inf(1))
	if err := a.Answer(bad); pavise.KindOf(err) != pavise.Invalid || a.Rows() != 0 {
		t.Errorf("an infinite score: %v, %d rows taken", err, a.Rows())
	}
	if _, err := a.Steal(Theft{}, 10); pavise.KindOf(err) != pavise.Invalid {
		t.Errorf("a copy of nothing: %v", err)
	}
	if _, err := a.Steal(Theft{Surrogate: "forest"}, 10); pavise.KindOf(err) != pavise.Invalid {
		t.Errorf("an unknown surrogate: %v", err)
	}
}

// TestOddData has columns that are constant, huge, or of few rows.
func TestOddData(t *testing.T) {
	data := Data{Rows: learn.NewMatrix(6, 4)}
	for i := range 6 {
		copy(data.Rows.Row(i), []float32{7, float32(i) * 1e30, float32(i%2) * 1e-30, float32(i)})
	}
	v := func(x learn.Matrix) learn.Matrix {
		p := learn.NewMatrix(x.Rows, 2)
		for i := range x.Rows {
			p.Row(i)[0] = 0.25
			if x.Row(i)[1] > 2e30 {
				p.Row(i)[0] = 0.8
			}
			p.Row(i)[1] = 1 - p.Row(i)[0]
		}
		return p
	}
	for _, name := range Names() {
		a := begin(t, Config{Attack: name, Budget: 120, Classes: 2}, data)
		drive(t, a, v, 50)
		for _, s := range SurrogateNames {
			if _, _, err := a.Measure(Theft{Surrogate: s}, a.Rows(), Held{X: data.Rows, Victim: v(data.Rows).ArgMax()}); err != nil {
				t.Errorf("%s, %s: %v", name, s, err)
			}
		}
	}
}

// TestStateRefuses is handed states of other attacks, damaged and cut ones.
func TestStateRefuses(t *testing.T) {
	cfg, data := Config{Attack: "jbda", Budget: 100, Classes: 3}, blobs(50, 4, 3, 1)
	a := begin(t, cfg, data)
	drive(t, a, centres(4, 3), 30)
	state := a.State()
	other := cfg
	other.Seed = 1
	if _, err := Resume(other, data, state); pavise.KindOf(err) != pavise.Conflict {
		t.Errorf("another seed: %v", err)
	}
	if _, err := Resume(cfg, blobs(50, 4, 3, 2), state); pavise.KindOf(err) != pavise.Conflict {
		t.Errorf("other data: %v", err)
	}
	for _, bad := range [][]byte{nil, []byte("x"), state[:40], state[:len(state)-1], append(bytes.Clone(state), 0)} {
		if _, err := Resume(cfg, data, bad); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%d bytes: %v", len(bad), err)
		}
	}
	for i := 0; i < len(state); i += 97 {
		bad := bytes.Clone(state)
		bad[i] ^= 1
		if _, err := Resume(cfg, data, bad); pavise.KindOf(err) != pavise.Invalid && pavise.KindOf(err) != pavise.Conflict {
			t.Errorf("bit at byte %d: %v", i, err)
		}
	}
}
