package watermark

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/pavise/pavise"
)

const (
	marksFormat = "pavise-watermark-marks/1"
	// MaxClasses bounds the classes of a model whose answers are marked.
	MaxClasses = 1 << 20
)

// A Mark is one answer that was given out: a marked one, or a true one that serves as a
// control.
type Mark struct {
	Input  []float64 `json:"input"`
	True   int       `json:"true"`             // the class that the model says
	Marked *int      `json:"marked,omitempty"` // the class that the caller was given; nil: a control
}

// Marks are the marked answers that were given out under a key, and their controls. As a
// file they have a digest, which is given to a log before there is a suspect.
type Marks struct {
	Model   string
	Key     string // commitment of the key
	Classes int
	Rows    []Mark
	Digest  string // of the file that they were read from, or written to
}

// marksHead is the first line of a file.
type marksHead struct {
	Format  string `json:"format"`
	Model   string `json:"model"`
	Key     string `json:"key"`
	Classes int    `json:"classes"`
}

// NewMarks begins an empty list for a key and a model of so many classes.
func NewMarks(k *Key, classes int) *Marks {
	return &Marks{Model: k.Model, Key: k.Commitment(), Classes: classes}
}

// Add keeps a mark with a copy of its input.
func (m *Marks) Add(mark Mark) {
	mark.Input = slices.Clone(mark.Input)
	m.Rows = append(m.Rows, mark)
}

// Write writes the marks as a file, and sets its digest.
func (m *Marks) Write(w io.Writer) (err error) {
	m.Digest, err = writeSheet(w, marksHead{marksFormat, m.Model, m.Key, m.Classes}, m.Rows)
	return err
}

// ReadMarks reads a file of marks. Errors are of kind Invalid, or Unverified when the
// file is not what it was.
func ReadMarks(r io.Reader) (*Marks, error) {
	m := &Marks{}
	head, digest, err := readSheet[marksHead](r, "the marks", func(row Mark, _ int) error {
		m.Rows = append(m.Rows, row)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if head.Format != marksFormat {
		return nil, invalid("this version of Pavise reads "+marksFormat, "the marks have the format %.60q", head.Format)
	}
	m.Model, m.Key, m.Classes, m.Digest = head.Model, head.Key, head.Classes, digest
	if m.Classes < 2 || m.Classes > MaxClasses {
		return nil, invalid("", "the marks are of a model with %d classes, and not 2 to %d", m.Classes, MaxClasses)
	}
	for i, row := range m.Rows {
		if why := row.fault(m.Classes); why != nil {
			return nil, invalid("take a copy as Pavise wrote it", "the marks, line %d: %v", i+2, why)
		}
	}
	return m, nil
}

func (m Mark) fault(classes int) error {
	switch {
	case len(m.Input) == 0 || len(m.Input) > MaxColumns:
		return fmt.Errorf("an input of %d numbers", len(m.Input))
	case m.True < 0 || m.True >= classes:
		return fmt.Errorf("class %d of %d", m.True, classes)
	case m.Marked != nil && (*m.Marked < 0 || *m.Marked >= classes || *m.Marked == m.True):
		return fmt.Errorf("marked with class %d of %d, where %d is true", *m.Marked, classes, m.True)
	}
	return nil
}

// Hold reports, as an error of kind Unverified, that these are not marks of the marker's
// key, each as that key makes it.
func (m *Marks) Hold(by *Marker) error {
	k := by.key
	if m.Model != k.Model || m.Key != k.Commitment() {
		return &pavise.Error{Kind: pavise.Unverified, Msg: fmt.Sprintf("the marks are of the model %q under the key %.12s…, and the key is for %q and %.12s…", m.Model, m.Key, k.Model, k.Commitment()), Hint: "give the key that the marks were made with"}
	}
	for i, row := range m.Rows {
		if err := row.hold(by, m.Classes); err != nil {
			return &pavise.Error{Kind: pavise.Unverified, Msg: fmt.Sprintf("the marks, line %d: %v", i+2, err), Hint: "somebody changed the file and its digest: take the copy whose digest is in the log"}
		}
	}
	return nil
}

func (m Mark) hold(by *Marker, classes int) error {
	f, ok := by.Fate(m.Input)
	switch {
	case !ok:
		return errors.New("the key can say nothing of this input")
	case m.Marked == nil && f.Role != Control:
		return errors.New("the key does not make this input a control")
	case m.Marked != nil && f.Role != Marked:
		return errors.New("the key does not mark this input")
	case m.Marked != nil && f.Label(m.True, classes) != *m.Marked:
		return fmt.Errorf("the key marks this input with class %d, and not %d", f.Label(m.True, classes), *m.Marked)
	}
	return nil
}
