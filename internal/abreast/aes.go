package abreast

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
)

// rounds is how many AES-128 has.
const rounds = 10

// A Permutation is AES-128 under a key that is no secret, for blocks by the million. Many
// goroutines may use it.
type Permutation struct {
	block cipher.Block
	keys  [rounds + 1][aes.BlockSize]byte // of the rounds, where the processor has instructions for them
}

// NewPermutation returns that of a key.
func NewPermutation(key [aes.BlockSize]byte) *Permutation {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic("abreast: " + err.Error()) // the key is 16 bytes long
	}
	p := &Permutation{block: block}
	if steps {
		p.keys[0] = key
		expand(&p.keys)
	}
	return p
}

// OneWay writes p(x) ⊕ x over each block x, which cannot be turned back.
func OneWay[T ~[aes.BlockSize]byte](p *Permutation, blocks []T) {
	switch {
	case len(blocks) == 0:
	case steps:
		oneWay(&p.keys, &blocks[0][0], len(blocks))
	default:
		for i := range blocks {
			p.inTurn(blocks[i][:])
		}
	}
}

func (p *Permutation) inTurn(block []byte) {
	var out [aes.BlockSize]byte
	p.block.Encrypt(out[:], block)
	subtle.XORBytes(block, block, out[:])
}
