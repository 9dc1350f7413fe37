package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/bench/result"
	"github.com/pavise/pavise/internal/config"
	"github.com/pavise/pavise/internal/onnx"
	"github.com/pavise/pavise/internal/role"
	"github.com/pavise/pavise/internal/route"
	"github.com/pavise/pavise/internal/verbs"
)

// rows are in each request: the windows are short, and are to have enough.
const rows = 50

// Two versions of a model of two numbers: how each weighs them for the first of its answers.
var weights = [2][4]float32{{1, 2, 3, 4}, {-3, 1, 9, -2}}

// product is a version of so many MiB, most of them a comment.
func product(version, mib int) []byte {
	w := onnx.NewWriter("product")
	w.Node("MatMul", "y", []string{w.Input("x", 2), w.Floats("w", []int{2, 2}, weights[version][:])})
	w.Output("y", 2)
	model := w.Bytes()
	if mib == 0 {
		return model
	}
	comment := make([]byte, mib<<20)
	for i := range comment {
		comment[i] = byte('a' + rand.IntN(26))
	}
	const docString = 6<<3 | 2
	model = binary.AppendUvarint(append(model, docString), uint64(len(comment)))
	return append(model, comment...)
}

// A back is how long it took until the version before answered at each gateway.
type back [2]time.Duration

// most is until it did at both.
func (b back) most() time.Duration { return max(b[0], b[1]) }

// measureBacks has bad versions taken back, each in a fleet of its own: of one gateway the word counts
// once in half an hour.
func measureBacks(ctx context.Context, n, mib int) (all []back, err error) {
	for i := range n {
		b, err := oneBack(ctx, mib)
		if err != nil {
			return nil, err
		}
		all = append(all, b)
		fmt.Fprintf(os.Stderr, "back %d: %v at the gateway that found it, %v at the other\n", i+1, b[0].Round(time.Millisecond), b[1].Round(time.Millisecond))
	}
	return all, nil
}

// oneBack releases a bad version in a fleet, and waits until it has gone.
func oneBack(ctx context.Context, mib int) (b back, err error) {
	dir, err := os.MkdirTemp("", "bench-back-")
	if err != nil {
		return b, err
	}
	defer os.RemoveAll(dir)
	ctx, stop := context.WithTimeout(ctx, 3*time.Minute)
	f, err := newFleet(ctx, dir, product(0, mib), &config.Drift{Window: 250 * time.Millisecond, Learn: "500", Few: "none"})
	defer f.wait()
	defer stop()
	if err != nil {
		return b, err
	}
	name := "acme/model/" + role.Sample
	if err := f.ana.Call(ctx, "route.put", route.Spec{Name: name, Rate: "1000000/1m burst 100000", Budget: "100000000/24h", ModelBudget: "100000000/24h"}, nil); err != nil {
		return b, err
	}
	var asked sync.WaitGroup
	var seen [2]answers
	var pause atomic.Bool // of the first gateway's questions
	for i := range f.gateways {
		asked.Go(func() { f.askOn(ctx, i, &seen[i], func() bool { return i == 0 && pause.Load() }) })
	}
	defer asked.Wait()
	defer stop()
	if _, err := f.noted(ctx, "drift.learned"); err != nil {
		return b, err
	}
	pause.Store(true) // until the other gateway has the bad version, too
	if err := f.change(ctx, "route.release", verbs.ReleaseRequest{ReleaseSpec: route.ReleaseSpec{Name: name, ONNX: product(1, mib)}}, func() {}); err != nil {
		return b, err
	}
	if err := seen[1].until(ctx, (*answers).bad); err != nil {
		return b, fmt.Errorf("%s is not answered by the version that was released: %w: %+v", f.gateways[1].Name().ID, errors.Join(err, seen[1].fault()), f.gateways[1].Health())
	}
	pause.Store(false)
	confirmed, err := f.noted(ctx, "drift.confirmed")
	if err != nil {
		return b, err
	}
	for i := range seen {
		if err := seen[i].until(ctx, (*answers).gone); err != nil {
			return b, fmt.Errorf("%s is not answered by the version before: %w: %+v", f.gateways[i].Name().ID, errors.Join(err, seen[i].fault()), f.gateways[i].Health())
		}
		b[i] = seen[i].since().Sub(confirmed)
	}
	return b, nil
}

// noted waits until the first gateway's log has a finding of a kind, and returns when it was made.
func (f *benchFleet) noted(ctx context.Context, kind string) (time.Time, error) {
	log := f.gateways[0].Log
	for at := uint64(0); ; {
		for size := log.Size(); at < size; at++ {
			for _, r := range log.Records(at, at+1) {
				var d struct{ Finding pavise.Finding }
				if r.Kind == kind {
					return d.Finding.At, json.Unmarshal(r.Detail, &d)
				}
			}
		}
		select {
		case <-time.After(2 * time.Millisecond):
		case <-ctx.Done():
			return time.Time{}, fmt.Errorf("the gateway's log has no %s: %w", kind, ctx.Err())
		}
	}
}

// answers are by which version a gateway answered, when.
type answers struct {
	mu    sync.Mutex // guards what follows
	count int
	last  int       // the place of the last answer by the bad version, from 1; 0: there was none
	first time.Time // when the first answer of the version before came after that
	err   error     // why the last question had no answer
}

// add notes an answer, or why there was none.
func (a *answers) add(version int, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err = err; err != nil {
		return
	}
	switch a.count++; {
	case version == 1:
		a.last = a.count
	case a.count == a.last+1:
		a.first = time.Now()
	}
}

// bad reports whether the bad version has answered.
func (a *answers) bad() bool { return a.last > 0 }

// gone reports whether the bad version has, and does no more.
func (a *answers) gone() bool { return a.bad() && a.count >= a.last+3 }

// since is when the version before answered again.
func (a *answers) since() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.first
}

// fault is why the last question had no answer.
func (a *answers) fault() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.err
}

// until waits until something is true of the answers.
func (a *answers) until(ctx context.Context, is func(*answers) bool) error {
	for {
		a.mu.Lock()
		now := is(a)
		a.mu.Unlock()
		if now {
			return nil
		}
		select {
		case <-time.After(2 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// askOn asks a gateway for rows until ctx is done, but for while it is to pause, and keeps which version
// answered.
func (f *benchFleet) askOn(ctx context.Context, i int, kept *answers, pause func() bool) {
	rng := rand.New(rand.NewPCG(uint64(i), 7))
	for ctx.Err() == nil {
		data := make([]float64, 2*rows)
		for k := range data {
			data[k] = float64(float32(rng.NormFloat64()))
		}
		if !pause() {
			kept.add(f.askRows(ctx, f.gateways[i].URL(), data))
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// askRows asks for rows, and says which version answered.
func (f *benchFleet) askRows(ctx context.Context, url string, data []float64) (version int, err error) {
	text, err := json.Marshal(map[string]any{"inputs": []any{map[string]any{"name": "x", "shape": []int{rows, 2}, "datatype": "FP32", "data": data}}})
	if err != nil {
		return 0, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/v2/models/"+role.Sample+"/infer", bytes.NewReader(text))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := f.caller.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var said struct {
		Outputs []struct{ Data []float64 }
	}
	text, err = io.ReadAll(resp.Body)
	if err == nil {
		err = json.Unmarshal(text, &said)
	}
	if err != nil || len(said.Outputs) != 1 || len(said.Outputs[0].Data) != 2*rows {
		return 0, errors.Join(err, fmt.Errorf("it answers %s", resp.Status))
	}
	for version, w := range weights {
		if math.Abs(said.Outputs[0].Data[0]-(data[0]*float64(w[0])+data[1]*float64(w[2]))) < 1e-3 {
			return version, nil
		}
	}
	return 0, errors.New("it answers as neither version does")
}

// reportBacks writes the result, of which there is at least one.
func reportBacks(all []back, mib int, conditions string) string {
	t := result.NewTable("where", "times", "p50, ms", "p90, ms", "longest, ms", "goal")
	row := func(where string, of func(back) time.Duration) {
		var took []time.Duration
		for _, b := range all {
			took = append(took, of(b))
		}
		slices.Sort(took)
		judged := "met"
		if took[len(took)-1] > goal {
			judged = "**not met**"
		}
		ms := func(d time.Duration) string { return fmt.Sprintf("%.0f", float64(d)/float64(time.Millisecond)) }
		t.Row(where, fmt.Sprint(len(took)), ms(result.Quantile(took, 0.5)), ms(result.Quantile(took, 0.9)), ms(took[len(took)-1]), fmt.Sprintf("the longest ≤ %v: %s", goal, judged))
	}
	row("at the gateway that found it", func(b back) time.Duration { return b[0] })
	row("at both gateways", back.most)
	more, size := "", "A version is a few hundred bytes."
	if mib > 0 {
		more, size = fmt.Sprintf(" --mib %d", mib), fmt.Sprintf("A version is a file of %d MiB.", mib)
	}
	var b strings.Builder
	b.WriteString("## A fleet: from a bad version's confirmation until the one before answers\n\n")
	fmt.Fprintf(&b, "Made by `cd bench && go run ./fleet --backs %d%s --write`.\n\n%s\n", len(all), more, t)
	fmt.Fprintf(&b, "From the moment that the finding `drift.confirmed` of a gateway bears until the first answer of the version before has come back, over TLS on loopback, from that gateway, and from another one that found nothing. Each is asked every 5 ms, by one program. Each time is of a fleet of its own: a control plane and two gateways in one process. %s\n\n", size)
	fmt.Fprintf(&b, "Conditions:\n\n%s", conditions)
	return b.String()
}
