package template

import "bytes"

// masked returns a word with <*> in place of what is a value by its form, and whether there was
// such. A value begins and ends where no letter or digit goes on:
//
//   - UUIDs, hardware addresses, and addresses of IPv6
//   - 0x and hexadecimal digits, or eight of them with a digit from 0 to 9 among them
//   - numbers, with a sign, and with points, commas and colons between digits: 3.5, 17:41:44,
//     an address of IPv4 with its port
func (m *Miner) masked(text []byte) (out []byte, some bool) {
	begin, copied := len(m.scratch), 0
	colon := bytes.IndexByte(text, ':') >= 0
	boundary := true
	for at := 0; at < len(text); at++ {
		b := text[at]
		if boundary && (hexDigit[b] || b == '-' || b == '+' || b == ':') {
			if n := value(text[at:], colon); n > 0 {
				m.scratch = append(append(m.scratch, text[copied:at]...), placeholder...)
				at += n - 1
				copied, boundary = at+1, false
				continue
			}
		}
		boundary = class[b]&inWord == 0
	}
	if copied == 0 {
		return text, false
	}
	m.scratch = append(m.scratch, text[copied:]...)
	return m.scratch[begin:], true
}

// inWord are the bytes at which a value neither begins nor ends.
const inWord = letter | digit | high

// value returns the length of the value that a text begins with, or 0. Where there is no colon
// in the word, it is no address.
func value(text []byte, colon bool) int {
	n := uuid(text)
	if n == 0 && colon {
		n = max(hardware(text), ipv6(text))
	}
	if n == 0 {
		n = number(text)
	}
	if n == 0 || n < len(text) && class[text[n]]&inWord != 0 {
		n = hexadecimal(text)
	}
	if n > 0 && n < len(text) && class[text[n]]&inWord != 0 {
		return 0
	}
	return n
}

// hexDigit says which bytes are hexadecimal digits.
var hexDigit = func() (is [256]bool) {
	for _, b := range "0123456789abcdefABCDEF" {
		is[b] = true
	}
	return is
}()

// uuid: 8, 4, 4, 4 and 12 hexadecimal digits.
func uuid(text []byte) int {
	const length = 36
	if len(text) < length || text[8] != '-' {
		return 0
	}
	for i, b := range text[:length] {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if b != '-' {
				return 0
			}
		} else if !hexDigit[b] {
			return 0
		}
	}
	return length
}

// hardware: six times two hexadecimal digits.
func hardware(text []byte) int {
	const length = 17
	if len(text) < length {
		return 0
	}
	for i, b := range text[:length] {
		if i%3 == 2 {
			if b != ':' {
				return 0
			}
		} else if !hexDigit[b] {
			return 0
		}
	}
	return length
}

// manyHex is from how many hexadecimal digits on they are an identifier.
const manyHex = 8

// hexadecimal: 0x and digits, or many digits.
func hexadecimal(text []byte) int {
	at, least, digits := 0, manyHex, false
	if len(text) > 2 && text[0] == '0' && text[1]|0x20 == 'x' {
		at, least, digits = 2, 1, true
	}
	start := at
	for at < len(text) && hexDigit[text[at]] {
		digits = digits || class[text[at]]&digit != 0
		at++
	}
	if !digits || at-start < least {
		return 0
	}
	return at
}

// ipv6: at most eight groups of at most four hexadecimal digits; all eight, or two colons in a
// row for those left out.
func ipv6(text []byte) int {
	at, colons, group, double, digits := 0, 0, 0, false, false
	for at < len(text) && (text[at] == ':' || hexDigit[text[at]]) && group <= 4 && colons <= 7 {
		if text[at] == ':' {
			double = double || at > 0 && text[at-1] == ':'
			colons, group = colons+1, 0
		} else {
			group, digits = group+1, digits || class[text[at]]&digit != 0
		}
		at++
	}
	if at > 1 && text[at-1] == ':' && text[at-2] != ':' { // of the sentence
		at, colons = at-1, colons-1
	}
	if group > 4 || colons > 7 || colons < 7 && !double || !digits {
		return 0
	}
	return at
}

// number: a sign, digits, and one of point, comma and colon between digits.
func number(text []byte) int {
	at := 0
	if text[0] == '-' || text[0] == '+' {
		at = 1
	}
	if at == len(text) || class[text[at]]&digit == 0 {
		return 0
	}
	for {
		for at < len(text) && class[text[at]]&digit != 0 {
			at++
		}
		if at+1 >= len(text) || text[at] != '.' && text[at] != ',' && text[at] != ':' || class[text[at+1]]&digit == 0 {
			return at
		}
		at++
	}
}
