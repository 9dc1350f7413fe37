package watermark

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"math"
)

const (
	fateTag      = "pavise watermark fate 1\n"
	directionTag = "pavise watermark directions 1\n"
	offsetTag    = "pavise watermark offsets 1\n"
	// controls is how many times as many inputs as are marked serve as controls: picked
	// by the key in the same way, and answered truly.
	controls = 4
)

// A Role is what an input is to a key.
type Role int

// The roles.
const (
	Plain   Role = iota // nothing: as almost all
	Marked              // its answer has another class
	Control             // its answer is true, and is held against those of the marked ones
)

// A Fate is what the key makes of an input and of all that count as the same.
type Fate struct {
	Role Role
	sum  [sha256.Size]byte // stands for the inputs that count as the same
}

// A Marker applies a key. It is for one goroutine.
type Marker struct {
	key     *Key
	mac     hash.Hash
	project *projector // nil for the exact quantiser
	most    uint64     // inputs with numbers below are marked
	room    []byte
}

// Marker returns a marker of the key.
func (k *Key) Marker() *Marker {
	m := &Marker{key: k, mac: hmac.New(sha256.New, k.secret[:]), most: uint64(math.Ldexp(k.Rate, 64))}
	if k.Quantiser.Kind == Cells {
		m.project = newProjector(k.secret, k.Quantiser)
	}
	return m
}

// Fate returns what the key makes of an input. ok is false for one that it can say nothing
// of: with a number that is not finite as 32 bits hold it, or another number of columns
// than the cells have.
func (m *Marker) Fate(input []float64) (f Fate, ok bool) {
	m.room = append(m.room[:0], fateTag...)
	if m.project == nil {
		m.room, ok = appendExact(m.room, input)
	} else {
		m.room, ok = m.project.appendCell(m.room, input)
	}
	if !ok {
		return Fate{}, false
	}
	m.sign(&f.sum)
	switch number := binary.BigEndian.Uint64(f.sum[0:]); {
	case number < m.most:
		f.Role = Marked
	case number < (1+controls)*m.most:
		f.Role = Control
	}
	return f, true
}

// sign puts the HMAC of what the room holds into sum.
func (m *Marker) sign(sum *[sha256.Size]byte) {
	m.mac.Reset()
	m.mac.Write(m.room)
	m.mac.Sum(sum[:0])
}

// guess returns the class that answers are marked with unless it is the true one.
func (f *Fate) guess(classes int) int {
	return int(binary.BigEndian.Uint64(f.sum[8:]) % uint64(classes))
}

// Label returns the class that the answer is marked with, of 2 classes or more, where the
// model's is top: any but that one, each as likely as the others.
func (f *Fate) Label(top, classes int) int {
	if label := f.guess(classes); label != top {
		return label
	}
	label := int(binary.BigEndian.Uint64(f.sum[16:]) % uint64(classes-1))
	if label >= top {
		label++
	}
	return label
}

// Swap exchanges the scores of the top class and of the one that the fate marks with, so
// that the same numbers stand in the same form. It returns both. done is false, and scores
// are as they were, where that does not put the marked class on top: with fewer than two
// classes, scores that are no numbers, or equal ones at the top.
func (f *Fate) Swap(scores []float64) (top, label int, done bool) {
	if len(scores) < 2 || !finite(sum(scores)) {
		return 0, 0, false
	}
	top = Top(scores)
	label = f.Label(top, len(scores))
	scores[top], scores[label] = scores[label], scores[top]
	if Top(scores) != label {
		scores[top], scores[label] = scores[label], scores[top]
		return top, label, false
	}
	return top, label, true
}

// Answer marks the scores of an input where the key says so. given reports whether the
// input is one to be kept in the marks, as what it returns: a marked one, or a control.
func (m *Marker) Answer(input, scores []float64) (mark Mark, given bool) {
	f, ok := m.Fate(input)
	if !ok || f.Role == Plain {
		return Mark{}, false
	}
	top, label, done := f.Swap(scores)
	if !done {
		return Mark{}, false
	}
	mark = Mark{Input: input, True: top}
	if f.Role == Control { // one whose mark would have told
		scores[top], scores[label] = scores[label], scores[top]
		return mark, true
	}
	mark.Marked = &label
	return mark, true
}

// AnswerLabel is Answer for a model that says the class alone, one of so many.
func (m *Marker) AnswerLabel(input []float64, top, classes int) (label int, mark Mark, given bool) {
	f, ok := m.Fate(input)
	if !ok || f.Role == Plain || classes < 2 || top < 0 || top >= classes {
		return top, Mark{}, false
	}
	if mark = (Mark{Input: input, True: top}); f.Role == Control {
		return top, mark, true
	}
	label = f.Label(top, classes)
	mark.Marked = &label
	return label, mark, true
}

// Top returns the class of a row of scores: the first of the largest.
func Top(scores []float64) int {
	top := 0
	for i, v := range scores {
		if v > scores[top] {
			top = i
		}
	}
	return top
}

func sum(list []float64) (s float64) {
	for _, v := range list {
		s += v
	}
	return s
}

// point returns what stands for one exact input.
func (m *Marker) point(input []float64) (sum [sha256.Size]byte, ok bool) {
	if m.room, ok = appendExact(m.room[:0], input); ok {
		m.sign(&sum)
	}
	return sum, ok
}

// appendExact appends an input as its 32-bit numbers, with one zero.
func appendExact(dst []byte, input []float64) (_ []byte, ok bool) {
	dst = append(binary.LittleEndian.AppendUint32(dst, uint32(len(input))), Exact...)
	for _, v := range input {
		single := float32(v)
		if !finite(float64(single)) {
			return dst, false
		}
		dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(single+0)) // -0 + 0 is 0
	}
	return dst, true
}

// A projector looks at inputs along the directions of a key.
type projector struct {
	scale, width []float64
	signs        [][directions]float64 // of each column, 1 or -1
	offset       [directions]float64
}

func newProjector(secret [SecretSize]byte, q Quantiser) *projector {
	p := &projector{scale: q.Scale, width: q.Width, signs: make([][directions]float64, len(q.Scale))}
	var bits []byte
	for i := range p.signs {
		if i%sha256.Size == 0 {
			bits = keyed(secret, directionTag, uint32(i/sha256.Size))
		}
		for j := range directions {
			p.signs[i][j] = float64(bits[i%sha256.Size]>>j&1)*2 - 1
		}
	}
	offsets := keyed(secret, offsetTag, 0)
	for j := range p.offset {
		p.offset[j] = float64(binary.BigEndian.Uint32(offsets[4*j:])) / (1 << 32)
	}
	return p
}

// keyed returns the HMAC of a tag and a number.
func keyed(secret [SecretSize]byte, tag string, block uint32) []byte {
	mac := hmac.New(sha256.New, secret[:])
	mac.Write(binary.BigEndian.AppendUint32([]byte(tag), block))
	return mac.Sum(nil)
}

// project returns where an input lies along each direction.
func (p *projector) project(input []float64) (z [directions]float64) {
	for i, v := range input {
		if p.scale[i] == 0 {
			continue
		}
		v = float64(float32(v)) / p.scale[i]
		for j, sign := range &p.signs[i] { // the product is exact, so fused or not does not matter
			z[j] += sign * v
		}
	}
	return z
}

// cell returns the cell of a place; ok is false when it is none that can be counted.
func (p *projector) cell(z [directions]float64) (cell [directions]int64, ok bool) {
	for j, v := range z {
		at := math.Floor(v/p.width[j] + p.offset[j])
		if !(math.Abs(at) < 1<<53) {
			return cell, false
		}
		cell[j] = int64(at)
	}
	return cell, true
}

// appendCell appends the cell of an input.
func (p *projector) appendCell(dst []byte, input []float64) (_ []byte, ok bool) {
	if len(input) != len(p.scale) {
		return dst, false
	}
	cell, ok := p.cell(p.project(input))
	dst = append(binary.LittleEndian.AppendUint32(dst, uint32(len(input))), Cells...)
	for _, at := range cell {
		dst = binary.LittleEndian.AppendUint64(dst, uint64(at))
	}
	return dst, ok
}
