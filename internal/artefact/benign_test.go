package artefact_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/pavise/pavise/internal/artefact"
)

// TestBenign scans what frameworks write. PAVISE_FRAMEWORKS names a Python that has
// scikit-learn, joblib and whatever else testdata/benign.py knows.
func TestBenign(t *testing.T) {
	python := os.Getenv("PAVISE_FRAMEWORKS")
	if python == "" {
		t.Skip("PAVISE_FRAMEWORKS names no Python with scikit-learn and joblib")
	}
	dir := t.TempDir()
	cmd := exec.Command(python, "testdata/benign.py", dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if n := len(strings.Fields(string(out))); n < 20 {
		t.Fatalf("only %d models were written", n)
	}
	report, err := (&artefact.Scan{Path: dir}).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range report.Findings {
		if f.Severity != artefact.Note {
			t.Errorf("a false alarm: %+v", f)
		}
	}
	t.Logf("%d models, %d parts, verdict %s", report.Files, report.Parts, report.Verdict)
}
