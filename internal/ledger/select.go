package ledger

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/disk"
	"github.com/pavise/pavise/internal/record"
)

// A Filter says which records are wanted: those that meet all of its fields. A
// field that is empty asks for nothing.
type Filter struct {
	Tenant  string    `json:"tenant,omitempty"`
	Kinds   []string  `json:"kinds,omitempty"`   // any of these: a kind, model.infer, or a room, model
	Who     string    `json:"who,omitempty"`     // the principal's name, tenant/kind/id
	On      string    `json:"on,omitempty"`      // the thing's name
	Subject string    `json:"subject,omitempty"` // whose data the record keeps
	Ending  string    `json:"ending,omitempty"`  // deny, alter, or failed, which denied ones are too
	Phase   string    `json:"phase,omitempty"`   // enter, exit, interrupted or note; act asks for nothing
	Since   time.Time `json:"since,omitzero"`    // at this time or later
	Until   time.Time `json:"until,omitzero"`    // at this time or earlier
}

// Matches reports whether the filter wants a record.
func (f *Filter) Matches(r *record.Record) bool {
	switch {
	case f.Tenant != "" && r.Tenant != f.Tenant,
		f.Who != "" && (r.Who == nil || r.Who.Name().String() != f.Who),
		f.On != "" && r.On.String() != f.On,
		f.Subject != "" && r.Subject != f.Subject,
		f.Phase != "" && r.Phase != f.Phase,
		!f.Since.IsZero() && r.At.Before(f.Since),
		!f.Until.IsZero() && r.At.After(f.Until):
		return false
	case f.Ending != "" && string(r.Outcome) != f.Ending && (f.Ending != disk.Failed || r.Error == nil):
		return false
	}
	return len(f.Kinds) == 0 || slices.ContainsFunc(f.Kinds, func(kind string) bool { return kind == r.Kind || kind == record.Room(r.Kind) })
}

// marks returns the marks that a record which the filter wants bears: all of
// these sets, of each set any.
func (f *Filter) marks() (all [][]uint64) {
	one := func(sort byte, text string) {
		if text != "" {
			all = append(all, []uint64{disk.Mark(sort, text)})
		}
	}
	one(disk.MarkSubject, f.Subject)
	one(disk.MarkWho, f.Who)
	one(disk.MarkOn, f.On)
	if f.Ending != string(pavise.Allow) {
		one(disk.MarkEnding, f.Ending)
	}
	if f.Phase != record.Act {
		one(disk.MarkPhase, f.Phase)
	}
	var any []uint64
	for _, kind := range f.Kinds {
		sort := byte(disk.MarkKind)
		if record.Room(kind) == kind {
			sort = disk.MarkRoom
		}
		any = append(any, disk.Mark(sort, kind))
	}
	if any != nil {
		all = append(all, any)
	}
	one(disk.MarkTenant, f.Tenant)
	return all
}

// Select yields the records of [from, to) that the filter wants, oldest first,
// each checked as Read does. It ends with the error of a record that cannot be
// read, or with the context's.
func (l *Log) Select(ctx context.Context, f Filter, from, to uint64) iter.Seq2[Found, error] {
	return l.search(ctx, f, from, to, false)
}

// SelectBack is Select, newest first.
func (l *Log) SelectBack(ctx context.Context, f Filter, from, to uint64) iter.Seq2[Found, error] {
	return l.search(ctx, f, from, to, true)
}

// A Found is a record with its place in the log.
type Found struct {
	Index uint64 `json:"index"`
	record.Record
}

func (l *Log) search(ctx context.Context, f Filter, from, to uint64, back bool) iter.Seq2[Found, error] {
	f.Kinds = distinct(f.Kinds)
	return func(yield func(Found, error) bool) {
		segments := l.stream.snapshot()
		if back {
			slices.Reverse(segments)
		}
		r := reader{log: l}
		for _, seg := range segments {
			places, err := l.candidates(seg, &f, from, to)
			if back {
				slices.Reverse(places)
			}
			for _, place := range places {
				var found record.Record
				if err = ctx.Err(); err == nil {
					found, err = r.read(seg.First + uint64(place))
				}
				if err != nil {
					break
				}
				if f.Matches(&found) && !yield(Found{seg.First + uint64(place), found}, nil) {
					return
				}
			}
			if err != nil {
				yield(Found{}, err)
				return
			}
		}
	}
}

// distinct returns each kind once: a caller may repeat one as often as a request is
// long, and each costs all of its places.
func distinct(kinds []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(kinds)))
}

// candidates returns the places in a segment of the records of [from, to) that
// may be wanted: that bear the marks and lie near the times.
func (l *Log) candidates(seg *segment, f *Filter, from, to uint64) ([]uint32, error) {
	l.stream.mu.RLock()
	x, end := seg.index, min(to, seg.end())
	if from >= end || to <= seg.First {
		l.stream.mu.RUnlock()
		return nil, nil
	}
	low, high := uint32(max(from, seg.First)-seg.First), uint32(end-seg.First)
	ranges := x.Spans(f.Since, f.Until, low, high)
	l.stream.mu.RUnlock()
	sets := f.marks()
	if len(sets) == 0 {
		return spread(ranges), nil
	}
	var places []uint32
	for i, marks := range sets {
		set, err := l.union(x, marks, low, high)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			places = set
		} else {
			places = intersect(places, set)
		}
		if len(places) == 0 {
			return nil, nil
		}
	}
	return within(places, ranges), nil
}

// union returns the records in [low, high) that bear any of the marks. It sorts
// without the lock: appends wait for no search.
func (l *Log) union(x *disk.Index, marks []uint64, low, high uint32) ([]uint32, error) {
	var all []uint32
	for _, m := range marks {
		places, err := l.places(x, m, low, high)
		if err != nil {
			return nil, err
		}
		all = append(all, places...)
	}
	if len(marks) > 1 {
		slices.Sort(all)
		all = slices.Compact(all)
	}
	return all, nil
}

// places returns the records in [low, high) that bear a mark. Those of an index that
// still grows are copied under the lock, which is held for this one mark.
func (l *Log) places(x *disk.Index, mark uint64, low, high uint32) ([]uint32, error) {
	if !x.Kept() { // a kept one changes no more, and a disk is slow
		l.stream.mu.RLock()
		defer l.stream.mu.RUnlock()
	}
	return x.Places(mark, low, high)
}

// intersect keeps of a what is in b; both ascend. It overwrites a.
func intersect(a, b []uint32) []uint32 {
	kept := a[:0]
	for _, place := range a {
		for len(b) > 0 && b[0] < place {
			b = b[1:]
		}
		if len(b) > 0 && b[0] == place {
			kept = append(kept, place)
		}
	}
	return kept
}

// within keeps the places that lie in one of the ranges. It overwrites places.
func within(places []uint32, ranges [][2]uint32) []uint32 {
	kept := places[:0]
	for _, place := range places {
		for len(ranges) > 0 && ranges[0][1] <= place {
			ranges = ranges[1:]
		}
		if len(ranges) > 0 && place >= ranges[0][0] {
			kept = append(kept, place)
		}
	}
	return kept
}

// spread returns all places of the ranges.
func spread(ranges [][2]uint32) []uint32 {
	var places []uint32
	for _, r := range ranges {
		for place := r[0]; place < r[1]; place++ {
			places = append(places, place)
		}
	}
	return places
}

// A reader reads records one by one, and keeps the bundle of the last in hand:
// who reads in order reads each bundle once.
type reader struct {
	log     *Log
	bundle  bundle
	entries [][]byte // of the bundle
}

func (r *reader) read(index uint64) (record.Record, error) {
	if index < r.bundle.first || index >= r.bundle.first+uint64(len(r.entries)) {
		if err := r.load(index); err != nil {
			return record.Record{}, err
		}
	}
	return r.log.decode(index, r.entries[index-r.bundle.first])
}

func (r *reader) load(index uint64) error {
	b, err := r.log.stream.bundle(index)
	if err != nil {
		return err
	}
	text, err := r.log.stream.bytes(b)
	if err != nil {
		return err
	}
	r.bundle, r.entries = b, r.entries[:0]
	for {
		entry, rest, ok := disk.NextFrame(text)
		if !ok {
			break
		}
		r.entries, text = append(r.entries, entry), rest
	}
	if index >= b.first+uint64(len(r.entries)) {
		return damaged(index)
	}
	return nil
}

// Count returns how many records of [from, to) the index takes for those that the
// filter wants. No record is looked at: a filter with times counts whole bundles,
// and two marks with one hash count as one.
func (l *Log) Count(f Filter, from, to uint64) (uint64, error) {
	var n uint64
	f.Kinds = distinct(f.Kinds)
	for _, seg := range l.stream.snapshot() {
		places, err := l.candidates(seg, &f, from, to)
		if err != nil {
			return n, fmt.Errorf("count records: %w", err)
		}
		n += uint64(len(places))
	}
	return n, nil
}
