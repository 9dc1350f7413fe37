package tier

import (
	"cmp"
	"container/list"
	"hash/maphash"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/store"
	"github.com/pavise/pavise/internal/sybil"
	"github.com/pavise/pavise/internal/theft"
)

const (
	// maxStandings bounds those who are not green. Of more, the ones that were amber
	// longest without a new sighting are let go, counted and told.
	maxStandings = 1 << 16
	shardCount   = 256
	// AmberTime is how long a caller stays amber after the last sighting, unless told
	// otherwise. Time in which nothing ran does not count.
	AmberTime = 24 * time.Hour
)

// A Book says who stands how at which model. It is safe for concurrent use.
type Book struct {
	db    *store.DB
	now   func() time.Time // for people, and to count the time in which nothing ran
	amber time.Duration
	most  int
	facts func(pavise.Name) sybil.Facts // nil: nothing is known
	// crowds are those of the models that are looked at, for readers who wait for nobody;
	// replaced whole under watch.
	crowds atomic.Pointer[map[pavise.Name]*sybil.Crowd]
	clock  clock
	seed   maphash.Seed

	count  atomic.Int64 // of entries
	shards [shardCount]atomic.Pointer[map[key]*entry]

	saving sync.Mutex // held over every write to the store; taken before watch, and that before mu

	mu      sync.Mutex   // held by whoever changes entries
	order   *list.List   // of key: those of the detector alone, the longest unseen first; guarded by mu
	pushed  uint64       // of those let go for want of room; guarded by mu
	unsaved map[key]bool // entries that the store has otherwise; guarded by mu

	watching
	blind unseen // what detectors did not see
}

// A key is one caller at one model.
type key struct{ model, who pavise.Name }

// An entry is what is known of a caller who is not green. Readers see it without a lock,
// so it is never changed, but for place.
type entry struct {
	key
	word  *word         // an operator's, which counts while it lasts
	seen  *seen         // the detector's
	place *list.Element // in Book.order, guarded by Book.mu; nil: it has a word
}

// A word is a Word that was given.
type word struct {
	tier   Tier
	since  time.Time
	ends   instant // of the clock of people; 0: never
	by     pavise.Name
	reason string
}

// A seen is a sighting, and how long it counts.
type seen struct {
	sighting theft.Sighting
	since    time.Time // of the first one without a gap
	ends     instant   // of the clock of the detector
}

// holds is what counts of an entry: the word, else the sighting, else neither.
func (e *entry) holds(c *clock) (*word, *seen) {
	ran := c.ran()
	if e.word != nil && (e.word.ends == 0 || c.passed(ran) < e.word.ends) {
		return e.word, nil
	}
	if e.seen != nil && ran < e.seen.ends {
		return nil, e.seen
	}
	return nil, nil
}

// Of returns how a caller stands at a model. It takes nanoseconds while everybody is
// green, and never waits.
func (b *Book) Of(model, who pavise.Name) Tier {
	if b.count.Load() == 0 {
		return Green
	}
	e := b.find(key{model, who})
	if e == nil {
		return Green
	}
	switch w, s := e.holds(&b.clock); {
	case w != nil:
		return w.tier
	case s != nil:
		return Amber
	}
	return Green
}

// Get returns a caller's standing at a model; ok is false when nothing is known, which is
// green.
func (b *Book) Get(model, who pavise.Name) (s Standing, ok bool) {
	if e := b.find(key{model, who}); e != nil {
		return b.standing(e)
	}
	return Standing{Model: model, Who: who}, false
}

// List returns the standings that a filter picks, the strictest first, then by model and
// caller.
func (b *Book) List(f Filter) []Standing {
	var all []Standing
	for i := range b.shards {
		m := b.shards[i].Load()
		if m == nil {
			continue
		}
		for k, e := range *m {
			if !f.picks(k) {
				continue
			}
			if s, ok := b.standing(e); ok {
				all = append(all, s)
			}
		}
	}
	slices.SortFunc(all, func(x, y Standing) int {
		return cmp.Or(cmp.Compare(y.Tier, x.Tier), cmp.Compare(x.Model.String(), y.Model.String()), cmp.Compare(x.Who.String(), y.Who.String()))
	})
	return all
}

// Pushed is how many standings were let go because there was no room for more.
func (b *Book) Pushed() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.pushed
}

// standing says an entry for people; ok is false when it has ended.
func (b *Book) standing(e *entry) (s Standing, ok bool) {
	s = Standing{Model: e.model, Who: e.who}
	if e.seen != nil {
		sighting := e.seen.sighting
		s.Evidence = &sighting
	}
	switch w, found := e.holds(&b.clock); {
	case w != nil:
		s.Tier, s.Since, s.By, s.Reason = w.tier, w.since, w.by, w.reason
		if w.ends != 0 {
			s.Until = b.until(time.Duration(w.ends - b.clock.passed(b.clock.ran())))
		}
	case found != nil:
		s.Tier, s.Since, s.Until = Amber, found.since, b.until(time.Duration(found.ends-b.clock.ran()))
	default:
		return s, false
	}
	return s, true
}

func (b *Book) until(left time.Duration) time.Time {
	return b.now().UTC().Add(left).Round(time.Second)
}

// shard is where a key's entry is.
func (b *Book) shard(k key) *atomic.Pointer[map[key]*entry] {
	return &b.shards[maphash.Comparable(b.seed, k)%shardCount]
}

func (b *Book) find(k key) *entry {
	if m := b.shard(k).Load(); m != nil {
		return (*m)[k]
	}
	return nil
}

// put puts an entry in the place of the one that was there; one that says nothing is
// taken away. Readers see the one or the other. b.mu is held.
func (b *Book) put(e *entry) {
	at := b.shard(e.key)
	var next map[key]*entry
	if was := at.Load(); was != nil {
		next = maps.Clone(*was)
	} else {
		next = map[key]*entry{}
	}
	if was := next[e.key]; was != nil && was.place != nil {
		b.order.Remove(was.place)
	}
	before := len(next)
	delete(next, e.key)
	if e.word != nil || e.seen != nil {
		next[e.key] = e
		if e.place = nil; e.word == nil {
			e.place = b.order.PushBack(e.key)
		}
	}
	at.Store(&next)
	b.count.Add(int64(len(next) - before))
}

// room makes room for one more entry, if that takes nothing from anybody but one who was
// amber by the detector longest without a new sighting. b.mu is held.
func (b *Book) room() bool {
	if int(b.count.Load()) < b.most {
		return true
	}
	for int(b.count.Load()) >= b.most {
		oldest := b.order.Front()
		if oldest == nil {
			return false
		}
		k := oldest.Value.(key)
		b.put(&entry{key: k})
		b.unsaved[k] = true
		b.pushed++
	}
	return true
}

// sweep takes away the entries that have ended. b.mu is held.
func (b *Book) sweep() {
	for i := range b.shards {
		m := b.shards[i].Load()
		if m == nil {
			continue
		}
		for k, e := range *m {
			if w, s := e.holds(&b.clock); w == nil && s == nil {
				b.put(&entry{key: k})
				b.unsaved[k] = true
			}
		}
	}
}
