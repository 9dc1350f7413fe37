package watermark

import (
	"crypto/sha256"
	"fmt"
)

const (
	// FoundLog2 is the binary logarithm of the probability at and below which a suspect
	// counts as marked.
	FoundLog2 = -32
	// maxTrials bounds what an inquiry holds.
	maxTrials = 1 << 22
	// otherKeys is how many keys that mean nothing are tried beside the key.
	otherKeys = 256
	// unknown stands for a class that nobody said.
	unknown = -1
)

// An Inquiry collects what a suspect answers, and makes a [Report] of it. It counts inputs
// that count as the same once: rows that are repeated prove nothing twice.
//
// That the suspect knows nothing of the key is what is held against its answers, and the
// probability is over the key's randomness: whatever an innocent model says, and however
// wrong or like the true model it is, it says so without the key. So which of its wrong
// answers fall on marked inputs, rather than on controls, is blind; and one that does says
// the marked class with a chance of one in the other classes.
type Inquiry struct {
	marker  *Marker
	classes int
	marks   *Marks
	truths  map[[sha256.Size]byte]int    // the true classes, by exact input
	trials  map[[sha256.Size]byte]*trial // by what counts as the same
	rows    int                          // answers that were given
	blind   int                          // of them, those that the key can say nothing of, or whose truth is not known
	foreign int                          // of them, those that are not among the marks
}

// A trial is what is known of inputs that count as the same. It leans to the suspect's
// side: a marked one hits if every answer does, and is off if one is.
type trial struct {
	fate     Fate
	truth    int // or unknown
	answered bool
	class    int // of the last answer
	hit      bool
	off      bool // an answer is not the true class
}

// NewInquiry begins one for a model of so many classes, with the marks that were given
// out, or with nil. Errors are of kind Invalid, or Unverified when the marks are not the
// key's.
func NewInquiry(k *Key, classes int, marks *Marks) (*Inquiry, error) {
	if classes < 2 || classes > MaxClasses {
		return nil, invalid(fmt.Sprintf("a mark needs 2 to %d classes to choose from", MaxClasses), "an inquiry over %d classes", classes)
	}
	q := &Inquiry{marker: k.Marker(), classes: classes, marks: marks, truths: map[[sha256.Size]byte]int{}, trials: map[[sha256.Size]byte]*trial{}}
	if marks == nil {
		return q, nil
	}
	if marks.Classes != classes {
		return nil, invalid("", "the marks are of %d classes, and the answers of %d", marks.Classes, classes)
	}
	if err := marks.Hold(q.marker); err != nil {
		return nil, err
	}
	for _, row := range marks.Rows {
		f, _ := q.marker.Fate(row.Input) // Hold has looked at it
		if q.trials[f.sum] == nil {
			q.trials[f.sum] = &trial{fate: f, truth: row.True}
		}
	}
	return q, nil
}

// Truth says what the marked model itself answers to an input, without a mark. It comes
// before the answers. Without any, and without marks, only the classes that the key would
// choose first are looked for: less is found.
func (q *Inquiry) Truth(input []float64, class int) error {
	if class < 0 || class >= q.classes {
		return invalid("", "a true class %d of %d", class, q.classes)
	}
	point, ok := q.marker.point(input)
	if !ok {
		return nil
	}
	if len(q.truths) >= maxTrials {
		return invalid("give fewer rows", "more than %d true answers", maxTrials)
	}
	q.truths[point] = class
	return nil
}

// Answer says what the suspect answers to an input.
func (q *Inquiry) Answer(input []float64, class int) error {
	if class < 0 || class >= q.classes {
		return invalid("are the classes numbered from 0?", "an answer of class %d of %d", class, q.classes)
	}
	q.rows++
	f, ok := q.marker.Fate(input)
	if !ok {
		q.blind++
		return nil
	}
	t := q.trials[f.sum]
	switch {
	case t == nil && q.marks != nil:
		q.foreign++
		return nil
	case t == nil && len(q.trials) >= maxTrials:
		return invalid("give fewer rows", "answers to more than %d different inputs", maxTrials)
	}
	truth := unknown
	switch point, _ := q.marker.point(input); {
	case t != nil && q.marks != nil:
		truth = t.truth
	case len(q.truths) > 0:
		if truth, ok = q.truths[point]; !ok {
			q.blind++
			return nil
		}
	}
	if t == nil {
		t = &trial{fate: f, truth: truth}
		q.trials[f.sum] = t
	}
	q.count(t, truth, class)
	return nil
}

// count counts an answer to an input whose true class is truth.
func (q *Inquiry) count(t *trial, truth, class int) {
	hit := class == q.wanted(t, truth)
	t.hit = hit && (t.hit || !t.answered)
	t.answered, t.class = true, class
	t.off = t.off || truth != unknown && class != truth
}

// wanted returns the class that hits.
func (q *Inquiry) wanted(t *trial, truth int) int {
	if truth == unknown {
		return t.fate.guess(q.classes)
	}
	return t.fate.Label(truth, q.classes)
}

// A Count is what is counted of a suspect's answers, inputs that count as the same once.
type Count struct {
	Marked      int `json:"marked"`      // inputs that the key marks
	Hits        int `json:"hits"`        // of them, those with the marked class
	Off         int `json:"off"`         // of them, those with another class than the true one, where that is known
	Unanswered  int `json:"unanswered"`  // of them, those in the list of marks that nobody asked: they count as off, and as no hits
	Controls    int `json:"controls"`    // inputs that the key does not mark, held against those
	ControlsOff int `json:"controlsOff"` // of them, those with another class than the true one; unasked ones count as such
}

// tally counts the trials.
func (q *Inquiry) tally() (n Count) {
	for _, t := range q.trials {
		missing := !t.answered
		if t.fate.Role == Marked {
			n.Marked++
			n.Unanswered += one(missing)
			n.Hits += one(!missing && t.hit)
			n.Off += one(missing || t.off)
		} else {
			n.Controls++
			n.ControlsOff += one(missing || t.off)
		}
	}
	return n
}

func one(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

// known reports whether the true classes are.
func (q *Inquiry) known() bool { return q.marks != nil || len(q.truths) > 0 }

// A Test is how probable the hits are if the suspect knows nothing of the key: of All
// inputs, of which Off have an answer that is not the true one, Marked were marked blindly,
// and Hits of those that are off among them say the marked class, each with the Chance.
type Test struct {
	Marked int     `json:"marked"`
	All    int     `json:"all"`
	Off    int     `json:"off"`
	Hits   int     `json:"hits"`
	Chance float64 `json:"chance"`
	Log2P  float64 `json:"log2p"`
}

// test makes the test that the counts allow; nil when they allow none. composed tells that
// the inputs were chosen by the key, so that nothing is to be learnt from those that it
// does not mark. Without a list of marks nobody knows how they were chosen, so they count
// only where nothing else does: of two classes.
func (q *Inquiry) test(n Count, composed bool) *Test {
	beside := n.Controls > 0 && !composed && (q.marks != nil || q.known() && q.classes == 2)
	var t Test
	switch {
	case n.Marked == 0, q.known() && q.classes == 2 && !beside:
		return nil
	case !q.known(): // any answer may be off
		t = Test{Marked: n.Marked, All: n.Marked, Off: n.Marked, Hits: n.Hits, Chance: 1 / float64(q.classes)}
	case !beside:
		t = Test{Marked: n.Marked, All: n.Marked, Off: n.Off, Hits: n.Hits, Chance: 1 / float64(q.classes-1)}
	default:
		t = Test{Marked: n.Marked, All: n.Marked + n.Controls, Off: n.Off + n.ControlsOff, Hits: n.Hits, Chance: 1 / float64(q.classes-1)}
	}
	t.Log2P = markTail(t.Hits, t.Marked, t.Off, t.All, t.Chance)
	return &t
}

// log2p is the binary logarithm of the probability of the hits; of no test it is 0.
func (t *Test) log2p() float64 {
	if t == nil {
		return 0
	}
	return t.Log2P
}

// composed reports whether the share of marked inputs is not what the key picks blindly,
// so that whoever chose the inputs did not: 1 in 1000 that do not choose look so.
func (q *Inquiry) composed(n Count) bool {
	if q.marks != nil {
		return false // every input that the key picked is there, marked or control
	}
	const log2 = -11 // on each side
	all := n.Marked + n.Controls
	more := binomialTail(n.Marked, all, q.marker.key.Rate)
	fewer := binomialTail(all-n.Marked, all, 1-q.marker.key.Rate)
	return more < log2 || fewer < log2
}

// OtherKeys is how often the suspect hits under keys that mean nothing, on the inputs that
// the key marks: what hits by chance look like.
type OtherKeys struct {
	Keys int     `json:"keys"`
	Mean float64 `json:"mean"`
	Most int     `json:"most"`
}

func (q *Inquiry) otherKeys() *OtherKeys {
	if q.known() && q.classes == 2 {
		return nil
	}
	o, hits := &OtherKeys{Keys: otherKeys}, make([]int, otherKeys)
	for _, t := range q.trials {
		if t.fate.Role != Marked || !t.answered {
			continue
		}
		other := *t
		for i := range hits {
			other.fate.sum = sha256.Sum256(append(t.fate.sum[:], byte(i), byte(i>>8)))
			hits[i] += one(q.wanted(&other, t.truth) == t.class)
		}
	}
	for _, n := range hits {
		o.Mean += float64(n) / otherKeys
		o.Most = max(o.Most, n)
	}
	return o
}
