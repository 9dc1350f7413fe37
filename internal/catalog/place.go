package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/lineage"
	"github.com/pavise/pavise/internal/rowseal"
)

// A Place is where a dataset lies, and how what lies there is sealed.
type Place struct {
	URL     string   `json:"url"`
	Format  string   `json:"format,omitempty"`   // take every file for this: csv, jsonl, parquet or blocks; empty: what its name says
	ByBlock []string `json:"by_block,omitempty"` // names of files that are sealed by their bytes alone, with * and ?
}

// Places seal what lies at places, and hold it to seals.
type Places interface {
	// Allowed refuses a place that nobody here looks at, without looking: of kind Invalid or
	// Denied.
	Allowed(at Place) error
	// Seal seals what lies there into the file out, with the index out.rows, or goes on where
	// an earlier call with the same out was stopped, and says how many files that one had
	// finished. Where it is done, out is there whole. It asks grow before it writes so many
	// bytes more, and ends with its error. Errors are of kind Invalid for what cannot be sealed,
	// Conflict for what changed meanwhile, and NotFound, Denied or Unavailable for what cannot
	// be reached.
	Seal(ctx context.Context, at Place, out string, grow func(n int64) error) (resumed int, err error)
	// Hold holds what lies there to a seal, which has its index beside it, and returns what
	// differs, and how many files it did not read because nobody seemed to have written to
	// them: fast believes that, otherwise there are none.
	Hold(ctx context.Context, at Place, seal string, fast bool) (differ Differences, trusted int, err error)
}

// Differences are what became of files, between two contents.
type Differences struct {
	Files []Difference `json:"files"`          // the first of them
	More  int          `json:"more,omitempty"` // so many others are not listed
	Why   string       `json:"why,omitempty"`  // something differs, and what cannot be said: why
}

// A Difference is what became of one file.
type Difference struct {
	File    string   `json:"file"`
	What    string   `json:"what"`                   // added, removed, renamed or changed
	To      string   `json:"to,omitempty"`           // the new path of a file that was renamed
	Note    string   `json:"note,omitempty"`         // what else is to be said
	Changed []uint64 `json:"rows_changed,omitempty"` // the first rows, by their numbers before, from 1
	Removed []uint64 `json:"rows_removed,omitempty"` // by their numbers before
	Added   []uint64 `json:"rows_added,omitempty"`   // by their numbers now
	Rows    uint64   `json:"rows,omitempty"`         // how many rows differ
	Blocks  []uint64 `json:"blocks,omitempty"`       // of 64 KiB, where there are no rows
}

// The bounds of what is listed.
const (
	MaxFiles = 20 // files that differ
	MaxRows  = 20 // rows of each kind, and blocks, of a file
)

// What a record has room for, in bytes. Somebody else chose the names of files: a change that
// is too long to be told is not to be one that nobody is told of.
const (
	maxDiffer = 12 << 10 // of what differs, as JSON
	maxName   = 256      // of a file's name
	maxSaid   = 500      // of why something is so
)

// cut shortens a text, between characters.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

// fit returns as much of what differs as a record has room for.
func (d Differences) fit() Differences {
	fits := Differences{Files: []Difference{}, More: d.More, Why: cut(d.Why, maxSaid)}
	size := 0
	for i, f := range d.Files {
		f.File, f.To, f.Note = cut(f.File, maxName), cut(f.To, maxName), cut(f.Note, maxSaid)
		f.Changed, f.Removed, f.Added, f.Blocks = few(f.Changed), few(f.Removed), few(f.Added), few(f.Blocks)
		text, err := json.Marshal(f)
		if size += len(text); err != nil || size > maxDiffer || i == MaxFiles {
			fits.More += len(d.Files) - i
			break
		}
		fits.Files = append(fits.Files, f)
	}
	return fits
}

func few(rows []uint64) []uint64 { return rows[:min(len(rows), MaxRows)] }

// grew reports whether all that was sealed is still there, and more beside it.
func (d Differences) grew() bool {
	for _, f := range d.Files {
		if f.What != "added" && (f.What != "changed" || len(f.Changed)+len(f.Removed)+len(f.Blocks) > 0 || len(f.Added) == 0) {
			return false
		}
	}
	return d.More == 0 && d.Why == ""
}

// words says what differs in a sentence.
func (d Differences) words() string {
	if d.Why != "" {
		return "what differs cannot be said: " + d.Why
	}
	var said []string
	for _, f := range d.Files {
		if len(said) == 3 {
			break
		}
		said = append(said, f.words())
	}
	text := strings.Join(said, "; ")
	if more := len(d.Files) - len(said) + d.More; more > 0 {
		text += fmt.Sprintf("; and %d more files", more)
	}
	return text
}

func (f Difference) words() string {
	file := rowseal.Shown(f.File)
	if f.File == "." {
		file = "the file"
	}
	var rows []string
	for _, list := range []struct {
		what string
		of   []uint64
	}{{"changed", f.Changed}, {"removed", f.Removed}, {"added", f.Added}} {
		if len(list.of) > 0 {
			rows = append(rows, "row "+numbers(list.of)+" "+list.what)
		}
	}
	switch {
	case len(rows) > 0:
		return file + ": " + strings.Join(rows, ", ")
	case len(f.Blocks) > 0:
		return file + ": block " + numbers(f.Blocks) + " changed"
	case f.To != "":
		return file + " renamed to " + rowseal.Shown(f.To)
	}
	return file + " " + f.What
}

// numbers lists the first numbers.
func numbers(list []uint64) string {
	const most = 5
	var said []string
	for _, n := range list[:min(len(list), most)] {
		said = append(said, fmt.Sprint(n))
	}
	if len(list) > most {
		said = append(said, "…")
	}
	return strings.Join(said, ", ")
}

// The bounds of a watch.
const (
	minEvery  = time.Minute
	maxEvery  = 31 * 24 * time.Hour
	minFull   = 1
	maxFull   = 1000
	usualFull = 24
	maxURL    = 2048
	maxCalled = 1024
	maxGlobs  = 64
)

// ParseCalled reads what OpenLineage calls a dataset: NAMESPACE/NAME, where a namespace that
// is an address ends with its host, and any other with the first slash; or, for all others,
// NAMESPACE NAME, with a space. The error is of kind Invalid.
func ParseCalled(text string) (lineage.Dataset, error) {
	space, name, ok := strings.Cut(text, " ")
	if !ok {
		from := 0
		if at := strings.Index(text, "://"); at >= 0 {
			from = at + len("://")
		}
		at := strings.IndexByte(text[from:], '/')
		if ok = at >= 0; ok {
			space, name = text[:from+at], text[from+at+1:]
		}
	}
	odd := func(r rune) bool { return !unicode.IsGraphic(r) }
	if !ok || space == "" || name == "" || len(text) > maxCalled || !utf8.ValidString(text) || strings.ContainsFunc(text, odd) {
		return lineage.Dataset{}, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%.100q is no name of a dataset in OpenLineage", text), Hint: "write NAMESPACE/NAME, for example s3://lake/rows, or NAMESPACE NAME in quotes"}
	}
	return lineage.Dataset{Namespace: space, Name: name}, nil
}
