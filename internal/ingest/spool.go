package ingest

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/pavise/pavise"
)

// A spool keeps, outside memory, which cluster each line of a log is of, and the templates that
// gave way.
type spool struct {
	ids    *os.File // the clusters of the lines, as varints
	places *os.File // by cluster that gave way: where its template is in texts, and how long it is
	texts  *os.File // templates
	to     *bufio.Writer
	at     int64 // the end of texts
	buffer []byte
	failed error
}

const placeSize = 16 // bytes in places of one cluster

func newSpool() (*spool, error) {
	s := &spool{}
	for _, f := range []**os.File{&s.ids, &s.places, &s.texts} {
		made, err := os.CreateTemp("", "pavise-templates-")
		if err != nil {
			s.Close()
			return nil, spoolFault(err)
		}
		os.Remove(made.Name()) // the open file stays until it is closed
		*f = made
	}
	s.to = bufio.NewWriterSize(s.ids, 1<<16)
	return s, nil
}

func spoolFault(err error) error {
	return &pavise.Error{
		Kind: pavise.Unavailable, Msg: fmt.Sprintf("keep what was found until the log is read: %v", err),
		Hint: "have TMPDIR name a directory with room: a log takes some four bytes a line", Err: err,
	}
}

// line keeps which cluster the next line is of.
func (s *spool) line(id int) error {
	var b [binary.MaxVarintLen64]byte
	if _, err := s.to.Write(b[:binary.PutUvarint(b[:], uint64(id))]); err != nil {
		s.failed = errors.Join(s.failed, err)
	}
	if s.failed != nil {
		return spoolFault(s.failed)
	}
	return nil
}

// text keeps the template of a cluster that gives way. Its errors are those of the next line.
func (s *spool) text(id int, text string) {
	place := binary.LittleEndian.AppendUint64(s.buffer[:0], uint64(s.at))
	place = binary.LittleEndian.AppendUint64(place, uint64(len(text)))
	_, err := s.places.WriteAt(place, int64(id)*placeSize)
	if err == nil {
		_, err = s.texts.WriteString(text)
	}
	if s.at += int64(len(text)); err != nil {
		s.failed = err
	}
}

// each calls take with the cluster of every line, in order.
func (s *spool) each(take func(id int) error) error {
	if err := s.to.Flush(); err != nil {
		return spoolFault(err)
	}
	if _, err := s.ids.Seek(0, io.SeekStart); err != nil {
		return spoolFault(err)
	}
	from := bufio.NewReaderSize(s.ids, 1<<16)
	for {
		id, err := binary.ReadUvarint(from)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return spoolFault(err)
		}
		if err := take(int(id)); err != nil {
			return err
		}
	}
}

// gone returns the template of a cluster that gave way.
func (s *spool) gone(id int) (string, error) {
	s.buffer = slices.Grow(s.buffer[:0], placeSize)[:placeSize]
	if _, err := s.places.ReadAt(s.buffer, int64(id)*placeSize); err != nil {
		return "", spoolFault(err)
	}
	at, n := binary.LittleEndian.Uint64(s.buffer), binary.LittleEndian.Uint64(s.buffer[8:])
	s.buffer = slices.Grow(s.buffer[:0], int(n))[:n]
	if _, err := s.texts.ReadAt(s.buffer, int64(at)); err != nil {
		return "", spoolFault(err)
	}
	return string(s.buffer), nil
}

// Close lets go of the files. It may be called on nil.
func (s *spool) Close() {
	if s == nil {
		return
	}
	for _, f := range []*os.File{s.ids, s.places, s.texts} {
		if f != nil {
			f.Close()
		}
	}
}
