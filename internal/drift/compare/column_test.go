package compare

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/pavise/pavise/internal/table"
)

// TestTextsHaveOneBound has two columns of texts learn from the same bytes that are left: what goes
// beyond is not kept, and a column that lost some knows it.
func TestTextsHaveOneBound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.csv")
	if err := os.WriteFile(path, []byte("x,y\naa,bb\naa,cc\ndd,ee\ndd,ff\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := table.Open(path, table.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	x, y := &column{texts: map[string]int{}, whole: true}, &column{texts: map[string]int{}, whole: true}
	left := 4 * (2 + textCost) // aa, bb, cc, dd
	for row, err := range f.Rows() {
		if err != nil {
			t.Fatal(err)
		}
		x.learn(row, 0, 10, &left, rand.New(rand.NewPCG(1, 1)))
		y.learn(row, 1, 10, &left, rand.New(rand.NewPCG(1, 1)))
	}
	if len(x.texts) != 2 || x.texts["dd"] != 2 || !x.whole || len(y.texts) != 2 || y.whole || left != 0 {
		t.Errorf("%v (%v) and %v (%v), %d bytes left", x.texts, x.whole, y.texts, y.whole, left)
	}
}
