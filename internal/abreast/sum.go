package abreast

import (
	"crypto/sha256"
	"encoding/binary"
)

const blockSize = sha256.BlockSize

// Sum appends the SHA-256 digests of messages to out, in their order. No message may lie in the
// room behind out, which is written to first.
func Sum(out []byte, messages ...[]byte) []byte {
	at := len(out)
	out = append(out, make([]byte, len(messages)*sha256.Size)...)
	switch {
	case wide && len(messages) >= enough:
		inSixteens(out[at:], messages)
	case fast:
		inPairs(out[at:], messages)
	default:
		inTurn(out[at:], messages)
	}
	return out
}

// inTurn hashes messages one after the other.
func inTurn(out []byte, messages [][]byte) {
	for i, m := range messages {
		digest := sha256.Sum256(m)
		copy(out[i*sha256.Size:], digest[:])
	}
}

// initial is the state that a hash begins with (FIPS 180-4, section 5.3.3).
var initial = [8]uint32{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19}

// padded is how many bytes a message of so many takes with its padding.
func padded(size int) int { return (size + 1 + 8 + blockSize - 1) / blockSize * blockSize }

// shortest is up to how many bytes a message is copied to where its padding is. Of a longer one
// the last bytes are alone, which costs a turn of the lanes more.
const shortest = 16*blockSize - 9

// A lane hashes one message at a time.
type lane struct {
	state  [8]uint32
	now    []byte // whole blocks
	then   []byte // those behind them
	digest []byte // where it goes; nil: the lane is idle
	room   [shortest + 9]byte
}

// begin gives the lane a message.
func (l *lane) begin(message, digest []byte) {
	l.state, l.digest = initial, digest
	if len(message) <= shortest {
		l.now, l.then = l.room[:padded(len(message))], nil
		pad(l.now, message, len(message))
		return
	}
	whole := len(message) / blockSize * blockSize
	rest := message[whole:]
	l.now, l.then = message[:whole], l.room[:padded(len(rest))]
	pad(l.then, rest, len(message))
}

// pad copies the end of a message of so many bytes, and writes behind it what SHA-256 adds (FIPS
// 180-4, section 5.1.1).
func pad(room, end []byte, size int) {
	last := len(room) - blockSize
	*(*[blockSize]byte)(room[last:]) = [blockSize]byte{}
	n := copy(room, end)
	if n < last {
		clear(room[n+1 : last])
	}
	room[n] = 0x80
	binary.BigEndian.PutUint64(room[len(room)-8:], uint64(size)*8)
}

// advance takes blocks off that were hashed, and reports whether the message is at its end.
func (l *lane) advance(n int) (done bool) {
	if l.now = l.now[n*blockSize:]; len(l.now) > 0 {
		return false
	}
	if l.now, l.then = l.then, nil; len(l.now) > 0 {
		return false
	}
	put(l.digest, &l.state)
	return true
}

// put writes a state as a digest.
func put(digest []byte, state *[8]uint32) {
	_ = digest[sha256.Size-1]
	for i, word := range state {
		binary.BigEndian.PutUint32(digest[4*i:], word)
	}
}

// mostBlocks bounds a turn, for nothing stops a goroutine within one.
const mostBlocks = 4096

// inPairs hashes messages in two lanes.
func inPairs(out []byte, messages [][]byte) {
	var all picked
	for i := range messages {
		if all.add(i) {
			all.hash(out, messages)
		}
	}
	all.hash(out, messages)
}

// picked are the numbers of messages that wait for the two lanes.
type picked struct {
	n    int
	list [256]uint32
}

// add takes a number in, and reports whether there is room for no more.
func (p *picked) add(i int) (full bool) {
	p.list[p.n] = uint32(i)
	p.n++
	return p.n == len(p.list)
}

// hash hashes them in two lanes, which take the next one as soon as they are free.
func (p *picked) hash(out []byte, messages [][]byte) {
	if p.n == 0 {
		return
	}
	var a, b lane
	list := p.list[:p.n]
	p.n = 0
	take := func(l *lane) {
		if len(list) == 0 {
			l.digest = nil
			return
		}
		i := int(list[0])
		list = list[1:]
		l.begin(messages[i], out[i*sha256.Size:][:sha256.Size])
	}
	take(&a)
	take(&b)
	for a.digest != nil && b.digest != nil {
		n := min(len(a.now)/blockSize, len(b.now)/blockSize, mostBlocks)
		blocks(&a.state, &b.state, &a.now[0], &b.now[0], n)
		doneA, doneB := a.advance(n), b.advance(n)
		if doneA {
			take(&a)
		}
		if doneB {
			take(&b)
		}
	}
	last := &a
	if a.digest == nil {
		last = &b
	}
	for done := last.digest == nil; !done; {
		n := min(len(last.now)/blockSize, mostBlocks)
		idle := last.state
		blocks(&last.state, &idle, &last.now[0], &last.now[0], n)
		done = last.advance(n)
	}
}
