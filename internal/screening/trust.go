package screening

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"runtime"
	"slices"

	"github.com/pavise/pavise/internal/dataset"
	"github.com/pavise/pavise/internal/rowseal"
)

// A heading is what says what the columns of a file are, as far as a seal has it. Of CSV it is the
// digest of its first row, and of Parquet, whose rows have no names, that of the whole file. JSONL
// has its names in each row.
type heading struct {
	format rowseal.Format
	digest rowseal.Digest
}

func headingOf(s *rowseal.Section) (heading, error) {
	h := heading{format: s.Format}
	switch {
	case s.Format == rowseal.Parquet:
		h.digest = s.Digest
	case s.Format == rowseal.CSV && s.Rows > 0:
		if _, err := io.ReadFull(io.NewSectionReader(s.RowsAt(), 0, sha256.Size), h.digest[:]); err != nil {
			return h, rowseal.FileFault("the index", err)
		}
	}
	return h, nil
}

// A trust has the rows of a baseline, below the heading under which they stand: the bytes of a row
// say something else where its columns are others.
type trust struct {
	files   []File
	rows    map[heading][][32]byte // rising
	at      map[string]heading     // by path
	all     [][32]byte             // rising: of all headings; nil where every file has one of these
	strange map[int]bool           // files whose rows are not trusted, though the baseline has rows of theirs
	whole   map[rowseal.File]bool  // files without rows: nobody judges them, and who accepted these did so as they are
}

// trusted reads which rows a seal has, from the index beside it, for the files that are screened.
func (j *Judge) trusted(ctx context.Context, seal string, files []File) (*trust, error) {
	m, err := dataset.ReadManifest(seal)
	if err != nil {
		return nil, err
	}
	if m.Rows() > uint64(j.Bounds.Rows) {
		return nil, invalid("screen it without a baseline", "the baseline has %d rows, and %d are held at most", m.Rows(), j.Bounds.Rows)
	}
	x, err := rowseal.OpenIndex(seal+rowseal.IndexSuffix, m)
	if err != nil {
		return nil, err
	}
	defer x.Close()
	t := &trust{files: files, rows: map[heading][][32]byte{}, at: map[string]heading{}, strange: map[int]bool{}, whole: map[rowseal.File]bool{}}
	for i := range x.Sections() {
		section := x.Section(i)
		if !section.Format.HasRows() {
			t.whole[section.File] = true
			continue
		}
		if err := section.Check(ctx, runtime.GOMAXPROCS(0)); err != nil {
			return nil, err
		}
		h, err := headingOf(section)
		if err != nil {
			return nil, err
		}
		digests, err := io.ReadAll(io.NewSectionReader(section.RowsAt(), 0, int64(section.Rows)*sha256.Size))
		if err != nil {
			return nil, rowseal.FileFault(seal+rowseal.IndexSuffix, err)
		}
		t.at[section.Path] = h
		for ; len(digests) > 0; digests = digests[sha256.Size:] {
			t.rows[h] = append(t.rows[h], [32]byte(digests))
		}
	}
	t.order()
	return t, nil
}

func byBytes(a, b [32]byte) int { return bytes.Compare(a[:], b[:]) }

// order makes the rows such that they are found, and looks which files have another heading than
// they had.
func (t *trust) order() {
	unknown := false
	for k, f := range t.files {
		unknown = unknown || t.rows[f.heading] == nil
		if was, ok := t.at[f.path]; ok && was != f.heading && f.heading.format == rowseal.CSV {
			t.strange[k] = true
		}
	}
	for _, rows := range t.rows {
		slices.SortFunc(rows, byBytes)
		if unknown {
			t.all = append(t.all, rows...)
		}
	}
	slices.SortFunc(t.all, byBytes)
}

// pass begins a pass over the rows. Each is trusted as often as it stands in the baseline: copies
// of a good row may be poison, too.
func (t *trust) pass() func(file int, row [32]byte) bool {
	met := map[heading][]int32{} // by the first of those that are alike
	return func(file int, row [32]byte) bool {
		h := t.files[file].heading
		rows := t.rows[h]
		if rows == nil {
			if _, found := slices.BinarySearchFunc(t.all, row, byBytes); found {
				t.strange[file] = true
			}
			return false
		}
		first, found := slices.BinarySearchFunc(rows, row, byBytes)
		if !found {
			return false
		}
		if met[h] == nil {
			met[h] = make([]int32, len(rows))
		}
		next := first + int(met[h][first])
		if next >= len(rows) || rows[next] != row {
			return false
		}
		met[h][first]++
		return true
	}
}

// maxStrange is how many files are named whose rows were not trusted.
const maxStrange = 20

// notes says which files' rows were not trusted.
func (t *trust) notes() (notes []string) {
	for k, f := range t.files {
		switch {
		case !t.strange[k]:
		case len(notes) == maxStrange:
			return append(notes, fmt.Sprintf("NOT TRUSTED: so are %d files in all", len(t.strange)))
		case f.heading.format == rowseal.Parquet:
			notes = append(notes, f.Name+" is NOT TRUSTED: it is not byte for byte what the baseline has, and whether its columns are the same cannot be known: all its rows were judged")
		default:
			notes = append(notes, f.Name+" is NOT TRUSTED: its first row, which says what its columns are, is not the one that the baseline has: rows of other columns were judged, whatever their bytes")
		}
	}
	return notes
}
