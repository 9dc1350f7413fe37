package answers

import (
	"bytes"
	"fmt"
	"io"
	"path/filepath"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/table"
	"github.com/pavise/pavise/internal/watermark"
)

// Marking marks a file of answers.
type Marking struct {
	Answers string `help:"What the model said, as CSV or JSONL: rows of inputs and outputs." required:"" placeholder:"FILE"`
	Key     string `help:"The key." required:"" placeholder:"FILE"`
	Marks   string `help:"Where to write the list of marks; nothing may be there." placeholder:"FILE"`
	Out     string `help:"Where to write the marked answers, by its name as .csv or .jsonl; nothing may be there." short:"o" required:"" placeholder:"FILE"`
	Layout
}

// Help is the text behind the command's flags.
func (*Marking) Help() string {
	return `Marks recorded answers as they would have been given out under the key, and writes the list
of marks: the inputs whose answers say another class, and controls, which are inputs that the
key picked in the same way and that are answered truly. Commit to the digest of the list as to
the key.

  pavise watermark mark --answers answers.jsonl --key digits.key -o marked.jsonl --marks digits.marks`
}

// Marked is what came of it.
type Marked struct {
	File       string `json:"file"`
	List       string `json:"list,omitempty"`
	Rows       int    `json:"rows"`
	Marked     int    `json:"marked"`
	Controls   int    `json:"controls"`
	Commitment string `json:"commitment"`       // of the key
	Digest     string `json:"digest,omitempty"` // of the list of marks
	Recorded   bool   `json:"recorded"`
}

// Run marks the answers, and writes them and the list of marks where nothing is. Errors are
// of kind Invalid, Unverified, Conflict or Unavailable.
func (m *Marking) Run() (*Marked, error) {
	key, err := readKey(m.Key)
	if err != nil {
		return nil, err
	}
	a, err := m.Read(m.Answers)
	if err != nil {
		return nil, err
	}
	classes, err := m.Count(a, 0)
	if err != nil {
		return nil, err
	}
	list, err := Mark(key, a, classes)
	if err != nil {
		return nil, err
	}
	done := &Marked{File: m.Out, List: m.Marks, Rows: a.Rows(), Commitment: key.Commitment()}
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
			return nil, err
		}
		if err := writeNew("list of marks", m.Marks, text.Bytes()); err != nil {
			return nil, err
		}
		done.Digest = list.Digest
	}
	text, err := a.Text(m.Out)
	if err != nil {
		return nil, err
	}
	return done, writeNew("marked answers", m.Out, text)
}

// Print prints it for people.
func (m *Marked) Print(w io.Writer) {
	fmt.Fprintf(w, "%d of %d answers are marked in %s.\n\n", m.Marked, m.Rows, m.File)
	fact(w, "controls", "%d", m.Controls)
	fact(w, "key", "%s", m.Commitment)
	if m.Digest != "" {
		fact(w, "list", "%s: digest %s", m.List, m.Digest)
	}
	unrecorded(w)
}

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
