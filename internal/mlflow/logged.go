package mlflow

import (
	"context"
	"fmt"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/store"
	"github.com/pavise/pavise/internal/tracked"
)

// The requests. Of which model those are that have no id is in their path.
type (
	createLogged struct {
		Experiment text          `json:"experiment_id"`
		Name       string        `json:"name"`
		Type       string        `json:"model_type"`
		Run        string        `json:"source_run_id"`
		Params     []tracked.Tag `json:"params"`
		Tags       []tracked.Tag `json:"tags"`
	}
	ofLogged struct {
		ID      string `json:"model_id"`
		Deleted *truth `json:"allow_deleted"` // one that was deleted is there no more
	}
	finalizeLogged struct {
		ID     string `json:"model_id"`
		Status string `json:"status"`
	}
	tagLogged struct {
		ID   string        `json:"model_id"`
		Tags []tracked.Tag `json:"tags"`
	}
	paramLogged struct {
		ID     string        `json:"model_id"`
		Params []tracked.Tag `json:"params"`
	}
	listLogged struct {
		ID   string `json:"model_id"`
		Path string `json:"artifact_directory_path"`
		Page string `json:"page_token"`
	}
	searchLogged struct {
		Experiments []text        `json:"experiment_ids"`
		Filter      string        `json:"filter"`
		Datasets    []any         `json:"datasets"`
		Most        tracked.Whole `json:"max_results"`
		Order       []struct {
			Field string `json:"field_name"`
			Up    *truth `json:"ascending"`
			Set   string `json:"dataset_name"`
			Seal  string `json:"dataset_digest"`
		} `json:"order_by"`
		Page string `json:"page_token"`
	}
)

// loggedIn is the logged model that the source of a version is, or nothing.
func loggedIn(source string) string {
	if id, is := strings.CutPrefix(source, "models:/"); is && tracked.IsLoggedID(id) {
		return id
	}
	return ""
}

// A loggedAnswer holds one.
type loggedAnswer struct {
	Model tracked.ShownLogged `json:"model"`
}

func (s *Server) createLogged(ctx context.Context, who pavise.Principal, req createLogged) (_ any, err error) {
	id := tracked.LoggedPrefix + s.newRun()
	entry, err := s.cfg.Guard.Enter(ctx, who, VerbLog, runName(who.Tenant, id))
	if err != nil {
		return nil, err
	}
	defer entry.Exit(&err)
	now := s.now()
	m := tracked.Logged{Metrics: map[string]tracked.Metric{}, Info: tracked.LoggedInfo{
		ID: id, Experiment: string(req.Experiment), Name: req.Name, Created: now, Updated: now, Artifacts: scheme + "/" + loggedDir + "/" + id,
		Status: tracked.Pending, Type: req.Type, Run: req.Run,
	}}
	if m.Info.Name == "" {
		m.Info.Name = "model-" + id[len(tracked.LoggedPrefix):][:8]
	}
	if m.Info.Experiment == "" {
		m.Info.Experiment = "0"
	}
	if len(m.Info.Name) > tracked.MaxKey || strings.ContainsAny(m.Info.Name, `/:.%"'`) || len(req.Type) > tracked.MaxKey {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%.80q is no name of a logged model, or its type is too long", m.Info.Name), Hint: "a name has neither / : . % nor quotes"}
	}
	if m.Tags, err = untag(req.Tags); err != nil {
		return nil, err
	}
	if m.Params, err = untag(req.Params); err != nil {
		return nil, err
	}
	if _, err := s.experiment(ctx, who.Tenant, `number = ?`, m.Info.Experiment); err != nil {
		return nil, err
	}
	err = s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		if req.Run != "" {
			if r, err := tracked.ReadRun(tx, who.Tenant, req.Run); err != nil {
				return err
			} else if err := ownedBy(r.Owner, req.Run, who); err != nil {
				return err
			}
		}
		var n int
		if err := tx.QueryRow(`SELECT count(*) FROM mlflow_logged WHERE tenant = ?`, who.Tenant).Scan(&n); err != nil {
			return err
		}
		if n >= tracked.MaxLogged {
			return &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("there are %d logged models, and no more are kept", n), Hint: "delete some: MlflowClient().delete_logged_model"}
		}
		return tracked.WriteLogged(tx, who.Tenant, who.Root().String(), m)
	})
	if err != nil {
		return nil, err
	}
	return loggedAnswer{m.Shown()}, nil
}

// sayLogged says something of a logged model, for whoever made it.
func (s *Server) sayLogged(ctx context.Context, who pavise.Principal, id string, with func(*tracked.Logged) error) (m tracked.Logged, err error) {
	entry, err := s.cfg.Guard.Enter(ctx, who, VerbLog, runName(who.Tenant, id))
	if err != nil {
		return m, err
	}
	defer entry.Exit(&err)
	err = s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		m, err = s.changeLogged(tx, who, id, with)
		return err
	})
	return m, err
}

func (s *Server) changeLogged(tx *store.Tx, who pavise.Principal, id string, with func(*tracked.Logged) error) (m tracked.Logged, err error) {
	if m, err = tracked.ReadLogged(tx, who.Tenant, id); err == nil {
		err = ownedBy(m.Owner, id, who)
	}
	if err == nil {
		err = with(&m)
	}
	if err != nil {
		return m, err
	}
	m.Info.Updated = s.now()
	return m, tracked.WriteLogged(tx, who.Tenant, m.Owner, m)
}

// measured gives values of metrics to the logged model that they are of.
func (s *Server) measured(tx *store.Tx, who pavise.Principal, id string, all []tracked.Metric) error {
	_, err := s.changeLogged(tx, who, id, func(m *tracked.Logged) error {
		for _, is := range all {
			key := is.Key + "\n" + is.Set + "\n" + is.Seal
			if was, has := m.Metrics[key]; !has || is.Newer(was) {
				m.Metrics[key] = is
			}
		}
		return nil
	})
	return err
}

// seeLogged returns a logged model, for somebody who may look at it.
func (s *Server) seeLogged(ctx context.Context, who pavise.Principal, id string) (m tracked.Logged, err error) {
	entry, err := s.cfg.Guard.Enter(ctx, who, VerbShow, runName(who.Tenant, id))
	if err != nil {
		return m, err
	}
	defer entry.Exit(&err)
	err = s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		m, err = tracked.ReadLogged(tx, who.Tenant, id)
		return err
	})
	return m, err
}

// logged is the RPC of one logged model that a path names, behind logged-models/; nil: there is
// none.
func (s *Server) logged(method, path string) rpc {
	id, rest, _ := strings.Cut(path, "/")
	if !tracked.IsLoggedID(id) {
		return nil
	}
	if key, is := strings.CutPrefix(rest, "tags/"); is && method == "DELETE" {
		return as(func(ctx context.Context, who pavise.Principal, _ nothing) (any, error) {
			return s.untagLogged(ctx, who, id, key)
		})
	}
	return map[string]rpc{
		"GET ":                      as(named(id, s.getLogged)),
		"PATCH ":                    as(named(id, s.finalizeLogged)),
		"DELETE ":                   as(named(id, s.deleteLogged)),
		"PATCH tags":                as(named(id, s.tagLogged)),
		"POST params":               as(named(id, s.paramLogged)),
		"GET artifacts/directories": as(named(id, s.listLogged)),
	}[method+" "+rest]
}

// ident is the id that a request may repeat, which its path has.
func (r *ofLogged) ident() *string       { return &r.ID }
func (r *finalizeLogged) ident() *string { return &r.ID }
func (r *tagLogged) ident() *string      { return &r.ID }
func (r *paramLogged) ident() *string    { return &r.ID }
func (r *listLogged) ident() *string     { return &r.ID }

// named has a request be about the model that its path names, and refuses one that names another.
func named[Req any, Is interface {
	*Req
	ident() *string
}](id string, do func(context.Context, pavise.Principal, Req) (any, error)) func(context.Context, pavise.Principal, Req) (any, error) {
	return func(ctx context.Context, who pavise.Principal, req Req) (any, error) {
		if is := Is(&req).ident(); *is == "" {
			*is = id
		} else if *is != id {
			return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the request is about %.80q, and its path about %s", *is, id), Hint: "name one logged model"}
		}
		return do(ctx, who, req)
	}
}

func (s *Server) getLogged(ctx context.Context, who pavise.Principal, req ofLogged) (any, error) {
	m, err := s.seeLogged(ctx, who, req.ID)
	if err != nil {
		return nil, err
	}
	return loggedAnswer{m.Shown()}, nil
}

func (s *Server) finalizeLogged(ctx context.Context, who pavise.Principal, req finalizeLogged) (any, error) {
	m, err := s.sayLogged(ctx, who, req.ID, func(m *tracked.Logged) error {
		if req.Status != tracked.Ready && req.Status != tracked.Failed {
			return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%.60q is no status that a logged model ends with", req.Status), Hint: "it is " + tracked.Ready + " or " + tracked.Failed}
		}
		m.Info.Status = req.Status
		return nil
	})
	if err != nil {
		return nil, err
	}
	return loggedAnswer{m.Shown()}, nil
}

func (s *Server) tagLogged(ctx context.Context, who pavise.Principal, req tagLogged) (any, error) {
	m, err := s.sayLogged(ctx, who, req.ID, func(m *tracked.Logged) error {
		for _, t := range req.Tags {
			m.Tags[t.Key] = t.Value
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return loggedAnswer{m.Shown()}, nil
}

func (s *Server) untagLogged(ctx context.Context, who pavise.Principal, id, key string) (any, error) {
	_, err := s.sayLogged(ctx, who, id, func(m *tracked.Logged) error {
		if _, has := m.Tags[key]; !has {
			return &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("the logged model %s has no tag %.80q", id, key), Hint: "get_logged_model says which it has"}
		}
		delete(m.Tags, key)
		return nil
	})
	return nothing{}, err
}

func (s *Server) paramLogged(ctx context.Context, who pavise.Principal, req paramLogged) (any, error) {
	_, err := s.sayLogged(ctx, who, req.ID, func(m *tracked.Logged) error {
		for _, p := range req.Params {
			if was, is := m.Params[p.Key]; is && was != p.Value {
				return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the param %.80q of the logged model %s has another value already", p.Key, req.ID), Hint: "params are said once"}
			}
			m.Params[p.Key] = p.Value
		}
		return nil
	})
	return nothing{}, err
}

// deleteLogged has a logged model be gone, with its artifacts. Versions that came of it stay.
func (s *Server) deleteLogged(ctx context.Context, who pavise.Principal, req ofLogged) (_ any, err error) {
	entry, err := s.cfg.Guard.Enter(ctx, who, VerbLog, runName(who.Tenant, req.ID))
	if err != nil {
		return nil, err
	}
	defer entry.Exit(&err)
	if err := s.owned(ctx, who, req.ID); err != nil {
		return nil, err
	}
	// Both at once: artifacts of one that is none would stay for ever.
	gone, err := s.takeAway(ctx, who.Tenant, place{run: req.ID}, func(tx *store.Tx) error {
		_, err := tx.Exec(`DELETE FROM mlflow_logged WHERE tenant = ? AND id = ?`, who.Tenant, req.ID)
		return err
	})
	entry.Detail(logged{Path: req.ID, Files: gone})
	return nothing{}, err
}

func (s *Server) listLogged(ctx context.Context, who pavise.Principal, req listLogged) (any, error) {
	return s.listAt(ctx, who, loggedDir, req.ID, req.Path)
}

func (s *Server) searchLogged(ctx context.Context, who pavise.Principal, req searchLogged) (any, error) {
	if len(req.Datasets) > 0 {
		return nil, ofDatasets()
	}
	plain := search{Filter: req.Filter, Most: req.Most, Page: req.Page}
	for _, o := range req.Order {
		if o.Set != "" || o.Seal != "" {
			return nil, ofDatasets()
		}
		by := o.Field
		if o.Up != nil && !*o.Up {
			by += " DESC"
		}
		plain.Order = append(plain.Order, by)
	}
	found, next, err := searchIn(ctx, s, who, tracked.LoggedModels, req.Experiments, plain)
	if err != nil {
		return nil, err
	}
	var a struct {
		Models []tracked.ShownLogged `json:"models,omitempty"`
		Next   string                `json:"next_page_token,omitempty"`
	}
	for _, m := range found {
		a.Models = append(a.Models, m.Shown())
	}
	a.Next = next
	return a, nil
}

func ofDatasets() error {
	return &pavise.Error{Kind: pavise.Invalid, Msg: "logged models are not searched by metrics of one dataset", Hint: "search without datasets, and look at what comes"}
}
