package ingest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/packed"
	"github.com/pavise/pavise/internal/quote"
	"github.com/pavise/pavise/internal/template"
)

// logBounds are how large a log may be. Its lines stream: what is bounded is time.
var logBounds = packed.Bounds{Bytes: 1 << 40, Ratio: 1000, Free: 1 << 30}

// sayEvery is after how many lines somebody is told how far a log is read, and it is looked
// whether to stop.
const sayEvery = 1 << 16

// lineReader reads the lines of one log.
type lineReader struct {
	in   *bufio.Reader
	line []byte
}

// newLineReader sees through gzip and a byte order mark. The name is for errors.
func newLineReader(r io.Reader, name string) (*lineReader, error) {
	text, err := packed.NewReader(r, name, logBounds)
	if err != nil {
		return nil, err
	}
	l := &lineReader{in: bufio.NewReaderSize(text, 1<<16)}
	head, err := l.in.Peek(3)
	if err != nil && err != io.EOF {
		return nil, err
	}
	if bytes.HasPrefix(head, []byte("\xff\xfe")) || bytes.HasPrefix(head, []byte("\xfe\xff")) {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: name + ": it is UTF-16", Hint: "write it as UTF-8"}
	}
	if string(head) == "\ufeff" {
		l.in.Discard(len(head))
	}
	return l, nil
}

// next returns the next line without its end, good until the one after it; of a line that is
// longer than what templates look at, as much as they do and one byte. At the end of the log it
// returns io.EOF.
func (l *lineReader) next() ([]byte, error) {
	l.line = l.line[:0]
	for {
		part, err := l.in.ReadSlice('\n')
		if room := template.MaxLine + 1 - len(l.line); room > 0 {
			l.line = append(l.line, part[:min(len(part), room)]...)
		}
		switch {
		case err == nil:
			return bytes.TrimSuffix(l.line, []byte{'\n'}), nil
		case errors.Is(err, bufio.ErrBufferFull):
		case err == io.EOF && len(l.line) > 0:
			return l.line, nil
		default:
			return nil, err
		}
	}
}

// eachLine opens a log and calls take with each of its lines and its number, from 1. A path of
// "-" is standard input.
func eachLine(ctx context.Context, path string, say func(lines int), take func(n int, line []byte) error) error {
	in, err := open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	lines, err := newLineReader(in, shownName(path))
	if err != nil {
		return err
	}
	for n := 1; ; n++ {
		line, err := lines.next()
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = take(n, line)
		}
		if err != nil {
			return err
		}
		if n%sayEvery == 0 {
			if ctx.Err() != nil {
				return &pavise.Error{Kind: pavise.Unavailable, Msg: fmt.Sprintf("stopped after %d lines of %s", n, shownName(path)), Err: ctx.Err()}
			}
			say(n)
		}
	}
}

// open opens a plain file, or standard input.
func open(path string) (io.ReadCloser, error) {
	if path == "-" {
		return io.NopCloser(os.Stdin), nil
	}
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, &pavise.Error{Kind: pavise.NotFound, Msg: "no file " + shownPath(path), Err: err}
	case errors.Is(err, fs.ErrPermission):
		return nil, &pavise.Error{Kind: pavise.Denied, Msg: shownPath(path) + " may not be read", Err: err}
	case err != nil:
		return nil, fmt.Errorf("open the log: %w", err)
	}
	if info, err := f.Stat(); err == nil && info.IsDir() {
		f.Close()
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: shownPath(path) + " is a directory", Hint: "name a file in it"}
	}
	return f, nil
}

// shownName is the name of a file as errors have it.
func shownName(path string) string {
	if path == "-" {
		return "standard input"
	}
	return shownPath(filepath.Base(path))
}

// shownPath is a path that a terminal may be shown.
func shownPath(path string) string {
	if _, odd := quote.Unprintable([]byte(path)); odd {
		return strconv.Quote(path)
	}
	return path
}
