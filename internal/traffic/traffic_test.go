package traffic

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/onnx"
	"github.com/pavise/pavise/internal/table"
)

// files writes files into a directory and returns the path of the first, or, of several,
// of the directory.
func files(t *testing.T, contents ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(contents); i += 2 {
		if err := os.WriteFile(filepath.Join(dir, contents[i]), []byte(contents[i+1]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if len(contents) > 2 {
		return dir
	}
	return filepath.Join(dir, contents[0])
}

// rows are the rows of a traffic, a line each, and how its columns were read.
func rows(path string, l Layout) (lines []string, read Reading, err error) {
	source, err := Open(path, l)
	if err != nil {
		return nil, read, err
	}
	for a, err := range source.Rows(&read) {
		if err != nil {
			return lines, read, err
		}
		lines = append(lines, fmt.Sprintf("%s %v %v %d", a.Client, a.Input, a.Scores, a.Class))
	}
	return lines, read, nil
}

func packed(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// npy is a file of NumPy, version 1.0.
func npy(t *testing.T, m table.Matrix) string {
	t.Helper()
	head := fmt.Sprintf("{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d), }\n", m.Rows, m.Cols)
	b := binary.LittleEndian.AppendUint16([]byte("\x93NUMPY\x01\x00"), uint16(len(head)))
	b, err := binary.Append(append(b, head...), binary.LittleEndian, m.Data)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// idx is a file in the format of MNIST: two images of two times two bytes.
func idx() string {
	b := []byte{0, 0, 8, 3}
	for _, n := range []uint32{2, 2, 2} {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	return string(append(b, 0, 1, 2, 3, 252, 253, 254, 255))
}

// model is one of two inputs that answers with them, and their labels.
func model(t *testing.T) string {
	t.Helper()
	w := onnx.NewWriter("m")
	x := w.Input("x", 2)
	w.Output("p", 2)
	eye := w.Floats("eye", []int{2, 2}, []float32{1, 0, 0, 1})
	bias := w.Floats("bias", []int{2}, []float32{0.5, 0})
	w.Node("Gemm", "p", []string{x, eye, bias})
	return files(t, "m.onnx", string(w.Bytes()))
}

func TestRows(t *testing.T) {
	for _, tt := range []struct {
		name, path string
		layout     Layout
		want       []string
		read       Reading
	}{
		{
			"CSV with scores", files(t, "a.csv", "Time,CLIENT,a,b,p_0,p_1,org,prediction\n2026-01-01,x,1,2,0.25,0.75,acme,1\n,y z,3,4e1,1,0,,0\n"), Layout{},
			[]string{"x [1 2] [0.25 0.75] -1", "y z [3 40] [1 0] -1"},
			Reading{Client: "CLIENT", Inputs: []string{"a", "b"}, Scores: []string{"p_0", "p_1"}, Ignored: []string{"Time", "org", "prediction"}},
		},
		{
			"CSV with classes, and texts for inputs", files(t, "a.csv", "user,proto,bytes,label\nx,tcp,7,3\nx,udp,8,2.0\nx,tcp,9,dos\n"), Layout{},
			[]string{fmt.Sprint("x [", classOf("tcp")%997, " 7] [] 3"), fmt.Sprint("x [", classOf("udp")%997, " 8] [] 2"), fmt.Sprint("x [", classOf("tcp")%997, " 9] [] ", classOf("dos"))},
			Reading{Client: "user", Inputs: []string{"proto", "bytes"}, Answer: "label"},
		},
		{
			"categories that are numbers in part, or a word for a gap", files(t, "a.csv", "client,icd,service\nx,V27,-\nx,250,http\n"), Layout{},
			[]string{fmt.Sprint("x [", classOf("V27")%997, " ", classOf("-")%997, "] [] -1"), fmt.Sprint("x [250 ", classOf("http")%997, "] [] -1")},
			Reading{Client: "client", Inputs: []string{"icd", "service"}},
		},
		{
			"columns of answers that are named", files(t, "a.csv", "client,a,label,good,bad\nx,1,2,0.5,0.25\n"), Layout{Outputs: []string{"good", "bad"}},
			[]string{"x [1 2] [0.5 0.25] -1"},
			Reading{Client: "client", Inputs: []string{"a", "label"}, Scores: []string{"good", "bad"}},
		},
		{
			"a client without a name", files(t, "a.csv", "client,a\n,1\nx,2\n"), Layout{},
			[]string{" [1] [] -1", "x [2] [] -1"}, Reading{Client: "client", Inputs: []string{"a"}},
		},
		{
			"JSONL", files(t, "a.jsonl", `{"region":1,"client":"x","input":[1,2],"output":[0.5,0.5],"time":"2026-01-01T00:00:00Z"}`+"\n"+`{"client":7,"output":[1,0],"input":[3,4]}`+"\n"), Layout{},
			[]string{"x [1 2] [0.5 0.5] -1", "7 [3 4] [1 0] -1"},
			Reading{Client: "client", Inputs: []string{"input"}, Scores: []string{"output"}, Ignored: []string{"region", "time"}},
		},
		{
			"JSONL in batches", files(t, "a.ndjson", `{"client":"x","inputs":[[1,2],[3,4]],"outputs":[[0.1,0.9],[0.2,0.8]]}`+"\n"+`{"client":"y","inputs":[5,6],"outputs":[0.3,0.7]}`), Layout{},
			[]string{"x [1 2] [0.1 0.9] -1", "x [3 4] [0.2 0.8] -1", "y [5 6] [0.3 0.7] -1"},
			Reading{Client: "client", Inputs: []string{"inputs"}, Scores: []string{"outputs"}},
		},
		{
			"JSONL in batches of one score", files(t, "a.jsonl", `{"client":"x","x":[[1],[2],[3]],"scores":[0.1,0.2,0.3]}`), Layout{},
			[]string{"x [1] [0.1] -1", "x [2] [0.2] -1", "x [3] [0.3] -1"},
			Reading{Client: "client", Inputs: []string{"x"}, Scores: []string{"scores"}},
		},
		{
			"JSONL with a key for each input", files(t, "a.jsonl", `{"client":"x","a":1,"b":2,"answer":"5"}`), Layout{},
			[]string{"x [1 2] [] 5"}, Reading{Client: "client", Inputs: []string{"a", "b"}, Answer: "answer"},
		},
		{
			"NPY, in gzip", files(t, "thief.npy.gz", packed(t, npy(t, table.Matrix{Rows: 2, Cols: 2, Data: []float32{1, 2, 3, 4}}))), Layout{},
			[]string{"thief [1 2] [] -1", "thief [3 4] [] -1"}, Reading{Inputs: []string{"0", "1"}, counted: true},
		},
		{
			"IDX", files(t, "images-idx3-ubyte", idx()), Layout{},
			[]string{"images-idx3-ubyte [0 1 2 3] [] -1", "images-idx3-ubyte [252 253 254 255] [] -1"}, Reading{Inputs: []string{"0", "1", "2", "3"}, counted: true},
		},
		{
			"a directory", files(t, "b.csv", "a,b\n5,6\n", "a.csv.gz", packed(t, "a,b\n1,2\n3,4\n"), ".hidden", "x", "c.csv", "client,a,b\nx,7,8\n"), Layout{},
			[]string{"a [1 2] [] -1", "a [3 4] [] -1", "b [5 6] [] -1", "x [7 8] [] -1"}, Reading{Inputs: []string{"a", "b"}},
		},
		{
			"several models", files(t, "a.csv", "client,model,a\nx,m,1\nx,n,2\ny,m,3\n"), Layout{Only: "m"},
			[]string{"x [1] [] -1", "y [3] [] -1"}, Reading{Client: "client", Inputs: []string{"a"}, model: "model"},
		},
		{
			"a model that answers", files(t, "a.csv", "client,a,b,label\nx,1,2,9\n"), Layout{Model: model(t)},
			[]string{"x [1 2] [1.5 2] -1"}, Reading{Client: "client", Inputs: []string{"a", "b"}, Ignored: []string{"label"}, Asked: true},
		},
		{
			"a model that answers batches", files(t, "a.jsonl", `{"client":"x","input":[[1,2],[3,4]]}`), Layout{Model: model(t)},
			[]string{"x [1 2] [1.5 2] -1", "x [3 4] [3.5 4] -1"}, Reading{Client: "client", Inputs: []string{"input"}, Asked: true},
		},
		{
			"recorded answers before the model's", files(t, "a.csv", "client,a,b,p0\nx,1,2,0.5\n"), Layout{Model: model(t)},
			[]string{"x [1 2] [0.5] -1"}, Reading{Client: "client", Inputs: []string{"a", "b"}, Scores: []string{"p0"}},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, read, err := rows(tt.path, tt.layout)
			if err != nil || !slices.Equal(got, tt.want) || fmt.Sprintf("%+v", read) != fmt.Sprintf("%+v", tt.read) {
				t.Errorf("%q, %v, want %q\n%+v, want\n%+v", got, err, tt.want, read, tt.read)
			}
		})
	}
}

// TestNames knows every name of docs/formats/traffic.md.
func TestNames(t *testing.T) {
	text, err := os.ReadFile("../../docs/formats/traffic.md")
	if err != nil {
		t.Fatal(err)
	}
	for what, names := range map[string][]string{"who asked": clientColumns, "the model": modelColumns, "inputs": inputColumns, "scores": outputColumns, "the class": answerColumns, "nothing": otherColumns} {
		for _, name := range names {
			if !strings.Contains(string(text), "`"+name+"`") {
				t.Errorf("docs/formats/traffic.md does not say that %s stands for %s", name, what)
			}
		}
	}
	for _, column := range []string{"p0", "p_12", "P.3", "output_1", "score1", "prob_0", "proba_1", "probability_2", "logit_0"} {
		got, read, err := rows(files(t, "a.csv", "who,a,"+column+"\nx,1,0.5\n"), Layout{})
		if err != nil || len(got) != 1 || got[0] != "x [1] [0.5] -1" {
			t.Errorf("%s: %q, %+v, %v", column, got, read, err)
		}
	}
	for _, column := range []string{"p", "port1", "op_1", "p_x", "scored", "pp1"} {
		if got, _, err := rows(files(t, "a.csv", "who,"+column+"\nx,0.5\n"), Layout{}); err != nil || got[0] != "x [0.5] [] -1" {
			t.Errorf("%s: %q, %v", column, got, err)
		}
	}
	for _, tt := range []struct {
		inputs  []string
		counted bool
		named   bool
	}{{[]string{"a", "b"}, false, true}, {[]string{"input"}, false, false}, {[]string{"0", "1"}, true, false}} {
		if got := (&Reading{Inputs: tt.inputs, counted: tt.counted}).Named(); (got != nil) != tt.named {
			t.Errorf("%+v: %q", tt, got)
		}
	}
}

// TestRefused reads what is no traffic, or not all of one form, and says where.
func TestRefused(t *testing.T) {
	for _, tt := range []struct {
		name, path string
		layout     Layout
		want       string
	}{
		{"no file", "absent.csv", Layout{}, "read the traffic: stat absent.csv"},
		{"an empty directory", t.TempDir(), Layout{}, "there is no file in "},
		{"no model", files(t, "a.csv", "a\n1\n"), Layout{Model: "absent.onnx"}, "read the model: open absent.onnx"},
		{"a model that is none", files(t, "a.csv", "a\n1\n"), Layout{Model: files(t, "m.onnx", "none")}, ""},
		{"a model of another width", files(t, "a.csv", "client,a\nx,1\n"), Layout{Model: model(t)}, "rows of the traffic have 1 inputs, and the model takes 2"},
		{"no inputs", files(t, "a.csv", "client,label\nx,1\n"), Layout{}, "a.csv has no column of inputs"},
		{"an output that is not there", files(t, "a.csv", "client,a\nx,1\n"), Layout{Outputs: []string{"b"}}, `a.csv has no column "b"`},
		{"a gap", files(t, "a.csv", "client,a,b\nx,1,2\nx,,2\n"), Layout{}, `a.csv, line 3, column "a": "" is no number`},
		{"no number", files(t, "a.csv", "client,a\nx,1\nx,NaN\n"), Layout{}, `a.csv, line 3, column "a": NaN is no number to reckon with`},
		{"infinite", files(t, "a.csv", "client,a\nx,1\nx,-inf\n"), Layout{}, `a.csv, line 3, column "a": -Inf is no number to reckon with`},
		{"beyond numbers", files(t, "a.csv", "client,a\nx,1\nx,1e400\n"), Layout{}, `a.csv, line 3, column "a": "1e400" is beyond what a number can be`},
		{"blank", files(t, "a.csv", "client,a\nx,tcp\nx,  \n"), Layout{}, `a.csv, line 3, column "a": "  " is no number`},
		{"a text among numbers", files(t, "a.csv", "client,a,b\nx,1,2\nx,1,hello\n"), Layout{}, `a.csv, line 3, column "b": "hello" is no number, and the rows before have numbers`},
		{"a text among numbers of another file", files(t, "a.csv", "a,b\n1,2\n", "b.csv", "a,b\nN/A,2\n"), Layout{}, `b.csv, line 2, column "a": "N/A" is no number, and the rows before have numbers`},
		{"a gap in words before numbers", files(t, "a.csv", "client,a,b\nx, NA,2\nx,1,2\n"), Layout{}, `a.csv, line 3, column "a": it is a number, and a row before has " NA"`},
		{"a text for a score", files(t, "a.csv", "client,a,output\nx,1,dos\n"), Layout{}, `a.csv, line 2, column "output": "dos" is no number`},
		{"ragged", files(t, "a.csv", "client,a,b\nx,1,2\nx,1\n"), Layout{}, "a.csv, line 3: it has 2 cells"},
		{"lists of two lengths", files(t, "a.jsonl", `{"client":"x","input":[1,2]}`+"\n"+`{"client":"x","input":[1,2,3]}`), Layout{}, "a.jsonl, line 2: it has 3 inputs and 0 scores, and the first row has 2 and 0"},
		{"scores of two lengths", files(t, "a.jsonl", `{"client":"x","input":[1],"output":[1,0]}`+"\n"+`{"client":"x","input":[1],"output":[1]}`), Layout{}, "a.jsonl, line 2: it has 1 inputs and 1 scores, and the first row has 1 and 2"},
		{"more answers than rows", files(t, "a.jsonl", `{"client":"x","input":[[1],[2],[3]],"output":[[1,2,3],[4,5,6]]}`), Layout{}, "a.jsonl, line 1: 3 rows of inputs and 2 of answers"},
		{"one answer for a batch", files(t, "a.jsonl", `{"client":"x","input":[[1],[2]],"p0":1,"p1":0}`), Layout{}, "a.jsonl, line 1: 2 rows of inputs and 1 of answers"},
		{"one class for a batch", files(t, "a.jsonl", `{"client":"x","input":[[1],[2]],"label":1}`), Layout{}, `a.jsonl, line 1, column "label": one class for 2 rows of inputs`},
		{"texts in a list", files(t, "a.jsonl", `{"client":"x","input":["tcp",1]}`), Layout{}, `a.jsonl, line 1, column "input": it is neither a number nor a list of numbers`},
		{"an empty list", files(t, "a.jsonl", `{"client":"x","input":[]}`), Layout{}, `the list is empty`},
		{"nobody", files(t, "a.jsonl", `{"client":"x","input":[1]}`+"\n"+`{"client":null,"input":[1]}`), Layout{}, `a.jsonl, line 2, column "client": there is nothing`},
		{"clients who come later", files(t, "a.jsonl", `{"input":[1]}`+"\n"+`{"client":"x","input":[1]}`), Layout{}, "a.jsonl has rows with columns that its first row does not have"},
		{"two models", files(t, "a.csv", "client,model,a\nx,m,1\nx,n,2\n"), Layout{}, `a.csv, line 3, column "model" is of the model "n", and the rows before of "m"`},
		{"two models in two files", files(t, "a.csv", "model,a\nm,1\n", "b.csv", "model,a\nn,1\n"), Layout{}, `b.csv, line 2, column "model" is of the model "n", and the rows before of "m"`},
		{"a model that nobody asked", files(t, "a.csv", "client,model,a\nx,m,1\n"), Layout{Only: "n"}, `there is no row of the model "n" in the traffic`},
		{"no word of a model", files(t, "a.csv", "client,a\nx,1\n"), Layout{Only: "n"}, "a.csv does not say which model its rows are of"},
		{"files of two orders", files(t, "a.csv", "a,b\n1,2\n", "b.csv", "b,a\n1,2\n"), Layout{}, `b.csv has the inputs ["b" "a"], and the first file has ["a" "b"]`},
		{"files with scores and without", files(t, "a.csv", "a,p0\n1,2\n", "b.csv", "a\n1\n"), Layout{}, "b.csv has the scores [], and the first file has"},
		{"files with classes and without", files(t, "a.csv", "a,label\n1,2\n", "b.csv", "a\n1\n"), Layout{}, "b.csv has the answers "},
		{"matrices of two widths", files(t, "a.npy", npy(t, table.Matrix{Rows: 1, Cols: 2, Data: []float32{1, 2}}), "b.npy", npy(t, table.Matrix{Rows: 1, Cols: 3, Data: []float32{1, 2, 3}})), Layout{}, `b.npy, row 1: it has 3 inputs and 0 scores, and the first row has 2`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, _, err := rows(tt.path, tt.layout)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%q, %v, want %q", got, err, tt.want)
			}
			if kind := pavise.KindOf(err); kind != pavise.Invalid && kind != pavise.NotFound {
				t.Errorf("%v", kind)
			}
		})
	}
}

// TestReadAgain ranges over a traffic twice, and leaves it early.
func TestReadAgain(t *testing.T) {
	source, err := Open(files(t, "a.csv", "client,a\nx,1\nx,2\n", "b.csv", "client,a\nx,3\n"), Layout{})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for a, err := range source.Rows(nil) {
			if err != nil || a.Input[0] != 1 {
				t.Fatal(a, err)
			}
			break
		}
		n := 0
		for a, err := range source.Rows(nil) {
			if n++; err != nil || a.Input[0] != float64(n) {
				t.Fatal(a, err)
			}
		}
		if n != 3 {
			t.Errorf("%d rows", n)
		}
	}
}
