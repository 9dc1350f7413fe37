package monitor

import (
	"math/bits"

	"github.com/pavise/pavise/internal/drift"
)

// parties is how many groups callers fall into, as nobody can foresee: with some groups left
// out one sees what is left without the few callers in them, in memory that does not grow with
// callers.
const parties = 16

// scales of windows, each with what drift.Scales has it span.
const (
	short = iota
	middle
	long
	scales
)

// grouped are the scales on which windows are counted by groups of callers.
const grouped = long

// recent are the last windows that have a vote.
const recent = 1<<5 - 1

// A ruler is what a feature is held to; the zero one is of a feature without a baseline.
type ruler struct {
	kind drift.Kind
	bins int
	drift.Feature
}

// rulers are those of a layout's features in a baseline, which may lack some, and name others.
func rulers(l *layout, b *drift.Baseline) (all []ruler, err error) {
	all = make([]ruler, len(l.titles))
	for i := range b.Features {
		p := &b.Features[i]
		at, known := l.find(p)
		if !known || all[at].Base != nil {
			continue
		}
		f, err := p.Feature()
		if err != nil {
			return nil, err
		}
		all[at] = ruler{kind: p.Kind, bins: drift.MaxBins, Feature: f}
		if f.Numbers != nil {
			all[at].bins = f.Numbers.Bins()
		}
	}
	return all, nil
}

// find returns the feature that a profile is of: by its name, and its side if that says one.
func (l *layout) find(p *drift.Profile) (int, bool) {
	for _, side := range []Side{Input, Output, Embedding, Confidence} {
		if p.Side != "" && p.Side != string(side) {
			continue
		}
		if at, known := l.features[title{p.Name, side, p.Kind == drift.Category}]; known {
			return at, true
		}
	}
	return 0, false
}

// count counts numbers.
func (r *ruler) count(h *drift.Histogram, values []float64) {
	if r.Numbers != nil {
		r.Numbers.CountAll(h, values)
	}
}

// text counts a text.
func (r *ruler) text(h *drift.Histogram, v []byte) {
	switch {
	case r.Categories == nil:
	case v == nil:
		h.Nulls++
	default:
		r.Categories.Count(h, v)
	}
}

// A span is a window that is counted: by groups of callers, and what nobody knows the callers
// of, since it was kept over a restart.
type span struct {
	groups [parties + 1][]drift.Histogram // by feature; nil: nothing came of them
	rows   [parties + 1]int
}

// rest is the group of what nobody knows the callers of.
const rest = parties

// of returns the histograms of a group.
func (s *span) of(group, features int) []drift.Histogram {
	if s.groups[group] == nil {
		s.groups[group] = make([]drift.Histogram, features)
	}
	return s.groups[group]
}

// total adds up a feature, without some groups.
func (s *span) total(feature int, without uint32) (h drift.Histogram) {
	for g := range s.groups {
		if s.groups[g] != nil && without>>g&1 == 0 {
			h.Add(&s.groups[g][feature])
		}
	}
	return h
}

// all is how many rows came.
func (s *span) all() (n int) {
	for _, r := range s.rows {
		n += r
	}
	return n
}

// add adds what another one counted; folded says that groups are not told apart.
func (s *span) add(o *span, features int, folded bool) {
	for g := range o.groups {
		to := g
		if folded {
			to = rest
		}
		s.rows[to] += o.rows[g]
		if o.groups[g] == nil {
			continue
		}
		into := s.of(to, features)
		for i := range into {
			into[i].Add(&o.groups[g][i])
		}
	}
}

// Votes are how the last windows of each scale found a feature, the newest in the lowest bit.
type votes struct {
	Moved [scales]uint8 `json:"moved"`
	Lean  [scales]uint8 `json:"lean"` // moved by half of what matters
}

// take takes the vote of a window.
func (v *votes) take(scale int, o *drift.Outcome) {
	if !o.Enough {
		return // too little came: it says nothing, and is no vote for either side
	}
	put := func(to *uint8, is bool) {
		if *to = *to << 1 & recent; is {
			*to |= 1
		}
	}
	put(&v.Moved[scale], o.Moved())
	put(&v.Lean[scale], o.Q <= drift.Rate && o.Effect >= 0.5)
}

// most is how many of the last five windows of a scale found it, of the scale where most did.
func most(history [scales]uint8) (n int) {
	for _, h := range history {
		n = max(n, bits.OnesCount8(h))
	}
	return n
}

// confirm is how many of the last five windows of a scale must find that a feature moved.
const confirm = 3

// confirmed is the first scale on which the feature is confirmed to have moved; -1: none.
func (v *votes) confirmed() int {
	for s, h := range v.Moved {
		if bits.OnesCount8(h) >= confirm {
			return s
		}
	}
	return -1
}

// broad says whether features, that are confirmed on a scale, move as well without those groups
// of callers who make most of it, and which groups those are. A feature whose window has too
// little left does not.
func broad(s *span, held []ruler, features []int, withstand int) (still bool, without uint32) {
	if len(features) == 0 {
		return false, 0
	}
	for range withstand {
		best, least := -1, 0.0
		for g := range s.groups {
			if s.groups[g] == nil || without>>g&1 == 1 {
				continue
			}
			if effect := effectOf(s, held, features, without|1<<g); best < 0 || effect < least {
				best, least = g, effect
			}
		}
		if best < 0 {
			break
		}
		without |= 1 << best
		if !moves(s, held, features, without) {
			return false, without
		}
	}
	return moves(s, held, features, without), without
}

// effectOf is the mean size of what is left of a shift without some groups.
func effectOf(s *span, held []ruler, features []int, without uint32) (sum float64) {
	for _, f := range features {
		h := s.total(f, without)
		o := drift.Hold(held[f].kind, held[f].bins, held[f].Base, &h)
		sum += o.Effect
	}
	return sum / float64(len(features))
}

// moves reports whether at least half of the features move without some groups.
func moves(s *span, held []ruler, features []int, without uint32) bool {
	n := 0
	for _, f := range features {
		h := s.total(f, without)
		o := drift.Hold(held[f].kind, held[f].bins, held[f].Base, &h)
		if o.Q = o.P; o.Moved() {
			n++
		}
	}
	return n > 0 && 2*n >= len(features)
}
