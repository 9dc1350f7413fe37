package artefact_test

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/pavise/pavise/internal/artefact"
)

// zero is a pickle of protocol 0, which begins like a text.
const zero = "cos\nsystem\n(S'id'\ntR."

// polyglots are files that are one thing to a scanner and a pickle to pickle.load.
func polyglots() []hostile {
	gguf := []byte("GGUF\x03\x00\x00\x00" + "x" + "C\x0d" + strings.Repeat("\x00", 13) + zero)
	tarred := tarOf(&tar.Header{Name: zero, Typeflag: tar.TypeReg}, nil)
	tensors := func(length int) []byte {
		header := `{"a":{"dtype":"U8","shape":[64],"data_offsets":[0,64]},"__metadata__":{"x":"`
		header += strings.Repeat("x", length-len(header)-3) + `"}}`
		b := safetensors(header, 64)
		copy(b[8+len(header):], "\n0"+zero)
		return b
	}
	return []hostile{
		{"GGUF that is a pickle", "m.gguf", gguf, artefact.Malicious, "pickle.call"},
		{"GGUF that is a pickle, in gzip", "m.gguf.gz", packGzip(gguf), artefact.Malicious, "pickle.call"},
		{"tar that is a pickle", "m.tar", tarred, artefact.Malicious, "pickle.call"},
		{"tar that is a pickle, in gzip", "m.tar.gz", packGzip(tarred), artefact.Malicious, "pickle.call"},
		{"safetensors that is a pickle", "m.safetensors", tensors(0x56 + 0x100), artefact.Malicious, "pickle.call"},
		{"safetensors that is a pickle behind a long line", "m.safetensors", tensors(0x56 + 0x20000), artefact.Malicious, "pickle.call"},
		{"pickle named .json", "model.json", []byte(zero), artefact.Malicious, "pickle.call"},
		{"nothing, and then a pickle", "weights", []byte("N." + zero), artefact.Malicious, "pickle.call"},
		{"two nothings, and then a pickle that breaks off", "weights", []byte("N.N." + zero[:len(zero)-1] + "\xff"), artefact.Malicious, "pickle.call"},
		{"PyTorch's old magic, and then a pickle", "m.pt", zipOf("archive/data/0", []byte("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."+system)), artefact.Malicious, "pickle.call"},
		{"behind PyTorch's five", "m.pth", []byte("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19." + strings.Repeat(harmless, 4) + system), artefact.Malicious, "pickle.call"},
		{"unknown call that breaks off", "weights", []byte("N.cmy_package\nrun\n(S'id'\ntR\xff"), artefact.Suspicious, "pickle.unknown"},
		{"memo that Python alone reads", "weights", []byte("Np+1_0\n0g10\n0" + zero), artefact.Malicious, "pickle.call"},
		{"more marks than are followed", "weights", []byte(strings.Repeat("(", 1<<20+1) + zero), artefact.Malicious, "pickle.broken"},
		{"more than is followed", "weights", []byte(strings.Repeat("N", 1<<20+1) + zero), artefact.Malicious, "pickle.broken"},
	}
}

// crowds hide one finding behind many.
func crowds() []hostile {
	var notes []any
	for i := range 64 {
		notes = append(notes, fmt.Sprintf("n%d.npy", i), npy("|O", harmless))
	}
	with := func(more ...any) []byte { return zipOf(append(notes[:len(notes):len(notes)], more...)...) }
	return []hostile{
		{"suspicious behind notes", "m.npz", with("z.pkl", imports("my_package", "run")), artefact.Suspicious, "pickle.unknown"},
		{"unreadable behind notes", "m.npz", with("z.7z", []byte("7z\xbc\xaf\x27\x1c\x00\x04")), artefact.Unreadable, "archive.unread"},
		{"bomb behind notes", "m.npz", with("z.zip", nested(12), "data.pkl", []byte(system)), artefact.Suspicious, "archive.bomb"},
		{"acts behind suspicions", "m.pkl", []byte(p4(manyUnknown(100) + call(stackGlobal("os", "system"), "id"))), artefact.Malicious, "pickle.call"},
	}
}

func manyUnknown(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(stackGlobal("my_package", fmt.Sprint("run", i)) + "0")
	}
	return b.String()
}

// callers are globals that call, load or set what they are given.
func callers() []hostile {
	// Bytes as protocol 2 has them: a text, and latin1.
	latin := "X" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(latin1(system))))) + latin1(system)
	encoded := global("_codecs", "encode") + latin + short("latin1") + "\x86R"
	return []hostile{
		{"calls by rebuilding", "a.pkl", []byte(p2(global("torch._tensor", "_rebuild_from_type_v2") + "(" + global("os", "system") + global("torch", "Tensor") + short("id") + "\x85}tR")), artefact.Malicious, "pickle.call"},
		{"calls an outcome by rebuilding", "a.pkl", []byte(p2(global("torch._tensor", "_rebuild_from_type_v2") + "(" + call(global("functools", "partial"), "x") + global("torch", "Tensor") + ")}tR")), artefact.Suspicious, "pickle.call"},
		{"loads bytes by rebuilding", "a.pkl", []byte(p2(global("torch._tensor", "_rebuild_from_type_v2") + "(" + global("torch.storage", "_load_from_bytes") + global("torch", "Tensor") + "C" + string(rune(len(system))) + system + "\x85}tR")), artefact.Malicious, "pickle.call"},
		{"hands a loader on", "a.pkl", []byte(p2(global("functools", "partial") + global("torch.storage", "_load_from_bytes") + "\x85R")), artefact.Suspicious, "pickle.handed"},
		{"loads what is encoded", "a.pkl", []byte(p2(global("torch.storage", "_load_from_bytes") + encoded + "\x85R")), artefact.Malicious, "pickle.call"},
		{"encoded pickle", "a.pkl", []byte(p2(encoded)), artefact.Malicious, "pickle.call"},
		{"pickle in bytes", "a.pkl", []byte("\x80\x03C" + string(rune(len(system))) + system + "."), artefact.Malicious, "pickle.call"},
		{"joblib of old, from a file", "a.joblib", []byte(p2(global("joblib.numpy_pickle", "NDArrayWrapper") + ")\x81}(" + short("filename") + short("x.npy") + short("allow_mmap") + "\x88ub")), artefact.Suspicious, "pickle.unknown"},
		{"joblib of old, packed", "a.joblib", []byte(p2(global("joblib.numpy_pickle", "ZNDArrayWrapper") + ")\x81}(" + short("filename") + short("x.npy") + "ub")), artefact.Suspicious, "pickle.unknown"},
		{"makes a class", "a.pkl", []byte(p2(global("builtins", "type") + short("X") + global("builtins", "object") + "\x85}\x87R")), artefact.Suspicious, "pickle.class"},
		{"gives a function a way to be called", "a.pkl", []byte(p2(global("functools", "partial") + global("math", "exp") + "\x85R(" + global("math", "exp") + ")N}" + short("__new__") + "Nstb")), artefact.Suspicious, "pickle.change"},
		{"gives it by a constructor", "a.pkl", []byte(p2(global("copyreg", "__newobj__") + global("functools", "partial") + global("math", "exp") + "\x86R(" + global("math", "exp") + ")N}" + short("__new__") + "Nstb")), artefact.Suspicious, "pickle.change"},
		{"reconstructs by an object", "a.pkl", []byte(p2(global("copyreg", "_reconstructor") + global("builtins", "object") + call(global("functools", "partial"), "x") + "N\x87R")), artefact.Suspicious, "pickle.call"},
		{"sets attributes", "a.pkl", []byte(p2(global("torch._utils", "_set_obj_state") + global("torch", "Tensor") + "}" + short("__add__") + "Ns\x86R")), artefact.Suspicious, "pickle.unknown"},
	}
}

func latin1(s string) string {
	var b strings.Builder
	for i := range len(s) {
		b.WriteRune(rune(s[i]))
	}
	return b.String()
}

// wrappers are arrays of joblib that two loaders read in two ways.
func wrappers() []hostile {
	wrapper := joblibWrapper("f8", 3)
	aligned := "X\x1b\x00\x00\x00numpy_array_alignment_bytes" + "K\x10"
	old := strings.Replace(wrapper, aligned, "", 1)
	twice := strings.Replace(wrapper, aligned, aligned+"X\x05\x00\x00\x00shapeK\x04\x85", 1)
	made := strings.Replace(wrapper, ")\x81}(", global("builtins", "object")+"N\x87R}(", 1)
	made = strings.Replace(made, global("joblib.numpy_pickle", "NumpyArrayWrapper"), global("copyreg", "_reconstructor")+global("joblib.numpy_pickle", "NumpyArrayWrapper"), 1)
	larger := strings.Replace(joblibWrapper("V8", 3), "\x85RX\x05\x00\x00\x00shape", "\x85R(K\x03"+short("|")+"NNNK\x10K\x01K\x10tbX\x05\x00\x00\x00shape", 1)
	return []hostile{
		{"joblib: a pickle for an array", "a.joblib", []byte(old + "0" + zero + "xx" + "."), artefact.Malicious, "pickle.call"},
		{"joblib: a pickle for a pad", "a.joblib", []byte(wrapper + "0" + zero + strings.Repeat("\xff", 48-len(zero)) + strings.Repeat("\x00", 24) + "."), artefact.Malicious, "joblib.array"},
		{"joblib: its pad is none", "a.joblib", []byte(wrapper + "\x02N0" + strings.Repeat("\x00", 24) + "."), artefact.Suspicious, "joblib.array"},
		{"joblib: other bytes for a pad", "a.joblib", []byte(wrapper + "\x02\x80\xfe" + strings.Repeat("\x00", 24) + "."), artefact.Suspicious, "joblib.array"},
		{"joblib: two shapes", "a.joblib", []byte(twice + "\x02\xff\xff" + strings.Repeat("\x00", 24) + "."), artefact.Suspicious, "joblib.array"},
		{"joblib: reconstructed", "a.joblib", []byte(made + "."), artefact.Suspicious, "joblib.array"},
		{"joblib: a type that grows", "a.joblib", []byte(larger + "\x02\xff\xff" + strings.Repeat("\x00", 24) + "."), artefact.Suspicious, "joblib.array"},
	}
}

// members are archives whose members are hidden by what they are said to be.
func members() []hostile {
	typed := func(flag byte) []byte {
		b := tarOf(&tar.Header{Name: "pickle", Typeflag: tar.TypeReg}, []byte(system))
		b[156] = flag
		return summed(b)
	}
	torch := zipOf("archive/data.pkl", []byte(system))
	binary.LittleEndian.PutUint16(torch[len(torch)-2:], 65535)
	torch = append(torch, bytes.Repeat([]byte("x"), 65535)...)
	return []hostile{
		{"tar of contiguous files", "m.tar", typed('7'), artefact.Malicious, "pickle.call"},
		{"tar of a type that there is not", "m.tar", typed('Q'), artefact.Malicious, "archive.type"},
		{"ZIP with a long comment behind something", "m.npy", append(npy("<f4", "\x00\x00\x80\x3f"), torch...), artefact.Malicious, "pickle.call"},
		{"ZIP with many ends behind something", "m.npy", append(npy("<f4", "\x00\x00\x80\x3f"), append(torch, bytes.Repeat([]byte("PK\x05\x06\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), 100)...)...), artefact.Malicious, "archive.appended"},
		{"ZIP with two directories", "m.pt", twoDirectories(), artefact.Malicious, "archive.directories"},
	}
}

// summed has the checksum of its first header anew.
func summed(b []byte) []byte {
	sum := 0
	copy(b[148:156], "        ")
	for _, c := range b[:512] {
		sum += int(c)
	}
	copy(b[148:156], fmt.Sprintf("%06o\x00 ", sum))
	return b
}

// twoDirectories is an archive whose large directory and small one list different members.
func twoDirectories() []byte {
	le := binary.LittleEndian
	evil := stored("evil.pkl", []byte(system))
	fine := stored("fine.pkl", []byte(harmless))
	out := append(bytes.Clone(evil), fine...)
	one, two := listed("fine.pkl", []byte(harmless), len(evil)), listed("evil.pkl", []byte(system), 0)
	small := len(out)
	out = append(out, two...)
	large := len(out)
	out = append(out, one...)
	where := len(out)
	out = append(out, "PK\x06\x06"...)
	out = append(out, make([]byte, 36)...)
	out = le.AppendUint64(out, uint64(len(one)))
	out = le.AppendUint64(out, uint64(large))
	out = append(out, "PK\x06\x07\x00\x00\x00\x00"...)
	out = le.AppendUint64(out, uint64(where))
	out = append(out, 1, 0, 0, 0)
	out = append(out, "PK\x05\x06\x00\x00\x00\x00\x01\x00\x01\x00"...)
	out = le.AppendUint32(out, uint32(len(two)))
	out = le.AppendUint32(out, uint32(small))
	return append(out, 0, 0)
}

// readings are graphs and configurations that one reader takes for something else.
func readings() []hostile {
	reads := message(1, message(1, []byte("n")), message(2, []byte("ReadFile")))
	inLibrary := message(2, message(1, message(3, message(1, []byte("n")), message(2, []byte("ReadFile")))))
	block := append(tarOf(&tar.Header{Name: "xxx", Typeflag: tar.TypeReg}, nil), make([]byte, 2051)...)[:2051]
	copy(block, "\x7a\x80\x10") // field 15, of 2048 bytes
	block = summed(block)
	userBlock := append(make([]byte, 512), "\x89HDF\r\n\x1a\n....{\"class_name\": \"Lambda\"}"...)
	all := []hostile{
		{"SavedModel that is a tar archive", "saved_model.pb", append(block, savedModel("ReadFile", false)...), artefact.Malicious, "tensorflow.op"},
		{"HDF5 behind a block", "m.h5", userBlock, artefact.Suspicious, "keras.lambda"},
		{"HDF5 behind a block, without its name", "model", userBlock, artefact.Suspicious, "keras.lambda"},
		{"SavedModel with an empty graph of ONNX", "saved_model.pb", append(savedModel("ReadFile", false), 0x3a, 0), artefact.Malicious, "tensorflow.op"},
		{"GraphDef with a library", "graph.pb", append(message(1, message(2, []byte("MatMul"))), inLibrary...), artefact.Malicious, "tensorflow.op"},
		{"MetaGraph", "model.meta", message(2, reads), artefact.Malicious, "tensorflow.op"},
		{"SavedModel damaged in a node", "saved_model.pb", append([]byte("\x08\x01"), message(2, message(2, message(1, []byte("\x12\xff"))))...), artefact.Unreadable, "protobuf"},
		{"graph as text", "graph.pbtxt", []byte("node { op: \"ReadFile\" }\n"), artefact.Unreadable, "protobuf"},
		{"JSON with NaN", "m.json", []byte(`{"x":NaN,"y":[-Infinity],"module":"os","class_name":"function","config":"system"}`), artefact.Malicious, "keras.module"},
		{"JSON that is none", "m.json", []byte(`{"x":1,,"module":"os","class_name":"function","config":"system"}`), artefact.Unreadable, "config"},
		{"JSON in UTF-16", "m.json", wide16(`{"module":"os","class_name":"function","config":"system"}`), artefact.Malicious, "keras.module"},
		{"JSON in UTF-32", "m.json", wide32(`{"module":"os","class_name":"function","config":"system"}`), artefact.Malicious, "keras.module"},
		{"JSON too deep", "m.json", []byte(`{"a":` + strings.Repeat("[", 300) + `{"module":"os"}` + strings.Repeat("]", 300) + `}`), artefact.Unreadable, "config"},
		{"list of templates", "tokenizer_config.json", []byte(`{"chat_template":[{"name":"default","template":"{{ x.__class__ }}"}]}`), artefact.Malicious, "template"},
		{"Keras function by its name", "m.json", []byte(`{"module":"keras.src.layers","class_name":"function","config":"get_file"}`), artefact.Malicious, "keras.module"},
		{"GGUF template too long", "m.gguf", ggufOf("tokenizer.chat_template", strings.Repeat(" ", 1<<20)+"{{ x.__class__ }}"), artefact.Unreadable, "template"},
		{"HDF5 Lambda with a space", "m.h5", []byte("\x89HDF\r\n\x1a\n....{\"class_name\" : \"Lambda\"}"), artefact.Suspicious, "keras.lambda"},
		{"HDF5 Lambda with an escape", "m.h5", []byte("\x89HDF\r\n\x1a\n....{\"class_name\": \"\\u004cambda\"}"), artefact.Suspicious, "keras.lambda"},
		{"TorchScript saves", "m.pt", zipOf("m/constants.pkl", []byte(harmless), "m/code/__torch__.py", []byte("def forward(self, x):\n  torch.save(x, \"/tmp/x\")\n")), artefact.Malicious, "torchscript"},
		{"TorchScript calls Python", "m.pt", zipOf("m/constants.pkl", []byte(harmless), "m/code/__torch__.py", []byte("def forward(self, x):\n  prim::PythonOp(x)\n")), artefact.Malicious, "torchscript"},
	}
	for _, op := range strings.Fields("DatasetToTFRecord CreateSummaryFileWriter WriteRawProtoSummary MergeV2Checkpoints SaveDataset TFRecordReader FixedLengthRecordReaderV2 LMDBReader TFRecordDataset SqlDataset DataServiceDataset") {
		all = append(all, hostile{"SavedModel with " + op, "saved_model.pb", savedModel(op, false), artefact.Malicious, "tensorflow.op"})
	}
	return all
}

func wide16(s string) (b []byte) {
	for _, u := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return b
}

func wide32(s string) (b []byte) {
	for _, r := range s {
		b = binary.BigEndian.AppendUint32(b, uint32(r))
	}
	return b
}

// reviewed are attacks that a review found a way through with.
func reviewed() []hostile {
	var all []hostile
	for _, some := range [][]hostile{polyglots(), crowds(), callers(), wrappers(), members(), readings()} {
		all = append(all, some...)
	}
	return all
}

// TestManyFindings holds no more of a pickle than is told, and puts no more into words.
func TestManyFindings(t *testing.T) {
	text := p2(strings.Repeat("(", 3) + strings.Repeat("]", 60) + "tq\x01" + strings.Repeat("h\x01", 60) + "tq\x02" + strings.Repeat("h\x02", 60) + "tq\x03" +
		global("os", "system") + "q\x04" + strings.Repeat("h\x04h\x03\x850h\x04h\x03R0", 200_000))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began := len(text)
	got := scanned(t, "a.pkl", []byte(text))
	runtime.ReadMemStats(&after)
	if taken := after.TotalAlloc - before.TotalAlloc; got.Verdict != artefact.Malicious || len(got.Findings) > 64 || taken > 160<<20 {
		t.Errorf("%s, %d findings, %d bytes were taken for %d", got.Verdict, len(got.Findings), taken, began)
	}
}

// TestXZDictionary gives a reader no more memory than a preset takes, whatever the file says.
func TestXZDictionary(t *testing.T) {
	b := packXZ([]byte(system))
	b[bytes.Index(b, []byte("\x21\x01"))+2] = 40 // 4 GiB
	if got := scanned(t, "a.xz", b); got.Verdict != artefact.Unreadable || got.Findings[0].Rule != "archive.unread" {
		t.Errorf("%+v", got)
	}
}

// TestLinksByName looks at a link by its own name, and at a directory by way of a link.
func TestLinksByName(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "model")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "weights"), []byte{0x12, 0xff, 1}, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("weights", filepath.Join(dir, "model.onnx")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("model", dir+"-link"); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, dir + "-link"} {
		report, err := (&artefact.Scan{Path: path}).Run(t.Context())
		if err != nil || report.Verdict != artefact.Unreadable || report.Findings[0].File != "model.onnx" {
			t.Errorf("%s: %+v %v", path, report, err)
		}
	}
}
