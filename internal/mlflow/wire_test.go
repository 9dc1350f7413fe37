package mlflow

import (
	"encoding/json"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/tracked"
)

// TestNumbers reads numbers as protocol buffers have them in JSON, and nothing else.
func TestNumbers(t *testing.T) {
	for text, want := range map[string]int64{`5`: 5, `"5"`: 5, `-3`: -3, `5.0`: 5, `1e3`: 1000, `9223372036854775807`: math.MaxInt64, `"9223372036854775807"`: math.MaxInt64, `null`: 0} {
		var n tracked.Whole
		if err := json.Unmarshal([]byte(text), &n); err != nil || int64(n) != want {
			t.Errorf("%s is %d, %v", text, n, err)
		}
	}
	for _, text := range []string{`5.5`, `"x"`, `""`, `true`, `{}`, `[]`, `9223372036854775808`, `1e300`, `"5 "`} {
		var n tracked.Whole
		if err := json.Unmarshal([]byte(text), &n); err == nil {
			t.Errorf("%s is %d", text, n)
		}
	}
	for text, want := range map[string]string{`"7"`: "7", `7`: "7", `null`: ""} {
		var v version
		if err := json.Unmarshal([]byte(text), &v); err != nil || string(v) != want {
			t.Errorf("%s is %q, %v", text, v, err)
		}
	}
	for _, want := range []string{`"NaN"`, `"Infinity"`, `"-Infinity"`, `0.5`} {
		var r tracked.Real
		if err := json.Unmarshal([]byte(want), &r); err != nil {
			t.Error(err)
		}
		if got, err := json.Marshal(r); err != nil || string(got) != want {
			t.Errorf("%s was written %s, %v", want, got, err)
		}
	}
}

type version = text

// TestHostileRequests sends what no client does. Nothing of it is done.
func TestHostileRequests(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct{ body, says string }{
		"no JSON":            {`no`, "cannot be read"},
		"a list":             {`[]`, "cannot be read"},
		"two behind another": {`{"name":"a"}{"name":"b"}`, "cannot be read"},
		"a key twice":        {`{"name":"a","name":"b"}`, "twice"},
		"a key in two cases": {`{"name":"a","NAME":"b"}`, "twice"},
		"an unknown key":     {`{"name":"a","owner":"b"}`, "owner"},
		"another type":       {`{"name":7}`, "cannot be read"},
		"not UTF-8":          {"{\"name\":\"\xff\"}", "UTF-8"},
		"deep":               {`{"name":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + `}`, "depth"},
		"too long":           {`{"description":"` + strings.Repeat("x", maxBody) + `"}`, "more than 1048576 bytes"},
		"a tag twice":        {`{"name":"a","tags":[{"key":"k","value":"1"},{"key":"k","value":"2"}]}`, "twice"},
		"a tag without key":  {`{"name":"a","tags":[{"value":"1"}]}`, "no key"},
		"no name":            {`{}`, "no name"},
		"nothing":            {``, "no name"},
		"a path":             {`{"name":"../../etc"}`, "no name of a model"},
		"another tenant":     {`{"name":"x/model/y"}`, "no name of a model"},
		"a version":          {`{"name":"fraud@1"}`, "no name of a model"},
		"no risk":            {`{"name":"a","tags":[{"key":"pavise.risk","value":"none"}]}`, "low, medium or high"},
	} {
		answer := w.send("mia", "POST", "/api/2.0/mlflow/registered-models/create", c.body)
		if answer.Code != http.StatusBadRequest || !strings.Contains(answer.Body.String(), c.says) || !strings.Contains(answer.Body.String(), "INVALID_PARAMETER_VALUE") {
			t.Errorf("%s: %d %.300s, and it should say %q", name, answer.Code, answer.Body, c.says)
		}
	}
	for _, query := range []string{"filter=a&filter=b", "max_results=-1", "max_results=1001", "max_results=x", "page_token=x", "order_by=x", "owner=x", "filter=%zz"} {
		w.ask(t, "mia", "GET", "/mlflow/registered-models/search?"+query, "", 400, "INVALID_PARAMETER_VALUE")
	}
	r := httptest.NewRequest("POST", "/api/2.0/mlflow/registered-models/create", strings.NewReader(`{"name":"form"}`))
	r.Header.Set("Test-Who", "mia")
	r.Header.Set("Content-Type", "text/plain")
	answer := httptest.NewRecorder()
	if w.door.ServeHTTP(answer, r); answer.Code != http.StatusBadRequest {
		t.Errorf("a form: %d", answer.Code)
	}
	w.ask(t, "mia", "GET", "/mlflow/registered-models/search", "", 200, "{}")
}

// TestDoorTurnsAway refuses strangers before they are read, with what MLflow's client needs to
// be told, and knows what it does not serve.
func TestDoorTurnsAway(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{"/mlflow/registered-models/create", "/mlflow-artifacts/artifacts/runs/" + strings.Repeat("0", 32) + "/x"} {
		method := "POST"
		if strings.Contains(path, "artifacts") {
			method = "PUT"
		}
		r := httptest.NewRequest(method, "/api/2.0"+path, untouched{t})
		r.SetBasicAuth("mia", "secret")
		answer := httptest.NewRecorder()
		w.door.ServeHTTP(answer, r)
		if answer.Code != 401 || answer.Header().Get("WWW-Authenticate") == "" || !strings.Contains(answer.Body.String(), "UNAUTHENTICATED") || !strings.Contains(answer.Body.String(), "MLFLOW_TRACKING_TOKEN") || strings.Contains(answer.Body.String(), "secret") {
			t.Errorf("%s: %d %s", path, answer.Code, answer.Body)
		}
	}
	for _, c := range [][2]string{
		{"GET", "/api/3.0/mlflow/server-info"}, {"GET", "/api/2.0/mlflow/server-info"}, {"POST", "/api/2.0/mlflow/registered-models/get"}, {"POST", "/api/2.0/mlflow/traces"}, {"GET", "/api/2.0/mlflow/logged-models/search"},
		{"POST", "/api/2.0/mlflow-artifacts/mpu/create/x"}, {"GET", "/api/3.0/mlflow/registered-models/get"}, {"GET", "/api/2.0/mlflow-artifacts/artifactsx"}, {"POST", "/api/2.0/mlflow/../x"},
	} {
		answer := w.send("mia", c[0], c[1], "")
		if answer.Code != 404 || !strings.Contains(answer.Body.String(), "ENDPOINT_NOT_FOUND") {
			t.Errorf("%s: %d %s", c, answer.Code, answer.Body)
		}
	}
	if answer := w.send("mia", "GET", "/ajax-api/2.0/mlflow/registered-models/search", ""); answer.Code != 200 {
		t.Errorf("the other beginning: %d %s", answer.Code, answer.Body)
	}
	for path, want := range map[string]bool{"/api/2.0/mlflow/x": true, "/ajax-api/3.0/mlflow/server-info": true, "/api/2.0/mlflow-artifacts/artifacts": true, "/api/2.0/mlflowx": false, "/v1/mlflow/x": false, "/api/v1/lineage": false} {
		if Serves(path) != want {
			t.Errorf("%s: %v", path, !want)
		}
	}
}

// TestErrors holds kinds to what MLflow's clients make of them.
func TestErrors(t *testing.T) {
	for kind, want := range map[pavise.Kind]struct {
		status int
		code   string
	}{
		pavise.Invalid: {400, "INVALID_PARAMETER_VALUE"}, pavise.Denied: {403, "PERMISSION_DENIED"}, pavise.NotFound: {404, "RESOURCE_DOES_NOT_EXIST"}, pavise.Conflict: {409, "RESOURCE_CONFLICT"},
		pavise.Throttled: {429, "REQUEST_LIMIT_EXCEEDED"}, pavise.Unverified: {400, "INVALID_PARAMETER_VALUE"}, pavise.Unavailable: {503, "TEMPORARILY_UNAVAILABLE"}, pavise.Internal: {500, "INTERNAL_ERROR"},
	} {
		if status, said := explain(&pavise.Error{Kind: kind, Msg: "m", Hint: "h", Err: http.ErrBodyNotAllowed}); status != want.status || said.Code != want.code || said.Message != "m; h" {
			t.Errorf("%s: %d %+v", kind, status, said)
		}
	}
	if status, said := explain(http.ErrBodyNotAllowed); status != 500 || strings.Contains(said.Message, "body") {
		t.Errorf("%d %+v", status, said)
	}
}

// FuzzRequest reads requests: what is refused is Invalid, and nothing of it is done.
func FuzzRequest(f *testing.F) {
	f.Add([]byte(`{"name":"a","version":"1","stage":"Production","archive_existing_versions":"true"}`), "name=a&version=1")
	f.Add([]byte(`{"run_id":"x","metrics":[{"key":"k","value":"NaN","timestamp":"5","step":1.0}]}`), "order_by=a&order_by=b")
	f.Add([]byte("{\"a\":1,\"A\":2}"), "%zz")
	f.Add([]byte(`{"experiment_ids":["0",1],"order_by":[{"field_name":"metrics.auc","ascending":"false"}],"datasets":[{"dataset_name":"d"}]}`), "run_id=x&metric_key=auc&max_results=1.0")
	f.Add([]byte(`{"name":"m","source_run_id":"x","params":[{"key":"k","value":"v"}],"models":[{"model_id":"m-0","step":"2"}]}`), "allow_deleted=true")
	f.Fuzz(func(t *testing.T, body []byte, query string) {
		asked, err := fromQuery(query)
		if err != nil && pavise.KindOf(err) != pavise.Invalid {
			t.Fatal(err)
		}
		for _, text := range [][]byte{body, asked} {
			for _, read := range []func([]byte) error{
				func(b []byte) error { _, err := decode[transition](b); return err }, func(b []byte) error { _, err := decode[logBatch](b); return err },
				func(b []byte) error { _, err := decode[logMetric](b); return err }, func(b []byte) error { _, err := decode[search](b); return err },
				func(b []byte) error { _, err := decode[createVersion](b); return err }, func(b []byte) error { _, err := decode[createLogged](b); return err },
				func(b []byte) error { _, err := decode[searchLogged](b); return err }, func(b []byte) error { _, err := decode[searchRuns](b); return err },
				func(b []byte) error { _, err := decode[logInputs](b); return err }, func(b []byte) error { _, err := decode[historyOf](b); return err },
			} {
				if err := read(text); err != nil && pavise.KindOf(err) != pavise.Invalid {
					t.Fatal(err)
				}
			}
		}
	})
}
