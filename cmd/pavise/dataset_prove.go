package main

import (
	"context"
	"fmt"
	"reflect"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/catalog"
	"github.com/pavise/pavise/internal/dataset"
	"github.com/pavise/pavise/internal/rowseal"
	"github.com/pavise/pavise/internal/verbs"
)

// datasetProveCommand is pavise dataset prove. It proves from the index beside a seal, or has the
// server do so by the verb dataset.prove, which is no command of its own.
type datasetProveCommand struct {
	dataset.Prove
	Of      pavise.Name `help:"Instead of a seal: a dataset of the server, its id, or tenant/dataset/id. Takes --content." placeholder:"NAME"`
	Version int         `help:"With --of: the number of its version (default: the newest)." placeholder:"N"`
}

func (p *datasetProveCommand) run(ctx context.Context, c *cli) error {
	if p.Of != (pavise.Name{}) || p.Version != 0 {
		proved, err := p.asked(ctx, c)
		if err != nil {
			return err
		}
		return c.show(proved, nil)
	}
	c.warnOfKey(p.Key)
	proved, err := p.Run(ctx)
	if p.Check != "" && pavise.KindOf(err) == pavise.Unverified {
		if c.JSON && proved != nil {
			if err := c.printJSON(proved); err != nil {
				return err
			}
		}
		return &ending{foundSomething, err}
	}
	return c.show(proved, err)
}

// asked has the server prove it. What the server answers is believed as far as its proof goes.
func (p *datasetProveCommand) asked(ctx context.Context, c *cli) (*dataset.Proved, error) {
	if p.Of == (pavise.Name{}) || p.Content == "" || p.Seal != "" || p.Row != 0 || p.File != "" || p.Key != "" || p.Check != "" || p.Signer != "" || p.Root != "" {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: "a server proves what stands in a dataset of its own by a row's content alone", Hint: "give --of NAME and --content FILE, and of the others --version and -o alone"}
	}
	row, err := dataset.ReadRow(p.Content)
	if err != nil {
		return nil, err
	}
	client, err := c.client(ctx)
	if err != nil {
		return nil, err
	}
	var said catalog.Proof
	ask := verbs.DatasetProve{DatasetRef: verbs.DatasetRef{Name: p.Of}, Row: rowseal.Digest(row.Digest).String(), Version: p.Version, Parquet: row.Parquet}
	if err = c.completeNames(ctx, client, "dataset.prove", reflect.ValueOf(&ask).Elem()); err == nil {
		err = client.Call(ctx, "dataset.prove", ask, &said)
	}
	if err != nil {
		return nil, err
	}
	proved := &dataset.Proved{Seal: fmt.Sprintf("%s, version %d", said.Name, said.Version), Root: said.Root, Member: said.Member, Count: said.Count, Note: said.Note, Statement: said.Statement, Recorded: true}
	for _, at := range said.Spots {
		proved.Places = append(proved.Places, dataset.Place(at))
	}
	if err := proved.HoldTo(row); err != nil {
		return nil, err
	}
	return proved, proved.Keep(p.Out)
}
