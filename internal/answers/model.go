package answers

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/onnx"
	"github.com/pavise/pavise/internal/watermark"
)

// maxModel bounds the file of a model, in bytes.
const maxModel = 48 << 20

// Of reads a file of answers; of a file NAME.onnx it asks the model, with the inputs of
// others.
func (l Layout) Of(path string, asked *Set) (*Set, error) {
	if filepath.Ext(path) != ".onnx" {
		return l.Read(path)
	}
	m, err := Open(path)
	if err != nil {
		return nil, err
	}
	return m.Answer(asked)
}

// A Model is a model in a file, which is asked here.
type Model struct {
	name  string
	graph *onnx.Graph
	in    string
	out   string // the widest of its outputs, which are its scores
}

// Open reads a model of one input, as ONNX. The error is of kind Invalid, or NotFound.
func Open(path string) (*Model, error) {
	text, err := readPlain("model", path, maxModel)
	if err != nil {
		return nil, err
	}
	g, err := onnx.Parse(text)
	if err != nil {
		return nil, err
	}
	m := &Model{name: filepath.Base(path), graph: g}
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

// Answer asks the model with the inputs of others. The error is of kind Invalid.
func (m *Model) Answer(asked *Set) (*Set, error) {
	const batch = 1024
	a := &Set{Name: m.name, Columns: asked.Columns, Inputs: asked.Inputs}
	if p := m.graph.Inputs()[0]; p.Cols != asked.Columns {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s takes %d numbers, and the inputs have %d", m.name, p.Cols, asked.Columns)}
	}
	for at := 0; at < asked.Rows(); at += batch {
		x := onnx.NewMatrix(min(batch, asked.Rows()-at), asked.Columns)
		for i, v := range asked.Inputs[at*asked.Columns:][:len(x.Data)] {
			x.Data[i] = float32(v)
		}
		out, err := m.graph.Run(map[string]onnx.Matrix{m.in: x})
		if err != nil {
			return nil, err
		}
		y := out[m.out]
		a.Width = y.Cols
		for _, v := range y.Data {
			a.Outputs = append(a.Outputs, float64(v))
		}
	}
	return a, nil
}

// Classes asks the model for the classes of rows, all of one length.
func (m *Model) Classes(rows [][]float64) ([]int, error) {
	said, err := m.Answer(Asked(rows))
	if err != nil {
		return nil, err
	}
	labels := make([]int, 0, len(rows))
	err = said.Each(watermark.MaxClasses, func(_ []float64, class int) error {
		labels = append(labels, class)
		return nil
	})
	return labels, err
}

// Asked makes a set of inputs that nobody has answered yet, all of one length.
func Asked(rows [][]float64) *Set {
	a := &Set{}
	for _, row := range rows {
		a.Columns = len(row)
		a.Inputs = append(a.Inputs, row...)
	}
	return a
}

// Files lists files: what a directory holds, or the file itself. The error is of kind
// NotFound where there is neither.
func Files(paths []string) ([]string, error) {
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
