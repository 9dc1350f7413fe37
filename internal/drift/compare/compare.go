package compare

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/drift"
	"github.com/pavise/pavise/internal/table"
)

// The verdicts, of files and of features.
const (
	Stable   = "stable"
	Drifted  = "drifted"
	Unclear  = "could not say"
	Moved    = "moved"
	Trivial  = "trivial"    // no chance, and too small to matter
	TooFew   = "too little" // rows
	rowsTold = 1 << 16
)

// maxRows is how many rows a histogram can count.
const maxRows = 1<<32 - 1

// Compare is a look at two files. Its fields are what is asked for on a command line.
type Compare struct {
	Baseline string   `arg:"" help:"The rows that are as they should be: CSV, JSONL or Parquet."`
	Current  string   `arg:"" help:"The rows of now."`
	Label    []string `help:"Columns that say what came out: classes, even where they are numbers." placeholder:"COLUMN" sep:"none"`

	Say func(text string) `kong:"-" json:"-"` // told how far it is; nil: nobody watches
}

// Help says how drift is told. It is kong's hook for a command's help.
func (*Compare) Help() string {
	return `Says whether rows are still like those of a baseline, column by column: the chance that nothing moved
(with false discoveries bounded by ` + fmt.Sprint(drift.Rate) + `, however many columns there are), and by how much. A shift that is no chance and
too small to matter is called trivial.

  pavise drift compare training.parquet today.csv --label verdict
  pavise drift compare last-week.jsonl this-week.jsonl --json

Exit code 0: stable. 1: drifted. 2: it could not be said.`
}

// A Side is one of the files.
type Side struct {
	File string `json:"file"`
	Rows uint64 `json:"rows"`
}

// A Feature is what came of one column.
type Feature struct {
	Name    string     `json:"name"`
	Kind    drift.Kind `json:"kind"`
	Label   bool       `json:"label,omitempty"` // of what came out
	Verdict string     `json:"verdict"`         // moved, trivial, stable or too little
	drift.Outcome
	Words string    `json:"words"`
	Was   []float64 `json:"was,omitempty"` // shares of the baseline, in at most 16 steps from low to high, or by category
	Is    []float64 `json:"is,omitempty"`  // and of now
}

// A Result is what came of a look.
type Result struct {
	Verdict  string    `json:"verdict"` // stable, drifted or could not say
	Why      string    `json:"why"`
	Baseline Side      `json:"baseline"`
	Current  Side      `json:"current"`
	Moved    int       `json:"moved"`    // features
	Features []Feature `json:"features"` // those that moved most first
	Missing  []string  `json:"missing"`  // columns of the baseline that are gone
	Added    []string  `json:"added"`    // columns that the baseline had not
	Recorded bool      `json:"recorded"`
}

// Run compares. Its error is that a file could not be read.
func (c *Compare) Run(ctx context.Context) (*Result, error) {
	r := &Result{Baseline: Side{File: c.Baseline}, Current: Side{File: c.Current}, Missing: []string{}, Added: []string{}}
	columns, err := c.learn(ctx, r)
	if err != nil {
		return nil, err
	}
	if err := c.labels(columns); err != nil {
		return nil, err
	}
	for _, col := range columns {
		col.settle()
	}
	if _, err = c.count(ctx, c.Baseline, columns, false); err != nil {
		return nil, err
	}
	names, err := c.count(ctx, c.Current, columns, true)
	if err != nil {
		return nil, err
	}
	known := map[string]bool{}
	for _, col := range columns {
		if known[col.name] = true; col.place < 0 {
			r.Missing = append(r.Missing, col.name)
		}
	}
	for _, name := range names.columns {
		if !known[name] {
			r.Added = append(r.Added, name)
		}
	}
	r.Current.Rows = names.rows
	r.judge(columns)
	return r, nil
}

// labels refuses labels that the baseline has not.
func (c *Compare) labels(columns []*column) error {
	for _, label := range c.Label {
		if !slices.ContainsFunc(columns, func(col *column) bool { return col.name == label }) {
			return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("--label: %s has no column %.80q", c.Baseline, label), Hint: "name one that it has"}
		}
	}
	return nil
}

// learn reads the baseline for what its columns hold.
func (c *Compare) learn(ctx context.Context, r *Result) (all []*column, err error) {
	rng := rand.New(rand.NewPCG(0x64726966, 0x74)) // the same rows give the same bins
	room, left := maxSample, maxTexts
	err = eachRow(c.Baseline, func(names []string, row table.Row) error {
		for i := len(all); i < len(names); i++ {
			if len(all) == maxColumns {
				return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s has more than %d columns", c.Baseline, maxColumns), Hint: "compare some of them at a time"}
			}
			col := &column{name: names[i], place: -1, texts: map[string]int{}, whole: true, label: slices.Contains(c.Label, names[i])}
			col.nulls = int64(r.Baseline.Rows) // of JSONL: it was absent until now
			all = append(all, col)
		}
		room = min(maxSample, maxSamples/max(len(all), 1))
		for i, col := range all {
			col.learn(row, i, room, &left, rng)
		}
		r.Baseline.Rows++
		return c.told(ctx, c.Baseline, r.Baseline.Rows)
	})
	return all, err
}

// told says how far a reading is, and ends one that was called off, or goes beyond what can be
// counted.
func (c *Compare) told(ctx context.Context, file string, rows uint64) error {
	if rows%rowsTold != 0 {
		return nil
	}
	if rows > maxRows-rowsTold {
		return &pavise.Error{Kind: pavise.Invalid, Msg: file + " has more rows than can be counted", Hint: "compare a part of it"}
	}
	if c.Say != nil {
		c.Say(fmt.Sprintf("%s, %d rows", file, rows))
	}
	return ctx.Err()
}

// counted is what a reading came to.
type counted struct {
	columns []string
	rows    uint64
}

// count reads a file into the bins: of the baseline, or of now. Columns are found by name.
func (c *Compare) count(ctx context.Context, path string, columns []*column, now bool) (n counted, err error) {
	err = eachRow(path, func(names []string, row table.Row) error {
		if len(names) != len(n.columns) {
			n.columns = names
			for _, col := range columns {
				col.place = slices.Index(names, col.name)
			}
		}
		for _, col := range columns {
			h := &col.base
			if now {
				h = &col.now
			} else if col.categories != nil {
				continue
			}
			if col.place < 0 {
				h.Nulls++
			} else {
				col.count(h, row, col.place)
			}
		}
		n.rows++
		return c.told(ctx, path, n.rows)
	})
	return n, err
}

// judge makes the verdicts of columns that are in both files, and of the whole.
func (r *Result) judge(columns []*column) {
	var there []*column
	var outcomes []drift.Outcome
	for _, col := range columns {
		if col.place >= 0 {
			there = append(there, col)
			kind := col.kind
			if kind != drift.Number {
				kind = drift.Category
			}
			outcomes = append(outcomes, drift.Hold(kind, col.bins(), &col.base, &col.now))
		}
	}
	drift.Judge(outcomes)
	r.Features = make([]Feature, len(there))
	judged := 0
	for i, col := range there {
		f := Feature{Name: col.name, Kind: col.kind, Label: col.label, Outcome: outcomes[i]}
		switch {
		case !f.Enough:
			f.Verdict = TooFew
		case f.Outcome.Moved():
			f.Verdict = Moved
			r.Moved++
		case f.Q <= drift.Rate:
			f.Verdict = Trivial
		default:
			f.Verdict = Stable
		}
		if f.Enough {
			judged++
		}
		f.Words = words(col, &f)
		f.Was, f.Is = bars(col)
		r.Features[i] = f
	}
	slices.SortStableFunc(r.Features, func(a, b Feature) int {
		if x, y := order(&a), order(&b); x != y {
			return x - y
		}
		switch {
		case a.Effect > b.Effect:
			return -1
		case a.Effect < b.Effect:
			return 1
		}
		return 0
	})
	r.conclude(judged)
}

func order(f *Feature) int { return slices.Index([]string{Moved, Trivial, Stable, TooFew}, f.Verdict) }

// conclude gives the verdict of the whole, and why.
func (r *Result) conclude(judged int) {
	switch {
	case r.Moved > 0 && len(r.Missing) > 0:
		r.Verdict, r.Why = Drifted, fmt.Sprintf("%d of %d columns moved, and %d of the baseline are missing", r.Moved, len(r.Features), len(r.Missing))
	case r.Moved > 0:
		r.Verdict, r.Why = Drifted, fmt.Sprintf("%d of %d columns moved", r.Moved, len(r.Features))
	case len(r.Missing) > 0 && r.Current.Rows >= drift.LeastRows:
		r.Verdict, r.Why = Drifted, fmt.Sprintf("%d columns of the baseline are missing: were they renamed?", len(r.Missing))
	case judged == 0:
		r.Verdict, r.Why = Unclear, fmt.Sprintf("each file needs %d rows, and columns that both have", drift.LeastRows)
	default:
		r.Verdict, r.Why = Stable, fmt.Sprintf("none of %d columns moved", len(r.Features))
	}
}
