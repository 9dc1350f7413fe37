package main

import (
	"fmt"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"slices"

	threatdetector "github.com/pavise/pavise/examples/threat-detector"
	"github.com/pavise/pavise/internal/learn"
)

// candidates are what is compared. They differ in size and in how hard weights
// are held down.
var candidates = []threatdetector.Candidate{
	{Name: "small", Hidden: []int{32}, L2: 1e-4},
	{Name: "medium", Hidden: []int{64, 32}, L2: 1e-4},
	{Name: "medium, held down", Hidden: []int{64, 32}, L2: 1e-3},
	{Name: "large", Hidden: []int{128, 64}, L2: 1e-4},
}

// folds is into how many parts the attacks are dealt for choosing.
const folds = 3

// A fold is one way to part the training file: rows to train on, rows to
// validate on, and rows of attacks that training does not see at all.
type fold struct {
	train, validation learn.Set
	unseen            map[string]learn.Set // by attack
}

// choose scores the candidates and returns them with the index of the best. Of
// the rows of the training file nearly all are told apart by any network, so
// that plain validation cannot choose; what will matter is attacks that nobody
// has seen. Each fold therefore keeps a third of the attacks out of training
// and asks whether they are noticed.
func choose(flows threatdetector.Flows, seed uint64, log io.Writer) ([]threatdetector.Candidate, int, error) {
	scored := slices.Clone(candidates)
	parts := deal(flows, rand.New(rand.NewPCG(seed, 1)))
	best := 0
	for i := range scored {
		c := &scored[i]
		for k, f := range parts {
			if err := score(c, f, rand.New(rand.NewPCG(seed, uint64(2+k)))); err != nil {
				return nil, 0, err
			}
		}
		c.FalseAlarms /= folds
		c.Seen /= folds
		c.Unseen /= folds
		c.Score = (1 - c.FalseAlarms + c.Unseen) / 2
		if c.Score > scored[best].Score {
			best = i
		}
		fmt.Fprintf(log, "candidate %q: false alarms %.4f, seen attacks told %.4f, unseen %.4f, score %.4f\n",
			c.Name, c.FalseAlarms, c.Seen, c.Unseen, c.Score)
	}
	fmt.Fprintf(log, "chosen: %q\n", scored[best].Name)
	return scored, best, nil
}

// deal parts the flows into folds.
func deal(flows threatdetector.Flows, rng *rand.Rand) []fold {
	rows := map[string][]int{}
	for i, attack := range flows.Attacks {
		rows[attack] = append(rows[attack], i)
	}
	attacks := slices.Sorted(maps.Keys(rows))
	attacks = slices.DeleteFunc(attacks, func(a string) bool { return a == threatdetector.Normal.String() })
	rng.Shuffle(len(attacks), func(i, j int) { attacks[i], attacks[j] = attacks[j], attacks[i] })
	parts := make([]fold, folds)
	for k := range parts {
		f := &parts[k]
		f.unseen = map[string]learn.Set{}
		for i := k; i < len(attacks); i += folds {
			f.unseen[attacks[i]] = flows.Pick(rows[attacks[i]])
		}
		var rest []int
		for i, attack := range flows.Attacks {
			if _, out := f.unseen[attack]; !out {
				rest = append(rest, i)
			}
		}
		f.train, f.validation = flows.Pick(rest).Split(rng, 0.2)
	}
	return parts
}

// score trains a candidate on one fold and adds what it achieves.
func score(c *threatdetector.Candidate, f fold, rng *rand.Rand) error {
	model, err := train(f.train, f.validation, *c, rng, nil)
	if err != nil {
		return err
	}
	validated, err := threatdetector.Measure(model, f.validation)
	if err != nil {
		return err
	}
	c.FalseAlarms += validated.FalseAlarms
	c.Seen += validated.Detection
	for _, attack := range slices.Sorted(maps.Keys(f.unseen)) {
		m, err := threatdetector.Measure(model, f.unseen[attack])
		if err != nil {
			return err
		}
		c.Unseen += m.Detection / float64(len(f.unseen))
	}
	return nil
}

// fit trains the chosen candidate on the whole training file, less a tenth that
// says when to stop.
func fit(flows threatdetector.Flows, c threatdetector.Candidate, seed uint64, log io.Writer) ([]byte, error) {
	rng := rand.New(rand.NewPCG(seed, 0))
	rest, validation := flows.Split(rng, 0.1)
	return train(rest, validation, c, rng, func(e learn.Epoch) {
		mark := ""
		if e.Best {
			mark = " *"
		}
		fmt.Fprintf(log, "epoch %2d: loss %.5f, validation %.5f%s\n", e.Number, e.Loss, e.Validation, mark)
	})
}

// train fits a candidate and returns it as ONNX.
func train(rows, validation learn.Set, c threatdetector.Candidate, rng *rand.Rand, progress func(learn.Epoch)) ([]byte, error) {
	p, err := threatdetector.Prepare(rows.X)
	if err != nil {
		return nil, err
	}
	cfg := learn.Config{
		Hidden: c.Hidden, Classes: len(threatdetector.Classes()), L2: c.L2,
		Epochs: 40, Batch: 128, Rate: 1e-3, Patience: 5,
		Weights: weights(rows.Y), Progress: progress,
	}
	ready := learn.Set{Y: rows.Y}
	if ready.X, err = p.Apply(rows.X); err != nil {
		return nil, err
	}
	held := learn.Set{Y: validation.Y}
	if held.X, err = p.Apply(validation.X); err != nil {
		return nil, err
	}
	m, err := learn.Train(cfg, ready, held, rng)
	if err != nil {
		return nil, err
	}
	return threatdetector.Assemble(p, m), nil
}

// weights returns the square root of how rare each class is, 1 for one of
// average size: rare classes must count, and a handful of rows must not rule.
func weights(labels []int) []float32 {
	count := make([]int, len(threatdetector.Classes()))
	for _, y := range labels {
		count[y]++
	}
	w := make([]float32, len(count))
	for k, n := range count {
		average := float64(len(labels)) / float64(len(count))
		w[k] = float32(math.Sqrt(average / float64(max(n, 1))))
	}
	return w
}
