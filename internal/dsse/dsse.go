// Package dsse is the envelope in which statements are signed: Dead Simple Signing Envelope
// v1 (secure-systems-lab/dsse, protocol.md and envelope.md). It has the envelope's form and
// the bytes that a signature is of, and no keys. It owns no state.
package dsse

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// InToto is the payload type of in-toto statements.
const InToto = "application/vnd.in-toto+json"

// An Envelope is a payload with its signatures.
type Envelope struct {
	PayloadType string      `json:"payloadType"`
	Payload     Bytes       `json:"payload"`
	Signatures  []Signature `json:"signatures"`
}

// A Signature is one of an envelope's.
type Signature struct {
	KeyID string `json:"keyid"` // whose it says it is; nothing may rest on it
	Sig   Bytes  `json:"sig"`
}

// PAE is what a signature is of: the pre-authentication encoding of a payload and its type.
func PAE(payloadType string, payload []byte) []byte {
	return append(fmt.Appendf(nil, "DSSEv1 %d %s %d ", len(payloadType), payloadType, len(payload)), payload...)
}

// Bytes are bytes that JSON spells in base64, in the one spelling that they have in the
// alphabet of their text: standard, or that of URLs.
type Bytes []byte

// MarshalJSON implements json.Marshaler.
func (b Bytes) MarshalJSON() ([]byte, error) { return json.Marshal([]byte(b)) }

// UnmarshalJSON implements json.Unmarshaler. Null is none.
func (b *Bytes) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		*b = nil
		return nil
	}
	var s string
	if err := json.Unmarshal(text, &s); err != nil {
		return err
	}
	code := base64.StdEncoding
	if strings.ContainsAny(s, "-_") {
		code = base64.URLEncoding
	}
	read, err := code.Strict().DecodeString(s)
	if err == nil && code.EncodedLen(len(read)) != len(s) { // package base64 passes over line ends
		err = errors.New("there are line ends in it")
	}
	if err != nil {
		return fmt.Errorf("%.40q is no base64: %w", s, err)
	}
	*b = read
	return nil
}
