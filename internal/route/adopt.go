package route

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/store"
	"github.com/pavise/pavise/internal/tensor"
)

// Standings returns all routes by name, and how it stands with each: what a control
// plane tells its gateways. Limits in bits are told in rows, which older gateways know.
func (t *Table) Standings() []Standing {
	table, barred := *t.live.Load(), *t.barred.Load()
	all := make([]Standing, 0, len(table))
	for _, l := range table {
		told := l.Route
		if limits, err := told.Limits(); err == nil { // or the route could not have been put
			told.Terms = limits
		}
		all = append(all, Standing{Route: told, Quarantined: barred[l.Model]})
	}
	slices.SortFunc(all, func(a, b Standing) int { return strings.Compare(a.Model.String(), b.Model.String()) })
	return all
}

// Model returns the bytes of an ONNX model by their digest. The error is of kind
// NotFound if there is none.
//
// Unguarded: it is what gateways are told, and who may ask is their host's to say.
func (t *Table) Model(ctx context.Context, digest string) (onnx []byte, err error) {
	err = t.db.View(ctx, func(tx *store.Tx) error {
		rows, err := tx.Query(`SELECT onnx FROM gateway_models WHERE digest = ?`, digest)
		if err != nil {
			return err
		}
		defer rows.Close()
		if !rows.Next() {
			return errors.Join(rows.Err(), &pavise.Error{Kind: pavise.NotFound, Msg: "there is no model " + digest})
		}
		return rows.Scan(&onnx)
	})
	return onnx, err
}

// Holds reports whether an ONNX model, or a calibration, is here.
//
// Unguarded: as of Model.
func (t *Table) Holds(ctx context.Context, digest string) (is bool, err error) {
	err = t.db.View(ctx, func(tx *store.Tx) error {
		return tx.QueryRow(`SELECT EXISTS (SELECT 1 FROM gateway_models WHERE digest = ?)`, digest).Scan(&is)
	})
	return is, err
}

// A formers is what rollbacks would need, of a table of routes.
type formers struct {
	of  *map[pavise.Name]*Live
	all map[pavise.Name][]string // digests
}

// FormerBlobs says which ONNX models and calibrations a rollback of each route would need, by digest: a
// gateway that has them goes back without a word from elsewhere but the order. Of a route whose
// history cannot be read it says nothing: that is no reason to tell gateways nothing at all.
//
// Unguarded: as of Model.
func (t *Table) FormerBlobs(ctx context.Context) (map[pavise.Name][]string, error) {
	of := t.live.Load()
	if known := t.formers.Load(); known != nil && known.of == of { // whatever changes it changes the table
		return known.all, nil
	}
	all := map[pavise.Name][]string{}
	err := t.db.View(ctx, func(tx *store.Tx) error {
		for name := range *of {
			if _, will, _, err := t.back(tx, name); err == nil {
				all[name] = will.Blobs()
			}
		}
		return nil
	})
	if err == nil {
		t.formers.Store(&formers{of, all})
	}
	return all, err
}

// Adopt puts the routes of a control plane in the place of all that are here. model
// returns the bytes of an ONNX model by their digest, for those that are not here yet.
// Budgets, which a caller could else take once at each gateway, are shared out among so
// many of them; rates hold at each. It is all or nothing: on an error the routes are as
// they were. Requests under way end on the route they began on.
//
// Unguarded: who put each route was asked at the control plane, whose signature stands
// for it; the gateway records what it adopts.
func (t *Table) Adopt(ctx context.Context, all []Standing, share int, model func(digest string) ([]byte, error)) error {
	t.changing.Lock()
	defer t.changing.Unlock()
	was := *t.live.Load()
	next, barred, err := t.prepare(ctx, all, share, model)
	if err == nil {
		err = t.db.Update(ctx, func(tx *store.Tx) error { return keepAdopted(tx, all, next, barred) })
	}
	if err != nil {
		for name, l := range next {
			t.leave(ctx, l, was[name])
		}
		return err
	}
	for name, l := range next {
		if err := l.settle(); err != nil { // neither can be: they were looked at
			return err
		}
		if err := t.meter.SetTerms(name, l.Terms); err != nil {
			return err
		}
	}
	stricter := maps.Clone(*t.barred.Load())
	maps.Copy(stricter, barred)
	t.barred.Store(&stricter) // who is in quarantine before or after is in it meanwhile
	for name, l := range next {
		t.guard.Observe(name, l.Observe)
	}
	t.live.Store(&next)
	t.barred.Store(&barred)
	for name, l := range was {
		if next[name] == nil {
			t.guard.Observe(name, false)
			t.meter.DropTerms(name)
		}
		t.leave(ctx, l, next[name])
	}
	return t.lookAnew(ctx, was, next)
}

// prepare makes ready what is to be adopted, and changes nothing but the models that
// the store has. A route that stays keeps its model, and its connections. On an error it
// returns what it had made ready.
func (t *Table) prepare(ctx context.Context, all []Standing, share int, model func(string) ([]byte, error)) (map[pavise.Name]*Live, map[pavise.Name]bool, error) {
	next, barred, was := map[pavise.Name]*Live{}, map[pavise.Name]bool{}, *t.live.Load()
	for _, s := range all {
		route := s.Route
		if err := route.Validate(); err != nil {
			return next, nil, fmt.Errorf("adopt route %s: %w", route.Model, err)
		}
		if next[route.Model] != nil {
			return next, nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("there are two routes to %s", route.Model)}
		}
		limits, err := route.Limits() // in rows, so that a part is never less than one
		if err != nil {
			return next, nil, err
		}
		if route.Terms = limits; !s.Parted {
			route.Terms.Budget, route.Terms.ModelBudget = route.Terms.Budget.Part(share), route.Terms.ModelBudget.Part(share)
			route.Terms.ClusterBudget = route.Terms.ClusterBudget.Part(share)
		}
		if s.Quarantined {
			barred[route.Model] = true
		}
		l := t.liveOf(route)
		if err := t.fetchCalibration(ctx, route, model); err != nil {
			return next, nil, fmt.Errorf("adopt route %s: %w", route.Model, err)
		}
		if l.inherit(was[route.Model]) {
			next[route.Model] = l
			continue
		}
		if err := t.load(ctx, l, model); err != nil {
			return next, nil, fmt.Errorf("adopt route %s: %w", route.Model, err)
		}
		next[route.Model] = l
	}
	return next, barred, nil
}

// load starts the model of a route, and keeps its bytes.
func (t *Table) load(ctx context.Context, l *Live, model func(string) ([]byte, error)) error {
	for _, digest := range l.Models() {
		if err := t.fetchBytes(ctx, digest, model); err != nil {
			return err
		}
	}
	return t.db.View(ctx, func(tx *store.Tx) error {
		started, err := t.start(tx, l.Route)
		if err == nil {
			l.Predictor, l.Chat, l.Mirror, l.loaded, l.wheel = started.Predictor, started.Chat, started.Mirror, started.loaded, started.wheel
		}
		return err
	})
}

// keepAdopted stores the routes, so that they are there at the next start, and forgets
// the models that none of them names, nor would need to go back.
func keepAdopted(tx *store.Tx, all []Standing, next map[pavise.Name]*Live, barred map[pavise.Name]bool) error {
	for _, sql := range []string{`DELETE FROM gateway_routes`, `DELETE FROM gateway_quarantine`} {
		if _, err := tx.Exec(sql); err != nil {
			return err
		}
	}
	for name, l := range next {
		text, err := json.Marshal(l.Route)
		if err != nil {
			return fmt.Errorf("encode route %s: %w", name, err)
		}
		if _, err := tx.Exec(`INSERT INTO gateway_routes VALUES (?, ?)`, name.String(), string(text)); err != nil {
			return err
		}
		if barred[name] {
			if _, err := tx.Exec(`INSERT INTO gateway_quarantine VALUES (?)`, name.String()); err != nil {
				return err
			}
		}
	}
	return dropModels(tx, all, next)
}

// dropModels forgets the models that no route names, nor would need to go back.
func dropModels(tx *store.Tx, all []Standing, next map[pavise.Name]*Live) error {
	used := map[string]bool{}
	for _, s := range all {
		for _, digest := range s.Former {
			used[digest] = true
		}
	}
	for _, l := range next {
		for _, digest := range l.Blobs() {
			used[digest] = true
		}
	}
	rows, err := tx.Query(`SELECT digest FROM gateway_models`)
	if err != nil {
		return err
	}
	defer rows.Close()
	var unused []string
	for rows.Next() {
		var digest string
		if err := rows.Scan(&digest); err != nil {
			return err
		}
		if !used[digest] {
			unused = append(unused, digest)
		}
	}
	for _, digest := range unused {
		if _, err := tx.Exec(`DELETE FROM gateway_models WHERE digest = ?`, digest); err != nil {
			return errors.Join(rows.Err(), err)
		}
	}
	return rows.Err()
}

// Validate looks at a route that came from elsewhere, as Put looks at one that is put.
func (r Route) Validate() error {
	if err := r.Model.Validate(); err != nil {
		return err
	}
	if r.Model.Kind != "model" || (r.ONNX == "") == (r.Upstream == "") || r.MaxRows < 1 || r.MaxRows > tensor.DefaultLimits().MaxRows {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s is no route that can be put", r.Model)}
	}
	if r.Upstream != "" {
		if err := r.Place().Validate(); err != nil {
			return err
		}
	}
	if err := r.checkServers(); err != nil {
		return err
	}
	if err := r.checkVersions(); err != nil {
		return err
	}
	if err := r.checkTiming(); err != nil {
		return err
	}
	if err := r.checkVectors(); err != nil {
		return err
	}
	if err := r.checkAmber(); err != nil {
		return err
	}
	if r.Language() {
		return r.checkLanguage()
	}
	if err := r.Signature.Validate(); err != nil {
		return err
	}
	if err := r.Shape.Validate(r.Alterable, r.Purpose); err != nil {
		return err
	}
	if err := r.Shape.ValidateFor(r.Signature); err != nil {
		return err
	}
	if err := r.Drift.Validate(r.Signature.Inputs); err != nil {
		return err
	}
	if _, err := r.Limits(); err != nil {
		return err
	}
	return r.Terms.Validate()
}
