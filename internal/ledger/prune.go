package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/disk"
	"github.com/pavise/pavise/internal/proof"
	"github.com/pavise/pavise/internal/record"
)

// checkPruned makes sure that a record of the log says so when the first ones are
// not there, and returns below which index they need not be.
func (l *Log) checkPruned() (below uint64, err error) {
	first := l.First()
	for found, err := range l.SelectBack(context.Background(), Filter{Kinds: []string{record.KindPruned}, Phase: record.Note}, first, l.Size()) {
		if err != nil {
			return 0, err
		}
		below = found.Pruned()
		break
	}
	if first > below {
		return 0, &pavise.Error{
			Kind: pavise.Unverified,
			Msg:  gap(below, first-1) + " missing, and no record says that they were pruned",
			Hint: "restore the evidence log from a backup",
		}
	}
	return below, nil
}

// Prune takes away the segments whose records all lie below an index, once their
// hashes are surely on disk and a durable, published record says so. The hashes stay,
// so that every proof of a record that is kept, or was kept elsewhere, still holds. What must be true for
// it (kept elsewhere, no longer needed here) is for the caller to know. The error
// is of kind Invalid when the index is no segment's first or nothing would be left.
func (l *Log) Prune(ctx context.Context, p record.Pruning, who *pavise.Principal) error {
	last, _ := l.Last()
	segments := l.stream.snapshot()
	fits := false
	for _, seg := range segments[1:] {
		fits = fits || seg.First == p.Below
	}
	if !fits || p.Below >= l.Size() {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the log cannot be pruned below record %d: no whole segments end there", p.Below), Hint: "prune what archive list shows as archived"}
	}
	if err := l.AwaitSigned(ctx, p.Below); err != nil {
		return err // nothing that is signed would be left
	}
	if err := l.AwaitPublished(ctx, p.Below-1); err != nil {
		return err // their hashes are not on disk yet
	}
	for _, seg := range segments {
		if seg.First >= p.Below {
			break
		}
		if err := l.settleHashes(seg); err != nil {
			return err
		}
	}
	detail, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("encode what was pruned: %w", err)
	}
	at := l.now().UTC()
	if at.Before(last.At) {
		at = last.At
	}
	receipt, err := l.Append(ctx, &record.Record{Kind: record.KindPruned, Phase: record.Note, Tenant: l.tenant, At: at, Who: who, Settled: last.Settled, Safe: true, Detail: detail}, Durable)
	if err != nil {
		return err
	}
	if err := l.AwaitPublished(ctx, receipt.Index); err != nil {
		return err
	}
	return l.removeBelow(p.Below)
}

// settleHashes makes the hashes of a segment's records durable once more.
func (l *Log) settleHashes(seg *segment) error {
	f, err := l.disk.Open(seg.Name(), false)
	if err != nil {
		return disk.Fault("open "+seg.Name(), err)
	}
	defer f.Close()
	var leaves []tlog.Hash
	frames := disk.NewFrames(io.NewSectionReader(f, 0, seg.Size))
	for {
		entry, err := frames.Next()
		if err == io.EOF {
			return l.tree.settle(seg.First, leaves)
		}
		if err != nil {
			return disk.Fault("read "+seg.Name(), err)
		}
		leaves = append(leaves, proof.Leaf(entry))
	}
}

// removeBelow takes away the segments whose records all lie below an index.
func (l *Log) removeBelow(index uint64) error {
	segments := l.stream.snapshot()
	for len(segments) > 1 && segments[1].First <= index {
		for _, name := range []string{disk.IndexName(segments[0].First), segments[0].Name()} {
			if err := l.disk.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
				return disk.Fault("remove "+name, err)
			}
		}
		l.stream.mu.Lock()
		l.stream.segments = l.stream.segments[1:]
		l.stream.mu.Unlock()
		segments = segments[1:]
	}
	return nil
}
