package dataset

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pavise/pavise"
)

// TestSpill seals more rows than are sorted at a time into the directory where they lie, beside what
// a run that was killed may have left: what does not fit into memory is in no seal, has no name
// while it is used, and is gone when the seal ends, however that is.
func TestSpill(t *testing.T) {
	rows := strings.Repeat(`{"text":"one of not very many different rows"}`+"\n", 100_000) + joined(lines(200_000))
	if len(rows) <= smallFile {
		t.Fatal("the file is sealed in memory")
	}
	dir := write(t, map[string]string{"a.jsonl": rows})
	want, _ := sealOf(t, dir)
	wantSeal, _ := os.ReadFile(want)
	out := filepath.Join(dir, "s")
	named := func() {
		if _, err := os.Lstat(out + spillSuffix); err == nil {
			t.Error("what is spilt has a name")
		}
	}
	leave := func(mode os.FileMode) {
		put(t, out+spillSuffix, "left by another run")
		if err := os.Chmod(out+spillSuffix, mode); err != nil {
			t.Fatal(err)
		}
	}
	no, asked := errors.New("no"), 0
	for refused := range 4 {
		if refused == 0 {
			leave(0o600)
		}
		at := 0
		_, err := (&Seal{Path: dir, Out: out, Grow: func(int64) error {
			named()
			if at++; refused > 0 && at > asked*refused/4 {
				return no
			}
			return nil
		}}).Run(t.Context())
		named()
		if refused > 0 {
			if !errors.Is(err, no) {
				t.Errorf("refused at call %d: %v", at, err)
			}
			continue
		}
		if asked = at; err != nil {
			t.Fatal(err)
		}
		if got, _ := os.ReadFile(out); !bytes.Equal(got, wantSeal) {
			t.Error("it is another seal")
		}
		for _, name := range []string{out, out + ".rows"} {
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	leave(0o644)
	if _, err := (&Seal{Path: dir, Out: out}).Run(t.Context()); pavise.KindOf(err) != pavise.Denied {
		t.Errorf("others could have it open: %v", err)
	}
}
