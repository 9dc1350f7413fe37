package dataset

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/progress"
	"github.com/pavise/pavise/internal/rowseal"
)

// Seal seals a file or a directory. Its fields are flags of the command line.
type Seal struct {
	Say    func(text string) `kong:"-"` // gets a line of progress now and then; nil: nobody watches
	Within string            `kong:"-"` // the directory in which what is sealed has to lie; empty: it may lie anywhere
	// Grow is asked before so many bytes more are written, and its error ends the seal; nil: nobody
	// bounds them. What is given back at the end, 37 bytes a row at most, is not counted.
	Grow func(n int64) error `kong:"-"`

	Path    string   `arg:"" help:"The file or directory to seal, or what lies in a bucket: s3://BUCKET/PREFIX, gs://… or az://…"`
	Out     string   `short:"o" help:"Where the seal goes; the index goes beside it, as FILE.rows. Nothing may be there (default: PATH.seal)." placeholder:"FILE"`
	Format  string   `help:"Take every file for this instead of what its name says: auto, csv, jsonl, parquet or blocks." default:"auto" enum:"auto,csv,jsonl,parquet,blocks"`
	ByBlock []string `help:"Seal files of this name by their bytes alone, with * and ? for any; may be repeated." placeholder:"PATTERN"`
	Key     string   `help:"Sign the seal with this Ed25519 key (PEM), into FILE.dsse." placeholder:"FILE"`
}

// Help is the text behind the command's flags.
func (*Seal) Help() string {
	return `Seals what a model is trained on. Every change, of one byte, is found later and
named by its row (pavise dataset verify), and a row can be proved to be, or not to be,
in what was sealed (pavise dataset prove).

CSV (.csv, .tsv), JSONL (.jsonl, .ndjson) and Parquet (.parquet) are sealed row by row,
all else in blocks of 64 KiB. Rows are counted from 1, a header with them. The seal may be
shown to anybody, and is the same for the same content. The index beside it has a digest
of every row: keep it as you keep the rows, for whoever has it can test guesses.

What lies in a bucket (s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX) has the
same seal as the same files on a disk. Each object is read in one version, with the
credentials of the environment.

A seal that was interrupted goes on when the same command is given again. What changes
while it is read is refused, and so are links that lead out of the directory.

For example:

  pavise dataset seal training/ -o training.seal
  pavise dataset seal s3://models/training/ -o training.seal`
}

// Sealed is what came of a seal.
type Sealed struct {
	Path      string         `json:"path"`
	Seal      string         `json:"seal"`                // the file of the manifest
	Index     string         `json:"index"`               // the file of the index
	Signature string         `json:"signature,omitempty"` // the file of the signed statement
	Root      rowseal.Digest `json:"root"`
	Files     int            `json:"files"`
	ByRow     int            `json:"files_by_row"`
	Rows      uint64         `json:"rows"`
	Bytes     int64          `json:"bytes"`
	Resumed   int            `json:"resumed_files"` // that an earlier run had finished
	Recorded  bool           `json:"recorded"`      // of itself the command leaves no record
}

// Run seals, or goes on where an earlier run was stopped. Errors are of kind Invalid for what
// cannot be sealed, Conflict for what changed meanwhile or is there already, NotFound and
// Denied for files, and Unavailable for the disk.
//
// Unguarded: whoever runs it reads their own files, as themselves; no principal of an
// installation acts.
func (s *Seal) Run(ctx context.Context) (*Sealed, error) {
	signer, err := readSigner(s.Key)
	if err != nil {
		return nil, err
	}
	p, err := openPlace(ctx, s.Path, s.Within)
	if err != nil {
		return nil, err
	}
	defer p.close()
	out := s.into(p)
	job, err := openJob(out)
	if err != nil {
		return nil, err
	}
	job.grow = s.Grow
	defer job.close()
	p.leaveOut(job.names()...)
	entries, err := p.entries(ctx)
	if err != nil {
		return nil, err
	}
	if len(entries) == 0 {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: "there is no file in " + rowseal.Shown(s.Path), Hint: "name a directory with files"}
	}
	sealer := &sealer{place: p, format: s.format(p), workers: allWorkers(), meter: &progress.Meter{Say: s.Say}, grow: s.Grow, spill: job.spill}
	for i := range entries {
		sealer.meter.Total += entries[i].size()
	}
	resumed, err := job.resume(ctx, sealer, entries)
	if err != nil {
		return nil, err
	}
	err = sealer.all(ctx, entries[resumed:], job.part, job.at, job.take)
	if err == nil {
		err = p.unchanged(ctx, entries)
	}
	if err != nil {
		return nil, stopped(ctx, err)
	}
	m, err := rowseal.NewManifest(ctx, job.sections, sealer.workers, job.spill)
	if err != nil {
		return nil, stopped(ctx, err)
	}
	result := &Sealed{Path: s.Path, Seal: out, Index: out + rowseal.IndexSuffix, Root: m.Root, Files: len(m.Files), Rows: m.Rows(), Resumed: resumed}
	for i := range m.Files {
		result.Bytes += m.Files[i].Size
		if m.Files[i].Format.HasRows() {
			result.ByRow++
		}
	}
	if signer != nil {
		result.Signature = out + signatureSuffix
	}
	return result, job.finish(m, signer)
}

// Into returns the file that the seal goes to. Errors are those of opening what is sealed.
//
// Unguarded: as Run.
func (s *Seal) Into(ctx context.Context) (string, error) {
	if s.Out != "" {
		return s.Out, nil
	}
	p, err := openPlace(ctx, s.Path, s.Within)
	if err != nil {
		return "", err
	}
	defer p.close()
	return s.into(p), nil
}

func (s *Seal) into(p *place) string {
	if s.Out != "" {
		return s.Out
	}
	return p.besides(s.Path)
}

// besides is where a seal goes if nobody says: beside what is on a disk, and into the working
// directory for what is not.
func (p *place) besides(name string) string {
	if p.url != "" {
		return path.Base(p.url) + ".seal"
	}
	if name == "." || strings.HasSuffix(filepath.Clean(name), "..") {
		return filepath.Join(p.dir, "..", filepath.Base(p.dir)+".seal")
	}
	return filepath.Clean(name) + ".seal"
}

// stopped says that a seal goes on where it was stopped.
func stopped(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	return &pavise.Error{Kind: pavise.Unavailable, Msg: "stopped before everything was sealed", Hint: "the same command goes on from here"}
}

// format says how files are sealed, by their paths.
func (s *Seal) format(p *place) func(string) rowseal.Format {
	return func(name string) rowseal.Format {
		if name == "." {
			name = p.one
		}
		for _, pattern := range s.ByBlock {
			for _, of := range []string{name, path.Base(name)} {
				if ok, err := path.Match(pattern, of); ok && err == nil {
					return rowseal.Blocks
				}
			}
		}
		if s.Format != "" && s.Format != "auto" {
			return rowseal.Format(s.Format)
		}
		return formatOf(name)
	}
}

// Print prints it for people.
func (s *Sealed) Print(w io.Writer) {
	fmt.Fprintf(w, "%s is sealed: %s, %s, %s.\n\n", rowseal.Shown(s.Path), counted(uint64(s.Files), "file"), counted(s.Rows, "row"), progress.Size(s.Bytes))
	fact(w, "root", "%s", s.Root)
	fact(w, "seal", "%s (for everybody)", rowseal.Shown(s.Seal))
	fact(w, "index", "%s (as private as the rows)", rowseal.Shown(s.Index))
	if s.Signature != "" {
		fact(w, "signature", "%s", rowseal.Shown(s.Signature))
	}
	if s.Resumed > 0 {
		fact(w, "resumed", "%s had been sealed before this run was begun", counted(uint64(s.Resumed), "file"))
	}
	if !s.Recorded {
		unrecorded(w)
	}
}

// A job is a seal being written: the index under another name, and a journal of the files
// that are in it. Whoever opened it has it alone.
type job struct {
	out      string
	part     *os.File // the index without its table
	journal  *os.File
	at       int64 // where the index goes on
	sections []rowseal.Section
	grow     func(n int64) error // Seal.Grow
}

// names are the files that the job writes.
func (j *job) names() []string {
	return []string{j.out, j.out + ".new", j.out + signatureSuffix + ".new", j.out + rowseal.IndexSuffix, j.out + partSuffix, j.out + spillSuffix, j.out + journalSuffix, j.out + signatureSuffix}
}

const (
	partSuffix      = ".rows.part"
	spillSuffix     = ".rows.spill"
	journalSuffix   = ".journal"
	signatureSuffix = ".dsse"
)

// openJob begins a seal, or opens what is left of one.
func openJob(out string) (*job, error) {
	j := &job{out: out}
	err := j.fresh()
	if err == nil {
		j.journal, err = openOwn(out + journalSuffix)
	}
	if err == nil {
		err = j.fresh() // still, now that nobody else is at it
	}
	if err == nil {
		err = j.takeBack()
	}
	if err == nil {
		j.part, err = openOwn(out + partSuffix)
	}
	if err != nil {
		j.close()
		return nil, err
	}
	return j, nil
}

// spill is a rowseal.Spill. It lies where the index does, which has the room and the rights, and
// loses its name as soon as it has one: a run that is killed in between leaves an empty file, which
// the next one takes.
func (j *job) spill() (*os.File, error) {
	f, err := openOwn(j.out + spillSuffix)
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, writeFault(f.Name(), err)
	}
	return f, nil
}

// fresh refuses to write over a seal.
func (j *job) fresh() error {
	if _, err := os.Lstat(j.out); err == nil {
		return &pavise.Error{Kind: pavise.Conflict, Msg: rowseal.Shown(j.out) + " is there already", Hint: "name a file that is not with -o; nothing is written over"}
	}
	return nil
}

// takeBack takes an index without a seal, whose journal is there, for what it was: the work of a
// run that was stopped before its end.
func (j *job) takeBack() error {
	info, err := j.journal.Stat()
	if err != nil || info.Size() == 0 {
		return err
	}
	if _, err := os.Lstat(j.out + partSuffix); !errors.Is(err, fs.ErrNotExist) {
		return nil // openOwn says what is wrong with it
	}
	if err := os.Rename(j.out+rowseal.IndexSuffix, j.out+partSuffix); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (j *job) close() {
	for _, f := range []*os.File{j.part, j.journal} {
		if f != nil {
			f.Close()
		}
	}
}

// writeFault is an error of writing.
func writeFault(name string, err error) error {
	e := &pavise.Error{Kind: pavise.Unavailable, Msg: "write " + rowseal.Shown(name), Hint: "name a place with -o that you may write to, with room: the index takes 32 bytes a row, and as much again while it is made", Err: err}
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		e.Msg += ": " + p.Err.Error()
	}
	return e
}

// finish gives the seal its name, once all of it is on disk.
func (j *job) finish(m *rowseal.Manifest, signer *signer) error {
	for _, step := range j.steps(m, signer) {
		if err := step(); err != nil {
			if _, said := errors.AsType[*pavise.Error](err); said {
				return err
			}
			return writeFault(j.out, err)
		}
	}
	return nil
}

// steps are what is left to do. Whoever is stopped between two of them has the digests and the
// journal still, from which the same command goes on, or the whole seal: all is written under
// other names before the first file gets its own, and the seal gets its name last.
func (j *job) steps(m *rowseal.Manifest, signer *signer) []func() error {
	index, signature := j.out+rowseal.IndexSuffix, j.out+signatureSuffix
	var seal, statement string // under their other names
	return []func() error{
		func() error {
			return rowseal.WriteTable(io.NewOffsetWriter(j.part, j.at), j.at, m.Root, j.sections)
		},
		j.part.Sync,
		func() error {
			text, err := m.Marshal()
			if err == nil {
				seal, err = writeTemp(j.out, text, 0o644)
			}
			return err
		},
		func() error {
			if signer == nil {
				return nil
			}
			text, err := signer.seal(m, path.Base(filepath.ToSlash(j.out)))
			if err == nil {
				statement, err = writeTemp(signature, text, 0o644)
			}
			return err
		},
		func() error { // there is no seal that an older signature could be of
			if signer == nil {
				return removeLeft(signature)
			}
			return os.Rename(statement, signature)
		},
		func() error { return os.Rename(j.part.Name(), index) },
		func() error { return syncDir(filepath.Dir(j.out)) },
		func() error { return os.Link(seal, j.out) }, // which, unlike a rename, replaces nothing
		func() error { return errors.Join(removeLeft(seal), syncDir(filepath.Dir(j.out))) },
		func() error { return os.Remove(j.journal.Name()) },
	}
}
