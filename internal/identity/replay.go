package identity

import (
	"crypto/sha256"
	"sync"
	"time"

	"github.com/pavise/pavise"
)

const (
	// DefaultReplays is how many used proofs of possession are remembered: about 30
	// bytes each, for the one to three minutes in which they could be used again.
	DefaultReplays = 1 << 19
	// A key may have an eighth of them, the callers of one name a quarter, and those of
	// one issuer half: nobody can use them up for all.
	keyShare, callerShare, issuerShare = 8, 4, 2
	// slotTime is how long a slot collects.
	slotTime = 16 * time.Second
)

// A use is the use of one proof, with who is charged for remembering it.
type use struct {
	proof  string // what tells it from every other one
	key    string // the thumbprint that signed it
	caller pavise.Name
	issuer string
}

// A payer is one of those who are charged for a use. Exactly one field is set.
type payer struct {
	key, issuer string
	caller      pavise.Name
}

// replays remembers the proofs that were used until they are too old to be used again.
// None is forgotten before that: when there is no room, a use is refused.
type replays struct {
	most int

	mu    sync.Mutex      // guards what follows
	slots map[int64]*slot // by when what they hold is too old
	used  int             // proofs in all slots
	owed  map[payer]int   // of them, by who is charged
}

// A slot holds the proofs that are too old at about the same time. The same proof
// always falls into the same slot, as its time is signed.
type slot struct {
	proofs map[[16]byte]struct{} // half of a SHA-256
	owed   map[payer]int
}

func newReplays(most int) *replays {
	if most <= 0 {
		most = DefaultReplays
	}
	return &replays{most: most, slots: map[int64]*slot{}, owed: map[payer]int{}}
}

// use remembers a proof until then, or refuses it: it was used before, or there is no
// room.
func (r *replays) use(now, until time.Time, u use) error {
	sum := sha256.Sum256([]byte(u.proof))
	id := [16]byte(sum[:16])
	place := until.UnixNano() / int64(slotTime)
	payers := [...]payer{{key: u.key}, {caller: u.caller}, {issuer: u.issuer}}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget(now.UnixNano() / int64(slotTime))
	s := r.slots[place]
	if s != nil {
		if _, again := s.proofs[id]; again {
			return refuse(Replayed)
		}
	}
	if r.used >= r.most {
		return refuse(ProofsFull)
	}
	for i, share := range [...]int{keyShare, callerShare, issuerShare} {
		if r.owed[payers[i]] >= max(1, r.most/share) {
			return &pavise.Error{Kind: pavise.Throttled, Msg: "too many of your DPoP proofs are in use", Hint: "send fewer requests within a minute", Err: &Refusal{Reason: ProofsFull}}
		}
	}
	if s == nil {
		s = &slot{proofs: map[[16]byte]struct{}{}, owed: map[payer]int{}}
		r.slots[place] = s
	}
	s.proofs[id] = struct{}{}
	r.used++
	for _, p := range payers {
		s.owed[p]++
		r.owed[p]++
	}
	return nil
}

// forget drops the slots whose proofs are all too old. The caller holds mu.
func (r *replays) forget(now int64) {
	for place, s := range r.slots { // a dozen at most
		if place >= now {
			continue
		}
		r.used -= len(s.proofs)
		for p, n := range s.owed {
			if r.owed[p] -= n; r.owed[p] == 0 {
				delete(r.owed, p)
			}
		}
		delete(r.slots, place)
	}
}
