package tier

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/firewall"
	"github.com/pavise/pavise/internal/tensor"
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
	if (Measure{}).Alters() || (Measure{}).String() != Budget || Usual(true).String() != Guard || Usual(false).String() != Budget {
		t.Error("the usual measures are others")
	}
}

// TestMeasuresOnAnswers: the answer has another spread, the same top, numbers that its type
// has, and the model's own stays as it was.
func TestMeasuresOnAnswers(t *testing.T) {
	guard := Usual(true)
	for _, d := range []tensor.Datatype{tensor.FP64, tensor.FP32, tensor.FP16, tensor.BF16} {
		for _, row := range [][]float64{{0.7, 0.2, 0.1}, {0.125, 0.5, 0.375}, {0.34, 0.33, 0.33}, {0, 0, 1}, {0.25, 0.25, 0.5}} {
			for i := range row {
				row[i] = d.Round(row[i])
			}
			r := scoresOf(d, 3, slices.Clone(row)...)
			out, how, err := guard.Apply(r, firewall.Shape{Kind: firewall.Round, Digits: 4})
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
		out, how, err := guard.Apply(r, firewall.Shape{})
		if err != nil || how != "rounded to 2 digits" || len(out.Outputs) != 1 {
			t.Errorf("%s: %q, %v", name, how, err)
		}
	}
	if out, how, err := (Measure{}).Apply(scoresOf(tensor.FP32, 2, 1, 0), firewall.Shape{}); err != nil || how != "" || out.Outputs[0].Data.Floats[0] != 1 {
		t.Errorf("budget alters: %q, %v", how, err)
	}
	if _, _, err := guard.Apply(scoresOf(tensor.FP32, 2, math.Inf(1), 0.25), firewall.Shape{}); pavise.KindOf(err) != pavise.Unavailable {
		t.Errorf("no number: %v", err)
	}
	label, _ := ParseMeasure("label")
	if out, how, err := label.Apply(scoresOf(tensor.FP32, 3, 0.5, 0.2, 0.3), firewall.Shape{}); err != nil || how != "label only" || !slices.Equal(out.Outputs[0].Data.Floats, []float64{1, 0, 0}) {
		t.Errorf("label: %q, %v", how, err)
	}
	if out, how, err := label.Apply(scoresOf(tensor.FP32, 1, 0.125), firewall.Shape{}); err != nil || how != "rounded to 2 digits" || len(out.Outputs) != 1 {
		t.Errorf("the label of one class: %q, %v", how, err)
	}
	top, _ := ParseMeasure("topk:1")
	if out, how, err := top.Apply(scoresOf(tensor.FP32, 3, -0.5, -0.25, -1), firewall.Shape{}); err != nil || how != "rounded to 2 digits" || out.Outputs[0].Data.Floats[1] != -0.25 {
		t.Errorf("the top of logits below 0: %q, %v: a caller in green is answered", how, err)
	}
}

// TestWideAnswersAreRounded: what takes long to guard is rounded instead, and the record
// says so. A hundred thousand classes take no longer than others.
func TestWideAnswersAreRounded(t *testing.T) {
	for _, classes := range []int{guardMost, guardMost + 1, 100_000} {
		row := make([]float64, classes)
		for i := range row {
			row[i] = 0.5 / float64(classes)
		}
		row[7] += 0.5
		began := time.Now()
		out, how, err := Usual(true).Apply(scoresOf(tensor.FP32, classes, row...), firewall.Shape{Kind: firewall.Round, Digits: 4})
		t.Logf("%d classes: %s, in %v", classes, how, time.Since(began))
		if want := map[bool]string{true: Guard, false: "rounded to 2 digits"}[classes <= guardMost]; err != nil || how != want {
			t.Errorf("%d classes: %q, %v", classes, how, err)
		}
		if got := out.Outputs[0].Data.Floats; slices.Index(got, slices.Max(got)) != 7 {
			t.Errorf("%d classes: another one is on top", classes)
		}
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
	out, kept, altered := m.Apply(asked, said, 1<<20)
	all := count(out)
	if !altered || all < 20 || all > 90 || len(kept) < 1000 || count(said) != 0 {
		t.Errorf("%d marks of 1000, %d bytes are kept; %v", all, len(kept), altered)
	}
	out, kept, altered = m.Apply(asked, said, 900)
	if n := count(out); !altered || n >= all || n < 1 || len(kept) > 900 {
		t.Errorf("%d marks, %d bytes are kept", n, len(kept))
	}
	if _, kept, altered := m.Apply(asked, said, 1); altered || len(kept) != 0 {
		t.Errorf("%q is kept", kept)
	}
	for name, r := range map[string]*tensor.Response{
		"no outputs": {}, "ten rows": scoresOf(tensor.FP32, 2, make([]float64, 20)...), "one class": scoresOf(tensor.FP32, 1, make([]float64, 1000)...),
	} {
		if out, _, altered := m.Apply(asked, r, 1<<20); altered || out != r {
			t.Errorf("%s: marked", name)
		}
	}
	if err := CanMark(portsOf(-1, 1)); pavise.KindOf(err) != pavise.Invalid {
		t.Errorf("one class: %v", err)
	}
	if CanMark(portsOf(-1, 2)) != nil || CanMark(portsOf(-1, -1)) != nil {
		t.Error("scores cannot be marked")
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
