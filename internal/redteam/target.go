package redteam

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/extraction"
	"github.com/pavise/pavise/internal/infer"
	"github.com/pavise/pavise/internal/learn"
	"github.com/pavise/pavise/internal/tensor"
)

// A victim is the model that is attacked: in this process, or on a server of this machine.
type victim struct {
	cols, classes int
	input, output tensor.Port
	single        bool // it gives the score of the second of two classes alone
	batch         int  // rows asked at once
	defence       perturbation
	unchanged     int          // rows that the defence could do nothing to
	said          learn.Matrix // of the rows asked last, what the model said before the defence

	model *infer.Native // nil: server is asked

	server    string // up to the model's name
	client    *http.Client
	tokens    []string // of the identities in turn
	reference *victim  // says what held-back rows are, in the server's place; may be nil
	paused    time.Duration
}

const (
	maxModel = 48 << 20 // bytes of a model of 32 MiB and what is around it
	maxBatch = 4096
	ownBatch = 256              // rows asked of a file at once
	maxPause = 60 * time.Second // that a server may ask for and is given
)

// A refusal is what a server said instead of an answer.
type refusal struct {
	Status  int    `json:"status"`
	Message string `json:"message"`
	Rows    int    `json:"rows"` // that were answered before
}

// openModel makes a file the victim.
func openModel(path, output string, defence perturbation) (*victim, error) {
	text, err := readPlain("model", path, maxModel)
	if err != nil {
		return nil, err
	}
	model, err := infer.NewNative("target", text)
	if err != nil {
		return nil, err
	}
	v := &victim{model: model, batch: ownBatch, defence: defence}
	return v, v.understand(model.Signature(), output)
}

// understand finds in a signature what is asked and what is answered.
func (v *victim) understand(s tensor.Signature, output string) error {
	refuse := func(hint, format string, args ...any) error {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf(format, args...), Hint: hint}
	}
	if len(s.Inputs) != 1 {
		return refuse("a model of one table is attacked here", "the model takes %d inputs", len(s.Inputs))
	}
	if v.input = s.Inputs[0]; len(v.input.Shape) != 2 || v.input.Shape[1] < 1 || v.input.Shape[1] > 1<<20 || !v.input.Datatype.IsFloat() {
		return refuse("a model of rows of float numbers is attacked here", "the model's input %.40q is %s of shape %d", v.input.Name, v.input.Datatype, v.input.Shape)
	}
	v.cols = int(v.input.Shape[1])
	best := -1
	for i, p := range s.Outputs {
		classes := classesOf(p)
		switch {
		case classes == 0 || output != "" && p.Name != output:
		case best < 0, classes > 1 && classesOf(s.Outputs[best]) == 1:
			best = i
		}
	}
	if best < 0 && output != "" {
		return refuse("name an output of float scores, rows × classes", "the model has no output %.40q of scores", output)
	}
	if best < 0 {
		return refuse("a classifier that gives the scores of its classes is attacked here", "the model has no output of float scores, rows × classes")
	}
	v.output, v.classes = s.Outputs[best], classesOf(s.Outputs[best])
	if v.single = v.classes == 1; v.single {
		v.classes = 2
	}
	return nil
}

// classesOf is how many scores a row of an output has; 0: it is none of scores.
func classesOf(p tensor.Port) int {
	switch {
	case !p.Datatype.IsFloat() || len(p.Shape) > 2:
		return 0
	case len(p.Shape) == 1:
		return 1
	case len(p.Shape) == 2 && p.Shape[1] >= 1 && p.Shape[1] <= extraction.MaxClasses:
		return int(p.Shape[1])
	}
	return 0
}

// ask has rows answered, of which the first is so many in the run. Where a server refuses,
// the answers are those of the rows before.
func (v *victim) ask(ctx context.Context, identities, first int, rows learn.Matrix) (learn.Matrix, *refusal, error) {
	if v.model != nil {
		answers, err := v.compute(ctx, rows)
		return answers, nil, err
	}
	answers, refused, err := v.share(ctx, identities, first, rows)
	v.said = answers
	return answers, refused, err
}

// share has a server answer, each identity's rows under its own token.
func (v *victim) share(ctx context.Context, identities, first int, rows learn.Matrix) (learn.Matrix, *refusal, error) {
	if identities == 1 || len(v.tokens) == 1 {
		return v.post(ctx, v.tokens[0], rows)
	}
	answers := learn.NewMatrix(rows.Rows, v.classes)
	answered := rows.Rows
	var refused *refusal
	for id := range min(identities, rows.Rows) { // every identity asks for its own rows
		var places []int
		mine := learn.Matrix{Cols: rows.Cols}
		for i := id; i < rows.Rows; i += identities {
			places = append(places, i)
			mine.Data = append(mine.Data, rows.Row(i)...)
			mine.Rows++
		}
		said, no, err := v.post(ctx, v.tokens[(first+id)%identities%len(v.tokens)], mine)
		if err != nil {
			return learn.Matrix{}, nil, err
		}
		for i := range said.Rows {
			copy(answers.Row(places[i]), said.Row(i))
		}
		if no != nil {
			refused, answered = no, min(answered, id)
		}
	}
	answers.Rows, answers.Data = answered, answers.Data[:answered*v.classes]
	return answers, refused, nil
}

// label has held-back rows named by the target, or by the reference.
func (v *victim) label(ctx context.Context, rows learn.Set) (extraction.Held, *refusal, error) {
	held := extraction.Held{X: rows.X, Labels: rows.Y}
	asked := v
	if v.reference != nil {
		asked = v.reference
	}
	for i := 0; i < rows.X.Rows; i += asked.batch {
		n := min(asked.batch, rows.X.Rows-i)
		part := learn.Matrix{Rows: n, Cols: rows.X.Cols, Data: rows.X.Data[i*rows.X.Cols : (i+n)*rows.X.Cols]}
		answers, refused, err := asked.ask(ctx, 1, 0, part)
		if err != nil || refused != nil {
			return held, refused, err
		}
		held.Victim = append(held.Victim, answers.ArgMax()...)
	}
	return held, nil, nil
}

// request is rows as the model takes them.
func (v *victim) request(rows learn.Matrix) *tensor.Request {
	t := tensor.Tensor{Name: v.input.Name, Datatype: v.input.Datatype, Shape: []int64{int64(rows.Rows), int64(rows.Cols)}}
	t.Data.Floats = make([]float64, len(rows.Data))
	for i, x := range rows.Data {
		t.Data.Floats[i] = v.input.Datatype.Round(float64(x))
	}
	return &tensor.Request{Inputs: []tensor.Tensor{t}, Outputs: []string{v.output.Name}}
}

// compute has the model in this process answer, and the defence change it.
func (v *victim) compute(ctx context.Context, rows learn.Matrix) (learn.Matrix, error) {
	said, err := v.model.Infer(ctx, v.request(rows))
	if err != nil {
		return learn.Matrix{}, err
	}
	answers, err := v.scores(said, rows.Rows)
	if v.said = answers; err == nil && v.defence.change != nil {
		answers.Data = slices.Clone(answers.Data)
		for i := range answers.Rows {
			if !v.defence.change(answers.Row(i)) {
				v.unchanged++
			}
		}
	}
	return answers, err
}

// scores reads an answer's scores.
func (v *victim) scores(said *tensor.Response, rows int) (learn.Matrix, error) {
	refuse := func(format string, args ...any) error {
		return &pavise.Error{Kind: pavise.Unavailable, Msg: fmt.Sprintf(format, args...), Hint: "a classifier that gives the scores of its classes is attacked here"}
	}
	at := slices.IndexFunc(said.Outputs, func(t tensor.Tensor) bool { return t.Name == v.output.Name })
	if at < 0 {
		return learn.Matrix{}, refuse("the answer has no output %.40q", v.output.Name)
	}
	t, width := said.Outputs[at], v.classes
	if v.single {
		width = 1
	}
	if len(t.Data.Floats) != rows*width || !t.Datatype.IsFloat() {
		return learn.Matrix{}, refuse("the answer has %d scores for %d rows of %d", len(t.Data.Floats), rows, width)
	}
	m := learn.NewMatrix(rows, v.classes)
	for i, x := range t.Data.Floats {
		switch {
		case !(math.Abs(x) <= math.MaxFloat32):
			return learn.Matrix{}, refuse("score %d of answered row %d is no finite number", i%width, i/width)
		case !v.single:
			m.Data[i] = float32(x)
		case x < 0 || x > 1:
			return learn.Matrix{}, refuse("the model gives one number, %v, which is no probability", x)
		default:
			m.Row(i)[0], m.Row(i)[1] = float32(1-x), float32(x)
		}
	}
	return m, nil
}

// readPlain reads a file that is no longer than it may be.
func readPlain(what, path string, most int) ([]byte, error) {
	fault := func(err error) error {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("read the %s: %v", what, err), Hint: "name a plain file that is there and that you may read", Err: err}
	}
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New(path + " is no plain file")
	}
	if err != nil {
		return nil, fault(err)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fault(err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, int64(most)+1))
	if err == nil && len(text) > most {
		err = fmt.Errorf("%s is longer than %d bytes", path, most)
	}
	if err != nil {
		return nil, fault(err)
	}
	return text, nil
}
