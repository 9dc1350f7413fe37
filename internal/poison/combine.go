package poison

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// A Report is what all screens found.
type Report struct {
	Rows    []Row     // of the file, in its order
	Pattern []Pattern // the strongest triggers, whether they are strong enough or not
	Shifts  []Shift   // columns that differ, by source or from the baseline
	Sources []Harm    // what leaving each source out does to a model
	Screens []Outcome
	Notes   []string // about the table
}

// A Row is what speaks against one row.
type Row struct {
	Score   float64 // 1 and above: to quarantine
	Rank    int     // from 1, the worst first
	Reasons []Reason
}

// A Reason is what one screen says of a row.
type Reason struct {
	Screen string  `json:"screen"`
	Score  float64 `json:"score"`
	Words  string  `json:"words"`
}

// An Outcome is how one screen went.
type Outcome struct {
	Screen  string   `json:"screen"`
	Limit   float64  `json:"limit,omitempty"`      // evidence that counts as a score of 1
	Found   int      `json:"found"`                // rows at or above it
	Silence string   `json:"not_looked,omitempty"` // why it could not look
	Remarks []string `json:"remarks,omitempty"`
}

// trustedShare is the share of a trusted baseline that one screen may take for poison.
const trustedShare = 0.001

// mostTrusted is the share of a trusted baseline that one screen takes for poison where its evidence
// has a highest value: in a table of which classes overlap, many good rows come near that.
const mostTrusted = 0.005

// told is the least score that is worth a reason.
const told = 0.5

// Combine puts findings together: a row's score is that of the screen that it looks worst
// to, each measured in what it takes to be sent to quarantine. With a baseline that is a tenth
// more than one in a thousand of its rows reaches, within bounds; without one it is what
// clean tables do not reach.
func (v *View) Combine(found []Finding) *Report {
	r := &Report{Rows: make([]Row, v.rows), Notes: v.Notes}
	for _, f := range found {
		o := Outcome{Screen: f.Screen, Silence: f.Silence, Remarks: f.Remarks}
		r.Pattern, r.Shifts, r.Sources = append(r.Pattern, f.Pattern...), append(r.Shifts, f.Shifts...), append(r.Sources, f.Harm...)
		if f.Evidence != nil {
			var remark string
			if o.Limit, remark = v.limit(f); remark != "" {
				o.Remarks = append(slices.Clip(o.Remarks), remark)
			}
			for i := range r.Rows {
				score := score(float64(f.Evidence[i]), o.Limit)
				if score >= 1 {
					o.Found++
				}
				r.Rows[i].Score = max(r.Rows[i].Score, score)
				if score >= told {
					r.Rows[i].Reasons = append(r.Rows[i].Reasons, Reason{f.Screen, score, f.why(i)})
				}
			}
		}
		r.Screens = append(r.Screens, o)
	}
	r.rank()
	slices.SortStableFunc(r.Pattern, func(a, b Pattern) int { return cmp.Compare(b.Strength, a.Strength) })
	return r
}

// score is evidence in what sends a row to quarantine. It is a finite number: a row that
// could not be reckoned with is one to look at.
func score(evidence, limit float64) float64 {
	if math.IsNaN(evidence) {
		return 1
	}
	return min(max(evidence/limit, 0), math.MaxFloat32)
}

// limit is the evidence that sends a row to quarantine: 1.1 times what one in a thousand
// trusted rows reaches, within bounds. Where a screen's evidence has a highest value, that is no
// more than what one trusted row in 200 reaches, or than the limit without a baseline, or nothing
// could reach it. Without a baseline a remark says where it was raised.
func (v *View) limit(f Finding) (limit float64, remark string) {
	if f.Untold || v.all-v.rows < 100 {
		if f.Odds {
			return v.spared(f)
		}
		return f.Limit, ""
	}
	trusted := slices.Clone(f.Evidence[v.rows:])
	slices.Sort(trusted)
	above := int(math.Ceil(trustedShare * float64(len(trusted))))
	seen := float64(trusted[len(trusted)-above])
	most := 2 * f.Limit
	if f.Bounded {
		most = max(f.Limit, float64(trusted[len(trusted)-int(math.Ceil(mostTrusted*float64(len(trusted))))]))
	}
	if math.IsNaN(seen) {
		seen = most
	}
	return min(max(1.1*seen, 0.6*f.Limit), most), ""
}

func (f *Finding) why(i int) string {
	if f.Reason == nil {
		return f.Words
	}
	return f.Reason(i)
}

// rank orders rows by score, and reasons by theirs.
func (r *Report) rank() {
	order := make([]int, len(r.Rows))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(r.Rows[b].Score, r.Rows[a].Score) })
	for place, i := range order {
		r.Rows[i].Rank = place + 1
		slices.SortStableFunc(r.Rows[i].Reasons, func(a, b Reason) int { return cmp.Compare(b.Score, a.Score) })
	}
}

// Jobs returns the screens, those that take longest first.
func (v *View) Jobs() []Job {
	return []Job{
		{"labels", v.labels}, {"triggers", v.triggers}, {"novelty", v.novelty}, {"clusters", v.clusters},
		{"neighbours", v.company}, {"outliers", v.outliers}, {"gradients", v.gradients},
		{"duplicates", v.duplicates}, {"contrast", v.contrast}, {"sources", v.harm},
	}
}

// Blind is what no screen here sees, in words for people.
func Blind() []string {
	return []string{
		"poison that is spread thin: a trigger in fewer than 12 rows, or in fewer than one in 500 of a class",
		"triggers of values that many rows of the class have, in rows that are else alike, or that differ from row to row",
		fmt.Sprintf("wrong labels in classes of fewer than %d rows, and rows that are nearly the same and a quarter of their class", fewRows),
		"rows made to pass: whoever knows the screens can write some that none of them minds (Koh, Steinhardt and Liang, 2018)",
		"a baseline that is poisoned itself: what it has is taken for good",
		fmt.Sprintf("texts beyond their being the same or not, and more than %d classes", maxLearned),
	}
}
