package bundle

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/pavise/pavise"
)

var theTrust = Trust{Origin: origin, Keys: []Key{public(testKey(1))}}

// TestOpenRefuses is the table of bundles that must be refused, and why.
func TestOpenRefuses(t *testing.T) {
	by := func(keys ...ed25519.PrivateKey) forger { return forger{keys: keys} }
	one, two := testKey(1), testKey(2)
	good := body(t, nil)
	with := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("%s is not in %s", old, good)
		}
		return strings.Replace(good, old, new, 1)
	}
	signed := string(by(one).sign(good))
	both := Trust{Origin: origin, Keys: []Key{public(one), public(two)}}
	twoRevoked := Trust{Origin: origin, Keys: []Key{public(one), revoked(public(two))}}
	deep := strings.Repeat("[", maxDepth+1) + strings.Repeat("]", maxDepth+1)
	blob := "sha256:" + strings.Repeat("0a", 32)

	for _, tt := range []struct {
		name   string
		signed string
		trust  Trust
		why    error
	}{
		{"nothing", "", theTrust, ErrMalformed},
		{"JSON alone", good, theTrust, ErrMalformed},
		{"too long", signed + strings.Repeat(" ", MaxBundle), theTrust, ErrMalformed},
		{"no end of the signatures", strings.ReplaceAll(signed, "\n\n", "\n"), theTrust, ErrMalformed},
		{"line ends of others", strings.ReplaceAll(signed, "\n", "\r\n"), theTrust, ErrMalformed},
		{"another first line", strings.Replace(signed, "pavise-bundle 1", "pavise-bundle 01", 1), theTrust, ErrMalformed},
		{"format 0", strings.Replace(signed, "pavise-bundle 1", "pavise-bundle 0", 1), theTrust, ErrMalformed},
		{"format +1", strings.Replace(signed, "pavise-bundle 1", "pavise-bundle +1", 1), theTrust, ErrMalformed},
		{"a format of the future", strings.Replace(signed, "pavise-bundle 1", "pavise-bundle 3", 1), theTrust, ErrFormat},
		{"signed as another format", string(forger{keys: []ed25519.PrivateKey{one}, format: 2}.sign(good)), theTrust, ErrFormat},
		{"moved to another format", strings.Replace(string(forger{keys: []ed25519.PrivateKey{one}, format: 2}.sign(good)), "bundle 2", "bundle 1", 1), theTrust, ErrForged},
		{"no signature", string(by().sign(good)), theTrust, ErrUnknownKey},
		{"a stranger's signature", string(by(two).sign(good)), theTrust, ErrUnknownKey},
		{"a revoked key", string(by(two).sign(body(t, func(b *body1) { b.Keys = twoRevoked.Keys }))), twoRevoked, ErrRevokedKey},
		{"the same key twice", string(by(one, one).sign(good)), theTrust, ErrMalformed},
		{"too many signatures", string(by(manyKeys(MaxKeys + 1)...).sign(good)), theTrust, ErrMalformed},
		{"one good and one bad signature", string(by(one).sign(good)[:len("pavise-bundle 1\n")]) + lineOf(by(two).sign(good+" ")) + string(by(one).sign(good)[len("pavise-bundle 1\n"):]), both, ErrForged},
		{"a signature with padding", strings.Replace(signed, "\n\n", "==\n\n", 1), theTrust, ErrMalformed},
		{"a key without its algorithm", strings.Replace(signed, "\ned25519:", "\n", 1), theTrust, ErrMalformed},
		{"a byte behind the body", signed + " ", theTrust, ErrForged},
		{"another body", string(by(one).sign(good)[:bytes.Index([]byte(signed), []byte("\n\n"))+2]) + with(`"serial":7`, `"serial":8`), theTrust, ErrForged},
		{"another origin", string(by(one).sign(with(origin, "test/others"))), theTrust, ErrOrigin},
		{"its own list does not know who signed", string(by(one).sign(body(t, func(b *body1) { b.Keys = []Key{public(two)} }))), theTrust, ErrUnknownKey},
		{"its own list has revoked who signed", string(by(one).sign(body(t, func(b *body1) { b.Keys = []Key{revoked(public(one)), public(two)} }))), theTrust, ErrRevokedKey},
		{"a revoked key comes back", string(by(one, two).sign(body(t, func(b *body1) { b.Keys = both.Keys }))), twoRevoked, ErrRevokedKey},

		{"an array", string(by(one).sign("[" + good + "]")), theTrust, ErrMalformed},
		{"null", string(by(one).sign("null")), theTrust, ErrMalformed},
		{"two values", string(by(one).sign(good + "{}")), theTrust, ErrMalformed},
		{"invalid UTF-8", string(by(one).sign(with(`{"a":1}`, "\"\xff\""))), theTrust, ErrMalformed},
		{"an unknown member", string(by(one).sign(with(`"serial"`, `"more":1,"serial"`))), theTrust, ErrMalformed},
		{"a member in another case", string(by(one).sign(with(`"serial"`, `"Serial"`))), theTrust, ErrMalformed},
		{"a member twice", string(by(one).sign(with(`"serial"`, `"serial":9,"serial"`))), theTrust, ErrMalformed},
		{"a member twice, in two cases", string(by(one).sign(with(`"serial"`, `"SERIAL":9,"serial"`))), theTrust, ErrMalformed},
		{"a member twice, escaped", string(by(one).sign(with(`"serial"`, `"s\u0065rial":9,"serial"`))), theTrust, ErrMalformed},
		{"a member is missing", string(by(one).sign(with(`,"blobs":{}`, ``))), theTrust, ErrMalformed},
		{"a member is null", string(by(one).sign(with(`"blobs":{}`, `"blobs":null`))), theTrust, ErrMalformed},
		{"a key twice in a section", string(by(one).sign(with(`{"a":1}`, `{"a":1,"a":2}`))), theTrust, ErrMalformed},
		{"a section that nests too deep", string(by(one).sign(with(`{"a":1}`, deep))), theTrust, ErrMalformed},
		{"a section with a name of its own", string(by(one).sign(with(`"policies"`, `"Policies"`))), theTrust, ErrMalformed},
		{"a section that leads elsewhere", string(by(one).sign(with(`"policies"`, `"../policies"`))), theTrust, ErrMalformed},
		{"serial 0", string(by(one).sign(with(`"serial":7`, `"serial":0`))), theTrust, ErrMalformed},
		{"a negative serial", string(by(one).sign(with(`"serial":7`, `"serial":-7`))), theTrust, ErrMalformed},
		{"a serial as a fraction", string(by(one).sign(with(`"serial":7`, `"serial":7.5`))), theTrust, ErrMalformed},
		{"a serial as text", string(by(one).sign(with(`"serial":7`, `"serial":"7"`))), theTrust, ErrMalformed},
		{"a serial beyond what JSON numbers hold", string(by(one).sign(with(`"serial":7`, `"serial":9007199254740992`))), theTrust, ErrMalformed},
		{"a time with a zone", string(by(one).sign(with("12:00:00Z", "12:00:00+00:00"))), theTrust, ErrMalformed},
		{"a time with a fraction", string(by(one).sign(with("12:00:00Z", "12:00:00.5Z"))), theTrust, ErrMalformed},
		{"ends before it begins", string(by(one).sign(with("13:00:00Z", "11:00:00Z"))), theTrust, ErrMalformed},
		{"lives for ever", string(by(one).sign(with("2026-03-01T13:00:00Z", "2036-03-01T13:00:00Z"))), theTrust, ErrMalformed},
		{"no keys", string(by(one).sign(body(t, func(b *body1) { b.Keys = []Key{} }))), theTrust, ErrMalformed},
		{"only revoked keys", string(by(one).sign(body(t, func(b *body1) { b.Keys = []Key{revoked(public(one))} }))), theTrust, ErrMalformed},
		{"a key twice in its list", string(by(one).sign(body(t, func(b *body1) { b.Keys = []Key{public(one), revoked(public(one))} }))), theTrust, ErrMalformed},
		{"a key in an unknown state", string(by(one).sign(with(`"active"`, `"paused"`))), theTrust, ErrMalformed},
		{"a key with more members", string(by(one).sign(with(`"state"`, `"more":1,"state"`))), theTrust, ErrMalformed},
		{"a key in another case", string(by(one).sign(with(`"state"`, `"State"`))), theTrust, ErrMalformed},
		{"a blob by another hash", string(by(one).sign(with(`"blobs":{}`, `"blobs":{"md5:00":1}`))), theTrust, ErrMalformed},
		{"a blob in capitals", string(by(one).sign(with(`"blobs":{}`, `"blobs":{"`+strings.ToUpper(blob)+`":1}`))), theTrust, ErrMalformed},
		{"a blob that is too large", string(by(one).sign(with(`"blobs":{}`, `"blobs":{"`+blob+`":67108865}`))), theTrust, ErrMalformed},
		{"a blob of negative size", string(by(one).sign(with(`"blobs":{}`, `"blobs":{"`+blob+`":-1}`))), theTrust, ErrMalformed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Open([]byte(tt.signed), tt.trust, Formats())
			kind := pavise.Unverified
			if tt.why == ErrFormat {
				kind = pavise.Unavailable
			}
			wantRefusal(t, err, kind, tt.why)
		})
	}
}

// lineOf is the first signature line of a bundle.
func lineOf(signed []byte) string { return string(bytes.SplitAfter(signed, []byte("\n"))[1]) }

func manyKeys(n int) (keys []ed25519.PrivateKey) {
	for i := range n {
		keys = append(keys, testKey(byte(i+1)))
	}
	return keys
}

// TestOpenTakes is what must be read: names in sections that differ in case only are the
// rooms' own, and the strangers among the signatures do not matter.
func TestOpenTakes(t *testing.T) {
	one, two := testKey(1), testKey(2)
	for name, signed := range map[string][]byte{
		"plain":                       forger{keys: []ed25519.PrivateKey{one}}.sign(body(t, nil)),
		"a stranger signed, too":      forger{keys: []ed25519.PrivateKey{two, one}}.sign(body(t, nil)),
		"spaces, and another order":   forger{keys: []ed25519.PrivateKey{one}}.sign(" " + body(t, nil) + "\n"),
		"names of things in sections": forger{keys: []ed25519.PrivateKey{one}}.sign(strings.Replace(body(t, nil), `{"a":1}`, `{"a":1,"A":2}`, 1)),
		"a new key takes over":        forger{keys: []ed25519.PrivateKey{one, two}}.sign(body(t, func(b *body1) { b.Keys = []Key{revoked(public(one)), public(two)} })),
	} {
		b, err := Open(signed, theTrust, Formats())
		if err != nil || b.Serial != 7 || b.Format != 1 || !b.Issued.Equal(noon) || len(b.Sections) != 1 {
			t.Errorf("%s: %+v, %v", name, b, err)
		}
	}
}

// TestEveryFlippedBit alters a bundle in each of its bits, and cuts it at each byte.
func TestEveryFlippedBit(t *testing.T) {
	signed := forger{keys: []ed25519.PrivateKey{testKey(1)}}.sign(body(t, nil))
	for i := range len(signed) * 8 {
		altered := bytes.Clone(signed)
		altered[i/8] ^= 1 << (i % 8)
		if _, err := Open(altered, theTrust, Formats()); err == nil {
			t.Fatalf("taken with bit %d of byte %d flipped", i%8, i/8)
		}
	}
	for n := range len(signed) {
		if _, err := Open(signed[:n], theTrust, Formats()); err == nil {
			t.Fatalf("taken when cut to %d bytes", n)
		}
	}
}

// A vector is one bundle of testdata/vectors.json.
type vector struct {
	Name   string   `json:"name"`
	Expect string   `json:"expect"` // "ok", or the reason
	Origin string   `json:"origin"` // whom the reader trusts
	Keys   []Key    `json:"keys"`
	Signed string   `json:"signed"`
	Serial uint64   `json:"serial,omitempty"`
	Names  []string `json:"sections,omitempty"`
}

// TestVectors runs the published vectors.
func TestVectors(t *testing.T) {
	text, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []vector
	if err := json.Unmarshal(text, &vectors); err != nil {
		t.Fatal(err)
	}
	reasons := map[string]error{"malformed": ErrMalformed, "unknown-key": ErrUnknownKey, "revoked-key": ErrRevokedKey, "forged": ErrForged, "origin": ErrOrigin, "format": ErrFormat}
	seen := map[string]bool{}
	for _, v := range vectors {
		seen[v.Expect] = true
		b, err := Open([]byte(v.Signed), Trust{Origin: v.Origin, Keys: v.Keys}, Formats())
		if v.Expect == "ok" {
			if err != nil || b.Serial != v.Serial {
				t.Errorf("%s: %+v, %v", v.Name, b, err)
				continue
			}
			for _, name := range v.Names {
				if _, ok := b.Sections[name]; !ok {
					t.Errorf("%s: no section %s", v.Name, name)
				}
			}
			if again, err := encode1(b); err != nil || !strings.HasSuffix(v.Signed, "\n\n"+string(again)) {
				t.Errorf("%s: encoded again as %s, %v", v.Name, again, err)
			}
		} else if why, known := reasons[v.Expect]; !known || !errors.Is(err, why) {
			t.Errorf("%s: %v, want %s", v.Name, err, v.Expect)
		}
	}
	for reason := range reasons {
		if !seen[reason] {
			t.Errorf("no vector expects %q", reason)
		}
	}
}

// FuzzOpen holds Open to its word: it never panics, refuses with one of its reasons,
// and takes nothing that an active key has not signed.
func FuzzOpen(f *testing.F) {
	one := testKey(1)
	sign := forger{keys: []ed25519.PrivateKey{one}}.sign
	f.Add(`{}`, []byte("pavise-bundle 1\n\n{}"))
	f.Add(`{"origin":"test/bundles","serial":7,"issued":"2026-03-01T12:00:00Z","expires":"2026-03-01T13:00:00Z","keys":[],"sections":{},"blobs":{}}`, []byte("pavise-bundle 2\nx y\n\n"))
	f.Add(`{"keys":[{"key":"`+public(one).String()+`","state":"active"}]}`, sign("[]"))
	f.Fuzz(func(t *testing.T, body string, raw []byte) {
		for _, signed := range [][]byte{raw, sign(body)} {
			b, err := Open(signed, theTrust, Formats())
			if err == nil {
				if !bytes.Equal(signed, sign(body)) || b.check() != nil || b.Origin != origin {
					t.Fatalf("taken: %q", signed)
				}
				continue
			}
			if kind := pavise.KindOf(err); kind != pavise.Unverified && kind != pavise.Unavailable {
				t.Fatalf("refused as %v: %v", kind, err)
			}
		}
	})
}
