package watermark

import (
	"fmt"
	"math"
	"sort"
)

// The verdicts of a report.
const (
	VerdictMarked   = "marked"     // the suspect knows the key's marks
	VerdictNotShown = "not shown"  // there was enough to find them in, and they were not found
	VerdictUnclear  = "cannot say" // too little was asked, or what should hold of innocent models does not
)

const (
	// manyInnocents is how many innocent models are asked for.
	manyInnocents = 20
	// innocentLevel is how often all innocent models together may look marked by chance.
	innocentLevel = 0.001
	// mostNeeded is where counting how many marks would be needed ends.
	mostNeeded = 1 << 14
)

// A Report is what an inquiry says of a suspect.
type Report struct {
	Verdict   string     `json:"verdict"`
	Words     string     `json:"words"` // the verdict, and why
	Log2P     float64    `json:"log2p"` // binary logarithm of the probability of the hits without the key
	Threshold float64    `json:"threshold"`
	Rows      int        `json:"rows"`     // answers that were given
	Unusable  int        `json:"unusable"` // of them, those the key can say nothing of, or without a true class where others have one
	Foreign   int        `json:"foreign"`  // of them, those that are not among the marks
	Classes   int        `json:"classes"`
	Count                // inputs that count as the same, once
	Test      *Test      `json:"test"`                // nil: none could be made
	Beside    *OtherKeys `json:"otherKeys,omitempty"` // nil: of two classes every key marks with the same
	Innocent  *Innocent  `json:"innocent,omitempty"`  // nil: none were given
	// NeedsAll and NeedsHalf are how many marks would be found in a suspect that had
	// learnt all of them, or every second one; 0: no number of them.
	NeedsAll  int      `json:"needsAll"`
	NeedsHalf int      `json:"needsHalf"`
	Notes     []string `json:"notes"`
}

// Innocent is what models that never saw a marked answer say to the same inputs.
type Innocent struct {
	Models    int     `json:"models"`
	MostHits  int     `json:"mostHits"`
	LeastLog2 float64 `json:"leastLog2p"`
	// Level is up to what share of innocent models might look marked, when none of these
	// does: at 95 % confidence (Clopper and Pearson, Biometrika 26, 1934).
	Level float64 `json:"level"`
	Fine  bool    `json:"fine"` // none of them looks marked
}

// Report says what the answers so far show, beside those of innocent models to the same
// inputs.
func (q *Inquiry) Report(innocent ...*Inquiry) Report {
	n := q.tally()
	composed := q.composed(n)
	r := Report{
		Threshold: FoundLog2, Rows: q.rows, Unusable: q.blind, Foreign: q.foreign, Classes: q.classes, Count: n,
		Test: q.test(n, composed), Beside: q.otherKeys(),
	}
	r.Log2P = r.Test.log2p()
	r.Innocent = q.innocent(innocent)
	r.NeedsAll, r.NeedsHalf = q.needs(n, composed, 1), q.needs(n, composed, 0.5)
	q.judge(&r, composed)
	r.Notes = q.notes(&r, composed)
	return r
}

// innocent sums up what innocent models say.
func (q *Inquiry) innocent(list []*Inquiry) *Innocent {
	if len(list) == 0 {
		return nil
	}
	in := &Innocent{Models: len(list), Level: 1 - math.Pow(0.05, 1/float64(len(list)))}
	for _, one := range list {
		n := one.tally()
		in.MostHits = max(in.MostHits, n.Hits)
		in.LeastLog2 = min(in.LeastLog2, one.test(n, one.composed(n)).log2p())
	}
	in.Fine = in.LeastLog2 > math.Log2(innocentLevel/float64(len(list)))
	return in
}

// needs returns how many marks would be found in a suspect that had learnt a share of
// them, and said the true class otherwise; 0 when no number would.
func (q *Inquiry) needs(n Count, composed bool, share float64) int {
	per := controls * 1.0 // controls for each mark
	if q.marks == nil {
		per = 1/q.marker.key.Rate - 1
	}
	wrong := float64(n.ControlsOff) / float64(max(n.Controls, 1))
	found := func(marked int) bool {
		hits := int(math.Ceil(share * float64(marked)))
		then := Count{Marked: marked, Hits: hits, Off: hits + int(math.Ceil(wrong*float64(marked-hits)))}
		if n.Controls > 0 {
			then.Controls = int(per * float64(marked))
			then.ControlsOff = int(math.Ceil(wrong * float64(then.Controls)))
		}
		return q.test(then, composed).log2p() <= FoundLog2
	}
	if !found(mostNeeded) {
		return 0
	}
	return 1 + sort.Search(mostNeeded-1, func(i int) bool { return found(i + 1) })
}

// judge says the verdict, and why.
func (q *Inquiry) judge(r *Report, composed bool) {
	said := fmt.Sprintf("The suspect says the marked class on %d of %d marked inputs", r.Hits, r.Marked)
	best := r.Count
	best.Hits, best.Off = best.Marked, best.Marked
	switch {
	case r.Marked == 0 || r.Test == nil || !q.known() && q.classes == 2:
		r.Verdict = VerdictUnclear
		r.Words = "Nothing can be said: " + q.missing(r)
	case r.Log2P <= FoundLog2 && r.Innocent != nil && !r.Innocent.Fine:
		r.Verdict = VerdictUnclear
		r.Words = fmt.Sprintf("%s, and a model that is said to be innocent looks marked, too (2^%.1f): either it is not, or the key was known. Nothing can be said.", said, r.Innocent.LeastLog2)
	case r.Log2P <= FoundLog2 && r.Innocent != nil && r.Innocent.MostHits >= r.Hits:
		r.Verdict = VerdictUnclear
		r.Words = fmt.Sprintf("%s, and an innocent model on %d: that is no difference. Nothing can be said.", said, r.Innocent.MostHits)
	case r.Log2P <= FoundLog2:
		r.Verdict = VerdictMarked
		r.Words = fmt.Sprintf("%s. One that knows nothing of the key does so, or does so more often, with a probability of 2^%.1f. It was trained on answers that were given out under this key, by whatever way they came to it.", said, r.Log2P)
	case q.test(best, composed).log2p() > FoundLog2:
		r.Verdict = VerdictUnclear
		r.Words = fmt.Sprintf("%s (2^%.1f), and even all of them would not be enough: %s. Nothing can be said.", said, r.Log2P, q.needed(r))
	default:
		r.Verdict = VerdictNotShown
		r.Words = fmt.Sprintf("%s. One that knows nothing of the key does so, or does so more often, with a probability of 2^%.1f, and at most 2^%d shows a mark. That does not show that it was not copied: a copy may not have learnt the marks, or have lost them.", said, r.Log2P, FoundLog2)
	}
}

// missing says what is missing where no test can be made.
func (q *Inquiry) missing(r *Report) string {
	switch {
	case r.Rows > 0 && r.Unusable == r.Rows:
		return fmt.Sprintf("the key can say nothing of any of the %d inputs: they have another number of columns than it knows, or nobody says what is true of them.", r.Rows)
	case r.Marked == 0:
		return fmt.Sprintf("the key marks none of the %d inputs. Ask what was asked under it; the list of marks says what that is.", r.Rows)
	case !q.known():
		return "of two classes a mark is the other one than the true one, so the true answers have to be given, or the list of marks."
	case r.Controls == 0:
		return "with two classes, answers to inputs that the key does not mark are needed, too, chosen as the others were."
	}
	return "with two classes, marks tell only beside inputs that were chosen as they were, and these were chosen by the key: give the list of marks with its controls."
}

// needed says how many marks are.
func (q *Inquiry) needed(r *Report) string {
	switch {
	case r.NeedsAll == 0:
		return "no number of marks would be, with so many of the other answers like marks"
	case r.NeedsHalf == 0:
		return fmt.Sprintf("it takes %d marks where all are learnt", r.NeedsAll)
	}
	return fmt.Sprintf("it takes %d marks where all are learnt, and %d where every second one is", r.NeedsAll, r.NeedsHalf)
}

// notes are what a reader has to know beside the verdict.
func (q *Inquiry) notes(r *Report, composed bool) []string {
	notes := []string{}
	note := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
	if q.marks == nil {
		note("No list of marks was given. Whoever made the file of answers could have left out those that do not hit: only a list that was committed to before shows which inputs belong in it.")
	} else if r.Unanswered > 0 {
		note("%d marked inputs of the list were not asked, and count as wrong and not hit.", r.Unanswered)
	}
	if q.marks == nil && q.known() && q.classes == 2 {
		note("Of two classes a mark is a wrong answer, so it also counts on that the other inputs are as hard as the marked ones. The controls in a list of marks are; rows from several places need not be.")
	}
	if composed && q.classes == 2 {
		note("The key marks %d of these %d inputs, which is not the share that it picks blindly (%v): they were chosen by the key, so the others say nothing about them.", r.Marked, r.Marked+r.Controls, q.marker.key.Rate)
	}
	if !q.known() {
		note("The true answers were not given, so only the class that the key would choose first was looked for: one mark in %d is missed.", q.classes)
	}
	switch {
	case r.Innocent == nil:
		note("No innocent models were asked. The probability rests on the key alone, and holds without them; %d or more show that nothing else went wrong.", manyInnocents)
	case r.Innocent.Models < manyInnocents:
		note("%d innocent models were asked; give %d or more.", r.Innocent.Models, manyInnocents)
	}
	if r.Innocent != nil && r.Innocent.Fine {
		note("None of %d innocent models looks marked. By themselves so many show no more than that at most %.1f %% of such models would, at 95 %% confidence; smaller probabilities rest on the key.", r.Innocent.Models, 100*r.Innocent.Level)
	}
	note("The probability is for one suspect and one key, fixed before. For m of them add log2(m) to it: 8 for 256.")
	note("It holds if the commitments to the key and to the list were in a log before anybody could know the suspect's answers: who chooses a key afterwards finds one that fits.")
	note("A mark is one signal. Answers can be passed on, and marks can be trained into a model by somebody who wants it blamed: look for others, such as the record of who asked what.")
	return notes
}
