package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// writeTraffic is the command traffic FILE FROM TO ROWS [THIEF...] of the scripts: it
// writes a CSV with the rows of honest clients from one number to another, and of thieves,
// who draw each column by itself.
func writeTraffic(ts *testscript.TestScript, _ bool, args []string) {
	var numbers [3]int
	for i := range numbers {
		n, err := strconv.Atoi(args[i+1])
		ts.Check(err)
		numbers[i] = n
	}
	var b strings.Builder
	b.WriteString("client,time,size,count,rate,kind,p_0,p_1\n")
	for i := numbers[0]; i < numbers[1]; i++ {
		rng := rand.New(rand.NewPCG(1, uint64(i)))
		mix := rng.Float64()
		for range numbers[2] {
			writeAsked(&b, fmt.Sprint("app-", i), honestAsked(rng, mix))
		}
	}
	rng := rand.New(rand.NewPCG(2, 0))
	for _, name := range args[4:] {
		for range numbers[2] {
			var row [4]float64
			for j := range row {
				row[j] = honestAsked(rng, 0.5)[j]
			}
			writeAsked(&b, name, row)
		}
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(b.String()), 0o600))
}

// honestAsked draws a row of one of two kinds, whose columns belong together.
func honestAsked(rng *rand.Rand, mix float64) (row [4]float64) {
	kind, v := 1.0, rng.NormFloat64()
	if rng.Float64() < mix {
		kind = -1
	}
	return [4]float64{math.Exp(3*kind + v), math.Round(20 + 10*kind + 3*v), math.Round(100*(3*kind-v)+10*rng.NormFloat64()) / 100, kind}
}

func writeAsked(b *strings.Builder, client string, row [4]float64) {
	p := 1 / (1 + math.Exp(-row[2]-row[3]))
	fmt.Fprintf(b, "%s,2026-03-01T12:00:00Z,%v,%v,%v,%v,%v,%v\n", client, row[0], row[1], row[2], row[3], p, 1-p)
}
