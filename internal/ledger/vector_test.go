package ledger

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

// TestVectors makes the log that docs/formats/record.md publishes and compares.
// With PAVISE_VECTORS=write it publishes it anew, for a new version of the format.
func TestVectors(t *testing.T) {
	l := openTest(t, t.TempDir())
	var got strings.Builder
	for i := range 3 {
		if _, err := l.Append(context.Background(), testRecord(i), Durable); err != nil {
			t.Fatal(err)
		}
		entry, err := l.Entry(uint64(i))
		if err != nil {
			t.Fatal(err)
		}
		leaf := tlog.RecordHash(entry)
		fmt.Fprintf(&got, "entry %x\nleaf %x\n", entry, leaf[:])
	}
	head := l.Head()
	fmt.Fprintf(&got, "root %x\nkey %s\nfingerprint %s\n\n%s", head.Root[:], l.Keys()[0], l.Keys()[0].Fingerprint(), head.Note)
	golden(t, "testdata/record.txt", got.String())
	if err := l.AwaitPublished(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	file, err := l.ProofFile(1)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/record.tlog-proof", string(file))
}

// golden holds what was made to a published vector.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if os.Getenv("PAVISE_VECTORS") == "write" {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the format changed:\n%s\nwant\n%s", got, want)
	}
}
