package dataset

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/pavise/pavise/internal/rowseal"
)

// Compare holds one seal to another. Its fields are arguments of the command line.
type Compare struct {
	Old string `arg:"" name:"old" help:"The seal of the content before."`
	New string `arg:"" name:"new" help:"The seal of the content now."`
}

// Help is the text behind the command's flags.
func (*Compare) Help() string {
	return `Says what lies between two seals, without the content: files that were added, removed,
renamed or changed, and in those the rows, counted from 1 with a header. To name rows it
needs the indexes that were written beside the seals.

It exits with 0 when both are of the same content, with 1 when something differs, and with
2 when it could not look.

For example:

  pavise dataset diff monday.seal tuesday.seal`
}

// Compared is what came of it.
type Compared struct {
	Old         string         `json:"old"`
	New         string         `json:"new"`
	OldRoot     rowseal.Digest `json:"old_root"`
	NewRoot     rowseal.Digest `json:"new_root"`
	Same        bool           `json:"same"`
	Note        string         `json:"note,omitempty"`
	Differences []Difference   `json:"differences"`
	Recorded    bool           `json:"recorded"` // this command leaves no record
}

// Run compares. Errors are of kind Invalid, Unverified, NotFound and Denied.
//
// Unguarded: whoever runs it reads their own files, as themselves; no principal of an
// installation acts.
func (c *Compare) Run(ctx context.Context) (*Compared, error) {
	a, err := ReadManifest(c.Old)
	if err != nil {
		return nil, err
	}
	b, err := ReadManifest(c.New)
	if err != nil {
		return nil, err
	}
	result := &Compared{Old: c.Old, New: c.New, OldRoot: a.Root, NewRoot: b.Root, Differences: []Difference{}}
	if result.Same = a.Root == b.Root; result.Same {
		return result, nil
	}
	ax, notA := rowseal.OpenIndex(c.Old+rowseal.IndexSuffix, a)
	if notA == nil {
		defer ax.Close()
	}
	bx, notB := rowseal.OpenIndex(c.New+rowseal.IndexSuffix, b)
	if notB == nil {
		defer bx.Close()
	}
	for _, err := range []error{notA, notB} {
		if err != nil {
			ax, result.Note = nil, "rows cannot be named: "+message(err)
		}
	}
	sections := make([]rowseal.Section, len(b.Files))
	for i := range sections {
		sections[i].File = b.Files[i]
		if notB == nil {
			sections[i] = *bx.Section(i)
		}
	}
	found, err := compareFiles(ctx, a, ax, sections, allWorkers())
	if err != nil {
		return nil, err
	}
	result.Differences = append(result.Differences, found...)
	return result, nil
}

// Print prints it for people.
func (c *Compared) Print(w io.Writer) {
	if c.Same {
		fmt.Fprintln(w, "Both are seals of the same content.")
	} else {
		fmt.Fprintf(w, "%s between %s and %s.\n", counted(uint64(len(c.Differences)), "difference"), rowseal.Shown(c.Old), rowseal.Shown(c.New))
	}
	printDifferences(w, c.Differences, strings.TrimSuffix(filepath.Base(c.Old), ".seal"))
	fmt.Fprintln(w)
	fact(w, "old root", "%s", c.OldRoot)
	fact(w, "new root", "%s", c.NewRoot)
	if c.Note != "" {
		fact(w, "note", "%s", c.Note)
	}
	unrecorded(w)
}
