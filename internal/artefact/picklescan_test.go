package artefact_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pavise/pavise/internal/artefact"
)

// picklescan asks the peer. PAVISE_PICKLESCAN names a Python that has it.
func picklescan(t *testing.T, directories ...string) []string {
	t.Helper()
	python := os.Getenv("PAVISE_PICKLESCAN")
	if python == "" {
		t.Skip("PAVISE_PICKLESCAN names no Python with picklescan")
	}
	cmd := exec.Command(python, append([]string{"testdata/peer.py"}, directories...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

// TestPicklescanList holds our lists to that of picklescan: nothing on it is clean. Two do
// nothing until somebody calls what they make, which is found when a pickle does so.
func TestPicklescanList(t *testing.T) {
	all := picklescan(t)
	if len(all) < 50 {
		t.Fatalf("only %d names", len(all))
	}
	harmless := map[string]bool{"operator itemgetter": true, "_operator itemgetter": true, "functools partial": true}
	for _, line := range all {
		module, name, _ := strings.Cut(line, " ")
		if got := scanned(t, "a.pkl", imports(module, name)); !got.Found() && !harmless[line] {
			t.Errorf("%s is %s", line, got.Verdict)
		}
	}
}

// TestBesidePicklescan counts which of the malicious files here picklescan finds.
func TestBesidePicklescan(t *testing.T) {
	var directories, names []string
	dir := t.TempDir()
	for i, h := range append(append(picklesThatAct(), picklesThatHide()...), archives()...) {
		if h.want != artefact.Malicious {
			continue
		}
		at := filepath.Join(dir, fmt.Sprint(i))
		if err := os.Mkdir(at, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(at, h.file), h.content, 0o600); err != nil {
			t.Fatal(err)
		}
		directories, names = append(directories, at), append(names, h.name)
	}
	found := 0
	for i, said := range picklescan(t, directories...) {
		if said == "1" {
			found++
		} else {
			t.Log("picklescan finds nothing in:", names[i])
		}
	}
	t.Logf("of %d malicious files picklescan finds %d, and Pavise all (TestHostile)", len(names), found)
}
