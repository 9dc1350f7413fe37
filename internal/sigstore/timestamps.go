package sigstore

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/binary"
	"time"
)

// A promise is a signed certificate timestamp: that a log will have a certificate (RFC 6962,
// 3.2).
type promise struct {
	log        [sha256.Size]byte
	at         uint64 // milliseconds since 1970
	extensions []byte
	hash       byte // of RFC 5246: 4 is SHA-256
	algorithm  byte // of RFC 5246: 1 is RSA, 3 is ECDSA
	sig        []byte
}

// promised holds a certificate to the logs of certificates: one of them must have promised to
// have it.
func (r *TrustedRoot) promised(c, issuer *x509.Certificate) error {
	const hint = "a certificate that no log has could have been given in secret: do not believe it"
	list, err := promises(c)
	if err != nil {
		return err
	}
	tbs, err := withoutTimestamps(c.RawTBSCertificate)
	if err != nil {
		return Unverified(hint, "the certificate: %v", err)
	}
	by := sha256.Sum256(issuer.RawSubjectPublicKeyInfo)
	for _, p := range list {
		message := p.message(by, tbs)
		at := time.UnixMilli(int64(min(p.at, 1<<62)))
		for _, l := range r.transparency {
			if l.id == p.log && l.valid.has(at) && p.hash == 4 && (p.algorithm == 1 || p.algorithm == 3) && Signed(l.key, message, p.sig) {
				return nil
			}
		}
	}
	return Unverified(hint, "none of the %d timestamps in the certificate is of a log of certificates that is trusted, and of this certificate", len(list))
}

// message is what a log signed of a certificate that was to be given.
func (p *promise) message(issuer [sha256.Size]byte, tbs []byte) []byte {
	m := []byte{0, 0} // version 1, a certificate's timestamp
	m = binary.BigEndian.AppendUint64(m, p.at)
	m = append(m, 0, 1) // of a certificate that was to be given
	m = append(m, issuer[:]...)
	m = append(m, byte(len(tbs)>>16), byte(len(tbs)>>8), byte(len(tbs)))
	m = append(m, tbs...)
	m = binary.BigEndian.AppendUint16(m, uint16(len(p.extensions)))
	return append(m, p.extensions...)
}

// promises are the timestamps in a certificate.
func promises(c *x509.Certificate) (list []promise, err error) {
	torn := Unverified("", "the timestamps in the certificate cannot be read")
	for _, e := range c.Extensions {
		if !e.Id.Equal(oidTimestamps) {
			continue
		}
		var text []byte
		if rest, err := asn1.Unmarshal(e.Value, &text); err != nil || len(rest) != 0 {
			return nil, torn
		}
		all, rest, ok := cut(text)
		if !ok || len(rest) != 0 {
			return nil, torn
		}
		for len(all) > 0 {
			var one []byte
			if one, all, ok = cut(all); !ok {
				return nil, torn
			}
			p, ok := parsePromise(one)
			if !ok {
				return nil, torn
			}
			list = append(list, p)
		}
	}
	return list, nil
}

func parsePromise(b []byte) (p promise, ok bool) {
	const head = 1 + sha256.Size + 8
	if len(b) < head || b[0] != 0 {
		return p, false
	}
	p.log = [sha256.Size]byte(b[1:])
	p.at = binary.BigEndian.Uint64(b[1+sha256.Size:])
	if p.extensions, b, ok = cut(b[head:]); !ok || len(b) < 2 {
		return p, false
	}
	p.hash, p.algorithm = b[0], b[1]
	p.sig, b, ok = cut(b[2:])
	return p, ok && len(b) == 0
}

// cut takes off bytes behind their length, which is two bytes.
func cut(b []byte) (taken, rest []byte, ok bool) {
	if len(b) < 2 {
		return nil, nil, false
	}
	n := int(binary.BigEndian.Uint16(b))
	if len(b)-2 < n {
		return nil, nil, false
	}
	return b[2 : 2+n], b[2+n:], true
}
