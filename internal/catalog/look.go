package catalog

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/rowseal"
	"github.com/pavise/pavise/internal/store"
)

// A result is what was seen at the place of a dataset.
type result struct {
	look   Look
	root   rowseal.Digest    // of what lies there; zero: it cannot be sealed, or was not seen
	made   *rowseal.Manifest // of the seal that was made, in the file of looks; nil: none was
	why    string            // it cannot be sealed
	differ Differences       // from the newest version
	err    error             // why it was not seen
}

// look looks at a dataset, and keeps what came of it. When ctx is done before, it leaves all
// as it was: the dataset is still due, and what was sealed of it is not sealed again.
func (c *Catalog) look(ctx context.Context, name pavise.Name, full bool) {
	var d *Dataset
	err := c.cfg.Store.View(ctx, func(tx *store.Tx) (err error) { d, err = read(tx, name); return err })
	if err != nil && ctx.Err() == nil {
		c.kept(name, err)
	}
	if err != nil || d == nil || d.Watch == nil {
		return
	}
	defer func() {
		if err := c.recount(name); err != nil && ctx.Err() == nil {
			c.kept(name, err)
		}
	}()
	r := c.examine(ctx, d, full)
	if ctx.Err() != nil {
		return
	}
	r.look.Ended = c.cfg.Now().UTC()
	err = c.conclude(ctx, d, r)
	if ctx.Err() != nil {
		return
	}
	if c.kept(name, err); err != nil {
		c.putOff(ctx, name)
	}
}

// putOff has a dataset whose look could not be kept looked at a little later, if that can be
// kept.
func (c *Catalog) putOff(ctx context.Context, name pavise.Name) {
	_ = c.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		d, err := read(tx, name)
		if err != nil || d == nil || d.Watch == nil {
			return err
		}
		d.Next = c.cfg.Now().Add(unsettled)
		return write(tx, d)
	})
}

// examine looks at what lies at the place of a dataset. What a hostile file has a reader
// panic over is not seen, and the others are looked at all the same.
func (c *Catalog) examine(ctx context.Context, d *Dataset, asked bool) (r result) {
	r.look.Began = c.cfg.Now().UTC()
	defer func() {
		if p := recover(); p != nil {
			r.err = &pavise.Error{Kind: pavise.Internal, Msg: fmt.Sprintf("reading it went wrong: %v", p), Hint: "look at what lies there, and report this"}
		}
	}()
	if err := os.MkdirAll(c.dir(d.Name), 0o700); err != nil {
		r.err = unwritten(err)
		return r
	}
	if r.look.Full, r.look.Why = c.pass(d, asked); !r.look.Full {
		base, _ := d.base()
		differ, trusted, err := c.cfg.Places.Hold(ctx, d.Watch.Place, c.sealFile(d.Name, base), true)
		switch kind := pavise.KindOf(err); {
		case err == nil && len(differ.Files) == 0:
			r.root, r.look.Trusted = base, trusted
			if d.Found != nil {
				r.differ = d.Found.Differ
			}
			return r
		case err == nil:
			r.look.Full, r.look.Why = true, "a fast look saw that "+differ.fit().words()
		case kind == pavise.Unverified || kind == pavise.Invalid:
			r.look.Full, r.look.Why = true, "a fast look cannot tell: "+message(err)
		default:
			r.err = err
			return r
		}
	}
	c.seal(ctx, d, asked, &r)
	return r
}

// base is the content that was seen last, if it could be sealed.
func (d *Dataset) base() (root rowseal.Digest, ok bool) {
	switch {
	case d.Found != nil:
		return d.Found.Root, d.Found.Root != rowseal.Digest{}
	case d.Newest != nil:
		return d.Newest.Root, true
	}
	return root, false
}

// pass says whether a look is to be full, and why.
func (c *Catalog) pass(d *Dataset, asked bool) (full bool, why string) {
	base, ok := d.base()
	left, _ := filepath.Glob(c.lookFile(d.Name) + "*")
	switch {
	case asked:
		return true, "it was asked for"
	case len(left) > 0:
		return true, "it goes on with one that was cut off"
	case d.Last == nil || d.Last.Began.Before(d.Watch.Since):
		return true, "it is the first since the watch was set"
	case !ok || !c.hasIndex(d.Name, base):
		return true, "nothing is known here yet of the files that lie there"
	case d.Passes+1 >= d.Watch.Full:
		return true, fmt.Sprintf("one in %d is", d.Watch.Full)
	}
	return false, fmt.Sprintf("%d of %d since everything was read", d.Passes+1, d.Watch.Full)
}

// seal reads everything, or goes on with what was cut off, unless anew: what is gone on with
// believes that a file is the same whose times are.
func (c *Catalog) seal(ctx context.Context, d *Dataset, anew bool, r *result) {
	out := c.lookFile(d.Name)
	old := []string{out, out + rowseal.IndexSuffix} // of a look whose end was not kept
	if anew {
		old, _ = filepath.Glob(out + "*")
	}
	for _, done := range old {
		if err := os.Remove(done); err != nil && !errors.Is(err, os.ErrNotExist) {
			r.err = unwritten(err)
			return
		}
	}
	if r.err = c.recount(d.Name); r.err != nil {
		return
	}
	resumed, err := c.cfg.Places.Seal(ctx, d.Watch.Place, out, func(n int64) error { return c.grow(ctx, d.Name, n) })
	if errors.Is(err, errFull) { // what was written so far would keep others from their room
		left, _ := filepath.Glob(out + "*")
		for _, part := range left {
			_ = os.Remove(part) // or the next look does
		}
	}
	r.look.Resumed = resumed
	switch {
	case pavise.KindOf(err) == pavise.Invalid && d.Newest != nil:
		c.deformed(ctx, d, r, err)
		return
	case err != nil:
		r.err = err
		return
	}
	if r.made, err = readManifest(out); err != nil {
		r.err = err
		return
	}
	if r.root = r.made.Root; d.Newest != nil && r.root != d.Newest.Root {
		differ, err := c.cfg.Compare(ctx, c.sealFile(d.Name, d.Newest.Root), out)
		if err != nil { // that it is another content is known all the same
			differ = Differences{Why: message(err)}
		}
		r.differ = differ.fit()
	}
}

// deformed says what differs where what lies there cannot be sealed.
func (c *Catalog) deformed(ctx context.Context, d *Dataset, r *result, why error) {
	differ, _, err := c.cfg.Places.Hold(ctx, d.Watch.Place, c.sealFile(d.Name, d.Newest.Root), false)
	if err != nil || len(differ.Files) == 0 {
		r.err = why
		return
	}
	r.why, r.differ = message(why), differ.fit()
}

// maxManifest bounds a manifest that is read, in bytes: of files that are looked at here, a
// manifest is as long as the seal of most.
const maxManifest = rowseal.MaxManifest

// readManifest reads a seal that was made here.
func readManifest(file string) (*rowseal.Manifest, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, rowseal.FileFault(file, err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxManifest+1))
	if err != nil {
		return nil, rowseal.FileFault(file, err)
	}
	return rowseal.ParseManifest(text)
}

// versionOf is the version that a seal would be.
func versionOf(m *rowseal.Manifest) Version {
	v := Version{Root: m.Root, Files: len(m.Files), Rows: m.Rows(), Format: string(m.Files[0].Format)}
	for i := range m.Files {
		v.Bytes += m.Files[i].Size
		if string(m.Files[i].Format) != v.Format {
			v.Format = "mixed"
		}
	}
	return v
}

// message is what an error says to people, as much of it as a record has room for.
func message(err error) string {
	return cut(pavise.MsgOf(err), maxSaid)
}

// sum tells what cannot be sealed from other such content.
func (r *result) sum() string {
	text, _ := json.Marshal(struct {
		Why    string
		Differ Differences
	}{r.why, r.differ}) // of strings and numbers
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// at is when a dataset is looked at again.
func (c *Catalog) again(d *Dataset) time.Time {
	now := c.cfg.Now()
	switch s := d.Silent; {
	case s != nil && !s.Told:
		return now.Add(unsettled)
	case s != nil:
		return now.Add(min(d.Watch.Every, time.Minute<<min(s.Tries, 16)))
	}
	return now.Add(jitter(d.Watch.Every))
}
