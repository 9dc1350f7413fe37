package threatdetector

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/pavise/pavise/internal/learn"
	"github.com/pavise/pavise/internal/onnx"
)

// flowsIn reads a file of NSL-KDD, or skips the test where there is none.
func flowsIn(t *testing.T, name string) Flows {
	t.Helper()
	f, err := os.Open(filepath.Join(dataDir(t), name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	unzipped, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	flows, err := ReadFlows(unzipped)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return flows
}

func dataDir(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("PAVISE_DATA")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "data")
	}
	dir = filepath.Join(dir, "nsl-kdd")
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("NSL-KDD is not here: %v; set PAVISE_DATA to the directory that holds nsl-kdd", err)
	}
	return dir
}

func graph(t *testing.T) *onnx.Graph {
	t.Helper()
	g, err := onnx.Parse(Model())
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func probabilities(t *testing.T, x learn.Matrix) learn.Matrix {
	t.Helper()
	out, err := graph(t).Run(map[string]learn.Matrix{"flow": x})
	if err != nil {
		t.Fatal(err)
	}
	return out["probabilities"]
}

func TestCardIsOfTheModel(t *testing.T) {
	c := Card()
	sum := sha256.Sum256(Model())
	if have := hex.EncodeToString(sum[:]); have != c.SHA256 {
		t.Errorf("model.onnx has SHA-256 %s, the card says %s", have, c.SHA256)
	}
	g := graph(t)
	if want := []onnx.Port{{Name: c.Input, Cols: 41}}; !slices.Equal(g.Inputs(), want) {
		t.Errorf("the model's inputs are %v, the card says %v", g.Inputs(), want)
	}
	if want := []onnx.Port{{Name: c.Output, Cols: 5}}; !slices.Equal(g.Outputs(), want) {
		t.Errorf("the model's outputs are %v, the card says %v", g.Outputs(), want)
	}
	if !slices.Equal(c.Classes, []string{"normal", "dos", "probe", "r2l", "u2r"}) {
		t.Errorf("classes %v", c.Classes)
	}
	for i, f := range Features() {
		if f.scale = 0; !reflect.DeepEqual(f, c.Features[i]) {
			t.Errorf("column %d is %+v in the card, %+v in the code", i, c.Features[i], f)
		}
	}
	page, err := os.ReadFile("CARD.md")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(page, []byte(c.SHA256)) {
		t.Error("CARD.md is of another model")
	}
}

// TestMetrics measures the model again on the whole test file: every number of
// the card must come out.
func TestMetrics(t *testing.T) {
	test := flowsIn(t, "KDDTest+.txt.gz")
	m, err := Measure(Model(), test.Set)
	if err != nil {
		t.Fatal(err)
	}
	if c := Card(); !reflect.DeepEqual(m, c.Metrics) {
		t.Errorf("measured %+v, the card says %+v", m, c.Metrics)
	}
	known, novel, err := Detection(Model(), flowsIn(t, "KDDTrain+_20Percent.txt.gz"), test)
	if err != nil {
		t.Fatal(err)
	}
	if c := Card(); known != c.KnownDetection || novel != c.NovelDetection {
		t.Errorf("detection of known attacks %v, of novel ones %v; the card says %v and %v", known, novel, c.KnownDetection, c.NovelDetection)
	}
}

// TestRows asks little of the rare classes: the model is weak there, and the
// card says so.
func TestRows(t *testing.T) {
	for class, want := range []struct {
		share float64
		of    func(k int) bool
	}{
		Normal: {0.9, func(k int) bool { return Class(k) == Normal }},
		DoS:    {0.9, func(k int) bool { return Class(k) != Normal }},
		Probe:  {0.9, func(k int) bool { return Class(k) != Normal }},
		R2L:    {0.3, func(k int) bool { return Class(k) != Normal }},
		U2R:    {0.3, func(k int) bool { return Class(k) != Normal }},
	} {
		x := Rows(rand.New(rand.NewPCG(1, 2)), Class(class), 2000)
		hits := 0
		for _, k := range probabilities(t, x).ArgMax() {
			if want.of(k) {
				hits++
			}
		}
		if share := float64(hits) / 2000; share < want.share {
			t.Errorf("%v: %.3f of the rows are told right, want %.2f", Class(class), share, want.share)
		}
		for i, v := range x.Data {
			if f := features[i%41]; !(float64(v) >= f.Min && float64(v) <= f.Max) {
				t.Fatalf("%v: %s is %v, not between %v and %v", Class(class), f.Name, v, f.Min, f.Max)
			}
		}
	}
	again := Rows(rand.New(rand.NewPCG(1, 2)), Probe, 50)
	if !slices.Equal(again.Data, Rows(rand.New(rand.NewPCG(1, 2)), Probe, 50).Data) {
		t.Error("one seed gives two lots of rows")
	}
}

// TestOddRows sends what no sensor would: the answer must still be
// probabilities, and an unknown category no more than that.
func TestOddRows(t *testing.T) {
	x := Rows(rand.New(rand.NewPCG(1, 2)), Normal, 6)
	x.Row(0)[4] = -1e30
	x.Row(1)[4] = math.MaxFloat32
	x.Row(2)[service] = 1e6
	x.Row(3)[service] = Code(service, "no such service")
	x.Row(4)[protocolType] = 0.5
	for j := range x.Row(5) {
		x.Row(5)[j] = 0
	}
	for i, p := 0, probabilities(t, x); i < p.Rows; i++ {
		sum := 0.0
		for _, v := range p.Row(i) {
			sum += float64(v)
		}
		if !(math.Abs(sum-1) < 1e-5) {
			t.Errorf("row %d: probabilities %v", i, p.Row(i))
		}
	}
	copy(x.Row(2), x.Row(3))
	x.Row(2)[service] = 1e6
	if p := probabilities(t, x); !slices.Equal(p.Row(2), p.Row(3)) {
		t.Errorf("two unknown services are told apart: %v, %v", p.Row(2), p.Row(3))
	}
}

func TestReadFlowsRefuses(t *testing.T) {
	good := strings.Repeat("0,", 1) + "tcp,http,SF," + strings.Repeat("0,", 37) + "normal,20"
	if f, err := ReadFlows(strings.NewReader(good + "\n" + good)); err != nil || f.X.Rows != 2 || f.X.Row(1)[service] != 24 {
		t.Fatalf("a good file: %v, %v", f, err)
	}
	for name, tc := range map[string]struct{ old, new, want string }{
		"columns": {",20", "", "line 2: 42 columns"},
		"attack":  {"normal", "zero_day", `line 2: attack "zero_day" has no class`},
		"number":  {"SF,0", "SF,x", "src_bytes"},
		"bounds":  {"SF,0", "SF,-1", "src_bytes: -1 is not between"},
		"NaN":     {"SF,0", "SF,NaN", "src_bytes: NaN"},
	} {
		_, err := ReadFlows(strings.NewReader(good + "\n" + strings.Replace(good, tc.old, tc.new, 1)))
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %v, want %q", name, err, tc.want)
		}
	}
	if err := CheckClasses(strings.NewReader("back,probe")); err == nil {
		t.Error("a table of classes that disagrees is accepted")
	}
}

func FuzzReadFlows(f *testing.F) {
	f.Add("0,tcp,http,SF," + strings.Repeat("0,", 37) + "normal,20")
	f.Fuzz(func(t *testing.T, text string) {
		flows, err := ReadFlows(strings.NewReader(text))
		if err == nil && (len(flows.Y) != flows.X.Rows || len(flows.X.Data) != 41*flows.X.Rows || len(flows.Attacks) != flows.X.Rows) {
			t.Errorf("%d labels, %d rows, %d numbers", len(flows.Y), flows.X.Rows, len(flows.X.Data))
		}
	})
}

// TestRetrain makes the model again. It takes half a minute.
func TestRetrain(t *testing.T) {
	if os.Getenv("PAVISE_RETRAIN") != "1" {
		t.Skip("set PAVISE_RETRAIN=1 to train the model again and compare it byte for byte")
	}
	data, err := filepath.Abs(dataDir(t))
	if err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	if log, err := exec.Command("go", "run", "./train", "--data", data, "--out", out).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	for _, name := range []string{"model.onnx", "card.json", "CARD.md"} {
		again, err := os.ReadFile(filepath.Join(out, name))
		if err != nil {
			t.Fatal(err)
		}
		shipped, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again, shipped) {
			t.Errorf("%s comes out other than it is shipped", name)
		}
	}
}

// TestONNXRuntime gives the same rows to ONNX Runtime and to Pavise.
func TestONNXRuntime(t *testing.T) {
	python := os.Getenv("PAVISE_ONNXRUNTIME")
	if python == "" {
		t.Skip("set PAVISE_ONNXRUNTIME to a python that has onnx, onnxruntime and numpy")
	}
	t.Run("generated rows", func(t *testing.T) {
		rng := rand.New(rand.NewPCG(3, 4))
		x := learn.Matrix{Cols: 41}
		for class := range classes {
			x.Data = append(x.Data, Rows(rng, class, 200).Data...)
		}
		// Far outside: large, negative and unknown codes.
		for range 200 * 41 {
			x.Data = append(x.Data, float32(math.Round(math.Exp(8*rng.Float64())-10)))
		}
		x.Rows = len(x.Data) / x.Cols
		compareRuntimes(t, python, x)
	})
	t.Run("real rows", func(t *testing.T) {
		x := flowsIn(t, "KDDTest+.txt.gz").X
		compareRuntimes(t, python, learn.Matrix{Rows: 5000, Cols: 41, Data: x.Data[:5000*41]})
	})
}

func compareRuntimes(t *testing.T, python string, x learn.Matrix) {
	t.Helper()
	answers, err := json.Marshal(map[string][][]float32{"flow": byRow(x), "probabilities": byRow(probabilities(t, x))})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "answers.json")
	if err := os.WriteFile(path, answers, 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := exec.Command(python, "check_onnx.py", "model.onnx", path).CombinedOutput()
	t.Logf("%s", log)
	if err != nil {
		t.Error(err)
	}
}

func byRow(m learn.Matrix) [][]float32 {
	rows := make([][]float32, m.Rows)
	for i := range rows {
		rows[i] = m.Row(i)
	}
	return rows
}

func BenchmarkModel(b *testing.B) {
	g, err := onnx.Parse(Model())
	if err != nil {
		b.Fatal(err)
	}
	in := map[string]learn.Matrix{"flow": Rows(rand.New(rand.NewPCG(1, 2)), Normal, 1)}
	for b.Loop() {
		if _, err := g.Run(in); err != nil {
			b.Fatal(err)
		}
	}
}
