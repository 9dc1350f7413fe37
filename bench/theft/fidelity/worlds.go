package main

import (
	"math/rand/v2"

	"github.com/pavise/pavise/bench/theft/dataset"
	threatdetector "github.com/pavise/pavise/examples/threat-detector"
	"github.com/pavise/pavise/internal/extraction"
	"github.com/pavise/pavise/internal/learn"
	"github.com/pavise/pavise/internal/onnx"
)

const guarded = "ModelGuard-W, ε = 1"

func mnist(seed uint64) (*world, error) {
	train, test, err := dataset.Digits()
	if err != nil {
		return nil, err
	}
	m, err := perceptron(seed, []int{128}, 6, dataset.Part(train, 0, 30000), dataset.Part(train, 30000, 31000), 10)
	if err != nil {
		return nil, err
	}
	own := dataset.Part(train, 45000, 57000)
	return &world{
		name: "mnist", words: "784 columns, 10 classes; a perceptron 784-128-10 of 30,000 rows. The thief holds 12,000 others (of which jbda uses 150).",
		model: m.Predict, data: extraction.Data{Rows: own.X, Labels: own.Y}, held: test, budget: 10000,
		lines: []line{
			{attack: "in-distribution", defence: "none", answers: extraction.Scores},
			{attack: "in-distribution", defence: "round to 1 digit", answers: extraction.Scores},
			{attack: "in-distribution", defence: "any", answers: extraction.Top1},
			{attack: "in-distribution", defence: guarded, answers: extraction.Scores},
			{attack: "in-distribution", defence: guarded, answers: extraction.Lookup},
			{attack: "in-distribution", defence: guarded, answers: extraction.Scores, repeat: 4},
			{attack: "in-distribution", defence: "none", answers: extraction.Scores, each: 1000},
			{attack: "in-distribution", defence: "none", answers: extraction.Scores, each: 1000, names: 3},
			{attack: "in-distribution", defence: "none", answers: extraction.Scores, each: 1000, names: 10},
			{attack: "in-distribution", defence: "any", answers: extraction.Top1, share: 50},
			{attack: "in-distribution", defence: "any", answers: extraction.Top1, share: 25},
			{attack: "in-distribution", defence: "any", answers: extraction.Top1, share: 10},
			{attack: "near-ood", defence: "none", answers: extraction.Scores},
			{attack: "near-ood", defence: "any", answers: extraction.Top1},
			{attack: "near-ood", defence: guarded, answers: extraction.Scores},
			{attack: "near-ood", defence: guarded, answers: extraction.Lookup},
			{attack: "knockoff-adaptive", defence: "none", answers: extraction.Scores},
			{attack: "knockoff-adaptive", defence: guarded, answers: extraction.Scores},
			{attack: "jbda", defence: "none", answers: extraction.Scores, budget: 3000},
			{attack: "jbda", defence: "any", answers: extraction.Top1, budget: 3000},
			{attack: "jbda", defence: guarded, answers: extraction.Scores, budget: 3000},
			{attack: "jbda-tr", defence: "none", answers: extraction.Scores, budget: 3000},
			{attack: "line-search", defence: "any", answers: extraction.Top1, budget: 3000},
			{attack: "random", defence: "none", answers: extraction.Scores, budget: 1000},
		},
	}, nil
}

// mnistLinear is a model whose weights are solved for.
func mnistLinear(seed uint64) (*world, error) {
	train, test, err := dataset.Digits()
	if err != nil {
		return nil, err
	}
	m, err := perceptron(seed, nil, 8, dataset.Part(train, 0, 20000), dataset.Part(train, 30000, 31000), 10)
	if err != nil {
		return nil, err
	}
	own := dataset.Part(train, 45000, 48000)
	return &world{
		name: "mnist-linear", words: "The same data, and a softmax of weighted sums, 7,850 weights.",
		model: m.Predict, data: extraction.Data{Rows: own.X, Labels: own.Y}, held: test, budget: 3000,
		lines: []line{
			{attack: "equation-solving", defence: "none", answers: extraction.Scores, surrogate: extraction.Own},
			{attack: "in-distribution", defence: "none", answers: extraction.Scores, surrogate: extraction.Affine},
			{attack: "in-distribution", defence: "any", answers: extraction.Top1, surrogate: extraction.Affine},
		},
	}, nil
}

// flows reads NSL-KDD, in an order that the seed decides.
func flows(seed uint64) (learn.Set, error) {
	all, err := dataset.Flows()
	if err != nil {
		return learn.Set{}, err
	}
	return all.Pick(rand.New(rand.NewPCG(seed, 17)).Perm(all.X.Rows)), nil
}

func nslKDD(seed uint64) (*world, error) {
	all, err := flows(seed)
	if err != nil {
		return nil, err
	}
	rng := rand.New(rand.NewPCG(seed, 18))
	m, err := learn.TrainTrees(learn.TreeConfig{Classes: 5, Leaves: 31, MinRows: 10, Rounds: 60, Rate: 0.2, L2: 1, Patience: 10}, dataset.Part(all, 0, 9000), dataset.Part(all, 9000, 10000), rng)
	if err != nil {
		return nil, err
	}
	w := &world{
		name: "nsl-kdd", words: "41 columns of unlike scales, texts as codes, 5 classes; boosted trees of 10,000 rows. The thief holds 11,000 others.",
		model: m.Predict, data: own(dataset.Part(all, 10000, 21000)), held: dataset.Part(all, 21000, 25000), budget: 10000,
	}
	for _, surrogate := range []string{extraction.MLP, extraction.Trees} {
		for _, attack := range []string{"in-distribution", "near-ood", "knockoff-adaptive", "jbda", "random"} {
			w.lines = append(w.lines, line{attack: attack, defence: "none", answers: extraction.Scores, surrogate: surrogate})
		}
	}
	w.lines = append(w.lines,
		line{attack: "in-distribution", defence: "any", answers: extraction.Top1, surrogate: extraction.MLP},
		line{attack: "in-distribution", defence: guarded, answers: extraction.Scores, surrogate: extraction.MLP},
		line{attack: "in-distribution", defence: guarded, answers: extraction.Lookup, surrogate: extraction.MLP},
	)
	return w, nil
}

func own(s learn.Set) extraction.Data { return extraction.Data{Rows: s.X, Labels: s.Y} }

// nslKDDTree is a model whose leaves are found.
func nslKDDTree(seed uint64) (*world, error) {
	all, err := flows(seed)
	if err != nil {
		return nil, err
	}
	m, err := learn.TrainTrees(learn.TreeConfig{Classes: 5, Leaves: 24, MinRows: 20, Single: true}, dataset.Part(all, 0, 10000), dataset.Part(all, 0, 10000), rand.New(rand.NewPCG(seed, 19)))
	if err != nil {
		return nil, err
	}
	return &world{
		name: "nsl-kdd-tree", words: "The same data, and a single decision tree of at most 24 leaves, whose scores are the shares of its leaves.",
		model: m.Predict, data: own(dataset.Part(all, 10000, 21000)), held: dataset.Part(all, 21000, 25000), budget: 10000,
		lines: []line{
			{attack: "tree-path-finding", defence: "none", answers: extraction.Scores, surrogate: extraction.Own},
			{attack: "in-distribution", defence: "none", answers: extraction.Scores, surrogate: extraction.Trees},
		},
	}, nil
}

func sample(seed uint64) (*world, error) {
	all, err := flows(seed)
	if err != nil {
		return nil, err
	}
	graph, err := onnx.Parse(threatdetector.Model())
	if err != nil {
		return nil, err
	}
	card := threatdetector.Card()
	return &world{
		name: "sample", words: "The sample model of examples/threat-detector; the rows of thief and measure are among those that it learnt from.",
		model: func(x learn.Matrix) learn.Matrix {
			said, err := graph.Run(map[string]learn.Matrix{card.Input: x})
			if err != nil {
				panic(err) // rows of the right width are answered
			}
			return said[card.Output]
		},
		data: own(dataset.Part(all, 10000, 21000)), held: dataset.Part(all, 21000, 25000), budget: 3000,
		lines: []line{
			{attack: "in-distribution", defence: "none", answers: extraction.Scores},
			{attack: "in-distribution", defence: "any", answers: extraction.Top1},
			{attack: "in-distribution", defence: guarded, answers: extraction.Scores},
			{attack: "in-distribution", defence: guarded, answers: extraction.Lookup},
			{attack: "near-ood", defence: "none", answers: extraction.Scores},
			{attack: "jbda", defence: "none", answers: extraction.Scores},
			{attack: "random", defence: "none", answers: extraction.Scores},
		},
	}, nil
}
