package receiver

import "bytes"

const (
	// maxPart is how long a batch of rows is at most, in bytes, unless a single row is
	// longer: then it comes in pieces, and the gate sees that they are none.
	maxPart = 1 << 20
	// maxHeader bounds the header of CSV, which each batch of it begins with.
	maxHeader = 64 << 10
)

// cut returns how many bytes of b are whole rows of a form.
func cut(form string, b []byte) int {
	if form != formCSV {
		return bytes.LastIndexByte(b, '\n') + 1
	}
	end, quoted := 0, false
	for i, c := range b {
		switch {
		case c == '"':
			quoted = !quoted // a doubled quote is two turns
		case c == '\n' && !quoted:
			end = i + 1
		}
	}
	return end
}

// header returns the first row of CSV, or nothing if it is not whole or too long.
func header(b []byte) []byte {
	quoted := false
	for i, c := range b[:min(len(b), maxHeader)] {
		switch {
		case c == '"':
			quoted = !quoted
		case c == '\n' && !quoted:
			return b[:i+1]
		}
	}
	return nil
}
