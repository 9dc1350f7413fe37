package abreast

import "crypto/sha256"

// A Rack has room for messages of one length, whose padding stands behind them from the
// beginning. It is for short messages by the million, of which a copy costs.
type Rack struct {
	size, stride int
	room         []byte
}

// NewRack returns a rack for n messages of so many bytes.
func NewRack(size, n int) *Rack {
	r := &Rack{size, padded(size), make([]byte, n*padded(size))}
	for at := 0; at < len(r.room); at += r.stride {
		pad(r.room[at:at+r.stride], r.room[at:at+size], size)
	}
	return r
}

// Message returns the place of the i-th message, to write it there.
func (r *Rack) Message(i int) []byte {
	return r.room[i*r.stride:][:r.size:r.size]
}

// Sum appends the SHA-256 digests of the first n messages to out.
func (r *Rack) Sum(out []byte, n int) []byte {
	switch {
	case wide:
		return r.inSixteens(out, n)
	case fast:
		return r.inPairs(out, 0, n)
	}
	return r.inTurn(out, n)
}

func (r *Rack) inSixteens(out []byte, n int) []byte {
	i := 0
	for ; n-i >= enough; i += min(lanes, n-i) {
		var from [lanes]*byte
		var digests [lanes][sha256.Size]byte
		for lane := range from {
			from[lane] = &r.room[min(i+lane, n-1)*r.stride]
		}
		sixteen(&digests, &from, r.stride/blockSize)
		for lane := range min(lanes, n-i) {
			out = append(out, digests[lane][:]...)
		}
	}
	return r.inPairs(out, i, n)
}

func (r *Rack) inTurn(out []byte, n int) []byte {
	for i := range n {
		digest := sha256.Sum256(r.Message(i))
		out = append(out, digest[:]...)
	}
	return out
}

func (r *Rack) inPairs(out []byte, first, n int) []byte {
	var digests [2 * sha256.Size]byte
	for i := first; i < n; i += 2 {
		a, b := initial, initial
		second := min(i+1, n-1) // the last of an odd number has itself beside it
		blocks(&a, &b, &r.room[i*r.stride], &r.room[second*r.stride], r.stride/blockSize)
		put(digests[:], &a)
		put(digests[sha256.Size:], &b)
		out = append(out, digests[:min(2, n-i)*sha256.Size]...)
	}
	return out
}
