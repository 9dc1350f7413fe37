package extraction

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"slices"
)

// An Entry is one row that was asked and answered.
type Entry struct {
	Number        int // counted from 0
	Identity      int // who asked, below Config.Sybils
	Cover         bool
	Input, Answer [sha256.Size]byte // SHA-256 of the numbers, as float32, the lowest byte first
	Bits          float64           // what the answer disclosed: see Disclosed
}

// Ledger returns what was asked so far, in order. The slice is only for reading.
func (a *Attack) Ledger() []Entry { return a.entries }

// Rows returns how many rows were answered so far.
func (a *Attack) Rows() int { return len(a.entries) }

// Bits returns what the first rows of the ledger disclosed, cover with them.
func (a *Attack) Bits(rows int) (sum float64) {
	for _, e := range a.entries[:min(rows, len(a.entries))] {
		sum += e.Bits
	}
	return sum
}

// LedgerDigest returns the SHA-256 of the ledger, in hex: of each entry its number,
// identity, cover, input and answer. Equal digests are equal runs.
func (a *Attack) LedgerDigest() string {
	h := sha256.New()
	for _, e := range a.entries {
		var b [17]byte
		binary.LittleEndian.PutUint64(b[:], uint64(e.Number))
		binary.LittleEndian.PutUint64(b[8:], uint64(e.Identity))
		if e.Cover {
			b[16] = 1
		}
		h.Write(b[:])
		h.Write(e.Input[:])
		h.Write(e.Answer[:])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// maxDigits is how many decimals of a score count as rounded: float32 holds seven.
const maxDigits = 6

// Disclosed returns how much one row of scores tells at most, in bits: log₂ K where only
// one of K classes is named, log₂(10^d+1) for each score of d decimals, 24 for each score
// that is not rounded, which is what a float32 holds.
func Disclosed(row []float32) float64 {
	named, digits := 0, 0
	for _, v := range row {
		if v != 0 {
			named++
		}
		digits = max(digits, decimals(v))
	}
	switch {
	case named == 1 && slices.Contains(row, 1):
		return math.Log2(float64(len(row)))
	case digits <= maxDigits:
		return float64(len(row)) * math.Log2(math.Pow10(digits)+1)
	}
	return 24 * float64(len(row))
}

// decimals is with how many decimals a score is written exactly, up to maxDigits.
func decimals(v float32) int {
	for d := range maxDigits + 1 {
		scale := math.Pow10(d)
		if float32(math.Round(float64(v)*scale)/scale) == v {
			return d
		}
	}
	return maxDigits + 1
}
