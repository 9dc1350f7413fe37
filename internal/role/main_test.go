package role

import (
	"flag"
	"os"
	"testing"
)

// TestMain lets four tests go on beside each other, whatever there are of processors: most of
// their time they wait for windows and reports of fleets.
func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", "4"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}
