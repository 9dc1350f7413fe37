package answers

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/watermark"
)

// Making makes a key. Its tags are those of flags, as are those of the others here.
type Making struct {
	Model  string   `help:"The model that the key is for." required:"" placeholder:"NAME"`
	Rate   float64  `help:"The share of inputs whose answers are marked, up to 0.05." default:"0.005" placeholder:"SHARE"`
	Rows   string   `help:"Rows as the model is asked, as CSV, JSONL, NPY or IDX: inputs that differ little beside them share their fate." placeholder:"FILE"`
	Omit   []string `help:"Columns of the data that are no inputs, such as a label; may be repeated." placeholder:"COLUMN"`
	Master string   `help:"A file of 32 random bytes to derive the key from, with the model's name (default: the key is random)." placeholder:"FILE"`
	Out    string   `help:"Where to write the key; nothing may be there." short:"o" required:"" placeholder:"FILE"`
}

// Help is the text behind the command's flags.
func (*Making) Help() string {
	return `Makes a key under which a small share of a model's answers is marked, and prints its
commitment. Whoever has the key can tell marked answers from true ones: keep it as you keep
the model. Put the commitment where others see it, before there is anybody to suspect:
whoever chooses a key afterwards finds one that fits.

Without --rows an input is the same only if every number is: a thief who adds a little noise
and asks again draws anew. With it, inputs that lie close together beside the data share
their fate.

  pavise watermark new --model digits --rows train.csv --omit label -o digits.key`
}

// Made is a key that was made.
type Made struct {
	File       string         `json:"file"`
	Model      string         `json:"model"`
	Created    time.Time      `json:"created"`
	Rate       float64        `json:"rate"`
	Quantiser  string         `json:"quantiser"`
	Fit        *watermark.Fit `json:"fit,omitempty"`
	Commitment string         `json:"commitment"`
	Recorded   bool           `json:"recorded"` // this command leaves no record
}

// Run makes the key, and writes it where nothing is. Errors are of kind Invalid, Conflict or
// Unavailable.
func (n *Making) Run() (*Made, error) {
	secret, err := n.secret()
	if err != nil {
		return nil, err
	}
	quantiser, fit := watermark.Quantiser{Kind: watermark.Exact}, (*watermark.Fit)(nil)
	if n.Rows != "" {
		rows, err := Inputs(n.Rows, n.Omit)
		if err != nil {
			return nil, err
		}
		fit = &watermark.Fit{}
		if quantiser, *fit, err = watermark.FitCells(secret, rows); err != nil {
			return nil, err
		}
	}
	key, err := watermark.NewKey(secret, n.Model, n.Rate, time.Now(), quantiser)
	if err != nil {
		return nil, err
	}
	made := &Made{File: n.Out, Model: key.Model, Created: key.Created, Rate: key.Rate, Quantiser: quantiser.Kind, Fit: fit, Commitment: key.Commitment()}
	return made, writeNew("key", n.Out, key.Text())
}

// Print prints it for people.
func (m *Made) Print(w io.Writer) {
	fmt.Fprintf(w, "%s marks %v of the inputs of %s.\n\n", m.File, m.Rate, m.Model)
	fact(w, "commitment", "%s", m.Commitment)
	fact(w, "quantiser", "%s", m.Quantiser)
	if m.Fit != nil {
		fact(w, "", "%d different rows of %d lie in %d cells; the fullest holds %.2f %% of all", m.Fit.Unlike, m.Fit.Rows, m.Fit.Cells, 100*m.Fit.Fullest)
	}
	unrecorded(w)
	fmt.Fprint(w, "\nPut the commitment where others see it now. Keep the key: without it no mark is found.\n")
}

// secret draws one, or derives it.
func (n *Making) secret() (secret [watermark.SecretSize]byte, err error) {
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
		if err = errors.Join(err, f.Close()); err != nil {
			err = errors.Join(err, os.Remove(path))
		}
	}
	switch {
	case errors.Is(err, fs.ErrExist):
		return &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("%s is there already", path), Hint: "name a file that is not; nothing is written over", Err: err}
	case err != nil:
		return &pavise.Error{Kind: pavise.Unavailable, Msg: fmt.Sprintf("write the %s: %v", what, err), Hint: "name a place that you may write to", Err: err}
	}
	return nil
}

// readPlain reads a file that is no longer than it may be, in bytes.
func readPlain(what, path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("read the %s: %v", what, err), Hint: "name a file that is there and that you may read", Err: err}
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(text)) > most {
		err = fmt.Errorf("%s is longer than %d bytes", path, most)
	}
	if err != nil {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("read the %s: %v", what, err), Err: err}
	}
	return text, nil
}

// readKey reads a key file.
func readKey(path string) (*watermark.Key, error) {
	text, err := readPlain("watermark key", path, watermark.MaxKeyText)
	if err != nil {
		return nil, err
	}
	return watermark.ParseKey(text)
}

// fact prints one line of a result.
func fact(w io.Writer, name, format string, args ...any) {
	fmt.Fprintf(w, "  %-12s%s\n", name, fmt.Sprintf(format, args...))
}

func unrecorded(w io.Writer) { fact(w, "recorded", "false (this command leaves no record)") }

func printNotes(w io.Writer, notes []string) {
	for _, note := range notes {
		fmt.Fprintf(w, "\n%s\n", note)
	}
}
