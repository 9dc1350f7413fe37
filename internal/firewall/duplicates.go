package firewall

import (
	"container/list"
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"time"

	"github.com/pavise/pavise"
)

const (
	dupCallers = 1024 // callers at models that are remembered; who was heard least lately is forgotten
	dupRing    = 32   // fingerprints of each
	dupHashes  = 64   // of a fingerprint
	dupShare   = 0.5  // of them that two rows have in common to be near duplicates: Blacklight's threshold
	dupWindow  = 64   // rows that are judged together
	dupMost    = 42   // near duplicates among them that nobody is told of yet
	dupFirst   = 8    // fingerprints that there are before any row is judged
	dupRows    = 32   // rows looked at in one request, evenly spread over it
	dupColumns = 8    // rows of fewer are alike by chance, and not looked at
	dupStep    = 50   // bits of a step of the quantiser: a quarter of [0, 1], an eighth to a quarter of the value above
	dupQuiet   = 10 * time.Minute
	dupLayouts = 16 // widths of rows whose layout is kept
)

// Duplicates tells who asks about rows that are nearly, and not quite, the same: a search
// for the smallest change that turns an answer does that, for hundreds of requests. It is
// in the manner of Blacklight (Li et al., USENIX Security 2022): a row's numbers are
// quantised coarsely, windows of them hashed, and the smallest hash kept of each of 64 parts
// of the row; two rows that share half of those are near duplicates. Unlike there, the columns of a window are
// neighbours in a secret order, so that the columns which nearly all rows have alike do
// not make whole windows alike; and the hash is a keyed rolling one.
//
// One goroutine uses it. What it remembers is bounded: some 3 MiB.
type Duplicates struct {
	key     [32]byte
	most    int             // near duplicates among dupWindow rows that nobody is told of yet
	layouts map[int]*layout // by width
	callers map[caller]*list.Element
	recent  *list.List // of *habit, the one heard last in front
}

// A caller at a model.
type caller struct{ who, model pavise.Name }

// A habit is what is remembered of a caller at a model.
type habit struct {
	caller
	width int
	ring  []fingerprint
	next  int    // place in the ring for the next
	near  uint64 // bit for each of the last rows: it was a near duplicate
	rows  int    // since somebody was told, up to dupWindow
	told  time.Time
}

// A fingerprint is what is kept of a row. Of the smallest hash of each part it keeps eight
// bits, eight parts in a word: parts that are not alike have the same bits one time in
// 256, far from dupShare, and most of the detector's time goes into comparing these.
type fingerprint struct {
	exact uint64 // hash of the row itself
	parts [dupHashes / 8]uint64
}

// A layout is how rows of one width are looked at.
type layout struct {
	order  []int   // of the columns
	salt   []int64 // within a step, by column: where the quantiser's steps begin
	factor uint64  // of the rolling hash
	drop   uint64  // factor to the power of the window's length
	mix    uint64
	window int
	quanta []uint64 // of the row being looked at
}

// Most sets how many near duplicates among the last 64 rows nobody is told of yet: 1 to
// 63, and 42 unless it is set.
func (d *Duplicates) Most(n int) { d.most = n }

// NewDuplicates begins with a key that is written nowhere: who has it can make rows that
// are near and look far.
func NewDuplicates(key [32]byte) *Duplicates {
	return &Duplicates{key: key, most: dupMost, layouts: map[int]*layout{}, callers: map[caller]*list.Element{}, recent: list.New()}
}

// See looks at the rows of a request. It says what somebody should know of the caller,
// at most once in ten minutes, or "".
func (d *Duplicates) See(at time.Time, who, model pavise.Name, rows int, values []float64) string {
	if rows < 1 || len(values)%rows != 0 || len(values)/rows < dupColumns {
		return ""
	}
	width := len(values) / rows
	h, l := d.habitOf(caller{who, model}, width), d.layoutOf(width)
	said := ""
	step := max(1, (rows+dupRows-1)/dupRows)
	for row := 0; row < rows; row += step {
		f := l.fingerprint(values[row*width : (row+1)*width])
		h.see(&f, min(width, dupHashes))
		if n := bits.OnesCount64(h.near); h.rows >= dupWindow && n > d.most && (h.told.IsZero() || at.Sub(h.told) >= dupQuiet) {
			h.told, h.near, h.rows = at, 0, 0
			said = fmt.Sprintf("%d of the last %d rows that %s asked of %s are near to most of those before them, and not the same", n, dupWindow, who, model)
		}
	}
	return said
}

// habitOf returns what is remembered of a caller, who is then the last to be forgotten.
func (d *Duplicates) habitOf(c caller, width int) *habit {
	if e, ok := d.callers[c]; ok {
		d.recent.MoveToFront(e)
		h := e.Value.(*habit)
		if h.width != width {
			*h = habit{caller: c, width: width, told: h.told}
		}
		return h
	}
	if len(d.callers) >= dupCallers {
		last := d.recent.Back()
		delete(d.callers, d.recent.Remove(last).(*habit).caller)
	}
	h := &habit{caller: c, width: width}
	d.callers[c] = d.recent.PushFront(h)
	return h
}

// see judges a row against those before, and remembers it. It is a near duplicate when
// half of those are near it: in a search they all are, while the nearest of thirty rows
// of plain traffic is near by chance. One that was asked word for word is a repetition,
// and no near duplicate.
func (h *habit) see(f *fingerprint, parts int) {
	near, share := 0, int(math.Ceil(dupShare*float64(parts)))
	for i := range h.ring {
		if h.ring[i].exact == f.exact {
			return
		}
		if h.ring[i].alike(f, parts) >= share {
			near++
		}
	}
	h.near <<= 1
	if len(h.ring) >= dupFirst && 2*near >= len(h.ring) {
		h.near |= 1
	}
	h.rows = min(h.rows+1, dupWindow)
	if len(h.ring) < dupRing {
		h.ring = append(h.ring, *f)
		return
	}
	h.ring[h.next] = *f
	h.next = (h.next + 1) % dupRing
}

// alike is how many parts two rows have in common. What is no part is the same in both.
func (f *fingerprint) alike(g *fingerprint, parts int) int {
	const each = 0x0101010101010101
	differ := 0
	for i := range (parts + 7) / 8 {
		x := f.parts[i] ^ g.parts[i]
		x |= x >> 4 & (0x0f * each)
		x |= x >> 2 & (0x3f * each)
		x |= x >> 1 & (0x7f * each)
		differ += bits.OnesCount64(x & each)
	}
	return parts - differ
}

// layoutOf draws how rows of a width are looked at, the same for each from one key.
func (d *Duplicates) layoutOf(width int) *layout {
	if l, ok := d.layouts[width]; ok {
		return l
	}
	if len(d.layouts) >= dupLayouts {
		clear(d.layouts)
	}
	seed := d.key
	for i := range 8 {
		seed[i] ^= byte(uint64(width) >> (8 * i))
	}
	rng := rand.New(rand.NewChaCha8(seed))
	l := &layout{
		order: rng.Perm(width), salt: make([]int64, width), factor: rng.Uint64()&^7 | 5, mix: rng.Uint64() | 1,
		window: min(max(width/8, 4), 20), drop: 1, quanta: make([]uint64, width),
	}
	for i := range l.salt {
		l.salt[i] = rng.Int64N(1 << dupStep)
	}
	for range l.window {
		l.drop *= l.factor
	}
	d.layouts[width] = l
	return l
}

// fingerprint hashes the windows of a row, and keeps the smallest hash of each part.
func (l *layout) fingerprint(row []float64) fingerprint {
	f, n := fingerprint{exact: l.mix}, len(row)
	for i, column := range l.order {
		v := row[column]
		f.exact = bits.RotateLeft64(f.exact^math.Float64bits(v), 29) * l.mix
		l.quanta[i] = uint64(quantum(v, l.salt[column]))
	}
	f.exact = mixed(f.exact)
	var least [dupHashes]uint32
	for i := range least {
		least[i] = math.MaxUint32
	}
	var hash uint64
	for i := range n + l.window - 1 { // windows go round
		at := i
		if at >= n {
			at -= n
		}
		hash = hash*l.factor + l.quanta[at] + 1
		if i >= l.window {
			hash -= l.drop * (l.quanta[i-l.window] + 1)
		}
		if first := i - l.window + 1; first >= 0 {
			part := &least[first%dupHashes]
			*part = min(*part, uint32(mixed(hash^uint64(first)*l.mix)>>32))
		}
	}
	for i, hash := range least {
		f.parts[i/8] |= uint64(hash&0xff) << (i % 8 * 8)
	}
	return f
}

// quantum is the step of a value on a scale that is linear from -1 to 1 and close to the
// logarithm to base 2 beyond: the bits of 1+|v| as a float64, exponent and mantissa, are
// that very number with 52 bits behind the point. A profile of small requests showed an
// arcus sinus hyperbolicus here, which makes a scale of the same form, in five times the
// time of everything around it.
func quantum(v float64, salt int64) int64 {
	at := int64(math.Float64bits(1+math.Abs(v)) - math.Float64bits(1))
	if v < 0 {
		at = -at
	}
	return (at + salt) >> dupStep
}

// mixed is the finaliser of SplitMix64 (Steele et al., OOPSLA 2014): each bit of the
// result hangs on all of x.
func mixed(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}
