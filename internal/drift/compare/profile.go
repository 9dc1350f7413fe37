package compare

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/drift"
	"github.com/pavise/pavise/internal/figure"
)

// Profile makes a baseline of rows in a file. Its fields are what is asked for on a command
// line.
type Profile struct {
	Rows string `arg:"" help:"The rows that are as they should be: CSV, JSONL or Parquet."`
	Out  string `required:"" placeholder:"FILE" help:"Where the baseline goes; it must not be there yet."`

	Say func(text string) `kong:"-" json:"-"` // told how far it is; nil: nobody watches
}

// Help says what a baseline is for. It is kong's hook for a command's help.
func (*Profile) Help() string {
	return `Counts each column of the rows into bins at its own quantiles, and writes bins and counts: no row is in it.
A server holds what a model is asked, and answers, to it, column by column, by their names.

  pavise drift profile training.parquet --out baseline.json
  pavise drift baseline threat-detector --file baseline.json --reason trained-anew`
}

// A Profiled is a baseline that was written.
type Profiled struct {
	File     string   `json:"file"`
	Rows     uint64   `json:"rows"`
	Features []string `json:"features"`
	Passed   []string `json:"passed"` // columns of lists, of nothing, or with under 30 values
	Digest   string   `json:"digest"`
	Recorded bool     `json:"recorded"`
}

// Run makes it, and writes it. Errors are that the rows cannot be read, or the baseline not be
// written.
func (p *Profile) Run(ctx context.Context) (*Profiled, error) {
	b, passed, err := p.baseline(ctx)
	if err != nil {
		return nil, err
	}
	made := &Profiled{File: p.Out, Rows: b.Rows, Features: []string{}, Passed: passed, Digest: b.Digest()}
	for _, f := range b.Features {
		made.Features = append(made.Features, f.Name)
	}
	out, err := os.OpenFile(p.Out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err == nil {
		_, err = out.Write(b.Text())
		if closed := out.Close(); err == nil {
			err = closed
		}
	}
	if err != nil {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the baseline cannot be written: %v", err), Hint: "name a file that is not there yet: --out FILE", Err: err}
	}
	return made, nil
}

// baseline reads the rows twice: for what columns hold, and to count it.
func (p *Profile) baseline(ctx context.Context) (b *drift.Baseline, passed []string, err error) {
	c := &Compare{Baseline: p.Rows, Say: p.Say}
	r := &Result{}
	columns, err := c.learn(ctx, r)
	if err != nil {
		return nil, nil, err
	}
	for _, col := range columns {
		col.settle()
	}
	if _, err := c.count(ctx, p.Rows, columns, false); err != nil {
		return nil, nil, err
	}
	b, passed = &drift.Baseline{Format: drift.BaselineFormat, Rows: r.Baseline.Rows}, []string{}
	for _, col := range columns {
		if col.references == nil && col.categories == nil || col.base.Rows() < drift.LeastRows || len(b.Features) == drift.MaxFeatures {
			passed = append(passed, col.name)
			continue
		}
		b.Features = append(b.Features, drift.ProfileOf(col.name, "", drift.Feature{Numbers: col.references, Categories: col.categories, Base: &col.base}))
	}
	if len(b.Features) == 0 {
		return nil, nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s has no column of which a baseline could be made", p.Rows), Hint: "give 30 rows at least, with columns of numbers or texts"}
	}
	return b, passed, nil
}

// Print shows it to people.
func (p *Profiled) Print(w io.Writer) {
	fmt.Fprintf(w, "%s: %s of %s, %s\n", p.File, figure.Count(len(p.Features), "feature"), figure.Count(p.Rows, "row"), p.Digest)
	for _, name := range p.Passed {
		fmt.Fprintf(w, "%q is not in it: it holds lists, nothing, or too little\n", name)
	}
}
