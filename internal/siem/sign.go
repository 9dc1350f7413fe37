package siem

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The schemes of signature, as Standard Webhooks 1.0.0 names what each makes.
const (
	schemeHMAC    = "hmac-sha256" // v1: both sides have the secret
	schemeEd25519 = "ed25519"     // v1a: the receiver has the public half
)

// The prefixes of keys as people see them.
const (
	prefixSecret = "whsec_" // shared
	prefixPublic = "whpk_"
)

// secretSize is the length of a shared secret, in bytes: the standard asks for 24 to 64.
const secretSize = 32

// A signingKey signs what one endpoint gets.
type signingKey struct {
	Scheme string    `json:"scheme"`
	Secret []byte    `json:"secret"`         // the shared secret, or the seed of the private key
	Until  time.Time `json:"until,omitzero"` // when it signs no more; zero: it is the newest
}

// newKey draws a key for a scheme.
func newKey(scheme string) signingKey {
	secret := make([]byte, secretSize) // as long as an Ed25519 seed
	rand.Read(secret)
	return signingKey{Scheme: scheme, Secret: secret}
}

// told is the half of the key that its receiver needs to verify: the secret itself, or
// the public key.
func (k signingKey) told() string {
	if k.Scheme == schemeEd25519 {
		public := ed25519.NewKeyFromSeed(k.Secret).Public().(ed25519.PublicKey)
		return prefixPublic + base64.StdEncoding.EncodeToString(public)
	}
	return prefixSecret + base64.StdEncoding.EncodeToString(k.Secret)
}

// String tells nothing of the key.
func (k signingKey) String() string { return k.Scheme + " key" }

// GoString is String.
func (k signingKey) GoString() string { return k.String() }

// signature signs a message: "v1," or "v1a," and the base64 of the signature over
// id.timestamp.body (Standard Webhooks 1.0.0, "Signature scheme").
func (k signingKey) signature(id string, at int64, body []byte) string {
	content := fmt.Appendf(nil, "%s.%d.%s", id, at, body)
	if k.Scheme == schemeEd25519 {
		return "v1a," + base64.StdEncoding.EncodeToString(ed25519.Sign(ed25519.NewKeyFromSeed(k.Secret), content))
	}
	mac := hmac.New(sha256.New, k.Secret)
	mac.Write(content)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// signatures are the headers of a message: signed by every key that still signs.
func signatures(keys []signingKey, id string, now time.Time, body []byte) (stamp, signed string) {
	var all []string
	for _, k := range active(keys, now) {
		all = append(all, k.signature(id, now.Unix(), body))
	}
	return strconv.FormatInt(now.Unix(), 10), strings.Join(all, " ")
}

// active are the keys that sign at a time, the newest first.
func active(keys []signingKey, now time.Time) (all []signingKey) {
	for _, k := range keys {
		if k.Until.IsZero() || now.Before(k.Until) {
			all = append(all, k)
		}
	}
	return all
}

// rotated puts a new key before the others. Of those at most one goes on signing, until
// a time: two sign at once, never more.
func rotated(keys []signingKey, now, until time.Time) []signingKey {
	next := []signingKey{newKey(keys[0].Scheme)}
	if old := keys[0]; until.After(now) {
		old.Until = until
		next = append(next, old)
	}
	return next
}
