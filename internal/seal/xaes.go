package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"fmt"
)

// Sizes of XAES-256-GCM, in bytes.
const (
	KeySize   = 32
	NonceSize = 24
	Overhead  = 16

	subkeySize = 12 // of the nonce: the half that selects a subkey
)

// xaes is XAES-256-GCM under one key. It is immutable and safe for concurrent
// use.
type xaes struct {
	block cipher.Block        // AES-256 under the input key
	k1    [aes.BlockSize]byte // the CMAC subkey K1, the same for every nonce
}

// NewXAES returns the extended-nonce AEAD XAES-256-GCM of
// https://c2sp.org/XAES-256-GCM under a 32-byte key. Its 24-byte nonces may be
// drawn at random for any number of messages. Seal and Open panic when the
// nonce has another length, as those of crypto/cipher do.
func NewXAES(key []byte) (cipher.AEAD, error) { return newXAES(key) }

func newXAES(key []byte) (*xaes, error) {
	if len(key) != KeySize {
		return nil, fmt.Errorf("key is %d bytes long, not %d", len(key), KeySize)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	x := &xaes{block: block}
	block.Encrypt(x.k1[:], x.k1[:])

	// K1 is L doubled in GF(2^128), without a branch on the secret bit.
	var msb byte
	for i := len(x.k1) - 1; i >= 0; i-- {
		x.k1[i], msb = x.k1[i]<<1|msb, x.k1[i]>>7
	}
	x.k1[len(x.k1)-1] ^= byte(subtle.ConstantTimeSelect(int(msb), 0x87, 0))
	return x, nil
}

// NonceSize returns 24.
func (*xaes) NonceSize() int { return NonceSize }

// Overhead returns 16, the length of the tag.
func (*xaes) Overhead() int { return Overhead }

// Seal encrypts as cipher.AEAD says.
func (x *xaes) Seal(dst, nonce, plaintext, additionalData []byte) []byte {
	return x.gcm(nonce).Seal(dst, nonce[subkeySize:], plaintext, additionalData)
}

// Open decrypts as cipher.AEAD says.
func (x *xaes) Open(dst, nonce, ciphertext, additionalData []byte) ([]byte, error) {
	return x.gcm(nonce).Open(dst, nonce[subkeySize:], ciphertext, additionalData)
}

// gcm returns AES-256-GCM under the subkey that the first half of the nonce
// selects: CMAC-AES256 in counter mode (NIST SP 800-108r1) with the label "X".
func (x *xaes) gcm(nonce []byte) cipher.AEAD {
	if len(nonce) != NonceSize {
		panic("seal: XAES-256-GCM nonce has the wrong length")
	}
	subkey := x.subkey(nonce[:subkeySize])
	block, err := aes.NewCipher(subkey[:])
	if err != nil {
		panic("seal: " + err.Error()) // 32 bytes is always an AES key
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		panic("seal: " + err.Error()) // an AES block is always 16 bytes
	}
	return gcm
}

func (x *xaes) subkey(context []byte) [KeySize]byte {
	var k [KeySize]byte
	for i := range 2 {
		half := k[i*aes.BlockSize:][:aes.BlockSize]
		copy(half, []byte{0, byte(i + 1), 'X', 0})
		copy(half[4:], context)
		subtle.XORBytes(half, half, x.k1[:])
		x.block.Encrypt(half, half)
	}
	return k
}
