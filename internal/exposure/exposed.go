package exposure

import (
	"context"
	"fmt"
	"slices"

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

The events are those of files (--events), or those that a server was told of. With
--seal the row is looked for here, and only roots go to the server; without, the
digest of the row goes there, and is looked for in the seals that the server keeps. The
row itself stays here.

The exit code is 0 if nothing saw the row, 1 if something did or may have, and 2 if
nothing can be said: an event cannot be read, or a seal has files whose rows it does not
know, and nothing else saw it.

For example:

  pavise dataset exposed --content row.csv --events runs.jsonl --seal s3://lake/rows=rows.seal
  pavise dataset exposed --content row.csv --seal s3://lake/rows=rows.seal`
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
func (x *Expose) Run(ctx context.Context) (*lineage.Sightings, error) {
	g, seals, reading, err := x.graph()
	if err != nil {
		return nil, err
	}
	found := &lineage.Sightings{Reading: reading}
	roots, holdings, err := x.roots(ctx, seals)
	if err != nil {
		return nil, err
	}
	found.Look(g, roots)
	found.Hold(holdings)
	if err := found.Settle(); err != nil {
		return nil, err
	}
	return found, nil
}

// Search is what to ask a server for: the row is looked for here, where there are seals, and
// only roots go there; else its digest goes. Holdings say where it was found. Errors are as
// those of Run.
//
// Unguarded: it reads files of whoever runs it; the server asks who they are.
func (x *Expose) Search(ctx context.Context) (lineage.Search, []lineage.Holding, error) {
	seals, named, err := x.named()
	if err != nil {
		return lineage.Search{}, nil, err
	}
	search := lineage.Search{Seals: named}
	if x.Content != "" && len(seals) == 0 {
		row, err := dataset.RowDigest(x.Content)
		search.Row = rowseal.Digest(row).String()
		return search, nil, err
	}
	roots, holdings, err := x.roots(ctx, seals)
	search.Roots = roots
	return search, holdings, err
}

// roots are those of the seals that have the row.
func (x *Expose) roots(ctx context.Context, seals []sealedDataset) (roots []string, holdings []lineage.Holding, err error) {
	for _, root := range x.Root {
		if err := lineage.CheckRoot(root); err != nil {
			return nil, nil, err
		}
	}
	if x.Content == "" {
		return x.Root, nil, nil
	}
	if len(seals) == 0 {
		return nil, nil, &pavise.Error{Kind: pavise.Invalid, Msg: "there is no seal to look for the row in", Hint: "name those of what was trained on: --seal DATASET=FILE"}
	}
	for _, s := range seals {
		holding, err := x.find(ctx, s)
		if err != nil {
			return nil, nil, err
		}
		if holdings = append(holdings, holding); holding.Count > 0 {
			roots = append(roots, holding.Root)
		}
	}
	return roots, holdings, nil
}

// find looks for the row in one seal.
func (x *Expose) find(ctx context.Context, s sealedDataset) (lineage.Holding, error) {
	proved, err := (&dataset.Prove{Seal: s.file, Content: x.Content}).Run(ctx)
	if err != nil {
		return lineage.Holding{}, err
	}
	h := lineage.Holding{Seal: s.file, Root: proved.Root.String(), Count: proved.Count, Note: proved.Note}
	for _, p := range proved.Places {
		h.Places = append(h.Places, lineage.Place(p))
	}
	switch {
	case h.Count > 0 && s.dataset == "":
		h.Unsure = fmt.Sprintf("nobody says of which dataset %s is: write --seal DATASET=%s", h.Seal, h.Seal)
	case h.Count == 0 && h.Note != "":
		h.Unsure = h.Seal + ": " + h.Note
	case h.Count == 0 && byBlock(s.of):
		h.Unsure = h.Seal + " has files that were sealed by their bytes, in which no row is looked for"
	}
	return h, nil
}
