package sigstore

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/dsse"
	"github.com/pavise/pavise/internal/plainjson"
)

// MediaType is the media type of the bundles that are read.
const MediaType = "application/vnd.dev.sigstore.bundle.v0.3+json"

// otherMediaType is how the first bundles of version 0.3 spell it.
const otherMediaType = "application/vnd.dev.sigstore.bundle+json;version=0.3"

// MaxBundle bounds a bundle, in bytes.
const MaxBundle = 64 << 20

const (
	maxChain  = 16
	maxFew    = 64      // of an inclusion proof: a tree of 2⁶³ leaves has no more hashes
	maxAround = 1 << 20 // bytes of a bundle around its long texts, of which the payload is one
	longText  = 1 << 16
)

// A Bundle is a signed payload with what verifies it. Of Key, Chain and Certificate exactly
// one is there.
type Bundle struct {
	Payload     []byte
	PayloadType string
	Signature   []byte

	Key         *KeyHint // whose key it is says nobody
	Chain       [][]byte // certificates in DER, the signer's first
	Certificate []byte   // one certificate in DER, by Sigstore's certificate authority
	Entries     []Entry  // of transparency logs
}

// A KeyHint says which public key verifies a bundle. Old bundles have the key itself.
type KeyHint struct {
	Hint    string     `json:"hint"`
	Raw     dsse.Bytes `json:"rawBytes"`
	Details string     `json:"keyDetails"`
}

// An Entry is what a transparency log has of a bundle, and the proof.
type Entry struct {
	LogIndex number `json:"logIndex"` // among all entries of the log
	LogID    struct {
		KeyID dsse.Bytes `json:"keyId"`
	} `json:"logId"`
	Kind struct {
		Kind    string `json:"kind"`
		Version string `json:"version"`
	} `json:"kindVersion"`
	IntegratedTime number `json:"integratedTime"` // seconds since 1970
	Promise        struct {
		Signed dsse.Bytes `json:"signedEntryTimestamp"`
	} `json:"inclusionPromise"`
	Proof *inclusion `json:"inclusionProof"`
	Body  dsse.Bytes `json:"canonicalizedBody"`
}

// An inclusion is the proof that an entry is in a tree of the log.
type inclusion struct {
	LogIndex   number          `json:"logIndex"` // in this tree
	Root       dsse.Bytes      `json:"rootHash"`
	Size       number          `json:"treeSize"`
	Hashes     few[dsse.Bytes] `json:"hashes"`
	Checkpoint struct {
		Envelope string `json:"envelope"`
	} `json:"checkpoint"`
}

// few is a list of which there cannot be many. It is counted while it is read: each of a
// million empty objects takes a hundred times its text.
type few[T any] []T

// UnmarshalJSON implements json.Unmarshaler.
func (l *few[T]) UnmarshalJSON(text []byte) error {
	d := json.NewDecoder(bytes.NewReader(text))
	if t, err := d.Token(); err != nil || t != json.Delim('[') {
		if t == nil {
			return err // null is none
		}
		return fmt.Errorf("%.40q is no list", text)
	}
	*l = nil
	for d.More() {
		if len(*l) == maxFew {
			return fmt.Errorf("a list has more than %d entries", maxFew)
		}
		var one T
		if err := d.Decode(&one); err != nil {
			return err
		}
		*l = append(*l, one)
	}
	return nil
}

// around counts the bytes of a bundle outside of its long texts.
func around(text []byte) (n int) {
	for len(text) > 0 {
		at := bytes.IndexByte(text, '"')
		if at < 0 {
			return n + len(text)
		}
		end := at + 1
		for end < len(text) && text[end] != '"' {
			if text[end] == '\\' {
				end++
			}
			end++
		}
		end = min(end+1, len(text))
		if n += at; end-at < longText {
			n += end - at
		}
		text = text[end:]
	}
	return n
}

// A number is a 64-bit number as protobuf writes it in JSON: as a string, or as a number.
type number int64

// UnmarshalJSON implements json.Unmarshaler.
func (n *number) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		return nil
	}
	s := strings.TrimSuffix(strings.TrimPrefix(string(text), `"`), `"`)
	read, err := strconv.ParseInt(s, 10, 64)
	if err != nil || strconv.FormatInt(read, 10) != s {
		return fmt.Errorf("%.40q is no number", s)
	}
	*n = number(read)
	return nil
}

// certificateJSON is a certificate, as protobuf writes it in JSON.
type certificateJSON struct {
	Raw dsse.Bytes `json:"rawBytes"`
}

// chainJSON are certificates, each given by the one behind it.
type chainJSON struct {
	Certificates few[certificateJSON] `json:"certificates"`
}

func (c *chainJSON) der() (list [][]byte) {
	for _, one := range c.Certificates {
		list = append(list, one.Raw)
	}
	return list
}

// Unverified is an error of kind Unverified: what of a signature does not hold.
func Unverified(hint, format string, args ...any) error {
	return &pavise.Error{Kind: pavise.Unverified, Msg: fmt.Sprintf(format, args...), Hint: hint}
}

func noBundle(format string, args ...any) error {
	return Unverified("it was changed, or it is no signature of a model: sign the model anew", "the signature is no Sigstore bundle of version 0.3: "+format, args...)
}

// ParseBundle reads a bundle. Nothing of it is verified. Errors are of kind Unverified.
func ParseBundle(text []byte) (*Bundle, error) {
	if len(text) > MaxBundle {
		return nil, noBundle("it is longer than %d bytes", MaxBundle)
	}
	if n := around(text); n > maxAround {
		return nil, noBundle("it has %d bytes around its payload, and %d at most are read", n, maxAround)
	}
	outer, err := plainjson.ReadKnown[struct {
		MediaType string          `json:"mediaType"`
		Material  json.RawMessage `json:"verificationMaterial"`
		Envelope  *struct {
			PayloadType string              `json:"payloadType"`
			Payload     dsse.Bytes          `json:"payload"`
			Signatures  few[dsse.Signature] `json:"signatures"`
		} `json:"dsseEnvelope"`
	}](text)
	switch {
	case err != nil:
		return nil, noBundle("%v", err)
	case outer.MediaType != MediaType && outer.MediaType != otherMediaType:
		return nil, noBundle("its media type is %.80q", outer.MediaType)
	case outer.Envelope == nil || len(outer.Envelope.Payload) == 0:
		return nil, noBundle("there is no payload in it")
	case len(outer.Envelope.Signatures) != 1 || len(outer.Envelope.Signatures[0].Sig) == 0:
		return nil, noBundle("it has %d signatures, and one is asked for", len(outer.Envelope.Signatures))
	case len(outer.Material) == 0:
		return nil, noBundle("there is no verification material in it")
	}
	b := &Bundle{Payload: outer.Envelope.Payload, PayloadType: outer.Envelope.PayloadType, Signature: outer.Envelope.Signatures[0].Sig}
	return b, b.material(outer.Material)
}

// material reads what verifies a bundle.
func (b *Bundle) material(text []byte) error {
	var m struct {
		Key         *KeyHint         `json:"publicKey"`
		Chain       *chainJSON       `json:"x509CertificateChain"`
		Certificate *certificateJSON `json:"certificate"`
		Entries     few[Entry]       `json:"tlogEntries"`
	}
	if err := json.Unmarshal(text, &m); err != nil { // which keys are twice was looked at with the rest
		return noBundle("%v", err)
	}
	kinds := 0
	for _, there := range []bool{m.Key != nil, m.Chain != nil, m.Certificate != nil} {
		if there {
			kinds++
		}
	}
	if kinds != 1 {
		return noBundle("it has %d of a key, a certificate chain and a certificate, and one is asked for", kinds)
	}
	b.Key, b.Entries = m.Key, m.Entries
	if m.Chain != nil {
		b.Chain = m.Chain.der()
		if len(b.Chain) == 0 || len(b.Chain) > maxChain {
			return noBundle("its chain has %d certificates, and there can be 1 to %d", len(b.Chain), maxChain)
		}
	}
	if m.Certificate != nil {
		b.Certificate = m.Certificate.Raw
		if len(b.Certificate) == 0 {
			return noBundle("its certificate is empty")
		}
	}
	return nil
}
