package watermark

import (
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/pavise/pavise"
)

const (
	fingerprintFormat = "pavise-watermark-fingerprint/1"
	// halvings find a boundary to a 4,096th of the way between two rows.
	halvings = 12
	// pairsTried bounds the search for rows of different classes, for each that is wanted.
	pairsTried = 50
)

// away is how far from the boundary points lie, as shares of the way between the two rows
// that it was found between, on both sides: near enough for other models to differ, and
// far enough for a copy not to.
var away = []float64{0.02, 0.06}

// A Fingerprint is points near a model's decision boundary, with the classes that the
// model says there.
type Fingerprint struct {
	Model  string
	Points []Point
	Digest string // of the file that it was read from, or written to
}

// A Point is an input near the boundary.
type Point struct {
	Input []float64 `json:"input"`
	Label int       `json:"label"` // the class that the model says
}

type fingerprintHead struct {
	Format string `json:"format"`
	Model  string `json:"model"`
}

// A Seeker finds points near a model's decision boundary: it takes two rows that the model
// gives different classes, and halves the way between them. It asks by Next and is
// answered by Answer, until Next has nothing left to ask.
type Seeker struct {
	pairs  []pair
	points []Point
	asked  int // halvings that were answered
	last   bool
}

// A pair is two rows of different classes. The boundary lies from lo to hi on the way.
type pair struct {
	from, to []float64
	label    int // of from
	lo, hi   float64
}

// NewSeeker begins with rows and the classes that the model says to them, and looks for so
// many points, by chance as the seed has it. The error is of kind Invalid.
func NewSeeker(rows [][]float64, labels []int, points int, seed uint64) (*Seeker, error) {
	if len(rows) != len(labels) || len(rows) < 2 {
		return nil, invalid("", "a boundary is sought between %d rows with %d classes", len(rows), len(labels))
	}
	s, rng := &Seeker{}, rand.New(rand.NewPCG(seed, 0))
	pairs, used := max((points+2*len(away)-1)/(2*len(away)), 1), map[[2]int]bool{}
	for range pairs * pairsTried {
		i, j := rng.IntN(len(rows)), rng.IntN(len(rows))
		if len(rows[i]) != len(rows[j]) || slices.ContainsFunc(rows[i], notFinite) {
			return nil, invalid("clean the rows", "row %d is of another length, or has a number that is not finite", i+1)
		}
		if labels[i] != labels[j] && !used[[2]int{i, j}] && !used[[2]int{j, i}] {
			used[[2]int{i, j}] = true
			s.pairs = append(s.pairs, pair{from: rows[i], to: rows[j], label: labels[i], hi: 1})
		}
		if len(s.pairs) == pairs {
			return s, nil
		}
	}
	return nil, invalid("give rows of all classes", "of %d pairs of rows that were tried, only %d have different classes", pairs*pairsTried, len(s.pairs))
}

func notFinite(v float64) bool { return !finite(v) }

// Next returns the inputs that the model is asked next; none when all is known.
func (s *Seeker) Next() (inputs [][]float64) {
	switch {
	case s.last:
	case s.asked < halvings:
		for _, p := range s.pairs {
			inputs = append(inputs, p.at((p.lo+p.hi)/2))
		}
	default:
		for _, p := range s.pairs {
			for _, share := range away {
				inputs = append(inputs, p.at(max(p.lo-share, 0)), p.at(min(p.hi+share, 1)))
			}
		}
	}
	return inputs
}

// at returns an input on the way, as 32 bits hold it.
func (p pair) at(share float64) []float64 {
	input := make([]float64, len(p.from))
	for i, v := range p.from {
		input[i] = float64(float32(v + float64(share*(p.to[i]-v))))
	}
	return input
}

// Answer takes the classes that the model says to what Next returned last.
func (s *Seeker) Answer(labels []int) error {
	inputs := s.Next()
	if len(labels) != len(inputs) {
		return invalid("", "%d answers to %d inputs", len(labels), len(inputs))
	}
	if s.asked < halvings {
		for i := range s.pairs {
			p := &s.pairs[i]
			if middle := (p.lo + p.hi) / 2; labels[i] == p.label {
				p.lo = middle
			} else {
				p.hi = middle
			}
		}
		s.asked++
		return nil
	}
	seen := map[string]bool{} // an input that two ways lead to is one point
	for i, input := range inputs {
		exact, _ := appendExact(nil, input)
		if !seen[string(exact)] {
			s.points = append(s.points, Point{input, labels[i]})
		}
		seen[string(exact)] = true
	}
	s.last = true
	return nil
}

// Fingerprint returns the points once Next has nothing left to ask.
func (s *Seeker) Fingerprint(model string) *Fingerprint {
	return &Fingerprint{Model: model, Points: s.points}
}

// Write writes the fingerprint as a file, and sets its digest.
func (f *Fingerprint) Write(w io.Writer) (err error) {
	f.Digest, err = writeSheet(w, fingerprintHead{fingerprintFormat, f.Model}, f.Points)
	return err
}

// ReadFingerprint reads a file of points. Errors are of kind Invalid, or Unverified when
// the file is not what it was.
func ReadFingerprint(r io.Reader) (*Fingerprint, error) {
	f := &Fingerprint{}
	head, digest, err := readSheet[fingerprintHead](r, "the fingerprint", func(p Point, _ int) error {
		if len(p.Input) == 0 || len(p.Input) > MaxColumns || p.Label < 0 || p.Label >= MaxClasses {
			return fmt.Errorf("class %d of an input of %d numbers", p.Label, len(p.Input))
		}
		f.Points = append(f.Points, p)
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case head.Format != fingerprintFormat:
		return nil, invalid("this version of Pavise reads "+fingerprintFormat, "the fingerprint has the format %.60q", head.Format)
	case len(f.Points) == 0:
		return nil, invalid("", "the fingerprint has no points")
	}
	f.Model, f.Digest = head.Model, digest
	return f, nil
}

// A Likeness is how far a suspect says what a model says near its boundary, beside models
// that are not copies of it.
type Likeness struct {
	Verdict   string   `json:"verdict"` // VerdictMarked: as a copy would; else as for a Report
	Words     string   `json:"words"`
	Points    int      `json:"points"`
	Agreement float64  `json:"agreement"` // share of the points where the suspect says the same
	Innocent  int      `json:"innocent"`  // models that are not copies
	Most      float64  `json:"most"`      // the largest share among them
	Mean      float64  `json:"mean"`
	Deviation float64  `json:"deviation"` // standard deviation among them
	P         float64  `json:"p"`         // share of models, the suspect among them, that agree as much as it
	Least     float64  `json:"least"`     // the least that P can be with so many
	Notes     []string `json:"notes"`
}

// Agreement returns on how many of the points answers are the model's. Answers are classes
// by point; unknown points, which have none, count as other classes.
func (f *Fingerprint) Agreement(answers map[int]int) float64 {
	same := 0
	for i, p := range f.Points {
		if class, ok := answers[i]; ok && class == p.Label {
			same++
		}
	}
	return float64(same) / float64(len(f.Points))
}

// Compare holds a suspect's agreement to those of models that are not copies. If the
// suspect is as they are, every place among them is as likely, so that 20 of them support
// no less than 1 in 21.
func (f *Fingerprint) Compare(suspect float64, innocent []float64) Likeness {
	l := Likeness{Points: len(f.Points), Agreement: suspect, Innocent: len(innocent), P: 1, Least: 1 / float64(len(innocent)+1), Notes: []string{}}
	above := 0
	for _, a := range innocent {
		above += one(a >= suspect)
		l.Most = max(l.Most, a)
		l.Mean += a / float64(len(innocent))
	}
	for _, a := range innocent {
		l.Deviation += (a - l.Mean) * (a - l.Mean) / float64(len(innocent))
	}
	l.Deviation = math.Sqrt(l.Deviation)
	l.P = float64(above+1) / float64(len(innocent)+1)
	said := fmt.Sprintf("The suspect says what the model says on %.1f %% of %d points near its boundary", 100*suspect, l.Points)
	switch {
	case len(innocent) < manyInnocents:
		l.Verdict = VerdictUnclear
		l.Words = fmt.Sprintf("%s, and there are %d other models to hold it against: with fewer than %d nothing can be said.", said, len(innocent), manyInnocents)
	case above == 0:
		l.Verdict = VerdictMarked
		l.Words = fmt.Sprintf("%s, more than each of %d models that are not copies (at most %.1f %%). Such a model would be first among them with a probability of %.3f, and more models are needed to say more.", said, len(innocent), 100*l.Most, l.P)
	default:
		l.Verdict = VerdictNotShown
		l.Words = fmt.Sprintf("%s, and %d of %d models that are not copies say as much or more. That does not show that it was not copied.", said, above, len(innocent))
	}
	l.Notes = append(l.Notes,
		"It holds if the other models are as an honest suspect would be: trained for the same task on such data, of various architectures. A model that was trained on the same rows is like the true one, too, and no thief.",
		"It holds if the commitment to the points was in a log before there was a suspect.",
		"A likeness is one signal, and weaker than a mark: look for others, such as the record of who asked what.")
	return l
}

// Place returns the indexes of the points by their inputs, for answers that come in any
// order.
func (f *Fingerprint) Place() func(input []float64) (int, bool) {
	index := map[string]int{}
	var room []byte
	for i, p := range f.Points {
		room, _ = appendExact(room[:0], p.Input)
		index[string(room)] = i
	}
	return func(input []float64) (int, bool) {
		room, _ = appendExact(room[:0], input)
		i, ok := index[string(room)]
		return i, ok
	}
}

// Hold reports, as an error of kind Invalid, that these are no points for a model with so
// many columns.
func (f *Fingerprint) Hold(columns int) error {
	for i, p := range f.Points {
		if len(p.Input) != columns {
			return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("point %d of the fingerprint has %d numbers, and the answers are to %d", i+1, len(p.Input), columns)}
		}
	}
	return nil
}
