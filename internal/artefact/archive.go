package artefact

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"
)

// maxDictionary bounds the memory of an LZMA reader: presets of xz go to 64 MiB.
const maxDictionary = 64 << 20

func isBzip2(head []byte) bool {
	return len(head) > 10 && bytes.HasPrefix(head, []byte("BZh")) && head[3] >= '1' && head[3] <= '9' && string(head[4:10]) == "\x31\x41\x59\x26\x53\x59"
}

// isZlib goes by the header's own check (RFC 1950), which the numbers of one tensor in 16,000
// have by chance: what does not unpack as far as it is seen is something else.
func isZlib(head []byte) bool {
	if len(head) < 8 || head[0] != 0x78 || (int(head[0])<<8|int(head[1]))%31 != 0 {
		return false
	}
	r, err := zlib.NewReader(bytes.NewReader(head))
	if err != nil {
		return false
	}
	n, err := io.CopyN(io.Discard, r, 1<<20)
	return err == nil || n > 0 && (err == io.EOF || err == io.ErrUnexpectedEOF && len(head) == peek)
}

func isLZMA(head []byte) bool {
	return len(head) > 13 && head[0] == 0x5d && head[1] == 0 && head[2] == 0 && lzma.ValidHeader(head[:13])
}

func isTar(head []byte) bool {
	if len(head) < 512 {
		return false
	}
	_, err := tar.NewReader(bytes.NewReader(head)).Next()
	return err == nil || string(head[257:262]) == "ustar"
}

// unpack looks at what a compressed file holds.
func (s *scan) unpack(w part, r io.Reader, err error) {
	if err != nil {
		s.cut(w, err)
		return
	}
	base := path.Base(name(w))
	for _, ext := range []string{".gz", ".bz2", ".xz", ".lzma", ".z"} {
		base = strings.TrimSuffix(base, ext)
	}
	inner := w.inside(base, r, 0)
	s.look(inner)
	if _, err := io.Copy(io.Discard, &counting{s: s, r: r, w: w}); err != nil {
		s.cut(w, err)
	}
}

func (s *scan) gzip(w part) {
	r, err := gzip.NewReader(w.in)
	s.unpack(w, r, err)
}

func (s *scan) bzip2(w part) { s.unpack(w, bzip2.NewReader(w.in), nil) }

func (s *scan) zlib(w part) {
	r, err := zlib.NewReader(w.in)
	s.unpack(w, r, err)
}

func (s *scan) xz(w part) {
	head, _ := w.in.Peek(64)
	if d := xzDictionary(head); d > maxDictionary {
		s.tell(w, Finding{Severity: Unreadable, Rule: "archive.unread", Why: "it is compressed with xz and takes more memory than that is given", Next: nextUnpack})
		return
	}
	r, err := xz.ReaderConfig{DictCap: maxDictionary}.NewReader(w.in)
	s.unpack(w, r, err)
}

// xzDictionary is the dictionary that the first block asks for, which the reader would take
// memory for whatever it is configured with (xz file format 1.0.4, 3.1 and 5.3.1).
func xzDictionary(head []byte) int64 {
	if len(head) < 14 || head[12] == 0 {
		return 0
	}
	flags, b := head[13], head[14:]
	for _, there := range []byte{0x40, 0x80} { // sizes, packed and not
		if flags&there != 0 {
			_, n := binary.Uvarint(b)
			b = b[max(n, 0):]
		}
	}
	for range flags&3 + 1 {
		id, n := binary.Uvarint(b)
		b = b[max(n, 0):]
		size, n := binary.Uvarint(b)
		if b = b[max(n, 0):]; size == 0 || size > uint64(len(b)) {
			return 0
		}
		if id == 0x21 {
			if bits := b[0] & 0x3f; bits < 40 {
				return int64(2|bits&1) << (bits/2 + 11)
			}
			return 1 << 32
		}
		b = b[size:]
	}
	return 0
}

func (s *scan) lzma(w part) {
	head, _ := w.in.Peek(13)
	if d := uint32(head[1]) | uint32(head[2])<<8 | uint32(head[3])<<16 | uint32(head[4])<<24; d > maxDictionary {
		s.tell(w, Finding{Severity: Unreadable, Rule: "archive.unread", Why: "it is compressed with LZMA and takes more memory than that is given", Next: nextUnpack})
		return
	}
	r, err := lzma.ReaderConfig{DictCap: maxDictionary}.NewReader(w.in)
	s.unpack(w, r, err)
}

// escapes says how the name of a member leaves the place where its archive is unpacked, or "".
func escapes(name string) string {
	slashed := strings.ReplaceAll(name, `\`, "/")
	switch {
	case strings.HasPrefix(slashed, "/"), len(slashed) > 1 && slashed[1] == ':' && ('A' <= slashed[0] && slashed[0] <= 'Z' || 'a' <= slashed[0] && slashed[0] <= 'z'):
		return "is absolute"
	case slashed == "..", strings.HasPrefix(slashed, "../"), strings.Contains(slashed, "/../"), strings.HasSuffix(slashed, "/.."):
		return "climbs out of the archive"
	case strings.ContainsRune(name, 0):
		return "holds a NUL, behind which some readers read no further"
	}
	return ""
}

// member tells of a name that leaves the archive.
func (s *scan) member(w part, name string, at int64) {
	if how := escapes(name); how != "" {
		s.tell(w, Finding{Severity: Malicious, Rule: "archive.traversal", Offset: at, Why: "the name of its member " + clip(name) + " " + how + ": unpacking it writes elsewhere", Next: nextNever})
	}
}

func (s *scan) tar(w part) {
	in := &offsets{r: w.in}
	r := tar.NewReader(in)
	for n := 0; ; n++ {
		h, err := r.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			s.cut(w, err)
			s.pickles(w, bufio.NewReader(in), true)
			return
		}
		if s.ctx.Err() != nil || s.bombed {
			return
		}
		s.member(w, h.Name, in.n)
		switch h.Typeflag {
		case tar.TypeSymlink, tar.TypeLink:
			if how := escapes(h.Linkname); how != "" {
				s.tell(w, Finding{Severity: Malicious, Rule: "archive.link", Offset: in.n, Why: "its member " + clip(h.Name) + " is a link, and where it leads " + how, Next: nextNever})
			}
		case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
			s.tell(w, Finding{Severity: Suspicious, Rule: "archive.device", Offset: in.n, Why: "its member " + clip(h.Name) + " is a device or a pipe", Next: nextVet})
		case tar.TypeReg, tar.TypeGNUSparse, tar.TypeCont:
			s.look(w.inside(h.Name, r, h.Size))
		case tar.TypeXGlobalHeader:
		default:
			if h.Typeflag != tar.TypeDir || h.Size > 0 {
				s.tell(w, Finding{Severity: Suspicious, Rule: "archive.type", Offset: in.n, Why: fmt.Sprintf("its member %s is of the type %q, for which others take a file: readers differ", clip(h.Name), h.Typeflag), Next: nextVet})
				s.look(w.inside(h.Name, r, h.Size))
			}
		}
	}
}

// offsets counts what was read.
type offsets struct {
	r io.Reader
	n int64
}

// Read implements io.Reader.
func (o *offsets) Read(b []byte) (int, error) {
	n, err := o.r.Read(b)
	o.n += int64(n)
	return n, err
}
