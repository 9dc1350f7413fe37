package gate

import (
	"context"
	"crypto/ed25519"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/contract"
	"github.com/pavise/pavise/internal/store"
)

// declared is the detail of the record of a source's terms.
type declared struct {
	Digest  string `json:"digest"`
	Promise string `json:"promise,omitempty"`
	Form    string `json:"form"`
	Signed  string `json:"signed,omitempty"`
	Writers int    `json:"writers,omitempty"`
}

func (t *terms) detail() declared {
	return declared{t.digest, t.named, t.spec.Form, t.spec.Signed, len(t.spec.Writer)}
}

// Put declares a source: the verb ingest.put. The error is of kind Invalid for a spec that
// cannot be held to, and Conflict for a name that has other terms, or had: those change with
// ingest.revise, which others approve.
func (g *Gate) Put(ctx context.Context, who pavise.Principal, spec Spec) (shown Source, err error) {
	entry, err := g.cfg.Guard.Enter(ctx, who, "ingest.put", spec.Source)
	if err != nil {
		return shown, err
	}
	defer entry.Exit(&err)
	t, err := spec.read(contract.Parse)
	if err != nil {
		return shown, err
	}
	entry.Detail(t.detail())
	g.mu.Lock()
	defer g.mu.Unlock()
	before, gone, err := g.before(ctx, spec.Source)
	switch {
	case err != nil:
		return shown, err
	case before != nil && before.digest != t.digest && gone:
		return shown, &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("there was a source %s, with other terms", spec.Source), Hint: "pavise ingest revise declares it anew, once others have approved; or take another name"}
	case before != nil && before.digest != t.digest:
		return shown, &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("%s has other terms already", spec.Source), Hint: "pavise ingest revise proposes others: what a source is held to changes only when others have approved"}
	case before != nil && !gone:
		return g.show(ctx, g.sources[spec.Source])
	}
	if err := g.bounded(spec, nil); err != nil {
		return shown, err
	}
	s, err := g.declare(ctx, t, who.Name(), nil)
	if err != nil {
		return shown, err
	}
	return g.show(ctx, s)
}

// before is what a name was last held to; nil if it is a new one.
func (g *Gate) before(ctx context.Context, name pavise.Name) (t *terms, gone bool, err error) {
	err = g.cfg.Store.View(ctx, func(tx *store.Tx) error {
		var text string
		var when int64
		err := tx.QueryRow(`SELECT spec, gone FROM gate_sources WHERE tenant = ? AND id = ?`, name.Tenant, name.ID).Scan(&text, &when)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		gone = when != 0
		t, err = readTerms(text)
		return err
	})
	return t, gone, err
}

// bounded refuses a source too many. The caller holds mu.
func (g *Gate) bounded(spec Spec, now *source) error {
	n, templated := 0, 0
	for name, s := range g.sources {
		if s == now {
			continue
		}
		if name.Tenant == spec.Source.Tenant {
			n++
		}
		if s.terms.Load().spec.Templates != "" {
			templated++
		}
	}
	switch {
	case n >= maxSources:
		return &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("there are %d sources already, which is as many as there may be", n), Hint: "pavise ingest delete takes one away"}
	case spec.Templates != "" && templated >= maxTemplated:
		return &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("the templates of %d sources are known already, which is as many as may be", templated), Hint: "declare it without --templates"}
	}
	return nil
}

// declare keeps the terms of a source and holds it to them. mark, unless nil, is part of the
// same transaction. The caller holds mu, and that of a source that there is.
func (g *Gate) declare(ctx context.Context, t *terms, by pavise.Name, mark func(*store.Tx) error) (*source, error) {
	name, now := t.spec.Source, g.cfg.Now()
	s := g.sources[name]
	fresh := s == nil
	if fresh {
		s = &source{name: name}
	}
	err := g.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		if mark != nil {
			if err := mark(tx); err != nil {
				return err
			}
		}
		if err := save(tx, name, t, by, now); err != nil {
			return err
		}
		was := s.terms.Load()
		if fresh || was.spec.Templates != t.spec.Templates || was.spec.Form != t.spec.Form {
			if err := forgetTemplates(tx, name); err != nil {
				return err
			}
		}
		return tx.QueryRow(`SELECT position FROM gate_sources WHERE tenant = ? AND id = ?`, name.Tenant, name.ID).Scan(&s.position)
	})
	if err != nil {
		return nil, err
	}
	s.made, s.by = now, by
	s.begin(t)
	g.sources[name] = s
	return s, nil
}

// forgetTemplates forgets what was learnt from other lines.
func forgetTemplates(tx *store.Tx, name pavise.Name) error {
	if _, err := tx.Exec(`DELETE FROM gate_templates WHERE tenant = ? AND source = ?`, name.Tenant, name.ID); err != nil {
		return err
	}
	_, err := tx.Exec(`UPDATE gate_sources SET learnt = 0 WHERE tenant = ? AND id = ?`, name.Tenant, name.ID)
	return err
}

// A RevisePlan says what other terms of a source would come to.
type RevisePlan struct {
	Before string   `json:"before"` // digest of the terms that there are, or were
	After  string   `json:"after"`
	Was    *Spec    `json:"was"`
	Will   Spec     `json:"will"`
	Looser []string `json:"looser,omitempty"` // what it would be held to no more
}

// PlanRevise says what other terms of a source would come to. The error is of kind Invalid
// for terms that cannot be held to, and NotFound for a name that never had any.
//
// Unguarded: change asks, for who proposes it and who votes, and has entered for them.
func (g *Gate) PlanRevise(ctx context.Context, spec Spec) (plan RevisePlan, err error) {
	t, err := spec.read(contract.Parse)
	if err != nil {
		return plan, err
	}
	was, gone, err := g.before(ctx, spec.Source)
	switch {
	case err != nil:
		return plan, err
	case was == nil:
		return plan, &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("%s is no source, and never was", spec.Source), Hint: "pavise ingest put declares one"}
	case was.digest == t.digest && !gone:
		return plan, &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("%s has these terms already", spec.Source)}
	}
	return RevisePlan{was.digest, t.digest, &was.spec, t.spec, looser(was, t)}, nil
}

// looser says what a source would be held to no more.
func looser(was, will *terms) (all []string) {
	for _, l := range []struct {
		is    bool
		words string
	}{
		{was.schema != nil && will.schema == nil, "no contract"},
		{was.spec.Form != will.spec.Form, "another form"},
		{was.schema != nil && will.schema != nil && string(was.spec.Contract) != string(will.spec.Contract), "another contract"},
		{was.schema != nil && will.schema != nil && was.spec.Schema != will.spec.Schema, "another schema of the contract"},
		{len(was.keys) > 0 && len(will.keys) == 0, "no signers"},
		{was.spec.Signed == SignedRequired && will.spec.Signed == SignedOptional, "no signature required"},
		{len(was.spec.Writer) > 0 && len(will.spec.Writer) == 0, "any writer"},
		{was.spec.Templates != "" && will.spec.Templates == "", "no templates"},
		{was.spec.Templates != "" && will.spec.Templates != "" && was.spec.Templates != will.spec.Templates, "templates of another column, which are learnt anew"},
		{was.spec.Templates != "" && will.spec.Learn > was.spec.Learn, "more lines to learn from"},
		{was.spec.Distinct != "" && will.spec.Distinct != was.spec.Distinct, "values of " + was.spec.Distinct + " watched no more"},
		{was.spec.Sequence != "" && will.spec.Sequence != was.spec.Sequence, "the sequence of " + was.spec.Sequence + " watched no more"},
		{will.spec.NewShare > was.spec.NewShare && was.spec.Templates != "", "a greater share of new templates"},
		{was.spec.QuotaMB > 0 && (will.spec.QuotaMB == 0 || will.spec.QuotaMB > was.spec.QuotaMB), "a greater quota"},
	} {
		if l.is {
			all = append(all, l.words)
		}
	}
	for _, key := range will.keys {
		if len(was.keys) > 0 && !slices.ContainsFunc(was.keys, func(k ed25519.PublicKey) bool { return k.Equal(key) }) {
			all = append(all, "another signer")
			break
		}
	}
	for _, w := range will.spec.Writer {
		if len(was.spec.Writer) > 0 && !slices.Contains(was.spec.Writer, w) {
			all = append(all, "the writer "+w)
		}
	}
	return all
}

// Revise gives a source other terms: the verb ingest.revise. before is the digest of those
// that people saw replaced. What is in quarantine stays there.
func (g *Gate) Revise(ctx context.Context, who pavise.Principal, spec Spec, before string, mark func(*store.Tx) error) (err error) {
	entry, err := g.cfg.Guard.Enter(ctx, who, "ingest.revise", spec.Source)
	if err != nil {
		return err
	}
	defer entry.Exit(&err)
	t, err := spec.read(contract.Parse)
	if err != nil {
		return err
	}
	entry.Detail(t.detail())
	g.mu.Lock()
	defer g.mu.Unlock()
	was, _, err := g.before(ctx, spec.Source)
	if err != nil {
		return err
	}
	if was == nil || was.digest != before {
		return &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("the terms of %s are not those that were to be replaced", spec.Source), Hint: "propose it anew"}
	}
	s := g.sources[spec.Source]
	if err := g.bounded(spec, s); err != nil {
		return err
	}
	if s != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
	}
	_, err = g.declare(ctx, t, who.Name(), mark)
	return err
}

// Delete takes a source away: the verb ingest.delete. Nothing is let in for it any more; its
// terms are remembered, so that nobody declares it anew with others alone. The error is of
// kind Conflict while something of it is in quarantine.
func (g *Gate) Delete(ctx context.Context, who pavise.Principal, name pavise.Name) (err error) {
	entry, err := g.cfg.Guard.Enter(ctx, who, "ingest.delete", name)
	if err != nil {
		return err
	}
	defer entry.Exit(&err)
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.sources[name]
	if s == nil {
		return noSource(name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	held, err := g.rows(ctx, `tenant = ? AND source = ? AND state IN ('held', 'releasing', 'placing')`, name.Tenant, name.ID)
	if err != nil {
		return err
	}
	if len(held) > 0 {
		return &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("%d batches of %s are in quarantine", len(held), name), Hint: "release or discard them first: pavise ingest held shows them"}
	}
	err = g.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE gate_sources SET gone = ? WHERE tenant = ? AND id = ?`, g.cfg.Now().Unix(), name.Tenant, name.ID)
		return err
	})
	if err == nil {
		s.gone = true
		delete(g.sources, name)
	}
	return err
}

// allSources is the name under which all sources of a tenant are asked for.
func allSources(who pavise.Principal) pavise.Name {
	return pavise.Name{Tenant: who.Tenant, Kind: KindSource, ID: "all"}
}

// List returns the tenant's sources, by name, without their contracts and keys: the verb
// ingest.list.
func (g *Gate) List(ctx context.Context, who pavise.Principal) (all []Source, err error) {
	entry, err := g.cfg.Guard.Enter(ctx, who, "ingest.list", allSources(who))
	if err != nil {
		return nil, err
	}
	defer entry.Exit(&err)
	all = []Source{}
	for _, s := range g.all() {
		if s.name.Tenant != who.Tenant {
			continue
		}
		one, err := g.show(ctx, s)
		if err != nil {
			return nil, err
		}
		one.Contract, one.Signers, one.Watches = nil, nil, nil
		all = append(all, one)
	}
	slices.SortFunc(all, func(a, b Source) int { return strings.Compare(a.Source.ID, b.Source.ID) })
	return all, nil
}

// Show returns one source: the verb ingest.show.
func (g *Gate) Show(ctx context.Context, who pavise.Principal, name pavise.Name) (shown Source, err error) {
	entry, err := g.cfg.Guard.Enter(ctx, who, "ingest.show", name)
	if err != nil {
		return shown, err
	}
	defer entry.Exit(&err)
	s, err := g.find(name)
	if err != nil {
		return shown, err
	}
	return g.show(ctx, s)
}

// show is a source as people may see it.
func (g *Gate) show(ctx context.Context, s *source) (shown Source, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.terms.Load()
	shown = Source{Spec: t.spec, Digest: t.digest, Promise: t.named, Made: s.made.UTC(), By: s.by, Position: s.position, Watches: t.watches()}
	shown.Missing, shown.Replayed = s.watcher.order()
	if s.learner != nil {
		shown.Learnt, shown.Known = s.learner.lines, s.learner.miner.Held()
	}
	return shown, g.cfg.Store.View(ctx, func(tx *store.Tx) error {
		var last int64
		err := tx.QueryRow(`SELECT count(*) FILTER (WHERE state = 'admitted'), count(*) FILTER (WHERE state IN ('held', 'releasing')), coalesce(max(came), 0)
			FROM gate_batches WHERE tenant = ? AND source = ?`, s.name.Tenant, s.name.ID).Scan(&shown.Admitted, &shown.Held, &last)
		if err != nil {
			return err
		}
		if last > 0 {
			shown.Last = time.Unix(last, 0).UTC()
		}
		rows, err := tx.Query(`SELECT DISTINCT writer FROM gate_batches WHERE tenant = ? AND source = ? AND state = 'admitted' AND writer <> '' ORDER BY writer LIMIT 32`, s.name.Tenant, s.name.ID)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var w string
			if err := rows.Scan(&w); err != nil {
				return err
			}
			shown.Writers = append(shown.Writers, w)
		}
		return rows.Err()
	})
}
