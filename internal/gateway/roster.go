package gateway

import (
	"net/netip"
	"strings"
	"sync"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/sybil"
)

// maxRoster is of how many callers it is known what links them to others. Of more, any
// one is forgotten: it is known again with its next request.
const maxRoster = 1 << 15

// A roster knows, of callers who were let in, what links them to others beside what they
// ask. It is safe for concurrent use.
type roster struct {
	mu    sync.RWMutex // guards what follows
	known map[pavise.Name]sybil.Facts
}

// see notes who calls, from an address.
func (r *roster) see(who pavise.Principal, source string) {
	f := sybil.Facts{Made: who.By}
	if who.Organisation != "" {
		f.Organisation = who.Issuer + " " + who.Organisation // two issuers may have the same word for two of them
	}
	if addr, err := netip.ParseAddr(source); err == nil {
		f.Network = sybil.NetworkOf(addr)
	}
	if r.of(who.Name()) == f {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known == nil {
		r.known = map[pavise.Name]sybil.Facts{}
	}
	if _, there := r.known[who.Name()]; !there && len(r.known) >= maxRoster {
		for one := range r.known {
			delete(r.known, one)
			break
		}
	}
	f.Made = cloned(f.Made)
	r.known[cloned(who.Name())] = f
}

// cloned is a name that keeps nothing of the request in memory.
func cloned(n pavise.Name) pavise.Name {
	return pavise.Name{Tenant: strings.Clone(n.Tenant), Kind: strings.Clone(n.Kind), ID: strings.Clone(n.ID)}
}

// of is what is known of a caller.
func (r *roster) of(who pavise.Name) sybil.Facts {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.known[who]
}
