package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pavise/pavise/internal/store/blob/blobtest"
)

// trainingRows are rows that a model is trained on: NSL-KDD where it is at hand, else some
// made up.
func trainingRows(t *testing.T) []string {
	t.Helper()
	data := os.Getenv("PAVISE_DATA")
	if data == "" {
		data = "../../../shared/data"
	}
	f, err := os.Open(filepath.Join(data, "nsl-kdd", "KDDTrain+_20Percent.txt.gz"))
	if err != nil {
		var rows []string
		for i := range 5000 {
			rows = append(rows, fmt.Sprintf("%d,tcp,http,SF,%d,%d,normal", i%3, i*7, i*i))
		}
		return rows
	}
	defer f.Close()
	in, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(in)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}

// TestTrainingRecord walks the way of a training record (docs/walks.md): rows are sealed in a
// bucket, somebody changes one there, the change is named by its row, and the runs and
// models that saw it are found in what pipelines told.
func TestTrainingRecord(t *testing.T) {
	t.Chdir(t.TempDir())
	rows := trainingRows(t)
	const at = 4321 // of the rows, from 1
	store := blobtest.New(t)
	lake := store.Address("s3", "lake/")
	bucket := func(rows []string) { store.Put("lake/flows.csv", strings.Join(rows, "\n")+"\n") }
	say := func(want int, args ...string) string {
		t.Helper()
		code, stdout, stderr := pavised(t, args...)
		if code != want {
			t.Fatalf("pavise %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), code, want, stdout, stderr)
		}
		return stdout
	}
	seal := func(name string) (root string) {
		t.Helper()
		var made struct {
			Root string
			Rows int
		}
		if err := json.Unmarshal([]byte(say(0, "--json", "dataset", "seal", lake, "-o", name)), &made); err != nil || made.Rows != len(rows) {
			t.Fatal(made, err)
		}
		return made.Root
	}
	bucket(rows)
	monday := seal("monday.seal")
	say(0, "dataset", "verify", lake, "--seal", "monday.seal")

	rows[at-1] = strings.Replace(rows[at-1], ",", ",9", 1)
	bucket(rows)
	named := fmt.Sprint("row changed: ", at)
	if out := say(1, "dataset", "verify", lake, "--seal", "monday.seal"); !strings.Contains(out, named) {
		t.Errorf("the change is not named by its row:\n%s", out)
	}
	tuesday := seal("tuesday.seal")
	if out := say(1, "dataset", "diff", "monday.seal", "tuesday.seal"); !strings.Contains(out, named) {
		t.Errorf("the difference is not named by its row:\n%s", out)
	}
	if err := os.WriteFile("row", []byte(rows[at-1]+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	told(t, "runs.jsonl", monday, tuesday, strings.Repeat("d", 64))
	seals := []string{"--events", "runs.jsonl", "--seal", "s3://lake/flows=monday.seal", "--seal", "s3://lake/flows=tuesday.seal"}
	out := say(1, append([]string{"dataset", "exposed", "--content", "row"}, seals...)...)
	for _, want := range []string{
		"monday.seal has no such row", fmt.Sprintf("tuesday.seal has it in flows.csv, row %d", at),
		"proven run 00000002-0000-4000-8000-000000000000 of train2", "claimed model mlflow/fraud2",
		"possible run 00000003", "not read: runs.jsonl, 4: ",
	} {
		if !strings.Contains(strings.Join(strings.Fields(out), " "), want) {
			t.Errorf("it does not say %q:\n%s", want, out)
		}
	}
	if strings.Contains(out, "train1") {
		t.Errorf("a run that read the other state is exposed:\n%s", out)
	}
	if out := say(1, append([]string{"dataset", "lineage", "fraud3"}, seals...)...); !strings.Contains(out, "refuted: run 00000003") {
		t.Errorf("a claim is not refuted:\n%s", out)
	}
	if out := say(0, append([]string{"dataset", "lineage", "fraud2", "--dot"}, seals...)...); !strings.HasPrefix(out, "digraph lineage {") {
		t.Errorf("no picture:\n%s", out)
	}
}

// told writes OpenLineage events of a run for each root: it read the flows with that seal and
// wrote a model. Behind them stands a line that is no event.
func told(t *testing.T, path string, roots ...string) {
	t.Helper()
	var lines bytes.Buffer
	facet := func(name string, of map[string]any) map[string]any {
		of["_producer"], of["_schemaURL"] = "https://example.com/airflow", "https://example.com/"+name
		return map[string]any{name: of}
	}
	for i, root := range roots {
		text, err := json.Marshal(map[string]any{
			"eventType": "COMPLETE", "eventTime": fmt.Sprintf("2026-11-27T10:0%d:00Z", i), "producer": "https://example.com/airflow",
			"schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
			"run":       map[string]any{"runId": fmt.Sprintf("%08d-0000-4000-8000-000000000000", i+1)},
			"job":       map[string]any{"namespace": "airflow", "name": fmt.Sprint("train", i+1)},
			"inputs":    []any{map[string]any{"namespace": "s3://lake", "name": "flows", "facets": facet("pavise_seal", map[string]any{"root": root})}},
			"outputs":   []any{map[string]any{"namespace": "mlflow", "name": fmt.Sprint("fraud", i+1), "facets": facet("datasetType", map[string]any{"datasetType": "MODEL"})}},
		})
		if err != nil {
			t.Fatal(err)
		}
		lines.Write(append(text, '\n'))
	}
	lines.WriteString("{\"broken\n")
	if err := os.WriteFile(path, lines.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}
