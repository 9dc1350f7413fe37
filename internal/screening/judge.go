package screening

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/catalog"
	"github.com/pavise/pavise/internal/dataset"
	"github.com/pavise/pavise/internal/rowseal"
	"github.com/pavise/pavise/internal/table"
)

// Bounds are what one screening for a server takes at most.
type Bounds struct {
	Bytes int64 // of the dataset, and of the disk for a copy of it
	Cells int   // features and two more, times rows
	Rows  int   // of its seal, with headers and empty lines
	Files int   // 0: as many as a seal has
}

// UsualBounds keep one below about two GiB of memory.
var UsualBounds = Bounds{Bytes: 4 << 30, Cells: 1 << 24, Rows: 1 << 20, Files: 1 << 16}

// index bounds what the seal of a copy takes of the disk beside it. A file that is nothing but
// ends of lines has more bytes of digests than of its own.
func (b Bounds) index() func(n int64) error {
	const (
		each  = 40      // bytes of a row or block: its digest, and of its line end 5 at worst
		files = 2 << 10 // of a file, in the manifest and the journal
		rest  = 1 << 20
	)
	left := each*(int64(b.Rows)+b.Bytes>>16) + files*int64(cmp.Or(b.Files, rowseal.MaxFiles)) + rest
	return func(n int64) error {
		if n > left {
			return invalid("screen a part of it: put the parts into datasets of their own", "it has more than %d rows, empty lines counted, or files with very long names", b.Rows)
		}
		left -= n
		return nil
	}
}

// A Judge screens datasets for a server. It is safe for concurrent use.
type Judge struct {
	Bounds Bounds
	slots  chan struct{} // one is held by each that takes memory, though nobody may wait for it any more
}

// NewJudge returns a judge who screens so many datasets beside each other.
func NewJudge(b Bounds, slots int) *Judge { return &Judge{b, make(chan struct{}, slots)} }

// A Place is where a dataset lies.
type Place struct {
	Path   string // a file, a directory, or the address of a bucket
	Within string // the directory in which it has to lie
}

// Judge screens what lies at a place, if it has the root that is asked for. It copies it and seals
// the copy, so that what is judged is what the root is of, whoever writes there meanwhile. It
// returns as soon as ctx is done; a screen that is under way then ends by itself.
//
// Unguarded: a room of the house asks it, whose own caller was let in.
func (j *Judge) Judge(ctx context.Context, at Place, ask catalog.ToScreen) (catalog.Judged, *catalog.Report, error) {
	select {
	case j.slots <- struct{}{}:
	case <-ctx.Done():
		return catalog.Judged{}, nil, ctx.Err()
	}
	if ask.Time > 0 { // which nobody's wait for a turn counts against
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, ask.Time)
		defer cancel()
	}
	type verdict struct {
		judged catalog.Judged
		report *catalog.Report
		err    error
	}
	ended := make(chan verdict, 1)
	go func() {
		defer func() { <-j.slots }()
		var v verdict
		defer func() {
			if p := recover(); p != nil {
				v.err = &pavise.Error{Kind: pavise.Internal, Msg: fmt.Sprintf("screening it went wrong: %v", p), Hint: "look at what lies there, and report this"}
			}
			ended <- v
		}()
		v.judged, v.report, v.err = j.judge(ctx, at, ask)
	}()
	select {
	case v := <-ended:
		if ctx.Err() != nil { // whatever it was stopped at
			return catalog.Judged{}, nil, ctx.Err()
		}
		return v.judged, v.report, v.err
	case <-ctx.Done():
		return catalog.Judged{}, nil, ctx.Err()
	}
}

func (j *Judge) judge(ctx context.Context, at Place, ask catalog.ToScreen) (judged catalog.Judged, report *catalog.Report, err error) {
	ask.Say("it is copied …")
	into := filepath.Join(ask.Dir, "copy")
	if err := os.Mkdir(into, 0o700); err != nil {
		return judged, nil, &pavise.Error{Kind: pavise.Unavailable, Msg: "a copy cannot be written: " + err.Error(), Hint: "make room on the disk of the data directory", Err: err}
	}
	copied, err := (&dataset.Copy{Path: at.Path, Within: at.Within, Into: into, Most: j.Bounds.Bytes, Files: j.Bounds.Files}).Run(ctx)
	if err != nil {
		return judged, nil, err
	}
	seal := filepath.Join(ask.Dir, "copy.seal")
	made, err := (&dataset.Seal{Path: copied, Out: seal, Format: cmp.Or(ask.Place.Format, "auto"), ByBlock: ask.Place.ByBlock, Grow: j.Bounds.index()}).Run(ctx)
	if err != nil {
		return judged, nil, err
	}
	if made.Root != ask.Root {
		return judged, nil, &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("what lies there has the root %s, and not %s, which was to be screened", made.Root, ask.Root), Hint: "have it looked at, and ask again: pavise dataset check"}
	}
	s := &Screen{Say: ask.Say, Label: ask.Terms.Label, Source: ask.Terms.Source, Omit: ask.Terms.Omit, Seed: 1, Most: j.Bounds.Cells, MostRows: j.Bounds.Rows}
	key, apart, err := s.take(seal, copied)
	if err != nil {
		return judged, nil, err
	}
	trust := &trust{}
	if ask.Baseline != "" {
		if trust, err = j.trusted(ctx, ask.Baseline, s.Files); err != nil {
			return judged, nil, err
		}
		s.Trusted = trust.pass
	}
	result, err := s.Run(ctx)
	if err != nil {
		return judged, nil, err
	}
	judged, report = result.judged(key)
	all := len(apart)
	apart = slices.DeleteFunc(apart, func(f rowseal.File) bool { return trust.whole[f] })
	judged.Apart, judged.Untrusted = len(apart), len(trust.strange)
	report.Notes = append(trust.notes(), report.Notes...)
	if n := all - len(apart); n > 0 {
		report.Notes = append(report.Notes, fmt.Sprintf("%d files that are sealed by their bytes alone are those of the baseline", n))
	}
	if len(apart) > 0 {
		report.Notes = slices.Insert(report.Notes, 0, fmt.Sprintf("NOT LOOKED AT: %d files that are sealed by their bytes alone", len(apart)))
	}
	return judged, report, nil
}

// take has the files of a copy that its seal has by row be screened, and returns the key of the
// digests that are told of its rows, which whoever has all rows can make, and what other files there
// are.
func (s *Screen) take(seal, copied string) (key []byte, apart []rowseal.File, err error) {
	m, err := dataset.ReadManifest(seal)
	if err != nil {
		return nil, nil, err
	}
	x, err := rowseal.OpenIndex(seal+rowseal.IndexSuffix, m)
	if err != nil {
		return nil, nil, err
	}
	defer x.Close()
	sum := sha256.New()
	sum.Write([]byte("pavise screening/1\x00"))
	for i := range x.Sections() {
		section := x.Section(i)
		switch {
		case section.Format == rowseal.Link: // to one of the others
			continue
		case !section.Format.HasRows():
			apart = append(apart, section.File)
			continue
		case section.Rows == 0:
			continue
		}
		sum.Write(section.Digest[:])
		f := File{Path: copied, Name: rowseal.Shown(filepath.Base(copied)), Format: table.Format(section.Format), path: section.Path}
		if section.Path != "." {
			f.Path, f.Name = filepath.Join(copied, filepath.FromSlash(section.Path)), rowseal.Shown(section.Path)
		}
		if f.heading, err = headingOf(section); err != nil {
			return nil, nil, err
		}
		s.Files = append(s.Files, f)
	}
	if len(s.Files) == 0 {
		return nil, nil, invalid("write it as CSV, JSONL or Parquet, or watch it with --format", "none of its files is sealed by row, and rows are what is screened")
	}
	return sum.Sum(nil), apart, nil
}

// judged puts what came of a screening into what a server keeps.
func (s *Screened) judged(key []byte) (catalog.Judged, *catalog.Report) {
	j := catalog.Judged{Rows: s.Total, Trusted: s.Trusted, Columns: s.Columns, Quarantine: len(s.Quarantine), Dropped: s.Dropped, Screens: s.Screens}
	r := &catalog.Report{Rows: []catalog.Suspect{}, Quarantine: []string{}, Patterns: s.Patterns, Shifts: s.Shifts, Sources: s.Sources, Notes: s.Notes, Blind: s.Blind}
	order := make([]int, len(s.Rows))
	for i, row := range s.Rows {
		order[row.Rank-1] = i
	}
	for _, i := range order[:len(s.Quarantine)] {
		if len(r.Quarantine) == catalog.MaxQuarantine {
			break
		}
		row := s.Rows[i]
		digest := keyed(key, row.Hash)
		r.Quarantine = append(r.Quarantine, digest)
		if len(r.Rows) < catalog.MaxSuspects {
			r.Rows = append(r.Rows, catalog.Suspect{File: row.File, Row: uint64(row.SealRow), Score: row.Score, Digest: digest, Reasons: row.Reasons})
		}
	}
	r.More = len(s.Quarantine) - len(r.Quarantine)
	return j, r
}

// keyed is the digest that is told of a row: who has it and no other rows cannot test guesses.
func keyed(key []byte, hash string) string {
	digest, _ := hex.DecodeString(hash) // which was encoded here
	mac := hmac.New(sha256.New, key)
	mac.Write(digest)
	return hex.EncodeToString(mac.Sum(nil))
}
