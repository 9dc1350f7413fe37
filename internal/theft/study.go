package theft

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"strconv"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/anomaly"
)

// studyFormat begins a study that is kept. Whatever changes what follows changes it.
const (
	studyFormat = studyName + "2\n"
	studyName   = "pavise.study/"
)

// maxEvidence bounds the words of a sighting that is kept, in bytes.
const maxEvidence = 1 << 10

// Bind has the extraction tell rows apart by a key, and tie the studies that it writes to
// that and to the digest of its calibration's file: what was kept can be restored by the
// same two alone. It comes before the first row.
func (e *Extraction) Bind(key, calibration [32]byte) { e.key, e.of = key, calibration }

// AppendStudy appends what is known of a client or of a pool, for Restore: some 16 KiB at most. ok is
// false when nothing is.
func (e *Extraction) AppendStudy(dst []byte, client string) (_ []byte, ok bool) {
	s := e.clients[client]
	if s == nil {
		return dst, false
	}
	from := len(dst)
	w := writer{append(append(dst, studyFormat...), e.of[:]...)}
	w.counts(uint64(s.rows), uint64(s.fresh), bit(s.again)|bit(s.told)<<1|bit(s.pooled)<<2, uint64(len(s.count)), uint64(len(s.ring)), uint64(s.next))
	w.floats(s.sums[:]...)
	s.spread.write(&w)
	w.floats(s.near)
	w.floats(s.bins[:]...)
	w.floats(s.count...)
	w.counts(s.cells[:]...)
	w.counts(s.seen[:]...)
	s.repeated.write(&w)
	for _, sum := range s.feature {
		w.counts(uint64(len(sum)))
		w.singles(sum)
	}
	for i := range s.before {
		w.singles(s.before[i][:])
	}
	for i := range s.ring {
		for _, v := range s.ring[i] {
			w.b = append(w.b, byte(v))
		}
	}
	w.counts(uint64(s.looked))
	w.floats(s.scores[:]...)
	w.counts(uint64(s.best.Rows))
	w.floats(s.best.Score)
	w.text(s.best.Detector)
	w.text(s.best.Evidence)
	return e.sign(w.b, w.b[from:], client), true
}

// sign appends the tag of a study of a client to dst.
func (e *Extraction) sign(dst, study []byte, client string) []byte {
	mac := hmac.New(sha256.New, e.key[:])
	mac.Write(study)
	mac.Write([]byte(client))
	return mac.Sum(dst)
}

// Restore brings back what AppendStudy wrote of a client, unless the client has been heard
// already. The error is of kind Unverified for a study that is none of this key, this
// calibration and this client, or was changed, and of kind Invalid for one of another version's
// form; nothing is restored then. That form is as it says itself: who could change it so could
// as well delete the study.
func (e *Extraction) Restore(client string, study []byte) error {
	bad := func(why string) error {
		return &pavise.Error{Kind: pavise.Unverified, Msg: fmt.Sprintf("what was kept of the client %.200q cannot be used: %s", client, why), Hint: "the detector begins anew with this client"}
	}
	if ofAnotherVersion(study) {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("what was kept of the client %.200q is of another version of Pavise", client), Hint: "the detector begins anew with this client"}
	}
	body := len(study) - sha256.Size
	if body < len(studyFormat)+len(e.of) || string(study[:len(studyFormat)]) != studyFormat {
		return bad("it is no study of this version")
	}
	if !hmac.Equal(e.sign(nil, study[:body], client), study[body:]) {
		return bad("it was changed, or is somebody else's")
	}
	if [32]byte(study[len(studyFormat):]) != e.of {
		return bad("it was made with another calibration")
	}
	s := e.newStudy()
	r := reader{b: study[len(studyFormat)+len(e.of) : body]}
	if s.read(&r, e.c, len(e.turns)); !r.ok() {
		return bad("its parts do not fit the calibration")
	}
	s.best.Client, s.best.Threshold = client, e.c.Threshold
	if s.pooled {
		s.best.Threshold *= poolMargin
	}
	if e.clients[client] != nil {
		return nil
	}
	e.studyOf(client)
	e.clients[client] = s
	return nil
}

// ofAnotherVersion reports whether a study begins as other versions write them.
func ofAnotherVersion(study []byte) bool {
	form, _, found := bytes.Cut(study[:min(len(study), len(studyName)+8)], []byte("\n"))
	version, is := bytes.CutPrefix(form, []byte(studyName))
	_, err := strconv.ParseUint(string(version), 10, 32)
	return found && is && err == nil && !bytes.HasPrefix(study, []byte(studyFormat))
}

// read reads a study of the calibration, with so many looks at what is repeated, into s; r
// says whether it was one.
func (s *study) read(r *reader, c *Calibration, turns int) {
	groups := len(s.count)
	s.rows, s.fresh = r.count(math.MaxInt64), r.count(math.MaxInt64)
	flags := r.count(7)
	s.again, s.told, s.pooled = flags&1 == 1, flags&2 == 2, flags&4 == 4
	r.must(r.count(groups) == groups)
	s.ring = make([][anomaly.SketchLen]int8, r.count(studyRing))
	s.next = r.count(studyRing - 1)
	r.floats(s.sums[:])
	s.spread.read(r)
	near := [1]float64{}
	r.floats(near[:])
	s.near = near[0]
	r.floats(s.bins[:])
	r.floats(s.count)
	r.counts(s.cells[:])
	r.counts(s.seen[:])
	s.repeated.read(r, turns)
	for i := range s.feature {
		n := r.count(c.Fourier.Len())
		r.must(n == 0 || n == c.Fourier.Len())
		if n > 0 {
			s.feature[i] = make([]float32, n)
			r.singles(s.feature[i])
		}
	}
	for i := range s.before {
		r.singles(s.before[i][:])
	}
	for i := range s.ring {
		for j, v := range r.take(len(s.ring[i])) {
			s.ring[i][j] = int8(v)
		}
	}
	s.looked = r.count(LookCount)
	r.floats(s.scores[:])
	s.best.Rows = r.count(math.MaxInt64)
	score := [1]float64{}
	r.floats(score[:])
	s.best.Score = score[0]
	s.best.Detector, s.best.Evidence = r.text(), r.text()
	r.must(s.fresh <= s.rows && len(r.b) == 0)
}

// write writes how the traits of a client's rows are spread.
func (p *spread) write(w *writer) {
	w.floats(p.sum[:]...)
	for i := range p.bins {
		for _, n := range p.bins[i] {
			w.b = binary.LittleEndian.AppendUint16(w.b, n)
		}
	}
}

// read reads what write wrote.
func (p *spread) read(r *reader) {
	r.floats(p.sum[:])
	for i := range p.bins {
		for j := range p.bins[i] {
			if b := r.take(2); b != nil {
				p.bins[i][j] = binary.LittleEndian.Uint16(b)
			}
		}
	}
}

func bit(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// A writer appends the parts of a study, little-endian.
type writer struct{ b []byte }

func (w *writer) counts(list ...uint64) {
	for _, v := range list {
		w.b = binary.LittleEndian.AppendUint64(w.b, v)
	}
}

func (w *writer) floats(list ...float64) {
	for _, v := range list {
		w.b = binary.LittleEndian.AppendUint64(w.b, math.Float64bits(v))
	}
}

func (w *writer) singles(list []float32) {
	for _, v := range list {
		w.b = binary.LittleEndian.AppendUint32(w.b, math.Float32bits(v))
	}
}

func (w *writer) text(s string) {
	s = s[:min(len(s), maxEvidence)]
	w.counts(uint64(len(s)))
	w.b = append(w.b, s...)
}

// A reader takes the parts of a study. Once one is amiss, all that follow are zero.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) ok() bool { return !r.bad }

func (r *reader) must(b bool) { r.bad = r.bad || !b }

// take returns the next n bytes, or nil.
func (r *reader) take(n int) []byte {
	if r.must(n <= len(r.b)); r.bad {
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) number() uint64 {
	if b := r.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// count reads a number from 0 to most.
func (r *reader) count(most int) int {
	n := r.number()
	if r.must(n <= uint64(most)); r.bad {
		return 0
	}
	return int(n)
}

func (r *reader) counts(dst []uint64) {
	for i := range dst {
		dst[i] = r.number()
	}
}

func (r *reader) floats(dst []float64) {
	for i := range dst {
		dst[i] = math.Float64frombits(r.number())
	}
}

func (r *reader) singles(dst []float32) {
	for i := range dst {
		if b := r.take(4); b != nil {
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(b))
		}
	}
}

func (r *reader) text() string {
	return string(r.take(r.count(maxEvidence)))
}
