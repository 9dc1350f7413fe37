package oracle

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/bench/asked"
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
		make func(*testing.T) []*testCase
		want int // requests at least
	}{
		{"matrix", func(t *testing.T) []*testCase { return matrix(t, schema) }, 20_000},
		{"valid", func(t *testing.T) []*testCase { return randomCases(t, schema, 0, 250, 200, false) }, 50_000},
		{"valid, more", func(t *testing.T) []*testCase { return randomCases(t, schema, 250, 250, 200, false) }, 50_000},
		{"wild", func(t *testing.T) []*testCase { return randomCases(t, schema, 0, 500, 50, true) }, 25_000},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "cases.jsonl")
			if n := write(t, file, c.make(t)); n < c.want {
				t.Fatalf("%d requests, want %d", n, c.want)
			}
			out, err := exec.CommandContext(t.Context(), python, "check.py", file).CombinedOutput()
			t.Logf("%s", bytes.TrimSpace(out))
			if err != nil {
				t.Errorf("check.py: %v", err)
			}
		})
	}
}

// TestKnownDifferences notes where the two implementations differ, so that a release which
// mends one of these is noticed: random policies stay clear of them. Each is a condition
// with what becomes of it, in cedar-go and in the Rust Cedar.
//
// A policy of the first kind is refused here, so it never comes into force; the others
// matter to a policy that itself computes with dates before 1970.
func TestKnownDifferences(t *testing.T) {
	schema := newSchema(t)
	for _, d := range []struct{ condition, here, there, why string }{
		{`duration("-9223372036854775808ms") < duration("0s")`, "fails", "holds", "cedar-go reads no duration of the least number of milliseconds there is"},
		{`datetime("1969-12-31T23:00:00Z").toDate() == datetime("1969-12-31")`, "does not hold", "holds", "before 1970 cedar-go's toDate gives the end of the day, and not its beginning"},
		{`datetime("1969-12-31T23:00:00Z").toTime() == duration("23h")`, "does not hold", "holds", "before 1970 cedar-go's toTime counts backwards"},
	} {
		b, err := newBench("known", [][2]string{{"p0", "permit (principal, action, resource) when { " + d.condition + " };"}})
		if err != nil {
			t.Fatal(err)
		}
		act := action(schema, policy.VerbInfer)
		r := b.ask(asked.Question{
			Who: pavise.Principal{Tenant: tenant, Kind: pavise.Human, ID: "a"}, Act: act, On: pavise.Name{Tenant: tenant, Kind: "model", ID: "a"}, At: noon,
		})
		if got := outcome(r.Allow, r.Errors); got != d.here {
			t.Errorf("%s: cedar-go says that it %s, and is known to say that it %s (%s)", d.condition, got, d.here, d.why)
		}
		python := os.Getenv("PAVISE_CEDARPY")
		if python == "" {
			continue
		}
		file := filepath.Join(t.TempDir(), "cases.jsonl")
		c := b.finished()
		c.Requests[0].Allow, c.Requests[0].Reasons, c.Requests[0].Errors = d.there == "holds", []string{"p0"}, nil
		write(t, file, []*testCase{c})
		if out, err := exec.CommandContext(t.Context(), python, "check.py", file).CombinedOutput(); err != nil {
			t.Errorf("%s: the Rust Cedar is known to say that it %s, and does not: %v\n%s", d.condition, d.there, err, out)
		}
	}
}

// outcome says what became of a permit with one condition.
func outcome(allow bool, errors []string) string {
	switch {
	case len(errors) > 0:
		return "fails"
	case allow:
		return "holds"
	}
	return "does not hold"
}

// TestHouse compares the index and what it keeps with cedar-go over every policy, on
// fewer questions of the same kind. It needs nothing but Go.
func TestHouse(t *testing.T) {
	schema := newSchema(t)
	matrix(t, schema)
	randomCases(t, schema, 0, 100, 100, false)
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
