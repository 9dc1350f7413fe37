package rowseal

import (
	"bytes"
	"slices"
)

// A Region is where two lists differ: the items from A0 up to A1 of one stand in the place
// of those from B0 up to B1 of the other.
type Region struct{ A0, A1, B0, B1 int }

// Align returns where two lists of digests differ, in order, with as little as possible in
// between: first what is alone in both and in the same order holds them together (patience),
// then, in what is left and short, the shortest edit script (Myers, "An O(ND) difference
// algorithm and its variations", 1986).
func Align(a, b []hash) []Region {
	var found []Region
	var within func(r Region, anchored bool)
	within = func(r Region, anchored bool) {
		for r.A0 < r.A1 && r.B0 < r.B1 && a[r.A0] == b[r.B0] {
			r.A0, r.B0 = r.A0+1, r.B0+1
		}
		for r.A0 < r.A1 && r.B0 < r.B1 && a[r.A1-1] == b[r.B1-1] {
			r.A1, r.B1 = r.A1-1, r.B1-1
		}
		switch {
		case r.A0 == r.A1 && r.B0 == r.B1:
		case r.A0 == r.A1 || r.B0 == r.B1:
			found = append(found, r)
		case !anchored:
			at := r
			for _, pair := range anchors(a[r.A0:r.A1], b[r.B0:r.B1]) {
				within(Region{at.A0, r.A0 + pair[0], at.B0, r.B0 + pair[1]}, true)
				at.A0, at.B0 = r.A0+pair[0]+1, r.B0+pair[1]+1
			}
			within(at, true)
		default:
			found = append(found, script(a, b, r)...)
		}
	}
	within(Region{0, len(a), 0, len(b)}, false)
	return found
}

// anchors returns the longest run of pairs that are alone in both lists and in the same
// order in both.
func anchors(a, b []hash) [][2]int {
	type seat struct{ a, b int32 } // where it is; -1: nowhere; -2: more than once
	seats := make(map[hash]seat, len(a))
	for i := range a {
		if _, twice := seats[a[i]]; twice {
			seats[a[i]] = seat{-2, -1}
		} else {
			seats[a[i]] = seat{int32(i), -1}
		}
	}
	for i := range b {
		s, ok := seats[b[i]]
		if !ok {
			continue
		}
		if s.b != -1 {
			s.b = -2
		} else {
			s.b = int32(i)
		}
		seats[b[i]] = s
	}
	// The longest increasing run, by the piles of patience sorting.
	var piles []int // the index into pairs on top of each
	var pairs [][2]int
	var below []int
	for i := range a {
		s := seats[a[i]]
		if s.a < 0 || s.b < 0 {
			continue
		}
		pile, _ := slices.BinarySearchFunc(piles, int(s.b), func(top, at int) int { return pairs[top][1] - at })
		under := -1
		if pile > 0 {
			under = piles[pile-1]
		}
		pairs, below = append(pairs, [2]int{i, int(s.b)}), append(below, under)
		if pile == len(piles) {
			piles = append(piles, 0)
		}
		piles[pile] = len(pairs) - 1
	}
	var run [][2]int
	if len(piles) > 0 {
		for at := piles[len(piles)-1]; at >= 0; at = below[at] {
			run = append(run, pairs[at])
		}
	}
	slices.Reverse(run)
	return run
}

// maxEdits bounds the work on one region: what differs in more is taken as a whole.
const maxEdits = 512

// script splits a region by the shortest edit script, if it is short.
func script(a, b []hash, r Region) []Region {
	x, y := a[r.A0:r.A1], b[r.B0:r.B1]
	const off = maxEdits + 1
	reach := make([]int32, 2*off+1) // by diagonal: how far into x the furthest path of so many edits gets
	var trace [][]int32
	for edits := 0; edits <= maxEdits; edits++ {
		trace = append(trace, slices.Clone(reach[off-edits:off+edits+1]))
		for k := -edits; k <= edits; k += 2 {
			at := 0
			switch {
			case edits == 0:
			case k == -edits || k != edits && reach[off+k-1] < reach[off+k+1]:
				at = int(reach[off+k+1])
			default:
				at = int(reach[off+k-1]) + 1
			}
			for at < len(x) && at-k < len(y) && at-k >= 0 && x[at] == y[at-k] {
				at++
			}
			reach[off+k] = int32(at)
			if at >= len(x) && at-k >= len(y) {
				return walkBack(trace, r, len(x), len(y))
			}
		}
	}
	return []Region{r}
}

// walkBack turns the trace of a script into regions.
func walkBack(trace [][]int32, r Region, i, j int) []Region {
	var found []Region
	for edits := len(trace) - 1; edits > 0; edits-- {
		before := trace[edits] // of the round before, diagonals -edits to edits
		k := i - j
		at := func(k int) int { return int(before[k+edits]) }
		down := k == -edits || k != edits && at(k-1) < at(k+1)
		pi, pj := 0, 0
		if down {
			pi = at(k + 1)
			pj = pi - (k + 1)
		} else {
			pi = at(k - 1)
			pj = pi - (k - 1)
		}
		edit := Region{r.A0 + pi, r.A0 + pi, r.B0 + pj, r.B0 + pj + 1}
		if !down {
			edit = Region{r.A0 + pi, r.A0 + pi + 1, r.B0 + pj, r.B0 + pj}
		}
		if n := len(found); n > 0 && found[n-1].A0 == edit.A1 && found[n-1].B0 == edit.B1 {
			found[n-1].A0, found[n-1].B0 = edit.A0, edit.B0
		} else {
			found = append(found, edit)
		}
		i, j = pi, pj
	}
	slices.Reverse(found)
	return found
}

// Hashes cuts digests that lie one behind the other.
func Hashes(digests []byte) []hash {
	list := make([]hash, len(digests)/len(hash{}))
	for i := range list {
		list[i] = hash(digests[i*len(hash{}):])
	}
	return list
}

// Differing returns the numbers, from 1, of items that differ in two lists by their places,
// at most so many, and how many differ.
func Differing(a, b []byte, first uint64, most int, into []uint64) ([]uint64, uint64) {
	n := uint64(0)
	for at := 0; at < max(len(a), len(b)); at += len(hash{}) {
		if at < len(a) && at < len(b) && bytes.Equal(a[at:at+len(hash{})], b[at:at+len(hash{})]) {
			continue
		}
		if n++; len(into) < most {
			into = append(into, first+uint64(at/len(hash{}))+1)
		}
	}
	return into, n
}
