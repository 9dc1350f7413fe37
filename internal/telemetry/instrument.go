package telemetry

import (
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

// exemplarEvery is how long an exemplar stays before the next takes its place, in
// nanoseconds: more often is no use to whoever reads every few seconds, and costs.
const exemplarEvery = int64(time.Second)

// An Evidence is what an exemplar names: the record that proves what was counted, and
// the trace in which it happened, if it was sampled.
type Evidence struct {
	Record  uint64 // index in the evidence log
	Written bool   // there is such a record
	Trace   TraceID
}

// An Exemplar is one of the events that a number counts.
type Exemplar struct {
	Evidence
	Value float64
	At    time.Time
}

// A slot keeps the exemplar of a counter or a bucket.
type slot struct {
	kept atomic.Int64 // when, in nanoseconds since 1970; 0: there is none

	mu   sync.Mutex // guards what follows
	last Exemplar
}

// keep puts an exemplar there, unless a young one is there or somebody else is at it.
func (s *slot) keep(value float64, e Evidence, now int64) {
	if !e.Written || now-s.kept.Load() < exemplarEvery || !s.mu.TryLock() {
		return
	}
	s.last = Exemplar{Evidence: e, Value: value, At: time.Unix(0, now)}
	s.mu.Unlock()
	s.kept.Store(now)
}

// get returns the exemplar, or nil.
func (s *slot) get() *Exemplar {
	if s.kept.Load() == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.last
	return &e
}

// A counter counts up.
type counter struct {
	n atomic.Uint64
	slot
}

// add counts n events, of which e is the evidence.
func (c *counter) add(n uint64, e Evidence, now int64) {
	c.n.Add(n)
	c.keep(float64(n), e, now)
}

// A histogram counts values by size. Values are whole numbers of its unit's
// billionths, or of its unit itself: nanoseconds for seconds, bytes for bytes.
type histogram struct {
	metric *Metric
	counts []cell // one for each bound, and one for what is above all of them
	sum    atomic.Int64
}

// A cell is one bucket of a histogram.
type cell struct {
	n atomic.Uint64
	slot
}

func newHistogram(m *Metric) *histogram {
	return &histogram{metric: m, counts: make([]cell, len(m.limits)+1)}
}

// observe counts a value, of which e is the evidence. A negative one, of a clock that
// stepped back, counts as 0.
func (h *histogram) observe(value int64, e Evidence, now int64) {
	value = max(value, 0)
	at := int(h.metric.first[bits.Len64(uint64(value))])
	for at < len(h.metric.limits) && value > h.metric.limits[at] {
		at++
	}
	c := &h.counts[at]
	c.n.Add(1)
	h.sum.Add(value)
	if e.Written {
		c.keep(float64(value)/h.metric.scale, e, now)
	}
}
