package artefact

import (
	"bytes"
	"compress/bzip2"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"slices"
)

// The bounds and marks of ZIP (PKWARE's APPNOTE.TXT).
const (
	maxDirectory = 64 << 20
	maxSummed    = 16 << 20 // bytes of a member that is not packed: tensors are larger, and their checksums are for their loaders
	localHead    = 30
	centralHead  = 46
	endHead      = 22
	maxEnds      = 64
)

var errEnds = errors.New("it has more ends than are looked at")

// A zipMember is one member, as one of its two headers has it.
type zipMember struct {
	name           string
	flags, method  uint16
	crc            uint32
	packed, size   int64
	local, content int64 // where its local header and its bytes begin
}

// zip looks at an archive by its directory, as readers do, and by the headers of the members
// themselves, which other readers, or a repair, may believe instead.
func (s *scan) zip(w part) {
	r, size, ok := s.random(w)
	if !ok {
		return
	}
	directories, err := zipDirectories(r, size)
	var members []zipMember
	var base int64
	if len(directories) > 0 {
		members, base = directories[0].members, directories[0].base
	} else {
		s.tell(w, Finding{Severity: Unreadable, Rule: "archive.broken", Why: "its directory cannot be read (" + err.Error() + "), so that its members are looked for one by one", Next: nextAgain})
	}
	s.spend(w, min(size, 1<<16)+int64(len(members))*centralHead)
	members, spans, seen := s.layout(w, r, size, members, base)
	if len(directories) > 1 {
		s.tell(w, Finding{Severity: Suspicious, Rule: "archive.directories", Why: "it has more than one directory, and readers differ in which they take", Next: nextVet})
		for _, other := range directories[1:] {
			for _, m := range other.members {
				m.local += other.base
				members = append(members, m)
			}
		}
	}
	for _, m := range members {
		if s.ctx.Err() != nil || s.bombed {
			return
		}
		s.zipMember(w, r, size, m, true)
	}
	s.hidden(w, r, size, seen, spans)
}

// layout says where members lie, each place once, and tells of names that are there twice and
// of members on top of each other.
func (s *scan) layout(w part, r io.ReaderAt, size int64, listed []zipMember, base int64) (members []zipMember, spans [][2]int64, seen map[int64]bool) {
	seen = map[int64]bool{}
	names := map[string]bool{}
	for _, m := range listed {
		if names[m.name] {
			s.tell(w, Finding{Severity: Suspicious, Rule: "archive.twice", Offset: m.local, Why: "it has " + clip(m.name) + " twice, and readers differ in which they take", Next: nextVet})
		}
		names[m.name] = true
		if m.local += base; seen[m.local] {
			s.overlap(w, m.local)
			continue
		}
		seen[m.local] = true
		members = append(members, m)
		if local, err := localMember(r, m.local, size); err == nil {
			spans = append(spans, [2]int64{m.local, local.content + max(m.packed, 0)})
		}
	}
	slices.SortFunc(spans, func(a, b [2]int64) int { return int(min(max(a[0]-b[0], -1), 1)) })
	for i := 1; i < len(spans); i++ {
		if spans[i][0] < spans[i-1][1] {
			s.overlap(w, spans[i][0])
			break
		}
	}
	return members, spans, seen
}

func (s *scan) overlap(w part, at int64) {
	s.tell(w, Finding{Severity: Malicious, Rule: "archive.overlap", Offset: at, Why: "its members lie on top of each other, as in a bomb", Next: nextNever})
}

// hidden looks for members that the directory does not list, between and behind those it does.
func (s *scan) hidden(w part, r io.ReaderAt, size int64, seen map[int64]bool, spans [][2]int64) {
	from := int64(0)
	for _, gap := range append(spans, [2]int64{size, size}) {
		for at := from; at < gap[0] && s.ctx.Err() == nil; {
			found := find(r, at, min(gap[0], size), []byte("PK\x03\x04"))
			if s.spend(w, min(gap[0], size)-at); s.bombed {
				return
			}
			if found < 0 || seen[found] {
				break
			}
			m, err := localMember(r, found, size)
			if err != nil {
				break
			}
			s.tell(w, Finding{Severity: Suspicious, Rule: "archive.hidden", Offset: found, Why: "it holds " + clip(m.name) + ", which its directory does not list", Next: nextVet})
			m.local = found
			at = max(s.zipMember(w, r, size, m, false), found+localHead)
		}
		from = max(from, gap[1])
	}
}

// find returns where some bytes stand in a range, or -1. It looks through 64 MiB at most.
func find(r io.ReaderAt, from, to int64, what []byte) int64 {
	buf := make([]byte, 1<<16)
	for to = min(to, from+64<<20); from < to; {
		n, err := r.ReadAt(buf[:min(int64(len(buf)), to-from)], from)
		if i := bytes.Index(buf[:n], what); i >= 0 {
			return from + int64(i)
		}
		if err != nil || n < len(what) {
			return -1
		}
		from += int64(n - len(what) + 1)
		if to-from < int64(len(what)) {
			return -1
		}
	}
	return -1
}

// zipMember holds the two headers of a member against each other, looks into it, and returns
// where it ends.
func (s *scan) zipMember(w part, r io.ReaderAt, size int64, m zipMember, listed bool) int64 {
	s.member(w, m.name, m.local)
	local, err := localMember(r, m.local, size)
	if err != nil {
		s.tell(w, Finding{Severity: Unreadable, Rule: "archive.broken", Offset: m.local, Why: clip(m.name) + ": " + err.Error(), Next: nextAgain})
		return m.local
	}
	if listed {
		if local.name != m.name {
			s.member(w, local.name, m.local)
			s.tell(w, Finding{Severity: Suspicious, Rule: "archive.names", Offset: m.local, Why: "its directory calls a member " + clip(m.name) + ", and the member itself " + clip(local.name) + ": readers differ", Next: nextVet})
		}
		if (local.flags^m.flags)&1 != 0 || local.method != m.method {
			s.tell(w, Finding{Severity: Suspicious, Rule: "archive.flags", Offset: m.local, Why: clip(m.name) + " is marked encrypted, or packed, in one of its two headers and not in the other, as one does to stop scanners", Next: nextVet})
		}
	}
	if m.flags&1 != 0 && local.flags&1 != 0 {
		s.tell(w, Finding{Severity: Unreadable, Rule: "archive.encrypted", Offset: m.local, Why: clip(m.name) + " is marked encrypted", Next: nextUnpack})
	}
	if m.packed < 0 || local.content+m.packed > size {
		s.tell(w, Finding{Severity: Unreadable, Rule: "archive.broken", Offset: m.local, Why: clip(m.name) + " is longer than the archive", Next: nextAgain})
		m.packed = size - local.content
	}
	body := io.NewSectionReader(r, local.content, m.packed)
	for _, method := range slices.Compact([]uint16{m.method, local.method}) {
		if m.packed > 0 {
			s.content(w, m, method, body)
		}
	}
	return local.content + m.packed
}

// content looks into a member by a method of packing.
func (s *scan) content(w part, m zipMember, method uint16, body *io.SectionReader) {
	if _, err := body.Seek(0, io.SeekStart); err != nil {
		return
	}
	sum := crc32.NewIEEE()
	var r io.Reader
	switch method {
	case 0:
		inner := w.inside(m.name, body, m.packed) // stays a ReaderAt
		if s.look(inner); m.packed <= maxSummed && !s.bombed {
			s.spend(inner, m.packed)
			if _, err := body.Seek(0, io.SeekStart); err == nil {
				_, err = io.Copy(sum, body)
				s.checksum(inner, m, sum.Sum32(), err)
			}
		}
		return
	case 8:
		r = io.TeeReader(flate.NewReader(body), sum)
	case 12:
		r = io.TeeReader(bzip2.NewReader(body), sum)
	default:
		s.tell(w, Finding{Severity: Unreadable, Rule: "archive.unread", Offset: m.local, Why: fmt.Sprintf("%s is packed by method %d, which is not opened here", clip(m.name), method), Next: nextUnpack})
		return
	}
	inner := w.inside(m.name, r, 0)
	s.look(inner)
	_, err := io.Copy(io.Discard, &counting{s: s, r: r, w: inner})
	s.checksum(inner, m, sum.Sum32(), err)
}

// checksum tells of bytes that end too early, or are not those of the checksum.
func (s *scan) checksum(w part, m zipMember, sum uint32, err error) {
	switch {
	case err != nil:
		s.cut(w, err)
	case m.crc != 0 && sum != m.crc:
		s.tell(w, Finding{Severity: Suspicious, Rule: "archive.checksum", Why: "its checksum is not that of its bytes: some loaders do not look, and scanners that do stop here", Next: nextAgain})
	}
}

// A directory lists the members of an archive.
type directory struct {
	members []zipMember
	base    int64 // how far all lies behind where it says, because something stands before the archive
}

// zipDirectories reads the directories at the end: more than one where readers can come to
// differ in which they take. The error is of the last that cannot be read.
func zipDirectories(r io.ReaderAt, size int64) (all []directory, err error) {
	n := min(size, 1<<16+endHead)
	tail := make([]byte, n)
	if _, err := r.ReadAt(tail, size-n); err != nil && err != io.EOF {
		return nil, err
	}
	err = fmt.Errorf("there is none")
	for i, tried := len(tail), 0; ; tried++ {
		if tried == maxEnds {
			return all, errEnds
		}
		if i = bytes.LastIndex(tail[:i], []byte("PK\x05\x06")); i < 0 {
			break
		}
		if len(tail)-i < endHead {
			continue
		}
		le := binary.LittleEndian
		length, start := int64(le.Uint32(tail[i+12:])), int64(le.Uint32(tail[i+16:]))
		at := size - n + int64(i)
		length64, start64, end, err64 := zip64End(r, at)
		switch {
		case err64 == nil: // PyTorch writes it behind small archives, too, and it says the same
			all, err = readDirectory(r, end, length64, start64, all, err)
		case start == math.MaxUint32 || length == math.MaxUint32:
			err = err64
		default:
			all, err = readDirectory(r, at, length, start, all, err)
		}
		if err64 == nil && (length != length64 || start != start64) && start != math.MaxUint32 && length != math.MaxUint32 {
			all, err = readDirectory(r, at, length, start, all, err)
		}
	}
	return all, err
}

// different adds a directory that is none of those there are, nor empty beside others.
func different(all []directory, one directory) []directory {
	for _, other := range all {
		if len(one.members) == 0 || slices.Equal(one.members, other.members) && one.base == other.base {
			return all
		}
	}
	return append(all, one)
}

// readDirectory adds one that ends at a place, as some readers have it, or begins where it says,
// as others do.
func readDirectory(r io.ReaderAt, at, length, start int64, all []directory, failed error) ([]directory, error) {
	if length < 0 || length > maxDirectory || length > at || start < 0 || start > at-length {
		return all, fmt.Errorf("it does not lie where it is said to")
	}
	for _, from := range slices.Compact([]int64{at - length, start}) {
		d, err := directoryAt(r, from, length)
		if err != nil {
			if from != start || at-length == start {
				failed = err
			}
			continue
		}
		d.base = from - start
		all = different(all, d)
	}
	return all, failed
}

func directoryAt(r io.ReaderAt, at, length int64) (d directory, err error) {
	b := make([]byte, length)
	if _, err := r.ReadAt(b, at); err != nil && err != io.EOF {
		return d, err
	}
	for len(b) > 0 {
		m, n, err := centralMember(b)
		if err != nil {
			return d, err
		}
		d.members, b = append(d.members, m), b[n:]
	}
	return d, nil
}

// zip64End reads what large archives have before the end.
func zip64End(r io.ReaderAt, at int64) (length, start, end int64, err error) {
	var locator [20]byte
	if at < 20 {
		return 0, 0, 0, fmt.Errorf("it says that it is large, and is not")
	}
	if _, err := r.ReadAt(locator[:], at-20); err != nil {
		return 0, 0, 0, err
	}
	where := int64(binary.LittleEndian.Uint64(locator[8:]))
	var b [56]byte
	if string(locator[:4]) != "PK\x06\x07" || where < 0 || where > at-20-56 {
		return 0, 0, 0, fmt.Errorf("it says that it is large, and is not")
	}
	if _, err := r.ReadAt(b[:], where); err != nil {
		return 0, 0, 0, err
	}
	if string(b[:4]) != "PK\x06\x06" {
		return 0, 0, 0, fmt.Errorf("the end of a large archive is damaged")
	}
	return int64(binary.LittleEndian.Uint64(b[40:])), int64(binary.LittleEndian.Uint64(b[48:])), where, nil
}

// centralMember reads one entry of the directory, and returns how long it is.
func centralMember(b []byte) (m zipMember, n int, err error) {
	if len(b) < centralHead || string(b[:4]) != "PK\x01\x02" {
		return m, 0, fmt.Errorf("an entry of it is damaged")
	}
	le := binary.LittleEndian
	name, extra, comment := int(le.Uint16(b[28:])), int(le.Uint16(b[30:])), int(le.Uint16(b[32:]))
	if n = centralHead + name + extra + comment; n > len(b) {
		return m, 0, fmt.Errorf("an entry of it is cut off")
	}
	m = zipMember{
		name: string(b[centralHead : centralHead+name]), flags: le.Uint16(b[8:]), method: le.Uint16(b[10:]), crc: le.Uint32(b[16:]),
		packed: int64(le.Uint32(b[20:])), size: int64(le.Uint32(b[24:])), local: int64(le.Uint32(b[42:])),
	}
	large(b[centralHead+name:centralHead+name+extra], &m.size, &m.packed, &m.local)
	return m, n, nil
}

// large reads sizes of 64 bits out of the extra field, for those that say they are there.
func large(extra []byte, fields ...*int64) {
	for len(extra) >= 4 {
		id, n := binary.LittleEndian.Uint16(extra), int(binary.LittleEndian.Uint16(extra[2:]))
		if n > len(extra)-4 {
			return
		}
		body := extra[4 : 4+n]
		extra = extra[4+n:]
		if id != 1 {
			continue
		}
		for _, f := range fields {
			if *f == math.MaxUint32 && len(body) >= 8 {
				*f, body = int64(binary.LittleEndian.Uint64(body)), body[8:]
			}
		}
	}
}

// localMember reads the header that stands before a member's bytes.
func localMember(r io.ReaderAt, at, size int64) (m zipMember, err error) {
	var b [localHead]byte
	if at < 0 || at > size-localHead {
		return m, fmt.Errorf("its header lies outside of the archive")
	}
	if _, err := r.ReadAt(b[:], at); err != nil {
		return m, err
	}
	if string(b[:4]) != "PK\x03\x04" {
		return m, fmt.Errorf("its header is none")
	}
	le := binary.LittleEndian
	rest := make([]byte, int(le.Uint16(b[26:]))+int(le.Uint16(b[28:])))
	if n, err := r.ReadAt(rest, at+localHead); n < len(rest) {
		return m, fmt.Errorf("its header is cut off: %w", err)
	}
	name := int(le.Uint16(b[26:]))
	m = zipMember{
		name: string(rest[:name]), flags: le.Uint16(b[6:]), method: le.Uint16(b[8:]), crc: le.Uint32(b[14:]),
		packed: int64(le.Uint32(b[18:])), size: int64(le.Uint32(b[22:])), local: at, content: at + localHead + int64(len(rest)),
	}
	large(rest[name:], &m.size, &m.packed)
	if m.flags&8 != 0 && m.packed == 0 { // the size stands behind the bytes: all that is left may be them
		m.packed = size - m.content
	}
	return m, nil
}
