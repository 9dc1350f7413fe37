package exposure

import (
	"context"

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

The events are those of files (--events), or those that a server was told of at
POST /api/v1/lineage, which holds them to the seals that it keeps, too.

The exit code is 0, 1 if a claim is refuted, and 2 if nothing can be said.

For example:

  pavise dataset lineage fraud-model --events runs.jsonl --seal s3://lake/rows=rows.seal
  pavise dataset lineage fraud-model`
}

// Run reads the events and seals. Errors are of kind Invalid, NotFound, Denied, and
// Unverified for a seal that was changed.
//
// Unguarded: whoever runs it reads their own files, as themselves; no principal of an
// installation acts.
func (t *Trace) Run(context.Context) (*lineage.Traced, error) {
	g, _, reading, err := t.graph()
	if err != nil {
		return nil, err
	}
	traced, err := g.Trace(t.Dataset, t.Depth)
	if err != nil {
		return nil, err
	}
	traced.Reading, traced.DOT = reading, t.DOT
	return traced, nil
}

// Question is what to ask a server. Errors are as those of Run.
func (t *Trace) Question() (lineage.Question, error) {
	_, named, err := t.named()
	return lineage.Question{Dataset: t.Dataset, Depth: t.Depth, Seals: named}, err
}
