package siem

import "time"

const (
	// stretch is how long refusals of one sort are told as one.
	stretch = time.Minute
	// maxSorts bounds the sorts that are told apart within one stretch. What is beyond
	// is counted as one more, whose caller and thing are not said.
	maxSorts = 1024
)

// A fold makes few tellings of many refusals. Its owner is one goroutine.
type fold struct {
	until time.Time // end of the stretch, by the records' own time
	open  map[string]*Finding
	order []string // the sorts of open, oldest first
	held  int      // how many of them have something that was not told
	from  uint64   // the first record of those; meaningful while held > 0
}

// A telling is a finding as it is told: the first time, or what more there was of it.
type telling struct {
	Finding
	more bool // an update of the finding of the same record
}

// add takes the next finding, and returns what is to be told now.
func (d *fold) add(f Finding) (told []telling) {
	told = d.end(f.At)
	sort, folds := f.sort()
	if !folds {
		return append(told, telling{Finding: f})
	}
	if d.open[sort] == nil && len(d.open) >= maxSorts {
		sort = "others\n" + f.Check
		f.Who, f.On, f.Source, f.Policy = nobody, nobody, "others", ""
		f.Summary = "and others, too many to tell apart: " + f.Summary
	}
	first := d.open[sort]
	if first == nil {
		if d.open == nil {
			d.open, d.until = map[string]*Finding{}, f.At.Truncate(stretch).Add(stretch)
		}
		kept := f
		kept.Count = 0
		d.open[sort], d.order = &kept, append(d.order, sort)
		return append(told, telling{Finding: f})
	}
	if first.Count == 0 {
		if d.held == 0 {
			d.from = f.Record
		}
		d.held++
	}
	first.Count += f.Count
	if f.At.After(first.Last) {
		first.Last = f.At
	}
	return told
}

// end tells what was counted, if the stretch is over at a time.
func (d *fold) end(at time.Time) (told []telling) {
	if d.open == nil || at.Before(d.until) {
		return nil
	}
	for _, sort := range d.order {
		if f := d.open[sort]; f.Count > 0 {
			told = append(told, telling{*f, true})
		}
	}
	*d = fold{}
	return told
}

// kept is where a follower that dies now has to begin anew, so that nothing is lost:
// next, or the first record that was counted and not told.
func (d *fold) kept(next uint64) uint64 {
	if d.held > 0 {
		return d.from
	}
	return next
}
