// Drift measures what a value costs that is counted for drift, beside Evidently's PSI on the same
// values in the same run; what one value that is far out does to either; and files of many rows.
//
// Run it from the bench directory, with a Python that has Evidently:
//
//	go run ./drift --python venv/bin/python --write
package main

import (
	"bufio"
	"context"
	_ "embed"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pavise/pavise/bench/result"
	"github.com/pavise/pavise/internal/drift"
	"github.com/pavise/pavise/internal/drift/compare"
)

//go:embed peer.py
var peer string

const column = 100_000 // values of a column

func main() {
	python := flag.String("python", "", "a Python that has Evidently; without one there is no peer")
	rows := flag.Int("rows", 10_000_000, "rows of the files that are compared")
	rounds := flag.Int("rounds", 7, "of each measurement")
	write := flag.Bool("write", false, "keep the results in RESULTS.md")
	flag.Parse()
	runtime.GOMAXPROCS(1)
	result.Main("drift", func(ctx context.Context) error { return run(ctx, *python, *rows, *rounds, *write) })
}

func run(ctx context.Context, python string, rows, rounds int, write bool) error {
	dir, err := os.MkdirTemp("", "drift")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	conditions := result.Observe(".")
	var out strings.Builder
	if err := perCell(ctx, &out, dir, python, rounds); err != nil {
		return err
	}
	if err := files(ctx, &out, dir, rows); err != nil {
		return err
	}
	text := "## Drift\n\nMade by `cd bench && go run ./drift --python PYTHON --write`.\n\n" + conditions.String() + out.String()
	fmt.Print(text)
	if write {
		return result.Write(result.File, "drift", text)
	}
	return nil
}

// samples are a baseline and what is held to it: the same, a shift by one standard deviation,
// and both with one value that is far out.
func samples() (base []float64, all [][]float64, names []string) {
	rng := rand.New(rand.NewPCG(1, 1))
	draw := func(mean float64) []float64 {
		v := make([]float64, column)
		for i := range v {
			v[i] = mean + rng.NormFloat64()
		}
		return v
	}
	base = draw(0)
	all = [][]float64{draw(0), nil, draw(1), nil}
	for i := 1; i < len(all); i += 2 {
		all[i] = slices.Clone(all[i-1])
		all[i][column/2] = 1e9
	}
	return base, all, []string{"nothing moved", "nothing moved, one value of 1e9", "moved by 1 σ", "moved by 1 σ, one value of 1e9"}
}

func perCell(ctx context.Context, out *strings.Builder, dir, python string, rounds int) error {
	base, all, names := samples()
	r := drift.NewReference(slices.Clone(base))
	var counted drift.Histogram
	r.CountAll(&counted, base)
	const features = 100
	watched := make([]drift.Feature, features)
	for i := range watched { // each with bins of its own: memory is what counts row by row
		watched[i] = drift.Feature{Numbers: drift.NewReference(slices.Clone(base[i*500:])), Base: &counted}
	}
	w := drift.NewWatch(watched)
	const chunk, groups = 64, 16 // as internal/monitor does
	counts := drift.NewCounts(features)
	who, places := make([]uint8, chunk), make([]uint8, chunk)
	for i := range who {
		who[i] = uint8(i % groups)
		counts.Open(who[i])
	}
	ways := []struct {
		name string
		do   func() (int, error)
	}{
		{"Pavise, column by column", func() (int, error) {
			w.Column(0, all[0])
			return column, nil
		}},
		{"Pavise, rows of 100 features", func() (int, error) {
			w.Rows(all[0])
			return column, nil
		}},
		{"Pavise, rows of 100 features, row by row", func() (int, error) {
			for i := 0; i+features <= column; i += features {
				w.Rows(all[0][i : i+features])
			}
			return column, nil
		}},
		{"Pavise, rows of 100 features, value by value", func() (int, error) {
			for i := 0; i+features <= column; i += features {
				for f, x := range all[0][i : i+features] {
					w.Feed(f).Number(x)
				}
			}
			return column, nil
		}},
		{"Pavise, as a server counts it, by 16 groups of callers", func() (int, error) {
			n := 0
			for ; n+chunk <= column; n += chunk {
				f := n / chunk % features
				watched[f].Numbers.Places(places, all[0][n:n+chunk])
				counts.Count(f, who, places)
			}
			return n, nil
		}},
		{"Pavise, judging 100 features, for each", func() (int, error) {
			for f := range features {
				w.Column(f, all[0][:500])
			}
			w.End()
			return features, nil
		}},
	}
	fmt.Fprintf(out, "\n| what is done for a value | ns of processor, least | median | allocations |\n|---|---|---|---|\n")
	least := map[string]float64{}
	for _, way := range ways {
		var costs []result.Cost
		for range rounds {
			c, err := result.Measure(300*time.Millisecond, way.do)
			if err != nil {
				return err
			}
			costs = append(costs, c)
		}
		median, low := result.Summary(costs)
		least[way.name] = low
		fmt.Fprintf(out, "| %s | %.1f | %.1f | %.2f |\n", way.name, low, median.CPU, median.Allocs)
	}
	theirs, err := ask(ctx, python, dir, base, all)
	if err != nil {
		return err
	}
	if theirs != nil {
		fmt.Fprintf(out, "| Evidently %s, PSI | %.1f | %.1f | |\n", theirs.Version, theirs.Least, theirs.Median)
		fmt.Fprintf(out, "\nEvidently takes %.1f times the processor, by column, %.1f times by rows, %.1f times row by row, and %.1f times value by value.\n",
			theirs.Least/least[ways[0].name], theirs.Least/least[ways[1].name], theirs.Least/least[ways[2].name], theirs.Least/least[ways[3].name])
	}
	fmt.Fprintf(out, "One core counts %.0f million values a second by column, and %.0f million by rows.\n", 1e3/least[ways[0].name], 1e3/least[ways[1].name])
	evasion(out, r, &counted, all, names, theirs)
	return nil
}

// evasion says what either makes of the samples.
func evasion(out *strings.Builder, r *drift.Reference, base *drift.Histogram, all [][]float64, names []string, theirs *answer) {
	fmt.Fprintf(out, "\n| %d values beside as many | Pavise: PSI | distance (JS) | drift | Evidently: PSI | drift (from 0.1) |\n|---|---|---|---|---|---|\n", column)
	for i, sample := range all {
		var h drift.Histogram
		r.CountAll(&h, sample)
		o := drift.Hold(drift.Number, r.Bins(), base, &h)
		score, said := "", ""
		if theirs != nil {
			score, said = strconv.FormatFloat(theirs.PSI[i], 'f', 4, 64), yes(theirs.PSI[i] >= 0.1)
		}
		fmt.Fprintf(out, "| %s | %.4f | %.4f | %s | %s | %s |\n", names[i], o.PSI, o.JS, yes(o.Moved()), score, said)
	}
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// An answer is what peer.py prints.
type answer struct {
	Version       string
	PSI           []float64
	Least, Median float64
}

// ask lets Evidently look at the samples; nil without a Python.
func ask(ctx context.Context, python, dir string, base []float64, all [][]float64) (*answer, error) {
	if python == "" {
		return nil, nil
	}
	args := []string{"-c", peer}
	for i, sample := range append([][]float64{base}, all...) {
		path := filepath.Join(dir, strconv.Itoa(i))
		f, err := os.Create(path)
		if err != nil {
			return nil, err
		}
		w := bufio.NewWriter(f)
		if err := binary.Write(w, binary.LittleEndian, sample); err != nil {
			return nil, err
		}
		if err := w.Flush(); err != nil {
			return nil, err
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
		args = append(args, path)
	}
	cmd := exec.CommandContext(ctx, python, args...)
	cmd.Stderr = os.Stderr
	text, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("run Evidently with %s: %w", python, err)
	}
	var a answer
	return &a, json.Unmarshal(text, &a)
}

// files compares a file of many rows with itself and says what it took.
func files(ctx context.Context, out *strings.Builder, dir string, rows int) error {
	fmt.Fprintf(out, "\n| rows of a CSV, compared with itself | size | values read a second of processor | memory, most |\n|---|---|---|---|\n")
	for _, n := range []int{max(rows/100, 1), rows} {
		path := filepath.Join(dir, "rows.csv")
		size, err := writeRows(path, n)
		if err != nil {
			return err
		}
		const columns, readings = 3, 3
		most := uint64(0)
		c := &compare.Compare{Baseline: path, Current: path, Say: func(string) {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapInuse)
		}}
		cost, err := result.Measure(0, func() (int, error) {
			r, err := c.Run(ctx)
			if err == nil && r.Verdict != compare.Stable {
				err = fmt.Errorf("a file is %s beside itself", r.Verdict)
			}
			return columns * readings * n, err
		})
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "| %d | %d MB | %.1f million | %.1f MB |\n", n, size/1e6, 1e3/cost.CPU, float64(most)/1e6)
	}
	return nil
}

func writeRows(path string, n int) (size int64, err error) {
	f, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	rng := rand.New(rand.NewPCG(2, 2))
	w := bufio.NewWriterSize(f, 1<<20)
	fmt.Fprintln(w, "bytes,count,proto")
	protos := []string{"tcp", "udp", "icmp"}
	var line []byte
	for range n {
		line = strconv.AppendFloat(line[:0], 100+10*rng.NormFloat64(), 'f', 3, 64)
		line = strconv.AppendInt(append(line, ','), int64(rng.IntN(1000)), 10)
		line = append(append(append(line, ','), protos[rng.IntN(3)]...), '\n')
		if _, err := w.Write(line); err != nil {
			return 0, err
		}
	}
	if err := w.Flush(); err != nil {
		return 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
