//go:build !purego

package abreast

import (
	"crypto/fips140"
	"os"
	"os/exec"
	"testing"
)

// TestFIPS has nothing but the library hash where the process is in FIPS mode. The mode is chosen
// when a process starts, so this one starts itself again.
func TestFIPS(t *testing.T) {
	if fips140.Enabled() {
		if fast || wide || steps {
			t.Fatal("blocks are hashed beside the validated module")
		}
		return
	}
	again := exec.Command(os.Args[0], "-test.run=^TestFIPS$")
	again.Env = append(os.Environ(), "GODEBUG=fips140=on")
	if said, err := again.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
}
