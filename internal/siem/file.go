package siem

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/pavise/pavise"
)

// How long a file of findings grows, in bytes, before it is put aside as FILE.1, and how
// many of those are kept. Together they bound what findings take of a disk.
const (
	maxFile  = 64 << 20
	maxFiles = 8
)

// A file is where findings are written as JSON lines. Lines are appended (O_APPEND) and
// synced, once for each batch, before the follower moves on: what counts as told is on
// disk. Its owner is one goroutine.
type file struct {
	path  string
	most  int64    // bytes before it is put aside
	f     *os.File // nil: not open
	spell speller
}

// tell writes a batch to the file. The error is of kind Unavailable; nothing of the batch
// is in the file then.
func (o *file) tell(_ context.Context, s *state, batch []telling) error {
	var text []byte
	for _, t := range batch {
		text = append(text, o.spell.line(t)...)
	}
	if err := o.ready(int64(len(text))); err != nil {
		return err
	}
	size, err := o.f.Seek(0, io.SeekEnd)
	if err == nil {
		if _, err = o.f.Write(text); err == nil {
			err = o.f.Sync()
		}
		if err != nil {
			err = errors.Join(err, o.f.Truncate(size))
		}
	}
	if err != nil {
		o.close()
		return o.fault("be written", err)
	}
	s.worked(len(batch))
	return nil
}

// ready opens the file, or another in its place when it was put aside, by us for its
// length or by somebody else.
func (o *file) ready(more int64) error {
	if o.f != nil && !o.current() {
		o.close()
	}
	if o.f == nil {
		if err := o.open(); err != nil {
			return err
		}
	}
	info, err := o.f.Stat()
	if err != nil {
		return o.fault("be looked at", err)
	}
	if info.Size() == 0 || info.Size()+more <= o.most {
		return nil
	}
	o.close()
	for n := maxFiles - 1; n > 0; n-- {
		if err := os.Rename(o.aside(n), o.aside(n+1)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return o.fault("be put aside", err)
		}
	}
	if err := os.Rename(o.path, o.aside(1)); err != nil {
		return o.fault("be put aside", err)
	}
	return o.open()
}

// aside is the name of the nth file before this one.
func (o *file) aside(n int) string { return fmt.Sprintf("%s.%d", o.path, n) }

// current reports whether the path still leads to the file that is open.
func (o *file) current() bool {
	open, err := o.f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Lstat(o.path)
	return err == nil && os.SameFile(open, there)
}

// open opens the file, and cuts off a line that a crash left without its end: it is told
// again. A link or a pipe is refused: who put it there would choose where findings go.
func (o *file) open() error {
	f, err := os.OpenFile(o.path, os.O_RDWR|os.O_APPEND|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return o.fault("be opened", err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is no plain file")
	}
	if err == nil {
		err = endLine(f, info.Size())
	}
	if err != nil {
		f.Close()
		return o.fault("be opened", err)
	}
	o.f = f
	return nil
}

// endLine cuts a file behind its last end of line, if that is near its end.
func endLine(f *os.File, size int64) error {
	const longest = 64 << 10
	tail := make([]byte, min(size, longest))
	if _, err := f.ReadAt(tail, size-int64(len(tail))); err != nil {
		return err
	}
	if len(tail) == 0 || tail[len(tail)-1] == '\n' {
		return nil
	}
	last := bytes.LastIndexByte(tail, '\n')
	if last < 0 && size > longest {
		return errors.New("it does not hold lines")
	}
	return f.Truncate(size - int64(len(tail)-last-1))
}

func (o *file) close() {
	if o.f != nil {
		o.f.Close()
		o.f = nil
	}
}

func (o *file) fault(what string, err error) error {
	return &pavise.Error{
		Kind: pavise.Unavailable, Msg: fmt.Sprintf("the file of findings %s cannot %s: %v", o.path, what, err),
		Hint: "findings wait in the evidence log until it can; nothing is lost", Err: err,
	}
}

// A printer writes findings as JSON lines to what is no file: the standard output.
type printer struct {
	w     io.Writer
	spell speller
}

func (p *printer) tell(_ context.Context, s *state, batch []telling) error {
	for _, t := range batch {
		if _, err := p.w.Write(p.spell.line(t)); err != nil {
			return &pavise.Error{Kind: pavise.Unavailable, Msg: "findings cannot be printed: " + err.Error(), Hint: "give a file with --findings", Err: err}
		}
	}
	s.worked(len(batch))
	return nil
}

func (p *printer) close() {}
