package main

import (
	"context"

	"github.com/pavise/pavise/internal/drift/compare"
)

// driftCompareCommand is pavise drift compare: it reads files, needs no server, and records
// nothing.
type driftCompareCommand struct{ compare.Compare }

func (d *driftCompareCommand) run(ctx context.Context, c *cli) error {
	d.Say = c.saying()
	result, err := d.Run(ctx)
	if err := c.show(result, err); err != nil {
		return err
	}
	switch result.Verdict {
	case compare.Drifted:
		return &ending{code: foundSomething}
	case compare.Unclear:
		return &ending{code: couldNotLook}
	}
	return nil
}
