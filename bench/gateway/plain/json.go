package main

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
)

// deepest is how far values may lie in one another.
const deepest = 32

// A scan goes once through a text of JSON.
type scan struct {
	text []byte
	at   int
	out  []byte  // with round: the text so far
	from int     // with round: what of the text is not in out yet
	sum  float64 // of all numbers, so that none is read for nothing
	// round is whether the numbers of arrays called data are rounded to four digits.
	round bool
}

// rewrite reads a text of JSON, every number of it, and appends it to dst if it is to be
// rounded.
func rewrite(dst, text []byte, round bool) ([]byte, error) {
	s := scan{text: text, out: dst, round: round}
	if !s.value(0, false) || s.next() != 0 || s.at != len(text) {
		return dst, errSyntax
	}
	if round {
		s.out = append(s.out, text[s.from:]...)
	}
	return s.out, nil
}

// next skips white space and returns the byte behind it, 0 at the end.
func (s *scan) next() byte {
	for ; s.at < len(s.text); s.at++ {
		if c := s.text[s.at]; c != ' ' && c != '\n' && c != '\r' && c != '\t' {
			return c
		}
	}
	return 0
}

// value reads one, and reports whether there was one. It lies in an array called data, or
// not.
func (s *scan) value(depth int, data bool) bool {
	if depth > deepest {
		return false
	}
	switch c := s.next(); {
	case c == '-' || '0' <= c && c <= '9':
		return s.number(data)
	case c == '"':
		_, ok := s.word()
		return ok
	case c == '[':
		return s.list(']', func() bool { return s.value(depth+1, data) })
	case c == '{':
		return s.list('}', func() bool {
			if s.next() != '"' {
				return false
			}
			key, ok := s.word()
			if !ok || s.next() != ':' {
				return false
			}
			s.at++
			return s.value(depth+1, string(key) == "data")
		})
	}
	for _, literal := range []string{"true", "false", "null"} {
		if bytes.HasPrefix(s.text[s.at:], []byte(literal)) {
			s.at += len(literal)
			return true
		}
	}
	return false
}

// list reads what stands between brackets, with commas between.
func (s *scan) list(end byte, one func() bool) bool {
	s.at++
	if s.next() == end {
		s.at++
		return true
	}
	for one() {
		c := s.next()
		s.at++
		if c != ',' {
			return c == end
		}
	}
	return false
}

// word reads a string, and returns what is between its quotes.
func (s *scan) word() ([]byte, bool) {
	begin := s.at
	for s.at++; s.at < len(s.text); s.at++ {
		switch c := s.text[s.at]; {
		case c == '"':
			s.at++
			text := s.text[begin:s.at]
			return text[1 : len(text)-1], bytes.IndexByte(text, '\\') < 0 || json.Valid(text)
		case c == '\\':
			s.at++
		case c < ' ':
			return nil, false
		}
	}
	return nil, false
}

// tens are the powers of ten that a float64 holds exactly.
var tens = [...]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22}

// number reads one, and rounds it if it is to be.
func (s *scan) number(data bool) bool {
	begin := s.at
	s.one('-')
	mantissa, whole := s.digits(0)
	if whole == 0 || whole > 1 && s.text[s.at-whole] == '0' {
		return false
	}
	places := 0
	if s.one('.') {
		if mantissa, places = s.digits(mantissa); places == 0 {
			return false
		}
	}
	exponent := s.one('e') || s.one('E')
	if exponent {
		_ = s.one('-') || s.one('+')
		if _, n := s.digits(0); n == 0 {
			return false
		}
	}
	if exponent || whole+places > 15 {
		v, err := strconv.ParseFloat(string(s.text[begin:s.at]), 64)
		return err == nil && s.keep(begin, v, data)
	}
	v := float64(mantissa) / tens[places]
	if s.text[begin] == '-' {
		v = -v
	}
	return s.keep(begin, v, data)
}

// one reads a byte if it comes next.
func (s *scan) one(c byte) bool {
	if s.at == len(s.text) || s.text[s.at] != c {
		return false
	}
	s.at++
	return true
}

// digits reads some behind others, and returns how many they are.
func (s *scan) digits(before uint64) (mantissa uint64, n int) {
	for mantissa = before; s.at < len(s.text) && s.text[s.at]-'0' < 10; s.at++ {
		mantissa = 10*mantissa + uint64(s.text[s.at]-'0')
		n++
	}
	return mantissa, n
}

// keep takes a number that began somewhere, and writes it again if it is to be rounded.
func (s *scan) keep(begin int, v float64, data bool) bool {
	s.sum += v
	if s.round && data && math.Abs(v) < 1e15 { // above, there is nothing behind the point
		s.out = append(s.out, s.text[s.from:begin]...)
		s.out = strconv.AppendFloat(s.out, math.Round(v*1e4)/1e4, 'g', -1, 64)
		s.from = s.at
	}
	return true
}
