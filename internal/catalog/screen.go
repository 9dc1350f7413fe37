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
	"slices"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/poison"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/rowseal"
	"github.com/pavise/pavise/internal/store"
)

// The bounds of screenings. What one takes of memory and disk, who does them bounds.
const (
	screeningAll  = 2                // under way beside each other; of a tenant it is one
	screeningTime = 30 * time.Minute // that one takes at most
	maxBegins     = 3                // how often one is begun whose process ended without a word
	maxTries      = 3                // how often the watch asks again for what may do another time
	maxWaiting    = 100              // of a tenant
	maxReport     = 16 << 20         // bytes of a report
)

// A screeningRun is a screening that is under way.
type screeningRun struct {
	pending
	said string // how far it is
}

// A ScreenSpec asks for a screening.
type ScreenSpec struct {
	Name     pavise.Name
	Terms    Terms
	Baseline int // the number of a version whose rows are trusted; 0: none is
}

// A Reported is a screening with how far it is, or with its report.
type Reported struct {
	Name      pavise.Name `json:"name"`
	Screening Screening   `json:"screening"`
	Said      string      `json:"progress,omitempty"`
	Report    *Report     `json:"report,omitempty"`
}

// Screen has the rows of a watched dataset screened for poison: of what was found at its place,
// if that is not the newest version, and else of that. It answers at once; Report says what came
// of it. One that waits already and was asked for in the same way is that one. Errors are of kind
// Invalid, NotFound, for a baseline without an index too, Conflict and Throttled.
func (c *Catalog) Screen(ctx context.Context, who pavise.Principal, spec ScreenSpec) (r Reported, err error) {
	entry, err := c.cfg.Guard.Enter(ctx, who, "dataset.screen", spec.Name)
	if err != nil {
		return r, err
	}
	defer entry.Exit(&err)
	if err := spec.Terms.check(); err != nil {
		return r, err
	}
	r.Name = spec.Name
	err = c.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		d, err := known(tx, spec.Name)
		if err != nil {
			return err
		}
		s, err := c.screenable(tx, d, spec)
		if err != nil {
			return err
		}
		s.By = who.Name()
		if was, err := readScreening(tx, spec.Name, s.Root); err != nil {
			return err
		} else if was != nil && !was.over() {
			if !was.same(s) {
				return &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("%s is to be screened already, in another way", spec.Name), Hint: "pavise dataset report " + spec.Name.ID + " says how far that is"}
			}
			r.Screening = *was
			return nil
		}
		r.Screening = *s
		return enqueue(tx, spec.Name, s)
	})
	if err != nil {
		return r, err
	}
	entry.Detail(r.Screening)
	c.soon()
	return r, nil
}

// check refuses terms that cannot be.
func (t Terms) check() error {
	all := strings.Join(append([]string{t.Label, t.Source}, t.Omit...), "")
	if t.Label == "" || len(all) > maxURL || len(t.Omit) > maxGlobs {
		return &pavise.Error{Kind: pavise.Invalid, Msg: "no column with the class is named, or the names of columns are too long", Hint: fmt.Sprintf("name it with --label; all names have %d bytes together at most, and %d columns are left out", maxURL, maxGlobs)}
	}
	return nil
}

// screenable is the screening that was asked for, of what lies at the dataset's place.
func (c *Catalog) screenable(tx *store.Tx, d *Dataset, spec ScreenSpec) (*Screening, error) {
	root, ok := d.base()
	switch {
	case d.Watch == nil:
		return nil, &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("nobody watches %s: only its seals are known here, and not its rows", d.Name), Hint: "screen it where the rows are: pavise dataset screen FILE; pavise dataset watch has the server look"}
	case !ok:
		return nil, &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("%s cannot be screened as it lies there: it cannot be sealed, or was not yet", d.Name), Hint: "pavise dataset check " + d.Name.ID + " looks now"}
	}
	s := d.screening(root, spec.Terms, c.cfg.Now())
	if spec.Baseline == 0 {
		return s, nil
	}
	v, err := numbered(tx, d.Name, spec.Baseline)
	switch {
	case err != nil:
		return nil, err
	case v.Root == root:
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("version %d is what is to be screened: it says nothing of itself", v.Number), Hint: "name an earlier version, or none"}
	case !c.hasIndex(d.Name, v.Root):
		return nil, unindexed(d.Name, v)
	}
	s.Baseline, s.Trust = v.Number, v.Root
	return s, nil
}

// screening is a new one of a content.
func (d *Dataset) screening(root rowseal.Digest, terms Terms, now time.Time) *Screening {
	s := &Screening{Root: root, Terms: terms, Asked: now.UTC(), State: ScreenWaiting}
	if d.Newest != nil && d.Newest.Root == root {
		s.Version = d.Newest.Number
	}
	return s
}

// enqueue keeps a screening that is to be done.
func enqueue(tx *store.Tx, name pavise.Name, s *Screening) error {
	n, err := waitingScreenings(tx, name.Tenant)
	if err == nil && n >= maxWaiting {
		err = &pavise.Error{Kind: pavise.Throttled, Msg: fmt.Sprintf("%d datasets wait to be screened, and no more do", n), Hint: "ask again in a while"}
	}
	if err != nil {
		return err
	}
	return writeScreening(tx, name, s)
}

// schedule has what a look saw be screened, where the watch says so and it was not since that was
// set. The baseline is the version before it, if its index is here.
func (c *Catalog) schedule(tx *store.Tx, d *Dataset) error {
	root, ok := d.base()
	if d.Watch.Screen == nil || d.Silent != nil || !ok {
		return nil
	}
	was, err := readScreening(tx, d.Name, root)
	if err != nil || was != nil && !was.again() && (!was.over() || !was.Asked.Before(d.Watch.Since)) {
		return err
	}
	s := d.screening(root, *d.Watch.Screen, c.cfg.Now())
	if s.By, s.Scheduled = d.Watch.By, true; was.again() {
		s.Tries = was.Tries + 1
	}
	had, err := versions(tx, d.Name, maxVersions)
	if err != nil {
		return err
	}
	for _, v := range had {
		if v.Root != root && c.hasIndex(d.Name, v.Root) {
			s.Baseline, s.Trust = v.Number, v.Root
			break
		}
	}
	if was != nil && was.Report != "" && was.same(s) {
		return nil // what it would say is known
	}
	if err := enqueue(tx, d.Name, s); pavise.KindOf(err) != pavise.Throttled { // the next look asks again
		return err
	}
	return nil
}

// Report returns what came of the screening of a version, or of the one that was asked for last
// where version is 0. Errors are of kind NotFound, and Unverified for a report that is damaged.
func (c *Catalog) Report(ctx context.Context, who pavise.Principal, name pavise.Name, version int) (r Reported, err error) {
	entry, err := c.cfg.Guard.Enter(ctx, who, "dataset.report", name)
	if err != nil {
		return r, err
	}
	defer entry.Exit(&err)
	var s *Screening
	err = c.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		if _, err = known(tx, name); err != nil {
			return err
		}
		if version == 0 {
			s, err = lastScreening(tx, name)
			return err
		}
		v, err := numbered(tx, name, version)
		if err == nil {
			s, err = readScreening(tx, name, v.Root)
		}
		return err
	})
	if err == nil && s == nil {
		err = &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("%s, or this version of it, was never screened", name), Hint: "pavise dataset screen --of " + name.ID + " --label COLUMN screens what lies there now"}
	}
	if err != nil {
		return r, err
	}
	r = Reported{Name: name, Screening: *s, Said: c.said(name, s)}
	if s.Report != "" {
		r.Report, err = c.readReport(name, s)
	}
	return r, err
}

// said is how far a screening is.
func (c *Catalog) said(name pavise.Name, s *Screening) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if run := c.screening[name.Tenant]; run != nil && run.name == name && run.root == s.Root.String() && !s.over() {
		return run.said
	}
	return ""
}

// reportFile is where the report on a content is. It goes when the seal beside it does.
func (c *Catalog) reportFile(name pavise.Name, root rowseal.Digest) string {
	return c.sealFile(name, root) + ".report"
}

func (c *Catalog) readReport(name pavise.Name, s *Screening) (*Report, error) {
	f, err := os.Open(c.reportFile(name, s.Root))
	if err != nil {
		return nil, rowseal.FileFault("the report", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxReport+1))
	if err != nil {
		return nil, rowseal.FileFault("the report", err)
	}
	r := &Report{}
	if sum := sha256.Sum256(text); hex.EncodeToString(sum[:]) != s.Report || json.Unmarshal(text, r) != nil {
		return nil, &pavise.Error{Kind: pavise.Unverified, Msg: "the report is not the one that was kept", Hint: "screen the dataset anew; pavise ledger list --kind dataset.screened has what was found"}
	}
	return r, nil
}

// startScreenings begins screenings that wait, as far as may be.
func (c *Catalog) startScreenings(ctx context.Context) error {
	var list []pending
	err := c.cfg.Store.View(ctx, func(tx *store.Tx) (err error) { list, err = pendingScreenings(tx); return err })
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range list {
		if c.ctx == nil || c.screening[p.name.Tenant] != nil || len(c.screening) >= screeningAll {
			continue
		}
		run := &screeningRun{pending: p}
		c.screening[p.name.Tenant] = run
		c.group.Go(func() {
			defer func() {
				c.mu.Lock()
				delete(c.screening, p.name.Tenant)
				c.mu.Unlock()
				c.soon()
			}()
			if err := c.screen(ctx, run); err != nil {
				c.unkept(ctx, p.name, err)
			}
		})
	}
	return nil
}

// unkept says that a screening cannot be kept, and waits: or it would be tried again and again.
func (c *Catalog) unkept(ctx context.Context, name pavise.Name, err error) {
	if ctx.Err() != nil {
		return
	}
	c.cfg.Say("warning", fmt.Errorf("the screening of %s cannot be kept: %w", name, err))
	select {
	case <-time.After(rest):
	case <-ctx.Done():
	}
}

// screen does a screening, and keeps what was judged as soon as that can be. When ctx is done
// before, it waits, to be begun anew.
func (c *Catalog) screen(ctx context.Context, run *screeningRun) error {
	d, s, err := c.beginScreening(ctx, run)
	if err != nil || s == nil {
		return err
	}
	begun := *s
	if s.State == ScreenUnderWay {
		report, err := c.judge(ctx, d, s, run)
		if err == nil {
			err = c.keepReport(ctx, d.Name, s, report)
		}
		if err != nil {
			s.State, s.Problem, s.Passing = ScreenUnscreened, message(err), slices.Contains([]pavise.Kind{pavise.Conflict, pavise.Unavailable}, pavise.KindOf(err))
		}
	}
	s.Ended = c.cfg.Now().UTC()
	for ctx.Err() == nil {
		if err = c.noteScreening(ctx, d.Name, s); err == nil {
			err = c.keepScreening(ctx, d.Name, s)
		}
		if err == nil {
			return nil
		}
		c.unkept(ctx, d.Name, err)
	}
	if begun.State != ScreenUnderWay {
		return nil
	}
	begun.State, begun.Stopped = ScreenWaiting, begun.Stopped+1
	return c.keepScreening(context.WithoutCancel(ctx), d.Name, &begun)
}

// beginScreening says that it was begun, before it is: one that ends its process is not begun
// for ever. It returns no screening where there is none to do.
func (c *Catalog) beginScreening(ctx context.Context, run *screeningRun) (d *Dataset, s *Screening, err error) {
	var root rowseal.Digest
	if err := root.UnmarshalText([]byte(run.root)); err != nil {
		return nil, nil, err
	}
	err = c.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		if d, err = read(tx, run.name); err != nil || d == nil {
			return err
		}
		if s, err = readScreening(tx, run.name, root); err != nil || s == nil || s.over() {
			s = nil
			return err
		}
		switch lost := s.Begins - s.Stopped; {
		case d.Watch == nil:
			s.State, s.Problem = ScreenUnscreened, "nobody watches it any more"
		case lost >= maxBegins:
			s.State, s.Problem = ScreenUnscreened, fmt.Sprintf("it was begun %d times, and each time the server ended before it did", lost)
		default:
			s.Begins, s.Begun, s.State = s.Begins+1, c.cfg.Now().UTC(), ScreenUnderWay
			return writeScreening(tx, run.name, s)
		}
		return nil // what ends it is noted first
	})
	return d, s, err
}

// judge has what lies at the place of a dataset judged. What a hostile file has a reader panic
// over is not screened.
func (c *Catalog) judge(ctx context.Context, d *Dataset, s *Screening, run *screeningRun) (report *Report, err error) {
	dir, err := os.MkdirTemp(c.cfg.Dir, screeningPrefix)
	if err != nil {
		return nil, unwritten(err)
	}
	defer os.RemoveAll(dir)
	defer func() {
		if p := recover(); p != nil {
			err = &pavise.Error{Kind: pavise.Internal, Msg: fmt.Sprintf("screening it went wrong: %v", p), Hint: "look at what lies there, and report this"}
		}
	}()
	ask := ToScreen{Place: d.Watch.Place, Root: s.Root, Terms: s.Terms, Dir: dir, Time: screeningTime, Say: func(text string) {
		c.mu.Lock()
		defer c.mu.Unlock()
		run.said = cut(text, maxSaid)
	}}
	if s.Baseline > 0 {
		ask.Baseline = c.sealFile(d.Name, s.Trust)
	}
	s.Judged, report, err = c.cfg.Screen(ctx, ask)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return nil, &pavise.Error{Kind: pavise.Unavailable, Msg: fmt.Sprintf("it took longer than %v", screeningTime), Hint: "screen a part of it: put the parts into datasets of their own", Err: err}
	case err != nil:
		return nil, err
	case s.Baseline > 0 && s.Judged.Trusted+s.Judged.Untrusted == 0 && !s.Scheduled:
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("no row of version %d lies there any more: there is nothing to trust", s.Baseline), Hint: "screen it without a baseline, or name another version"}
	case s.Judged.clean():
		s.State = ScreenClean
	default:
		s.State = ScreenSuspect
	}
	return report, nil
}

// screeningPrefix begins the name of a directory that is needed while something is screened.
const screeningPrefix = "screening-"

// sweep removes what screenings left whose process was killed.
func (c *Catalog) sweep() {
	left, _ := filepath.Glob(filepath.Join(c.cfg.Dir, screeningPrefix+"*"))
	for _, dir := range left {
		if err := os.RemoveAll(dir); err != nil {
			c.cfg.Say("warning", unwritten(err))
		}
	}
}

// keepReport keeps a report beside the seal of what it is of.
func (c *Catalog) keepReport(ctx context.Context, name pavise.Name, s *Screening, r *Report) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if len(text) > maxReport {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the report has more than %d MiB", maxReport>>20), Hint: "its columns have very long names or values: leave them out with --omit"}
	}
	if err := c.grow(ctx, name, int64(len(text))); err != nil {
		return err
	}
	if err := keep(c.reportFile(name, s.Root), text); err != nil {
		return err
	}
	sum := sha256.Sum256(text)
	s.Report = hex.EncodeToString(sum[:])
	return c.recount(name)
}

// keepScreening keeps how a screening stands, unless another was asked for meanwhile, or its
// content is kept no longer.
func (c *Catalog) keepScreening(ctx context.Context, name pavise.Name, s *Screening) error {
	gone := false
	err := c.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		now, err := readScreening(tx, name, s.Root)
		if err != nil {
			return err
		}
		if gone = now == nil; gone || !now.Asked.Equal(s.Asked) {
			return nil
		}
		return writeScreening(tx, name, s)
	})
	if gone && err == nil {
		_ = os.Remove(c.reportFile(name, s.Root)) // or the next look does
	}
	return err
}

// ScreenNoted is the detail of the notes on screenings.
type ScreenNoted struct {
	Finding *pavise.Finding `json:"finding,omitempty"`
	Screening
}

// noteScreening leaves a note of what came of a screening, unless the log has it.
func (c *Catalog) noteScreening(ctx context.Context, name pavise.Name, s *Screening) error {
	filter := ledger.Filter{Tenant: name.Tenant, Kinds: []string{KindScreened, KindUnscreened}, On: name.String(), Phase: record.Note}
	for last, err := range c.cfg.Log.SelectBack(ctx, filter, c.cfg.Log.First(), c.cfg.Log.Size()) {
		if err != nil {
			return err
		}
		var was ScreenNoted
		if json.Unmarshal(last.Detail, &was) == nil && was.Root == s.Root && was.Asked.Equal(s.Asked) {
			return nil
		}
		break
	}
	kind, n := KindScreened, ScreenNoted{Screening: *s}
	n.Judged.Screens, n.Judged.Dropped = nil, n.Judged.Dropped[:min(len(n.Judged.Dropped), MaxRows)]
	for _, o := range s.Judged.Screens { // what they remark on is in the report
		n.Judged.Screens = append(n.Judged.Screens, poison.Outcome{Screen: o.Screen, Limit: o.Limit, Found: o.Found, Silence: cut(o.Silence, maxName)})
	}
	switch s.State {
	case ScreenSuspect:
		n.Finding = s.finding(name, kind, s.words(name))
	case ScreenUnscreened:
		if kind = KindUnscreened; s.Scheduled {
			n.Finding = s.finding(name, kind, fmt.Sprintf("%s was not screened for poison: %s", name.ID, s.Problem))
		}
	}
	return c.cfg.Guard.Note(ctx, kind, nil, name, n)
}

func (s *Screening) finding(name pavise.Name, kind, summary string) *pavise.Finding {
	return &pavise.Finding{Kind: kind, Severity: pavise.Warning, On: name, Summary: summary, At: s.Ended}
}

// words says what was found, in a sentence.
func (s *Screening) words(name pavise.Name) string {
	what := "what was found at its place"
	if s.Version > 0 {
		what = fmt.Sprintf("version %d", s.Version)
	}
	text := fmt.Sprintf("of %s, %s, %d of %d rows look poisoned", name.ID, what, s.Judged.Quarantine, s.Judged.Rows)
	add := func(n int, words string) {
		if n > 0 {
			text += fmt.Sprintf(words, n)
		}
	}
	add(len(s.Judged.Dropped), "; columns that could not be looked at: %d")
	add(s.Judged.Apart, "; files that were not looked at: %d")
	add(s.Judged.Untrusted, "; files whose columns may be others than they were: %d")
	return text
}
