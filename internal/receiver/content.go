package receiver

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/packed"
)

const (
	// maxObject bounds an object, unpacked, in bytes.
	maxObject = 1 << 30
	// maxWhole bounds one that comes as a single batch.
	maxWhole = 32 << 20
)

// A content is an object that was read, in a file that nobody else sees.
type content struct {
	file      *os.File // unpacked
	size      int64    // of the object
	length    int64    // of the file
	sha256    string   // of the object
	signature []byte   // of the file; nil: none
	refused   error    // why it cannot be taken at all
}

func (c *content) close() { c.file.Close() }

// read reads an object. It returns nil if the object is not as long as its store says, or
// not there: then it is still on its way.
func (b *bucket) read(ctx context.Context, o seen) (*content, error) {
	from, err := b.shelf.read(ctx, o)
	if another(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer from.Close()
	scratch, err := os.CreateTemp(b.line.room.cfg.Scratch, "object-")
	if err != nil {
		return nil, &pavise.Error{Kind: pavise.Unavailable, Msg: fmt.Sprintf("make a file for %s: %v", o.name, err), Hint: "check the disk of the data directory", Err: err}
	}
	os.Remove(scratch.Name()) // it goes with the process
	c := &content{file: scratch}
	if err := c.fill(from, o.name, b.line.form); err != nil {
		c.close()
		if another(err) {
			return nil, nil
		}
		return nil, err
	}
	if c.size != o.size {
		c.close()
		return nil, nil
	}
	if c.signature, err = b.signature(ctx, o.name); err != nil {
		c.close()
		return nil, err
	}
	if whole := c.signature != nil || !rows(b.line.form); whole && c.length > maxWhole && c.refused == nil {
		c.refused = fmt.Errorf("it is %d bytes long and comes as one batch, of at most %d", c.length, maxWhole)
	}
	return c, nil
}

// another reports whether an error says that an object is not there, or is another by now.
func another(err error) bool {
	kind := pavise.KindOf(err)
	return err != nil && (kind == pavise.NotFound || kind == pavise.Conflict)
}

// rows reports whether batches of a form can be cut between rows.
func rows(form string) bool {
	return form == formNDJSON || form == formLines || form == formCSV || form == formOTLP
}

// fill reads an object to its end, and keeps it unpacked.
func (c *content) fill(from io.Reader, name, form string) error {
	sum := sha256.New()
	raw := &counted{from: io.TeeReader(from, sum)}
	var text io.Reader = io.LimitReader(raw, maxObject+1)
	var err error
	if rows(form) {
		text, err = packed.NewReader(raw, name, packed.Bounds{Bytes: maxObject, Ratio: 500, Free: 64 << 20})
	}
	if err == nil {
		c.length, err = io.Copy(c.file, text)
	}
	switch {
	case raw.failed != nil:
		return raw.failed
	case err != nil && pavise.KindOf(err) == pavise.Invalid:
		c.refused = err
	case err != nil:
		return &pavise.Error{Kind: pavise.Unavailable, Msg: fmt.Sprintf("keep %s while it is read: %v", name, err), Hint: "check the disk of the data directory", Err: err}
	case c.length > maxObject:
		c.refused = fmt.Errorf("it is more than %d bytes long", int64(maxObject))
	}
	if _, err := io.Copy(io.Discard, raw); err != nil { // what stands behind the end of what was packed
		return err
	}
	c.size, c.sha256 = raw.n, hex.EncodeToString(sum.Sum(nil))
	return nil
}

// A counted reader counts, and remembers an error that is not its end.
type counted struct {
	from   io.Reader
	n      int64
	failed error
}

func (r *counted) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	r.n += int64(n)
	if err != nil && err != io.EOF {
		r.failed = err
	}
	return n, err
}

// signature returns the signature that lies beside an object, or nil.
func (b *bucket) signature(ctx context.Context, name string) ([]byte, error) {
	from, err := b.shelf.read(ctx, seen{name: name + signatureSuffix, size: -1})
	if another(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer from.Close()
	text, err := io.ReadAll(io.LimitReader(from, 1<<10))
	if err != nil {
		return nil, err
	}
	if len(text) != ed25519.SignatureSize {
		if raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text))); err == nil {
			return raw, nil
		}
	}
	return text, nil // one that is none is held by the gate
}

// A cutter cuts a content into batches.
type cutter struct {
	c      *content
	whole  bool
	form   string
	at     int64
	header []byte
}

// parts cuts a content from some place on.
func (c *content) parts(form string, from int64) *cutter {
	return &cutter{c: c, form: form, at: from, whole: c.signature != nil || !rows(form)}
}

func (k *cutter) ended() bool { return k.at >= k.c.length }

// next returns the next batch and where it ends, or nil at the end.
func (k *cutter) next() (body []byte, end int64, err error) {
	if k.ended() {
		return nil, k.at, nil
	}
	size := int64(maxPart)
	if k.whole {
		size = k.c.length
	}
	part := make([]byte, min(size, k.c.length-k.at))
	n, err := k.c.file.ReadAt(part, k.at)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, 0, &pavise.Error{Kind: pavise.Unavailable, Msg: fmt.Sprintf("read what was kept of an object: %v", err), Hint: "check the disk of the data directory", Err: err}
	}
	part = part[:n]
	if whole := cut(k.form, part); !k.whole && k.at+int64(n) < k.c.length && whole > 0 {
		part = part[:whole]
	}
	if k.form == formCSV && k.at > 0 {
		if k.header == nil {
			begin := make([]byte, maxHeader)
			n, err := k.c.file.ReadAt(begin, 0)
			if err != nil && !errors.Is(err, io.EOF) {
				return nil, 0, err
			}
			k.header = header(begin[:n])
		}
		body = append(body, k.header...)
	}
	k.at += int64(len(part))
	return append(body, part...), k.at, nil
}
