package artefact

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// Bounds of one pickle.
const (
	maxStack = 1 << 20
	maxMemo  = 1 << 21
	maxText  = 1 << 12  // bytes of a text that are kept
	maxLine  = 1 << 16  // bytes of a line of protocol 0
	maxKept  = 64 << 20 // bytes of all texts that are kept
	maxCode  = 1 << 20  // bytes that are kept because they may be a pickle themselves
)

// errPickle is what ends a pickle that is none, or none any more.
var errPickle = errors.New("pickle")

// A pickle follows the opcodes of one stream, on a stack of what values there would be. It
// calls and imports nothing. It is for one goroutine.
type pickle struct {
	in     *bufio.Reader
	at     int64 // of the opcode
	read   int64 // bytes so far
	op     byte
	proto  int
	stack  []*value
	marks  []int
	memo   []*value          // numbers that follow one another
	sparse map[uint64]*value // others
	kept   int
	calls  int
	acts   int
	bound  bool                       // it was given up at a bound of ours
	ended  bool                       // its bytes ended
	inCall int                        // calls that this one stands in
	said   map[Severity]int           // how much was found
	tell   func(Finding)              // of what is found
	nested func(b []byte, loads bool) // what is handed to a loader, or begins as a pickle
	forked bool                       // it is followed as pickle.load does, which knows nothing of joblib
	forks  int                        // what was copied for that
	depth  int                        // pickles that this one stands in
}

// stopped is what one pickle came to.
type stopped struct {
	result *value
	ops    int
	calls  int  // and globals
	acts   int  // calls of what has the name of something in a module
	bound  bool // it was given up, and pickle.load would go on
	cut    bool // its bytes ended
	err    error
}

// run follows one pickle to its STOP.
func (p *pickle) run() (s stopped) {
	p.stack, p.marks, p.memo, p.proto, p.calls, p.acts = p.stack[:0], p.marks[:0], p.memo[:0], 0, 0, 0
	p.sparse = map[uint64]*value{}
	return p.onward()
}

// onward follows a pickle from where it is.
func (p *pickle) onward() (s stopped) {
	defer func() { s.calls, s.acts, s.bound, s.cut = p.calls, p.acts, s.bound || p.bound, p.ended }()
	for ; ; s.ops++ {
		p.at = p.read
		op, err := p.in.ReadByte()
		if err != nil {
			s.err = p.broken(err)
			return s
		}
		p.read++
		if p.op = op; op == '.' {
			s.result, s.err = p.pop()
			return s
		}
		if err := p.step(op); err != nil {
			s.err = err
			return s
		}
		if len(p.stack) > maxStack || len(p.memo)+len(p.sparse) > maxMemo {
			s.err, s.bound = fmt.Errorf("%w: its stack or memo grows without end", errPickle), true
			return s
		}
	}
}

// broken says that the bytes end, or cannot be read.
func (p *pickle) broken(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		p.ended = true
		return fmt.Errorf("%w: it ends before its STOP", errPickle)
	}
	return err
}

// wrong says that an opcode cannot be.
func (p *pickle) wrong(why string) error { return fmt.Errorf("%w: %s", errPickle, why) }

func (p *pickle) push(v *value) { p.stack = append(p.stack, v) }

// floor is where the values since the last mark begin.
func (p *pickle) floor() int {
	if len(p.marks) == 0 {
		return 0
	}
	return p.marks[len(p.marks)-1]
}

func (p *pickle) pop() (*value, error) {
	if len(p.stack) <= p.floor() {
		return nil, p.wrong("it takes from an empty stack")
	}
	v := p.stack[len(p.stack)-1]
	p.stack = p.stack[:len(p.stack)-1]
	return v, nil
}

// take pops so many, and returns them in the order in which they were pushed.
func (p *pickle) take(n int) ([]*value, error) {
	if len(p.stack)-p.floor() < n {
		return nil, p.wrong("it takes from an empty stack")
	}
	from := len(p.stack) - n
	items := append([]*value(nil), p.stack[from:]...)
	p.stack = p.stack[:from]
	return items, nil
}

// marked pops what stands above the last mark, and the mark. It is good until the next push.
func (p *pickle) marked() ([]*value, error) {
	if len(p.marks) == 0 {
		return nil, p.wrong("there is no mark")
	}
	from := p.floor()
	items := p.stack[from:]
	p.marks, p.stack = p.marks[:len(p.marks)-1], p.stack[:from]
	return items, nil
}

func (p *pickle) top() (*value, error) {
	if len(p.stack) <= p.floor() {
		return nil, p.wrong("its stack is empty")
	}
	return p.stack[len(p.stack)-1], nil
}

// step follows one opcode.
func (p *pickle) step(op byte) error {
	if a, ok := sized[op]; ok {
		return p.sized(a.length, a.kind)
	}
	if n, ok := fixed[op]; ok {
		var b [8]byte
		if _, err := io.ReadFull(p.in, b[:n]); err != nil {
			return p.broken(err)
		}
		p.read += int64(n)
		return p.number(op, binary.LittleEndian.Uint64(b[:]))
	}
	if n, ok := lines[op]; ok {
		var all [2]string
		for i := range n {
			line, err := p.line()
			if err != nil {
				return err
			}
			all[i] = line
		}
		return p.lined(op, all[0], all[1])
	}
	return p.bare(op)
}

// sized reads the bytes behind a length. More than are kept are passed over.
func (p *pickle) sized(length int, kind valueKind) error {
	var b [8]byte
	if _, err := io.ReadFull(p.in, b[:length]); err != nil {
		return p.broken(err)
	}
	p.read += int64(length)
	n := binary.LittleEndian.Uint64(b[:])
	if n > math.MaxInt64/2 {
		return p.wrong("a length is beyond what there can be")
	}
	most := uint64(maxText)
	if head, _ := p.in.Peek(3); kind == someBytes || string(head) == "\xc2\x80\x02" || string(head) == "\xc2\x80\x03" || string(head) == "\xc2\x80\x04" || string(head) == "\xc2\x80\x05" {
		most = maxCode // a pickle, or one in latin1
	}
	if p.kept > maxKept {
		most = 0
	}
	var held bytes.Buffer
	if _, err := io.CopyN(&held, p.in, int64(min(n, most))); err != nil {
		return p.broken(err)
	}
	if err := p.skip(int64(n) - int64(held.Len())); err != nil {
		return err
	}
	p.read += int64(held.Len())
	p.kept += held.Len()
	v := &value{kind: kind, text: held.String(), whole: n <= most}
	if kind == aNumber {
		v.n = long(held.Bytes())
	}
	p.within(v)
	p.push(v)
	return nil
}

// skip passes bytes over.
func (p *pickle) skip(n int64) error {
	got, err := io.CopyN(io.Discard, p.in, n)
	if p.read += got; err != nil {
		return p.broken(err)
	}
	return nil
}

// long is a little-endian number in two's complement, as far as it fits.
func long(b []byte) (n int64) {
	for i := len(b) - 1; i >= 0 && len(b) <= 8; i-- {
		n = n<<8 | int64(b[i])
	}
	if len(b) > 0 && len(b) < 8 && b[len(b)-1] >= 0x80 {
		n -= 1 << (8 * len(b))
	}
	return n
}

// line reads to the end of a line.
func (p *pickle) line() (string, error) {
	var line []byte
	for {
		b, err := p.in.ReadByte()
		if err != nil {
			return "", p.broken(err)
		}
		p.read++
		if b == '\n' {
			return string(line), nil
		}
		if len(line) < maxLine {
			line = append(line, b) // of what is longer the rest is passed over: pickle.load reads it, too
		}
	}
}

// number follows an opcode with a number.
func (p *pickle) number(op byte, n uint64) error {
	switch op {
	case 'J':
		p.push(&value{kind: aNumber, n: int64(int32(n))})
	case 'K', 'M':
		p.push(&value{kind: aNumber, n: int64(n)})
	case 'G':
		p.push(nothing)
	case 'h', 'j':
		return p.recall(n)
	case 'q', 'r':
		return p.remember(n)
	case 0x80:
		if p.proto = int(n); n > 5 {
			return p.wrong(fmt.Sprintf("there is no protocol %d", n))
		}
	case 0x82, 0x83, 0x84:
		p.found(Suspicious, "pickle.extension", nextVet, "it calls number %d of the registry of extensions, which says elsewhere what that is", n)
		p.push(&value{kind: aGlobal, text: fmt.Sprintf("extension.%d", n), cut: 9})
	}
	return nil // of a FRAME nothing follows
}

func (p *pickle) recall(n uint64) error {
	v, ok := p.sparse[n]
	if n < uint64(len(p.memo)) {
		v, ok = p.memo[n], true
	}
	if !ok {
		return p.wrong(fmt.Sprintf("it recalls number %d of its memo, which it never put there", n))
	}
	p.push(v)
	return nil
}

func (p *pickle) remember(n uint64) error {
	v, err := p.top()
	switch {
	case err != nil:
	case n < uint64(len(p.memo)):
		p.memo[n] = v
	case n == uint64(len(p.memo)):
		p.memo = append(p.memo, v)
		delete(p.sparse, n)
	default:
		p.sparse[n] = v
	}
	return err
}

// lined follows an opcode with lines.
func (p *pickle) lined(op byte, a, b string) error {
	switch op {
	case 'c':
		p.push(p.global(a, b))
	case 'i':
		args, err := p.marked()
		if err != nil {
			return err
		}
		made := &value{kind: aTuple}
		made.hold(args...)
		p.handed(args...)
		p.push(p.call(p.global(a, b), made))
	case 'I', 'L':
		n, _ := strconv.ParseInt(plainDigits(strings.TrimSuffix(strings.TrimSpace(a), "L")), 0, 64)
		p.push(&value{kind: aNumber, n: n}) // Python's numbers have more spellings than Go's: what is none ends nothing here
	case 'F':
		p.push(nothing)
	case 'S':
		if len(a) == maxLine { // it is longer than that, and its quotes are not seen
			p.push(&value{kind: aText})
			return nil
		}
		if len(a) < 2 || a[0] != '\'' && a[0] != '"' || a[len(a)-1] != a[0] {
			return p.wrong("a text has no quotes")
		}
		p.push(p.keep(unescape(a[1 : len(a)-1])))
	case 'V':
		p.push(p.keep(unescape(a)))
	case 'P':
		p.push(&value{kind: anObject})
	case 'g', 'p':
		n, err := strconv.ParseUint(plainDigits(a), 10, 63)
		switch {
		case err != nil:
			return p.wrong("a number of the memo is none")
		case op == 'g':
			return p.recall(n)
		}
		return p.remember(n)
	}
	return nil
}

// plainDigits takes from a number what Python reads besides its digits.
func plainDigits(s string) string {
	return strings.TrimPrefix(strings.ReplaceAll(strings.TrimSpace(s), "_", ""), "+")
}

func (p *pickle) keep(s string) *value {
	v := &value{kind: aText, whole: len(s) <= maxText && p.kept <= maxKept}
	if p.kept <= maxKept {
		v.text = s[:min(len(s), maxText)]
		p.kept += len(v.text)
	}
	return v
}

// unescape reads the escapes of Python's texts, of which names are hidden behind some.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		digits := 0
		if s[0] == '\\' && len(s) > 1 {
			digits = map[byte]int{'x': 2, 'u': 4, 'U': 8}[s[1]]
		}
		if digits > 0 && len(s) >= 2+digits {
			if n, err := strconv.ParseUint(s[2:2+digits], 16, 32); err == nil {
				b.WriteRune(rune(n))
				s = s[2+digits:]
				continue
			}
		}
		if r, _, tail, err := strconv.UnquoteChar(s, '\''); err == nil && s[0] == '\\' {
			b.WriteRune(r)
			s = tail
			continue
		}
		b.WriteByte(s[0])
		s = s[1:]
	}
	return b.String()
}
