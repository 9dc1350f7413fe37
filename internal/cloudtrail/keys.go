package cloudtrail

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"

	"github.com/pavise/pavise"
)

// Bounds on keys. AWS signs with 2048 bits.
const (
	maxKeys    = 1000
	minKeyBits = 2048
	maxKeyBits = 8192
)

// Keys are the public keys with which digests are signed. The zero value has none.
type Keys struct {
	named   map[string]*rsa.PublicKey // by AWS's fingerprint, in lower case
	unnamed []*rsa.PublicKey          // from PEM, which has no fingerprint
}

// Len returns how many keys there are.
func (k Keys) Len() int { return len(k.named) + len(k.unnamed) }

// ParseKeys reads what `aws cloudtrail list-public-keys` prints, or keys as PEM. Errors are of
// kind Invalid.
func ParseKeys(text []byte) (Keys, error) {
	k := Keys{named: map[string]*rsa.PublicKey{}}
	var err error
	if text = bytes.TrimSpace(text); bytes.HasPrefix(text, []byte("{")) {
		err = k.readList(text)
	} else {
		err = k.readPEM(text)
	}
	if err == nil && k.Len() == 0 {
		err = fmt.Errorf("there is no key in it")
	}
	if err != nil {
		return Keys{}, &pavise.Error{
			Kind: pavise.Invalid, Msg: fmt.Sprintf("read the public keys: %v", err),
			Hint: "give what aws cloudtrail list-public-keys --start-time … prints, or PEM", Err: err,
		}
	}
	return k, nil
}

// readList reads the JSON of the AWS CLI.
func (k *Keys) readList(text []byte) error {
	var list struct {
		PublicKeyList []struct {
			Value       string
			Fingerprint string
		}
	}
	if err := json.Unmarshal(text, &list); err != nil {
		return err
	}
	if len(list.PublicKeyList) > maxKeys {
		return fmt.Errorf("it has more than %d keys", maxKeys)
	}
	for i, one := range list.PublicKeyList {
		der, err := base64.StdEncoding.DecodeString(one.Value)
		if err != nil {
			return fmt.Errorf("key %d: its value is no base64", i+1)
		}
		key, err := parseKey(der)
		if err != nil {
			return fmt.Errorf("key %d: %w", i+1, err)
		}
		name := strings.ToLower(one.Fingerprint)
		if name == "" {
			k.unnamed = append(k.unnamed, key)
			continue
		}
		if had := k.named[name]; had != nil && !had.Equal(key) {
			return fmt.Errorf("two keys have the fingerprint %.64q", name)
		}
		k.named[name] = key
	}
	return nil
}

// readPEM reads one PEM block after the other.
func (k *Keys) readPEM(text []byte) error {
	for len(bytes.TrimSpace(text)) > 0 {
		block, rest := pem.Decode(text)
		if block == nil {
			return fmt.Errorf("it is neither JSON nor PEM")
		}
		if len(k.unnamed) == maxKeys {
			return fmt.Errorf("it has more than %d keys", maxKeys)
		}
		key, err := parseKey(block.Bytes)
		if err != nil {
			return fmt.Errorf("key %d: %w", len(k.unnamed)+1, err)
		}
		k.unnamed, text = append(k.unnamed, key), rest
	}
	return nil
}

// parseKey reads PKCS #1, as AWS documents it, or SubjectPublicKeyInfo, as it also comes.
func parseKey(der []byte) (*rsa.PublicKey, error) {
	key, err := x509.ParsePKCS1PublicKey(der)
	if err != nil {
		any, err := x509.ParsePKIXPublicKey(der)
		if err != nil {
			return nil, fmt.Errorf("it is no RSA public key")
		}
		ok := false
		if key, ok = any.(*rsa.PublicKey); !ok {
			return nil, fmt.Errorf("it is no RSA public key")
		}
	}
	if bits := key.N.BitLen(); bits < minKeyBits || bits > maxKeyBits {
		return nil, fmt.Errorf("it has %d bits; %d to %d are taken", bits, minKeyBits, maxKeyBits)
	}
	return key, nil
}

// of returns the keys that a digest may be signed with.
func (k Keys) of(fingerprint string) []*rsa.PublicKey {
	if key := k.named[strings.ToLower(fingerprint)]; key != nil {
		return []*rsa.PublicKey{key}
	}
	return k.unnamed
}

// signs says whether one of the keys made the signature of a SHA-256 hash.
func signs(keys []*rsa.PublicKey, hash, signature []byte) bool {
	for _, key := range keys {
		if rsa.VerifyPKCS1v15(key, crypto.SHA256, hash, signature) == nil {
			return true
		}
	}
	return false
}
