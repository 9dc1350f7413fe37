package main

import (
	"context"

	"github.com/pavise/pavise/internal/device"
)

// edgeRunCommand is pavise edge run.
type edgeRunCommand struct{ device.Serve }

func (e *edgeRunCommand) run(ctx context.Context, c *cli) error {
	e.Say, e.Out = c.say, c.stdout
	e.Connect = func(ctx context.Context) (at device.Connection, err error) {
		client, err := c.client(ctx)
		if err == nil {
			at = device.Connection{Server: client.Base, Token: client.Token, HTTP: client.HTTP}
		}
		return at, err
	}
	return e.Serve.Run(ctx)
}

// edgeRollbackCommand is pavise edge rollback, and edgeStatusCommand pavise edge status.
type (
	edgeRollbackCommand struct{ device.Back }
	edgeStatusCommand   struct{ device.Place }
)

func (e *edgeRollbackCommand) run(ctx context.Context, c *cli) error {
	st, err := e.Back.Run(ctx)
	return c.showFound(st, err, st.Wrong)
}

func (e *edgeStatusCommand) run(ctx context.Context, c *cli) error {
	st, err := e.Place.Run(ctx)
	return c.showFound(st, err, st.Wrong)
}
