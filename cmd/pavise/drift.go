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

// driftProfileCommand is pavise drift profile: it reads a file and writes another, needs no
// server, and records nothing.
type driftProfileCommand struct{ compare.Profile }

func (d *driftProfileCommand) run(ctx context.Context, c *cli) error {
	d.Say = c.saying()
	made, err := d.Run(ctx)
	return c.show(made, err)
}
