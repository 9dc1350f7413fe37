package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/bench/result"
	"github.com/pavise/pavise/internal/issuer"
	"github.com/pavise/pavise/internal/onnx"
	"github.com/pavise/pavise/internal/role"
	"github.com/pavise/pavise/internal/route"
	"github.com/pavise/pavise/internal/verbs"
)

// columns of the model by which it is asked how a caller stands.
const columns = 8

// A standing is one row about how callers stand: of which form the answers are, and what the
// route has.
type standing struct {
	rows, classes int
	ladder        string
	times         []sight // of all rounds
	length        [2]float64
	looks         [3]float64 // how often the median, the trees and the nearest were right, added up over the rounds
	held          float64    // questions that they were asked
	late          int
}

// standings are the rows: those of the forms named, as "512x4", or all.
func standings(only string) (list []*standing) {
	for _, c := range [][2]int{{1, 10}, {64, 10}, {256, 10}, {512, 4}} {
		if only != "" && !slices.Contains(strings.Split(only, ","), fmt.Sprintf("%dx%d", c[0], c[1])) {
			continue
		}
		for _, ladder := range []string{"none", "40ms..2s"} {
			list = append(list, &standing{rows: c[0], classes: c[1], ladder: ladder})
		}
	}
	return list
}

// stands measures whether a caller can tell by times and lengths that it is in amber: the
// same requests are asked in turn in two names, one of which is held to amber, of models that
// the gateway itself runs. Each round has other rows and other halves.
func (h *house) stands(ctx context.Context, n, rounds int, only string) (string, error) {
	if n == 0 {
		return "", nil
	}
	amber, err := h.tokenOf(ctx, "amber")
	if err != nil {
		return "", err
	}
	list := standings(only)
	for round := range rounds {
		for _, s := range list {
			if err := h.stand(ctx, s, n, uint64(round), []string{h.token, amber}); err != nil {
				return "", err
			}
		}
	}
	table := result.NewTable("rows × classes", "the route has", "median, green", "median, amber", "told apart, by the median", "by trees, by the nearest", "mean length, green, amber", "above the top")
	highest, looks, held := 0.0, 0, 0.0
	for _, s := range list {
		words := "nothing"
		if s.ladder != "none" {
			words = "`--ladder " + s.ladder + "`"
			highest, looks, held = max(highest, s.looks[0]/s.held, s.looks[1]/s.held, s.looks[2]/s.held), looks+len(s.looks), s.held
		}
		table.Row(fmt.Sprintf("%d × %d", s.rows, s.classes), words, micros(median(s.times, 0)), micros(median(s.times, 1)),
			fmt.Sprintf("%.3f", s.looks[0]/s.held), fmt.Sprintf("%.3f, %.3f (±%.3f)", s.looks[1]/s.held, s.looks[2]/s.held, 1/math.Sqrt(s.held)),
			fmt.Sprintf("%.1f, %.1f", s.length[0]/float64(rounds), s.length[1]/float64(rounds)), fmt.Sprint(s.late))
	}
	return fmt.Sprintf("### How a caller stands\n\nTwo callers ask a model that the gateway runs for the same rows in turn, one request at a time, on a route with `--alterable` and `--mark 0.005`; one of them is in amber, and has guarded answers. Both have all of the work done for them; what is left is what is written down: the record of an altered answer is longer. Half of the times teach the classifiers, the other half is told apart; guessing gets 0.5. A ± is twice the standard error. Rounds of %d questions, each with other rows and other halves: %d.\n\n%s\nInside of the ladder there are %d looks: if all of them guess, the highest stays below %.3f in 95 of 100 measurements. It is %.3f.\n",
		n, rounds, table, looks, guessed(looks, held), highest), nil
}

// guessed is what the highest of so many shares stays below in 95 of 100 measurements, if each
// is of n guesses: by Šidák, as if they had nothing in common.
func guessed(looks int, n float64) float64 {
	p := math.Pow(0.95, 1/float64(looks))
	return 0.5 + math.Sqrt2*math.Erfinv(2*p-1)*0.5/math.Sqrt(n)
}

// stand asks the questions of one round for a row.
func (h *house) stand(ctx context.Context, s *standing, n int, round uint64, tokens []string) error {
	name := fmt.Sprintf("stand-%d", s.classes)
	if err := h.putStand(ctx, name, s.classes, s.ladder); err != nil {
		return err
	}
	caller := pavise.Name{Tenant: role.Tenant, Kind: "workload", ID: "amber"}
	hold := verbs.TierHold{Model: pavise.Name{Tenant: role.Tenant, Kind: "model", ID: name}, Caller: caller, Tier: "amber", Reason: "a measurement", For: "24h"}
	if err := h.operator.Call(ctx, "tier.hold", hold, nil); err != nil && pavise.KindOf(err) != pavise.Conflict {
		return err
	}
	all, err := h.inTurn(ctx, n, name, s.rows, round, tokens)
	if err != nil {
		return err
	}
	times := one(all, total)
	trees, near, held, err := apart(times, 2+round)
	if err != nil {
		return err
	}
	for i, share := range []float64{byMedian(times), trees, near} {
		s.looks[i] += share * held
	}
	s.held += held
	s.times = append(s.times, times...)
	for kind := range s.length {
		s.length[kind] += meanOfKind(all, kind, 1)
	}
	late, err := h.late(ctx, name)
	s.late += late
	return err
}

// tokenOf is a token of another caller.
func (h *house) tokenOf(ctx context.Context, subject string) (string, error) {
	var token issuer.Token
	err := h.operator.Call(ctx, "issuer.mint", verbs.MintRequest{Subject: subject, Role: []string{issuer.RoleCaller}}, &token)
	return token.Value, err
}

// putStand puts a route to a softmax over random weights.
func (h *house) putStand(ctx context.Context, name string, classes int, ladder string) error {
	rng := rand.New(rand.NewPCG(7, uint64(classes)))
	weights := make([]float32, columns*classes)
	for i := range weights {
		weights[i] = float32(rng.NormFloat64())
	}
	w := onnx.NewWriter("stand")
	w.Node("Softmax", "scores", []string{w.Node("MatMul", "z", []string{w.Input("x", columns), w.Floats("w", []int{columns, classes}, weights)})})
	w.Output("scores", classes)
	spec := route.Spec{
		Name: role.Tenant + "/model/" + name, Ladder: ladder, Alterable: new(true), Mark: "0.005", MaxRows: 1024,
		Rate: "1000000/1s burst 1000000", Budget: "1000000/1m", ModelRate: "1000000/1s burst 1000000", ModelBudget: "1000000/1m",
	}
	if !h.stood[name] {
		spec.ONNX, h.stood[name] = w.Bytes(), true
	}
	return h.operator.Call(ctx, "route.put", spec, nil)
}

// inTurn asks n requests, half in each name, and notes how long each took and was.
func (h *house) inTurn(ctx context.Context, n int, model string, rows int, round uint64, tokens []string) ([]sight, error) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}}
	defer client.CloseIdleConnections()
	rng := rand.New(rand.NewPCG(uint64(rows)+round<<32, uint64(n)))
	var all []sight
	for i := range n/2 + 20 {
		list := make([]float32, rows*columns)
		for k := range list {
			list[k] = float32(rng.NormFloat64())
		}
		data, err := json.Marshal(list)
		if err != nil {
			return nil, err
		}
		body := fmt.Sprintf(`{"inputs":[{"name":"x","shape":[%d,%d],"datatype":"FP32","data":%s}]}`, rows, columns, data)
		order := []int{0, 1}
		if rng.IntN(2) == 1 {
			slices.Reverse(order)
		}
		for _, kind := range order {
			took, length, err := h.timed(ctx, client, model, body, tokens[kind])
			if err != nil {
				return nil, err
			}
			if i >= 20 { // the first ones warm caches
				all = append(all, sight{kind, []float64{took, length}})
			}
		}
	}
	return all, nil
}

func (h *house) timed(ctx context.Context, client *http.Client, model, body, token string) (took, length float64, err error) {
	r, err := http.NewRequestWithContext(ctx, "POST", h.server+"/v2/models/"+model+"/infer", strings.NewReader(body))
	if err != nil {
		return 0, 0, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+token)
	from := time.Now()
	resp, err := client.Do(r)
	if err != nil {
		return 0, 0, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %.200s", model, resp.Status, text)
	}
	return time.Since(from).Seconds(), float64(len(text)), err
}

// one keeps one feature.
func one(all []sight, feature int) (list []sight) {
	for _, s := range all {
		list = append(list, sight{s.kind, s.features[feature : feature+1]})
	}
	return list
}

// byMedian splits times at the median of the first half, as who has no other tool does, and
// says how often the second half lies on the right side.
func byMedian(all []sight) float64 {
	half := slices.Clone(all[:len(all)/2])
	slices.SortFunc(half, func(a, b sight) int { return cmp.Compare(a.features[0], b.features[0]) })
	split, right := half[len(half)/2].features[0], 0
	rest := all[len(all)/2:]
	for _, s := range rest {
		if (s.features[0] > split) == (s.kind == 1) {
			right++
		}
	}
	return float64(right) / float64(len(rest))
}

func meanOfKind(all []sight, kind, feature int) (mean float64) {
	n := 0
	for _, s := range all {
		if s.kind == kind {
			mean += s.features[feature]
			n++
		}
	}
	return mean / float64(n)
}

func micros(seconds float64) string { return fmt.Sprintf("%.0f µs", 1e6*seconds) }
