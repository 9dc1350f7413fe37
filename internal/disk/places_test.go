package disk

import (
	"slices"
	"testing"
)

// FuzzPlaces: ascending places are written so that they are read back, and what is
// read of hostile bytes ascends and lies within the segment.
func FuzzPlaces(f *testing.F) {
	f.Add([]byte{1, 0, 0, 5}, uint64(300))
	f.Add([]byte{255, 255, 255, 255, 255, 255, 255, 255, 255, 1}, uint64(300))
	f.Add([]byte{1, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1}, uint64(1)<<32)
	f.Fuzz(func(t *testing.T, b []byte, count uint64) {
		count %= 1 << 20
		places, err := parsePlaces(b, count)
		if err == nil {
			for i, place := range places {
				if uint64(place) >= count || i > 0 && place <= places[i-1] {
					t.Fatalf("%v of %d records", places, count)
				}
			}
			if again, err := parsePlaces(runsOf(places).append(nil), count); err != nil || !slices.Equal(again, places) {
				t.Errorf("%v come back as %v, %v", places, again, err)
			}
		}
		var ascending []uint32
		next := uint32(0)
		for _, step := range b { // runs, and gaps of up to 2⁷ and then some
			next += uint32(step&^1) << (step & 7) / 4
			ascending = append(ascending, next)
			next++
		}
		if again, err := parsePlaces(runsOf(ascending).append(nil), uint64(next)); err != nil || !slices.Equal(again, ascending) {
			t.Errorf("%v come back as %v, %v", ascending, again, err)
		}
	})
}

// runsOf returns ascending places as runs.
func runsOf(places []uint32) (r runs) {
	for _, place := range places {
		r.add(place)
	}
	return r
}

// TestWithin holds what runs have in a range to what the list of their places has there.
func TestWithin(t *testing.T) {
	places := []uint32{0, 1, 2, 5, 7, 8, 20, 21, 22, 23}
	for low := range uint32(25) {
		for high := range uint32(26) {
			got, want := runsOf(places).within(low, high), cut(places, low, max(low, high))
			if !slices.Equal(got, want) {
				t.Errorf("within [%d, %d): %v, want %v", low, high, got, want)
			}
		}
	}
	if got := runs(nil).within(0, 9); len(got) != 0 {
		t.Errorf("nothing has %v", got)
	}
}
