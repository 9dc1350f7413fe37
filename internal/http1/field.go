package http1

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// A Field is one header field as it arrived, without the white space around its value. Both
// parts point into a buffer: they hold until the next message is read.
type Field struct{ Name, Value []byte }

// What bytes may be: bits of class.
const (
	isToken  = 1 << iota // in a method or a field's name (RFC 9110, 5.6.2)
	isValue              // in a field's value: visible, space, tab, or above ASCII
	isPath               // in a target, where url.URL keeps it as it is
	isTarget             // in a target at all
	isHost               // in a host and its port
	isDigit
)

// class says what each byte may be.
var class = func() (c [256]byte) {
	mark := func(bytes string, bits byte) {
		for i := range len(bytes) {
			c[bytes[i]] |= bits
		}
	}
	const digits, letters = "0123456789", "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	mark(letters+digits, isToken|isPath|isTarget|isHost)
	mark(digits, isDigit)
	mark("!#$%&'*+-.^_`|~", isToken)
	mark("-._~$&+,/:;=@", isPath|isTarget)
	mark("%?!'()*", isTarget)
	mark("-._:[]", isHost)
	for b := range c {
		if b == '\t' || b >= ' ' && b != 0x7f {
			c[b] |= isValue
		}
	}
	return c
}()

// all reports whether every byte of b is of the class.
func all(b []byte, bits byte) bool {
	for _, x := range b {
		if class[x]&bits == 0 {
			return false
		}
	}
	return true
}

// What can be wrong with a head. They are for both sides, which say whose head it was.
var (
	errBareLF     = errors.New("a line ends with LF alone")
	errBareCR     = errors.New("a CR stands inside a line")
	errFold       = errors.New("a field goes on on the next line, or begins with white space")
	errName       = errors.New("a field's name is empty, or has a byte that no name has (white space before the colon, for example)")
	errValue      = errors.New("a field's value has a control character")
	errManyFields = errors.New("it has too many fields")
	errLength     = errors.New("its Content-Length is not a plain number")
	errLengths    = errors.New("it has more than one Content-Length")
	errCoding     = errors.New("its Transfer-Encoding is not \"chunked\", once")
	errBoth       = errors.New("it has both Content-Length and Transfer-Encoding")
)

// headEnd looks for the empty line that ends a head, in b from offset from, where a line
// begins. It returns where the head ends, or -1 and from where to look again when b has
// more. Lines end with CRLF and with nothing else: a reader that took a bare LF would see
// other fields than one that does not.
func headEnd(b []byte, from int) (end, again int, err error) {
	for {
		n := bytes.IndexByte(b[from:], '\n')
		switch {
		case n < 0:
			return -1, from, nil
		case n == 0 || b[from+n-1] != '\r':
			return -1, from, errBareLF
		case n == 1:
			return from + 2, from + 2, nil
		}
		from += n + 1
	}
}

// cutLine returns the first line of b, which headEnd has looked through, and what follows it.
func cutLine(b []byte) (line, rest []byte) {
	n := bytes.IndexByte(b, '\n')
	return b[:n-1], b[n+1:]
}

// readFields appends the fields of lines, a head without its first line and with the empty
// one at its end, to fields.
func readFields(lines []byte, fields []Field, most int) ([]Field, error) {
	for {
		line, rest := cutLine(lines)
		if len(line) == 0 {
			return fields, nil
		}
		if len(fields) == most {
			return fields, errManyFields
		}
		f, err := readField(line)
		if err != nil {
			return fields, err
		}
		fields, lines = append(fields, f), rest
	}
}

// readField reads one line: a token, a colon, and the value (RFC 9112, 5).
func readField(line []byte) (f Field, err error) {
	if line[0] == ' ' || line[0] == '\t' {
		return f, errFold
	}
	n := 0
	for n < len(line) && class[line[n]]&isToken != 0 {
		n++
	}
	if n == 0 || n == len(line) || line[n] != ':' {
		return f, errName
	}
	value := line[n+1:]
	for len(value) > 0 && isBlank(value[0]) {
		value = value[1:]
	}
	for len(value) > 0 && isBlank(value[len(value)-1]) {
		value = value[:len(value)-1]
	}
	if !allValue(value) {
		if bytes.IndexByte(value, '\r') >= 0 {
			return f, errBareCR
		}
		return f, errValue
	}
	return Field{line[:n], value}, nil
}

// allValue is all for isValue, eight bytes at a time as long as none of them is a control
// character, tab included: a token is hundreds of bytes, and half of reading a head was
// looking at them one by one. The arithmetic finds a byte below 32, or of 127, in a word
// (Anderson, Bit Twiddling Hacks: "Determine if a word has a byte less than n").
func allValue(b []byte) bool {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	for len(b) >= 8 {
		x := binary.LittleEndian.Uint64(b)
		del := x ^ 0x7f*ones
		if ((x-32*ones)&^x|(del-ones)&^del)&highs != 0 {
			break
		}
		b = b[8:]
	}
	return all(b, isValue)
}

func isBlank(b byte) bool { return b == ' ' || b == '\t' }

// lower is an ASCII letter's lower case.
func lower(b byte) byte {
	if 'A' <= b && b <= 'Z' {
		return b + 'a' - 'A'
	}
	return b
}

// is reports whether b is word, in whatever case. word is in lower case. It knows ASCII
// only: to bytes.EqualFold a Kelvin sign is a k.
func is(b []byte, word string) bool {
	if len(b) != len(word) {
		return false
	}
	for i, x := range b {
		if lower(x) != word[i] {
			return false
		}
	}
	return true
}

// readLength reads digits without sign and without leading zeros: other readers take "+5",
// "0x5" or "05" for different numbers.
func readLength(b []byte) (n int64, ok bool) {
	if len(b) == 0 || len(b) > 18 || len(b) > 1 && b[0] == '0' || !all(b, isDigit) {
		return 0, false
	}
	for _, d := range b {
		n = n*10 + int64(d-'0')
	}
	return n, true
}

// framing is what the fields of a head say about the body.
type framing struct {
	length  int64 // -1: not said
	chunked bool
}

// readFraming finds how long the body is. Saying it twice is refused even when both agree.
func readFraming(fields []Field) (f framing, err error) {
	f.length = -1
	for _, field := range fields {
		switch {
		case is(field.Name, "content-length"):
			if f.length >= 0 {
				return f, errLengths
			}
			var ok bool
			if f.length, ok = readLength(field.Value); !ok {
				return f, errLength
			}
		case is(field.Name, "transfer-encoding"):
			if f.chunked || !is(field.Value, "chunked") {
				return f, errCoding
			}
			f.chunked = true
		}
	}
	if f.chunked && f.length >= 0 {
		return f, errBoth
	}
	return f, nil
}

// eachToken calls do with each element of a list like that of Connection.
func eachToken(list []byte, do func(token []byte)) {
	for len(list) > 0 {
		token, rest, _ := bytes.Cut(list, []byte(","))
		if token = bytes.Trim(token, " \t"); len(token) > 0 {
			do(token)
		}
		list = rest
	}
}
