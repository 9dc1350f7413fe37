package shadow

import (
	"context"
	"math"
	"testing"
	"testing/synctest"

	"github.com/pavise/pavise/internal/firewall"
	"github.com/pavise/pavise/internal/infer"
	"github.com/pavise/pavise/internal/tensor"
)

func floats(name string, rows int, data ...float64) tensor.Tensor {
	return tensor.Tensor{Name: name, Datatype: tensor.FP64, Shape: []int64{int64(rows), int64(len(data) / rows)}, Data: tensor.Data{Floats: data}}
}

func TestCompare(t *testing.T) {
	words := func(w ...string) tensor.Tensor {
		t := tensor.Tensor{Name: "w", Datatype: tensor.Bytes, Shape: []int64{int64(len(w))}}
		for _, s := range w {
			t.Data.Bytes = append(t.Data.Bytes, []byte(s))
		}
		return t
	}
	ints := func(n ...int64) tensor.Tensor {
		return tensor.Tensor{Name: "n", Datatype: tensor.Int64, Shape: []int64{int64(len(n))}, Data: tensor.Data{Ints: n}}
	}
	for name, c := range map[string]struct {
		a, b     []tensor.Tensor
		rows     int
		same     int
		furthest float64
	}{
		"alike":          {[]tensor.Tensor{floats("s", 2, 1, 2, 3, 4)}, []tensor.Tensor{floats("s", 2, 1, 2, 3, 4)}, 2, 2, 0},
		"same class":     {[]tensor.Tensor{floats("s", 2, 1, 2, 3, 4)}, []tensor.Tensor{floats("s", 2, 1, 4, 3, 4)}, 2, 2, 2},
		"another class":  {[]tensor.Tensor{floats("s", 2, 1, 2, 3, 4)}, []tensor.Tensor{floats("s", 2, 2, 1, 3, 4)}, 2, 1, 1},
		"one number":     {[]tensor.Tensor{floats("s", 2, 1, 2)}, []tensor.Tensor{floats("s", 2, 1, 2.5)}, 2, 1, 0.5},
		"beyond numbers": {[]tensor.Tensor{floats("s", 1, -math.MaxFloat64)}, []tensor.Tensor{floats("s", 1, math.MaxFloat64)}, 1, 0, math.MaxFloat64},
		"another name":   {[]tensor.Tensor{floats("s", 1, 1)}, []tensor.Tensor{floats("t", 1, 1)}, 1, 0, 0},
		"another type":   {[]tensor.Tensor{ints(1)}, []tensor.Tensor{{Name: "n", Datatype: tensor.Bool, Shape: []int64{1}, Data: tensor.Data{Bools: []bool{true}}}}, 1, 0, 0},
		"another length": {[]tensor.Tensor{floats("s", 1, 1, 2)}, []tensor.Tensor{floats("s", 1, 1)}, 1, 0, 0},
		"whole numbers":  {[]tensor.Tensor{ints(1, 2, 3)}, []tensor.Tensor{ints(1, 5, 3)}, 3, 2, 0},
		"words":          {[]tensor.Tensor{words("a", "b")}, []tensor.Tensor{words("a", "c")}, 2, 1, 0},
		"two outputs":    {[]tensor.Tensor{ints(1, 2), words("a", "b")}, []tensor.Tensor{words("a", "c"), ints(3, 2)}, 2, 0, 0},
	} {
		same, furthest := compare(&tensor.Response{Outputs: c.a}, &tensor.Response{Outputs: c.b}, c.rows)
		if same != c.same || furthest != c.furthest {
			t.Errorf("%s: %d of %d agree, at most %v apart", name, same, c.rows, furthest)
		}
	}
}

// TestCopies share no memory with the exchange, and large ones are not made.
func TestCopies(t *testing.T) {
	at := infer.Place{Address: "http://127.0.0.1:1", Model: "m", Protocol: tensor.NameOIP}
	model, err := infer.NewUpstream(at, tensor.Signature{}, tensor.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	s := New(model, OnServer, firewall.Gate{}, "of", "is")
	defer s.End()
	request := &tensor.Request{ID: "i", Inputs: []tensor.Tensor{{Name: "w", Datatype: tensor.Bytes, Shape: []int64{1}, Data: tensor.Data{Bytes: [][]byte{[]byte("word")}}}}}
	truth := &tensor.Response{Outputs: []tensor.Tensor{floats("s", 1, 1)}}
	x := s.Copy(request, truth)
	request.Inputs[0].Data.Bytes[0][0], request.Inputs[0].Shape[0], truth.Outputs[0].Data.Floats[0] = 'l', 7, 7
	if got := x.request.Inputs[0]; string(got.Data.Bytes[0]) != "word" || got.Shape[0] != 1 || x.truth.Outputs[0].Data.Floats[0] != 1 || x.request.ID != "i" {
		t.Errorf("the copy became %+v, %+v", x.request, x.truth)
	}
	request.Inputs[0].Data.Bytes[0] = make([]byte, most)
	if s.Copy(request, truth) != nil {
		t.Error("a long text is copied")
	}
	request.Inputs[0].Data.Bytes[0] = nil
	truth.Outputs[0].Data.Floats = make([]float64, most/8)
	if s.Copy(request, truth) != nil {
		t.Error("a large answer is copied")
	}
	s.Hear(nil)
	if tally, said := s.Take(); !said || tally.Dropped != 2 || tally.Asked != 0 {
		t.Errorf("%+v", tally)
	}
	if _, said := s.Take(); said {
		t.Error("nothing was said, twice")
	}
	(*Shadow)(nil).End()
}

// A breaker panics over some requests, and answers others.
type breaker struct{ answer *tensor.Response }

func (b breaker) Infer(_ context.Context, r *tensor.Request) (*tensor.Response, error) {
	if r.ID == "bad" {
		panic("no such row")
	}
	return b.answer, nil
}

// TestShadowThatBreaks has a model in this process panic over what it is asked: that is a
// fault of its own, and it is asked on.
func TestShadowThatBreaks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		signature := tensor.Signature{Inputs: []tensor.Port{{Name: "x", Datatype: tensor.FP64, Shape: []int64{-1, 1}}}, Outputs: []tensor.Port{{Name: "s", Datatype: tensor.FP64, Shape: []int64{-1, 1}}}}
		answer := &tensor.Response{Outputs: []tensor.Tensor{floats("s", 1, 1)}}
		s := New(breaker{answer}, Here, firewall.NewGate(signature, 4), "of", "is")
		defer s.End()
		for _, id := range []string{"bad", "good", "bad", "good"} {
			s.Hear(s.Copy(&tensor.Request{ID: id, Inputs: []tensor.Tensor{floats("x", 1, 1)}}, answer))
		}
		synctest.Wait()
		if got, _ := s.Take(); got.Failed != 2 || got.Asked != 2 || got.Same != 2 || got.LastFault != "it broke over what it was asked" {
			t.Errorf("%+v", got)
		}
	})
}
