package monitor

import (
	"cmp"
	"slices"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/drift"
	"github.com/pavise/pavise/internal/drift/book"
	"github.com/pavise/pavise/internal/drift/party"
)

// The two baselines that windows are held to.
const (
	now   = iota // the one in force
	first        // the first that there ever was
)

// A watched is one model under watch. The goroutine of Run alone changes it, under the
// monitor's mu.
type watched struct {
	model   pavise.Name
	layout  *layout
	learn   *learning // nil: nothing is learnt
	bases   [2]*based // nil: there is none. The second is nil, too, while it is the first one
	windows [scales]*span
	heavy   [parties]party.Heavy
	seats   party.Seats // of callers, anew each hour
	sample  *sample
	tally   tally
	batch   *batch // what came and is not counted yet; empty whenever mu is not held

	by    map[string]int // rows in the window of each model of several; nil: of none
	began time.Time      // of the window
	ended int            // windows
	last  time.Time      // something came
	kept                 // what outlives the process
	past  []Window       // the newest last
	moved [2][]movement  // of the last window of each scale, by baseline and feature
	said  time.Time      // when it was last said that something is suspected
	store *stored        // what the store has of it, until something comes; nil afterwards

	book  *book.Book                 // what it is held to, as it was signed; nil: it is held to nothing yet
	texts map[string]*drift.Baseline // by digest: those that the book names, at least; never changed
}

// A based is a baseline with what it is made of.
type based struct {
	*drift.Baseline
	Digest string
	held   []ruler
	votes  []drift.Votes
	walk   *[scales]*drift.Counts // of the first baseline: counted by its own bins, of nobody knows whom
}

// A movement is what a window said of a feature, by scale.
type movement [scales]drift.Outcome

// kept is what outlives the process beside baselines and counts.
type kept struct {
	Version  string      `json:"version"`           // what answers
	Former   string      `json:"former,omitempty"`  // what answered before
	Switched time.Time   `json:"switched,omitzero"` // when it began to answer
	Since    [scales]int `json:"since"`             // windows with rows enough since then
	Before   bool        `json:"before,omitempty"`  // outputs had begun to move before
	At       [scales]int `json:"at"`                // in which window since then outputs were first found to move; 0: in none
	Back     time.Time   `json:"back,omitzero"`     // when the house last brought a version back
	Elder    drift.Elder `json:"elder,omitempty"`   // what the version before said, of what is confirmed
	Verdict  Verdict     `json:"verdict"`           // as it stands
	Quiet    []string    `json:"quiet,omitempty"`   // features of a verdict that people dismissed
	Wait     *book.Order `json:"wait,omitempty"`    // a baseline that is to be learnt
	Asked    time.Time   `json:"asked,omitzero"`    // until when people may decide on the last review
}

// tally counts rows by the bins of the baselines, in counts whose groups are open.
type tally struct {
	held  []ruler
	into  *drift.Counts
	first []ruler
	walk  *drift.Counts
}

// numbers implements sink.
func (t *tally) numbers(b *batch, f int, values []float64) {
	places := b.places[:len(values)]
	if by := t.held[f].Numbers; by != nil {
		by.Places(places, values)
		t.into.Count(f, b.groups[:], places)
	}
	if t.walk != nil && t.first[f].Numbers != nil {
		t.first[f].Numbers.Places(places, values)
		t.walk.Count(f, b.nobody[:], places)
	}
}

// texts implements sink.
func (t *tally) texts(b *batch, f int, p *port, element int) {
	if by := t.held[f].Categories; by != nil {
		t.into.Count(f, b.groups[:], b.textPlaces(by, p, element))
	}
	if t.walk != nil && t.first[f].Categories != nil {
		t.walk.Count(f, b.nobody[:], b.textPlaces(t.first[f].Categories, p, element))
	}
}

// textPlaces are where what the rows have in an element of a port lies among categories.
func (b *batch) textPlaces(by *drift.Categories, p *port, element int) []uint8 {
	places := b.places[:b.n]
	for row := range places {
		o := b.items[row]
		switch w := o.word(p, b.at[row], element); {
		case w.Size == 0:
			places[row] = drift.Nothing
		case w.Size <= drift.WordBytes:
			places[row] = by.PlaceWord(w)
		default:
			places[row] = by.Place(o.longText(w))
		}
	}
	return places
}

// newWatched begins to watch a model.
func newWatched(model pavise.Name, l *layout, at time.Time) *watched {
	w := &watched{model: model, layout: l, began: at, last: at}
	w.batch = newBatch(l)
	w.empty()
	return w
}

// empty begins all windows anew, and forgets how earlier ones voted.
func (w *watched) empty() {
	w.begin()
	w.ended, w.Since, w.At, w.Before = 0, [scales]int{}, [scales]int{}, false
	w.sample = &sample{}
	for i, b := range w.bases {
		if w.moved[i] = nil; b == nil {
			continue
		}
		w.moved[i] = make([]movement, len(w.layout.titles))
		b.votes = make([]drift.Votes, len(w.layout.titles))
		if i == first {
			b.walk = new([scales]*drift.Counts)
			for s := range b.walk {
				b.walk[s] = w.layout.newWalk()
			}
		}
	}
}

// hold has windows be held to baselines from now on; the second is nil while it is the first.
func (w *watched) hold(b, origin *based) {
	w.bases = [2]*based{b, origin}
	w.learn = nil
	w.empty()
}

// begin begins all windows anew.
func (w *watched) begin() {
	for s := range w.windows {
		w.windows[s] = w.layout.newSpan()
	}
}

// newWalk makes room for counts by the first baseline.
func (l *layout) newWalk() *drift.Counts {
	c := drift.NewCounts(len(l.titles))
	c.Open(0)
	return c
}

// see takes an item in, which stays as it is until it is counted. The group is that of its caller.
func (w *watched) see(o *item, group int) {
	w.last = o.at
	w.turn(o)
	if w.bases[now] != nil {
		s := w.windows[short]
		s.rows[group] += o.rows
		w.share(o)
		w.heavy[group].See(o.who, o.rows)
		w.sample.see(o)
	}
	for from := 0; from < o.rows; {
		if from += w.batch.take(o, from, uint8(group)); w.batch.n == chunk {
			w.count()
		}
	}
}

// count counts what was seen.
func (w *watched) count() {
	if w.batch.n == 0 {
		return
	}
	if w.learn != nil {
		w.learn.see(w.batch)
	}
	if b := w.bases[now]; b != nil {
		w.tally = tally{held: b.held, into: w.windows[short].Counts}
		for _, group := range w.batch.groups[:w.batch.n] {
			w.tally.into.Open(group)
		}
		if origin := w.bases[first]; origin != nil {
			w.tally.first, w.tally.walk = origin.held, origin.walk[short]
		}
		w.batch.tell(&w.tally)
	}
	w.batch.empty()
}

// mostBy is how many models are told apart that share the calls of a window.
const mostBy = 8

// share counts which of several models answered.
func (w *watched) share(o *item) {
	if o.by == "" {
		return
	}
	if _, known := w.by[o.by]; !known && len(w.by) >= mostBy {
		return
	}
	if w.by == nil {
		w.by = map[string]int{}
	}
	w.by[o.by] += o.rows
}

// settle is how long after a switch an answer of the version before is a straggler.
const settle = time.Minute

// turn notes that another version answers.
func (w *watched) turn(o *item) {
	switch {
	case o.version == w.Version:
		return
	case w.Version == "":
		w.Version = o.version
		return
	case o.version == w.Former && o.at.Sub(w.Switched) < settle && o.at.Sub(w.Switched) >= 0 && w.Switched.After(w.Back):
		return // it was asked before the switch, and answered afterwards
	}
	w.count() // what the version before answered
	w.Former, w.Version, w.Switched = w.Version, o.version, o.at.UTC()
	w.Before = false
	if b := w.bases[now]; b != nil {
		for i := range b.votes {
			v := &b.votes[i]
			if !w.layout.titles[i].side.Asked() {
				w.Before = w.Before || drift.MostVotes(v.Moved) > 0
				*v = drift.Votes{} // of another model
			}
		}
	}
	w.Since, w.At, w.Quiet = [scales]int{}, [scales]int{}, nil
	w.begin() // no window is of two versions; inputs are the same, and lose one
	w.sample, w.heavy, w.by = &sample{}, [parties]party.Heavy{}, nil
	if w.learn != nil { // a baseline is of one version
		again := newLearning(w.layout, w.learn.want)
		again.first, w.learn = w.learn.first, again
	}
	w.leaf(w.Version)
}

// leaf has windows be held to what the book says of a version. Of one that it does not name, and
// of one whose baseline is of other inputs and outputs, they are held to what they were.
func (w *watched) leaf(version string) {
	p := w.book.Held(version)
	if p == nil || w.bases[now] != nil && w.bases[now].Digest == p.Baseline {
		return
	}
	b, err := w.based(w.texts[p.Baseline])
	if err != nil {
		return
	}
	var origin *based
	if w.book.First != p.Baseline {
		if origin, err = w.based(w.texts[w.book.First]); err != nil {
			origin = nil
		}
	}
	learn := w.learn
	w.hold(b, origin)
	w.learn = learn
}

// end ends a window. It returns what is to be thought of the model from what all windows say.
func (w *watched) end(at time.Time, withstand int) evidence {
	w.count()
	w.began = at
	w.ended++
	for s := middle; s < scales; s++ {
		w.windows[s].add(w.windows[short], s >= grouped)
		if origin := w.bases[first]; origin != nil {
			origin.walk[s].Add(origin.walk[short])
		}
	}
	var e evidence
	rows := w.windows[short].all()
	for s, spans := range drift.Scales {
		if w.ended%spans == 0 {
			w.judge(s, &e)
		}
	}
	w.conclude(&e, withstand)
	w.remember(at, rows)
	for s, spans := range drift.Scales {
		if w.ended%spans == 0 {
			w.windows[s] = w.layout.newSpan()
			if origin := w.bases[first]; origin != nil {
				origin.walk[s] = w.layout.newWalk()
			}
		}
	}
	if w.ended%drift.Scales[middle] == 0 { // who shares a group with whom is not for ever
		w.seats = party.Seats{}
	}
	e.sample = w.sample
	w.sample, w.heavy = &sample{}, [parties]party.Heavy{}
	return e
}

// judge judges the window of a scale by both baselines.
func (w *watched) judge(scale int, e *evidence) {
	enough := w.windows[scale].all() >= drift.LeastRows
	if enough {
		w.Since[scale]++
	}
	for base, b := range w.bases {
		if b == nil {
			continue
		}
		outcomes := make([]drift.Outcome, len(b.held))
		for i := range b.held {
			r := &b.held[i]
			if r.Base == nil {
				continue
			}
			if base == first {
				outcomes[i] = r.hold(b.walk[scale].Total(i, 0))
			} else {
				outcomes[i] = r.hold(w.windows[scale].Total(i, 0))
			}
		}
		drift.Judge(outcomes)
		for i := range outcomes {
			b.votes[i].Take(scale, &outcomes[i])
			w.moved[base][i][scale] = outcomes[i]
			if outcomes[i].Moved() {
				e.suspected = append(e.suspected, i)
				if base == now && !w.layout.titles[i].side.Asked() && w.At[scale] == 0 {
					w.At[scale] = w.Since[scale]
				}
			}
		}
	}
}

// onset is in how many windows after a version began to answer its outputs must first be found
// to move, so that the version is taken for the cause.
const onset = 2

// conclude gathers what the votes say.
func (w *watched) conclude(e *evidence, withstand int) {
	b := w.bases[now]
	if b == nil {
		return
	}
	e.blind = w.blind(b)
	for i := range b.votes {
		v := &b.votes[i]
		scale := v.Confirmed()
		asked := w.layout.titles[i].side.Asked()
		if asked {
			e.lean = e.lean || drift.MostVotes(v.Lean) >= 2
		}
		if scale < 0 || slices.Contains(w.Quiet, w.layout.key(i)) {
			continue
		}
		if asked {
			e.inputs[min(scale, grouped)] = append(e.inputs[min(scale, grouped)], i)
		} else {
			e.outputs[min(scale, grouped)] = append(e.outputs[min(scale, grouped)], i)
		}
	}
	if origin := w.bases[first]; origin != nil {
		for i := range origin.votes {
			if origin.votes[i].Confirmed() >= 0 && b.votes[i].Confirmed() < 0 && !slices.Contains(w.Quiet, w.layout.key(i)) {
				e.walked = append(e.walked, i)
			}
		}
	}
	w.hush()
	for s := range grouped {
		if fs := e.outputs[s]; len(fs) > 0 {
			e.broad, _ = broad(w.windows[s], b.held, fs, withstand)
			e.release = !w.Before && w.Former != "" && w.At[s] > 0 && w.At[s] <= onset
			break
		}
	}
	for s := range grouped {
		if fs := e.inputs[s]; len(fs) > 0 {
			if still, without := broad(w.windows[s], b.held, fs, mostNamed); !still {
				e.callers = w.leaders(w.windows[s], fs, without)
			}
			break
		}
	}
}

// blind reports whether callers could shift what they ask and no feature would move: by an input
// that is not looked at, by one that the baseline does not have, or by texts of which a new one is
// no news.
func (w *watched) blind(b *based) bool {
	if !w.layout.replays {
		return true
	}
	for i, t := range w.layout.titles {
		if r := &b.held[i]; t.side.Asked() && (r.Base == nil || r.Categories != nil && r.Categories.Open) {
			return true
		}
	}
	return false
}

// mostNamed is how many callers are named at most as those who make a shift.
const mostNamed = 3

// leaders are who bring nearly all of some groups in which features move by themselves: nobody
// is named for whom they share a group with.
func (w *watched) leaders(s *span, features []int, groups uint32) (all []pavise.Name) {
	for g := range w.heavy {
		who, leads := w.heavy[g].Leads()
		if leads && groups>>g&1 == 1 && moves(s, w.bases[now].held, features, ^(uint32(1)<<g)) {
			all = append(all, who)
		}
	}
	slices.SortFunc(all, func(a, b pavise.Name) int { return cmp.Compare(a.String(), b.String()) })
	return all
}

// hush forgets what was dismissed of features that are as they were again: the newest window of
// each length has not found them, and no short one of the last five. How earlier ones voted is
// forgotten with it.
func (w *watched) hush() {
	w.Quiet = slices.DeleteFunc(w.Quiet, func(name string) bool {
		at := slices.IndexFunc(w.layout.titles, func(t title) bool { return t.key() == name })
		if at < 0 {
			return true
		}
		for _, b := range w.bases {
			if b == nil {
				continue
			}
			if v := &b.votes[at].Moved; v[short] > 0 || (v[middle]|v[long])&1 > 0 {
				return false
			}
			b.votes[at] = drift.Votes{}
		}
		return true
	})
}

// key names a feature where two sides may have one of a name.
func (t title) key() string { return string(t.side) + " " + t.name }

func (l *layout) key(i int) string { return l.titles[i].key() }

// mostPast is how many windows are remembered for pictures: a day of five minutes.
const mostPast = 288

// remember keeps what the short window came to.
func (w *watched) remember(at time.Time, rows int) {
	p := Window{At: at.UTC(), Rows: rows, Version: w.Version, By: w.by}
	w.by = nil
	for i := range w.moved[now] {
		o := &w.moved[now][i][short]
		if !o.Enough {
			continue
		}
		to := &p.Outputs
		if w.layout.titles[i].side.Asked() {
			to = &p.Inputs
		}
		if o.Moved() {
			to.Moved++
		}
		if o.Effect > to.Effect {
			to.Effect, to.Feature = o.Effect, w.layout.titles[i].name
		}
	}
	if len(w.past) == mostPast {
		w.past = slices.Delete(w.past, 0, 1)
	}
	w.past = append(w.past, p)
}
