package monitor

import (
	"github.com/pavise/pavise/internal/drift"
	"github.com/pavise/pavise/internal/drift/party"
)

// parties is how many groups callers fall into, as nobody can foresee: with some groups left
// out one sees what is left without the few callers in them, in memory that does not grow with
// callers.
const parties = party.Groups

// scales of windows, each with what drift.Scales has it span.
const (
	short = iota
	middle
	long
	scales
)

// grouped are the scales on which windows are counted by groups of callers.
const grouped = long

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

// hold holds counts to the baseline.
func (r *ruler) hold(h drift.Histogram) drift.Outcome {
	return drift.Hold(r.kind, r.bins, r.Base, &h)
}

// A span is a window that is counted: by groups of callers, and what nobody knows the callers
// of, since it was kept over a restart.
type span struct {
	*drift.Counts
	rows [parties + 1]int
}

// rest is the group of what nobody knows the callers of.
const rest = parties

func (l *layout) newSpan() *span { return &span{Counts: drift.NewCounts(len(l.titles))} }

// all is how many rows came.
func (s *span) all() (n int) {
	for _, r := range s.rows {
		n += r
	}
	return n
}

// add adds what another one counted; folded says that groups are not told apart.
func (s *span) add(o *span, folded bool) {
	if folded {
		s.Fold(o.Counts, rest)
		s.rows[rest] += o.all()
		return
	}
	s.Counts.Add(o.Counts)
	for g, n := range o.rows {
		s.rows[g] += n
	}
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
		for g := range s.rows {
			if s.Groups()&^without>>g&1 == 0 {
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
		o := held[f].hold(s.Total(f, without))
		sum += o.Effect
	}
	return sum / float64(len(features))
}

// moves reports whether at least half of the features move without some groups.
func moves(s *span, held []ruler, features []int, without uint32) bool {
	n := 0
	for _, f := range features {
		o := held[f].hold(s.Total(f, without))
		if o.Q = o.P; o.Moved() {
			n++
		}
	}
	return n > 0 && 2*n >= len(features)
}
