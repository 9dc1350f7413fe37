package redteam

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/disk"
	"github.com/pavise/pavise/internal/extraction"
	"github.com/pavise/pavise/internal/learn"
)

// A Setting says what is attacked, and with what. Its fields are flags of the command line.
type Setting struct {
	Data  string            `kong:"-"` // the file of the rows that the thief holds
	Token string            `kong:"-"` // with which a server is asked; empty: none
	Say   func(text string) `kong:"-"` // gets a line of progress now and then; nil: nobody watches

	Target      string   `help:"The model: an ONNX file, or http://127.0.0.1:PORT/v2/models/NAME, which speaks the Open Inference Protocol." required:"" placeholder:"FILE|URL"`
	Test        string   `help:"Rows to measure the copy on (default: a fifth of the data, which the thief then does without)." type:"existingfile" placeholder:"FILE"`
	Pool        string   `help:"Rows of another source, for the knockoff attacks (default: the data)." type:"existingfile" placeholder:"FILE"`
	Label       string   `help:"The column of the data that holds the class." placeholder:"COLUMN"`
	Omit        []string `help:"Columns of the data that the model does not take." placeholder:"COLUMN"`
	Output      string   `help:"The output of the model that holds the scores (default: its first of several classes)." placeholder:"NAME"`
	Raw         bool     `help:"Take the bytes of IDX files as they are, 0 to 255; otherwise 0 to 1."`
	Surrogate   string   `help:"What is made of the answers: own (what the attack itself finds out, else mlp), mlp, linear or trees." default:"own" enum:"own,mlp,linear,trees"`
	Calibration string   `help:"Say when the detectors of this calibration (pavise firewall calibrate) take the thief for one." type:"existingfile" placeholder:"FILE"`
	Budget      int      `help:"Rows that may be asked." default:"10000"`
	Held        int      `help:"Rows that the copy is measured on, at most." default:"2000"`
	Seed        uint64   `help:"Decides all chance: the same seed, files and answers give the same run." default:"1"`
	Repeat      int      `help:"Ask each row so often, and take the mean of the answers." default:"1"`
	Sybils      int      `help:"Identities that take turns asking." default:"1"`
	Dilute      int      `help:"Per cent of the rows that are the attack's; the others are rows of the data, as honest callers ask them." default:"100"`
}

// An Extract is one attack.
type Extract struct {
	Setting
	Attack    string `help:"Which attack; the help lists them." default:"in-distribution" placeholder:"NAME"`
	Answers   string `help:"What the thief uses of an answer: scores, top1 (the class on top), or lookup (scores, with --defence undone)." default:"scores" enum:"scores,top1,lookup"`
	Defence   string `help:"What is done to a file's answers: full, round:DIGITS, topk:K, label or modelguard:EPSILON. For a URL, what lookup undoes." default:"full"`
	Tokens    string `help:"Tokens for a URL, one a line, for the identities in turn (default: --token for all)." type:"existingfile" placeholder:"FILE"`
	Reference string `help:"The same model as a file, asked in place of a URL what the held-back rows are." type:"existingfile" placeholder:"FILE"`
	Batch     int    `help:"Rows in a request to a URL, at most." default:"64"`
	State     string `help:"Keep the run there, and go on with the one that is kept." placeholder:"FILE"`
	Queries   string `help:"Write every row asked, with its answer, as recorded traffic (JSONL)." placeholder:"FILE"`
}

// Help lists the attacks, for the command line.
func (*Extract) Help() string {
	return `Attacks a model of yours as a thief would who can only ask it, trains a copy on the
answers, and says how often the copy and the model agree on rows that were held back,
after 100, 300, 1,000 and so on rows. It asks files, and servers on this machine; nothing
else. Data are CSV, JSONL, NPY or IDX: the rows that the thief holds, or seeds of them.

` + attackList() + `
What adapts an attack to a defence: --answers top1, --answers lookup, --repeat, --sybils,
--dilute.

For example:

  pavise redteam extract --target model.onnx --data rows.csv --label class --budget 3000`
}

// attackList is the attacks with a line on each.
func attackList() string {
	var b strings.Builder
	for _, name := range extraction.Names() {
		fmt.Fprintf(&b, "  %-18s %s\n", name, extraction.About(name))
	}
	return b.String()
}

// An Extracted is what came of an attack.
type Extracted struct {
	Target      string             `json:"target"`
	Attack      string             `json:"attack"`
	Answers     string             `json:"answers"`
	Surrogate   string             `json:"surrogate"`
	Defence     string             `json:"defence"`
	Seed        uint64             `json:"seed"`
	Budget      int                `json:"budget"`
	Repeat      int                `json:"repeat"`
	Sybils      int                `json:"sybils"`
	Share       int                `json:"dilute"` // per cent of the rows that are the attack's
	Columns     int                `json:"columns"`
	Classes     int                `json:"classes"`
	Rows        int                `json:"rows"`      // asked and answered
	Bits        float64            `json:"bits"`      // disclosed, at most
	Ledger      string             `json:"ledger"`    // SHA-256 of what was asked and answered
	Unchanged   int                `json:"unchanged"` // rows that the defence could do nothing to, held-back ones among them
	Ended       string             `json:"ended"`     // budget, exhausted or refused
	Refusal     *refusal           `json:"refusal,omitempty"`
	Paused      float64            `json:"paused_seconds"` // waited because the server said so
	Held        int                `json:"held"`           // rows that the copy was measured on
	HeldAsked   bool               `json:"held_asked"`     // the target was asked them, beside the budget
	Victim      *extraction.Share  `json:"victim_accuracy,omitempty"`
	Points      []extraction.Point `json:"points"`
	Detection   *Detection         `json:"detection,omitempty"`
	Found       *Found             `json:"found,omitempty"`
	Unmeasured  string             `json:"unmeasured,omitempty"` // why there are no points
	ResumedFrom int                `json:"resumed_from,omitempty"`
	Recorded    bool               `json:"recorded"` // this command leaves no record
}

// Run runs the attack, or goes on with the one that is kept, until its budget is spent, it
// has nothing more to ask, or the target refuses; and measures the copies. Errors are of
// kind Invalid for what was asked for, and Unavailable for a server or a disk.
//
// Unguarded: whoever runs it reads their own files and asks their own servers, as
// themselves; no principal of an installation acts.
func (x *Extract) Run(ctx context.Context) (*Extracted, error) {
	v, err := x.victim(ctx)
	if err != nil {
		return nil, err
	}
	data, held, err := x.rows(v)
	if err != nil {
		return nil, err
	}
	a, err := x.begin(v, data)
	if err != nil {
		return nil, err
	}
	result := &Extracted{
		Target: x.Target, Attack: x.Attack, Answers: x.Answers, Surrogate: x.Surrogate, Defence: x.Defence, Seed: x.Seed, Budget: x.Budget,
		Repeat: a.Config().Repeat, Sybils: a.Config().Sybils, Share: a.Config().Share, Columns: v.cols, Classes: v.classes, ResumedFrom: a.Rows(), Points: []extraction.Point{},
	}
	watch, err := newDetection(x.Calibration, v, x.Sybils)
	if err == nil {
		err = watch.again(x.Queries, a.Rows(), v.defence.change != nil)
	}
	if err != nil {
		return nil, err
	}
	if result.Refusal, err = x.drive(ctx, a, v, watch); err != nil {
		return nil, err
	}
	watch.end()
	result.Detection = watch
	result.Rows, result.Bits, result.Ledger, result.Paused = a.Rows(), a.Bits(a.Rows()), a.LedgerDigest(), v.paused.Seconds()
	switch {
	case result.Refusal != nil:
		result.Ended = "refused"
	case result.Rows == x.Budget:
		result.Ended = "budget"
	default:
		result.Ended = "exhausted"
	}
	err = x.measure(ctx, a, v, held, result)
	result.Unchanged = v.unchanged
	return result, err
}

// victim opens the target.
func (x *Extract) victim(ctx context.Context) (*victim, error) {
	if x.Batch < 1 || x.Batch > maxBatch {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("--batch %d", x.Batch), Hint: fmt.Sprintf("use 1 to %d", maxBatch)}
	}
	defence, err := parseDefence(x.Defence)
	if err != nil {
		return nil, err
	}
	if !isURL(x.Target) {
		if x.Tokens != "" || x.Reference != "" {
			return nil, &pavise.Error{Kind: pavise.Invalid, Msg: "--tokens and --reference are for a URL, and the target is a file", Hint: "leave them out"}
		}
		return openModel(x.Target, x.Output, defence)
	}
	if defence.change != nil && x.Answers != extraction.Lookup {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: "the server defends itself: --defence is for files", Hint: "leave it out, or name with --answers lookup what is to be undone"}
	}
	tokens := []string{x.Token}
	if x.Tokens != "" {
		text, err := readPlain("tokens", x.Tokens, 1<<20)
		if err != nil {
			return nil, err
		}
		tokens = strings.Fields(string(text))
		if len(tokens) == 0 {
			return nil, &pavise.Error{Kind: pavise.Invalid, Msg: "there is no token in " + x.Tokens, Hint: "write one a line"}
		}
	}
	v, err := askServer(ctx, x.Target, x.Output, tokens, x.Batch)
	if err != nil {
		return nil, err
	}
	v.defence = defence
	if x.Reference != "" {
		if v.reference, err = openModel(x.Reference, x.Output, perturbation{}); err == nil && (v.reference.cols != v.cols || v.reference.classes != v.classes) {
			err = &pavise.Error{
				Kind: pavise.Invalid, Msg: fmt.Sprintf("the reference takes %d columns and gives %d classes, the target %d and %d", v.reference.cols, v.reference.classes, v.cols, v.classes),
				Hint: "name the file of the same model",
			}
		}
	}
	return v, err
}

// begin begins the attack, or goes on with the one that is kept.
func (x *Extract) begin(v *victim, data extraction.Data) (*extraction.Attack, error) {
	cfg, err := x.config(v)
	if err != nil {
		return nil, err
	}
	cfg.Attack, cfg.Answers = x.Attack, x.Answers
	if cfg.Answers == extraction.Lookup && v.defence.change == nil {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: "lookup undoes a defence, and none is named", Hint: "name it with --defence, such as modelguard:1"}
	}
	if x.State == "" {
		return extraction.New(cfg, data)
	}
	state, err := os.ReadFile(x.State)
	if errors.Is(err, os.ErrNotExist) {
		return extraction.New(cfg, data)
	}
	if err != nil {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("read the state: %v", err), Hint: "name a plain file", Err: err}
	}
	return extraction.Resume(cfg, data, state)
}

// config is what the flags say of any attack.
func (f *Setting) config(v *victim) (extraction.Config, error) {
	for _, flag := range []struct {
		name  string
		value int
	}{{"--repeat", f.Repeat}, {"--sybils", f.Sybils}, {"--dilute", f.Dilute}} {
		if flag.value < 1 { // 0 is what was left out, for an attack
			return extraction.Config{}, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s %d", flag.name, flag.value), Hint: "use at least 1"}
		}
	}
	return extraction.Config{Budget: f.Budget, Seed: f.Seed, Classes: v.classes, Repeat: f.Repeat, Sybils: f.Sybils, Share: f.Dilute}, nil
}

func (f *Setting) say(format string, args ...any) {
	if f.Say != nil {
		f.Say(fmt.Sprintf(format, args...))
	}
}

// How often a long run says how far it is, and keeps itself; where keeping takes long, it
// takes at most one part in so many of the run.
const (
	sayEvery  = 200 * time.Millisecond
	keepEvery = 5 * time.Second
	keepShare = 20
)

// drive asks until the attack is over, or the target refuses.
func (x *Extract) drive(ctx context.Context, a *extraction.Attack, v *victim, watch *Detection) (*refusal, error) {
	queries, err := openQueries(x.Queries, a)
	if err != nil {
		return nil, err
	}
	defer queries.Close()
	keep := func() error { return errors.Join(queries.Flush(), x.keep(a)) }
	said, due := time.Time{}, time.Now().Add(keepEvery)
	for {
		if ctx.Err() != nil {
			return nil, stopped(a, x.State, keep())
		}
		rows, err := a.Next(v.batch)
		if err != nil || rows.Rows == 0 {
			return nil, errors.Join(err, keep())
		}
		first := a.Rows()
		answers, refused, err := v.ask(ctx, a.Config().Sybils, first, rows)
		if ctx.Err() != nil {
			return nil, stopped(a, x.State, keep())
		}
		if err != nil {
			return nil, errors.Join(err, keep())
		}
		if err := a.Answer(answers); err != nil {
			return nil, errors.Join(err, keep())
		}
		queries.write(a, first, rows, answers)
		watch.rows(a, first, rows, v.said, answers.Rows)
		if refused != nil {
			refused.Rows = a.Rows()
			return refused, keep()
		}
		if time.Since(said) > sayEvery {
			x.say("%d of %d rows …", a.Rows(), x.Budget)
			said = time.Now()
		}
		if began := time.Now(); began.After(due) {
			if err := keep(); err != nil {
				return nil, err
			}
			due = time.Now().Add(max(keepEvery, keepShare*time.Since(began)))
		}
	}
}

// stopped says what to do with a run that was stopped.
func stopped(a *extraction.Attack, state string, err error) error {
	hint := "with --state FILE the next run would go on from here"
	if state != "" {
		hint = "the same command goes on from here"
	}
	return errors.Join(&pavise.Error{Kind: pavise.Unavailable, Msg: fmt.Sprintf("stopped after %d rows", a.Rows()), Hint: hint}, err)
}

// keep writes the state in the place of the one before.
func (x *Extract) keep(a *extraction.Attack) error {
	if x.State == "" {
		return nil
	}
	err := disk.Replace(disk.Dir{Path: filepath.Dir(x.State)}, filepath.Base(x.State), a.State())
	if err != nil {
		return &pavise.Error{Kind: pavise.Unavailable, Msg: fmt.Sprintf("keep the state: %v", err), Hint: "name a file in a directory that you may write, with room", Err: err}
	}
	return nil
}

// measure makes a copy at each rung of the ladder, and compares it.
func (x *Extract) measure(ctx context.Context, a *extraction.Attack, v *victim, rows learn.Set, result *Extracted) error {
	result.Held, result.HeldAsked = rows.X.Rows, v.server != "" && v.reference == nil
	if a.Rows() == 0 {
		result.Unmeasured = "no row was answered"
		return nil
	}
	held, refused, err := v.label(ctx, rows)
	if err != nil {
		return err
	}
	if refused != nil {
		result.Unmeasured = "the target did not say what the held-back rows are: " + refused.Message
		return nil
	}
	result.Victim = accuracyOf(held)
	for _, n := range extraction.Ladder(a.Rows()) {
		if ctx.Err() != nil {
			return stopped(a, x.State, nil)
		}
		x.say("making a copy of %d rows …", n)
		p, made, err := a.Measure(extraction.Theft{Surrogate: x.Surrogate, Perturb: v.defence.perturb()}, n, held)
		if err != nil {
			return err
		}
		result.Points, result.Found = append(result.Points, p), foundIn(made, v)
	}
	return nil
}

// A Found is what an attack found out of the model itself, and not by training.
type Found struct {
	Leaves     int         `json:"leaves,omitempty"`     // of a tree
	Thresholds [][]float64 `json:"thresholds,omitempty"` // by column, where a tree parts it
	Weights    [][]float64 `json:"weights,omitempty"`    // by class, against the first: of the columns, and the constant
}

// maxFound bounds the numbers that are shown.
const maxFound = 100_000

// foundIn looks into a copy, and is nil if it was trained, or larger than is shown.
func foundIn(made extraction.Surrogate, v *victim) *Found {
	switch s := made.(type) {
	case *extraction.Boxes:
		f := &Found{Leaves: s.Leaves(), Thresholds: make([][]float64, v.cols)}
		for j := range f.Thresholds {
			f.Thresholds[j] = s.Thresholds(j)
		}
		return f
	case *extraction.Linear:
		if v.classes*(v.cols+1) > maxFound {
			return nil
		}
		f := &Found{}
		for k := range v.classes {
			f.Weights = append(f.Weights, s.Weights(k))
		}
		return f
	}
	return nil
}

// accuracyOf is how often the victim is right, where the truth is known.
func accuracyOf(held extraction.Held) *extraction.Share {
	if held.Labels == nil {
		return nil
	}
	right := 0
	for i, y := range held.Labels {
		if held.Victim[i] == y {
			right++
		}
	}
	share := extraction.NewShare(right, len(held.Labels))
	return &share
}
