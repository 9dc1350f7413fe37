package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pavise/pavise/internal/learn"
)

// second marks questions of the second kind; those of the first are as long.
const (
	first  = "0.125"
	second = "0.375"
)

// A sight is what a thief sees of one answer.
type sight struct {
	kind     int // 0 or 1
	features []float64
}

// The features of a stream; of a whole answer there is the first alone.
const (
	total     = iota // seconds to the last byte
	firstByte        // to the first
	bytesRead
	reads
	gapMean
	gapSpread
	gapMost
	sizeMean
	sizeSpread
	sizeMost
	firsts // from here on: the first gaps and sizes
)

const firstReads = 16

// A question asks one kind.
type question func(ctx context.Context, client *http.Client, kind int) ([]float64, error)

// ask asks n questions, half of them of each kind, some at once.
func (h *house) ask(ctx context.Context, n, atOnce int, q question) ([]sight, error) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: atOnce, MaxConnsPerHost: atOnce}}
	defer client.CloseIdleConnections()
	kinds := make([]int, n)
	for i := range kinds {
		kinds[i] = i % 2
	}
	rng := rand.New(rand.NewPCG(1, uint64(n)))
	rng.Shuffle(n, func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
	var warm errgroup.Group // connections are made, and caches warm
	for i := range atOnce {
		warm.Go(func() error {
			_, err := q(ctx, client, i%2)
			return err
		})
	}
	if err := warm.Wait(); err != nil {
		return nil, err
	}
	all := make([]sight, n)
	var group errgroup.Group
	group.SetLimit(atOnce)
	for i, kind := range kinds {
		group.Go(func() error {
			features, err := q(ctx, client, kind)
			all[i] = sight{kind, features}
			return err
		})
	}
	return all, group.Wait()
}

// post sends a question, and returns its answer unread.
func (h *house) post(ctx context.Context, client *http.Client, path, body string, kind int) (*http.Response, error) {
	mark := []string{first, second}[kind]
	r, err := http.NewRequestWithContext(ctx, "POST", h.server+path, strings.NewReader(strings.ReplaceAll(body, "MARK", mark)))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+h.token)
	resp, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		resp.Body.Close()
		return nil, fmt.Errorf("%s: %s: %s", path, resp.Status, text)
	}
	return resp, nil
}

// one asks a model for one answer.
func (h *house) one(model string) question {
	return func(ctx context.Context, client *http.Client, kind int) ([]float64, error) {
		from := time.Now()
		resp, err := h.post(ctx, client, "/v2/models/"+model+"/infer", `{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[MARK,0.5]}]}`, kind)
		if err != nil {
			return nil, err
		}
		defer resp.Body.Close()
		_, err = io.Copy(io.Discard, resp.Body)
		return []float64{time.Since(from).Seconds()}, err
	}
}

// stream asks the talker, and notes each read.
func (h *house) stream(ctx context.Context, client *http.Client, kind int) ([]float64, error) {
	from := time.Now()
	resp, err := h.post(ctx, client, "/v1/chat/completions", `{"model":"talker","stream":true,"messages":[{"role":"user","content":"MARK"}]}`, kind)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	f := make([]float64, firsts+2*firstReads)
	var gaps, sizes []float64
	buf, last := make([]byte, 64<<10), from
	for {
		n, err := resp.Body.Read(buf)
		now := time.Now()
		if n > 0 {
			if len(sizes) == 0 {
				f[firstByte] = now.Sub(from).Seconds()
			} else {
				gaps = append(gaps, now.Sub(last).Seconds())
			}
			sizes, last = append(sizes, float64(n)), now
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	f[total], f[reads] = last.Sub(from).Seconds(), float64(len(sizes))
	f[gapMean], f[gapSpread], f[gapMost] = moments(gaps)
	f[sizeMean], f[sizeSpread], f[sizeMost] = moments(sizes)
	f[bytesRead] = f[sizeMean] * f[reads]
	copy(f[firsts:firsts+firstReads], gaps)
	copy(f[firsts+firstReads:], sizes)
	return f, nil
}

// moments are the mean, the spread and the largest of a list.
func moments(list []float64) (mean, spread, most float64) {
	for _, v := range list {
		mean += v / float64(len(list))
		most = max(most, v)
	}
	for _, v := range list {
		spread += (v - mean) * (v - mean) / float64(len(list))
	}
	return mean, math.Sqrt(spread), most
}

// averaged is what who asks each question so many times has.
func averaged(all []sight, times int) (list []sight) {
	sums, counts := [2]float64{}, [2]int{}
	for _, s := range all {
		sums[s.kind] += s.features[total]
		if counts[s.kind]++; counts[s.kind] == times {
			list = append(list, sight{s.kind, []float64{sums[s.kind] / float64(times)}})
			sums[s.kind], counts[s.kind] = 0, 0
		}
	}
	return list
}

// tell learns to tell the kinds apart on one half, and says how often it is right on the
// other: boosted trees, and the nearest fifteen, each, with twice the standard error.
func tell(all []sight) (string, error) {
	trees, near, n, err := apart(all, 2)
	return fmt.Sprintf("%.3f, %.3f (±%.3f)", trees, near, 1/math.Sqrt(n)), err
}

// apart is tell in numbers: how often the trees and the nearest are right, of n. seed halves.
func apart(all []sight, seed uint64) (trees, near, n float64, err error) {
	set := learn.Set{X: learn.NewMatrix(len(all), len(all[0].features)), Y: make([]int, len(all))}
	for j := range set.X.Cols { // as many spreads from the middle
		column := make([]float64, len(all))
		for i, s := range all {
			column[i] = s.features[j]
		}
		mean, spread, _ := moments(column)
		for i := range all {
			set.X.Row(i)[j] = float32((column[i] - mean) / max(spread, 1e-12))
		}
	}
	for i, s := range all {
		set.Y[i] = s.kind
	}
	rng := rand.New(rand.NewPCG(2, seed))
	rest, test := set.Split(rng, 0.5)
	fit, held := rest.Split(rng, 0.2)
	model, err := learn.TrainTrees(learn.TreeConfig{Classes: 2, Leaves: 7, MinRows: 10, Rounds: 100, Rate: 0.1, L2: 1, Columns: 1, Bins: 64, Patience: 10}, fit, held, rng)
	if err != nil {
		return 0, 0, 0, err
	}
	return right(model.Predict(test.X), test.Y), right(nearest(rest, test.X), test.Y), float64(len(test.Y)), nil
}

// nearest lets the fifteen nearest rows that are known vote.
func nearest(known learn.Set, x learn.Matrix) learn.Matrix {
	votes := learn.NewMatrix(x.Rows, 2)
	type row struct {
		away float32
		kind int
	}
	for i := range x.Rows {
		all := make([]row, known.X.Rows)
		for j := range all {
			all[j].kind = known.Y[j]
			for k, v := range known.X.Row(j) {
				d := v - x.Row(i)[k]
				all[j].away += d * d
			}
		}
		slices.SortFunc(all, func(a, b row) int { return cmp.Compare(a.away, b.away) })
		for _, r := range all[:min(15, len(all))] {
			votes.Row(i)[r.kind]++
		}
	}
	return votes
}

func right(scores learn.Matrix, kinds []int) float64 {
	n := 0
	for i, kind := range scores.ArgMax() {
		if kind == kinds[i] {
			n++
		}
	}
	return float64(n) / float64(len(kinds))
}

func median(all []sight, kind int) float64 { return medianOf(all, kind, total) }

func medianOf(all []sight, kind, feature int) float64 {
	var list []float64
	for _, s := range all {
		if s.kind == kind {
			list = append(list, s.features[feature])
		}
	}
	slices.Sort(list)
	return list[len(list)/2]
}

// both are the medians of the two kinds.
func both(all []sight, feature int, spell func(float64) string) string {
	return spell(medianOf(all, 0, feature)) + ", " + spell(medianOf(all, 1, feature))
}

func mean(all []sight) float64 { return meanOf(all, total) }

func meanOf(all []sight, feature int) (sum float64) {
	for _, s := range all {
		sum += s.features[feature] / float64(len(all))
	}
	return sum
}
