package firewall

import (
	"fmt"
	"math"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/figure"
)

// A Rate lets Count rows pass in each Per, and Burst of them at once. The zero
// Rate sets no limit. One in bits lets so many rows pass as disclose no more:
// [Terms.InRows] says how many.
//
// It is the generic cell rate algorithm (ITU-T I.371), a leaky bucket kept as
// one instant: each row fills the bucket by Per/Count of time, the bucket holds
// Burst rows, and what is in it drains with the clock. So any span of time of
// length d lets at most Burst + Count·d/Per rows pass.
type Rate struct {
	Count int           `json:"count"` // rows
	Per   time.Duration `json:"per"`
	Burst int           `json:"burst"`          // rows
	Bits  bool          `json:"bits,omitempty"` // Count and Burst are bits that answers disclose, not rows
}

// PerWindow returns the Rate that serves as a budget: rows in each window, all
// at once if the caller likes. The slack is stated, not hidden: a full burst
// followed by its steady refill makes at most twice rows in one window, and at
// most (n+1)·rows in n windows. In exchange a budget is one instant in memory, and
// no caller can wait for a boundary at which everything begins anew.
func PerWindow(rows int, window time.Duration) Rate {
	return Rate{Count: rows, Per: window, Burst: rows}
}

// maxFill bounds how long a full bucket takes to drain, so that no arithmetic on
// instants can overflow; minPrice bounds a rate to a million rows a second, which
// keeps the error of counting in whole nanoseconds below a thousandth.
const (
	maxFill  = 10 * 366 * 24 * time.Hour
	minPrice = time.Microsecond
)

// Validate reports, as an error of kind Invalid, a rate that limits nothing or
// everything by mistake.
func (r Rate) Validate() error {
	if r == (Rate{}) {
		return nil
	}
	ok := r.Count > 0 && r.Per > 0 && r.Burst > 0 &&
		r.Per <= maxFill && (r.Bits || time.Duration(r.Count) <= r.Per/minPrice && time.Duration(r.Burst) <= maxFill/r.price())
	if ok {
		return nil
	}
	return &pavise.Error{
		Kind: pavise.Invalid,
		Msg:  fmt.Sprintf("a rate of %v", r),
		Hint: "count, per and burst are positive, a second lets at most a million rows pass, and a full burst drains within ten years",
	}
}

// Part is one of so many equal parts of the rate, and never nothing. A bucket that rows of
// it fill is as full as their number times so many would fill that of the whole.
func (r Rate) Part(parts int) Rate {
	if parts > 1 && r != (Rate{}) {
		r.Count, r.Burst = max(r.Count/parts, 1), max(r.Burst/parts, 1)
	}
	return r
}

// String says the rate for people, for example "600 rows per 1m, 100 at once".
func (r Rate) String() string {
	return fmt.Sprintf("%d %s per %s, %d at once", r.Count, r.Unit(), figure.Span(r.Per), r.Burst)
}

// Unit is what the rate counts: rows or bits.
func (r Rate) Unit() string {
	if r.Bits {
		return "bits"
	}
	return "rows"
}

// price returns the time that one row fills the bucket by, rounded up, so that
// the rate is never exceeded.
func (r *Rate) price() time.Duration {
	count := time.Duration(r.Count)
	return (r.Per + count - 1) / count
}

// An instant is when a bucket will have drained, in nanoseconds since 1970: the
// theoretical arrival time of the algorithm. An instant that has passed is an
// empty bucket.
type instant int64

// instantOf returns t as an instant. Times that have no nanoseconds since 1970
// become the nearest instant that has.
func instantOf(t time.Time) instant {
	switch at := t.Unix(); {
	case at < 0:
		return 0
	case at >= year2262:
		return math.MaxInt64
	}
	return instant(t.UnixNano())
}

// Years of UTC in seconds since 1970, because a time knows those and has to work out its
// year.
const (
	year2000 = 946684800
	year2201 = 7289654400
	year2262 = 9214646400
)

// plausible reports whether a clock may say so.
func plausible(t time.Time) bool {
	at := t.Unix()
	return year2000 <= at && at < year2201
}

// take returns the instant after rows more, or by how long they come too early.
// Rows that no empty bucket holds never fit, and early is then negative.
func (r *Rate) take(full, now instant, rows int) (next instant, early time.Duration) {
	if *r == (Rate{}) {
		return full, 0
	}
	if rows > r.Burst {
		return full, -1
	}
	price := r.price()
	need := time.Duration(rows) * price
	room := time.Duration(r.Burst) * price
	level := time.Duration(max(full-now, 0))
	if level > room-need {
		return full, level - (room - need)
	}
	return now + instant(level+need), 0
}

// fill returns the instant after rows more, whether they fit or not. What does
// not fit makes the bucket full and no fuller, and never less full than it was.
func (r *Rate) fill(full, now instant, rows int) instant {
	if *r == (Rate{}) {
		return full
	}
	if next, early := r.take(full, now, rows); early == 0 {
		return next
	}
	return max(full, now+instant(time.Duration(r.Burst)*r.price()))
}
