package main

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// A mlflowClient is MLflow's own client, told what to do line by line.
type mlflowClient struct {
	in  io.Writer
	out *bufio.Scanner
	err *strings.Builder
}

// startMLflow starts the client, for whoever has the token.
func startMLflow(t *testing.T, python, server, token string) *mlflowClient {
	t.Helper()
	cmd := exec.Command(python, "-W", "ignore", "testdata/mlflow/client.py")
	cmd.Env = append(os.Environ(), "MLFLOW_TRACKING_URI="+server, "MLFLOW_TRACKING_TOKEN="+token, "MLFLOW_DISABLE_TELEMETRY=true", "DO_NOT_TRACK=true", "PYTHONDONTWRITEBYTECODE=1", "TMPDIR="+t.TempDir())
	c := &mlflowClient{err: &strings.Builder{}}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.in, c.out, cmd.Stderr = in, bufio.NewScanner(out), c.err
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		ends := time.AfterFunc(10*time.Second, func() { cmd.Process.Kill() })
		cmd.Wait()
		ends.Stop()
	})
	return c
}

// do has the client do something, and fails unless what it says has these words in it.
func (c *mlflowClient) do(t *testing.T, words []string, what ...string) string {
	t.Helper()
	line, _ := json.Marshal(what)
	if _, err := c.in.Write(append(line, '\n')); err != nil || !c.out.Scan() {
		t.Fatalf("%s: %v: %s", line, err, c.err)
	}
	for _, word := range words {
		if !strings.Contains(c.out.Text(), word) {
			t.Errorf("%s: %s; it should say %s", line, c.out.Text(), word)
		}
	}
	return c.out.Text()
}

// TestMLflowClient has mlflow-skinny of PyPI, which PAVISE_MLFLOW names a Python that has, go
// from a run to a version in Production against a running pavise, whose people review and
// approve.
func TestMLflowClient(t *testing.T) {
	python := os.Getenv("PAVISE_MLFLOW")
	if python == "" {
		t.Skip("PAVISE_MLFLOW names no Python with the package mlflow-skinny")
	}
	models := t.TempDir()
	if err := os.WriteFile(filepath.Join(models, "MLmodel"), []byte("flavors: {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, t.TempDir()+"/data", "--person", "bob", "--person", "kim", "--person", "lea", "--models", models)
	out, code := p.pavise(t, "issuer", "mint", "--subject", "trainer", "--role", "operator")
	if code != 0 {
		t.Fatal(out)
	}
	trainer := startMLflow(t, python, p.Server, strings.TrimSpace(strings.Split(out, "\n")[0]))

	said := trainer.do(t, []string{`"version": "1"`, `"status": "READY"`, `"stage": "None"`}, "register", "fraud", `{"w":1}`)
	var first struct{ Run string }
	if err := json.Unmarshal([]byte(said), &first); err != nil {
		t.Fatal(err)
	}
	trainer.do(t, []string{`"depth": "3"`, `"auc": 0.97`, `"risk"`, `"model/MLmodel", "model/data"`}, "run", first.Run)
	trainer.do(t, []string{`"version": "2"`, `"status": "FAILED_REGISTRATION"`, "os.system"}, "register", "fraud", `{"w":2}`, "cos\nsystem\n(S'id'\ntR.")
	trainer.do(t, []string{`"version": "3"`, `"status": "READY"`}, "path", "fraud", "file://"+models)
	trainer.do(t, []string{
		`"model": ["fraud with cards", "risk"]`, `["the first", {"k": "v", "t": "1"}]`, `"found": ["fraud"]`, `"none": 0`, `"versions": ["1"]`, `"latest": ["3"]`,
		`"nobody": "RESOURCE_DOES_NOT_EXIST"`, `"twice": "RESOURCE_ALREADY_EXISTS"`, `"renamed": "NOT_IMPLEMENTED"`,
	}, "words", "fraud", "1")
	trainer.do(t, []string{`"experiment": "scoring"`}, "experiment", "scoring")
	trainer.do(t, []string{`"size": 5000000`}, "big", "5000000")
	trainer.do(t, []string{`"text": "{\"w\":1}"`, `"MLmodel", "data"`}, "load", "models:/fraud/1", "data/weights.json")

	trainer.do(t, []string{"PERMISSION_DENIED", "awaits review"}, "stage", "fraud", "1", "Production")
	p.must(t, "model", "show", "fraud/1")
	digest := shown(t, p, "digest")
	for _, kind := range []string{"evaluation", "attack"} {
		p.must(t, "--as", "lea", "model", "evidence", "fraud/1", "--kind", kind, "--digest", digest, "--result", "pass", "--summary", "as before")
	}
	p.must(t, "--as", "bob", "model", "review", "fraud/1", "--digest", digest)
	for _, step := range [][]string{{"stage", "fraud", "1", "Production"}, {"stage", "fraud", "1", "Production"}, {"alias", "fraud", "champion", "1"}, {"unalias", "fraud", "champion"}} {
		if step[0] == "unalias" {
			trainer.do(t, []string{`"text": "{\"w\":1}"`}, "load", "models:/fraud@champion", "data/weights.json")
		}
		said := trainer.do(t, []string{"PERMISSION_DENIED", "awaits approval: " + p.Server + "/changes/c-"}, step...)
		if again := trainer.do(t, nil, step...); again != said {
			t.Errorf("asked again: %s, and then %s", said, again)
		}
		approveNewest(t, p, "kim")
		if step[0] != "stage" {
			trainer.do(t, []string{"{}"}, step...)
		}
	}
	trainer.do(t, []string{"{}"}, "stage", "fraud", "1", "Production")
	trainer.do(t, []string{`"text": "{\"w\":1}"`}, "load", "models:/fraud/Production", "data/weights.json")
	trainer.do(t, []string{`"text"`}, "load", "models:/fraud/latest", "MLmodel")

	if exec.Command(python, "-c", "import sklearn, skops, pandas").Run() != nil {
		t.Log("scikit-learn, skops or pandas is not there: logged models were not tried")
	} else {
		logModels(t, trainer)
	}

	stranger := startMLflow(t, python, p.Server, p.Token)
	stranger.do(t, []string{"PERMISSION_DENIED"}, "alias", "fraud", "champion", "1")
}

// logModels has a client log models as MLflow 3 does, and register them.
func logModels(t *testing.T, c *mlflowClient) {
	t.Helper()
	said := c.do(t, []string{
		`"logged": "READY"`, `"params": {"depth": "3"}`, `"metrics": [["auc", 0.7]]`, `"version": "1"`, `"status": "READY"`, `"same": [0, 1]`,
		`"history": [[0, 0.5], [1, 0.6], [2, 0.7]]`, `"scorer/MLmodel"`, `"tags": "[{\"name\": \"churn\", \"version\": \"1\"}]"`,
	}, "sklearn", "churn")
	var s struct {
		ID, Run, Source, From string
		Outputs               []string
	}
	if err := json.Unmarshal([]byte(said), &s); err != nil {
		t.Fatal(err)
	}
	if s.Source != "models:/"+s.ID || s.From != s.Run || !slices.Equal(s.Outputs, []string{s.ID}) {
		t.Errorf("the version does not say what it is of: %s", said)
	}
	c.do(t, []string{
		`"versions": ["1", "2"]`, `"statuses": ["READY", "READY"]`, `"said": [2, 3]`, "no files", `"gone": "RESOURCE_DOES_NOT_EXIST"`,
		`"found": ["adder"]`, `"runs": [true]`, `"frame": [0.7]`,
	}, "pyfunc", "adder")
}

// must is pavise, which is to end well.
func (p *process) must(t *testing.T, args ...string) string {
	t.Helper()
	out, code := p.pavise(t, args...)
	if code != 0 {
		t.Fatalf("%q: %d %s", args, code, out)
	}
	return out
}

// shown is a field of the version fraud/1.
func shown(t *testing.T, p *process, field string) string {
	t.Helper()
	var shown struct{ Versions []map[string]any }
	if err := json.Unmarshal([]byte(p.must(t, "--json", "model", "show", "fraud/1")), &shown); err != nil || len(shown.Versions) != 1 {
		t.Fatal(err)
	}
	value, _ := shown.Versions[0][field].(string)
	return value
}

// approveNewest has somebody approve the change that waits.
func approveNewest(t *testing.T, p *process, who string) {
	t.Helper()
	var list struct {
		Changes []struct{ Name, Digest, State string }
	}
	text := p.must(t, "--json", "change", "list")
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(list.Changes, func(c struct{ Name, Digest, State string }) bool { return c.State == "open" })
	if i < 0 {
		t.Fatalf("no change waits: %s", text)
	}
	p.must(t, "--as", who, "change", "approve", strings.TrimPrefix(list.Changes[i].Name, "local/change/"), list.Changes[i].Digest[:16])
}
