package main

import (
	"context"

	"github.com/pavise/pavise/internal/contract"
)

// The commands on data contracts read files, need no server, and record nothing.
type (
	draftCommand struct{ contract.Drafting }
	checkCommand struct{ contract.Checking }
)

func (d *draftCommand) run(ctx context.Context, c *cli) error {
	drafted, err := d.Run(ctx)
	return c.show(drafted, err)
}

func (k *checkCommand) run(ctx context.Context, c *cli) error {
	checked, err := k.Run(ctx)
	return c.showFound(checked, err, func() bool { return !checked.Kept })
}
