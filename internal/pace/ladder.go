package pace

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/pavise/pavise"
)

// A Ladder is the times, since a request was read, at which its answer may leave: the
// rungs. An answer waits for the first rung that it has not missed. Whoever measures
// learns which rung it was, and nothing finer; above the top they learn the time. The
// zero Ladder holds nothing back.
//
// A wait of random length would not do: it averages out over a few repetitions.
type Ladder struct {
	First  time.Duration // the first rung
	Top    time.Duration // the last one
	Factor float64       // each rung is so many times the one before
}

// The bounds of a ladder.
const (
	minFirst  = time.Millisecond // timers of the house are not finer
	maxTop    = 10 * time.Minute // as long as a model may take
	minFactor = 1.05
	maxFactor = 1000
	usual     = 1.25 // the factor when nobody says one
)

// IsZero reports whether the ladder holds nothing back.
func (l Ladder) IsZero() bool { return l == Ladder{} }

// ParseLadder reads a ladder in words: "50ms..2s", "50ms x2 to 2s", or one time for a
// ladder of one rung. The error is of kind Invalid.
func ParseLadder(text string) (Ladder, error) {
	l := Ladder{Factor: usual}
	words := strings.Fields(strings.ReplaceAll(text, "..", " to "))
	if len(words) > 1 && strings.HasPrefix(words[1], "x") {
		var err error
		if l.Factor, err = strconv.ParseFloat(words[1][1:], 64); err != nil || strings.ContainsAny(words[1], "pP_") {
			return Ladder{}, badLadder(text, fmt.Sprintf("%.20q is no factor", words[1]))
		}
		words = append(words[:1:1], words[2:]...)
	}
	if len(words) != 3 && l.Factor != usual || len(words) != 1 && (len(words) != 3 || words[1] != "to") {
		return Ladder{}, badLadder(text, "it has other words than a ladder has")
	}
	for i, at := range []*time.Duration{&l.First, &l.Top} {
		d, err := time.ParseDuration(words[min(2*i, len(words)-1)])
		if err != nil {
			return Ladder{}, badLadder(text, fmt.Sprintf("%.20q is no time", words[min(2*i, len(words)-1)]))
		}
		*at = d
	}
	if l.IsZero() {
		return l, badLadder(text, "it holds nothing back")
	}
	return l, l.Validate()
}

func badLadder(text, why string) error {
	return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("ladder %.60q: %s", text, why), Hint: `write it as "50ms..2s", or with a factor as "50ms x2 to 2s", or none`}
}

// Validate reports, as an error of kind Invalid, a ladder that cannot be meant.
func (l Ladder) Validate() error {
	switch {
	case l.IsZero():
		return nil
	case l.First < minFirst, l.Top > maxTop, l.First > l.Top:
		return badLadder(l.String(), fmt.Sprintf("it goes up from at least %v to at most %v", minFirst, maxTop))
	case !(l.Factor >= minFactor && l.Factor <= maxFactor): // NaN, too
		return badLadder(l.String(), fmt.Sprintf("its factor is between %v and %v", minFactor, maxFactor))
	}
	return nil
}

// String says the ladder in the words that ParseLadder reads; "none" for the zero one.
func (l Ladder) String() string {
	switch {
	case l.IsZero():
		return "none"
	case l.First == l.Top && l.Factor == usual:
		return l.First.String()
	case l.Factor == usual:
		return l.First.String() + ".." + l.Top.String()
	}
	return fmt.Sprintf("%v x%s to %v", l.First, strconv.FormatFloat(l.Factor, 'f', -1, 64), l.Top)
}

// MarshalText says the ladder as String does.
func (l Ladder) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads what MarshalText wrote. The error is of kind Invalid.
func (l *Ladder) UnmarshalText(text []byte) (err error) {
	if string(text) == "none" {
		*l = Ladder{}
		return nil
	}
	*l, err = ParseLadder(string(text))
	return err
}

// Rung returns when an answer leaves that was ready so long after its request was read:
// on the first rung at or behind that time. Above the top it is late: it leaves at once,
// and its time tells what it took.
func (l Ladder) Rung(took time.Duration) (at time.Duration, late bool) {
	if took > l.Top || l.IsZero() {
		return took, !l.IsZero()
	}
	at = l.First
	for at < took {
		at = l.above(at)
	}
	return at, false
}

// mostLead is more than a record takes that nobody waits for on a disk.
const mostLead = 2 * time.Millisecond

// Lead is how long before its rung all but the sending of an answer begins: the same for all
// answers, so that what is still to be done for one shows in nothing. 0 of the zero Ladder.
func (l Ladder) Lead() time.Duration { return min(mostLead, l.First/4) }

// above is the rung above one, in whole microseconds. It is never the same.
func (l Ladder) above(rung time.Duration) time.Duration {
	next := math.Ceil(float64(rung) / float64(time.Microsecond) * l.Factor)
	return min(l.Top, time.Duration(next)*time.Microsecond)
}

// Rungs are all of them, from the first to the top.
func (l Ladder) Rungs() (all []time.Duration) {
	if l.IsZero() {
		return nil
	}
	for at := l.First; ; at = l.above(at) {
		if all = append(all, at); at >= l.Top {
			return all
		}
	}
}
