package plainjson

import (
	"bytes"
	"strings"
	"unicode/utf16"
)

// UTF8 is a text of JSON in UTF-8, which Python reads in UTF-16 and UTF-32, too, and tells
// apart by where the zeros are (Python, json.detect_encoding).
func UTF8(b []byte) []byte {
	var big bool
	at := func(i int) byte { return append(b[:min(len(b), 4):min(len(b), 4)], 1, 1, 1, 1)[i] }
	width := 1
	switch {
	case bytes.HasPrefix(b, []byte("\xef\xbb\xbf")):
		return b[3:]
	case bytes.HasPrefix(b, []byte("\x00\x00\xfe\xff")), at(0) == 0 && at(1) == 0:
		big, width = true, 4
	case bytes.HasPrefix(b, []byte("\xff\xfe\x00\x00")), at(0) != 0 && at(1) == 0 && at(2) == 0 && at(3) == 0:
		width = 4
	case bytes.HasPrefix(b, []byte("\xfe\xff")), at(0) == 0:
		big, width = true, 2
	case bytes.HasPrefix(b, []byte("\xff\xfe")), at(1) == 0:
		width = 2
	}
	if width == 1 {
		return b
	}
	var units []uint16
	var out []rune
	for ; len(b) >= width; b = b[width:] {
		r := uint32(0)
		for i := range width {
			if big {
				r = r<<8 | uint32(b[i])
			} else {
				r |= uint32(b[i]) << (8 * i)
			}
		}
		units, out = append(units, uint16(r)), append(out, rune(r))
	}
	if width == 2 {
		out = utf16.Decode(units)
	}
	return []byte(strings.TrimPrefix(string(out), "\ufeff"))
}
