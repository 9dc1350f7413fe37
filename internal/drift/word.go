package drift

import "encoding/binary"

// A Word is what most of a text is told by: how long it is, and eight bytes of either end of it. Of
// a text of at most [WordBytes] it is all there is to say, and words are equal where texts are.
type Word struct {
	Size       int // bytes
	Head, Tail uint64
}

// WordBytes is up to how many bytes a text is what its word says.
const WordBytes = 16

// WordOf is the word of a text.
func WordOf(text []byte) Word {
	if n := len(text); n >= 8 {
		return Word{n, binary.LittleEndian.Uint64(text), binary.LittleEndian.Uint64(text[n-8:])}
	}
	return short(text)
}

// short is WordOf a text of less than eight bytes.
func short(text []byte) Word {
	w := Word{Size: len(text)}
	switch n := w.Size; {
	case n >= 4:
		w.Head = uint64(binary.LittleEndian.Uint32(text)) | uint64(binary.LittleEndian.Uint32(text[n-4:]))<<(8*n-32)
	case n > 0:
		w.Head = uint64(text[0]) | uint64(text[n/2])<<(8*(n/2)) | uint64(text[n-1])<<(8*n-8)
	}
	return w
}

// Append appends the text of a word, which has at most WordBytes.
func (w *Word) Append(to []byte) []byte {
	var room [WordBytes]byte
	binary.LittleEndian.PutUint64(room[:], w.Head)
	if w.Size > 8 {
		binary.LittleEndian.PutUint64(room[w.Size-8:], w.Tail)
	}
	return append(to, room[:w.Size]...)
}

// sum is where a text that is its word is looked for, in the highest bits.
func (w *Word) sum(s *salt) uint64 {
	return (w.Head^uint64(w.Size))*s[0] + w.Tail*s[1]
}
