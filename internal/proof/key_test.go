package proof

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/pavise/pavise"
)

// allSigners returns a signer of each algorithm.
func allSigners(t testing.TB) []*Signer {
	t.Helper()
	return []*Signer{testLog(t, "example.com/log", 1), testCosigner(t, "example.com/w1", 2), testMLDSA(t, "example.com/w2", 3)}
}

// TestKeyIsReadAsItIsSpelled: each kind of key comes back from its text whole, and a
// fingerprint knows it again in either case of letters.
func TestKeyIsReadAsItIsSpelled(t *testing.T) {
	for _, s := range allSigners(t) {
		k, err := ParseKey(s.Key().String())
		if err != nil {
			t.Fatal(err)
		}
		if k.String() != s.Key().String() || k.Name() != s.Key().Name() || k.KeyHash() != s.Key().KeyHash() || k.Algorithm() != s.Key().Algorithm() || !k.Same(s.Key()) {
			t.Errorf("%s came back as %s", s.Key(), k)
		}
		for known, is := range map[string]bool{
			k.String(): true, k.Fingerprint(): true, strings.ToUpper(k.Fingerprint()): true, Fingerprint(k.String()): true,
			"": false, k.Name(): false, k.Fingerprint()[:63]: false, k.Fingerprint() + " ": false, strings.ToUpper(k.String()): false,
			fmt.Sprintf("%08x", k.KeyHash()): false,
		} {
			if k.Is(known) != is {
				t.Errorf("%s is %q: %v", k.Name(), known, !is)
			}
		}
	}
}

// TestLogKeyIsTheGoOneToo: what package note makes of an Ed25519 key in text is the
// same key.
func TestLogKeyIsTheGoOneToo(t *testing.T) {
	k := testLog(t, "example.com/log", 1).Key()
	v, err := note.NewVerifier(k.String())
	if err != nil {
		t.Fatal(err)
	}
	if v.KeyHash() != k.KeyHash() || v.Name() != k.Name() {
		t.Errorf("package note reads %s+%08x", v.Name(), v.KeyHash())
	}
	cp, err := Sign("example.com/log", 3, testRoot(3), testTime, testLog(t, "example.com/log", 1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := note.Open(cp.Note, note.VerifierList(v)); err != nil {
		t.Error(err)
	}
}

// TestKeyThatIsNone lists texts that are no verifier key; each is refused with kind
// Invalid, and nothing of it gets through.
func TestKeyThatIsNone(t *testing.T) {
	k := testLog(t, "example.com/log", 1).Key()
	id, encoded := k.idText(), strings.SplitN(k.String(), "+", 3)[2]
	raw := append([]byte{1}, k.public...)
	of := func(algorithm byte, public []byte) string {
		b := append([]byte{algorithm}, public...)
		return "example.com/log+" + id + "+" + base64.StdEncoding.EncodeToString(b)
	}
	for name, text := range map[string]string{
		"nothing":              "",
		"a name":               "example.com/log",
		"no key":               "example.com/log+" + id,
		"an empty key":         "example.com/log+" + id + "+",
		"an empty name":        "+" + id + "+" + encoded,
		"another name":         "example.com/lag+" + id + "+" + encoded,
		"a name with a space":  "example.com /log+" + id + "+" + encoded,
		"a name with a NBSP":   "example.com\u00a0/log+" + id + "+" + encoded,
		"a name with letters":  "exämple.com/log+" + id + "+" + encoded,
		"a long name":          strings.Repeat("a", 256) + "+" + id + "+" + encoded,
		"another id":           "example.com/log+00000000+" + encoded,
		"an id in capitals":    "example.com/log+" + strings.ToUpper(id) + "+" + encoded,
		"an id without zeroes": "example.com/log+" + strings.TrimLeft(id, "0") + "x+" + encoded,
		"a line end behind":    k.String() + "\n",
		"a return behind":      k.String() + "\r",
		"a line end within":    k.String()[:60] + "\n" + k.String()[60:],
		"a space behind":       k.String() + " ",
		"a space before":       " " + k.String(),
		"no padding":           strings.TrimRight(testMLDSA(t, "example.com/log", 1).Key().String(), "="),
		"more padding":         k.String() + "=",
		"a plus behind":        k.String() + "+",
		"URL base64":           "example.com/log+" + id + "+" + strings.NewReplacer("+", "-", "/", "_").Replace(encoded) + "_",
		"a byte more":          of(1, append(bytes.Clone(raw[1:]), 0)),
		"a byte less":          of(1, raw[1:32]),
		"ECDSA":                of(2, raw[1:]),
		"type 0":               of(0, raw[1:]),
		"type 5":               of(5, raw[1:]),
		"type 255":             of(255, raw[1:]),
		"an algorithm alone":   of(1, nil),
		"ML-DSA of 32 bytes":   of(6, raw[1:]),
	} {
		if got, err := ParseKey(text); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	// The same 32 bytes under another algorithm are another key, with another id.
	if _, err := ParseKey(of(4, raw[1:])); err == nil {
		t.Error("a log's key became a cosigner's under the same id")
	}
}

// TestSignersRefuseKeysThatAreNone: no signer comes of a short key or a bad name.
func TestSignersRefuseKeysThatAreNone(t *testing.T) {
	for name, make := range map[string]func() (*Signer, error){
		"a short Ed25519 key": func() (*Signer, error) { return NewLogSigner("example.com", testPrivate(1)[:63]) },
		"no Ed25519 key":      func() (*Signer, error) { return NewCosigner("example.com", nil) },
		"a short seed":        func() (*Signer, error) { return NewMLDSACosigner("example.com", bytes.Repeat([]byte{1}, 31)) },
		"no seed":             func() (*Signer, error) { return NewMLDSACosigner("example.com", nil) },
		"no name":             func() (*Signer, error) { return NewLogSigner("", testPrivate(1)) },
		"a name with a plus":  func() (*Signer, error) { return NewCosigner("a+b", testPrivate(1)) },
		"a name with a line":  func() (*Signer, error) { return NewMLDSACosigner("a\nb", bytes.Repeat([]byte{1}, 32)) },
	} {
		if s, err := make(); pavise.KindOf(err) != pavise.Invalid || s != nil {
			t.Errorf("%s: %v, %v", name, s, err)
		}
	}
}

// TestSignatureIsOfItsAlgorithm: a signature of one algorithm is none of another,
// although the key's bytes and the name are the same.
func TestSignatureIsOfItsAlgorithm(t *testing.T) {
	log, cosigner := testLog(t, "example.com/x", 1), testCosigner(t, "example.com/x", 1)
	text := []byte(Checkpoint{Origin: "example.com/x", Size: 1, Root: testRoot(1)}.text())
	plain, err := log.at(testTime).Sign(text)
	if err != nil {
		t.Fatal(err)
	}
	timed, err := cosigner.at(testTime).Sign(text)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		key  *Key
		sig  []byte
		want bool
	}{
		{log.Key(), plain, true}, {cosigner.Key(), timed, true},
		{log.Key(), timed, false}, {log.Key(), timed[8:], false}, {cosigner.Key(), plain, false},
		{cosigner.Key(), append(make([]byte, 8), plain...), false}, {cosigner.Key(), nil, false}, {cosigner.Key(), timed[:7], false},
		{log.Key(), nil, false},
	} {
		if got := tt.key.Verify(text, tt.sig); got != tt.want {
			t.Errorf("%s, signature of %d bytes: %v", tt.key.Algorithm(), len(tt.sig), got)
		}
	}
	if log.Key().KeyHash() == cosigner.Key().KeyHash() {
		t.Error("two algorithms have one key id")
	}
}

// TestTimeOfASignatureIsBounded: a time that no date of four digits can name is in
// the future, and its cosignature refused.
func TestTimeOfASignatureIsBounded(t *testing.T) {
	s := testCosigner(t, "example.com/w", 1)
	text := []byte(Checkpoint{Origin: "example.com/x", Size: 1, Root: testRoot(1)}.text())
	for at, want := range map[uint64]bool{0: true, 1: true, maxTimestamp: true, maxTimestamp + 1: false, 1<<63 - 1: false, 1 << 63: false, 1<<64 - 1: false} {
		sig, err := timedSigner{s, at}.Sign(text)
		if err != nil {
			t.Fatal(err)
		}
		if s.Key().Verify(text, sig) != want {
			t.Errorf("a signature at %d: %v", at, !want)
		}
	}
}

// FuzzParseKey: what is read as a key is spelled in one way, has the id of its own
// bytes, and can be told from other text.
func FuzzParseKey(f *testing.F) {
	for _, s := range allSigners(f) {
		f.Add(s.Key().String())
	}
	f.Add("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k\r")
	f.Add("a+00000000+AQ==")
	f.Fuzz(func(t *testing.T, text string) {
		k, err := ParseKey(text)
		if err != nil {
			if pavise.KindOf(err) != pavise.Invalid || k != nil {
				t.Errorf("%v, %v", k, err)
			}
			return
		}
		if k.String() != text {
			t.Errorf("%q and %q are one key", text, k)
		}
		if !k.Is(text) || !k.Same(k) || strings.ContainsAny(k.Name(), "+ \n\r\t") {
			t.Errorf("%q reads as %+v", text, k)
		}
	})
}
