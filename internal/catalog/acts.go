package catalog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/lineage"
	"github.com/pavise/pavise/internal/rowseal"
	"github.com/pavise/pavise/internal/store"
)

// MaxSeal bounds a seal that is handed over, in bytes: that of some eighty thousand files.
const MaxSeal = 16 << 20

// A SealSpec hands a seal over.
type SealSpec struct {
	Name      pavise.Name `json:"name" doc:"the dataset, as tenant/dataset/id"`
	Seal      []byte      `json:"seal" doc:"the seal, as pavise dataset seal writes it"`
	Signature []byte      `json:"signature,omitempty" doc:"its signed statement, as pavise dataset seal --key writes it"`
	Parents   []string    `json:"parents,omitempty" maxItems:"64" doc:"what it was made of: datasets, or roots of seals"`
	Called    string      `json:"called,omitempty" doc:"what OpenLineage events call it: NAMESPACE/NAME"`
}

// A Sealed is a seal that was taken.
type Sealed struct {
	Name    pavise.Name `json:"name"`
	Version Version     `json:"version"`
	Same    bool        `json:"same"`   // it was the newest version before
	Record  uint64      `json:"record"` // index of the record that says so
}

// Seal takes a seal that somebody made elsewhere: it is the newest version of the dataset
// from then on, or is it already. Of a watched dataset none is taken: what lies at its place
// is what it is. Errors are of kind Invalid, Unverified for a seal or a signature that does
// not hold, NotFound for a parent, and Conflict.
func (c *Catalog) Seal(ctx context.Context, who pavise.Principal, spec SealSpec) (sealed Sealed, err error) {
	entry, err := c.cfg.Guard.Enter(ctx, who, "dataset.seal", spec.Name)
	if err != nil {
		return sealed, err
	}
	defer entry.Exit(&err)
	called, err := calledOf(spec.Called)
	if err != nil {
		return sealed, err
	}
	v, err := c.taken(spec)
	if err != nil {
		return sealed, err
	}
	v.At, v.By, v.How = c.cfg.Now().UTC(), who.Name(), "sealed"
	if sealed, err = c.keepSeal(ctx, spec, v, called); err != nil {
		return sealed, err
	}
	sealed.Record, _ = entry.Record()
	entry.Detail(struct {
		Version
		Called lineage.Dataset `json:"called,omitzero"`
		Same   bool            `json:"same"`
	}{sealed.Version, called, sealed.Same})
	return sealed, nil
}

// keepSeal keeps a seal that was handed over: its files first, so that no version is without.
func (c *Catalog) keepSeal(ctx context.Context, spec SealSpec, v Version, called lineage.Dataset) (sealed Sealed, err error) {
	c.keeping.Lock()
	defer c.keeping.Unlock()
	err = c.cfg.Store.View(ctx, func(tx *store.Tx) error { // what is refused leaves no file
		if _, err := parents(tx, spec.Name.Tenant, spec.Parents); err != nil {
			return err
		}
		_, err := takes(tx, spec.Name)
		return err
	})
	if err != nil {
		return sealed, err
	}
	if err := c.grow(ctx, spec.Name, int64(len(spec.Seal)+len(spec.Signature))); err != nil {
		return sealed, err
	}
	defer func() { err = errors.Join(err, c.recount(spec.Name)) }()
	file := c.sealFile(spec.Name, v.Root)
	if len(spec.Signature) > 0 {
		err = keep(file+signatureSuffix, spec.Signature)
	}
	if err == nil {
		err = keep(file, spec.Seal)
	}
	if err != nil {
		return sealed, err
	}
	err = c.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		if v.Parents, err = parents(tx, spec.Name.Tenant, spec.Parents); err != nil {
			return err
		}
		sealed, err = take(tx, spec.Name, v, called)
		return err
	})
	return sealed, err
}

// taken reads a seal that somebody hands over.
func (c *Catalog) taken(spec SealSpec) (v Version, err error) {
	if len(spec.Seal) > MaxSeal {
		return v, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the seal is longer than %d MiB", MaxSeal>>20), Hint: "have the server seal it where it lies: pavise dataset watch"}
	}
	m, err := rowseal.ParseManifest(spec.Seal)
	if err != nil {
		return v, err
	}
	v = versionOf(m)
	if len(spec.Signature) > 0 {
		v.Keys, err = c.cfg.Signed(spec.Signature, m)
	}
	return v, err
}

// takes returns a dataset, known or new, of which a seal can be handed over.
func takes(tx *store.Tx, name pavise.Name) (*Dataset, error) {
	d, err := read(tx, name)
	if err == nil && d == nil {
		d, err = &Dataset{Name: name}, room(tx, name.Tenant)
	}
	if err == nil && d.Watch != nil {
		err = &pavise.Error{
			Kind: pavise.Conflict, Msg: fmt.Sprintf("%s is watched: what lies at %s is its next version, once others have approved it", name, d.Watch.URL),
			Hint: "pavise dataset accept " + name.ID + " --root ROOT proposes it; pavise dataset show " + name.ID + " says what was found",
		}
	}
	return d, err
}

// take makes a version the newest of a dataset, unless it is that already.
func take(tx *store.Tx, name pavise.Name, v Version, called lineage.Dataset) (s Sealed, err error) {
	d, err := takes(tx, name)
	if err == nil {
		err = d.call(tx, called)
	}
	if err != nil {
		return s, err
	}
	same := d.Newest != nil && d.Newest.Root == v.Root && slices.Equal(d.Newest.Parents, v.Parents) && slices.Equal(d.Newest.Keys, v.Keys)
	if !same {
		if err := d.add(tx, v); err != nil {
			return s, err
		}
	}
	return Sealed{Name: name, Version: *d.Newest, Same: same}, write(tx, d)
}

// calledOf reads what OpenLineage calls a dataset, if that was said.
func calledOf(text string) (lineage.Dataset, error) {
	if text == "" {
		return lineage.Dataset{}, nil
	}
	return ParseCalled(text)
}

// parents finds what a version was made of. A dataset means its newest version; a root may
// be one that is not known here.
func parents(tx *store.Tx, tenant string, named []string) (list []Parent, err error) {
	for _, text := range named {
		var p Parent
		if p.Root.UnmarshalText([]byte(text)) == nil {
			p.Dataset, err = owner(tx, tenant, p.Root)
		} else {
			p, err = parentNamed(tx, tenant, text)
		}
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, nil
}

func parentNamed(tx *store.Tx, tenant, text string) (p Parent, err error) {
	if !strings.Contains(text, "/") {
		text = tenant + "/" + Kind + "/" + text
	}
	if p.Dataset, err = pavise.ParseName(text); err != nil {
		return p, err
	}
	var d *Dataset
	if p.Dataset.Tenant == tenant && p.Dataset.Kind == Kind {
		d, err = read(tx, p.Dataset)
	}
	if err != nil {
		return p, err
	}
	if d == nil || d.Newest == nil {
		return p, &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("%.200s is no dataset with a version here", text), Hint: "name one of pavise dataset list, or the root of a seal: 64 hex digits"}
	}
	p.Root = d.Newest.Root
	return p, nil
}

// A WatchSpec says what is to be watched, and how.
type WatchSpec struct {
	Name   pavise.Name
	Place  Place
	Every  time.Duration // 0: an hour, or as before
	Full   int           // every so many looks one reads everything; 0: 24, or as before
	Called string        // what OpenLineage events call it; empty: nobody says, or as before

	Screen     *Terms // each new content is screened so; nil: none is, or as before
	Unscreened bool   // none is from now on
}

// Watch has the house look at a dataset from now on, or in another way than before. What is
// found first is the dataset, if it has no version yet. Errors are of kind Invalid and
// Denied, for a place too, and Conflict.
func (c *Catalog) Watch(ctx context.Context, who pavise.Principal, spec WatchSpec) (v View, err error) {
	entry, err := c.cfg.Guard.Enter(ctx, who, "dataset.watch", spec.Name)
	if err != nil {
		return v, err
	}
	defer entry.Exit(&err)
	called, err := calledOf(spec.Called)
	if err == nil {
		err = c.allowed(spec)
	}
	if err != nil {
		return v, err
	}
	var loosened []string
	err = c.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		d, err := read(tx, spec.Name)
		if err == nil && d == nil {
			d, err = &Dataset{Name: spec.Name}, room(tx, spec.Name.Tenant)
		}
		if err != nil {
			return err
		}
		was := *d
		if err := d.call(tx, called); err != nil {
			return err
		}
		d.set(spec, who, c.cfg.Now())
		v.Dataset, loosened = *d, loosens(&was, d)
		return write(tx, d)
	})
	if err != nil {
		return v, err
	}
	entry.Detail(struct {
		Watch
		Called   lineage.Dataset `json:"called,omitzero"`
		Loosened []string        `json:"loosened,omitempty"` // which is a finding
	}{*v.Watch, v.Called, loosened})
	c.soon()
	return c.view(&v.Dataset), nil
}

// allowed refuses a watch that cannot be.
func (c *Catalog) allowed(spec WatchSpec) error {
	switch {
	case spec.Every != 0 && (spec.Every < minEvery || spec.Every > maxEvery):
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("a dataset is not looked at every %v", spec.Every), Hint: "from once a minute to once in 31 days: --every 1h"}
	case spec.Full != 0 && (spec.Full < minFull || spec.Full > maxFull):
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("one in %d looks", spec.Full), Hint: fmt.Sprintf("from %d, all of them, to %d: --full 24", minFull, maxFull)}
	case len(spec.Place.URL) > maxURL || len(spec.Place.ByBlock) > maxGlobs || len(strings.Join(spec.Place.ByBlock, "")) > maxURL:
		return &pavise.Error{Kind: pavise.Invalid, Msg: "the place, or the list of patterns, is too long", Hint: fmt.Sprintf("an address has %d bytes at most, and so have all patterns together, of which there are %d at most", maxURL, maxGlobs)}
	}
	if spec.Screen != nil {
		if err := spec.Screen.check(); err != nil {
			return err
		}
	}
	return c.cfg.Places.Allowed(spec.Place)
}

// set sets a watch, which is due at once. What was found at another place, or sealed in
// another way, is not what lies there.
func (d *Dataset) set(spec WatchSpec, who pavise.Principal, now time.Time) {
	w := Watch{Place: spec.Place, Every: spec.Every, Full: spec.Full, By: who.Name(), Root: who.Root(), Since: now.UTC(), Screen: spec.Screen}
	if old := d.Watch; old != nil {
		if w.Screen == nil && !spec.Unscreened {
			w.Screen = old.Screen
		}
		w.Every, w.Full = cmp.Or(w.Every, old.Every), cmp.Or(w.Full, old.Full)
	}
	w.Every, w.Full = cmp.Or(w.Every, time.Hour), cmp.Or(w.Full, usualFull)
	d.lose(now)
	d.Watch, d.Next, d.Silent = &w, now, nil
	for _, by := range []pavise.Name{who.Name(), who.Root()} {
		if !slices.Contains(d.Watchers, by) {
			d.Watchers = append(d.Watchers, by)
		}
	}
}

// loosens says in which ways a watch holds a dataset to its version less than the one before
// did, or to something else.
func loosens(was, is *Dataset) (how []string) {
	old, now := was.Watch, is.Watch
	if old == nil || was.Newest == nil {
		return nil
	}
	if now.URL != old.URL {
		how = append(how, fmt.Sprintf("it looks at %s, and no longer at %s", cut(now.URL, maxName), cut(old.URL, maxName)))
	}
	if now.Format != old.Format || !slices.Equal(now.ByBlock, old.ByBlock) {
		how = append(how, "it seals what lies there in another way")
	}
	if now.Every > old.Every {
		how = append(how, fmt.Sprintf("it looks every %v, and no longer every %v", now.Every, old.Every))
	}
	if now.Full > old.Full {
		how = append(how, fmt.Sprintf("it reads everything each %d looks, and no longer each %d", now.Full, old.Full))
	}
	if old.Screen != nil && now.Screen == nil {
		how = append(how, "what is new there is screened for poison no longer")
	} else if old.Screen != nil && !reflect.DeepEqual(old.Screen, now.Screen) {
		how = append(how, "what is new there is screened in another way")
	}
	if f := was.Found; f != nil {
		what := "content that cannot be sealed"
		if f.Would != nil {
			what = "the content " + f.Root.String()
		}
		how = append(how, what+", which was found there, is no longer shown until it is found again")
	}
	return how
}

// Unwatch has the house look at a dataset no more. Its versions are kept. Errors are of kind
// NotFound and Conflict.
func (c *Catalog) Unwatch(ctx context.Context, who pavise.Principal, name pavise.Name, reason string) (v View, err error) {
	entry, err := c.cfg.Guard.Enter(ctx, who, "dataset.unwatch", name)
	if err != nil {
		return v, err
	}
	defer entry.Exit(&err)
	var was Watch
	err = c.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		d, err := known(tx, name)
		if err != nil {
			return err
		}
		if d.Watch == nil {
			return &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("nobody watches %s", name), Hint: "pavise dataset list says which are watched"}
		}
		was, v.Dataset = *d.Watch, *d
		d.lose(c.cfg.Now())
		v.Gone, v.LastGone = d.Gone, d.LastGone
		d.Watch, d.Silent, d.Next = nil, nil, time.Time{}
		return write(tx, d)
	})
	if err != nil {
		return v, err
	}
	detail := struct {
		Watch
		State  State          `json:"state"` // as it was
		Found  rowseal.Digest `json:"found,omitzero"`
		Reason string         `json:"reason,omitempty"`
	}{was, v.state(), rowseal.Digest{}, reason}
	if v.Found != nil {
		detail.Found = v.Found.Root
	}
	entry.Detail(detail)
	v.Watch, v.Found, v.Silent, v.Next = nil, nil, nil, time.Time{}
	if err := errors.Join(c.tidy(ctx, name), c.recount(name)); err != nil {
		c.cfg.Say("warning", err)
	}
	return c.view(&v.Dataset), nil
}

// known returns a dataset, or says that there is none.
func known(tx *store.Tx, name pavise.Name) (*Dataset, error) {
	d, err := read(tx, name)
	if err == nil && d == nil {
		err = &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("there is no dataset %s", name), Hint: "pavise dataset list shows those that there are"}
	}
	return d, err
}

// waits is how long Check waits for a look: callers of a server wait no longer.
const waits = 20 * time.Second

// Check has a dataset looked at now, full or as it comes, and returns how it stands once
// that is done, or after twenty seconds as it stood: then it is looked at still. Errors are
// of kind NotFound, Conflict for one that nobody watches, and Unavailable.
func (c *Catalog) Check(ctx context.Context, who pavise.Principal, name pavise.Name, full bool) (v View, err error) {
	entry, err := c.cfg.Guard.Enter(ctx, who, "dataset.check", name)
	if err != nil {
		return v, err
	}
	defer entry.Exit(&err)
	get := func() (d *Dataset, err error) {
		err = c.cfg.Store.View(ctx, func(tx *store.Tx) (err error) { d, err = known(tx, name); return err })
		if err == nil && d.Watch == nil {
			err = &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("nobody watches %s: only its seals are known here", name), Hint: "pavise dataset verify PATH --seal FILE looks where the data are; pavise dataset watch has the server look"}
		}
		return d, err
	}
	if _, err := get(); err != nil {
		return v, err
	}
	if err := c.wait(ctx, name, full); err != nil {
		return v, err
	}
	d, err := get()
	if err != nil {
		return v, err
	}
	v = c.view(d)
	detail := struct {
		State State          `json:"state"`
		Root  rowseal.Digest `json:"root,omitzero"`
		Look  *Look          `json:"look,omitempty"`
		Still bool           `json:"looking"`
	}{v.State, rowseal.Digest{}, d.Last, v.Looking}
	detail.Root, _ = d.base()
	entry.Detail(detail)
	return v, nil
}

// wait looks at a dataset, or waits for a look that was begun since it was asked: what was
// begun before may have passed what has changed since. A full look is none that was begun as
// another.
func (c *Catalog) wait(ctx context.Context, name pavise.Name, full bool) error {
	enough := time.NewTimer(waits)
	defer enough.Stop()
	select {
	case <-c.begins: // a server answers a moment before
	case <-enough.C:
		return nil
	case <-ctx.Done():
		return nil
	}
	for before := c.looks(); ; {
		r := c.begin(name, full)
		if r == nil {
			return &pavise.Error{Kind: pavise.Unavailable, Msg: "nothing is looked at here: the server is about to stop", Hint: "ask again when it runs"}
		}
		select {
		case <-r.done:
			if r.number > before && (r.full || !full) {
				return nil
			}
		case <-enough.C:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

// An Acceptance asks for what was found to be the dataset.
type Acceptance struct {
	Root string `json:"root"` // of what was found: 64 hex digits, or the first eight or more
}

// foundDigest names, in a plan, the content that people approve.
const foundDigest = "found"

// accepted finds what an acceptance is of.
func accepted(tx *store.Tx, name pavise.Name, ask Acceptance) (*Dataset, error) {
	d, err := known(tx, name)
	if err != nil {
		return nil, err
	}
	root := strings.ToLower(ask.Root)
	switch {
	case d.Found == nil:
		return nil, &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("nothing was found at the place of %s that it is not already", name), Hint: "pavise dataset check " + name.ID + " looks now"}
	case d.Found.Would == nil:
		return nil, &pavise.Error{Kind: pavise.Conflict, Msg: "what was found cannot be sealed: " + d.Found.Why, Hint: "mend it there, or have the file sealed by its bytes: pavise dataset watch --by-block"}
	case len(root) < 8 || !strings.HasPrefix(d.Found.Root.String(), root):
		return nil, &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("what was found at the place of %s has the root %s, and not %.64q", name, d.Found.Root, ask.Root), Hint: "look at it again: pavise dataset show " + name.ID}
	}
	return d, nil
}

// A Plan says what an acceptance would come to.
type Plan struct {
	Was      Version       `json:"was"`
	Will     Version       `json:"will"`
	Differ   Differences   `json:"differ"`
	Since    time.Time     `json:"since"` // when it was found
	Place    Place         `json:"place"` // where
	Watchers []pavise.Name `json:"watchers"`

	Screening *Screening `json:"screening,omitempty"` // of what was found, if there was one
}

// PlanAccept says what an acceptance would come to, and what it depends on.
//
// Unguarded: it changes nothing; who asks is a change that is proposed, looked at or run,
// whose caller was let in.
func (c *Catalog) PlanAccept(ctx context.Context, name pavise.Name, ask Acceptance) (p Plan, err error) {
	err = c.cfg.Store.View(ctx, func(tx *store.Tx) error {
		d, err := accepted(tx, name, ask)
		if err == nil {
			p = Plan{Was: *d.Newest, Will: *d.Found.Would, Differ: d.Found.Differ, Since: d.Found.Since, Place: d.Watch.Place, Watchers: d.Watchers}
			p.Screening, err = readScreening(tx, name, p.Will.Root)
		}
		return err
	})
	return p, err
}

// Digests are what the outcome depends on.
func (p Plan) Digests() map[string]string {
	return map[string]string{"version before": fmt.Sprintf("%d, %s", p.Was.Number, p.Was.Root), foundDigest: p.Will.Root.String()}
}

// Accept makes what was found the newest version, as the change that who acts as, where it
// still is what was approved: digests are those of its plan. mark is called in the same
// transaction.
func (c *Catalog) Accept(ctx context.Context, who pavise.Principal, name pavise.Name, ask Acceptance, digests map[string]string, mark func(*store.Tx) error) (err error) {
	entry, err := c.cfg.Guard.Enter(ctx, who, "dataset.accept", name)
	if err != nil {
		return err
	}
	defer entry.Exit(&err)
	var v Version
	err = c.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		d, err := accepted(tx, name, ask)
		if err != nil {
			return err
		}
		p := Plan{Was: *d.Newest, Will: *d.Found.Would}
		for what, is := range p.Digests() {
			if digests[what] != is {
				return &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("%s changed since it was approved: %s", what, is), Hint: "propose it anew"}
			}
		}
		v = p.Will
		v.At, v.By, v.How, v.Change = c.cfg.Now().UTC(), who.Name(), "accepted", who.Change
		if err := d.add(tx, v); err != nil {
			return err
		}
		v = *d.Newest
		d.Watchers = d.setters()
		if err := write(tx, d); err != nil {
			return err
		}
		return mark(tx)
	})
	if err == nil {
		entry.Detail(v)
	}
	return err
}

// setters are who set the watch that is there, and who is behind them. Of a watch that was set
// before that was kept, they are all who have set one.
func (d *Dataset) setters() []pavise.Name {
	switch {
	case d.Watch == nil:
		return nil
	case d.Watch.Root == pavise.Name{}:
		return d.Watchers
	case d.Watch.Root == d.Watch.By:
		return []pavise.Name{d.Watch.By}
	}
	return []pavise.Name{d.Watch.By, d.Watch.Root}
}

// Show returns a dataset with its newest versions. The error is of kind NotFound.
func (c *Catalog) Show(ctx context.Context, who pavise.Principal, name pavise.Name) (s Shown, err error) {
	entry, err := c.cfg.Guard.Enter(ctx, who, "dataset.show", name)
	if err != nil {
		return s, err
	}
	defer entry.Exit(&err)
	err = c.cfg.Store.View(ctx, func(tx *store.Tx) error {
		d, err := known(tx, name)
		if err != nil {
			return err
		}
		s.View = c.view(d)
		if s.Versions, err = versions(tx, name, shownVersions); err == nil {
			s.Screening, err = lastScreening(tx, name)
		}
		return err
	})
	if s.Screening != nil {
		s.Said = c.said(name, s.Screening)
	}
	for i := range s.Versions {
		s.Versions[i].Indexed = c.hasIndex(name, s.Versions[i].Root)
	}
	s.Kept = c.shelf.kept(name)
	if s.Newest != nil {
		s.Older = s.Newest.Number - len(s.Versions)
	}
	return s, err
}

// The bounds of an answer.
const (
	shownVersions = 100
	listed        = 1000
)

// List returns the datasets of a tenant, those that have the state if one is named.
func (c *Catalog) List(ctx context.Context, who pavise.Principal, state State) (list List, err error) {
	entry, err := c.cfg.Guard.Enter(ctx, who, "dataset.list", pavise.Name{Tenant: who.Tenant, Kind: Kind, ID: "all"})
	if err != nil {
		return list, err
	}
	defer entry.Exit(&err)
	list.Datasets = []View{}
	err = c.cfg.Store.View(ctx, func(tx *store.Tx) error {
		return each(tx, who.Tenant, func(d *Dataset) (bool, error) {
			v := c.view(d)
			switch {
			case state != "" && v.State != state:
			case len(list.Datasets) == listed:
				list.More++
			default:
				if v.Found != nil { // dataset.show has what differs
					found := *v.Found
					found.Differ = Differences{Files: []Difference{}, More: len(found.Differ.Files) + found.Differ.More}
					v.Found = &found
				}
				list.Datasets = append(list.Datasets, v)
			}
			return true, nil
		})
	})
	return list, err
}

// view shows a dataset.
func (c *Catalog) view(d *Dataset) View {
	v := View{Dataset: *d, State: d.state(), Looking: c.isLooking(d.Name)}
	if v.Newest != nil {
		newest := *v.Newest
		newest.Indexed = c.hasIndex(d.Name, newest.Root)
		v.Newest = &newest
	}
	return v
}
