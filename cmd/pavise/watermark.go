package main

import (
	"context"
	"io"

	"github.com/pavise/pavise/internal/answers"
	"github.com/pavise/pavise/internal/watermark"
)

// The watermark commands work on files, need no server, and record nothing.
type (
	watermarkNewCommand         struct{ answers.Making }
	watermarkMarkCommand        struct{ answers.Marking }
	watermarkVerifyCommand      struct{ answers.Verifying }
	watermarkFingerprintCommand struct{ answers.Fingerprinting }
	watermarkCompareCommand     struct{ answers.Comparing }
)

func (n *watermarkNewCommand) run(_ context.Context, c *cli) error {
	made, err := n.Run()
	return c.show(made, err)
}

func (m *watermarkMarkCommand) run(_ context.Context, c *cli) error {
	marked, err := m.Run()
	return c.show(marked, err)
}

func (f *watermarkFingerprintCommand) run(_ context.Context, c *cli) error {
	found, err := f.Run()
	return c.show(found, err)
}

func (v *watermarkVerifyCommand) run(ctx context.Context, c *cli) error {
	verified, err := v.Run(ctx)
	if err != nil {
		return &ending{code: couldNotLook, err: err}
	}
	return c.showVerdict(verified, verified.Verdict)
}

func (p *watermarkCompareCommand) run(_ context.Context, c *cli) error {
	compared, err := p.Run()
	if err != nil {
		return &ending{code: couldNotLook, err: err}
	}
	return c.showVerdict(compared, compared.Verdict)
}

// showVerdict prints what was found of a suspect, and ends with the exit code for it.
func (c *cli) showVerdict(result interface{ Print(io.Writer) }, verdict string) error {
	if err := c.show(result, nil); err != nil {
		return err
	}
	switch verdict {
	case watermark.VerdictMarked:
		return &ending{code: foundSomething}
	case watermark.VerdictUnclear:
		return &ending{code: couldNotLook}
	}
	return nil
}
