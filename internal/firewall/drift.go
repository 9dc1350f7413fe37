package firewall

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/tensor"
)

// What follows when inputs have drifted from a baseline.
const (
	DriftAlarm = "alarm" // they pass, and the record says so
	DriftDeny  = "deny"  // all requests are refused until a whole window is like the baseline again
	driftOff   = "off"   // in words: there is no baseline any more
)

// A Drift is what the rows of many requests are held to, and what follows when they are
// otherwise.
type Drift struct {
	Then string `json:"then"` // alarm or deny
	Baseline
}

// Validate reports, as an error of kind Invalid, why these inputs cannot be held to it.
// Nothing is nil, and valid.
func (d *Drift) Validate(inputs []tensor.Port) error {
	if d == nil {
		return nil
	}
	if d.Then != DriftAlarm && d.Then != DriftDeny {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("drift is %.40q", d.Then), Hint: "it is alarm, deny or off"}
	}
	return d.Baseline.Validate(inputs)
}

// Put returns what words make of d: the JSON text of a baseline and what follows, either
// of which may be left unsaid. One that was there ends with the inputs it was of. The
// error is of kind Invalid.
func (d *Drift) Put(text []byte, then string, inputs []tensor.Port) (*Drift, error) {
	next := Drift{Then: DriftAlarm}
	switch {
	case then == driftOff && text != nil:
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: "a baseline is given, and drift is off", Hint: "leave one of them out"}
	case then == driftOff:
		return nil, nil
	case text != nil:
		if err := json.Unmarshal(text, &next.Baseline); err != nil {
			return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("baseline: %v", err), Hint: baselineForm}
		}
		if d != nil {
			next.Then = d.Then
		}
	case d != nil && d.Validate(inputs) == nil:
		next = *d
	case then != "":
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("drift is %.40q, and the route has no baseline to drift from", then), Hint: "give one with --baseline FILE"}
	default:
		return nil, nil
	}
	next.Then = cmp.Or(then, next.Then)
	return &next, next.Validate(inputs)
}

const (
	// windowRows is how many rows make a window. The index of rows from the baseline
	// itself is then about one in a hundred of the bins, far below driftIndex.
	windowRows = 1000
	// windowTime ends a window that has fewer, if it has leastRows: with less, chance
	// alone looks like drift.
	windowTime = time.Hour
	leastRows  = 200
	// driftIndex is the population stability index from which on a column has drifted:
	// the customary bound of a major shift (Siddiqi, Credit Risk Scorecards, 2006).
	driftIndex = 0.25
	// outlierShare is the share of a row's columns from which on a verdict tells of
	// values where the baseline has next to none.
	outlierShare = 0.25
	// worstNamed is how many columns a reason names.
	worstNamed = 3
)

// A Watch counts the rows of one route's requests against a baseline, one window after
// another. What it says of a request is what the last whole window says of the route:
// one row tells nothing of drift. It is safe for concurrent use.
type Watch struct {
	input   string
	single  bool // the input's numbers have 32 bits or fewer
	deny    bool
	columns []binned
	watched int // columns that have more than one bin

	mu      sync.Mutex
	counts  []uint32  // of the rows of this window, by column and bin; guarded by mu
	rows    int       // in this window; guarded by mu
	began   time.Time // guarded by mu
	drifted string    // how the last whole window differs; "": it does not; guarded by mu
}

// NewWatch begins to watch for a drift that is valid for the inputs.
func NewWatch(d Drift, inputs []tensor.Port) *Watch {
	at := slices.IndexFunc(inputs, func(p tensor.Port) bool { return p.Name == d.Input })
	single := inputs[at].Datatype.Family() == tensor.Floating && inputs[at].Datatype != tensor.FP64
	w := &Watch{input: d.Input, single: single, deny: d.Then == DriftDeny, counts: make([]uint32, maxBins*len(d.Features))}
	for _, s := range d.Features {
		c := s.bin(single)
		if c.bins > 1 {
			w.watched++
		}
		w.columns = append(w.columns, c)
	}
	return w
}

// See counts the rows of a request that is asked at a time, and says how it stands with
// the route. A request that it denies counts as others do: else the route would never
// be found to be well again. turned reports that the request ended a window that says
// otherwise than the one before. One that has no rows of the input says nothing.
func (w *Watch) See(now time.Time, r *tensor.Request) (v pavise.Verdict, turned bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.rows == 0 {
		w.began = now
	}
	odd, row := w.count(r)
	if w.rows >= windowRows || w.rows >= leastRows && now.Sub(w.began) >= windowTime {
		was := w.drifted
		w.drifted = w.judge()
		turned = (was == "") != (w.drifted == "")
		clear(w.counts)
		w.rows = 0
	}
	v = pavise.Verdict{Check: "drift", Outcome: pavise.Allow, Reason: w.drifted}
	switch {
	case w.drifted == "" && float64(odd) >= outlierShare*float64(w.watched) && odd > 0:
		v.Reason = fmt.Sprintf("%d of %d columns of row %d are where the baseline has next to no rows", odd, w.watched, row)
	case w.drifted != "" && w.deny:
		v.Outcome = pavise.Deny
	case w.drifted != "":
		v.Observed = true
	}
	return v, turned
}

// count counts the rows of a request. It returns how many columns of its oddest row are
// outliers, and which that is.
func (w *Watch) count(r *tensor.Request) (odd, row int) {
	for i := range r.Inputs {
		t := &r.Inputs[i]
		if t.Name != w.input {
			continue
		}
		switch t.Datatype.Family() {
		case tensor.Unsigned:
			return countRows(w, t.Data.Uints)
		case tensor.Signed:
			return countRows(w, t.Data.Ints)
		case tensor.Floating:
			return countRows(w, t.Data.Floats)
		}
	}
	return 0, 0
}

func countRows[T int64 | uint64 | float64](w *Watch, list []T) (odd, row int) {
	n := len(w.columns)
	if len(list)%n != 0 { // a route that only observes lets it pass
		return 0, 0
	}
	for at := 0; at < len(list); at += n {
		rare := 0
		for j, v := range list[at : at+n] {
			c := &w.columns[j]
			bin := c.of(fit(float64(v), w.single))
			w.counts[j*maxBins+bin]++
			rare += int(c.rare >> bin & 1)
		}
		if rare > odd {
			odd, row = rare, at/n
		}
	}
	w.rows += len(list) / n
	return odd, row
}

// A moved column is one that has drifted.
type moved struct {
	name  string
	index float64 // population stability index
	shift float64 // the largest change of one bin's share
}

// judge says how the window differs from the baseline, or "".
func (w *Watch) judge() string {
	var list []moved
	for j := range w.columns {
		c := &w.columns[j]
		if m := c.compare(w.counts[j*maxBins:][:c.bins], w.rows); m.index >= driftIndex {
			list = append(list, m)
		}
	}
	if len(list) == 0 {
		return ""
	}
	slices.SortStableFunc(list, func(a, b moved) int { return cmp.Compare(b.index, a.index) })
	var b strings.Builder
	fmt.Fprintf(&b, "of the last %d rows, %d of %d columns have drifted from the baseline: ", w.rows, len(list), w.watched)
	for i, m := range list[:min(len(list), worstNamed)] {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%.40q (index %.2f, one bin by %.0f %%)", m.name, m.index, 100*m.shift)
	}
	return b.String()
}

// compare measures a window's rows by the population stability index: the sum over bins
// of (a - e)·ln(a/e), with half a row more in each bin of both, so that an empty one has
// a logarithm. Where the baseline leaves a share open, it is as the rows have it.
func (c *binned) compare(counts []uint32, rows int) moved {
	m := moved{name: c.name}
	total := float64(rows) + 0.5*float64(c.bins)
	seen, before := 0.0, 0.0
	for i, n := range counts {
		seen += float64(n) / float64(rows)
		upTo := 1.0
		if i < c.bins-1 {
			upTo = min(max(seen, c.least[i]), c.most[i])
		}
		share := upTo - before
		before = upTo
		actual, expected := (float64(n)+0.5)/total, (share*float64(rows)+0.5)/total
		m.index += (actual - expected) * math.Log(actual/expected)
		m.shift = max(m.shift, math.Abs(float64(n)/float64(rows)-share))
	}
	return m
}
