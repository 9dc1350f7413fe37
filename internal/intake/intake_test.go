package intake

import (
	"fmt"
	"testing"

	"github.com/pavise/pavise"
)

// TestBodiesAreBounded fills the room of all callers, some bytes at a time.
func TestBodiesAreBounded(t *testing.T) {
	var b Bodies
	caller := func(i int) pavise.Name {
		return pavise.Name{Tenant: "acme", Kind: pavise.Workload, ID: fmt.Sprint(i)}
	}
	var all []*Hold
	take := func(i, n int) error {
		h := b.Begin(caller(i))
		all = append(all, h)
		return h.Set(n)
	}
	for i := range Max / MaxEach {
		if err := take(i, MaxEach-1); err != nil {
			t.Fatal(err)
		}
		if err := take(i, 1); err != nil {
			t.Fatal(err)
		}
		if err := take(i, 1); pavise.KindOf(err) != pavise.Throttled {
			t.Errorf("caller %d over its share: %v", i, err)
		}
	}
	if err := take(1000, 1); pavise.KindOf(err) != pavise.Unavailable {
		t.Errorf("over everybody's share: %v", err)
	}
	if err := all[0].Set(MaxEach / 2); err != nil { // less than it has
		t.Error(err)
	}
	if err := take(1000, 1); err != nil {
		t.Errorf("after room was made: %v", err)
	}
	for _, h := range all {
		h.Free()
	}
	if b.all != 0 || len(b.each) != 0 {
		t.Errorf("%d bytes of %d callers are left", b.all, len(b.each))
	}
	if err := take(0, MaxEach+1); err != nil {
		t.Errorf("a caller's only request: %v", err)
	}
}
