package firewall

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/tensor"
)

// TestDisclosed counts what a row of scores tells in each shape.
func TestDisclosed(t *testing.T) {
	scores := []tensor.Port{{Name: "p", Datatype: tensor.FP32, Shape: []int64{-1, 10}}}
	for name, tt := range map[string]struct {
		shape Shape
		ports []tensor.Port
		want  float64
	}{
		"whole scores":             {Shape{}, scores, 240},
		"rounded scores":           {Shape{Kind: Round, Digits: 4}, scores, 10 * math.Log2(10001)},
		"no more than there is":    {Shape{Kind: Round, Digits: 9}, scores, 240},
		"a label":                  {Shape{Kind: Label}, scores, math.Log2(10)},
		"the top two":              {Shape{Kind: TopK, K: 2}, scores, 2 * (math.Log2(10) + 24)},
		"one number":               {Shape{Kind: Round, Digits: 1}, []tensor.Port{{Name: "y", Datatype: tensor.FP32, Shape: []int64{-1, 1}}}, 24},
		"a whole number beside":    {Shape{Kind: Label}, append([]tensor.Port{{Name: "n", Datatype: tensor.Int64, Shape: []int64{-1}}}, scores...), 64 + math.Log2(10)},
		"named scores, others not": {Shape{Kind: Label, Scores: []string{"q"}}, scores, 240},
		"halves":                   {Shape{}, []tensor.Port{{Name: "e", Datatype: tensor.FP16, Shape: []int64{-1, 2, 3}}}, 66},
		"wide halves":              {Shape{}, []tensor.Port{{Name: "e", Datatype: tensor.BF16, Shape: []int64{-1}}}, 8},
		"doubles":                  {Shape{}, []tensor.Port{{Name: "e", Datatype: tensor.FP64, Shape: []int64{-1}}}, 53},
		"yes or no":                {Shape{}, []tensor.Port{{Name: "e", Datatype: tensor.Bool, Shape: []int64{-1}}}, 1},
	} {
		if got, err := tt.shape.Disclosed(tt.ports); err != nil || math.Abs(got-tt.want) > 1e-9 {
			t.Errorf("%s: %g, %v; want %g", name, got, err, tt.want)
		}
	}
	for name, p := range map[string]tensor.Port{
		"texts":         {Name: "t", Datatype: tensor.Bytes, Shape: []int64{-1}},
		"any size":      {Name: "t", Datatype: tensor.FP32, Shape: []int64{-1, -1}},
		"no size":       {Name: "t", Datatype: tensor.FP32, Shape: []int64{-1, 0}},
		"endless sizes": {Name: "t", Datatype: tensor.FP32, Shape: []int64{-1, math.MaxInt64, math.MaxInt64}},
	} {
		if bits, err := (Shape{}).Disclosed([]tensor.Port{p}); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%s: %g bits, %v", name, bits, err)
		}
	}
}

// TestBudgetsInBits reads them, and says how many rows they are.
func TestBudgetsInBits(t *testing.T) {
	var terms Terms
	if err := terms.Change("600/1m", "1000 bits/24h", "", "9000000000000000000 bits/24h burst 100", ""); err != nil {
		t.Fatal(err)
	}
	if !terms.Bits() || !strings.Contains(terms.Budget.String(), "1000 bits per 24h") {
		t.Errorf("%+v", terms)
	}
	rows, err := terms.InRows(3.3)
	if err != nil || rows.Bits() || rows.Budget.Count != 303 || rows.Budget.Burst != 303 || rows.Budget.Per != 24*time.Hour || rows.Rate != terms.Rate {
		t.Errorf("%+v, %v", rows, err)
	}
	if err := rows.Validate(); err != nil || rows.ModelBudget.Burst != 30 {
		t.Errorf("%+v, %v", rows, err)
	}
	if rows, err = terms.InRows(0); err != nil || rows.Budget.Count != 1000 {
		t.Errorf("rows that tell nothing: %+v, %v", rows, err)
	}
	if _, err = terms.InRows(1001); pavise.KindOf(err) != pavise.Invalid || !strings.Contains(err.Error(), "1001 bits") {
		t.Errorf("no room for a row: %v", err)
	}
	for _, wrong := range []string{"1000 bit/24h", "1000bits/24h", " bits/24h", "-1 bits/24h", "1000 bits bits/24h", "0 bits/24h", "5 bits/999999h"} {
		if err := terms.Change("", wrong, "", "", ""); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%q: %v", wrong, err)
		}
	}
}
