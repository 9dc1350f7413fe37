package main

import (
	"context"
	"fmt"

	"github.com/pavise/pavise/internal/dataset"
)

// datasetScreenCommand is pavise dataset screen: it reads files, needs no server, and
// records nothing.
type datasetScreenCommand struct{ dataset.Screen }

func (s *datasetScreenCommand) run(ctx context.Context, c *cli) error {
	if !c.JSON {
		s.Say = func(text string) { fmt.Fprintf(c.stderr.Progress, "\r\033[K%s", text); c.counts = true }
	}
	result, err := s.Run(ctx)
	if err := c.show(result, err); err != nil {
		return err
	}
	if result.Found() {
		return &ending{code: foundSomething}
	}
	return nil
}
