package answers

import (
	"bytes"
	"fmt"
	"io"
	"os"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/watermark"
)

// Fingerprinting finds points near the decision boundary of a model.
type Fingerprinting struct {
	Model  string   `help:"The model, as NAME.onnx." required:"" placeholder:"FILE"`
	Name   string   `help:"What the model is called." required:"" placeholder:"NAME"`
	Rows   string   `help:"Rows as the model is asked, as CSV, JSONL, NPY or IDX." required:"" placeholder:"FILE"`
	Omit   []string `help:"Columns of the data that are no inputs, such as a label; may be repeated." placeholder:"COLUMN"`
	Points int      `help:"How many points to look for." default:"400" placeholder:"NUMBER"`
	Seed   uint64   `help:"Which rows are taken: the same seed takes the same." placeholder:"NUMBER"`
	Out    string   `help:"Where to write the points; nothing may be there." short:"o" required:"" placeholder:"FILE"`
}

// Help is the text behind the command's flags.
func (*Fingerprinting) Help() string {
	return `Looks for inputs near the model's decision boundary, by halving the way between rows that it
gives different classes, and writes them with its answers. A copy says the same there more
often than other models do. Nothing is marked and no answer changes, so it is for models that
may not be marked; it shows less. Commit to the digest before there is anybody to suspect.

  pavise watermark fingerprint --model fraud.onnx --name fraud --rows rows.csv -o fraud.points`
}

// Found are points that were found.
type Found struct {
	File     string `json:"file"`
	Model    string `json:"model"`
	Points   int    `json:"points"`
	Digest   string `json:"digest"`
	Recorded bool   `json:"recorded"`
}

// Run finds the points, and writes them where nothing is. Errors are of kind Invalid,
// NotFound, Conflict or Unavailable.
func (p *Fingerprinting) Run() (*Found, error) {
	m, err := Open(p.Model)
	if err != nil {
		return nil, err
	}
	rows, err := Inputs(p.Rows, p.Omit)
	if err != nil {
		return nil, err
	}
	if p.Points < 1 || p.Points > 100_000 {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%d points", p.Points), Hint: "look for 1 to 100,000; some hundreds are usual"}
	}
	f, err := Points(m, p.Name, rows, p.Points, p.Seed)
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	if err := f.Write(&text); err != nil {
		return nil, err
	}
	return &Found{File: p.Out, Model: p.Name, Points: len(f.Points), Digest: f.Digest}, writeNew("points", p.Out, text.Bytes())
}

// Print prints it for people.
func (f *Found) Print(w io.Writer) {
	fmt.Fprintf(w, "%s holds %d points near the boundary of %s.\n\n", f.File, f.Points, f.Model)
	fact(w, "digest", "%s", f.Digest)
	unrecorded(w)
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

// Comparing holds a suspect to the points of a fingerprint.
type Comparing struct {
	Answers     string   `help:"What the suspect said to the points: a file of answers, or NAME.onnx." required:"" placeholder:"FILE"`
	Fingerprint string   `help:"The points." required:"" placeholder:"FILE"`
	Controls    []string `help:"What a model said to the points that is no copy: a file of answers, NAME.onnx, or a directory of them; may be repeated." sep:"none" placeholder:"FILE"`
	Layout
}

// Help is the text behind the command's flags.
func (*Comparing) Help() string {
	return `Holds what a suspect says near the boundary of a model to what the model says, and to what 20
or more models say that are no copies of it.

The exit code is 0 if no likeness is shown, 1 if one is, and 2 if nothing can be said.

  pavise watermark compare --answers suspect.onnx --fingerprint fraud.points --controls others/`
}

// Compared is what was found.
type Compared struct {
	watermark.Likeness
	Model    string `json:"model"`
	Suspect  string `json:"suspect"`
	Digest   string `json:"digest"`
	Recorded bool   `json:"recorded"`
}

// Run compares. Errors are of kind Invalid, NotFound or Unverified.
func (p *Comparing) Run() (*Compared, error) {
	f, err := os.Open(p.Fingerprint)
	if err != nil {
		return nil, &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("read the points: %v", err), Err: err}
	}
	defer f.Close()
	points, err := watermark.ReadFingerprint(f)
	if err != nil {
		return nil, err
	}
	agree := p.agreement(points)
	suspect, err := agree(p.Answers)
	if err != nil {
		return nil, err
	}
	files, err := Files(p.Controls)
	if err != nil {
		return nil, err
	}
	var innocent []float64
	for _, file := range files {
		share, err := agree(file)
		if err != nil {
			return nil, err
		}
		innocent = append(innocent, share)
	}
	return &Compared{points.Compare(suspect, innocent), points.Model, p.Answers, points.Digest, false}, nil
}

// Print prints it for people.
func (r *Compared) Print(w io.Writer) {
	fmt.Fprintf(w, "%s: %s\n%s\n\n", r.Suspect, r.Verdict, r.Words)
	fact(w, "points", "digest %s of %s", r.Digest, r.Model)
	fact(w, "others", "%.1f %% on average, standard deviation %.1f", 100*r.Mean, 100*r.Deviation)
	unrecorded(w)
	printNotes(w, r.Notes)
}

// agreement returns what computes the share of points on which the answers in a file are
// the model's.
func (p *Comparing) agreement(points *watermark.Fingerprint) func(string) (float64, error) {
	asked := &Set{Columns: len(points.Points[0].Input)}
	for _, point := range points.Points {
		asked.Inputs = append(asked.Inputs, point.Input...)
	}
	place := points.Place()
	return func(path string) (float64, error) {
		said, err := p.Of(path, asked)
		if err != nil {
			return 0, err
		}
		if err := points.Hold(said.Columns); err != nil {
			return 0, err
		}
		classes, err := p.Count(said, watermark.MaxClasses)
		if err != nil {
			return 0, err
		}
		at := map[int]int{}
		err = said.Each(classes, func(input []float64, class int) error {
			if i, ok := place(input); ok {
				at[i] = class
			}
			return nil
		})
		return points.Agreement(at), err
	}
}
