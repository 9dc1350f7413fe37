package witness

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/proof"
)

const (
	// askWithin bounds one round of asking.
	askWithin = 10 * time.Second
	// lateBy is how long the others have once a quorum has answered: a round does not
	// hang on a witness that it does not need.
	lateBy = 3 * time.Second
	// askEvery is the least time between two rounds, unless somebody waits.
	askEvery = 5 * time.Second
	// beatEvery is how often the witnesses are asked about a log that a quorum of
	// them has seen all of: their newest word says that it was not rolled back since.
	beatEvery = 10 * time.Minute
	// lookEvery is how often somebody who waits has the witnesses asked again.
	lookEvery = 100 * time.Millisecond
)

// A Witness is somebody elsewhere who watches a log. Its methods may be called at
// the same time.
type Witness interface {
	// Cosign shows a checkpoint, with the proof that its tree continues that of old
	// records, and returns signature lines. If the witness has last cosigned another
	// size, the error has a *Seen in its chain; if it does not take the tree for a
	// continuation, it is of kind Unverified.
	Cosign(ctx context.Context, old uint64, path tlog.TreeProof, checkpoint []byte) (lines []byte, err error)
	// Latest returns the newest checkpoint of the named log that the witness has.
	// The error is of kind NotFound if there is none.
	Latest(ctx context.Context, origin string) ([]byte, error)
}

// Seen is the error of a witness that has last cosigned another size.
type Seen struct{ Size uint64 }

// Error says which.
func (s *Seen) Error() string { return fmt.Sprintf("the witness has seen %d records", s.Size) }

// A Status is how one witness fares.
type Status struct {
	Name      string        `json:"name"`              // in the policy
	Key       string        `json:"key"`               // its verifier key
	Algorithm string        `json:"algorithm"`         // how the key signs
	URL       string        `json:"url"`               // where it is asked
	Counts    bool          `json:"counts"`            // it is no witness in its own cause
	Size      uint64        `json:"size"`              // records under the newest checkpoint it has cosigned
	At        time.Time     `json:"at,omitzero"`       // when it did, by its own clock
	Skew      time.Duration `json:"skew_ns,omitempty"` // how far its clock was ahead of ours then; seconds count
	Problem   string        `json:"problem,omitempty"` // why it cosigned nothing the last time it was asked
}

// A Quorum asks the witnesses of a policy to cosign a log's checkpoints. Its
// methods may be called from any goroutine.
type Quorum struct {
	log    *ledger.Log
	policy *proof.Policy
	now    func() time.Time
	peers  []*peer
	hurry  chan struct{} // capacity 1: somebody waits

	mu       sync.Mutex    // guards what follows, and the statuses of peers
	size     uint64        // records under the newest checkpoint that a quorum has cosigned
	at       time.Time     // when that quorum had come together
	progress chan struct{} // closed when size grows
}

// A peer is a witness behind one address, with one key or several.
type peer struct {
	Witness
	keys     []*proof.Key
	statuses []Status // of each key
	size     uint64   // that it has last cosigned, as far as we know; owned by its round
}

// NewQuorum returns a quorum for a log. The client leads to a witness; nil means
// over HTTP. The error is of kind Invalid when the policy asks for no quorum, when
// independent witnesses can never make one, or when one has no address.
func NewQuorum(log *ledger.Log, policy *proof.Policy, now func() time.Time, client func(proof.Witness) Witness) (*Quorum, error) {
	if !policy.Asks() {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: "the witness policy asks for no cosignature: its quorum is none", Hint: "end it with: quorum NAME"}
	}
	if err := policy.Reachable(log.Keys()); err != nil {
		return nil, err
	}
	if client == nil {
		client = func(w proof.Witness) Witness { return NewClient(w.URL) }
	}
	q := &Quorum{log: log, policy: policy, now: now, hurry: make(chan struct{}, 1), progress: make(chan struct{})}
	for _, w := range policy.Witnesses {
		if w.URL == "" {
			return nil, &pavise.Error{
				Kind: pavise.Invalid, Msg: fmt.Sprintf("the witness policy gives witness %s no address", w.Name),
				Hint: "to be asked, a witness needs its submission prefix behind its key",
			}
		}
		q.add(w, client)
	}
	q.resume()
	return q, nil
}

// add takes a witness of the policy in. Keys at one address belong to one peer.
func (q *Quorum) add(w proof.Witness, client func(proof.Witness) Witness) {
	i := slices.IndexFunc(q.peers, func(p *peer) bool { return p.statuses[0].URL == w.URL })
	if i < 0 {
		i = len(q.peers)
		q.peers = append(q.peers, &peer{Witness: client(w)})
	}
	p := q.peers[i]
	p.keys = append(p.keys, w.Key)
	p.statuses = append(p.statuses, Status{
		Name: w.Name, Key: w.Key.String(), Algorithm: w.Key.Algorithm().String(), URL: w.URL,
		Counts: q.policy.Counts(q.log.Keys(), w.Key),
	})
}

// resume takes up the checkpoint that the last process kept.
func (q *Quorum) resume() {
	kept := q.log.Witnessed()
	if kept.Size == 0 {
		return
	}
	_, sigs, err := proof.Open(kept.Note, append(q.policy.Keys(), q.log.Keys()...)...)
	if err != nil {
		return // another policy's: there is nothing to take up
	}
	if at, ok := q.policy.Satisfied(q.log.Keys(), sigs); ok {
		q.size, q.at = kept.Size, at
	}
}

// Run asks until ctx is done. Its caller owns the goroutine.
func (q *Quorum) Run(ctx context.Context) error {
	for {
		last := time.Now()
		q.round(ctx)
		if !q.due(ctx, last) {
			return nil
		}
	}
}

// due waits until there is something to ask: at once when somebody waits for it,
// else when the log holds what no quorum has seen and some time has passed, or after
// a long time. It is false when ctx is done.
func (q *Quorum) due(ctx context.Context, last time.Time) bool {
	_, seen, _ := q.Status()
	beat, cancel := context.WithDeadline(ctx, last.Add(beatEvery))
	defer cancel()
	grown := make(chan struct{})
	go func() {
		defer close(grown)
		if q.log.AwaitPublished(beat, seen) != nil {
			<-beat.Done() // it cannot publish, or is closed
		}
	}()
	select {
	case <-q.hurry:
		return ctx.Err() == nil
	case <-grown:
	}
	select {
	case <-q.hurry:
	case <-time.After(time.Until(last.Add(askEvery))):
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// An answer is what came of asking one peer.
type answer struct {
	peer  *peer
	lines []byte
	sigs  []proof.Signature
	err   error
}

// round shows the published checkpoint to every witness at once. It counts as
// witnessed as soon as those who have answered are a quorum; the others then have a
// moment more.
func (q *Quorum) round(ctx context.Context) {
	target := q.log.Published()
	if target.Size == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	answers := make(chan answer, len(q.peers))
	for _, p := range q.peers {
		go func() { answers <- q.ask(ctx, p, target) }()
	}
	var sigs []proof.Signature
	witnessed := target
	for range q.peers {
		a := <-answers
		q.note(a, target)
		if a.err != nil {
			continue
		}
		sigs = append(sigs, a.sigs...)
		witnessed.Note = append(slices.Clip(witnessed.Note), a.lines...)
		if at, ok := q.policy.Satisfied(q.log.Keys(), sigs); ok {
			q.accept(witnessed, at)
			time.AfterFunc(lateBy, cancel)
		}
	}
}

// note keeps how a peer fared.
func (q *Quorum) note(a answer, target proof.Checkpoint) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, key := range a.peer.keys {
		s := &a.peer.statuses[i]
		s.Problem = ""
		at := slices.IndexFunc(a.sigs, func(sig proof.Signature) bool { return sig.Key == key })
		switch {
		case a.err != nil:
			s.Problem = a.err.Error()
		case at < 0:
			s.Problem = "it did not sign with this key"
		case s.Size != target.Size || !s.At.Equal(a.sigs[at].At): // else it is the signature we had: its time is past
			s.Size, s.At = target.Size, a.sigs[at].At
			s.Skew = s.At.Sub(q.now()).Truncate(time.Second)
		}
	}
}

// accept keeps a checkpoint with a quorum of cosignatures. That the file cannot be
// written holds nobody up: the log has it in memory.
func (q *Quorum) accept(cp proof.Checkpoint, at time.Time) {
	_ = q.log.KeepWitnessed(cp)
	q.mu.Lock()
	defer q.mu.Unlock()
	if cp.Size > q.size {
		close(q.progress)
		q.progress = make(chan struct{})
	}
	q.size, q.at = cp.Size, at
}

// ask shows a checkpoint to one peer. When the peer has last seen another tree
// than we thought, it is asked again with the proof from that one.
func (q *Quorum) ask(ctx context.Context, p *peer, target proof.Checkpoint) answer {
	a := answer{peer: p}
	for range 3 {
		var path tlog.TreeProof
		if path, a.err = q.log.Consistency(p.size, target.Size); a.err != nil {
			return a
		}
		var lines []byte
		lines, a.err = p.Cosign(ctx, p.size, path, target.Note)
		if a.err == nil {
			p.size = target.Size
			a.sigs, a.lines, a.err = q.check(p, target, lines)
			return a
		}
		seen, stale := errors.AsType[*Seen](a.err)
		if stale && seen.Size <= target.Size {
			p.size = seen.Size
			continue
		}
		if stale || pavise.KindOf(a.err) == pavise.Unverified {
			a.err = q.confront(ctx, p, a.err)
		}
		break
	}
	return a
}

// check returns the signatures that a peer made of a checkpoint, and the lines that
// hold them. Whatever else it wrote is left out: a line in another's name would spoil
// the checkpoint for everybody who knows that name.
func (q *Quorum) check(p *peer, target proof.Checkpoint, answered []byte) (sigs []proof.Signature, lines []byte, err error) {
	signed := append(slices.Clip(target.Note), answered...)
	_, all, err := proof.Open(signed, p.keys...)
	if err != nil {
		return nil, nil, &pavise.Error{Kind: pavise.Unverified, Msg: "it signed with none of its keys in the policy", Hint: "compare the key in the policy with what the witness prints", Err: err}
	}
	n, err := opened(signed, p.keys)
	if err != nil {
		return nil, nil, err
	}
	for i, sig := range all {
		if !sig.At.IsZero() {
			sigs = append(sigs, sig)
			lines = append(lines, "— "+n.Sigs[i].Name+" "+n.Sigs[i].Base64+"\n"...)
		}
	}
	if len(sigs) == 0 {
		return nil, nil, &pavise.Error{Kind: pavise.Unverified, Msg: "it cosigned as of no time", Hint: "a witness says when it has seen a tree: is the address that of one?"}
	}
	return sigs, lines, nil
}

// confront asks a peer that does not take our tree for the one it has seen. If
// that bears our own signature, the log was rolled back or has two histories, and
// stops: whatever it would write now, somebody could hold the other against it.
func (q *Quorum) confront(ctx context.Context, p *peer, claim error) error {
	note, err := p.Latest(ctx, q.log.Origin())
	if err != nil {
		return errors.Join(claim, err)
	}
	seen, err := proof.OpenSigned(note, q.log.Keys()[0])
	if err != nil {
		return errors.Join(claim, err)
	}
	name, why := p.statuses[0].Name, ""
	if head := q.log.Head(); seen.Size > head.Size {
		why = fmt.Sprintf("this log was rolled back: witness %s holds its signed checkpoint of %d records, and %d are here", name, seen.Size, head.Size)
	} else if root, err := q.log.RootAt(seen.Size); err != nil {
		return errors.Join(claim, err)
	} else if root != seen.Root {
		why = fmt.Sprintf("this log has two histories: witness %s holds its signed checkpoint of %d records with another root", name, seen.Size)
	} else {
		return claim
	}
	halt := &pavise.Error{Kind: pavise.Unverified, Msg: why, Hint: "restore the newest backup; if there is none, begin a new installation with another --data, and keep both checkpoints"}
	q.log.Halt(halt)
	return halt
}

// Status returns how each witness fares, and how many records a quorum of them has
// seen by when.
func (q *Quorum) Status() (all []Status, size uint64, at time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, p := range q.peers {
		all = append(all, p.statuses...)
	}
	return all, q.size, q.at
}

// Await returns once a quorum of witnesses has cosigned a checkpoint that covers
// the record. The error is of kind Unavailable when the context ends before; the
// record stays in the log.
func (q *Quorum) Await(ctx context.Context, index uint64) error {
	for {
		q.mu.Lock()
		size, progress := q.size, q.progress
		q.mu.Unlock()
		if size > index {
			return nil
		}
		if q.log.Published().Size > index { // else there is nothing to show yet
			select {
			case q.hurry <- struct{}{}:
			default:
			}
		}
		select {
		case <-progress:
		case <-time.After(lookEvery):
		case <-ctx.Done():
			return &pavise.Error{
				Kind: pavise.Unavailable, Msg: fmt.Sprintf("no quorum of witnesses has cosigned record %d in time", index),
				Hint: "pavise ledger status says how each witness fares", Err: ctx.Err(),
			}
		}
	}
}
