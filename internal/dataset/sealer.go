package dataset

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/progress"
	"github.com/pavise/pavise/internal/rowseal"
)

// smallFile is up to which size files are sealed beside each other, each by one worker and
// with its digests in memory; a larger one is sealed by all, alone.
const smallFile = 8 << 20

// batchSize is how many bytes of small files are sealed at a time.
const batchSize = 8 * smallFile

// batchDigests is how many bytes of digests a batch holds in memory, until the rest of its files
// is sealed one by one: an empty row is one byte of a file, and 32 of digests.
const batchDigests = 64 << 20

// farWorkers is how many small files are read at a time where each takes a request.
const farWorkers = 16

// A sealer seals the files of a place, one section after the other.
type sealer struct {
	place   *place
	format  func(path string) rowseal.Format
	prior   map[string]*rowseal.Section // of an older seal, which hints may stand for; nil: none may
	verify  bool                        // a file of a broken form is sealed by other means, and not refused
	workers int
	meter   *progress.Meter
	room    int64               // bytes of digests that a batch holds in memory; 0: batchDigests
	grow    func(n int64) error // Seal.Grow
	spill   rowseal.Spill       // for what is known of a file before it can be written behind its digests
}

// errFull is why a digest is not held in memory.
var errFull = errors.New("the memory for digests is full")

// A spool is where the digests of one file go, and are read again. It is in memory, or
// appended to a file.
type spool struct {
	held []byte        // where file is nil
	left *atomic.Int64 // where file is nil, how many bytes there is memory for, in it and others
	file *os.File      // nil: in memory
	base int64         // where in the file it begins
	out  *bufio.Writer
	n    int64               // bytes written
	grow func(n int64) error // Seal.Grow, of a file
}

// grown asks whether so many bytes more may be written.
func grown(ask func(n int64) error, n int64) error {
	if ask == nil {
		return nil
	}
	return ask(n)
}

func appendTo(f *os.File, at int64, grow func(n int64) error) *spool {
	return &spool{file: f, base: at, grow: grow, out: bufio.NewWriterSize(io.NewOffsetWriter(f, at), 1<<18)}
}

// Write implements io.Writer.
func (s *spool) Write(b []byte) (int, error) {
	s.n += int64(len(b))
	if s.file == nil {
		if s.left.Add(-int64(len(b))) < 0 {
			s.left.Add(int64(len(b)))
			return 0, errFull
		}
		s.held = append(s.held, b...)
		return len(b), nil
	}
	if err := grown(s.grow, int64(len(b))); err != nil {
		return 0, err
	}
	n, err := s.out.Write(b)
	return n, s.fault(err)
}

// fault is an error of writing, which is of our disk and not of the data.
func (s *spool) fault(err error) error {
	if err == nil {
		return nil
	}
	return writeFault(s.file.Name(), err)
}

// flush makes what was written readable.
func (s *spool) flush() error {
	if s.file == nil {
		return nil
	}
	return s.fault(s.out.Flush())
}

// ReadAt implements io.ReaderAt.
func (s *spool) ReadAt(b []byte, at int64) (int, error) {
	if s.file == nil {
		return bytes.NewReader(s.held).ReadAt(b, at)
	}
	return s.file.ReadAt(b, s.base+at)
}

// again forgets what was written.
func (s *spool) again() {
	if s.n = 0; s.file != nil {
		s.out.Reset(io.NewOffsetWriter(s.file, s.base))
		return
	}
	s.left.Add(int64(len(s.held)))
	s.held = nil
}

// behind returns a spool for the blocks of a file, which stand behind its digests: in memory where
// these are, and else in a file of its own, which is closed with it.
func (s *sealer) behind(out *spool) (*spool, error) {
	if out.file == nil {
		return &spool{left: out.left}, nil
	}
	f, err := s.spill()
	if err != nil {
		return nil, err
	}
	return appendTo(f, 0, nil), nil
}

// copyTo writes all of a spool to another.
func (s *spool) copyTo(out *spool) error {
	if s.file == nil {
		_, err := out.Write(s.held)
		return err
	}
	err := s.flush()
	if err == nil {
		_, err = io.Copy(out, io.NewSectionReader(s.file, s.base, s.n))
	}
	return err
}

// close ends a spool of which nothing is needed any more.
func (s *spool) close() {
	if s.file != nil {
		s.file.Close()
		return
	}
	s.left.Add(int64(len(s.held)))
	s.held = nil
}

// all seals the entries from the first on, appends their digests to out behind at, and hands
// each section to take.
func (s *sealer) all(ctx context.Context, entries []entry, out *os.File, at int64, take func(rowseal.Section) error) error {
	for len(entries) > 0 {
		n, size := 0, int64(0)
		for n < len(entries) && entries[n].size() <= smallFile && size <= batchSize && n < 4096 {
			size += entries[n].size()
			n++
		}
		seal := s.batch
		if n == 0 {
			n, seal = 1, s.large
		}
		if err := seal(ctx, entries[:n], out, &at, take); err != nil {
			return err
		}
		entries = entries[n:]
	}
	return nil
}

// large seals the one file of entries by all workers, with its digests on the disk.
func (s *sealer) large(ctx context.Context, entries []entry, out *os.File, at *int64, take func(rowseal.Section) error) error {
	e := &entries[0]
	if prior := s.trusted(e); prior != nil {
		return take(*prior)
	}
	to := appendTo(out, *at, s.grow)
	made, err := s.one(ctx, e, to, s.workers)
	if err == nil {
		err = to.flush()
	}
	if err != nil {
		return err
	}
	made.Offset, made.Length, made.Source = *at, to.n, out
	*at += to.n
	return take(made)
}

// batch seals files beside each other, as far as there is memory for their digests, and those
// that have too many alone.
func (s *sealer) batch(ctx context.Context, entries []entry, out *os.File, at *int64, take func(rowseal.Section) error) error {
	made, rooms, full := make([]rowseal.Section, len(entries)), make([]spool, len(entries)), make([]bool, len(entries))
	var memory atomic.Int64
	memory.Store(cmp.Or(s.room, batchDigests))
	workers := s.workers
	if entries[0].far {
		workers = max(workers, farWorkers)
	}
	err := rowseal.Each(ctx, workers, len(entries), func(i int) (err error) {
		if prior := s.trusted(&entries[i]); prior != nil {
			made[i] = *prior
			return nil
		}
		rooms[i].left = &memory
		if made[i], err = s.one(ctx, &entries[i], &rooms[i], 1); errors.Is(err, errFull) {
			rooms[i].again()
			full[i], err = true, nil
		}
		return err
	})
	for i := 0; i < len(made) && err == nil; i++ {
		if full[i] {
			err = s.large(ctx, entries[i:i+1], out, at, take)
			continue
		}
		if made[i].Source == nil {
			if err := grown(s.grow, int64(len(rooms[i].held))); err != nil {
				return err
			}
			if _, err := out.WriteAt(rooms[i].held, *at); err != nil {
				return writeFault(out.Name(), err)
			}
			made[i].Offset, made[i].Length, made[i].Source = *at, int64(len(rooms[i].held)), out
			*at += made[i].Length
		}
		err = take(made[i])
	}
	return err
}

// trusted returns what an older seal has of a file that nobody seems to have written to.
func (s *sealer) trusted(e *entry) *rowseal.Section {
	prior := s.prior[e.path]
	if prior == nil || prior.Hint != e.hint || (prior.Format == rowseal.Link) != e.link {
		return nil
	}
	s.meter.Read(int(e.size()))
	return prior
}

// one seals one file.
func (s *sealer) one(ctx context.Context, e *entry, out *spool, workers int) (rowseal.Section, error) {
	made := rowseal.Section{File: rowseal.File{Path: e.path, Format: s.format(e.path), Size: e.size()}, Hint: e.hint.ReadAt(time.Now())}
	if e.link {
		link(e, &made)
		return made, nil
	}
	if made.Format == rowseal.Link {
		made.Format = formatOf(e.name) // it was a link when it was sealed
	}
	err := s.opened(ctx, e, &made, out, workers)
	if s.place.lenient && pavise.KindOf(err) == pavise.Denied {
		out.again()
		return unread(e, err), nil
	}
	return made, err
}

// opened opens a file and seals it.
func (s *sealer) opened(ctx context.Context, e *entry, made *rowseal.Section, out *spool, workers int) error {
	f, err := s.place.open(ctx, e)
	if err != nil {
		return err
	}
	defer f.Close()
	err = s.content(ctx, f, e, made, out, workers)
	if s.verify && errors.Is(err, errForm) {
		err = s.deformed(ctx, f, e, made, out, workers, err)
	}
	if err == nil {
		err = f.still(made.Size)
	}
	return err
}

// unread stands for a file that may not be read, so that all others are looked at: it has the
// root of no file, and says why.
func unread(e *entry, why error) rowseal.Section {
	return rowseal.Section{File: rowseal.File{Path: e.path, Format: rowseal.Blocks}, Why: message(why)}
}

// isUnread reports whether a section stands for a file that may not be read.
func isUnread(made *rowseal.Section) bool { return made.Root == rowseal.Digest{} }

// deformed seals a file that is no longer of its form as far as it can be told apart: CSV by
// its lines, all else by its bytes.
func (s *sealer) deformed(ctx context.Context, f content, e *entry, made *rowseal.Section, out *spool, workers int, fault error) error {
	out.again()
	lines := made.Format == rowseal.CSV && !errors.Is(fault, rowseal.ErrUTF16)
	*made = rowseal.Section{File: rowseal.File{Path: e.path, Format: rowseal.Blocks, Size: made.Size}, Hint: made.Hint, Why: fault.Error()}
	if p, ok := errors.AsType[*pavise.Error](fault); ok {
		made.Why = p.Msg
	}
	if lines {
		made.Format = rowseal.JSONL
	}
	return s.content(ctx, f, e, made, out, workers)
}

// link seals a link: where it leads.
func link(e *entry, made *rowseal.Section) {
	made.Format, made.Size, made.Root = rowseal.Link, int64(len(e.target)), rowseal.LinkRoot(e.target)
}

// content seals what is in a file.
func (s *sealer) content(ctx context.Context, f content, e *entry, made *rowseal.Section, out *spool, workers int) error {
	to := rowseal.Sink{Out: out, Workers: workers, Read: s.meter.Read}
	if !made.Format.HasRows() {
		return s.bytes(ctx, whole(f), e, made, to)
	}
	blocks, err := s.behind(out)
	if err != nil {
		return err
	}
	defer blocks.close()
	to.Blocks = blocks
	var rows *rowseal.Rows
	if made.Format == rowseal.Parquet {
		rows, err = s.parquet(ctx, f, e, made, to)
	} else {
		rows, err = s.text(ctx, whole(f), e, made, to)
	}
	if err == nil {
		err = out.flush()
	}
	if err != nil {
		return err
	}
	if err = made.Finish(ctx, rows, out, workers); err == nil {
		err = blocks.copyTo(out)
	}
	return err
}

// whole reads a content from its beginning to its end.
func whole(f io.ReaderAt) io.Reader { return io.NewSectionReader(f, 0, math.MaxInt64) }

// bytes seals a file by blocks of bytes.
func (s *sealer) bytes(ctx context.Context, f io.Reader, e *entry, made *rowseal.Section, to rowseal.Sink) (err error) {
	made.Bottom, made.Bytes, made.Size, err = to.Bytes(ctx, f)
	if !made.Format.HasRows() {
		made.Root = made.Bottom
	}
	return readFault(e, err)
}

// text seals a file by its records or lines.
func (s *sealer) text(ctx context.Context, f io.Reader, e *entry, made *rowseal.Section, to rowseal.Sink) (*rowseal.Rows, error) {
	cut := rowseal.Cut{CSV: made.Format == rowseal.CSV, Loose: s.verify}
	if strings.EqualFold(path.Ext(e.name), ".tsv") {
		cut.Separator = '\t'
	}
	rows, size, err := to.Text(ctx, f, cut)
	if fault, ok := errors.AsType[*rowseal.RowFault](err); ok {
		return nil, s.formFault(e, fmt.Sprintf("row %d: %s", fault.Row, fault.What), fault.Fix, err)
	}
	if errors.Is(err, rowseal.ErrUTF16) {
		return nil, s.formFault(e, err.Error(), "write it as UTF-8", err)
	}
	made.Size = size
	return rows, readFault(e, err)
}

// formFault refuses a file that is not what its name says.
func (s *sealer) formFault(e *entry, what, fix string, cause error) error {
	return &pavise.Error{
		Kind: pavise.Invalid, Msg: e.shown() + ", " + what,
		Hint: fmt.Sprintf("%s, or seal the file by its bytes alone: --by-block %s", fix, rowseal.Shown(path.Base(e.name))), Err: errors.Join(errForm, cause),
	}
}

// errForm marks an error of a file's form: its bytes could be read.
var errForm = errors.New("its form is broken")

// readFault is an error of reading a file, unless it is for people already.
func readFault(e *entry, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*pavise.Error](err); ok || errors.Is(err, context.Canceled) {
		return err
	}
	return rowseal.FileFault(e.shown(), err)
}

// allWorkers is how many workers there are.
func allWorkers() int { return runtime.GOMAXPROCS(0) }
