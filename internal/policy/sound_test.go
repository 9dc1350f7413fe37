package policy

import (
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/pavise/pavise"
)

// TestWhatHoldsIsOfOneSchema: that a policy holds against a schema is remembered, and says
// nothing of another schema, or of another text under the same id.
func TestWhatHoldsIsOfOneSchema(t *testing.T) {
	with, err := NewSchema([]Action{{Verb: "lamp.set", On: []string{"lamp"}}})
	if err != nil {
		t.Fatal(err)
	}
	without, err := NewSchema(nil)
	if err != nil {
		t.Fatal(err)
	}
	lamp := map[string]string{"lamps": `permit (principal, action == Action::"lamp.set", resource);`}
	other := map[string]string{"lamps": `permit (principal, action == Action::"lamp.sell", resource);`}
	for range 2 {
		if _, err := with.Compile("local", lamp, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := without.Compile("local", lamp, nil); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("a schema without lamps takes a policy on them: %v", err)
		}
		if _, err := with.Compile("local", other, nil); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("a policy on an act that there is not is taken under the id of another: %v", err)
		}
	}
}

// TestVerdictsAreBounded: no more are remembered than there is room for.
func TestVerdictsAreBounded(t *testing.T) {
	var v verdicts
	var sum [sha256.Size]byte
	for i := range 3 * maxSound {
		sum = sha256.Sum256(fmt.Append(nil, i))
		v.add(sum)
	}
	if len(v.all) > maxSound || !v.has(sum) {
		t.Errorf("%d are remembered, or the last is not", len(v.all))
	}
}
