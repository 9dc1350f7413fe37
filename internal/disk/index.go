package disk

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"maps"
	"slices"
	"sort"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/proof"
	"github.com/pavise/pavise/internal/record"
)

// An Index says where the bundles of one segment begin, which times they span,
// and which records bear which marks. It is derived from the segment: a search
// reads every record that it names, and a damaged index is made anew.
//
// The index of the active segment is in memory and grows; that of another is a
// file, of which only the bundles are kept in memory.
type Index struct {
	count   uint64 // records
	bundles []bundleMark
	marks   map[uint64]*runs // mark → places of records in the segment; nil for a file
	file    *indexFile
	// last are the marks of the record that was added last, and where their places are:
	// most records bear the marks of the one before, which need not be looked up again.
	last [maxMarks]struct {
		mark uint64
		runs *runs
	}
}

// runs are ascending places: most marks are borne by many records in a row.
type runs []run

// A run is n places in a row.
type run struct{ first, n uint32 }

// add adds a place behind the others.
func (r *runs) add(place uint32) {
	if n := len(*r); n > 0 && (*r)[n-1].first+(*r)[n-1].n == place {
		(*r)[n-1].n++
		return
	}
	*r = append(*r, run{place, 1})
}

// within returns the places that lie in [low, high).
func (r runs) within(low, high uint32) (places []uint32) {
	from := sort.Search(len(r), func(i int) bool { return r[i].first+r[i].n > low })
	for _, run := range r[from:] {
		for place := max(run.first, low); place < min(run.first+run.n, high); place++ {
			places = append(places, place)
		}
		if run.first >= high {
			break
		}
	}
	return places
}

// A bundleMark is what an index says of 256 records in a row.
type bundleMark struct {
	offset      int64 // where they begin in the segment
	first, last int64 // times that they span, Unix microseconds
}

// The sorts of mark.
const (
	MarkTenant  = 't'
	MarkKind    = 'k' // model.infer
	MarkRoom    = 'r' // model
	MarkWho     = 'w'
	MarkOn      = 'o'
	MarkSubject = 's'
	MarkEnding  = 'x' // allow, alter, deny; failed
	MarkPhase   = 'p' // of records that are no act
)

// Mark is the 64-bit FNV-1a hash of a sort and a text. Two texts may share one:
// a search looks at the record itself before it shows it.
func Mark(sort byte, parts ...string) uint64 {
	const prime = 1099511628211
	h := (uint64(14695981039346656037) ^ uint64(sort)) * prime
	for i, part := range parts {
		if i > 0 {
			h = (h ^ '/') * prime
		}
		for _, c := range []byte(part) {
			h = (h ^ uint64(c)) * prime
		}
	}
	return h
}

// A Marking is what the index takes in of one record.
type Marking struct {
	at    int64 // Unix microseconds
	marks [maxMarks]uint64
	n     int
}

// maxMarks is how many marks a record bears at most.
const maxMarks = 10

// add adds a mark, once: the places of a mark ascend.
func (m *Marking) add(mark uint64) {
	if slices.Contains(m.marks[:m.n], mark) {
		return
	}
	m.marks[m.n] = mark
	m.n++
}

// MarkingOf returns the marks of a record.
func MarkingOf(r *record.Record) (m Marking) {
	m.at = r.At.UnixMicro()
	m.add(Mark(MarkTenant, r.Tenant))
	m.add(Mark(MarkKind, r.Kind))
	m.add(Mark(MarkRoom, record.Room(r.Kind)))
	if r.Who != nil && r.Who.Name() != (pavise.Name{}) {
		m.add(Mark(MarkWho, r.Who.Tenant, r.Who.Kind, r.Who.ID))
	}
	if r.On != (pavise.Name{}) {
		m.add(Mark(MarkOn, r.On.Tenant, r.On.Kind, r.On.ID))
	}
	m.rest(r.Subject, string(r.Outcome), r.Phase, r.Error != nil)
	return m
}

// MarkingOfGlimpse returns the marks of the record that was glanced at: the same.
func MarkingOfGlimpse(g *record.Glimpse) (m Marking) {
	m.at = g.At.UnixMicro()
	m.add(Mark(MarkTenant, g.Tenant))
	m.add(Mark(MarkKind, g.Kind))
	m.add(Mark(MarkRoom, record.Room(g.Kind)))
	if g.Who != "" {
		m.add(Mark(MarkWho, g.Who))
	}
	if g.On != "" {
		m.add(Mark(MarkOn, g.On))
	}
	m.rest(g.Subject, g.Outcome, g.Phase, g.Failed)
	return m
}

// rest adds the marks that few records bear.
func (m *Marking) rest(subject, outcome, phase string, failed bool) {
	if subject != "" {
		m.add(Mark(MarkSubject, subject))
	}
	if outcome != "" && outcome != string(pavise.Allow) {
		m.add(Mark(MarkEnding, outcome))
	}
	if failed {
		m.add(Mark(MarkEnding, Failed))
	}
	if phase != record.Act {
		m.add(Mark(MarkPhase, phase))
	}
}

// Failed is the ending of records of acts that did not end well, denied ones included.
const Failed = "failed"

// NewIndex returns the index of an empty segment.
func NewIndex() *Index { return &Index{marks: map[uint64]*runs{}} }

// Add takes in the next record, which begins at an offset of the segment.
func (x *Index) Add(offset int64, m *Marking) {
	place := uint32(x.count)
	if place%proof.TileWidth == 0 {
		x.bundles = append(x.bundles, bundleMark{offset: offset, first: m.at, last: m.at})
	}
	b := &x.bundles[len(x.bundles)-1]
	b.first, b.last = min(b.first, m.at), max(b.last, m.at)
	for i, h := range m.marks[:m.n] {
		x.placesOf(i, h).add(place)
	}
	x.count++
}

// placesOf returns where the places of a mark are, which is the record's i-th.
func (x *Index) placesOf(i int, mark uint64) *runs {
	last := &x.last[i]
	if last.runs != nil && last.mark == mark {
		return last.runs
	}
	if last.mark, last.runs = mark, x.marks[mark]; last.runs == nil {
		last.runs = new(runs)
		x.marks[mark] = last.runs
	}
	return last.runs
}

// AddEntry is Add for an entry. One that cannot be read bears no marks.
func (x *Index) AddEntry(offset int64, entry []byte) {
	g, _ := record.Glance(entry)
	m := MarkingOfGlimpse(&g)
	x.Add(offset, &m)
}

// MakeIndex makes the index of a whole segment anew.
func MakeIndex(d Directory, seg Segment) (*Index, error) {
	f, err := d.Open(seg.Name(), false)
	if err != nil {
		return nil, Fault("open "+seg.Name(), err)
	}
	defer f.Close()
	x := NewIndex()
	r := NewFrames(io.NewSectionReader(f, 0, seg.Size))
	for {
		at := r.Offset
		entry, err := r.Next()
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return x, nil
		}
		if err != nil {
			return nil, Fault("read "+seg.Name(), err)
		}
		x.AddEntry(at, entry)
	}
}

// Count returns the number of records.
func (x *Index) Count() uint64 { return x.count }

// Kept reports whether the index is a file: then it changes no more, and takes
// the disk to be asked.
func (x *Index) Kept() bool { return x.file != nil }

// Bundle returns where the n-th bundle of a segment of size bytes lies in it.
func (x *Index) Bundle(n int, size int64) (from, to int64) {
	if n+1 < len(x.bundles) {
		size = x.bundles[n+1].offset
	}
	return x.bundles[n].offset, size
}

// Places returns the records in [low, high) that bear a mark.
func (x *Index) Places(mark uint64, low, high uint32) (places []uint32, err error) {
	if x.file == nil {
		if places := x.marks[mark]; places != nil {
			return places.within(low, high), nil
		}
		return nil, nil
	}
	if places, err = x.file.places(mark); err != nil {
		return nil, err
	}
	return cut(places, low, high), nil
}

// cut returns the part of ascending places that lies in [low, high).
func cut(places []uint32, low, high uint32) []uint32 {
	from, _ := slices.BinarySearch(places, low)
	to, _ := slices.BinarySearch(places, high)
	return places[from:to]
}

// An index file is
//
//	magic ‖ first ‖ count ‖ size of the segment ‖ number of bundles ‖ number of marks
//	bundles: offset ‖ first time ‖ last time
//	marks:   hash ‖ where its places begin in what follows, ascending by hash
//	places
//	SHA-256 of everything before
//
// in big-endian integers of 8 bytes, places apart: they are written as runs.append
// says.
const (
	indexMagic  = "pavise index v1\n"
	indexHeader = len(indexMagic) + 5*8
	bundleSize  = 3 * 8
	markSize    = 2 * 8
	// maxIndex bounds an index file, in bytes: a segment of the smallest records,
	// each with marks of its own, takes less.
	maxIndex = 512 << 20
)

// Encode writes the index of a segment as a file holds it.
func (x *Index) Encode(seg Segment) []byte {
	hashes := slices.Sorted(maps.Keys(x.marks))
	b := append(make([]byte, 0, indexHeader+len(x.bundles)*bundleSize+len(hashes)*(markSize+4)+sha256.Size), indexMagic...)
	for _, n := range []uint64{seg.First, x.count, uint64(seg.Size), uint64(len(x.bundles)), uint64(len(hashes))} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	for _, mark := range x.bundles {
		b = binary.BigEndian.AppendUint64(b, uint64(mark.offset))
		b = binary.BigEndian.AppendUint64(b, uint64(mark.first))
		b = binary.BigEndian.AppendUint64(b, uint64(mark.last))
	}
	var places []byte
	for _, h := range hashes {
		b = binary.BigEndian.AppendUint64(b, h)
		b = binary.BigEndian.AppendUint64(b, uint64(len(places)))
		places = x.marks[h].append(places)
	}
	b = append(b, places...)
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

// append writes the runs: the gap before each, twice, plus one if it has more than one
// place; and then how many more.
func (r runs) append(b []byte) []byte {
	next := uint32(0)
	for _, run := range r {
		gap := uint64(run.first-next) << 1
		if run.n > 1 {
			b = binary.AppendUvarint(b, gap|1)
			b = binary.AppendUvarint(b, uint64(run.n-1))
		} else {
			b = binary.AppendUvarint(b, gap)
		}
		next = run.first + run.n
	}
	return b
}

// parsePlaces reads what runs.append wrote of a segment of count records.
func parsePlaces(b []byte, count uint64) ([]uint32, error) {
	var places []uint32
	next := uint64(0)
	for len(b) > 0 {
		gap, n := binary.Uvarint(b)
		more := uint64(0)
		if b = b[max(n, 0):]; n > 0 && gap&1 == 1 {
			more, n = binary.Uvarint(b)
			b = b[max(n, 0):]
		}
		first := next + gap>>1
		if n <= 0 || first >= count || more >= count-first {
			return nil, errDamaged
		}
		for next = first; next <= first+more; next++ {
			places = append(places, uint32(next))
		}
	}
	return places, nil
}

var errDamaged = &pavise.Error{Kind: pavise.Unverified, Msg: "an index file of the evidence log is damaged", Hint: "delete the index-* files while pavise is stopped: they are made anew from the records"}

// An indexFile is the index file of a segment that grows no more. It keeps none
// of it in memory, and nothing open.
type indexFile struct {
	disk   Directory
	name   string
	count  uint64
	hashes int   // marks in the file
	at     int64 // where the marks begin
	lists  int64 // where the places begin
	end    int64 // where they end
}

// OpenIndex opens the index file of a segment whose next segment begins with
// record end, and checks all of it. An error means that it is to be made anew.
func OpenIndex(d Directory, seg Segment, end uint64) (*Index, error) {
	b, err := Read(d, IndexName(seg.First), maxIndex)
	if err != nil {
		return nil, err
	}
	x, err := parseIndex(b, seg, end)
	if err != nil {
		return nil, err
	}
	x.file.disk, x.file.name = d, IndexName(seg.First)
	return x, nil
}

// parseIndex reads an index file.
func parseIndex(b []byte, seg Segment, end uint64) (*Index, error) {
	if len(b) < indexHeader+sha256.Size || !bytes.HasPrefix(b, []byte(indexMagic)) {
		return nil, errDamaged
	}
	body, sum := b[:len(b)-sha256.Size], b[len(b)-sha256.Size:]
	if have := sha256.Sum256(body); !bytes.Equal(have[:], sum) {
		return nil, errDamaged
	}
	number := func(i int) uint64 { return binary.BigEndian.Uint64(b[len(indexMagic)+8*i:]) }
	count, bundles, marks := number(1), number(3), number(4)
	if number(0) != seg.First || number(2) != uint64(seg.Size) || end != seg.First+count ||
		bundles != (count+proof.TileWidth-1)/proof.TileWidth || marks > uint64(len(body)) ||
		uint64(indexHeader)+bundles*bundleSize+marks*markSize > uint64(len(body)) {
		return nil, errDamaged
	}
	x := &Index{count: count, bundles: make([]bundleMark, bundles)}
	for i := range x.bundles {
		at := b[indexHeader+i*bundleSize:]
		mark := bundleMark{int64(binary.BigEndian.Uint64(at)), int64(binary.BigEndian.Uint64(at[8:])), int64(binary.BigEndian.Uint64(at[16:]))}
		if i == 0 && mark.offset != 0 || i > 0 && mark.offset <= x.bundles[i-1].offset || mark.offset >= seg.Size {
			return nil, errDamaged // no bundle begins there
		}
		x.bundles[i] = mark
	}
	at := int64(indexHeader) + int64(bundles)*bundleSize
	x.file = &indexFile{count: count, hashes: int(marks), at: at, lists: at + int64(marks)*markSize, end: int64(len(body))}
	return x, nil
}

// places returns the records that bear a mark.
func (f *indexFile) places(mark uint64) ([]uint32, error) {
	file, err := f.disk.Open(f.name, false)
	if err != nil {
		return nil, Fault("open "+f.name, err)
	}
	defer file.Close()
	b := make([]byte, f.lists-f.at)
	if _, err := file.ReadAt(b, f.at); err != nil {
		return nil, Fault("read "+f.name, err)
	}
	at := func(i int) uint64 { return binary.BigEndian.Uint64(b[i*markSize:]) }
	i := sort.Search(f.hashes, func(i int) bool { return at(i) >= mark })
	if i == f.hashes || at(i) != mark {
		return nil, nil
	}
	from, to := f.lists+int64(binary.BigEndian.Uint64(b[i*markSize+8:])), f.end
	if i+1 < f.hashes {
		to = f.lists + int64(binary.BigEndian.Uint64(b[(i+1)*markSize+8:]))
	}
	if from > to || to > f.end || from < f.lists {
		return nil, errDamaged
	}
	text := make([]byte, to-from)
	if _, err := file.ReadAt(text, from); err != nil {
		return nil, Fault("read "+f.name, err)
	}
	return parsePlaces(text, f.count)
}

// Spans returns the places in [low, high) of the bundles that hold times within
// [since, until], as ranges; a zero time is no bound.
func (x *Index) Spans(since, until time.Time, low, high uint32) (ranges [][2]uint32) {
	for i := int(low / proof.TileWidth); i < len(x.bundles) && uint32(i*proof.TileWidth) < high; i++ {
		b := x.bundles[i]
		if !since.IsZero() && b.last < since.UnixMicro() || !until.IsZero() && b.first > until.UnixMicro() {
			continue
		}
		from, to := max(uint32(i*proof.TileWidth), low), min(uint32(i+1)*proof.TileWidth, high)
		if n := len(ranges); n > 0 && ranges[n-1][1] == from {
			ranges[n-1][1] = to
		} else {
			ranges = append(ranges, [2]uint32{from, to})
		}
	}
	return ranges
}
