package monitor

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/drift"
	"github.com/pavise/pavise/internal/drift/book"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/store"
)

// An Ask is what drift.baseline is asked for: a baseline from a file, or from traffic.
type Ask struct {
	Model pavise.Name     `json:"model"`
	File  json.RawMessage `json:"file,omitzero"`
	Learn int             `json:"learn,omitempty"` // rows
	// Version is whose baseline it is, as a release's plan says it; empty: of what answers.
	Version string `json:"version,omitempty"`
	// Review: the house proposes it, of a model that has moved: whether what it is asked and answers
	// now is as usual, is for people to say. It stands as long as the verdict does.
	Review bool `json:"review,omitempty"`
	Anew   bool `json:"anew,omitempty"` // windows are held to the first baseline no more
}

// A Plan is what another baseline would come to.
type Plan struct {
	Version  string   `json:"version"`            // whose it would be
	Before   string   `json:"before"`             // digest of the baseline in force; empty: none
	First    string   `json:"first"`              // of the first one
	Baseline string   `json:"baseline"`           // of what would be in force, or how it would be learnt
	Features int      `json:"features,omitempty"` // of the model, that it names
	Others   []string `json:"others,omitempty"`   // that it names, and the model has not; at most mostFeatures
	Stays    int      `json:"stays,omitempty"`    // features that keep what they are held to
	Anew     bool     `json:"anew,omitempty"`     // windows would be held to the first baseline no more
	Cause    Cause    `json:"cause,omitempty"`    // of a review: why it has moved
	State    string   `json:"state"`              // as the verdict is now
}

// Digests are what the outcome depends on.
func (p Plan) Digests() map[string]string {
	all := map[string]string{"version": p.Version, "baseline before": p.Before, "first baseline": p.First, "baseline": p.Baseline}
	if p.Cause != "" {
		all["cause"] = string(p.Cause)
	}
	return all
}

// Of names the drift of a model.
func Of(model pavise.Name) pavise.Name {
	return pavise.Name{Tenant: model.Tenant, Kind: Kind, ID: model.ID}
}

// valid refuses, with kind Invalid, what names no model.
func valid(model pavise.Name) error {
	if model.Kind != "model" {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s is a %s, and drift is of models", model, model.Kind), Hint: "write the model as tenant/model/id"}
	}
	return nil
}

// known returns what is watched of a model. m.mu is held.
func (m *Monitor) known(model pavise.Name) (*watched, error) {
	if w := m.models[model]; w != nil {
		return w, nil
	}
	return nil, &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("nothing was asked of %s yet that is watched", model), Hint: "pavise drift list shows the models that are watched; texts of language models are not"}
}

// PlanBaseline says what another baseline would come to. It changes nothing. Errors are of kind
// Invalid, NotFound and Conflict.
//
// Unguarded: it is the plan of a change, whose proposer has entered.
func (m *Monitor) PlanBaseline(_ context.Context, on pavise.Name, ask Ask) (p Plan, err error) {
	p, _, _, err = m.plan(on, ask)
	return p, err
}

// plan is PlanBaseline, with what it is of.
func (m *Monitor) plan(on pavise.Name, ask Ask) (p Plan, w *watched, b *based, err error) {
	if err := valid(ask.Model); err != nil || Of(ask.Model) != on {
		return p, nil, nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the baseline is of %s, and was proposed for %s", ask.Model, on), Hint: "write the model as tenant/model/id", Err: err}
	}
	switch {
	case (ask.File == nil) == (ask.Learn == 0):
		return p, nil, nil, &pavise.Error{Kind: pavise.Invalid, Msg: "a baseline comes from a file or from traffic", Hint: "give --file BASELINE, as pavise drift profile writes it, or --learn ROWS"}
	case ask.Learn != 0 && (ask.Learn < leastLearn || ask.Learn > mostLearn):
		return p, nil, nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("a baseline of %d rows", ask.Learn), Hint: fmt.Sprintf("from %d to %d rows are learnt from: --learn 2000", leastLearn, mostLearn)}
	case len(ask.Version) > book.MaxVersion || ask.Learn != 0 && ask.Version != "":
		return p, nil, nil, &pavise.Error{Kind: pavise.Invalid, Msg: "what is learnt is of the version that answers, and a version's name is short", Hint: "a version that answers later has its baseline from a file: --file BASELINE --version VERSION"}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if w, err = m.known(ask.Model); err != nil {
		return p, nil, nil, err
	}
	p.Anew, p.State, p.Version = ask.Anew, string(w.Verdict.Stage), cmp.Or(ask.Version, w.Version)
	var under *drift.Baseline
	if was := w.bases[now]; was != nil {
		p.Before, under = was.Digest, was.Baseline
	}
	if page := w.book.Held(p.Version); page != nil {
		p.Before, under = page.Baseline, w.texts[page.Baseline]
	}
	if w.book != nil {
		p.First = w.book.First
	}
	if ask.Anew && p.Version != w.Version {
		return p, nil, nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the first baseline of %s is of what answers, which is %s", ask.Model, w.Version), Hint: "leave out --anew or --version"}
	}
	if ask.Review {
		if w.Verdict.Stage != Confirmed {
			return p, nil, nil, &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("%s is %s: there is nothing to review", ask.Model, w.Verdict.Stage), Hint: "pavise drift baseline proposes what it is held to at any time"}
		}
		p.Cause = w.Verdict.Cause
	}
	if ask.Learn != 0 {
		p.Baseline = fmt.Sprintf("learnt from %d rows from then on", ask.Learn)
		return p, w, nil, nil
	}
	if w.layout == nil {
		return p, nil, nil, &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("nothing was asked of %s since the start: what it takes is not known", ask.Model), Hint: "ask it once, and propose the baseline then"}
	}
	given, err := drift.ParseBaseline(ask.File)
	if err != nil {
		return p, nil, nil, err
	}
	over := &drift.Baseline{Format: given.Format, Rows: given.Rows}
	for _, profile := range given.Features {
		at, ok := w.layout.find(&profile)
		if !ok {
			if len(p.Others) < mostFeatures {
				p.Others = append(p.Others, profile.Name)
			}
			continue
		}
		profile.Side = string(w.layout.titles[at].side)
		over.Features = append(over.Features, profile)
	}
	if p.Features = len(over.Features); p.Features == 0 {
		return p, nil, nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the baseline names no feature of %s", ask.Model), Hint: "features are named as pavise drift show " + ask.Model.ID + " lists them, and are of the same kind"}
	}
	whole := drift.Overlaid(under, over)
	p.Stays, p.Baseline = len(whole.Features)-p.Features, whole.Digest()
	b, err = w.based(whole)
	return p, w, b, err
}

// Baseline puts another baseline in force, or has one be learnt, as the change that who acts as:
// digests are those of its plan, and must still be what comes of it. The first baseline stays
// what windows are held to besides, unless the change says otherwise. mark is called in the
// same transaction. Errors are those of PlanBaseline.
func (m *Monitor) Baseline(ctx context.Context, who pavise.Principal, on pavise.Name, ask Ask, digests map[string]string, mark func(*store.Tx) error) (err error) {
	entry, err := m.cfg.Guard.Enter(ctx, who, "drift.baseline", on)
	if err != nil {
		return err
	}
	defer entry.Exit(&err)
	p, w, b, err := m.plan(on, ask)
	if err != nil {
		return err
	}
	for what, is := range p.Digests() {
		if digests[what] != is {
			return &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("the %s of %s is another than was approved: %s", what, ask.Model, is), Hint: "look at it, and propose it anew"}
		}
	}
	entry.Detail(p)
	if b != nil {
		return m.install(ctx, w, b, p.Version, ask.Anew, mark)
	}
	return m.order(ctx, w, ask, mark)
}

// order has a baseline be learnt: it is kept in the transaction of the change's mark, or a
// process that is killed in between would have done the change and learn nothing.
func (m *Monitor) order(ctx context.Context, w *watched, ask Ask, mark func(*store.Tx) error) error {
	m.writing.Lock()
	defer m.writing.Unlock()
	m.mu.Lock()
	if m.models[w.model] != w {
		m.mu.Unlock()
		return another(w.model)
	}
	before := w.Wait
	w.Wait = (&book.Order{Rows: ask.Learn, Anew: ask.Anew}).In(m.cfg.Key(w.model.Tenant).MAC, w.model, m.heads[w.model].Book)
	doc, counts, err := w.document()
	m.mu.Unlock()
	if err == nil {
		err = m.cfg.Store.Update(ctx, func(tx *store.Tx) error {
			if err := keepModel(tx, w.model, doc, counts); err != nil {
				return err
			}
			return mark(tx)
		})
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil {
		w.Wait = before
		return err
	}
	if w.learn = nil; w.layout != nil {
		w.learn = newLearning(w.layout, ask.Learn)
		w.learn.first = ask.Anew
	}
	delete(m.broken, ask.Model)
	return nil
}

// A Said is what people say of a model that has moved.
type Said struct {
	Model  pavise.Name `json:"model"`
	Cause  Cause       `json:"cause,omitempty"`
	Reason string      `json:"reason"`
}

// Judge takes a person's word on why a model has moved. It stands beside what the windows say
// until that ends, and nothing more is done by itself meanwhile. Errors are of kind NotFound,
// Denied for a program, and Conflict where nothing has moved.
func (m *Monitor) Judge(ctx context.Context, who pavise.Principal, say Said) (v View, err error) {
	entry, err := m.cfg.Guard.Enter(ctx, who, "drift.verdict", Of(say.Model))
	if err != nil {
		return v, err
	}
	defer entry.Exit(&err)
	return m.person(ctx, entry, who, say, func(w *watched) { w.Verdict.Person = say.Cause })
}

// Dismiss takes a person's word that a model has not moved: what its verdict names is looked at
// again once it was as the baseline has it, or another version answers. Errors are as of Judge.
func (m *Monitor) Dismiss(ctx context.Context, who pavise.Principal, say Said) (v View, err error) {
	entry, err := m.cfg.Guard.Enter(ctx, who, "drift.dismiss", Of(say.Model))
	if err != nil {
		return v, err
	}
	defer entry.Exit(&err)
	return m.person(ctx, entry, who, say, func(w *watched) {
		for i := range w.layout.titles {
			for _, b := range w.bases {
				if b != nil && drift.MostVotes(b.votes[i].Moved) > 0 && !slices.Contains(w.Quiet, w.layout.key(i)) {
					w.Quiet = append(w.Quiet, w.layout.key(i))
				}
			}
		}
		w.Verdict.Stage, w.Verdict.Person = Dismissed, ""
	})
}

// person takes a person's word, and keeps it.
func (m *Monitor) person(ctx context.Context, entry *guard.Entry, who pavise.Principal, say Said, do func(*watched)) (v View, err error) {
	if who.Kind != pavise.Human {
		return v, &pavise.Error{Kind: pavise.Denied, Msg: fmt.Sprintf("%s is no person, and only people judge what windows found", who.Name()), Hint: "have a person look: pavise drift show " + say.Model.ID}
	}
	if err := valid(say.Model); err != nil {
		return v, err
	}
	was, err := m.word(who, say, do)
	if err != nil {
		return v, err
	}
	entry.Detail(struct {
		Said
		Was Verdict `json:"was"`
	}{say, was})
	if err := m.save(ctx, say.Model); err != nil {
		return v, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.view(m.models[say.Model]), nil
}

// word takes a word in, and returns the verdict that it is on.
func (m *Monitor) word(who pavise.Principal, say Said, do func(*watched)) (was Verdict, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	w, err := m.known(say.Model)
	if err != nil {
		return was, err
	}
	was = w.Verdict
	if was.Stage != Suspected && was.Stage != Confirmed || w.layout == nil {
		return was, &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("%s is %s: there is nothing to judge", say.Model, cmp.Or(was.Stage, Learning)), Hint: "pavise drift list shows what has moved"}
	}
	do(w)
	w.Verdict.By, w.Verdict.Reason = who.Name(), say.Reason
	return was, nil
}

// List says how the models of the caller's tenant stand, those first that have moved.
func (m *Monitor) List(ctx context.Context, who pavise.Principal, stage Stage) (list List, err error) {
	entry, err := m.cfg.Guard.Enter(ctx, who, "drift.list", pavise.Name{Tenant: who.Tenant, Kind: Kind, ID: "all"})
	if err != nil {
		return list, err
	}
	defer entry.Exit(&err)
	m.mu.Lock()
	defer m.mu.Unlock()
	list.Models = []View{}
	for name, w := range m.models {
		if v := m.view(w); name.Tenant == who.Tenant && (stage == "" || v.Verdict.Stage == stage) {
			list.Models = append(list.Models, v)
		}
	}
	list.sort()
	list.Unwatched = m.queue.full.Load()
	return list, nil
}

// Show says all that is known of a model: its windows, its features, and what they are held to.
// The error is of kind NotFound.
func (m *Monitor) Show(ctx context.Context, who pavise.Principal, model pavise.Name) (shown Shown, err error) {
	entry, err := m.cfg.Guard.Enter(ctx, who, "drift.show", Of(model))
	if err != nil {
		return shown, err
	}
	defer entry.Exit(&err)
	if err := valid(model); err != nil {
		return shown, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	w, err := m.known(model)
	if err != nil {
		return shown, err
	}
	return m.shown(w), nil
}
