package chat

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"math"
	"strconv"
)

// InputDigests returns what tells the inputs of a request for embeddings apart: a SHA-256
// of each, in their order. A list of tokens is one input, and none that is a text.
func (r *Request) InputDigests() [][32]byte {
	list := r.prompts()
	if len(list) > 0 && list[0].kind != number {
		all := make([][32]byte, len(list))
		for i := range list {
			all[i] = list[i].digest()
		}
		return all
	}
	if v := r.root.get("input"); v != nil {
		return [][32]byte{v.digest()}
	}
	return nil
}

// digest is that of a text, or of a list of numbers as they are written.
func (v *value) digest() (sum [32]byte) {
	h := sha256.New()
	if v.kind == text {
		h.Write([]byte("text\x00" + v.text))
	} else {
		h.Write(v.append([]byte("list\x00")))
	}
	h.Sum(sum[:0])
	return sum
}

// EditVectors shows the vectors of an answer of embeddings, and puts back in the form that
// they had, in numbers of float32, those of which edit says that it changed them. index is
// that of the input. It ends with the first error. The answer was read by ParseAnswer.
func (a *Answer) EditVectors(edit func(index int, v []float64) (changed bool, err error)) error {
	list := a.root.get("data")
	if list == nil {
		return nil
	}
	for i := range list.items {
		at := list.items[i].get("embedding")
		index, _ := list.items[i].get("index").integer()
		v := at.vector()
		changed, err := edit(int(index), v)
		if err != nil {
			return err
		}
		if changed {
			at.setVector(v)
		}
	}
	return nil
}

// vector is a vector in either of its forms.
func (v *value) vector() []float64 {
	if v.kind != text {
		all := make([]float64, len(v.items))
		for i := range all {
			all[i], _ = strconv.ParseFloat(v.items[i].text, 64) // it was read as one before
		}
		return all
	}
	raw, _ := base64.StdEncoding.DecodeString(v.text) // likewise
	all := make([]float64, len(raw)/4)
	for i := range all {
		all[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:])))
	}
	return all
}

func (v *value) setVector(all []float64) {
	if v.kind == text {
		raw := make([]byte, 0, 4*len(all))
		for _, x := range all {
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(float32(x)))
		}
		v.text, v.plain = base64.StdEncoding.EncodeToString(raw), true
		return
	}
	for i, x := range all {
		v.items[i].text = strconv.FormatFloat(float64(float32(x)), 'g', -1, 32)
	}
}
