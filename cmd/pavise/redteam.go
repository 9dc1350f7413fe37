package main

import (
	"context"
	"io"

	"github.com/pavise/pavise/internal/installation"
	"github.com/pavise/pavise/internal/redteam"
)

// extractCommand is pavise redteam extract: it reads files, needs no server of its own, and
// records nothing.
type extractCommand struct{ redteam.Extract }

func (x *extractCommand) run(ctx context.Context, c *cli) error {
	c.prepare(&x.Setting)
	result, err := x.Run(ctx)
	return c.show(result, err)
}

// curveCommand is pavise redteam curve: it reads files, needs no server, and records
// nothing.
type curveCommand struct{ redteam.Curve }

func (k *curveCommand) run(ctx context.Context, c *cli) error {
	c.prepare(&k.Setting)
	result, err := k.Run(ctx)
	return c.show(result, err)
}

// prepare hands an attack what is said for all commands. The rows are named by --data,
// which for others is a directory.
func (c *cli) prepare(s *redteam.Setting) {
	if s.Token = c.Token; c.Data != installation.DefaultData {
		s.Data = string(c.Data)
	}
	s.Say = c.saying()
}

// show prints what came of a look at files: what cannot be printed was not found.
func (c *cli) show(result interface{ Print(io.Writer) }, err error) error {
	c.counted()
	if err != nil {
		return &ending{couldNotLook, err}
	}
	if c.JSON {
		if err := c.printJSON(result); err != nil {
			return &ending{couldNotLook, err}
		}
		return nil
	}
	result.Print(c.stdout)
	return nil
}
