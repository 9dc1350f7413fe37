package issuer

import (
	"fmt"
	"testing"
)

// TestBoundInvitationIsNotUsedUp has strangers try an invitation that anybody may see: it
// stays good for whose key it is, and leaves no record of each.
func TestBoundInvitationIsNotUsedUp(t *testing.T) {
	a := newAuthority(t, noon)
	key := p256(t)
	fingerprint, err := KeyFingerprint(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	word := a.invite(t, Invite{ID: "gw-1", Key: fingerprint})
	before := len(a.log.records)
	for i := range 3 * maxTries {
		csr := request(t, p256(t))
		if i%3 == 0 {
			csr = []byte("no request")
		}
		if _, err := a.Join(t.Context(), fmt.Sprintf("192.0.2.%d", i), word, csr); err == nil {
			t.Fatal("a stranger joined")
		}
	}
	for _, r := range a.log.records[before:] {
		if r.Kind == "node.join" {
			t.Fatalf("a stranger's request is a record: %+v", r)
		}
	}
	if _, err := a.Join(t.Context(), "192.0.2.1", word, request(t, key)); err != nil {
		t.Errorf("whose key it is: %v", err)
	}
}
