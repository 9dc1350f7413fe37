package main

import (
	"context"

	"github.com/pavise/pavise/internal/screening"
)

// datasetScreenCommand is pavise dataset screen: it reads files, needs no server, and
// records nothing.
type datasetScreenCommand struct{ screening.Screen }

func (s *datasetScreenCommand) run(ctx context.Context, c *cli) error {
	s.Say = c.watched()
	result, err := s.Run(ctx)
	return c.showFound(result, err, func() bool { return result.Found() })
}
