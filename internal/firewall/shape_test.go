package firewall

import (
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/tensor"
)

func scores(d tensor.Datatype, rows, classes int64, v ...float64) *tensor.Response {
	return &tensor.Response{Model: "m", Outputs: []tensor.Tensor{
		{Name: "p", Datatype: d, Shape: []int64{rows, classes}, Data: tensor.Data{Floats: v}},
		{Name: "label", Datatype: tensor.Int64, Shape: []int64{rows}, Data: tensor.Data{Ints: make([]int64, rows)}},
	}}
}

func TestShapeApply(t *testing.T) {
	const allow, alter, deny = pavise.Allow, pavise.Alter, pavise.Deny
	for name, tt := range map[string]struct {
		shape   Shape
		in      []float64 // one row
		want    []float64
		outcome pavise.Outcome
		reason  string
	}{
		"zero shape":       {Shape{}, []float64{.123, .877}, []float64{.123, .877}, allow, ""},
		"full":             {Shape{Kind: Full}, []float64{.123, .877}, []float64{.123, .877}, allow, ""},
		"round":            {Shape{Kind: Round, Digits: 1}, []float64{.123, .877}, []float64{.1, .9}, allow, "rounded to 1 digits"},
		"nothing to round": {Shape{Kind: Round, Digits: 1}, []float64{.5, .5}, []float64{.5, .5}, allow, ""},
		"no negative zero": {Shape{Kind: Round, Digits: 1}, []float64{-.01, .5}, []float64{0, .5}, allow, "rounded"},
		"top rounded up":   {Shape{Kind: Round, Digits: 1}, []float64{.26, .34, .26}, []float64{.3, .4, .3}, allow, "rounded"},
		"others down":      {Shape{Kind: Round, Digits: 1}, []float64{.26, .29, .25}, []float64{.2, .3, .2}, allow, "rounded"},
		"bounds are kept":  {Shape{Kind: Round, Digits: 2}, []float64{.998, .999, 1}, []float64{.99, .99, 1}, allow, "rounded"},
		"all near zero":    {Shape{Kind: Round, Digits: 0}, []float64{.1, .2, .1}, []float64{0, 1, 0}, allow, "rounded"},
		"equal tops":       {Shape{Kind: Round, Digits: 1}, []float64{.31, .32, .32}, []float64{.3, .4, .4}, allow, "rounded"},
		"large logits":     {Shape{Kind: Round, Digits: 9}, []float64{1e300, 1e299}, []float64{1e300, 1e299}, allow, ""},
		"topk":             {Shape{Kind: TopK, K: 2}, []float64{.1, .4, .2, .3}, []float64{0, .4, 0, .3}, alter, "only the top 2 scores"},
		"topk of equals":   {Shape{Kind: TopK, K: 2}, []float64{.1, .3, .3, .3}, []float64{0, .3, .3, 0}, alter, "top 2"},
		"topk of fewer":    {Shape{Kind: TopK, K: 5}, []float64{.4, .6}, []float64{.4, .6}, allow, ""},
		"topk of logits":   {Shape{Kind: TopK, K: 1}, []float64{-5, -1, -3}, nil, deny, "use label"},
		"label":            {Shape{Kind: Label}, []float64{-5, -1, -3}, []float64{0, 1, 0}, alter, "label only"},
		"label of equals":  {Shape{Kind: Label}, []float64{.1, .45, .45}, []float64{0, 1, 0}, alter, "label only"},
		"label as it was":  {Shape{Kind: Label}, []float64{0, 1}, []float64{0, 1}, allow, ""},
		"one class":        {Shape{Kind: Label}, []float64{.3}, nil, deny, "one class"},
		"NaN":              {Shape{Kind: Label}, []float64{math.NaN(), 1}, nil, deny, "holds NaN at element 0"},
		"wrong output":     {Shape{Kind: Label, Scores: []string{"label"}}, []float64{0, 1}, nil, deny, `output "label" is INT64`},
		"named":            {Shape{Kind: Label, Scores: []string{"p"}}, []float64{.2, .8}, []float64{0, 1}, alter, "label only"},
		"unknown kind":     {Shape{Kind: "blur"}, []float64{.2, .8}, nil, deny, "unknown shape"},
	} {
		in := scores(tensor.FP64, 1, int64(len(tt.in)), slices.Clone(tt.in)...)
		out, v := tt.shape.Apply(in)
		if v.Check != "shape" || v.Outcome != tt.outcome || !strings.Contains(v.Reason, tt.reason) || (tt.reason == "") != (v.Reason == "") {
			t.Errorf("%s: verdict %+v", name, v)
		}
		if !slices.EqualFunc(in.Outputs[0].Data.Floats, tt.in, func(a, b float64) bool { return a == b || a != a && b != b }) {
			t.Errorf("%s: the true answer became %v", name, in.Outputs[0].Data.Floats)
		}
		if tt.want == nil {
			if out != nil {
				t.Errorf("%s: denied and answered", name)
			}
			continue
		}
		got := out.Outputs[0].Data.Floats
		if !slices.Equal(got, tt.want) || slices.ContainsFunc(got, func(v float64) bool { return v == 0 && math.Signbit(v) }) {
			t.Errorf("%s: got %v, want %v", name, got, tt.want)
		}
		out.Outputs[0].Data.Floats, in.Outputs[0].Data.Floats = nil, nil
		if !reflect.DeepEqual(out, in) {
			t.Errorf("%s: more than scores changed: %+v", name, out)
		}
	}
}

// A float output that is no rows × classes must not slip past unshaped, and one
// that a model in this process got wrong must not crash us.
func TestShapeDeniesOtherOutputs(t *testing.T) {
	for _, dims := range [][]int64{{2}, {2, 1, 1}, {2, 2}, {2, 0}, {-1, -2}, nil} {
		r := &tensor.Response{Outputs: []tensor.Tensor{{Name: "e", Datatype: tensor.FP32, Shape: dims, Data: tensor.Data{Floats: []float64{.1, .2}}}}}
		if out, v := (Shape{Kind: Round, Digits: 1}).Apply(r); out != nil || v.Outcome != pavise.Deny {
			t.Errorf("shape %d: got %+v, %+v", dims, out, v)
		}
	}
}

func TestShapeValidate(t *testing.T) {
	for _, tt := range []struct {
		shape     Shape
		alterable bool
		purpose   string
		ok        bool
	}{
		{Shape{}, false, "security", true},
		{Shape{Kind: Full}, false, "", true},
		{Shape{Kind: Round, Digits: 4}, false, "health", true},
		{Shape{Kind: Round, Digits: 10}, false, "", false},
		{Shape{Kind: Round, Digits: -1}, false, "", false},
		{Shape{Kind: TopK, K: 3}, true, "marketing", true},
		{Shape{Kind: TopK, K: 3}, false, "marketing", false},
		{Shape{Kind: TopK}, true, "marketing", false},
		{Shape{Kind: Label}, true, "marketing", true},
		{Shape{Kind: Label}, false, "marketing", false},
		{Shape{Kind: Label}, true, "access", false},
		{Shape{}, true, "security", false},
		{Shape{}, true, "Health", false},
		{Shape{Kind: "blur"}, true, "", false},
	} {
		if err := tt.shape.Validate(tt.alterable, tt.purpose); (err == nil) != tt.ok {
			t.Errorf("%+v alterable=%v purpose=%q: %v", tt.shape, tt.alterable, tt.purpose, err)
		}
	}
}

func TestShapeValidateFor(t *testing.T) {
	sig := loginSignature()
	for _, tt := range []struct {
		shape Shape
		ok    bool
	}{
		{Shape{Kind: Label}, true},
		{Shape{Kind: Label, Scores: []string{"scores"}}, true},
		{Shape{Kind: Label, Scores: []string{"score"}}, false},
		{Shape{Kind: Label, Scores: []string{"label"}}, false},
		{Shape{}, true},
		{Shape{Kind: Full}, true},
	} {
		if err := tt.shape.ValidateFor(sig); (err == nil) != tt.ok {
			t.Errorf("%+v: %v", tt.shape, err)
		}
	}
	sig.Outputs[0].Shape = []int64{-1}
	if err := (Shape{Kind: Label}).ValidateFor(sig); err == nil {
		t.Error("a float output of one dimension can be shaped")
	}
	if err := (Shape{}).ValidateFor(sig); err != nil {
		t.Error(err)
	}
}

// A shape that every answer would fail, or that hides nothing, is refused before
// anybody asks.
func TestShapeNeedsClasses(t *testing.T) {
	for _, tt := range []struct {
		classes int64
		shape   Shape
		why     string // "" is good
	}{
		{1, Shape{Kind: Label}, "one class"},
		{2, Shape{Kind: Label}, ""},
		{-1, Shape{Kind: Label}, ""},
		{1, Shape{Kind: TopK, K: 1}, "the top 1 are all"},
		{3, Shape{Kind: TopK, K: 2}, ""},
		{3, Shape{Kind: TopK, K: 3}, "3 classes"},
		{3, Shape{Kind: TopK, K: 4}, "3 classes"},
		{-1, Shape{Kind: TopK, K: 4}, ""},
		{1, Shape{Kind: Round, Digits: 1}, ""},
		{1, Shape{Kind: Full}, ""},
		{1, Shape{Kind: Label, Scores: []string{"q"}}, ""},
	} {
		sig := tensor.Signature{Outputs: []tensor.Port{{Name: "p", Datatype: tensor.FP32, Shape: []int64{-1, tt.classes}}, {Name: "q", Datatype: tensor.FP32, Shape: []int64{-1, 9}}}}
		err := tt.shape.ValidateFor(sig)
		if (err == nil) != (tt.why == "") || err != nil && !strings.Contains(err.Error(), tt.why) {
			t.Errorf("%d classes, %+v: %v", tt.classes, tt.shape, err)
		}
	}
	err := Shape{Kind: Label}.Validate(false, "")
	if e, ok := errors.AsType[*pavise.Error](err); !ok || !strings.Contains(e.Hint, "--alterable") {
		t.Errorf("%+v does not say how", err)
	}
}

// Rounding must keep the top class, stay within one step of the truth and within
// whole bounds, for every datatype and any closeness of scores.
func TestRoundKeepsTop(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 60000 {
		d := []tensor.Datatype{tensor.FP16, tensor.FP32, tensor.FP64}[rng.IntN(3)]
		digits := rng.IntN(maxDigits + 1)
		row := closeScores(rng, d, digits)
		got := slices.Clone(row)
		RoundRow(got, digits, d)
		if argmax(got) != argmax(row) {
			t.Fatalf("%s to %d digits: %v became %v", d, digits, row, got)
		}
		step := 1/math.Pow10(digits) + map[tensor.Datatype]float64{tensor.FP16: 0x1p-11, tensor.FP32: 0x1p-24, tensor.FP64: 0x1p-52}[d]
		for i := range row {
			if math.Abs(got[i]-row[i]) > step || got[i] != d.Round(got[i]) || got[i] < 0 || got[i] > 1 {
				t.Fatalf("%s to %d digits: %v became %v", d, digits, row, got)
			}
		}
	}
}

// closeScores returns scores in [0, 1], often next to each other and next to a
// step or the middle between two.
func closeScores(rng *rand.Rand, d tensor.Datatype, digits int) []float64 {
	row := make([]float64, 2+rng.IntN(5))
	centre := math.Round(rng.Float64()*2*math.Pow10(digits)) / 2 / math.Pow10(digits)
	spread := math.Pow(10, -float64(rng.IntN(18)))
	for i := range row {
		row[i] = d.Round(min(1, max(0, centre+spread*(rng.Float64()-.5))))
	}
	return row
}

// TestShapedOneAfterAnother has answers shaped where others lay before, and leaves those
// that they were made of as they were.
func TestShapedOneAfterAnother(t *testing.T) {
	var room Shaped
	s := Shape{Kind: Round, Digits: 1}
	scores := func(name string, v ...float64) tensor.Tensor {
		return tensor.Tensor{Name: name, Datatype: "FP64", Shape: []int64{1, int64(len(v))}, Data: tensor.Data{Floats: v}}
	}
	for i, r := range []*tensor.Response{
		{Outputs: []tensor.Tensor{scores("y", 0.12, 0.34, 0.54)}},
		{Outputs: []tensor.Tensor{scores("a", 0.91), scores("b", 0.22, 0.78)}},
		{Outputs: []tensor.Tensor{scores("y", 0.81)}},
	} {
		want, _ := s.Apply(r)
		before := slices.Clone(r.Outputs[0].Data.Floats)
		got, v := s.ApplyIn(&room, r)
		if v.Outcome != pavise.Allow || !reflect.DeepEqual(got, want) {
			t.Errorf("answer %d: %v and not %v, %v", i, got, want, v)
		}
		if !slices.Equal(r.Outputs[0].Data.Floats, before) {
			t.Errorf("answer %d became %v", i, r.Outputs[0].Data.Floats)
		}
		room.Clear()
	}
}
