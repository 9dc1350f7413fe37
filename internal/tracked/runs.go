package tracked

import (
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/filter"
	"github.com/pavise/pavise/internal/store"
)

// The bounds of what is kept of runs.
const (
	MaxRuns  = 100_000 // of a tenant
	MaxSaid  = 1000    // params, metrics or tags of a run
	MaxKey   = 250     // bytes
	MaxValue = 8000    // bytes
	maxDoc   = 1 << 20 // bytes of all that is said of one
)

// A Run is what a client said of one. Of a metric the newest value is here; KeepPoints keeps all.
type Run struct {
	Info    RunInfo           `json:"info"`
	Params  map[string]string `json:"params"`
	Tags    map[string]string `json:"tags"`
	Metrics map[string]Metric `json:"metrics"`
	Inputs  RunInputs         `json:"inputs,omitzero"`
	Outputs []ModelOutput     `json:"outputs,omitempty"`
	Owner   string            `json:"-"` // who answers for whoever made it
}

// RunInputs are what a run says that it used.
type RunInputs struct {
	Datasets []DatasetInput `json:"dataset_inputs,omitempty"`
	Models   []ModelInput   `json:"model_inputs,omitempty"`
}

// RunOutputs are the models that came of a run.
type RunOutputs struct {
	Models []ModelOutput `json:"model_outputs"`
}

// A ModelOutput is a logged model that came of a run, at a step.
type ModelOutput struct {
	Model string `json:"model_id"`
	Step  Whole  `json:"step"`
}

// A ModelInput is a logged model that a run used.
type ModelInput struct {
	Model string `json:"model_id"`
}

// A DatasetInput is a dataset that a run used, by the word of the client.
type DatasetInput struct {
	Tags    []Tag `json:"tags,omitempty"`
	Dataset struct {
		Name    string `json:"name"`
		Digest  string `json:"digest"`
		Type    string `json:"source_type"`
		Source  string `json:"source"`
		Schema  string `json:"schema,omitempty"`
		Profile string `json:"profile,omitempty"`
	} `json:"dataset"`
}

// A RunInfo is what MLflow says of every run.
type RunInfo struct {
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

// A Metric is one value of one.
type Metric struct {
	Key   string `json:"key"`
	Value Real   `json:"value"`
	Time  Whole  `json:"timestamp"`
	Step  Whole  `json:"step"`
	Set   string `json:"dataset_name,omitempty"`
	Seal  string `json:"dataset_digest,omitempty"`
	Model string `json:"model_id,omitempty"`
	Run   string `json:"run_id,omitempty"`
}

// A ShownRun is a run as MLflow has it.
type ShownRun struct {
	Info RunInfo `json:"info"`
	Data struct {
		Metrics []Metric `json:"metrics,omitempty"`
		Params  []Tag    `json:"params,omitempty"`
		Tags    []Tag    `json:"tags,omitempty"`
	} `json:"data"`
	Inputs  *RunInputs  `json:"inputs,omitempty"`
	Outputs *RunOutputs `json:"outputs,omitempty"`
}

// Shown is the run as MLflow has it.
func (r Run) Shown() (s ShownRun) {
	s.Info = r.Info
	s.Data.Params, s.Data.Tags = TagsOf(r.Params), TagsOf(r.Tags)
	for _, key := range slices.Sorted(maps.Keys(r.Metrics)) {
		s.Data.Metrics = append(s.Data.Metrics, r.Metrics[key])
	}
	if len(r.Inputs.Datasets)+len(r.Inputs.Models) > 0 {
		s.Inputs = &r.Inputs
	}
	if len(r.Outputs) > 0 {
		s.Outputs = &RunOutputs{r.Outputs}
	}
	return s
}

// NewID is 32 hexadecimal digits, as MLflow has them.
func NewID() string {
	var raw [16]byte
	_, _ = rand.Read(raw[:]) // never fails
	return hex.EncodeToString(raw[:])
}

// IsRunID reports whether an id is one of a run.
func IsRunID(id string) bool {
	return len(id) == 32 && strings.Trim(id, "0123456789abcdef") == ""
}

// bounded reports whether what is said by key is within the bounds.
func bounded(said ...map[string]string) bool {
	for _, keys := range said {
		for key, value := range keys {
			if key == "" || len(keys) > MaxSaid || len(key) > MaxKey || len(value) > MaxValue {
				return false
			}
		}
	}
	return true
}

// WriteRun keeps a run. The error is of kind Invalid for one of which too much is said.
func WriteRun(tx *store.Tx, tenant, owner string, created int64, r Run) error {
	if !bounded(r.Params, r.Tags) {
		return TooMuch(r.Info.ID)
	}
	for key := range r.Metrics {
		if key == "" || len(key) > MaxKey || len(r.Metrics) > MaxSaid {
			return TooMuch(r.Info.ID)
		}
	}
	doc, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if len(doc) > maxDoc || len(r.Outputs)+len(r.Inputs.Models)+len(r.Inputs.Datasets) > MaxSaid {
		return TooMuch(r.Info.ID)
	}
	_, err = tx.Exec(`INSERT INTO mlflow_runs (tenant, id, owner, created, doc, experiment) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (tenant, id) DO UPDATE SET doc = excluded.doc`, tenant, r.Info.ID, owner, created, string(doc), r.Info.Experiment)
	return err
}

// TooMuch refuses what is more than is kept of a run, with kind Invalid.
func TooMuch(id string) error {
	return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("too much is said of run %s", id), Hint: fmt.Sprintf("a run has %d params, metrics and tags, keys of 1 to %d bytes, values of %d, and %d bytes in all", MaxSaid, MaxKey, MaxValue, maxDoc)}
}

// Newer reports whether a value of a metric takes the place of another.
func (m Metric) Newer(was Metric) bool {
	return m.Step > was.Step || m.Step == was.Step && m.Time >= was.Time
}

// ReadRun returns a run. The error is of kind NotFound.
func ReadRun(tx *store.Tx, tenant, id string) (r Run, err error) {
	var doc string
	err = tx.QueryRow(`SELECT owner, doc FROM mlflow_runs WHERE tenant = ? AND id = ?`, tenant, id).Scan(&r.Owner, &doc)
	if errors.Is(err, sql.ErrNoRows) {
		return r, &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("there is no run %.80q", id), Hint: "mlflow.start_run makes one"}
	}
	if err == nil {
		err = json.Unmarshal([]byte(doc), &r)
	}
	return r, err
}

// Runs are runs as a search sees them.
var Runs = Shelf[Run]{
	table: "mlflow_runs", Usual: 1000,
	Grammar: filter.Grammar{
		Texts: []string{"run_id", "run_name", "status", "user_id", "artifact_uri"}, Numbers: []string{"start_time", "end_time"},
		Lists: []string{"run_id"}, Ordered: []string{"run_id", "run_name", "status", "user_id", "artifact_uri", "start_time", "end_time"}, Logged: true,
	},
	subject: func(r Run) filter.Subject {
		i := r.Info
		s := filter.Subject{
			Texts: map[string]string{"run_id": i.ID, "run_name": i.Name, "status": i.Status, "user_id": i.User, "artifact_uri": i.Artifacts}, Numbers: map[string]int64{"start_time": i.Start},
			Tags: r.Tags, Params: r.Params, Metrics: map[string]float64{},
		}
		if i.End != 0 {
			s.Numbers["end_time"] = i.End
		}
		for key, m := range r.Metrics {
			s.Metrics[key] = float64(m.Value)
		}
		return s
	},
}
