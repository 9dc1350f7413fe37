package mlflow

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/rpcs.txt anew")

// A step is a request of the golden conversation, or something that happens between two.
type step struct{ who, method, path, body string }

// talk is what a client says to a server, RPC by RPC. {1} is the first run.
var talk = []step{
	{"mia", "GET", "experiments/get-by-name?experiment_name=scoring", ""},
	{"mia", "POST", "experiments/create", `{"name":"scoring"}`},
	{"mia", "POST", "experiments/create", `{"name":"scoring"}`},
	{"mia", "GET", "experiments/get-by-name?experiment_name=scoring", ""},
	{"mia", "GET", "experiments/get?experiment_id=0", ""},
	{"mia", "POST", "runs/create", `{"experiment_id":"1","user_id":"root","start_time":"1795798894944","tags":[{"key":"mlflow.source.name","value":"train.py"}]}`},
	{"mia", "POST", "runs/log-parameter", `{"run_uuid":"{1}","key":"depth","value":"3","run_id":"{1}"}`},
	{"mia", "POST", "runs/log-parameter", `{"run_id":"{1}","key":"depth","value":"4"}`},
	{"mia", "POST", "runs/log-metric", `{"run_uuid":"{1}","key":"auc","value":0.97,"timestamp":1795798895019,"step":"2","run_id":"{1}"}`},
	{"mia", "POST", "runs/log-metric", `{"run_id":"{1}","key":"loss","value":"NaN","timestamp":1795798895019,"step":0}`},
	{"mia", "POST", "runs/set-tag", `{"run_id":"{1}","key":"team","value":"risk"}`},
	{"mia", "POST", "runs/log-batch", `{"run_id":"{1}","params":[{"key":"seed","value":"7"}],"metrics":[{"key":"auc","value":0.5,"timestamp":1,"step":1}],"tags":[]}`},
	{"moe", "POST", "runs/set-tag", `{"run_id":"{1}","key":"team","value":"mine"}`},
	{"mia", "PUT", "/artifacts/runs/{1}/model/MLmodel", "flavors: {}\n"},
	{"mia", "PUT", "/artifacts/runs/{1}/model/data/weights.json", `{"w":[1]}`},
	{"mia", "GET", "/artifacts?path=runs/{1}/model", ""},
	{"mia", "GET", "artifacts/list?run_id={1}&path=model", ""},
	{"mia", "GET", "metrics/get-history?run_uuid={1}&run_id={1}&metric_key=auc&max_results=25000", ""},
	{"mia", "GET", "metrics/get-history?run_id={1}&metric_key=auc&max_results=1&page_token=1", ""},
	{"mia", "POST", "logged-models", `{"experiment_id":"1","name":"scorer","source_run_id":"{1}","params":[{"key":"depth","value":"3"}],"tags":[{"key":"team","value":"risk"}]}`},
	{"mia", "POST", "logged-models", `{"experiment_id":"1","name":"a/b"}`},
	{"mia", "POST", "runs/outputs", `{"run_id":"{1}","models":[{"model_id":"m-{2}","step":"2"}]}`},
	{"mia", "POST", "runs/log-inputs", `{"run_id":"{1}","datasets":[{"dataset":{"name":"payments","digest":"d1","source_type":"local","source":"{}"},"tags":[{"key":"mlflow.data.context","value":"training"}]}],"models":[]}`},
	{"mia", "POST", "runs/log-batch", `{"run_id":"{1}","metrics":[{"key":"auc","value":0.98,"timestamp":1795798895020,"step":3,"model_id":"m-{2}","dataset_name":"payments","dataset_digest":"d1"}]}`},
	{"mia", "PATCH", "logged-models/m-{2}/tags", `{"tags":[{"key":"stage","value":"first"}]}`},
	{"mia", "DELETE", "logged-models/m-{2}/tags/stage", ``},
	{"mia", "DELETE", "logged-models/m-{2}/tags/stage", ``},
	{"mia", "POST", "logged-models/m-{2}/params", `{"model_id":"m-{2}","params":[{"key":"seed","value":"7"}]}`},
	{"mia", "POST", "logged-models/m-{2}/params", `{"model_id":"m-{2}","params":[{"key":"seed","value":"8"}]}`},
	{"moe", "PATCH", "logged-models/m-{2}", `{"model_id":"m-{2}","status":"LOGGED_MODEL_READY"}`},
	{"mia", "PUT", "/artifacts/logged/m-{2}/MLmodel", "flavors: {}\n"},
	{"mia", "GET", "logged-models/m-{2}/artifacts/directories", ""},
	{"mia", "PATCH", "logged-models/m-{2}", `{"model_id":"m-{2}","status":"LOGGED_MODEL_READY"}`},
	{"mia", "GET", "logged-models/m-{2}?allow_deleted=true", ""},
	{"mia", "GET", "logged-models/m-{1}", ""},
	{"mia", "GET", "logged-models/m-{2}/nothing", ""},
	{"mia", "POST", "logged-models/search", `{"experiment_ids":["1"],"filter":"name='scorer' AND source_run_id='{1}' AND metrics.auc > 0.9","max_results":100,"order_by":[{"field_name":"creation_timestamp","ascending":false}]}`},
	{"mia", "POST", "logged-models/search", `{"experiment_ids":["1"],"datasets":[{"dataset_name":"payments"}]}`},
	{"mia", "POST", "runs/search", `{"experiment_ids":["1"],"filter":"metrics.auc > 0.9 and params.depth = '3' and tags.team = 'risk'","run_view_type":"ACTIVE_ONLY","max_results":10,"order_by":["metrics.auc DESC"]}`},
	{"mia", "POST", "runs/search", `{"experiment_ids":["0"],"run_view_type":"ACTIVE_ONLY"}`},
	{"mia", "POST", "runs/update", `{"run_uuid":"{1}","status":"FINISHED","end_time":1795798895333,"run_id":"{1}"}`},
	{"mia", "GET", "runs/get?run_uuid={1}&run_id={1}", ""},

	{"mia", "GET", "registered-models/get?name=fraud", ""},
	{"mia", "POST", "registered-models/create", `{"name":"fraud","description":"card fraud","tags":[{"key":"pavise.risk","value":"low"}]}`},
	{"mia", "POST", "registered-models/create", `{"name":"fraud"}`},
	{"mia", "POST", "registered-models/create", `{"name":"a/b"}`},
	{"nil", "POST", "registered-models/create", `{"name":"other"}`},
	{"mia", "POST", "registered-models/rename", `{"name":"fraud","new_name":"theft"}`},
	{"mia", "PATCH", "registered-models/update", `{"name":"fraud","description":"fraud with cards"}`},
	{"mia", "POST", "registered-models/set-tag", `{"name":"fraud","key":"team","value":"risk"}`},
	{"mia", "POST", "registered-models/set-tag", `{"name":"fraud","key":"gone","value":""}`},
	{"mia", "DELETE", "registered-models/delete-tag", `{"name":"fraud","key":"gone"}`},
	{"mia", "POST", "model-versions/create", `{"name":"fraud","source":"mlflow-artifacts:/runs/{1}/model","run_id":"{1}","tags":[{"key":"t","value":"1"}],"run_link":"https://ci.test/7","description":"the first"}`},
	{"mia", "GET", "model-versions/get?name=fraud&version=1", ""},
	{"", "look", "1", ""},
	{"mia", "GET", "model-versions/get?name=fraud&version=1", ""},
	{"mia", "GET", "model-versions/get?name=fraud&version=2", ""},
	{"mia", "GET", "model-versions/get?name=fraud&version=x", ""},
	{"mia", "PATCH", "model-versions/update", `{"name":"fraud","version":"1","description":"the very first"}`},
	{"mia", "POST", "model-versions/set-tag", `{"name":"fraud","version":1,"key":"k","value":"v"}`},
	{"mia", "DELETE", "model-versions/delete-tag", `{"name":"fraud","version":"1","key":"k"}`},
	{"mia", "GET", "model-versions/get-download-uri?name=fraud&version=1", ""},
	{"mia", "GET", "/artifacts?path=models/fraud/1/data", ""},
	{"mia", "GET", "/artifacts/models/fraud/1/data/weights.json", ""},

	{"pat", "POST", "model-versions/transition-stage", `{"name":"fraud","version":"1","stage":"production","archive_existing_versions":false}`},
	{"", "review", "1", ""},
	{"mia", "POST", "model-versions/transition-stage", `{"name":"fraud","version":"1","stage":"Production","archive_existing_versions":false}`},
	{"pat", "POST", "model-versions/transition-stage", `{"name":"fraud","version":"1","stage":"Production","archive_existing_versions":false}`},
	{"pat", "POST", "model-versions/transition-stage", `{"name":"fraud","version":"1","stage":"Production","archive_existing_versions":false}`},
	{"", "approve", "", ""},
	{"pat", "POST", "model-versions/transition-stage", `{"name":"fraud","version":"1","stage":"Staging","archive_existing_versions":false}`},
	{"pat", "POST", "model-versions/transition-stage", `{"name":"fraud","version":"1","stage":"Production","archive_existing_versions":false}`},
	{"", "approve", "", ""},
	{"pat", "POST", "model-versions/transition-stage", `{"name":"fraud","version":"1","stage":"Production","archive_existing_versions":false}`},
	{"mia", "POST", "registered-models/get-latest-versions", `{"name":"fraud","stages":["Production","None"]}`},
	{"mia", "GET", "registered-models/get-latest-versions?name=fraud", ""},
	{"pat", "POST", "registered-models/alias", `{"name":"fraud","alias":"champion","version":"1"}`},
	{"", "approve", "", ""},
	{"pat", "POST", "registered-models/alias", `{"name":"fraud","alias":"champion","version":"1"}`},
	{"mia", "GET", "registered-models/alias?name=fraud&alias=champion", ""},
	{"mia", "GET", "registered-models/alias?name=fraud&alias=nobody", ""},
	{"mia", "GET", "registered-models/get?name=fraud", ""},
	{"mia", "GET", "registered-models/search?filter=name+LIKE+%27f%25%27+AND+tag.%60mlflow.prompt.is_prompt%60+%21%3D+%27true%27&max_results=5&order_by=name+ASC", ""},
	{"mia", "GET", "registered-models/search?filter=tags.team+%3D+%27sales%27", ""},
	{"mia", "GET", "model-versions/search?filter=name%3D%27fraud%27&max_results=10000", ""},
	{"mia", "GET", "model-versions/search?filter=version_number+%3E+1", ""},
	{"pat", "DELETE", "registered-models/alias", `{"name":"fraud","alias":"champion"}`},
	{"", "approve", "", ""},
	{"pat", "DELETE", "registered-models/alias", `{"name":"fraud","alias":"champion"}`},

	{"mia", "POST", "model-versions/create", `{"name":"fraud","source":"models:/fraud/1"}`},
	{"mia", "DELETE", "registered-models/delete", `{"name":"fraud"}`},
	{"pat", "DELETE", "model-versions/delete", `{"name":"fraud","version":"2"}`},
	{"", "approve", "", ""},
	{"pat", "DELETE", "model-versions/delete", `{"name":"fraud","version":"2"}`},
	{"mia", "GET", "model-versions/get?name=fraud&version=2", ""},
	{"mia", "POST", "registered-models/create", `{"name":"idle"}`},
	{"mia", "DELETE", "registered-models/delete", `{"name":"idle"}`},
	{"mia", "GET", "registered-models/get?name=idle", ""},
	{"mia", "DELETE", "/artifacts/runs/{1}/model", ""},
	{"mia", "GET", "/artifacts/models/fraud/1/data/weights.json", ""},
}

// TestConversation holds every RPC to a request and its answer in testdata/rpcs.txt.
func TestConversation(t *testing.T) {
	w := newWorld(t)
	var b strings.Builder
	said := map[string]bool{}
	for _, s := range talk {
		switch s.method {
		case "look":
			w.look(t, "fraud", s.path)
			continue
		case "review":
			w.review(t, s.path)
			continue
		case "approve":
			w.approve(t)
			continue
		}
		fill := strings.NewReplacer("{1}", fmt.Sprintf("%032x", 1), "{2}", fmt.Sprintf("%032x", 2))
		path := "/mlflow/" + s.path
		if s.path[0] == '/' {
			path = "/mlflow-artifacts" + s.path
		}
		answer := w.send(s.who, s.method, "/api/2.0"+fill.Replace(path), fill.Replace(s.body))
		name, _, _ := strings.Cut(s.path, "?")
		said[s.method+" "+name] = said[s.method+" "+name] || answer.Code == 200
		fmt.Fprintf(&b, "> %s %s %s\n", s.who, s.method, fill.Replace(path))
		if s.body != "" {
			fmt.Fprintf(&b, "> %s\n", strings.TrimSpace(fill.Replace(s.body)))
		}
		fmt.Fprintf(&b, "%d %s\n\n", answer.Code, indent(answer.Body.Bytes()))
	}
	for name := range w.door.rpcs {
		if !said[name] && name != "POST registered-models/rename" {
			t.Errorf("nobody asked %s, and was answered", name)
		}
	}
	const path = "testdata/rpcs.txt"
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		got, had := strings.Split(b.String(), "\n\n"), strings.Split(string(want), "\n\n")
		for i := range min(len(got), len(had)) {
			if got[i] != had[i] {
				t.Fatalf("%s\n\nand it should be\n\n%s", got[i], had[i])
			}
		}
		t.Fatal("the conversation has another length")
	}
}
