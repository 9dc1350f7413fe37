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
	// JSON, more than a beat of 50 ms brings from most models. Each class is so many times
	// the one before.
	smallest = 2 << 10
	wider    = 4
	// drained is in how many beats what waits has left, if nothing more comes.
	drained = 8
	// padLine bounds a line of padding, in bytes: readers of lines have a buffer.
	padLine = 1 << 10
)

// Class returns the smallest size class that so many bytes fit into.
func Class(bytes int) int {
	size := smallest
	for size < bytes {
		size *= wider
	}
	return size
}

// Write returns the size of the next write when so many bytes wait: the smallest class,
// unless they would not have left after eight beats. So a burst, such as what came before
// the first write, leaves in writes that look like all others.
func Write(waiting int) int { return Class((waiting + drained - 1) / drained) }

// Drain is how long it takes until so many bytes have left.
func (b Beat) Drain(waiting int) time.Duration {
	beats := 0
	for ; waiting > 0; beats++ {
		waiting -= Write(waiting)
	}
	return time.Duration(beats) * time.Duration(b)
}

// Fill is a write of a size: what waits, as far as there is room, and padding where an event
// begins or behind the last one. within says that the write before ended within an event.
// taken is how much of what waits is in it.
func Fill(waiting []byte, size int, within bool, random func() uint64) (out []byte, taken int) {
	out, taken = make([]byte, 0, size), min(size, len(waiting))
	if !within {
		out = Pad(out, size-taken, random)
	}
	out = append(out, waiting[:taken]...)
	return Pad(out, size-len(out), random), taken
}

// letters are what padding is made of.
const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// Pad appends so many bytes that clients read past wherever an event may begin: comments
// of server-sent events (WHATWG HTML, 9.2), and an empty line. random gives 64 bits at a
// time: letters that repeat would be gone wherever the stream is compressed on its way.
func Pad(dst []byte, bytes int, random func() uint64) []byte {
	if bytes < 1 {
		return dst
	}
	var bits uint64
	have := 0
	for left := bytes - 1; left > 0; { // without the empty line
		line := min(left, padLine)
		if left-line == 1 { // which would be no comment
			line--
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
		if left -= line; line > 1 {
			dst = append(dst, '\n')
		}
	}
	return append(dst, '\n')
}
