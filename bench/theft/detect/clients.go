package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/pavise/pavise/internal/learn"
	"github.com/pavise/pavise/internal/theft"
)

// What makes honest clients differ, besides the classes that they ask about: most are plain.
const (
	plain     = iota
	seasonal  // what it asks about changes on the way
	repeating // it has few rows, and asks them again and again
	single    // it asks about one class alone
	tiny      // it asks some dozens of rows
	bursting  // it asks in bursts of thirty rows of one class
)

// known are the kinds that calibrations see, by how many of twenty clients are of them.
var known = []int{plain: 12, seasonal: 3, repeating: 2, single: 2, tiny: 1}

// habits are what makes a client differ from others.
type habits struct {
	kind      int
	mix       []float64 // of classes
	season    []float64 // that it has later
	own       [][]float32
	bright    float64
	noise     float64
	quantised bool
	asked     int
}

// habits draws those of one client, of a kind, or of any known one below zero.
func (w *world) habits(rng *rand.Rand, kind int) *habits {
	if kind < 0 {
		at := rng.IntN(20)
		for kind = 0; at >= known[kind]; kind++ {
			at -= known[kind]
		}
	}
	h := &habits{kind: kind, bright: 0.7 + 0.5*rng.Float64(), noise: 0.06 * rng.Float64() * float64(rng.IntN(2)), quantised: rng.IntN(5) > 0}
	h.mix, h.season = w.mix(rng), w.mix(rng)
	if kind == single {
		most := top(h.mix)
		clear(h.mix)
		h.mix[most] = 1
	}
	return h
}

// mix draws the share of each class from a Dirichlet distribution, even or not.
func (w *world) mix(rng *rand.Rand) (mix []float64) {
	alpha := []float64{0.3, 1, 10}[rng.IntN(3)]
	for range w.byClass {
		mix = append(mix, gamma(rng, alpha)+1e-12)
	}
	return mix
}

// gamma draws from the gamma distribution (Marsaglia and Tsang, "A Simple Method for
// Generating Gamma Variables", 2000).
func gamma(rng *rand.Rand, a float64) float64 {
	if a < 1 {
		return gamma(rng, a+1) * math.Pow(rng.Float64(), 1/a)
	}
	d := a - 1.0/3
	for {
		x := rng.NormFloat64()
		v := math.Pow(1+x/math.Sqrt(9*d), 3)
		if v > 0 && math.Log(rng.Float64()) < x*x/2+d-d*v+d*math.Log(v) {
			return d * v
		}
	}
}

// rows is how many rows a client asks.
func (h *habits) rows(rng *rand.Rand, most int) int {
	switch h.kind {
	case tiny:
		return 20 + rng.IntN(60)
	case repeating:
		return most
	}
	return 300 + rng.IntN(most-300)
}

// draw gives the client's next row.
func (w *world) draw(rng *rand.Rand, h *habits) []float32 {
	h.asked++
	switch {
	case h.kind == repeating && len(h.own) >= 150:
		return h.own[rng.IntN(len(h.own))]
	case h.kind == bursting && h.asked%30 == 1:
		h.season = make([]float64, len(h.mix))
		h.season[w.pool.Y[w.pick(rng, h.mix)]] = 1
	}
	mix := h.mix
	if h.kind == seasonal && h.asked > 400 || h.kind == bursting {
		mix = h.season
	}
	row := slices.Clone(w.pool.X.Row(w.pick(rng, mix)))
	if w.alter != nil {
		w.alter(rng, h, row)
	}
	if h.kind == repeating {
		h.own = append(h.own, row)
	}
	return row
}

// pick draws a row of the pool, by how much a client asks of each class.
func (w *world) pick(rng *rand.Rand, mix []float64) int {
	var sum float64
	for k, v := range mix {
		if len(w.byClass[k]) > 0 {
			sum += v
		}
	}
	if sum == 0 {
		return rng.IntN(w.pool.X.Rows)
	}
	at := rng.Float64() * sum
	for k, v := range mix {
		if list := w.byClass[k]; len(list) > 0 {
			if at -= v; at <= 0 {
				return list[rng.IntN(len(list))]
			}
		}
	}
	return rng.IntN(w.pool.X.Rows)
}

// honest plays one honest client, or goes on with one: the same habits, and other rows.
func (w *world) honest(i, kind int, goOn bool, seed uint64, see func(*theft.Asked) bool) bool {
	rng := rand.New(rand.NewPCG(seed<<32+uint64(i), 7))
	h := w.habits(rng, kind)
	if goOn {
		rng = rand.New(rand.NewPCG(seed<<32+uint64(i), 8))
	}
	name := fmt.Sprintf("client-%d", i)
	for range h.rows(rng, w.most) {
		if !see(w.answered(name, w.draw(rng, h))) {
			return false
		}
	}
	return true
}

// answered is a row of a client with what the model says.
func (w *world) answered(name string, row []float32) *theft.Asked {
	p := w.model(learn.Matrix{Rows: 1, Cols: len(row), Data: row})
	return &theft.Asked{Client: name, Input: wide(row), Scores: wide(p.Row(0)), Class: -1}
}

func wide(row []float32) []float64 {
	out := make([]float64, len(row))
	for i, v := range row {
		out[i] = float64(v)
	}
	return out
}
