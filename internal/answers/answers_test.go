package answers

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/onnx"
	"github.com/pavise/pavise/internal/table"
	"github.com/pavise/pavise/internal/watermark"
)

func write(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestRead reads answers in every layout: the same rows come out.
func TestRead(t *testing.T) {
	const head = "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3), }\n"
	npy := "\x93NUMPY\x01\x00" + string([]byte{byte(len(head)), 0}) + head + "\x01\x02\x00\x03\x04\x01"
	for _, c := range []struct {
		name, file, text string
		layout           Layout
		outputs          []float64
	}{
		{"labels", "a.csv", "x,y,output\n1,2,0\n3,4,1\n", Layout{Classes: "2"}, []float64{0, 1}},
		{"names of classes", "a.csv", "x,y,output\n1,2,benign\n3,4,attack\n", Layout{Classes: "benign,attack"}, []float64{0, 1}},
		{"who asked when", "a.csv", "client,time,x,output_class,y\nada,2026-11-27T03:00:00Z,1,0,2\nbob,,3,1,4\n", Layout{Classes: "2"}, []float64{0, 1}},
		{"scores", "a.csv", "x,y,p0,p1\n1,2,0.75,0.25\n3,4,0,1\n", Layout{}, []float64{0.75, 0.25, 0, 1}},
		{"scores by name", "a.csv", "x,y,p_benign,p_attack\n1,2,0.75,0.25\n3,4,0,1\n", Layout{}, []float64{0.75, 0.25, 0, 1}},
		{"columns that are named", "a.csv", "said,x,y\n0,1,2\n1,3,4\n", Layout{Outputs: []string{"said"}, Classes: "2"}, []float64{0, 1}},
		{"lists", "a.jsonl", `{"client":"ada","input":[1,2],"output":[0.75,0.25]}` + "\n" + `{"input":[3,4],"output":[0,1]}` + "\n", Layout{}, []float64{0.75, 0.25, 0, 1}},
		{"a batch", "a.jsonl", `{"input":[[1,2],[3,4]],"output":[[0.75,0.25],[0,1]]}` + "\n", Layout{}, []float64{0.75, 0.25, 0, 1}},
		{"a batch of labels", "a.jsonl", `{"input":[[1,2],[3,4]],"output":[0,1]}` + "\n", Layout{Classes: "2"}, []float64{0, 1}},
		{"an array", "a.npy", npy, Layout{Outputs: []string{"2"}, Classes: "2"}, []float64{0, 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, err := c.layout.Read(write(t, c.file, c.text))
			if err != nil {
				t.Fatal(err)
			}
			if a.Rows() != 2 || !slices.Equal(a.Inputs, []float64{1, 2, 3, 4}) || !slices.Equal(a.Outputs, c.outputs) {
				t.Errorf("%+v", a)
			}
			n, err := c.layout.Count(a, 0)
			if err != nil || n != 2 {
				t.Errorf("%d classes, %v", n, err)
			}
			var classes []int
			err = a.Each(n, func(_ []float64, class int) error { classes = append(classes, class); return nil })
			if err != nil || !slices.Equal(classes, []int{0, 1}) {
				t.Errorf("classes %v, %v", classes, err)
			}
		})
	}
}

// TestReadRefuses has files that are no answers, each with what is wrong.
func TestReadRefuses(t *testing.T) {
	for _, c := range []struct {
		name, file, text string
		layout           Layout
		say              string
	}{
		{"nothing that was said", "a.csv", "x,y\n1,2\n", Layout{}, "--outputs"},
		{"nothing that was asked", "a.csv", "p0,p1\n1,0\n", Layout{}, "--outputs"},
		{"a column that is not there", "a.csv", "x,y\n1,2\n", Layout{Outputs: []string{"z"}}, `"z"`},
		{"no number", "a.csv", "x,output\n1,NaN\n", Layout{Classes: "2"}, "NaN"},
		{"no number asked", "a.csv", "x,output\nInf,1\n", Layout{Classes: "2"}, "Inf"},
		{"half a class", "a.csv", "x,output\n1,0.5\n", Layout{Classes: "2"}, "0.5 is none of the classes"},
		{"a class too many", "a.csv", "x,output\n1,2\n", Layout{Classes: "2"}, "2 is none of the classes"},
		{"a class below", "a.csv", "x,output\n1,-1\n", Layout{Classes: "2"}, "-1 is none of the classes"},
		{"nobody says how many", "a.csv", "x,output\n1,1\n", Layout{}, "--classes"},
		{"another number", "a.csv", "x,p0,p1\n1,1,0\n", Layout{Classes: "3"}, "--classes says 3"},
		{"one class", "a.csv", "x,output\n1,0\n", Layout{Classes: "1"}, "--classes"},
		{"an unknown name", "a.csv", "x,output\n1,worm\n", Layout{Classes: "benign,attack"}, "worm"},
		{"rows of two lengths", "a.jsonl", `{"input":[1,2],"output":[1,0]}` + "\n" + `{"input":[1],"output":[1,0]}` + "\n", Layout{}, "before"},
		{"answers of two lengths", "a.jsonl", `{"input":[1,2],"output":[1,0]}` + "\n" + `{"input":[1,2],"output":[1,0,0]}` + "\n", Layout{}, "before"},
		{"a batch that does not fit", "a.jsonl", `{"input":[[1,2],[3,4]],"output":[1,0,1]}` + "\n", Layout{}, "3 out"},
		{"an empty list", "a.jsonl", `{"input":[],"output":[1,0]}` + "\n", Layout{}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, err := c.layout.Read(write(t, c.file, c.text))
			if err == nil {
				var n int
				if n, err = c.layout.Count(a, 0); err == nil {
					err = a.Each(n, func([]float64, int) error { return nil })
				}
			}
			e, ok := err.(*pavise.Error)
			if !ok || e.Kind != pavise.Invalid || !strings.Contains(e.Msg+" "+e.Hint, c.say) {
				t.Errorf("%v, want %q", err, c.say)
			}
		})
	}
	if _, err := (Layout{}).Read(filepath.Join(t.TempDir(), "none.csv")); pavise.KindOf(err) != pavise.NotFound {
		t.Errorf("no file: %v", err)
	}
}

// threshold is a model that says whether the first of two numbers is the larger.
func threshold(t testing.TB, bias float32) string {
	t.Helper()
	w := onnx.NewWriter("larger")
	x := w.Input("x", 2)
	scores := w.Node("Gemm", "y", []string{x, w.Floats("w", []int{2, 2}, []float32{0, 1, 1, 0}), w.Floats("b", []int{2}, []float32{0, bias})})
	w.Output(scores, 2)
	return write(t, "larger.onnx", string(w.Bytes()))
}

// TestModels asks models that are files, and finds points near the boundary of one.
func TestModels(t *testing.T) {
	asked := Asked([][]float64{{1, 2}, {4, 3}, {0, -1}})
	a, err := (Layout{}).Of(threshold(t, 0), asked)
	if err != nil {
		t.Fatal(err)
	}
	var classes []int
	if err := a.Each(2, func(_ []float64, class int) error { classes = append(classes, class); return nil }); err != nil || !slices.Equal(classes, []int{0, 1, 1}) {
		t.Errorf("%v, %v", classes, err)
	}
	for name, path := range map[string]string{
		"other columns": threshold(t, 0), "no model": write(t, "x.onnx", "not one"), "no file": filepath.Join(t.TempDir(), "y.onnx"),
	} {
		if _, err := (Layout{}).Of(path, Asked([][]float64{{1, 2, 3}})); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	m, err := Open(threshold(t, 0))
	if err != nil {
		t.Fatal(err)
	}
	var rows [][]float64
	for i := range 40 {
		rows = append(rows, []float64{float64(i % 7), float64(i % 5)})
	}
	points, err := Points(m, "larger", rows, 40, 1)
	if err != nil || len(points.Points) < 10 {
		t.Fatalf("%+v, %v", points, err)
	}
	for _, p := range points.Points {
		if d := p.Input[0] - p.Input[1]; d < -1 || d > 1 {
			t.Errorf("%v is far from the boundary", p.Input)
		}
	}
}

// TestMark marks scores and labels: the list that it makes is the key's, and the texts
// read back as they were marked.
func TestMark(t *testing.T) {
	key, err := watermark.NewKey([32]byte{1}, "m", 0.05, time.Unix(1.8e9, 0), watermark.Quantiser{Kind: watermark.Exact})
	if err != nil {
		t.Fatal(err)
	}
	for _, width := range []int{1, 4} {
		for _, name := range []string{"a.csv", "a.jsonl"} {
			a := &Set{Columns: 1, Width: width}
			for i := range 400 {
				a.Inputs = append(a.Inputs, float64(i)/8)
				if width == 1 {
					a.Outputs = append(a.Outputs, float64(i%4))
					continue
				}
				scores := []float64{0.125, 0.125, 0.25, 0.5}
				a.Outputs = append(a.Outputs, scores...)
			}
			list, err := Mark(key, a, 4)
			if err != nil || len(list.Rows) < 50 || list.Hold(key.Marker()) != nil {
				t.Fatalf("%d marks, %v", len(list.Rows), err)
			}
			text, err := a.Text(name)
			if err != nil {
				t.Fatal(err)
			}
			again, err := (Layout{}).Read(write(t, name, string(text)))
			if err != nil || !slices.Equal(again.Inputs, a.Inputs) || !slices.Equal(again.Outputs, a.Outputs) {
				t.Errorf("%s, width %d: read again it is another (%v)", name, width, err)
			}
			q, err := watermark.NewInquiry(key, 4, list)
			if err != nil {
				t.Fatal(err)
			}
			if err := again.Each(4, q.Answer); err != nil {
				t.Fatal(err)
			}
			if r := q.Report(); r.Verdict != watermark.VerdictMarked || r.Hits != r.Marked {
				t.Errorf("%s, width %d: %s", name, width, r.Words)
			}
		}
	}
}

// TestFiles lists a directory, and says what is not there.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"b.csv", "a.csv", ".hidden"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files, err := Files([]string{dir, filepath.Join(dir, "b.csv")})
	if err != nil || fmt.Sprint(len(files)) != "3" {
		t.Errorf("%v, %v", files, err)
	}
	if _, err := Files([]string{dir + "/none"}); pavise.KindOf(err) != pavise.NotFound {
		t.Errorf("%v", err)
	}
}

// FuzzRead reads files of strangers: what is read has rows of one length.
func FuzzRead(f *testing.F) {
	f.Add([]byte("x,y,output\n1,2,0\n"), "a.csv")
	f.Add([]byte(`{"input":[[1,2],[3,4]],"output":[[0.5,0.5],[0,1]]}`), "a.jsonl")
	f.Add([]byte(`{"input":[1,2],"output":[],"p0":1}`), "a.jsonl")
	f.Fuzz(func(t *testing.T, text []byte, name string) {
		in, err := table.NewReader(bytes.NewReader(text), name, table.Options{})
		if err != nil {
			return
		}
		a, err := (Layout{}).read(in, name)
		if err != nil {
			return
		}
		if a.Rows()*a.Columns != len(a.Inputs) || a.Rows()*a.Width != len(a.Outputs) || a.Rows() == 0 {
			t.Fatalf("%d rows of %d and %d, and %d and %d numbers", a.Rows(), a.Columns, a.Width, len(a.Inputs), len(a.Outputs))
		}
		_ = a.Each(10, func([]float64, int) error { return nil })
	})
}
