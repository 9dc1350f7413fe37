// Package outbound is where messages of the house may go: addresses that people name, of
// receivers and of the tools they work with. It says which are refused, and makes clients
// that check it again at each connection, against the address that is really dialled. A
// Wire asks an API over one, with answers that are bounded.
//
// It owns the list of addresses that no receiver has: link-local ones, metadata of clouds,
// what stands for no one machine; and this machine, unless the installation allows it.
package outbound

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pavise/pavise"
)

const (
	// MaxURL bounds the address of a receiver, in bytes.
	MaxURL = 2048
	// SendWithin is how long one delivery may take, from dialling to the answer.
	SendWithin = 15 * time.Second
	dialWithin = 5 * time.Second
	// maxHeader bounds the header of a receiver's answer, in bytes.
	maxHeader = 16 << 10
)

// A Reach says which addresses may be sent to. It never changes.
type Reach struct {
	Loopback bool           // this machine too, also without TLS
	Allow    []netip.Prefix // these although they are never otherwise
}

// never are addresses that no receiver has: where machines find their own metadata and
// credentials, and what stands for no one machine. RFC 6890 and the clouds' documents.
var never = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.100.100.200/32"), // metadata of Alibaba Cloud
	netip.MustParsePrefix("168.63.129.16/32"),   // Azure's host
	netip.MustParsePrefix("169.254.0.0/16"),     // link-local, and most clouds' metadata
	netip.MustParsePrefix("192.0.0.0/24"),       // protocol assignments; metadata of Oracle's older machines
	netip.MustParsePrefix("224.0.0.0/3"),        // multicast, reserved, broadcast
	netip.MustParsePrefix("::/128"),
	netip.MustParsePrefix("fd00:ec2::/32"), // metadata of AWS
	netip.MustParsePrefix("fd20:ce::/32"),  // metadata of Google Cloud
	netip.MustParsePrefix("fe80::/10"),
	netip.MustParsePrefix("ff00::/8"),
}

// carriers are networks of IPv6 whose addresses stand for one of IPv4, and at which byte
// that begins: RFC 6052, RFC 3056, RFC 4291 2.5.5.1.
var carriers = []struct {
	prefix netip.Prefix
	at     int
}{
	{netip.MustParsePrefix("64:ff9b::/96"), 12},
	{netip.MustParsePrefix("64:ff9b:1::/48"), 12},
	{netip.MustParsePrefix("2002::/16"), 2},
	{netip.MustParsePrefix("::/96"), 12},
}

// Refused says why nothing may be sent to an address, or "". local is true when the
// endpoint's own address names this machine.
func (r Reach) Refused(ip netip.Addr, local bool) string {
	ip = ip.WithZone("").Unmap()
	if slices.ContainsFunc(r.Allow, func(p netip.Prefix) bool { return p.Contains(ip) }) {
		return ""
	}
	if ip.IsLoopback() {
		switch {
		case !r.Loopback:
			return "is this machine, and nothing is sent there"
		case !local:
			return "is this machine, and the name says otherwise"
		}
		return ""
	}
	if slices.ContainsFunc(never, func(p netip.Prefix) bool { return p.Contains(ip) }) {
		return "is a link-local, metadata or reserved address"
	}
	for _, c := range carriers {
		if ip.Is6() && c.prefix.Contains(ip) {
			b := ip.As16()
			return r.Refused(netip.AddrFrom4([4]byte(b[c.at:c.at+4])), local)
		}
	}
	return ""
}

// Address reads the address of a receiver and refuses one that nothing may be sent to,
// with an error of kind Invalid. It never repeats more of it than the host: the rest may be a secret.
func (r Reach) Address(text string) (*url.URL, error) {
	refuse := func(why, hint string) error {
		return &pavise.Error{Kind: pavise.Invalid, Msg: "the address of the receiver " + why, Hint: hint}
	}
	if len(text) > MaxURL {
		return nil, refuse(fmt.Sprintf("is %d bytes long, more than %d", len(text), MaxURL), "give a shorter one")
	}
	u, err := url.Parse(text)
	if err != nil || u.Opaque != "" || u.Hostname() == "" || strings.ContainsFunc(text, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return nil, refuse("is no URL", "for example https://siem.example.org/hooks/pavise")
	}
	switch {
	case u.User != nil:
		return nil, refuse("holds a user name or password", "leave it out: messages are signed, which proves more")
	case u.Fragment != "" || strings.HasSuffix(text, "#"):
		return nil, refuse("has a fragment", "leave out what follows #")
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, refuse(fmt.Sprintf("begins with %.20q", u.Scheme), "begin it with https://")
	case u.Scheme == "http" && !r.here(u.Hostname()):
		return nil, refuse("is not encrypted", "begin it with https://; http:// is for a receiver on this machine, where messages may go there")
	}
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil {
		if why := r.Refused(ip, names(u.Hostname())); why != "" {
			return nil, refuse(fmt.Sprintf("%s %s", ip, why), "name the receiver; what its name leads to is checked at each connection")
		}
	}
	return u, nil
}

// here reports whether a host is this machine, which needs no TLS where messages may go to
// it at all. Where that is by its address alone, the host has to be that address.
func (r Reach) here(host string) bool {
	if r.Loopback || !names(host) {
		return r.Loopback && names(host)
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && r.Refused(ip, true) == ""
}

// names reports whether a host names this machine.
func names(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

// A refusedAddress is why no connection was made.
type refusedAddress struct {
	ip  netip.Addr
	why string
}

// Error says which address, and why not.
func (e *refusedAddress) Error() string { return fmt.Sprintf("%s %s", e.ip, e.why) }

// Unreached says why no answer came, without the address: an error of package http holds
// it whole, and it may be a secret.
func Unreached(err error) string {
	var no *refusedAddress
	var dns *net.DNSError
	var cert *tls.CertificateVerificationError
	var timeout net.Error
	switch {
	case errors.As(err, &no):
		return no.Error()
	case errors.As(err, &dns):
		return "its name leads nowhere"
	case errors.As(err, &cert):
		return "its certificate is not believed"
	case errors.Is(err, context.Canceled):
		return "the process is stopping"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nobody listens there"
	case errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Sprintf("no answer came within %v", SendWithin)
	}
	return "no connection could be made, or it broke off"
}

// How long a receiver that did not take a message is left alone: twice as long after
// each time, and what it asks for itself, if that is longer.
const (
	firstPause = time.Second
	maxPause   = 5 * time.Minute
	maxAsked   = time.Hour
)

// Pause is how long to wait after so many attempts in a row came to nothing, give or
// take a quarter, so that receivers are not asked all at once when they come back. asked
// is what the receiver asked for.
func Pause(failed int, asked time.Duration) time.Duration {
	wait := maxPause
	if failed < 16 {
		wait = min(firstPause<<max(failed-1, 0), maxPause)
	}
	wait += time.Duration((rand.Float64() - 0.5) / 2 * float64(wait))
	return max(wait, asked)
}

// After is when the receiver wants to be asked again, as its answer's header says: seconds
// in Retry-After, an hour at most; 0: it does not say.
func After(header http.Header) time.Duration {
	seconds, err := strconv.ParseUint(header.Get("Retry-After"), 10, 32)
	if err != nil {
		return 0
	}
	return min(time.Duration(seconds)*time.Second, maxAsked)
}

// Client returns what sends to one receiver, whose certificate roots vouch for; nil: the
// system's. Every connection is checked by the address
// that is dialled, so that a name which leads elsewhere by then leads nowhere.
func (r Reach) Client(u *url.URL, roots *x509.CertPool) *http.Client {
	local := names(u.Hostname())
	dialer := &net.Dialer{Timeout: dialWithin, Control: func(_, address string, _ syscall.RawConn) error {
		to, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("dial %.80q: %w", address, err)
		}
		if why := r.Refused(to.Addr(), local); why != "" {
			return &refusedAddress{to.Addr(), why}
		}
		return nil
	}}
	return &http.Client{
		Timeout: SendWithin,
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				return dialer.DialContext(ctx, network, address)
			},
			TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:    dialWithin,
			MaxResponseHeaderBytes: maxHeader,
			MaxConnsPerHost:        1,
			IdleConnTimeout:        time.Minute,
			ForceAttemptHTTP2:      true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
