package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/lineage"
	"github.com/pavise/pavise/internal/openlineage"
)

// pavise runs the program beside a process, and returns what it printed and its exit code.
func (p *process) pavise(t *testing.T, args ...string) (out string, code int) {
	t.Helper()
	cmd := exec.Command("pavise", append([]string{"--data", string(p.data)}, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return stdout.String() + stderr.String(), exit.ExitCode()
	}
	if err != nil {
		t.Fatal(err)
	}
	return stdout.String(), 0
}

// toldRun is an event of run n, which read a dataset by a seal's root and wrote a model.
func toldRun(n int, root string) string {
	return fmt.Sprintf(`{"eventType":"COMPLETE","eventTime":"2026-11-27T10:00:00Z","producer":"p","schemaURL":"s","run":{"runId":"6f1c0000-0000-4000-8000-%012d"},"job":{"namespace":"j","name":"train"},`+
		`"inputs":[{"namespace":"s3://lake","name":"rows","facets":{"pavise_seal":{"root":%q}}}],"outputs":[{"namespace":"mlflow","name":"model-%d","facets":{"datasetType":{"datasetType":"MODEL"}}}]}`, n, root, n%3)
}

// TestLineageOutlivesAKill kills pavise while pipelines tell it of runs, and has them tell the
// rest and all of it again: each event counts once, and the commands answer as they do from
// files of the same events.
func TestLineageOutlivesAKill(t *testing.T) {
	dir, files := t.TempDir()+"/data", t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(files, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	p := start(t, dir)
	rows, seal := file("rows.csv", "a,b\n1,x\n2,y\n"), filepath.Join(files, "rows.seal")
	if out, code := p.pavise(t, "dataset", "seal", rows, "-o", seal); code != 0 {
		t.Fatal(out)
	}
	var sealed struct {
		Root string `json:"root"`
	}
	text, err := os.ReadFile(seal)
	if err != nil || json.Unmarshal(text, &sealed) != nil {
		t.Fatalf("%s: %v", text, err)
	}
	var events []string
	for n := range 40 {
		events = append(events, toldRun(n, map[bool]string{true: sealed.Root, false: strings.Repeat("b", 64)}[n != 7]))
	}
	tell := func(p *process, ended func(int, int)) {
		token := p.operator(t).Token
		var all sync.WaitGroup
		for i, e := range events {
			all.Go(func() {
				req, _ := http.NewRequest("POST", p.Server+openlineage.PathEvent, strings.NewReader(e))
				req.Header.Set("Content-Type", "application/json")
				req.Header.Set("Authorization", "Bearer "+token)
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					ended(i, 0)
					return
				}
				resp.Body.Close()
				ended(i, resp.StatusCode)
			})
		}
		all.Wait()
	}
	var killed sync.Once
	tell(p, func(i, code int) {
		if code == http.StatusOK {
			killed.Do(func() { p.cmd.Process.Kill() })
		}
	})
	p.kill()
	p = start(t, dir)
	tell(p, func(i, code int) {
		if code != http.StatusOK {
			t.Errorf("event %d: %d", i, code)
		}
	})
	told := file("told.jsonl", strings.Join(events, "\n"))
	held := "s3://lake/rows=" + seal
	same[lineage.Traced](t, p, told, 1, "lineage", "model-1", "--seal", held)
	same[lineage.Sightings](t, p, told, 1, "exposed", "--content", file("row", "2,y\n"), "--seal", held)
	same[lineage.Sightings](t, p, told, 1, "exposed", "--root", strings.Repeat("b", 64))
	if out, code := p.pavise(t, "dataset", "lineage", "model-1", "--seal", held); code != 1 || !strings.Contains(out, "told by 40 events") || !strings.Contains(out, "refuted: run 6f1c0000-0000-4000-8000-000000000007") {
		t.Errorf("%d: %s", code, out)
	}
	if out, code := p.pavise(t, "dataset", "lineage", "model-1", "--dot"); code != 0 || !strings.HasPrefix(out, "digraph lineage {") {
		t.Errorf("%d: %s", code, out)
	}
	if out, code := p.pavise(t, "dataset", "exposed", "--content", file("row", "9,z\n"), "--seal", held); code != 2 || !strings.Contains(out, "1 run read contents of datasets by seals that nobody has here") {
		t.Errorf("a row that nobody has: %d: %s", code, out)
	}
	if out, code := p.pavise(t, "dataset", "exposed", "--content", file("row", "2,y\n")); code != 2 || !strings.Contains(out, "no seal is kept here that the row could be looked for in") {
		t.Errorf("without a seal: %d: %s", code, out)
	}
	p.interrupt(t)
	if out, code := p.pavise(t, "dataset", "lineage"); code != 2 || !strings.Contains(out, "--events FILE") {
		t.Errorf("without a server: %d: %s", code, out)
	}
}

// same asks the server and a file of the same events, and compares the answers, but for what
// only one of them knows.
func same[T any](t *testing.T, p *process, events string, code int, args ...string) {
	t.Helper()
	var answers []string
	for _, from := range [][]string{nil, {"--events", events}} {
		out, got := p.pavise(t, append(append([]string{"--json", "dataset"}, args...), from...)...)
		var answer T
		if err := json.Unmarshal([]byte(out), &answer); err != nil || got != code {
			t.Fatalf("%v%v: %d, %v: %s", args, from, got, err, out)
		}
		text, err := json.Marshal(&answer)
		if err != nil {
			t.Fatal(err)
		}
		whole := string(text)
		for _, own := range []string{"local/human/" + operatorID(t, p), "file/workload/unknown"} {
			whole = strings.ReplaceAll(whole, own, "somebody")
		}
		whole = strings.NewReplacer(`"recorded":true`, `"recorded":false`).Replace(whole)
		if at := strings.Index(whole, `"note":`); at >= 0 {
			end := strings.Index(whole[at+8:], `",`)
			whole = whole[:at] + whole[at+8+end+2:]
		}
		answers = append(answers, whole)
	}
	if answers[0] != answers[1] {
		t.Errorf("%v: the server says\n%s\nand the file\n%s", args, answers[0], answers[1])
	}
}

// operatorID is who started a process.
func operatorID(t *testing.T, p *process) string {
	t.Helper()
	out, _ := p.pavise(t, "--json", "whoami")
	var who struct {
		Name pavise.Name `json:"name"`
	}
	if err := json.Unmarshal([]byte(out), &who); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return who.Name.ID
}

// TestOpenLineageOverHTTP has the package openlineage-python of PyPI, which PAVISE_OPENLINEAGE
// names a Python that has, send its events to a running pavise, plain and compressed, and
// finds them.
func TestOpenLineageOverHTTP(t *testing.T) {
	python := os.Getenv("PAVISE_OPENLINEAGE")
	if python == "" {
		t.Skip("PAVISE_OPENLINEAGE names no Python with the package openlineage-python")
	}
	p := start(t, t.TempDir()+"/data")
	out, code := p.pavise(t, "issuer", "mint", "--subject", "airflow", "--role", "operator")
	token := strings.TrimSpace(strings.Split(out, "\n")[0])
	if code != 0 {
		t.Fatal(out)
	}
	root := strings.Repeat("ab", 32)
	for _, how := range []string{"plain", "gzip"} {
		if out, err := exec.Command(python, "../../internal/exposure/testdata/openlineage_events.py", p.Server, root, token, how).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", how, err, strings.ReplaceAll(string(out), token, "TOKEN"))
		}
	}
	out, code = p.pavise(t, "dataset", "lineage", "fraud")
	if code != 0 || !strings.HasPrefix(out, "mlflow/fraud: 2 runs and 2 datasets, told by 8 events\n") || strings.Count(out, "s3://lake/flows  unknown") != 2 {
		t.Errorf("%d: %s", code, out)
	}
	out, code = p.pavise(t, "--json", "dataset", "exposed", "--root", root)
	var seen lineage.Sightings
	if err := json.Unmarshal([]byte(out), &seen); err != nil || code != 1 || len(seen.Runs) != 2 || len(seen.Models) != 1 || seen.Runs[0].Run.By.String() != "local/workload/airflow" || seen.Runs[0].Run.State != "COMPLETE" || seen.Runs[0].Run.Parent == "" {
		t.Errorf("%d, %v: %s", code, err, out)
	}
	if out, err := exec.Command(python, "../../internal/exposure/testdata/openlineage_events.py", p.Server, root, p.Token, "plain").CombinedOutput(); err == nil || !strings.Contains(string(out), "403") {
		t.Errorf("a caller of models may tell: %v", err)
	}
}
