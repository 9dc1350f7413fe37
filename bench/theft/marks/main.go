// Command marks steals a model of MNIST by its answers, some of which are marked, and looks
// for the marks in the copies, and in models that never saw an answer.
//
// A victim is trained on one half of the rows. Thieves ask it about rows of the other half
// and train copies on its marked answers: on labels, and on scores. Innocent models are of
// other seeds, widths, kinds and halves of the data, and are trained on true labels. Every
// suspect is asked what the list of marks asks, and the inquiry is the product's own.
//
// Beside that it measures what ModelGuard-W changes for those who mean no harm, and how far
// points near the boundary tell copies from others.
//
// Run it from the bench directory:
//
//	go run ./theft/marks [--innocent 22] [--write]
package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/bench/result"
	"github.com/pavise/pavise/bench/theft/dataset"
	"github.com/pavise/pavise/internal/firewall"
	"github.com/pavise/pavise/internal/learn"
	"github.com/pavise/pavise/internal/store"
	"github.com/pavise/pavise/internal/tensor"
	"github.com/pavise/pavise/internal/tier"
	"github.com/pavise/pavise/internal/watermark"
)

const (
	classes = 10
	victims = 15_000 // rows that the victim is trained on
	asked   = 10_000 // rows that the largest thief asks
)

func main() { result.Main("theft/marks", run) }

func run(ctx context.Context) error {
	innocent := flag.Int("innocent", 22, "how many innocent models stand beside the copies")
	write := flag.Bool("write", false, "put the result into "+result.File)
	flag.Parse()
	conditions := result.Observe(".")
	known, test, err := dataset.Digits()
	if err != nil {
		return err
	}
	m := &measurement{rows: known, test: test, innocent: *innocent}
	for _, step := range []func() error{m.victim, func() error { return m.mark(ctx) }, m.steal, m.others} {
		if err := step(); err != nil {
			return err
		}
	}
	text, err := m.report()
	if err != nil {
		return err
	}
	text = fmt.Sprintf("## Marks: what a copy learns of them\n\nMade by `cd bench && go run ./theft/marks --innocent %d --write`.\n\n%s\n%s", *innocent, text, conditions)
	fmt.Println(text)
	if *write {
		return result.Write(result.File, "marks", text)
	}
	return nil
}

// A measurement is the victim, its marks, and who is held to them.
type measurement struct {
	rows, test learn.Set
	innocent   int

	model    *learn.MLP
	marking  *tier.Marking
	key      *watermark.Key
	dropped  map[int]int              // marks and controls that found no room, by how many rows were asked at once
	lists    map[int]*watermark.Marks // by how many rows were asked
	labels   []int                    // of the rows that are asked, as they were given out
	scores   learn.Matrix             // the same
	suspects []suspect
}

// A suspect is a copy, or an innocent model.
type suspect struct {
	name    string
	budget  int // rows that it asked; 0: innocent
	predict func(learn.Matrix) learn.Matrix
	fair    float64 // share of the test rows that it gets right
	agrees  float64 // share of them on which it says what the victim says
	report  watermark.Report
	points  float64 // share of the points near the boundary on which it does
}

// some picks rows.
func (m *measurement) some(from, n int) learn.Set { return dataset.Part(m.rows, from, from+n) }

func (m *measurement) victim() (err error) {
	cfg := learn.Config{Hidden: []int{128}, Classes: classes, Epochs: 6, Batch: 64, Rate: 1e-3}
	rng := rand.New(rand.NewPCG(1, 1))
	rest, held := m.some(0, victims).Split(rng, 0.1)
	m.model, err = learn.Train(cfg, rest, held, rng)
	return err
}

// batches are how many rows thieves ask at once: the answers are those of the last.
var batches = []int{16, 256}

// mark gives out answers to the rows that thieves ask, as a gateway does on a route with
// --mark 0.005 --amber budget --shape round:4, by a key of its own making.
func (m *measurement) mark(ctx context.Context) (err error) {
	if m.marking, err = marking(ctx); err != nil {
		return err
	}
	m.key, m.dropped = m.marking.Key, map[int]int{}
	x := m.some(30_000, asked).X
	truth := m.model.Predict(x)
	for _, batch := range batches {
		m.scores, m.labels = learn.NewMatrix(asked, classes), nil
		m.lists = map[int]*watermark.Marks{3000: watermark.NewMarks(m.key, classes), asked: watermark.NewMarks(m.key, classes)}
		for from := 0; from < asked; from += batch {
			if err := m.give(x, truth, from, min(batch, asked-from), batch); err != nil {
				return err
			}
		}
	}
	return nil
}

// marking is what a gateway marks answers with: made by its book of tiers.
func marking(ctx context.Context) (*tier.Marking, error) {
	dir, err := os.MkdirTemp("", "marks")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	db, err := store.Open(ctx, filepath.Join(dir, "state.db"))
	if err != nil {
		return nil, err
	}
	defer db.Close()
	now := func() time.Time { return time.Date(2026, 11, 27, 0, 0, 0, 0, time.UTC) } // so that the key is the same each time
	book, err := tier.Open(ctx, tier.Config{Store: db, Now: now})
	if err != nil {
		return nil, err
	}
	master := sha256.Sum256([]byte("bench/theft/marks"))
	return book.Marking(ctx, pavise.Name{Tenant: "local", Kind: "model", ID: "mnist"}, watermark.DefaultRate, master[:])
}

// give answers some rows that were asked at once.
func (m *measurement) give(x, truth learn.Matrix, from, n, batch int) error {
	request := tensor.Request{Inputs: []tensor.Tensor{{Name: "x", Datatype: tensor.FP32, Shape: []int64{int64(n), int64(x.Cols)}}}}
	said := tensor.Response{Outputs: []tensor.Tensor{{Name: "scores", Datatype: tensor.FP32, Shape: []int64{int64(n), classes}}}}
	for i := range n {
		request.Inputs[0].Data.Floats = append(request.Inputs[0].Data.Floats, floatsOf(x.Row(from+i))...)
		said.Outputs[0].Data.Floats = append(said.Outputs[0].Data.Floats, floatsOf(truth.Row(from+i))...)
	}
	made := m.marking.Apply(&request, &said, tier.MarkRoom)
	m.dropped[batch] += made.Dropped
	given, _ := firewall.Shape{Kind: firewall.Round, Digits: 4}.Apply(made.Response)
	for i := range n {
		row := given.Outputs[0].Data.Floats[i*classes : (i+1)*classes]
		for j, v := range row {
			m.scores.Row(from + i)[j] = float32(v)
		}
		m.labels = append(m.labels, watermark.Top(row))
	}
	var marks []watermark.Mark
	if len(made.Kept) > 0 {
		if err := json.Unmarshal(made.Kept, &marks); err != nil {
			return err
		}
	}
	for _, mark := range marks {
		for budget, list := range m.lists {
			for i := from; i < min(from+n, budget); i++ {
				if slices.EqualFunc(x.Row(i), mark.Input, func(v float32, w float64) bool { return v == float32(w) }) {
					list.Add(mark)
					break
				}
			}
		}
	}
	return nil
}

// steal trains copies. Most hold nothing back, as a thief does who wants all that was paid
// for, and so learn the marks by heart as far as they do.
func (m *measurement) steal() error {
	x := m.some(30_000, asked).X
	thieves := []struct {
		kind   string
		budget int
		train  func(cfg learn.Config, budget int, rng *rand.Rand) (*learn.MLP, error)
	}{
		{"labels", 3000, m.byLabels(x)},
		{"scores", 3000, m.byScores(x)},
		{"labels", asked, m.byLabels(x)},
		{"scores", asked, m.byScores(x)},
		{"labels, stopped early", asked, m.early(x)},
		{"labels, copied again on rows that nobody asked", asked, m.again(x)},
	}
	m.suspects = make([]suspect, len(thieves))
	var group errgroup.Group
	group.SetLimit(runtime.NumCPU())
	for i, t := range thieves {
		group.Go(func() error {
			cfg := learn.Config{Hidden: []int{256}, Classes: classes, Epochs: 60_000/t.budget + 20, Batch: 32, Rate: 1e-3}
			copied, err := t.train(cfg, t.budget, rand.New(rand.NewPCG(uint64(t.budget), 7)))
			if err != nil {
				return err
			}
			m.suspects[i] = suspect{name: fmt.Sprintf("copy, %d rows, %s", t.budget, t.kind), budget: t.budget, predict: copied.Predict}
			return nil
		})
	}
	return group.Wait()
}

// A training makes a copy out of so many answers.
type training = func(cfg learn.Config, budget int, rng *rand.Rand) (*learn.MLP, error)

// first are the first rows of a matrix.
func first(x learn.Matrix, n int) learn.Matrix {
	return learn.Matrix{Rows: n, Cols: x.Cols, Data: x.Data[:n*x.Cols]}
}

func (m *measurement) byLabels(x learn.Matrix) training {
	return func(cfg learn.Config, budget int, rng *rand.Rand) (*learn.MLP, error) {
		set := learn.Set{X: first(x, budget), Y: m.labels[:budget]}
		return learn.Train(cfg, set, set, rng)
	}
}

func (m *measurement) byScores(x learn.Matrix) training {
	return func(cfg learn.Config, budget int, rng *rand.Rand) (*learn.MLP, error) {
		return learn.Imitate(cfg, first(x, budget), first(m.scores, budget), 0, rng)
	}
}

// early holds a tenth back, and takes the model that is best on it.
func (m *measurement) early(x learn.Matrix) training {
	return func(cfg learn.Config, budget int, rng *rand.Rand) (*learn.MLP, error) {
		rest, held := learn.Set{X: first(x, budget), Y: m.labels[:budget]}.Split(rng, 0.1)
		cfg.Patience = 2
		return learn.Train(cfg, rest, held, rng)
	}
}

// again has the copy label other rows, and trains a second copy on those.
func (m *measurement) again(x learn.Matrix) training {
	return func(cfg learn.Config, budget int, rng *rand.Rand) (*learn.MLP, error) {
		copied, err := m.byLabels(x)(cfg, budget, rng)
		if err != nil {
			return nil, err
		}
		rows := m.some(40_000, budget).X
		set := learn.Set{X: rows, Y: copied.Predict(rows).ArgMax()}
		return learn.Train(cfg, set, set, rng)
	}
}

// others trains innocent models.
func (m *measurement) others() error {
	var group errgroup.Group
	group.SetLimit(runtime.NumCPU())
	widths := [][]int{{128}, {64}, {32}, {16}, {48, 24}, nil}
	from := len(m.suspects)
	m.suspects = append(m.suspects, make([]suspect, m.innocent)...)
	for i := range m.innocent {
		group.Go(func() error {
			rng := rand.New(rand.NewPCG(uint64(i), 3))
			start := []int{0, 30_000, 45_000, 30_000}[i%4] // the victim's rows, those that thieves asked, and neither
			set := m.some(start, 10_000)
			rest, held := set.Split(rng, 0.1)
			s := &m.suspects[from+i]
			if i%7 == 6 {
				cfg := learn.TreeConfig{Classes: classes, Leaves: 15, MinRows: 20, Rounds: 12, Rate: 0.3, L2: 1, Columns: 0.2, Bins: 16}
				trees, err := learn.TrainTrees(cfg, rest, held, rng)
				s.name, s.predict = fmt.Sprintf("trees, rows from %d", start), func(x learn.Matrix) learn.Matrix { return trees.Predict(x) }
				return err
			}
			hidden := widths[i%len(widths)]
			cfg := learn.Config{Hidden: hidden, Classes: classes, Epochs: 4 + i%5, Batch: 64, Rate: 1e-3}
			model, err := learn.Train(cfg, rest, held, rng)
			s.name, s.predict = fmt.Sprintf("widths %v, rows from %d", hidden, start), model.Predict
			return err
		})
	}
	return group.Wait()
}

// ask holds a suspect to a list of marks.
func (m *measurement) ask(s *suspect, list *watermark.Marks) (*watermark.Inquiry, error) {
	q, err := watermark.NewInquiry(m.key, classes, list)
	if err != nil {
		return nil, err
	}
	x := learn.NewMatrix(len(list.Rows), m.rows.X.Cols)
	for i, mark := range list.Rows {
		for j, v := range mark.Input {
			x.Row(i)[j] = float32(v)
		}
	}
	for i, class := range s.predict(x).ArgMax() {
		if err := q.Answer(list.Rows[i].Input, class); err != nil {
			return nil, err
		}
	}
	return q, nil
}

// report holds everybody to the marks and to the points, and writes it down.
func (m *measurement) report() (string, error) {
	points, err := m.points()
	if err != nil {
		return "", err
	}
	truth := m.model.Predict(m.test.X).ArgMax()
	var near []float64
	for i := range m.suspects {
		s := &m.suspects[i]
		said := s.predict(m.test.X).ArgMax()
		s.fair, s.agrees = same(said, m.test.Y), same(said, truth)
		s.points = m.likeness(points, s)
		if s.budget == 0 {
			near = append(near, s.points)
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "The victim, 784-128-10 on %d rows, is right on %.3f of the test rows. Answers are given out as a gateway gives them to callers in amber on a route with `--mark 0.005 --amber budget --shape round:4`, by a key that it made (`exact`), %d and %d rows at once, of which %d and %d marks and controls found no room. Of the answers to %d rows %s. Equal rows count once.\n\n",
		victims, same(truth, m.test.Y), batches[0], batches[1], m.dropped[batches[0]], m.dropped[batches[1]], asked, counts(m.lists[asked]))
	table := result.NewTable("suspect", "right", "as the victim", "marks", "hits", "log2 p", "verdict", "the same near the boundary", "")
	for _, budget := range []int{3000, asked} {
		innocent, err := m.held(budget)
		if err != nil {
			return "", err
		}
		for i := range m.suspects {
			s := &m.suspects[i]
			if s.budget != budget && (s.budget != 0 || budget != asked) {
				continue
			}
			q, err := m.ask(s, m.lists[budget])
			if err != nil {
				return "", err
			}
			if s.budget == 0 {
				s.report = q.Report()
			} else {
				s.report = q.Report(innocent...)
			}
			likeness := points.Compare(s.points, near)
			table.Row(s.name, fmt.Sprintf("%.3f", s.fair), fmt.Sprintf("%.3f", s.agrees), fmt.Sprint(s.report.Marked), fmt.Sprint(s.report.Hits),
				fmt.Sprintf("%.1f", s.report.Log2P), s.report.Verdict, fmt.Sprintf("%.3f", s.points), likely(s, likeness))
		}
	}
	b.WriteString(table.String())
	m.summary(&b)
	fmt.Fprintf(&b, "\n%s", m.guard())
	return b.String(), nil
}

func likely(s *suspect, l watermark.Likeness) string {
	if s.budget == 0 {
		return ""
	}
	return fmt.Sprintf("p %.3f", l.P)
}

// held makes the inquiry of all innocent models for the marks of a budget.
func (m *measurement) held(budget int) (list []*watermark.Inquiry, err error) {
	for i := range m.suspects {
		if s := &m.suspects[i]; s.budget == 0 {
			q, err := m.ask(s, m.lists[budget])
			if err != nil {
				return nil, err
			}
			list = append(list, q)
		}
	}
	return list, nil
}

// summary says what the innocent models support.
func (m *measurement) summary(b *strings.Builder) {
	var logs []float64
	hits := 0
	for _, s := range m.suspects {
		if s.budget == 0 {
			logs = append(logs, s.report.Log2P)
			hits = max(hits, s.report.Hits)
		}
	}
	slices.Sort(logs)
	level := m.suspects[0].report.Innocent.Level
	fmt.Fprintf(b, "\nOf %d innocent models the most hits are %d, and the least log2 p is %.1f. Half of them are trained on the rows that the thieves asked about, with their true labels, and a quarter on those of the victim. By themselves so many support no more than that at most %.1f %% of such models look marked, at 95 %% confidence; smaller probabilities rest on the key.\n", len(logs), hits, logs[0], 100*level)
}

// points finds points near the victim's boundary.
func (m *measurement) points() (*watermark.Fingerprint, error) {
	rows := floats(m.some(0, 4000).X)
	predict := func(rows [][]float64) []int { return m.model.Predict(matrixOf(rows)).ArgMax() }
	s, err := watermark.NewSeeker(rows, predict(rows), 400, 1)
	if err != nil {
		return nil, err
	}
	for inputs := s.Next(); len(inputs) > 0; inputs = s.Next() {
		if err := s.Answer(predict(inputs)); err != nil {
			return nil, err
		}
	}
	return s.Fingerprint("mnist"), nil
}

// likeness is on how many of the points a suspect says what the victim says.
func (m *measurement) likeness(points *watermark.Fingerprint, s *suspect) float64 {
	var rows [][]float64
	for _, p := range points.Points {
		rows = append(rows, p.Input)
	}
	said := map[int]int{}
	for i, class := range s.predict(matrixOf(rows)).ArgMax() {
		said[i] = class
	}
	return points.Agreement(said)
}

// guard measures what ModelGuard-W changes for those who mean no harm.
func (m *measurement) guard() string {
	scores := m.model.Predict(m.test.X)
	g := firewall.ModelGuard{Epsilon: 1, Grain: 1e-5}
	changed, most, l1, refused := 0, 0.0, 0.0, 0
	var clear, guarded int
	for i := range scores.Rows {
		row := floatsOf(scores.Row(i))
		out := make([]float64, len(row))
		if g.Row(out, row) != "" {
			refused++
			continue
		}
		away := 0.0
		for j := range out {
			away += abs(out[j] - row[j])
			clear += len(fmt.Sprint(float32(row[j])))
			guarded += len(fmt.Sprint(float32(out[j])))
		}
		l1, most = l1+away/float64(scores.Rows), max(most, away)
		if watermark.Top(out) != watermark.Top(row) {
			changed++
		}
	}
	return fmt.Sprintf("ModelGuard-W at epsilon 1 changes the top class of %d of %d test rows, and is %.3f away from the true scores in L1 on average, %.3f at most; %d rows are refused. The text of the scores is %.3f times as long.\n",
		changed, scores.Rows, l1, most, refused, float64(guarded)/float64(clear))
}

func abs(v float64) float64 { return max(v, -v) }

func counts(list *watermark.Marks) string {
	marked := 0
	for _, row := range list.Rows {
		if row.Marked != nil {
			marked++
		}
	}
	return fmt.Sprintf("%d are marked, and %d serve as controls", marked, len(list.Rows)-marked)
}

func same(a, b []int) float64 {
	n := 0
	for i := range a {
		if a[i] == b[i] {
			n++
		}
	}
	return float64(n) / float64(len(a))
}

func floats(x learn.Matrix) [][]float64 {
	rows := make([][]float64, x.Rows)
	for i := range rows {
		rows[i] = floatsOf(x.Row(i))
	}
	return rows
}

func floatsOf(row []float32) []float64 {
	out := make([]float64, len(row))
	for j, v := range row {
		out[j] = float64(v)
	}
	return out
}

func matrixOf(rows [][]float64) learn.Matrix {
	x := learn.NewMatrix(len(rows), len(rows[0]))
	for i, row := range rows {
		for j, v := range row {
			x.Row(i)[j] = float32(v)
		}
	}
	return x
}
