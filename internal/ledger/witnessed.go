package ledger

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/disk"
	"github.com/pavise/pavise/internal/proof"
)

// KeepWitnessed keeps a checkpoint of this log with the cosignatures of a quorum
// of witnesses, which the caller has checked. Proof files carry the newest one.
func (l *Log) KeepWitnessed(cp proof.Checkpoint) error {
	l.mu.Lock()
	l.witnessed = cp
	l.mu.Unlock()
	l.announce()
	if err := disk.Replace(l.disk, "witnessed", cp.Note); err != nil {
		return disk.Fault("keep the witnessed checkpoint", err)
	}
	return nil
}

// Witnessed returns the newest checkpoint that was kept with the cosignatures of
// a quorum; its size is 0 while there is none.
func (l *Log) Witnessed() proof.Checkpoint {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.witnessed
}

// Halt stops the log for good, for a reason from outside: a witness holds another
// history under the log's own signature, say. Nothing is taken from then on.
func (l *Log) Halt(why error) { l.stop(why) }

// checkWitnessed holds the directory against the last checkpoint that witnesses
// cosigned: not even the tail that only this machine vouches for may fall short
// of it.
func (l *Log) checkWitnessed() error {
	note, err := disk.Read(l.disk, "witnessed", proof.MaxNote)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return disk.Fault("read witnessed", err)
	}
	cp, err := proof.OpenSigned(note, l.signer.Key())
	if err != nil {
		return fmt.Errorf("the file witnessed: %w", err)
	}
	root, err := l.tree.rootAt(min(cp.Size, l.tree.size()))
	if err != nil {
		return fmt.Errorf("hold the log against the witnessed checkpoint: %w", err)
	}
	if cp.Size > l.tree.size() || root != cp.Root {
		return &pavise.Error{
			Kind: pavise.Unverified,
			Msg:  fmt.Sprintf("the log is not the one that witnesses have seen with %d records: it was cut, changed or rolled back", cp.Size),
			Hint: "restore the newest backup",
		}
	}
	l.witnessed = cp
	return nil
}

// AwaitPublished returns once the checkpoint in the directory covers more than
// size records. It fails with the context's error, with the disk's while nothing
// can be published, and with kind Unavailable when the log stops or closes.
func (l *Log) AwaitPublished(ctx context.Context, size uint64) error {
	for {
		l.mu.Lock()
		grew, published, closed, stopped := l.grew, l.published, l.closed, l.stopped
		l.mu.Unlock()
		switch {
		case published.Size > size:
			return nil
		case stopped != nil:
			return stopped
		case published.err != nil:
			return disk.Fault("publish the checkpoint", published.err)
		case closed:
			return &pavise.Error{Kind: pavise.Unavailable, Msg: "the evidence log is closed"}
		}
		select {
		case <-grew:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
