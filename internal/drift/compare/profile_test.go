package compare

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/drift"
)

// TestProfile: a baseline of a file's rows holds them to what they were.
func TestProfile(t *testing.T) {
	dir := t.TempDir()
	var text strings.Builder
	text.WriteString("bytes,protocol,empty\n")
	for i := range 500 {
		fmt.Fprintf(&text, "%d,%s,\n", i*i%997, []string{"tcp", "udp"}[i%2])
	}
	rows := filepath.Join(dir, "rows.csv")
	if err := os.WriteFile(rows, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	p := &Profile{Rows: rows, Out: filepath.Join(dir, "baseline.json")}
	made, err := p.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if made.Rows != 500 || strings.Join(made.Features, " ") != "bytes protocol" || strings.Join(made.Passed, " ") != "empty" {
		t.Errorf("%+v", made)
	}
	kept, err := os.ReadFile(p.Out)
	if err != nil {
		t.Fatal(err)
	}
	b, err := drift.ParseBaseline(kept)
	if err != nil || b.Digest() != made.Digest {
		t.Fatalf("%v: %v", b, err)
	}
	f, err := b.Features[0].Feature()
	if err != nil {
		t.Fatal(err)
	}
	var now drift.Histogram
	for i := range 500 {
		f.Numbers.Count(&now, float64(i*i%997)+300)
	}
	if o := drift.Hold(drift.Number, f.Numbers.Bins(), f.Base, &now); !o.Moved() {
		t.Errorf("%+v", o)
	}
	if _, err := p.Run(t.Context()); pavise.KindOf(err) != pavise.Invalid {
		t.Errorf("over a file that is there: %v", err)
	}
}
