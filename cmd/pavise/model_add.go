package main

import (
	"context"
	"fmt"
	"io"
	"reflect"

	"github.com/pavise/pavise/internal/artefact"
	"github.com/pavise/pavise/internal/registry"
	"github.com/pavise/pavise/internal/screen"
	"github.com/pavise/pavise/internal/submission"
	"github.com/pavise/pavise/internal/verbs"
)

// modelAddCommand is pavise model add: it hashes and looks at the files where they are, and
// hands what it found to the server by the verb model.add, which is no command of its own.
type modelAddCommand struct{ submission.Submission }

// An added is a version that the server has taken.
type added struct {
	registry.Version
	Found *artefact.Report `json:"found,omitempty"` // by the look here
}

// Print prints it for people.
func (a *added) Print(w io.Writer) {
	screen.Version(w, &a.Version)
	if a.Found != nil && a.Found.Found() {
		a.Found.Print(w)
	}
	if a.Intake == registry.Ready {
		fmt.Fprintf(w, "\npavise model propose %s proposes it for review.\n", a.Ref)
	}
}

func (m *modelAddCommand) run(ctx context.Context, c *cli) error {
	m.Say = c.watched()
	files, report, err := m.Files(ctx)
	if err != nil {
		return c.show(nil, err)
	}
	ask := verbs.ModelAdd{
		Name: m.Name, Version: m.To, Files: files.Files, Scan: files.Scan, Signature: files.Signature, Risk: m.Risk, Run: m.Run, Description: m.Description, Tags: m.Tag,
	}
	made := &added{Found: report}
	client, err := c.client(ctx)
	if err == nil {
		err = c.completeNames(ctx, client, "model.add", reflect.ValueOf(&ask).Elem())
	}
	if err == nil {
		ask.Datasets, err = m.Datasets(ask.Name.Tenant)
	}
	if err == nil {
		made.Version, err = m.Hand(ctx, client, files.Files, func(source string) any { ask.Source = source; return ask })
	}
	if err != nil {
		c.counted()
		return err
	}
	return c.show(made, nil)
}
