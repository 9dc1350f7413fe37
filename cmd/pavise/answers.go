package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/onnx"
	"github.com/pavise/pavise/internal/table"
	"github.com/pavise/pavise/internal/watermark"
)

// maxAnswers bounds how many numbers the answers of one model may hold: 1 GiB.
const maxAnswers = 1 << 27

// answers are what a model said to inputs, row by row: its scores, or the class alone.
type answers struct {
	name    string // of the file
	columns int    // numbers of an input
	width   int    // numbers of an output: 1 is the class
	inputs  []float64
	outputs []float64
}

// rows is how many there are.
func (a *answers) rows() int { return len(a.inputs) / max(a.columns, 1) }

func (a *answers) input(i int) []float64 { return a.inputs[i*a.columns:][:a.columns:a.columns] }

func (a *answers) output(i int) []float64 { return a.outputs[i*a.width:][:a.width:a.width] }

// A layout says which columns of a file are what.
type layout struct {
	Outputs []string `help:"The columns that the model said (default: output, output_…, and p0, p_…)." placeholder:"COLUMN"`
	Classes string   `help:"How many classes there are, where the answers are classes and not scores, or their names with commas between." placeholder:"NUMBER"`
}

// names are the names of the classes, where they have any.
func (l layout) names() []string {
	if _, err := strconv.Atoi(l.Classes); err == nil || l.Classes == "" {
		return nil
	}
	return strings.Split(l.Classes, ",")
}

// classes is how many classes there are: as the scores have it, or the flag; else as
// somebody else knows, or 0.
func (l layout) classes(a *answers, known int) (int, error) {
	said, err := strconv.Atoi(l.Classes)
	if names := l.names(); names != nil {
		said, err = len(names), nil
	}
	switch {
	case l.Classes != "" && (err != nil || said < 2):
		return 0, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("--classes %.40q is no number of classes", l.Classes), Hint: "give a number from 2 on, or names with commas between"}
	case a.width > 1 && said > 0 && said != a.width:
		return 0, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s has %d scores a row, and --classes says %d", a.name, a.width, said)}
	case a.width > 1:
		return a.width, nil
	case said > 0:
		return said, nil
	case known > 0:
		return known, nil
	}
	return 0, &pavise.Error{Kind: pavise.Invalid, Msg: a.name + " holds classes, and nobody says how many there are", Hint: "say so with --classes"}
}

// class returns the class of a row's answer, of so many.
func (a *answers) class(i, classes int) (int, error) {
	out := a.output(i)
	if len(out) > 1 {
		return watermark.Top(out), nil
	}
	if c := int(out[0]); float64(c) == out[0] && 0 <= c && c < classes {
		return c, nil
	}
	return 0, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s, row %d: %v is none of the classes 0 to %d", a.name, i+1, out[0], classes-1), Hint: "--outputs names the columns that the model said, --classes how many classes there are"}
}

// readAnswers reads a file of answered rows: see docs/watermark.md.
func (l layout) readAnswers(path string) (*answers, error) {
	f, err := table.Open(path, table.Options{})
	if err != nil {
		return nil, err
	}
	defer f.Close()
	a := &answers{name: filepath.Base(path)}
	inputs, outputs, err := l.columnsOf(f.Columns(), a.name)
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
func (l layout) columnsOf(columns []string, name string) (inputs, outputs []string, err error) {
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
func (a *answers) add(row table.Row, inputs, outputs, names []string) (err error) {
	from, rows := len(a.inputs), 1
	if len(inputs) == 1 {
		a.inputs, rows, err = row.Batch(a.inputs, inputs[0])
	} else {
		a.inputs, err = row.Append(a.inputs, inputs...)
	}
	if err != nil {
		return err
	}
	out := len(a.outputs)
	if names != nil && len(outputs) == 1 {
		a.outputs, err = named(a.outputs, row, outputs[0], names)
	} else {
		a.outputs, err = row.Append(a.outputs, outputs...)
	}
	if err != nil {
		return err
	}
	in, said := len(a.inputs)-from, len(a.outputs)-out
	if rows == 0 || in%rows != 0 || said%rows != 0 || said == 0 || in == 0 {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s: %d numbers in, for %d rows, and %d out", row.Place(""), in, rows, said), Hint: "each row has as many inputs, and as many scores"}
	}
	in, said = in/rows, said/rows
	if a.columns == 0 {
		a.columns, a.width = in, said
	}
	if in != a.columns || said != a.width {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s: %d numbers in and %d out, and %d and %d before", row.Place(""), in, said, a.columns, a.width), Hint: "each row has as many inputs, and as many scores"}
	}
	if len(a.inputs)+len(a.outputs) > maxAnswers {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s has more than %d numbers", a.name, maxAnswers), Hint: "give fewer rows"}
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

// answersOf reads a file of answers; of a file NAME.onnx it asks the model, with the
// inputs of others.
func (l layout) answersOf(path string, asked *answers) (*answers, error) {
	if filepath.Ext(path) != ".onnx" {
		return l.readAnswers(path)
	}
	m, err := openNative(path)
	if err != nil {
		return nil, err
	}
	return m.answer(asked)
}

// A native is a model in a file, which is asked here.
type native struct {
	name  string
	graph *onnx.Graph
	in    string
	out   string // the widest of its outputs, which are its scores
}

// openNative reads a model of one input.
func openNative(path string) (*native, error) {
	text, err := readPlain("model", path, maxRouteFile)
	if err != nil {
		return nil, err
	}
	g, err := onnx.Parse(text)
	if err != nil {
		return nil, err
	}
	m := &native{name: filepath.Base(path), graph: g}
	if len(g.Inputs()) != 1 {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s has %d inputs, and not one", m.name, len(g.Inputs()))}
	}
	m.in = g.Inputs()[0].Name
	width := 0
	for _, p := range g.Outputs() {
		if p.Cols > width {
			m.out, width = p.Name, p.Cols
		}
	}
	return m, nil
}

// answer asks the model with the inputs of others.
func (m *native) answer(asked *answers) (*answers, error) {
	const batch = 1024
	a := &answers{name: m.name, columns: asked.columns, inputs: asked.inputs}
	if p := m.graph.Inputs()[0]; p.Cols != asked.columns {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s takes %d numbers, and the inputs have %d", m.name, p.Cols, asked.columns)}
	}
	for at := 0; at < asked.rows(); at += batch {
		x := onnx.NewMatrix(min(batch, asked.rows()-at), asked.columns)
		for i, v := range asked.inputs[at*asked.columns:][:len(x.Data)] {
			x.Data[i] = float32(v)
		}
		out, err := m.graph.Run(map[string]onnx.Matrix{m.in: x})
		if err != nil {
			return nil, err
		}
		y := out[m.out]
		a.width = y.Cols
		for _, v := range y.Data {
			a.outputs = append(a.outputs, float64(v))
		}
	}
	return a, nil
}

// each lists files: what a directory holds, or the file itself.
func each(paths []string) ([]string, error) {
	var files []string
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return nil, &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("read %s: %v", path, err), Err: err}
		}
		if !info.IsDir() {
			files = append(files, path)
			continue
		}
		err = filepath.WalkDir(path, func(file string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() && !strings.HasPrefix(d.Name(), ".") {
				files = append(files, file)
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
	}
	return files, nil
}
