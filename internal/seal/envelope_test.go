package seal

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/pavise/pavise"
)

// classes maps the expect: line of a vector to the reason Open must give.
var classes = map[string]error{
	"ok": nil, "truncated": ErrTruncated, "version": ErrVersion, "wrong-key": ErrWrongKey, "forged": ErrForged,
}

// TestEnvelopeVectors runs testdata/envelope.txt. An envelope that opens must
// also be what seal makes with its nonce, so that the vectors pin both ways.
func TestEnvelopeVectors(t *testing.T) {
	seen := map[string]int{}
	for _, v := range readVectors(t, "testdata/envelope.txt") {
		t.Run(v.one("name"), func(t *testing.T) {
			want, known := classes[v.one("expect")]
			if !known {
				t.Fatalf("unknown class %q", v.one("expect"))
			}
			seen[v.one("expect")]++
			key := mustKey(t, v.bytes(t, "key"))
			aad, envelope := v.bytes(t, "aad"), v.bytes(t, "envelope")
			got, err := key.Open(aad, envelope)
			if !errors.Is(err, want) || (err == nil) != (want == nil) {
				t.Fatalf("Open error = %v, want %v", err, want)
			}
			if want != nil {
				if pavise.KindOf(err) != pavise.Unverified || got != nil {
					t.Errorf("kind %v, plaintext %x; want unverified and none", pavise.KindOf(err), got)
				}
				return
			}
			if !bytes.Equal(got, v.bytes(t, "plaintext")) {
				t.Errorf("plaintext = %x", got)
			}
			if again := key.sealAs([NonceSize]byte(envelope[headerSize:]), aad, got); !bytes.Equal(again, envelope) {
				t.Errorf("sealed again: %x", again)
			}
		})
	}
	for class := range classes {
		if seen[class] == 0 {
			t.Errorf("no vector expects %q", class)
		}
	}
}

func TestDeriveVectors(t *testing.T) {
	vectors := readVectors(t, "testdata/derive.txt")
	if len(vectors) < 5 {
		t.Fatalf("%d vectors", len(vectors))
	}
	seen := map[string]string{}
	for _, v := range vectors {
		name := v.one("name")
		secret := v.bytes(t, "key")
		if got := mustKey(t, secret).ID().String(); got != v.one("id") {
			t.Errorf("%s: id = %s, want %s", name, got, v.one("id"))
		}
		got := hex.EncodeToString(derive(secret, Label(v.one("label")), v["context"]...))
		if got != v.one("derived") {
			t.Errorf("%s: derived = %s, want %s", name, got, v.one("derived"))
		}
		if other, dup := seen[got]; dup {
			t.Errorf("%s and %s derive the same key", name, other)
		}
		seen[got] = name
	}
}

// TestOpenRefusesEveryFlippedBit alters an envelope in each of its bits, and
// cuts it at each of its bytes.
func TestOpenRefusesEveryFlippedBit(t *testing.T) {
	key := mustKey(t, bytes.Repeat([]byte{7}, KeySize))
	aad := []byte("local/record/1")
	envelope := key.Seal(aad, []byte("salt and payload"))
	for i := range len(envelope) * 8 {
		altered := bytes.Clone(envelope)
		altered[i/8] ^= 1 << (i % 8)
		if _, err := key.Open(aad, altered); err == nil {
			t.Fatalf("opened with bit %d of byte %d flipped", i%8, i/8)
		}
	}
	for n := range len(envelope) {
		if _, err := key.Open(aad, envelope[:n]); err == nil {
			t.Fatalf("opened when cut to %d bytes", n)
		}
	}
	if _, err := key.Open(aad, append(envelope, 0)); !errors.Is(err, ErrForged) {
		t.Errorf("opened with a byte appended: %v", err)
	}
	if _, err := key.Open([]byte("local/record/2"), envelope); !errors.Is(err, ErrForged) {
		t.Errorf("opened in another place: %v", err)
	}
}

// TestHeaderDoesNotSlideIntoContext moves the boundary between the bound header
// and the caller's context, which must not yield the same bound bytes.
func TestHeaderDoesNotSlideIntoContext(t *testing.T) {
	key := mustKey(t, bytes.Repeat([]byte{7}, KeySize))
	envelope := key.Seal([]byte("x"), nil)
	for _, aad := range [][]byte{nil, []byte("xx"), append(bytes.Clone(envelope[:headerSize]), 'x')} {
		if _, err := key.Open(aad, envelope); !errors.Is(err, ErrForged) {
			t.Errorf("opened with context %x: %v", aad, err)
		}
	}
}

func TestSealIsFresh(t *testing.T) {
	key := mustKey(t, bytes.Repeat([]byte{7}, KeySize))
	if bytes.Equal(key.Seal(nil, []byte("same")), key.Seal(nil, []byte("same"))) {
		t.Error("two envelopes of one plaintext are equal")
	}
	if n := len(key.Seal(nil, nil)); n != envelopeOverhead {
		t.Errorf("an empty envelope is %d bytes long, want %d", n, envelopeOverhead)
	}
}

// TestSubkeysAreChanged seals from several goroutines: no subkey has more envelopes than
// its share, no two of them have the same nonce, and each opens.
func TestSubkeysAreChanged(t *testing.T) {
	const sealers, each = 4, 2*groupSize + 1
	key := mustKey(t, bytes.Repeat([]byte{7}, KeySize))
	made := make([][][]byte, sealers)
	var all sync.WaitGroup
	for i := range made {
		all.Go(func() {
			for j := range each {
				made[i] = append(made[i], key.Seal([]byte{byte(i)}, fmt.Append(nil, j)))
			}
		})
	}
	all.Wait()
	under, nonces := map[string]int{}, map[string]bool{}
	for i, envelopes := range made {
		for j, envelope := range envelopes {
			nonce := string(envelope[headerSize:][:NonceSize])
			under[nonce[:subkeySize]]++
			nonces[nonce[subkeySize:]] = true
			if got, err := key.Open([]byte{byte(i)}, envelope); err != nil || string(got) != fmt.Sprint(j) {
				t.Fatalf("envelope %d of %d holds %q, %v", j, i, got, err)
			}
		}
	}
	if len(nonces) != sealers*each {
		t.Errorf("%d envelopes have %d second halves of a nonce", sealers*each, len(nonces))
	}
	for first, n := range under {
		if n > groupSize {
			t.Errorf("%d envelopes are under the subkey of %x, and %d may be", n, first, groupSize)
		}
	}
	if least := sealers * each / groupSize; len(under) <= least {
		t.Errorf("%d subkeys for %d envelopes", len(under), sealers*each)
	}
}

// sealAs seals with a nonce that is given.
func (k *Key) sealAs(nonce [NonceSize]byte, aad, plaintext []byte) []byte {
	return k.seal(nil, k.aead.gcm(nonce[:]), nonce, aad, plaintext)
}

func TestKeyPrintsAsID(t *testing.T) {
	secret := bytes.Repeat([]byte{0xa7}, KeySize)
	key := mustKey(t, secret)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if got := fmt.Sprintf(verb, key); got != key.String() {
			t.Errorf("%s prints %q", verb, got)
		}
	}
	if s := key.String(); !strings.Contains(s, key.ID().String()) || strings.Contains(s, "a7a7") {
		t.Errorf("String = %q", s)
	}
}

func FuzzOpen(f *testing.F) {
	secret := bytes.Repeat([]byte{7}, KeySize)
	key, err := NewKey(secret)
	if err != nil {
		f.Fatal(err)
	}
	known := key.sealAs([NonceSize]byte{}, []byte("aad"), []byte("plain"))
	f.Add([]byte("aad"), known)
	f.Add([]byte(nil), known[:envelopeOverhead])
	f.Add([]byte(nil), []byte{envelopeVersion})
	f.Add([]byte("aad"), []byte(nil))
	f.Fuzz(func(t *testing.T, aad, envelope []byte) {
		plaintext, err := key.Open(aad, envelope)
		if err != nil {
			if pavise.KindOf(err) != pavise.Unverified || plaintext != nil {
				t.Fatalf("Open = %x, %v", plaintext, err)
			}
			return
		}
		again := key.sealAs([NonceSize]byte(envelope[headerSize:]), aad, plaintext)
		if !bytes.Equal(again, envelope) {
			t.Fatalf("%x opens, and is sealed again as %x", envelope, again)
		}
	})
}

func BenchmarkSealOpen1K(b *testing.B) {
	key, err := NewKey(make([]byte, KeySize))
	if err != nil {
		b.Fatal(err)
	}
	plaintext, aad := make([]byte, 1024), make([]byte, 32)
	b.SetBytes(1024)
	for b.Loop() {
		if _, err := key.Open(aad, key.Seal(aad, plaintext)); err != nil {
			b.Fatal(err)
		}
	}
}

func mustKey(t *testing.T, secret []byte) *Key {
	t.Helper()
	key, err := NewKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// A vector is one stanza of "field: value" lines.
type vector map[string][]string

func (v vector) one(field string) string { return strings.Join(v[field], "") }

func (v vector) bytes(t *testing.T, field string) []byte {
	t.Helper()
	b, err := hex.DecodeString(v.one(field))
	if err != nil {
		t.Fatalf("%s: %s: %v", v.one("name"), field, err)
	}
	return b
}

func readVectors(t *testing.T, path string) []vector {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var vectors []vector
	for stanza := range strings.SplitSeq(string(text), "\n\n") {
		v := vector{}
		for line := range strings.Lines(stanza) {
			if strings.HasPrefix(line, "#") {
				continue
			}
			field, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
			if !ok {
				t.Fatalf("%s: cannot read %q", path, line)
			}
			v[field] = append(v[field], strings.TrimPrefix(value, " "))
		}
		if len(v) > 0 {
			vectors = append(vectors, v)
		}
	}
	return vectors
}

// TestSealInUsesRoomAgain has one envelope after another lie in one room, of which nothing
// comes through.
func TestSealInUsesRoomAgain(t *testing.T) {
	key := mustKey(t, bytes.Repeat([]byte{9}, KeySize))
	room := bytes.Repeat([]byte{0xff}, 3)
	for _, plain := range []string{"a long text that needs more than the room has at first", "", "short"} {
		sealed := key.SealIn(room, []byte("1"), []byte(plain))
		if got, err := key.Open([]byte("1"), sealed); err != nil || string(got) != plain {
			t.Errorf("%q was opened as %q, %v", plain, got, err)
		}
		if len(sealed) != envelopeOverhead+len(plain) {
			t.Errorf("%d bytes for %d", len(sealed), len(plain))
		}
		room = sealed
	}
	plain := []byte("the same")
	if n := testing.AllocsPerRun(1000, func() { key.SealIn(room, []byte("1"), plain) }); n > 1 {
		t.Errorf("%v allocations, though there was room", n)
	}
}
