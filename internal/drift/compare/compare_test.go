package compare_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/drift"
	"github.com/pavise/pavise/internal/drift/compare"
)

// A flow is a row of the tests.
type flow struct {
	Bytes   float64  `parquet:"bytes" json:"bytes"`
	Count   int64    `parquet:"count" json:"count"`
	Proto   string   `parquet:"proto" json:"proto"`
	Maybe   *float64 `parquet:"maybe,optional" json:"maybe"`
	Verdict int32    `parquet:"verdict" json:"verdict"`
}

// flows makes rows that moved by so many standard deviations, in one column.
func flows(seed uint64, n int, shift float64) []flow {
	rng := rand.New(rand.NewPCG(seed, 1))
	all := make([]flow, n)
	for i := range all {
		all[i] = flow{Bytes: 100 + 10*(rng.NormFloat64()+shift), Count: int64(rng.IntN(7)), Proto: []string{"tcp", "udp", "icmp"}[rng.IntN(3)], Verdict: int32(rng.IntN(2))}
		if rng.IntN(10) > 0 {
			v := rng.Float64()
			all[i].Maybe = &v
		}
	}
	return all
}

// written writes rows in a format, by its name.
func written(t testing.TB, name string, rows []flow) string {
	t.Helper()
	var b bytes.Buffer
	switch filepath.Ext(name) {
	case ".csv":
		fmt.Fprintln(&b, "bytes,count,proto,maybe,verdict")
		for _, r := range rows {
			maybe := ""
			if r.Maybe != nil {
				maybe = fmt.Sprint(*r.Maybe)
			}
			fmt.Fprintf(&b, "%v,%d,%s,%s,%d\n", r.Bytes, r.Count, r.Proto, maybe, r.Verdict)
		}
	case ".jsonl":
		for _, r := range rows {
			line, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			b.Write(append(line, '\n'))
		}
	case ".parquet":
		w := parquet.NewGenericWriter[flow](&b)
		if _, err := w.Write(rows); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return file(t, name, b.String())
}

func file(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func run(t testing.TB, base, now string, labels ...string) *compare.Result {
	t.Helper()
	r, err := (&compare.Compare{Baseline: base, Current: now, Label: labels}).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r.Print(io.Discard)
	if _, err := json.Marshal(r); err != nil {
		t.Fatal(err)
	}
	return r
}

// TestFormats compares the same rows in every format, and across formats: the verdict and its
// numbers are the same.
func TestFormats(t *testing.T) {
	base, same, moved := flows(1, 3000, 0), flows(2, 2000, 0), flows(3, 2000, 0.4)
	var first []drift.Outcome
	for _, a := range []string{"a.csv", "a.jsonl", "a.parquet"} {
		was := written(t, a, base)
		if r := run(t, was, written(t, a, same), "verdict"); r.Verdict != compare.Stable || r.Baseline.Rows != 3000 || r.Current.Rows != 2000 || len(r.Features) != 5 {
			t.Errorf("%s: %+v", a, r)
		}
		for _, b := range []string{"b.csv", "b.jsonl", "b.parquet"} {
			r := run(t, was, written(t, b, moved), "verdict")
			if r.Verdict != compare.Drifted || r.Moved != 1 || r.Features[0].Name != "bytes" || r.Features[0].Verdict != compare.Moved {
				t.Fatalf("%s %s: %+v", a, b, r)
			}
			var all []drift.Outcome
			for _, f := range r.Features {
				all = append(all, f.Outcome)
				if f.Label != (f.Name == "verdict") || f.Label && f.Kind != drift.Category {
					t.Errorf("%+v", f)
				}
			}
			if first == nil {
				first = all
			}
			if !slices.Equal(first, all) {
				t.Errorf("%s %s: other numbers: %+v and %+v", a, b, all, first)
			}
		}
	}
}

// TestLabels finds that what comes out has moved, of classes that are numbers.
func TestLabels(t *testing.T) {
	base, now := flows(1, 2000, 0), flows(2, 2000, 0)
	for i := range now {
		if i%5 == 0 {
			now[i].Verdict = 1
		}
	}
	r := run(t, written(t, "a.csv", base), written(t, "b.csv", now), "verdict")
	if r.Moved != 1 || r.Features[0].Name != "verdict" || !strings.Contains(r.Features[0].Words, "% of its values, and was") {
		t.Errorf("%+v", r.Features[0])
	}
	_, err := (&compare.Compare{Baseline: written(t, "a.csv", base), Current: written(t, "b.csv", now), Label: []string{"absent"}}).Run(t.Context())
	if pavise.KindOf(err) != pavise.Invalid {
		t.Errorf("%v", err)
	}
}

// column writes a CSV of one column.
func column(name string, cells ...string) string {
	return name + ",n\n" + strings.Join(cells, ",1\n") + ",1\n"
}

func times(n int, cells ...string) (all []string) {
	for i := range n {
		all = append(all, cells[i%len(cells)])
	}
	return all
}

// TestHostile compares what files hold when something else than the world changed.
func TestHostile(t *testing.T) {
	hundred := times(200, "1", "2", "3", "4.5")
	for _, c := range []struct {
		name, base, now string
		want            string
		words           string // of the first feature, or why
	}{
		{"identical", column("x", hundred...), column("x", hundred...), compare.Stable, "none of 2"},
		{"renamed", column("x", hundred...), column("y", hundred...), compare.Drifted, "missing: were they renamed"},
		{"types change", column("x", hundred...), column("x", times(200, "a", "b")...), compare.Drifted, "of another kind"},
		{"texts become numbers", column("x", times(200, "a", "b")...), column("x", hundred...), compare.Drifted, "never had"},
		{"constant", column("x", times(200, "7")...), column("x", times(200, "7")...), compare.Stable, ""},
		{"constant, and another", column("x", times(200, "7")...), column("x", times(200, "8")...), compare.Drifted, "outside of 7 to 7"},
		{"all nulls", column("x", times(200, "")...), column("x", times(200, "")...), compare.Stable, ""},
		{"nulls before", column("x", times(200, "")...), column("x", hundred...), compare.Drifted, "where there was nothing"},
		{"nulls now", column("x", hundred...), column("x", times(200, "", "1")...), compare.Drifted, "missing or no number"},
		{"not numbers", column("x", hundred...), column("x", times(200, "nan", "inf", "-inf", "1")...), compare.Drifted, "missing or no number"},
		{"one row", column("x", hundred...), column("x", "1"), compare.Unclear, "needs 30 rows"},
		{"one row before", column("x", "1"), column("x", hundred...), compare.Unclear, "needs 30 rows"},
		{"nothing in common", "x\n" + strings.Repeat("1\n", 50), "y\n" + strings.Repeat("1\n", 50), compare.Drifted, "missing"},
		{"larger baseline", column("x", times(5000, "1", "2", "3", "4.5")...), column("x", times(60, "1", "2", "3", "4.5")...), compare.Stable, ""},
		{"lists", `{"x":[1,2]}` + strings.Repeat("\n"+`{"x":[1,2]}`, 60), `{"x":[3]}` + strings.Repeat("\n"+`{"x":[9]}`, 60), compare.Stable, ""},
		{"late keys", `{"x":1}` + strings.Repeat("\n"+`{"x":1,"y":2}`, 60), strings.Repeat(`{"x":1}`+"\n", 60) + `{"x":1,"y":2,"z":3}`, compare.Drifted, "missing or no number"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ext := ".csv"
			if c.base[0] == '{' {
				ext = ".jsonl"
			}
			r := run(t, file(t, "a"+ext, c.base), file(t, "b"+ext, c.now))
			words := r.Why
			if r.Moved > 0 {
				words = r.Features[0].Words
			}
			if r.Verdict != c.want || !strings.Contains(words, c.words) {
				t.Errorf("%s, %q: %+v", r.Verdict, words, r)
			}
		})
	}
	r := run(t, file(t, "a.csv", column("x", hundred...)), file(t, "b.csv", column("y", hundred...)))
	if !slices.Equal(r.Missing, []string{"x"}) || !slices.Equal(r.Added, []string{"y"}) {
		t.Errorf("%v %v", r.Missing, r.Added)
	}
}

// TestRefuses says of files that cannot be read where they are wrong, and gives no verdict.
func TestRefuses(t *testing.T) {
	good := file(t, "a.csv", column("x", times(50, "1")...))
	whole, err := os.ReadFile(written(t, "c.parquet", flows(1, 100, 0)))
	if err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{
		"ragged": file(t, "b.csv", "x,n\n1,2\n3\n"), "empty": file(t, "b.csv", ""), "twice": file(t, "b.csv", "x,x\n1,2\n"),
		"pickle": file(t, "b.csv", "\x80\x04."), "cut off": file(t, "b.parquet", string(whole[:len(whole)-9])),
		"damaged": file(t, "b.parquet", "PAR1"+strings.Repeat("x", 50)+"PAR1"), "directory": t.TempDir(),
	} {
		for _, c := range []compare.Compare{{Baseline: good, Current: path}, {Baseline: path, Current: good}} {
			if r, err := c.Run(t.Context()); err == nil {
				t.Errorf("%s: %+v", name, r)
			}
		}
	}
	if _, err := (&compare.Compare{Baseline: good, Current: "absent"}).Run(t.Context()); pavise.KindOf(err) != pavise.NotFound {
		t.Errorf("%v", err)
	}
}

// TestSorted lays bins over all of a baseline that rises, and not over its beginning.
func TestSorted(t *testing.T) {
	var b strings.Builder
	b.WriteString("x,n\n")
	for i := range 40_000 {
		b.WriteString(strconv.Itoa(i) + ",1\n")
	}
	path := file(t, "a.csv", b.String())
	r := run(t, path, path)
	if r.Verdict != compare.Stable || r.Features[0].Name != "x" && r.Features[1].Name != "x" {
		t.Fatalf("%+v", r)
	}
	for _, f := range r.Features {
		if most := slices.Max(append(f.Was, 0)); f.Name == "x" && most > 0.1 {
			t.Errorf("%v of the baseline lie in one of %d bars", most, len(f.Was))
		}
	}
}

// TestMemory holds what a comparison keeps to a bound that does not grow with rows.
func TestMemory(t *testing.T) {
	held := func(n int) uint64 {
		base, now := written(t, "a.csv", flows(1, n, 0)), written(t, "b.csv", flows(2, n, 0))
		peak := uint64(0)
		c := &compare.Compare{Baseline: base, Current: now, Say: func(string) {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak = max(peak, m.HeapAlloc)
		}}
		if _, err := c.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		return peak
	}
	few, many := held(70_000), held(140_000)
	if many > few+4<<20 {
		t.Errorf("%d bytes for 70,000 rows, %d for 140,000", few, many)
	}
}

// FuzzCompare compares what a fuzzer makes of two files. Nothing may panic, and no number of a
// result is none.
func FuzzCompare(f *testing.F) {
	f.Add([]byte(column("x", times(40, "1", "a", "")...)), []byte(column("x", times(40, "nan", "b")...)))
	f.Add([]byte(strings.Repeat(`{"x":[1],"y":true}`+"\n", 40)), []byte(strings.Repeat(`{"x":null,"y":"t"}`+"\n", 40)))
	whole, err := os.ReadFile(written(f, "a.parquet", flows(1, 40, 0)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole, whole)
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, a, b []byte) {
		base, now := filepath.Join(dir, "a"), filepath.Join(dir, "b")
		for path, text := range map[string][]byte{base: a, now: b} {
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		r, err := (&compare.Compare{Baseline: base, Current: now}).Run(t.Context())
		if err != nil {
			return
		}
		r.Print(io.Discard)
		if _, err := json.Marshal(r); err != nil {
			t.Fatal(err)
		}
	})
}
