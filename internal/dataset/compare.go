package dataset

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/rowseal"
)

// maxNamed bounds how many rows of a file are listed; the counts go on.
const maxNamed = 1000

// maxGap bounds how many rows are held beside each other.
const maxGap = 1 << 20

// What became of a file.
const (
	fileAdded   = "added"
	fileRemoved = "removed"
	fileRenamed = "renamed"
	fileChanged = "changed"
)

// A Difference is what became of one file.
type Difference struct {
	File string `json:"file"`
	What string `json:"what"`           // added, removed, renamed or changed
	To   string `json:"to,omitempty"`   // the new path of a file that was renamed
	Note string `json:"note,omitempty"` // what else is to be said

	// Of a changed file with rows: which, counted from 1, a header with them. At most 1,000
	// of each are listed.
	Changed    []uint64 `json:"rows_changed,omitempty"`     // by their numbers before
	ChangedNow []uint64 `json:"rows_changed_now,omitempty"` // by their numbers now, where these differ
	Removed    []uint64 `json:"rows_removed,omitempty"`     // by their numbers before
	Added      []uint64 `json:"rows_added,omitempty"`       // by their numbers now
	Counts     *Counts  `json:"counts,omitempty"`

	Blocks     []uint64 `json:"blocks_changed,omitempty"` // of 64 KiB, counted from 1, where the file has no rows or they are the same
	BlockCount uint64   `json:"blocks,omitempty"`         // how many
}

// Counts are how many rows of a file differ.
type Counts struct {
	Changed uint64 `json:"changed"`
	Removed uint64 `json:"removed"`
	Added   uint64 `json:"added"`
	Moved   uint64 `json:"moved"` // of these, rows that only stand elsewhere
}

func (c Counts) none() bool { return c.Changed+c.Removed+c.Added == 0 }

// compareFiles says what became of the files of a before. Rows are named where the index of
// a is at hand, and b's sections have their digests.
func compareFiles(ctx context.Context, a *rowseal.Manifest, ax *rowseal.Index, b []rowseal.Section, workers int) ([]Difference, error) {
	var found []Difference
	now := make(map[string]*rowseal.Section, len(b))
	for i := range b {
		now[b[i].Path] = &b[i]
	}
	before := a.ByPath()
	gone := map[rowseal.Digest][]string{} // by root, files that are not there any more
	for i := range a.Files {
		f := &a.Files[i]
		s := now[f.Path]
		switch {
		case s == nil:
			gone[f.Root] = append(gone[f.Root], f.Path)
		case s.File != *f:
			d := Difference{File: f.Path, What: fileChanged, Note: s.Why}
			if !isUnread(s) {
				if err := d.name(ctx, f, ax.Section(i), s, workers); err != nil {
					return nil, err
				}
			}
			found = append(found, d)
		}
	}
	for i := range b {
		s := &b[i]
		if before[s.Path] != nil {
			continue
		}
		if from := gone[s.Root]; len(from) > 0 && before[from[0]].Size == s.Size {
			found = append(found, Difference{File: from[0], What: fileRenamed, To: s.Path})
			gone[s.Root] = from[1:]
			continue
		}
		found = append(found, Difference{File: s.Path, What: fileAdded, Note: s.Why})
	}
	for _, paths := range gone {
		for _, p := range paths {
			found = append(found, Difference{File: p, What: fileRemoved})
		}
	}
	sortDifferences(found)
	return found, nil
}

func sortDifferences(found []Difference) {
	slices.SortFunc(found, func(a, b Difference) int {
		return cmp.Or(strings.Compare(a.File, b.File), strings.Compare(a.What, b.What))
	})
}

// name names the rows or blocks that differ, where their digests are at hand.
func (d *Difference) name(ctx context.Context, f *rowseal.File, before, now *rowseal.Section, workers int) error {
	note := d.note
	if before == nil || now.Source == nil && now.Format != rowseal.Link {
		note("what differs in it cannot be named without the index of the seal")
		return nil
	}
	if f.Format == rowseal.Link || now.Format == rowseal.Link {
		note("a link, or where it leads, is another")
		return nil
	}
	for _, s := range []*rowseal.Section{before, now} { // either index may be a stranger's
		if err := s.Check(ctx, workers); err != nil {
			if pavise.KindOf(err) != pavise.Unverified {
				return err
			}
			note("what differs in it cannot be named: " + message(err))
			return nil
		}
	}
	if before.Format.HasRows() && now.Format.HasRows() {
		counts, err := d.rows(ctx, before, now)
		if err != nil {
			return err
		}
		if d.Counts = &counts; !counts.none() || now.Why != "" {
			return nil
		}
	}
	if (before.Bytes == 0) != (now.Bytes == 0) {
		if before.Format.HasRows() && !now.Format.HasRows() {
			note("its rows can be told apart no more")
		} else {
			note("its rows are the same; how lines end, or a byte order mark, is not")
		}
		return nil
	}
	if before.Bytes == 0 {
		note("its rows are the same; how lines end, or a byte order mark, is not")
		return nil
	}
	if before.Format.HasRows() && now.Format.HasRows() {
		note("its rows are the same; the bytes that say them are not")
	}
	return d.blocks(before, now)
}

// note adds to what is to be said of the file.
func (d *Difference) note(text string) {
	if d.Note != "" {
		text = d.Note + "; " + text
	}
	d.Note = text
}

// message is what an error says to people.
func message(err error) string {
	if e, ok := errors.AsType[*pavise.Error](err); ok {
		return e.Msg
	}
	return err.Error()
}

// blocks names the blocks of bytes that differ.
func (d *Difference) blocks(before, now *rowseal.Section) error {
	const part = 1 << 15
	for at := uint64(0); at < max(before.Bytes, now.Bytes); at += part {
		a, err := rowseal.Some(before.BytesAt(), at, before.Bytes, part)
		if err != nil {
			return err
		}
		b, err := rowseal.Some(now.BytesAt(), at, now.Bytes, part)
		if err != nil {
			return err
		}
		var n uint64
		d.Blocks, n = rowseal.Differing(a, b, at, maxNamed, d.Blocks)
		d.BlockCount += n
	}
	return nil
}

// rows names the rows that differ. Blocks of rows hold the two files together; what is
// between them is looked at row by row.
func (d *Difference) rows(ctx context.Context, before, now *rowseal.Section) (c Counts, err error) {
	aRows, aList, err := before.Begins()
	if err != nil {
		return c, err
	}
	bRows, bList, err := now.Begins()
	if err != nil {
		return c, err
	}
	moves := moves{gone: map[rowseal.Hash]int{}}
	for _, r := range rowseal.Align(aList, bList) {
		if err := ctx.Err(); err != nil {
			return c, err
		}
		gap := gap{from: [2]uint64{aRows[r.A0], bRows[r.B0]}, n: [2]uint64{aRows[r.A1] - aRows[r.A0], bRows[r.B1] - bRows[r.B0]}}
		if err := d.gap(&c, &moves, gap, before, now); err != nil {
			return c, err
		}
	}
	if c.Moved = moves.count(); moves.cut {
		d.note("so many rows differ that not all that only moved are counted as such")
	}
	if slices.Equal(d.Changed, d.ChangedNow) {
		d.ChangedNow = nil
	}
	return c, nil
}

// moves tells rows that only stand elsewhere from those that are others.
type moves struct {
	gone map[rowseal.Hash]int // how often each is no longer where it was
	came []rowseal.Hash       // what stands there now
	cut  bool                 // not all of them are held
}

// count returns how many rows are in both. Each is counted once.
func (m *moves) count() (n uint64) {
	for _, h := range m.came {
		if m.gone[h] > 0 {
			m.gone[h]--
			n++
		}
	}
	return n
}

// A gap is some rows before, and those that stand in their place now.
type gap struct{ from, n [2]uint64 }

// gap names the rows of a gap that differ.
func (d *Difference) gap(c *Counts, m *moves, g gap, before, now *rowseal.Section) error {
	if max(g.n[0], g.n[1]) > maxGap {
		if err := g.trim(before, now); err != nil {
			return err
		}
	}
	if max(g.n[0], g.n[1]) > maxGap {
		d.note(fmt.Sprintf("rows %d to %d are too many, and too different, to be told apart", g.from[0]+1, g.from[0]+g.n[0]))
		d.region(c, g.from, g.n)
		m.cut = true
		return nil
	}
	a, err := rowseal.Some(before.RowsAt(), g.from[0], g.from[0]+g.n[0], maxGap)
	if err != nil {
		return err
	}
	b, err := rowseal.Some(now.RowsAt(), g.from[1], g.from[1]+g.n[1], maxGap)
	if err != nil {
		return err
	}
	x, y := rowseal.Hashes(a), rowseal.Hashes(b)
	for _, r := range rowseal.Align(x, y) {
		d.region(c, [2]uint64{g.from[0] + uint64(r.A0), g.from[1] + uint64(r.B0)}, [2]uint64{uint64(r.A1 - r.A0), uint64(r.B1 - r.B0)})
		if len(m.gone)+len(m.came) < maxGap {
			for _, h := range x[r.A0:r.A1] {
				m.gone[h]++
			}
			m.came = append(m.came, y[r.B0:r.B1]...)
		} else {
			m.cut = true
		}
	}
	return nil
}

// trim takes the rows off that a gap begins and ends with in both files. Where few different
// rows make up a file no block may end by itself, and one row that is put in on top moves all
// blocks behind it.
func (g *gap) trim(before, now *rowseal.Section) error {
	const part = 1 << 14
	const size = len(rowseal.Hash{})
	for _, back := range []bool{false, true} {
		for n := uint64(part); n == part; {
			most := min(part, g.n[0], g.n[1])
			at := g.from
			if back {
				at = [2]uint64{g.from[0] + g.n[0] - most, g.from[1] + g.n[1] - most}
			}
			a, err := rowseal.Some(before.RowsAt(), at[0], at[0]+most, part)
			if err != nil {
				return err
			}
			b, err := rowseal.Some(now.RowsAt(), at[1], at[1]+most, part)
			if err != nil {
				return err
			}
			for n = 0; n < most; n++ {
				i := int(n) * size
				if back {
					i = int(most-1-n) * size
				}
				if !bytes.Equal(a[i:i+size], b[i:i+size]) {
					break
				}
			}
			if g.n[0], g.n[1] = g.n[0]-n, g.n[1]-n; !back {
				g.from[0], g.from[1] = g.from[0]+n, g.from[1]+n
			}
		}
	}
	return nil
}

// region counts and lists rows that others stand in the place of.
func (d *Difference) region(c *Counts, from, n [2]uint64) {
	both := min(n[0], n[1])
	c.Changed, c.Removed, c.Added = c.Changed+both, c.Removed+n[0]-both, c.Added+n[1]-both
	for i := range min(both, maxNamed) {
		if len(d.Changed) < maxNamed {
			d.Changed = append(d.Changed, from[0]+i+1)
			d.ChangedNow = append(d.ChangedNow, from[1]+i+1)
		}
	}
	for i := both; i < n[0] && len(d.Removed) < maxNamed; i++ {
		d.Removed = append(d.Removed, from[0]+i+1)
	}
	for i := both; i < n[1] && len(d.Added) < maxNamed; i++ {
		d.Added = append(d.Added, from[1]+i+1)
	}
}
