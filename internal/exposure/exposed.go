package exposure

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/dataset"
	"github.com/pavise/pavise/internal/lineage"
	"github.com/pavise/pavise/internal/rowseal"
)

// Expose says which runs and models saw a row. Its fields are flags of the command line.
type Expose struct {
	Content string   `help:"The row: a file with one record, as it stands in the data. It is looked for in every seal, whose index must lie beside it." xor:"what" required:"" placeholder:"FILE"`
	Root    []string `help:"The root of a seal that has the row, where that is known already; may be repeated." xor:"what" required:"" placeholder:"HEX"`
	Told
}

// Help is the text behind the command's flags.
func (*Expose) Help() string {
	return `Says which training runs saw a row, and which models and datasets came of it: the row
is looked for in the seals, and the runs that read what has it, those that read what
these wrote, and so on, are found in OpenLineage events. Each is proven (every step
names a seal that is here), claimed (every read names a seal) or possible (some read
goes by a dataset's name alone). A run that names another seal of the dataset, which
has not the row, is left out.

The exit code is 0 if nothing saw the row, 1 if something did or may have, and 2 if
nothing can be said: an event cannot be read, or a seal has files whose rows it does not
know, and nothing else saw it.

For example:

  pavise dataset exposed --content row.csv --events runs.jsonl --seal s3://lake/rows=rows.seal`
}

// A Holding says where in a seal a row stands.
type Holding struct {
	Seal   string          `json:"seal"`
	Root   rowseal.Digest  `json:"root"`
	Count  uint64          `json:"count"`            // how often; 0: it is not in it
	Places []dataset.Place `json:"places,omitempty"` // at most 1,000
	Note   string          `json:"note,omitempty"`
}

// Exposed is who saw the row.
type Exposed struct {
	Holdings []Holding `json:"seals,omitempty"` // where the row was looked for
	lineage.Exposure
	Reading
	Unsure   []string `json:"unsure,omitempty"` // why something may have seen the row all the same
	Recorded bool     `json:"recorded"`         // this command leaves no record
}

// Found reports whether anything saw the row, or may have.
func (e *Exposed) Found() bool { return len(e.Runs) > 0 }

// doubts says why nobody can know that nothing saw the row.
func (e *Exposed) doubts(seals []sealedDataset) {
	if e.Refused > 0 {
		e.Unsure = append(e.Unsure, fmt.Sprintf("%d events could not be read, and may be of runs that saw it", e.Refused))
	}
	for i, h := range e.Holdings {
		switch {
		case h.Count > 0 && !seals[i].named:
			e.Unsure = append(e.Unsure, fmt.Sprintf("nobody says of which dataset %s is: write --seal DATASET=%s", h.Seal, h.Seal))
		case h.Count == 0 && h.Note != "":
			e.Unsure = append(e.Unsure, h.Seal+": "+h.Note)
		case h.Count == 0 && byBlock(seals[i].of):
			e.Unsure = append(e.Unsure, h.Seal+" has files that were sealed by their bytes, in which no row is looked for")
		}
	}
}

// byBlock reports whether a seal has files whose rows it does not know.
func byBlock(m *rowseal.Manifest) bool {
	return slices.ContainsFunc(m.Files, func(f rowseal.File) bool { return f.Format == rowseal.Blocks && f.Size > 0 })
}

// Run looks for the row, and for what came of it. Errors are of kind Invalid, NotFound,
// Denied, and Unverified for a seal or an index that was changed.
//
// Unguarded: whoever runs it reads their own files, as themselves; no principal of an
// installation acts.
func (x *Expose) Run(ctx context.Context) (*Exposed, error) {
	g, seals, reading, err := x.graph()
	if err != nil {
		return nil, err
	}
	found := &Exposed{Reading: reading}
	roots := x.Root
	for _, root := range roots {
		if digest, err := hex.DecodeString(root); err != nil || len(digest) != len(rowseal.Digest{}) {
			return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%.80q is no root of a seal", root), Hint: "a root has 64 hex digits; a seal has it as root"}
		}
	}
	if x.Content != "" {
		if len(seals) == 0 {
			return nil, &pavise.Error{Kind: pavise.Invalid, Msg: "there is no seal to look for the row in", Hint: "name those of what was trained on: --seal DATASET=FILE"}
		}
		for _, s := range seals {
			holding, err := x.find(ctx, s)
			if err != nil {
				return nil, err
			}
			if found.Holdings = append(found.Holdings, holding); holding.Count > 0 {
				roots = append(roots, holding.Root.String())
			}
		}
	}
	found.Exposure = g.Exposed(roots)
	if found.doubts(seals); !found.Found() && len(found.Unsure) > 0 {
		return nil, &pavise.Error{Kind: pavise.Unverified, Msg: "nothing is known to have seen the row, and that is not sure: " + strings.Join(found.Unsure, "; "), Hint: "mend that, and ask again; pavise dataset lineage --events FILE tells which events cannot be read"}
	}
	return found, nil
}

// find looks for the row in one seal.
func (x *Expose) find(ctx context.Context, s sealedDataset) (Holding, error) {
	proved, err := (&dataset.Prove{Seal: s.file, Content: x.Content}).Run(ctx)
	if err != nil {
		return Holding{}, err
	}
	return Holding{Seal: s.file, Root: proved.Root, Count: proved.Count, Places: proved.Places, Note: proved.Note}, nil
}

// more says how often a row stands there, if that is more than once.
func more(count uint64) string {
	if count == 1 {
		return ""
	}
	return fmt.Sprintf(", and %d times in all", count)
}

// Print prints it for people.
func (e *Exposed) Print(w io.Writer) {
	for _, h := range e.Holdings {
		if h.Count == 0 {
			fmt.Fprintf(w, "%s has no such row\n", h.Seal)
			continue
		}
		fmt.Fprintf(w, "%s has it in %s, row %d%s\n", h.Seal, h.Places[0].File, h.Places[0].Row, more(h.Count))
	}
	fmt.Fprintf(w, "\n%d runs, %d models and %d datasets came after it, as %d events tell\n", len(e.Runs), len(e.Models), len(e.Datasets), e.Events)
	columns := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, list := range []struct {
		kind string
		all  []lineage.Exposed
	}{{"model", e.Models}, {"run", e.Runs}, {"dataset", e.Datasets}} {
		for i, x := range list.all {
			if i == 0 {
				fmt.Fprintln(columns)
			}
			what := ""
			if x.Run != nil {
				what = x.Run.ID + " of " + x.Run.Job.Name
			} else {
				what = x.Dataset.Namespace + "/" + x.Dataset.Name
			}
			fmt.Fprintf(columns, "  %s\t%s\t%s\t%d away\t%s\n", x.Sure, list.kind, what, x.Steps, x.Why)
		}
	}
	columns.Flush()
	for _, why := range e.Unsure {
		fmt.Fprintf(w, "\nThere may be more: %s.\n", why)
	}
	e.print(w)
}
