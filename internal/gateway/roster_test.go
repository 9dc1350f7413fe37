package gateway

import (
	"fmt"
	"sync"
	"testing"

	"github.com/pavise/pavise"
)

// A roster knows the network and the maker of who calls, as of their last request, and
// stays bounded whoever calls.
func TestRoster(t *testing.T) {
	var r roster
	who := func(i int) pavise.Principal {
		return pavise.Principal{Tenant: "local", Kind: pavise.Workload, ID: fmt.Sprint("w", i), By: pavise.Name{Tenant: "local", Kind: pavise.Human, ID: "ana"}}
	}
	r.see(who(1), "192.0.2.77")
	if f := r.of(who(1).Name()); f.Network.String() != "192.0.2.0/24" || f.Made.ID != "ana" {
		t.Errorf("known is %+v", f)
	}
	member := who(3)
	for issuer, want := range map[string]string{"https://a": "https://a acme", "https://b": "https://b acme"} {
		member.Issuer, member.Organisation = issuer, "acme"
		r.see(member, "192.0.2.77")
		if f := r.of(member.Name()); f.Organisation != want {
			t.Errorf("the organisation is %q", f.Organisation)
		}
	}
	r.see(who(1), "2001:db8:1::9")
	if f := r.of(who(1).Name()); f.Network.String() != "2001:db8:1::/48" {
		t.Errorf("after a move: %+v", f)
	}
	for _, source := range []string{"", "@", "127.0.0.1", "not an address"} {
		r.see(who(2), source)
		if f := r.of(who(2).Name()); f.Network.IsValid() || f.Made.ID != "ana" {
			t.Errorf("from %q: %+v", source, f)
		}
	}
	var all sync.WaitGroup
	for part := range 4 {
		all.Go(func() {
			for i := range maxRoster / 2 {
				r.see(who(part*maxRoster+i), "192.0.2.1")
			}
		})
	}
	all.Wait()
	if len(r.known) > maxRoster {
		t.Errorf("%d callers are known", len(r.known))
	}
}

func BenchmarkRoster(b *testing.B) {
	var r roster
	who := pavise.Principal{Tenant: "local", Kind: pavise.Workload, ID: "w"}
	for b.Loop() {
		r.see(who, "192.0.2.77")
	}
}
