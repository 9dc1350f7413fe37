package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/config"
	"github.com/pavise/pavise/internal/infer"
	"github.com/pavise/pavise/internal/installation"
	"github.com/pavise/pavise/internal/role"
)

// TestShortNames types names in short and in full: both mean the caller's own thing.
func TestShortNames(t *testing.T) {
	dir := installation.Data(t.TempDir())
	runUp(t, role.UpConfig{Data: dir})
	t.Setenv("PAVISE_DATA_DIR", string(dir))
	const fraud = "testdata/fraud.onnx"
	for _, tt := range []struct {
		args string
		code int
		want string
	}{
		{"route put fraud --onnx " + fraud + " --shape full", 0, "local/model/fraud: "},
		{"route put local/model/fraud --rate 7/1m", 0, "local/model/fraud: "},
		{"route put model/fraud --rate 8/1m", 0, "local/model/fraud: "},
		{"policy explain model.infer fraud --role caller", 0, "caller-uses-models"},
		{"policy explain model.infer model/fraud --role caller", 0, "caller-uses-models"},
		{"policy explain route.put fraud --role operator", 0, "operator-runs"},
		{"policy who-can model.infer fraud", 0, "caller"},
		{"route quarantine fraud", 0, "let nobody ask local/model/fraud"},
		{"route delete fraud", 0, "local/model/fraud: no route leads to it"},
		{"policy who-can no.verb fraud", 2, "may be of several kinds"},
		{"route delete a/b/c/d", 2, "has 4 parts"},
		{"route put ../x --onnx " + fraud, 2, "name"},
		{"route put rival/model/fraud --onnx " + fraud, 3, "rival"},
		{"route put two --upstream http://a:1 --upstream http://b:1", 2, "--upstream is given more than once"},
		{"route put two --rate 1/1m --rate 2/1m", 2, "--rate is given more than once"},
		{"route put two --onnx " + fraud + " --max-rows 0", 2, "--max-rows: at least 1"},
		{"route put two --onnx " + fraud + " --max-rows -1", 2, "max"},
	} {
		code, stdout, stderr := pavised(t, strings.Fields(tt.args)...)
		if code != tt.code || !strings.Contains(stdout+stderr, tt.want) {
			t.Errorf("%s: exit code %d, want %d with %q:\n%s%s", tt.args, code, tt.code, tt.want, stdout, stderr)
		}
	}
}

// FuzzShortName reads names: what is accepted is a name with nothing left out but its
// beginning.
func FuzzShortName(f *testing.F) {
	for _, text := range []string{"fraud", "model/fraud", "local/model/fraud", "", "/", "a//b", "x/x/", strings.Repeat("a", 200)} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		name, err := shortName(text)
		if err != nil {
			return
		}
		var parts []string
		for _, part := range []string{name.Tenant, name.Kind, name.ID} {
			if part != "" {
				parts = append(parts, part)
			}
		}
		if strings.Join(parts, "/") != text || name.ID == "" || name == (pavise.Name{}) {
			t.Fatalf("%q became %+v", text, name)
		}
	})
}

// TestGreetingOfAProxy begins with a model behind a proxy, which no curl at Pavise's own
// address reaches, and one whose server is away, of which the start warns.
func TestGreetingOfAProxy(t *testing.T) {
	signature := filepath.Join(t.TempDir(), "signature.json")
	if err := os.WriteFile(signature, []byte(infer.SignatureExample), 0o600); err != nil {
		t.Fatal(err)
	}
	brain := filepath.Join(t.TempDir(), "brain.json")
	if err := os.WriteFile(brain, []byte(`{"inputs":[{"name":"x","datatype":"BF16","shape":[-1,4]}],"outputs":[{"name":"y","datatype":"BF16","shape":[-1,4]}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	var said []string
	r := runUp(t, role.UpConfig{
		Data: installation.Data(t.TempDir()), Say: func(word string, err error) { said = append(said, word+": "+err.Error()) },
		Routes: []config.Route{
			{Name: "fraud", Upstream: "external", Protocol: "v1", Signature: signature},
			{Name: "llama", Upstream: "http://127.0.0.1:1", Protocol: "openai"},
			{Name: "brain", Upstream: "http://127.0.0.1:1", Protocol: "oip-binary", Signature: brain, Shape: "full"},
		},
	})
	var out strings.Builder
	printGreeting(&out, r.Greeting)
	if text := out.String(); !strings.Contains(text, "Ask local/model/fraud at your proxy's address") || strings.Contains(text, "/v2/models/fraud/infer") || !strings.Contains(text, `"model":"llama"`) || !strings.Contains(text, "Ask local/model/brain, at http://127.0.0.1:1, with a client of yours") {
		t.Error(text)
	}
	if text := strings.Join(said, "\n"); !strings.Contains(text, "warning: local/model/llama: http://127.0.0.1:1") || strings.Contains(text, "fraud") {
		t.Errorf("it said %q", said)
	}
}
