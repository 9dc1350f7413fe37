package firewall

import (
	"fmt"
	"math"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/tensor"
)

// Disclosed returns how many bits one row of an answer in this shape tells at most: log₂ K
// where one of K classes is named, digits·log₂ 10 for each score rounded to so many digits,
// the place and the value of each of the K largest, and all that the datatype holds for
// what is not shaped. It is what package extraction counts of a thief's answers, said of
// the signature beforehand. The error is of kind Invalid for outputs of which nobody can
// say it: texts, and those whose size is not fixed.
func (s Shape) Disclosed(outputs []tensor.Port) (bits float64, err error) {
	for _, p := range outputs {
		each := valueBits(p.Datatype)
		n := 1.0
		for _, size := range p.Shape[min(1, len(p.Shape)):] {
			n *= float64(size)
		}
		if each == 0 || n < 1 || n > math.MaxInt32 {
			return 0, &pavise.Error{
				Kind: pavise.Invalid, Msg: fmt.Sprintf("output %q is %s of shape %d, and nobody can say how many bits a row of it tells", p.Name, p.Datatype, p.Shape),
				Hint: "give the budget in rows, or a signature with fixed sizes behind the rows",
			}
		}
		t := tensor.Tensor{Name: p.Name, Datatype: p.Datatype, Shape: p.Shape}
		if s.Covers(&t) && holdsScores(&t) {
			bits += s.disclosed(n, each)
			continue
		}
		bits += n * each
	}
	return bits, nil
}

// disclosed is Disclosed of one row of so many scores, each of which holds so many bits.
func (s Shape) disclosed(classes, each float64) float64 {
	switch {
	case s.Kind == Label:
		return math.Log2(classes)
	case s.Kind == TopK:
		k := min(float64(s.K), classes)
		return k * (math.Log2(classes) + each)
	case s.Kind == Round && classes > 1: // one number alone is no probability, and may be large
		return classes * min(math.Log2(math.Pow10(s.Digits)+1), each)
	}
	return classes * each
}

// valueBits is what one value of a datatype tells at most; 0: nobody can say. Of a float
// it is the precision, as in package extraction.
func valueBits(d tensor.Datatype) float64 {
	switch d {
	case tensor.FP16:
		return 11
	case tensor.BF16:
		return 8
	case tensor.FP32:
		return 24
	case tensor.FP64:
		return 53
	case tensor.Bytes:
		return 0
	case tensor.Bool:
		return 1
	}
	return float64(d.Bits())
}

// InRows returns the terms with every limit that is said in bits as one in rows, at so many
// bits a row. The error is of kind Invalid for a limit without room for one row.
func (t Terms) InRows(bitsPerRow float64) (Terms, error) {
	for _, limit := range []struct {
		name string
		rate *Rate
	}{{"rate", &t.Rate}, {"budget", &t.Budget}, {"model_rate", &t.ModelRate}, {"model_budget", &t.ModelBudget}, {"cluster_budget", &t.ClusterBudget}} {
		if !limit.rate.Bits {
			continue
		}
		was := *limit.rate
		limit.rate.Bits = false
		limit.rate.Count, limit.rate.Burst = inRows(was.Count, bitsPerRow), inRows(was.Burst, bitsPerRow)
		if limit.rate.Count < 1 || limit.rate.Burst < 1 {
			return t, &pavise.Error{
				Kind: pavise.Invalid, Msg: fmt.Sprintf("%s of %v, and one row of this route tells up to %.0f bits", limit.name, was, math.Ceil(bitsPerRow)),
				Hint: "give room for a row, or shape the answers so that they tell less",
			}
		}
		if most := int(min(was.Per/minPrice, math.MaxInt32*time.Nanosecond)); limit.rate.Count > most {
			limit.rate.Count, limit.rate.Burst = most, min(limit.rate.Burst, most)
		}
	}
	return t, nil
}

// inRows is how many rows tell no more than so many bits. A row that tells nothing is
// counted as one bit: no budget is endless by that.
func inRows(bits int, perRow float64) int {
	return int(float64(bits) / max(perRow, 1))
}

// Bits reports whether a limit is said in bits.
func (t Terms) Bits() bool {
	return t.Rate.Bits || t.Budget.Bits || t.ModelRate.Bits || t.ModelBudget.Bits || t.ClusterBudget.Bits
}
