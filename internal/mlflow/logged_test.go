package mlflow

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise/internal/store"
	"github.com/pavise/pavise/internal/tracked"
)

// logged makes a logged model of somebody's with files, and returns its id.
func (w *world) logged(t testing.TB, who, run string, files map[string]string) string {
	t.Helper()
	var made loggedAnswer
	if err := json.Unmarshal([]byte(w.ask(t, who, "POST", "/mlflow/logged-models", fmt.Sprintf(`{"name":"scorer","source_run_id":%q}`, run), 200, tracked.Pending)), &made); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		w.ask(t, who, "PUT", "/mlflow-artifacts/artifacts/logged/"+made.Model.Info.ID+"/"+name, content, 200)
	}
	return made.Model.Info.ID
}

// ready says that all files of a logged model are here.
func (w *world) ready(t testing.TB, who, id string) {
	t.Helper()
	w.ask(t, who, "PATCH", "/mlflow/logged-models/"+id, `{"status":"LOGGED_MODEL_READY"}`, 200, tracked.Ready)
}

// TestLoggedSource registers logged models: whole ones alone, with the run that they say, and
// as they were then.
func TestLoggedSource(t *testing.T) {
	w := newWorld(t)
	run := w.run(t, "mia", nil)
	w.ask(t, "mia", "POST", "/mlflow/registered-models/create", `{"name":"fraud","tags":[{"key":"pavise.risk","value":"low"}]}`, 200)
	register := func(who, source, more string, status int, words ...string) {
		t.Helper()
		w.ask(t, who, "POST", "/mlflow/model-versions/create", fmt.Sprintf(`{"name":"fraud","source":%q%s}`, source, more), status, words...)
	}
	id := w.logged(t, "mia", run, map[string]string{"MLmodel": "flavors: {}\n", "data/weights.json": `{"w":[1]}`})
	register("mia", "models:/"+id, "", 409, tracked.Pending)
	w.ready(t, "mia", id)
	register("mia", "models:/"+id, fmt.Sprintf(`,"model_id":%q`, id), 200, `"source":"models:/`+id, `"model_id":"`+id, `"run_id":"`+run)
	w.look(t, "fraud", "1")
	w.ask(t, "mia", "PUT", "/mlflow-artifacts/artifacts/logged/"+id+"/data/weights.json", `{"w":[6]}`, 200)
	w.ask(t, "mia", "GET", "/mlflow-artifacts/artifacts/models/fraud/1/data/weights.json", "", 200, `{"w":[1]}`)
	w.ask(t, "mia", "GET", "/mlflow/model-versions/get?name=fraud&version=1", "", 200, `"status":"READY"`)
	register("mia", "models:/"+id, fmt.Sprintf(`,"run_id":%q`, strings.Repeat("f", 32)), 400, "another run")
	register("mia", "models:/"+id, `,"model_id":"m-`+strings.Repeat("f", 32)+`"`, 400, "model_id")
	register("mia", fmt.Sprintf("runs:/%s/model", run), fmt.Sprintf(`,"model_id":%q`, id), 400)
	register("mia", "models:/m-"+strings.Repeat("f", 32), "", 404, "no logged model")
	register("mia", "models:/"+id+"/data", "", 400, "no artifacts")
	empty := w.logged(t, "mia", run, nil)
	w.ready(t, "mia", empty)
	register("mia", "models:/"+empty, "", 400, "no files")
	failed := w.logged(t, "mia", run, map[string]string{"MLmodel": "x"})
	w.ask(t, "mia", "PATCH", "/mlflow/logged-models/"+failed, `{"status":"LOGGED_MODEL_UPLOAD_FAILED"}`, 200)
	register("mia", "models:/"+failed, "", 409, tracked.Failed)
	w.ask(t, "mia", "PATCH", "/mlflow/logged-models/"+failed, `{"status":"LOGGED_MODEL_PENDING"}`, 400)
}

// TestLoggedIsTheirs has nobody else say anything of a logged model, or in its name; and who
// may not look at runs sees none.
func TestLoggedIsTheirs(t *testing.T) {
	w := newWorld(t)
	run, other := w.run(t, "mia", nil), w.run(t, "moe", nil)
	id := w.logged(t, "mia", run, map[string]string{"MLmodel": "x"})
	at := "/mlflow/logged-models/" + id
	for _, s := range []step{
		{"moe", "PATCH", at, `{"status":"LOGGED_MODEL_READY"}`},
		{"moe", "PATCH", at + "/tags", `{"tags":[{"key":"a","value":"b"}]}`},
		{"moe", "DELETE", at + "/tags/a", ""},
		{"moe", "POST", at + "/params", `{"params":[{"key":"a","value":"b"}]}`},
		{"moe", "DELETE", at, ""},
		{"moe", "PUT", "/mlflow-artifacts/artifacts/logged/" + id + "/MLmodel", "y"},
		{"moe", "DELETE", "/mlflow-artifacts/artifacts/logged/" + id, ""},
		{"moe", "POST", "/mlflow/logged-models", fmt.Sprintf(`{"source_run_id":%q}`, run)},
		{"moe", "POST", "/mlflow/runs/outputs", fmt.Sprintf(`{"run_id":%q,"models":[{"model_id":%q}]}`, other, id)},
		{"moe", "POST", "/mlflow/runs/log-metric", fmt.Sprintf(`{"run_id":%q,"model_id":%q,"key":"auc","value":1,"timestamp":1}`, other, id)},
		{"dan", "GET", at, ""},
		{"dan", "GET", at + "/artifacts/directories", ""},
		{"dan", "GET", "/mlflow-artifacts/artifacts/logged/" + id + "/MLmodel", ""},
		{"dan", "POST", "/mlflow/logged-models/search", `{"experiment_ids":["0"]}`},
		{"dan", "POST", "/mlflow/runs/search", `{"experiment_ids":["0"]}`},
		{"dan", "GET", "/mlflow/metrics/get-history?run_id=" + run + "&metric_key=auc", ""},
	} {
		w.ask(t, s.who, s.method, s.path, s.body, 403, "PERMISSION_DENIED")
	}
	w.ask(t, "mia", "GET", "/mlflow-artifacts/artifacts/logged/"+id+"/MLmodel", "", 200, "x")
	if err := w.cfg.Guard.Load("local", map[string]string{"all": policies["engineer"], "not": fmt.Sprintf(`forbid (principal, action == Action::"run.show", resource == Run::%q);`, id)}); err != nil {
		t.Fatal(err)
	}
	w.ask(t, "mia", "GET", at, "", 403)
	if said := w.ask(t, "mia", "POST", "/mlflow/logged-models/search", `{"experiment_ids":["0"]}`, 200); strings.Contains(said, id) {
		t.Errorf("a search tells of what nobody may see: %s", said)
	}
}

// TestLoggedGone deletes a logged model: its artifacts go, what came of it stays, and nothing
// is put there any more.
func TestLoggedGone(t *testing.T) {
	w := newWorld(t)
	id := w.logged(t, "mia", "", map[string]string{"MLmodel": "x"})
	w.ready(t, "mia", id)
	w.ask(t, "mia", "POST", "/mlflow/registered-models/create", `{"name":"fraud"}`, 200)
	w.ask(t, "mia", "POST", "/mlflow/model-versions/create", fmt.Sprintf(`{"name":"fraud","source":"models:/%s"}`, id), 200)
	w.look(t, "fraud", "1")
	w.ask(t, "mia", "DELETE", "/mlflow/logged-models/"+id, "", 200)
	w.ask(t, "mia", "GET", "/mlflow/logged-models/"+id, "", 404)
	w.ask(t, "mia", "GET", "/mlflow-artifacts/artifacts/logged/"+id+"/MLmodel", "", 404)
	w.ask(t, "mia", "PUT", "/mlflow-artifacts/artifacts/logged/"+id+"/MLmodel", "x", 404)
	w.ask(t, "mia", "GET", "/mlflow-artifacts/artifacts/models/fraud/1/MLmodel", "", 200, "x")
	if err := w.keepArtifact(t.Context(), "local", id, artifact{Path: "late"}); err == nil {
		t.Error("what was on its way is kept for a logged model that is gone")
	}
	var held int
	err := w.cfg.Store.View(t.Context(), func(tx *store.Tx) error {
		return tx.QueryRow(`SELECT count(*) FROM mlflow_artifacts WHERE run = ?`, id).Scan(&held)
	})
	if err != nil || held != 0 {
		t.Errorf("%d artifacts stayed: %v", held, err)
	}
}

// TestLoggedGoesWhole has a logged model whose artifacts cannot go stay itself, so that whoever
// made it can delete it again.
func TestLoggedGoesWhole(t *testing.T) {
	w := newWorld(t)
	id := w.logged(t, "mia", "", map[string]string{"MLmodel": "x"})
	do := func(statement string) {
		t.Helper()
		if err := w.exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	do(`CREATE TRIGGER stay BEFORE DELETE ON mlflow_artifacts BEGIN SELECT RAISE(ABORT, 'no'); END`)
	w.ask(t, "mia", "DELETE", "/mlflow/logged-models/"+id, "", 500)
	w.ask(t, "mia", "GET", "/mlflow-artifacts/artifacts/logged/"+id+"/MLmodel", "", 200, "x")
	do(`DROP TRIGGER stay`)
	w.ask(t, "mia", "DELETE", "/mlflow/logged-models/"+id, "", 200)
	w.ask(t, "mia", "GET", "/mlflow/logged-models/"+id, "", 404)
}

// TestLoggedBounds refuses what is odd, or too much.
func TestLoggedBounds(t *testing.T) {
	w := newWorld(t)
	id := w.logged(t, "mia", "", nil)
	at := "/mlflow/logged-models/" + id
	long := strings.Repeat("x", tracked.MaxValue+1)
	many := make([]string, tracked.MaxSaid+1)
	for i := range many {
		many[i] = fmt.Sprintf(`{"key":"k%d","value":1,"timestamp":1}`, i)
	}
	run := w.run(t, "mia", nil)
	for _, s := range []step{
		{"mia", "POST", "/mlflow/logged-models", `{"name":"` + strings.Repeat("x", tracked.MaxKey+1) + `"}`},
		{"mia", "POST", "/mlflow/logged-models", `{"name":"a","owner":"b"}`},
		{"mia", "POST", "/mlflow/logged-models", `{"name":"a","params":[{"key":"k","value":"1"},{"key":"k","value":"2"}]}`},
		{"mia", "PATCH", at, `{"status":"LOGGED_MODEL_STATUS_UNSPECIFIED"}`},
		{"mia", "PATCH", at, `{"model_id":"m-` + strings.Repeat("f", 32) + `","status":"LOGGED_MODEL_READY"}`},
		{"mia", "PATCH", at + "/tags", `{"tags":[{"key":"","value":"b"}]}`},
		{"mia", "PATCH", at + "/tags", `{"tags":[{"key":"a","value":"` + long + `"}]}`},
		{"mia", "POST", at + "/params", `{"params":[{"key":"a","value":"` + long + `"}]}`},
		{"mia", "POST", "/mlflow/logged-models/search", `{"experiment_ids":[]}`},
		{"mia", "POST", "/mlflow/logged-models/search", `{"experiment_ids":["0"],"max_results":50001}`},
		{"mia", "POST", "/mlflow/logged-models/search", `{"experiment_ids":["0"],"order_by":[{"field_name":"owner"}]}`},
		{"mia", "POST", "/mlflow/logged-models/search", `{"experiment_ids":["0"],"order_by":[{"field_name":"metrics.auc","dataset_name":"d"}]}`},
		{"mia", "POST", "/mlflow/runs/search", `{"experiment_ids":["0"],"run_view_type":"SOME"}`},
		{"mia", "POST", "/mlflow/runs/search", `{"experiment_ids":["0"],"filter":"owner = 'x'"}`},
		{"mia", "POST", "/mlflow/runs/search", `{"experiment_ids":["0"],"page_token":"x"}`},
		{"mia", "POST", "/mlflow/runs/search", `{"experiment_ids":["0"` + strings.Repeat(`,"0"`, 500) + `]}`},
		{"mia", "POST", "/mlflow/runs/log-batch", `{"run_id":"` + run + `","metrics":[` + strings.Join(many, ",") + `]}`},
		{"mia", "POST", "/mlflow/runs/log-inputs", `{"run_id":"` + run + `","datasets":[{"dataset":{"name":"d"}}]}`},
		{"mia", "GET", "/mlflow/metrics/get-history?run_id=" + run, ""},
		{"mia", "GET", "/mlflow/metrics/get-history?run_id=" + run + "&metric_key=a&page_token=-1", ""},
		{"mia", "GET", "/mlflow/metrics/get-history?run_id=" + run + "&metric_key=a&page_token=x", ""},
	} {
		w.ask(t, s.who, s.method, s.path, s.body, 400, "INVALID_PARAMETER_VALUE")
	}
	for _, path := range []string{"/mlflow/logged-models/M-" + strings.Repeat("0", 32), "/mlflow/logged-models/..", at + "/tags", at + "/params/x"} {
		w.ask(t, "mia", "GET", path, "", 404, "ENDPOINT_NOT_FOUND")
	}
	w.ask(t, "mia", "POST", "/mlflow/runs/log-inputs", `{"run_id":"`+run+`","models":[{"model_id":"m-0"}]}`, 404)
	w.ask(t, "mia", "POST", "/mlflow/runs/log-metric", `{"run_id":"`+run+`","model_id":"m-0","key":"a","value":1}`, 404)
	w.ask(t, "mia", "GET", "/mlflow/metrics/get-history?run_id="+run+"&metric_key=a", "", 200, "{}") // nothing of it was done
}

// TestRunsByPages finds runs a page at a time, and each once.
func TestRunsByPages(t *testing.T) {
	w := newWorld(t)
	for i := range 5 {
		run := w.run(t, "mia", nil)
		w.ask(t, "mia", "POST", "/mlflow/runs/log-batch", fmt.Sprintf(`{"run_id":%q,"metrics":[{"key":"auc","value":0.%d,"timestamp":1,"step":0}],"params":[{"key":"n","value":"%d"}]}`, run, i, i%2), 200)
	}
	find := func(page string) (got []string, next string) {
		var a struct {
			Runs []tracked.ShownRun
			Next string `json:"next_page_token"`
		}
		if err := json.Unmarshal([]byte(w.ask(t, "mia", "POST", "/mlflow/runs/search", fmt.Sprintf(`{"experiment_ids":["0"],"filter":"params.n = '0'","order_by":["metrics.auc DESC"],"max_results":2,"page_token":%q}`, page), 200)), &a); err != nil {
			t.Fatal(err)
		}
		for _, r := range a.Runs {
			got = append(got, fmt.Sprint(r.Data.Metrics[0].Value))
		}
		return got, a.Next
	}
	first, next := find("")
	second, end := find(next)
	if got := fmt.Sprint(first, second); got != "[0.4 0.2] [0]" || end != "" {
		t.Errorf("found %s, and then %q", got, end)
	}
	w.ask(t, "mia", "POST", "/mlflow/runs/search", fmt.Sprintf(`{"experiment_ids":["0"],"max_results":2,"page_token":%q}`, next), 400, "page_token")
	if said := w.ask(t, "mia", "POST", "/mlflow/runs/search", `{"experiment_ids":["0"],"run_view_type":"DELETED_ONLY"}`, 200); said != "{}" {
		t.Errorf("runs that were deleted: %s", said)
	}
}

// TestSearchesWait has no more searches at once than there is memory for.
func TestSearchesWait(t *testing.T) {
	w := newWorld(t)
	id := w.run(t, "mia", nil)
	for range maxFinds {
		w.finds <- struct{}{}
	}
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer stop()
	if found, err := w.searchRuns(ctx, mia, searchRuns{Experiments: []text{"0"}}); err == nil {
		t.Errorf("a search more than there may be found %+v", found)
	}
	for range maxFinds {
		<-w.finds
	}
	w.ask(t, "mia", "POST", "/mlflow/runs/search", `{"experiment_ids":["0"]}`, 200, id)
}

// TestRunsFromBefore finds runs that were kept before searches were.
func TestRunsFromBefore(t *testing.T) {
	w := newWorld(t)
	db := w.cfg.Store
	err := db.Migrate(t.Context(), "before", []string{strings.ReplaceAll(steps[0], "mlflow_", "before_"),
		`INSERT INTO before_runs VALUES ('local', 'r', 'o', 1, '{"info":{"experiment_id":"7"}}')`, strings.ReplaceAll(steps[1], "mlflow_", "before_")})
	var experiment string
	if err == nil {
		err = db.View(t.Context(), func(tx *store.Tx) error {
			return tx.QueryRow(`SELECT experiment FROM before_runs`).Scan(&experiment)
		})
	}
	if err != nil || experiment != "7" {
		t.Errorf("a run of experiment %q, %v", experiment, err)
	}
}
