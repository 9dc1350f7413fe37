// Package hook signs and verifies messages in the manner of Standard Webhooks 1.0.0:
// three headers, and a signature over the id, the time and the body. It owns the spelling
// of the keys. It has no clock and no network.
package hook

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
	HMAC    = "hmac-sha256" // v1: both sides have the secret
	Ed25519 = "ed25519"     // v1a: the receiver has the public half
)

// The prefixes of keys as people see them.
const (
	prefixSecret = "whsec_" // shared
	prefixPublic = "whpk_"
)

// secretSize is the length of a shared secret, in bytes: the standard asks for 24 to 64.
const secretSize = 32

// A Key signs what one receiver gets.
type Key struct {
	Scheme string    `json:"scheme"`
	Secret []byte    `json:"secret"`         // the shared secret, or the seed of the private key
	Until  time.Time `json:"until,omitzero"` // when it signs no more; zero: it is the newest
}

// NewKey draws a key for a scheme.
func NewKey(scheme string) Key {
	secret := make([]byte, secretSize) // as long as an Ed25519 seed
	rand.Read(secret)
	return Key{Scheme: scheme, Secret: secret}
}

// Told is the half of the key that its receiver needs to verify: the secret itself, or
// the public key.
func (k Key) Told() string {
	if k.Scheme == Ed25519 {
		public := ed25519.NewKeyFromSeed(k.Secret).Public().(ed25519.PublicKey)
		return prefixPublic + base64.StdEncoding.EncodeToString(public)
	}
	return prefixSecret + base64.StdEncoding.EncodeToString(k.Secret)
}

// String tells nothing of the key.
func (k Key) String() string { return k.Scheme + " key" }

// GoString is String.
func (k Key) GoString() string { return k.String() }

// signature signs a message: "v1," or "v1a," and the base64 of the signature over
// id.timestamp.body (Standard Webhooks 1.0.0, "Signature scheme").
func (k Key) signature(id string, at int64, body []byte) string {
	content := fmt.Appendf(nil, "%s.%d.%s", id, at, body)
	if k.Scheme == Ed25519 {
		return "v1a," + base64.StdEncoding.EncodeToString(ed25519.Sign(ed25519.NewKeyFromSeed(k.Secret), content))
	}
	mac := hmac.New(sha256.New, k.Secret)
	mac.Write(content)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// Headers are those of a message, the time and the signatures, beside its id: signed by
// every key that still signs.
func Headers(keys []Key, id string, now time.Time, body []byte) (stamp, signed string) {
	var all []string
	for _, k := range Active(keys, now) {
		all = append(all, k.signature(id, now.Unix(), body))
	}
	return strconv.FormatInt(now.Unix(), 10), strings.Join(all, " ")
}

// Active are the keys that sign at a time, the newest first.
func Active(keys []Key, now time.Time) (all []Key) {
	for _, k := range keys {
		if k.Until.IsZero() || now.Before(k.Until) {
			all = append(all, k)
		}
	}
	return all
}

// Rotated puts a new key before the others. Of those at most one goes on signing, until
// a time: two sign at once, never more.
func Rotated(keys []Key, now, until time.Time) []Key {
	next := []Key{NewKey(keys[0].Scheme)}
	if old := keys[0]; until.After(now) {
		old.Until = until
		next = append(next, old)
	}
	return next
}

// Tolerance is how far the time of a message may be from ours, either way.
const Tolerance = 5 * time.Minute

// Verify reports whether a message is signed by one of the keys that still sign, and of
// about now. header is asked for webhook-id, webhook-timestamp and webhook-signature.
func Verify(keys []Key, header func(string) string, now time.Time, body []byte) bool {
	id, stamp, signed := header("webhook-id"), header("webhook-timestamp"), header("webhook-signature")
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil || id == "" || len(id) > 256 || len(signed) > 4096 || now.Sub(time.Unix(seconds, 0)).Abs() > Tolerance {
		return false
	}
	for _, k := range Active(keys, now) {
		want := k.signature(id, seconds, body)
		for one := range strings.FieldsSeq(signed) {
			if hmac.Equal([]byte(one), []byte(want)) {
				return true
			}
		}
	}
	return false
}
