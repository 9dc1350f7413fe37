package answers

import (
	"bytes"
	"fmt"
	"path/filepath"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/table"
	"github.com/pavise/pavise/internal/watermark"
)

// Mark marks answers in place, as a gateway marks what it gives out, and lists the marks.
// The error is of kind Invalid.
func Mark(key *watermark.Key, a *Set, classes int) (*watermark.Marks, error) {
	marker, list := key.Marker(), watermark.NewMarks(key, classes)
	for i := range a.Rows() {
		var mark watermark.Mark
		var given bool
		if out := a.Output(i); a.Width > 1 {
			mark, given = marker.Answer(a.Input(i), out)
		} else {
			class, err := a.Class(i, classes)
			if err != nil {
				return nil, err
			}
			class, mark, given = marker.AnswerLabel(a.Input(i), class, classes)
			out[0] = float64(class)
		}
		if !given {
			continue
		}
		if len(list.Rows) == watermark.MaxSheet {
			return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("more than %d marks", watermark.MaxSheet), Hint: "mark fewer answers at once"}
		}
		list.Add(mark)
	}
	return list, nil
}

// Text returns the answers as the name of a file says: as CSV, or else as JSONL.
func (a *Set) Text(path string) ([]byte, error) {
	var b bytes.Buffer
	format, columns := table.JSONL, []string{"input", "output"}
	if filepath.Ext(path) == ".csv" {
		format, columns = table.CSV, nil
		for i := range a.Columns {
			columns = append(columns, fmt.Sprintf("x%d", i))
		}
		if columns = append(columns, "output"); a.Width > 1 {
			columns = columns[:a.Columns]
			for i := range a.Width {
				columns = append(columns, fmt.Sprintf("p%d", i))
			}
		}
	}
	w, err := table.NewWriter(&b, format, columns...)
	if err != nil {
		return nil, err
	}
	for i := range a.Rows() {
		cells := []any{a.Input(i), a.Output(i)}
		if format == table.CSV {
			cells = nil
			for _, v := range append(a.Input(i), a.Output(i)...) {
				cells = append(cells, v)
			}
		}
		if err := w.Write(cells...); err != nil {
			return nil, err
		}
	}
	err = w.Flush()
	return b.Bytes(), err
}

// Points finds so many points near a model's decision boundary, between rows that the seed
// takes. The error is of kind Invalid.
func Points(m *Model, name string, rows [][]float64, points int, seed uint64) (*watermark.Fingerprint, error) {
	labels, err := m.Classes(rows)
	if err != nil {
		return nil, err
	}
	s, err := watermark.NewSeeker(rows, labels, points, seed)
	if err != nil {
		return nil, err
	}
	for inputs := s.Next(); len(inputs) > 0; inputs = s.Next() {
		labels, err := m.Classes(inputs)
		if err == nil {
			err = s.Answer(labels)
		}
		if err != nil {
			return nil, err
		}
	}
	return s.Fingerprint(name), nil
}
