package tracked

import (
	"database/sql"
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

// MaxLogged bounds the logged models of a tenant.
const MaxLogged = 100_000

// LoggedPrefix begins the id of a logged model; 32 hexadecimal digits follow.
const LoggedPrefix = "m-"

// The statuses of a logged model.
const (
	Pending = "LOGGED_MODEL_PENDING"
	Ready   = "LOGGED_MODEL_READY"
	Failed  = "LOGGED_MODEL_UPLOAD_FAILED"
)

// A Logged is a model as MLflow 3 logs it: beside runs, with artifacts of its own, and not
// yet registered. Policies and the log know it as they know a run: whoever may log one may log
// the other.
type Logged struct {
	Info    LoggedInfo        `json:"info"`
	Params  map[string]string `json:"params"`
	Tags    map[string]string `json:"tags"`
	Metrics map[string]Metric `json:"metrics"` // the newest of each, by key and dataset
	Owner   string            `json:"-"`       // who answers for whoever made it
}

// A LoggedInfo is what MLflow says of every logged model.
type LoggedInfo struct {
	ID         string `json:"model_id"`
	Experiment string `json:"experiment_id"`
	Name       string `json:"name"`
	Created    int64  `json:"creation_timestamp_ms"`
	Updated    int64  `json:"last_updated_timestamp_ms"`
	Artifacts  string `json:"artifact_uri"`
	Status     string `json:"status"`
	Type       string `json:"model_type,omitempty"`
	Run        string `json:"source_run_id,omitempty"`
	Tags       []Tag  `json:"tags,omitempty"`
}

// IsLoggedID reports whether an id is one of a logged model.
func IsLoggedID(id string) bool {
	digits, is := strings.CutPrefix(id, LoggedPrefix)
	return is && IsRunID(digits)
}

// A ShownLogged is a logged model as MLflow has it.
type ShownLogged struct {
	Info LoggedInfo `json:"info"`
	Data struct {
		Params  []Tag    `json:"params,omitempty"`
		Metrics []Metric `json:"metrics,omitempty"`
	} `json:"data"`
}

// Shown is the logged model as MLflow has it.
func (m Logged) Shown() (s ShownLogged) {
	s.Info = m.Info
	s.Info.Tags = TagsOf(m.Tags)
	s.Data.Params = TagsOf(m.Params)
	for _, key := range slices.Sorted(maps.Keys(m.Metrics)) {
		s.Data.Metrics = append(s.Data.Metrics, m.Metrics[key])
	}
	return s
}

// ReadLogged returns a logged model. The error is of kind NotFound.
func ReadLogged(tx *store.Tx, tenant, id string) (m Logged, err error) {
	var doc string
	err = tx.QueryRow(`SELECT owner, doc FROM mlflow_logged WHERE tenant = ? AND id = ?`, tenant, id).Scan(&m.Owner, &doc)
	if errors.Is(err, sql.ErrNoRows) {
		return m, &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("there is no logged model %.80q", id), Hint: "log_model of a flavor of MLflow makes one"}
	}
	if err == nil {
		err = json.Unmarshal([]byte(doc), &m)
	}
	return m, err
}

// WriteLogged keeps a logged model. The error is of kind Invalid for one of which too much is
// said.
func WriteLogged(tx *store.Tx, tenant, owner string, m Logged) error {
	doc, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if !bounded(m.Params, m.Tags) || len(m.Metrics) > MaxSaid || len(doc) > maxDoc {
		return &pavise.Error{Kind: pavise.Invalid, Msg: "too much is said of the logged model " + m.Info.ID, Hint: fmt.Sprintf("it has %d params, metrics and tags, keys of 1 to %d bytes, values of %d, and %d bytes in all", MaxSaid, MaxKey, MaxValue, maxDoc)}
	}
	_, err = tx.Exec(`INSERT INTO mlflow_logged (tenant, id, owner, experiment, created, doc) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (tenant, id) DO UPDATE SET doc = excluded.doc`, tenant, m.Info.ID, owner, m.Info.Experiment, m.Info.Created, string(doc))
	return err
}

// LoggedModels are logged models as a search sees them.
var LoggedModels = Shelf[Logged]{
	table: "mlflow_logged", Usual: 100,
	Grammar: filter.Grammar{
		Texts:   []string{"name", "model_id", "model_type", "status", "source_run_id", "experiment_id"},
		Numbers: []string{"creation_timestamp", "creation_time", "last_updated_timestamp"}, Lists: []string{"name", "model_id", "source_run_id"},
		Ordered: []string{"name", "model_id", "model_type", "status", "source_run_id", "creation_timestamp", "creation_time", "last_updated_timestamp"}, Logged: true,
	},
	subject: func(m Logged) filter.Subject {
		i := m.Info
		s := filter.Subject{
			Texts:   map[string]string{"name": i.Name, "model_id": i.ID, "model_type": i.Type, "status": i.Status, "source_run_id": i.Run, "experiment_id": i.Experiment},
			Numbers: map[string]int64{"creation_timestamp": i.Created, "creation_time": i.Created, "last_updated_timestamp": i.Updated},
			Tags:    m.Tags, Params: m.Params, Metrics: map[string]float64{},
		}
		newest := map[string]Metric{}
		for _, key := range slices.Sorted(maps.Keys(m.Metrics)) {
			is := m.Metrics[key]
			if was, has := newest[is.Key]; !has || is.Newer(was) {
				newest[is.Key], s.Metrics[is.Key] = is, float64(is.Value)
			}
		}
		return s
	},
}
