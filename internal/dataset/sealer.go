package dataset

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/proof"
)

// smallFile is up to which size files are sealed beside each other, each by one worker and
// with its digests in memory; a larger one is sealed by all, alone.
const smallFile = 8 << 20

// batchSize is how many bytes of small files are sealed at a time.
const batchSize = 8 * smallFile

// A sealer seals the files of a place, one section after the other.
type sealer struct {
	place   *place
	format  func(path string) Format
	prior   map[string]*section // of an older seal, which hints may stand for; nil: none may
	verify  bool                // a file of a broken form is sealed by other means, and not refused
	workers int
	meter   *meter
}

// A meter says how far a long run is. Its methods may be called by several goroutines.
type meter struct {
	say   func(text string) // nil: nobody watches
	total int64             // bytes
	done  atomic.Int64
	said  atomic.Int64 // when, in nanoseconds since 1970
}

// sayEvery is how often somebody who watches is told.
const sayEvery = 200 * time.Millisecond

func (m *meter) read(n int) {
	done := m.done.Add(int64(n))
	if m.say == nil {
		return
	}
	now, said := time.Now().UnixNano(), m.said.Load()
	if now-said < int64(sayEvery) || !m.said.CompareAndSwap(said, now) {
		return
	}
	const width = 24
	share := min(float64(done)/float64(max(m.total, 1)), 1)
	bar := bytes.Repeat([]byte{'-'}, width)
	copy(bar, bytes.Repeat([]byte{'#'}, int(share*width)))
	m.say(fmt.Sprintf("[%s] %3.0f %%  %s of %s", bar, 100*share, byteCount(done), byteCount(m.total)))
}

// byteCount is a size for people.
func byteCount(n int64) string {
	for _, u := range []struct {
		shift uint
		name  string
	}{{30, "GiB"}, {20, "MiB"}, {10, "KiB"}} {
		if n >= 1<<u.shift {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(int64(1)<<u.shift), u.name)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}

// A spool is where the digests of one file go, and are read again. It is in memory, or
// appended to a file.
type spool struct {
	held []byte   // where file is nil
	file *os.File // nil: in memory
	base int64    // where in the file it begins
	out  *bufio.Writer
	n    int64 // bytes written
}

func appendTo(f *os.File, at int64) *spool {
	return &spool{file: f, base: at, out: bufio.NewWriterSize(io.NewOffsetWriter(f, at), 1<<18)}
}

// Write implements io.Writer.
func (s *spool) Write(b []byte) (int, error) {
	s.n += int64(len(b))
	if s.file == nil {
		s.held = append(s.held, b...)
		return len(b), nil
	}
	return s.out.Write(b)
}

// flush makes what was written readable.
func (s *spool) flush() error {
	if s.file == nil {
		return nil
	}
	return s.out.Flush()
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
	if s.held, s.n = s.held[:0], 0; s.file != nil {
		s.out.Reset(io.NewOffsetWriter(s.file, s.base))
	}
}

// all seals the entries from the first on, appends their digests to out behind at, and hands
// each section to take.
func (s *sealer) all(ctx context.Context, entries []entry, out *os.File, at int64, take func(section) error) error {
	for len(entries) > 0 {
		n, size := 0, int64(0)
		for n < len(entries) && entries[n].info.Size() <= smallFile && size <= batchSize && n < 4096 {
			size += entries[n].info.Size()
			n++
		}
		var err error
		if n == 0 {
			n = 1
			err = s.large(ctx, &entries[0], out, &at, take)
		} else {
			err = s.batch(ctx, entries[:n], out, &at, take)
		}
		if err != nil {
			return err
		}
		entries = entries[n:]
	}
	return nil
}

// large seals a file by all workers.
func (s *sealer) large(ctx context.Context, e *entry, out *os.File, at *int64, take func(section) error) error {
	if prior := s.trusted(e); prior != nil {
		return take(*prior)
	}
	to := appendTo(out, *at)
	made, err := s.one(ctx, e, to, s.workers)
	if err == nil {
		err = to.flush()
	}
	if err != nil {
		return err
	}
	made.Offset, made.Length, made.source = *at, to.n, out
	*at += to.n
	return take(made)
}

// batch seals files beside each other.
func (s *sealer) batch(ctx context.Context, entries []entry, out *os.File, at *int64, take func(section) error) error {
	made, rooms := make([]section, len(entries)), make([]spool, len(entries))
	err := each(ctx, s.workers, len(entries), func(i int) (err error) {
		if prior := s.trusted(&entries[i]); prior != nil {
			made[i] = *prior
			return nil
		}
		made[i], err = s.one(ctx, &entries[i], &rooms[i], 1)
		return err
	})
	if err != nil {
		return err
	}
	for i := range made {
		if made[i].source == nil {
			if _, err := out.WriteAt(rooms[i].held, *at); err != nil {
				return err
			}
			made[i].Offset, made[i].Length, made[i].source = *at, int64(len(rooms[i].held)), out
			*at += made[i].Length
		}
		if err := take(made[i]); err != nil {
			return err
		}
	}
	return nil
}

// trusted returns what an older seal has of a file that nobody seems to have written to.
func (s *sealer) trusted(e *entry) *section {
	prior := s.prior[e.path]
	if prior == nil || prior.Hint != e.hint || (prior.Format == Link) != e.link {
		return nil
	}
	s.meter.read(int(e.info.Size()))
	return prior
}

// one seals one file.
func (s *sealer) one(ctx context.Context, e *entry, out *spool, workers int) (section, error) {
	made := section{File: File{Path: e.path, Format: s.format(e.path), Size: e.info.Size()}, Hint: e.hint}
	if e.link {
		return made, s.link(e, &made)
	}
	if made.Format == Link {
		made.Format = formatOf(e.name) // it was a link when it was sealed
	}
	f, err := s.place.open(e)
	if err != nil {
		return made, err
	}
	defer f.Close()
	err = s.content(ctx, f, e, &made, out, workers)
	if s.verify && errors.Is(err, errForm) {
		err = s.deformed(ctx, f, e, &made, out, workers, err)
	}
	if err != nil {
		return made, err
	}
	info, err := f.Stat()
	if err == nil && (!e.still(info) || made.Size != info.Size()) {
		err = e.changed()
	}
	return made, err
}

// deformed seals a file that is no longer of its form as far as it can be told apart: CSV by
// its lines, all else by its bytes.
func (s *sealer) deformed(ctx context.Context, f *os.File, e *entry, made *section, out *spool, workers int, fault error) error {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return fileFault(e.shown(), err)
	}
	out.again()
	lines := made.Format == CSV && !errors.Is(fault, errUTF16)
	*made = section{File: File{Path: e.path, Format: Blocks, Size: made.Size}, Hint: e.hint, why: fault.Error()}
	if p, ok := errors.AsType[*pavise.Error](fault); ok {
		made.why = p.Msg
	}
	if lines {
		made.Format = JSONL
	}
	return s.content(ctx, f, e, made, out, workers)
}

// link seals a link: where it leads.
func (s *sealer) link(e *entry, made *section) error {
	target, err := s.place.root.Readlink(e.name)
	if err != nil {
		return fileFault(e.shown(), err)
	}
	made.Format, made.Size = Link, int64(len(target))
	made.Root = Digest(proof.Leaf([]byte(target)))
	made.Bottom = made.Root
	return nil
}

// content seals what is in a file.
func (s *sealer) content(ctx context.Context, f *os.File, e *entry, made *section, out *spool, workers int) error {
	var tree *rowTree
	var err error
	switch made.Format {
	case CSV, JSONL:
		tree, err = s.text(ctx, f, e, made, out, workers)
	case Parquet:
		tree, err = s.parquet(ctx, f, e, made, out, workers)
	default:
		return s.blocks(ctx, f, e, made, out, workers)
	}
	if err != nil {
		return err
	}
	if tree == nil { // it has no rows after all
		return nil
	}
	made.Rows = tree.rows
	made.Digest = made.fileDigest(tree.blocks)
	if err := out.flush(); err != nil {
		return err
	}
	root, err := (&places{fileSalts(made.Digest), made.Rows, out}).root(ctx, workers)
	if err != nil {
		return err
	}
	made.Root = Digest(root)
	_, err = out.Write(appendBlocks(nil, tree.blocks))
	return err
}

// blocks seals a file by blocks of bytes.
func (s *sealer) blocks(ctx context.Context, f io.Reader, e *entry, made *section, out *spool, workers int) error {
	r := &blocker{in: f, read: s.meter.read}
	root, n, err := r.blocks(ctx, workers, out)
	if err != nil {
		return readFault(e, err)
	}
	made.Size, made.Bytes, made.Bottom, made.Root = r.size, n, Digest(root), Digest(root)
	return nil
}

// text seals a file by its records or lines.
func (s *sealer) text(ctx context.Context, f io.ReadSeeker, e *entry, made *section, out *spool, workers int) (*rowTree, error) {
	cut := cutter{csv: made.Format == CSV, width: 1}
	if path.Ext(e.name) == ".tsv" {
		cut.separator = '\t'
	}
	if !cut.csv || s.verify {
		cut.width = 0
	}
	r, tree := &chunker{in: f, cut: cut, read: s.meter.read}, newRowTree()
	err := pump(ctx, workers, r.next, (*chunk).hash, func(c *chunk) error {
		if fault, ok := c.err.(*rowFault); ok {
			return s.formFault(e, fmt.Sprintf("row %d: %s", tree.rows+fault.row+1, fault.what), fault.fix, nil)
		}
		tree.add(c.digests, c.ends)
		_, err := out.Write(c.digests)
		return err
	})
	if errors.Is(err, errUTF16) {
		err = s.formFault(e, err.Error(), "write it as UTF-8", err)
	}
	if err != nil {
		return nil, readFault(e, err)
	}
	tree.close()
	made.Size, made.BOM = r.size, r.bom
	return tree, nil
}

// formFault refuses a file that is not what its name says.
func (s *sealer) formFault(e *entry, what, fix string, cause error) error {
	return &pavise.Error{
		Kind: pavise.Invalid, Msg: e.shown() + ", " + what,
		Hint: fmt.Sprintf("%s, or seal the file by its bytes alone: --by-block %s", fix, path.Base(e.name)), Err: errors.Join(errForm, cause),
	}
}

// errForm marks an error of a file's form: its bytes could be read.
var errForm = errors.New("its form is broken")

// readFault is an error of reading a file, unless it is for people already.
func readFault(e *entry, err error) error {
	if _, ok := errors.AsType[*pavise.Error](err); ok || errors.Is(err, context.Canceled) {
		return err
	}
	return fileFault(e.shown(), err)
}

// allWorkers is how many workers there are.
func allWorkers() int { return runtime.GOMAXPROCS(0) }

// manifest makes the manifest of the sections, in the order of their paths. The tree of
// contents is made of all rows; without it there is no root.
func manifest(ctx context.Context, sections []section, workers int) (*Manifest, error) {
	m := &Manifest{Format: formatSeal}
	tree := contents{workers: workers}
	for i := range sections {
		m.Files = append(m.Files, sections[i].File)
	}
	if rows := m.Rows(); rows > 0 {
		tree.of(sections, rows)
		root, err := tree.root(ctx)
		if err != nil {
			return nil, err
		}
		m.Contents = &Contents{tree.bits, Digest(root)}
	}
	m.Root = m.summit().root()
	return m, nil
}

// of makes the tree one of these sections.
func (c *contents) of(sections []section, rows uint64) {
	var digests []Digest
	for i := range sections {
		s := &sections[i]
		if s.Format.rows() {
			digests = append(digests, s.Digest)
			c.rows = append(c.rows, stretch{s.rowsAt(), s.Rows})
		}
	}
	c.salts, c.bits = contentsSalts(digests), bucketBits(rows)
}
