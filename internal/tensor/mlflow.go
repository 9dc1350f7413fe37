package tensor

import (
	"fmt"
	"slices"

	"github.com/pavise/pavise"
)

// MLflow is POST invocations of MLflow's scoring server: dataframe_split,
// dataframe_records, instances or inputs, answered by predictions.
//
// The columns of a data frame are the inputs of the model, one each; or, when the
// model has a single input of two dimensions, that input's columns, by the names that
// the signature gives them. The order in which they are sent does not matter.
//
// As an encoder of requests it knows no names of columns; see MLflowOf.
var MLflow Protocol = &mlflow{}

// MLflowOf is MLflow as a server of a model with that signature is asked: a table
// whose columns have names goes as a data frame, everything else as inputs.
func MLflowOf(sig Signature) Protocol { return &mlflow{sig.table()} }

type mlflow struct {
	frame []string // the columns of the only input, when they have names
}

var (
	mlflowKeys       = []string{"dataframe_split", "dataframe_records", "instances", "inputs", "params"}
	mlflowAnswerKeys = []string{"predictions"}
	splitKeys        = []string{"data", "columns", "index"}
)

// table returns the names of the columns of a model's only input, when it has them.
func (s Signature) table() []string {
	if len(s.Inputs) != 1 || len(s.Inputs[0].Shape) != 2 {
		return nil
	}
	var names []string
	for _, c := range s.Inputs[0].Columns {
		if c.Name == "" || slices.Contains(names, c.Name) {
			return nil
		}
		names = append(names, c.Name)
	}
	return names
}

func (*mlflow) ParseRequest(m Message, sig Signature, lim Limits) (*Request, error) {
	r := new(Request)
	err := read(m, lim, pavise.Invalid, func(s *scanner) *fault {
		f := s.object(mlflowKeys, 0, func(key string) (f *fault) {
			switch {
			case key == "params":
				return s.fault("leave it out", "params change what a model does with a row, and no rule here knows how")
			case r.Inputs != nil:
				return s.fault("send one of them", "%s after another form of the rows", key)
			}
			switch key {
			case "dataframe_split":
				r.Inputs, f = s.splitFrame(sig)
			case "dataframe_records":
				r.Inputs, f = s.records(sig)
			case "instances":
				r.Inputs, f = s.rows("instances", sig.Inputs)
			default:
				r.Inputs, f = s.columns(sig.Inputs)
			}
			return f
		})
		if f == nil && r.Inputs == nil {
			f = s.fault("send one of dataframe_split, dataframe_records, instances and inputs", "no rows")
		}
		return f
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// A frame reads the rows of a data frame.
type frame struct {
	folds []fold
	keys  *set  // names of the columns
	one   bool  // all columns are of one input
	order []int // of the columns of one input: where each value that was read goes
	room  Data  // for that
}

// newFrame begins a data frame; nil when the signature has no names for its columns.
func newFrame(sig Signature) *frame {
	names := sig.table()
	f := &frame{one: names != nil}
	if !f.one {
		names = portNames(sig.Inputs)
	}
	if len(sig.Inputs) == 1 && !f.one && len(sig.Inputs[0].Shape) > 1 {
		return nil
	}
	f.keys = newSet(names)
	for _, p := range sig.Inputs {
		f.folds = append(f.folds, rowsOf(p))
	}
	if f.one {
		f.folds[0].t.Shape = append(f.folds[0].t.Shape, int64(len(names)))
		f.folds[0].leaf = 2
	}
	return f
}

// cell reads the value of a column.
func (f *frame) cell(s *scanner, column int) *fault {
	if !f.one {
		return f.folds[column].value(s, 1)
	}
	f.order = append(f.order, column)
	return f.folds[0].element(s, 2)
}

// settle brings the values of a row of one input, which were read in the order in
// which they were sent, to where they belong.
func (f *frame) settle() {
	if f.one {
		d := &f.folds[0].t.Data
		reorder(d.Bools, f.order, &f.room.Bools)
		reorder(d.Uints, f.order, &f.room.Uints)
		reorder(d.Ints, f.order, &f.room.Ints)
		reorder(d.Floats, f.order, &f.room.Floats)
		reorder(d.Bytes, f.order, &f.room.Bytes)
	}
	f.order = f.order[:0]
}

// reorder brings each of the last values of list to its place among them.
func reorder[T any](list []T, order []int, room *[]T) {
	if len(list) == 0 {
		return
	}
	last := list[len(list)-len(order):]
	*room = append((*room)[:0], last...)
	for i, to := range order {
		last[to] = (*room)[i]
	}
}

const unnamed = "the columns of the model's input have no names: give them in its signature, or send instances"

// records reads a list of objects, one for each row.
func (s *scanner) records(sig Signature) ([]Tensor, *fault) {
	f := newFrame(sig)
	if f == nil {
		return nil, s.fault(unnamed, "columns by name")
	}
	n := 0
	bad := s.array("records", s.lim.MaxRows, func(i int) *fault {
		n = i + 1
		bad := s.fields(f.keys, func(i int) *fault { return f.cell(s, i) })
		if bad == nil {
			f.settle()
		}
		return bad
	})
	if bad != nil {
		return nil, bad
	}
	return unfold(f.folds, n), nil
}

// splitFrame reads a data frame as pandas writes it with orient="split". Data that stands
// before the columns is stepped over and read at the end.
func (s *scanner) splitFrame(sig Signature) (list []Tensor, bad *fault) {
	var columns []int // where each goes; nil: none were named
	early, index, f := 0, 0, newFrame(sig)
	bad = s.object(splitKeys, 1, func(key string) (bad *fault) {
		switch key {
		case "columns":
			if f == nil {
				return s.fault(unnamed, "columns by name")
			}
			columns, bad = s.columnNames(f.keys)
		case "index":
			index, bad = s.index()
		case "data":
			if columns != nil {
				list, bad = s.cells(f, columns)
				return bad
			}
			s.peek()
			early = s.pos
			bad = s.stepOver()
		}
		return bad
	})
	if bad == nil && list == nil {
		end := s.pos
		s.pos = early
		if columns != nil {
			list, bad = s.cells(f, columns)
		} else {
			list, bad = s.rows("rows", sig.Inputs)
		}
		bad = bad.in(".data")
		if bad == nil {
			s.pos = end
		}
	}
	if bad == nil && index > 0 && int64(index) != list[0].Shape[0] {
		bad = s.fault("leave the index out", "an index of %d rows for %d", index, list[0].Shape[0])
	}
	return list, bad
}

// columnNames reads the names of a frame's columns, and returns the place of each.
func (s *scanner) columnNames(k *set) (places []int, bad *fault) {
	clear(k.seen)
	bad = s.array("columns", len(k.names), func(n int) *fault {
		start := s.pos
		name, bad := s.quoted(s.lim.MaxNameLen)
		if bad != nil {
			return bad
		}
		i := k.find(name, n)
		if i < 0 || k.seen[i] {
			s.pos = start
			return s.fault("the model's signature has each column once, spelled exactly", "column %.40q is unknown, or named twice", name)
		}
		k.seen[i] = true
		places = append(places, i)
		return nil
	})
	if bad == nil && len(places) < len(k.names) {
		bad = s.fault("name each column that the model takes", "column %.40q is missing", k.names[slices.Index(k.seen, false)])
	}
	return places, bad
}

// index reads the labels of a frame's rows, which count them from 0: others would mean
// something, and nothing here knows what.
func (s *scanner) index() (rows int, bad *fault) {
	bad = s.array("rows", s.lim.MaxRows, func(i int) *fault {
		n, bad := s.unsigned(64)
		if bad == nil && n != uint64(i) {
			bad = s.fault("leave the index out", "a row that is labelled %d", n)
		}
		rows = i + 1
		return bad
	})
	return rows, bad
}

// cells reads rows whose values stand in the order of the columns.
func (s *scanner) cells(f *frame, columns []int) ([]Tensor, *fault) {
	n := 0
	bad := s.array("rows", s.lim.MaxRows, func(row int) *fault {
		n = row + 1
		count := 0
		bad := s.array("values", len(columns), func(i int) *fault {
			count = i + 1
			return f.cell(s, columns[i])
		})
		if bad == nil && count < len(columns) {
			bad = s.fault("give each row a value for every column", "%d values for %d columns", count, len(columns))
		}
		if bad == nil {
			f.settle()
		}
		return bad
	})
	if bad != nil {
		return nil, bad
	}
	return unfold(f.folds, n), nil
}

func (p *mlflow) AppendRequest(dst []byte, r *Request) (Message, error) {
	list, err := spools(r.Inputs, pavise.Invalid)
	if err != nil {
		return Message{}, err
	}
	if p.frame == nil {
		return Message{append(appendColumns(append(dst, `{"inputs":`...), list), '}'), NoHeader}, nil
	}
	if shape := list[0].t.Shape; len(list) != 1 || len(shape) != 2 || shape[1] != int64(len(p.frame)) {
		return Message{}, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("tensor %q has the shape %d, and the model takes a table of %d columns", list[0].t.Name, shape, len(p.frame))}
	}
	dst = append(dst, `{"dataframe_split":{"columns":[`...)
	dst = appendList(dst, p.frame, appendQuoted[string])
	return Message{append(appendRows(append(dst, `],"data":`...), list), "}}"...), NoHeader}, nil
}

func (*mlflow) ParseResponse(m Message, r *Request, sig Signature, lim Limits) (*Response, error) {
	a := new(Response)
	err := read(m, lim, pavise.Unavailable, func(s *scanner) *fault {
		return s.object(mlflowAnswerKeys, 1, func(string) (f *fault) {
			if s.peek() == '{' {
				a.Outputs, f = s.columns(sig.Outputs)
			} else {
				a.Outputs, f = s.rows("predictions", sig.Outputs)
			}
			return f
		})
	})
	if err != nil {
		return nil, err
	}
	a.Outputs = asked(r, a.Outputs)
	return a, nil
}

func (*mlflow) AppendResponse(dst []byte, _ *Request, a *Response) (Message, error) {
	list, err := spools(a.Outputs, pavise.Unavailable)
	if err != nil {
		return Message{}, err
	}
	return Message{append(appendRows(append(dst, `{"predictions":`...), list), '}'), NoHeader}, nil
}

// String is the name that requests are counted by.
func (*mlflow) String() string { return NameMLflow }
