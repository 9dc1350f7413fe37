package receiver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/store"
	"github.com/pavise/pavise/internal/store/blob"
)

const (
	// rereadAfter is how long an object that was taken is believed to be the same because
	// its store says so.
	rereadAfter = 24 * time.Hour
	// signatureSuffix ends the name of an object that holds the signature of another.
	signatureSuffix = ".sig"
	// maxNamed is how many objects one finding names, and maxTold how many it is about.
	maxNamed = 20
	maxTold  = 500
)

// A bucketPosition is what is known of a bucket as a whole.
type bucketPosition struct {
	Terms string // digest of who may do what; "": it was not asked yet
}

// A bucket watches what comes into one.
type bucket struct {
	line   *line
	shelf  shelf
	prefix string

	pos    bucketPosition
	taken  int // since the process began
	listed int // in the last pass
}

func openBucket(ctx context.Context, l *line, t target) (carrier, error) {
	s, prefix, err := openShelf(ctx, t)
	if err != nil {
		return nil, err
	}
	w := &bucket{line: l, shelf: s, prefix: prefix}
	return w, l.restore(&w.pos)
}

func (b *bucket) where() string {
	return fmt.Sprintf("%d objects there, %d taken since the start", b.listed, b.taken)
}

func (b *bucket) close() {}

// A sweep is what one pass finds.
type sweep struct {
	added, changed []object // for the journal, once what was found is told
	dropped        []string
	replaced, gone []string // in words
	full           error    // why some of what is new is not in the journal
}

// pass is carrier's: it looks at every object once.
func (b *bucket) pass(ctx context.Context) (more bool, err error) {
	if err := errors.Join(b.line.prune(ctx), b.terms(ctx)); err != nil {
		return false, err
	}
	var s sweep
	listed := 0
	known := &reading{b: b, ctx: ctx}
	for o, err := range b.shelf.list(ctx, b.prefix) {
		if err != nil {
			return false, err // what was not listed is not gone
		}
		if strings.HasSuffix(o.name, signatureSuffix) {
			continue
		}
		listed++
		for known.next() && known.at.name < o.name {
			b.missing(ctx, &s, known.pop())
		}
		if known.err != nil {
			return false, known.err
		}
		before := object{}
		if known.next() && known.at.name == o.name {
			before = known.pop()
		}
		if err := b.object(ctx, &s, o, before); err != nil {
			return false, err
		}
		if err := b.told(ctx, &s, maxTold); err != nil {
			return false, err
		}
	}
	for known.next() {
		b.missing(ctx, &s, known.pop())
	}
	b.listed = listed
	return false, errors.Join(known.err, ctx.Err(), b.told(ctx, &s, 1), s.full)
}

// A reading goes through the journal by name.
type reading struct {
	b     *bucket
	ctx   context.Context
	page  []object
	at    object // the next one, if there is one
	after string
	ended bool
	err   error
}

// next reports whether there is another object.
func (r *reading) next() bool {
	if len(r.page) == 0 && !r.ended && r.err == nil {
		r.err = r.b.line.room.cfg.Store.View(r.ctx, func(tx *store.Tx) (err error) {
			r.page, err = objects(tx, r.b.line.row.place, r.after, journalPage)
			return err
		})
		r.ended = len(r.page) < journalPage
	}
	if r.err != nil || len(r.page) == 0 {
		return false
	}
	r.at = r.page[0]
	return true
}

// pop goes on behind the next object.
func (r *reading) pop() object {
	r.after, r.page = r.at.name, r.page[1:]
	return r.at
}

// missing notes that an object of the journal is not there.
func (b *bucket) missing(ctx context.Context, s *sweep, o object) {
	switch o.state {
	case stateGone:
	case stateSeen:
		s.dropped = append(s.dropped, o.name)
	default:
		what := clip(o.name)
		if len(s.gone) < maxNamed {
			what += gone(ctx, b.shelf, o.name)
		}
		s.gone = append(s.gone, what)
		o.was, o.state, o.checked = o.state, stateGone, b.line.room.cfg.Now().UTC()
		s.changed = append(s.changed, o)
	}
}

// object looks at one that is there.
func (b *bucket) object(ctx context.Context, s *sweep, o seen, before object) error {
	now := b.line.room.cfg.Now().UTC()
	switch {
	case o.size > maxObject:
		return b.tooLong(ctx, s, o, before)
	case before.state == "":
		s.added = append(s.added, object{seen: o, state: stateSeen, checked: now})
		return nil
	case before.state == stateSeen && !before.same(o):
		s.changed = append(s.changed, object{seen: o, state: stateSeen, checked: now})
		return nil // it is taken when it is the same at the next pass
	case before.state == stateSeen, before.state == stateTaking:
		return b.take(ctx, s, o, before)
	case before.same(o) && before.state != stateGone && now.Sub(before.checked) < rereadAfter:
		return nil
	}
	c, err := b.read(ctx, o)
	if err != nil || c == nil {
		return err
	}
	defer c.close()
	if c.sha256 == before.sha256 {
		before.seen, before.checked = o, now
		if before.state == stateGone { // it is back, and what is left of it is taken
			before.state, before.was = cmp.Or(before.was, stateTaken), ""
		}
		if before.state == stateTaking {
			return b.deliver(ctx, before, c)
		}
		s.changed = append(s.changed, before)
		return nil
	}
	return b.changed(ctx, s, o, before, c)
}

// tooLong notes an object of more bytes than are read at all, without reading it.
func (b *bucket) tooLong(ctx context.Context, s *sweep, o seen, before object) error {
	was := before.state
	if was == stateGone {
		was = cmp.Or(before.was, stateTaken)
	}
	after := object{seen: o, state: stateRefused, checked: b.line.room.cfg.Now().UTC()}
	into := &s.changed
	switch {
	case was == "", was == stateSeen:
		if was == "" {
			into = &s.added
		}
		if err := b.line.refused(ctx, fmt.Sprintf("%s: it is %d bytes long, more than %d", o.name, o.size, int64(maxObject))); err != nil {
			return err
		}
	case before.same(o) && was == before.state:
		return nil
	case before.same(o):
		after.state = was
	case was != stateRefused:
		s.replaced = append(s.replaced, fmt.Sprintf("%s (%d bytes, more than are read; it was %d bytes, %.16s…)", clip(o.name), o.size, before.size, before.sha256))
		after.state = stateReplaced
	}
	*into = append(*into, after)
	return nil
}

// changed notes that an object is another than was taken, or was being taken.
func (b *bucket) changed(ctx context.Context, s *sweep, o seen, before object, c *content) error {
	s.replaced = append(s.replaced, fmt.Sprintf("%s (%d bytes, SHA-256 %.16s…; it was %d bytes, %.16s…)", clip(o.name), c.size, c.sha256, before.size, before.sha256))
	after := object{seen: o, state: stateReplaced, sha256: c.sha256, checked: b.line.room.cfg.Now().UTC()}
	if b.line.row.retake {
		after.state = stateTaking // so that it is gone on with after a kill
	}
	if s.changed = append(s.changed, after); !b.line.row.retake {
		return nil
	}
	if err := b.told(ctx, s, 1); err != nil { // it is told before it is taken
		return err
	}
	return b.deliver(ctx, after, c)
}

// take reads an object and brings it, on from where the gate has it.
func (b *bucket) take(ctx context.Context, s *sweep, o seen, before object) error {
	c, err := b.read(ctx, o)
	if err != nil {
		return err
	}
	if c == nil {
		return nil // it is not yet what the store says
	}
	defer c.close()
	if before.state == stateTaking && before.sha256 != c.sha256 {
		return b.changed(ctx, s, o, before, c)
	}
	before.seen, before.sha256 = o, c.sha256
	return b.deliver(ctx, before, c)
}

// deliver brings the content of an object in batches, each under an id that says which
// bytes of which content of which object it is.
func (b *bucket) deliver(ctx context.Context, o object, c *content) error {
	if c.refused != nil {
		if err := b.line.refused(ctx, fmt.Sprintf("%s: %v", o.name, c.refused)); err != nil {
			return err
		}
		o.state, o.checked = stateRefused, b.line.room.cfg.Now().UTC()
		return b.line.save(ctx, func(tx *store.Tx) error { return note(tx, b.line.row.place, o) })
	}
	o.state = stateTaking
	if err := b.line.save(ctx, func(tx *store.Tx) error { return note(tx, b.line.row.place, o) }); err != nil {
		return err
	}
	ends := stateTaken // until then it is being taken, also where a part cannot be
	parts := c.parts(b.line.form, o.done)
	for {
		body, end, err := parts.next()
		if err != nil {
			return err
		}
		if body == nil {
			break
		}
		id := fmt.Sprintf("object/%.24s/%.32s/%d", digest([]byte(o.name)), o.sha256, o.done)
		verdict, err := b.line.bring(ctx, Batch{ID: id, Body: body, Placed: o.done > 0 || !parts.ended(), At: o.modified, Signature: c.signature})
		if err != nil {
			return err
		}
		if o.done = end; verdict == refused {
			ends = stateRefused
		}
		if parts.ended() {
			break
		}
		if err := b.line.save(ctx, func(tx *store.Tx) error { return note(tx, b.line.row.place, o) }); err != nil {
			return err
		}
	}
	o.state, o.checked = ends, b.line.room.cfg.Now().UTC()
	b.taken++
	return b.line.save(ctx, func(tx *store.Tx) error { return note(tx, b.line.row.place, o) })
}

// told tells what a pass has found, and then writes it into the journal, once there is so
// much of it.
func (b *bucket) told(ctx context.Context, s *sweep, least int) error {
	if len(s.added)+len(s.changed)+len(s.dropped) < least {
		return nil
	}
	for _, f := range []struct {
		kind, severity, one, many string
		names                     []string
	}{
		{KindReplaced, pavise.Critical, "it was replaced after it was taken", "were replaced after they were taken", s.replaced},
		{KindGone, pavise.Warning, "it was taken, and is not there any more", "were taken, and are not there any more", s.gone},
	} {
		if len(f.names) == 0 {
			continue
		}
		named := f.names[:min(len(f.names), maxNamed)]
		summary := fmt.Sprintf("%s: %s", named[0], f.one)
		if len(f.names) > 1 {
			summary = fmt.Sprintf("%d objects %s: %s", len(f.names), f.many, strings.Join(named, ", "))
		}
		summary += "; in " + b.line.row.from
		if err := b.line.find(ctx, f.kind, f.severity, summary, map[string]any{"objects": named, "count": len(f.names)}); err != nil {
			return err
		}
	}
	var full error
	err := b.line.room.cfg.Store.Update(context.WithoutCancel(ctx), func(tx *store.Tx) error {
		all := s.changed
		if len(s.added) > 0 {
			if full = b.line.hasRoom(tx, len(s.added)); full == nil {
				all = append(all, s.added...)
			}
		}
		for _, o := range all {
			if err := note(tx, b.line.row.place, o); err != nil {
				return err
			}
		}
		for _, name := range s.dropped {
			if err := drop(tx, b.line.row.place, name); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		*s = sweep{full: cmp.Or(s.full, full)}
	}
	return err
}

// terms looks whether somebody changed who may do what with the bucket.
func (b *bucket) terms(ctx context.Context) error {
	var t blob.Termed
	if in, is := b.shelf.(stored); is {
		t, _ = in.Source.(blob.Termed)
	}
	if t == nil {
		return nil
	}
	text, err := t.Policy(ctx)
	if pavise.KindOf(err) == pavise.Denied && err != nil {
		text = "not for us to see" // many may read a bucket and not its policy
	} else if err != nil {
		return err
	}
	now := digest([]byte(text))
	if now == b.pos.Terms {
		return nil
	}
	if b.pos.Terms != "" {
		summary := fmt.Sprintf("who may do what with %s was changed: its policy has SHA-256 %.16s…, and had %.16s…", b.line.row.from, now, b.pos.Terms)
		if err := b.line.find(ctx, KindTerms, pavise.Warning, summary, map[string]any{"before": b.pos.Terms, "now": now}); err != nil {
			return err
		}
	}
	b.pos.Terms = now
	return b.line.keep(ctx, b.pos)
}
