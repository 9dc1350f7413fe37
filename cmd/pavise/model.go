package main

import (
	"context"
	"reflect"

	"github.com/pavise/pavise/internal/artefact"
)

// modelCommands are the commands about the files of models.
var modelCommands = []reflect.StructField{
	{Name: "Scan", Type: reflect.TypeFor[modelScanCommand](), Tag: `cmd:"" help:"Say what the files of a model would do if they were loaded."`},
}

// modelScanCommand is pavise model scan: it reads files, needs no server, and records nothing.
type modelScanCommand struct{ artefact.Scan }

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
