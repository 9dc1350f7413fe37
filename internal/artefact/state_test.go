package artefact_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pavise/pavise/internal/artefact"
)

// parser is what SciPy writes into the state of a distribution with these shapes, which it runs
// as Python when the distribution is made again.
func parser(shapes, with, as string) string {
	return fmt.Sprintf("\ndef _parse_args(self, %[1]s %[2]s):\n    return (%[1]s), %[3]s\n\n"+
		"def _parse_args_rvs(self, %[1]s %[2]s, size=None):\n    return self._argcheck_rvs(%[1]s %[3]s, size=size)\n\n"+
		"def _parse_args_stats(self, %[1]s %[2]s, moments='mv'):\n    return (%[1]s), %[3]s, moments\n", shapes, with, as)
}

// long is a text of any length.
func long(s string) string {
	return "X" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(s)))) + s
}

// states are objects that are made of known classes and do harm by what they are made with.
func states() []hostile {
	norm := stackGlobal("scipy.stats._continuous_distns", "norm_gen")
	made := norm + ")\x81"
	key, evil := short("_parse_arg_template"), long("import os\nos.system('id')\n")
	pair := key + evil
	honest := parser("a, ", "loc=0, scale=1", "loc, scale")
	var many strings.Builder
	for i := range 32 {
		many.WriteString(short(fmt.Sprint("k", i)) + "N")
	}
	file := short("/etc/passwd")
	var all []hostile
	for name, body := range map[string]string{
		"distribution":                    made + "}" + pair + "sb",
		"distribution that is called":     norm + ")R}" + pair + "sb",
		"distribution of protocol 1":      global("copyreg", "_reconstructor") + norm + global("builtins", "object") + "N\x87R}" + pair + "sb",
		"distribution, the key twice":     made + "}(" + key + long(honest) + pair + "ub",
		"distribution, more than is kept": made + "}(" + many.String() + pair + "ub",
		"distribution, pairs":             made + "](" + key + evil + "\x86eb",
		"distribution, a key by a call":   made + "}" + stackGlobal("builtins", "str") + key + "\x85R" + evil + "sb",
		"distribution, a line more":       made + "}" + key + long(honest+"x\n") + "sb",
		"distribution, no shapes":         made + "}" + key + long(parser("a=__import__('os').system('id'), ", "loc=0, scale=1", "loc, scale")) + "sb",
		"distribution through a tensor":   stackGlobal("torch._tensor", "_rebuild_from_type_v2") + "(" + norm + stackGlobal("torch", "Tensor") + ")}" + pair + "stR",
		"frozen distribution":             stackGlobal("scipy.stats._distn_infrastructure", "rv_continuous_frozen") + ")\x81}" + pair + "sb",
	} {
		all = append(all, hostile{name, "a.pkl", []byte(p4(body)), artefact.Malicious, "pickle.state"})
	}
	for name, body := range map[string]string{
		"matrix of a file":          call(stackGlobal("xgboost.core", "DMatrix"), "/etc/passwd"),
		"booster of a file":         stackGlobal("xgboost.core", "Booster") + "NN" + file + "\x87R",
		"arguments of an address":   stackGlobal("transformers.training_args", "TrainingArguments") + short("out") + "\x85R",
		"booster of a file by INST": "(NNS'/etc/passwd'\nilightgbm.basic\nBooster\n",
		"dataset of a file":         stackGlobal("copyreg", "__newobj__") + stackGlobal("lightgbm.basic", "Dataset") + file + "\x86R",
	} {
		all = append(all, hostile{name, "a.pkl", []byte(p4(body)), artefact.Malicious, "pickle.call"})
	}
	for name, body := range map[string]string{
		"matrix that a generator makes": stackGlobal("numpy.random._pickle", "__generator_ctor") + file + stackGlobal("xgboost.core", "DMatrix") + "\x86R",
		"matrix that is made later":     stackGlobal("functools", "partial") + stackGlobal("xgboost.core", "DMatrix") + file + "\x86R",
	} {
		all = append(all, hostile{name, "a.pkl", []byte(p4(body)), artefact.Suspicious, "pickle.handed"})
	}
	get, zone := stackGlobal("builtins", "getattr"), stackGlobal("zoneinfo", "ZoneInfo")
	for name, body := range map[string]string{
		"attribute of a zone":              get + zone + short("__init_subclass__") + "\x86R",
		"attribute of a known class":       get + stackGlobal("numpy", "ndarray") + short("tofile") + "\x86R",
		"attribute by a call":              get + zone + stackGlobal("builtins", "str") + short("_unpickle") + "\x85R\x86R",
		"attribute with a default":         get + zone + short("_unpickle") + "N\x87R",
		"attribute of a distribution":      get + made + short("__class__") + "\x86R",
		"getattr that is handed on":        get + "\x85",
		"getattr in a dictionary":          "}" + short("f") + get + "s",
		"getattr for a partial":            stackGlobal("functools", "partial") + get + zone + "\x86R",
		"getattr of Python 2":              "(" + zone + short("__dict__") + "ibuiltins\ngetattr\n",
		"getattr that makes a generator":   stackGlobal("numpy.random._pickle", "__generator_ctor") + short("x") + get + "\x86R",
		"getattr by copyreg":               stackGlobal("copyreg", "__newobj__") + get + "\x85R",
		"getattr of what somebody reached": get + get + zone + short("_unpickle") + "\x86R" + short("__globals__") + "\x86R",
	} {
		all = append(all, hostile{name, "a.pkl", []byte(p4(body)), artefact.Malicious, "pickle.global"})
	}
	for _, g := range [][2]string{{"sklearn.pipeline", "Memory"}, {"sklearn.ensemble._base", "Parallel"}, {"xgboost.sklearn", "DMatrix"}, {"lightgbm.sklearn", "Path"}} {
		all = append(all, hostile{"guest " + g[1], "a.pkl", imports(g[0], g[1]), artefact.Suspicious, "pickle.unknown"})
	}
	return all
}

// TestHonestStates scans distributions as SciPy writes them, and boosters as they are.
func TestHonestStates(t *testing.T) {
	made := stackGlobal("scipy.stats._continuous_distns", "norm_gen") + ")\x81}(" + short("name") + short("norm") + short("_parse_arg_template")
	for name, body := range map[string]string{
		"without shapes": made + long(parser("", "loc=0, scale=1", "loc, scale")) + "ub",
		"two shapes":     made + long(parser("a, b2, ", "loc=0, scale=1", "loc, scale")) + "ub",
		"discrete":       made + long(parser("low, high, ", "loc=0", "loc, 1")) + "ub",
		"frozen":         stackGlobal("scipy.stats._distn_infrastructure", "rv_continuous_frozen") + ")\x81}(" + short("args") + "K\x01K\x02\x86" + short("a") + "K\x01ub",
		"time zone":      stackGlobal("builtins", "getattr") + stackGlobal("zoneinfo", "ZoneInfo") + short("_unpickle") + "\x86R" + short("UTC") + "\x88\x86R",
		"bound method":   stackGlobal("builtins", "getattr") + stackGlobal("scipy.stats._discrete_distns", "randint_gen") + ")\x81" + short("_entropy") + "\x86R",
		"booster":        stackGlobal("xgboost.core", "Booster") + ")\x81}" + short("handle") + "Nsb",
		"booster of old": global("copyreg", "_reconstructor") + global("lightgbm.basic", "Booster") + global("builtins", "object") + "N\x87R}b",
	} {
		if got := scanned(t, "a.pkl", []byte(p4(body))); got.Verdict != artefact.Clean {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// TestExternalData has ONNX files whose numbers lie beside them: twice said where, beyond what there is,
// and in what training begins with.
func TestExternalData(t *testing.T) {
	entry := func(key, value string) []byte {
		return message(13, message(1, []byte(key)), message(2, []byte(value)))
	}
	model := func(entries ...[]byte) []byte {
		return append([]byte("\x08\x08"), message(7, message(5, append([][]byte{message(8, []byte("w"))}, entries...)...))...)
	}
	training := func(entries ...[]byte) []byte {
		return append([]byte("\x08\x08"), message(20, message(1, message(5, append([][]byte{message(8, []byte("w"))}, entries...)...)))...)
	}
	for _, c := range []struct {
		what string
		file []byte
		want artefact.Severity
	}{
		{"as it should be", model(entry("location", "w.bin"), entry("offset", "4"), entry("length", "4")), artefact.Clean},
		{"to the end", model(entry("location", "w.bin"), entry("offset", "8")), artefact.Clean},
		{"a place twice", model(entry("location", "w.bin"), entry("location", "w.bin")), artefact.Suspicious},
		{"a place elsewhere, and then here", model(entry("location", "../x"), entry("location", "w.bin")), artefact.Malicious},
		{"behind the end", model(entry("location", "w.bin"), entry("offset", "9")), artefact.Suspicious},
		{"more than there is", model(entry("location", "w.bin"), entry("offset", "4"), entry("length", "5")), artefact.Suspicious},
		{"beyond numbers", model(entry("location", "w.bin"), entry("offset", "4"), entry("length", "9223372036854775807")), artefact.Suspicious},
		{"no number", model(entry("location", "w.bin"), entry("offset", "-1")), artefact.Suspicious},
		{"where training begins", training(entry("location", "../x")), artefact.Malicious},
	} {
		dir := t.TempDir()
		for name, b := range map[string][]byte{"m.onnx": c.file, "w.bin": make([]byte, 8)} {
			if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		got, err := (&artefact.Scan{Path: dir}).Run(t.Context())
		if err != nil || got.Verdict != c.want {
			t.Errorf("%s: %+v, %v", c.what, got, err)
		}
	}
}
