package sigstore

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Object identifiers: RFC 5280, RFC 6962, and Fulcio's (docs/oid-info.md there).
var (
	oidAltName     = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidTimestamps  = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}
	oidIssuerPlain = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 1} // the text itself
	oidIssuer      = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 8} // a UTF8String
	oidUserName    = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 7} // of a name that is none of RFC 5280's
)

// names are whom a certificate was given to: its alternative names that are an address, a URI
// or a user's name, as Fulcio writes them.
func names(c *x509.Certificate) (list []string, err error) {
	for _, e := range c.Extensions {
		if !e.Id.Equal(oidAltName) {
			continue
		}
		var all []asn1.RawValue
		if rest, err := asn1.Unmarshal(e.Value, &all); err != nil || len(rest) != 0 {
			return nil, fmt.Errorf("its names cannot be read")
		}
		for _, n := range all {
			switch {
			case n.Class != asn1.ClassContextSpecific:
				return nil, fmt.Errorf("its names cannot be read")
			case n.Tag == 1 || n.Tag == 6: // rfc822Name, uniformResourceIdentifier
				list = append(list, string(n.Bytes))
			case n.Tag == 0: // otherName
				if name, ok := userName(n.Bytes); ok {
					list = append(list, name)
				}
			}
		}
	}
	return list, nil
}

// userName is the text of a name of Fulcio's own kind.
func userName(b []byte) (string, bool) {
	var kind asn1.ObjectIdentifier
	var wrapped, value asn1.RawValue
	rest, err := asn1.Unmarshal(b, &kind)
	if err != nil || !kind.Equal(oidUserName) {
		return "", false
	}
	if rest, err = asn1.Unmarshal(rest, &wrapped); err != nil || len(rest) != 0 || wrapped.Class != asn1.ClassContextSpecific || wrapped.Tag != 0 {
		return "", false
	}
	rest, err = asn1.Unmarshal(wrapped.Bytes, &value)
	return string(value.Bytes), err == nil && len(rest) == 0 && value.Class == asn1.ClassUniversal && value.Tag == asn1.TagUTF8String
}

// issuerOf is where whom the certificate was given to proved who they are.
func issuerOf(c *x509.Certificate) (string, error) {
	var plain, wrapped string
	for _, e := range c.Extensions {
		switch {
		case e.Id.Equal(oidIssuerPlain):
			plain = string(e.Value)
		case e.Id.Equal(oidIssuer):
			if rest, err := asn1.UnmarshalWithParams(e.Value, &wrapped, "utf8"); err != nil || len(rest) != 0 {
				return "", fmt.Errorf("its issuer cannot be read")
			}
		}
	}
	switch {
	case wrapped == "":
		return plain, nil
	case plain != "" && plain != wrapped:
		return "", fmt.Errorf("it names two issuers, %.80q and %.80q", plain, wrapped)
	}
	return wrapped, nil
}

// chain returns the certificate of who gave the certificate c, which an authority that was
// believed at a time must have done, or one that it let.
func (r *TrustedRoot) chain(c *x509.Certificate, at time.Time) (*x509.Certificate, error) {
	// Names that crypto/x509 does not know make theirs a critical extension that nobody
	// handled; names does.
	c.UnhandledCriticalExtensions = slices.DeleteFunc(c.UnhandledCriticalExtensions, func(id asn1.ObjectIdentifier) bool { return id.Equal(oidAltName) })
	if c.IsCA || c.KeyUsage&x509.KeyUsageDigitalSignature == 0 || !slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageCodeSigning) {
		return nil, Unverified("it is no signature by Sigstore", "the certificate is none to sign code with")
	}
	why := "no certificate authority was believed then"
	for _, a := range r.authorities {
		if !a.valid.has(at) {
			continue
		}
		roots, between := x509.NewCertPool(), x509.NewCertPool()
		roots.AddCert(a.root)
		for _, i := range a.intermediates {
			between.AddCert(i)
		}
		chains, err := c.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}})
		if err == nil && len(chains[0]) > 1 {
			return chains[0][1], nil
		}
		if err != nil {
			why = err.Error()
		}
	}
	return nil, Unverified("name the trusted root of the instance that signed; or somebody made the certificate themselves", "nobody who is trusted gave the certificate as of %s, when it signed: %s", at.UTC().Format(time.RFC3339), why)
}

// identify holds a certificate to an identity.
func identify(c *x509.Certificate, want Identity) error {
	all, err := names(c)
	if err != nil {
		return Unverified("", "the certificate: %v", err)
	}
	issuer, err := issuerOf(c)
	if err != nil {
		return Unverified("", "the certificate: %v", err)
	}
	const look = "if that is who should sign, name them"
	if want.Subject == "" || !slices.Contains(all, want.Subject) {
		return Unverified(look, "the model was signed by %.200q, and not by %.200q", strings.Join(all, ", "), want.Subject)
	}
	if want.Issuer == "" || issuer != want.Issuer {
		return Unverified(look, "who signed it proved who they are at %.200q, and not at %.200q", issuer, want.Issuer)
	}
	return nil
}

// withoutTimestamps is what a log of certificates signed of one: all but the timestamps
// themselves (RFC 6962, 3.2).
func withoutTimestamps(tbs []byte) ([]byte, error) {
	var whole, extensions asn1.RawValue
	if rest, err := asn1.Unmarshal(tbs, &whole); err != nil || len(rest) != 0 {
		return nil, fmt.Errorf("it cannot be read")
	}
	var kept []byte
	for rest := whole.Bytes; len(rest) > 0; {
		var part asn1.RawValue
		var err error
		if rest, err = asn1.Unmarshal(rest, &part); err != nil {
			return nil, fmt.Errorf("it cannot be read")
		}
		if part.Class != asn1.ClassContextSpecific || part.Tag != 3 {
			kept = append(kept, part.FullBytes...)
			continue
		}
		if left, err := asn1.Unmarshal(part.Bytes, &extensions); err != nil || len(left) != 0 {
			return nil, fmt.Errorf("its extensions cannot be read")
		}
		list, err := dropTimestamps(extensions.Bytes)
		if err != nil {
			return nil, err
		}
		inner, err := asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: list})
		if err != nil {
			return nil, err
		}
		outer, err := asn1.Marshal(asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 3, IsCompound: true, Bytes: inner})
		if err != nil {
			return nil, err
		}
		kept = append(kept, outer...)
	}
	return asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: kept})
}

func dropTimestamps(list []byte) (kept []byte, err error) {
	id, err := asn1.Marshal(oidTimestamps)
	if err != nil {
		return nil, err
	}
	for len(list) > 0 {
		var one asn1.RawValue
		if list, err = asn1.Unmarshal(list, &one); err != nil {
			return nil, fmt.Errorf("its extensions cannot be read")
		}
		if !bytes.HasPrefix(one.Bytes, id) {
			kept = append(kept, one.FullBytes...)
		}
	}
	return kept, nil
}
