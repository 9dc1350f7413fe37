package mlflow

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/store"
	"github.com/pavise/pavise/internal/tracked"
)

// The requests. run_uuid is what older clients call run_id.
type (
	ofRun struct {
		ID   string `json:"run_id"`
		UUID string `json:"run_uuid"`
	}
	createRun struct {
		Experiment text          `json:"experiment_id"`
		User       string        `json:"user_id"`
		Name       string        `json:"run_name"`
		Start      tracked.Whole `json:"start_time"`
		Tags       []tracked.Tag `json:"tags"`
	}
	updateRun struct {
		ofRun
		Status string        `json:"status"`
		End    tracked.Whole `json:"end_time"`
		Name   string        `json:"run_name"`
	}
	logParameter struct {
		ofRun
		tracked.Tag
	}
	logMetric struct {
		UUID string `json:"run_uuid"`
		tracked.Metric
	}
	logBatch struct {
		ofRun
		Metrics []tracked.Metric `json:"metrics"`
		Params  []tracked.Tag    `json:"params"`
		Tags    []tracked.Tag    `json:"tags"`
	}
	listRun struct {
		ofRun
		Path string `json:"path"`
		Page string `json:"page_token"`
	}
	createExperiment struct {
		Name     string        `json:"name"`
		Location string        `json:"artifact_location"`
		Tags     []tracked.Tag `json:"tags"`
	}
	logInputs struct {
		ofRun
		Datasets []tracked.DatasetInput `json:"datasets"`
		Models   []tracked.ModelInput   `json:"models"`
	}
	logOutputs struct {
		ofRun
		Models []tracked.ModelOutput `json:"models"`
	}
	searchRuns struct {
		search
		Experiments []text `json:"experiment_ids"`
		View        string `json:"run_view_type"`
	}
	ofExperiment struct {
		ID text `json:"experiment_id"`
	}
	experimentByName struct {
		Name string `json:"experiment_name"`
	}
)

// id is the run that a request names.
func (r ofRun) id() string {
	if r.ID != "" {
		return r.ID
	}
	return r.UUID
}

// A runAnswer holds one run.
type runAnswer struct {
	Run tracked.ShownRun `json:"run"`
}

func (s *Server) createRun(ctx context.Context, who pavise.Principal, req createRun) (_ any, err error) {
	id := s.newRun()
	entry, err := s.cfg.Guard.Enter(ctx, who, VerbLog, runName(who.Tenant, id))
	if err != nil {
		return nil, err
	}
	defer entry.Exit(&err)
	made := tracked.Run{Params: map[string]string{}, Metrics: map[string]tracked.Metric{}, Info: tracked.RunInfo{
		ID: id, UUID: id, Name: req.Name, Experiment: string(req.Experiment), User: who.ID, Status: "RUNNING",
		Start: int64(req.Start), Artifacts: scheme + "/" + runsDir + "/" + id, Stage: "active",
	}}
	if made.Tags, err = untag(req.Tags); err != nil {
		return nil, err
	}
	if made.Info.Experiment == "" {
		made.Info.Experiment = "0"
	}
	if made.Info.Start == 0 {
		made.Info.Start = s.now()
	}
	if made.Info.Name == "" {
		made.Info.Name = made.Tags["mlflow.runName"]
	}
	if made.Info.Name == "" {
		made.Info.Name = "run-" + id[:8]
	}
	if _, err := s.experiment(ctx, who.Tenant, `number = ?`, made.Info.Experiment); err != nil {
		return nil, err
	}
	err = s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		var n int
		if err := tx.QueryRow(`SELECT count(*) FROM mlflow_runs WHERE tenant = ?`, who.Tenant).Scan(&n); err != nil {
			return err
		}
		if n >= tracked.MaxRuns {
			return &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("there are %d runs, and no more are kept", n), Hint: "track experiments elsewhere, and register models here"}
		}
		return tracked.WriteRun(tx, who.Tenant, who.Root().String(), s.now(), made)
	})
	if err != nil {
		return nil, err
	}
	return runAnswer{made.Shown()}, nil
}

// say says something of a run, for whoever made it.
func (s *Server) say(ctx context.Context, who pavise.Principal, id string, with func(*store.Tx, *tracked.Run) error) (r tracked.Run, err error) {
	if !tracked.IsRunID(id) {
		return r, missing("run_id of 32 digits")
	}
	entry, err := s.cfg.Guard.Enter(ctx, who, VerbLog, runName(who.Tenant, id))
	if err != nil {
		return r, err
	}
	defer entry.Exit(&err)
	err = s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		if r, err = tracked.ReadRun(tx, who.Tenant, id); err == nil {
			err = ownedBy(r.Owner, id, who)
		}
		if err == nil {
			err = with(tx, &r)
		}
		if err != nil {
			return err
		}
		return tracked.WriteRun(tx, who.Tenant, r.Owner, 0, r)
	})
	return r, err
}

// ownedBy refuses who has nothing to say of a run, or of a logged model.
func ownedBy(owner, id string, who pavise.Principal) error {
	if owner == who.Root().String() {
		return nil
	}
	return &pavise.Error{Kind: pavise.Denied, Msg: fmt.Sprintf("%s is somebody else's", nameOf(id)), Hint: "whoever made it, or had the token made with which it was made, logs to it"}
}

// nameOf is what people call a run, or a logged model.
func nameOf(id string) string {
	if tracked.IsLoggedID(id) {
		return "the logged model " + id
	}
	return "run " + id
}

// see returns a run, for somebody who may look at it.
func (s *Server) see(ctx context.Context, who pavise.Principal, id string) (r tracked.Run, err error) {
	if !tracked.IsRunID(id) {
		return r, missing("run_id of 32 digits")
	}
	entry, err := s.cfg.Guard.Enter(ctx, who, VerbShow, runName(who.Tenant, id))
	if err != nil {
		return r, err
	}
	defer entry.Exit(&err)
	err = s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		r, err = tracked.ReadRun(tx, who.Tenant, id)
		return err
	})
	return r, err
}

func (s *Server) getRun(ctx context.Context, who pavise.Principal, req ofRun) (any, error) {
	r, err := s.see(ctx, who, req.id())
	if err != nil {
		return nil, err
	}
	return runAnswer{r.Shown()}, nil
}

// statuses are those of a run.
var statuses = []string{"RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"}

func (s *Server) updateRun(ctx context.Context, who pavise.Principal, req updateRun) (any, error) {
	r, err := s.say(ctx, who, req.id(), func(_ *store.Tx, r *tracked.Run) error {
		if req.Status != "" && !slices.Contains(statuses, req.Status) {
			return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%.40q is no status of a run", req.Status), Hint: "the statuses are " + strings.Join(statuses, ", ")}
		}
		if req.Status != "" {
			r.Info.Status = req.Status
		}
		if req.End != 0 {
			r.Info.End = int64(req.End)
		}
		if req.Name != "" {
			r.Info.Name = req.Name
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return struct {
		Info tracked.RunInfo `json:"run_info"`
	}{r.Info}, nil
}

func (s *Server) logParameter(ctx context.Context, who pavise.Principal, req logParameter) (any, error) {
	return s.logBatch(ctx, who, logBatch{ofRun: req.ofRun, Params: []tracked.Tag{req.Tag}})
}

func (s *Server) logMetric(ctx context.Context, who pavise.Principal, req logMetric) (any, error) {
	of := ofRun{req.Run, req.UUID}
	req.Run = ""
	return s.logBatch(ctx, who, logBatch{ofRun: of, Metrics: []tracked.Metric{req.Metric}})
}

func (s *Server) setRunTag(ctx context.Context, who pavise.Principal, req logParameter) (any, error) {
	return s.logBatch(ctx, who, logBatch{ofRun: req.ofRun, Tags: []tracked.Tag{req.Tag}})
}

func (s *Server) logBatch(ctx context.Context, who pavise.Principal, req logBatch) (any, error) {
	_, err := s.say(ctx, who, req.id(), func(tx *store.Tx, r *tracked.Run) error {
		for _, p := range req.Params {
			if was, is := r.Params[p.Key]; is && was != p.Value {
				return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the param %.80q of run %s has another value already", p.Key, r.Info.ID), Hint: "params are said once"}
			}
			r.Params[p.Key] = p.Value
		}
		for _, t := range req.Tags {
			r.Tags[t.Key] = t.Value
		}
		for _, m := range req.Metrics {
			if was, is := r.Metrics[m.Key]; !is || m.Newer(was) {
				r.Metrics[m.Key] = m
			}
		}
		return s.keepPoints(tx, who, r.Info.ID, req.Metrics)
	})
	return nothing{}, err
}

func (s *Server) logInputs(ctx context.Context, who pavise.Principal, req logInputs) (any, error) {
	_, err := s.say(ctx, who, req.id(), func(tx *store.Tx, r *tracked.Run) error {
		for _, m := range req.Models {
			if _, err := tracked.ReadLogged(tx, who.Tenant, m.Model); err != nil {
				return err
			}
			if !slices.Contains(r.Inputs.Models, m) {
				r.Inputs.Models = append(r.Inputs.Models, m)
			}
		}
		for _, d := range req.Datasets {
			if d.Dataset.Name == "" || d.Dataset.Digest == "" {
				return missing("name and digest of a dataset")
			}
			r.Inputs.Datasets = slices.DeleteFunc(r.Inputs.Datasets, func(is tracked.DatasetInput) bool {
				return is.Dataset.Name == d.Dataset.Name && is.Dataset.Digest == d.Dataset.Digest
			})
			r.Inputs.Datasets = append(r.Inputs.Datasets, d)
		}
		return nil
	})
	return nothing{}, err
}

func (s *Server) logOutputs(ctx context.Context, who pavise.Principal, req logOutputs) (any, error) {
	_, err := s.say(ctx, who, req.id(), func(tx *store.Tx, r *tracked.Run) error {
		for _, m := range req.Models {
			is, err := tracked.ReadLogged(tx, who.Tenant, m.Model)
			if err == nil {
				err = ownedBy(is.Owner, m.Model, who)
			}
			if err != nil {
				return err
			}
			if !slices.Contains(r.Outputs, m) {
				r.Outputs = append(r.Outputs, m)
			}
		}
		return nil
	})
	return nothing{}, err
}

// views are which runs a search is after; none is ever in the state of being deleted.
var views = []string{"", "ACTIVE_ONLY", "DELETED_ONLY", "ALL"}

func (s *Server) searchRuns(ctx context.Context, who pavise.Principal, req searchRuns) (any, error) {
	if !slices.Contains(views, req.View) {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%.40q is no run_view_type", req.View), Hint: "it is ACTIVE_ONLY, DELETED_ONLY or ALL"}
	}
	found, next, err := searchIn(ctx, s, who, tracked.Runs, req.Experiments, req.search)
	var a struct {
		Runs []tracked.ShownRun `json:"runs,omitempty"`
		Next string             `json:"next_page_token,omitempty"`
	}
	if err != nil || req.View == "DELETED_ONLY" {
		return a, err
	}
	for _, r := range found {
		a.Runs = append(a.Runs, r.Shown())
	}
	a.Next = next
	return a, nil
}
