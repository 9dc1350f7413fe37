package embedding

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"sync"
)

const (
	// planes cut the space into 2^planes buckets.
	planes  = 12
	buckets = 1 << planes
	// settled is after how many vectors the planes stand: each through the median of what
	// it has seen. Embeddings lie in a narrow cone (Ethayarajh, "How Contextual are
	// Contextualized Word Representations?", 2019), and planes through zero would put them
	// all into few buckets.
	settled = 256
	// maxCallers bounds the meter: half a kilobyte for each.
	maxCallers = 1 << 14
	// looked is how many callers are compared when one has to go.
	looked = 8
)

// A Meter tells how much of a model's space each caller has covered: in how many of the
// buckets that secret planes make they have a vector (Dubiński et al., "Bucks for
// Buckets", NeurIPS 2023). What they all have in common is small for who asks about their
// own matters, and grows for who copies the model. It is safe for concurrent use.
type Meter struct {
	plane []float32 // planes times MaxDim; never changes

	mu      sync.Mutex // guards what follows
	first   [][planes]float64
	cut     *[planes]float64 // where the planes stand; nil: not yet
	callers map[string]*cover
}

// A cover is the buckets of one caller.
type cover [buckets / 64]uint64

func (c *cover) count() (n int) {
	for _, word := range c {
		n += bits.OnesCount64(word)
	}
	return n
}

// NewMeter returns the meter of a model. The key draws its planes: who knew them could
// stay in few buckets.
func NewMeter(key [32]byte) *Meter {
	chance := stream(key, "planes", nil)
	m := &Meter{plane: make([]float32, planes*MaxDim), callers: map[string]*cover{}}
	for i := range m.plane {
		m.plane[i] = float32(normal(chance))
	}
	return m
}

// normal is a number of the standard normal distribution (Box and Muller, 1958).
func normal(chance *rand.ChaCha8) float64 {
	return math.Sqrt(-2*math.Log(1-unit(chance))) * math.Cos(2*math.Pi*unit(chance))
}

// See notes a vector that a caller got, and returns what share of all buckets they have
// covered, 0 to 1. It is 0 until the meter has seen enough to know where its planes
// stand. Models that give shorter vectors on request cut them off, so all sizes count as
// one. A vector that is not finite, or longer than MaxDim, changes nothing.
func (m *Meter) See(caller string, v []float64) float64 {
	at, ok := m.project(v)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cut == nil {
		if ok {
			m.learn(at)
		}
		return 0
	}
	c := m.cover(caller)
	if ok {
		bucket := 0
		for i, x := range at {
			if x > m.cut[i] {
				bucket |= 1 << i
			}
		}
		c[bucket/64] |= 1 << (bucket % 64)
	}
	return float64(c.count()) / buckets
}

// project returns where a vector lies along each plane's normal.
func (m *Meter) project(v []float64) (at [planes]float64, ok bool) {
	if len(v) == 0 || len(v) > MaxDim {
		return at, false
	}
	sum := 0.0
	for i := range at {
		plane := m.plane[i*MaxDim:][:len(v)]
		for j, w := range plane {
			at[i] += float64(w) * v[j]
		}
		sum += at[i]
	}
	return at, !math.IsNaN(sum) && !math.IsInf(sum, 0)
}

// learn notes one of the first vectors; the last of them sets the planes. The caller
// holds mu.
func (m *Meter) learn(at [planes]float64) {
	if m.first = append(m.first, at); len(m.first) < settled {
		return
	}
	m.cut = new([planes]float64)
	for i := range m.cut {
		var all []float64
		for _, at := range m.first {
			all = append(all, at[i])
		}
		slices.Sort(all)
		m.cut[i] = (all[(len(all)-1)/2] + all[len(all)/2]) / 2
	}
	m.first = nil
}

// cover returns the buckets of a caller. When there are too many callers, one of those
// who cover least goes: nobody is forgotten by sending many others. The caller holds mu.
func (m *Meter) cover(caller string) *cover {
	if c := m.callers[caller]; c != nil {
		return c
	}
	if len(m.callers) >= maxCallers {
		least, most, n := "", buckets+1, 0
		for name, c := range m.callers { // the language begins anywhere
			if count := c.count(); count < most {
				least, most = name, count
			}
			if n++; n == looked {
				break
			}
		}
		delete(m.callers, least)
	}
	c := new(cover)
	m.callers[caller] = c
	return c
}
