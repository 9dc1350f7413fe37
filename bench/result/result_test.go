package result

import (
	"os"
	"path/filepath"
	"testing"
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
