package redteam

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	threatdetector "github.com/pavise/pavise/examples/threat-detector"
	"github.com/pavise/pavise/internal/learn"
)

var update = flag.Bool("update", false, "write the example's rows anew")

// TestExampleRows holds the rows that docs/redteam.md attacks the sample model with to the
// generator that made them.
func TestExampleRows(t *testing.T) {
	const file = "../../examples/redteam/flows.csv"
	rng := rand.New(rand.NewPCG(11, 12))
	var text strings.Builder
	for _, f := range threatdetector.Features() {
		text.WriteString(f.Name + ",")
	}
	text.WriteString("class\n")
	for range 800 {
		class := threatdetector.Class(rng.IntN(len(threatdetector.Classes())))
		if rng.IntN(2) == 0 {
			class = threatdetector.Normal
		}
		row := learn.Matrix(threatdetector.Rows(rng, class, 1))
		for _, v := range row.Data {
			fmt.Fprintf(&text, "%v,", v)
		}
		fmt.Fprintf(&text, "%d\n", int(class))
	}
	if *update {
		if err := os.WriteFile(file, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != text.String() {
		t.Error("the rows are others than the generator makes: go test ./internal/redteam -run TestExampleRows -update")
	}
}
