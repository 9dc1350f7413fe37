package tensor

import (
	"fmt"
	"math"

	"github.com/pavise/pavise/internal/decimal"
)

// number scans one number by the grammar of RFC 8259 section 6 into n, which
// must be zero.
func (s *scanner) number(n *decimal.Number) *fault {
	c := s.peek()
	if c != '-' && !isDigit(c) {
		return s.notNumber(c)
	}
	b := s.text[s.pos:]
	i := 0
	if c == '-' {
		n.Neg = true
		i = 1
	}
	start := i
	n.Mant, i = decimal.Digits(b, i, 0)
	count := i - start
	switch {
	case count == 0:
		return s.fault("write digits after the minus sign", "a minus sign without a number")
	case count > 1 && b[start] == '0':
		return s.fault("write it without the leading zero", "a number with a leading zero")
	}
	n.Whole = true
	if i < len(b) && b[i] == '.' {
		point := i + 1
		n.Mant, i = decimal.Digits(b, point, n.Mant)
		if i == point {
			return s.fault("write digits after the point", "a point without digits after it")
		}
		n.Whole = false
		n.Exp = point - i
		count += i - point
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		e, end := decimal.Exponent(b, i+1)
		if end < 0 {
			return s.fault("write digits after the e", "an exponent without digits")
		}
		n.Whole = false
		n.Exp += e
		i = end
	}
	if i > decimal.MaxLen {
		return s.fault("shorten it", "a number of %d characters, more than %d", i, decimal.MaxLen)
	}
	n.Text = b[:i]
	n.Fits = count <= 19 // 10^19 - 1 < 2^64
	s.pos += i
	return nil
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

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
	start := s.pos
	var n decimal.Number
	if f := s.number(&n); f != nil {
		return 0, f
	}
	limit := uint64(1)<<(bits-1) - 1
	if n.Neg {
		limit++
	}
	mant, why := n.Integer(limit)
	if why != "" {
		s.pos = start
		return 0, s.fault("send a whole number in range, or another datatype",
			"%.40s %s INT%d (-%d to %d)", n.Text, why, bits, uint64(1)<<(bits-1), uint64(1)<<(bits-1)-1)
	}
	if n.Neg {
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
	if why == "" && n.Neg {
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
func (s *scanner) brain() (float64, *fault) {
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
