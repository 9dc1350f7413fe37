package main

import (
	"context"
	"reflect"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/catalog"
	"github.com/pavise/pavise/internal/screen"
	"github.com/pavise/pavise/internal/screening"
	"github.com/pavise/pavise/internal/verbs"
)

// datasetScreenCommand is pavise dataset screen. It screens a file, needs no server then and
// records nothing; or has the server screen a dataset by the verb dataset.screen, which is no
// command of its own.
type datasetScreenCommand struct {
	screening.Screen
	Of              pavise.Name `help:"Instead of a file: a dataset that the server watches, its id, or tenant/dataset/id." placeholder:"NAME"`
	BaselineVersion int         `help:"With --of: the number of a version whose rows are trusted, as far as they lie there still." placeholder:"N"`
}

func (s *datasetScreenCommand) run(ctx context.Context, c *cli) error {
	s.Say = c.watched()
	if s.Of != (pavise.Name{}) || s.BaselineVersion != 0 {
		return s.ask(ctx, c)
	}
	if s.File == "" {
		return &ending{couldNotLook, &pavise.Error{Kind: pavise.Invalid, Msg: "there is nothing to screen", Hint: "name a file, or a dataset of the server: --of NAME"}}
	}
	result, err := s.Run(ctx)
	return c.showFound(result, err, func() bool { return result.Found() })
}

// ask has the server screen, and waits.
func (s *datasetScreenCommand) ask(ctx context.Context, c *cli) error {
	if s.Of == (pavise.Name{}) || s.File != "" || s.Baseline != "" || s.Embeddings != "" || s.Seed != 1 {
		return &pavise.Error{Kind: pavise.Invalid, Msg: "a server screens a dataset of its own, and against a version of it", Hint: "give --of NAME and --label COLUMN, and of the others --source, --omit and --baseline-version alone"}
	}
	client, err := c.client(ctx)
	if err != nil {
		return err
	}
	ask := verbs.DatasetScreen{DatasetRef: verbs.DatasetRef{Name: s.Of}, Label: s.Label, Source: s.Source, Omit: s.Omit, Baseline: s.BaselineVersion}
	if err := c.completeNames(ctx, client, "dataset.screen", reflect.ValueOf(&ask).Elem()); err != nil {
		return err
	}
	r, err := verbs.Screened(ctx, client, ask, s.Say)
	if err != nil {
		c.counted()
		return err
	}
	if r.Screening.State == catalog.ScreenUnscreened {
		err = &pavise.Error{Kind: pavise.Invalid, Msg: ask.Name.ID + " was not screened: " + r.Screening.Problem, Hint: "pavise dataset report " + ask.Name.ID + " says how it stands"}
	}
	return c.showFound(screen.Screening{Reported: r}, err, func() bool { return r.Screening.State == catalog.ScreenSuspect })
}
