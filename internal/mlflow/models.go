package mlflow

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/filter"
	"github.com/pavise/pavise/internal/registry"
	"github.com/pavise/pavise/internal/tracked"
)

// Tags of models and versions that say something here.
const (
	tagRisk    = "pavise.risk"     // of a model, when it is made: low, medium or high
	tagDataset = "pavise.dataset." // of a version, with a dataset's id behind it: the root that it was trained on
)

// A known is a model with its versions, as the registry and the room know them.
type known struct {
	registry.Shown
	extras   map[int]extra
	unsigned func(*registry.Model, *registry.Version) string // why a version lacks the signature that is asked for; empty: it does not
}

// know returns a model with its newest versions, for somebody who may look at it, or with the
// one of a number that is not 0. A model that was deleted is not found.
func (s *Server) know(ctx context.Context, who pavise.Principal, name string, number int) (k known, err error) {
	on, err := modelName(who.Tenant, name)
	if err != nil {
		return k, err
	}
	if k.Shown, err = s.cfg.Registry.Show(ctx, who, who.Tenant, registry.Ref{Model: name, Version: number}); err != nil {
		return k, err
	}
	extras, err := s.extras(ctx, who.Tenant, name)
	if err != nil {
		return k, err
	}
	k.extras, k.unsigned = extras[name], s.cfg.Registry.Unsigned
	if k.extras[0].deleted {
		return k, &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("the model %s was deleted", on.ID), Hint: "create it again: its versions go on by number"}
	}
	return k, nil
}

// version returns a version of the model by number. The error is of kind NotFound.
func (k known) version(number int) (*registry.Version, error) {
	for _, v := range k.Versions {
		if v.Ref.Version == number && !k.extras[number].deleted {
			return v, nil
		}
	}
	return nil, &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("%s has no version %d", k.Name.ID, number), Hint: "search_model_versions lists those that it has"}
}

// shown are the versions that were not deleted, as MLflow has them, the newest first.
func (k known) shown() (all []modelVersion) {
	for _, v := range k.Versions {
		if !k.extras[v.Ref.Version].deleted {
			all = append(all, k.show(v))
		}
	}
	return all
}

// model is the model, as MLflow has it.
func (k known) model() registeredModel {
	m := registeredModel{
		Name: k.Name.ID, Created: k.Created.UnixMilli(), Updated: k.Changed.UnixMilli(), User: k.By.ID, About: k.Description,
		Latest: latest(k.shown(), nil), Tags: tracked.TagsOf(k.Tags), searched: k.Tags,
	}
	for alias, number := range k.Aliases {
		m.Aliases = append(m.Aliases, aliasOf{alias, strconv.Itoa(number)})
	}
	slices.SortFunc(m.Aliases, func(a, b aliasOf) int { return strings.Compare(a.Alias, b.Alias) })
	return m
}

// untag makes a map of tags. The error is of kind Invalid for a key that stands there twice.
func untag(list []tracked.Tag) (map[string]string, error) {
	all := map[string]string{}
	for _, t := range list {
		if _, twice := all[t.Key]; twice || t.Key == "" {
			return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the tag %.80q has no key, or stands there twice", t.Key), Hint: "give each tag once"}
		}
		all[t.Key] = t.Value
	}
	return all, nil
}

// A modelAnswer holds one model.
type modelAnswer struct {
	Model registeredModel `json:"registered_model"`
}

// answer returns a model as it is now.
func (s *Server) answer(ctx context.Context, who pavise.Principal, name string) (any, error) {
	k, err := s.know(ctx, who, name, 0)
	if err != nil {
		return nil, err
	}
	return modelAnswer{k.model()}, nil
}

func (s *Server) createModel(ctx context.Context, who pavise.Principal, req createModel) (any, error) {
	on, err := modelName(who.Tenant, req.Name)
	if err != nil {
		return nil, err
	}
	said, err := untag(req.Tags)
	if err != nil {
		return nil, err
	}
	risk := registry.Risk(cmp.Or(said[tagRisk], string(registry.Medium)))
	_, err = s.cfg.Registry.Create(ctx, who, registry.ModelSpec{Name: on, Risk: risk, Description: req.About, Tags: said})
	if pavise.KindOf(err) == pavise.Conflict {
		return s.createAgain(ctx, who, on, errors.Join(err, errExists))
	}
	if err != nil {
		return nil, err
	}
	return s.answer(ctx, who, req.Name)
}

// createAgain shows a model again that was deleted: the caller was let in to make it.
func (s *Server) createAgain(ctx context.Context, who pavise.Principal, on pavise.Name, exists error) (any, error) {
	extras, err := s.extras(ctx, on.Tenant, on.ID)
	if err == nil && !extras[on.ID][0].deleted {
		err = exists
	}
	if err == nil {
		err = s.undelete(ctx, on)
	}
	if err != nil {
		return nil, err
	}
	return s.answer(ctx, who, on.ID)
}

func (s *Server) renameModel(_ context.Context, _ pavise.Principal, req renameModel) (any, error) {
	return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the model %.80q keeps its name: records of it are under that name", req.Name), Hint: "create the other one, and register versions there from models:/NAME/VERSION", Err: errAway}
}

func (s *Server) updateModel(ctx context.Context, who pavise.Principal, req updateModel) (any, error) {
	if _, err := s.know(ctx, who, req.Name, 0); err != nil {
		return nil, err
	}
	if err := s.cfg.Registry.Tag(ctx, who, who.Tenant, registry.Ref{Model: req.Name}, registry.Words{Description: req.About}); err != nil {
		return nil, err
	}
	return s.answer(ctx, who, req.Name)
}

// deleteModel has a model be shown no more, once nothing of it is in use.
func (s *Server) deleteModel(ctx context.Context, who pavise.Principal, req ofModel) (_ any, err error) {
	k, err := s.know(ctx, who, req.Name, 0)
	if err != nil {
		return nil, err
	}
	entry, err := s.cfg.Guard.Enter(ctx, who, "model.tag", k.Name)
	if err != nil {
		return nil, err
	}
	defer entry.Exit(&err)
	entry.Detail(map[string]string{"mlflow": "deleted"})
	for _, v := range k.Versions {
		if !v.State.Ends() {
			return nil, &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("version %d of %s is %s", v.Ref.Version, req.Name, v.State), Hint: "delete its versions first: each is retired as a change that others approve"}
		}
	}
	return nothing{}, s.delete(ctx, k.Name, 0)
}

func (s *Server) getModel(ctx context.Context, who pavise.Principal, req ofModel) (any, error) {
	return s.answer(ctx, who, req.Name)
}

func (s *Server) setModelTag(ctx context.Context, who pavise.Principal, req modelTag) (any, error) {
	if req.Value == nil {
		return nil, missing("value")
	}
	return s.tag(ctx, who, req.Name, "", req.Key, req.Value)
}

func (s *Server) deleteModelTag(ctx context.Context, who pavise.Principal, req modelTag) (any, error) {
	return s.tag(ctx, who, req.Name, "", req.Key, nil)
}

// tag gives a model, or the version of it that is named, a tag, or takes it away.
func (s *Server) tag(ctx context.Context, who pavise.Principal, name string, version text, key string, value *string) (any, error) {
	ref := registry.Ref{Model: name}
	var err error
	if version != "" {
		if ref.Version, err = numberOf(version); err == nil {
			_, _, err = s.find(ctx, who, name, version)
		}
	} else {
		var k known
		if k, err = s.know(ctx, who, name, 0); err == nil && key == tagRisk && (value == nil || *value != string(k.Risk)) {
			err = &pavise.Error{Kind: pavise.Denied, Msg: fmt.Sprintf("the risk of %s is %s, and stays as it was created", k.Name.ID, k.Risk), Hint: "a tag that says otherwise would mislead whoever reads it; go on under another name"}
		}
	}
	if err == nil && key == "" {
		err = missing("key")
	}
	if err != nil {
		return nil, err
	}
	return nothing{}, s.cfg.Registry.Tag(ctx, who, who.Tenant, ref, registry.Words{Tags: map[string]*string{key: value}})
}

// A modelsAnswer is a page of models.
type modelsAnswer struct {
	Models []registeredModel `json:"registered_models,omitempty"`
	Next   string            `json:"next_page_token,omitempty"`
}

// ofModels is what models can be found by.
var ofModels = filter.Grammar{Texts: []string{"name"}, Lists: []string{"name"}, Ordered: []string{"name", "creation_timestamp", "last_updated_timestamp"}}

// subject is what a search sees of a model.
func (m registeredModel) subject() filter.Subject {
	return filter.Subject{
		Texts: map[string]string{"name": m.Name}, Tags: m.searched,
		Numbers: map[string]int64{"creation_timestamp": m.Created, "last_updated_timestamp": m.Updated},
	}
}

func (s *Server) searchModels(ctx context.Context, who pavise.Principal, req search) (any, error) {
	clauses, orders, err := parse(ofModels, req, maxModels)
	if err != nil {
		return nil, err
	}
	list, err := s.cfg.Registry.List(ctx, who, "")
	if err != nil {
		return nil, err
	}
	extras, err := s.extras(ctx, who.Tenant, "")
	if err != nil {
		return nil, err
	}
	var found []registeredModel
	for _, l := range list.Models {
		of := extras[l.Name.ID]
		m := known{registry.Shown{Model: l.Model, Versions: l.Versions}, of, s.cfg.Registry.Unsigned}.model()
		if !of[0].deleted && filter.Hold(clauses, m.subject()) {
			found = append(found, m)
		}
	}
	slices.SortStableFunc(found, func(a, b registeredModel) int { return filter.Compare(a.subject(), b.subject(), orders) })
	var a modelsAnswer
	a.Models, a.Next, err = page(found, req, pageModels)
	return a, err
}
