package monitor

import (
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/tensor"
)

// TestAnotherFamilyIsStillRead: a version that says its label as FP32 where the one before said
// INT64 has the same features, and they are found in its answers.
func TestAnotherFamilyIsStillRead(t *testing.T) {
	q := newQueue(func(pavise.Name, string) [32]byte { return [32]byte{} })
	signature := func(label tensor.Datatype) *tensor.Signature {
		return &tensor.Signature{
			Inputs:  []tensor.Port{{Name: "x", Datatype: tensor.FP32, Shape: []int64{-1, 2}}},
			Outputs: []tensor.Port{{Name: "label", Datatype: label, Shape: []int64{-1, 1}}},
		}
	}
	model := pavise.Name{Tenant: "local", Kind: "model", ID: "m"}
	was := q.seat(&Exchange{Model: model, Signature: signature(tensor.Int64)}).layout
	is := q.seat(&Exchange{Model: model, Signature: signature(tensor.FP32)}).layout
	if !was.same(is) {
		t.Error("the features are others")
	}
	for _, p := range is.ports {
		if p.Name == "label" && p.Datatype != tensor.FP32 {
			t.Errorf("the label is looked for as %s", p.Datatype)
		}
	}
	if again := q.seat(&Exchange{Model: model, Signature: signature(tensor.FP32)}).layout; again != is {
		t.Error("the same signature has another layout")
	}
}

// TestLearntTooLate: people approved another baseline between the rows that were enough and the
// baseline that was learnt from them: theirs stays.
func TestLearntTooLate(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		w := newWorld(t)
		w.learn()
		var watched *watched
		for _, watched = range w.models {
		}
		approved := watched.bases[now]
		w.learnt(t.Context(), watched)
		if watched.learn != nil || watched.bases[now] != approved {
			t.Errorf("%+v", watched.bases[now])
		}
	})
}
