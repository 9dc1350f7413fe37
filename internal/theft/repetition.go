package theft

import (
	"fmt"
	"math"
	"slices"

	"github.com/pavise/pavise/internal/anomaly"
)

// The measures of what a client repeats to the last bit, to time a model or to average what
// it says. Repetitions of the one row that a client asks most are left out of all of them:
// a monitor asks one row all day, and one row alone has nothing to be compared with.
const (
	repeatTimes  = iota // how often the usual row was asked, as a logarithm to base 2, if few were asked again
	repeatTurns         // share of rows that are the one two to four before, and not the last one
	repeatBursts        // the longest run of one row, as a logarithm to base 2
	repeats
)

const (
	repeatCounted = 64 // rows asked again that are counted at a time
	repeatBack    = 4  // rows by which turns are told
	// Who has something to average asks few rows often. So many rows that are asked again about
	// as often as each other are what somebody's data holds, or a test that runs each night.
	repeatFew  = 24
	repeatMany = 32
)

var repeatNames = [repeats]string{"repetition", "alternation", "bursts"}

// repeatWords say for people what a measure found, given its value.
var repeatWords = [repeats]string{
	"it asks few rows again and again, %.1f times where it is not the one it asks most",
	"%.0f%% of its rows are asked in turns with two or three others",
	"one of its rows was asked %.0f times in a row, and is not the one it asks most",
}

// repeatLeast is what of each measure is nothing, whatever the clients of a calibration do:
// calls that are tried again must turn nobody amber where none were recorded, and what is
// asked five times is hardly known better than what is asked once.
var repeatLeast = [repeats]float64{2, 0.2, 3}

// A Repetition is how much honest clients repeat rows, and how much more is unlike them. It
// has a threshold and a bound of its own: one honest client in a hundred who polls must not
// set the threshold of all other measures.
type Repetition struct {
	Judged    int         `json:"judged"` // clients that set the threshold
	Looks     []int       `json:"looks"`  // numbers of rows, repetitions of the most asked one not among them, after which a client is judged
	Threshold float64     `json:"threshold"`
	Bound     float64     `json:"bound"`    // the share of honest clients that may be found for what they repeat
	Furthest  [][]float64 `json:"furthest"` // by look and measure: the most that an honest client had, at least what is nothing
}

// Taken is the share of honest clients, like those of the calibration, of whom any measure
// may take so many for thieves: the bound, and that of what is repeated.
func (c *Calibration) Taken() float64 {
	return c.Bound + c.Repetition.Bound
}

// misfit says what of it is none, or "".
func (r *Repetition) misfit() string {
	switch {
	case len(r.Looks) == 0 || len(r.Looks) > len(looks) || !slices.Equal(r.Looks, looks[:len(r.Looks)]) || len(r.Furthest) != len(r.Looks):
		return "its looks at what is repeated do not fit"
	case !(r.Threshold > 0) || !(r.Bound > 0 && r.Bound < 1) || r.Judged < 1:
		return "its threshold or its bound of what is repeated is none"
	}
	for _, far := range r.Furthest {
		if len(far) != repeats || slices.ContainsFunc(far, func(v float64) bool { return !(v > 0) }) {
			return "its measures of what is repeated do not fit"
		}
	}
	return ""
}

// furthest returns the measure that is furthest out at a look, and how far: 1 is where the
// furthest honest client is.
func (r *Repetition) furthest(look int, values *[repeats]float64) (measure int, score float64) {
	for m, v := range values {
		if z := v / r.Furthest[look][m]; z > score {
			measure, score = m, z
		}
	}
	return measure, score
}

// A repeating is what a client repeats. It is bounded, and nothing for who repeats nothing.
type repeating struct {
	rows    int                // since the watch of it began
	look    int                // the next one
	turns   int                // rows that are asked in turns
	run     int                // so often was the last row asked at a stretch
	burst   int                // the longest run of a row that was not the most asked one
	last    [repeatBack]uint64 // hashes of the last rows, the latest first
	counted []countedRow
	most    countedRow // of counted
}

// A countedRow is a row that was asked again.
type countedRow struct {
	exact uint64 // its hash
	times int
}

// see counts a row; before says that the client has asked it already.
func (r *repeating) see(exact uint64, before bool) {
	r.rows++
	switch {
	case exact == r.last[0] && r.rows > 1:
		r.run++
	default:
		r.run = 1
	}
	if r.count(exact, before); exact != r.most.exact {
		if r.burst = max(r.burst, r.run); r.run == 1 && slices.Contains(r.last[1:], exact) {
			r.turns++
		}
	}
	copy(r.last[1:], r.last[:])
	r.last[0] = exact
}

// count counts a row that was asked again. When more are than there is room for, those
// counted least give way: what is asked often stays (after Misra and Gries, "Finding Repeated
// Elements", 1982).
func (r *repeating) count(exact uint64, before bool) {
	i := slices.IndexFunc(r.counted, func(k countedRow) bool { return k.exact == exact })
	if i < 0 && !before {
		return
	}
	switch {
	case i >= 0:
		r.counted[i].times++
	case len(r.counted) < repeatCounted:
		i, r.counted = len(r.counted), append(r.counted, countedRow{exact, 2})
	default:
		r.fade()
		return
	}
	if r.counted[i].times > r.most.times {
		r.most = r.counted[i]
	}
}

// fade has all that is counted count less by one; what was asked once is not asked again.
func (r *repeating) fade() {
	for i := range r.counted {
		r.counted[i].times--
	}
	r.counted = slices.DeleteFunc(r.counted, func(k countedRow) bool { return k.times < 2 })
	r.most = countedRow{}
	for _, k := range r.counted {
		if k.times > r.most.times {
			r.most = k
		}
	}
}

// others is how many rows there were, repetitions of the most asked one not among them.
func (r *repeating) others() int { return r.rows - max(0, r.most.times-1) }

// due reports whether it is time for the next look.
func (r *repeating) due(looks []int) bool { return r.look < len(looks) && r.others() >= looks[r.look] }

// values sets dst to the measures of what was repeated so far.
func (r *repeating) values(dst *[repeats]float64) {
	n := float64(r.others())
	var times, squares, again, againSquares float64
	for _, k := range r.counted {
		if k.exact != r.most.exact {
			t := float64(k.times)
			times, squares, again, againSquares = times+t, squares+t*t, again+t-1, againSquares+(t-1)*(t-1)
		}
	}
	squares += max(0, n-times)                        // those asked once
	different := again * again / max(againSquares, 1) // that are asked again, about: the participation ratio
	few := min(1, max(0, (repeatMany-different)/(repeatMany-repeatFew)))
	dst[repeatTimes] = few * max(0, math.Log2(squares/n))
	dst[repeatTurns] = float64(r.turns) / n
	dst[repeatBursts] = math.Log2(float64(max(1, r.burst)))
}

// next goes on to the next look. After the last one the watch begins anew, and from then on
// only the last one counts, as in study.restart.
func (r *repeating) next(looks int) {
	if r.look++; r.look < looks {
		return
	}
	*r = repeating{look: looks - 1, run: r.run, last: r.last, counted: r.counted[:0]}
}

// repeated looks at what a client repeats, when it is time. Of pools nothing is looked at:
// many who ask the same few rows are no one who asks them often.
func (e *Extraction) repeated(s *study, client string, exact uint64, before bool) (Sighting, bool) {
	if len(e.turns) == 0 || s.pooled {
		return Sighting{}, false
	}
	r := &s.repeated
	if r.see(exact, before); !r.due(e.turns) {
		return Sighting{}, false
	}
	var values [repeats]float64
	r.values(&values)
	look := r.look
	r.next(len(e.turns))
	if e.turned != nil {
		e.turned(client, look, &values)
		return Sighting{}, false
	}
	m, score := e.c.Repetition.furthest(look, &values)
	said := values[m]
	switch m {
	case repeatTurns:
		said *= 100
	case repeatTimes, repeatBursts:
		said = math.Exp2(said)
	}
	return e.say(s, Sighting{
		Client: client, Rows: s.rows, Detector: repeatNames[m], Threshold: e.c.Threshold,
		Score:    score * e.c.Threshold / e.c.Repetition.Threshold, // as other measures have it
		Evidence: fmt.Sprintf("%d rows: "+repeatWords[m], s.rows, said),
	})
}

// A turn is what a client repeated at a look: of several watches the most of each.
type turn map[string]*[repeats]float64

// repetition learns how much the clients that are judged repeat. Each is held to what the
// others do, as in threshold.
func (t *trainer) repetition() {
	r := &Repetition{Looks: t.turns}
	worst := map[string]float64{}
	for look := range r.Looks {
		far, second := repeatLeast, repeatLeast
		for _, values := range t.turned[look] {
			for m, v := range values {
				if v >= far[m] {
					far[m], second[m] = v, far[m]
				} else {
					second[m] = max(second[m], v)
				}
			}
		}
		for client, values := range t.turned[look] {
			for m, v := range values {
				others := far[m]
				if v == far[m] {
					others = second[m]
				}
				worst[client] = max(worst[client], v/others)
			}
		}
		r.Furthest = append(r.Furthest, far[:])
	}
	scores := make([]float64, 0, len(worst))
	for _, v := range worst {
		scores = append(scores, v)
	}
	r.Judged = len(scores)
	r.Threshold, r.Bound = anomaly.Conformal(scores, t.c.Alpha)
	r.Threshold = thresholdMargin * max(r.Threshold, 1)
	t.c.Repetition = r
}

// turnedAt keeps what a client repeated at a look.
func (t *trainer) turnedAt(client string, look int, values *[repeats]float64) {
	was := t.turned[look][client]
	if was == nil {
		was = new([repeats]float64)
		t.turned[look][client] = was
	}
	for m, v := range values {
		was[m] = max(was[m], v)
	}
}

// write writes what a client repeats.
func (r *repeating) write(w *writer) {
	w.counts(uint64(r.rows), uint64(r.look), uint64(r.turns), uint64(r.run), uint64(r.burst))
	w.counts(r.last[:]...)
	w.counts(r.most.exact, uint64(r.most.times), uint64(len(r.counted)))
	for _, k := range r.counted {
		w.counts(k.exact, uint64(k.times))
	}
}

// read reads what write wrote, of a watch with so many looks.
func (r *repeating) read(from *reader, looks int) {
	r.rows, r.look = from.count(math.MaxInt64), from.count(max(looks-1, 0))
	r.turns, r.run, r.burst = from.count(r.rows), from.count(math.MaxInt64), from.count(math.MaxInt64)
	from.counts(r.last[:])
	r.most = countedRow{from.number(), from.count(math.MaxInt32)}
	r.counted = make([]countedRow, from.count(repeatCounted))
	for i := range r.counted {
		r.counted[i] = countedRow{from.number(), from.count(math.MaxInt32)}
	}
	from.must(r.most.times <= r.rows+1)
}
