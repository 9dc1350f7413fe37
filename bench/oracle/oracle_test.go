package oracle

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/pavise/pavise/internal/policy"
)

// TestRustCedar has the Rust Cedar check every decision.
func TestRustCedar(t *testing.T) {
	python := os.Getenv("PAVISE_CEDARPY")
	if python == "" {
		t.Skip("PAVISE_CEDARPY names no Python with cedarpy")
	}
	schema := newSchema(t)
	for _, c := range []struct {
		name string
		make func() []*testCase
		want int // requests at least
	}{
		{"matrix", func() []*testCase { return matrix(t, schema) }, 10_000},
		{"valid", func() []*testCase { return randomCases(t, schema, 1000, 80, false) }, 80_000},
		{"wild", func() []*testCase { return randomCases(t, schema, 400, 50, true) }, 20_000},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "cases.jsonl")
			began := time.Now()
			if n := write(t, file, c.make()); n < c.want {
				t.Fatalf("%d requests, want %d", n, c.want)
			}
			t.Logf("GO %s", time.Since(began))
			out, err := exec.CommandContext(t.Context(), python, "check.py", file, "-v").CombinedOutput()
			t.Logf("%s", bytes.TrimSpace(out))
			t.Logf("ALL %s", time.Since(began))
			if err != nil {
				t.Errorf("check.py: %v", err)
			}
		})
	}
}

// TestHouse compares the index and what it keeps with cedar-go over every policy, on
// fewer questions of the same kind. It needs nothing but Go.
func TestHouse(t *testing.T) {
	schema := newSchema(t)
	matrix(t, schema)
	randomCases(t, schema, 50, 40, false)
}

func newSchema(t *testing.T) *policy.Schema {
	schema, err := policy.NewSchema(nil)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func write(t *testing.T, file string, cases []*testCase) int {
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	buffered := bufio.NewWriter(f)
	n := encode(t, json.NewEncoder(buffered), cases)
	if err := buffered.Flush(); err != nil {
		t.Fatal(err)
	}
	return n
}
