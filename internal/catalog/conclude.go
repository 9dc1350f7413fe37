package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/rowseal"
	"github.com/pavise/pavise/internal/store"
)

const (
	// unsettled is when a dataset is looked at again that changed while it was read.
	unsettled = 30 * time.Second
	// patience is how often in a row it may, until that is a finding.
	patience = 3
)

// jitter spreads looks: a tenth earlier or later.
func jitter(every time.Duration) time.Duration {
	return every - every/10 + rand.N(every/5)
}

// A note is a record that a look leaves.
type note struct {
	kind   string
	detail Noted
}

// Noted is the detail of the notes on what was seen of a dataset.
type Noted struct {
	Finding *pavise.Finding `json:"finding,omitempty"` // there is something to look at
	Root    rowseal.Digest  `json:"root,omitzero"`     // of what lies there
	Content string          `json:"content,omitempty"` // of what cannot be sealed, what tells it from others
	Was     rowseal.Digest  `json:"was,omitzero"`      // the root of the newest version, where it is another
	Files   int             `json:"files,omitempty"`
	Rows    uint64          `json:"rows,omitempty"`
	Bytes   int64           `json:"bytes,omitempty"`
	Differ  *Differences    `json:"differ,omitempty"`
	Full    bool            `json:"full"`
	Resumed int             `json:"resumed,omitempty"` // files that a look that was cut off had read, and this one did not
	Why     string          `json:"why"`               // the look was a full one, or a fast one
	Problem string          `json:"problem,omitempty"`
	Version int             `json:"version,omitempty"` // the newest one's number
	Watch   time.Time       `json:"watch"`             // when it was set
}

// same reports whether two notes are of one spell and say the same.
func (n Noted) same(o Noted) bool {
	return n.Root == o.Root && n.Content == o.Content && n.Was == o.Was && n.Version == o.Version && n.Watch.Equal(o.Watch)
}

// conclude keeps what was seen of a dataset as it was when the look began, and notes what is
// new. The notes come first: what the log does not have has not been seen.
func (c *Catalog) conclude(ctx context.Context, was *Dataset, r result) error {
	if r.made != nil {
		if err := c.adopt(was.Name, r.root); err != nil {
			return err
		}
	}
	now, err := c.same(ctx, was)
	if err != nil || now == nil {
		return err
	}
	agreed, err := c.recall(ctx, now, &r)
	if err != nil {
		return err
	}
	first, notes := now.see(&r)
	for _, n := range notes {
		if err := c.note(ctx, now.Name, n); err != nil {
			return err
		}
	}
	r.look.Outcome = now.state()
	now.Last, now.Next = &r.look, c.again(now)
	wrote := false
	err = c.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		d, err := read(tx, was.Name)
		if err != nil || !d.still(was) {
			return err
		}
		wrote, now.Called = true, d.Called // which is told apart from what lies there
		if first != nil {
			if err := now.add(tx, *first); err != nil {
				return err
			}
			now.Last.Outcome = now.state()
		}
		if err := write(tx, now); err != nil {
			return err
		}
		return c.schedule(tx, now)
	})
	if err != nil {
		return err
	}
	c.agrees(was.Name, wrote && agreed)
	return c.tidy(ctx, was.Name)
}

// same returns the dataset as it is now, unless somebody set another watch or made another
// version while it was looked at: then it is due again, and what was seen is of no account.
func (c *Catalog) same(ctx context.Context, was *Dataset) (d *Dataset, err error) {
	err = c.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		if d, err = read(tx, was.Name); err != nil || d.still(was) {
			return err
		}
		gone := d
		if d = nil; gone == nil || gone.Watch == nil {
			return nil
		}
		gone.Next = c.cfg.Now()
		return write(tx, gone)
	})
	return d, err
}

// still reports whether nobody set another watch or made another version.
func (d *Dataset) still(was *Dataset) bool {
	if d == nil || d.Watch == nil || !d.Watch.Since.Equal(was.Watch.Since) {
		return false
	}
	return (d.Newest == nil) == (was.Newest == nil) && (d.Newest == nil || d.Newest.Number == was.Newest.Number)
}

// see takes in what was seen, and returns the first version, if it is that, and what is to
// be noted.
func (d *Dataset) see(r *result) (first *Version, notes []note) {
	if r.err == nil && r.root == (rowseal.Digest{}) && d.Newest == nil {
		r.err = &pavise.Error{Kind: pavise.Invalid, Msg: "it cannot be sealed: " + r.why}
	}
	if r.err != nil {
		return nil, d.unseen(r)
	}
	if s := d.Silent; s != nil && s.Told {
		n := d.noted(KindReachable, r)
		n.detail.Problem = s.Why
		notes = append(notes, n)
	}
	d.Silent = nil
	if d.Passes++; r.look.Full && r.look.Resumed == 0 {
		d.Passes = 0
	}
	switch {
	case d.Newest == nil:
		v := versionOf(r.made)
		v.At, v.By, v.How = r.look.Ended, d.Watch.By, "watched"
		return &v, append(notes, d.noted(KindSealed, r))
	case r.root == d.Newest.Root:
		if d.Found != nil {
			n := d.noted(KindRestored, r)
			n.detail.Was = d.Found.Root
			notes = append(notes, n)
		} else if r.look.Full {
			notes = append(notes, d.noted(KindVerified, r))
		}
		d.lose(r.look.Ended)
	default:
		if n, is := d.changed(r); is {
			notes = append(notes, n)
		}
	}
	return nil, notes
}

// noted is a note on what was seen.
func (d *Dataset) noted(kind string, r *result) note {
	n := note{kind, Noted{Root: r.root, Full: r.look.Full, Resumed: r.look.Resumed, Why: r.look.Why, Watch: d.Watch.Since}}
	v := d.Newest
	if v != nil {
		n.detail.Version = v.Number
	}
	if r.made != nil {
		would := versionOf(r.made)
		v = &would
	}
	if v != nil && v.Root == r.root {
		n.detail.Files, n.detail.Rows, n.detail.Bytes = v.Files, v.Rows, v.Bytes
	}
	return n
}

// changed takes in another content than the newest version, and reports whether it is new.
func (d *Dataset) changed(r *result) (n note, is bool) {
	f := &Finding{Root: r.root, Why: r.why, Since: r.look.Ended, Differ: r.differ}
	if r.why != "" {
		f.Sum = r.sum()
	}
	if old := d.Found; old != nil && old.Root == f.Root && old.Sum == f.Sum {
		if old.Differ.Why != "" {
			old.Differ = f.Differ // by now it may be known
		}
		return n, false
	}
	severity := pavise.Critical
	if r.differ.grew() {
		severity = pavise.Warning
	}
	what := d.Name.ID + " is not what it was: " + r.differ.words()
	if r.why != "" {
		what += "; it cannot be sealed: " + r.why
	}
	n = d.noted(KindChanged, r)
	n.detail.Finding = d.finding(KindChanged, severity, what, r)
	n.detail.Was, n.detail.Content, n.detail.Differ = d.Newest.Root, f.Sum, &r.differ
	if r.made != nil {
		would := versionOf(r.made)
		f.Would = &would
	}
	d.lose(r.look.Ended)
	d.Found = f
	return n, true
}

// lose has what was found be there no more, and not kept, without its being a version.
func (d *Dataset) lose(now time.Time) {
	if d.Found != nil {
		d.Gone, d.LastGone = d.Gone+1, now.UTC()
	}
	d.Found = nil
}

// unseen takes in that the dataset could not be looked at.
func (d *Dataset) unseen(r *result) []note {
	why := message(r.err)
	r.look.Problem = why
	if d.Silent == nil {
		d.Silent = &Silence{Since: r.look.Ended}
	}
	d.Silent.Why = why
	if d.Silent.Tries++; d.Silent.Told || pavise.KindOf(r.err) == pavise.Conflict && d.Silent.Tries < patience {
		return nil
	}
	d.Silent.Told = true
	n := d.noted(KindUnreachable, r)
	n.detail.Problem = why
	n.detail.Finding = d.finding(KindUnreachable, pavise.Warning, fmt.Sprintf("nobody can say what %s is now: %s", d.Name.ID, why), r)
	return []note{n}
}

func (d *Dataset) finding(kind, severity, summary string, r *result) *pavise.Finding {
	return &pavise.Finding{Kind: kind, Severity: severity, On: d.Name, Summary: summary, At: r.look.Ended}
}

// spells are the kinds of note that end each other: of a spell, each comes once.
var spells = map[string][]string{
	KindSealed:      {KindSealed},
	KindChanged:     {KindSealed, KindChanged, KindRestored},
	KindRestored:    {KindSealed, KindChanged, KindRestored},
	KindUnreachable: {KindUnreachable, KindReachable},
	KindReachable:   {KindUnreachable, KindReachable},
}

// note leaves a note in the log, unless it has it: a process that was killed may have left it
// and not come to keep that it did.
func (c *Catalog) note(ctx context.Context, name pavise.Name, n note) error {
	if spell := spells[n.kind]; spell != nil {
		last, was, err := c.lastNote(ctx, name, spell)
		if err != nil || last == n.kind && was.same(n.detail) {
			return err
		}
	}
	return c.cfg.Guard.Note(ctx, n.kind, nil, name, n.detail)
}

// lastNote is the last note of a spell that the log has; its kind is empty where there is none.
func (c *Catalog) lastNote(ctx context.Context, name pavise.Name, spell []string) (kind string, was Noted, err error) {
	filter := ledger.Filter{Tenant: name.Tenant, Kinds: spell, On: name.String(), Phase: record.Note}
	for last, err := range c.cfg.Log.SelectBack(ctx, filter, c.cfg.Log.First(), c.cfg.Log.Size()) {
		if err != nil {
			return "", was, err
		}
		if json.Unmarshal(last.Detail, &was) == nil {
			return last.Kind, was, nil
		}
		break
	}
	return "", was, nil
}

// recall has a dataset be as the log last said, where that was not kept: a spell that was told
// is to be ended in the log, too, or the next one like it would be taken for the same. It
// reports whether the two agree once what was seen is kept; then the log is not asked again.
func (c *Catalog) recall(ctx context.Context, d *Dataset, r *result) (agreed bool, err error) {
	if agreed = c.agrees(d.Name, false); agreed || r.err != nil || d.Newest == nil {
		return agreed, nil
	}
	this := func(was Noted) bool { return was.Version == d.Newest.Number && was.Watch.Equal(d.Watch.Since) }
	if d.Found == nil && r.root == d.Newest.Root {
		kind, was, err := c.lastNote(ctx, d.Name, spells[KindChanged])
		if err != nil {
			return false, err
		}
		if kind == KindChanged && this(was) {
			d.Found = &Finding{Root: was.Root}
		}
	}
	if d.Silent == nil || !d.Silent.Told {
		kind, was, err := c.lastNote(ctx, d.Name, spells[KindUnreachable])
		if err != nil {
			return false, err
		}
		if kind == KindUnreachable && this(was) {
			d.Silent = &Silence{Why: was.Problem, Told: true}
		}
	}
	return true, nil
}
