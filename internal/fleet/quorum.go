package fleet

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/proof"
	"github.com/pavise/pavise/internal/witness"
)

// Watchers ask those members of the fleet to cosign a log whom the control plane
// names, and others when it names others.
type Watchers struct {
	log    *ledger.Log
	now    func() time.Time
	client func(id string) *http.Client // speaks to a member, and to nobody else

	mu     sync.Mutex // guards what follows
	policy string     // that is asked by now
	stop   func()     // ends the asking
	quorum *witness.Quorum
}

// NewWatchers returns those of a log; nobody is asked yet. client speaks to a member of
// the fleet, and to nobody else.
func NewWatchers(log *ledger.Log, now func() time.Time, client func(id string) *http.Client) *Watchers {
	return &Watchers{log: log, now: now, client: client}
}

// Follow asks the witnesses of a policy from now on. ctx is that of the asking.
func (w *Watchers) Follow(ctx context.Context, policy string, peers []Peer) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if policy == w.policy {
		return nil
	}
	parsed, err := proof.ParsePolicy([]byte(policy))
	if err != nil {
		return err
	}
	quorum, err := witness.NewQuorum(w.log, parsed, w.now, func(at proof.Witness) witness.Witness {
		id := ControlID
		for _, p := range peers {
			if p.URL == at.URL && isOf(at.Key.Name(), p.ID) {
				id = p.ID
			}
		}
		return witness.NewClientOver(at.URL, w.client(id).Transport)
	})
	if err != nil {
		return err
	}
	if w.stop != nil {
		w.stop()
	}
	asking, stop := context.WithCancel(ctx)
	w.policy, w.stop, w.quorum = policy, stop, quorum
	go func() { _ = quorum.Run(asking) }() // ends with ctx
	return nil
}

// isOf reports whether a key is named as a machine's own: another may say that it
// answers at the same address.
func isOf(key, id string) bool { return strings.Contains(key, "/"+pavise.Node+"/"+id+"/") }

// Witnessed says how many records a quorum has seen.
func (w *Watchers) Witnessed() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.quorum == nil {
		return 0
	}
	_, size, _ := w.quorum.Status()
	return size
}

// PolicyOf writes a policy that asks these witnesses, of which more than half must have
// cosigned. Each is known by the first of its keys that the policy's reader knows. A key
// counts once: a member that gives another's out for its own spoils nothing.
func PolicyOf(keys []string, urls []string) string {
	var text strings.Builder
	var names []string
	var known []*proof.Key
	for i, spelled := range keys {
		key, err := proof.ParseKey(spelled)
		if err != nil || slices.ContainsFunc(known, key.Same) {
			continue
		}
		known = append(known, key)
		name := fmt.Sprintf("w%d", i)
		fmt.Fprintf(&text, "witness %s %s %s\n", name, spelled, urls[i])
		names = append(names, name)
	}
	fmt.Fprintf(&text, "group all %d %s\nquorum all\n", len(names)/2+1, strings.Join(names, " "))
	return text.String()
}

// KeysOf are the verifier keys of a log.
func KeysOf(log *ledger.Log) (texts []string) {
	for _, key := range log.Keys() {
		texts = append(texts, key.String())
	}
	return texts
}
