package monitor

import (
	"math/rand/v2"
	"time"

	"github.com/pavise/pavise/internal/drift"
)

// The bounds of what is learnt of a model's traffic.
const (
	leastLearn   = 500
	mostLearn    = 1 << 20
	mostSamples  = 1 << 18 // numbers that are kept while a baseline is learnt: 2 MiB
	mostDistinct = 1 << 10 // texts of a feature
	mostTexts    = 8 << 20 // bytes of the texts of all features, with what it takes to keep each
	textCost     = 64
)

// A learning is a baseline in the making: a sample of each feature's numbers in which each has
// the same chance (Vitter's algorithm R), and all its texts.
type learning struct {
	want  int       // rows
	first bool      // it is to be the first baseline, whatever there was
	began time.Time // when its first row came
	rows  int
	room  int // numbers of a feature
	held  int // bytes of texts
	parts []lesson
}

// A lesson is what is learnt of one feature.
type lesson struct {
	seen   int64 // numbers
	sample []float64
	texts  map[string]int
	whole  bool // texts are all that there were
	nulls  uint32
}

func newLearning(l *layout, want int) *learning {
	e := &learning{want: want, room: max(mostSamples/max(len(l.titles), 1), leastLearn), parts: make([]lesson, len(l.titles))}
	for i := range e.parts {
		e.parts[i].whole = true
	}
	return e
}

// see learns from rows.
func (e *learning) see(b *batch) {
	if e.rows == 0 {
		e.began = b.items[0].at
	}
	e.rows += b.n
	b.tell(e)
}

// ready reports whether there were rows enough, over a whole window at least: those of one
// burst are like each other.
func (e *learning) ready(now time.Time, window time.Duration) bool {
	since := now.Sub(e.began)
	return e.rows >= e.want && (since >= window || since < 0)
}

// numbers implements sink.
func (e *learning) numbers(_ *batch, feature int, values []float64) {
	p := &e.parts[feature]
	for _, v := range values {
		if v-v != 0 {
			p.nulls++
			continue
		}
		p.seen++
		if len(p.sample) < e.room {
			p.sample = append(p.sample, v)
		} else if at := rand.Int64N(p.seen); at < int64(e.room) {
			p.sample[at] = v
		}
	}
}

// texts implements sink.
func (e *learning) texts(b *batch, feature int, p *port, element int) {
	for row := range b.n {
		e.text(&e.parts[feature], b.text(row, p, element))
	}
}

func (e *learning) text(p *lesson, v []byte) {
	if len(v) == 0 {
		p.nulls++
		return
	}
	if p.texts == nil {
		p.texts = map[string]int{}
	}
	_, known := p.texts[string(v)]
	if cost := len(v) + textCost; !known && len(p.texts) < mostDistinct && e.held+cost <= mostTexts {
		e.held += cost
		known = true
	}
	if known {
		p.texts[string(v)]++
		return
	}
	p.whole = false
	p.seen++ // of those that are not kept
}

// baseline is what was learnt. What one feature has of nothing is scaled to its sample.
func (e *learning) baseline(l *layout) *drift.Baseline {
	b := &drift.Baseline{Format: drift.BaselineFormat, Rows: uint64(e.rows)}
	for i, t := range l.titles {
		p := &e.parts[i]
		var f drift.Feature
		if t.text {
			var halved bool
			f.Categories, f.Base, halved = drift.CountedCategories(p.texts, uint64(p.seen), p.whole)
			if f.Base.Nulls = p.nulls; halved {
				f.Base.Nulls = drift.Half(p.nulls)
			}
		} else {
			f.Base = &drift.Histogram{}
			f.Numbers = drift.NewReference(append([]float64(nil), p.sample...))
			f.Numbers.CountAll(f.Base, p.sample)
			f.Base.Nulls = p.nulls
			if n := int64(len(p.sample)); p.seen > n && n > 0 {
				f.Base.Nulls = uint32(int64(p.nulls) * n / p.seen)
			}
		}
		if f.Base.Rows() >= drift.LeastRows {
			b.Features = append(b.Features, drift.ProfileOf(t.name, string(t.side), f))
		}
	}
	return b
}
