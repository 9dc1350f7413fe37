package receiver

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/pavise/pavise"
)

// mark is how many bytes at its beginning, and before the place that was read to, a file is
// known by: an inode is given to another file once the first is gone.
const mark = 1024

// A tailPosition is how far a file was read.
type tailPosition struct {
	identity
	Generation int64  // which of the files that had the name, counted from 1; 0: none yet
	Offset     int64  // what the gate has
	Head       string // digest of the first bytes before Offset, mark of them at most
	Last       string // digest of the last bytes before Offset
	Pending    *under `json:",omitempty"`
}

// An under is a batch that is under way: the gate may have it.
type under struct {
	To     int64  // where it ends
	SHA256 string // of its body
	Form   string `json:",omitempty"` // that it was cut in
}

// A tail reads what a program appends to a file, over its rotations.
type tail struct {
	line       *line
	root, path string

	pos        tailPosition
	dirty      bool // pos is not kept yet
	f          file // nil: none is open
	head, last []byte
	header     []byte // of CSV
	buf        []byte
	looked     fs.FileInfo // when its content was last compared with what was read
	still      time.Time   // since when the file has another name and nothing new in it; zero: it has not
	left       time.Time   // files that have another name, and were last written before it, are not waited for
}

func openTail(l *line, t target) (carrier, error) {
	tl := &tail{line: l, root: t.root, path: t.path, buf: make([]byte, maxPart)}
	return tl, l.restore(&tl.pos)
}

func (t *tail) where() string {
	return fmt.Sprintf("byte %d of file %d of that name", t.pos.Offset, t.pos.Generation)
}

func (t *tail) close() {
	if t.f != nil {
		t.f.Close()
		t.f = nil
	}
}

// pass is carrier's: one batch at most.
func (t *tail) pass(ctx context.Context) (more bool, err error) {
	if t.f == nil {
		if err := t.find(ctx); err != nil {
			return false, err
		}
	}
	if err := t.compare(ctx); err != nil {
		return false, err
	}
	if more, err = t.drain(ctx, false); more || err != nil {
		t.still = time.Time{}
		return more, err
	}
	return t.follow(ctx)
}

// away dresses an error of the file for people.
func (t *tail) away(err error) error {
	return &pavise.Error{Kind: pavise.Unavailable, Msg: fmt.Sprintf("read %s/%s: %v", t.root, t.path, err), Hint: "it is tried again by itself; check that it is there, and readable for Pavise", Err: err}
}

// find opens the file that was being read: under its own name, or under the one that it was
// given when it was put aside.
func (t *tail) find(ctx context.Context) error {
	if t.pos.Generation == 0 {
		return t.begin(ctx)
	}
	f, err := t.search(identity{})
	if err != nil {
		return err
	}
	if t.f = f; f != nil {
		return nil
	}
	next, err := t.files().open(t.root, t.path)
	if err != nil {
		return t.away(err) // that something is lost is said when it is known what comes after
	}
	next.Close()
	lost := t.pos
	summary := fmt.Sprintf("the file that was being read as %s is not there any more, or is another one now: what it had beyond byte %d was not read, nor were others that had the name before the one that has it now", t.line.row.from, lost.Offset)
	if lost.Pending != nil {
		summary += fmt.Sprintf("; the gate may or may not have bytes %d to %d", lost.Offset, lost.Pending.To-1)
	}
	if err := t.line.find(ctx, KindTruncated, pavise.Warning, summary, map[string]any{"read": lost.Offset}); err != nil {
		return err
	}
	return t.begin(ctx)
}

func (t *tail) files() folder { return t.line.room.files }

// begin opens the file that has the name now, as another than the one before.
func (t *tail) begin(ctx context.Context) error {
	f, err := t.files().open(t.root, t.path)
	if err != nil {
		return t.away(err)
	}
	return t.take(ctx, f)
}

// take reads a file from its beginning.
func (t *tail) take(ctx context.Context, f file) error {
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return t.away(err)
	}
	if t.f != f {
		t.close()
	}
	id, _ := who(info)
	t.f, t.head, t.last, t.header, t.looked, t.still = f, nil, nil, nil, nil, time.Time{}
	t.pos = tailPosition{identity: id, Generation: t.pos.Generation + 1}
	return t.kept(ctx)
}

func (t *tail) kept(ctx context.Context) error {
	err := t.line.keep(ctx, t.pos)
	t.dirty = err != nil
	return err
}

// search looks for the file that was being read, among those that have its name or one that
// begins with it. It returns nil if there is none. Except is one that it is not.
func (t *tail) search(except identity) (file, error) {
	names, err := t.files().beside(t.root, t.path)
	if err != nil {
		return nil, t.away(err)
	}
	var copied file
	defer func() {
		if copied != nil {
			copied.Close()
		}
	}()
	for _, name := range append([]string{t.path}, names...) {
		f, err := t.files().open(t.root, name)
		if err != nil {
			continue // it was put aside meanwhile, or is no file
		}
		same, id, err := t.same(f, except)
		if err != nil {
			f.Close()
			return nil, t.away(err)
		}
		switch {
		case same && id == t.pos.identity:
			return f, nil
		case same && t.pos.Offset > 0 && copied == nil:
			copied = f
		default:
			f.Close()
		}
	}
	if copied == nil {
		return nil, nil
	}
	info, err := copied.Stat() // the file itself is gone: this is what somebody copied of it
	if err != nil {
		return nil, t.away(err)
	}
	t.pos.identity, _ = who(info)
	t.dirty = true
	found := copied
	copied = nil
	return found, nil
}

// same reports whether a file has what was read, and which one it is.
func (t *tail) same(f file, except identity) (bool, identity, error) {
	info, err := f.Stat()
	if err != nil {
		return false, identity{}, err
	}
	id, _ := who(info)
	if id == except {
		return false, id, nil
	}
	known, err := t.known(f, info)
	return known, id, err
}

// known reports whether a file begins with what was read, and has it up to there. A file
// that cannot be read is neither.
func (t *tail) known(f file, info fs.FileInfo) (bool, error) {
	if info.Size() < t.pos.Offset {
		return false, nil
	}
	n := min(t.pos.Offset, mark)
	head, last := make([]byte, n), make([]byte, n)
	for part, at := range map[*[]byte]int64{&head: 0, &last: t.pos.Offset - n} {
		if _, err := f.ReadAt(*part, at); err != nil && !errors.Is(err, io.EOF) {
			return false, err
		}
	}
	if n > 0 && (digest(head) != t.pos.Head || digest(last) != t.pos.Last) {
		return false, nil
	}
	t.head, t.last = head, last
	return true, nil
}

// compare looks whether the open file still has what was read of it.
func (t *tail) compare(ctx context.Context) error {
	info, err := t.f.Stat()
	if err != nil {
		return t.away(err)
	}
	if t.looked != nil && info.Size() == t.looked.Size() && info.ModTime().Equal(t.looked.ModTime()) {
		return nil
	}
	known, err := t.known(t.f, info)
	if err != nil {
		return t.away(err)
	}
	if t.looked = info; known {
		return nil
	}
	id, _ := who(info)
	f, err := t.search(id)
	if err != nil {
		return err
	}
	if f != nil { // it was copied and then truncated: the rest is in the copy
		t.close()
		t.f, t.looked = f, nil
		return nil
	}
	kind, summary := KindReplaced, fmt.Sprintf("%s was written over: what was read of it, %d bytes, is not what it has there now", t.line.row.from, t.pos.Offset)
	if info.Size() < t.pos.Offset {
		kind, summary = KindTruncated, fmt.Sprintf("%s was truncated: it had at least %d bytes, and has %d, and no copy of it lies beside it", t.line.row.from, t.pos.Offset, info.Size())
	}
	if err := t.line.find(ctx, kind, pavise.Warning, summary, map[string]any{"read": t.pos.Offset, "size": info.Size()}); err != nil {
		t.looked = nil
		return err
	}
	return t.take(ctx, t.f)
}

// drain brings the next batch, and reports whether there was one. With final what is left
// counts as whole: nobody writes to the file any more.
func (t *tail) drain(ctx context.Context, final bool) (bool, error) {
	if p := t.pos.Pending; p != nil && p.Form != "" && p.Form != t.line.form {
		t.pos.Pending = nil // the source was revised, and it is cut anew
	}
	if t.pos.Pending == nil {
		ready, err := t.prepare(ctx, final)
		if err != nil || !ready {
			return false, err
		}
	}
	part, err := t.read(t.pos.Offset, t.pos.Pending.To)
	if err != nil {
		return false, err
	}
	body, err := t.body(part)
	if err != nil {
		return false, err
	}
	if digest(body) != t.pos.Pending.SHA256 {
		summary := fmt.Sprintf("bytes %d to %d of %s are other ones than those that were being brought when Pavise stopped, and the gate may have those", t.pos.Offset, t.pos.Pending.To-1, t.line.row.from)
		if err := t.line.find(ctx, KindReplaced, pavise.Warning, summary, nil); err != nil {
			return false, err
		}
		return false, t.take(ctx, t.f) // under ids of their own
	}
	info, err := t.f.Stat()
	if err != nil {
		return false, t.away(err)
	}
	_, owner := who(info)
	id := fmt.Sprintf("%s/%d/%d", t.line.row.epoch, t.pos.Generation, t.pos.Offset)
	if _, err := t.line.bring(ctx, Batch{ID: id, Body: body, Placed: true, Writer: owner, At: info.ModTime().UTC()}); err != nil {
		return false, err
	}
	t.advance(part)
	return true, nil
}

// prepare writes down which batch comes next, if there is one.
func (t *tail) prepare(ctx context.Context, final bool) (bool, error) {
	n, err := t.f.ReadAt(t.buf, t.pos.Offset)
	if err != nil && !errors.Is(err, io.EOF) {
		return false, t.away(err)
	}
	part := t.buf[:n]
	whole := cut(t.line.form, part)
	switch {
	case final && n < len(t.buf), whole == 0 && n == len(t.buf): // the rest, or a row in pieces
		whole = n
	}
	part = part[:whole]
	if t.line.form == formCSV && t.pos.Offset == 0 && !final && len(header(part)) == whole {
		whole = 0 // a header alone is no batch
	}
	if whole == 0 {
		if t.dirty {
			return false, t.kept(ctx)
		}
		return false, nil
	}
	body, err := t.body(part)
	if err != nil {
		return false, err
	}
	t.pos.Pending = &under{To: t.pos.Offset + int64(whole), SHA256: digest(body), Form: t.line.form}
	return true, t.kept(ctx)
}

// read returns the bytes of the file from one place to another. There are no more than a
// part has.
func (t *tail) read(from, to int64) ([]byte, error) {
	n, err := t.f.ReadAt(t.buf[:min(max(to-from, 0), int64(len(t.buf)))], from)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, t.away(err)
	}
	return t.buf[:n], nil
}

// body is what the gate gets of a part: of CSV it begins with the header.
func (t *tail) body(part []byte) ([]byte, error) {
	if t.line.form != formCSV || t.pos.Offset == 0 {
		return bytes.Clone(part), nil
	}
	if t.header == nil {
		begin := make([]byte, maxHeader)
		n, err := t.f.ReadAt(begin, 0)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, t.away(err)
		}
		t.header = header(begin[:n])
	}
	return append(bytes.Clone(t.header), part...), nil
}

// advance notes that the gate has a part. It is kept with the next batch, or when there is
// none: until then the batch that is under way would be brought again.
func (t *tail) advance(part []byte) {
	if len(t.head) < mark {
		t.head = append(t.head, part[:min(len(part), mark-len(t.head))]...)
	}
	t.last = append(t.last, part...)
	t.last = bytes.Clone(t.last[max(0, len(t.last)-mark):])
	t.pos.Offset += int64(len(part))
	t.pos.Head, t.pos.Last, t.pos.Pending, t.dirty = digest(t.head), digest(t.last), nil, true
}

// follow goes over to the file that has the name now, once the one that had it has been
// read to its end and nobody seems to write to it any more.
func (t *tail) follow(ctx context.Context) (more bool, err error) {
	next, err := t.files().open(t.root, t.path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // put aside, and not begun anew yet
	}
	if err != nil {
		return false, t.away(err)
	}
	info, err := next.Stat()
	id := identity{}
	if err == nil {
		id, _ = who(info)
	}
	if err != nil || id == t.pos.identity {
		next.Close()
		t.still, t.left = time.Time{}, time.Time{}
		return false, err
	}
	now := t.line.room.cfg.Now()
	if t.still.IsZero() {
		t.still = now
	}
	mine, err := t.f.Stat()
	if now.Sub(t.still) < t.line.room.grace && (err != nil || !mine.ModTime().Before(t.left)) {
		next.Close()
		return false, err
	}
	t.left = now.Add(-t.line.room.grace)
	for rest := true; rest; {
		if rest, err = t.drain(ctx, true); err != nil {
			next.Close()
			return false, err
		}
	}
	between, err := t.between(ctx, info, id)
	if err != nil {
		next.Close()
		return false, err
	}
	if between != nil {
		next.Close()
		next = between
	}
	return true, t.take(ctx, next)
}

// rotated is what stands behind the name of a file that was put aside: a number or a time,
// and perhaps how it was packed.
var rotated = regexp.MustCompile(`^[-._]?[0-9][-._:T0-9]*(\.(gz|zst|xz|bz2|lz4))?$`)

// between opens the eldest of the files that had the name after the one that was read to
// its end, and before the next one; nil: there is none. What had it before that and cannot
// be read is told.
func (t *tail) between(ctx context.Context, next fs.FileInfo, id identity) (file, error) {
	last, err := t.f.Stat()
	if err != nil {
		return nil, t.away(err)
	}
	names, err := t.files().beside(t.root, t.path)
	if err != nil {
		return nil, t.away(err)
	}
	var eldest file
	until := next.ModTime()
	passed := map[string]time.Time{}
	own := "" // what the file that was read is called now
	for _, name := range names {
		aside := rotated.FindStringSubmatch(strings.TrimPrefix(name, t.path))
		if aside == nil {
			continue
		}
		f, err := t.files().open(t.root, name)
		if err != nil {
			continue // it was put aside further meanwhile, or is no file
		}
		info, err := f.Stat()
		if err != nil {
			f.Close()
			continue
		}
		is, _ := who(info)
		at := info.ModTime()
		switch {
		case is == t.pos.identity:
			own = name
		case is == id, info.Size() == 0, !at.After(last.ModTime()):
		case aside[1] != "", at.After(until) && eldest == nil:
			passed[name] = at
		case !at.After(until):
			f, eldest, until = eldest, f, at
		}
		if f != nil {
			f.Close()
		}
	}
	if eldest != nil {
		maps.DeleteFunc(passed, func(_ string, at time.Time) bool { return !at.Before(until) })
	}
	if err = t.missed(ctx, passed, own); err != nil && eldest != nil {
		eldest.Close()
		eldest = nil
	}
	return eldest, err
}

// missed tells which files are passed over, each with when it was written last. Own is what
// the file that was read is called now; empty: it is gone.
func (t *tail) missed(ctx context.Context, passed map[string]time.Time, own string) error {
	lost := slices.SortedFunc(maps.Keys(passed), func(a, b string) int { return passed[a].Compare(passed[b]) })
	lost = slices.DeleteFunc(lost, func(name string) bool { return own != "" && strings.HasPrefix(name, own+".") })
	if own == "" && len(lost) > 0 && rotated.FindStringSubmatch(strings.TrimPrefix(lost[0], t.path))[1] != "" {
		lost = lost[1:] // it was packed once it was read
	}
	if len(lost) == 0 {
		return nil
	}
	summary := fmt.Sprintf("what had the name of %s after the file that was read to its end, and was put aside, cannot be read, or is still written to: %s", t.line.row.from, clip(strings.Join(lost, ", ")))
	return t.line.find(ctx, KindTruncated, pavise.Warning, summary, map[string]any{"count": len(lost)})
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
