package role

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/proof"
	"github.com/pavise/pavise/internal/witness"
)

// A watchers asks those members of the fleet to cosign a log whom the control plane
// names, and others when it names others.
type watchers struct {
	house  *house
	client func(id string) *http.Client // speaks to a member, and to nobody else

	mu     sync.Mutex // guards what follows
	policy string     // that is asked by now
	stop   func()     // ends the asking
	quorum *witness.Quorum
}

// follow asks the witnesses of a policy from now on. ctx is that of the asking.
func (w *watchers) follow(ctx context.Context, policy string, peers []peer) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if policy == w.policy {
		return nil
	}
	parsed, err := proof.ParsePolicy([]byte(policy))
	if err != nil {
		return err
	}
	quorum, err := witness.NewQuorum(w.house.log, parsed, w.house.now, func(at proof.Witness) witness.Witness {
		id := controlID
		for _, p := range peers {
			if p.URL == at.URL {
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

// witnessed says how many records a quorum has seen.
func (w *watchers) witnessed() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.quorum == nil {
		return 0
	}
	_, size, _ := w.quorum.Status()
	return size
}

// policyOf writes a policy that asks these witnesses, of which more than half must have
// cosigned. Each is known by the first of its keys that the policy's reader knows.
func policyOf(keys []string, urls []string) string {
	var text strings.Builder
	var names []string
	for i, key := range keys {
		name := fmt.Sprintf("w%d", i)
		fmt.Fprintf(&text, "witness %s %s %s\n", name, key, urls[i])
		names = append(names, name)
	}
	fmt.Fprintf(&text, "group all %d %s\nquorum all\n", len(names)/2+1, strings.Join(names, " "))
	return text.String()
}

// keysOf are the verifier keys of a log.
func keysOf(log *ledger.Log) (texts []string) {
	for _, key := range log.Keys() {
		texts = append(texts, key.String())
	}
	return texts
}
