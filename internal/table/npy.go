package table

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/decimal"
)

const npyMagic = "\x93NUMPY"

// maxHeader bounds the header of NPY, as NumPy does: those of plain arrays have 118 bytes.
const maxHeader = 10000

// An element decodes one value from as many bytes as its type has.
type element struct {
	size   int
	number func([]byte) float64
	text   func([]byte) ([]byte, string) // in place of number, for strings; or why not
	yesno  bool                          // a byte that is 0 or 1
}

// An arraySource reads rows of one size: NPY and IDX.
type arraySource struct {
	f     *File
	in    *bufio.Reader
	el    element
	rows  int64
	cols  int
	place []int // of a column in a row of bytes; nil where they lie in order
	at    int64 // rows that were read
	raw   []byte
	whole []byte // the values of an array in the order of Fortran
}

// newArray makes the source of an array of the given shape.
func newArray(f *File, in *bufio.Reader, el element, shape []uint64, fortran bool) (source, error) {
	f.unit = "row"
	cols := uint64(1)
	for _, n := range shape[1:] {
		over, product := bits.Mul64(cols, n)
		if cols = product; over > 0 || cols > maxColumns {
			return nil, f.fault("", "a row has more than %d columns", maxColumns)
		}
	}
	size := cols * uint64(el.size)
	over, total := bits.Mul64(shape[0], size)
	switch {
	case cols == 0 || shape[0] == 0:
		return nil, io.EOF
	case size > maxRecord:
		return nil, f.fault("", "a row has more than %d MiB", maxRecord>>20)
	case over > 0 || total > math.MaxInt64:
		return nil, f.fault("", "its header says that it has %d rows", shape[0])
	}
	s := &arraySource{f: f, in: in, el: el, rows: int64(shape[0]), cols: int(cols)}
	if fortran && cols > 1 {
		if total > maxFortran {
			return nil, f.fault("save it in the order of C: numpy.ascontiguousarray", "it is in the order of Fortran, and for that larger than %d MiB", maxFortran>>20)
		}
		var err error
		if s.whole, err = s.take(nil, int(total)); err != nil {
			return nil, err
		}
		s.place = fortranPlaces(shape)
	}
	return s, nil
}

// maxFortran bounds arrays in the order of Fortran, which must be held to be read by row.
const maxFortran = 1 << 30

// fortranPlaces returns where the values of the first row are, counted in values.
func fortranPlaces(shape []uint64) []int {
	places, stride := []int{0}, int(shape[0])
	strides := make([]int, len(shape))
	for i := 1; i < len(shape); i++ {
		strides[i] = stride
		stride *= int(shape[i])
	}
	for i := 1; i < len(shape); i++ {
		longer := make([]int, 0, len(places)*int(shape[i]))
		for _, p := range places {
			for k := range int(shape[i]) {
				longer = append(longer, p+k*strides[i])
			}
		}
		places = longer
	}
	return places
}

// take reads n bytes into dst, whose memory grows only as they come.
func (s *arraySource) take(dst []byte, n int) ([]byte, error) {
	dst = dst[:0]
	for len(dst) < n {
		more := min(n-len(dst), max(1<<16, len(dst)))
		if cap(dst)-len(dst) < more {
			dst = append(make([]byte, 0, len(dst)+more), dst...)
		}
		k, err := io.ReadFull(s.in, dst[len(dst):len(dst)+more])
		dst = dst[:len(dst)+k]
		if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
			if n > s.cols*s.el.size {
				return nil, s.f.fault("copy it again", "it has %d bytes of values, and its header says %d", len(dst), n)
			}
			return nil, s.f.faultAt(s.at+1, "copy it again", "the file ends in it, and its header says that there are %d rows", s.rows)
		}
		if err != nil {
			return nil, s.f.readFault(err)
		}
	}
	return dst, nil
}

// next implements source.
func (s *arraySource) next(r *record) error {
	if s.at == s.rows {
		return s.end()
	}
	raw, size := s.whole, s.el.size
	offset := int(s.at) * size
	if s.whole == nil {
		var err error
		if s.raw, err = s.take(s.raw, s.cols*size); err != nil {
			return err
		}
		raw, offset = s.raw, 0
	}
	s.at++
	r.at, r.numbers, r.cells = s.at, r.numbers[:0], r.cells[:0]
	s.f.counted = s.cols
	for i := range s.cols {
		place := i
		if s.whole != nil {
			place = s.place[i]
		}
		if err := s.decode(r, i, raw[offset+place*size:][:size]); err != nil {
			return err
		}
	}
	return nil
}

// decode reads one value.
func (s *arraySource) decode(r *record, i int, b []byte) error {
	if s.el.text != nil {
		t, why := s.el.text(b)
		if why != "" {
			return &pavise.Error{Kind: pavise.Invalid, Msg: s.f.place(s.at, strconv.Itoa(i)) + ": the text " + why}
		}
		r.cells = append(r.cells, cell{at: r.at, kind: text, text: t})
		return nil
	}
	if s.el.yesno && b[0] > 1 {
		msg := fmt.Sprintf("%s: the truth value is %d, and neither 0 nor 1", s.f.place(s.at, strconv.Itoa(i)), b[0])
		return &pavise.Error{Kind: pavise.Invalid, Msg: msg}
	}
	r.numbers = append(r.numbers, s.el.number(b))
	return nil
}

// end is reached behind the last row.
func (s *arraySource) end() error {
	if _, err := s.in.ReadByte(); err == nil {
		return s.f.fault("copy it again", "something follows the %d rows that its header says", s.rows)
	} else if err != io.EOF {
		return s.f.readFault(err)
	}
	return io.EOF
}

// newNPY reads the header of an array file: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
func newNPY(f *File, in *bufio.Reader) (source, error) {
	head := make([]byte, len(npyMagic)+2)
	if _, err := io.ReadFull(in, head); err != nil || string(head[:len(npyMagic)]) != npyMagic {
		return nil, f.fault("", "it does not begin as NPY does")
	}
	size := 2
	if major := head[len(npyMagic)]; major > 1 {
		size = 4
		if major > 3 {
			return nil, f.fault("save it with numpy.save", "it is NPY of version %d, and there are 1 to 3", major)
		}
	}
	var length [4]byte
	if _, err := io.ReadFull(in, length[:size]); err != nil {
		return nil, f.fault("copy it again", "it ends in its header")
	}
	n := binary.LittleEndian.Uint32(length[:])
	if n > maxHeader {
		return nil, f.fault("arrays of records are not read", "its header has %d bytes, more than %d", n, maxHeader)
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(in, text); err != nil {
		return nil, f.fault("copy it again", "it ends in its header")
	}
	h, why := parseHeader(string(text))
	if why != "" {
		return nil, f.fault("save it with numpy.save", "its header %s", why)
	}
	el, hint, why := elementOf(h.descr)
	if why != "" {
		return nil, f.fault(hint, "%s", why)
	}
	if len(h.shape) == 0 {
		return nil, f.fault("", "it is one value, and no table")
	}
	return newArray(f, in, el, h.shape, h.fortran)
}

// elementOf returns how values of a NumPy type are read, or why not, and what to do.
func elementOf(descr string) (el element, hint, why string) {
	const as = "save it as numbers: array.astype('float32')"
	if len(descr) < 3 || !strings.ContainsRune("<>|", rune(descr[0])) {
		if strings.HasSuffix(descr, "O") {
			return el, as, "it holds pickled objects, and a pickle is a program"
		}
		return el, as, "its values are of type " + fmt.Sprintf("%.40q", descr) + ", which is not read"
	}
	size, err := strconv.Atoi(descr[2:])
	if err != nil || size < 1 || size > 1<<16 || strconv.Itoa(size) != descr[2:] {
		return el, as, "its values are of type " + fmt.Sprintf("%.40q", descr) + ", which is not read"
	}
	var order binary.ByteOrder = binary.LittleEndian
	if descr[0] == '>' {
		order = binary.BigEndian
	}
	el = element{size: size, number: numberOf(descr[1:], order)}
	switch {
	case descr[0] == '|' && (el.number != nil && size > 1 || descr[1] == 'U'):
		return el, as, "its values are of type " + fmt.Sprintf("%.40q", descr) + ", whose byte order is not said"
	case descr[1:] == "b1":
		el.yesno = true
	case descr[1] == 'S':
		el.text = latin
	case descr[1] == 'U':
		el.size *= 4
		el.text = func(b []byte) ([]byte, string) { return utf32(b, order) }
	case descr[1] == 'O':
		return el, as, "it holds pickled objects, and a pickle is a program"
	case el.number == nil:
		return el, as, "its values are of type " + fmt.Sprintf("%.40q", descr) + ", which is not read"
	}
	return el, "", ""
}

// numberOf returns how a number of a type is read; nil for what is none.
func numberOf(kind string, order binary.ByteOrder) func([]byte) float64 {
	switch kind {
	case "b1", "u1":
		return func(b []byte) float64 { return float64(b[0]) }
	case "i1":
		return func(b []byte) float64 { return float64(int8(b[0])) }
	case "u2":
		return func(b []byte) float64 { return float64(order.Uint16(b)) }
	case "i2":
		return func(b []byte) float64 { return float64(int16(order.Uint16(b))) }
	case "u4":
		return func(b []byte) float64 { return float64(order.Uint32(b)) }
	case "i4":
		return func(b []byte) float64 { return float64(int32(order.Uint32(b))) }
	case "u8":
		return func(b []byte) float64 { return float64(order.Uint64(b)) }
	case "i8":
		return func(b []byte) float64 { return float64(int64(order.Uint64(b))) }
	case "f2":
		return func(b []byte) float64 { return decimal.HalfOfBits(order.Uint16(b)) }
	case "f4":
		return func(b []byte) float64 { return float64(math.Float32frombits(order.Uint32(b))) }
	case "f8":
		return func(b []byte) float64 { return math.Float64frombits(order.Uint64(b)) }
	}
	return nil
}

// latin reads a text of bytes, padded with NUL.
func latin(b []byte) ([]byte, string) {
	t := bytes.TrimRight(b, "\x00")
	if why := textFault(t); why != "" {
		return nil, why
	}
	return t, ""
}

// utf32 reads a text of four bytes a character, padded with NUL.
func utf32(b []byte, order binary.ByteOrder) ([]byte, string) {
	for len(b) > 0 && order.Uint32(b[len(b)-4:]) == 0 {
		b = b[:len(b)-4]
	}
	t := make([]byte, 0, len(b)/4)
	for ; len(b) > 0; b = b[4:] {
		c := order.Uint32(b)
		if c > utf8.MaxRune || !utf8.ValidRune(rune(c)) {
			return nil, "has what is no character"
		}
		t = utf8.AppendRune(t, rune(c))
	}
	if why := textFault(t); why != "" {
		return nil, why
	}
	return t, ""
}

func textFault(t []byte) string {
	switch {
	case !utf8.Valid(t):
		return "is not UTF-8"
	case bytes.IndexByte(t, 0) >= 0:
		return "has NUL in it"
	}
	return ""
}

// idxTypes are the types of IDX by their code: http://yann.lecun.com/exdb/mnist/
var idxTypes = [256]element{
	0x08: {size: 1, number: numberOf("u1", binary.BigEndian)},
	0x09: {size: 1, number: numberOf("i1", binary.BigEndian)},
	0x0b: {size: 2, number: numberOf("i2", binary.BigEndian)},
	0x0c: {size: 4, number: numberOf("i4", binary.BigEndian)},
	0x0d: {size: 4, number: numberOf("f4", binary.BigEndian)},
	0x0e: {size: 8, number: numberOf("f8", binary.BigEndian)},
}

// newIDX reads the header of IDX: two zeros, the type, the number of dimensions, and each
// in four bytes, the highest first.
func newIDX(f *File, in *bufio.Reader) (source, error) {
	const most = 8
	var head [4]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return nil, f.fault("copy it again", "it ends in its header")
	}
	el := idxTypes[head[2]]
	switch {
	case head[0] != 0 || head[1] != 0 || el.size == 0:
		return nil, f.fault("", "it does not begin as IDX does")
	case head[3] == 0 || head[3] > most:
		return nil, f.fault("", "it has %d dimensions, and 1 to %d are read", head[3], most)
	}
	shape := make([]uint64, head[3])
	for i := range shape {
		var n [4]byte
		if _, err := io.ReadFull(in, n[:]); err != nil {
			return nil, f.fault("copy it again", "it ends in its header")
		}
		shape[i] = uint64(binary.BigEndian.Uint32(n[:]))
	}
	return newArray(f, in, el, shape, false)
}
