package watermark

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/pavise/pavise"
)

const (
	keyFormat     = "pavise-watermark-key/1"
	commitmentTag = "pavise watermark commitment 1\n"
	masterTag     = "pavise watermark model 1\n"

	// SecretSize is the length of a secret, in bytes.
	SecretSize = 32
	// DefaultRate is the share of inputs that are marked unless told otherwise.
	DefaultRate = 0.005
	// MaxRate bounds the share: beyond, the model serves nobody.
	MaxRate = 0.05
	// minRate is one in a million: with less there is nothing to find.
	minRate = 1e-6
	// MaxKeyText bounds a key file, in bytes.
	MaxKeyText = 4 << 20
)

// A Key says which inputs of one model are marked, and how. Whoever has it can tell marked
// answers from true ones, so it stays with the model's owner. It does not print itself.
type Key struct {
	Model     string    // the model that it is for, as pavise.Name takes an id
	Created   time.Time // in UTC, whole seconds
	Rate      float64   // share of inputs that are marked, up to MaxRate
	Quantiser Quantiser // which inputs count as the same
	secret    [SecretSize]byte
}

// keyText is a key file, without and with its last field.
type keyText struct {
	Format    string    `json:"format"`
	Model     string    `json:"model"`
	Created   string    `json:"created"`
	Rate      float64   `json:"rate"`
	Quantiser Quantiser `json:"quantiser"`
	Key       string    `json:"key"`
}

type committedText struct {
	keyText
	Commitment string `json:"commitment"`
}

// NewKey makes a key of a secret. The error, of kind Invalid, says what of it has no
// meaning.
func NewKey(secret [SecretSize]byte, model string, rate float64, created time.Time, q Quantiser) (*Key, error) {
	k := &Key{Model: model, Created: created.UTC().Truncate(time.Second), Rate: rate, Quantiser: q, secret: secret}
	return k, k.validate()
}

// Derive returns the secret for a model out of a master secret: one that is kept well
// serves any number of models, and the theft of one model's key opens no other's. It is
// HKDF-SHA-256 (RFC 5869) without a salt.
func Derive(master []byte, model string) (secret [SecretSize]byte, err error) {
	if len(master) != SecretSize {
		return secret, invalid("32 random bytes, in a file of mode 0600", "the master secret has %d bytes, and not %d", len(master), SecretSize)
	}
	b, err := hkdf.Key(sha256.New, master, nil, masterTag+model, SecretSize)
	copy(secret[:], b)
	return secret, err
}

func (k *Key) validate() error {
	if (pavise.Name{Tenant: "local", Kind: "model", ID: k.Model}).Validate() != nil {
		return invalid("use letters, digits and . _ @ : + -", "a watermark key for the model %.60q", k.Model)
	}
	if !(k.Rate >= minRate && k.Rate <= MaxRate) {
		return invalid(fmt.Sprintf("use %v to %v; %v is usual", minRate, MaxRate, DefaultRate), "a watermark key marks a share of %v", k.Rate)
	}
	if y := k.Created.Year(); y < 2000 || y > 9999 {
		return invalid("", "a watermark key was created in the year %d", y)
	}
	if why := k.Quantiser.fault(); why != "" {
		return invalid("make the key anew with pavise watermark new", "the quantiser of a watermark key %s", why)
	}
	if k.secret == [SecretSize]byte{} {
		return invalid("make the key anew with pavise watermark new", "the secret of a watermark key is all zeros")
	}
	return nil
}

// text is the key as its file says it, without the commitment.
func (k *Key) text() keyText {
	return keyText{
		Format: keyFormat, Model: k.Model, Created: k.Created.Format(time.RFC3339), Rate: k.Rate,
		Quantiser: k.Quantiser, Key: hex.EncodeToString(k.secret[:]),
	}
}

// Text returns the key as its file holds it. It is secret.
func (k *Key) Text() []byte {
	var b bytes.Buffer
	_ = json.Indent(&b, compact(committedText{k.text(), k.Commitment()}), "", "  ") // what compact wrote is JSON
	b.WriteByte('\n')
	return b.Bytes()
}

// Commitment returns 64 hexadecimal digits that fix the key and everything that it says,
// and tell nothing of it: SHA-256 over what the file holds. Given to a log before there is
// a suspect, it shows that the key was not chosen to fit one.
func (k *Key) Commitment() string {
	sum := sha256.Sum256(append([]byte(commitmentTag), compact(k.text())...))
	return hex.EncodeToString(sum[:])
}

// String names the key without its secret.
func (k *Key) String() string { return "watermark key of " + k.Model + " " + k.Commitment() }

// GoString names the key without its secret.
func (k *Key) GoString() string { return k.String() }

// ParseKey reads a key file. The error is of kind Invalid, and Unverified when the text is
// well formed and its commitment is another's: the file was changed. It quotes nothing of
// the secret.
func ParseKey(text []byte) (*Key, error) {
	if len(text) > MaxKeyText {
		return nil, invalid("it is no key file", "a watermark key of %d bytes", len(text))
	}
	t, err := strict[committedText](text)
	if err != nil {
		return nil, invalid("it is a file that pavise watermark new has written", "the watermark key %v", err)
	}
	if t.Format != keyFormat {
		return nil, invalid("this version of Pavise reads "+keyFormat, "the watermark key has the format %.60q", t.Format)
	}
	created, err := time.Parse(time.RFC3339, t.Created)
	if err != nil || created.UTC().Format(time.RFC3339) != t.Created {
		return nil, invalid("as in 2026-11-27T03:00:00Z", "the watermark key was created at %.40q, which is no time in UTC", t.Created)
	}
	secret, err := hex.DecodeString(t.Key)
	if err != nil || len(secret) != SecretSize || hex.EncodeToString(secret) != t.Key {
		return nil, invalid("", "the secret of the watermark key is not %d bytes in lower hexadecimal digits", SecretSize)
	}
	k, err := NewKey([SecretSize]byte(secret), t.Model, t.Rate, created, t.Quantiser)
	if err != nil {
		return nil, err
	}
	if k.Commitment() != t.Commitment {
		return nil, &pavise.Error{Kind: pavise.Unverified, Msg: "the watermark key is not the one that its commitment was made of: the file was changed", Hint: "take the copy whose commitment is in the log"}
	}
	return k, nil
}

// strict reads a JSON object that says its fields in order, each once and as they are
// written here, with any white space: two readers cannot read it differently. The error
// quotes nothing of the text.
func strict[T any](text []byte) (v T, err error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		return v, fmt.Errorf("is not the JSON that it has to be")
	}
	var plain bytes.Buffer
	if err := json.Compact(&plain, text); err != nil {
		return v, fmt.Errorf("has something behind its end")
	}
	if !bytes.Equal(plain.Bytes(), compact(v)) {
		return v, fmt.Errorf("says its fields in another order, twice, or in another spelling than they are written in")
	}
	return v, nil
}

// compact writes what cannot fail: structs of text and finite numbers.
func compact(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

func invalid(hint, format string, args ...any) error {
	return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf(format, args...), Hint: hint}
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
