package dataset

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/plainjson"
	"github.com/pavise/pavise/internal/rowseal"
)

// maxSection bounds a line of the journal.
const maxSection = 64 << 10

// openOwn opens a file for its owner alone, and for one process at a time. What lies there
// already is believed later, so that nobody else may have had a hand in it.
func openOwn(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, writeFault(name, err)
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		f.Close()
		return nil, writeFault(name, errors.Join(err, errors.New("it is no file")))
	}
	if !ownAlone(info) {
		f.Close()
		return nil, &pavise.Error{Kind: pavise.Denied, Msg: rowseal.Shown(name) + " lies there, and others could have written it or could read it", Hint: "take it away, or name a place with -o that is yours alone"}
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, &pavise.Error{Kind: pavise.Conflict, Msg: rowseal.Shown(name) + " is being written by another process", Hint: "wait until it has ended, or name another file with -o", Err: err}
	}
	return f, nil
}

// ownAlone reports whether a file is of who runs this, has this one name, and can be reached
// by nobody else.
func ownAlone(info fs.FileInfo) bool {
	s, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(s.Uid) == os.Geteuid() && s.Nlink == 1 && info.Mode().Perm()&0o077 == 0
}

// resume reads what an earlier run left, as far as it is whole and of the files as they are
// now, forgets the rest, and returns how many entries need not be sealed again.
func (j *job) resume(ctx context.Context, s *sealer, entries []entry) (int, error) {
	j.at = int64(len(rowseal.IndexMagic))
	magic := make([]byte, j.at)
	kept := int64(0)
	if rowseal.ReadFull(j.part, magic, 0) == nil && string(magic) == rowseal.IndexMagic {
		var err error
		if kept, err = j.replay(ctx, s, entries); err != nil {
			return 0, err
		}
	}
	err := errors.Join(j.part.Truncate(j.at), j.journal.Truncate(kept))
	if err == nil {
		_, err = j.part.WriteAt([]byte(rowseal.IndexMagic), 0)
	}
	if err == nil {
		_, err = j.journal.Seek(kept, io.SeekStart)
	}
	if err != nil {
		return 0, writeFault(j.out, err)
	}
	return len(j.sections), nil
}

// replay takes the sections of the journal, and returns how much of it holds.
func (j *job) replay(ctx context.Context, s *sealer, entries []entry) (kept int64, err error) {
	info, err := j.part.Stat()
	if err != nil {
		return 0, writeFault(j.out, err)
	}
	lines := bufio.NewReaderSize(j.journal, maxSection)
	for len(j.sections) < len(entries) {
		line, err := lines.ReadSlice('\n')
		if err != nil {
			break // a line without its end was being written
		}
		made, err := plainjson.ReadKnown[rowseal.Section](line)
		if err != nil {
			break
		}
		e := &entries[len(j.sections)]
		format := s.format(e.path)
		if e.link {
			format = rowseal.Link
		}
		left := uint64(max(info.Size()-j.at, 0))
		if made.Path != e.path || made.Hint != e.hint || made.Format != format || made.Offset != j.at || made.Length < 0 || uint64(made.Length) > left ||
			made.Rows > left/32 || made.Bytes > left/32-made.Rows || int64(made.Rows+made.Bytes)*32 > made.Length {
			break
		}
		made.Source = j.part
		if holds, err := s.holds(ctx, e, &made); err != nil {
			return 0, err
		} else if !holds {
			break // it had not come to the disk when the machine stopped
		}
		s.meter.Read(int(made.Size))
		j.sections = append(j.sections, made)
		j.at += made.Length
		kept += int64(len(line))
	}
	return kept, nil
}

// holds looks whether a section of the journal says of an entry what its digests say. Of a
// link there are none: it is read again.
func (s *sealer) holds(ctx context.Context, e *entry, made *rowseal.Section) (bool, error) {
	if e.link {
		again := rowseal.Section{File: rowseal.File{Path: e.path}}
		link(e, &again)
		return again.File == made.File && made.Bytes == 0 && made.Length == 0, nil
	}
	if made.Size != e.size() {
		return false, nil
	}
	err := made.Check(ctx, s.workers)
	if ctx.Err() != nil {
		return false, stopped(ctx, err)
	}
	return err == nil, nil
}

// take keeps a section, and writes it down for a run that goes on from here.
func (j *job) take(made rowseal.Section) error {
	line, err := json.Marshal(made)
	if err != nil {
		return err
	}
	// The line comes again in the index's table, and much of it in the seal.
	if err := grown(j.grow, 3*int64(len(line))); err != nil {
		return err
	}
	if _, err := j.journal.Write(append(line, '\n')); err != nil {
		return writeFault(j.journal.Name(), err)
	}
	j.sections = append(j.sections, made)
	j.at = made.Offset + made.Length
	return nil
}

// writeNew writes a file where none is, whole or not at all.
func writeNew(name string, text []byte, mode os.FileMode) error {
	temp, err := writeTemp(name, text, mode)
	if err == nil {
		err = os.Link(temp, name) // which, unlike a rename, replaces nothing
	}
	return errors.Join(err, removeLeft(temp), syncDir(filepath.Dir(name)))
}

// writeTemp writes what is to become a file under another name, in a file that nobody has
// open. One that was left there goes.
func writeTemp(name string, text []byte, mode os.FileMode) (temp string, err error) {
	temp = name + ".new"
	if err := removeLeft(temp); err != nil {
		return temp, err
	}
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, mode)
	if err != nil {
		return temp, err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	return temp, errors.Join(err, f.Close())
}

// removeLeft removes a file, if it is there.
func removeLeft(name string) error {
	if err := os.Remove(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// syncDir makes the names in a directory durable.
func syncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
