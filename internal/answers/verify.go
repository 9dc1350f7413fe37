package answers

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/watermark"
)

// maxToken bounds a bearer token, in bytes.
const maxToken = 16 << 10

// Verifying looks for marks in what a suspect says.
type Verifying struct {
	Answers   string   `help:"What the suspect said, as CSV, JSONL or NPY: rows of inputs and outputs." placeholder:"FILE" xor:"suspect" required:""`
	Suspect   string   `help:"The suspect itself, as NAME.onnx or as the URL of a model (https://HOST/v2/models/NAME or /v1/models/NAME): it is asked what the list of marks asks." placeholder:"MODEL" xor:"suspect" required:""`
	Bearer    string   `help:"A file with the bearer token that the suspect's server wants." placeholder:"FILE"`
	Key       string   `help:"The key that answers were marked with." required:"" placeholder:"FILE"`
	Marks     string   `help:"The list of marks that were given out under the key." placeholder:"FILE"`
	Committed string   `help:"The digest of the list of marks as it was committed to." placeholder:"DIGEST"`
	Truth     string   `help:"What the true model says to the same inputs: a file of answers, or NAME.onnx." placeholder:"FILE"`
	Controls  []string `help:"What a model says to the same inputs that cannot know the marks: a file of answers, NAME.onnx, or a directory of them; may be repeated." sep:"none" placeholder:"FILE"`
	Layout
}

// Help is the text behind the command's flags.
func (*Verifying) Help() string {
	return `Asks how probable a suspect's answers are if it knows nothing of the key, and says in words
what that shows, and what not. The inputs are those that were answered under the key: the list
of marks holds them, with the true answers and controls.

The exit code is 0 if no mark is shown, 1 if one is, and 2 if nothing can be said: a file
cannot be read, or there are too few marks.

  pavise watermark verify --answers suspect.jsonl --key digits.key --marks digits.marks`
}

// Verified is what was found.
type Verified struct {
	watermark.Report
	Model      string   `json:"model"`
	Suspect    string   `json:"suspect"`
	Commitment string   `json:"commitment"`            // of the key
	Digest     string   `json:"marksDigest,omitempty"` // of the list of marks
	Innocents  []string `json:"innocents,omitempty"`   // files
	Classes    int      `json:"classes"`
	Guessed    bool     `json:"classesGuessed,omitempty"` // nobody said how many classes there are: as many as the answers have
	Recorded   bool     `json:"recorded"`
}

// Run makes the inquiry. Errors are of kind Invalid, NotFound, Unverified or Unavailable.
func (v *Verifying) Run(ctx context.Context) (*Verified, error) {
	s := &Verified{}
	key, err := readKey(v.Key)
	if err != nil {
		return nil, err
	}
	marks, err := v.readMarks()
	if err != nil {
		return nil, err
	}
	a, err := v.suspect(ctx, marks)
	if err != nil {
		return nil, err
	}
	known := 0
	if marks != nil {
		known, s.Digest = marks.Classes, marks.Digest
	}
	classes, err := v.Count(a, cmp.Or(known, a.seen()))
	if err != nil {
		return nil, err
	}
	s.Classes, s.Guessed = classes, classes == a.seen() && known == 0 && a.Width == 1 && v.Classes == ""
	var truth *Set
	if v.Truth != "" {
		if truth, err = v.Of(v.Truth, a); err != nil {
			return nil, err
		}
	}
	inquire := func(a *Set) (*watermark.Inquiry, error) {
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
		return nil, err
	}
	innocent, err := v.innocents(a, inquire)
	if err != nil {
		return nil, err
	}
	s.Report, s.Model, s.Suspect, s.Commitment = q.Report(innocent...), key.Model, a.Name, key.Commitment()
	s.Innocents, err = Files(v.Controls)
	return s, err
}

// readMarks reads the list of marks, if one is named.
func (v *Verifying) readMarks() (*watermark.Marks, error) {
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
func (v *Verifying) suspect(ctx context.Context, marks *watermark.Marks) (*Set, error) {
	if v.Answers != "" {
		return v.Read(v.Answers)
	}
	if marks == nil || len(marks.Rows) == 0 {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: "nobody says what the suspect is to be asked", Hint: "name the list of marks with --marks"}
	}
	asked := &Set{Columns: len(marks.Rows[0].Input)}
	for _, mark := range marks.Rows {
		asked.Inputs = append(asked.Inputs, mark.Input...)
	}
	if !strings.Contains(v.Suspect, "://") {
		m, err := Open(v.Suspect)
		if err != nil {
			return nil, err
		}
		return m.Answer(asked)
	}
	var token []byte
	if v.Bearer != "" {
		var err error
		if token, err = readPlain("token", v.Bearer, maxToken); err != nil {
			return nil, err
		}
	}
	e, err := NewEndpoint(v.Suspect, string(token))
	if err != nil {
		return nil, err
	}
	return e.Answer(ctx, asked)
}

// innocents makes the same inquiry of models that cannot know the marks.
func (v *Verifying) innocents(a *Set, inquire func(*Set) (*watermark.Inquiry, error)) (list []*watermark.Inquiry, err error) {
	files, err := Files(v.Controls)
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

// seen is how many classes there are if the answers have the last one; 0 where they hold
// something else than classes, or one alone.
func (a *Set) seen() int {
	most := 0.0
	for i := range a.Rows() {
		c := a.Output(i)[0]
		if a.Width > 1 || c < 0 || c != math.Trunc(c) || c >= watermark.MaxClasses {
			return 0
		}
		most = max(most, c)
	}
	if most < 1 {
		return 0
	}
	return int(most) + 1
}

// Print prints it for people.
func (s *Verified) Print(w io.Writer) {
	fmt.Fprintf(w, "%s: %s\n%s\n\n", s.Suspect, s.Verdict, s.Words)
	if s.Guessed {
		fact(w, "classes", "%d, as many as the answers have; if there are more, say so with --classes", s.Classes)
	}
	fact(w, "key", "%s of %s", s.Commitment, s.Model)
	if s.Digest != "" {
		fact(w, "list", "digest %s", s.Digest)
	}
	fact(w, "answers", "%d, of which %d cannot be used and %d are not of the list", s.Rows, s.Unusable, s.Foreign)
	fact(w, "marked", "%d inputs, %d with the marked class", s.Marked, s.Hits)
	fact(w, "others", "%d inputs", s.Controls)
	if t := s.Test; t != nil {
		fact(w, "test", "of %d inputs %d were marked blindly, %d have answers that may be off, and %d hit, by a chance of %.3g each: 2^%.1f", t.All, t.Marked, t.Off, t.Hits, t.Chance, t.Log2P)
	}
	if b := s.Beside; b != nil {
		fact(w, "other keys", "%.1f hits on average, at most %d, under %d keys that mean nothing", b.Mean, b.Most, b.Keys)
	}
	if in := s.Innocent; in != nil {
		fact(w, "innocent", "%d models: at most %d hits, 2^%.1f at the least", in.Models, in.MostHits, in.LeastLog2)
	}
	unrecorded(w)
	printNotes(w, s.Notes)
}
