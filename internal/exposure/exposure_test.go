package exposure

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/dataset"
	"github.com/pavise/pavise/internal/lineage"
)

// event is an event of run n that read and wrote, as JSON.
func event(n int, reads, writes string) string {
	of := func(name string) string {
		namespace, name, _ := strings.Cut(name, " ")
		return fmt.Sprintf(`[{"namespace":%q,"name":%q}]`, namespace, name)
	}
	return fmt.Sprintf(`{"eventType":"COMPLETE","eventTime":"2026-11-27T10:00:00Z","producer":"p","schemaURL":"s","run":{"runId":"00000000-0000-4000-8000-%012d"},"job":{"namespace":"j","name":"train"},"inputs":%s,"outputs":%s}`,
		n, of(reads), of(writes))
}

// put writes a file of a test and returns its path.
func put(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestEvents reads events as lines and as lists, with what is wrong between them.
func TestEvents(t *testing.T) {
	one, two := event(1, "s3://lake rows", "ml a"), event(2, "s3://lake rows", "ml b")
	long := `{"a":"` + strings.Repeat("x", 3*lineage.MaxEvent) + `"}`
	for name, c := range map[string]struct {
		text    string
		events  int
		refused []int
	}{
		"lines":           {one + "\n" + two + "\n", 2, nil},
		"no last newline": {one + "\n\n  \n" + two, 2, nil},
		"Windows lines":   {one + "\r\n" + two + "\r\n", 2, nil},
		"a list":          {" \n[" + one + ",\n" + two + "]", 2, nil},
		"two lists":       {"[" + one + "]\n[" + two + "]", 2, nil},
		"wrong between":   {one + "\nno\n" + two + "\n{}\n", 2, []int{2, 4}},
		"wrong in a list": {"[" + one + ",7," + two + "]", 2, []int{2}},
		"a line too long": {one + "\n" + long + "\n" + two, 2, []int{2}},
		"the same twice":  {one + "\n" + one, 2, nil},
	} {
		traced, err := (&Trace{Dataset: "a", Told: Told{Events: []string{put(t, "events", c.text)}}}).Run(t.Context())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var refused []int
		for _, u := range traced.Unread {
			refused = append(refused, u.At)
		}
		if traced.Events != c.events || fmt.Sprint(refused) != fmt.Sprint(c.refused) {
			t.Errorf("%s: %d events, not read %v; want %d and %v", name, traced.Events, refused, c.events, c.refused)
		}
	}
	alike := event(1, "s3://lake raw/rows", "ml a") + "\n" + event(2, "s3://lake/raw rows", "ml b")
	if _, err := (&Trace{Dataset: "s3://lake/raw/rows", Told: Told{Events: []string{put(t, "events", alike)}}}).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "2 datasets") {
		t.Errorf("two that are written alike: %v", err)
	}
	for name, text := range map[string]string{"nothing": "", "no events": "{}\n[]\n", "a list that breaks off": "[" + one + ",", "a list with more": "[" + one + " 3]", "more than lists": "[" + one + "] {}"} {
		if _, err := (&Trace{Told: Told{Events: []string{put(t, "events", text)}}}).Run(t.Context()); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestNothingIsNotSure asks after a row that nothing is known to have seen, where somebody
// may have: an event that cannot be read, a seal whose rows are not known, and one of which
// nobody says what it is of.
func TestNothingIsNotSure(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"rows.csv": "a,b\n1,x\n", "other.bin": "2,y\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	seal := filepath.Join(t.TempDir(), "seal")
	if _, err := (&dataset.Seal{Path: dir, Out: seal}).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	good := event(1, "s3://lake other", "ml a") + "\n" + event(2, "s3://lake rows", "ml b")
	for name, c := range map[string]struct{ events, seal, row, says string }{
		"an event is broken":    {good + "\n{", "s3://lake/rows=" + seal, "9,z\n", "1 events could not be read"},
		"bytes, not rows":       {good, "s3://lake/rows=" + seal, "2,y\n", "sealed by their bytes"},
		"nobody says of what":   {event(1, "s3://lake other", "ml a"), seal, "1,x\n", "nobody says of which dataset"},
		"a read by name, found": {good, "s3://lake/rows=" + seal, "1,x\n", ""},
	} {
		saw, err := (&Expose{Content: put(t, "row", c.row), Told: Told{Events: []string{put(t, "events", c.events)}, Seal: []string{c.seal}}}).Run(t.Context())
		if c.says == "" && (err != nil || !saw.Found()) || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %+v, %v", name, saw, err)
		}
	}
}

// TestOpenLineageClient reads the events of the package openlineage-python of PyPI, which
// PAVISE_OPENLINEAGE names a Python that has, and finds what saw a row.
func TestOpenLineageClient(t *testing.T) {
	python := os.Getenv("PAVISE_OPENLINEAGE")
	if python == "" {
		t.Skip("PAVISE_OPENLINEAGE names no Python with the package openlineage-python")
	}
	rows, seal := put(t, "rows.csv", "a,b\n1,x\n2,y\n"), filepath.Join(t.TempDir(), "rows.seal")
	made, err := (&dataset.Seal{Path: rows, Out: seal}).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	events := filepath.Join(t.TempDir(), "events")
	if out, err := exec.Command(python, "testdata/openlineage_events.py", events, made.Root.String()).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	saw, err := (&Expose{Content: put(t, "row", "2,y\n"), Told: Told{Events: []string{events}, Seal: []string{"s3://lake/flows=" + seal}}}).Run(t.Context())
	if err != nil || saw.Events != 4 || len(saw.Unread) > 0 {
		t.Fatalf("%+v, %v", saw, err)
	}
	if len(saw.Runs) != 1 || saw.Runs[0].Sure != lineage.Proven || saw.Runs[0].Run.State != "COMPLETE" || saw.Runs[0].Run.Parent == "" {
		t.Errorf("runs: %+v", saw.Runs)
	}
	if len(saw.Models) != 1 || saw.Models[0].Dataset.Name != "fraud" {
		t.Errorf("models: %+v", saw.Models)
	}
}

func TestDatasetsByName(t *testing.T) {
	g := &lineage.Graph{}
	for n, pair := range [][2]string{{"s3://lake rows", "ml a"}, {"gs://lake rows", "ml a=b"}} {
		e, err := lineage.ParseEvent([]byte(event(n, pair[0], pair[1])))
		if err != nil {
			t.Fatal(err)
		}
		g.Add(e, nobody, e.At)
	}
	for named, want := range map[string]string{
		"a": "ml a", "ml/a": "ml a", "ml a": "ml a", "s3://lake/rows": "s3://lake rows", "a=b": "ml a=b",
		"rows": "", "lake/rows": "", "": "",
	} {
		got, err := g.Find(named)
		if (err == nil) != (want != "") || err == nil && (len(got) != 1 || got[0].String() != want) {
			t.Errorf("%q: %v, %v; want %q", named, got, err, want)
		}
	}
}

// TestExposedBySeals looks for a row in seals, one of a dataset whose name has the sign that
// parts it from the file.
func TestExposedBySeals(t *testing.T) {
	rows := put(t, "rows.csv", "a,b\n1,x\n2,y\n")
	seal := filepath.Join(t.TempDir(), "rows.seal")
	made, err := (&dataset.Seal{Path: rows, Out: seal}).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var e map[string]any
	if err := json.Unmarshal([]byte(event(1, "s3://lake rows=1", "ml a")), &e); err != nil {
		t.Fatal(err)
	}
	input := e["inputs"].([]any)[0].(map[string]any)
	input["facets"] = map[string]any{"pavise_seal": map[string]any{"root": made.Root.String(), "rows": made.Rows}}
	text, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	told := Told{Events: []string{put(t, "events", string(text))}, Seal: []string{"s3://lake/rows=1=" + seal}}
	saw, err := (&Expose{Content: put(t, "row", "2,y\n"), Told: told}).Run(t.Context())
	if err != nil || !saw.Found() || saw.Runs[0].Sure != lineage.Proven || saw.Holdings[0].Places[0] != (lineage.Place{File: ".", Row: 3}) {
		t.Errorf("%+v, %v", saw, err)
	}
	saw, err = (&Expose{Content: put(t, "row", "2,z\n"), Told: told}).Run(t.Context())
	if err != nil || saw.Found() {
		t.Errorf("a row that is not there: %+v, %v", saw, err)
	}
	told.Seal = []string{seal} // nobody says of which dataset
	saw, err = (&Expose{Content: put(t, "row", "2,y\n"), Told: told}).Run(t.Context())
	if err != nil || !saw.Found() || saw.Runs[0].Sure != lineage.Claimed {
		t.Errorf("by the root alone: %+v, %v", saw, err)
	}
	if err := os.Remove(seal + ".rows"); err != nil {
		t.Fatal(err)
	}
	if _, err := (&Expose{Content: rows, Told: told}).Run(t.Context()); err == nil {
		t.Error("a row was looked for without an index")
	}
}
