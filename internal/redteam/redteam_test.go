package redteam

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/infer"
	"github.com/pavise/pavise/internal/learn"
	"github.com/pavise/pavise/internal/onnx"
	"github.com/pavise/pavise/internal/tensor"
	"github.com/pavise/pavise/internal/theft"
)

// model is a softmax of three classes over four columns, or a logistic score alone.
func model(single bool) []byte {
	w := onnx.NewWriter("m")
	x := w.Input("x", 4)
	if single {
		z := w.Node("Gemm", "z", []string{x, w.Floats("w", []int{4, 1}, []float32{1, -2, 0.5, 1}), w.Floats("b", []int{1}, []float32{0.1})})
		w.Node("Sigmoid", "p", []string{z})
		w.Output("p", 1)
		return w.Bytes()
	}
	z := w.Node("Gemm", "z", []string{x, w.Floats("w", []int{4, 3}, []float32{1, -1, 0, -2, 1, 1, 0.5, 0.5, -1, 1, 0, 2}), w.Floats("b", []int{3}, []float32{0.1, 0, -0.1})})
	w.Node("Softmax", "p", []string{z}, onnx.Int("axis", 1))
	w.Output("p", 3)
	return w.Bytes()
}

// bench is a directory with a model and rows.
type bench struct {
	t   *testing.T
	dir string
}

func newBench(t *testing.T) bench {
	b := bench{t, t.TempDir()}
	b.write("m.onnx", string(model(false)))
	b.write("one.onnx", string(model(true)))
	b.write("rows.csv", rowsCSV(500))
	return b
}

func rowsCSV(n int) string {
	rng := rand.New(rand.NewPCG(1, 2))
	var text strings.Builder
	text.WriteString("a,b,c,d,class\n")
	for range n {
		fmt.Fprintf(&text, "%.4f,%.4f,%.4f,%.4f,%d\n", rng.NormFloat64(), rng.NormFloat64(), rng.NormFloat64(), rng.NormFloat64(), rng.IntN(3))
	}
	return text.String()
}

func (b bench) path(name string) string { return filepath.Join(b.dir, name) }

func (b bench) write(name, text string) string {
	b.t.Helper()
	if err := os.WriteFile(b.path(name), []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
	return b.path(name)
}

func (b bench) read(name string) string {
	b.t.Helper()
	text, err := os.ReadFile(b.path(name))
	if err != nil {
		b.t.Fatal(err)
	}
	return string(text)
}

// extract is an attack with what the flags are without being said.
func (b bench) extract(change func(*Extract)) *Extract {
	x := &Extract{
		Setting: Setting{
			Target: b.path("m.onnx"), Data: b.path("rows.csv"), Label: "class", Surrogate: "own", Budget: 200, Held: 100, Seed: 1, Repeat: 1, Sybils: 1, Dilute: 100,
		},
		Attack: "in-distribution", Answers: "scores", Defence: "full", Batch: 16,
	}
	if change != nil {
		change(x)
	}
	return x
}

func (b bench) run(x *Extract) *Extracted {
	b.t.Helper()
	result, err := x.Run(context.Background())
	if err != nil {
		b.t.Fatal(err)
	}
	return result
}

func TestExtractFromAFile(t *testing.T) {
	b := newBench(t)
	r := b.run(b.extract(nil))
	if len(r.Points) != 2 || r.Points[1].Rows != 200 || r.Points[1].Agreement.Low < 0.85 || r.Ended != "budget" || r.Victim == nil || r.Held != 100 || r.HeldAsked || r.Recorded {
		t.Errorf("%+v", r)
	}
	if r := b.run(b.extract(func(x *Extract) { x.Attack, x.Budget = "equation-solving", 1000 })); r.Ended != "exhausted" || r.Points[len(r.Points)-1].Agreement.Count != 100 || r.Found == nil || math.Abs(r.Found.Weights[1][0]+2) > 1e-4 {
		t.Errorf("%+v", r)
	}
	if r := b.run(b.extract(func(x *Extract) { x.Target, x.Surrogate = b.path("one.onnx"), "trees" })); r.Classes != 2 || r.Points[1].Agreement.Share < 0.75 {
		t.Errorf("%+v", r)
	}
	var out strings.Builder
	if r.Print(&out); !strings.Contains(out.String(), "recorded    false") || !strings.Contains(out.String(), "200 of 200 rows") {
		t.Error(out.String())
	}
}

// TestTreeIsFound attacks a tree of our own, through ONNX: every leaf is found, and every
// threshold lies where the tree has one.
func TestTreeIsFound(t *testing.T) {
	b := newBench(t)
	rng := rand.New(rand.NewPCG(3, 4))
	set := learn.Set{X: learn.NewMatrix(400, 4)}
	for i := range set.X.Rows {
		row := set.X.Row(i)
		for j := range row {
			row[j] = float32(rng.NormFloat64())
		}
		class := 0
		if row[0] > 0.3 {
			class = 1
		}
		if row[2] > -0.5 && row[0] < 1 {
			class += 1
		}
		set.Y = append(set.Y, class)
	}
	tree, err := learn.TrainTrees(learn.TreeConfig{Classes: 3, Leaves: 6, MinRows: 5, Single: true}, set, set, rng)
	if err != nil {
		t.Fatal(err)
	}
	w := onnx.NewWriter("tree")
	tree.Emit(w, w.Input("x", 4), "p")
	w.Output("p", 3)
	b.write("tree.onnx", string(w.Bytes()))
	r := b.run(b.extract(func(x *Extract) { x.Target, x.Attack, x.Budget = b.path("tree.onnx"), "tree-path-finding", 3000 }))
	near := func(list []float64, want float64) bool {
		return slices.ContainsFunc(list, func(v float64) bool { return math.Abs(v-want) < 0.05 })
	}
	if r.Found == nil || r.Found.Leaves < 3 || r.Found.Leaves > 6 || !near(r.Found.Thresholds[0], 0.3) || !near(r.Found.Thresholds[2], -0.5) || r.Points[len(r.Points)-1].Agreement.Count != 100 {
		t.Errorf("%+v of %+v", r.Found, r)
	}
	var out strings.Builder
	if r.Print(&out); !strings.Contains(out.String(), "leaves") {
		t.Error(out.String())
	}
}

// TestStoppedAndGoneOnWith stops a run at several places, once in the middle of what it
// had written behind its state: ledger, copies and recorded rows are those of a whole run.
func TestStoppedAndGoneOnWith(t *testing.T) {
	b := newBench(t)
	whole := b.run(b.extract(func(x *Extract) { x.Attack, x.Queries, x.Sybils, x.Dilute = "jbda", b.path("whole.jsonl"), 3, 50 }))
	kept := func(x *Extract) {
		x.Attack, x.Queries, x.State, x.Sybils, x.Dilute = "jbda", b.path("q.jsonl"), b.path("state"), 3, 50
	}
	for range 4 {
		ctx, stop := context.WithCancel(context.Background())
		asked := 0
		x := b.extract(kept)
		x.Say = func(string) { // it speaks of the first rows at once
			if asked++; asked == 1 {
				stop()
			}
		}
		_, err := x.Run(ctx)
		stop()
		if pavise.KindOf(err) != pavise.Unavailable || !strings.Contains(err.Error(), "stopped after ") {
			t.Fatal(err)
		}
		b.write("q.jsonl", b.read("q.jsonl")+`{"client":"thief-1","inp`) // of rows that the state does not know
	}
	b.write("whole.state", b.read("state"))
	resumed := b.run(b.extract(kept))
	if resumed.ResumedFrom == 0 || resumed.Ledger != whole.Ledger || fmt.Sprint(resumed.Points) != fmt.Sprint(whole.Points) {
		t.Errorf("%+v\nis not\n%+v", resumed, whole)
	}
	if got, want := b.read("q.jsonl"), b.read("whole.jsonl"); got != want || strings.Count(got, "\n") != 200 || !strings.Contains(got, `"client":"thief-3"`) {
		t.Errorf("the rows recorded differ: %d and %d bytes", len(got), len(want))
	}
	x := b.extract(kept)
	x.Seed = 2
	if _, err := x.Run(context.Background()); pavise.KindOf(err) != pavise.Conflict {
		t.Errorf("another seed: %v", err)
	}
	b.write("q.jsonl", "one line\n")
	if _, err := b.extract(kept).Run(context.Background()); pavise.KindOf(err) != pavise.Invalid || !strings.Contains(err.Error(), "fewer than the 200 rows") {
		t.Errorf("rows recorded by another run: %v", err)
	}
}

// A server answers as the model in a file does, unless refuse has it say something else.
type server struct {
	*httptest.Server
	mu     sync.Mutex
	rows   int
	tokens map[string]int // rows, by token
	refuse func(w http.ResponseWriter, rows int) bool
}

func newServer(t *testing.T) *server {
	native, err := infer.NewNative("m", model(false))
	if err != nil {
		t.Fatal(err)
	}
	s := &server{tokens: map[string]int{}}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if r.Method == "GET" {
			signature := native.Signature()
			json.NewEncoder(w).Encode(map[string]any{"name": "m", "inputs": signature.Inputs, "outputs": signature.Outputs})
			return
		}
		var body bytes.Buffer
		body.ReadFrom(r.Body)
		q, err := tensor.ParseRequest(body.Bytes(), tensor.DefaultLimits())
		if err != nil {
			t.Error(err)
			return
		}
		if s.refuse != nil && s.refuse(w, s.rows) {
			return
		}
		s.rows += q.Rows()
		s.tokens[r.Header.Get("Authorization")] += q.Rows()
		a, err := native.Infer(r.Context(), q)
		if err != nil {
			t.Error(err)
			return
		}
		text, _ := a.AppendJSON(nil)
		w.Write(text)
	}))
	t.Cleanup(s.Close)
	return s
}

// TestServerIsAskedAsAFile has a server answer: the ledger is that of the file, each
// identity has its own token, and held-back rows are asked beside the budget.
func TestServerIsAskedAsAFile(t *testing.T) {
	b, s := newBench(t), newServer(t)
	want := b.run(b.extract(func(x *Extract) { x.Sybils = 3 }))
	tokens := b.write("tokens", "one\ntwo\nthree\n")
	r := b.run(b.extract(func(x *Extract) { x.Target, x.Sybils, x.Tokens = s.URL+"/v2/models/m/infer", 3, tokens }))
	if r.Ledger != want.Ledger || fmt.Sprint(r.Points) != fmt.Sprint(want.Points) || !r.HeldAsked {
		t.Errorf("%+v\nis not\n%+v", r, want)
	}
	if s.tokens["Bearer one"] != 67+100 || s.tokens["Bearer two"] != 67 || s.tokens["Bearer three"] != 66 {
		t.Errorf("rows by token: %v", s.tokens)
	}
	before := s.rows
	r = b.run(b.extract(func(x *Extract) { x.Target, x.Token, x.Reference = s.URL+"/v2/models/m", "secret", b.path("m.onnx") }))
	if s.rows-before != 200 || r.HeldAsked || s.tokens["Bearer secret"] != 200 {
		t.Errorf("with a reference %d rows were asked: %v", s.rows-before, s.tokens)
	}
}

// TestRefused has the server refuse: the attack ends, or waits as it is told, and what was
// copied until then is measured.
func TestRefused(t *testing.T) {
	b := newBench(t)
	paused := false
	for name, tt := range map[string]struct {
		refuse  func(w http.ResponseWriter, rows int) bool
		status  int
		rows    int
		message string
	}{
		"forbidden": {func(w http.ResponseWriter, rows int) bool {
			if rows < 110 {
				return false
			}
			w.WriteHeader(403)
			fmt.Fprint(w, `{"error":"not \u001b[31mallowed"}`)
			return true
		}, 403, 112, "not \x1b[31mallowed"},
		"throttled for good": {func(w http.ResponseWriter, rows int) bool {
			if rows < 100 {
				return false
			}
			w.Header().Set("Retry-After", "86400")
			w.WriteHeader(429)
			fmt.Fprint(w, strings.Repeat("too much ", 100))
			return true
		}, 429, 112, strings.Repeat("too much ", 22) + "to"},
		"throttled for a second": {func(w http.ResponseWriter, rows int) bool {
			if rows < 50 || paused {
				return false
			}
			paused = true
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(429)
			return true
		}, 0, 200, ""},
		"at once": {func(w http.ResponseWriter, rows int) bool { w.WriteHeader(401); return true }, 401, 0, ""},
	} {
		s := newServer(t)
		s.refuse = tt.refuse
		r := b.run(b.extract(func(x *Extract) { x.Target, x.Reference = s.URL+"/v2/models/m", b.path("m.onnx") }))
		switch {
		case r.Rows != tt.rows:
			t.Errorf("%s: %d rows, want %d", name, r.Rows, tt.rows)
		case tt.status == 0 && (r.Refusal != nil || r.Paused != 1):
			t.Errorf("%s: %+v", name, r)
		case tt.status != 0 && (r.Refusal == nil || r.Refusal.Status != tt.status || r.Refusal.Rows != tt.rows || r.Refusal.Message != tt.message || r.Ended != "refused"):
			t.Errorf("%s: %+v", name, r.Refusal)
		case tt.rows == 0 && r.Unmeasured == "" || tt.rows > 0 && r.Points[len(r.Points)-1].Rows != tt.rows:
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// TestServersThatLie answer otherwise than they should.
func TestServersThatLie(t *testing.T) {
	b := newBench(t)
	const meta = `{"name":"m","inputs":[{"name":"x","datatype":"FP32","shape":[-1,4]}],"outputs":[{"name":"p","datatype":"FP32","shape":[-1,3]}]}`
	for name, tt := range map[string]struct{ meta, answer, want string }{
		"no model":      {"", "", "does not say what the model takes: status 404"},
		"not JSON":      {"<html>", "", "as the Open Inference Protocol does"},
		"two inputs":    {strings.Replace(meta, `"inputs":[`, `"inputs":[{"name":"y","datatype":"FP32","shape":[-1,1]},`, 1), "", "takes 2 inputs"},
		"whole numbers": {strings.Replace(meta, "FP32", "INT64", 1), "", "is INT64"},
		"huge":          {strings.Replace(meta, "[-1,4]", "[-1,999999999999]", 1), "", "of shape"},
		"no scores":     {strings.Replace(meta, `"p","datatype":"FP32"`, `"p","datatype":"BYTES"`, 1), "", "no output of float scores"},
		"garbage":       {meta, "no", "answers otherwise"},
		"fewer rows":    {meta, `{"model_name":"m","outputs":[{"name":"p","datatype":"FP32","shape":[1,3],"data":[1,0,0]}]}`, "3 scores for 16 rows"},
		"another":       {meta, `{"model_name":"m","outputs":[{"name":"q","datatype":"FP32","shape":[1,3],"data":[1,0,0]}]}`, "no output"},
		"server error":  {meta, "500", "status 500"},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.Method == "GET" && tt.meta == "":
				http.NotFound(w, r)
			case r.Method == "GET":
				fmt.Fprint(w, tt.meta)
			case tt.answer == "500":
				w.WriteHeader(500)
			default:
				fmt.Fprint(w, tt.answer)
			}
		}))
		_, err := b.extract(func(x *Extract) { x.Target = s.URL + "/v2/models/m" }).Run(context.Background())
		s.Close()
		if kind := pavise.KindOf(err); kind != pavise.Unavailable && kind != pavise.Invalid || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
	elsewhere := httptest.NewServer(http.RedirectHandler("http://192.0.2.1/", http.StatusTemporaryRedirect))
	defer elsewhere.Close()
	if _, err := b.extract(func(x *Extract) { x.Target = elsewhere.URL + "/v2/models/m" }).Run(context.Background()); err == nil || !strings.Contains(err.Error(), "status 307") {
		t.Errorf("a redirect: %v", err)
	}
}

// TestOnlyThisMachine is asked to attack others.
func TestOnlyThisMachine(t *testing.T) {
	for target, want := range map[string]string{
		"http://127.0.0.1:8000/v2/models/m":           "http://127.0.0.1:8000/v2/models/m",
		"http://127.8.8.8/v2/models/m/":               "http://127.8.8.8/v2/models/m",
		"http://[::1]:80/v2/models/m/infer":           "http://[::1]:80/v2/models/m",
		"http://localhost:9/v2/models/m/versions/2":   "http://127.0.0.1:9/v2/models/m/versions/2",
		"http://localhost/v2/models/m":                "http://127.0.0.1:80/v2/models/m",
		"http://192.168.0.1/v2/models/m":              "",
		"http://0.0.0.0/v2/models/m":                  "",
		"http://2130706433/v2/models/m":               "",
		"http://127.1/v2/models/m":                    "",
		"http://localhost.example/v2/models/m":        "",
		"http://127.0.0.1.example/v2/models/m":        "",
		"http://127.0.0.1@example.com/v2/models/m":    "",
		"http://[::ffff:8.8.8.8]/v2/models/m":         "",
		"https://127.0.0.1/v2/models/m":               "",
		"http://127.0.0.1/":                           "",
		"http://127.0.0.1/v2/models/":                 "",
		"http://127.0.0.1/v2/models/m?x=1":            "",
		"ftp://127.0.0.1/v2/models/m":                 "",
		"http://[::1%25eth0]/v2/models/m":             "http://[::1%25eth0]/v2/models/m",
		"http://metadata.google.internal/v2/models/m": "",
	} {
		got, err := ownServer(target)
		if got != want || (err == nil) != (want != "") || err != nil && pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%s: %q, %v; want %q", target, got, err, want)
		}
	}
}

// idx is a file of images of 2 by 2 bytes.
func idx(rows int) string {
	b := binary.BigEndian.AppendUint32(nil, 0x803)
	for _, n := range []int{rows, 2, 2} {
		b = binary.BigEndian.AppendUint32(b, uint32(n))
	}
	for i := range rows * 4 {
		b = append(b, byte(51*(i%6)))
	}
	return string(b)
}

// TestData reads rows of many kinds, and refuses those that do not fit.
func TestData(t *testing.T) {
	b := newBench(t)
	v, err := openModel(b.path("m.onnx"), "", perturbation{})
	if err != nil {
		t.Fatal(err)
	}
	texts := "a,b,c,d,class\n" + strings.Repeat("red,1,2,3,yes\nblue,1,2,4,no\n", 20)
	for name, tt := range map[string]struct {
		file string
		set  func(*Setting)
		want string // in the error; "ok": none
	}{
		"rows.csv":     {rowsCSV(50), nil, "ok"},
		"images":       {idx(20), nil, "ok"},
		"list.jsonl":   {strings.Repeat("[1,2,3,4]\n", 20), func(s *Setting) { s.Label = "" }, "ok"},
		"texts.csv":    {texts, nil, "ok"},
		"constant.csv": {"a,b,c,d\n" + strings.Repeat("1,1,1,1\n", 20), func(s *Setting) { s.Label = "" }, "ok"},
		"omit.csv":     {"a,b,id,c,d\n" + strings.Repeat("1,2,9,3,4\n", 20), func(s *Setting) { s.Label, s.Omit = "", []string{"id"} }, "ok"},
		"names.csv":    {"a,b,c,d,class\n1,2,9,3,tcp\n1,2,9,3,udp\n1,2,9,3,icmp\n1,2,9,3,gre\n", func(s *Setting) {}, "has 4 classes (gre, icmp, tcp, udp), and the model tells"},
		"wide.csv":     {"a,b,c,d,e\n" + strings.Repeat("1,2,9,3,4\n", 20), func(s *Setting) { s.Label = "" }, "has 5 columns for the model (a, b, c, d, e), and it takes 4"},
		"narrow.csv":   {"a,b,class\n" + strings.Repeat("1,2,0\n", 20), nil, "has 2 columns"},
		"nolabel.csv":  {"a,b,c,d\n" + strings.Repeat("1,2,3,4\n", 20), nil, "class"},
		"empty.csv":    {"", nil, "empty"},
		"header.csv":   {"a,b,c,d,class\n", nil, "no rows"},
		"two.csv":      {"a,b,c,d,class\n1,2,3,4,0\n1,2,3,5,0\n", nil, "too few"},
		"nan.csv":      {"a,b,c,d,class\n" + strings.Repeat("1,2,3,NaN,0\n", 20), nil, "NaN"},
		"other.test":   {rowsCSV(50), func(s *Setting) { s.Test = b.write("t.csv", "a,b,c\n1,2,3\n") }, "t.csv"},
		"pool.csv":     {rowsCSV(50), func(s *Setting) { s.Pool = b.write("p.csv", rowsCSV(5)) }, "ok"},
		"held.csv":     {rowsCSV(50), func(s *Setting) { s.Held = 0 }, "--held 0"},
	} {
		s := b.extract(nil).Setting
		s.Data = b.write(name, tt.file)
		if tt.set != nil {
			tt.set(&s)
		} else if name == "images" {
			s.Label = ""
		}
		if name == "images" {
			s.Label = ""
		}
		data, held, err := s.rows(v)
		switch {
		case tt.want == "ok" && err != nil, tt.want != "ok" && (pavise.KindOf(err) != pavise.Invalid || !strings.Contains(fmt.Sprint(err), tt.want)):
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		case tt.want == "ok" && (held.X.Rows == 0 || data.Rows.Cols != 4):
			t.Errorf("%s: %d held, %d columns", name, held.X.Rows, data.Rows.Cols)
		case name == "images" && slices.Max(data.Rows.Data) != 1:
			t.Errorf("the largest of bytes of 0 to 255 is %v", slices.Max(data.Rows.Data))
		}
	}
	raw := b.extract(nil).Setting
	raw.Data, raw.Raw, raw.Label = b.path("images"), true, ""
	if data, _, err := raw.rows(v); err != nil || slices.Max(data.Rows.Data) != 255 {
		t.Errorf("raw: %v", err)
	}
	for path, kind := range map[string]pavise.Kind{"": pavise.Invalid, b.dir: pavise.Invalid, b.path("absent"): pavise.NotFound} {
		raw.Data = path
		if _, _, err := raw.rows(v); pavise.KindOf(err) != kind {
			t.Errorf("%q: %v", path, err)
		}
	}
}

// TestTextsOfTheTestFile are coded as those of the data, whatever their order there.
func TestTextsOfTheTestFile(t *testing.T) {
	b := newBench(t)
	v, err := openModel(b.path("m.onnx"), "", perturbation{})
	if err != nil {
		t.Fatal(err)
	}
	s := b.extract(nil).Setting
	s.Data = b.write("d.csv", "a,b,c,d,class\n"+strings.Repeat("red,1,2,3,yes\nblue,1,2,4,no\ngreen,0,0,0,maybe\n", 10))
	s.Test = b.write("t.csv", "a,b,c,d,class\n"+strings.Repeat("red,1,2,3,yes\nviolet,1,2,3,yes\n", 5))
	_, held, err := s.rows(v)
	if err != nil {
		t.Fatal(err)
	}
	codes := map[float32]int{}
	for i := range held.X.Rows {
		codes[held.X.Row(i)[0]]++
		if held.Y[i] != 2 { // maybe, no, yes
			t.Errorf("the class yes is %d", held.Y[i])
		}
	}
	if codes[2] != 5 || codes[3] != 5 { // blue, green, red, and what is none of them
		t.Errorf("codes %v", codes)
	}
}

func TestDefences(t *testing.T) {
	for text, want := range map[string]string{
		"full":         "[0.7 0.2 0.1]",
		"round:0":      "[1 0 0]",
		"topk:1":       "[0.7 0 0]",
		"label":        "[1 0 0]",
		"modelguard:1": "",
	} {
		d, err := parseDefence(text)
		if err != nil {
			t.Fatal(err)
		}
		row := []float32{0.7, 0.2, 0.1}
		if d.change != nil && !d.change(row) {
			t.Errorf("%s: not done", text)
		}
		if got := fmt.Sprint(row); want != "" && got != want {
			t.Errorf("%s: %s", text, got)
		}
		if text == "modelguard:1" && (row[0] < row[1] || row[0] < row[2] || math.Abs(float64(row[0]+row[1]+row[2])-1) > 1e-5 || row[2] < 0.2) {
			t.Errorf("%s: %v", text, row)
		}
	}
	if d, _ := parseDefence("modelguard:1"); d.change([]float32{5, -3, 2}) {
		t.Error("scores that are no probabilities were guarded")
	}
	for _, text := range []string{"", "x", "modelguard:", "modelguard:0", "modelguard:3", "modelguard:NaN", "round:99", "topk:0"} {
		if _, err := parseDefence(text); text != "" && pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestCurve reads budgets off curves, and says where none can be read.
func TestCurve(t *testing.T) {
	b := newBench(t)
	k := &Curve{Setting: b.extract(nil).Setting, Attack: []string{"in-distribution", "equation-solving"}, Answers: []string{"scores", "top1", "lookup"}, Defence: []string{"full", "modelguard:1"}, Bound: 0.9}
	k.Budget = 300
	r, err := k.Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Curves) != 3+5 || len(r.Budgets) != 2 || r.Budgets[0].Reached == nil || !strings.Contains(r.Budgets[0].Words, "90 %") {
		t.Errorf("%+v", r)
	}
	var out strings.Builder
	if r.Print(&out); !strings.Contains(out.String(), caveat) || !strings.Contains(out.String(), "modelguard:1") {
		t.Error(out.String())
	}
	for name, change := range map[string]func(*Curve){
		"bound":   func(k *Curve) { k.Bound = 1 },
		"defence": func(k *Curve) { k.Defence = []string{"x"} },
		"attack":  func(k *Curve) { k.Attack = []string{"x"} },
		"answers": func(k *Curve) { k.Answers = []string{"x"} },
		"server":  func(k *Curve) { k.Target = "http://127.0.0.1:1/v2/models/m" },
	} {
		bad := *k
		change(&bad)
		if _, err := bad.Run(context.Background()); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	stop()
	if _, err := k.Run(ctx); pavise.KindOf(err) != pavise.Unavailable {
		t.Errorf("stopped: %v", err)
	}
}

// calibration is made of honest clients, whose rows have columns that hang together, and who
// are told scores, or the class alone.
func (b bench) calibration(scores bool) string {
	b.t.Helper()
	v, err := openModel(b.path("m.onnx"), "", perturbation{})
	if err != nil {
		b.t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(5, 5))
	var data strings.Builder
	data.WriteString("a,b,c,d\n")
	c, err := theft.Calibrate(func(yield func(*theft.Asked, error) bool) {
		for who := range 40 {
			rows := onnx.NewMatrix(300, 4)
			for i := range rows.Rows {
				at, side := rng.NormFloat64(), float64(1-2*rng.IntN(2))
				for j, w := range []float64{1, 2, -1, 0.5} {
					rows.Row(i)[j] = float32(w*at + 2*side + 0.2*rng.NormFloat64())
				}
				fmt.Fprintf(&data, "%g,%g,%g,%g\n", rows.Row(i)[0], rows.Row(i)[1], rows.Row(i)[2], rows.Row(i)[3])
			}
			said, err := v.compute(context.Background(), rows)
			if err != nil {
				b.t.Error(err)
				return
			}
			top := said.ArgMax()
			for i := range rows.Rows {
				a := &theft.Asked{Client: fmt.Sprint("client ", who), Input: long(rows.Row(i)), Class: top[i]}
				if scores {
					a.Scores = long(said.Row(i))
				}
				if !yield(a, nil) {
					return
				}
			}
		}
	}, 0.05, 1)
	if err != nil {
		b.t.Fatal(err)
	}
	text, err := c.Marshal()
	if err != nil {
		b.t.Fatal(err)
	}
	b.write("honest.csv", data.String())
	return b.write("calibration.json", string(text))
}

// TestRowsToDetection has the detectors look on: a thief who draws rows at random is
// found, whatever is done to the answers, and a run that was stopped is seen whole.
func TestRowsToDetection(t *testing.T) {
	b := newBench(t)
	file := b.calibration(true)
	watched := func(x *Extract) {
		x.Data, x.Label, x.Attack, x.Budget, x.Calibration = b.path("honest.csv"), "", "random", 600, file
	}
	plain := b.run(b.extract(watched)).Detection
	if plain == nil || plain.First == nil || plain.Rows != plain.First.Rows || plain.Rows > 300 || plain.Bound <= 0 {
		t.Fatalf("%+v", plain)
	}
	if d := b.run(b.extract(func(x *Extract) { watched(x); x.Defence = "label" })).Detection; d.Rows != plain.Rows {
		t.Errorf("behind a defence %d rows, without %d", d.Rows, plain.Rows)
	}
	labels := newBench(t)
	blind := labels.calibration(false)
	if d := labels.run(labels.extract(func(x *Extract) { watched(x); x.Data, x.Calibration = labels.path("honest.csv"), blind })).Detection; d.First == nil || d.Rows > 300 {
		t.Errorf("by classes alone: %+v", d)
	}
	if d := labels.run(labels.extract(func(x *Extract) {
		watched(x)
		x.Data, x.Calibration, x.Attack = labels.path("honest.csv"), blind, "in-distribution"
	})).Detection; d.First != nil {
		t.Errorf("honest rows, by classes alone: %+v", d)
	}
	text, _ := os.ReadFile(blind)
	named, err := theft.ParseCalibration(text)
	if err != nil {
		t.Fatal(err)
	}
	named.Groups[len(named.Groups)-1] = 1234567 // what a name of a class is counted as
	if text, err = named.Marshal(); err != nil {
		t.Fatal(err)
	}
	_, err = labels.extract(func(x *Extract) {
		watched(x)
		x.Data, x.Calibration = labels.path("honest.csv"), labels.write("named.json", string(text))
	}).Run(context.Background())
	if pavise.KindOf(err) != pavise.Invalid || !strings.Contains(err.Error(), "a class 1234567, and the model tells 3 classes apart") {
		t.Errorf("a calibration by classes with names: %v", err)
	}
	split := b.run(b.extract(func(x *Extract) { watched(x); x.Sybils = 3 })).Detection
	if split.First == nil || split.Identities != 3 || split.Rows <= split.First.Rows {
		t.Errorf("three identities: %+v", split)
	}
	var out strings.Builder
	if b.run(b.extract(watched)).Print(&out); !strings.Contains(out.String(), fmt.Sprintf("detected    after %d rows", plain.Rows)) {
		t.Error(out.String())
	}
	kept := func(x *Extract) { watched(x); x.State, x.Queries = b.path("s"), b.path("q") }
	ctx, stop := context.WithCancel(context.Background())
	x := b.extract(kept)
	x.Say = func(string) { stop() }
	if _, err := x.Run(ctx); pavise.KindOf(err) != pavise.Unavailable {
		t.Fatal(err)
	}
	if d := b.run(b.extract(kept)).Detection; d.Rows != plain.Rows || *d.First != *plain.First {
		t.Errorf("gone on with: %+v, whole: %+v", d, plain)
	}
	for want, change := range map[string]func(*Extract){
		"give --queries":                 func(x *Extract) { kept(x); x.Queries = "" },
		"before the defence is not kept": func(x *Extract) { kept(x); x.Defence = "label" },
		"is no calibration":              func(x *Extract) { watched(x); x.Calibration = b.path("rows.csv") },
		"the calibration":                func(x *Extract) { watched(x); x.Calibration = b.path("absent") },
	} {
		_, err := b.extract(change).Run(context.Background())
		e, ok := errors.AsType[*pavise.Error](err)
		if !ok || e.Kind != pavise.Invalid || !strings.Contains(e.Msg+e.Hint, want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	k := &Curve{Setting: b.extract(watched).Setting, Attack: []string{"random"}, Answers: []string{"top1"}, Defence: []string{"full"}, Bound: 0.9}
	curves, err := k.Run(context.Background())
	if err != nil || curves.Curves[0].Detection.Rows != plain.Rows {
		t.Errorf("%+v, %v", curves, err)
	}
}

// TestSettingsThatMakeNoSense are refused before anything is asked.
func TestSettingsThatMakeNoSense(t *testing.T) {
	b := newBench(t)
	for want, change := range map[string]func(*Extract){
		"there is no attack \"x\"":        func(x *Extract) { x.Attack = "x" },
		"a budget of 0 rows":              func(x *Extract) { x.Budget = 0 },
		"--repeat 0":                      func(x *Extract) { x.Repeat = 0 },
		"--sybils 0":                      func(x *Extract) { x.Sybils = 0 },
		"--dilute 0":                      func(x *Extract) { x.Dilute = 0 },
		"101 per cent":                    func(x *Extract) { x.Dilute = 101 },
		"--batch 0":                       func(x *Extract) { x.Batch = 0 },
		"there is no defence":             func(x *Extract) { x.Defence = "x" },
		"lookup undoes a defence":         func(x *Extract) { x.Answers = "lookup" },
		"are for a URL":                   func(x *Extract) { x.Reference = b.path("m.onnx") },
		"no output \"q\"":                 func(x *Extract) { x.Output = "q" },
		"not an ONNX model":               func(x *Extract) { x.Target = b.path("rows.csv") },
		"absent":                          func(x *Extract) { x.Target = b.path("absent") },
		"cannot be asked":                 func(x *Extract) { x.Target = "http://127.0.0.1:1/v2/models/m" },
		"the server defends itself":       func(x *Extract) { x.Target, x.Defence = "http://127.0.0.1:1/v2/models/m", "label" },
		"no state of an attack":           func(x *Extract) { x.State = b.path("rows.csv") },
		"write the queries":               func(x *Extract) { x.Queries = b.path("no/such/dir") },
		"keep the state":                  func(x *Extract) { x.State = b.path("no/such/dir") },
		"there is no token":               func(x *Extract) { x.Target, x.Tokens = "http://127.0.0.1:1/v2/models/m", b.write("none", "\n") },
		"works with scores":               func(x *Extract) { x.Attack, x.Answers = "tree-path-finding", "top1" },
		"only loopback addresses are att": func(x *Extract) { x.Target = "http://192.0.2.1/v2/models/m" },
	} {
		_, err := b.extract(change).Run(context.Background())
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
