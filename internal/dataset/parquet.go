package dataset

import (
	"context"
	"os"
)

func (s *sealer) parquet(ctx context.Context, f *os.File, e *entry, made *section, out *spool, workers int) (*rowTree, error) {
	made.Format = Blocks
	return nil, s.blocks(ctx, f, e, made, out, workers)
}
