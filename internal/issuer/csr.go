package issuer

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/pavise/pavise"
)

// maxRequest bounds a certificate request, in bytes: one that asks for the most names
// that may be had fits.
const maxRequest = 16 << 10

// Request returns the certificate request (PKCS #10, DER) for a key, which asks for
// nothing: names are those of the invitation.
func Request(key crypto.Signer) ([]byte, error) {
	if err := checkKey(key.Public()); err != nil {
		return nil, err
	}
	return x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
}

// KeyFingerprint returns the fingerprint of a public key, by which an invitation can be
// bound to it: "sha256:" and the hex SHA-256 of its PKIX form.
func KeyFingerprint(public crypto.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return "", invalid("this is no public key that has a fingerprint", "take an ECDSA key (P-256 or P-384) or an Ed25519 key")
	}
	return fmt.Sprintf("sha256:%x", sha256.Sum256(der)), nil
}

// checkKey is the list of keys that may have a certificate. RSA is not on it: whoever
// joins makes a new key, and RSA would be slower at every handshake for nobody's gain.
func checkKey(public crypto.PublicKey) error {
	switch k := public.(type) {
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() || k.Curve == elliptic.P384() {
			return nil
		}
	case ed25519.PublicKey:
		return nil
	}
	return invalid(fmt.Sprintf("the key is of a type (%s) that gets no certificate", strings.TrimPrefix(fmt.Sprintf("%T", public), "*")), "take an ECDSA key (P-256 or P-384) or an Ed25519 key")
}

// readRequest reads a certificate request and returns its key, for which it has proved
// possession. Of all else that it says nothing is believed: a name that the holder may
// not have is refused, so that nobody thinks they got it.
func (h *Holder) readRequest(spiffe string, der []byte) (crypto.PublicKey, error) {
	if len(der) > maxRequest {
		return nil, invalid(fmt.Sprintf("the certificate request is %d bytes long, more than %d", len(der), maxRequest), "ask for the key alone")
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: "the certificate request is no PKCS #10 request in DER", Hint: "send what openssl req -outform DER writes, or let pavise make it", Err: err}
	}
	if err := checkKey(csr.PublicKey); err != nil {
		return nil, err
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, &pavise.Error{Kind: pavise.Unverified, Msg: "the certificate request is not signed by the key that it is for", Hint: "sign it with that key", Err: err}
	}
	return csr.PublicKey, h.mayAsk(spiffe, csr)
}

// mayAsk refuses a request for names that the holder may not have.
func (h *Holder) mayAsk(spiffe string, csr *x509.CertificateRequest) error {
	denied := func(what string) error {
		return &pavise.Error{Kind: pavise.Denied, Msg: fmt.Sprintf("the certificate request asks for %.200q, which the invitation does not give", what), Hint: "ask for no names: those of the invitation are in the certificate"}
	}
	for _, name := range csr.DNSNames {
		if !slices.Contains(h.DNS, name) {
			return denied(name)
		}
	}
	for _, ip := range csr.IPAddresses {
		if !slices.ContainsFunc(h.IPs, ip.Equal) {
			return denied(ip.String())
		}
	}
	for _, uri := range csr.URIs {
		if uri.String() != spiffe {
			return denied(uri.String())
		}
	}
	if len(csr.EmailAddresses) > 0 {
		return denied(csr.EmailAddresses[0])
	}
	return nil
}

// checkNames says whether a server certificate may carry names and addresses.
func checkNames(kind string, dns []string, ips []net.IP) error {
	if len(dns)+len(ips) > maxNames {
		return invalid(fmt.Sprintf("%d names and addresses are more than %d", len(dns)+len(ips), maxNames), "give it fewer")
	}
	if kind == pavise.Human && len(dns)+len(ips) > 0 {
		return invalid("a person serves nobody, and has no names for a server", "leave them out")
	}
	for _, name := range dns {
		if !isHost(name) {
			return invalid(fmt.Sprintf("%.100q is no host name", name), "take letters, digits, dashes and dots, for example gw-1.acme.example; no wildcards")
		}
	}
	for _, ip := range ips {
		if len(ip) != net.IPv4len && len(ip) != net.IPv6len || ip.IsUnspecified() || ip.IsMulticast() {
			return invalid(fmt.Sprintf("%s is no address of one machine", ip), "take one that it is reached by")
		}
	}
	return nil
}

// isHost reports whether a name is a host's (RFC 1123), without a wildcard.
func isHost(name string) bool {
	if name == "" || len(name) > 253 || net.ParseIP(name) != nil {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		bad := strings.ContainsFunc(label, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-'
		})
		if label == "" || len(label) > 63 || bad || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
	}
	return true
}
