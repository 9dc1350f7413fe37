package artefact

import (
	"encoding/binary"
	"fmt"
	"io"
	"regexp"
)

const npyMagic = "\x93NUMPY"

// npyObjects finds the dtype of objects in the header of an array, whose elements are a pickle.
var npyObjects = regexp.MustCompile(`'[<>|=]?O[0-9]*'`)

// npy looks at an array file: at its header, and at the pickle of an array of objects.
func (s *scan) npy(w part) {
	var b [12]byte
	if _, err := io.ReadFull(w.in, b[:8]); err != nil {
		s.cut(w, err)
		return
	}
	n, length := 2, int64(0)
	if b[6] >= 2 {
		n = 4
	}
	if _, err := io.ReadFull(w.in, b[8:8+n]); err != nil {
		s.cut(w, err)
		return
	}
	if length = int64(binary.LittleEndian.Uint16(b[8:])); n == 4 {
		length = int64(binary.LittleEndian.Uint32(b[8:]))
	}
	if length > 1<<20 {
		s.tell(w, Finding{Severity: Unreadable, Rule: "npy.header", Why: fmt.Sprintf("its header is said to have %d bytes, as none has", length), Next: nextAgain})
		return
	}
	header := make([]byte, length)
	if _, err := io.ReadFull(w.in, header); err != nil {
		s.cut(w, err)
		return
	}
	if npyObjects.Match(header) {
		s.tell(w, Finding{Severity: Note, Rule: "npy.objects", Why: "it is an array of objects, which is a pickle", Next: "load it without allow_pickle, or ask for numbers"})
		s.pickles(w, w.in, false)
		return
	}
	s.pickles(w, w.in, true) // what some loaders take for a pickle when it is no array to them
}
