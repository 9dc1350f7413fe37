package exposure

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/lineage"
)

// Trace says what is behind a dataset and what came after it. Its fields are flags of the
// command line.
type Trace struct {
	Dataset string `arg:"" optional:"" help:"The dataset or model, as events name it: NAMESPACE/NAME, or NAME. Without it, all that are named are listed."`
	Told
	Depth int  `help:"So many runs away at most, on either side; 0 is as far as it goes." default:"0"`
	DOT   bool `help:"Write a picture for Graphviz: pipe it to dot -Tsvg." name:"dot"`
}

// Help is the text behind the command's flags.
func (*Trace) Help() string {
	return `Says which runs made a dataset or a model, of what, and what came after it, as
pipelines told it in OpenLineage events. Each claim is held to the seals that are
given: a run that names another seal than the dataset ever had is refuted, and told.
Events name a seal in the facet pavise_seal of a dataset: {"root": "…", "rows": N}.

The exit code is 0, 1 if a claim is refuted, and 2 if nothing can be said.

For example:

  pavise dataset lineage fraud-model --events runs.jsonl --seal s3://lake/rows=rows.seal`
}

// Traced is what was told of a dataset; or, without one, of all.
type Traced struct {
	*lineage.Picture
	Datasets []lineage.Dataset `json:"datasets,omitempty"` // all that are named, where none was asked for
	Reading
	Refuted  int  `json:"refuted"`  // claims in the picture that the seals refute
	Recorded bool `json:"recorded"` // this command leaves no record

	dot bool
}

// Run reads the events and seals. Errors are of kind Invalid, NotFound, Denied, and
// Unverified for a seal that was changed.
//
// Unguarded: whoever runs it reads their own files, as themselves; no principal of an
// installation acts.
func (t *Trace) Run(context.Context) (*Traced, error) {
	g, _, reading, err := t.graph()
	if err != nil {
		return nil, err
	}
	traced := &Traced{Reading: reading, dot: t.DOT}
	if t.Dataset == "" {
		traced.Datasets = g.Datasets()
		return traced, nil
	}
	of, err := findDataset(g, t.Dataset)
	if err != nil {
		return nil, err
	}
	if len(of) > 1 {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%d datasets are written %.200q", len(of), t.Dataset), Hint: fmt.Sprintf("write it as NAMESPACE NAME, with a space: %q or %q", of[0], of[1])}
	}
	picture := g.Around(of[0], t.Depth)
	for _, e := range picture.Edges {
		if e.Standing == lineage.Refuted {
			traced.Refuted++
		}
	}
	traced.Picture = &picture
	return traced, nil
}

// Print prints it for people, or as a picture for Graphviz.
func (t *Traced) Print(w io.Writer) {
	if t.Picture == nil {
		for _, d := range t.Datasets {
			fmt.Fprintf(w, "%s/%s\n", d.Namespace, d.Name)
		}
		t.print(w)
		return
	}
	if t.dot {
		t.WriteDOT(w)
		return
	}
	runs := 0
	for _, n := range t.Nodes {
		if n.Run != nil {
			runs++
		}
	}
	fmt.Fprintf(w, "%s/%s: %d runs and %d datasets, as %d events tell\n\n", t.Of.Namespace, t.Of.Name, runs, len(t.Nodes)-runs, t.Events)
	columns := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, e := range t.Edges {
		job := ""
		for _, n := range t.Nodes {
			if n.Run != nil && n.Run.ID == e.Claim.Run {
				job = n.Run.Job.Name
			}
		}
		did := "read"
		if e.Claim.Writes {
			did = "wrote"
		}
		fmt.Fprintf(columns, "  %s\t%s\t%s\t%s/%s\t%s\n", e.Claim.Run[:8], job, did, e.Claim.Use.Namespace, e.Claim.Use.Name, e.Standing)
	}
	columns.Flush()
	for _, e := range t.Edges {
		if e.Standing == lineage.Refuted {
			fmt.Fprintf(w, "\nrefuted: run %s and %s: %s\n", e.Claim.Run, e.Claim.Use.Dataset, e.Why)
		}
	}
	if t.More {
		fmt.Fprintln(w, "\nThere is more than a picture holds; --depth bounds it.")
	}
	t.print(w)
}

// print tells of the events that could not be read.
func (r *Reading) print(w io.Writer) {
	for _, u := range r.Unread {
		fmt.Fprintf(w, "not read: %s, %d: %s\n", u.File, u.At, u.Why)
	}
	if more := r.Refused - len(r.Unread); more > 0 {
		fmt.Fprintf(w, "not read: %d more\n", more)
	}
}
