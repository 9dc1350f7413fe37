package tensor

import (
	"fmt"
	"github.com/pavise/pavise/internal/decimal"
	"math"
)

// notNumber explains what stands where a number should.
func (s *scanner) notNumber(c byte) *fault {
	switch c {
	case 'n':
		return s.fault("give every element a value", "null where a number should be")
	case 'N', 'I', '+', '.':
		return s.fault("JSON has no NaN, no Infinity, no plus sign and no number that begins with a point", "not a JSON number")
	}
	return s.unexpected("a number")
}

// signed reads an integer of 8 to 64 bits.
func (s *scanner) signed(bits int) (int64, *fault) {
	s.peek()
	var room [1]int64
	if plain := s.plainInts(room[:0], 1, bits); len(plain) == 1 { // as the dimensions of a shape are
		return plain[0], nil
	}
	start := s.pos
	var n decimal.Number
	if f := s.number(&n); f != nil {
		return 0, f
	}
	limit := uint64(1)<<(bits-1) - 1
	if n.Negative() {
		limit++
	}
	mant, why := n.Integer(limit)
	if why != "" {
		s.pos = start
		return 0, s.fault("send a whole number in range, or another datatype",
			"%.40s %s INT%d (-%d to %d)", n.Text, why, bits, uint64(1)<<(bits-1), uint64(1)<<(bits-1)-1)
	}
	if n.Negative() {
		return -int64(mant), nil
	}
	return int64(mant), nil
}

// unsigned reads a non-negative integer of 8 to 64 bits.
func (s *scanner) unsigned(bits int) (uint64, *fault) {
	s.peek()
	start := s.pos
	var n decimal.Number
	if f := s.number(&n); f != nil {
		return 0, f
	}
	limit := uint64(math.MaxUint64) >> (64 - bits)
	mant, why := n.Integer(limit)
	if why == "" && n.Negative() {
		why = "is out of range for"
	}
	if why != "" {
		s.pos = start
		return 0, s.fault("send a whole number in range, or another datatype",
			"%.40s %s UINT%d (0 to %d)", n.Text, why, bits, limit)
	}
	return mant, nil
}

// float reads a number of 16, 32 or 64 bits, rounded to nearest. What rounds to
// infinity is refused; what is too small to hold becomes zero, as everywhere.
func (s *scanner) float(bits int) (float64, *fault) {
	var n decimal.Number
	if f := s.number(&n); f != nil {
		return 0, f
	}
	v := n.Float(bits)
	if math.IsInf(v, 0) {
		s.pos -= len(n.Text)
		largest := map[int]float64{16: decimal.MaxHalf, 32: math.MaxFloat32, 64: math.MaxFloat64}[bits]
		return 0, s.fault("scale the value, or send a wider datatype",
			"%.40s is too large for FP%d (at most %s)", n.Text, bits, fmt.Sprint(largest))
	}
	return v, nil
}

// brain reads a number of BF16. No protocol with a datatype in its text has a form of
// it; those that take the datatype from the signature do.
func (s *scanner) brain(int) (float64, *fault) {
	start := s.pos
	v, f := s.float(64)
	if f != nil {
		return 0, f
	}
	if v = BF16.Round(v); math.IsInf(v, 0) {
		s.pos = start
		return 0, s.fault("scale the value, or send a wider datatype", "a number that is too large for BF16")
	}
	return v, nil
}

// number reads one number into n, which must be zero.
func (s *scanner) number(n *decimal.Number) *fault {
	if c := s.peek(); c != '-' && !isDigit(c) {
		return s.notNumber(c)
	}
	if hint, why := n.Scan(s.text[s.pos:]); why != "" {
		return s.fault(hint, "%s", why)
	}
	s.pos += len(n.Text)
	return nil
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
