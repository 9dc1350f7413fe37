package poison

import (
	"fmt"
	"math"
)

// novelty is the screen of rows that the baseline has none like: trees that are to tell the
// file from the baseline, by all columns and the class, and that did not see a row, say
// which it looks to be of. Where both come from one world they cannot.
func (v *View) novelty() Finding {
	const screen = "novelty"
	if !v.based() {
		return silent(screen, "it takes a baseline")
	}
	if v.all < 100 || len(v.features) == 0 {
		return silent(screen, "it takes 100 rows")
	}
	both := *v
	class := feature{name: "class", texts: v.classes, fine: make([]uint8, v.all), fines: len(v.classes)}
	for i, y := range v.label {
		class.fine[i] = uint8(y)
	}
	both.features = append(append([]feature(nil), v.features...), class)
	target := make([]int32, v.all)
	for i := v.rows; i < v.all; i++ {
		target[i] = 1
	}
	// Of a file that is many times larger than the baseline any row would look to be of it:
	// there its rows weigh as much as those of the baseline, all together.
	weight, least, odds := []float64{1, 1}, 10, math.Log(float64(v.rows)/float64(v.all-v.rows))
	if odds > 0 {
		weight[0], least, odds = math.Exp(-odds), int(5+5*math.Exp(odds)), 0
	}
	shares := heldOut(&both, target, 2, least, weight, v.rng(screen))
	f := Finding{Screen: screen, Evidence: make([]float32, v.all), Limit: 2.5}
	for i := range f.Evidence {
		f.Evidence[i] = float32(math.Log((float64(shares[2*i])+0.01)/(float64(shares[2*i+1])+0.01)) - odds)
	}
	f.Reason = func(i int) string {
		return fmt.Sprintf("the baseline has hardly any rows like it: by what it holds it is of this file with %.0f %%", 100*shares[2*i])
	}
	return f
}
