package embedding

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"

	"github.com/pavise/pavise"
)

// MaxDim is the most numbers that a vector may have.
const MaxDim = 8192

// rounds is how often a rotation mixes. One round spreads each number over its block,
// and the next one over the other blocks; after three the entries of the whole matrix are
// spread like those of a random one, as far as a test of their fourth moment sees.
const rounds = 5

// A Rotation is an orthogonal map of vectors of one size that nobody makes without its
// key: lengths, distances and angles stay, and all directions are others. It is a product
// of rounds of a keyed permutation, keyed rotations of pairs, and a Walsh-Hadamard
// transform of each block, so that it takes O(d log d) steps and not d²; the idea is that
// of the structured matrices of Ailon and Chazelle ("The Fast Johnson-Lindenstrauss
// Transform", 2009), repeated until no structure shows.
//
// It hides nothing from whoever has both sides of enough vectors: so many pairs that
// determine a linear map, as many as a vector has numbers, determine this one. It is safe
// for concurrent use.
type Rotation struct {
	dim    int
	blocks []int // sizes of the blocks, powers of two that add up to dim
	round  [rounds]round
}

// A round is what one round of a rotation draws from the key.
type round struct {
	to       []int32   // where each number goes
	cos, sin []float64 // of each pair; with an odd size the last one is turned by its cos, 1 or -1
}

// NewRotation returns the rotation of vectors of a size that belongs to a key and an
// epoch: another epoch is another rotation. Machines that round alike make the same of the
// same arguments, and others to twelve digits. The error is of kind Invalid.
func NewRotation(key [32]byte, epoch uint32, dim int) (*Rotation, error) {
	if dim < 1 || dim > MaxDim {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("a vector of %d numbers; a rotation is for 1 to %d", dim, MaxDim)}
	}
	r := &Rotation{dim: dim}
	for left := dim; left > 0; {
		block := 1 << (bits.Len(uint(left)) - 1)
		r.blocks = append(r.blocks, block)
		left -= block
	}
	chance := stream(key, "rotation", binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, epoch), uint32(dim)))
	for i := range r.round {
		r.round[i] = draw(chance, dim)
	}
	return r, nil
}

// stream is the chance that belongs to a key, a use and a context.
func stream(key [32]byte, use string, context []byte) *rand.ChaCha8 {
	h := sha256.New()
	h.Write([]byte("pavise embedding " + use + "\x00"))
	h.Write(key[:])
	h.Write(context)
	return rand.NewChaCha8([32]byte(h.Sum(nil)))
}

// draw draws one round.
func draw(chance *rand.ChaCha8, dim int) round {
	r := round{make([]int32, dim), make([]float64, (dim+1)/2), make([]float64, (dim+1)/2)}
	for i := range r.to {
		r.to[i] = int32(i)
	}
	for i := dim - 1; i > 0; i-- { // Fisher and Yates; by hand, because the sequence must never change
		j, _ := bits.Mul64(chance.Uint64(), uint64(i+1))
		r.to[i], r.to[j] = r.to[j], r.to[i]
	}
	for i := range r.cos {
		r.sin[i], r.cos[i] = math.Sincos(2 * math.Pi * unit(chance))
	}
	if last := len(r.cos) - 1; dim%2 == 1 {
		r.sin[last], r.cos[last] = 0, math.Copysign(1, r.cos[last])
	}
	return r
}

// unit is a number in [0, 1).
func unit(chance *rand.ChaCha8) float64 { return float64(chance.Uint64()>>11) / (1 << 53) }

// Dim is the size of the vectors.
func (r *Rotation) Dim() int { return r.dim }

// Apply rotates a vector in its place. It panics if the vector has another size.
func (r *Rotation) Apply(v []float64) {
	if len(v) != r.dim {
		panic(fmt.Sprintf("embedding: a vector of %d numbers, and a rotation of %d", len(v), r.dim))
	}
	other := make([]float64, len(v))
	for i := range r.round {
		r.round[i].apply(other, v)
		at := 0
		for _, size := range r.blocks {
			hadamard(other[at : at+size])
			at += size
		}
		copy(v, other)
	}
}

// apply permutes a vector and rotates its pairs.
func (r *round) apply(to, from []float64) {
	for i, at := range r.to {
		to[at] = from[i]
	}
	for i, cos := range r.cos {
		if 2*i+1 == len(to) {
			to[2*i] *= cos
			break
		}
		a, b, sin := to[2*i], to[2*i+1], r.sin[i]
		to[2*i], to[2*i+1] = a*cos-b*sin, a*sin+b*cos
	}
}

// hadamard is the Walsh-Hadamard transform of 2^n numbers, scaled so that lengths stay.
func hadamard(v []float64) {
	for half := 1; half < len(v); half *= 2 {
		for i := 0; i < len(v); i += 2 * half {
			low, high := v[i:i+half], v[i+half:i+2*half]
			for j, a := range low {
				b := high[j]
				low[j], high[j] = a+b, a-b
			}
		}
	}
	scale := 1 / math.Sqrt(float64(len(v)))
	for i := range v {
		v[i] *= scale
	}
}
