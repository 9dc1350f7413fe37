package rowseal

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/pavise/pavise/internal/abreast"
)

// chunkSize is how many bytes are read and hashed at a time.
const chunkSize = 256 << 10

// MaxRow bounds a row, in bytes.
const MaxRow = 64 << 20

const tooLong = "it is longer than 64 MiB" // MaxRow

// bom is what some programs begin UTF-8 with. It belongs to no row.
var bom = []byte("\ufeff")

// An end is how a row's line ends. It belongs to the block and not to the row, so that a row
// is the same row in a file of another system.
type end byte

const (
	endNone end = 0 // the file ends
	endLF   end = 1
	endCRLF end = 2
)

// A run is how many rows, one behind the other, end alike.
type run struct {
	rows uint32
	end  end
}

// A RowFault is what is wrong with a row.
type RowFault struct {
	Row  uint64 // from 1
	What string // for people
	Fix  string // what to do
}

// Error implements error.
func (f *RowFault) Error() string { return fmt.Sprintf("row %d: %s", f.Row, f.What) }

// A chunk is a part of a file that holds whole rows, and what became of them.
type chunk struct {
	room    []byte // one byte, then text: the byte before a row is overwritten
	text    []byte
	cutter  cutter
	cut     string   // why the last row does not end; empty: it does
	leaves  [][]byte // rows that are cut and wait to be hashed, each with the byte before it
	digests []byte   // of each row
	ends    []run
	err     error // a *RowFault whose row is counted in the chunk
	done    chan struct{}

	panicked any // while it was worked on; read once it is done
}

// A cutter says where records end, and how many cells they have.
type cutter struct {
	csv       bool
	separator byte
	width     int // cells of every record: those of the first; 0: nobody counts them; -1: nobody has yet
}

// manyLeaves is how many rows wait at most: more than a few, so that all lanes have work, and so
// few that they still are in the processor's cache.
const manyLeaves = 1024

// wait has a row hashed with others, as a leaf of RFC 6962, in place: the byte before a row is
// the end of the row before, which nobody needs any more.
func (c *chunk) wait(leaf []byte) {
	leaf[0] = tagLeaf
	if c.leaves = append(c.leaves, leaf); len(c.leaves) == manyLeaves {
		c.flush()
	}
}

// flush hashes what waits.
func (c *chunk) flush() {
	c.digests = abreast.Sum(c.digests, c.leaves...)
	clear(c.leaves) // a chunk that was made for a long row is not kept by it
	c.leaves = c.leaves[:0]
}

// hash cuts the chunk into rows and hashes them.
func (c *chunk) hash() {
	k := c.cutter
	c.digests, c.ends, c.err, c.leaves = c.digests[:0], c.ends[:0], nil, c.leaves[:0] // some wait where the work before panicked
	quotes := k.csv && bytes.IndexByte(c.text, '"') >= 0
	returns := k.csv && bytes.IndexByte(c.text, '\r') >= 0
	for at := 0; at < len(c.text); {
		length := bytes.IndexByte(c.text[at:], '\n')
		if length < 0 {
			length = len(c.text) - at
		}
		cells, why, fix := 0, "", ""
		if quotes && bytes.IndexByte(c.text[at:at+length], '"') >= 0 {
			length, cells, why, fix = k.record(c.text[at:])
		} else if k.csv && length > 0 {
			cells = bytes.Count(c.text[at:at+length], []byte{k.separator}) + 1
		}
		row, ending, next := c.text[at:at+length], endNone, at+length
		if next < len(c.text) {
			ending, next = endLF, next+1
			if n := len(row); n > 0 && row[n-1] == '\r' {
				row, ending = row[:n-1], endCRLF
			}
		}
		if why == "" && len(row) > MaxRow { // wherever the chunk that it is in begins
			why, fix = tooLong, "is a closing quote missing?"
		}
		if why == "" && returns && strayReturn(row) {
			why, fix = "it has a carriage return that no line feed follows", "end lines with LF or CRLF"
		}
		if why == "" && k.width > 0 && cells != k.width && len(row) > 0 {
			why, fix = fmt.Sprintf("it has %d cells, and the first row has %d", cells, k.width), "repair the row"
		}
		if why == "" && c.cut != "" && next == len(c.text) {
			why, fix = c.cut, "is a closing quote missing?"
		}
		if why != "" {
			c.flush()
			c.err = &RowFault{uint64(len(c.digests)/sha256.Size) + 1, why, fix}
			return
		}
		// text begins one byte into room, so there is a byte before the first row, too.
		c.wait(c.room[at : at+1+len(row)])
		c.ended(ending)
		at = next
	}
	c.flush()
}

// strayReturn reports whether a record, without its end, has a carriage return outside of
// quotes: a line ends there for some readers and not for others.
func strayReturn(row []byte) bool {
	for at := 0; ; {
		n := bytes.IndexByte(row[at:], '\r')
		if n < 0 {
			return false
		}
		if at += n; bytes.Count(row[:at], []byte{'"'})%2 == 0 {
			return true
		}
		// Within quotes: what follows is looked at from where they close.
		if n = bytes.IndexByte(row[at:], '"'); n < 0 {
			return false
		}
		row, at = row[at+n+1:], 0
	}
}

func (c *chunk) ended(e end) {
	if n := len(c.ends); n > 0 && c.ends[n-1].end == e {
		c.ends[n-1].rows++
		return
	}
	c.ends = append(c.ends, run{1, e})
}

// record measures a record of CSV with quotes: its length without its end, and its cells.
func (k cutter) record(text []byte) (length, cells int, why, fix string) {
	const double = "put the whole cell in quotes, and double those in it"
	i := 0
	for cells = 1; ; cells++ {
		if i < len(text) && text[i] == '"' {
			n := quoted(text[i:])
			if n < 0 {
				return len(text), cells, "a quote is opened and never closed", "close it"
			}
			i += n
			if rest := text[i:]; len(rest) > 0 && rest[0] != k.separator && rest[0] != '\n' && !bytes.HasPrefix(rest, []byte("\r\n")) {
				return i, cells, fmt.Sprintf("cell %d goes on behind its closing quote", cells), double
			}
		}
		for ; i < len(text) && text[i] != k.separator && text[i] != '\n'; i++ {
			if text[i] == '"' {
				return i, cells, fmt.Sprintf("cell %d has a quote in it and is not quoted", cells), double
			}
		}
		if i == len(text) || text[i] == '\n' {
			return i, cells, "", ""
		}
		i++ // the separator
	}
}

// quoted returns the length of the quoted cell that text begins with, or -1.
func quoted(text []byte) int {
	for i := 1; ; {
		n := bytes.IndexByte(text[i:], '"')
		if n < 0 {
			return -1
		}
		if i += n + 1; i == len(text) || text[i] != '"' {
			return i
		}
		i++
	}
}

// OneRecord reports whether text with line ends is one record of CSV.
func OneRecord(text []byte) bool {
	length, _, why, _ := cutter{csv: true, separator: separatorOf(text)}.record(text)
	return why == "" && length == len(text)
}

// separatorOf finds what stands between the cells of a first record.
func separatorOf(text []byte) byte {
	inQuotes := false
	var seen [256]bool
	for _, c := range bytes.TrimLeft(text, "\r\n") {
		if c == '"' {
			inQuotes = !inQuotes
		}
		if c == '\n' && !inQuotes {
			break
		}
		seen[c] = seen[c] || !inQuotes
	}
	for _, c := range []byte(",\t;") {
		if seen[c] {
			return c
		}
	}
	return ','
}

// lastRow returns where the last whole row of text ends, behind its line end; 0: there is
// none. In CSV a line end within quotes ends no row.
func (k cutter) lastRow(text []byte) int {
	at := bytes.LastIndexByte(text, '\n')
	if !k.csv || at < 0 {
		return at + 1
	}
	quotes := bytes.Count(text[:at], []byte{'"'})
	for quotes%2 == 1 {
		before := bytes.LastIndexByte(text[:at], '\n')
		if before < 0 {
			return 0
		}
		quotes -= bytes.Count(text[before:at], []byte{'"'})
		at = before
	}
	return at + 1
}

// A chunker cuts a file into chunks of whole rows.
type chunker struct {
	in    io.Reader
	cut   cutter
	rest  []byte // read, and of the next chunk
	size  int64  // bytes read
	begun bool
	ended bool
	bom   bool

	cutting bool        // what separates cells, and how many there are, is known
	loose   bool        // Cut.Loose
	read    func(n int) // is told how much was read
}

// ErrUTF16 says that rows cannot be told apart.
var ErrUTF16 = errors.New("it is UTF-16 or UTF-32, of which rows cannot be told")

// next fills the chunk with the rows that follow. At the end of the file it returns io.EOF.
func (r *chunker) next(c *chunk) error {
	if r.ended && len(r.rest) == 0 {
		return io.EOF
	}
	c.cut = ""
	if len(c.room) < 1+chunkSize {
		c.room = make([]byte, 1+chunkSize)
	}
	for len(c.room) < 1+len(r.rest)+chunkSize/2 {
		c.room = make([]byte, 2*len(c.room))
	}
	n := 1 + copy(c.room[1:], r.rest)
	for {
		for !r.ended && n < len(c.room) {
			got, err := r.in.Read(c.room[n:])
			n, r.size = n+got, r.size+int64(got)
			r.read(got)
			if err == io.EOF {
				r.ended = true
			} else if err != nil {
				return err
			}
		}
		if !r.begun {
			skip, err := r.begin(c.room[1:n])
			if err != nil {
				return err
			}
			copy(c.room[1:], c.room[1+skip:n])
			n -= skip
			continue // there is room to read into again
		}
		if r.ended || r.cut.lastRow(c.room[1:n]) > 0 {
			break
		}
		if n > len("\r")+MaxRow+len("\r") { // a byte is free before the row, and what ends it may begin
			r.ended, c.cut = true, tooLong
			break
		}
		c.room = append(c.room[:n:n], make([]byte, n)...)
	}
	whole := n
	if !r.ended {
		whole = 1 + r.cut.lastRow(c.room[1:n])
	}
	r.rest = append(r.rest[:0], c.room[whole:n]...)
	c.text = c.room[1:whole]
	if len(c.text) == 0 {
		return io.EOF
	}
	// What separates cells, and how many there are, the first record says that is not empty.
	if k := &r.cut; k.csv && !r.cutting && len(bytes.TrimLeft(c.text, "\r\n")) > 0 {
		r.cutting = true
		if k.separator == 0 {
			k.separator = separatorOf(c.text)
		}
		if k.width < 0 {
			_, k.width, _, _ = k.record(bytes.TrimLeft(c.text, "\r\n"))
		}
	}
	c.cutter = r.cut
	return nil
}

// begin looks at how the file begins, and returns how much of that is no row.
func (r *chunker) begin(head []byte) (skip int, err error) {
	r.begun = true
	if wideMark(head) || !r.loose && wideText(head) {
		return 0, ErrUTF16
	}
	if bytes.HasPrefix(head, bom) {
		r.bom, skip = true, len(bom)
	}
	return skip, nil
}

// wideMark reports whether text begins with a byte order mark of UTF-16 or UTF-32.
func wideMark(head []byte) bool {
	for _, mark := range []string{"\xff\xfe", "\xfe\xff", "\x00\x00\xfe\xff"} {
		if bytes.HasPrefix(head, []byte(mark)) {
			return true
		}
	}
	return false
}

// wideText reports whether text without a mark begins as UTF-16 or UTF-32 does whose first
// characters are of ASCII, as those of JSON and of most headers are: by where NULs stand in its
// first four bytes (RFC 4627, section 3).
func wideText(head []byte) bool {
	if len(head) < 4 {
		return false
	}
	nuls := [4]bool{head[0] == 0, head[1] == 0, head[2] == 0, head[3] == 0}
	switch nuls {
	case [4]bool{false, true, false, true}, [4]bool{true, false, true, false}, [4]bool{false, true, true, true}, [4]bool{true, true, true, false}:
		return true
	}
	return false
}

// Rows takes the digests of rows in order and makes the blocks of them, each of which goes out
// soon after it is whole: a file may have any number. Blocks end where a row's digest says so, one
// in 256, so that a row put in or taken out moves no block but its own.
type Rows struct {
	bom  bool // the file begins with a byte order mark
	rows uint64
	open block
	text []byte                  // what is hashed of blocks that wait for others, one behind the other, and of the open one
	at   []int                   // where in it each begins, the open one last
	wait []block                 // those that are whole
	cut  [][]byte                // of text
	file hasher                  // of the digests of the blocks
	out  func(done *block) error // is handed each block, which is good until it returns
}

// manyText is how many bytes of blocks wait at most.
const manyText = 256 << 10

// A block is some rows, one behind the other.
type block struct {
	digest hash
	rows   uint32
	ends   []run
}

// maxBlock bounds the rows of a block, where no digest ends it.
const maxBlock = 4096

// A hasher hashes what it is told and begins anew.
type hasher interface {
	io.Writer
	Sum(b []byte) []byte
	Reset()
}

// NewRows returns those of a file whose rows are to come. Its blocks go out as an index has them.
func NewRows(out io.Writer) *Rows {
	var room []byte
	return newRows(func(done *block) error {
		room = done.append(room[:0])
		_, err := out.Write(room)
		return err
	})
}

// newRows is NewRows for who wants the blocks themselves.
func newRows(out func(done *block) error) *Rows {
	t := &Rows{text: []byte{tagBlock}, at: []int{0}, file: sha256.New(), out: out}
	t.file.Write([]byte{tagFile})
	return t
}

// Add takes the digests of more rows, which have no line ends. Its error is of writing a block.
func (t *Rows) Add(digests []byte) error {
	n := len(digests) / sha256.Size
	if n == 0 {
		return nil
	}
	return t.add(digests, []run{{uint32(n), endNone}})
}

// add takes the digests of more rows, and how these end.
func (t *Rows) add(digests []byte, ends []run) error {
	from := 0
	left := uint32(0) // of the run that ends began with
	for at := 0; at < len(digests); at += sha256.Size {
		if left == 0 {
			left = ends[0].rows
		}
		t.open.ended(ends[0].end)
		if left--; left == 0 {
			ends = ends[1:]
		}
		t.open.rows++
		if digests[at+sha256.Size-1] == 0 || t.open.rows == maxBlock {
			t.text = append(t.text, digests[from:at+sha256.Size]...)
			from = at + sha256.Size
			if t.end(); len(t.text) < manyText {
				continue
			}
			if err := t.flush(); err != nil {
				return err
			}
		}
	}
	t.text = append(t.text, digests[from:]...)
	t.rows += uint64(len(digests) / sha256.Size)
	return t.flush()
}

func (b *block) ended(e end) {
	if n := len(b.ends); n > 0 && b.ends[n-1].end == e {
		b.ends[n-1].rows++
		return
	}
	b.ends = append(b.ends, run{1, e})
}

// end ends the open block, which waits to be hashed with others.
func (t *Rows) end() {
	t.text = appendRuns(t.text, t.open.ends)
	t.at = append(t.at, len(t.text))
	t.text = append(t.text, tagBlock)
	n := len(t.wait)
	if n < cap(t.wait) {
		t.wait = t.wait[:n+1]
	} else {
		t.wait = append(t.wait, block{})
	}
	t.wait[n], t.open = t.open, block{ends: t.wait[n].ends[:0]}
}

// flush hashes the blocks that wait, and hands them out.
func (t *Rows) flush() error {
	if len(t.wait) == 0 {
		return nil
	}
	t.cut = t.cut[:0]
	for i := range t.wait {
		t.cut = append(t.cut, t.text[t.at[i]:t.at[i+1]])
	}
	digests := abreast.Sum(nil, t.cut...)
	t.file.Write(digests)
	for i := range t.wait {
		t.wait[i].digest = hash(digests[i*sha256.Size:])
		if err := t.out(&t.wait[i]); err != nil {
			return err
		}
	}
	t.text = append(t.text[:0], t.text[t.at[len(t.wait)]:]...)
	t.at, t.wait = t.at[:1], t.wait[:0]
	return nil
}

// close ends the open block, if it has rows.
func (t *Rows) close() error {
	if t.open.rows == 0 {
		return nil
	}
	t.end()
	return t.flush()
}

// appendRuns spells how rows end.
func appendRuns(b []byte, runs []run) []byte {
	for _, r := range runs {
		b = append(binary.BigEndian.AppendUint32(b, r.rows), byte(r.end))
	}
	return b
}

// append spells the block as an index has it.
func (b *block) append(to []byte) []byte {
	to = append(to, b.digest[:]...)
	to = binary.BigEndian.AppendUint32(to, b.rows)
	to = binary.BigEndian.AppendUint32(to, uint32(len(b.ends)))
	return appendRuns(to, b.ends)
}
