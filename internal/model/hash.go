package model

import (
	"context"
	"errors"
	"io"
	"runtime"
	"slices"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/oms"
	"github.com/pavise/pavise/internal/progress"
	"github.com/pavise/pavise/internal/rowseal"
)

// A piece is bytes of a file that have one digest.
type piece struct {
	of    *entry
	start int64
	size  int64
	sum   []byte
}

// cut is how a file is hashed: whole, or by shards, of which an empty file has none.
func cut(e *entry, shard int64) (list []piece) {
	size := e.info.Size()
	if shard == 0 {
		return []piece{{of: e, size: size}}
	}
	for start := int64(0); start < size; start += shard {
		list = append(list, piece{of: e, start: start, size: min(shard, size-start)})
	}
	return list
}

// readSize is how much of a file is read at a time: little enough to be in the cache still
// when it is hashed.
const readSize = 256 << 10

// sums hashes pieces by all cores, the longest first, so that no core is left alone with one
// at the end. Memory does not grow with files.
func (p *place) sums(ctx context.Context, pieces []piece, function oms.Hash, say func(string)) error {
	m := &progress.Meter{Say: say}
	order := make([]*piece, len(pieces))
	for i := range pieces {
		order[i] = &pieces[i]
		m.Total += pieces[i].size
	}
	slices.SortStableFunc(order, func(a, b *piece) int { return int(min(max(b.size-a.size, -1), 1)) })
	err := rowseal.Each(ctx, runtime.GOMAXPROCS(0), len(order), func(i int) error { return p.sum(ctx, order[i], function, m) })
	if err != nil && ctx.Err() != nil {
		return &pavise.Error{Kind: pavise.Unavailable, Msg: "stopped before everything was read", Hint: "nothing was found out, and nothing written"}
	}
	return err
}

// sum hashes a piece.
func (p *place) sum(ctx context.Context, one *piece, function oms.Hash, m *progress.Meter) error {
	f, err := p.open(one.of)
	if err != nil {
		return err
	}
	defer f.Close()
	h, buffer := function.New(), make([]byte, min(readSize, one.size+1))
	for at, end := one.start, one.start+one.size; at < end; {
		n, err := f.ReadAt(buffer[:min(int64(len(buffer)), end-at)], at)
		h.Write(buffer[:n])
		at += int64(n)
		m.Read(n)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, io.EOF) && at < end:
			return one.of.changed()
		case err != nil && !errors.Is(err, io.EOF):
			return rowseal.FileFault(one.of.name, err)
		}
	}
	one.sum = h.Sum(nil)
	return one.of.unchanged(f)
}
