package registry

import (
	"context"
	"slices"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/store"
)

// The bounds of an answer.
const (
	listedModels   = 1000
	listedVersions = 10_000
	shownVersions  = 500
	shownSteps     = 500
)

// A Listed is a model as it is listed: with its newest version, and those that serve or are in
// quarantine, or with those that have the state that was asked for; the newest first, without
// their files.
type Listed struct {
	Model
	Versions []*Version `json:"versions"`
}

// A List holds models by name.
type List struct {
	Models []Listed `json:"models"`
	More   int      `json:"more,omitempty"` // so many others are not listed
}

// List returns the models of a tenant, or those with a version in the state: the verb
// model.list.
func (r *Registry) List(ctx context.Context, who pavise.Principal, state State) (list List, err error) {
	entry, err := r.cfg.Guard.Enter(ctx, who, "model.list", pavise.Name{Tenant: who.Tenant, Kind: Kind, ID: "all"})
	if err != nil {
		return list, err
	}
	defer entry.Exit(&err)
	list.Models = []Listed{}
	err = r.cfg.Store.View(ctx, func(tx *store.Tx) error {
		names, err := modelNames(tx, who.Tenant)
		if err != nil {
			return err
		}
		read := 0
		for _, name := range names {
			if len(list.Models) == listedModels || read >= listedVersions {
				list.More++
				continue
			}
			l, err := listModel(tx, name, state)
			if err != nil {
				return err
			}
			r.why(l.Versions)
			if read += len(l.Versions); state == "" || len(l.Versions) > 0 {
				list.Models = append(list.Models, l)
			}
		}
		return nil
	})
	return list, err
}

// modelNames returns the names of a tenant's models, in order.
func modelNames(tx *store.Tx, tenant string) (names []pavise.Name, err error) {
	rows, err := tx.Query(`SELECT id FROM registry_models WHERE tenant = ? ORDER BY id`, tenant)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		name := pavise.Name{Tenant: tenant, Kind: Kind}
		if err := rows.Scan(&name.ID); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, rows.Err()
}

func listModel(tx *store.Tx, name pavise.Name, state State) (l Listed, err error) {
	m, err := readModel(tx, name)
	if err != nil {
		return l, err
	}
	condition, args := `tenant = ? AND id = ? AND (number = ? OR state IN ('canary', 'live', 'degraded', 'accepted', 'quarantined'))`, []any{name.Tenant, name.ID, m.Newest}
	if state != "" {
		condition, args = `tenant = ? AND id = ? AND state = ?`, []any{name.Tenant, name.ID, string(state)}
	}
	l.Model, l.Versions = *m, []*Version{}
	all, err := selected(tx, condition+` ORDER BY number DESC LIMIT ?`, append(args, shownVersions)...)
	l.Versions = append(l.Versions, all...)
	return l, err
}

// A Shown is a model with its newest versions, the newest first, without their files; or with
// one version, whole.
type Shown struct {
	Model
	Versions []*Version `json:"versions"`
	Older    int        `json:"older,omitempty"` // so many older ones are not listed
	Part     []byte     `json:"part,omitempty"`  // the file of the version that was asked for
}

// Show returns a model where the number of ref is 0, and a version otherwise: the verb
// model.show. The error is of kind NotFound.
//
// Unguarded: ShowPart enters, for the same principal.
func (r *Registry) Show(ctx context.Context, who pavise.Principal, tenant string, ref Ref) (s Shown, err error) {
	return r.ShowPart(ctx, who, tenant, ref, "")
}

// ShowPart is Show, with a file of the version besides: PartSignature, PartProducer or PartKey.
// The error is of kind NotFound where it has none.
func (r *Registry) ShowPart(ctx context.Context, who pavise.Principal, tenant string, ref Ref, part string) (s Shown, err error) {
	entry, err := r.cfg.Guard.Enter(ctx, who, "model.show", ref.on(tenant))
	if err != nil {
		return s, err
	}
	defer entry.Exit(&err)
	defer func() { r.why(s.Versions) }()
	err = r.cfg.Store.View(ctx, func(tx *store.Tx) error {
		m, err := readModel(tx, ref.Of(tenant))
		if err != nil {
			return err
		}
		s.Model, s.Versions = *m, []*Version{}
		if ref.Version != 0 {
			v, err := readVersion(tx, tenant, ref)
			if err == nil {
				s.Part, err = r.part(v, part)
			}
			s.Versions = append(s.Versions, v)
			return err
		}
		if part != "" {
			return &pavise.Error{Kind: pavise.Invalid, Msg: "a model has no " + part, Hint: "name one of its versions: " + ref.Model + "/1"}
		}
		all, err := selected(tx, `tenant = ? AND id = ? ORDER BY number DESC LIMIT ?`, tenant, ref.Model, shownVersions)
		s.Versions = append(s.Versions, all...)
		s.Older = m.Newest - len(all)
		return err
	})
	return s, err
}

// A History is what became of a model until a time.
type History struct {
	Model pavise.Name `json:"model"`
	At    time.Time   `json:"at"`
	// Versions are those that there were then, by number, each by its last step.
	Versions []Step         `json:"versions"`
	Serving  []Step         `json:"serving"` // those of them that served
	Aliases  map[string]int `json:"aliases"` // as they were then
	Steps    []Step         `json:"steps"`   // the last of them, in their order
	Earlier  int            `json:"earlier,omitempty"`
}

// History returns what became of a model until a time, and what served then: the verb
// model.history on the model. The zero time is now. The error is of kind NotFound.
func (r *Registry) History(ctx context.Context, who pavise.Principal, model pavise.Name, at time.Time) (h History, err error) {
	entry, err := r.cfg.Guard.Enter(ctx, who, "model.history", model)
	if err != nil {
		return h, err
	}
	defer entry.Exit(&err)
	if at.IsZero() {
		at = r.now()
	}
	h = History{Model: model, At: at.UTC(), Versions: []Step{}, Serving: []Step{}, Aliases: map[string]int{}, Steps: []Step{}}
	err = r.cfg.Store.View(ctx, func(tx *store.Tx) error {
		if _, err := readModel(tx, model); err != nil {
			return err
		}
		all, err := stepsOf(tx, model, at)
		for _, s := range all {
			h.take(s)
		}
		return err
	})
	for _, s := range h.Versions {
		if s.To.Serves() {
			h.Serving = append(h.Serving, s)
		}
	}
	h.cut()
	return h, err
}

// cut leaves the last steps.
func (h *History) cut() {
	if n := len(h.Steps) - shownSteps; n > 0 {
		h.Earlier, h.Steps = h.Earlier+n, slices.Clone(h.Steps[n:])
	}
}

// take takes a step in.
func (h *History) take(s Step) {
	if h.Steps = append(h.Steps, s); len(h.Steps) >= 2*shownSteps {
		h.cut()
	}
	switch {
	case s.Alias != "" && s.Version == 0:
		delete(h.Aliases, s.Alias)
	case s.Alias != "":
		h.Aliases[s.Alias] = s.Version
	case s.Version <= len(h.Versions):
		h.Versions[s.Version-1] = s
	default: // versions are added by number
		h.Versions = append(h.Versions, s)
	}
}
