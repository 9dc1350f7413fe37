package compare_test

import (
	"bufio"
	"compress/gzip"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/pavise/pavise/internal/drift/compare"
)

// TestNSLKDD compares flows of NSL-KDD: both halves of the training set, row by row in turn, are
// alike; its test set, which has attacks that the training set has not, is another world.
func TestNSLKDD(t *testing.T) {
	dir := os.Getenv("PAVISE_DATA")
	if dir == "" {
		dir = "../../../../shared/data"
	}
	train := filepath.Join(dir, "nsl-kdd", "KDDTrain+_20Percent.txt.gz")
	f, err := os.Open(train)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("no data: set PAVISE_DATA")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var halves [2][]byte
	for n, s := 0, bufio.NewScanner(z); s.Scan(); n++ {
		halves[n%2] = append(append(halves[n%2], s.Bytes()...), 10)
	}
	if r := run(t, file(t, "a.csv", string(halves[0])), file(t, "b.csv", string(halves[1]))); r.Verdict != compare.Stable || len(r.Features) != 43 {
		t.Errorf("%s: %s", r.Verdict, r.Why)
	}
	r := run(t, train, filepath.Join(dir, "nsl-kdd", "KDDTest+.txt.gz"), "41")
	if r.Verdict != compare.Drifted || r.Features[0].Name != "41" || r.Features[0].Unseen < 0.1 {
		t.Errorf("%s: %s; %+v", r.Verdict, r.Why, r.Features[0])
	}
}
