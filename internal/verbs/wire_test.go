package verbs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/route"
)

// TestHostileBodies sends bodies that no client of ours makes.
func TestHostileBodies(t *testing.T) {
	w := newWorld(t)
	operator := w.client(t, "operator")
	before := w.Guard.Digest("local")
	tests := []struct{ name, verb, body, want string }{
		{"unknown key", "ledger.list", `{"limit":5,"colour":"red"}`, "body.colour: unexpected property"},
		{"unknown key in an empty request", "clock.accept", `{"now":"2020-01-01"}`, "body.now: unexpected property"},
		{"text for a number", "ledger.list", `{"limit":"5"}`, "body.limit: expected integer"},
		{"number for text", "policy.put", `{"id":"a","text":7}`, "body.text: expected string"},
		{"fraction", "ledger.read", `{"index":1.5}`, "body.index"},
		{"negative index", "ledger.read", `{"index":-1}`, "body.index"},
		{"index that wraps", "ledger.read", `{"index":18446744073709551616}`, "index"},
		{"too many", "ledger.list", `{"limit":1001}`, "body.limit: expected number <= 1000"},
		{"missing key", "policy.put", `{"id":"a"}`, "expected required property text"},
		{"null", "ledger.list", `null`, "body"},
		{"list", "ledger.list", `[]`, "body: expected object"},
		{"nothing", "ledger.list", ``, "body is required"},
		{"two values", "ledger.list", `{} {}`, "after top-level value"},
		{"broken", "ledger.list", `{"limit":`, "unexpected end"},
		{"same key twice", "policy.put", `{"id":"a","text":"x","text":"y"}`, `key "text" appears twice`},
		{"same key in two cases", "policy.put", `{"id":"a","text":"x","TEXT":"y"}`, `key "TEXT" appears twice`},
		{"same key but for a long s", "route.delete", `{"name":"local/model/a","ſ":1,"s":2}`, "twice"},
		{"same key twice, deep", "route.put", `{"name":"local/model/m","signature":{"inputs":[{"name":"a","name":"b"}],"outputs":[]}}`, `key "name" appears twice`},
		{"a name that is none", "route.delete", `{"name":"../../etc"}`, "tenant"},
		{"deep", "ledger.list", strings.Repeat("[", 1<<19), "max depth"},
		{"deep objects", "ledger.list", strings.Repeat(`{"a":`, 1<<17), "max depth"},
		{"too long", "policy.put", `{"id":"a","text":"` + strings.Repeat("x", 1<<20) + `"}`, "too large"},
	}
	for _, test := range tests {
		resp, p := post(t, operator, test.verb, test.body)
		if resp.StatusCode/100 != 4 || p.Title != "invalid" || !strings.Contains(p.Detail, test.want) || p.Hint == "" {
			t.Errorf("%s: %d %.300q %q, want %q", test.name, resp.StatusCode, p.Detail, p.Hint, test.want)
		}
		if len(p.Detail) > 1000 {
			t.Errorf("%s: the body comes back: %d bytes", test.name, len(p.Detail))
		}
	}
	if w.Guard.Digest("local") != before {
		t.Error("a refused body changed the policies")
	}
	if err := operator.Call(t.Context(), "ledger.status", api.Empty{}, nil); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// TestLargeModel is one that would not fit another verb's limit: put, and then released, which takes
// somebody else's approval.
func TestLargeModel(t *testing.T) {
	w := newWorld(t)
	model := networkOf(1024, 1024)
	if len(model) < 4<<20 {
		t.Fatalf("the model has %d bytes only", len(model))
	}
	request := route.Spec{Name: "local/model/large", ONNX: model}
	if err := w.client(t, "operator").Call(t.Context(), "route.put", request, nil); err != nil {
		t.Fatal(err)
	}
	other := append(bytes.Clone(model), 6<<3|2, 5, 'o', 't', 'h', 'e', 'r')
	w.done(t, "route.release", ReleaseRequest{ReleaseSpec: route.ReleaseSpec{Name: request.Name, ONNX: other}})
	resp, p := post(t, w.client(t, "operator"), "route.put", `{"name":"local/model/a","upstream":"`+strings.Repeat("x", maxModel)+`"}`)
	if resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("%d bytes: %d %.200q", maxModel, resp.StatusCode, p.Detail)
	}
}

// TestLongBodyOfNobody sends a model as somebody who may not put one. No more of
// it is read than of another verb's body.
func TestLongBodyOfNobody(t *testing.T) {
	w := newWorld(t)
	analyst := w.client(t, "analyst")
	model, err := json.Marshal(route.Spec{Name: "local/model/large", ONNX: networkOf(1024, 1024)})
	if err != nil {
		t.Fatal(err)
	}
	for name, length := range map[string]int64{"of a known length": int64(len(model)), "chunked": -1} {
		body := &counted{r: bytes.NewReader(model)}
		req := httptest.NewRequest("POST", "/v1/route.put", body)
		req.ContentLength = length
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+analyst.Token)
		got := httptest.NewRecorder()
		w.server.Config.Handler.ServeHTTP(got, req)
		if got.Code != http.StatusRequestEntityTooLarge || !strings.Contains(got.Body.String(), "policy explain route.put") {
			t.Errorf("%s: %d %s", name, got.Code, got.Body)
		}
		if body.n > 1<<20+1<<16 {
			t.Errorf("%s: %d bytes were read", name, body.n)
		}
	}
	resp, p := post(t, analyst, "route.put", `{"name":"local/model/small","upstream":"http://127.0.0.1:1"}`)
	if resp.StatusCode != 403 || p.Record == nil {
		t.Errorf("a short one: %d %+v", resp.StatusCode, p)
	}
	w.done(t, "policy.put", PolicyPut{ID: "p", Text: strings.ReplaceAll(permit, "route.list", "route.put")})
	if err := analyst.Call(t.Context(), "route.put", json.RawMessage(model), nil); err != nil {
		t.Errorf("once a policy permits it: %v", err)
	}
}

// counted counts what is read.
type counted struct {
	r io.Reader
	n int
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += n
	return n, err
}

// TestComeBack says when to, where the refusal passes.
func TestComeBack(t *testing.T) {
	w := newWorld(t)
	operator := w.client(t, "operator")
	w.Log.Close()
	if resp, p := post(t, operator, "ledger.status", "{}"); resp.StatusCode != 503 || resp.Header.Get("Retry-After") != "1" {
		t.Errorf("a closed log: %d %+v %v", resp.StatusCode, p, resp.Header)
	}
	if resp, _ := post(t, operator, "no.such", "{}"); resp.Header.Get("Retry-After") != "" {
		t.Errorf("no verb, and come back: %v", resp.Header)
	}
}

func TestWhatIsNoVerb(t *testing.T) {
	w := newWorld(t)
	operator := w.client(t, "operator")
	tests := []struct {
		method, path string
		status       int
		hint         string
	}{
		{"POST", "/v1/no.such", 404, "openapi.json"},
		{"POST", "/v1/", 404, "openapi.json"},
		{"POST", "/v1/model.infer", 404, "openapi.json"},
		{"POST", "/v1/ledger.list/", 404, "openapi.json"},
		{"GET", "/v1/ledger.list", 405, "POST /v1/ledger.list"},
		{"DELETE", "/v1/route.delete", 405, "POST /v1/route.delete"},
		{"POST", "/v1/ledger.follow", 405, "GET /v1/ledger.follow"},
	}
	for _, test := range tests {
		req, err := http.NewRequest(test.method, w.server.URL+test.path, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+operator.Token)
		resp, p := send(t, req)
		if resp.StatusCode != test.status || !strings.Contains(p.Hint, test.hint) || resp.StatusCode == 405 && resp.Header.Get("Allow") == "" {
			t.Errorf("%s %s: %d %+v", test.method, test.path, resp.StatusCode, p)
		}
	}
}

// TestStrangers are told the class of what is wrong, and are counted.
func TestStrangers(t *testing.T) {
	w := newWorld(t)
	operator := w.client(t, "operator")
	size := w.Log.Size()
	for name, test := range map[string]struct{ token, challenge string }{
		"no token":  {"", `Bearer realm="pavise"`},
		"rubbish":   {"x.y", "malformed"},
		"alg none":  {"eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.", ""},
		"signature": {operator.Token[:len(operator.Token)-8] + "AAAAAAAA", "signature"},
	} {
		resp, p := post(t, &api.Client{Base: w.server.URL, Token: test.token}, "ledger.status", "{}")
		if resp.StatusCode != 401 || p.Title != "unverified" || p.Hint == "" || !strings.Contains(resp.Header.Get("WWW-Authenticate"), test.challenge) {
			t.Errorf("%s: %d %+v, %q", name, resp.StatusCode, p, resp.Header.Get("WWW-Authenticate"))
		}
	}
	var last *http.Response
	for range 30 {
		last, _ = post(t, &api.Client{Base: w.server.URL}, "ledger.status", "{}")
	}
	if last.StatusCode != 429 || last.Header.Get("Retry-After") != "1" {
		t.Errorf("after many: %d %v", last.StatusCode, last.Header)
	}
	if w.Log.Size() != size {
		t.Errorf("strangers left %d records before the second was over", w.Log.Size()-size)
	}
	if err := operator.Call(t.Context(), "ledger.status", api.Empty{}, nil); err != nil {
		t.Errorf("who has a token is refused for what strangers do: %v", err)
	}
}

// TestOpenAPI holds the description to the table.
func TestOpenAPI(t *testing.T) {
	w := newWorld(t)
	resp, err := http.Get(w.server.URL + "/v1/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	type content map[string]struct{ Schema map[string]any }
	var doc struct {
		OpenAPI string
		Paths   map[string]map[string]struct {
			OperationID, Summary, Description string
			Security                          []map[string][]string
			RequestBody                       struct{ Content content }
			Responses                         map[string]struct{ Content content }
		}
		Components struct {
			Schemas         map[string]any
			SecuritySchemes map[string]any
		}
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.1") || doc.Components.SecuritySchemes["bearer"] == nil {
		t.Errorf("version %s, schemes %v", doc.OpenAPI, doc.Components.SecuritySchemes)
	}
	for _, v := range Table() {
		if v.Method() == "" {
			continue
		}
		method, media := "post", "application/json"
		if v.Method() == http.MethodGet {
			method, media = "get", "application/x-ndjson"
		}
		op, ok := doc.Paths["/v1/"+v.Name][method]
		if !ok || op.OperationID != v.Name || op.Summary != v.Help || op.Description != v.About || len(op.Security) != 1 || op.Security[0]["bearer"] == nil {
			t.Errorf("%s: %+v", v.Name, op)
		}
		if method == "post" && op.RequestBody.Content[media].Schema == nil || op.Responses["200"].Content[media].Schema == nil {
			t.Errorf("%s: no schema of its request or answer: %+v", v.Name, op)
		}
		if got := fmt.Sprint(op.Responses["default"].Content["application/problem+json"].Schema); !strings.Contains(got, "schemas/Problem") {
			t.Errorf("%s: refusals are described as %s", v.Name, got)
		}
	}
	for name := range doc.Components.Schemas {
		if strings.Contains(string(text), `"#/components/schemas/`+name+`"`) || name == "ErrorModel" || name == "ErrorDetail" {
			continue
		}
		t.Errorf("schema %s is used by nothing", name)
	}
}
