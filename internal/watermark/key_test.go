package watermark

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
)

// vectors are those of docs/formats/watermark-key.md. A program that shares no code with
// this one made them.
type vectors []struct {
	Name, Master, Model, Secret, Text, Commitment string
	Fates                                         []struct {
		Input  []float64
		Fate   string
		Role   string
		Labels []struct{ Top, Classes, Label int }
	}
}

func readVectors(t testing.TB) (v vectors) {
	t.Helper()
	text, err := os.ReadFile("testdata/vectors.json")
	if err == nil {
		err = json.Unmarshal(text, &v)
	}
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestVectors(t *testing.T) {
	roles := map[string]Role{"plain": Plain, "marked": Marked, "control": Control}
	for _, v := range readVectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			master, err := hex.DecodeString(v.Master)
			if err != nil {
				t.Fatal(err)
			}
			secret, err := Derive(master, v.Model)
			if got := hex.EncodeToString(secret[:]); err != nil || got != v.Secret {
				t.Errorf("secret %s, want %s (%v)", got, v.Secret, err)
			}
			k, err := ParseKey([]byte(v.Text))
			if err != nil {
				t.Fatal(err)
			}
			if k.Commitment() != v.Commitment {
				t.Errorf("commitment %s, want %s", k.Commitment(), v.Commitment)
			}
			if again, err := ParseKey(k.Text()); err != nil || again.Commitment() != v.Commitment {
				t.Errorf("written and read: %v", err)
			}
			if strings.Contains(fmt.Sprintf("%v %+v %#v %s", k, k, k, k), v.Secret) {
				t.Error("the key prints its secret")
			}
			m := k.Marker()
			for _, want := range v.Fates {
				f, ok := m.Fate(want.Input)
				if got := hex.EncodeToString(f.sum[:]); !ok || got != want.Fate || f.Role != roles[want.Role] {
					t.Errorf("%v: fate %s and role %d, want %s and %s", want.Input, got, f.Role, want.Fate, want.Role)
				}
				for _, l := range want.Labels {
					if got := f.Label(l.Top, l.Classes); got != l.Label {
						t.Errorf("%v: class %d of %d is marked with %d, want %d", want.Input, l.Top, l.Classes, got, l.Label)
					}
				}
			}
		})
	}
}

// TestMarksVector reads the list of marks of the vectors.
func TestMarksVector(t *testing.T) {
	text, err := os.ReadFile("testdata/marks.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	m, err := ReadMarks(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	k, err := ParseKey([]byte(readVectors(t)[0].Text))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Hold(k.Marker()); err != nil {
		t.Error(err)
	}
	var b bytes.Buffer
	if err := m.Write(&b); err != nil || !bytes.Equal(b.Bytes(), text) {
		t.Errorf("written anew it is %q (%v)", b.Bytes(), err)
	}
}

// TestKeysThatAreRefused has every kind of fault, and never the secret in its words.
func TestKeysThatAreRefused(t *testing.T) {
	good := readVectors(t)[0]
	for name, c := range map[string]struct {
		was, is string
		kind    pavise.Kind
	}{
		"nothing":             {good.Text, "", pavise.Invalid},
		"no JSON":             {good.Text, "-----BEGIN KEY-----", pavise.Invalid},
		"another format":      {"key/1", "key/2", pavise.Invalid},
		"another rate":        {"0.005", "0.006", pavise.Unverified},
		"a large rate":        {"0.005", "0.5", pavise.Invalid},
		"no rate":             {"0.005", "0", pavise.Invalid},
		"a rate in words":     {"0.005", `"0.005"`, pavise.Invalid},
		"a long rate":         {"0.005", "0.0050", pavise.Invalid},
		"another model":       {`"digits"`, `"letters"`, pavise.Unverified},
		"no model":            {`"digits"`, `""`, pavise.Invalid},
		"a path as a model":   {`"digits"`, `"../digits"`, pavise.Invalid},
		"another secret":      {good.Secret, strings.Repeat("ab", 32), pavise.Unverified},
		"a zero secret":       {good.Secret, strings.Repeat("00", 32), pavise.Invalid},
		"a short secret":      {good.Secret, good.Secret[2:], pavise.Invalid},
		"capitals":            {good.Secret, strings.ToUpper(good.Secret), pavise.Invalid},
		"another commitment":  {good.Commitment, strings.Repeat("ab", 32), pavise.Unverified},
		"a field twice":       {`"rate": 0.005`, `"rate": 0.005, "rate": 0.005`, pavise.Invalid},
		"a field in capitals": {`"rate"`, `"Rate"`, pavise.Invalid},
		"an unknown field":    {`"rate"`, `"more": 1, "rate"`, pavise.Invalid},
		"another order":       {`"rate": 0.005,`, "", pavise.Invalid},
		"something behind":    {"}\n", "} {}", pavise.Invalid},
		"another quantiser":   {`"exact"`, `"rough"`, pavise.Invalid},
		"exact with numbers":  {`"exact"`, `"exact", "scale": [1]`, pavise.Invalid},
		"cells without any":   {`"exact"`, `"cells"`, pavise.Invalid},
		"a local time":        {"03:00:00Z", "03:00:00+01:00", pavise.Invalid},
		"no time":             {"2026-11-27T03:00:00Z", "yesterday", pavise.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			at := strings.LastIndex(good.Text, c.was)
			text := good.Text[:at] + c.is + good.Text[at+len(c.was):]
			_, err := ParseKey([]byte(text))
			if pavise.KindOf(err) != c.kind {
				t.Fatalf("%v is of kind %v, want %v", err, pavise.KindOf(err), c.kind)
			}
			if strings.Contains(err.Error(), good.Secret[:16]) {
				t.Errorf("tells the secret: %v", err)
			}
		})
	}
	if _, err := ParseKey(make([]byte, MaxKeyText+1)); pavise.KindOf(err) != pavise.Invalid {
		t.Errorf("a large one: %v", err)
	}
	if _, err := Derive([]byte("short"), "digits"); pavise.KindOf(err) != pavise.Invalid {
		t.Errorf("a short master secret: %v", err)
	}
}

// TestRates draws inputs: as many are marked, and serve as controls, as the rate says, and
// each other class is as likely.
func TestRates(t *testing.T) {
	const rows, classes, top = 200_000, 5, 2
	k, rng := keyOf(t, 1, 0.02, Quantiser{Kind: Exact}), rand.New(rand.NewPCG(1, 2))
	m := k.Marker()
	roles, labels := map[Role]int{}, make([]int, classes)
	for range rows {
		f, ok := m.Fate([]float64{rng.NormFloat64(), rng.NormFloat64()})
		if !ok {
			t.Fatal("no fate")
		}
		if roles[f.Role]++; f.Role == Marked {
			labels[f.Label(top, classes)]++
		}
	}
	within := func(what string, got int, want float64) {
		if math.Abs(float64(got)-want) > 4*math.Sqrt(want) {
			t.Errorf("%s: %d, want about %.0f", what, got, want)
		}
	}
	within("marked", roles[Marked], 0.02*rows)
	within("controls", roles[Control], 0.08*rows)
	for class, n := range labels {
		if class == top && n > 0 {
			t.Errorf("%d are marked with the true class", n)
		} else if class != top {
			within(fmt.Sprint("class ", class), n, float64(roles[Marked])/(classes-1))
		}
	}
}

// TestAnswers marks scores: the same numbers stand in the answer, the marked class is on
// top, and what cannot be marked is left alone and not kept.
func TestAnswers(t *testing.T) {
	k, rng := keyOf(t, 2, MaxRate, Quantiser{Kind: Exact}), rand.New(rand.NewPCG(3, 4))
	m, seen := k.Marker(), map[Role]int{}
	for range 4000 {
		input := []float64{rng.NormFloat64()}
		scores := make([]float64, 6)
		for i := range scores {
			scores[i] = rng.Float64()
		}
		was := slices.Clone(scores)
		f, _ := m.Fate(input)
		mark, given := m.Answer(input, scores)
		if given != (f.Role != Plain) {
			t.Fatalf("role %d, and given is %v", f.Role, given)
		}
		if seen[f.Role]++; f.Role != Marked {
			if !slices.Equal(was, scores) || mark.Marked != nil {
				t.Fatalf("role %d: %v became %v", f.Role, was, scores)
			}
			continue
		}
		if mark.True != Top(was) || *mark.Marked != Top(scores) || *mark.Marked != f.Label(mark.True, 6) {
			t.Fatalf("%+v: %v became %v", mark, was, scores)
		}
		sorted := slices.Sorted(slices.Values(scores))
		if slices.Sort(was); !slices.Equal(sorted, was) {
			t.Fatalf("other numbers: %v", scores)
		}
		if _, other, _ := m.AnswerLabel(input, mark.True, 6); *other.Marked != *mark.Marked {
			t.Fatal("labels and scores are marked with different classes")
		}
		for _, odd := range [][]float64{{}, {1}, {0.5, 0.5}, {math.NaN(), 1}, {math.Inf(1), 0}} {
			before := fmt.Sprint(odd)
			if _, given := m.Answer(input, odd); given || fmt.Sprint(odd) != before {
				t.Fatalf("%s: given %v, now %v", before, given, odd)
			}
		}
	}
	if seen[Marked] == 0 || seen[Control] == 0 {
		t.Errorf("%v", seen)
	}
}

// TestCells moves inputs a little: those in cells keep their fate, exact ones do not, and
// noise as large as the data's spread gets any input out of its cell.
func TestCells(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	rows := make([][]float64, 2000)
	scales := []float64{1, 1e6, 1e-3, 255, 0, 1} // as those of tables are
	draw := func() []float64 {
		row := make([]float64, 60)
		for j := range row {
			row[j] = scales[j%len(scales)] * rng.NormFloat64()
		}
		return row
	}
	for i := range rows {
		rows[i] = draw()
	}
	var secret [SecretSize]byte
	secret[0] = 1
	q, fit, err := FitCells(secret, rows)
	if err != nil {
		t.Fatal(err)
	}
	if float64(fit.Cells) < alike*float64(fit.Unlike) || fit.Rows != len(rows) {
		t.Errorf("%+v", fit)
	}
	crossed := func(q Quantiser, noise float64) float64 {
		k, err := NewKey(secret, "m", 0.005, time.Unix(1.7e9, 0), q)
		if err != nil {
			t.Fatal(err)
		}
		m, n := k.Marker(), 0
		for _, row := range rows {
			was, _ := m.Fate(row)
			moved := slices.Clone(row)
			for j := range moved {
				moved[j] += noise * scales[j%len(scales)] * rng.NormFloat64()
			}
			is, _ := m.Fate(moved)
			n += one(is.sum != was.sum)
		}
		return float64(n) / float64(len(rows))
	}
	if share := crossed(Quantiser{Kind: Exact}, 1e-4); share < 0.99 {
		t.Errorf("exact: a change of 0.0001 changes %.3f of the fates", share)
	}
	for _, c := range []struct{ noise, least, most float64 }{{0, 0, 0}, {0.001, 0, 0.03}, {0.01, 0.06, 0.2}, {0.1, 0.5, 0.95}, {1, 0.99, 1}} {
		share := crossed(q, c.noise)
		t.Logf("noise %v of the spread: %.3f of the fates change", c.noise, share)
		if share < c.least || share > c.most {
			t.Errorf("noise %v: %.3f of the fates change, want %v to %v", c.noise, share, c.least, c.most)
		}
	}
	k, err := NewKey(secret, "m", 0.005, time.Unix(1.7e9, 0), q)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := ParseKey(k.Text()); err != nil || again.Commitment() != k.Commitment() {
		t.Errorf("written and read: %v", err)
	}
	for _, odd := range [][]float64{nil, rows[0][1:], append(slices.Clone(rows[0][1:]), math.NaN()), append(slices.Clone(rows[0][1:]), math.Inf(1))} {
		if _, ok := k.Marker().Fate(odd); ok {
			t.Errorf("%d columns, the last one %v: has a fate", len(odd), odd)
		}
	}
}

// TestCellsThatAreRefused has rows that nothing can be fitted to, and rows that are almost
// all the same.
func TestCellsThatAreRefused(t *testing.T) {
	var secret [SecretSize]byte
	for name, rows := range map[string][][]float64{
		"none":         nil,
		"one":          {{1, 2}},
		"ragged":       {{1, 2}, {1}},
		"no numbers":   {{1, 2}, {1, math.NaN()}},
		"all the same": {{1, 2}, {1, 2}, {1, 2}},
		"no columns":   {{}, {}},
		"beyond":       {{1e300}, {-1e300}},
	} {
		if _, _, err := FitCells(secret, rows); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	same := slices.Repeat([][]float64{{1, 2}}, 99)
	if _, fit, err := FitCells(secret, append(same, []float64{1, 3})); err != nil || fit.Fullest != 0.99 || fit.Unlike != 2 {
		t.Errorf("%+v, %v", fit, err)
	}
}

func FuzzParseKey(f *testing.F) {
	for _, v := range readVectors(f) {
		f.Add([]byte(v.Text))
	}
	f.Add([]byte(`{"format":"pavise-watermark-key/1"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		k, err := ParseKey(text)
		if err != nil {
			return
		}
		again, err := ParseKey(k.Text())
		if err != nil || again.Commitment() != k.Commitment() {
			t.Fatalf("read %q, written %q (%v)", text, k.Text(), err)
		}
		k.Marker().Fate([]float64{1, 2, 3})
	})
}

// BenchmarkFate is what a marker adds to each answer.
func BenchmarkFate(b *testing.B) {
	rng := rand.New(rand.NewPCG(7, 8))
	for _, columns := range []int{64, 784} {
		var rows [][]float64
		for range 100 {
			row := make([]float64, columns)
			for j := range row {
				row[j] = rng.Float64()
			}
			rows = append(rows, row)
		}
		q, _, err := FitCells([SecretSize]byte{1}, rows)
		if err != nil {
			b.Fatal(err)
		}
		for _, q := range []Quantiser{{Kind: Exact}, q} {
			m := keyOf(b, 1, 0.005, q).Marker()
			b.Run(fmt.Sprint(q.Kind, "-", columns), func(b *testing.B) {
				b.ReportAllocs()
				i := 0
				for b.Loop() {
					m.Fate(rows[i%100])
					i++
				}
			})
		}
	}
}
