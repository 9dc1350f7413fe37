package artefact_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/pavise/pavise/internal/artefact"
)

// A hostile file, what is to be said of it, and by which rule.
type hostile struct {
	name, file string
	content    []byte
	want       artefact.Severity
	rule       string
}

// The parts that pickles are put together from.
func global(module, name string) string { return "c" + module + "\n" + name + "\n" }
func short(s string) string             { return "\x8c" + string(rune(len(s))) + s }
func stackGlobal(module, name string) string {
	return short(module) + "\x94" + short(name) + "\x94\x93"
}
func call(f, arg string) string { return f + short(arg) + "\x85R" }
func p4(body string) string     { return "\x80\x04" + body + "." }
func p2(body string) string     { return "\x80\x02" + body + "." }

// system is the least that does harm.
var system = p2(call(global("os", "system"), "id"))

// harmless is a pickle that does nothing.
var harmless = p2("}q\x00" + short("a") + "K\x01s")

func imports(module, name string) []byte { return []byte(p4(call(stackGlobal(module, name), "x"))) }

// picklesThatAct import what acts on the machine, by every way there is.
func picklesThatAct() (all []hostile) {
	for _, g := range [][2]string{
		{"os", "system"}, {"posix", "system"}, {"nt", "system"}, {"subprocess", "Popen"}, {"subprocess", "check_output"}, {"builtins", "eval"},
		{"builtins", "exec"}, {"builtins", "__import__"}, {"builtins", "getattr"}, {"builtins", "compile"}, {"builtins", "open"}, {"importlib", "import_module"},
		{"runpy", "run_path"}, {"runpy", "_run_code"}, {"socket", "create_connection"}, {"webbrowser", "open"}, {"pip", "main"}, {"pip._internal.cli.main", "main"},
		{"urllib.request", "urlopen"}, {"requests.api", "get"}, {"shutil", "rmtree"}, {"sys", "exit"}, {"pty", "spawn"}, {"ctypes", "CDLL"}, {"code", "InteractiveInterpreter"},
		{"timeit", "timeit"}, {"pdb", "run"}, {"bdb", "Bdb.run"}, {"cProfile", "run"}, {"profile", "Profile.runctx"}, {"trace", "Trace.run"}, {"doctest", "debug_script"},
		{"asyncio.unix_events", "_UnixSubprocessTransport._start"}, {"lib2to3.pgen2.pgen", "ParserGenerator.make_label"}, {"idlelib.pyshell", "ModifiedInterpreter.runcode"},
		{"ensurepip", "_run_pip"}, {"logging.config", "_resolve"}, {"multiprocessing.util", "spawnv_passfds"}, {"types", "FunctionType"}, {"types", "CodeType"},
		{"marshal", "loads"}, {"pickle", "loads"}, {"_pickle", "loads"}, {"dill", "loads"}, {"cloudpickle.cloudpickle", "_make_function"}, {"operator", "attrgetter"},
		{"operator", "methodcaller"}, {"functools", "reduce"}, {"linecache", "getline"}, {"torch", "load"}, {"torch.hub", "load"}, {"torch._inductor.codecache", "compile_file"},
		{"torch.utils.collect_env", "run"}, {"torch.utils.bottleneck.__main__", "run_cprofile"}, {"torch.jit.unsupported_tensor_ops", "execWrapper"},
		{"torch._dynamo.guards", "GuardBuilder.get"}, {"torch.serialization", "os.system"}, {"torch", "os.system"}, {"numpy.testing._private.utils", "runstring"},
		{"numpy.f2py.crackfortran", "getlincoef"}, {"numpy", "os.system"}, {"numpy.lib.npyio", "load"}, {"joblib", "load"}, {"pandas", "read_pickle"}, {"pandas", "eval"},
		{"sklearn.utils._testing", "os.system"}, {"sqlite3", "connect"}, {"smtplib", "SMTP"}, {"http.client", "HTTPSConnection"}, {"copyreg", "add_extension"},
		{"builtins", "object.__subclasses__"}, {"site", "main"}, {"zipimport", "zipimporter"}, {"uuid", "_get_command_stdout"}, {"io", "open"}, {"_io", "FileIO"}, {"nltk", "download"},
	} {
		all = append(all, hostile{"imports " + g[0] + "." + g[1], "model.pkl", imports(g[0], g[1]), artefact.Malicious, "pickle.global"})
	}
	return all
}

// picklesThatHide do so by forms that scanners have missed.
func picklesThatHide() []hostile {
	memoised := short("os") + "\x94" + short("junk") + "0" + short("system") + "\x94" + "00" + "h\x00h\x01\x93" + short("id") + "\x85R"
	many := strings.Repeat("N", 5000)
	wrapped := []byte(p4(call(stackGlobal("torch.storage", "_load_from_bytes"), "") + "0" + stackGlobal("torch.storage", "_load_from_bytes") + "C" + string(rune(len(system))) + system + "\x85R"))
	wide := p2(call(global("os", "system"), "id"))
	return []hostile{
		{"protocol 0", "a.pkl", []byte("cos\nsystem\n(S'id'\ntR."), artefact.Malicious, "pickle.call"},
		{"protocol 1", "a.pkl", []byte("cposix\nsystem\nq\x00(U\x02idtR."), artefact.Malicious, "pickle.call"},
		{"INST", "a.pkl", []byte("(S'id'\nios\nsystem\n."), artefact.Malicious, "pickle.call"},
		{"OBJ", "a.pkl", []byte("(cos\nsystem\nS'id'\no."), artefact.Malicious, "pickle.call"},
		{"NEWOBJ", "a.pkl", []byte(p2(global("subprocess", "Popen") + short("id") + "\x85\x81")), artefact.Malicious, "pickle.call"},
		{"NEWOBJ_EX", "a.pkl", []byte(p4(stackGlobal("subprocess", "Popen") + short("id") + "\x85}\x92")), artefact.Malicious, "pickle.call"},
		{"names from the memo", "a.pkl", []byte(p4(memoised)), artefact.Malicious, "pickle.call"},
		{"name by a call", "a.pkl", []byte(p4(short("os") + stackGlobal("builtins", "str") + short("system") + "\x85R" + "\x93" + short("id") + "\x85R")), artefact.Malicious, "pickle.hidden"},
		{"names of Python 2", "a.pkl", []byte(p2(call(global("__builtin__", "eval"), "1"))), artefact.Malicious, "pickle.call"},
		{"network of Python 2", "a.pkl", []byte(p2(call(global("urllib2", "urlopen"), "http://198.51.100.7"))), artefact.Malicious, "pickle.call"},
		{"commands of Python 2", "a.pkl", []byte(p2(call(global("commands", "getoutput"), "id"))), artefact.Malicious, "pickle.call"},
		{"escaped names", "a.pkl", []byte("\x80\x04V\\u006fs\nVsystem\n\x93S'id'\n\x85R."), artefact.Malicious, "pickle.call"},
		{"extension", "a.pkl", []byte(p2("\x82\x01" + short("x") + "\x85R")), artefact.Suspicious, "pickle.extension"},
		{"calls an outcome", "a.pkl", []byte(p2(call(global("functools", "partial"), "x") + short("y") + "\x85R")), artefact.Suspicious, "pickle.call"},
		{"unknown", "a.pkl", imports("my_package.layers", "Layer"), artefact.Suspicious, "pickle.unknown"},
		{"script's own class", "a.pkl", imports("__main__", "Model"), artefact.Suspicious, "pickle.unknown"},
		{"changes a class", "a.pkl", []byte(p2(global("torch.nn.modules.linear", "Linear") + "}" + short("forward") + "Nsb")), artefact.Suspicious, "pickle.change"},
		{"codec", "a.pkl", []byte(p2(global("_codecs", "encode") + short("flfgrz") + short("rot13") + "\x86R")), artefact.Suspicious, "pickle.codec"},
		{"no STOP", "a.pkl", []byte("\x80\x02" + call(global("os", "system"), "id")), artefact.Malicious, "pickle.call"},
		{"unknown opcode behind the call", "a.pkl", []byte("\x80\x02" + call(global("os", "system"), "id") + "\xff\xff"), artefact.Malicious, "pickle.call"},
		{"empty stack behind the call", "a.pkl", []byte("\x80\x02" + call(global("os", "system"), "id") + "000."), artefact.Malicious, "pickle.call"},
		{"behind a broken one", "a.pkl", []byte("\x80\x02\xff" + system), artefact.Malicious, "pickle.hidden"},
		{"second of two", "a.pkl", []byte(harmless + system), artefact.Malicious, "pickle.call"},
		{"seventh, of protocol 0", "a.pkl", []byte(strings.Repeat(harmless, 6) + "cos\nsystem\n(S'id'\ntR."), artefact.Malicious, "pickle.call"},
		{"behind many opcodes", "a.pkl", []byte(p2(many + call(global("os", "system"), "id"))), artefact.Malicious, "pickle.call"},
		{"no extension", "weights", []byte(system), artefact.Malicious, "pickle.call"},
		{"named .txt", "readme.txt", []byte(system), artefact.Malicious, "pickle.call"},
		{"named .txt, protocol 0", "readme.txt", []byte("cos\nsystem\n(S'id'\ntR."), artefact.Malicious, "pickle.call"},
		{"named .safetensors", "model.safetensors", []byte(harmless), artefact.Suspicious, "name"},
		{"tail", "a.pkl", []byte(harmless + "\x00\x01\x02hidden"), artefact.Suspicious, "pickle.tail"},
		{"loaded from bytes", "a.pkl", wrapped, artefact.Malicious, "pickle.call"},
		{"gzip", "a.pkl.gz", packGzip([]byte(wide)), artefact.Malicious, "pickle.call"},
		{"zlib", "a.joblib", packZlib([]byte(wide)), artefact.Malicious, "pickle.call"},
		{"xz", "a.joblib", packXZ([]byte(wide)), artefact.Malicious, "pickle.call"},
		{"lzma", "a.joblib", packLZMA([]byte(wide)), artefact.Malicious, "pickle.call"},
		{"bzip2", "a.joblib", bzip2OfSystem, artefact.Malicious, "pickle.call"},
		{"gzip in gzip", "x", packGzip(packGzip([]byte(wide))), artefact.Malicious, "pickle.call"},
		{"gzip cut off", "x", packGzip(append([]byte(wide), bytes.Repeat([]byte{0x55, 0x13}, 9000)...))[:60], artefact.Malicious, "pickle.call"},
		{"joblib: object array inside", "a.joblib", []byte(joblibObjects(system)), artefact.Malicious, "pickle.call"},
		{"joblib: behind an array", "a.joblib", []byte(joblibArray(call(global("os", "system"), "id"))), artefact.Malicious, "pickle.call"},
		{"joblib: array longer than the file", "a.joblib", []byte(joblibArray("")[:160]), artefact.Unreadable, "pickle.broken"},
		{"numpy objects", "a.npy", npy("|O", system), artefact.Malicious, "pickle.call"},
		{"numpy structured objects", "a.npy", npy("[('x', '<f4'), ('y', 'O')]", system), artefact.Malicious, "pickle.call"},
		{"npz", "a.npz", zipOf("arr_0.npy", npy("|O", system)), artefact.Malicious, "pickle.call"},
	}
}

// archives hold what acts, or are attacks themselves.
func archives() []hostile {
	torch := zipOf("archive/data.pkl", []byte(system), "archive/version", []byte("3\n"), "archive/data/0", make([]byte, 64))
	badSum := bytes.Replace(torch, crc([]byte(system)), []byte("\x00\x11\x22\x33"), 2)
	encrypted := bytes.Clone(torch)
	encrypted[bytes.Index(encrypted, []byte("PK\x01\x02"))+8] |= 1
	otherName := bytes.Replace(torch, []byte("archive/data.pkl"), []byte("archive/data.txt"), 1)
	end := bytes.LastIndex(torch, []byte("PK\x05\x06"))
	hidden := append(bytes.Clone(stored("evil.pkl", []byte(system))), zipOf("ok.txt", []byte("ok"))...)
	return []hostile{
		{"PyTorch", "model.pt", torch, artefact.Malicious, "pickle.call"},
		{"PyTorch, named .bin", "pytorch_model.bin", torch, artefact.Malicious, "pickle.call"},
		{"PyTorch, deflated", "model.pth", deflated("a/data.pkl", []byte(system)), artefact.Malicious, "pickle.call"},
		{"pickle with another name in it", "model.pt", zipOf("archive/data/7", []byte(system)), artefact.Malicious, "pickle.call"},
		{"bad checksum", "model.pt", badSum, artefact.Malicious, "pickle.call"},
		{"bad checksum alone", "model.pt", bytes.Replace(zipOf("x.pkl", []byte(harmless)), crc([]byte(harmless)), []byte("\x00\x11\x22\x33"), 2), artefact.Suspicious, "archive.checksum"},
		{"encrypted by its directory alone", "model.pt", encrypted, artefact.Malicious, "pickle.call"},
		{"flag alone", "model.pt", flagged(zipOf("x.txt", []byte("x"))), artefact.Suspicious, "archive.flags"},
		{"two names", "model.pt", otherName, artefact.Malicious, "archive.names"},
		{"no directory", "model.pt", torch[:end-60], artefact.Malicious, "pickle.call"},
		{"not in the directory", "model.pt", hidden, artefact.Malicious, "pickle.call"},
		{"behind another file", "model.npy", append(npy("<f4", "\x00\x00\x80\x3f"), torch...), artefact.Malicious, "pickle.call"},
		{"ZIP behind a pickle", "model.pkl", append([]byte(harmless), torch...), artefact.Malicious, "pickle.call"},
		{"ZIP in ZIP", "model.zip", zipOf("inner.zip", torch), artefact.Malicious, "pickle.call"},
		{"too many archives", "model.zip", nested(12), artefact.Suspicious, "archive.bomb"},
		{"climbs out", "model.zip", zipOf("../../etc/cron.d/x", []byte("x")), artefact.Malicious, "archive.traversal"},
		{"climbs out from inside", "model.zip", zipOf("a/../../x", []byte("x")), artefact.Malicious, "archive.traversal"},
		{"climbs out at its end", "model.zip", zipOf("a/..", []byte("x")), artefact.Malicious, "archive.traversal"},
		{"absolute", "model.zip", zipOf("/etc/passwd", []byte("x")), artefact.Malicious, "archive.traversal"},
		{"backslashes", "model.zip", zipOf(`..\..\x`, []byte("x")), artefact.Malicious, "archive.traversal"},
		{"NUL in a name", "model.zip", zipOf("safe.txt\x00.pkl", []byte("x")), artefact.Malicious, "archive.traversal"},
		{"twice", "model.zip", zipOf("a.txt", []byte("x"), "a.txt", []byte("y")), artefact.Suspicious, "archive.twice"},
		{"overlapping", "bomb.zip", overlapping(), artefact.Malicious, "archive.overlap"},
		{"tar", "model.tar", tarOf(&tar.Header{Name: "pickle", Typeflag: tar.TypeReg}, []byte(system)), artefact.Malicious, "pickle.call"},
		{"tar.gz", "model.tar.gz", packGzip(tarOf(&tar.Header{Name: "pickle", Typeflag: tar.TypeReg}, []byte(system))), artefact.Malicious, "pickle.call"},
		{"tar climbs out", "model.nemo", tarOf(&tar.Header{Name: "../../x", Typeflag: tar.TypeReg}, []byte("x")), artefact.Malicious, "archive.traversal"},
		{"tar link", "model.tar", tarOf(&tar.Header{Name: "x", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}, nil), artefact.Malicious, "archive.link"},
		{"tar device", "model.tar", tarOf(&tar.Header{Name: "x", Typeflag: tar.TypeFifo}, nil), artefact.Suspicious, "archive.device"},
		{"7-Zip", "model.pt", []byte("7z\xbc\xaf\x27\x1c\x00\x04"), artefact.Unreadable, "archive.unread"},
		{"program", "libx.so", []byte("\x7fELF\x02\x01\x01"), artefact.Suspicious, "program"},
	}
}

// graphs are models that are no pickles.
func graphs() []hostile {
	lambda := base64.StdEncoding.EncodeToString([]byte("\xe3\x01\x00\x00os\x00system\x00"))
	return []hostile{
		{"Keras Lambda", "m.keras", zipOf("config.json", []byte(`{"class_name":"Functional","config":{"layers":[{"class_name":"Lambda","config":{"function":{"class_name":"__lambda__","config":{"code":"`+lambda+`"}}}}]}}`)), artefact.Malicious, "keras.lambda"},
		{"Keras Lambda of old", "m.json", []byte(`{"class_name":"Lambda","config":{"function":["` + lambda + `",null,null]}}`), artefact.Malicious, "keras.lambda"},
		{"Keras Lambda by name", "m.json", []byte(`{"class_name":"Lambda","config":{"function":"relu"}}`), artefact.Suspicious, "keras.lambda"},
		{"Keras module", "m.keras", zipOf("config.json", []byte(`{"module":"builtins","class_name":"function","config":"exec"}`)), artefact.Malicious, "keras.module"},
		{"Keras module os", "m.keras", zipOf("config.json", []byte(`{"module":"os","class_name":"function","config":"system"}`)), artefact.Malicious, "keras.module"},
		{"Keras fetches", "m.keras", zipOf("config.json", []byte(`{"module":"keras.utils","class_name":"function","config":"get_file"}`)), artefact.Malicious, "keras.module"},
		{"Keras wraps PyTorch", "m.keras", zipOf("config.json", []byte(`{"module":"keras.layers","class_name":"TorchModuleWrapper"}`)), artefact.Malicious, "keras.torch"},
		{"HDF5 Lambda", "m.h5", []byte("\x89HDF\r\n\x1a\n....{\"class_name\": \"Lambda\", \"config\": {}}...."), artefact.Suspicious, "keras.lambda"},
		{"SavedModel reads", "saved_model.pb", savedModel("ReadFile", false), artefact.Malicious, "tensorflow.op"},
		{"SavedModel writes in a function", "saved_model.pb", savedModel("WriteFile", true), artefact.Malicious, "tensorflow.op"},
		{"SavedModel calls Python", "saved_model.pb", savedModel("PyFunc", false), artefact.Malicious, "tensorflow.op"},
		{"ONNX climbs out", "m.onnx", onnxModel("", "../../../etc/passwd"), artefact.Malicious, "onnx.external"},
		{"ONNX absolute", "m.onnx", onnxModel("", "/etc/passwd"), artefact.Malicious, "onnx.external"},
		{"ONNX drive", "m.onnx", onnxModel("", `C:\secret`), artefact.Malicious, "onnx.external"},
		{"ONNX address", "m.onnx", onnxModel("", "http://198.51.100.7/x"), artefact.Malicious, "onnx.external"},
		{"ONNX without its name", "model", onnxModel("", "../x"), artefact.Malicious, "onnx.external"},
		{"ONNX operators of its own", "m.onnx", onnxModel("evil.ops", ""), artefact.Suspicious, "onnx.domain"},
		{"ONNX in a subgraph", "m.onnx", append([]byte("\x08\x08"), message(7, message(1, message(4, []byte("If")), message(5, message(6, onnxGraph("evil.ops", "")))))...), artefact.Suspicious, "onnx.domain"},
		{"ONNX in a function", "m.onnx", append([]byte("\x08\x08"), append(message(7, onnxGraph("", "")), message(25, message(7, message(4, []byte("PyOp"))))...)...), artefact.Malicious, "onnx.python"},
		{"ONNX in an attribute", "m.onnx", append([]byte("\x08\x08"), message(7, message(1, message(4, []byte("Constant")), message(5, message(5, message(13, message(1, []byte("location")), message(2, []byte("/x")))))))...), artefact.Malicious, "onnx.external"},
		{"ONNX external keys", "m.onnx", append([]byte("\x08\x08"), message(7, message(5, message(13, message(1, []byte("__class__")), message(2, []byte("x")))))...), artefact.Suspicious, "onnx.external"},
		{"ONNX data absent", "m.onnx", onnxModel("", "weights.bin"), artefact.Unreadable, "onnx.external"},
		{"ONNX damaged", "m.onnx", onnxModel("", "weights.bin")[:20], artefact.Unreadable, "protobuf"},
		{"safetensors twice", "m.safetensors", safetensors(`{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"I8","shape":[0],"data_offsets":[0,0]}}`, 0), artefact.Suspicious, "safetensors.header"},
		{"safetensors overlap", "m.safetensors", safetensors(`{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}}`, 6), artefact.Suspicious, "safetensors.header"},
		{"safetensors gap", "m.safetensors", safetensors(`{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[8,12]}}`, 12), artefact.Suspicious, "safetensors.header"},
		{"safetensors tail", "m.safetensors", safetensors(`{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}`, 99), artefact.Suspicious, "safetensors.header"},
		{"safetensors shape", "m.safetensors", safetensors(`{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,4]}}`, 4), artefact.Suspicious, "safetensors.header"},
		{"safetensors type", "m.safetensors", safetensors(`{"a":{"dtype":"OBJ","shape":[4],"data_offsets":[0,4]}}`, 4), artefact.Suspicious, "safetensors.header"},
		{"safetensors beyond numbers", "m.safetensors", safetensors(`{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,4]}}`, 4), artefact.Suspicious, "safetensors.header"},
		{"safetensors cut off", "m.safetensors", safetensors(`{"a":{"dtype":"U8","shape":[40],"data_offsets":[0,40]}}`, 4), artefact.Unreadable, "safetensors.header"},
		{"safetensors, a length beyond it", "m.safetensors", []byte("\xff\xff\xff\x00\x00\x00\x00\x00{\"a\":1}"), artefact.Suspicious, "safetensors.header"},
		{"GGUF template", "m.gguf", ggufOf("tokenizer.chat_template", "{{ ''.__class__.__mro__[1].__subclasses__() }}"), artefact.Malicious, "template"},
		{"GGUF template by attr", "m.gguf", ggufOf("tokenizer.chat_template.tool", "{{ x|attr('a') }}"), artefact.Malicious, "template"},
		{"template behind quotes", "chat_template.jinja", []byte(`{ {{ "}}" ~ x.__class__ }}`), artefact.Malicious, "template"},
		{"template that never closes", "chat_template.jinja", []byte(`{{ '\' }} ' ~ x.__class__`), artefact.Malicious, "template"},
		{"template that includes", "chat_template.jinja", []byte(`text {%- include '/etc/passwd' %}`), artefact.Malicious, "template"},
		{"tokenizer's template", "tokenizer_config.json", []byte(`{"chat_template":"{{ cycler.__init__.__globals__.os.popen('id') }}"}`), artefact.Malicious, "template"},
		{"GGUF, tensors that are not there", "m.gguf", append(append([]byte("GGUF\x03\x00\x00\x00"), "\x05\x00\x00\x00\x00\x00\x00\x00"...), make([]byte, 8)...), artefact.Suspicious, "gguf.header"},
		{"GGUF damaged", "m.gguf", ggufOf("tokenizer.chat_template", "x")[:40], artefact.Unreadable, "gguf.header"},
	}
}

// TestHostile scans files that are attacks, each made here.
func TestHostile(t *testing.T) {
	all := append(append(append(append(picklesThatAct(), picklesThatHide()...), archives()...), graphs()...), append(reviewed(), states()...)...)
	if len(all) < 80 {
		t.Fatalf("only %d", len(all))
	}
	for _, h := range all {
		t.Run(h.name, func(t *testing.T) {
			got := scanned(t, h.file, h.content)
			if got.Verdict != h.want {
				t.Errorf("verdict %s, want %s: %+v", got.Verdict, h.want, got.Findings)
			}
			for _, f := range got.Findings {
				if f.Rule == h.rule {
					if f.Why == "" || f.Next == "" || f.File != h.file {
						t.Errorf("a finding without words: %+v", f)
					}
					return
				}
			}
			t.Errorf("nothing by rule %s: %+v", h.rule, got.Findings)
		})
	}
}

func scanned(t testing.TB, name string, content []byte) *artefact.Report {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	report, err := (&artefact.Scan{Path: path}).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	report.Print(io.Discard)
	return report
}

func packGzip(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(b)
	w.Close()
	return out.Bytes()
}

func packZlib(b []byte) []byte {
	var out bytes.Buffer
	w := zlib.NewWriter(&out)
	w.Write(b)
	w.Close()
	return out.Bytes()
}

func packXZ(b []byte) []byte {
	var out bytes.Buffer
	w, err := xz.NewWriter(&out)
	if err != nil {
		panic(err)
	}
	w.Write(b)
	w.Close()
	return out.Bytes()
}

func packLZMA(b []byte) []byte {
	var out bytes.Buffer
	w, err := lzma.NewWriter(&out)
	if err != nil {
		panic(err)
	}
	w.Write(b)
	w.Close()
	return out.Bytes()
}

// joblibWrapper begins the wrapper of an array, up to what stands behind its BUILD.
func joblibWrapper(dtype string, n int) string {
	return "\x80\x03" + global("joblib.numpy_pickle", "NumpyArrayWrapper") + ")\x81}(" + "X\x05\x00\x00\x00dtype" + global("numpy", "dtype") +
		"X\x02\x00\x00\x00" + dtype + "\x85R" + "X\x05\x00\x00\x00shape" + "K" + string(rune(n)) + "\x85" + "X\x05\x00\x00\x00order" + "X\x01\x00\x00\x00C" +
		"X\x1b\x00\x00\x00numpy_array_alignment_bytes" + "K\x10" + "ub"
}

func joblibArray(behind string) string {
	return joblibWrapper("f8", 3) + "\x02\xff\xff" + strings.Repeat("\xff", 24) + behind + "."
}

func joblibObjects(inside string) string { return joblibWrapper("O8", 3) + inside + "." }

func npy(descr, content string) []byte {
	if !strings.HasPrefix(descr, "[") {
		descr = "'" + descr + "'"
	}
	header := "{'descr': " + descr + ", 'fortran_order': False, 'shape': (1,), }\n"
	return []byte("\x93NUMPY\x01\x00" + string([]byte{byte(len(header)), 0}) + header + content)
}

func crc(b []byte) []byte { return binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE(b)) }

// stored is a member with its local header, and no directory.
func stored(name string, b []byte) []byte {
	h := []byte("PK\x03\x04\x14\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	h = append(h, crc(b)...)
	h = binary.LittleEndian.AppendUint32(h, uint32(len(b)))
	h = binary.LittleEndian.AppendUint32(h, uint32(len(b)))
	h = binary.LittleEndian.AppendUint16(h, uint16(len(name)))
	return append(append(append(h, 0, 0), name...), b...)
}

func listed(name string, b []byte, at int) []byte {
	h := []byte("PK\x01\x02\x14\x00\x14\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	h = append(h, crc(b)...)
	h = binary.LittleEndian.AppendUint32(h, uint32(len(b)))
	h = binary.LittleEndian.AppendUint32(h, uint32(len(b)))
	h = binary.LittleEndian.AppendUint16(h, uint16(len(name)))
	h = append(h, make([]byte, 12)...)
	h = binary.LittleEndian.AppendUint32(h, uint32(at))
	return append(h, name...)
}

func ended(out, directory []byte, n int) []byte {
	end := []byte("PK\x05\x06\x00\x00\x00\x00")
	end = binary.LittleEndian.AppendUint16(end, uint16(n))
	end = binary.LittleEndian.AppendUint16(end, uint16(n))
	end = binary.LittleEndian.AppendUint32(end, uint32(len(directory)))
	end = binary.LittleEndian.AppendUint32(end, uint32(len(out)))
	return append(append(append(out, directory...), end...), 0, 0)
}

// zipOf packs names and contents in turn as PyTorch does: nothing compressed.
func zipOf(members ...any) []byte {
	var out, directory []byte
	for i := 0; i < len(members); i += 2 {
		name, b := members[i].(string), members[i+1].([]byte)
		directory = append(directory, listed(name, b, len(out))...)
		out = append(out, stored(name, b)...)
	}
	return ended(out, directory, len(members)/2)
}

func deflated(name string, b []byte) []byte {
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	w.RegisterCompressor(zip.Deflate, func(o io.Writer) (io.WriteCloser, error) { return flate.NewWriter(o, 9) })
	f, _ := w.Create(name)
	f.Write(b)
	w.Close()
	return out.Bytes()
}

func flagged(b []byte) []byte {
	b[bytes.Index(b, []byte("PK\x01\x02"))+8] |= 1
	return b
}

func nested(n int) []byte {
	b := zipOf("x.txt", []byte("x"))
	for range n {
		b = zipOf("x.zip", b)
	}
	return b
}

// overlapping has two members that are the same bytes.
func overlapping() []byte {
	b := []byte("the same bytes")
	out := stored("a", b)
	return ended(out, append(listed("a", b, 0), listed("b", b, 0)...), 2)
}

func tarOf(h *tar.Header, b []byte) []byte {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	h.Size, h.Mode = int64(len(b)), 0o600
	if err := w.WriteHeader(h); err != nil {
		panic(err)
	}
	w.Write(b)
	w.Close()
	return out.Bytes()
}

func message(number int, parts ...[]byte) []byte {
	b := protowire.AppendTag(nil, protowire.Number(number), protowire.BytesType)
	return protowire.AppendBytes(b, bytes.Join(parts, nil))
}

func savedModel(op string, inFunction bool) []byte {
	node := [][]byte{message(1, []byte("n")), message(2, []byte(op))}
	graph := message(1, node...)
	if inFunction {
		graph = message(2, message(1, message(3, node...)))
	}
	return append([]byte("\x08\x01"), message(2, message(1, []byte("")), message(2, graph))...)
}

func onnxModel(domain, location string) []byte {
	return append([]byte("\x08\x08"), append(message(2, []byte("test")), message(7, onnxGraph(domain, location))...)...)
}

func onnxGraph(domain, location string) []byte {
	node := message(1, message(1, []byte("x")), message(4, []byte("Identity")))
	if domain != "" {
		node = message(1, message(1, []byte("x")), message(4, []byte("Evil")), message(7, []byte(domain)))
	}
	tensor := message(5, message(8, []byte("w")))
	if location != "" {
		tensor = message(5, message(8, []byte("w")), message(13, message(1, []byte("location")), message(2, []byte(location))), []byte("\x70\x01"))
	}
	return append(node, tensor...)
}

func safetensors(header string, data int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), make([]byte, data)...)
}

func ggufOf(key, text string) []byte {
	le := binary.LittleEndian
	b := []byte("GGUF\x03\x00\x00\x00")
	b = le.AppendUint64(b, 0)
	b = le.AppendUint64(b, 2)
	str := func(s string) { b = append(le.AppendUint64(b, uint64(len(s))), s...) }
	str("general.ids")
	b = le.AppendUint32(b, 9)
	b = le.AppendUint32(b, 4)
	b = le.AppendUint64(b, 2)
	b = append(b, make([]byte, 8)...)
	str(key)
	b = le.AppendUint32(b, 8)
	str(text)
	return b
}

// bzip2OfSystem is the pickle system in bzip2, which Go only reads.
var bzip2OfSystem, _ = base64.StdEncoding.DecodeString("QlpoOTFBWSZTWQvEGOEAAAjTwBAQAAEQAA4ijCBCBCAAIoGgbChTAATQsTt6CuQmZonj4u5IpwoSAXiDHCA=")
