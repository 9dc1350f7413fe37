package main

import (
	"context"
	"fmt"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/cases"
)

// policyTestCommand is pavise policy test: it reads files, needs no server, and records
// nothing.
type policyTestCommand struct{ cases.Test }

func (p *policyTestCommand) run(_ context.Context, c *cli) error {
	result, err := p.Run(time.Now())
	if err := c.show(result, err); err != nil {
		return err
	}
	if n := len(result.Failures); n > 0 {
		return &pavise.Error{Kind: pavise.Unverified, Msg: fmt.Sprintf("%d of %d cases do not hold", n, result.Cases), Hint: "change the policies, or what the cases expect"}
	}
	return nil
}
