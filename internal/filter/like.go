package filter

import "slices"

// A pattern is what LIKE holds texts to: % is any characters and _ is one. All places of the
// pattern at which a text may be are followed at once, a bit for each, as in the shift-and
// algorithm (Baeza-Yates and Gonnet, A new approach to text searching, 1992): going back to the
// last % would take as long as pattern and text multiplied, for each of thousands of runs.
type pattern struct {
	places int // how many characters it has, without %
	takes  map[rune][]uint64
	others []uint64 // what takes characters that do not stand in it: each _
	stays  []uint64 // places before which a % stands
}

func newPattern(text string) *pattern {
	var p pattern
	chars := []rune(text)
	row := func() []uint64 { return make([]uint64, len(chars)/64+1) }
	p.takes, p.others, p.stays = map[rune][]uint64{}, row(), row()
	set := func(bits []uint64, at int) { bits[at/64] |= 1 << (at % 64) }
	for _, c := range chars {
		switch c {
		case '%':
			set(p.stays, p.places)
			continue
		case '_':
			set(p.others, p.places)
		default:
			if p.takes[c] == nil {
				p.takes[c] = row()
			}
			set(p.takes[c], p.places)
		}
		p.places++
	}
	for _, bits := range p.takes {
		for i := range bits {
			bits[i] |= p.others[i]
		}
	}
	return &p
}

// fits reports whether a text is as the pattern says.
func (p *pattern) fits(text string) bool {
	at := slices.Repeat([]uint64{0}, len(p.stays))
	at[0] = 1
	for _, c := range text {
		takes := p.takes[c]
		if takes == nil {
			takes = p.others
		}
		over, any := uint64(0), uint64(0)
		for i := range at {
			on := at[i] & takes[i]
			at[i] = at[i]&p.stays[i] | on<<1 | over
			over, any = on>>63, any|at[i]
		}
		if any == 0 {
			return false
		}
	}
	return at[p.places/64]>>(p.places%64)&1 == 1
}
