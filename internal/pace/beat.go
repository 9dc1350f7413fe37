package pace

import (
	"fmt"
	"time"

	"github.com/pavise/pavise"
)

// A Beat is how often a stream is written to: what comes in between goes out together,
// and when nothing came, padding goes out alone. The zero Beat lets events pass as they
// come.
type Beat time.Duration

// The bounds of a beat: a timer is hardly finer, and callers wait for nothing longer.
const (
	minBeat = 10 * time.Millisecond
	maxBeat = 2 * time.Second
)

// ParseBeat reads the time between two writes, as "50ms". The error is of kind Invalid.
func ParseBeat(text string) (Beat, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d < minBeat || d > maxBeat {
		return 0, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("pace %.40q is no time between %v and %v", text, minBeat, maxBeat), Hint: `write it as "50ms", or none`}
	}
	return Beat(d), nil
}

// Validate reports, as an error of kind Invalid, a beat that cannot be meant.
func (b Beat) Validate() error {
	if b == 0 {
		return nil
	}
	_, err := ParseBeat(time.Duration(b).String())
	return err
}

// String says the beat in the words that ParseBeat reads; "none" for the zero one.
func (b Beat) String() string {
	if b == 0 {
		return "none"
	}
	return time.Duration(b).String()
}

// MarshalText says the beat as String does.
func (b Beat) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText reads what MarshalText wrote. The error is of kind Invalid.
func (b *Beat) UnmarshalText(text []byte) (err error) {
	if string(text) == "none" {
		*b = 0
		return nil
	}
	*b, err = ParseBeat(string(text))
	return err
}

// Next returns the first beat behind a time, both since the first write.
func (b Beat) Next(since time.Duration) time.Duration {
	step := time.Duration(b)
	return since/step*step + step
}

const (
	// smallest is the size of nearly all writes, in bytes: ten tokens in the protocol's
	// JSON, more than a beat of 50 ms brings from most models. Where it was half of that,
	// the pace of the words showed in how many writes were of the second class. Each class
	// is so many times the one before.
	smallest = 2 << 10
	wider    = 4
	// padLine bounds a line of padding, in bytes: readers of lines have a buffer.
	padLine = 1 << 10
	// minPad is the shortest padding: a comment that says nothing, and an empty line.
	minPad = 3
)

// Class returns the size of a write that holds so many bytes of events: the smallest
// size class in which at least the shortest padding fits, too.
func Class(events int) int {
	size := smallest
	for size < events+minPad {
		size *= wider
	}
	return size
}

// letters are what padding is made of.
const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// Pad appends padding for a write of so many bytes of events: comments of server-sent
// events (WHATWG HTML, 9.2), which clients read past, and an empty line, so that it
// stands before or behind events. With the events it is as long as their Class. random
// gives 64 bits at a time: letters that repeat would be gone wherever the stream is
// compressed on its way.
func Pad(dst []byte, events int, random func() uint64) []byte {
	left := Class(events) - events - 1 // the empty line
	var bits uint64
	for have := 0; left > 0; left-- {
		line := padLine
		if left < line || left-line < 2 { // what would be left is no comment
			line = left
		}
		dst = append(dst, ':')
		for range line - 2 {
			if have == 0 {
				bits, have = random(), 10
			}
			dst = append(dst, letters[bits&63])
			bits >>= 6
			have--
		}
		dst = append(dst, '\n')
		left -= line - 1
	}
	return append(dst, '\n')
}
