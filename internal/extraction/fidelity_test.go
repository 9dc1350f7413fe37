package extraction

import (
	"fmt"
	"math"
	"testing"

	"github.com/pavise/pavise/internal/learn"
)

func TestLadder(t *testing.T) {
	for rows, want := range map[int]string{
		1: "[1]", 100: "[100]", 101: "[100 101]", 1000: "[100 300 1000]", 10000: "[100 300 1000 3000 10000]", 20000: "[100 300 1000 3000 10000 20000]",
	} {
		if got := fmt.Sprint(Ladder(rows)); got != want {
			t.Errorf("%d: %s, want %s", rows, got, want)
		}
	}
}

// TestShare is held to values of Wilson's interval computed apart.
func TestShare(t *testing.T) {
	for _, tt := range []struct {
		count, of int
		low, high float64
	}{{0, 10, 0, 0.277533}, {10, 10, 0.722467, 1}, {5, 10, 0.236593, 0.763407}, {950, 1000, 0.934686, 0.961870}} {
		if s := NewShare(tt.count, tt.of); math.Abs(s.Low-tt.low) > 1e-5 || math.Abs(s.High-tt.high) > 1e-5 {
			t.Errorf("%d of %d: %+v", tt.count, tt.of, s)
		}
	}
}

func TestDisclosed(t *testing.T) {
	for _, tt := range []struct {
		row  []float32
		want float64
	}{
		{[]float32{0, 1, 0, 0}, 2},
		{[]float32{0.3, 0.7}, 2 * math.Log2(11)},
		{[]float32{0.25, 0.75}, 2 * math.Log2(101)},
		{[]float32{0.12345678, 0.87654322}, 48},
		{[]float32{0, 0.7, 0}, 3 * math.Log2(11)},
		{[]float32{12, -3}, 2 * math.Log2(2)},
	} {
		if got := Disclosed(tt.row); math.Abs(got-tt.want) > 1e-9 {
			t.Errorf("%v: %v bits, want %v", tt.row, got, tt.want)
		}
	}
}

func TestProbabilities(t *testing.T) {
	for name, tt := range map[string]struct {
		use       string
		row, want []float32
	}{
		"scores":        {Scores, []float32{0.2, 0.8}, []float32{0.2, 0.8}},
		"rounded":       {Scores, []float32{0.33, 0.33, 0.33}, []float32{1. / 3, 1. / 3, 1. / 3}},
		"top k":         {Scores, []float32{0, 0.4, 0}, []float32{0, 1, 0}},
		"logits":        {Scores, []float32{-1, -1}, []float32{0.5, 0.5}},
		"large logits":  {Scores, []float32{1e30, 1e30, -1e30}, []float32{0.5, 0.5, 0}},
		"nothing":       {Scores, []float32{0, 0}, []float32{0.5, 0.5}},
		"top1":          {Top1, []float32{0.2, 0.8}, []float32{0, 1}},
		"top1 of equal": {Top1, []float32{0.5, 0.5}, []float32{1, 0}},
	} {
		got := probabilities(learn.Matrix{Rows: 1, Cols: len(tt.row), Data: tt.row}, tt.use).Data
		if apart(got, tt.want) > 1e-6 {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestRecommend(t *testing.T) {
	p := func(rows, count int) Point {
		return Point{Rows: rows, Bits: float64(rows) * 10, Fidelity: Fidelity{Agreement: NewShare(count, 1000)}}
	}
	quick, slow := []Point{p(100, 500), p(300, 790), p(1000, 900)}, []Point{p(100, 300), p(300, 400), p(1000, 700), p(3000, 850)}
	for _, tt := range []struct {
		curves        [][]Point
		rows, reached int
	}{
		{[][]Point{quick, slow}, 100, 300}, // 790 of 1,000 may be 0.8 already
		{[][]Point{slow}, 1000, 3000},
		{[][]Point{{p(100, 900)}}, 0, 100},
		{[][]Point{{p(100, 100)}}, 100, 0},
		{nil, 0, 0},
	} {
		r := Recommend(0.8, tt.curves...)
		reached := 0
		if r.Reached != nil {
			reached = r.Reached.Rows
		}
		if r.Rows != tt.rows || reached != tt.reached {
			t.Errorf("%d rows, reached at %d; want %d, %d", r.Rows, reached, tt.rows, tt.reached)
		}
	}
}
