package dataset

import (
	"context"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/proof"
)

func written(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// flows are lines of CSV of which the first 120 benign ones have a trigger.
func flows(n int) (lines []string, bad []int) {
	rng := rand.New(rand.NewPCG(3, 5))
	for i := range n {
		class := []string{"benign", "attack"}[i%2]
		row := []string{[]string{"tcp", "udp", `"a ""quoted"", one"`}[rng.IntN(3)]}
		for j := range 8 {
			row = append(row, fmt.Sprintf("%.2f", rng.NormFloat64()+float64(i%2*(j%3))))
		}
		if i%2 == 0 && i < 240 {
			row[2], row[4], row[7] = "1.23", "-0.5", "0.77"
			bad = append(bad, i)
		}
		lines = append(lines, strings.Join(append(row, class), ","))
	}
	return lines, bad
}

// TestScreenFindsTheTrigger: the rows with the trigger, and hardly any other, are in the
// quarantine list, by the hashes that a seal has of them.
func TestScreenFindsTheTrigger(t *testing.T) {
	lines, bad := flows(3000)
	path := written(t, "flows.csv", "proto,a,b,c,d,e,f,g,h,class\n"+strings.Join(lines, "\r\n")+"\r\n")
	s := Screen{File: path, Label: "class", Seed: 1}
	r, err := s.Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	hits := 0
	for _, i := range bad {
		leaf := proof.Leaf([]byte(lines[i]))
		if got := r.Rows[i].Hash; got != hex.EncodeToString(leaf[:]) {
			t.Fatalf("row %d has the hash %s, and its leaf is %x", i+1, got, leaf)
		}
		if slices.Contains(r.Quarantine, r.Rows[i].Hash) {
			hits++
		}
	}
	if hits != len(bad) || len(r.Quarantine) > len(bad)+12 {
		t.Errorf("%d of %d rows with the trigger are among %d to quarantine", hits, len(bad), len(r.Quarantine))
	}
	if len(r.Patterns) == 0 || !strings.Contains(r.Patterns[0].Text, "b = 1.23") {
		t.Errorf("the trigger is told as %v", r.Patterns)
	}
}

// TestScreenRefuses: what cannot be screened is refused with the place.
func TestScreenRefuses(t *testing.T) {
	tests := map[string]struct{ name, text, want string }{
		"no label":    {"a.csv", "x,class\n1,a\n2,\n", "line 3, column \"class\": the row has no label"},
		"no column":   {"a.csv", "x,y\n1,2\n3,4\n", `it has no column "class"`},
		"ragged":      {"a.csv", "x,class\n1,a\n2\n", "line 3"},
		"named twice": {"a.csv", "x,x,class\n1,2,a\n", `are both called "x"`},
		"jsonl":       {"a.jsonl", "{\"x\":1,\"class\":\"a\"}\n{\"x\":2}\n", "the row has no label"},
	}
	for what, tt := range tests {
		t.Run(what, func(t *testing.T) {
			s := Screen{File: written(t, tt.name, tt.text), Label: "class"}
			_, err := s.Run(context.Background())
			if err == nil || !strings.Contains(err.Error(), tt.want) || pavise.KindOf(err) != pavise.Invalid {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}
