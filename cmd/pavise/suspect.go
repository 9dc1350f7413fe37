package main

import (
	"bytes"
	"context"
	"fmt"
	"os"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/answers"
	"github.com/pavise/pavise/internal/screen"
	"github.com/pavise/pavise/internal/watermark"
)

// watermarkVerifyCommand is pavise watermark verify.
type watermarkVerifyCommand struct {
	Answers   string   `help:"What the suspect said, as CSV, JSONL or NPY: rows of inputs and outputs." placeholder:"FILE" xor:"suspect" required:""`
	Suspect   string   `help:"The suspect itself, as NAME.onnx: it is asked what the list of marks asks." placeholder:"MODEL" xor:"suspect" required:""`
	Key       string   `help:"The key that answers were marked with." required:"" placeholder:"FILE"`
	Marks     string   `help:"The list of marks that were given out under the key." placeholder:"FILE"`
	Committed string   `help:"The digest of the list of marks as it was committed to." placeholder:"DIGEST"`
	Truth     string   `help:"What the true model says to the same inputs: a file of answers, or NAME.onnx." placeholder:"FILE"`
	Controls  []string `help:"What a model says to the same inputs that cannot know the marks: a file of answers, NAME.onnx, or a directory of them; may be repeated." sep:"none" placeholder:"FILE"`
	answers.Layout
}

// Help is kong's hook for a command's help.
func (*watermarkVerifyCommand) Help() string {
	return `Asks how probable a suspect's answers are if it knows nothing of the key, and says in words
what that shows, and what not. The inputs are those that were answered under the key: the list
of marks holds them, with the true answers and controls.

The exit code is 0 if no mark is shown, 1 if one is, and 2 if nothing can be said: a file
cannot be read, or there are too few marks.

  pavise watermark verify --answers suspect.jsonl --key digits.key --marks digits.marks`
}

// A suspected is what the command prints as JSON.
type suspected struct {
	watermark.Report
	Model      string   `json:"model"`
	Suspect    string   `json:"suspect"`
	Commitment string   `json:"commitment"`            // of the key
	Digest     string   `json:"marksDigest,omitempty"` // of the list of marks
	Innocents  []string `json:"innocents,omitempty"`   // files
	Recorded   bool     `json:"recorded"`
}

func (v *watermarkVerifyCommand) run(_ context.Context, c *cli) error {
	s, err := v.look()
	if err != nil {
		return asCode(false, err)
	}
	if c.JSON {
		err = c.printJSON(s)
	} else {
		printSuspected(c, s)
	}
	if err == nil && s.Verdict == watermark.VerdictUnclear {
		return &ending{code: couldNotLook}
	}
	return asCode(s.Verdict == watermark.VerdictMarked, err)
}

// look makes the inquiry.
func (v *watermarkVerifyCommand) look() (s suspected, err error) {
	key, err := readKey(v.Key)
	if err != nil {
		return s, err
	}
	marks, err := v.readMarks()
	if err != nil {
		return s, err
	}
	a, err := v.suspect(marks)
	if err != nil {
		return s, err
	}
	known := 0
	if marks != nil {
		known, s.Digest = marks.Classes, marks.Digest
	}
	classes, err := v.Count(a, known)
	if err != nil {
		return s, err
	}
	var truth *answers.Set
	if v.Truth != "" {
		if truth, err = v.Of(v.Truth, a); err != nil {
			return s, err
		}
	}
	inquire := func(a *answers.Set) (*watermark.Inquiry, error) {
		q, err := watermark.NewInquiry(key, classes, marks)
		if err == nil && truth != nil {
			err = truth.Each(classes, q.Truth)
		}
		if err == nil {
			err = a.Each(classes, q.Answer)
		}
		return q, err
	}
	q, err := inquire(a)
	if err != nil {
		return s, err
	}
	innocent, err := v.innocents(a, inquire)
	if err != nil {
		return s, err
	}
	s.Report, s.Model, s.Suspect, s.Commitment = q.Report(innocent...), key.Model, a.Name, key.Commitment()
	s.Innocents, err = answers.Files(v.Controls)
	return s, err
}

// readMarks reads the list of marks, if one is named.
func (v *watermarkVerifyCommand) readMarks() (*watermark.Marks, error) {
	if v.Marks == "" {
		if v.Committed != "" {
			return nil, &pavise.Error{Kind: pavise.Invalid, Msg: "--committed is the digest of a list of marks, and none is given", Hint: "name it with --marks"}
		}
		return nil, nil
	}
	f, err := os.Open(v.Marks)
	if err != nil {
		return nil, &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("read the list of marks: %v", err), Err: err}
	}
	defer f.Close()
	marks, err := watermark.ReadMarks(f)
	if err != nil {
		return nil, err
	}
	if v.Committed != "" && v.Committed != marks.Digest {
		return nil, &pavise.Error{Kind: pavise.Unverified, Msg: fmt.Sprintf("the list of marks has the digest %s, and not the one that was committed to", marks.Digest), Hint: "take the list that was"}
	}
	return marks, nil
}

// suspect reads what the suspect said, or asks it.
func (v *watermarkVerifyCommand) suspect(marks *watermark.Marks) (*answers.Set, error) {
	if v.Answers != "" {
		return v.Read(v.Answers)
	}
	if marks == nil || len(marks.Rows) == 0 {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: "nobody says what the suspect is to be asked", Hint: "name the list of marks with --marks"}
	}
	m, err := answers.Open(v.Suspect)
	if err != nil {
		return nil, err
	}
	asked := &answers.Set{Columns: len(marks.Rows[0].Input)}
	for _, mark := range marks.Rows {
		asked.Inputs = append(asked.Inputs, mark.Input...)
	}
	return m.Answer(asked)
}

// innocents makes the same inquiry of models that cannot know the marks.
func (v *watermarkVerifyCommand) innocents(a *answers.Set, inquire func(*answers.Set) (*watermark.Inquiry, error)) (list []*watermark.Inquiry, err error) {
	files, err := answers.Files(v.Controls)
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		said, err := v.Of(file, a)
		if err != nil {
			return nil, err
		}
		q, err := inquire(said)
		if err != nil {
			return nil, err
		}
		list = append(list, q)
	}
	return list, nil
}

func printSuspected(c *cli, s suspected) {
	fmt.Fprintf(c.stdout, "%s: %s\n%s\n\n", s.Suspect, s.Verdict, s.Words)
	c.fact("key", "%s of %s", s.Commitment, s.Model)
	if s.Digest != "" {
		c.fact("list", "digest %s", s.Digest)
	}
	c.fact("answers", "%d, of which %d cannot be used and %d are not of the list", s.Rows, s.Unusable, s.Foreign)
	c.fact("marked", "%d inputs, %d with the marked class", s.Marked, s.Hits)
	c.fact("others", "%d inputs, %d with the class that they would be marked with", s.Controls, s.ControlHits)
	for _, t := range s.Tests {
		c.fact(t.Name, "%d of %d where %.2g of them are expected: 2^%.1f", t.Hits, t.Trials, t.Chance, t.Log2P)
	}
	if b := s.Beside; b != nil {
		c.fact("other keys", "%.1f hits on average, at most %d, under %d keys that mean nothing", b.Mean, b.Most, b.Keys)
	}
	if in := s.Innocent; in != nil {
		c.fact("innocent", "%d models: at most %d hits, 2^%.1f at the least", in.Models, in.MostHits, in.LeastLog2)
	}
	c.fact("recorded", "false (this command leaves no record)")
	printNotes(c.stdout, s.Notes)
}

func printNotes(out screen.Terminal, notes []string) {
	for _, note := range notes {
		fmt.Fprintf(out, "\n%s\n", note)
	}
}

// watermarkFingerprintCommand is pavise watermark fingerprint.
type watermarkFingerprintCommand struct {
	Model  string   `help:"The model, as NAME.onnx." required:"" placeholder:"FILE"`
	Name   string   `help:"What the model is called." required:"" placeholder:"NAME"`
	Rows   string   `help:"Rows as the model is asked, as CSV, JSONL, NPY or IDX." required:"" placeholder:"FILE"`
	Omit   []string `help:"Columns of the data that are no inputs, such as a label; may be repeated." placeholder:"COLUMN"`
	Points int      `help:"How many points to look for." default:"400" placeholder:"NUMBER"`
	Seed   uint64   `help:"Which rows are taken: the same seed takes the same." placeholder:"NUMBER"`
	Out    string   `help:"Where to write the points; nothing may be there." short:"o" required:"" placeholder:"FILE"`
}

// Help is kong's hook for a command's help.
func (*watermarkFingerprintCommand) Help() string {
	return `Looks for inputs near the model's decision boundary, by halving the way between rows that it
gives different classes, and writes them with its answers. A copy says the same there more
often than other models do. Nothing is marked and no answer changes, so it is for models that
may not be marked; it shows less. Commit to the digest before there is anybody to suspect.

  pavise watermark fingerprint --model fraud.onnx --name fraud --rows rows.csv -o fraud.points`
}

// A foundPoints is what the command prints as JSON.
type foundPoints struct {
	File     string `json:"file"`
	Model    string `json:"model"`
	Points   int    `json:"points"`
	Digest   string `json:"digest"`
	Recorded bool   `json:"recorded"`
}

func (p *watermarkFingerprintCommand) run(_ context.Context, c *cli) error {
	m, err := answers.Open(p.Model)
	if err != nil {
		return err
	}
	rows, err := answers.Inputs(p.Rows, p.Omit)
	if err != nil {
		return err
	}
	if p.Points < 1 || p.Points > 100_000 {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%d points", p.Points), Hint: "look for 1 to 100,000; some hundreds are usual"}
	}
	f, err := answers.Points(m, p.Name, rows, p.Points, p.Seed)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if err := f.Write(&text); err != nil {
		return err
	}
	if err := writeNew("points", p.Out, text.Bytes()); err != nil {
		return err
	}
	found := foundPoints{File: p.Out, Model: p.Name, Points: len(f.Points), Digest: f.Digest}
	if c.JSON {
		return c.printJSON(found)
	}
	fmt.Fprintf(c.stdout, "%s holds %d points near the boundary of %s.\n\n", p.Out, found.Points, p.Name)
	c.fact("digest", "%s", found.Digest)
	c.fact("recorded", "false (this command leaves no record)")
	return nil
}

// watermarkCompareCommand is pavise watermark compare.
type watermarkCompareCommand struct {
	Answers     string   `help:"What the suspect said to the points: a file of answers, or NAME.onnx." required:"" placeholder:"FILE"`
	Fingerprint string   `help:"The points." required:"" placeholder:"FILE"`
	Controls    []string `help:"What a model said to the points that is no copy: a file of answers, NAME.onnx, or a directory of them; may be repeated." sep:"none" placeholder:"FILE"`
	answers.Layout
}

// Help is kong's hook for a command's help.
func (*watermarkCompareCommand) Help() string {
	return `Holds what a suspect says near the boundary of a model to what the model says, and to what 20
or more models say that are no copies of it.

The exit code is 0 if no likeness is shown, 1 if one is, and 2 if nothing can be said.

  pavise watermark compare --answers suspect.onnx --fingerprint fraud.points --controls others/`
}

// A compared is what the command prints as JSON.
type compared struct {
	watermark.Likeness
	Model    string `json:"model"`
	Suspect  string `json:"suspect"`
	Digest   string `json:"digest"`
	Recorded bool   `json:"recorded"`
}

func (p *watermarkCompareCommand) run(_ context.Context, c *cli) error {
	r, err := p.look()
	if err != nil {
		return asCode(false, err)
	}
	if c.JSON {
		err = c.printJSON(r)
	} else {
		fmt.Fprintf(c.stdout, "%s: %s\n%s\n\n", r.Suspect, r.Verdict, r.Words)
		c.fact("points", "digest %s of %s", r.Digest, r.Model)
		c.fact("others", "%.1f %% on average, standard deviation %.1f", 100*r.Mean, 100*r.Deviation)
		c.fact("recorded", "false (this command leaves no record)")
		printNotes(c.stdout, r.Notes)
	}
	if err == nil && r.Verdict == watermark.VerdictUnclear {
		return &ending{code: couldNotLook}
	}
	return asCode(r.Verdict == watermark.VerdictMarked, err)
}

func (p *watermarkCompareCommand) look() (r compared, err error) {
	f, err := os.Open(p.Fingerprint)
	if err != nil {
		return r, &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("read the points: %v", err), Err: err}
	}
	defer f.Close()
	points, err := watermark.ReadFingerprint(f)
	if err != nil {
		return r, err
	}
	agree := p.agreement(points)
	suspect, err := agree(p.Answers)
	if err != nil {
		return r, err
	}
	files, err := answers.Files(p.Controls)
	if err != nil {
		return r, err
	}
	var innocent []float64
	for _, file := range files {
		share, err := agree(file)
		if err != nil {
			return r, err
		}
		innocent = append(innocent, share)
	}
	return compared{points.Compare(suspect, innocent), points.Model, p.Answers, points.Digest, false}, nil
}

// agreement returns what computes the share of points on which the answers in a file are
// the model's.
func (p *watermarkCompareCommand) agreement(points *watermark.Fingerprint) func(string) (float64, error) {
	asked := &answers.Set{Columns: len(points.Points[0].Input)}
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
