package dataset

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/proof"
	"github.com/pavise/pavise/internal/rowseal"
	"github.com/pavise/pavise/internal/table"
)

// parquet seals a file by its rows, and by its bytes, of which the same rows may have others.
func (s *sealer) parquet(ctx context.Context, f content, e *entry, made *rowseal.Section, to rowseal.Sink) (*rowseal.Rows, error) {
	near := io.ReaderAt(f)
	if e.far {
		local, err := fetched(ctx, f, e)
		if err != nil {
			return nil, err
		}
		defer local.Close()
		near = local
	}
	rows := rowseal.NewRows(to.Blocks)
	const many = 8 << 10 // bytes of digests that are held
	digests, room := make([]byte, 0, many), []byte(nil)
	flush := func() error {
		if err := rows.Add(digests); err != nil {
			return err
		}
		_, err := to.Out.Write(digests)
		digests = digests[:0]
		return err
	}
	err := table.ParquetRows(near, e.size(), e.shown(), func(row []byte) error {
		room = append(append(room[:0], 0), row...)
		leaf := proof.LeafOf(room)
		if digests = append(digests, leaf[:]...); len(digests) < many {
			return nil
		}
		return errors.Join(flush(), ctx.Err())
	})
	if fault, ok := errors.AsType[*pavise.Error](err); ok && fault.Kind == pavise.Invalid {
		return nil, s.formFault(e, strings.TrimPrefix(fault.Msg, e.shown()+": "), fault.Hint, err)
	}
	if err == nil {
		err = flush()
	}
	if err != nil {
		return nil, readFault(e, err)
	}
	return rows, s.bytes(ctx, whole(near), e, made, to)
}

// fetched copies a content to a file without a name. Of Parquet something is read here and
// there, and then all of it, which must be of the same bytes.
func fetched(ctx context.Context, f content, e *entry) (*os.File, error) {
	local, err := os.CreateTemp("", "pavise-fetched-")
	if err != nil {
		return nil, writeFault(os.TempDir(), err)
	}
	if err = os.Remove(local.Name()); err == nil {
		_, err = io.Copy(local, &stopping{ctx, whole(f)})
	}
	if err != nil {
		local.Close()
		if p, ok := errors.AsType[*fs.PathError](err); ok {
			return nil, writeFault(os.TempDir(), p)
		}
		return nil, readFault(e, err)
	}
	return local, nil
}

// A stopping reader ends with its context.
type stopping struct {
	ctx  context.Context
	from io.Reader
}

// Read implements io.Reader.
func (s *stopping) Read(b []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.from.Read(b)
}
