package redteam

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/extraction"
	"github.com/pavise/pavise/internal/learn"
	"github.com/pavise/pavise/internal/table"
)

// queries are the rows asked, written as recorded traffic (docs/formats/traffic.md).
type queries struct {
	f   *os.File
	w   *table.Writer
	b   *bufio.Writer
	err error
}

// openQueries begins to write what is asked, behind what an earlier run had written of
// this attack; without a path it writes nothing.
func openQueries(path string, a *extraction.Attack) (*queries, error) {
	q := &queries{}
	if path == "" {
		return q, nil
	}
	fault := func(err error) error {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("write the queries: %v", err), Hint: "name a file in a directory that you may write", Err: err}
	}
	flags := os.O_RDWR | os.O_CREATE
	if a.Rows() == 0 {
		flags |= os.O_TRUNC
	}
	f, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return nil, fault(err)
	}
	end, err := lineEnd(f, a.Rows())
	if err == nil {
		_, err = f.Seek(end, io.SeekStart)
	}
	if err == nil {
		err = f.Truncate(end)
	}
	if err != nil {
		return nil, errors.Join(fault(err), f.Close())
	}
	q.f, q.b = f, bufio.NewWriterSize(f, 1<<16)
	q.w, err = table.NewWriter(q.b, table.JSONL, "client", "input", "output")
	return q, err
}

// lineEnd is where the first lines of a file end.
func lineEnd(f *os.File, lines int) (end int64, err error) {
	r := bufio.NewReader(f)
	for range lines {
		for {
			part, err := r.ReadSlice('\n')
			if end += int64(len(part)); err == nil {
				break
			}
			if !errors.Is(err, bufio.ErrBufferFull) {
				return 0, fmt.Errorf("%s holds fewer than the %d rows that were asked: it is of another run", f.Name(), lines)
			}
		}
	}
	return end, nil
}

// write writes the rows that were answered, of which the first is so many in the run.
func (q *queries) write(a *extraction.Attack, first int, rows, answers learn.Matrix) {
	for i := range answers.Rows {
		if q.w == nil || q.err != nil {
			return
		}
		q.err = q.w.Write(client(a.Ledger()[first+i].Identity), rows.Row(i), answers.Row(i))
	}
}

// Flush hands what was written to the system.
func (q *queries) Flush() error {
	if q.w == nil {
		return nil
	}
	if err := errors.Join(q.err, q.w.Flush(), q.b.Flush()); err != nil {
		return &pavise.Error{Kind: pavise.Unavailable, Msg: fmt.Sprintf("write the queries: %v", err), Hint: "see whether the disk is full", Err: err}
	}
	return nil
}

// Close ends the writing.
func (q *queries) Close() error {
	if q.f == nil {
		return nil
	}
	return q.f.Close()
}
