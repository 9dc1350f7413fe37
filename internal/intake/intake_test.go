package intake

import (
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/iotest"

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

// oddly is an error as package http1 has them of bodies that are not as HTTP has it.
type oddly struct{}

func (oddly) Error() string     { return "odd" }
func (oddly) Misframed() string { return "a chunk is odd" }

// TestBodiesThatAreNone tells apart what broke off and what came otherwise than HTTP has it:
// whoever is told to send it within ten seconds sends it the same way again.
func TestBodiesThatAreNone(t *testing.T) {
	for want, err := range map[string]error{
		"the request's body cannot be read: a chunk is odd": fmt.Errorf("read: %w", oddly{}),
		"the request's body broke off":                      io.ErrUnexpectedEOF,
		"said already":                                      &pavise.Error{Kind: pavise.Denied, Msg: "said already"},
	} {
		var b Bodies
		h := b.Begin(pavise.Name{Tenant: "acme", Kind: pavise.Workload, ID: "a"})
		_, got := h.Read(iotest.ErrReader(err), 100)
		if e, is := errors.AsType[*pavise.Error](got); !is || e.Msg != want || e.Kind != pavise.Invalid && want != "said already" {
			t.Errorf("%v is told as %v, want %s", err, got, want)
		}
	}
}
