package depot

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/seal"
)

// The sizes of docs/formats/content.md, in bytes.
const (
	frameSize = 64 << 10 // of what is in a frame; the last may have less
	overhead  = 49       // of an envelope
	idSize    = 16
	headPlain = idSize + 8
	headSize  = headPlain + overhead
)

// An id tells the frames of one content from those of all others.
type id [idSize]byte

func newID() (made id) {
	_, _ = rand.Read(made[:]) // never fails
	return made
}

// frames is how many frames a content of this size has: an empty one has one.
func frames(size int64) int64 { return max(1, (size+frameSize-1)/frameSize) }

// sealedSize is how many bytes lie where a content of this size is kept.
func sealedSize(size int64) int64 { return headSize + size + frames(size)*overhead }

// headPlace is what the head of a content is bound to.
func headPlace(d Digest) []byte { return append([]byte("pavise/content/1/head/"), d[:]...) }

// framePlace is what a frame is bound to: its content, its number, and whether it is the last.
func framePlace(of id, number int64, last bool) []byte {
	place := append([]byte("pavise/content/1/frame/"), of[:]...)
	place = binary.BigEndian.AppendUint64(place, uint64(number))
	if last {
		return append(place, 1)
	}
	return append(place, 0)
}

// sealHead says which frames are those of a content, and how long it is.
func sealHead(key *seal.Key, d Digest, of id, size int64) []byte {
	return key.Seal(headPlace(d), binary.BigEndian.AppendUint64(of[:], uint64(size)))
}

// A sealer is what a content is read through that is on its way in: it yields the frames, and
// knows at the end what went through.
type sealer struct {
	from   io.Reader
	key    *seal.Key
	id     id
	most   int64                              // bytes that may come
	finish func(size int64, sum Digest) error // asked before the last frame is given out; nil: nobody

	plain, next []byte // the frame that is read, and the one behind it
	room, out   []byte // the envelope, and what is left of it
	number      int64
	size        int64
	sum         hash.Hash
	started     bool
	ended       bool
	err         error
}

func newSealer(from io.Reader, key *seal.Key, of id, most int64) *sealer {
	return &sealer{from: from, key: key, id: of, most: most, sum: sha256.New(), plain: make([]byte, 0, frameSize), next: make([]byte, 0, frameSize)}
}

// errMore is that more came than may.
var errMore = errors.New("it is longer")

// digest is the SHA-256 of all that went through.
func (s *sealer) digest() Digest { return Digest(s.sum.Sum(nil)) }

// Read implements io.Reader.
func (s *sealer) Read(p []byte) (int, error) {
	for len(s.out) == 0 {
		if s.err == nil {
			s.err = s.step()
		}
		if s.err != nil {
			return 0, s.err
		}
	}
	n := copy(p, s.out)
	s.out = s.out[n:]
	return n, nil
}

// step seals one frame. Whether it is the last is only known once what is behind it was read.
func (s *sealer) step() error {
	if s.ended {
		return io.EOF
	}
	var err error
	if !s.started {
		s.started = true
		if s.plain, err = s.fill(s.plain); err != nil {
			return err
		}
	}
	if s.next = s.next[:0]; len(s.plain) == frameSize {
		if s.next, err = s.fill(s.next); err != nil {
			return err
		}
	}
	if s.ended = len(s.next) == 0; s.ended && s.finish != nil {
		if err := s.finish(s.size, s.digest()); err != nil {
			return err
		}
	}
	s.room = s.key.SealIn(s.room, framePlace(s.id, s.number, s.ended), s.plain)
	s.out = s.room
	s.number++
	s.plain, s.next = s.next, s.plain
	return nil
}

// fill reads as much of a frame as there is.
func (s *sealer) fill(room []byte) ([]byte, error) {
	n, err := io.ReadFull(s.from, room[:frameSize])
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return nil, err
	}
	if s.size += int64(n); s.size > s.most {
		return nil, errMore
	}
	s.sum.Write(room[:n])
	return room[:n], nil
}

// A Reader reads a content. Each byte that it yields was proved to be of this content and in
// its place, and the last frame of them only comes once the whole has the digest that was
// asked for. Errors of what is not so are of kind Unverified.
type Reader struct {
	from   io.ReadCloser
	key    *seal.Key
	digest Digest
	id     id
	size   int64

	envelope []byte
	out      []byte // proved, and not yielded yet
	number   int64
	sum      hash.Hash
	err      error
}

// newReader reads the head.
func newReader(from io.ReadCloser, key *seal.Key, d Digest) (*Reader, error) {
	r := &Reader{from: from, key: key, digest: d, sum: sha256.New()}
	head := make([]byte, headSize)
	if _, err := io.ReadFull(from, head); err != nil {
		return nil, r.cut(err)
	}
	plain, err := key.Open(headPlace(d), head)
	if err != nil {
		return nil, r.forged("its head does not open", err)
	}
	if len(plain) != headPlain {
		return nil, r.forged("its head has another form", nil)
	}
	r.id = id(plain[:idSize])
	r.size = int64(binary.BigEndian.Uint64(plain[idSize:]))
	r.envelope = make([]byte, 0, min(r.size, frameSize)+overhead)
	return r, nil
}

// Size is how many bytes the content has.
func (r *Reader) Size() int64 { return r.size }

// Close ends it.
func (r *Reader) Close() error { return r.from.Close() }

// Read implements io.Reader.
func (r *Reader) Read(p []byte) (int, error) {
	for len(r.out) == 0 {
		if r.err == nil {
			r.err = r.step()
		}
		if r.err != nil {
			return 0, r.err
		}
	}
	n := copy(p, r.out)
	r.out = r.out[n:]
	return n, nil
}

// step proves one frame, and with the last the whole.
func (r *Reader) step() error {
	left := r.size - r.number*frameSize
	if r.number == frames(r.size) {
		return io.EOF
	}
	last := r.number == frames(r.size)-1
	envelope := r.envelope[:min(left, frameSize)+overhead]
	if _, err := io.ReadFull(r.from, envelope); err != nil {
		return r.cut(err)
	}
	plain, err := r.key.Open(framePlace(r.id, r.number, last), envelope)
	if err != nil {
		return r.forged(fmt.Sprintf("frame %d does not open", r.number), err)
	}
	r.sum.Write(plain)
	if last {
		if err := r.whole(); err != nil {
			return err
		}
	}
	r.out = plain
	r.number++
	return nil
}

// whole holds all that was read to the digest, and looks that nothing lies behind it.
func (r *Reader) whole() error {
	if Digest(r.sum.Sum(nil)) != r.digest {
		return r.forged("what lies there is another content", nil)
	}
	n, err := io.ReadFull(r.from, make([]byte, 1))
	if n > 0 {
		return r.forged("something lies behind it", nil)
	}
	if err != io.EOF {
		return err
	}
	return nil
}

// cut is the error of a content of which no more can be read.
func (r *Reader) cut(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return r.forged("it was cut off", err)
	}
	return err
}

func (r *Reader) forged(why string, err error) error {
	return &pavise.Error{Kind: pavise.Unverified, Msg: fmt.Sprintf("the content %s was altered where it is kept: %s", r.digest, why), Hint: "find out who writes there, and put the content again from where it came", Err: err}
}
