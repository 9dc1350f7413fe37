package sybil

import (
	"net/netip"

	"github.com/pavise/pavise"
)

// The width of the networks by which callers are linked: what one subscriber often has.
const (
	bits4 = 24
	bits6 = 48
)

// Facts are what is known of a caller beside what it asks. What is zero is not known, and
// links nobody.
type Facts struct {
	Made         pavise.Name  // who had its identity made
	Organisation string       // as its issuer says, told apart from those of other issuers
	Network      netip.Prefix // that it calls from; see NetworkOf
}

// NetworkOf returns the network of an address: of IPv4 24 bits, of IPv6 48. Of this
// machine's own it is none: whoever calls from there is behind a proxy, or everybody is.
func NetworkOf(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap().WithZone("")
	if !addr.IsValid() || addr.IsLoopback() || addr.IsUnspecified() {
		return netip.Prefix{}
	}
	bits := bits6
	if addr.Is4() {
		bits = bits4
	}
	p, _ := addr.Prefix(bits) // cannot fail: the address is of that width
	return p
}

// A Link is what links callers.
type Link uint8

// The links, the strongest first.
const (
	Alike        Link = iota // their rows nearly repeat each other's
	Made                     // one person had their identities made
	Organisation             // their issuer says they are of one
	Network                  // they call from one
)

var linkNames = [...]string{Alike: "alike", Made: "made by", Organisation: "organisation", Network: "network"}

// String returns what links, in a word or two.
func (l Link) String() string { return linkNames[l] }

// A hub is one thing that links callers.
type hub struct {
	link Link
	what string
}

// hubs are what a caller's facts link it by.
func (f Facts) hubs() (all [3]hub) {
	if f.Made != (pavise.Name{}) {
		all[0] = hub{Made, f.Made.String()}
	}
	if f.Organisation != "" {
		all[1] = hub{Organisation, f.Organisation}
	}
	if f.Network.IsValid() {
		all[2] = hub{Network, f.Network.String()}
	}
	return all
}
