package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pavise/pavise/internal/infer"
)

// TestConfigCheckLooks finds in a file, without a server, what the first start would
// refuse: each with its line and field.
func TestConfigCheckLooks(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good, bad := write("good.json", infer.SignatureExample), write("bad.json", `{"inputs":[{"name":"x"}]}`)
	scalar := write("scalar.json", `{"inputs":[{"name":"x","datatype":"FP32","shape":[-1,2]}],"outputs":[{"name":"y","datatype":"FP32","shape":[-1]}]}`)
	for _, tt := range []struct{ route, want string }{ // want: the field at line 5, or none
		{"upstream: http://a:8000", ""},
		{"upstream: http://a:8000\n        protocol: openai", ""},
		{"upstream: http://a:8000\n        protocol: v1\n        signature: " + good, ""},
		{"upstream: external\n        signature: " + good, ""},
		{"onnx: testdata/fraud.onnx", ""},
		{"protocol: thrift\n        upstream: http://a:8000", `protocol: protocol "thrift" is none`},
		{"upstream: ftp://a", "upstream:"},
		{"upstream: http://a:8000/?x=1", "upstream:"},
		{"replicas: [http://a:8000]\n        upstream: http://a:8000", "replicas:"},
		{"rate: fast\n        upstream: http://a:8000", `rate: rate "fast" is not COUNT/TIME`},
		{"budget: 5\n        upstream: http://a:8000", "budget:"},
		{"shape: none\n        upstream: http://a:8000", "shape:"},
		{"remote: ..\n        upstream: http://a:8000", "remote:"},
		{"tls: a b\n        upstream: https://a:8000", "tls:"},
		{"onnx: " + dir + "/none.onnx", "onnx:"},
		{"onnx: " + good, "onnx:"},
		{"onnx: /dev/zero", "onnx: /dev/zero is no plain file"},
		{"signature: " + bad + "\n        upstream: http://a:8000", "signature:"},
		{"signature: " + dir + "/none.json\n        upstream: http://a:8000", "signature:"},
		{"signature: " + scalar + "\n        upstream: http://a:8000", "signature: output"},
		{"signature: " + good + "\n        upstream: http://a:8000\n        protocol: openai", "signature: a language model"},
	} {
		path := write("pavise.yaml", "up:\n  bootstrap:\n    routes:\n      - name: fraud\n        "+tt.route+"\n")
		code, stdout, stderr := pavised(t, "config", "check", path)
		if tt.want == "" {
			if code != 0 {
				t.Errorf("%s: exit code %d\n%s", tt.route, code, stderr)
			}
			continue
		}
		field, what, _ := strings.Cut(tt.want, ":")
		at := "pavise.yaml:5: up.bootstrap.routes.0." + field + " "
		said := strings.Join(strings.Fields(stderr), " ")
		if code != 2 || stdout != "" || !strings.Contains(said, at) || !strings.Contains(said, what) {
			t.Errorf("%s: exit code %d, want %s at line 5\n%s", tt.route, code, tt.want, stderr)
		}
	}
	path := write("pavise.yaml", "up:\n  bootstrap:\n    routes:\n      - name: fraud\n        upstream: http://a:8000\n        protocol: v1\n")
	if code, _, stderr := pavised(t, "config", "check", path); code != 2 || !strings.Contains(stderr, "cannot say what a model takes and gives") {
		t.Errorf("a signature that is missing: exit code %d\n%s", code, stderr)
	}
}
