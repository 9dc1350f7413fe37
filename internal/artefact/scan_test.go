package artefact_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/artefact"
)

// TestClean scans what is as it should be, made here.
func TestClean(t *testing.T) {
	tensor := p2(global("torch._utils", "_rebuild_tensor_v2") + "((" + short("storage") + global("torch", "FloatStorage") + short("0") + short("cpu") + "K\x04tQ" +
		"K\x00K\x04\x85K\x01\x85\x89" + global("collections", "OrderedDict") + ")RtR")
	for _, c := range []struct {
		name    string
		content []byte
	}{
		{"a.pkl", []byte(harmless)},
		{"python2.pkl", []byte(p2(global("copy_reg", "_reconstructor") + global("sklearn.svm._classes", "SVC") + global("__builtin__", "object") + "N\x87R}b"))},
		{"several.pkl", []byte(harmless + harmless)},
		{"model.pt", zipOf("a/data.pkl", []byte(tensor), "a/data/0", make([]byte, 16), "a/version", []byte("3\n"))},
		{"a.joblib", []byte(joblibArray(""))},
		{"a.npy", npy("<f4", "\x00\x00\x80\x3f")},
		{"m.onnx", onnxModel("", "")},
		{"functions.onnx", append(onnxModel("my.functions", ""), message(25, message(1, []byte("Evil")), message(10, []byte("my.functions")), message(7, message(4, []byte("Add"))))...)},
		{"saved_model.pb", savedModel("MatMul", true)},
		{"m.safetensors", safetensors(`{"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"__metadata__":{"format":"pt"}}  `, 16)},
		{"m.safetensors", named("encoder.nt.weight")},
		{"m.gguf", ggufOf("tokenizer.chat_template", "{% for m in messages %}{{ m['content'] | trim }}{% endfor %}")},
		{"m.keras", zipOf("config.json", []byte(`{"module":"keras","class_name":"Sequential","config":{"layers":[{"module":"keras.layers","class_name":"Dense"}]}}`))},
		{"README.md", []byte("content\nof a text\n")},
		{"vocab.txt", []byte("cat\ndog\nios\nandroid\n.\n")},
		{"config.json", []byte(`{"architectures":["BertModel"]}`)},
		{"chat_template.jinja", []byte("You may call Python: import os; x.__class__ { {{ messages[0]['content'] | trim }} and {% if a['}}'] %}def __init__{% endif %} {")},
		{"empty", nil},
	} {
		if got := scanned(t, c.name, c.content); got.Verdict != artefact.Clean {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}

// named is a tensor whose header begins like an import, up to the ends of lines in its numbers.
func named(name string) []byte {
	header := `{"` + name + `":{"dtype":"U8","shape":[64],"data_offsets":[0,64]}}`
	b := safetensors(header+strings.Repeat(" ", 256+0x63-len(header)), 64)
	copy(b[len(b)-64:], "\x01\n\x02\n")
	return b
}

// TestNumbersLikeAnything scans tensors whose numbers begin like other formats.
func TestNumbersLikeAnything(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	var members []any
	for _, begin := range []string{"\x80\x00", "\x80\x02", "\x80\x04", "\x78\x01", "\x78\x9c", "\x78\xda", "\x1f\x8b", "\x08\x03\x12", "BZ", "c", "(", "I", "]"} {
		for n := range 40 {
			b := []byte(begin)
			for range 16 << (n % 10) {
				b = append(b, byte(rng.Uint32()))
			}
			members = append(members, fmt.Sprintf("archive/data/%d", len(members)), b)
		}
	}
	if got := scanned(t, "model.pt", zipOf(members...)); got.Verdict != artefact.Clean {
		t.Errorf("%+v", got.Findings)
	}
}

// TestDirectory scans a directory with links in it: those that lead out are told, and none of
// them is followed. One that stays inside under another kind of name is looked at under it.
func TestDirectory(t *testing.T) {
	dir, outside := t.TempDir(), filepath.Join(t.TempDir(), "secret")
	for path, b := range map[string]string{filepath.Join(dir, "sub", "a.pkl"): system, filepath.Join(dir, "ok.pkl"): harmless, outside: "x"} {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for from, to := range map[string]string{"in": "ok.pkl", "out": outside, "nowhere": "absent"} {
		if err := os.Symlink(to, filepath.Join(dir, from)); err != nil {
			t.Fatal(err)
		}
	}
	report, err := (&artefact.Scan{Path: dir}).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var links []string
	for _, f := range report.Findings {
		if f.Rule == "link" {
			links = append(links, f.File)
		}
	}
	if report.Files != 3 || report.Verdict != artefact.Malicious || strings.Join(links, " ") != "out nowhere" {
		t.Errorf("%d files, links %v, %s", report.Files, links, report.Verdict)
	}
}

// TestONNXBesideItsData takes data beside a model, and not by way of a link.
func TestONNXBesideItsData(t *testing.T) {
	dir := t.TempDir()
	model, data := filepath.Join(dir, "m.onnx"), filepath.Join(dir, "w.bin")
	if err := os.WriteFile(model, onnxModel("", "w.bin"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, want := range []artefact.Severity{artefact.Unreadable, artefact.Clean, artefact.Suspicious} {
		switch want {
		case artefact.Clean:
			if err := os.WriteFile(data, make([]byte, 8), 0o600); err != nil {
				t.Fatal(err)
			}
		case artefact.Suspicious:
			if err := os.Remove(data); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink("/etc/hostname", data); err != nil {
				t.Fatal(err)
			}
		}
		report, err := (&artefact.Scan{Path: model}).Run(t.Context())
		if err != nil || report.Verdict != want {
			t.Errorf("%v %v, want %s", report, err, want)
		}
	}
}

// TestBomb unpacks no bomb, and holds little of it.
func TestBomb(t *testing.T) {
	if testing.Short() {
		t.Skip("hundreds of megabytes")
	}
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	zeros := make([]byte, 1<<20)
	for range 270 {
		w.Write(zeros)
	}
	w.Close()
	path := filepath.Join(t.TempDir(), "bomb.gz")
	if err := os.WriteFile(path, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	report, err := (&artefact.Scan{Path: path}).Run(t.Context())
	runtime.ReadMemStats(&after)
	if err != nil || report.Verdict != artefact.Suspicious || report.Findings[0].Rule != "archive.bomb" {
		t.Fatalf("%+v %v", report, err)
	}
	if held := after.TotalAlloc - before.TotalAlloc; held > 16<<20 {
		t.Errorf("%d bytes were taken", held)
	}
}

// TestOnTopOfEachOther scans archives that list one member 60,000 times, and 3,000 members
// that each go on to the end.
func TestOnTopOfEachOther(t *testing.T) {
	if testing.Short() {
		t.Skip("hundreds of megabytes")
	}
	one := zipOf("x.txt", make([]byte, 1<<16))
	out := stored("a", one)
	var directory []byte
	for range 60_000 {
		directory = append(directory, listed("a", one, 0)...)
	}
	same := scanned(t, "a.zip", ended(out, directory, 60_000))
	out, directory = nil, nil
	const size = 3000*31 + 1<<18
	for i := range 3000 {
		rest := make([]byte, size-len(out)-31)
		out = append(out, stored(string(rune('a'+i%26)), rest)[:31]...)
		directory = append(directory, listed(string(rune('a'+i%26)), rest, i*31)...)
	}
	nested := scanned(t, "a.zip", ended(append(out, make([]byte, size-len(out))...), directory, 3000))
	for _, got := range []*artefact.Report{same, nested} {
		if got.Verdict != artefact.Malicious || !slices.ContainsFunc(got.Findings, func(f artefact.Finding) bool { return f.Rule == "archive.overlap" }) {
			t.Errorf("%s: %+v", got.Verdict, got.Findings)
		}
	}
	if !slices.ContainsFunc(nested.Findings, func(f artefact.Finding) bool { return f.Rule == "archive.bomb" }) {
		t.Errorf("%+v", nested.Findings)
	}
}

// TestMemoryOfPickles follows a pickle that says it holds much, and one that grows its memo.
func TestMemoryOfPickles(t *testing.T) {
	huge := []byte("\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x0fx")
	loop := []byte("\x80\x04" + strings.Repeat("]\x94", 1<<18) + ".")
	itself := []byte("\x80\x04]\x94h\x00a0" + global("os", "system") + "h\x00\x85R0" + "h\x00\x85\x85R.")
	deep := []byte(strings.Repeat(joblibWrapper("O8", 3), 10000))
	fields := []byte("\x80\x03]q\x00(" + strings.Repeat("h\x00", 60) + "e0" + global("joblib.numpy_pickle", "NumpyArrayWrapper") + ")\x81}(X\x05\x00\x00\x00dtype" +
		global("numpy", "dtype") + "X\x02\x00\x00\x00V8\x85Rh\x00bub.")
	if got := scanned(t, "a.pkl", itself); got.Verdict != artefact.Malicious {
		t.Errorf("%+v", got)
	}
	if got := scanned(t, "a.pkl", deep); len(got.Findings) == 0 || !strings.Contains(got.Findings[0].Why, "without end") {
		t.Errorf("%+v", got)
	}
	for _, b := range [][]byte{huge, loop, deep, fields} {
		if got := scanned(t, "a.pkl", b); got.Verdict != artefact.Unreadable && got.Verdict != artefact.Clean {
			t.Errorf("%+v", got)
		}
	}
}

// TestNothingToLookAt is an error, and not a clean verdict.
func TestNothingToLookAt(t *testing.T) {
	dir := t.TempDir()
	for path, want := range map[string]pavise.Kind{filepath.Join(dir, "absent"): pavise.NotFound, dir: pavise.Invalid} {
		if _, err := (&artefact.Scan{Path: path}).Run(t.Context()); pavise.KindOf(err) != want {
			t.Errorf("%s: %v", path, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	path := filepath.Join(dir, "a")
	if err := os.WriteFile(path, []byte(system), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (&artefact.Scan{Path: path}).Run(ctx); err == nil {
		t.Error("a scan that was called off has a verdict")
	}
}

// TestEveryTruncation cuts an attack at every byte: once its call is there, it is found.
func TestEveryTruncation(t *testing.T) {
	whole := []byte(system + strings.Repeat("x", 20))
	at := bytes.IndexByte(whole, 'R') + 1
	for n := at; n <= len(whole); n++ {
		if got := scanned(t, "a.pkl", whole[:n]); got.Verdict != artefact.Malicious {
			t.Errorf("%d bytes: %s", n, got.Verdict)
		}
	}
}
