package contract

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/figure"
	"github.com/pavise/pavise/internal/table"
)

// Drafting is pavise ingest draft. Its fields are flags of the command line.
type Drafting struct {
	File string `arg:"" help:"Rows as the source sends them on a good day: CSV, JSONL, NPY or Parquet." placeholder:"FILE"`
	Out  string `short:"o" help:"Where the contract goes; it must not be there (default: the terminal)." placeholder:"FILE"`
}

// Help is the text behind the command's flags.
func (*Drafting) Help() string {
	return `Drafts a contract (Open Data Contract Standard 3.1.0) from rows: types, columns that
are always there, bounds of numbers, and the values of columns that have few. It
promises what was seen and nothing more. Read it and loosen it: bounds that are too
tight refuse good rows.

For example:

  pavise ingest draft payments.csv -o payments.yaml`
}

// Run drafts the contract, writes it and returns it. Errors are of kind Invalid, NotFound,
// Denied or Conflict.
func (x *Drafting) Run(context.Context) (*Contract, error) {
	f, err := table.Open(x.File, table.Options{})
	if err != nil {
		return nil, err
	}
	defer f.Close()
	name := strings.TrimSuffix(filepath.Base(x.File), filepath.Ext(x.File))
	c, err := Infer(name, f)
	if err != nil || x.Out == "" {
		return c, err
	}
	var text bytes.Buffer
	if err := c.Write(&text); err != nil {
		return nil, err
	}
	return c, write(x.Out, text.Bytes())
}

// write makes a file that was not there.
func write(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return &pavise.Error{Kind: pavise.Conflict, Msg: path + " is there already", Hint: "give another name with -o, or move it away", Err: err}
	}
	if err == nil {
		_, err = f.Write(text)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("write %s: %v", path, err), Hint: "name a place where you may write", Err: err}
	}
	return nil
}

// Checking is pavise ingest check. Its fields are flags of the command line.
type Checking struct {
	File     string `arg:"" help:"The rows: CSV, JSONL, NPY or Parquet." placeholder:"FILE"`
	Contract string `help:"The contract: YAML, Open Data Contract Standard 3.0 to 3.2." required:"" placeholder:"FILE"`
	Schema   string `help:"Which schema of the contract, where it has several." placeholder:"NAME"`
}

// Help is the text behind the command's flags.
func (*Checking) Help() string {
	return `Holds rows to a contract and says of each promise that is broken in how many rows, in
which first, and what is wrong there. What a contract promises and nothing here can
check (SQL, texts, rules of other engines) is listed, and never counted as kept.

The exit code is 0 if all that is checked is kept, 1 if something is broken, and 2 if
nothing can be said: the contract or the file cannot be read.

For example:

  pavise ingest check payments.csv --contract payments.yaml`
}

// Checked is what a check found.
type Checked struct {
	File     string `json:"file"`
	Contract string `json:"contract"` // its id
	Version  string `json:"version"`  // its version
	Schema   string `json:"schema"`
	Report
	Recorded bool `json:"recorded"` // this command leaves no record
}

// Run holds the file to the contract. Errors are of kind Invalid, NotFound or Denied; a row
// that cannot be read is no error but a breach, and the last one that is looked at.
func (x *Checking) Run(ctx context.Context) (*Checked, error) {
	c, schema, err := x.read()
	if err != nil {
		return nil, err
	}
	checker, err := NewChecker(schema)
	if err != nil {
		return nil, err
	}
	f, err := table.Open(x.File, table.Options{})
	if err != nil {
		return nil, err
	}
	defer f.Close()
	checked := &Checked{File: x.File, Contract: c.ID, Version: c.Version, Schema: schema.Name}
	if f.Format() == table.JSONL || f.Format() == table.Parquet {
		checker.Typed()
	}
	checker.Columns(f.Columns())
	for row, err := range f.Rows() {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			checker.breach("", "readable", checker.rows+1, err.Error()+"; nothing behind it was looked at")
			break
		}
		checker.Columns(f.Columns())
		checker.Row(row)
	}
	checked.Report = checker.Report()
	return checked, nil
}

// read reads the contract and picks the schema.
func (x *Checking) read() (*Contract, *Schema, error) {
	file, err := os.Open(x.Contract)
	if err != nil {
		return nil, nil, &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("read the contract: %v", err), Hint: "name a file that is there and that you may read", Err: err}
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, MaxSize+1))
	if err != nil {
		return nil, nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("read the contract: %v", err), Hint: "name a file", Err: err}
	}
	c, err := Parse(x.Contract, text)
	if err != nil {
		return nil, nil, err
	}
	at := slices.IndexFunc(c.Schema, func(s Schema) bool { return s.Name == x.Schema || x.Schema == "" && len(c.Schema) == 1 })
	if len(c.Schema) == 0 {
		return nil, nil, wrong(x.Contract, "it has no schema, so that it promises nothing of rows")
	}
	if at < 0 {
		var names []string
		for _, s := range c.Schema {
			names = append(names, s.Name)
		}
		return nil, nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s has %d schemas, and --schema %q is none of them", x.Contract, len(c.Schema), x.Schema), Hint: "name one of: " + strings.Join(names, ", ")}
	}
	return c, &c.Schema[at], nil
}

// Print prints the contract for people.
func (c *Contract) Print(w io.Writer) { c.Write(w) }

// Print prints it for people.
func (r *Checked) Print(w io.Writer) {
	verdict := "kept"
	if !r.Kept {
		verdict = "broken"
	}
	fmt.Fprintf(w, "%s: contract %s %s is %s in %s\n", r.File, r.Contract, r.Version, verdict, figure.Count(r.Rows, "row"))
	for _, b := range r.Breaches {
		where := b.Property
		if where == "" {
			where = "the whole"
		}
		fmt.Fprintf(w, "\n  %-24s %s\n", where, b.Rule)
		if b.Rows > 0 {
			fmt.Fprintf(w, "    %s%s\n", figure.Count(b.Rows, "row"), first(b))
		}
		fmt.Fprintf(w, "    %s\n", b.Words)
	}
	for i, u := range r.Unchecked {
		if i == 0 {
			fmt.Fprintln(w, "\nnot checked:")
		}
		fmt.Fprintf(w, "  %s\n", u)
	}
}

func first(b Breach) string {
	if len(b.First) == 0 {
		return ""
	}
	return ", the first of them " + strings.Trim(strings.Join(strings.Fields(fmt.Sprint(b.First)), ", "), "[]")
}
