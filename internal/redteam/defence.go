package redteam

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/firewall"
	"github.com/pavise/pavise/internal/tensor"
)

// A perturbation is what a defence does to a row of scores. change is nil where it does
// nothing, and says whether it could do it: to scores that are no probabilities it may not.
type perturbation struct {
	name   string
	change func(row []float32) bool
}

// perturb is the same for a thief who knows it, or nil.
func (p perturbation) perturb() func(row []float32) {
	if p.change == nil {
		return nil
	}
	return func(row []float32) { p.change(row) }
}

// parseDefence reads what a shape of answers is called, or modelguard:EPSILON.
func parseDefence(text string) (perturbation, error) {
	if bound, is := strings.CutPrefix(text, "modelguard:"); is {
		epsilon, err := strconv.ParseFloat(bound, 64)
		guard := &firewall.ModelGuard{Epsilon: epsilon}
		if err == nil {
			err = guard.Validate()
		}
		if err != nil || epsilon == 0 {
			return perturbation{}, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the defence %.40q has no bound from above 0 to 2", text), Hint: "write modelguard:1"}
		}
		return perturbation{text, wide(func(row []float64) bool { return guard.Row(row, row) == "" })}, nil
	}
	shape, err := firewall.ParseShape(text)
	if err != nil {
		return perturbation{}, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("there is no defence %.40q", text), Hint: "use full, round:DIGITS, topk:K, label or modelguard:EPSILON"}
	}
	if err := shape.Validate(true, ""); err != nil {
		return perturbation{}, err
	}
	if shape.Kind == firewall.Full || shape.Kind == "" {
		return perturbation{name: text}, nil
	}
	return perturbation{text, wide(func(row []float64) bool {
		r := &tensor.Response{Outputs: []tensor.Tensor{{Name: "scores", Datatype: tensor.FP32, Shape: []int64{1, int64(len(row))}, Data: tensor.Data{Floats: row}}}}
		shaped, verdict := shape.Apply(r)
		if verdict.Outcome == pavise.Deny {
			return false
		}
		copy(row, shaped.Outputs[0].Data.Floats)
		return true
	})}, nil
}

// wide has a row of float32 changed as float64.
func wide(change func([]float64) bool) func([]float32) bool {
	return func(row []float32) bool {
		long := make([]float64, len(row))
		for i, v := range row {
			long[i] = float64(v)
		}
		done := change(long)
		for i, v := range long {
			row[i] = float32(v)
		}
		return done
	}
}
