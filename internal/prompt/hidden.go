package prompt

import (
	"bytes"
	"unicode"
)

// A hidden follows what of a text nobody sees. It is fed every rune that is not ASCII.
//
// All of it has honest uses, and those are known here: flags of England, Scotland and
// Wales are written in tags, emoji and ideographs take one selector each, Persian and
// the scripts of India need joiners, Khmer and Thai break lines at spaces of no width,
// and texts that run from right to left hold marks of direction.
type hidden struct {
	tags      int  // tag characters that are in no flag
	flag      int  // tags since a black flag that could still become a flag
	inFlag    bool // a black flag, and nothing but tags since
	selectors int  // beyond one for each character
	runs      int  // runs of maxRun characters without width
	run       int  // of those at hand
	split     int  // characters without width between two Latin letters
	overrides int  // of direction, before Latin letters

	before   rune // the last visible rune
	waiting  int  // of no width, since before, that split a word if a Latin letter follows
	selected bool // before has its selector
	override bool // the direction was overridden, and no letter came yet
	rtl      bool // a letter that is written from right to left was there

	tagged   []byte // what tags spell
	selects  []byte // what selectors spell
	overflow bool   // more was spelled than is kept
}

const (
	maxRun     = 8       // characters without width in a row that no script needs
	maxSpelled = 1 << 16 // bytes that are kept of what tags or selectors spell
)

// unseen takes a rune that may be unseen, and reports whether it is.
func (h *hidden) unseen(r rune) bool {
	switch {
	case r >= 0xE0000 && r <= 0xE007F:
		h.tag(r)
	case r >= 0xFE00 && r <= 0xFE0F:
		h.selector(r, byte(r-0xFE00))
	case r >= 0xE0100 && r <= 0xE01EF:
		h.selector(r, byte(r-0xE0100)+16)
	case r == 0x202D || r == 0x202E:
		h.override = true
	case r >= 0x202A && r <= 0x202C, r >= 0x2066 && r <= 0x2069, r == 0x200E, r == 0x200F, r == 0x061C:
		// Direction of what follows: texts of two scripts need them.
	case r >= 0x200B && r <= 0x200D, r >= 0x2060 && r <= 0x2064, r == 0xFEFF, r == 0x180E, r == 0x034F,
		r == 0x3164, r == 0xFFA0, r == 0x115F, r == 0x1160, r == 0x206A, r >= 0x206B && r <= 0x206F:
		h.widthless()
	case r == 0x00AD: // a place where a word may break: removed, and nothing to tell
	default:
		return false
	}
	return true
}

// waits reports whether what follows tells something of what was there.
func (h *hidden) waits() bool {
	return h.before >= 0x80 || h.waiting > 0 || h.flag > 0 || h.override || h.selected || h.run > 0
}

func (h *hidden) widthless() {
	h.waiting++
	if h.run++; h.run == maxRun {
		h.runs++
	}
}

// tag counts a tag character, unless it is a part of a flag.
func (h *hidden) tag(r rune) {
	if h.inFlag {
		h.flag++
		switch {
		case r == 0xE007F && h.flag == 6 && isFlag(h.tagged):
			h.inFlag, h.flag = false, 0
			h.tagged = h.tagged[:len(h.tagged)-5]
			return
		case h.flag <= 6:
			h.spellTag(r)
			return
		}
		h.endFlag()
	}
	h.tags++
	h.spellTag(r)
}

// isFlag reports whether tags spell one of the three flags that are written in them:
// other letters would be a message in many flags.
func isFlag(tagged []byte) bool {
	for _, flag := range [...]string{"gbeng", "gbsct", "gbwls"} {
		if bytes.HasSuffix(tagged, []byte(flag)) {
			return true
		}
	}
	return false
}

// endFlag counts as tags what did not become a flag.
func (h *hidden) endFlag() {
	h.tags += h.flag
	h.inFlag, h.flag = false, 0
}

func (h *hidden) spellTag(r rune) {
	if c := byte(r - 0xE0000); c >= ' ' && c < 0x7F {
		h.tagged = h.spell(h.tagged, c)
	}
}

func (h *hidden) spell(dst []byte, c byte) []byte {
	if len(dst) < maxSpelled {
		return append(dst, c)
	}
	h.overflow = true
	return dst
}

// selector counts a variation selector that follows none of the characters that have
// one.
func (h *hidden) selector(r rune, spelled byte) {
	if !h.selected && h.before >= 0x80 || !h.selected && (h.before == '#' || h.before == '*' || h.before >= '0' && h.before <= '9') {
		h.selected = true
		if r < 0xE0100 || unicode.Is(unicode.Han, h.before) {
			h.selects = h.spell(h.selects, spelled) // the first letter of what others would spell
			return
		}
	}
	h.selectors++
	h.selects = h.spell(h.selects, spelled)
}

// seen takes a rune that is seen.
func (h *hidden) seen(r rune) {
	if h.inFlag || h.flag > 0 {
		h.endFlag()
	}
	if r == 0x1F3F4 {
		h.inFlag = true
	}
	if h.waiting > 0 || h.override {
		h.after(r)
	}
	if r >= 0x590 && r <= 0x8FF || r >= 0xFB1D && r <= 0xFDFF || r >= 0xFE70 && r <= 0xFEFC {
		h.rtl = true
	}
	if h.selected && h.selectors == 0 {
		h.selects = h.selects[:0] // one selector spells nothing
	}
	h.before, h.selected, h.run = r, false, 0
}

// after judges what stood between the last rune that was seen and this one.
func (h *hidden) after(r rune) {
	if h.waiting > 0 && latin(h.before) && latin(r) {
		h.split += h.waiting
	}
	h.waiting = 0
	if h.override && unicode.IsLetter(r) {
		if latin(r) {
			h.overrides++
		}
		h.override = false
	}
}

func latin(r rune) bool {
	return r < 0x80 && (r|0x20 >= 'a' && r|0x20 <= 'z') || r >= 0xC0 && r < 0x250 && unicode.IsLetter(r)
}
