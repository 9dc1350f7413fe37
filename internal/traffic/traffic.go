// Package traffic reads recorded traffic of a model from files: who asked what, and what
// the model said (docs/formats/traffic.md). Columns are known by their names; a model can be
// asked anew where its answers were not recorded. A traffic can be played to the detectors of
// those who copy a model. It owns nothing but the files it reads.
package traffic

import (
	"errors"
	"fmt"
	"hash/fnv"
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
	"github.com/pavise/pavise/internal/theft"
)

// Names by which the columns of recorded traffic are known (docs/formats/traffic.md).
var (
	clientColumns = []string{"client", "client_id", "caller", "principal", "user", "user_id", "account", "account_id", "who", "subject"}
	modelColumns  = []string{"model", "model_name"}
	inputColumns  = []string{"input", "inputs", "features", "x", "row"}
	outputColumns = []string{"output", "outputs", "scores", "probabilities", "probs", "proba", "logits"}
	answerColumns = []string{"prediction", "predicted", "predicted_class", "label", "class", "answer", "y"}
	otherColumns  = []string{"time", "timestamp", "ts", "date", "id", "request_id", "seq", "group", "org", "organisation", "organization", "tenant", "network"}
	scoreColumn   = regexp.MustCompile(`(?i)^(output|score|prob|proba|probability|logit|p)[_.]?\d+$`)
)

// A Source is recorded traffic in files. Its rows can be read again and again.
type Source struct {
	files   []string
	graph   *onnx.Graph // what answers rows that have no answer; may be nil
	outputs []string    // columns of answers; nil: known by their names
	only    string      // the model whose rows count; "" where there is one
}

// A Reading says which columns were taken for what.
type Reading struct {
	Client  string   `json:"client"`           // the column; "" where each file is one client
	Inputs  []string `json:"inputs,omitempty"` // the columns, in order; of a list of numbers, its column
	Scores  []string `json:"scores,omitempty"` // the columns
	Answer  string   `json:"answer,omitempty"` // the column of the class that was answered
	Ignored []string `json:"ignored,omitempty"`
	Asked   bool     `json:"asked,omitempty"` // the scores are a model's, asked anew
	model   string   // the column
	counted bool     // the columns have no names
}

// A Layout says how traffic is read. Its tags are those of flags.
type Layout struct {
	Model   string   `help:"Have this model (ONNX) answer rows that were recorded without their answers." type:"existingfile" placeholder:"FILE"`
	Outputs []string `help:"The columns of the model's answers; otherwise they are known by their names." placeholder:"COLUMN"`
	Only    string   `help:"Count rows of this model only, where the traffic is of several." placeholder:"MODEL"`
}

// Open finds the files of a traffic: one, or all of a directory.
func Open(path string, l Layout) (*Source, error) {
	t := &Source{outputs: l.Outputs, only: l.Only}
	info, err := os.Stat(path)
	if err != nil {
		return nil, &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("read the traffic: %v", err), Hint: "name a file, or a directory with a file for each client", Err: err}
	}
	if t.files = []string{path}; info.IsDir() {
		if t.files, err = filesIn(path); err != nil {
			return nil, err
		}
	}
	if l.Model != "" {
		t.graph, err = readModel(l.Model)
	}
	return t, err
}

// readModel reads a model with one input.
func readModel(path string) (*onnx.Graph, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("read the model: %v", err), Err: err}
	}
	graph, err := onnx.Parse(text)
	if err != nil {
		return nil, err
	}
	if n := len(graph.Inputs()); n != 1 {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s has %d inputs", path, n), Hint: "give a model with one"}
	}
	return graph, nil
}

func filesIn(dir string) (files []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read the traffic: %w", err)
	}
	for _, entry := range entries {
		if entry.Type()&fs.ModeType == 0 && !strings.HasPrefix(entry.Name(), ".") {
			files = append(files, filepath.Join(dir, entry.Name()))
		}
	}
	if len(files) == 0 {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: "there is no file in " + dir, Hint: "name a file, or a directory with a file for each client"}
	}
	return files, nil
}

// Rows gives the rows of all files in order, the same ones each time. All are of one model,
// and all have as many inputs and scores as the first. told, if not nil, is given how the
// columns of the first file were read.
func (t *Source) Rows(told *Reading) theft.Traffic {
	return func(yield func(*theft.Asked, error) bool) {
		first := &like{}
		for _, path := range t.files {
			if !t.file(path, first, told, yield) {
				return
			}
		}
		if first.rows == 0 {
			yield(nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("there is no row of the model %.60q in the traffic", t.only), Hint: "--only takes the name as the traffic has it"})
		}
	}
}

// A like is what the first rows of a traffic were, which later ones must be like.
type like struct {
	r             *Reading
	model         string // that the rows are of; "" where no column tells
	width, scores int
	rows          int
	numbers       []bool   // by column of inputs: whether it has held a number
	gaps          []string // by column of inputs: the first word in it that may stand for a gap, or ""
}

// file gives the rows of one file. It reports whether more are wanted.
func (t *Source) file(path string, first *like, told *Reading, yield func(*theft.Asked, error) bool) bool {
	f, err := table.Open(path, table.Options{})
	if err != nil {
		yield(nil, err)
		return false
	}
	defer f.Close()
	r, err := t.read(f, path)
	if err == nil && first.r != nil {
		err = first.r.unlike(&r, path)
	}
	if err != nil {
		yield(nil, err)
		return false
	}
	if first.r == nil {
		if first.r = &r; told != nil {
			*told = r
		}
	}
	name := strings.TrimSuffix(filepath.Base(path), ".gz")
	one := rowReader{t: t, r: &r, name: strings.TrimSuffix(name, filepath.Ext(name)), first: first}
	for row, err := range f.Rows() {
		if err == nil {
			err = one.each(row, func(a *theft.Asked) bool { return yield(a, nil) })
		}
		if err == errEnough {
			return false
		}
		if err != nil {
			yield(nil, err)
			return false
		}
	}
	if late, err := t.read(f, path); err != nil || late.Client != r.Client || late.model != r.model || late.Answer != r.Answer || !slices.Equal(late.Scores, r.Scores) || !slices.Equal(late.Inputs, r.Inputs) {
		yield(nil, &pavise.Error{Kind: pavise.Invalid, Msg: path + " has rows with columns that its first row does not have", Hint: "give each row the same columns, those that are not known as null"})
		return false
	}
	return true
}

// read tells by their names what the columns of a file are.
func (t *Source) read(f *table.File, path string) (Reading, error) {
	r := Reading{counted: f.Format() == table.NPY || f.Format() == table.IDX}
	columns := f.Columns()
	vector := f.Format() == table.JSONL && slices.ContainsFunc(columns, func(column string) bool {
		return slices.Contains(inputColumns, strings.ToLower(column)) && !slices.Contains(t.outputs, column)
	})
	for _, column := range t.outputs {
		if !slices.Contains(columns, column) {
			return r, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s has no column %.80q", path, column), Hint: "--outputs takes the names of columns as the file has them"}
		}
	}
	for _, column := range columns {
		low := strings.ToLower(column)
		switch {
		case t.outputs != nil && slices.Contains(t.outputs, column):
			r.Scores = append(r.Scores, column)
		case r.Client == "" && slices.Contains(clientColumns, low):
			r.Client = column
		case r.model == "" && slices.Contains(modelColumns, low):
			r.model = column
		case vector && slices.Contains(inputColumns, low):
			r.Inputs = append(r.Inputs, column)
		case t.outputs == nil && (slices.Contains(outputColumns, low) || scoreColumn.MatchString(column)):
			r.Scores = append(r.Scores, column)
		case t.outputs == nil && r.Answer == "" && slices.Contains(answerColumns, low):
			r.Answer = column
		case slices.Contains(otherColumns, low):
			r.Ignored = append(r.Ignored, column)
		case vector:
			r.Ignored = append(r.Ignored, column)
		default:
			r.Inputs = append(r.Inputs, column)
		}
	}
	if len(r.Inputs) == 0 {
		return r, &pavise.Error{Kind: pavise.Invalid, Msg: path + " has no column of inputs", Hint: "see docs/formats/traffic.md for how columns are named"}
	}
	if t.only != "" && r.model == "" {
		return r, &pavise.Error{Kind: pavise.Invalid, Msg: path + " does not say which model its rows are of", Hint: "leave --only out, or give the rows a column \"model\""}
	}
	r.Asked = len(r.Scores) == 0 && t.graph != nil
	if r.Answer != "" && (r.Asked || len(r.Scores) > 0) {
		r.Ignored, r.Answer = append(r.Ignored, r.Answer), ""
	}
	return r, nil
}

// unlike says, as an error, in what a file is read otherwise than the first one.
func (r *Reading) unlike(other *Reading, path string) error {
	bad := func(what string, had, has any) error {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s has the %s %.200q, and the first file has %.200q", path, what, has, had), Hint: "give all files of a traffic the same columns"}
	}
	switch {
	case !r.counted && !other.counted && !slices.Equal(r.Inputs, other.Inputs):
		return bad("inputs", r.Inputs, other.Inputs)
	case len(r.Scores) != len(other.Scores):
		return bad("scores", r.Scores, other.Scores)
	case (r.Answer == "") != (other.Answer == ""):
		return bad("answers", r.Answer, other.Answer)
	}
	return nil
}

// Named are the names of the inputs, where each column is one and has a name; otherwise nil.
func (r *Reading) Named() []string {
	if len(r.Inputs) < 2 || r.counted {
		return nil
	}
	return r.Inputs
}

// Explain adds to the error of a calibration by this traffic what its columns may have to do
// with it.
func (r *Reading) Explain(err error) error {
	var said *pavise.Error
	if r.Client != "" || len(r.Inputs) == 0 || !errors.Is(err, theft.ErrTooFew) || !errors.As(err, &said) {
		return err
	}
	return &pavise.Error{Kind: said.Kind, Msg: said.Msg + "; no column says who asked, so each file is one client", Hint: `give the rows a column "client", or each client a file in one directory`, Err: err}
}

// errEnough ends a reading that is not wanted any more.
var errEnough = fmt.Errorf("enough")

// A rowReader makes answered rows of a file's rows.
type rowReader struct {
	t     *Source
	r     *Reading
	name  string // of the client, where no column names it
	first *like
	asked theft.Asked
	in    []float64
	out   []float64
}

// each gives the answered rows of a row of the file: of a batch there are several.
func (o *rowReader) each(row table.Row, yield func(*theft.Asked) bool) error {
	if skip, err := o.other(row); skip || err != nil {
		return err
	}
	o.asked = theft.Asked{Client: o.name, Class: -1}
	var err error
	if o.r.Client != "" {
		if o.asked.Client, err = row.Text(o.r.Client); err != nil {
			return err
		}
	}
	rows := 1
	if o.in, rows, err = o.inputs(o.in[:0], row); err != nil {
		return err
	}
	if err := o.answers(row, rows); err != nil {
		return err
	}
	in, out := len(o.in)/rows, len(o.out)/rows
	if o.first.rows == 0 {
		o.first.width, o.first.scores = in, out
	}
	if o.first.rows++; in != o.first.width || out != o.first.scores {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s: it has %d inputs and %d scores, and the first row has %d and %d", row.Place(""), in, out, o.first.width, o.first.scores)}
	}
	for i := range rows {
		o.asked.Input = o.in[i*in : (i+1)*in]
		if out > 0 {
			o.asked.Scores = o.out[i*out : (i+1)*out]
		}
		if !yield(&o.asked) {
			return errEnough
		}
	}
	return nil
}

// other reports whether the row is of another model than the one that counts.
func (o *rowReader) other(row table.Row) (bool, error) {
	if o.r.model == "" {
		return false, nil
	}
	model, err := row.Text(o.r.model)
	if err != nil {
		return false, err
	}
	if o.t.only != "" {
		return model != o.t.only, nil
	}
	if o.first.rows == 0 {
		o.first.model = model
	}
	if model != o.first.model {
		return false, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s is of the model %.60q, and the rows before of %.60q", row.Place(o.r.model), model, o.first.model), Hint: "say with --only whose rows count"}
	}
	return false, nil
}

// answers sets what the model said to the rows.
func (o *rowReader) answers(row table.Row, rows int) (err error) {
	o.out = o.out[:0]
	switch {
	case o.r.Asked:
		o.out, err = o.t.ask(o.out, o.in, rows)
		return err
	case len(o.r.Scores) > 0:
		var answered int
		if o.out, answered, err = o.numbers(o.out, row, o.r.Scores); err != nil {
			return err
		}
		flat := len(o.r.Scores) == 1 && answered == 1 && len(o.out) == rows // one score for each row
		if answered != rows && !flat {
			return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s: %d rows of inputs and %d of answers", row.Place(""), rows, answered)}
		}
		return nil
	case o.r.Answer != "" && rows > 1:
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s: one class for %d rows of inputs", row.Place(o.r.Answer), rows), Hint: "give the rows of a batch with their scores, or each in a line of its own"}
	case o.r.Answer != "":
		text, err := row.Text(o.r.Answer)
		o.asked.Class = classOf(text)
		return err
	}
	return nil
}

// classOf is the class that a text names: a whole number itself, any other text a number
// of its own.
func classOf(text string) int {
	if n, err := strconv.Atoi(strings.TrimSuffix(text, ".0")); err == nil && n >= 0 && n < 1<<31 {
		return n
	}
	h := fnv.New32a()
	h.Write([]byte(text))
	return int(h.Sum32())
}

// numbers appends the numbers of columns.
func (o *rowReader) numbers(dst []float64, row table.Row, columns []string) ([]float64, int, error) {
	if len(columns) == 1 {
		return row.Batch(dst, columns[0])
	}
	dst, err := row.Append(dst, columns...)
	return dst, 1, err
}

// inputs appends the numbers of the columns of inputs. A text is a category, and counts as a
// number of its own below a thousand.
func (o *rowReader) inputs(dst []float64, row table.Row) ([]float64, int, error) {
	columns := o.r.Inputs
	if len(columns) == 1 {
		if dst, rows, err := row.Batch(dst, columns[0]); err == nil {
			return dst, rows, o.first.number(0, row, columns[0])
		}
	}
	for i, column := range columns {
		more, err := row.Append(dst, column)
		if err == nil {
			err = o.first.number(i, row, column)
		} else if text, textErr := row.Text(column); textErr == nil && wordy(text) {
			more = append(dst, float64(classOf(text)%997))
			err = o.first.text(i, row, column, text)
		}
		if err != nil {
			return dst, 0, err
		}
		dst = more
	}
	return dst, 1, nil
}

// wordy reports whether a text says something, and not a number, such as one too large.
func wordy(text string) bool {
	text = strings.TrimSpace(text)
	_, err := strconv.ParseFloat(text, 64)
	return text != "" && errors.Is(err, strconv.ErrSyntax)
}

// Words that are written where nothing is known. In a column of texts they are as good as
// others; in one of numbers they are gaps.
var gapWords = []string{"?", "-", "--", ".", "na", "n/a", "#n/a", "<na>", "null", "none", "nil", "missing", "unknown", "undefined", "#value!", "#div/0!", "#ref!"}

// number notes that a column holds a number.
func (l *like) number(i int, row table.Row, column string) error {
	l.grow(i)
	if l.numbers[i] = true; l.gaps[i] != "" {
		return mixed(row, column, fmt.Sprintf("it is a number, and a row before has %.60q", l.gaps[i]))
	}
	return nil
}

// text notes that a column holds a text.
func (l *like) text(i int, row table.Row, column, text string) error {
	l.grow(i)
	if l.numbers[i] {
		return mixed(row, column, fmt.Sprintf("%.60q is no number, and the rows before have numbers", text))
	}
	if l.gaps[i] == "" && slices.Contains(gapWords, strings.ToLower(strings.TrimSpace(text))) {
		l.gaps[i] = text
	}
	return nil
}

func (l *like) grow(i int) {
	for len(l.numbers) <= i {
		l.numbers, l.gaps = append(l.numbers, false), append(l.gaps, "")
	}
}

// mixed is the error of a column of numbers and of texts: what is meant by them nobody knows.
func mixed(row table.Row, column, why string) error {
	return &pavise.Error{Kind: pavise.Invalid, Msg: row.Place(column) + ": " + why, Hint: "clean the data, or fill the gap with a number; categories are texts in all rows, or numbers in all"}
}

// ask has the model answer rows.
func (t *Source) ask(dst, rows []float64, n int) ([]float64, error) {
	port := t.graph.Inputs()[0]
	if len(rows) != n*port.Cols {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("rows of the traffic have %d inputs, and the model takes %d", len(rows)/n, port.Cols), Hint: "give the model that the traffic is of, or name its columns as docs/formats/traffic.md says"}
	}
	x := onnx.NewMatrix(n, port.Cols)
	for i, v := range rows {
		x.Data[i] = float32(v)
	}
	answers, err := t.graph.Run(map[string]onnx.Matrix{port.Name: x})
	if err != nil {
		return nil, err
	}
	best := onnx.Matrix{}
	for _, out := range t.graph.Outputs() { // the scores are the widest output: a label is one number
		if m := answers[out.Name]; m.Cols > best.Cols {
			best = m
		}
	}
	for _, v := range best.Data {
		dst = append(dst, float64(v))
	}
	return dst, nil
}
