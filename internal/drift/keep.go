package drift

import (
	"errors"
	"slices"
)

// The errors of bins that were kept somewhere, and cannot be any.
var (
	errEdges = errors.New("the edges are not finite numbers in ascending order, or too many")
	errNames = errors.New("the names are too many, too long, or stand there twice")
	errSeen  = errors.New("the filter of rare names has another length")
)

// ReferenceOf makes the bins again whose edges were kept.
func ReferenceOf(edges []float64) (*Reference, error) {
	if len(edges) > maxEdges {
		return nil, errEdges
	}
	for i, x := range edges {
		if x-x != 0 || i > 0 && x <= edges[i-1] {
			return nil, errEdges
		}
	}
	r := &Reference{n: len(edges)}
	copy(r.edges[:], edges)
	r.index()
	return r, nil
}

// Seen is the filter of the names without a bin, to be kept beside Names and Open.
func (c *Categories) Seen() []uint64 {
	if c.seen == [len(c.seen)]uint64{} {
		return nil
	}
	return slices.Clone(c.seen[:])
}

// CategoriesOf makes the bins again of which names, filter and openness were kept.
func CategoriesOf(names []string, seen []uint64, open bool) (*Categories, error) {
	c := &Categories{Names: slices.Clone(names), Open: open}
	if len(names) > maxNames {
		return nil, errNames
	}
	for i, name := range names {
		if slices.Contains(names[:i], name) || len(name) > maxName {
			return nil, errNames
		}
	}
	c.lay()
	if len(seen) != 0 && len(seen) != len(c.seen) {
		return nil, errSeen
	}
	copy(c.seen[:], seen)
	return c, nil
}
