package blob

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/pavise/pavise"
)

// maxHeld is how many objects of a list are held to put them in order.
const maxHeld = 1 << 18

// InOrder yields what Objects does, each key once and by their bytes. Not every store lists so:
// Azure's with a hierarchical namespace has what is in a directory before the names that begin
// like it, and Amazon's directory buckets have no order. A list that is longer than is held has
// to be in order by itself; the error is of kind Conflict where it is not, which is also what a
// list that goes round in a circle comes to.
func InOrder(ctx context.Context, s Source, prefix string) iter.Seq2[Version, error] {
	return inOrder(s.Objects(ctx, prefix), maxHeld)
}

func inOrder(all iter.Seq2[Version, error], most int) iter.Seq2[Version, error] {
	byKey := func(a, b Version) int { return cmp.Compare(a.Key, b.Key) }
	return func(yield func(Version, error) bool) {
		var held []Version
		last, whole := Version{}, true
		for v, err := range all {
			switch {
			case err != nil:
				yield(Version{}, err)
				return
			case whole && len(held) < most:
				held = append(held, v)
				continue
			case whole: // what is held is let go, if that is in order
				for _, h := range held {
					if !next(last, h, yield) {
						return
					}
					last = h
				}
				held, whole = nil, false
			}
			if !next(last, v, yield) {
				return
			}
			last = v
		}
		slices.SortStableFunc(held, byKey)
		for _, v := range slices.CompactFunc(held, func(a, b Version) bool { return a.Key == b.Key }) {
			if !yield(v, nil) {
				return
			}
		}
	}
}

// next yields a version that comes behind another, or an error where it does not.
func next(last, v Version, yield func(Version, error) bool) bool {
	if last.Key >= v.Key && last.Key != "" {
		yield(Version{}, &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("the store lists %.80q behind %.80q, and has more objects there than can be put in order", v.Key, last.Key), Hint: "name a prefix below which fewer lie"})
		return false
	}
	return yield(v, nil)
}
