package table

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/quote"
)

// A Format is how a file lays out its rows.
type Format string

// The formats. Auto is the zero value: by what the file begins with, then by its name.
const (
	Auto  Format = ""
	CSV   Format = "csv"   // RFC 4180, with commas, semicolons or tabs; numbers alone may have spaces
	JSONL Format = "jsonl" // one JSON object, or one list, a line
	NPY   Format = "npy"   // NumPy's array file, versions 1.0 to 3.0
	IDX   Format = "idx"   // the format of MNIST

	// Parquet is read from a file, by [Open]: a column is a leaf of the schema.
	Parquet Format = "parquet"
)

// Options say how a file is read. The zero value suits most.
type Options struct {
	Format Format

	// RowNumbers says that the first column of a CSV may be without a name, as the numbers
	// of rows that pandas writes are. It is called Unnamed.
	RowNumbers bool
}

// Unnamed is what pandas calls a first column without a name.
const Unnamed = "Unnamed: 0"

// Bounds on what one file may make us hold.
const (
	maxRecord  = 64 << 20 // bytes of one line or row
	maxColumns = 1 << 20  // of CSV, NPY and IDX
	maxKeys    = 1 << 14  // of JSONL, where each may be new
	maxName    = 256      // bytes of a column's name
)

// A source reads one format.
type source interface {
	// next reads one row into r. At the end of the file it returns io.EOF.
	next(r *record) error
}

// A File is a table being read. It is for one goroutine.
type File struct {
	name    string
	names   []string       // of the columns; nil where they are counted
	index   map[string]int // of names
	counted int            // columns without names: "0", "1", ...
	numbers bool           // the first column may be without a name
	unit    string         // what rows are counted in: "line" or "row"
	format  Format
	source  source
	now     record // the row that was read last
	ahead   bool   // now has not been handed out yet
	failed  error  // what ended the reading
	file    io.Closer
	stop    func() // of Parquet: ends the reading
}

// Open opens the file at path. What is wrong with it is of kind Invalid, except that a file
// that is not there is NotFound and one that may not be read Denied. The caller closes the
// File.
func Open(path string, o Options) (*File, error) {
	disk, err := os.Open(path)
	if err != nil {
		return nil, openFault(path, err)
	}
	if info, err := disk.Stat(); err == nil && info.IsDir() {
		disk.Close()
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: path + " is a directory", Hint: "name a file in it"}
	}
	f, err := openParquet(disk, o)
	if f == nil && err == nil {
		f, err = NewReader(disk, filepath.Base(path), o)
	}
	if err != nil {
		disk.Close()
		return nil, err
	}
	f.file = disk
	return f, nil
}

// openParquet opens a file that is Parquet by what it begins with, or because it is asked for;
// of another it returns nil.
func openParquet(disk *os.File, o Options) (*File, error) {
	var head [len(parquetMagic)]byte
	if o.Format == Auto {
		if n, _ := disk.ReadAt(head[:], 0); string(head[:n]) != parquetMagic {
			return nil, nil
		}
	} else if o.Format != Parquet {
		return nil, nil
	}
	info, err := disk.Stat()
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", disk.Name(), err)
	}
	f := newFile(filepath.Base(disk.Name()), o)
	return f, f.parquet(disk, info.Size())
}

// parquet makes it a file of Parquet.
func (f *File) parquet(in io.ReaderAt, size int64) error {
	s := newParquet(f, in, size)
	f.source, f.stop = s, s.stop
	err := f.begin(nil)
	if err != nil {
		f.stop()
	}
	return err
}

func openFault(path string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &pavise.Error{Kind: pavise.NotFound, Msg: "no file " + path, Err: err}
	case errors.Is(err, fs.ErrPermission):
		return &pavise.Error{Kind: pavise.Denied, Msg: path + " may not be read", Err: err}
	}
	return fmt.Errorf("open %s: %w", path, err)
}

// NewReader reads a table from r. The name is for errors, and for the format where the
// content does not tell. It reads the first row, so that the columns are known.
func NewReader(r io.Reader, name string, o Options) (*File, error) {
	f := newFile(name, o)
	in, err := f.unpacked(bufio.NewReaderSize(r, 1<<16))
	if err != nil {
		return nil, err
	}
	format := o.Format
	if format == Auto {
		if format, err = f.sniff(in, name); err != nil {
			return nil, err
		}
	}
	f.format = format
	switch format {
	case CSV:
		f.source, err = newCSV(f, in)
	case JSONL:
		f.source, err = newJSONL(f, in)
	case NPY:
		f.source, err = newNPY(f, in)
	case IDX:
		f.source, err = newIDX(f, in)
	default:
		err = f.fault("ask for csv, jsonl, npy, idx or, of a file, parquet", "%.40q is no format of a table", string(format))
	}
	if err := f.begin(err); err != nil {
		return nil, err
	}
	return f, nil
}

func newFile(name string, o Options) *File {
	f := &File{name: name, numbers: o.RowNumbers}
	if _, odd := quote.Unprintable([]byte(name)); odd {
		f.name = strconv.Quote(name) // it is in errors, which people read on terminals
	}
	return f
}

// begin reads the first row, unless err says that something is wrong already.
func (f *File) begin(err error) error {
	if err == nil {
		err = f.source.next(&f.now)
	}
	if err == io.EOF {
		err = f.fault("", "it holds no rows")
	}
	f.ahead = err == nil
	return err
}

// Close ends the reading.
func (f *File) Close() error {
	f.failed = fs.ErrClosed
	if f.stop != nil {
		f.stop()
	}
	if f.file == nil {
		return nil
	}
	return f.file.Close()
}

// Format returns what the file turned out to be.
func (f *File) Format() Format { return f.format }

// Columns returns the names of the columns, in order. Those of JSONL grow in number while
// rows are read.
func (f *File) Columns() []string {
	if f.names != nil {
		return slices.Clone(f.names)
	}
	names := make([]string, f.counted)
	for i := range names {
		names[i] = strconv.Itoa(i)
	}
	return names
}

// Width returns how many columns there are; those of JSONL grow in number while rows are
// read.
func (f *File) Width() int {
	if f.names != nil {
		return len(f.names)
	}
	return f.counted
}

// column returns the index of a column.
func (f *File) column(name string) (int, bool) {
	if f.names != nil {
		i, ok := f.index[name]
		return i, ok
	}
	if len(name) > 1 && name[0] == '0' {
		return 0, false
	}
	n, err := strconv.ParseUint(name, 10, 31)
	return int(n), err == nil && n < uint64(f.counted)
}

// columnName is the other way.
func (f *File) columnName(i int) string {
	if f.names != nil {
		return f.names[i]
	}
	return strconv.Itoa(i)
}

// named gives the file the names of its columns.
func (f *File) named(names []string) {
	f.names, f.index = names, make(map[string]int, len(names))
	for i, name := range names {
		f.index[name] = i
	}
}

// Headed reports whether the first row of a CSV names the columns.
func (f *File) Headed() bool { return f.format == CSV && f.names != nil }

// Rows returns the rows that are left, once. A [Row] is good until the next one is asked
// for. An error, of kind Invalid, ends them.
func (f *File) Rows() iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		for {
			more, err := f.step()
			if err != nil {
				yield(Row{}, err)
				return
			}
			if !more || !yield(Row{f}, nil) {
				return
			}
		}
	}
}

// step reads the next row into f.now.
func (f *File) step() (more bool, err error) {
	if f.ahead {
		f.ahead = false
		return true, nil
	}
	if f.failed == nil {
		f.failed = f.source.next(&f.now)
	}
	if f.failed == io.EOF {
		return false, nil
	}
	return f.failed == nil, f.failed
}

// fault says what is wrong with the file.
func (f *File) fault(hint, format string, args ...any) error {
	return &pavise.Error{Kind: pavise.Invalid, Msg: f.name + ": " + fmt.Sprintf(format, args...), Hint: hint}
}

// faultAt says what is wrong with a line or row, counted from 1.
func (f *File) faultAt(at int64, hint, format string, args ...any) error {
	return &pavise.Error{Kind: pavise.Invalid, Msg: f.place(at, "") + ": " + fmt.Sprintf(format, args...), Hint: hint}
}

// place names a line or row, and a column or none.
func (f *File) place(at int64, column string) string {
	place := fmt.Sprintf("%s, %s %d", f.name, f.unit, at)
	if column != "" {
		place += fmt.Sprintf(", column %.80q", column)
	}
	return place
}

// readFault is an error of reading: of the disk, or of what is packed.
func (f *File) readFault(err error) error {
	if pavise.KindOf(err) == pavise.Invalid {
		return err
	}
	return fmt.Errorf("read %s: %w", f.name, err)
}

// others are files that people take for tables, by what they begin with.
var others = []struct{ magic, what, hint string }{
	{"\x1f\x8b", "it is compressed twice", "unpack it once"},
	{"PK\x03\x04", "it is a ZIP archive, as .npz and .xlsx are", "unpack it and name the file inside"},
	{parquetMagic, "it is Parquet, which is read from a file alone, and not packed", "name the file, unpacked"},
	{"\x28\xb5\x2f\xfd", "it is compressed with Zstandard", "unpack it, or use gzip"},
	{"BZh", "it is compressed with bzip2", "unpack it, or use gzip"},
	{"\xfd7zXZ\x00", "it is compressed with xz", "unpack it, or use gzip"},
	{"\x89HDF", "it is HDF5, which is not read", "write it as CSV, JSONL or NPY"},
	{"ARROW1", "it is Arrow, which is not read", "write it as CSV, JSONL or NPY"},
	{"\xff\xfe", "it is UTF-16", "write it as UTF-8"},
	{"\xfe\xff", "it is UTF-16", "write it as UTF-8"},
	{"\x80\x02", "it is a pickle, which is a program and not data", "write it as CSV, JSONL or NPY"},
	{"\x80\x03", "it is a pickle, which is a program and not data", "write it as CSV, JSONL or NPY"},
	{"\x80\x04", "it is a pickle, which is a program and not data", "write it as CSV, JSONL or NPY"},
	{"\x80\x05", "it is a pickle, which is a program and not data", "write it as CSV, JSONL or NPY"},
}

// sniff tells the format from the beginning of the content, then from the name.
func (f *File) sniff(in *bufio.Reader, name string) (Format, error) {
	head, err := in.Peek(512)
	if len(head) == 0 {
		if err != nil && err != io.EOF {
			return Auto, f.readFault(err)
		}
		return Auto, f.fault("", "it is empty")
	}
	if bytes.HasPrefix(head, []byte(npyMagic)) {
		return NPY, nil
	}
	if len(head) >= 4 && head[0] == 0 && head[1] == 0 && idxTypes[head[2]].size > 0 && head[3] > 0 {
		return IDX, nil
	}
	for _, o := range others {
		if bytes.HasPrefix(head, []byte(o.magic)) {
			return Auto, f.fault(o.hint, "%s", o.what)
		}
	}
	switch filepath.Ext(strings.TrimSuffix(strings.ToLower(name), ".gz")) {
	case ".csv", ".tsv", ".txt", ".data":
		return CSV, nil
	case ".jsonl", ".ndjson", ".json":
		return JSONL, nil
	case ".npy":
		return NPY, nil
	}
	text := bytes.TrimLeft(bytes.TrimPrefix(head, bom), " \t\r\n")
	switch {
	case bytes.HasPrefix(text, []byte("{")), bytes.HasPrefix(text, []byte("[")):
		return JSONL, nil
	case bytes.IndexByte(head, 0) < 0:
		return CSV, nil
	}
	return Auto, f.fault("tables are Parquet, and CSV, JSONL, NPY or IDX, plain or in gzip", "it is no table that Pavise reads")
}

// bom is what some programs begin UTF-8 with.
var bom = []byte("\ufeff")
