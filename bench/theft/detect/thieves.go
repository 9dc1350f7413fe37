package main

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/pavise/pavise/internal/extraction"
	"github.com/pavise/pavise/internal/learn"
)

// A thief gives rows that it asks for its own sake, so many at most. ask answers one.
type thief func(w *world, rng *rand.Rand, rows int, ask func([]float32) []float32) error

// An attack is a kind of thief.
type attack struct {
	name  string
	about string
	steal thief
}

// attacks are those of the product, as `pavise redteam extract` plays them, and some that it
// does not have.
var attacks = []attack{
	{"random", "", product("random", false)},
	{"gaussian", "", product("gaussian", false)},
	{"near-ood", "", product("near-ood", false)},
	{"knockoff-random", "rows of another source: real ones turned and mirrored, or with half of their columns from another", product("knockoff-random", true)},
	{"knockoff-adaptive", "the same, those that taught most", product("knockoff-adaptive", true)},
	{"jbda", "", product("jbda", false)},
	{"jbda-tr", "", product("jbda-tr", false)},
	{"line-search", "", product("line-search", false)},
	{"mixed", "two real rows mixed, three to seven tenths of one", mixed},
	{"marginals", "each column from another real row", marginals},
	{"one-column", "a real row, of which one column is varied fifteen times, as who looks for the splits of trees", oneColumn},
	{"hopskipjump", "evasion by the class alone: Chen, Jordan and Wainwright 2020", hopSkipJump},
	{"square", "evasion by scores: Andriushchenko and others 2020", square},
	{"in-distribution", "real rows, each once", product("in-distribution", false)},
}

// product plays an attack of the product to its end. A foreign one has rows of another
// source for a pool.
func product(name string, foreign bool) thief {
	return func(w *world, rng *rand.Rand, rows int, ask func([]float32) []float32) error {
		data := extraction.Data{Rows: some(w.other.X, rng, 1200)}
		if foreign {
			data.Pool = some(w.far, rng, 2000)
		}
		a, err := extraction.New(extraction.Config{Attack: name, Budget: rows, Seed: rng.Uint64(), Classes: w.classes}, data)
		if err != nil {
			return err
		}
		for {
			next, err := a.Next(64)
			if err != nil || next.Rows == 0 {
				return err
			}
			said := learn.NewMatrix(next.Rows, w.classes)
			for i := range next.Rows {
				copy(said.Row(i), ask(slices.Clone(next.Row(i))))
			}
			if err := a.Answer(said); err != nil {
				return err
			}
		}
	}
}

// some are rows of m, drawn without putting back.
func some(m learn.Matrix, rng *rand.Rand, n int) learn.Matrix {
	out := learn.NewMatrix(min(n, m.Rows), m.Cols)
	for i, r := range rng.Perm(m.Rows)[:out.Rows] {
		copy(out.Row(i), m.Row(r))
	}
	return out
}

// real is a row that the thief holds.
func (w *world) real(rng *rand.Rand) []float32 {
	return slices.Clone(w.other.X.Row(rng.IntN(w.other.X.Rows)))
}

func mixed(w *world, rng *rand.Rand, rows int, ask func([]float32) []float32) error {
	for range rows {
		row, other := w.real(rng), w.real(rng)
		ask(along(row, other, 0.3+0.4*rng.Float64()))
	}
	return nil
}

func marginals(w *world, rng *rand.Rand, rows int, ask func([]float32) []float32) error {
	for range rows {
		row := w.real(rng)
		for j := range row {
			row[j] = w.other.X.Row(rng.IntN(w.other.X.Rows))[j]
		}
		ask(row)
	}
	return nil
}

func oneColumn(w *world, rng *rand.Rand, rows int, ask func([]float32) []float32) error {
	var base []float32
	column := 0
	for i := range rows {
		if i%15 == 0 {
			base, column = w.real(rng), rng.IntN(len(w.low))
		}
		row := slices.Clone(base)
		row[column] = w.low[column] + (w.high[column]-w.low[column])*rng.Float32()
		ask(row)
	}
	return nil
}

// A stream is what one thief asked for its own sake.
type stream [][]float32

// streams plays thieves of a kind against the model alone: what they ask does not depend on
// what they hide it among.
func (w *world) streams(k attack, n, rows int, seed uint64) ([]stream, error) {
	list := make([]stream, n)
	err := each(n, func(i int) error {
		rng := rand.New(rand.NewPCG(seed<<32+uint64(i), 99))
		return k.steal(w, rng, rows, func(row []float32) []float32 {
			if len(list[i]) < rows {
				list[i] = append(list[i], row)
			}
			return w.model(learn.Matrix{Rows: 1, Cols: len(row), Data: row}).Row(0)
		})
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", k.name, err)
	}
	return list, nil
}
