package siem

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/pavise/pavise"
)

const (
	// maxURL bounds an endpoint's address, in bytes.
	maxURL = 2048
	// sendWithin is how long one delivery may take, from dialling to the answer.
	sendWithin = 15 * time.Second
	dialWithin = 5 * time.Second
	// maxAnswerHeader bounds the header of a receiver's answer, in bytes; maxAnswer is
	// how much of its body is read and thrown away.
	maxAnswerHeader = 16 << 10
	maxAnswer       = 64 << 10
)

// A reach says which addresses findings may be sent to. It never changes.
type reach struct {
	loopback bool           // this machine too, also without TLS
	allow    []netip.Prefix // these although they are never otherwise
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

// refused says why findings may not be sent to an address, or "". local is true when the
// endpoint's own address names this machine.
func (r reach) refused(ip netip.Addr, local bool) string {
	ip = ip.WithZone("").Unmap()
	if slices.ContainsFunc(r.allow, func(p netip.Prefix) bool { return p.Contains(ip) }) {
		return ""
	}
	if ip.IsLoopback() {
		switch {
		case !r.loopback:
			return "is this machine, and findings are not sent there"
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
			return r.refused(netip.AddrFrom4([4]byte(b[c.at:c.at+4])), local)
		}
	}
	return ""
}

// address reads the address of an endpoint and refuses one that findings may not go to.
// It never repeats more of it than the host: the rest may be a secret.
func (r reach) address(text string) (*url.URL, error) {
	refuse := func(why, hint string) error {
		return &pavise.Error{Kind: pavise.Invalid, Msg: "the address of the receiver " + why, Hint: hint}
	}
	if len(text) > maxURL {
		return nil, refuse(fmt.Sprintf("is %d bytes long, more than %d", len(text), maxURL), "give a shorter one")
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
		return nil, refuse("is not encrypted", "begin it with https://; http:// is for a receiver on this machine, where findings may go there")
	}
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil {
		if why := r.refused(ip, names(u.Hostname())); why != "" {
			return nil, refuse(fmt.Sprintf("%s %s", ip, why), "name the receiver; what its name leads to is checked at each connection")
		}
	}
	return u, nil
}

// here reports whether a host is this machine, which needs no TLS where findings may go to
// it at all. Where that is by its address alone, the host has to be that address.
func (r reach) here(host string) bool {
	if r.loopback || !names(host) {
		return r.loopback && names(host)
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && r.refused(ip, true) == ""
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

func (e *refusedAddress) Error() string { return fmt.Sprintf("%s %s", e.ip, e.why) }

// client returns what sends to one endpoint. Every connection is checked by the address
// that is dialled, so that a name which leads elsewhere by then leads nowhere.
func (r reach) client(u *url.URL, roots *x509.CertPool) *http.Client {
	local := names(u.Hostname())
	dialer := &net.Dialer{Timeout: dialWithin, Control: func(_, address string, _ syscall.RawConn) error {
		to, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("dial %.80q: %w", address, err)
		}
		if why := r.refused(to.Addr(), local); why != "" {
			return &refusedAddress{to.Addr(), why}
		}
		return nil
	}}
	return &http.Client{
		Timeout: sendWithin,
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				return dialer.DialContext(ctx, network, address)
			},
			TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:    dialWithin,
			MaxResponseHeaderBytes: maxAnswerHeader,
			MaxConnsPerHost:        1,
			IdleConnTimeout:        time.Minute,
			ForceAttemptHTTP2:      true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
