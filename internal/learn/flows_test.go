package learn_test

import (
	"compress/gzip"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	threatdetector "github.com/pavise/pavise/examples/threat-detector"
	"github.com/pavise/pavise/internal/learn"
)

// TestTreesOnFlows trains on the flows of NSL-KDD, 41 columns of unlike scales,
// as they come, and compares with the sample model, a perceptron that was
// trained on the same rows made ready for it.
func TestTreesOnFlows(t *testing.T) {
	if testing.Short() {
		t.Skip("trains on 25,000 rows")
	}
	train, test := flows(t, "KDDTrain+_20Percent.txt.gz"), flows(t, "KDDTest+.txt.gz")
	rng := rand.New(rand.NewPCG(1, 0))
	rest, validation := train.Split(rng, 0.1)
	trees, err := learn.TrainTrees(learn.TreeConfig{
		Classes: len(threatdetector.Classes()), Leaves: 15, MinRows: 20,
		Rounds: 40, Rate: 0.3, L2: 1, Patience: 10,
	}, rest, validation, rng)
	if err != nil {
		t.Fatal(err)
	}
	alone, err := learn.TrainTrees(learn.TreeConfig{Classes: len(threatdetector.Classes()), Leaves: 200, MinRows: 5, Single: true}, rest, validation, rng)
	if err != nil {
		t.Fatal(err)
	}
	perceptron, err := threatdetector.Measure(threatdetector.Model(), test.Set)
	if err != nil {
		t.Fatal(err)
	}
	boosted, one, seen := accuracy(t, trees, test.Set), accuracy(t, alone, test.Set), accuracy(t, trees, validation)
	t.Logf("accuracy on KDDTest+: %d leaves boosted %.4f, one tree %.4f, perceptron %.4f; boosted on rows like those trained on: %.4f", trees.Leaves(), boosted, one, perceptron.Accuracy, seen)
	if boosted < perceptron.Accuracy-0.05 || seen < 0.99 {
		t.Errorf("boosted trees reach %.4f, the perceptron %.4f; on rows like those trained on %.4f", boosted, perceptron.Accuracy, seen)
	}
}

func accuracy(t *testing.T, m *learn.Trees, s learn.Set) float64 {
	t.Helper()
	c, err := learn.Confuse(m.Classes(), s.Y, m.Predict(s.X).ArgMax())
	if err != nil {
		t.Fatal(err)
	}
	return c.Accuracy()
}

// flows reads a file of NSL-KDD, or skips the test where there is none.
func flows(t *testing.T, name string) threatdetector.Flows {
	t.Helper()
	dir := os.Getenv("PAVISE_DATA")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "data")
	}
	f, err := os.Open(filepath.Join(dir, "nsl-kdd", name))
	if err != nil {
		t.Skipf("NSL-KDD is not there; set PAVISE_DATA to a directory that holds nsl-kdd: %v", err)
	}
	defer f.Close()
	unzipped, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	flows, err := threatdetector.ReadFlows(unzipped)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return flows
}
