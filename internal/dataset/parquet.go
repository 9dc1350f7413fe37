package dataset

import (
	"context"
	"os"

	"github.com/pavise/pavise/internal/rowseal"
)

// parquet seals a file by its rows, and by its bytes.
func (s *sealer) parquet(ctx context.Context, f *os.File, e *entry, made *rowseal.Section, to rowseal.Sink) (*rowseal.Rows, error) {
	return nil, nil
}
