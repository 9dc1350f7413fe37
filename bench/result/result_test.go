package result

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestWrite(t *testing.T) {
	file := filepath.Join(t.TempDir(), File)
	if err := os.WriteFile(file, []byte("# Results\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct{ name, text, want string }{
		{"a", "one", "# Results\n\n<!-- begin a -->\none\n<!-- end a -->\n"},
		{"b", "two\n", "# Results\n\n<!-- begin a -->\none\n<!-- end a -->\n\n<!-- begin b -->\ntwo\n<!-- end b -->\n"},
		{"a", "three", "# Results\n\n<!-- begin a -->\nthree\n<!-- end a -->\n\n<!-- begin b -->\ntwo\n<!-- end b -->\n"},
	} {
		if err := Write(file, step.name, step.text); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != step.want {
			t.Errorf("after %s = %q the file holds %q, want %q", step.name, step.text, got, step.want)
		}
	}
}

func TestWriteKeepsADamagedFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), File)
	const damaged = "<!-- begin a -->\nno end\n"
	if err := os.WriteFile(file, []byte(damaged), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Write(file, "a", "text"); err == nil {
		t.Error("a section without its end was replaced")
	}
	if got, _ := os.ReadFile(file); string(got) != damaged {
		t.Errorf("the file was changed to %q", got)
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{{nil, 0}, {[]float64{7}, 7}, {[]float64{4, 1}, 2.5}, {[]float64{5, 1, 4, 2, 3}, 3}} {
		if got := Median(c.values); got != c.want {
			t.Errorf("median of %v is %v, want %v", c.values, got, c.want)
		}
	}
}

func TestQuantile(t *testing.T) {
	sorted := []int{1, 2, 3, 4}
	for q, want := range map[float64]int{0: 1, 0.5: 3, 0.99: 4, 1: 4} {
		if got := Quantile(sorted, q); got != want {
			t.Errorf("quantile %v of %v is %d, want %d", q, sorted, got, want)
		}
	}
	if got := Quantile([]int(nil), 0.5); got != 0 {
		t.Errorf("quantile of nothing is %d", got)
	}
}

// TestMeasure counts what is known to be done: each operation allocates once.
func TestMeasure(t *testing.T) {
	var keep []byte
	batches := 0
	cost, err := Measure(0, func() (int, error) {
		batches++
		for range 1000 {
			keep = make([]byte, 64)
		}
		return 1000, nil
	})
	if err != nil || batches != 1 || len(keep) != 64 {
		t.Fatalf("%d batches, error %v", batches, err)
	}
	if cost.Allocs < 1 || cost.Allocs > 2 || cost.Bytes < 64 || cost.Bytes > 128 {
		t.Errorf("an operation that allocates 64 bytes cost %+v", cost)
	}
	failing := errors.New("no")
	if _, err := Measure(time.Hour, func() (int, error) { return 0, failing }); err != failing {
		t.Errorf("a batch that failed: %v", err)
	}
}

func TestSummary(t *testing.T) {
	median, least := Summary([]Cost{{3, 30, 1}, {1, 10, 5}, {2, 20, 9}})
	if median != (Cost{2, 20, 5}) || least != 1 {
		t.Errorf("%+v, least %v", median, least)
	}
}
