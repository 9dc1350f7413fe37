package redteam

import (
	"context"
	"fmt"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/extraction"
)

// A Curve is several attacks on a model in a file.
type Curve struct {
	Setting
	Attack  []string `help:"The attacks." default:"in-distribution,near-ood,jbda,knockoff-adaptive,random" placeholder:"NAME"`
	Answers []string `help:"What the thieves use of an answer: scores, top1, lookup." default:"scores,top1"`
	Defence []string `help:"What is done to the answers, each on its own." default:"full,round:2,label,modelguard:1"`
	Bound   float64  `help:"The agreement that no copy is to reach." default:"0.8"`
}

// Help is the text behind the command's flags.
func (*Curve) Help() string {
	return `Runs every attack against a model in a file, with every defence and every use of the
answers, and says for each defence how many rows may be answered to one caller before the
best of these copies could agree with the model on more than --bound of held-back rows.

It says how far these attacks got, with these data and this seed. It promises nothing of
a thief with better data, another kind of copy or several names.

For example:

  pavise redteam curve --target model.onnx --data rows.csv --label class --budget 3000 --bound 0.9`
}

// A Line is one attack against one defence.
type Line struct {
	Attack    string             `json:"attack"`
	Answers   string             `json:"answers"`
	Defence   string             `json:"defence"`
	Rows      int                `json:"rows"`
	Ledger    string             `json:"ledger"`
	Points    []extraction.Point `json:"points"`
	Detection *Detection         `json:"detection,omitempty"`
}

// A Recommended is what one defence leaves to be answered.
type Recommended struct {
	Defence string `json:"defence"`
	extraction.Recommendation
	Words string `json:"words"`
}

// Curves are what came of them.
type Curves struct {
	Target   string            `json:"target"`
	Budget   int               `json:"budget"`
	Seed     uint64            `json:"seed"`
	Columns  int               `json:"columns"`
	Classes  int               `json:"classes"`
	Held     int               `json:"held"`
	Victim   *extraction.Share `json:"victim_accuracy,omitempty"`
	Curves   []Line            `json:"curves"`
	Budgets  []Recommended     `json:"budgets"`
	Caveat   string            `json:"caveat"`
	Recorded bool              `json:"recorded"` // this command leaves no record
}

const caveat = "this is how far these attacks got with these data and this seed: a thief with better data, another kind of copy or several names may get further"

// Run runs every attack against every defence, and reads a budget off for each. Errors are
// those of [Extract.Run].
//
// Unguarded: whoever runs it reads their own files; no principal of an installation acts.
func (k *Curve) Run(ctx context.Context) (*Curves, error) {
	if isURL(k.Target) {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: "curves are measured on a file: a server would be asked for every one of them", Hint: "name an ONNX file, or measure one attack on the server with pavise redteam extract"}
	}
	if !(k.Bound > 0 && k.Bound < 1) {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("--bound %v", k.Bound), Hint: "use a share between 0 and 1, such as 0.8"}
	}
	defences := make([]perturbation, len(k.Defence))
	for i, text := range k.Defence {
		var err error
		if defences[i], err = parseDefence(text); err != nil {
			return nil, err
		}
	}
	v, err := openModel(k.Target, k.Output, perturbation{})
	if err != nil {
		return nil, err
	}
	data, rows, err := k.rows(v)
	if err != nil {
		return nil, err
	}
	held, _, err := v.label(ctx, rows)
	if err != nil {
		return nil, err
	}
	result := &Curves{
		Target: k.Target, Budget: k.Budget, Seed: k.Seed, Columns: v.cols, Classes: v.classes, Held: held.X.Rows,
		Victim: accuracyOf(held), Curves: []Line{}, Caveat: caveat,
	}
	for _, d := range defences {
		if v.defence = d; d.change != nil && !d.change(fair(v.classes)) {
			return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the defence %s cannot be applied to %d classes", d.name, v.classes), Hint: "leave it out"}
		}
		var points [][]extraction.Point
		for _, name := range k.Attack {
			for _, use := range k.Answers {
				if skipped(name, use, d) {
					continue
				}
				one, err := k.one(ctx, v, data, held, name, use)
				if err != nil {
					return nil, err
				}
				result.Curves, points = append(result.Curves, one), append(points, one.Points)
			}
		}
		r := Recommended{Defence: d.name, Recommendation: extraction.Recommend(k.Bound, points...)}
		r.Words = r.words(len(points), k.Budget)
		result.Budgets = append(result.Budgets, r)
	}
	return result, nil
}

// fair is a row of probabilities, none of them equal.
func fair(classes int) []float32 {
	row, sum := make([]float32, classes), float32(0)
	for k := range row {
		row[k] = float32(classes + k)
		sum += row[k]
	}
	for k := range row {
		row[k] /= sum
	}
	return row
}

// skipped reports whether a use of the answers has no sense against a defence: there is
// nothing to undo, or no score left.
func skipped(attack, use string, d perturbation) bool {
	solving := attack == "equation-solving" || attack == "tree-path-finding"
	return use == extraction.Lookup && d.change == nil || solving && use == extraction.Top1
}

// one runs an attack to its end and measures its copies.
func (k *Curve) one(ctx context.Context, v *victim, data extraction.Data, held extraction.Held, name, use string) (Line, error) {
	say := func(format string, args ...any) {
		k.say("%s, %s, %s: "+format, append([]any{v.defence.name, name, use}, args...)...)
	}
	out := Line{Attack: name, Answers: use, Defence: v.defence.name}
	cfg, err := k.config(v)
	if err != nil {
		return out, err
	}
	cfg.Attack, cfg.Answers = name, use
	a, err := extraction.New(cfg, data)
	if err != nil {
		return out, err
	}
	if out.Detection, err = newDetection(k.Calibration, v, k.Sybils); err != nil {
		return out, err
	}
	for {
		if ctx.Err() != nil {
			return out, &pavise.Error{Kind: pavise.Unavailable, Msg: "stopped before the curves were whole", Hint: "a smaller --budget or fewer attacks take less time"}
		}
		rows, err := a.Next(v.batch)
		if err != nil {
			return out, err
		}
		if rows.Rows == 0 {
			break
		}
		first := a.Rows()
		answers, err := v.compute(ctx, rows)
		if err == nil {
			err = a.Answer(answers)
		}
		if err != nil {
			return out, err
		}
		out.Detection.rows(a, first, rows, v.said, rows.Rows)
		say("%d rows …", a.Rows())
	}
	out.Detection.end()
	out.Rows, out.Ledger = a.Rows(), a.LedgerDigest()
	for _, n := range extraction.Ladder(a.Rows()) {
		if ctx.Err() != nil {
			return out, &pavise.Error{Kind: pavise.Unavailable, Msg: "stopped before the curves were whole", Hint: "a smaller --budget or fewer attacks take less time"}
		}
		say("a copy of %d rows …", n)
		p, _, err := a.Measure(extraction.Theft{Surrogate: k.Surrogate, Perturb: v.defence.perturb()}, n, held)
		if err != nil {
			return out, err
		}
		out.Points = append(out.Points, p)
	}
	return out, nil
}

// words say what a recommendation means, and what not.
func (r Recommended) words(thieves, budget int) string {
	per := fmt.Sprintf("%.0f %%", 100*r.Bound)
	switch {
	case thieves == 0:
		return "no attack was measured"
	case r.Reached == nil:
		return fmt.Sprintf("none of %d thieves came to %s within %d rows; what more rows give was not measured", thieves, per, budget)
	case r.Rows == 0:
		return fmt.Sprintf("the first measure, at %d rows, may be above %s already (%s): measure with a smaller --budget, or do not rely on a budget here", r.Reached.Rows, per, r.Reached.Agreement)
	}
	return fmt.Sprintf("answer a caller at most %d rows (%s): at %d the best of %d thieves may be above %s (%s)", r.Rows, bits(r.Bits), r.Reached.Rows, thieves, per, r.Reached.Agreement)
}
