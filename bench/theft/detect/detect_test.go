package main

import (
	"encoding/json"
	"flag"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/pavise/pavise/internal/extraction"
)

var update = flag.Bool("update", false, "write the golden file anew")

// TestGolden holds a small measurement to what it was: rows to detection, sorted, by attack
// and share.
func TestGolden(t *testing.T) {
	w, err := pair(1)
	if err != nil {
		t.Fatal(err)
	}
	w.most = 400
	f, err := w.measure(size{clients: 60, others: 5, thieves: 2, rows: 600}, 1)
	if err != nil {
		t.Fatal(err)
	}
	if len(f.honest) > 1 || f.again > 0 || f.tried != 60 { // of 60, at a bound of 2 %
		t.Errorf("honest clients left green: %+v, and %d who went on", f.honest, f.again)
	}
	for _, k := range attacks {
		if whole := f.found[k.name][100]; k.name != "in-distribution" && (whole[0] == 0 || whole[1] == 0 || whole[1] > 300) {
			t.Errorf("%s: found after %v rows", k.name, whole)
		}
	}
	text, err := json.MarshalIndent(f.found, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	const file = "testdata/golden.json"
	if *update {
		if err := os.WriteFile(file, append(text, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != string(text)+"\n" {
		t.Errorf("rows to detection are\n%s\nand were\n%s", text, want)
	}
}

// TestEvasionsEvade lets both searches for a row that is taken for another class work on a
// model: what they end with must be one.
func TestEvasionsEvade(t *testing.T) {
	w, err := pair(1)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for name, search := range map[string]thief{"hopskipjump": hopSkipJump, "square": square} {
		asked, evading, goal := 0, 0, -1
		if err := search(w, rng, 400, func(row []float32) []float32 {
			for j, v := range row {
				if v < w.low[j] || v > w.high[j] {
					t.Fatalf("%s: column %d is %v", name, j, v)
				}
			}
			said := w.answered("", row).Scores
			out := []float32{float32(said[0]), float32(said[1])}
			if asked++; asked == 1 {
				goal = top(out)
			} else if top(out) != goal {
				evading++
			}
			return out
		}); err != nil {
			t.Fatal(err)
		}
		if asked != 400 || evading == 0 {
			t.Errorf("%s: %d rows, %d evading", name, asked, evading)
		}
	}
}

// TestAttacksAreThere: every attack of the product is measured that copies a model without
// knowing what kind it is.
func TestAttacksAreThere(t *testing.T) {
	here := map[string]bool{}
	for _, k := range attacks {
		here[k.name] = true
	}
	for _, name := range extraction.Names() {
		if !here[name] && name != "equation-solving" && name != "tree-path-finding" {
			t.Errorf("%s is not measured", name)
		}
	}
}
