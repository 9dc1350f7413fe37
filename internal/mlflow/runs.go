package mlflow

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/store"
)

// The bounds of what is kept of runs.
const (
	maxRuns        = 100_000 // of a tenant
	maxExperiments = 10_000  // of a tenant
	maxSaid        = 1000    // params, metrics or tags of a run
	maxSaidKey     = 250     // bytes
	maxSaidValue   = 8000    // bytes
	maxRunDoc      = 1 << 20 // bytes of all that is said of one
)

// A run is what a client said of one. Of a metric the newest value is kept.
type run struct {
	Info    runInfo           `json:"info"`
	Params  map[string]string `json:"params"`
	Tags    map[string]string `json:"tags"`
	Metrics map[string]metric `json:"metrics"`
	owner   string            // who answers for whoever made it
}

// A runInfo is what MLflow says of every run.
type runInfo struct {
	ID         string `json:"run_id"`
	UUID       string `json:"run_uuid"`
	Name       string `json:"run_name"`
	Experiment string `json:"experiment_id"`
	User       string `json:"user_id"`
	Status     string `json:"status"`
	Start      int64  `json:"start_time"`
	End        int64  `json:"end_time,omitempty"`
	Artifacts  string `json:"artifact_uri"`
	Stage      string `json:"lifecycle_stage"`
}

// A metric is one value of one.
type metric struct {
	Key   string `json:"key"`
	Value real   `json:"value"`
	Time  whole  `json:"timestamp"`
	Step  whole  `json:"step"`
	Set   string `json:"dataset_name,omitempty"`
	Seal  string `json:"dataset_digest,omitempty"`
	Model string `json:"model_id,omitempty"`
	Run   string `json:"run_id,omitempty"`
}

// The requests. run_uuid is what older clients call run_id.
type (
	ofRun struct {
		ID   string `json:"run_id"`
		UUID string `json:"run_uuid"`
	}
	createRun struct {
		Experiment text   `json:"experiment_id"`
		User       string `json:"user_id"`
		Name       string `json:"run_name"`
		Start      whole  `json:"start_time"`
		Tags       []tag  `json:"tags"`
	}
	updateRun struct {
		ofRun
		Status string `json:"status"`
		End    whole  `json:"end_time"`
		Name   string `json:"run_name"`
	}
	logParameter struct {
		ofRun
		tag
	}
	logMetric struct {
		UUID string `json:"run_uuid"`
		metric
	}
	logBatch struct {
		ofRun
		Metrics []metric `json:"metrics"`
		Params  []tag    `json:"params"`
		Tags    []tag    `json:"tags"`
	}
	listRun struct {
		ofRun
		Path string `json:"path"`
		Page string `json:"page_token"`
	}
	createExperiment struct {
		Name     string `json:"name"`
		Location string `json:"artifact_location"`
		Tags     []tag  `json:"tags"`
	}
	searchLogged struct {
		Experiments []string `json:"experiment_ids"`
		Filter      string   `json:"filter"`
		Datasets    []any    `json:"datasets"`
		Most        whole    `json:"max_results"`
		Order       []any    `json:"order_by"`
		Page        string   `json:"page_token"`
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
	Run shownRun `json:"run"`
}

// A shownRun is a run as MLflow has it.
type shownRun struct {
	Info runInfo `json:"info"`
	Data struct {
		Metrics []metric `json:"metrics,omitempty"`
		Params  []tag    `json:"params,omitempty"`
		Tags    []tag    `json:"tags,omitempty"`
	} `json:"data"`
}

func (r run) shown() (s shownRun) {
	s.Info = r.Info
	s.Data.Params, s.Data.Tags = tags(r.Params), tags(r.Tags)
	for _, key := range slices.Sorted(maps.Keys(r.Metrics)) {
		s.Data.Metrics = append(s.Data.Metrics, r.Metrics[key])
	}
	return s
}

// runID is 32 hexadecimal digits, as MLflow has them.
func runID() string {
	var raw [16]byte
	_, _ = rand.Read(raw[:]) // never fails
	return hex.EncodeToString(raw[:])
}

func isRunID(id string) bool {
	return len(id) == 32 && strings.Trim(id, "0123456789abcdef") == ""
}

func (s *Server) createRun(ctx context.Context, who pavise.Principal, req createRun) (_ any, err error) {
	id := s.newRun()
	entry, err := s.cfg.Guard.Enter(ctx, who, VerbLog, runName(who.Tenant, id))
	if err != nil {
		return nil, err
	}
	defer entry.Exit(&err)
	made := run{Params: map[string]string{}, Metrics: map[string]metric{}, Info: runInfo{
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
		if n >= maxRuns {
			return &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("there are %d runs, and no more are kept", n), Hint: "track experiments elsewhere, and register models here"}
		}
		return writeRun(tx, who.Tenant, who.Root().String(), s.now(), made)
	})
	if err != nil {
		return nil, err
	}
	return runAnswer{made.shown()}, nil
}

// writeRun keeps a run. The error is of kind Invalid for one of which too much is said.
func writeRun(tx *store.Tx, tenant, owner string, created int64, r run) error {
	for _, keys := range []map[string]string{r.Params, r.Tags} {
		if len(keys) > maxSaid {
			return tooMuch(r.Info.ID)
		}
		for key, value := range keys {
			if key == "" || len(key) > maxSaidKey || len(value) > maxSaidValue {
				return tooMuch(r.Info.ID)
			}
		}
	}
	for key := range r.Metrics {
		if key == "" || len(key) > maxSaidKey || len(r.Metrics) > maxSaid {
			return tooMuch(r.Info.ID)
		}
	}
	doc, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if len(doc) > maxRunDoc {
		return tooMuch(r.Info.ID)
	}
	_, err = tx.Exec(`INSERT INTO mlflow_runs (tenant, id, owner, created, doc) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (tenant, id) DO UPDATE SET doc = excluded.doc`, tenant, r.Info.ID, owner, created, string(doc))
	return err
}

func tooMuch(id string) error {
	return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("too much is said of run %s", id), Hint: fmt.Sprintf("a run has %d params, metrics and tags, keys of 1 to %d bytes, values of %d, and %d bytes in all", maxSaid, maxSaidKey, maxSaidValue, maxRunDoc)}
}

// say says something of a run, for whoever made it.
func (s *Server) say(ctx context.Context, who pavise.Principal, id string, with func(*run) error) (r run, err error) {
	if !isRunID(id) {
		return r, missing("run_id of 32 digits")
	}
	entry, err := s.cfg.Guard.Enter(ctx, who, VerbLog, runName(who.Tenant, id))
	if err != nil {
		return r, err
	}
	defer entry.Exit(&err)
	err = s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		if r, err = readRun(tx, who.Tenant, id); err == nil {
			err = r.ownedBy(who)
		}
		if err == nil {
			err = with(&r)
		}
		if err != nil {
			return err
		}
		return writeRun(tx, who.Tenant, r.owner, 0, r)
	})
	return r, err
}

// ownedBy refuses who has nothing to say of the run.
func (r run) ownedBy(who pavise.Principal) error {
	if r.owner == who.Root().String() {
		return nil
	}
	return &pavise.Error{Kind: pavise.Denied, Msg: fmt.Sprintf("run %s is somebody else's", r.Info.ID), Hint: "whoever made it, or had the token made with which it was made, logs to it"}
}

// see returns a run, for somebody who may look at it.
func (s *Server) see(ctx context.Context, who pavise.Principal, id string) (r run, err error) {
	if !isRunID(id) {
		return r, missing("run_id of 32 digits")
	}
	entry, err := s.cfg.Guard.Enter(ctx, who, VerbShow, runName(who.Tenant, id))
	if err != nil {
		return r, err
	}
	defer entry.Exit(&err)
	err = s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		r, err = readRun(tx, who.Tenant, id)
		return err
	})
	return r, err
}

func (s *Server) getRun(ctx context.Context, who pavise.Principal, req ofRun) (any, error) {
	r, err := s.see(ctx, who, req.id())
	if err != nil {
		return nil, err
	}
	return runAnswer{r.shown()}, nil
}

// statuses are those of a run.
var statuses = []string{"RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"}

func (s *Server) updateRun(ctx context.Context, who pavise.Principal, req updateRun) (any, error) {
	r, err := s.say(ctx, who, req.id(), func(r *run) error {
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
		Info runInfo `json:"run_info"`
	}{r.Info}, nil
}

func (s *Server) logParameter(ctx context.Context, who pavise.Principal, req logParameter) (any, error) {
	return s.logBatch(ctx, who, logBatch{ofRun: req.ofRun, Params: []tag{req.tag}})
}

func (s *Server) logMetric(ctx context.Context, who pavise.Principal, req logMetric) (any, error) {
	of := ofRun{req.Run, req.UUID}
	req.Run = ""
	return s.logBatch(ctx, who, logBatch{ofRun: of, Metrics: []metric{req.metric}})
}

func (s *Server) setRunTag(ctx context.Context, who pavise.Principal, req logParameter) (any, error) {
	return s.logBatch(ctx, who, logBatch{ofRun: req.ofRun, Tags: []tag{req.tag}})
}

func (s *Server) logBatch(ctx context.Context, who pavise.Principal, req logBatch) (any, error) {
	_, err := s.say(ctx, who, req.id(), func(r *run) error {
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
			if was, is := r.Metrics[m.Key]; !is || m.Step > was.Step || m.Step == was.Step && m.Time >= was.Time {
				r.Metrics[m.Key] = m
			}
		}
		return nil
	})
	return nothing{}, err
}

// An experiment is what runs are of.
type experiment struct {
	ID       string `json:"experiment_id"`
	Name     string `json:"name"`
	Location string `json:"artifact_location"`
	Stage    string `json:"lifecycle_stage"`
	Updated  int64  `json:"last_update_time"`
	Created  int64  `json:"creation_time"`
}

// experiment returns the one that a condition is of. The one of number 0 is always there. The
// error is of kind NotFound.
func (s *Server) experiment(ctx context.Context, tenant, condition, is string) (e experiment, err error) {
	e = experiment{ID: "0", Name: "Default", Location: scheme + "/" + runsDir, Stage: "active"}
	if is == e.ID && condition == `number = ?` || is == e.Name && condition == `name = ?` {
		return e, nil
	}
	err = s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		return tx.QueryRow(`SELECT number, name, created FROM mlflow_experiments WHERE tenant = ? AND `+condition, tenant, is).Scan(&e.ID, &e.Name, &e.Created)
	})
	if errors.Is(err, sql.ErrNoRows) {
		err = &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("there is no experiment %.80q", is), Hint: "mlflow.set_experiment makes one"}
	}
	e.Updated = e.Created
	return e, err
}

// experiments is the name of all of them.
func experiments(tenant string) pavise.Name { return runName(tenant, "experiments") }

// An experimentAnswer holds one.
type experimentAnswer struct {
	Experiment experiment `json:"experiment"`
}

// searchLogged finds no logged models: none are kept here. Clients ask for them beside the
// artifacts of a run.
func (s *Server) searchLogged(ctx context.Context, who pavise.Principal, _ searchLogged) (_ any, err error) {
	entry, err := s.cfg.Guard.Enter(ctx, who, VerbShow, experiments(who.Tenant))
	if err != nil {
		return nil, err
	}
	defer entry.Exit(&err)
	return nothing{}, nil
}

func (s *Server) getExperiment(ctx context.Context, who pavise.Principal, req ofExperiment) (any, error) {
	return s.seeExperiment(ctx, who, `number = ?`, string(req.ID))
}

func (s *Server) experimentByName(ctx context.Context, who pavise.Principal, req experimentByName) (any, error) {
	return s.seeExperiment(ctx, who, `name = ?`, req.Name)
}

func (s *Server) seeExperiment(ctx context.Context, who pavise.Principal, condition, is string) (_ any, err error) {
	entry, err := s.cfg.Guard.Enter(ctx, who, VerbShow, experiments(who.Tenant))
	if err != nil {
		return nil, err
	}
	defer entry.Exit(&err)
	e, err := s.experiment(ctx, who.Tenant, condition, is)
	if err != nil {
		return nil, err
	}
	return experimentAnswer{e}, nil
}

func (s *Server) createExperiment(ctx context.Context, who pavise.Principal, req createExperiment) (_ any, err error) {
	entry, err := s.cfg.Guard.Enter(ctx, who, VerbLog, experiments(who.Tenant))
	if err != nil {
		return nil, err
	}
	defer entry.Exit(&err)
	if req.Name == "" || len(req.Name) > 500 {
		return nil, missing("name of 1 to 500 bytes")
	}
	if req.Location != "" {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: "artifacts lie in the depot, and nowhere else", Hint: "leave artifact_location out"}
	}
	if _, err := s.experiment(ctx, who.Tenant, `name = ?`, req.Name); pavise.KindOf(err) != pavise.NotFound {
		if err == nil {
			err = &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("there is an experiment %.80q already", req.Name), Err: errExists}
		}
		return nil, err
	}
	var number int
	err = s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		if err := tx.QueryRow(`SELECT coalesce(max(number), 0) + 1 FROM mlflow_experiments WHERE tenant = ?`, who.Tenant).Scan(&number); err != nil {
			return err
		}
		if number > maxExperiments {
			return &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("there are %d experiments, and no more are kept", number-1), Hint: "use one of them"}
		}
		_, err := tx.Exec(`INSERT INTO mlflow_experiments (tenant, number, name, created) VALUES (?, ?, ?, ?)`, who.Tenant, number, req.Name, s.now())
		return err
	})
	if err != nil {
		return nil, err
	}
	return ofExperiment{text(strconv.Itoa(number))}, nil
}
