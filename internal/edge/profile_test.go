package edge_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/edge"
	"github.com/pavise/pavise/internal/edgetest"
	"github.com/pavise/pavise/internal/infer"
	"github.com/pavise/pavise/internal/route"
)

var update = flag.Bool("update", false, "write docs/profiles.md anew")

// TestProfilesAreTold holds docs/profiles.md to the tables.
func TestProfilesAreTold(t *testing.T) {
	const file, mark = "../../docs/profiles.md", "<!-- the tables, from internal/edge/profiles.go -->\n"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, was, found := strings.Cut(string(text), mark)
	if !found {
		t.Fatalf("%s has no mark where the tables begin", file)
	}
	var b strings.Builder
	server := ""
	for _, e := range edge.Profile() {
		if e.Server != server {
			server = e.Server
			fmt.Fprintf(&b, "\n## %s\n\n| method | path | class | here |\n|---|---|---|---|\n", server)
		}
		here := "refused"
		switch {
		case e.Served:
			here = "served"
		case e.Verb() != edge.VerbOther:
			here = "refused, unless a policy permits `" + e.Verb() + "`"
		}
		fmt.Fprintf(&b, "| %s | `%s` | %s | %s |\n", e.Method, e.Path, e.Class, here)
	}
	if b.String() == was {
		return
	}
	if !*update {
		t.Fatalf("%s differs from the tables: go test ./internal/edge -run TestProfilesAreTold -update", file)
	}
	if err := os.WriteFile(file, []byte(head+mark+b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// fill puts names in the place of those in braces.
func fill(path string) string {
	for _, name := range []string{"model}", "version}", "region}", "repository}", "label}", "workflow}", "digest}", "rest...}"} {
		path = strings.ReplaceAll(path, "{"+name, map[string]string{"model}": "m", "version}": "1"}[name]+strings.TrimSuffix(strings.TrimSuffix(name, "}"), "...")[:1])
	}
	return path
}

// TestEverythingElseIsRefused asks for every path of every table that is not served, as
// somebody whom no policy permits anything: each is refused, with a record of the verb
// of its class, and nothing of it reaches a model server.
func TestEverythingElseIsRefused(t *testing.T) {
	w, seen := behind(t)
	served := map[string]bool{}
	for _, e := range edge.Profile() {
		if e.Served {
			served[e.Method+" "+fill(e.Path)] = true
		}
	}
	for i, e := range edge.Profile() {
		methods := []string{e.Method}
		if e.Method == "*" {
			methods = []string{"GET", "POST", "PUT", "DELETE"}
		}
		for _, method := range methods {
			path := fill(e.Path)
			if served[method+" "+path] {
				continue
			}
			resp, body := w.Post(t, path, `{}`, func(r *http.Request) {
				r.Method = method
				r.Header.Set("Authorization", "Bearer "+w.Mint(t, fmt.Sprint("app", i), "caller"))
				if e.Method == "GET" {
					r.Body, r.ContentLength = nil, 0
				}
			})
			if resp.StatusCode != 403 {
				t.Errorf("%s %s: %d %s", method, path, resp.StatusCode, body)
				continue
			}
			r := w.Record(t, resp)
			if r.Outcome != pavise.Deny || !strings.HasPrefix(r.Kind, "model.") || r.Kind == "model.infer" || r.Kind == "model.describe" {
				t.Errorf("%s %s: record %s %s", method, path, r.Kind, r.Outcome)
			}
			if first := firstOf(method, path); r.Kind != first {
				t.Errorf("%s %s: record of %s, want %s", method, path, r.Kind, first)
			}
		}
	}
	if n := len(*seen); n > 0 {
		t.Errorf("the model servers were asked %d times: %v", n, (*seen)[0])
	}
}

// firstOf is the verb of the first entry that has the method and the path as filled.
func firstOf(method, path string) string {
	for _, e := range edge.Profile() {
		if e.Method != "*" && e.Method != method {
			continue
		}
		if fill(e.Path) == path || strings.HasSuffix(e.Path, "{rest...}") && strings.HasPrefix(path, strings.TrimSuffix(e.Path, "{rest...}")) || sameForm(e.Path, path) {
			return e.Verb()
		}
	}
	return ""
}

// sameForm compares segment by segment; a name in braces stands for anything.
func sameForm(pattern, path string) bool {
	a, b := strings.Split(pattern, "/"), strings.Split(path, "/")
	return len(a) == len(b) && !slices.ContainsFunc(a, func(s string) bool { return strings.HasSuffix(s, "...}") }) && func() bool {
		for i := range a {
			name, after, braced := strings.Cut(a[i], "}")
			if braced && strings.HasPrefix(name, "{") && strings.HasSuffix(b[i], after) && len(b[i]) > len(after) || a[i] == b[i] {
				continue
			}
			return false
		}
		return true
	}()
}

// behind is a world with a model server of each protocol behind the edge, and what those
// were asked.
func behind(t *testing.T) (*edgetest.World, *[]string) {
	t.Helper()
	w := edgetest.New(t)
	seen := &[]string{}
	server := serving(t, func(rw http.ResponseWriter, r *http.Request) {
		body := new(strings.Builder)
		r.Body = http.MaxBytesReader(rw, r.Body, 1<<20)
		buf := make([]byte, 1<<16)
		for n, err := 0, error(nil); err == nil; {
			n, err = r.Body.Read(buf)
			body.Write(buf[:n])
		}
		*seen = append(*seen, fmt.Sprintf("%s %s %s auth=%q type=%q", r.Method, r.URL, body, r.Header.Get("Authorization"), r.Header.Get("Content-Type")))
		fmt.Fprint(rw, `{ "ok" : [1, 2.50] }`)
	})
	w.Put(t, func(s *route.Spec) {
		s.ONNX, s.Upstream, s.Remote, s.Signature = nil, server, "far", infer.SignatureText(vector)
	})
	for id, protocol := range map[string]string{"tf": "tfserving", "torch": "torchserve", "flow": "mlflow", "k": "v1"} {
		w.Put(t, func(s *route.Spec) {
			s.Name = "local/model/" + id
			s.ONNX, s.Upstream, s.Protocol, s.Signature = nil, server, protocol, infer.SignatureText(vector)
		})
	}
	*seen = nil // putting a route looks at its server
	return w, seen
}

// TestPolicyOpensAClass lets one workload control, and finds that it gets that and
// nothing else, in bytes of ours.
func TestPolicyOpensAClass(t *testing.T) {
	w, seen := behind(t)
	permit(t, w, `permit (principal == Workload::"ops", action in [Action::"model.control", Action::"model.metrics", Action::"model.other"], resource);`)
	ask := func(who, method, path, body string, edit func(*http.Request)) (*http.Response, string) {
		return w.Post(t, path, body, func(r *http.Request) {
			r.Method = method
			r.Header.Set("Authorization", "Bearer "+w.Mint(t, who, map[string]string{"ops": "analyst", "app": "caller"}[who]))
			if body == "" {
				r.Body, r.ContentLength = nil, 0
			}
			if edit != nil {
				edit(r)
			}
		})
	}
	resp, body := ask("ops", "POST", "/v2/repository/models/m/load", ` {"parameters" : {"a":1.50} }`, nil)
	if resp.StatusCode != 200 || body != `{"ok":[1,2.50]}` {
		t.Fatalf("%d %s", resp.StatusCode, body)
	}
	if want := `POST /v2/repository/models/far/load {"parameters":{"a":1.50}} auth="" type="application/json"`; len(*seen) != 1 || (*seen)[0] != want {
		t.Errorf("the server saw %q, want %q", *seen, want)
	}
	if r := w.Record(t, resp); r.Kind != "model.control" || r.On.ID != "m" || r.Outcome != pavise.Allow {
		t.Errorf("record %+v", r)
	}
	*seen = nil
	for _, tt := range []struct {
		who, method, path, body string
		edit                    func(*http.Request)
		want                    int
	}{
		{"ops", "POST", "/v2/repository/index", `{}`, nil, 200},
		{"ops", "POST", "/v2/repository/models/none/load", `{}`, nil, 404},
		{"ops", "POST", "/v2/repository/models/tf/load", `{}`, nil, 404}, // its server is no such one
		{"ops", "POST", "/v2/repository/models/m/load", `{"a":1,"a":2}`, nil, 400},
		{"ops", "POST", "/v2/repository/models/m/load", `{"a":1,"A":2}`, nil, 400},
		{"ops", "POST", "/v2/repository/models/m/load", `nothing`, nil, 400},
		{"ops", "POST", "/v2/repository/models/m/load", "{\"a\":\"\xff\"}", nil, 400},
		{"ops", "POST", "/v2/repository/models/m/load?x=1", `{}`, nil, 400},
		{"ops", "POST", "/v2/repository/models/m/load", `{"a":"` + strings.Repeat("a", 2<<20) + `"}`, nil, 400},
		{"ops", "POST", "/v2/repository/models/m/load", `{}`, func(r *http.Request) { r.Header.Set("Content-Encoding", "gzip") }, 400},
		{"ops", "POST", "/v2/systemsharedmemory/region/x/register", `{}`, nil, 403},
		{"ops", "POST", "/update_weights", `{}`, nil, 403},
		{"ops", "POST", "/v2/repository/other/thing", `{}`, nil, 403}, // no path of ours to send it to
		{"ops", "POST", "/v2/models/m/generate", `{}`, nil, 403},      // permitted, and never passed on
		{"ops", "POST", "/nowhere", `{}`, nil, 404},
		{"ops", "DELETE", "/models/torch", ``, nil, 403},
		{"app", "POST", "/v2/repository/models/m/load", `{}`, nil, 403},
	} {
		before := len(*seen)
		resp, body := ask(tt.who, tt.method, tt.path, tt.body, tt.edit)
		if resp.StatusCode != tt.want {
			t.Errorf("%s %s %s: %d %.300s, want %d", tt.who, tt.method, tt.path, resp.StatusCode, body, tt.want)
		}
		if passed := len(*seen) > before; passed != (tt.want == 200) {
			t.Errorf("%s %s %s %.60s: passed on: %v", tt.who, tt.method, tt.path, tt.body, passed)
		}
	}
	if resp, body := ask("ops", "GET", "/metrics", "", func(r *http.Request) { r.Header.Set(edge.ModelHeader, "m") }); resp.StatusCode != 200 || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain") {
		t.Errorf("metrics: %d %s", resp.StatusCode, body)
	}
}

// TestObserveModeOpensNothingElse finds what is aside from inference as closed on a route
// that observes.
func TestObserveModeOpensNothingElse(t *testing.T) {
	w, seen := behind(t)
	w.Put(t, func(s *route.Spec) { s.ONNX, s.Observe = nil, new(true) })
	for _, path := range []string{"/v2/models/m/stats", "/v2/repository/models/m/load", "/v2/models/m/generate"} {
		resp, body := w.Post(t, path, `{}`, func(r *http.Request) {
			if strings.HasSuffix(path, "stats") {
				r.Method, r.Body, r.ContentLength = "GET", nil, 0
			}
		})
		if resp.StatusCode != 403 || len(*seen) > 0 {
			t.Errorf("%s: %d %s, the server saw %q", path, resp.StatusCode, body, *seen)
		}
	}
}

// TestRecordsSayWhatWasAsked reads in the record of what was refused aside from inference
// which method and path was asked, and the true reason, however hostile the path.
func TestRecordsSayWhatWasAsked(t *testing.T) {
	w, _ := behind(t)
	for _, tt := range []struct {
		who, path     string
		status        int
		asked, reason string // in the record
	}{
		{"caller", "/v2/repository/models/m/load", 403, "/v2/repository/models/m/load", "denied by policy guardrail/role-separation"},
		{"caller", "/nowhere", 404, "/nowhere", "POST /nowhere is not a route of this gateway"},
		{"caller", "/v2/models/m/generate", 403, "/v2/models/m/generate", "which is never passed on"},
		{"caller", "/v2/models//m/infer", 400, "/v2/models//m/infer", "not in its plain form"},
		{"caller", "/v2/models/m%2finfer", 400, "/v2/models/m%2finfer", "not in its plain form"},
		{"caller", "/%1b%5b2J%22%00", 400, "/%1B%5B2J%22%00", "not in its plain form"},
		{"caller", "/" + strings.Repeat("a", 4000), 404, "/" + strings.Repeat("a", 255), "is not a route"},
	} {
		resp, body := w.Post(t, tt.path, `{}`, func(r *http.Request) {
			r.Header.Set("Authorization", "Bearer "+w.Mint(t, "app", tt.who))
		})
		if resp.StatusCode != tt.status {
			t.Errorf("%.60s: %d %s, want %d", tt.path, resp.StatusCode, body, tt.status)
			continue
		}
		r := w.Record(t, resp)
		var detail struct{ Method, Path string }
		if err := json.Unmarshal(r.Detail, &detail); err != nil || detail.Method != "POST" || !strings.EqualFold(detail.Path, tt.asked) {
			t.Errorf("%.60s: the record's detail is %s, %v", tt.path, r.Detail, err)
		}
		i := slices.IndexFunc(r.Verdicts, pavise.Verdict.Stops)
		if r.Outcome != pavise.Deny || i < 0 || !strings.Contains(r.Verdicts[i].Reason, tt.reason) || !strings.Contains(r.Error.Msg, tt.reason) {
			t.Errorf("%.60s: the record says %+v, %+v", tt.path, r.Verdicts, r.Error)
		}
	}
}
