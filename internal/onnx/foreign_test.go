package onnx

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestForeignModels runs models that other programs wrote, and compares with
// the answers of ONNX Runtime. testdata/make.py makes both.
func TestForeignModels(t *testing.T) {
	models, err := filepath.Glob("testdata/*.onnx")
	if err != nil || len(models) == 0 {
		t.Fatalf("%d models: %v", len(models), err)
	}
	for _, path := range models {
		t.Run(filepath.Base(path), func(t *testing.T) {
			g, err := Parse(readFile(t, path))
			if err != nil {
				t.Fatal(err)
			}
			var want struct {
				Input   string
				Rows    [][]*float32 // nil where a number is missing
				Outputs map[string][][]float32
			}
			if err := json.Unmarshal(readFile(t, strings.TrimSuffix(path, ".onnx")+".json"), &want); err != nil {
				t.Fatal(err)
			}
			out, err := g.Run(map[string]Matrix{want.Input: withHoles(want.Rows)})
			if err != nil {
				t.Fatal(err)
			}
			if len(out) != len(want.Outputs) {
				t.Errorf("%d outputs, want %d", len(out), len(want.Outputs))
			}
			for name, rows := range want.Outputs {
				if m := fromRows(rows); out[name].Cols != m.Cols || !closeTo(out[name].Data, m.Data) {
					t.Errorf("output %q: have %v, want %v", name, out[name], m)
				}
			}
		})
	}
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func fromRows(rows [][]float32) Matrix {
	m := Matrix{Rows: len(rows), Cols: len(rows[0])}
	for _, r := range rows {
		m.Data = append(m.Data, r...)
	}
	return m
}

// withHoles makes NaN of what is missing.
func withHoles(rows [][]*float32) Matrix {
	m := NewMatrix(len(rows), len(rows[0]))
	for i, row := range rows {
		for j, v := range row {
			m.Data[i*m.Cols+j] = float32(math.NaN())
			if v != nil {
				m.Data[i*m.Cols+j] = *v
			}
		}
	}
	return m
}
