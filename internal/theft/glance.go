package theft

import (
	"crypto/sha256"
	"encoding/binary"
	"hash/maphash"
	"math"
	"math/bits"

	"github.com/pavise/pavise/internal/anomaly"
)

const (
	crossSlots  = 1 << 15 // rows of all clients that are kept to compare with
	crossTables = 3       // ways in which a row is looked up
	crossParts  = 4       // coordinates that two rows must share for one of them
	crossNarrow = 8       // steps of a sketch in which a shared coordinate may differ, at least
	crossWide   = 24      // and at most
)

// place computes what is looked at of a row.
func (c *Calibration) place(g *glance, a *Asked) {
	g.scaled = c.Scale.Apply(g.scaled[:0], a.Input)
	var residual float32
	g.coordinates, residual = c.Space.Project(g.coordinates[:0], g.scaled)
	g.point = append(g.point[:0], g.coordinates[:min(len(g.coordinates), calibrationPoint)]...)
	for k := range g.point {
		g.point[k] /= c.Space.Unit
	}
	g.residual = residual
	g.point = append(g.point, (residual-c.Residual.Usual)/(2*c.Residual.Unit))
	c.Sketch.Fold(&g.fold, g.scaled)
	for k, v := range g.fold {
		g.sketch[k] = int8(max(-127, min(127, math.Round(float64(v)*sketchStep))))
	}
	g.group = c.groupOf(a)
}

// cell is the cell of the input space that a row lies in: by the sides of eight axes, and
// its class.
func (g *glance) cell() int {
	cell := g.group & 15
	for k := range min(8, len(g.point)-1) {
		cell <<= 1
		if g.point[k] > 0 {
			cell |= 1
		}
	}
	return cell % studyCells
}

// classOf is the class that was answered: the largest score, where there are scores.
func classOf(a *Asked) int {
	if len(a.Scores) == 0 {
		return a.Class
	}
	if len(a.Scores) == 1 {
		return int(one(a.Scores[0] >= 0.5))
	}
	best := 0
	for k, v := range a.Scores {
		if v > a.Scores[best] {
			best = k
		}
	}
	return best
}

// marginOf is how far the best score is above the second best, as probabilities: scores
// that are none go through a softmax. Of a single score it is twice the distance to one
// half. Where a score is no number, nothing is known of it: 1.
func marginOf(scores []float64) float64 {
	switch len(scores) {
	case 0:
		return 1
	case 1:
		return known(math.Abs(2*scores[0] - 1))
	}
	first, second, sum, least := math.Inf(-1), math.Inf(-1), 0.0, 0.0
	for _, v := range scores {
		sum, least = sum+v, min(least, v)
		if v > first {
			first, second = v, first
		} else if v > second {
			second = v
		}
	}
	if least >= 0 && math.Abs(sum-1) < 0.05 {
		return known(first - second)
	}
	sum = 0
	for _, v := range scores {
		sum += math.Exp(v - first)
	}
	return known((1 - math.Exp(second-first)) / sum)
}

func known(margin float64) float64 {
	if math.IsNaN(margin) || math.IsInf(margin, 0) {
		return 1
	}
	return margin
}

// rowKey is of this process, unless Bind gives another: nobody can prepare rows that look
// like repetitions.
var rowKey = func() (key [32]byte) {
	for i := range 4 {
		binary.LittleEndian.PutUint64(key[8*i:], maphash.String(maphash.MakeSeed(), "rows"))
	}
	return key
}()

// exactHash tells rows apart that are not the same to the last bit: by SHA-256, so that
// whoever does not know the key can prepare none that are taken for one, and the same key
// tells them apart after a restart.
func exactHash(key *[32]byte, row []float64) uint64 {
	h := sha256.New()
	h.Write(key[:])
	var chunk [512]byte
	for len(row) > 0 {
		n := min(len(row), len(chunk)/8)
		for i, v := range row[:n] {
			binary.LittleEndian.PutUint64(chunk[8*i:], math.Float64bits(v))
		}
		h.Write(chunk[:8*n])
		row = row[n:]
	}
	var sum [sha256.Size]byte
	return binary.LittleEndian.Uint64(h.Sum(sum[:0]))
}

// apart is the squared distance of two sketches.
func apart(a, b *[anomaly.SketchLen]int8) int32 { return within(a, b, math.MaxInt32) }

// within is their squared distance, or something above most where it is.
func within(a, b *[anomaly.SketchLen]int8, most int32) (sum int32) {
	for k := 0; k < anomaly.SketchLen && sum <= most; k += 8 {
		x, y := (*[8]int8)(a[k:]), (*[8]int8)(b[k:])
		d0, d1, d2, d3 := int32(x[0])-int32(y[0]), int32(x[1])-int32(y[1]), int32(x[2])-int32(y[2]), int32(x[3])-int32(y[3])
		d4, d5, d6, d7 := int32(x[4])-int32(y[4]), int32(x[5])-int32(y[5]), int32(x[6])-int32(y[6]), int32(x[7])-int32(y[7])
		sum += (d0*d0 + d1*d1) + (d2*d2 + d3*d3) + (d4*d4 + d5*d5) + (d6*d6 + d7*d7)
	}
	return sum
}

// collinear reports whether the steps from a to b and from b to c go the same way, or back:
// whether the cosine between them is larger than least, or below its negative.
func collinear(a, b, c *[anomaly.SketchLen]float32, least float32) bool {
	var along, first, second float32
	for k := range a {
		x, y := b[k]-a[k], c[k]-b[k]
		along, first, second = along+x*y, first+x*x, second+y*y
	}
	return first > 0 && second > 0 && along*along > least*least*first*second
}

func onesCount(w uint64) int { return bits.OnesCount64(w) }

// A crossing finds rows that nearly repeat a row of another client, among the last some
// ten thousand: those of one who asks under many names.
type crossing struct {
	near  int32 // squared distance up to which two rows are nearly one
	used  int   // coordinates of a sketch: of narrow rows the last ones are none
	width int   // of a cell of a shared coordinate, in steps of a sketch
	slots [crossTables][]crossed
}

type crossed struct {
	client uint32
	exact  uint64
	sketch [anomaly.SketchLen]int8
}

// newCrossing makes cells in which rows that are nearly one mostly share: some four times as
// wide as they differ.
func newCrossing(c *Calibration) *crossing {
	x := &crossing{near: c.Near, used: min(c.Scale.Width(), anomaly.SketchLen)}
	x.width = max(crossNarrow, min(crossWide, int(4*math.Sqrt(float64(c.Near)/float64(x.used)))))
	return x
}

// begin makes room for rows, once there is one: a model that nobody asks takes none.
func (x *crossing) begin() {
	for t := range x.slots {
		x.slots[t] = make([]crossed, crossSlots/crossTables)
	}
}

// see keeps a row, and returns another client one of whose rows it nearly repeats; 0 if there
// is none. One that is the same to the last bit says nothing: many ask the same.
func (x *crossing) see(client uint32, g *glance) (other uint32) {
	if x.slots[0] == nil {
		x.begin()
	}
	for t := range x.slots {
		h := uint64(t+1) * 0x9e3779b97f4a7c15
		for k := range crossParts {
			at := (t*crossParts + k) * x.used / (crossTables * crossParts)
			step := (int(g.sketch[at]) + 128 + x.width*t/crossTables) / x.width
			h = (h ^ uint64(step)) * 0xd6e8feb86659fd93
			h ^= h >> 29
		}
		slot := &x.slots[t][h%uint64(len(x.slots[t]))]
		if other == 0 && slot.client != client && slot.exact != g.exact && apart(&slot.sketch, &g.sketch) <= x.near {
			other = slot.client
		}
		*slot = crossed{client, g.exact, g.sketch}
	}
	return other
}
