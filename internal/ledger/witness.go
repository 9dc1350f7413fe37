package ledger

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/disk"
	"github.com/pavise/pavise/internal/proof"
)

const (
	// askWithin bounds one round of asking the witnesses.
	askWithin = 10 * time.Second
	// askEvery is the least time between two rounds, unless somebody waits.
	askEvery = 5 * time.Second
)

// A Witness is somebody elsewhere who keeps an eye on this log: it cosigns a
// checkpoint only if the tree continues every one that it cosigned before. Its
// methods may be called at the same time.
type Witness interface {
	// Cosign shows a checkpoint, with the proof that its tree continues that of old
	// records, and returns signature lines. If the witness has last cosigned another
	// size, the error has a *Seen in its chain; if the proof does not hold, it is
	// of kind Unverified.
	Cosign(ctx context.Context, old uint64, path tlog.TreeProof, checkpoint []byte) (lines []byte, err error)
	// Latest returns the newest checkpoint of the named log that the witness has.
	// The error is of kind NotFound if there is none.
	Latest(ctx context.Context, origin string) ([]byte, error)
}

// Seen is the error of a witness that has last cosigned another size.
type Seen struct{ Size uint64 }

// Error says which.
func (s *Seen) Error() string { return fmt.Sprintf("the witness has seen %d records", s.Size) }

// A WitnessStatus is how one witness fares.
type WitnessStatus struct {
	Name    string        // in the policy
	Key     *proof.Key    // its public key
	Counts  bool          // it is no witness in its own cause
	Size    uint64        // records under the newest checkpoint it has cosigned
	At      time.Time     // when it did, by its own clock
	Skew    time.Duration // how far its clock was ahead of ours then; seconds count
	Problem string        // why it cosigned nothing the last time it was asked
}

// witnesses are those who are asked to cosign. A nil *witnesses asks nobody.
type witnesses struct {
	policy *proof.Policy
	log    *proof.Key
	peers  []*peer
	newer  chan struct{} // capacity 1: there is a newer checkpoint
	hurry  chan struct{} // capacity 1: somebody waits for it

	mu       sync.Mutex // guards what follows, and the state of peers
	newest   proof.Checkpoint
	at       time.Time     // when the quorum for newest had come together
	progress chan struct{} // closed when newest changes, or the log closes
}

// A peer is a witness behind one address, with one key or several.
type peer struct {
	Witness
	url  string
	keys []WitnessStatus
	size uint64 // that it has last cosigned, as far as we know; owned by its round
}

// newWitnesses prepares to ask the witnesses of a policy. A policy that can never
// be met is refused.
func newWitnesses(log *proof.Key, opts Options) (*witnesses, error) {
	if opts.Policy == nil || !opts.Policy.Asks() || opts.Witnesses == nil {
		return nil, nil
	}
	if err := opts.Policy.Reachable(log); err != nil {
		return nil, err
	}
	w := &witnesses{policy: opts.Policy, log: log, newer: make(chan struct{}, 1), hurry: make(chan struct{}, 1), progress: make(chan struct{})}
	for _, named := range opts.Policy.Witnesses {
		status := WitnessStatus{Name: named.Name, Key: named.Key, Counts: proof.Independent(log, named.Key)}
		if named.URL == "" {
			return nil, &pavise.Error{
				Kind: pavise.Invalid, Msg: fmt.Sprintf("the witness policy gives witness %s no address", named.Name),
				Hint: "to be asked, a witness needs its submission prefix behind its key",
			}
		}
		if i := slices.IndexFunc(w.peers, func(p *peer) bool { return p.url == named.URL }); i >= 0 {
			w.peers[i].keys = append(w.peers[i].keys, status)
			continue
		}
		w.peers = append(w.peers, &peer{Witness: opts.Witnesses(named), url: named.URL, keys: []WitnessStatus{status}})
	}
	return w, nil
}

// wake says that there is a newer checkpoint.
func (w *witnesses) wake() {
	if w != nil {
		wake(w.newer)
	}
}

// start begins to ask.
func (w *witnesses) start(l *Log) {
	if w == nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() { // ends with the log
		<-l.closing
		cancel()
	}()
	l.done.Go(func() {
		defer w.announce()
		for next := time.Now(); w.due(ctx, next); next = time.Now().Add(askEvery) {
			w.round(ctx, l)
		}
	})
	w.wake()
}

// due waits until there is something to ask: at once when somebody waits for it,
// else not before the time is up. It is false when the log closes.
func (w *witnesses) due(ctx context.Context, next time.Time) bool {
	select {
	case <-w.hurry:
		return true
	case <-w.newer:
	case <-ctx.Done():
		return false
	}
	select {
	case <-w.hurry:
	case <-time.After(time.Until(next)):
	case <-ctx.Done():
		return false
	}
	return true
}

// announce wakes who waits.
func (w *witnesses) announce() {
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.progress)
	w.progress = make(chan struct{})
}

// An answer is what came of asking one peer.
type answer struct {
	peer  *peer
	lines []byte
	sigs  []proof.Signature
	err   error
}

// round shows the published checkpoint to every witness at once. It counts as
// witnessed as soon as those who have answered are a quorum.
func (w *witnesses) round(ctx context.Context, l *Log) {
	l.mu.Lock()
	target := l.published.Checkpoint
	l.mu.Unlock()
	if target.Size == 0 || target.Size == w.newestSize() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	answers := make(chan answer, len(w.peers))
	for _, p := range w.peers {
		go func() { answers <- w.ask(ctx, l, p, target) }()
	}
	var sigs []proof.Signature
	for range w.peers {
		a := <-answers
		w.note(a, target, l.now())
		if a.err != nil {
			continue
		}
		sigs = append(sigs, a.sigs...)
		target.Note = append(slices.Clip(target.Note), a.lines...)
		if at, ok := w.policy.Satisfied(w.log, sigs); ok {
			w.accept(l, target, at)
		}
	}
}

func (w *witnesses) newestSize() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.newest.Size
}

// note keeps how a peer fared.
func (w *witnesses) note(a answer, target proof.Checkpoint, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range a.peer.keys {
		k := &a.peer.keys[i]
		k.Problem = ""
		if a.err != nil {
			k.Problem = a.err.Error()
			continue
		}
		at := slices.IndexFunc(a.sigs, func(s proof.Signature) bool { return s.Key == k.Key })
		if at < 0 {
			k.Problem = "it did not sign with this key"
			continue
		}
		k.Size, k.At = target.Size, a.sigs[at].At
		k.Skew = k.At.Sub(now).Truncate(time.Second)
	}
}

// accept makes a checkpoint with a quorum of cosignatures the newest. The file is
// for who reads the directory; that it cannot be written holds nobody up.
func (w *witnesses) accept(l *Log, cp proof.Checkpoint, at time.Time) {
	_ = disk.Replace(l.disk, "witnessed", cp.Note)
	w.mu.Lock()
	w.newest, w.at = cp, at
	w.mu.Unlock()
	w.announce()
}

// ask shows a checkpoint to one peer. When the peer has last seen another tree
// than we thought, it is asked again with the proof from that one.
func (w *witnesses) ask(ctx context.Context, l *Log, p *peer, target proof.Checkpoint) answer {
	a := answer{peer: p}
	for range 3 {
		var path tlog.TreeProof
		if path, a.err = l.tree.proveTree(p.size, target.Size); a.err != nil {
			return a
		}
		a.lines, a.err = p.Cosign(ctx, p.size, path, target.Note)
		if seen, ok := errors.AsType[*Seen](a.err); ok {
			if seen.Size <= target.Size {
				p.size = seen.Size
				continue
			}
			a.err = w.confront(ctx, l, p, seen.Size)
			return a
		}
		break
	}
	if pavise.KindOf(a.err) == pavise.Unverified {
		a.err = errors.Join(a.err, w.confront(ctx, l, p, 0))
	}
	if a.err != nil {
		return a
	}
	p.size = target.Size
	a.sigs, a.err = p.check(w.log, target, a.lines)
	return a
}

// check returns the signatures that a peer made of a checkpoint.
func (p *peer) check(log *proof.Key, target proof.Checkpoint, lines []byte) ([]proof.Signature, error) {
	known := []*proof.Key{log}
	for _, k := range p.keys {
		known = append(known, k.Key)
	}
	_, sigs, err := proof.Open(append(slices.Clip(target.Note), lines...), known...)
	sigs = slices.DeleteFunc(sigs, func(s proof.Signature) bool { return s.Key == log })
	if err == nil && len(sigs) == 0 {
		err = &pavise.Error{Kind: pavise.Unverified, Msg: "it signed with none of its keys in the policy", Hint: "compare the key in the policy with what the witness prints"}
	}
	return sigs, err
}

// confront asks a peer that does not take our tree for the one it has seen. If
// that bears our own signature, the log was rolled back or has two histories, and
// stops: whatever it would write now, somebody could hold the other against it.
func (w *witnesses) confront(ctx context.Context, l *Log, p *peer, size uint64) error {
	claim := &pavise.Error{Kind: pavise.Unverified, Msg: fmt.Sprintf("it claims to have seen %d records, more than there are, and shows nothing for it", size)}
	if size == 0 {
		claim.Msg = "it does not take our tree for a continuation of the one it has seen"
	}
	note, err := p.Latest(ctx, l.Origin())
	if err != nil {
		return errors.Join(claim, err)
	}
	seen, err := proof.OpenSigned(note, l.signer.Key())
	if err != nil {
		return errors.Join(claim, err)
	}
	why := ""
	if head := l.Head(); seen.Size > head.Size {
		why = fmt.Sprintf("it was rolled back: witness %s holds its signed checkpoint of %d records, and %d are here", p.keys[0].Name, seen.Size, head.Size)
	} else if root, err := l.tree.rootAt(seen.Size); err == nil && root != seen.Root {
		why = fmt.Sprintf("it has two histories: witness %s holds its signed checkpoint of %d records with another root", p.keys[0].Name, seen.Size)
	} else {
		return cmp.Or(err, error(claim))
	}
	l.stop(&pavise.Error{Kind: pavise.Unverified, Msg: why, Hint: "restore the newest backup; if there is none, begin a new log, and keep both checkpoints"})
	return errors.New(why)
}

// checkWitnessed holds the directory against the last checkpoint that witnesses
// cosigned, which outlives what only this machine vouches for.
func (l *Log) checkWitnessed() error {
	text, err := disk.Read(l.disk, "witnessed", proof.MaxNote)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return disk.Fault("read witnessed", err)
	}
	known := []*proof.Key{l.signer.Key()}
	if l.witnesses != nil {
		known = append(known, l.witnesses.policy.Keys()...)
	}
	cp, sigs, err := proof.Open(text, known...)
	if err != nil {
		return fmt.Errorf("the file witnessed: %w", err)
	}
	root, err := l.tree.rootAt(min(cp.Size, l.tree.size()))
	if err != nil {
		return fmt.Errorf("hold the log against the witnessed checkpoint: %w", err)
	}
	if cp.Origin != l.Origin() || cp.Size > l.tree.size() || root != cp.Root {
		return &pavise.Error{
			Kind: pavise.Unverified,
			Msg:  fmt.Sprintf("the log is not the one that witnesses have seen with %d records: it was cut, changed or rolled back", cp.Size),
			Hint: "restore the newest backup",
		}
	}
	if l.witnesses == nil {
		return nil
	}
	if at, ok := l.witnesses.policy.Satisfied(l.signer.Key(), sigs); ok {
		l.witnesses.newest, l.witnesses.at = cp, at
	}
	return nil
}

// status returns how the witnesses fare, and what a quorum of them has seen when.
func (w *witnesses) status() (all []WitnessStatus, size uint64, at time.Time) {
	if w == nil {
		return nil, 0, time.Time{}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.peers {
		all = append(all, p.keys...)
	}
	return all, w.newest.Size, w.at
}

// Witnessed returns the newest checkpoint that a quorum of independent witnesses
// has cosigned, with their signatures, and when the quorum had come together. It
// is false while there is none.
func (l *Log) Witnessed() (cp proof.Checkpoint, at time.Time, ok bool) {
	if l.witnesses == nil {
		return cp, at, false
	}
	l.witnesses.mu.Lock()
	defer l.witnesses.mu.Unlock()
	return l.witnesses.newest, l.witnesses.at, l.witnesses.newest.Size > 0
}

// AwaitWitnesses returns once a quorum of witnesses has cosigned a checkpoint that
// covers the record. The error is of kind Invalid when no witness is asked, and
// of kind Unavailable when the context ends before; the record stays in the log.
func (l *Log) AwaitWitnesses(ctx context.Context, index uint64) error {
	w := l.witnesses
	if w == nil {
		return &pavise.Error{Kind: pavise.Invalid, Msg: "this log asks no witnesses", Hint: "start pavise with --witness-policy FILE"}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.newest.Size <= index {
		progress := w.progress
		w.mu.Unlock()
		wake(w.hurry)
		err := l.await(ctx, progress)
		w.mu.Lock()
		if err != nil {
			return err
		}
	}
	return nil
}

// await waits for the witnesses' next word, and asks again after a while.
func (l *Log) await(ctx context.Context, progress <-chan struct{}) error {
	select {
	case <-progress:
	case <-time.After(publishEvery):
	case <-l.closing:
		return &pavise.Error{Kind: pavise.Unavailable, Msg: "the evidence log is closed"}
	case <-ctx.Done():
		return &pavise.Error{
			Kind: pavise.Unavailable, Msg: "no quorum of witnesses has cosigned in time",
			Hint: "pavise ledger status says how each witness fares", Err: ctx.Err(),
		}
	}
	return l.stoppedErr()
}
