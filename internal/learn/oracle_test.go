package learn

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pavise/pavise/internal/onnx"
)

// python returns the one that has the packages of testdata/oracle.py, or skips the
// test where there is none.
func python(t *testing.T) string {
	t.Helper()
	path := os.Getenv("PAVISE_ONNXRUNTIME")
	if path == "" {
		t.Skip("set PAVISE_ONNXRUNTIME to a python that has onnx, onnxruntime, numpy, scikit-learn and skl2onnx")
	}
	return path
}

// oracle runs testdata/oracle.py.
func oracle(t *testing.T, args ...string) {
	t.Helper()
	log, err := exec.Command(python(t), append([]string{filepath.Join("testdata", "oracle.py")}, args...)...).CombinedOutput()
	t.Logf("%s", log)
	if err != nil {
		t.Fatal(err)
	}
}

// TestTreesInONNXRuntime gives the same rows to our trees and, as ONNX, to
// another runtime.
func TestTreesInONNXRuntime(t *testing.T) {
	python(t)
	for classes := 2; classes <= 5; classes++ {
		for name, cfg := range map[string]TreeConfig{
			"boosted": treeConfig(classes), "one": {Classes: classes, Leaves: 40, MinRows: 2, Single: true},
			"of little": {Classes: classes, Leaves: 2, MinRows: 300, Rounds: 1, Rate: 1},
		} {
			t.Run(fmt.Sprintf("%s, %d classes", name, classes), func(t *testing.T) {
				rng := rand.New(rand.NewPCG(1, uint64(classes)))
				s := mixed(rng, 900, classes)
				m := plant(t, cfg, s, 5)
				dir := t.TempDir()
				model := filepath.Join(dir, "model.onnx")
				if err := os.WriteFile(model, treesONNX(m), 0o600); err != nil {
					t.Fatal(err)
				}
				x := Matrix{Rows: s.X.Rows, Cols: s.X.Cols, Data: append([]float32{}, s.X.Data...)}
				holes(rng, x)
				answers := filepath.Join(dir, "answers.json")
				writeJSON(t, answers, map[string]any{"rows": rowsOf(x), "probabilities": rowsOf(m.Predict(x))})
				oracle(t, "check", model, answers)
			})
		}
	}
}

// holes takes numbers away, and makes others very large.
func holes(rng *rand.Rand, x Matrix) {
	for i := range x.Data {
		switch rng.IntN(20) {
		case 0:
			x.Data[i] = float32(math.NaN())
		case 1:
			x.Data[i] = math.MaxFloat32
		}
	}
}

// rowsOf are the rows of m, nil for NaN, which JSON has no word for.
func rowsOf(m Matrix) [][]*float32 {
	rows := make([][]*float32, m.Rows)
	for i := range rows {
		for _, v := range m.Row(i) {
			if v != v {
				rows[i] = append(rows[i], nil)
				continue
			}
			rows[i] = append(rows[i], &v)
		}
	}
	return rows
}

func writeJSON(t *testing.T, path string, v any) {
	t.Helper()
	b, err := json.Marshal(v)
	if err == nil {
		err = os.WriteFile(path, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestTreesOfScikitLearn runs what scikit-learn trained and its converter wrote,
// and compares with what ONNX Runtime makes of it.
func TestTreesOfScikitLearn(t *testing.T) {
	dir := t.TempDir()
	oracle(t, "make", dir)
	models, err := filepath.Glob(filepath.Join(dir, "*.onnx"))
	if err != nil || len(models) < 15 {
		t.Fatalf("%d models: %v", len(models), err)
	}
	for _, path := range models {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".onnx"), func(t *testing.T) { sameAnswers(t, path) })
	}
}

func sameAnswers(t *testing.T, path string) {
	t.Helper()
	model, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	answers, err := os.ReadFile(strings.TrimSuffix(path, ".onnx") + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var want struct {
		Input   string
		Rows    [][]*float32 // nil where a number is missing
		Outputs map[string][][]float32
	}
	if err := json.Unmarshal(answers, &want); err != nil {
		t.Fatal(err)
	}
	g, err := onnx.Parse(model)
	if err != nil {
		t.Fatal(err)
	}
	x := NewMatrix(len(want.Rows), len(want.Rows[0]))
	for i, row := range want.Rows {
		for j, v := range row {
			x.Row(i)[j] = float32(math.NaN())
			if v != nil {
				x.Row(i)[j] = *v
			}
		}
	}
	out, err := g.Run(map[string]Matrix{want.Input: x})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) != len(want.Outputs) {
		t.Errorf("%d outputs, want %d", len(out), len(want.Outputs))
	}
	for name, rows := range want.Outputs {
		for i, row := range rows {
			for j, v := range row {
				have := out[name].Row(i)[j]
				if math.Abs(float64(have-v)) <= 1e-5*max(1, math.Abs(float64(v))) {
					continue
				}
				if p := out["probabilities"]; name == "label" && math.Abs(float64(p.Row(i)[int(have)]-p.Row(i)[int(v)])) < 1e-6 {
					continue // two classes are equally good, but for the order in which a runtime adds
				}
				t.Fatalf("output %q, row %d, column %d: %v, want %v", name, i, j, have, v)
			}
		}
	}
}
