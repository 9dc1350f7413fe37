package drift

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// TestPlaces: a number's place is the bin that it is counted in, whatever the table is of.
func TestPlaces(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	odd := []float64{0, math.Copysign(0, -1), math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat64, -math.MaxFloat64, math.SmallestNonzeroFloat64, 1e9}
	for name, draw := range map[string]func() float64{
		"normal":      rng.NormFloat64,
		"few":         func() float64 { return float64(rng.IntN(5)) },
		"many powers": func() float64 { return math.Exp(20 * rng.NormFloat64()) },
		"often 0":     func() float64 { return max(0, rng.NormFloat64()) },
	} {
		sample := make([]float64, 5000)
		for i := range sample {
			sample[i] = draw()
		}
		r := NewReference(sample)
		values := append([]float64{}, odd...)
		for range 3000 {
			values = append(values, draw()*1.1)
		}
		var one, all Histogram
		places := make([]uint8, len(values))
		r.Places(places, values)
		for i, x := range values {
			r.Count(&one, x)
			*all.at(places[i])++
			if places[i] != r.Place(x) {
				t.Errorf("%s: %v is at %d among others, and at %d alone", name, x, places[i], r.Place(x))
			}
		}
		if one != all {
			t.Errorf("%s: %v by places, %v counted", name, all, one)
		}
	}
}

// TestNames: each name is found in its bin, and nothing else is, also where names are as many and
// as alike as they can be, and where no salt tells them apart.
func TestNames(t *testing.T) {
	for _, letter := range []string{"a", "ab", "protocol", "a name of some length, of which the end "} {
		names := []string{""}
		for i := 1; i < maxNames; i++ {
			names = append(names, letter+string(rune(' '+i)))
		}
		c, err := CategoriesOf(names, nil, false)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			for bin, name := range names {
				if got := c.Place([]byte(name)); int(got) != bin {
					t.Errorf("%q is in bin %d, not %d", name, got, bin)
				}
				for _, other := range []string{name + "x", "x" + name, strings.Repeat(name+".", 3)} {
					if got := c.Place([]byte(other)); got != newBin {
						t.Errorf("%q is in bin %d", other, got)
					}
				}
			}
			c.salt, c.table = salt{}, [len(c.table)]uint8{} // all in one place
			for bin := range names {
				c.table[bin] = uint8(bin + 1)
			}
		}
	}
}

// at is a count by its place.
func (h *Histogram) at(place uint8) *uint32 {
	if place == Nothing {
		return &h.Nulls
	}
	return &h.Bins[place]
}

// plain is what Counts are, with a histogram for each feature and group.
type plain [][MaxGroups]Histogram

func (p plain) total(f int, without uint32) (h Histogram) {
	for g := range p[f] {
		if without>>g&1 == 0 {
			h.Add(&p[f][g])
		}
	}
	return h
}

// TestCounts counts the same as histograms do, through bytes that run over, groups that come and
// windows that are added up.
func TestCounts(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	const features, groups = 3, 17
	all, folded := NewCounts(features), NewCounts(features)
	want := make(plain, features)
	for window := range 5 {
		c := NewCounts(features)
		for range 300 {
			f, from := rng.IntN(features), rng.IntN(groups)
			seats, places := make([]uint8, 64), make([]uint8, 64)
			for i := range places {
				seats[i] = uint8(from)
				if rng.IntN(3) == 0 {
					seats[i] = uint8(rng.IntN(1 + window*4))
				}
				places[i] = uint8(rng.IntN(Nothing + 1))
				if f == 0 { // always the same
					places[i] = uint8(11 * window)
				}
				c.Open(seats[i])
				*want[f][seats[i]].at(places[i])++
			}
			c.Count(f, seats, places)
		}
		odd := Histogram{Odd: 7, Nulls: uint32(rng.IntN(1 << 20))}
		want[2][30].Nulls += odd.Odd + odd.Nulls
		odd.Bins[MaxBins-1] = 1 << 19
		c.Put(2, 30, &odd)
		want[2][30].Bins[MaxBins-1] += 1 << 19
		all.Add(c)
		folded.Fold(c, 16)
	}
	for f := range features {
		for range 20 {
			without := rng.Uint32()
			if got, is := all.Total(f, without), want.total(f, without); got != is {
				t.Fatalf("feature %d without %b: %v, and it is %v", f, without, got, is)
			}
		}
		if got, is := folded.Total(f, 0), want.total(f, 0); got != is {
			t.Fatalf("feature %d, folded: %v, and it is %v", f, got, is)
		}
	}
	if all.Groups() != 1<<groups-1|1<<30 || folded.Groups() != 1<<16 {
		t.Errorf("groups %b, folded %b", all.Groups(), folded.Groups())
	}
}

// TestCountsHalve keeps the shares of what is too much to be counted.
func TestCountsHalve(t *testing.T) {
	c := NewCounts(1)
	h := Histogram{Nulls: 1 << 14}
	h.Bins[3], h.Bins[4] = 1<<20, 3<<18
	for n := range 3000 {
		if c.Put(0, 1, &h); n%10 == 0 {
			c.Put(0, 2, &h)
		}
	}
	one, two := c.Total(0, 1<<2), c.Total(0, 1<<1)
	if share := float64(two.Rows()) / float64(one.Rows()); math.Abs(share-0.1) > 0.03 {
		t.Errorf("the second group has %v of what the first has, and a tenth came of it", share)
	}
	huge := Histogram{}
	huge.Bins[3] = math.MaxUint32
	for without := range uint32(2) {
		got := c.Total(0, without<<1)
		rows := float64(got.Rows())
		for place, share := range map[uint8]float64{3: 64. / 113, 4: 48. / 113, Nothing: 1. / 113} {
			if is := float64(*got.at(place)) / rows; math.Abs(is-share) > 0.001 {
				t.Errorf("place %d has %v, and came in %v", place, is, share)
			}
		}
	}
	if c.Put(0, 1, &huge); c.Total(0, 0).Bins[3] < 1<<25 {
		t.Error("what is beyond all bounds is lost")
	}
}

// TestCountsKept: what is spelled is as versions spelled it that kept histograms, and is read again.
func TestCountsKept(t *testing.T) {
	h := Histogram{Nulls: 300, Odd: 0}
	text := []byte{0xac, 2, 0} // what they wrote: nothing, odd, and the bins, as varints
	for i := range h.Bins {
		h.Bins[i] = uint32(i) << 7
		text = binary.AppendUvarint(text, uint64(i)<<7)
	}
	c, again := NewCounts(2), NewCounts(2)
	behind, ok := c.Read(append(slices.Clone(text), 1, 2, 3), 1, 5)
	if got := c.Total(1, 0); !ok || got != h || len(behind) != 3 || c.Groups() != 1<<5 {
		t.Fatalf("%v is read, with %v behind, %v", got, behind, ok)
	}
	if got := c.Append(nil, 1); !bytes.Equal(got, text) {
		t.Errorf("%v is spelled, and was %v", got, text)
	}
	for n := range text {
		if _, ok := again.Read(text[:n], 0, 0); ok || again.Groups() != 0 {
			t.Fatalf("%d of %d bytes are read", n, len(text))
		}
	}
	if _, ok := again.Read(binary.AppendUvarint(nil, 1<<32), 0, 0); ok {
		t.Error("more than is counted is read")
	}
}

// TestCountsMemory: a feature that sixteen groups ask takes a byte for most of its counts.
func TestCountsMemory(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	short, hour := NewCounts(1), NewCounts(1)
	for range 12 { // ten thousand rows each
		short = NewCounts(1)
		for g := range uint8(16) {
			short.Open(g)
			for range 625 {
				short.Count(0, []uint8{g}, []uint8{uint8(1 + rng.IntN(62))})
			}
		}
		hour.Add(short)
	}
	fresh := 0
	for _, f := range short.fresh {
		fresh += len(f)
	}
	if fresh != 16*slots || short.packed != nil {
		t.Errorf("five minutes take %d bytes, and something is packed", fresh)
	}
	if n := len(hour.packed[0]); n > 1300 {
		t.Errorf("an hour takes %d bytes", n)
	}
}

func BenchmarkCounts(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	r := world(rng)[0].Numbers
	values, places, groups := normals(rng, 64, 0, 1), make([]uint8, 64), make([]uint8, 64)
	c := NewCounts(1)
	for i := range groups {
		groups[i] = uint8(rng.IntN(16))
		c.Open(groups[i])
	}
	perCell(b, len(values), func() {
		r.Places(places, values)
		c.Count(0, groups, places)
	})
}
