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
			if again, err := parsePlaces(appendPlaces(nil, places), count); err != nil || !slices.Equal(again, places) {
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
		if again, err := parsePlaces(appendPlaces(nil, ascending), uint64(next)); err != nil || !slices.Equal(again, ascending) {
			t.Errorf("%v come back as %v, %v", ascending, again, err)
		}
	})
}
