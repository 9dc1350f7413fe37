package poison_test

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"

	"github.com/pavise/pavise/internal/poison"
)

// cleanlabScript reads labels and probabilities, and prints which labels are issues.
const cleanlabScript = `
import json, sys, numpy as np
from cleanlab.filter import find_label_issues
d = json.load(sys.stdin)
m = find_label_issues(np.array(d["labels"]), np.array(d["shares"]), filter_by="confident_learning", n_jobs=1)
print(json.dumps([bool(x) for x in m]))
`

// TestCleanlab holds Confident to cleanlab, on the same probabilities. PAVISE_CLEANLAB names
// a Python that has it.
func TestCleanlab(t *testing.T) {
	python := os.Getenv("PAVISE_CLEANLAB")
	if python == "" {
		t.Skip("PAVISE_CLEANLAB names no Python with cleanlab")
	}
	const rows, classes = 600, 4
	rng := rand.New(rand.NewPCG(8, 2))
	label, flat := make([]int, rows), make([]float32, 0, rows*classes)
	nested := make([][]float32, rows)
	for i := range label {
		truth, sum := i%classes, float32(0)
		label[i] = truth
		if rng.IntN(10) == 0 {
			label[i] = rng.IntN(classes)
		}
		p := make([]float32, classes)
		for k := range p {
			p[k] = rng.Float32()
			if k == truth {
				p[k] += 2 * rng.Float32()
			}
			sum += p[k]
		}
		for k := range p {
			p[k] /= sum
		}
		nested[i], flat = p, append(flat, p...)
	}
	input, err := json.Marshal(map[string]any{"labels": label, "shares": nested})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(python, "-c", cleanlabScript)
	cmd.Stdin = bytes.NewReader(input)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("cleanlab: %v", err)
	}
	var want []bool
	if err := json.Unmarshal(out, &want); err != nil {
		t.Fatal(err)
	}
	found := 0
	for i, issue := range poison.Confident(label, flat, classes) {
		if issue != want[i] {
			t.Errorf("row %d: we say %v, cleanlab %v", i, issue, want[i])
		}
		if issue {
			found++
		}
	}
	if found == 0 {
		t.Error("no issues to compare")
	}
}
