package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/answers"
	"github.com/pavise/pavise/internal/watermark"
)

// The watermark commands work on files, need no server, and record nothing.

// watermarkNewCommand is pavise watermark new.
type watermarkNewCommand struct {
	Model  string   `help:"The model that the key is for." required:"" placeholder:"NAME"`
	Rate   float64  `help:"The share of inputs whose answers are marked, up to 0.05." default:"0.005" placeholder:"SHARE"`
	Rows   string   `help:"Rows as the model is asked, as CSV, JSONL, NPY or IDX: inputs that differ little beside them share their fate." placeholder:"FILE"`
	Omit   []string `help:"Columns of the data that are no inputs, such as a label; may be repeated." placeholder:"COLUMN"`
	Master string   `help:"A file of 32 random bytes to derive the key from, with the model's name (default: the key is random)." placeholder:"FILE"`
	Out    string   `help:"Where to write the key; nothing may be there." short:"o" required:"" placeholder:"FILE"`
}

// Help is kong's hook for a command's help.
func (*watermarkNewCommand) Help() string {
	return `Makes a key under which a small share of a model's answers is marked, and prints its
commitment. Whoever has the key can tell marked answers from true ones: keep it as you keep
the model. Put the commitment where others see it, before there is anybody to suspect:
whoever chooses a key afterwards finds one that fits.

Without --rows an input is the same only if every number is: a thief who adds a little noise
and asks again draws anew. With it, inputs that lie close together beside the data share
their fate.

  pavise watermark new --model digits --rows train.csv --omit label -o digits.key`
}

// A madeKey is what the command prints as JSON.
type madeKey struct {
	File       string         `json:"file"`
	Model      string         `json:"model"`
	Created    time.Time      `json:"created"`
	Rate       float64        `json:"rate"`
	Quantiser  string         `json:"quantiser"`
	Fit        *watermark.Fit `json:"fit,omitempty"`
	Commitment string         `json:"commitment"`
	Recorded   bool           `json:"recorded"` // this command leaves no record
}

func (n *watermarkNewCommand) run(_ context.Context, c *cli) error {
	secret, err := n.secret()
	if err != nil {
		return err
	}
	quantiser, fit := watermark.Quantiser{Kind: watermark.Exact}, (*watermark.Fit)(nil)
	if n.Rows != "" {
		rows, err := answers.Inputs(n.Rows, n.Omit)
		if err != nil {
			return err
		}
		fit = &watermark.Fit{}
		if quantiser, *fit, err = watermark.FitCells(secret, rows); err != nil {
			return err
		}
	}
	key, err := watermark.NewKey(secret, n.Model, n.Rate, time.Now(), quantiser)
	if err != nil {
		return err
	}
	if err := writeNew("key", n.Out, key.Text()); err != nil {
		return err
	}
	made := madeKey{File: n.Out, Model: key.Model, Created: key.Created, Rate: key.Rate, Quantiser: quantiser.Kind, Fit: fit, Commitment: key.Commitment()}
	if c.JSON {
		return c.printJSON(made)
	}
	fmt.Fprintf(c.stdout, "%s marks %v of the inputs of %s.\n\n", n.Out, key.Rate, key.Model)
	c.fact("commitment", "%s", made.Commitment)
	c.fact("quantiser", "%s", quantiser.Kind)
	if fit != nil {
		c.fact("", "%d different rows of %d lie in %d cells; the fullest holds %.2f %% of all", fit.Unlike, fit.Rows, fit.Cells, 100*fit.Fullest)
	}
	c.fact("recorded", "false (this command leaves no record)")
	fmt.Fprint(c.stdout, "\nPut the commitment where others see it now. Keep the key: without it no mark is found.\n")
	return nil
}

// secret draws one, or derives it.
func (n *watermarkNewCommand) secret() (secret [watermark.SecretSize]byte, err error) {
	if n.Master == "" {
		_, err := rand.Read(secret[:])
		return secret, err
	}
	master, err := readPlain("master secret", n.Master, watermark.SecretSize)
	if err != nil {
		return secret, err
	}
	return watermark.Derive(master, n.Model)
}

// writeNew writes a file for its owner alone, where there is none.
func writeNew(what, path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		_, err = f.Write(text)
		if err == nil {
			err = f.Sync()
		}
		err = errors.Join(err, f.Close())
	}
	switch {
	case errors.Is(err, fs.ErrExist):
		return &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("%s is there already", path), Hint: "name a file that is not; nothing is written over", Err: err}
	case err != nil:
		return &pavise.Error{Kind: pavise.Unavailable, Msg: fmt.Sprintf("write the %s: %v", what, err), Hint: "name a place that you may write to", Err: err}
	}
	return nil
}

// readKey reads a key file.
func readKey(path string) (*watermark.Key, error) {
	text, err := readPlain("watermark key", path, watermark.MaxKeyText)
	if err != nil {
		return nil, err
	}
	return watermark.ParseKey(text)
}

// watermarkMarkCommand is pavise watermark mark.
type watermarkMarkCommand struct {
	Answers string `help:"What the model said, as CSV or JSONL: rows of inputs and outputs." required:"" placeholder:"FILE"`
	Key     string `help:"The key." required:"" placeholder:"FILE"`
	Marks   string `help:"Where to write the list of marks; nothing may be there." placeholder:"FILE"`
	Out     string `help:"Where to write the marked answers, by its name as .csv or .jsonl; nothing may be there." short:"o" required:"" placeholder:"FILE"`
	answers.Layout
}

// Help is kong's hook for a command's help.
func (*watermarkMarkCommand) Help() string {
	return `Marks recorded answers as they would have been given out under the key, and writes the list
of marks: the inputs whose answers say another class, and controls, which are inputs that the
key picked in the same way and that are answered truly. Commit to the digest of the list as to
the key.

  pavise watermark mark --answers answers.jsonl --key digits.key -o marked.jsonl --marks digits.marks`
}

// A markedAnswers is what the command prints as JSON.
type markedAnswers struct {
	File       string `json:"file"`
	Rows       int    `json:"rows"`
	Marked     int    `json:"marked"`
	Controls   int    `json:"controls"`
	Commitment string `json:"commitment"`       // of the key
	Digest     string `json:"digest,omitempty"` // of the list of marks
	Recorded   bool   `json:"recorded"`
}

func (m *watermarkMarkCommand) run(_ context.Context, c *cli) error {
	key, err := readKey(m.Key)
	if err != nil {
		return err
	}
	a, err := m.Read(m.Answers)
	if err != nil {
		return err
	}
	classes, err := m.Count(a, 0)
	if err != nil {
		return err
	}
	list, err := answers.Mark(key, a, classes)
	if err != nil {
		return err
	}
	done := markedAnswers{File: m.Out, Rows: a.Rows(), Commitment: key.Commitment()}
	for _, mark := range list.Rows {
		if mark.Marked != nil {
			done.Marked++
		} else {
			done.Controls++
		}
	}
	if m.Marks != "" {
		var text bytes.Buffer
		if err := list.Write(&text); err != nil {
			return err
		}
		if err := writeNew("list of marks", m.Marks, text.Bytes()); err != nil {
			return err
		}
		done.Digest = list.Digest
	}
	marked, err := a.Text(m.Out)
	if err != nil {
		return err
	}
	if err := writeNew("marked answers", m.Out, marked); err != nil {
		return err
	}
	if c.JSON {
		return c.printJSON(done)
	}
	fmt.Fprintf(c.stdout, "%d of %d answers are marked in %s.\n\n", done.Marked, done.Rows, m.Out)
	c.fact("controls", "%d", done.Controls)
	c.fact("key", "%s", done.Commitment)
	if done.Digest != "" {
		c.fact("list", "%s: digest %s", m.Marks, done.Digest)
	}
	c.fact("recorded", "false (this command leaves no record)")
	return nil
}

// asCode gives the errors of a command that looks for something the exit code that says
// that it could not look.
func asCode(found bool, err error) error {
	switch {
	case err != nil:
		return &ending{code: couldNotLook, err: err}
	case found:
		return &ending{code: foundSomething}
	}
	return nil
}
