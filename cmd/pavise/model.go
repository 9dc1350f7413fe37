package main

import (
	"context"
	"reflect"

	"github.com/pavise/pavise/internal/artefact"
	"github.com/pavise/pavise/internal/model"
)

// modelCommands are the commands about models as files; but for one, which hands them over.
var modelCommands = []reflect.StructField{
	{Name: "Sign", Type: reflect.TypeFor[modelSignCommand](), Tag: `cmd:"" help:"Sign a model (OpenSSF Model Signing)."`},
	{Name: "Verify", Type: reflect.TypeFor[modelVerifyCommand](), Tag: `cmd:"" help:"Hold a model to its signature."`},
	{Name: "Add", Type: reflect.TypeFor[modelAddCommand](), Tag: `cmd:"" help:"Add a version to a model of the server, as a draft, or give a draft its files."`},
	{Name: "Scan", Type: reflect.TypeFor[modelScanCommand](), Tag: `cmd:"" help:"Say what the files of a model would do if they were loaded."`},
}

// The other model commands work on files, need no server, and record nothing.
type (
	modelSignCommand   struct{ model.Sign }
	modelVerifyCommand struct{ model.Verify }
	modelScanCommand   struct{ artefact.Scan }
)

func (s *modelSignCommand) run(ctx context.Context, c *cli) error {
	s.Say = c.watched()
	c.warnOfKey(s.Key)
	made, err := s.Run(ctx)
	return c.show(made, err)
}

func (v *modelVerifyCommand) run(ctx context.Context, c *cli) error {
	v.Say = c.watched()
	if c.typed["identity"] { // a flag of all commands, which this one gives another meaning: what the environment says is who asks
		v.Identity = c.Identity
	}
	verified, err := v.Run(ctx)
	return c.showFound(verified, err, func() bool { return !verified.Holds })
}

func (m *modelScanCommand) run(ctx context.Context, c *cli) error {
	m.Say = c.saying()
	report, err := m.Run(ctx)
	if err := c.show(report, err); err != nil {
		return err
	}
	switch {
	case report.Found():
		return &ending{code: foundSomething}
	case report.Blind():
		return &ending{code: couldNotLook}
	}
	return nil
}
