package answers

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/table"
	"github.com/pavise/pavise/internal/watermark"
)

// maxAnswers bounds how many numbers the answers of one model may hold: 1 GiB.
const maxAnswers = 1 << 27

// maxInputs is how many rows are taken to see how inputs lie.
const maxInputs = 20_000

// A Set is what a model said to inputs, row by row: its scores, or the class alone.
type Set struct {
	Name    string    // of the file
	Columns int       // numbers of an input
	Width   int       // numbers of an output: 1 is the class
	Inputs  []float64 // row by row
	Outputs []float64 // row by row
}

// Rows returns how many there are.
func (a *Set) Rows() int { return len(a.Inputs) / max(a.Columns, 1) }

// Input returns the input of a row.
func (a *Set) Input(i int) []float64 { return a.Inputs[i*a.Columns:][:a.Columns:a.Columns] }

// Output returns what the model said in a row.
func (a *Set) Output(i int) []float64 { return a.Outputs[i*a.Width:][:a.Width:a.Width] }

// A Layout says which columns of a file are what. Its tags are those of flags.
type Layout struct {
	Outputs []string `help:"The columns that the model said (default: output, output_…, and p0, p_…)." placeholder:"COLUMN"`
	Classes string   `help:"How many classes there are, where the answers are classes and not scores, or their names with commas between." placeholder:"NUMBER"`
}

// names are the names of the classes, where they have any.
func (l Layout) names() []string {
	if _, err := strconv.Atoi(l.Classes); err == nil || l.Classes == "" {
		return nil
	}
	return strings.Split(l.Classes, ",")
}

// Count returns how many classes there are: as the scores have it, or the flag; else as
// somebody else knows, where that is not 0. The error is of kind Invalid.
func (l Layout) Count(a *Set, known int) (int, error) {
	said, err := strconv.Atoi(l.Classes)
	if names := l.names(); names != nil {
		said, err = len(names), nil
	}
	switch {
	case l.Classes != "" && (err != nil || said < 2):
		return 0, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("--classes %.40q is no number of classes", l.Classes), Hint: "give a number from 2 on, or names with commas between"}
	case a.Width > 1 && said > 0 && said != a.Width:
		return 0, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s has %d scores a row, and --classes says %d", a.Name, a.Width, said)}
	case a.Width > 1:
		return a.Width, nil
	case said > 0:
		return said, nil
	case known > 0:
		return known, nil
	}
	return 0, &pavise.Error{Kind: pavise.Invalid, Msg: a.Name + " holds classes, and nobody says how many there are", Hint: "say so with --classes"}
}

// Class returns the class of a row's answer, of so many. The error is of kind Invalid.
func (a *Set) Class(i, classes int) (int, error) {
	out := a.Output(i)
	if len(out) > 1 {
		return watermark.Top(out), nil
	}
	if c := int(out[0]); float64(c) == out[0] && 0 <= c && c < classes {
		return c, nil
	}
	return 0, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s, row %d: %v is none of the classes 0 to %d", a.Name, i+1, out[0], classes-1), Hint: "--outputs names the columns that the model said, --classes how many classes there are"}
}

// Each hands over the rows with their classes.
func (a *Set) Each(classes int, take func(input []float64, class int) error) error {
	for i := range a.Rows() {
		class, err := a.Class(i, classes)
		if err == nil {
			err = take(a.Input(i), class)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Read reads a file of answered rows. Errors are those of package table.
func (l Layout) Read(path string) (*Set, error) {
	f, err := table.Open(path, table.Options{})
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return l.read(f, filepath.Base(path))
}

func (l Layout) read(f *table.File, name string) (*Set, error) {
	a := &Set{Name: name}
	inputs, outputs, err := l.columnsOf(f.Columns(), a.Name)
	if err != nil {
		return nil, err
	}
	for row, err := range f.Rows() {
		if err == nil {
			err = a.add(row, inputs, outputs, l.names())
		}
		if err != nil {
			return nil, err
		}
	}
	return a, nil
}

// saidColumns are the columns that are what a model said, unless told otherwise.
var saidColumns = regexp.MustCompile(`^(output([_.].*)?|p_.*|p[0-9]+)$`)

// columnsOf parts the columns of a file into those of the input and those of the output.
func (l Layout) columnsOf(columns []string, name string) (inputs, outputs []string, err error) {
	for _, c := range columns {
		if len(l.Outputs) == 0 && saidColumns.MatchString(c) {
			outputs = append(outputs, c)
		}
		if c != "client" && c != "time" && !slices.Contains(l.Outputs, c) && !slices.Contains(outputs, c) {
			inputs = append(inputs, c)
		}
	}
	if len(l.Outputs) > 0 {
		outputs = l.Outputs // a name that is no column is found when it is read
	}
	if slices.Contains(inputs, "input") {
		inputs = []string{"input"}
	}
	if len(outputs) == 0 || len(inputs) == 0 {
		return nil, nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s has %d columns of inputs and %d of answers", name, len(inputs), len(outputs)), Hint: "name the columns that the model said with --outputs; all others are the input"}
	}
	return inputs, outputs, nil
}

// add adds what one row of a file holds: a row, or a batch of them.
func (a *Set) add(row table.Row, inputs, outputs, names []string) (err error) {
	from, rows := len(a.Inputs), 1
	if len(inputs) == 1 {
		a.Inputs, rows, err = row.Batch(a.Inputs, inputs[0])
	} else {
		a.Inputs, err = row.Append(a.Inputs, inputs...)
	}
	if err != nil {
		return err
	}
	out := len(a.Outputs)
	if names != nil && len(outputs) == 1 {
		a.Outputs, err = named(a.Outputs, row, outputs[0], names)
	} else {
		a.Outputs, err = row.Append(a.Outputs, outputs...)
	}
	if err != nil {
		return err
	}
	in, said := len(a.Inputs)-from, len(a.Outputs)-out
	if rows == 0 || in%rows != 0 || said%rows != 0 || said == 0 || in == 0 {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s: %d numbers in, for %d rows, and %d out", row.Place(""), in, rows, said), Hint: "each row has as many inputs, and as many scores"}
	}
	in, said = in/rows, said/rows
	if a.Columns == 0 {
		a.Columns, a.Width = in, said
	}
	if in != a.Columns || said != a.Width {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s: %d numbers in and %d out, and %d and %d before", row.Place(""), in, said, a.Columns, a.Width), Hint: "each row has as many inputs, and as many scores"}
	}
	if len(a.Inputs)+len(a.Outputs) > maxAnswers {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s has more than %d numbers", a.Name, maxAnswers), Hint: "give fewer rows"}
	}
	return nil
}

// named reads the name of a class.
func named(dst []float64, row table.Row, column string, names []string) ([]float64, error) {
	text, err := row.Text(column)
	if err != nil {
		return dst, err
	}
	at := slices.Index(names, text)
	if at < 0 {
		return dst, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s: %.60q is none of the classes", row.Place(column), text), Hint: "--classes names them all, in order"}
	}
	return append(dst, float64(at)), nil
}

// Inputs reads rows of numbers, at most 20,000, without the columns that are no inputs.
// Errors are those of package table.
func Inputs(path string, omit []string) ([][]float64, error) {
	f, err := table.Open(path, table.Options{})
	if err != nil {
		return nil, err
	}
	defer f.Close()
	set, err := table.Read(f, table.Selection{Omit: omit, Most: maxInputs})
	if err != nil {
		return nil, err
	}
	rows := make([][]float64, set.X.Rows)
	for i := range rows {
		rows[i] = make([]float64, set.X.Cols)
		for j := range rows[i] {
			rows[i][j] = float64(set.X.Data[i*set.X.Cols+j])
		}
	}
	return rows, nil
}
