package watermark

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
)

// keyOf makes a key of a number.
func keyOf(t testing.TB, n uint64, rate float64, q Quantiser) *Key {
	t.Helper()
	var secret [SecretSize]byte
	rng := rand.New(rand.NewPCG(n, 99))
	for i := range secret {
		secret[i] = byte(rng.Uint32())
	}
	k, err := NewKey(secret, "digits", rate, time.Date(2026, 11, 27, 3, 0, 0, 0, time.UTC), q)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// A world is inputs with the classes that the marked model says to them.
type world struct {
	rng     *rand.Rand
	classes int
	inputs  [][]float64
	truth   []int
}

func newWorld(seed uint64, rows, classes int) *world {
	w := &world{rng: rand.New(rand.NewPCG(seed, 1)), classes: classes}
	for range rows {
		input := make([]float64, 4)
		for j := range input {
			input[j] = float64(float32(w.rng.NormFloat64()))
		}
		w.inputs = append(w.inputs, input)
		w.truth = append(w.truth, w.rng.IntN(classes))
	}
	return w
}

// innocent answers like somebody who is right with a share, and else favours the next
// class.
func (w *world) innocent(right float64) []int {
	said := make([]int, len(w.truth))
	for i, class := range w.truth {
		switch {
		case w.rng.Float64() < right:
			said[i] = class
		case w.rng.IntN(2) == 0:
			said[i] = (class + 1) % w.classes
		default:
			said[i] = w.rng.IntN(w.classes)
		}
	}
	return said
}

// marks are what the key gives out on the inputs.
func (w *world) marks(k *Key) *Marks {
	list, m := NewMarks(k, w.classes), k.Marker()
	for i, input := range w.inputs {
		if _, mark, given := m.AnswerLabel(input, w.truth[i], w.classes); given {
			list.Add(mark)
		}
	}
	return list
}

// thief answers like an innocent one who has learnt a share of the marks.
func (w *world) thief(k *Key, learnt float64) []int {
	said, m := w.innocent(0.97), k.Marker()
	for i, input := range w.inputs {
		if label, mark, given := m.AnswerLabel(input, w.truth[i], w.classes); given && mark.Marked != nil && w.rng.Float64() < learnt {
			said[i] = label
		}
	}
	return said
}

// ask makes an inquiry of what a suspect said.
func (w *world) ask(t testing.TB, k *Key, marks *Marks, truth bool, said []int) *Inquiry {
	t.Helper()
	q, err := NewInquiry(k, w.classes, marks)
	if err != nil {
		t.Fatal(err)
	}
	for i, input := range w.inputs {
		if truth {
			if err := q.Truth(input, w.truth[i]); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i, input := range w.inputs {
		if err := q.Answer(input, said[i]); err != nil {
			t.Fatal(err)
		}
	}
	return q
}

// TestInnocentSuspects asks thousands of innocent suspects, each under a key of its own:
// small probabilities come no more often than they say, with every test alone and with
// what is made of them.
func TestInnocentSuspects(t *testing.T) {
	const suspects, rate = 400, 0.05
	levels := []float64{0.5, 0.1, 0.02}
	for _, mode := range []string{"truth", "marks", "alone"} {
		for _, classes := range []int{2, 3, 10} {
			low := map[string][]int{}
			for n := range suspects {
				w := newWorld(uint64(n), 300, classes)
				k := keyOf(t, uint64(n)+1000*uint64(classes), rate, Quantiser{Kind: Exact})
				var marks *Marks
				if mode == "marks" {
					marks = w.marks(k)
				}
				q := w.ask(t, k, marks, mode == "truth", w.innocent([]float64{0.3, 0.8, 0.97}[n%3]))
				seen := q.tally()
				count := func(name string, log2 float64) {
					if low[name] == nil {
						low[name] = make([]int, len(levels))
					}
					for i, level := range levels {
						low[name][i] += one(log2 <= math.Log2(level))
					}
				}
				count("all", q.test(seen, q.composed(seen)).log2p())
			}
			for name, counts := range low {
				for i, level := range levels {
					most := level*suspects + 4*math.Sqrt(level*suspects)
					if float64(counts[i]) > most {
						t.Errorf("%s, %d classes, %s: %d of %d are at most %v", mode, classes, name, counts[i], suspects, level)
					}
				}
			}
		}
	}
}

// TestThieves finds a copy that has learnt 27 of 46 marks, as one of MNIST has, and fewer
// where there are more of them.
func TestThieves(t *testing.T) {
	for _, c := range []struct {
		name    string
		classes int
		rows    int
		learnt  float64
		mode    string
		want    string
	}{
		{"ten classes, by the list", 10, 9200, 27.0 / 46, "marks", VerdictMarked},
		{"ten classes, by true answers", 10, 9200, 27.0 / 46, "truth", VerdictMarked},
		{"ten classes, by the answers alone", 10, 9200, 27.0 / 46, "alone", VerdictMarked},
		{"two classes, by the list", 2, 9200, 0.9, "marks", VerdictMarked},
		{"two classes, by true answers", 2, 9200, 27.0 / 46, "truth", VerdictMarked},
		{"two classes, by the answers alone", 2, 9200, 1, "alone", VerdictUnclear},
		{"many classes", 100_000, 3000, 0.5, "alone", VerdictMarked},
		{"few marks", 10, 1000, 1, "alone", VerdictUnclear},
		{"few learnt", 10, 9200, 0.02, "marks", VerdictNotShown},
		{"none learnt", 10, 9200, 0, "marks", VerdictNotShown},
		{"three classes, all learnt", 3, 9200, 1, "marks", VerdictMarked},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, k := newWorld(7, c.rows, c.classes), keyOf(t, 7, DefaultRate, Quantiser{Kind: Exact})
			var marks *Marks
			if c.mode == "marks" {
				marks = w.marks(k)
			}
			r := w.ask(t, k, marks, c.mode == "truth", w.thief(k, c.learnt)).Report()
			if r.Verdict != c.want {
				t.Errorf("%s: %s\n%+v", r.Verdict, r.Words, r)
			}
			if r.Verdict == VerdictUnclear && r.Words == "" || len(r.Notes) < 3 {
				t.Errorf("says too little: %+v", r)
			}
			t.Logf("%s; needs %d or %d; %+v", r.Words, r.NeedsAll, r.NeedsHalf, r.Beside)
			other := keyOf(t, 8, DefaultRate, Quantiser{Kind: Exact})
			if r := w.ask(t, other, nil, c.mode == "truth", w.thief(k, c.learnt)).Report(); r.Log2P < -16 {
				t.Errorf("another key finds its marks: %+v", r)
			}
		})
	}
}

// TestTwoClassesNeedMore says so.
func TestTwoClassesNeedMore(t *testing.T) {
	needs := map[int]int{}
	for _, classes := range []int{2, 10} {
		w, k := newWorld(3, 2000, classes), keyOf(t, 3, DefaultRate, Quantiser{Kind: Exact})
		r := w.ask(t, k, w.marks(k), false, w.thief(k, 0.5)).Report()
		needs[classes] = r.NeedsHalf
	}
	if needs[2] <= needs[10] || needs[10] == 0 {
		t.Errorf("marks needed where half are learnt: %v", needs)
	}
}

// TestRepeatedRows counts a row that is repeated a thousand times once.
func TestRepeatedRows(t *testing.T) {
	w, k := newWorld(5, 2000, 10), keyOf(t, 5, DefaultRate, Quantiser{Kind: Exact})
	said := w.thief(k, 0.3)
	was := w.ask(t, k, nil, true, said).Report()
	q := w.ask(t, k, nil, true, said)
	for i, input := range w.inputs {
		if f, _ := q.marker.Fate(input); f.Role == Marked {
			for range 1000 {
				if err := q.Answer(input, said[i]); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if r := q.Report(); r.Log2P != was.Log2P || r.Count != was.Count || r.Rows <= was.Rows {
		t.Errorf("repeated %+v, once %+v", r, was)
	}
}

// TestChosenAnswers has a file of answers that holds marked inputs alone, and one of a
// list from which misses were left out.
func TestChosenAnswers(t *testing.T) {
	w, k := newWorld(6, 9200, 2), keyOf(t, 6, DefaultRate, Quantiser{Kind: Exact})
	list := w.marks(k)
	said := w.innocent(0.7)
	// Of two classes, every miss of the true class is a hit: keep marked inputs that hit,
	// and plain ones that do not.
	edited, answers := &world{classes: 2}, []int(nil)
	for i, input := range w.inputs {
		f, _ := k.Marker().Fate(input)
		if hit := said[i] != w.truth[i]; hit == (f.Role == Marked) {
			edited.inputs, edited.truth = append(edited.inputs, input), append(edited.truth, w.truth[i])
			answers = append(answers, said[i])
		}
	}
	r := edited.ask(t, k, list, false, answers).Report()
	if r.Verdict == VerdictMarked || r.Unanswered == 0 {
		t.Errorf("with the list of marks: %s", r.Words)
	}
	r = edited.ask(t, k, nil, true, answers).Report()
	if r.Verdict == VerdictMarked && !strings.Contains(strings.Join(r.Notes, " "), "left out") {
		t.Errorf("without a list, and without a word: %+v", r)
	}
	// Only what the key marks: nothing to hold it against, and two classes.
	marked, answers := &world{classes: 2}, answers[:0]
	for i, input := range w.inputs {
		if f, _ := k.Marker().Fate(input); f.Role == Marked {
			marked.inputs, marked.truth = append(marked.inputs, input), append(marked.truth, w.truth[i])
			answers = append(answers, 1-w.truth[i])
		}
	}
	if r := marked.ask(t, k, nil, true, answers).Report(); r.Verdict != VerdictUnclear {
		t.Errorf("marked inputs alone: %s", r.Words)
	}
}

// TestHardInputs has a list of marks on inputs that every innocent model finds hard: the
// controls of the list are as hard.
func TestHardInputs(t *testing.T) {
	w, k := newWorld(9, 9200, 2), keyOf(t, 9, DefaultRate, Quantiser{Kind: Exact})
	if r := w.ask(t, k, w.marks(k), false, w.innocent(0.2)).Report(); r.Verdict != VerdictNotShown && r.Verdict != VerdictUnclear {
		t.Errorf("%s", r.Words)
	}
}

// TestInnocentModels stand beside a suspect: with them the report says what they support,
// and one that looks marked takes the word back.
func TestInnocentModels(t *testing.T) {
	w, k := newWorld(11, 9200, 10), keyOf(t, 11, DefaultRate, Quantiser{Kind: Exact})
	thief := func() *Inquiry { return w.ask(t, k, nil, true, w.thief(k, 0.6)) }
	var innocent []*Inquiry
	for i := range 20 {
		innocent = append(innocent, w.ask(t, k, nil, true, w.innocent(0.5+float64(i)/42)))
	}
	r := thief().Report(innocent...)
	if r.Verdict != VerdictMarked || r.Innocent.Models != 20 || !r.Innocent.Fine || math.Abs(r.Innocent.Level-0.139) > 0.001 {
		t.Errorf("%s %+v", r.Words, r.Innocent)
	}
	if r := thief().Report(append(innocent, thief())...); r.Verdict != VerdictUnclear || r.Innocent.Fine {
		t.Errorf("an innocent one that is none: %s", r.Words)
	}
}

// TestAnswersThatAreRefused has what is no answer.
func TestAnswersThatAreRefused(t *testing.T) {
	w, k := newWorld(12, 200, 10), keyOf(t, 12, DefaultRate, Quantiser{Kind: Exact})
	q := w.ask(t, k, nil, false, w.innocent(1))
	for _, class := range []int{-1, 10, 1 << 40} {
		if err := q.Answer(w.inputs[0], class); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("class %d: %v", class, err)
		}
	}
	before := q.Report()
	for _, v := range []float64{math.NaN(), math.Inf(1), 1e300} {
		if err := q.Answer([]float64{v, 0, 0, 0}, 1); err != nil {
			t.Error(err)
		}
	}
	if r := q.Report(); r.Unusable != before.Unusable+3 || r.Count != before.Count {
		t.Errorf("%+v, before %+v", r, before)
	}
	for _, classes := range []int{-1, 0, 1, MaxClasses + 1} {
		if _, err := NewInquiry(k, classes, nil); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%d classes: %v", classes, err)
		}
	}
	other := keyOf(t, 13, DefaultRate, Quantiser{Kind: Exact})
	if _, err := NewInquiry(other, 10, w.marks(k)); pavise.KindOf(err) != pavise.Unverified {
		t.Errorf("another key's marks: %v", err)
	}
	empty, err := NewInquiry(k, 10, nil)
	if err != nil {
		t.Fatal(err)
	}
	if r := empty.Report(); r.Verdict != VerdictUnclear || r.Log2P != 0 {
		t.Errorf("no answers: %+v", r)
	}
	if err := empty.Answer([]float64{math.NaN()}, 1); err != nil {
		t.Fatal(err)
	}
	if r := empty.Report(); !strings.Contains(r.Words, "nothing of any of the 1 inputs") {
		t.Errorf("only answers that cannot be used: %+v", r)
	}
}

// TestMarksThatWereChanged refuses a list of which a byte is another, one that was cut,
// and one that was changed together with its digest.
func TestMarksThatWereChanged(t *testing.T) {
	w, k := newWorld(14, 3000, 10), keyOf(t, 14, DefaultRate, Quantiser{Kind: Exact})
	list := w.marks(k)
	var file bytes.Buffer
	if err := list.Write(&file); err != nil {
		t.Fatal(err)
	}
	again, err := ReadMarks(bytes.NewReader(file.Bytes()))
	if err != nil || again.Hold(k.Marker()) != nil || again.Digest != list.Digest || len(again.Rows) != len(list.Rows) {
		t.Fatalf("read again: %v", err)
	}
	for i := 0; i < file.Len(); i += 1 + file.Len()/4000 {
		b := bytes.Clone(file.Bytes())
		b[i] ^= 1
		if _, err := ReadMarks(bytes.NewReader(b)); err == nil {
			t.Fatalf("byte %d is another, and it is read: %q", i, b[max(0, i-20):i+1])
		}
		if _, err := ReadMarks(bytes.NewReader(b[:i])); err == nil {
			t.Fatalf("cut at byte %d, and it is read", i)
		}
	}
	spaced := append([]byte("{ "), file.Bytes()[1:]...)
	if _, err := ReadMarks(bytes.NewReader(spaced)); err == nil || !strings.Contains(err.Error(), "white space") {
		t.Errorf("with white space: %v", err)
	}
	for name, change := range map[string]func(*Marks){
		"a row that is not marked": func(m *Marks) { m.Rows[0].Input = []float64{1, 2, 3, 4} },
		"another label":            func(m *Marks) { c := (m.Rows[0].True + 1) % 10; m.Rows[0].True = c },
		"a control that is marked": func(m *Marks) { m.Rows[0].Marked = nil },
		"another model":            func(m *Marks) { m.Model = "letters" },
	} {
		changed := &Marks{Model: list.Model, Key: list.Key, Classes: list.Classes}
		for _, row := range list.Rows {
			if row.Marked != nil {
				changed.Add(row)
			}
		}
		change(changed)
		var b bytes.Buffer
		if err := changed.Write(&b); err != nil {
			t.Fatal(err)
		}
		m, err := ReadMarks(&b)
		if err == nil {
			err = m.Hold(k.Marker())
		}
		if err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func FuzzReadMarks(f *testing.F) {
	w, k := newWorld(15, 300, 10), keyOf(f, 15, 0.02, Quantiser{Kind: Exact})
	var file bytes.Buffer
	if err := w.marks(k).Write(&file); err != nil {
		f.Fatal(err)
	}
	f.Add(file.Bytes())
	f.Add([]byte(`{"rows":0,"digest":""}`))
	f.Add([]byte(fmt.Sprintf("{\"format\":%q}\n", marksFormat)))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := ReadMarks(bytes.NewReader(text))
		if err != nil {
			return
		}
		_ = m.Hold(k.Marker())
		var b bytes.Buffer
		if err := m.Write(&b); err != nil || !bytes.Equal(b.Bytes(), text) {
			t.Fatalf("read %q, written %q (%v)", text, b.Bytes(), err)
		}
	})
}

// TestHardAmongEasy has marked inputs that an innocent model finds hard, among others that
// it does not, put together in the share that the key picks: without a list of marks that
// accuses nobody.
func TestHardAmongEasy(t *testing.T) {
	w, k := newWorld(21, 20_000, 10), keyOf(t, 21, DefaultRate, Quantiser{Kind: Exact})
	said := w.innocent(0.999)
	for i, input := range w.inputs {
		if f, _ := k.Marker().Fate(input); f.Role == Marked {
			said[i] = w.rng.IntN(10)
		}
	}
	for _, truth := range []bool{true, false} {
		if r := w.ask(t, k, nil, truth, said).Report(); r.Log2P < -12 {
			t.Errorf("true answers %v: 2^%.1f: %s", truth, r.Log2P, r.Words)
		}
	}
}
