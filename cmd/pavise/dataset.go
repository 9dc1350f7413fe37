package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/dataset"
	"github.com/pavise/pavise/internal/exposure"
	"github.com/pavise/pavise/internal/lineage"
	"github.com/pavise/pavise/internal/plainfile"
)

// datasetCommands are the commands about what models are trained on.
var datasetCommands = []reflect.StructField{
	{Name: "Seal", Type: reflect.TypeFor[sealCommand](), Tag: `cmd:"" help:"Seal files, so that every change is named by its row."`},
	{Name: "Verify", Type: reflect.TypeFor[datasetVerifyCommand](), Tag: `cmd:"" help:"Hold files to their seal."`},
	{Name: "Diff", Type: reflect.TypeFor[datasetDiffCommand](), Tag: `cmd:"" help:"Say what lies between two seals."`},
	{Name: "Prove", Type: reflect.TypeFor[datasetProveCommand](), Tag: `cmd:"" help:"Prove that a row was sealed, or that none like it was; or check such a proof."`},
	{Name: "Screen", Type: reflect.TypeFor[datasetScreenCommand](), Tag: `cmd:"" help:"Say which rows of training data look poisoned."`},
	{Name: "Lineage", Type: reflect.TypeFor[lineageCommand](), Tag: `cmd:"" help:"Say what is behind a dataset or model, and what came after it."`},
	{Name: "Exposed", Type: reflect.TypeFor[exposedCommand](), Tag: `cmd:"" help:"Say which runs and models saw a row."`},
}

// The dataset commands work on files, need no server, and record nothing; but for a seal
// that is handed over, and a proof that the server makes.
type (
	datasetVerifyCommand struct{ dataset.Verify }
	datasetDiffCommand   struct{ dataset.Compare }
	lineageCommand       struct{ exposure.Trace }
	exposedCommand       struct{ exposure.Expose }
)

func (v *datasetVerifyCommand) run(ctx context.Context, c *cli) error {
	v.Say = c.watched()
	verified, err := v.Run(ctx)
	if pavise.KindOf(err) == pavise.Unverified { // the seal, its signature or its trees are not what they say
		c.counted()
		return &ending{foundSomething, err}
	}
	return c.showFound(verified, err, func() bool { return !verified.Clean })
}

func (d *datasetDiffCommand) run(ctx context.Context, c *cli) error {
	compared, err := d.Run(ctx)
	return c.showFound(compared, err, func() bool { return !compared.Same })
}

func (t *lineageCommand) run(ctx context.Context, c *cli) error {
	traced, err := t.ask(ctx, c)
	return c.showFound(traced, err, func() bool { return traced.Refuted > 0 })
}

// ask has the events of files answer, or where there are none the server.
func (t *lineageCommand) ask(ctx context.Context, c *cli) (*lineage.Traced, error) {
	if len(t.Events) > 0 {
		return t.Run(ctx)
	}
	question, err := t.Question()
	if err != nil {
		return nil, err
	}
	traced := &lineage.Traced{}
	err = c.dataset(ctx, "dataset.lineage", question, traced)
	traced.DOT = t.DOT
	return traced, err
}

func (x *exposedCommand) run(ctx context.Context, c *cli) error {
	exposed, err := x.ask(ctx, c)
	return c.showFound(exposed, err, func() bool { return exposed.Found() })
}

// ask has the events of files answer, or where there are none the server.
func (x *exposedCommand) ask(ctx context.Context, c *cli) (*lineage.Sightings, error) {
	if len(x.Events) > 0 {
		return x.Run(ctx)
	}
	search, holdings, err := x.Search(ctx)
	if err != nil {
		return nil, err
	}
	seen := &lineage.Sightings{}
	if err := c.dataset(ctx, "dataset.exposed", search, seen); err != nil {
		return nil, err
	}
	seen.Hold(holdings)
	return seen, seen.Settle()
}

// dataset asks the server. Where there is none, events in files would do.
func (c *cli) dataset(ctx context.Context, verb string, request, answer any) error {
	client, err := c.client(ctx)
	if err == nil {
		return client.Call(ctx, verb, request, answer)
	}
	if e, ok := errors.AsType[*pavise.Error](err); ok {
		return &pavise.Error{Kind: e.Kind, Msg: e.Msg, Hint: e.Hint + "; or give the events in files: --events FILE", Err: err}
	}
	return err
}

// warnOfKey warns of a private key that others on the machine can reach. It is used all the
// same: whoever has the machine alone is not kept from signing.
func (c *cli) warnOfKey(name string) {
	if name != "" && plainfile.Shared(name) {
		c.say("warning", &pavise.Error{Kind: pavise.Denied, Msg: "the private key in " + name + " can be reached by others than its owner", Hint: "chmod 600 " + name})
	}
}

// watched shows how far long work is, to whoever watches.
func (c *cli) watched() func(text string) {
	if c.JSON {
		return nil
	}
	return func(text string) { fmt.Fprintf(c.stderr.Progress, "\r\033[K%s", text); c.counts = true }
}

// showFound prints what came of a search, and ends with the exit code for it.
func (c *cli) showFound(result interface{ Print(io.Writer) }, err error, found func() bool) error {
	if err := c.show(result, err); err != nil {
		return err
	}
	if found() {
		return &ending{code: foundSomething}
	}
	return nil
}
