package route

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/infer"
	"github.com/pavise/pavise/internal/store"
)

// A ReleaseSpec is what route.release is asked for: another model behind a name that
// has one, other servers of it, or another shadow. The route's terms stay. Or the first
// model behind a name.
type ReleaseSpec struct {
	Name       string          `json:"name" arg:"" help:"the model's name: its id, or tenant/model/id" doc:"the model's name, as tenant/model/id"`
	ONNX       []byte          `json:"onnx,omitzero" type:"filecontent" xor:"backend" placeholder:"FILE" help:"run this ONNX model in the gateway" doc:"an ONNX model to run in the gateway"`
	Upstream   string          `json:"upstream,omitempty" xor:"backend" placeholder:"URL" help:"ask the model server at this address" doc:"address of a model server"`
	Remote     string          `json:"remote,omitempty" placeholder:"NAME" help:"the model's name on the server, if it is another" doc:"the model's name on the server, if it is another"`
	Protocol   string          `json:"protocol,omitempty" placeholder:"NAME" help:"what the model server speaks, if it is not what the last one spoke: oip, oip-binary, oip-grpc, v1, tfserving, torchserve, mlflow or openai" doc:"what the model server speaks, if it is not what the last one spoke"`
	Version    string          `json:"version,omitempty" name:"model-version" placeholder:"VERSION" help:"the one version of the model that is asked, and that callers may name" doc:"the one version of the model that is asked, and that callers may name"`
	TLS        string          `json:"tls,omitempty" placeholder:"NAME" help:"the options of TLS by which the servers and the shadow are asked, as model_tls in pavise.yaml of the gateway's machine names them; none takes them away" doc:"the options of TLS by which the servers and the shadow are asked, as model_tls in pavise.yaml of the gateway's machine names them; none takes them away"`
	Replicas   []string        `json:"replicas,omitempty" name:"replica" sep:"none" placeholder:"URL" help:"a further server of the same model; may be repeated, and the list is whole each time. none takes all away" doc:"further servers of the same model, the whole list; none, alone, takes all away"`
	Beside     []byte          `json:"beside,omitzero" type:"filecontent" placeholder:"FILE" help:"a further ONNX model that answers beside the one that runs in the gateway, in the share that --weight gives it (a new one: 0)" doc:"a further ONNX model that answers beside the one that runs in the gateway, in the share that weights give it; 0 for a new one"`
	Keep       []string        `json:"keep,omitempty" sep:"none" placeholder:"DIGEST" help:"which of the further ONNX models stay; may be repeated, and the list is whole each time. none takes all away" doc:"which of the further ONNX models stay, the whole list, by digest; none, alone, takes all away"`
	Weights    []string        `json:"weights,omitempty" name:"weight" sep:"none" placeholder:"URL=SHARE" help:"how often a server is asked beside the others, 0 to 10000: 0 is never (a new server: 1); may be repeated. Of an ONNX model beside others write DIGEST=SHARE" doc:"how often servers are asked beside the others, as URL=SHARE: 0 to 10000, 0 is never, 1 for a new server; of ONNX models beside others, DIGEST=SHARE"`
	Shadow     string          `json:"shadow,omitempty" placeholder:"URL" help:"a server whose model gets a copy of every request, and whose answers are compared and go to nobody; none takes it away" doc:"a server whose model gets a copy of every request, and whose answers are compared and go to nobody; none takes it away"`
	ShadowONNX []byte          `json:"shadow_onnx,omitzero" name:"shadow-onnx" type:"filecontent" placeholder:"FILE" help:"an ONNX model that runs in the gateway, gets a copy of every request, and whose answers are compared and go to nobody" doc:"an ONNX model that runs in the gateway, gets a copy of every request, and whose answers are compared and go to nobody"`
	ShadowName string          `json:"shadow_remote,omitempty" name:"shadow-remote" placeholder:"NAME" help:"the shadow's name on its server, if it is another" doc:"the shadow's name on its server, if it is another"`
	Signature  json.RawMessage `json:"signature,omitzero" type:"filecontent" placeholder:"FILE" help:"what the model takes and gives, as JSON, where its server cannot say" doc:"what the model takes and gives; asked of the model when absent"`
}

func (s ReleaseSpec) spec() Spec {
	return Spec{
		Name: s.Name, ONNX: s.ONNX, Upstream: s.Upstream, Remote: s.Remote, Protocol: s.Protocol, Version: s.Version, Signature: s.Signature,
		TLS: s.TLS, Replicas: s.Replicas, Weights: s.Weights, Shadow: s.Shadow, ShadowName: s.ShadowName,
		Beside: s.Beside, Keep: s.Keep, ShadowONNX: s.ShadowONNX,
	}
}

// behind says what answers, in a few words.
func (r Route) behind() string {
	if r.ONNX != "" {
		return "model " + shortDigest(r.ONNX) + r.Aside() + r.Heard()
	}
	return r.At() + r.Heard()
}

// Heard says, behind what answers, which shadow hears the requests; "" if none does.
func (r Route) Heard() string {
	if r.ShadowONNX != "" {
		return fmt.Sprintf(", with the shadow %s in the gateway", shortDigest(r.ShadowONNX))
	}
	if r.Shadow == "" {
		return ""
	}
	return fmt.Sprintf(", with the shadow %s at %s", r.copied().Model, r.Shadow)
}

// At says where the model of a route with an upstream is.
func (r Route) At() string {
	name := r.Remote
	if r.Version != "" {
		name += " version " + r.Version
	}
	if r.Protocol != "" {
		name += " by " + r.Protocol
	}
	if r.Upstream == infer.External {
		return name + " behind a proxy"
	}
	if r.TLS != "" {
		return name + " at " + r.listed() + " by TLS as " + r.TLS
	}
	return name + " at " + r.listed()
}

// sameModel reports whether the same model answers on both routes, on the same servers,
// and the same shadow hears it: whether callers' data goes nowhere else, and nobody else
// answers for the name.
func (r Route) sameModel(other Route) bool {
	return r.ONNX == other.ONNX && r.Place() == other.Place() && r.Shadow == other.Shadow && r.ShadowRemote == other.ShadowRemote &&
		slices.Equal(r.addresses(), other.addresses()) && slices.Equal(r.digests(), other.digests()) && r.ShadowONNX == other.ShadowONNX
}

// keepRelease keeps a route in the history of its name, if another model answers on
// it than on the one before. What was rolled back does not count as before.
func keepRelease(tx *store.Tx, route Route, text string) error {
	last, seq, err := release(tx, route.Model, 1<<62)
	if err == nil && last != nil && last.sameModel(route) {
		if last.sameShares(route) && last.Calibration == route.Calibration && last.Amber == route.Amber && last.Mark == route.Mark {
			return nil
		}
		return keepLast(tx, route) // who comes back to it finds the shares and the calibration that it had
	}
	if err != nil {
		return err
	}
	var newest int64
	if err := tx.QueryRow(`SELECT coalesce(max(seq), 0) FROM gateway_releases WHERE name = ?`, route.Model.String()).Scan(&newest); err != nil {
		return err
	}
	_, err = tx.Exec(`INSERT INTO gateway_releases (name, seq, route) VALUES (?, ?, ?)`, route.Model.String(), max(newest, seq)+1, text)
	return err
}

// keepLast keeps a route as the newest in the history of its name, with the terms and
// the shares that it has by now: a release after its end goes on with those.
func keepLast(tx *store.Tx, route Route) error {
	last, seq, err := release(tx, route.Model, 1<<62)
	if err != nil || last == nil {
		return err
	}
	text, err := json.Marshal(route)
	if err != nil {
		return fmt.Errorf("encode route %s: %w", route.Model, err)
	}
	_, err = tx.Exec(`UPDATE gateway_releases SET route = ? WHERE name = ? AND seq = ?`, string(text), route.Model.String(), seq)
	return err
}

// release returns the newest route of a name before a place in its history that was
// not rolled back, and its place; nil if there is none.
func release(tx *store.Tx, model pavise.Name, before int64) (*Route, int64, error) {
	var text string
	var seq int64
	err := tx.QueryRow(`SELECT route, seq FROM gateway_releases WHERE name = ? AND seq < ? AND gone = 0 ORDER BY seq DESC LIMIT 1`, model.String(), before).Scan(&text, &seq)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	r := &Route{}
	if err := json.Unmarshal([]byte(text), r); err != nil {
		return nil, 0, fmt.Errorf("read a release of %s: %w", model, err)
	}
	return r, seq, nil
}

// lastRelease returns the newest route of a name, were it deleted since, or nil.
func (t *Table) lastRelease(ctx context.Context, model pavise.Name) (last *Route, err error) {
	err = t.db.View(ctx, func(tx *store.Tx) error {
		last, _, err = release(tx, model, 1<<62)
		return err
	})
	return last, err
}

// A Standing is a route and how it stands with it.
type Standing struct {
	Route
	Quarantined bool      `json:"quarantined,omitempty"` // nobody may ask the model
	Deleted     bool      `json:"deleted,omitempty"`     // it is the last route that there was: none leads to the model now
	New         bool      `json:"new,omitempty"`         // there never was one: it says nothing but the model's name
	Servers     []Server  `json:"servers,omitempty"`     // how its servers do; only List says it
	Running     []Running `json:"running,omitempty"`     // how its ONNX models do, of several; only List says it
	Former      []string  `json:"former,omitempty"`      // digests of what a rollback would need; only what gateways are told says it
	Parted      bool      `json:"-"`                     // its budgets are a gateway's part already: Adopt leaves them
}

// before is the route that a release goes on from; nil: there never was one.
func (s *Standing) before() *Route {
	if s.New {
		return nil
	}
	return &s.Route
}

// digest is the hex SHA-256 of all that it says.
func (s Standing) digest() (string, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return "", fmt.Errorf("encode route %s: %w", s.Model, err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

// still refuses with kind Conflict a route that is no longer the one with a digest.
func (s Standing) still(before string) error {
	if now, err := s.digest(); err != nil || now == before {
		return err
	}
	return &pavise.Error{
		Kind: pavise.Conflict, Msg: fmt.Sprintf("the route of %s is no longer the one that was to be replaced", s.Model),
		Hint: "look at it, and propose anew what it still takes: pavise route list",
	}
}

// A ReleasePlan is what a release or a rollback would come to.
type ReleasePlan struct {
	Was     Standing `json:"was"` // the route as it is
	Will    Standing `json:"will"`
	Before  string   `json:"before"`            // hex SHA-256 of the route as it is
	Model   string   `json:"model"`             // what would answer: a digest, or a name at an address
	Beside  []string `json:"beside,omitempty"`  // the digests of ONNX models that would answer beside it, and hear it
	Warning string   `json:"warning,omitempty"` // as that of a Placed
}

// newReleasePlan refuses with kind Conflict what would come to nothing.
func newReleasePlan(was, will Standing) (ReleasePlan, error) {
	plan := ReleasePlan{Was: was, Will: will, Model: cmp.Or(will.ONNX, will.At())}
	if all := will.Models(); len(all) > 1 {
		plan.Beside = all[1:]
	}
	after, err := will.digest()
	if err != nil {
		return ReleasePlan{}, err
	}
	if plan.Before, err = was.digest(); err != nil {
		return ReleasePlan{}, err
	}
	if plan.Before == after {
		return ReleasePlan{}, &pavise.Error{
			Kind: pavise.Conflict, Msg: fmt.Sprintf("%s is answered by %s already", was.Model, was.behind()),
			Hint: "name another model; its terms change by pavise route put",
		}
	}
	return plan, nil
}

// PlanRelease says what a release would come to. It changes nothing.
//
// Unguarded: it is the plan of a change, whose proposer has entered.
func (t *Table) PlanRelease(ctx context.Context, s ReleaseSpec) (ReleasePlan, error) {
	was, will, unlock, err := t.releasing(ctx, s)
	if err != nil {
		return ReleasePlan{}, err
	}
	defer unlock()
	plan, err := newReleasePlan(*was, Standing{Route: will.Route})
	plan.Warning = will.Warning
	return plan, err
}

// releasing returns the route that a release is for, and what it makes of it. It holds
// changing until unlock.
func (t *Table) releasing(ctx context.Context, s ReleaseSpec) (was *Standing, will Placed, unlock func(), err error) {
	if was, err = t.released(ctx, s); err != nil {
		return nil, will, nil, err
	}
	found, err := t.describe(ctx, s.spec(), was.before()) // without the lock: a server may be slow
	if err != nil {
		return nil, will, nil, err
	}
	t.changing.Lock()
	if was, err = t.released(ctx, s); err == nil {
		will, err = t.compose(ctx, s.spec(), found, was.before())
	}
	if err != nil {
		t.changing.Unlock()
		return nil, will, nil, err
	}
	return was, will, t.changing.Unlock, nil
}

// released returns the route that a release is for. For a name without one it is the
// last that there was: who trusted the name should not find another model behind it
// that nobody approved, and the terms it had are the ones to go on with. A name that never
// had one gets its first so, on the terms that new routes have, where others are to approve
// it ([Table.HoldFirst]).
func (t *Table) released(ctx context.Context, s ReleaseSpec) (*Standing, error) {
	model, err := s.spec().Model()
	if err != nil {
		return nil, err
	}
	if !s.spec().namesModel() && len(s.Replicas) == 0 && s.Shadow == "" && s.ShadowName == "" && s.Beside == nil && len(s.Keep) == 0 && s.ShadowONNX == nil {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: "a release names the model that is to answer, further servers of it, or a shadow", Hint: "give --onnx FILE, --beside FILE, --upstream URL, --replica URL, --shadow URL or --shadow-onnx FILE"}
	}
	was := t.current(s.Name)
	deleted := was == nil
	if deleted {
		if was, err = t.lastRelease(ctx, model); err != nil {
			return nil, err
		}
	}
	if was == nil {
		return &Standing{Route: Route{Model: model}, Quarantined: t.Barred(model), New: true}, nil
	}
	return &Standing{Route: *was, Quarantined: t.Barred(model), Deleted: deleted}, nil
}

// Release lets another model answer behind a name: the verb route.release on
// tenant/route/id, done as a change. It ends a quarantine. before is the digest of the
// route that was approved to be replaced, as [Table.PlanRelease] gave it: when it is
// another by now, nothing is done, and the error is of kind Conflict. So nobody's
// quarantine is ended by a release that was on its way. mark is part of the same
// transaction.
func (t *Table) Release(ctx context.Context, who pavise.Principal, s ReleaseSpec, before string, mark func(*store.Tx) error) (err error) {
	entry, err := t.guard.Enter(ctx, who, "route.release", routeName(s.Name))
	if err != nil {
		return err
	}
	defer entry.Exit(&err)
	was, will, unlock, err := t.releasing(ctx, s)
	if err != nil {
		return err
	}
	defer unlock()
	if err := was.still(before); err != nil {
		return err
	}
	entry.Detail(will)
	err = t.save(ctx, t.db.Update, will, func(tx *store.Tx) error {
		if _, err := tx.Exec(`DELETE FROM gateway_quarantine WHERE name = ?`, will.Model.String()); err != nil {
			return err
		}
		return mark(tx)
	})
	if err == nil {
		t.bar(will.Model, false)
	}
	return err
}

// back returns the route that a rollback would bring back, and from which place in the
// history on nothing comes back any more: what is left, and what led to it by its shares.
func (t *Table) back(tx *store.Tx, model pavise.Name) (was, will *Route, at int64, err error) {
	if was = t.current(model.String()); was == nil {
		return nil, nil, 0, &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("no route leads to %s", model), Hint: "pavise route list shows those that exist"}
	}
	_, at, err = release(tx, model, 1<<62)
	if err != nil {
		return nil, nil, 0, err
	}
	before, seq, err := release(tx, model, at)
	if err != nil {
		return nil, nil, 0, err
	}
	if before == nil {
		return nil, nil, 0, t.nothingBefore(tx, model)
	}
	for one := before; one != nil && one.beside(was.ONNX); {
		at = seq
		if one, seq, err = release(tx, model, at); err != nil {
			return nil, nil, 0, err
		}
	}
	before.without(was.ONNX)
	// The terms of today, the model of then.
	back := *was
	back.ONNX, back.Upstream, back.Remote, back.Signature = before.ONNX, before.Upstream, before.Remote, before.Signature
	back.Protocol, back.Version, back.Weight, back.Replicas = before.Protocol, before.Version, before.Weight, before.Replicas
	back.TLS, back.Shadow, back.ShadowRemote = before.TLS, before.Shadow, before.ShadowRemote
	back.Versions, back.ShadowONNX = before.Versions, before.ShadowONNX
	back.Calibration, back.Amber, back.Mark = before.Calibration, before.Amber, before.Mark
	if (back.Upstream == "") != (was.Upstream == "") || back.Upstream == infer.External {
		back.Balance = "" // which was of servers, or of none
	}
	return was, &back, at, nil
}

// wayBack is back, with a calibration that can be used today, or none: going back is never
// refused for it. warning says what is otherwise than it was.
func (t *Table) wayBack(ctx context.Context, model pavise.Name) (was, will *Route, at int64, warning string, err error) {
	err = t.db.View(ctx, func(tx *store.Tx) error {
		was, will, at, err = t.back(tx, model)
		return err
	})
	if err == nil {
		warning, err = t.watchedBack(ctx, was, will)
	}
	return was, will, at, warning, err
}

// watchedBack takes from a route that comes back the calibration that cannot be used any more, and
// what callers in amber got where the terms of today do not allow it.
func (t *Table) watchedBack(ctx context.Context, was, back *Route) (warning string, err error) {
	const nobody = "nobody looks for those who copy it until you give it one, with pavise route put --calibration"
	if why := back.checkAmber(); why != nil {
		back.Amber, back.Mark = "", 0
		warning = fmt.Sprintf("callers in amber do not get what they got then: %v", why)
	}
	switch {
	case back.Calibration == "" && was.Calibration != "":
		return "the model that comes back had no calibration, and " + nobody, nil
	case back.Calibration == "":
		return warning, nil
	}
	if _, err = t.calibrationOf(ctx, *back); err == nil {
		err = t.roomBeside(ctx, *back, 0)
	}
	switch pavise.KindOf(err) {
	case pavise.Invalid, pavise.Unverified, pavise.NotFound:
		back.Calibration, back.Amber, back.Mark = "", "", 0
		return fmt.Sprintf("the calibration of the model that comes back cannot be used, and %s: %v", nobody, err), nil
	}
	return warning, err
}

// nothingBefore is the error of a rollback without a model to go back to. People who
// have just gone back remember another model, so it says why that is none.
func (t *Table) nothingBefore(tx *store.Tx, model pavise.Name) error {
	var gone int
	if err := tx.QueryRow(`SELECT count(*) FROM gateway_releases WHERE name = ? AND gone = 1`, model.String()).Scan(&gone); err != nil {
		return err
	}
	if gone > 0 {
		return &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("no model is left for %s to go back to: what was rolled back does not come back", model), Hint: "pavise route release can bring any model, one that was rolled back, too; pavise route quarantine stops this one from answering"}
	}
	return &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("no other model answered for %s before this one", model), Hint: "pavise route quarantine stops it from answering"}
}

// PlanRollback says what going back would come to. It changes nothing.
//
// Unguarded: it is the plan of a change, whose proposer has entered.
func (t *Table) PlanRollback(ctx context.Context, model pavise.Name) (plan ReleasePlan, err error) {
	was, will, _, warning, err := t.wayBack(ctx, model)
	if err != nil {
		return plan, err
	}
	barred := t.Barred(model)
	plan, err = newReleasePlan(Standing{Route: *was, Quarantined: barred}, Standing{Route: *will, Quarantined: barred})
	plan.Warning = warning
	return plan, err
}

// Rollback lets the model answer that did before the present one: the verb
// route.rollback on tenant/route/id, in the safe direction. before is the digest of the
// route that is to be left, as [Table.PlanRollback] gave it: when it is another by now,
// nothing is done, and the error is of kind Conflict. So no release that came in between
// is undone in the place of the bad one. mark is part of the same transaction.
func (t *Table) Rollback(ctx context.Context, who pavise.Principal, model pavise.Name, before string, mark func(*store.Tx) error) (err error) {
	entry, err := t.guard.Enter(ctx, who, "route.rollback", routeName(model.String()))
	if err != nil {
		return err
	}
	defer entry.Exit(&err)
	t.changing.Lock()
	defer t.changing.Unlock()
	was, will, at, _, err := t.wayBack(ctx, model)
	if err != nil {
		return err
	}
	if err := (Standing{Route: *was, Quarantined: t.Barred(model)}).still(before); err != nil {
		return err
	}
	entry.Detail(will)
	return t.save(ctx, t.db.UpdateSafe, Placed{Route: *will}, func(tx *store.Tx) error {
		if _, err := tx.Exec(`UPDATE gateway_releases SET gone = 1 WHERE name = ? AND seq >= ?`, model.String(), at); err != nil {
			return err
		}
		return mark(tx)
	})
}

// Quarantine lets nobody ask a model any more: the verb route.quarantine on
// tenant/route/id, in the safe direction. A release ends it. mark is part of the
// same transaction.
func (t *Table) Quarantine(ctx context.Context, who pavise.Principal, model pavise.Name, mark func(*store.Tx) error) (err error) {
	entry, err := t.guard.Enter(ctx, who, "route.quarantine", routeName(model.String()))
	if err != nil {
		return err
	}
	defer entry.Exit(&err)
	t.changing.Lock()
	defer t.changing.Unlock()
	err = t.db.UpdateSafe(ctx, func(tx *store.Tx) error {
		if _, err := tx.Exec(`INSERT INTO gateway_quarantine (name) VALUES (?) ON CONFLICT DO NOTHING`, model.String()); err != nil {
			return err
		}
		return mark(tx)
	})
	if err == nil {
		t.bar(model, true)
	}
	return err
}

// Quarantined reports whether a thing is a model in quarantine. It is the guard's
// Quarantined. Where no route leads there is nothing to ask, and callers are told so;
// the name stays barred all the same, for what may be put there.
func (t *Table) Quarantined(name pavise.Name) bool { return t.Barred(name) && t.Has(name) }

// Barred reports whether a name is in quarantine, with a route or without.
func (t *Table) Barred(name pavise.Name) bool { return (*t.barred.Load())[name] }

// bar puts a model into quarantine in memory, or takes it out. Callers hold changing.
func (t *Table) bar(model pavise.Name, quarantined bool) {
	barred := maps.Clone(*t.barred.Load())
	if delete(barred, model); quarantined {
		barred[model] = true
	}
	t.barred.Store(&barred)
}

// readQuarantine reads which models are in quarantine.
func (t *Table) readQuarantine(tx *store.Tx) error {
	rows, err := tx.Query(`SELECT name FROM gateway_quarantine`)
	if err != nil {
		return err
	}
	defer rows.Close()
	barred := map[pavise.Name]bool{}
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return err
		}
		name, err := pavise.ParseName(text)
		if err != nil {
			return fmt.Errorf("read the quarantine: %w", err)
		}
		barred[name] = true
	}
	t.barred.Store(&barred)
	return rows.Err()
}
