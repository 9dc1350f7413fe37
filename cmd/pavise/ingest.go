package main

import (
	"context"
	"fmt"

	"github.com/pavise/pavise/internal/cloudtrail"
	"github.com/pavise/pavise/internal/ingest"
)

// templatesCommand is pavise ingest templates: it reads a file, needs no server, and records
// nothing.
type templatesCommand struct{ ingest.Templates }

func (t *templatesCommand) run(ctx context.Context, c *cli) error {
	t.Say, t.Each = c.saying(), c.JSON
	mined, err := t.Run(ctx)
	c.counted()
	if err != nil {
		return &ending{couldNotLook, err}
	}
	defer mined.Close()
	if !c.JSON {
		mined.Print(c.stdout)
		return nil
	}
	if note := mined.Note(); note != "" {
		fmt.Fprintf(c.stderr, "pavise: %s.\n", note)
	}
	if err := mined.WriteLines(c.stdout); err != nil {
		return &ending{couldNotLook, err}
	}
	return nil
}

// saying returns what tells a person how far a command is, or nil where nobody watches.
func (c *cli) saying() func(text string) {
	if c.JSON {
		return nil
	}
	return func(text string) { fmt.Fprintf(c.stderr.Progress, "\r\033[K%s", text); c.counts = true }
}

// cohortCommand is pavise ingest cohort: it reads files, needs no server, and records nothing.
type cohortCommand struct{ ingest.Cohort }

func (k *cohortCommand) run(ctx context.Context, c *cli) error {
	k.Say = c.saying()
	result, err := k.Run(ctx)
	if err := c.show(result, err); err != nil {
		return err
	}
	if result.Odd > 0 {
		return &ending{code: foundSomething}
	}
	if result.Blind() {
		return &ending{code: couldNotLook}
	}
	return nil
}

// cloudtrailCommand is pavise ingest cloudtrail: it reads files, needs no server, and records
// nothing.
type cloudtrailCommand struct{ ingest.CloudTrail }

func (t *cloudtrailCommand) run(ctx context.Context, c *cli) error {
	t.Say = c.saying()
	result, err := t.Run(ctx)
	if err := c.show(result, err); err != nil {
		return err
	}
	if result.Verdict == cloudtrail.Broken {
		return &ending{code: foundSomething}
	}
	return nil
}
