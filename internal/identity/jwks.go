package identity

import (
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"
	"github.com/pavise/pavise"
)

// The bounds of a pinned key set.
const (
	maxKeySet  = 256 << 10 // bytes
	maxKeys    = 64
	minModulus = 2048 // bits of an RSA key
	maxModulus = 8192 // a longer one only costs time
)

// ParseJWKS reads a JSON Web Key Set (RFC 7517) to pin in an issuer's record.
// Keys for encryption are left out. It refuses private and symmetric keys, keys
// without a kid or with that of another, RSA keys of less than 2048 bits, and
// types it does not know. The error is of kind Invalid and names the key by its
// place in the set, counted from 0.
func ParseJWKS(b []byte) (KeySet, error) { return parseJWKS(b, false) }

// parseJWKS is ParseJWKS. Of a set that is fetched, keys of types that are not
// understood are left out (RFC 7517, section 5): an issuer may begin to publish some.
func parseJWKS(b []byte, fetched bool) (KeySet, error) {
	if len(b) > maxKeySet {
		return KeySet{}, setFault(fmt.Sprintf("is %d bytes long, more than %d", len(b), maxKeySet), "pin only the keys that sign", nil)
	}
	set, ok := object(b)
	if !ok {
		return KeySet{}, setFault("is not a JSON object, or has a member twice", "save what the issuer serves at its jwks_uri", nil)
	}
	var members []json.RawMessage
	if err := json.Unmarshal(set["keys"], &members); err != nil || len(members) == 0 || len(members) > maxKeys {
		return KeySet{}, setFault(fmt.Sprintf("has no array \"keys\" of 1 to %d keys", maxKeys), "save what the issuer serves at its jwks_uri", nil)
	}
	var keys KeySet
	seen := map[string]bool{}
	for n, member := range members {
		key, err := parseKey(member)
		if err != nil && fetched && errors.Is(err.cause, jose.ErrUnsupportedKeyType) {
			continue
		}
		if err != nil {
			return KeySet{}, setFault(fmt.Sprintf("key %d %s", n, err.what), err.hint, err.cause)
		}
		if key.Use == "enc" {
			continue
		}
		if seen[key.KeyID] {
			return KeySet{}, setFault(fmt.Sprintf("key %d has the kid of another", n), "give each key its own kid", nil)
		}
		seen[key.KeyID] = true
		keys.Keys = append(keys.Keys, key)
	}
	if len(keys.Keys) == 0 {
		return KeySet{}, setFault("has no key that signs", "pin the set that the issuer signs its tokens with", nil)
	}
	return keys, nil
}

// A complaint is what is wrong with one key of a set.
type complaint struct {
	what, hint string
	cause      error
}

// secretMembers are what only private and symmetric keys have (RFC 7518, RFC
// 8037, RFC 9964).
var secretMembers = []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"}

func parseKey(b json.RawMessage) (jose.JSONWebKey, *complaint) {
	key, fault := readKey(b)
	if fault != nil || key.Use == "enc" {
		return key, fault
	}
	if why, hint := keyFault(key); why != "" {
		return key, &complaint{what: why, hint: hint}
	}
	return key, nil
}

// readKey reads a key and refuses what is private.
func readKey(b json.RawMessage) (jose.JSONWebKey, *complaint) {
	var key jose.JSONWebKey
	members, ok := object(b)
	if !ok {
		return key, &complaint{what: "is not an object", hint: "save what the issuer serves at its jwks_uri"}
	}
	for _, secret := range secretMembers {
		if members[secret] != nil {
			return key, &complaint{
				what: fmt.Sprintf("has the member %q of a private or shared key", secret),
				hint: "export only the public half, and treat the key as known to others from now on",
			}
		}
	}
	if err := key.UnmarshalJSON(b); err != nil {
		if errors.Is(err, jose.ErrUnsupportedKeyType) {
			return key, &complaint{"is of a type we do not verify with", "leave it out; RSA, EC and Ed25519 keys are understood", err}
		}
		return key, &complaint{"cannot be read", "save what the issuer serves at its jwks_uri", err}
	}
	return key, nil
}

// keyFault says what is wrong with a key of a set as a key to verify with, and what
// to do, or "".
func keyFault(key jose.JSONWebKey) (why, hint string) {
	if why, hint := materialFault(key); why != "" {
		return why, hint
	}
	if key.KeyID == "" {
		return "has no kid", "give it the kid that its issuer writes into tokens"
	}
	if key.Use != "" && key.Use != "sig" {
		return fmt.Sprintf("is for the use %.20q, not sig", key.Use), "leave it out"
	}
	return "", ""
}

// materialFault says what is wrong with the key itself, and what to do, or "".
func materialFault(key jose.JSONWebKey) (why, hint string) {
	if !key.Valid() || !key.IsPublic() {
		return "is not a public key", "pin only public halves"
	}
	if r, ok := key.Key.(*rsa.PublicKey); ok {
		if bits := r.N.BitLen(); bits < minModulus || bits > maxModulus {
			return fmt.Sprintf("is an RSA key of %d bits", bits), fmt.Sprintf("use one of %d to %d bits", minModulus, maxModulus)
		}
		if r.E < 3 || r.E%2 == 0 {
			return fmt.Sprintf("is an RSA key with the exponent %d", r.E), "use a key with the exponent 65537"
		}
	}
	return "", ""
}

func setFault(what, hint string, cause error) error {
	return &pavise.Error{Kind: pavise.Invalid, Msg: "key set " + what, Hint: hint, Err: cause}
}
