package dataset

import (
	"context"
	"errors"
	"os"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/proof"
	"github.com/pavise/pavise/internal/rowseal"
	"github.com/pavise/pavise/internal/table"
)

// parquet seals a file by its rows, and by its bytes, of which the same rows may have others.
func (s *sealer) parquet(ctx context.Context, f *os.File, e *entry, made *rowseal.Section, to rowseal.Sink) (*rowseal.Rows, error) {
	rows := rowseal.NewRows()
	const many = 8 << 10 // bytes of digests that are held
	digests, room := make([]byte, 0, many), []byte(nil)
	flush := func() error {
		rows.Add(digests)
		_, err := to.Out.Write(digests)
		digests = digests[:0]
		return err
	}
	err := table.ParquetRows(f, e.info.Size(), e.shown(), func(row []byte) error {
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
	return rows, s.bytes(ctx, f, e, made, to)
}
