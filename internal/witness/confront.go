package witness

import (
	"context"
	"errors"
	"sync"

	"github.com/pavise/pavise"
)

// Confront asks all witnesses, before the log takes its first record, for the newest
// checkpoint that each has of it. If one holds what this log has signed and does not
// hold any more, the log stops, and the error, of kind Unverified, says so: a directory
// that was put back to an older state must not begin a second history. Witnesses that
// do not answer before ctx is done are passed over; whoever can keep all of them silent
// delays the discovery to their first word.
func (q *Quorum) Confront(ctx context.Context) error {
	var asked sync.WaitGroup
	for _, p := range q.peers {
		asked.Go(func() { q.missed(p, q.confront(ctx, p, nil)) })
	}
	asked.Wait()
	return errors.Unwrap(q.log.Stopped()) // what counts has stopped the log
}

// missed keeps why a peer told nothing, until it is asked to cosign. One that knows no
// checkpoint of this log yet has answered.
func (q *Quorum) missed(p *peer, err error) {
	if pavise.KindOf(err) != pavise.Unavailable {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range p.statuses {
		p.statuses[i].Problem = err.Error()
	}
}
