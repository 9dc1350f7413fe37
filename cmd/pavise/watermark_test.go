package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pavise/pavise/internal/answers"
	"github.com/pavise/pavise/internal/onnx"
)

// linear writes a model of two classes over two columns: whether slope·x < y + bias.
func linear(t *testing.T, path string, slope, bias float32) {
	t.Helper()
	w := onnx.NewWriter("linear")
	x := w.Input("x", 2)
	w.Output(w.Node("Gemm", "y", []string{x, w.Floats("w", []int{2, 2}, []float32{slope, 0, 0, 1}), w.Floats("b", []int{2}, []float32{0, bias})}), 2)
	if err := os.WriteFile(path, w.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// fiveClasses writes 9,000 rows with their true classes, and the same with answers of an
// innocent model.
func fiveClasses(t *testing.T) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	files := map[string]*strings.Builder{}
	for _, name := range []string{"true.csv", "innocent.csv", "rows.csv"} {
		files[name] = &strings.Builder{}
		fmt.Fprintln(files[name], map[bool]string{true: "a,b,c,label", false: "a,b,c,output"}[name == "rows.csv"])
	}
	for range 9000 {
		class := rng.IntN(5)
		row := fmt.Sprintf("%.4f,%.2f,%.6f,", rng.NormFloat64()+float64(class), 100*rng.NormFloat64(), rng.Float64())
		fmt.Fprintln(files["true.csv"], row+fmt.Sprint(class))
		fmt.Fprintln(files["rows.csv"], row+fmt.Sprint(class))
		if rng.IntN(20) == 0 {
			class = rng.IntN(5)
		}
		fmt.Fprintln(files["innocent.csv"], row+fmt.Sprint(class))
	}
	for name, text := range files {
		if err := os.WriteFile(name, []byte(text.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// serveAnswers is a server of a model that says what a file of answers says, on loopback.
func serveAnswers(t *testing.T, path string) (address string) {
	t.Helper()
	set, err := answers.Layout{}.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	said := map[[3]float64]int{}
	for i := range set.Rows() {
		said[[3]float64(set.Input(i))] = int(set.Output(i)[0])
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			fmt.Fprint(w, `{"name":"digits","inputs":[{"name":"x","datatype":"FP64","shape":[-1,3]}]}`)
			return
		}
		var asked struct{ Inputs []struct{ Data []float64 } }
		if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
			t.Error(err)
			return
		}
		var classes []int
		for row := range slices.Chunk(asked.Inputs[0].Data, 3) {
			classes = append(classes, said[[3]float64(row)])
		}
		json.NewEncoder(w).Encode(map[string]any{"outputs": []any{map[string]any{"name": "label", "datatype": "INT64", "data": classes}}})
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// TestWatermark goes the whole way on files: a key, marked answers, and suspects: one who
// has the marks, one who does not, and what is wrong with what was handed in.
func TestWatermark(t *testing.T) {
	t.Chdir(t.TempDir())
	fiveClasses(t)
	type answer struct {
		Verdict, Commitment, MarksDigest, Digest, Quantiser, Words string
		Log2P                                                      float64
		Marked, Hits, Unanswered                                   int
		Classes                                                    int
		ClassesGuessed                                             bool
		Recorded                                                   *bool
		Notes                                                      []string
		Innocent                                                   *struct{ Models int }
	}
	ask := func(want int, args string) (a answer) {
		t.Helper()
		code, stdout, stderr := pavised(t, strings.Fields("--json watermark "+args)...)
		if code != want {
			t.Fatalf("watermark %s: exit code %d, want %d\n%s%s", args, code, want, stdout, stderr)
		}
		if stdout == "" && code == 2 {
			a.Words = stderr
			return a
		}
		if err := json.Unmarshal([]byte(stdout), &a); err != nil || a.Recorded == nil || *a.Recorded {
			t.Fatalf("watermark %s: %v\n%s", args, err, stdout)
		}
		return a
	}
	made := ask(0, "new --model digits --rate 0.02 --rows rows.csv --omit label -o key")
	if info, err := os.Stat("key"); err != nil || info.Mode().Perm() != 0o600 || made.Quantiser != "cells" || len(made.Commitment) != 64 {
		t.Errorf("%+v, %v, %v", made, info, err)
	}
	code, _, stderr := pavised(t, "watermark", "new", "--model", "digits", "-o", "key")
	if code != 2 || !strings.Contains(stderr, "there already") {
		t.Errorf("over another key: exit code %d\n%s", code, stderr)
	}
	ask(0, "new --model digits -o other")
	marked := ask(0, "mark --answers true.csv --key key --classes 5 -o marked.jsonl --marks list")
	if marked.Marked < 20 || marked.Commitment != made.Commitment || marked.Digest == "" {
		t.Fatalf("%+v", marked)
	}
	const verify = "verify --key key --answers "
	if a := ask(1, verify+"marked.jsonl --marks list --committed "+marked.Digest); 20*a.Hits < 19*a.Marked || // rows of one cell may have two classes
		a.MarksDigest != marked.Digest || a.Unanswered != 0 {
		t.Errorf("by the list: %+v", a)
	}
	if a := ask(1, verify+"marked.jsonl --classes 5 --truth true.csv --controls innocent.csv"); a.Innocent == nil || a.Innocent.Models != 1 {
		t.Errorf("by true answers: %+v", a)
	}
	if a := ask(1, verify+"marked.jsonl --classes 5"); !strings.Contains(strings.Join(a.Notes, " "), "left out") {
		t.Errorf("by the answers alone: %+v", a)
	}
	if a := ask(1, verify+"marked.jsonl"); a.Classes != 5 || !a.ClassesGuessed {
		t.Errorf("by the answers alone, whose classes nobody counted: %+v", a)
	}
	for suspect, want := range map[string]int{"marked.jsonl": 1, "innocent.csv": 0} {
		served := serveAnswers(t, suspect)
		if a := ask(want, "verify --key key --marks list --suspect "+served+"/v2/models/digits"); a.Marked < 20 || a.Unanswered != 0 {
			t.Errorf("%s, served: %+v", suspect, a)
		}
	}
	if a := ask(0, verify+"innocent.csv --marks list"); a.Verdict != "not shown" || a.Log2P < -16 {
		t.Errorf("an innocent one: %+v", a)
	}
	if a := ask(0, "verify --key other --classes 5 --answers marked.jsonl --truth true.csv"); a.Verdict != "not shown" {
		t.Errorf("another key: %+v", a)
	}
	for args, say := range map[string]string{
		"verify --key other --answers marked.jsonl --marks list":                    "under the key",
		verify + "marked.jsonl --marks list --committed " + strings.Repeat("0", 64): "committed to",
		verify + "none.jsonl --classes 5":                                           "none.jsonl",
		"verify --key rows.csv --classes 5 --answers marked.jsonl":                  "watermark key",
		"verify --key key --classes 5 --answers marked.jsonl --committed 00":        "--marks",
		"verify --key key --answers key --classes 5":                                "key",
		verify + "marked.jsonl --classes 6 --marks list":                            "of 5 classes",
		"verify --key key":                      "--answers",
		"verify --key key --suspect model.onnx": "--marks",
	} {
		if a := ask(2, args); !strings.Contains(a.Words, say) {
			t.Errorf("watermark %s: %s, want %q", args, a.Words, say)
		}
	}
	text, err := os.ReadFile("list")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("list", []byte(strings.Replace(string(text), `"true":1`, `"true":2`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if a := ask(2, verify+"marked.jsonl --marks list"); !strings.Contains(a.Words, "was changed") {
		t.Errorf("a list that was changed: %s", a.Words)
	}
	code, stdout, _ := pavised(t, strings.Fields("watermark verify --key key --answers marked.jsonl --classes 5")...)
	if code != 1 || !strings.Contains(stdout, "marked.jsonl: marked") || !strings.Contains(stdout, "false (this command leaves no record)") || !strings.Contains(stdout, "one signal") {
		t.Errorf("for people: exit code %d\n%s", code, stdout)
	}
	if a := ask(2, verify+few(t)); a.Verdict != "cannot say" || a.Marked > 13 {
		t.Errorf("few marks: %+v", a)
	}
}

// few writes the first rows of the marked answers.
func few(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("marked.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfterN(string(text), "\n", 61)
	if err := os.WriteFile("few.jsonl", []byte(strings.Join(lines[:60], "")), 0o600); err != nil {
		t.Fatal(err)
	}
	return "few.jsonl --classes 5"
}

// TestWatermarkFingerprint finds points of a model in a file, and holds a copy and 20 other
// models to them.
func TestWatermarkFingerprint(t *testing.T) {
	t.Chdir(t.TempDir())
	rng := rand.New(rand.NewPCG(3, 4))
	var rows strings.Builder
	rows.WriteString("x,y\n")
	for range 500 {
		fmt.Fprintf(&rows, "%.3f,%.3f\n", rng.NormFloat64(), rng.NormFloat64())
	}
	if err := os.WriteFile("rows.csv", []byte(rows.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	linear(t, "model.onnx", 1, 0)
	linear(t, "copy.onnx", 1.01, 0.01)
	if err := os.Mkdir("others", 0o700); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		linear(t, filepath.Join("others", fmt.Sprint(i, ".onnx")), 1.3+float32(i)/10, 0.2)
	}
	for _, step := range []struct {
		args string
		code int
		say  string
	}{
		{"fingerprint --model model.onnx --name linear --rows rows.csv --points 200 -o points", 0, "points near the boundary of linear"},
		{"fingerprint --model model.onnx --name linear --rows rows.csv --points 200 -o points", 2, "there already"},
		{"fingerprint --model model.onnx --name linear --rows rows.csv --points 0 -o more", 2, "look for 1 to"},
		{"compare --answers copy.onnx --fingerprint points --controls others", 1, "more than each of 20 models"},
		{"compare --answers others/3.onnx --fingerprint points --controls others", 0, "not shown"},
		{"compare --answers copy.onnx --fingerprint points --controls others/1.onnx", 2, "fewer than 20"},
		{"compare --answers copy.onnx --fingerprint rows.csv --controls others", 2, "the fingerprint"},
		{"compare --answers rows.csv --fingerprint points --controls others", 2, "--outputs"},
	} {
		code, stdout, stderr := pavised(t, strings.Fields("watermark "+step.args)...)
		if code != step.code || !strings.Contains(stdout+stderr, step.say) {
			t.Errorf("watermark %s: exit code %d, want %d with %q\n%s%s", step.args, code, step.code, step.say, stdout, stderr)
		}
	}
}
