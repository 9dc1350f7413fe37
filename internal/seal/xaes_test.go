package seal

import (
	"bytes"
	"crypto/sha3"
	"encoding/hex"
	"testing"
)

// TestXAES runs the two worked examples of the specification, one for each
// value of MSB₁(L), with their intermediate values.
func TestXAES(t *testing.T) {
	for _, tt := range []struct {
		name, k1, subkey, aad, ciphertext string
		key                               byte
	}{
		{
			name: "MSB 0", key: 0x01,
			k1:         "e531954aca063d5b8d9c47a47d4cc6f0",
			subkey:     "c8612c9ed53fe43e8e005b828a1631a0bbcb6ab2f46514ec4f439fcfd0fa969b",
			ciphertext: "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271",
		},
		{
			name: "MSB 1", key: 0x03,
			k1:         "23810ec50edb99f374409466ed1f4b7b",
			subkey:     "e9c621d4cdd9b11b00a6427ad7e559aeedd66b3857646677748f8ca796cb3fd8",
			aad:        "c2sp.org/XAES-256-GCM",
			ciphertext: "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x, err := newXAES(bytes.Repeat([]byte{tt.key}, KeySize))
			if err != nil {
				t.Fatal(err)
			}
			nonce, plaintext := []byte("ABCDEFGHIJKLMNOPQRSTUVWX"), []byte("XAES-256-GCM")
			if got := hex.EncodeToString(x.k1[:]); got != tt.k1 {
				t.Errorf("K1 = %s, want %s", got, tt.k1)
			}
			if got := x.subkey(nonce[:12]); hex.EncodeToString(got[:]) != tt.subkey {
				t.Errorf("subkey = %x, want %s", got, tt.subkey)
			}
			ciphertext := x.Seal(nil, nonce, plaintext, []byte(tt.aad))
			if got := hex.EncodeToString(ciphertext); got != tt.ciphertext {
				t.Errorf("ciphertext = %s, want %s", got, tt.ciphertext)
			}
			got, err := x.Open(nil, nonce, ciphertext, []byte(tt.aad))
			if err != nil || !bytes.Equal(got, plaintext) {
				t.Errorf("Open = %q, %v", got, err)
			}
		})
	}
}

// TestXAESAccumulated runs the specification's randomised tests.
func TestXAESAccumulated(t *testing.T) {
	iterations, want := 1_000_000, "2163ae1445985a30b60585ee67daa55674df06901b890593e824b8a7c885ab15"
	if testing.Short() {
		iterations, want = 10_000, "e6b9edf2df6cec60c8cbd864e2211b597fb69a529160cd040d56c0c210081939"
	}
	source, sum := sha3.NewSHAKE128(), sha3.NewSHAKE128()
	read := func(buf []byte) []byte {
		source.Read(buf)
		return buf
	}
	var key [KeySize]byte
	var nonce [NonceSize]byte
	var size [1]byte
	var plain, extra [255]byte
	for range iterations {
		read(key[:])
		read(nonce[:])
		plaintext := read(plain[:read(size[:])[0]])
		aad := read(extra[:read(size[:])[0]])
		x, err := NewXAES(key[:])
		if err != nil {
			t.Fatal(err)
		}
		ciphertext := x.Seal(nil, nonce[:], plaintext, aad)
		sum.Write(ciphertext)
		if got, err := x.Open(nil, nonce[:], ciphertext, aad); err != nil || !bytes.Equal(got, plaintext) {
			t.Fatalf("Open = %x, %v, want %x", got, err, plaintext)
		}
	}
	if got := hex.EncodeToString(read32(sum)); got != want {
		t.Errorf("after %d iterations the hash is %s, want %s", iterations, got, want)
	}
}

func read32(s *sha3.SHAKE) []byte {
	out := make([]byte, 32)
	s.Read(out)
	return out
}

func TestXAESRefusesWrongSizes(t *testing.T) {
	for _, n := range []int{0, 16, 31, 33, 64} {
		if _, err := NewXAES(make([]byte, n)); err == nil {
			t.Errorf("a key of %d bytes was accepted", n)
		}
	}
	x, err := NewXAES(make([]byte, KeySize))
	if err != nil {
		t.Fatal(err)
	}
	if x.NonceSize() != 24 || x.Overhead() != 16 {
		t.Errorf("NonceSize, Overhead = %d, %d, want 24, 16", x.NonceSize(), x.Overhead())
	}
	defer func() {
		if recover() == nil {
			t.Error("a nonce of 12 bytes did not panic")
		}
	}()
	x.Seal(nil, make([]byte, 12), nil, nil)
}
