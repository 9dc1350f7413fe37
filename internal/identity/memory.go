package identity

import (
	"crypto/sha256"
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// shards is how many parts the memory of verified proofs has.
	shards = 16
	// maxShare is how many proofs of one issuer or trust domain are remembered. It is
	// the issuer's own share: who has many tokens of one pushes nobody else's out.
	maxShare = 8192
)

// A digest is the SHA-256 of a token or of a certificate.
type digest = [sha256.Size]byte

// digestOf returns the digest of a token. The usual ones are hashed on the stack.
//
// Its room is no part of its caller's frame, and no larger than most tokens need: requests
// are verified deep down, and a stack that grows for it may have to wait with a stream.
//
//go:noinline
func digestOf(token string) digest {
	var short [512]byte
	return sha256.Sum256(append(short[:0], token...))
}

// A verified proof is remembered by its digest, so that the next request with it costs
// one hash. It holds no token; a few tokens are in the memory's recent ones.
type verified struct {
	Proof
	voucher  *voucher
	revision uint64 // of the voucher's ring that it was verified with
	begins   int64  // nanoseconds since 1970, with the leeway
	ends     int64  // nanoseconds since 1970, with the leeway
	// epoch is the revision of what was revoked that it was last held against. Whoever
	// holds it against a newer one stores that.
	epoch atomic.Uint64
}

// good reports whether the proof would be verified again now: it is in its time, and
// the voucher's keys are those that it was verified with and not too old.
func (k *verified) good(now time.Time) bool {
	at, ring := now.UnixNano(), k.voucher.ring.Load()
	return k.begins <= at && at < k.ends && ring.revision == k.revision && at < ring.until
}

// A memory holds verified proofs. What was refused is not remembered.
type memory struct {
	shards [shards]shard
	seed   maphash.Seed
	recent [recents]atomic.Pointer[recent]
}

const (
	// recents is how many tokens are found without SHA-256, which the profile showed to
	// be most of what a known token costs: those of callers who ask all the time.
	recents = 64
	// maxRecent is the length of the longest of them.
	maxRecent = 1 << 10
)

// A recent token was verified, and was the last one in its place. It is compared whole
// with what a caller sends, after its hash of 64 bits, whose seed nobody knows: so how long
// the comparison took tells a guesser nothing.
type recent struct {
	hash  uint64
	token string
	known *verified
}

// recall returns a recent token's proof, or nil, and where the token would stand.
func (m *memory) recall(token string) (known *verified, hash uint64) {
	if len(token) > maxRecent {
		return nil, 0
	}
	hash = maphash.String(m.seed, token)
	if r := m.recent[hash%recents].Load(); r != nil && r.hash == hash && r.token == token {
		return r.known, hash
	}
	return nil, hash
}

// note makes a token a recent one. Where another one stands that is still good it does so
// once in sixteen times: with more callers than places, most would only push each other out.
func (m *memory) note(token string, hash uint64, known *verified, now time.Time) {
	if len(token) > maxRecent {
		return
	}
	place := &m.recent[hash%recents]
	if r := place.Load(); r == nil || !r.known.good(now) || r.token == token || now.UnixNano()%16 == 0 {
		place.Store(&recent{hash, strings.Clone(token), known})
	}
}

// A shard is a part of a memory.
type shard struct {
	mu    sync.RWMutex // guards known
	known map[digest]*verified
}

// A share is one voucher's part of a memory, in the order in which proofs came.
type share struct {
	mu     sync.Mutex // guards what follows
	oldest int        // the place in kept that is overwritten next, once it is full
	kept   []digest   // at most maxShare
}

func (m *memory) start() {
	m.seed = maphash.MakeSeed()
	for i := range m.shards {
		m.shards[i].known = map[digest]*verified{}
	}
}

func (m *memory) get(sum digest) *verified {
	s := &m.shards[sum[0]%shards]
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.known[sum]
}

// put remembers a proof, and forgets the oldest one of its voucher when that has its
// share.
func (m *memory) put(sum digest, k *verified) {
	s := &m.shards[sum[0]%shards]
	s.mu.Lock()
	_, again := s.known[sum]
	s.known[sum] = k
	s.mu.Unlock()
	if again {
		return
	}
	if old, full := k.voucher.share.add(sum); full {
		s := &m.shards[old[0]%shards]
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.known, old)
	}
}

// add takes a place, and returns what had it.
func (s *share) add(sum digest) (old digest, full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.kept) < maxShare {
		s.kept = append(s.kept, sum)
		return old, false
	}
	old = s.kept[s.oldest]
	s.kept[s.oldest] = sum
	s.oldest = (s.oldest + 1) % maxShare
	return old, true
}
