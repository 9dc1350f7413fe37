package tier

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/firewall"
	"github.com/pavise/pavise/internal/tensor"
	"github.com/pavise/pavise/internal/watermark"
)

func scoresOf(d tensor.Datatype, classes int, list ...float64) *tensor.Response {
	return &tensor.Response{Outputs: []tensor.Tensor{{Name: "scores", Datatype: d, Shape: []int64{int64(len(list) / classes), int64(classes)}, Data: tensor.Data{Floats: list}}}}
}

func portsOf(shape ...int64) tensor.Signature {
	return tensor.Signature{Outputs: []tensor.Port{{Name: "scores", Datatype: tensor.FP32, Shape: shape}}}
}

// TestMeasures reads the words, and says which routes may have which.
func TestMeasures(t *testing.T) {
	for _, text := range []string{"guard", "budget", "label", "round:0", "round:3", "topk:2"} {
		m, err := ParseMeasure(text)
		if err != nil || m.String() != text || m.Alters() != (text != "budget") {
			t.Errorf("%s: %v, %v", text, m, err)
		}
		if err := m.Validate(true, firewall.Shape{}, portsOf(-1, 5)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if err := m.Validate(false, firewall.Shape{}, portsOf(-1, 5)); text != "budget" && pavise.KindOf(err) != pavise.Denied || text == "budget" && err != nil {
			t.Errorf("%s without consent: %v", text, err)
		}
		if err := m.Validate(true, firewall.Shape{}, portsOf(-1)); text != "budget" && pavise.KindOf(err) != pavise.Invalid || text == "budget" && err != nil {
			t.Errorf("%s of no classes: %v", text, err)
		}
	}
	for _, text := range []string{"", "full", "none", "guard:1", "round", "round:x", "Guard", "label:1"} {
		if m, err := ParseMeasure(text); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%q: %v, %v", text, m, err)
		}
	}
	if m, _ := ParseMeasure("round:12"); m.Validate(true, firewall.Shape{}, portsOf(-1, 5)) == nil {
		t.Error("12 digits are valid")
	}
	if (Measure{}).Alters() || (Measure{}).String() != Budget || Usual(true, firewall.Shape{}).String() != Guard || Usual(false, firewall.Shape{}).String() != Budget {
		t.Error("the usual measures are others")
	}
	for _, shape := range []firewall.Shape{{Kind: firewall.Label}, {Kind: firewall.Round}} { // which leave nothing to guard
		if m := Usual(true, shape); m.Alters() {
			t.Errorf("%v: %v is usual", shape, m)
		}
		for _, text := range []string{"guard", "label", "round:2", "topk:2"} {
			if m, _ := ParseMeasure(text); pavise.KindOf(m.Undone(shape)) != pavise.Invalid {
				t.Errorf("%s on %v alters something", text, shape)
			}
		}
		if (Measure{}).Undone(shape) != nil {
			t.Errorf("a budget on %v is refused", shape)
		}
	}
	if err := Usual(true, firewall.Shape{}).Undone(firewall.Shape{Kind: firewall.Round, Digits: 4}); err != nil {
		t.Error(err)
	}
	two := portsOf(-1, 5)
	two.Outputs = append(two.Outputs, tensor.Port{Name: "margin", Datatype: tensor.FP32, Shape: []int64{-1, 1}})
	if err := Usual(true, firewall.Shape{}).Validate(true, firewall.Shape{}, two); pavise.KindOf(err) != pavise.Invalid {
		t.Errorf("a single score beside the others cannot be guarded: %v", err)
	}
	if err := Usual(true, firewall.Shape{}).Validate(true, firewall.Shape{Scores: []string{"scores"}}, two); err != nil {
		t.Errorf("which is none of the scores: %v", err)
	}
}

// TestMeasuresOnAnswers: the answer has another spread, the same top, numbers that its type
// has, and the model's own stays as it was.
func TestMeasuresOnAnswers(t *testing.T) {
	guard := Usual(true, firewall.Shape{})
	for _, d := range []tensor.Datatype{tensor.FP64, tensor.FP32, tensor.FP16, tensor.BF16} {
		for _, row := range [][]float64{{0.7, 0.2, 0.1}, {0.125, 0.5, 0.375}, {0.34, 0.33, 0.33}, {0, 0, 1}, {0.25, 0.25, 0.5}} {
			for i := range row {
				row[i] = d.Round(row[i])
			}
			r := scoresOf(d, 3, slices.Clone(row)...)
			out, how, err := guard.Apply(r, Route{Shape: firewall.Shape{Kind: firewall.Round, Digits: 4}, MaxRows: 256})
			if err != nil || how != Guard && d != tensor.BF16 {
				t.Errorf("%s %v: %q, %v", d, row, how, err)
				continue
			}
			got := out.Outputs[0].Data.Floats
			if !slices.Equal(r.Outputs[0].Data.Floats, row) || slices.Equal(got, row) {
				t.Errorf("%s: %v became %v, and the model's own is %v", d, row, got, r.Outputs[0].Data.Floats)
			}
			top := slices.Index(row, slices.Max(row))
			for i, v := range got {
				if i != top && v >= got[top] || v < 0 || v > 1 || d.Round(v) != v {
					t.Errorf("%s: %v became %v", d, row, got)
				}
			}
		}
	}
	for name, r := range map[string]*tensor.Response{
		"logits": scoresOf(tensor.FP32, 3, 3.125, -1.5, 0.75),
		"two at the top, to the last bit, among many": scoresOf(tensor.FP32, 2, 0.3, 0.3),
	} {
		truth := r.Outputs[0].Data.Floats
		out, how, err := guard.Apply(r, Route{})
		if err != nil || how != drawn || len(out.Outputs) != 1 {
			t.Fatalf("%s: %q, %v", name, how, err)
		}
		got := out.Outputs[0].Data.Floats
		sum := 0.0
		for k, v := range got {
			sum += v
			if slices.Contains(truth, v) || k > 0 && v >= got[0] {
				t.Errorf("%s: %v became %v", name, truth, got)
			}
		}
		if math.Abs(sum-1) > 2e-3 {
			t.Errorf("%s: %v adds up to %v", name, got, sum)
		}
		if again, _, _ := guard.Apply(r, Route{}); !slices.Equal(again.Outputs[0].Data.Floats, got) {
			t.Errorf("%s: equal rows are answered unlike", name)
		}
	}
	if out, how, err := (Measure{}).Apply(scoresOf(tensor.FP32, 2, 1, 0), Route{}); err != nil || how != "" || out.Outputs[0].Data.Floats[0] != 1 {
		t.Errorf("budget alters: %q, %v", how, err)
	}
	if _, _, err := guard.Apply(scoresOf(tensor.FP32, 2, math.Inf(1), 0.25), Route{}); pavise.KindOf(err) != pavise.Unavailable {
		t.Errorf("no number: %v", err)
	}
	label, _ := ParseMeasure("label")
	if out, how, err := label.Apply(scoresOf(tensor.FP32, 3, 0.5, 0.2, 0.3), Route{}); err != nil || how != "label only" || !slices.Equal(out.Outputs[0].Data.Floats, []float64{1, 0, 0}) {
		t.Errorf("label: %q, %v", how, err)
	}
	if out, how, err := label.Apply(scoresOf(tensor.FP32, 1, 0.625), Route{}); err != nil || how != "rounded to 0 digits" || out.Outputs[0].Data.Floats[0] != 1 {
		t.Errorf("the label of one class: %q, %v", how, err)
	}
	top, _ := ParseMeasure("topk:1")
	if out, how, err := top.Apply(scoresOf(tensor.FP32, 3, -0.5, -0.25, -1), Route{}); err != nil || how != "label only" || !slices.Equal(out.Outputs[0].Data.Floats, []float64{0, 1, 0}) {
		t.Errorf("the top of logits below 0: %q, %v: a caller in green is answered", how, err)
	}
}

// TestNoAnswerIsTooLargeToBeGuarded has answers of many rows and of many classes, around and
// far above what is guarded in time: no row comes near the true one, all keep their top, and
// rounded as the route has them they have as many digits.
func TestNoAnswerIsTooLargeToBeGuarded(t *testing.T) {
	route := firewall.Shape{Kind: firewall.Round, Digits: 4}
	for _, c := range []struct {
		rows, classes int
		how           string
	}{
		{205, 10, Guard}, {512, 4, Guard}, {256, 128, Guard}, {guardMost / 8, 8, Guard},
		{256, 129, drawn}, {guardMost/8 + 1, 8, drawn}, {20_000, 10, drawn},
		{1, guardMost, Guard}, {1, guardMost + 1, drawn}, {1, 100_000, drawn}, {3, 100_000, drawn},
	} {
		rng := rand.New(rand.NewPCG(uint64(c.rows), uint64(c.classes)))
		var list []float64
		for range c.rows {
			list = append(list, softmax(rng, c.classes)...)
		}
		r := scoresOf(tensor.FP32, c.classes, list...)
		began := time.Now()
		out, how, err := Usual(true, route).Apply(r, Route{route, c.rows})
		t.Logf("%d × %d: %s, in %v", c.rows, c.classes, how, time.Since(began))
		if err != nil || how != c.how {
			t.Errorf("%d × %d: %q, %v", c.rows, c.classes, how, err)
			continue
		}
		given, _ := route.Apply(out)
		green, _ := route.Apply(r)
		digits, others := 0, 0
		for at := 0; at < len(list); at += c.classes {
			row, truth := given.Outputs[0].Data.Floats[at:at+c.classes], green.Outputs[0].Data.Floats[at:at+c.classes]
			away := 0.0
			for k, v := range row {
				away += math.Abs(v - truth[k])
				digits += one(math.Abs(v*100-math.Round(v*100)) > 1e-6)
				others += one(math.Abs(truth[k]*100-math.Round(truth[k]*100)) > 1e-6)
			}
			if top := slices.Index(list[at:at+c.classes], slices.Max(list[at:at+c.classes])); slices.Index(row, slices.Max(row)) != top {
				t.Fatalf("%d × %d: another class is on top", c.rows, c.classes)
			}
			if away < 0.01 {
				t.Fatalf("%d × %d: row %d is the true one: %.6v, %.6v", c.rows, c.classes, at/c.classes, row, truth)
			}
		}
		if c.classes <= 10 && digits*10 < others*8 {
			t.Errorf("%d × %d: %d scores of %d have more than two digits, and %d of the true ones", c.rows, c.classes, digits, len(list), others)
		}
	}
}

// TestGuardedRowsHoldNothingBack has scores that were emptied tell nothing of the true ones:
// the digits that they have are not the true score in small.
func TestGuardedRowsHoldNothingBack(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	for _, route := range []firewall.Shape{{}, {Kind: firewall.Round, Digits: 4}} {
		g := grain(route)
		near, all := 0, 0
		for range 400 {
			truth := softmax(rng, 10)
			out, _, err := Usual(true, route).Apply(scoresOf(tensor.FP64, 10, slices.Clone(truth)...), Route{Shape: route})
			if err != nil {
				t.Fatal(err)
			}
			for k, v := range out.Outputs[0].Data.Floats {
				if v < g { // it was emptied
					all++
					near += one(math.Abs(v/g-truth[k]) < 0.02*truth[k])
				}
			}
		}
		if all < 100 || near > all/10 {
			t.Errorf("%v: of %d emptied scores %d are the true ones in small", route, all, near)
		}
	}
}

// TestEqualRowsAreAnsweredAlike: no row is answered by its place, nor by what stands beside it,
// whatever the measure and however many rows and classes.
func TestEqualRowsAreAnsweredAlike(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	for _, c := range []struct{ maxRows, classes int }{{256, 100}, {256, 10}, {256, 1000}, {1, 100}} {
		row, rows := softmax(rng, c.classes), c.maxRows
		many := slices.Repeat(row, rows)
		for _, shape := range []firewall.Shape{{}, {Kind: firewall.Round, Digits: 4}, {Kind: firewall.TopK, K: 3}} {
			for _, text := range []string{"guard", "round:2", "topk:2", "label"} {
				m, _ := ParseMeasure(text)
				route := Route{shape, c.maxRows}
				alone, _, err := m.Apply(scoresOf(tensor.FP32, c.classes, row...), route)
				if err != nil {
					t.Fatal(err)
				}
				together, how, err := m.Apply(scoresOf(tensor.FP32, c.classes, many...), route)
				if err != nil {
					t.Fatal(err)
				}
				for at := range rows {
					if got := together.Outputs[0].Data.Floats[at*c.classes : (at+1)*c.classes]; !slices.Equal(got, alone.Outputs[0].Data.Floats) {
						t.Fatalf("%d × %d, %v, %s (%s): row %d is answered unlike the same row alone", rows, c.classes, shape, text, how, at)
					}
				}
			}
		}
	}
}

// TestAmberTellsNoMoreThanGreen: rows that callers in green cannot tell apart are the same in
// amber too, guarded, drawn or rounded; and the last bit of a score changes nothing that is drawn.
func TestAmberTellsNoMoreThanGreen(t *testing.T) {
	three := firewall.Shape{Kind: firewall.Round, Digits: 3}
	for name, c := range map[string]struct {
		shape firewall.Shape
		rows  [2][]float64
	}{
		"leaves":     {three, [2][]float64{{0.6124, 0.3876}, {0.6121, 0.3879}}},
		"logits":     {three, [2][]float64{{3.1252, -1.5, 0.75}, {3.1248, -1.5003, 0.75}}},
		"many":       {three, [2][]float64{{0.5004, 0.25, 0.2496}, {0.4996, 0.2504, 0.25}}},
		"the bottom": {firewall.Shape{Kind: firewall.TopK, K: 1}, [2][]float64{{0.5, 0.3, 0.2}, {0.5, 0.2, 0.3}}},
	} {
		for _, text := range []string{"guard", "round:3", "round:2", "topk:2", "label"} {
			m, _ := ParseMeasure(text)
			for _, most := range []int{256, guardMost} { // guarded where it can be, and drawn
				var told [2][]float64
				for i, row := range c.rows {
					out, _, err := m.Apply(scoresOf(tensor.FP64, len(row), row...), Route{c.shape, most})
					if err != nil {
						t.Fatal(err)
					}
					told[i] = out.Outputs[0].Data.Floats
				}
				if !slices.Equal(told[0], told[1]) {
					t.Errorf("%s, %s: %v and %v, which are shown alike, are told apart: %v and %v", name, text, c.rows[0], c.rows[1], told[0], told[1])
				}
			}
		}
	}
	guard := Usual(true, firewall.Shape{})
	for name, row := range map[string][]float64{"guarded": {0.7234567, 0.1765433, 0.1}, "drawn": {3.1234567, -1.2345678, 0}} {
		near := slices.Clone(row)
		near[0], near[1] = math.Nextafter(near[0], 9), math.Nextafter(near[1], 0)
		one, _, _ := guard.Apply(scoresOf(tensor.FP64, 3, row...), Route{})
		two, _, _ := guard.Apply(scoresOf(tensor.FP64, 3, near...), Route{})
		for k, v := range one.Outputs[0].Data.Floats {
			if w := two.Outputs[0].Data.Floats[k]; math.Abs(v-w) > 1e-12 {
				t.Errorf("%s: the last bit made %v of %v", name, w, v)
			}
		}
	}
}

// TestFewDecimalsStayFew: a row of few decimals becomes one of few, where nothing is rounded.
func TestFewDecimalsStayFew(t *testing.T) {
	for _, d := range []tensor.Datatype{tensor.FP64, tensor.FP32} {
		for _, c := range []struct {
			digits int
			row    []float64
		}{{2, []float64{0.25, 0.75}}, {2, []float64{0, 1, 0}}, {2, []float64{0.5, 0.5}}, {3, []float64{0.125, 0.5, 0.375}}, {2, []float64{3.25, -1.5, 12}}} {
			truth := slices.Clone(c.row)
			for k, v := range truth {
				truth[k] = d.Round(v)
			}
			out, _, err := Usual(true, firewall.Shape{}).Apply(scoresOf(d, len(truth), truth...), Route{})
			if err != nil {
				t.Fatal(err)
			}
			got, steps := out.Outputs[0].Data.Floats, math.Pow10(c.digits)
			for _, v := range got {
				if d.Round(math.Round(v*steps)/steps) != v {
					t.Errorf("%s: %v became %v", d, truth, got)
				}
			}
			if watermark.Top(got) != watermark.Top(truth) || slices.Equal(got, truth) {
				t.Errorf("%s: %v became %v", d, truth, got)
			}
		}
	}
}

func one(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

// softmax draws a row of probabilities of FP32.
func softmax(rng *rand.Rand, classes int) []float64 {
	row, sum := make([]float64, classes), 0.0
	for k := range row {
		row[k] = math.Exp(2.5 * rng.NormFloat64())
		sum += row[k]
	}
	for k := range row {
		row[k] = float64(float32(row[k] / sum))
	}
	return row
}

// BenchmarkAmber is what callers of routes pay whose callers in amber get guarded answers.
func BenchmarkAmber(b *testing.B) {
	for _, c := range [][2]int{{1, 10}, {64, 10}, {256, 10}, {512, 4}, {1, 1000}, {2000, 10}, {1, 100_000}} {
		rng := rand.New(rand.NewPCG(1, 1))
		var list []float64
		for range c[0] {
			list = append(list, softmax(rng, c[1])...)
		}
		r, route := scoresOf(tensor.FP32, c[1], list...), firewall.Shape{Kind: firewall.Round, Digits: 4}
		b.Run(fmt.Sprintf("%dx%d", c[0], c[1]), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := Usual(true, route).Apply(r, Route{route, c[0]}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*c[0]), "ns/row")
		})
	}
}

// TestMarksThatDoNotFit: what has no room in the record is answered truly, and so is what
// is no row of scores.
func TestMarksThatDoNotFit(t *testing.T) {
	b := newShelf(t).open(t)
	master := make([]byte, 32)
	master[0] = 1
	m, err := b.Marking(t.Context(), model, 0.05, master)
	if err != nil {
		t.Fatal(err)
	}
	asked := &tensor.Request{Inputs: []tensor.Tensor{{Name: "x", Datatype: tensor.FP32, Shape: []int64{1000, 2}}}}
	said := scoresOf(tensor.FP32, 2, slices.Repeat([]float64{0.75, 0.25}, 1000)...)
	for i := range 2000 {
		asked.Inputs[0].Data.Floats = append(asked.Inputs[0].Data.Floats, float64(i))
	}
	count := func(out *tensor.Response) (n int) {
		for i := range 1000 {
			n += int(out.Outputs[0].Data.Floats[2*i+1]) // never
			if out.Outputs[0].Data.Floats[2*i] == 0.25 {
				n++
			}
		}
		return n
	}
	full := m.Apply(asked, said, 1<<20)
	all := count(full.Response)
	if full.Marks != all || full.Dropped != 0 || all < 20 || all > 90 || len(full.Kept) < 1000 || count(said) != 0 {
		t.Errorf("%d marks of 1000: %+v", all, full.Marks)
	}
	rows := bytes.Count(full.Kept, []byte(`"input"`))
	some := m.Apply(asked, said, 900)
	if n := count(some.Response); n != some.Marks || n >= all || n < 1 || len(some.Kept) > 900 || some.Dropped != rows-bytes.Count(some.Kept, []byte(`"input"`)) {
		t.Errorf("%d marks, %d bytes are kept, %d are dropped of %d", n, len(some.Kept), some.Dropped, rows)
	}
	if none := m.Apply(asked, said, 1); none.Response != said || len(none.Kept) != 0 || none.Dropped != rows {
		t.Errorf("%+v", none)
	}
	for name, r := range map[string]*tensor.Response{
		"no outputs": {}, "ten rows": scoresOf(tensor.FP32, 2, make([]float64, 20)...), "one class": scoresOf(tensor.FP32, 1, make([]float64, 1000)...),
	} {
		if out := m.Apply(asked, r, 1<<20); out.Response != r || name != "one class" && out.Unfit == "" {
			t.Errorf("%s: marked, or %q", name, out.Unfit)
		}
	}
	of := func(d tensor.Datatype, shape ...int64) tensor.Signature {
		sig := portsOf(-1, 5)
		sig.Inputs = []tensor.Port{{Name: "x", Datatype: tensor.FP32, Shape: []int64{-1, 3}}, {Name: "y", Datatype: d, Shape: shape}}
		return sig
	}
	for name, sig := range map[string]tensor.Signature{
		"one class": portsOf(-1, 1), "texts": of(tensor.Bytes, -1, 1), "truths": of(tensor.Bool, -1, 1),
		"rows that no list of marks takes": of(tensor.FP32, -1, watermark.MaxColumns-2), "far more": of(tensor.FP32, -1, 1<<40, 1<<40),
	} {
		if err := CanMark(sig); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, sig := range map[string]tensor.Signature{
		"two": portsOf(-1, 2), "any number": portsOf(-1, -1), "images": of(tensor.Uint8, -1, 28, 28), "the widest": of(tensor.FP32, -1, watermark.MaxColumns-3), "of any width": of(tensor.FP32, -1, -1),
	} {
		if err := CanMark(sig); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	other, err := b.Marking(t.Context(), model, 0.01, master)
	if err != nil || other.Key.Commitment() == m.Key.Commitment() {
		t.Errorf("another rate has the same key, or %v", err)
	}
	keys, err := b.Keys(t.Context(), model, master)
	if err != nil || len(keys) != 2 {
		t.Errorf("%d keys, %v", len(keys), err)
	}
	if again, err := b.Marking(t.Context(), model, 0.05, master); err != nil || again.Key.Commitment() != m.Key.Commitment() {
		t.Errorf("the key is another: %v", err)
	}
}
