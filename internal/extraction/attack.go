package extraction

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/learn"
)

// The bounds of an attack: what it keeps is held in memory, and written whole by State.
const (
	MaxBudget  = 1_000_000
	MaxSybils  = 10_000
	MaxRepeat  = 100
	MaxClasses = 100_000
	maxNumbers = 1 << 27 // of rows and answers together
)

// A Config says which attack, and how.
type Config struct {
	Attack  string // one of Names
	Budget  int    // rows that may be asked, cover and repetitions among them: 1 to MaxBudget
	Seed    uint64 // decides all chance
	Classes int    // scores in an answer: at least 2
	Answers string // what the thief uses of an answer: Scores or Top1
	Repeat  int    // how often each row is asked, for the mean of its answers; 0 is once
	Sybils  int    // identities that take turns asking; 0 is one
	Share   int    // per cent of the rows that are the attack's, the others being cover; 0 is all
}

// What a thief uses of an answer.
const (
	Scores = "scores" // all of it
	Top1   = "top1"   // the class on top: no defence that keeps it costs this thief anything
	Lookup = "lookup" // the scores, with a known perturbation undone: see Theft
)

// Data are the rows that a thief holds before asking anything.
type Data struct {
	Rows   learn.Matrix // of the model's own kind: seeds, cover, and the ranges of the columns
	Labels []int        // a class of each row, if known: nil or as long as Rows
	Pool   learn.Matrix // of another source, for knockoff; no rows: Rows take its place
}

// An Attack copies a model query by query. One goroutine owns it.
type Attack struct {
	cfg     Config
	data    Data
	foreign bool     // the pool is another source than the rows
	column  []column // of data.Rows
	digest  [sha256.Size]byte
	pcg     *rand.PCG
	rng     *rand.Rand // over pcg; plans alone draw from it
	plan    planner

	// What was asked for the attack's own sake, and the mean of the answers to each.
	asked, answers learn.Matrix
	when           []int // rows asked by the last answer to each, cover with them
	repeats        int   // answers in the mean of the last row

	queue  learn.Matrix // planned rows
	slots  []int        // the rows to ask for them, in order: of queue, or below zero cover: row -1-slot of data
	at     int          // of slots, how many are answered
	handed int          // of slots from at on, how many Next gave out; not kept
	over   bool         // the plan has nothing more to ask

	entries []Entry
}

// A planner decides what an attack asks. All that it keeps goes through code.
type planner interface {
	// plan returns the next rows to ask, about as many as there is room for at most, now
	// that all before are answered; no rows end the attack.
	plan(a *Attack, room int) (learn.Matrix, error)
	// code writes the planner's memory or reads it back, and then checks it.
	code(c *coder, a *Attack)
}

// New begins an attack. Settings or data that make no sense are errors of kind Invalid.
func New(cfg Config, data Data) (*Attack, error) {
	cfg.Repeat, cfg.Sybils = max(cfg.Repeat, 1), max(cfg.Sybils, 1)
	if cfg.Share == 0 {
		cfg.Share = 100
	}
	if cfg.Answers == "" {
		cfg.Answers = Scores
	}
	kind, err := cfg.check()
	if err == nil {
		err = data.check()
	}
	if err != nil {
		return nil, err
	}
	foreign := data.Pool.Rows > 0
	if !foreign {
		data.Pool = data.Rows
	}
	if n := cfg.Budget * (data.Rows.Cols + cfg.Classes); n > maxNumbers {
		return nil, invalid(fmt.Sprintf("a budget of %d rows of %d columns and %d scores is more than an attack keeps", cfg.Budget, data.Rows.Cols, cfg.Classes),
			fmt.Sprintf("a budget of %d fits", maxNumbers/(data.Rows.Cols+cfg.Classes)))
	}
	a := &Attack{
		cfg: cfg, data: data, foreign: foreign, column: columns(data.Rows), digest: digest(cfg, data), pcg: rand.NewPCG(cfg.Seed, attackStream), plan: kind.begin(),
		asked: learn.Matrix{Cols: data.Rows.Cols}, answers: learn.Matrix{Cols: cfg.Classes}, queue: learn.Matrix{Cols: data.Rows.Cols},
	}
	a.rng = rand.New(a.pcg)
	return a, nil
}

// The second seeds of the generators, so that what draws from one does not shift another.
const (
	attackStream = iota + 1
	orderStream
	theftStream
	clusterStream
)

func (cfg Config) check() (kind, error) {
	k, known := kinds[cfg.Attack]
	switch {
	case !known:
		return k, invalid(fmt.Sprintf("there is no attack %.40q", cfg.Attack), "attacks are "+strings.Join(Names(), ", "))
	case cfg.Budget < 1 || cfg.Budget > MaxBudget:
		return k, invalid(fmt.Sprintf("a budget of %d rows", cfg.Budget), fmt.Sprintf("use 1 to %d", MaxBudget))
	case cfg.Classes < 2 || cfg.Classes > MaxClasses:
		return k, invalid(fmt.Sprintf("a model with %d scores in an answer cannot be copied as a classifier", cfg.Classes), fmt.Sprintf("it has 2 to %d", MaxClasses))
	case cfg.Answers != Scores && cfg.Answers != Top1 && cfg.Answers != Lookup:
		return k, invalid(fmt.Sprintf("a thief who uses %.40q of an answer", cfg.Answers), "use scores, top1 or lookup")
	case k.scores && cfg.Answers == Top1:
		return k, invalid(fmt.Sprintf("the attack %s works with scores, and the thief uses the top class alone", cfg.Attack), "use --answers scores, or another attack")
	case cfg.Repeat > MaxRepeat:
		return k, invalid(fmt.Sprintf("each row asked %d times", cfg.Repeat), fmt.Sprintf("use 1 to %d", MaxRepeat))
	case cfg.Sybils > MaxSybils:
		return k, invalid(fmt.Sprintf("%d identities", cfg.Sybils), fmt.Sprintf("use 1 to %d", MaxSybils))
	case cfg.Share < 1 || cfg.Share > 100:
		return k, invalid(fmt.Sprintf("%d per cent of the rows are the attack's", cfg.Share), "use 1 to 100")
	}
	return k, nil
}

func (d Data) check() error {
	for _, m := range []struct {
		what string
		learn.Matrix
	}{{"data", d.Rows}, {"pool", d.Pool}} {
		if m.what == "pool" && m.Rows == 0 {
			continue
		}
		switch {
		case m.Rows < 2:
			return invalid(fmt.Sprintf("the %s have %d rows", m.what, m.Rows), "give at least 2")
		case m.Cols < 1 || len(m.Data) != m.Rows*m.Cols:
			return invalid(fmt.Sprintf("the %s are %d numbers for %d rows of %d columns", m.what, len(m.Data), m.Rows, m.Cols), "")
		case m.Cols != d.Rows.Cols:
			return invalid(fmt.Sprintf("the pool has %d columns, and the data %d", m.Cols, d.Rows.Cols), "both are rows of the model")
		}
		if i := slices.IndexFunc(m.Data, func(v float32) bool { return v-v != 0 }); i >= 0 {
			return invalid(fmt.Sprintf("row %d, column %d of the %s is no finite number", i/m.Cols, i%m.Cols, m.what), "")
		}
	}
	if d.Labels != nil && len(d.Labels) != d.Rows.Rows {
		return invalid(fmt.Sprintf("there are %d labels for %d rows", len(d.Labels), d.Rows.Rows), "")
	}
	return nil
}

// digest is of all that decides an attack besides the answers.
func digest(cfg Config, data Data) (sum [sha256.Size]byte) {
	h := sha256.New()
	fmt.Fprintf(h, "%q %d %d %d %q %d %d %d\n", cfg.Attack, cfg.Budget, cfg.Seed, cfg.Classes, cfg.Answers, cfg.Repeat, cfg.Sybils, cfg.Share)
	for _, m := range []learn.Matrix{data.Rows, data.Pool} {
		fmt.Fprintf(h, "%d %d\n", m.Rows, m.Cols)
		writeFloats(h, m.Data)
	}
	fmt.Fprint(h, data.Labels)
	h.Sum(sum[:0])
	return sum
}

// writeFloats writes numbers as IEEE 754 in four bytes, the lowest first.
func writeFloats(h io.Writer, row []float32) {
	var b [1024]byte
	for part := range slices.Chunk(row, len(b)/4) {
		for i, v := range part {
			binary.LittleEndian.PutUint32(b[4*i:], math.Float32bits(v))
		}
		h.Write(b[:4*len(part)])
	}
}

// Config returns the settings, with what was left out filled in.
func (a *Attack) Config() Config { return a.cfg }

// Next returns the rows to ask next, at most so many, which are the caller's. Until they
// are answered it returns the same again. No rows: the attack is over.
func (a *Attack) Next(most int) (learn.Matrix, error) {
	if a.at == len(a.slots) {
		if err := a.refill(); err != nil {
			return learn.Matrix{}, err
		}
	}
	a.handed = min(max(most, 1), len(a.slots)-a.at)
	rows := learn.NewMatrix(a.handed, a.data.Rows.Cols)
	for i := range a.handed {
		copy(rows.Row(i), a.row(a.slots[a.at+i]))
	}
	return rows, nil
}

// row is the row of a slot.
func (a *Attack) row(slot int) []float32 {
	if slot < 0 {
		return a.data.Rows.Row(-1 - slot)
	}
	return a.queue.Row(slot)
}

// refill plans what to ask next, and lays it out: each row as often as it is asked, and
// cover around it.
func (a *Attack) refill() error {
	left := a.cfg.Budget - len(a.entries)
	a.queue, a.slots, a.at, a.handed = learn.Matrix{Cols: a.data.Rows.Cols}, nil, 0, 0
	if left == 0 || a.over {
		return nil
	}
	room := max(left*a.cfg.Share/100/a.cfg.Repeat, 1)
	planned, err := a.plan.plan(a, room)
	if err != nil {
		return err
	}
	if planned.Rows == 0 {
		a.over = true
		return nil
	}
	a.queue = planned
	for i := range a.queue.Rows {
		for range a.cfg.Repeat {
			for a.cfg.Share < 100 && a.rng.IntN(100) >= a.cfg.Share {
				a.slots = append(a.slots, -1-a.rng.IntN(a.data.Rows.Rows))
			}
			a.slots = append(a.slots, i)
		}
	}
	a.slots = a.slots[:min(len(a.slots), left)] // a plan that is cut short is the last one
	return nil
}

// Answer tells what the model answered: a row of scores for each row that Next returned,
// in its order; fewer, if the others were not answered. Scores are finite, or the error
// is of kind Invalid and nothing was taken.
func (a *Attack) Answer(rows learn.Matrix) error {
	switch {
	case rows.Rows > a.handed:
		return invalid(fmt.Sprintf("%d rows were asked and %d answered", a.handed, rows.Rows), "")
	case rows.Cols != a.cfg.Classes || len(rows.Data) != rows.Rows*rows.Cols:
		return invalid(fmt.Sprintf("an answer of %d scores, where %d were expected", rows.Cols, a.cfg.Classes), "")
	}
	if i := slices.IndexFunc(rows.Data, func(v float32) bool { return v-v != 0 }); i >= 0 {
		return invalid(fmt.Sprintf("score %d of answered row %d is no finite number", i%rows.Cols, i/rows.Cols), "nothing can be learnt from such an answer")
	}
	h := sha256.New()
	for i := range rows.Rows {
		slot, said := a.slots[a.at], rows.Row(i)
		e := Entry{Number: len(a.entries), Cover: slot < 0, Bits: Disclosed(said)}
		e.Input, e.Answer = sumRow(h, a.row(slot)), sumRow(h, said)
		e.Identity = e.Number % a.cfg.Sybils
		a.entries = append(a.entries, e)
		if slot >= 0 {
			a.learnt(slot, said)
		}
		a.at++
	}
	a.handed = 0
	return nil
}

// learnt takes in one answer to a planned row.
func (a *Attack) learnt(slot int, said []float32) {
	if a.repeats > 0 && a.repeats < a.cfg.Repeat {
		a.repeats++
		mean := a.answers.Row(a.answers.Rows - 1)
		for j, v := range said {
			mean[j] += (v - mean[j]) / float32(a.repeats)
		}
		a.when[len(a.when)-1] = len(a.entries)
		return
	}
	a.repeats = 1
	grow(&a.asked, a.queue.Row(slot))
	grow(&a.answers, said)
	a.when = append(a.when, len(a.entries))
}

// gathered are the attack's own rows that were answered when so many rows were asked.
func (a *Attack) gathered(rows int) (x, y learn.Matrix) {
	n, _ := slices.BinarySearch(a.when, rows+1)
	return head(a.asked, n), head(a.answers, n)
}

// grow adds a row to a matrix.
func grow(m *learn.Matrix, row []float32) {
	m.Data = append(m.Data, row...)
	m.Rows++
}

// head returns the first rows of m.
func head(m learn.Matrix, rows int) learn.Matrix {
	return learn.Matrix{Rows: rows, Cols: m.Cols, Data: m.Data[:rows*m.Cols]}
}

func sumRow(h hash.Hash, row []float32) (sum [sha256.Size]byte) {
	h.Reset()
	writeFloats(h, row)
	h.Sum(sum[:0])
	return sum
}

func invalid(msg, hint string) *pavise.Error {
	return &pavise.Error{Kind: pavise.Invalid, Msg: msg, Hint: hint}
}
