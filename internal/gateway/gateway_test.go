package gateway

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/firewall"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/identity"
	"github.com/pavise/pavise/internal/infer"
	"github.com/pavise/pavise/internal/issuer"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/onnx"
	"github.com/pavise/pavise/internal/parts"
	"github.com/pavise/pavise/internal/policy"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/route"
	"github.com/pavise/pavise/internal/seal"
	"github.com/pavise/pavise/internal/store"
	"github.com/pavise/pavise/internal/subject"
	"github.com/pavise/pavise/internal/tensor"
)

const tenant = "local"

var (
	operator = pavise.Principal{Tenant: tenant, Kind: pavise.Human, ID: "op", Roles: []string{"operator"}, Issuer: issuer.LocalURL("test")}
	theModel = pavise.Name{Tenant: tenant, Kind: "model", ID: "m"}

	// approved is the one change that the world's guard takes for approved.
	approved = pavise.Name{Tenant: tenant, Kind: "change", ID: "c-1"}
)

// changing is the operator as whom an approved change acts.
func changing() pavise.Principal {
	who := operator
	who.Change = approved
	return who
}

// unmarked is a mark for changes that no test looks for.
func unmarked(*store.Tx) error { return nil }

// A world is a whole data plane on a temporary directory.
type world struct {
	*Gateway
	dir    string
	log    *ledger.Log
	db     *store.DB
	guard  *guard.Guard
	issuer *issuer.Local
	token  string                             // a caller's
	takes  func(*record.Record) time.Duration // what it takes to write a record; nil: no time
}

// An unhurried log takes its time for a record, if the test says so.
type unhurried struct {
	*ledger.Log
	w *world
}

func (u unhurried) Append(ctx context.Context, r *record.Record, d ledger.Durability) (ledger.Receipt, error) {
	if u.w.takes != nil {
		time.Sleep(u.w.takes(r))
	}
	return u.Log.Append(ctx, r, d)
}

// current is the route to a model as it is now, or nil.
func (w *world) current(model string) *route.Route {
	name, err := pavise.ParseName(model)
	if r, ok := w.Routes.Get(name); ok && err == nil {
		return &r
	}
	return nil
}

// newWorld opens a world, or the same one again if dir was used before.
func newWorld(t *testing.T, dir string) *world {
	t.Helper()
	w, err := openWorld(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// openWorld is newWorld for tests that the gateway may refuse to open in. All
// else is open then.
func openWorld(t *testing.T, dir string) (*world, error) {
	t.Helper()
	w := &world{dir: dir}
	t.Cleanup(w.close)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	kek, err := seal.OpenFileKEK(filepath.Join(dir, "kek"))
	must(err)
	key := ed25519.NewKeyFromSeed([]byte("gateway test log key, 32 bytes.."))
	w.log, err = ledger.Open(ledger.Options{Dir: filepath.Join(dir, "ledger"), Origin: "test/gateway", Key: key, Tenant: tenant, SegmentSize: 1}) // a segment ends with each whole bundle
	must(err)
	w.db, err = store.Open(t.Context(), filepath.Join(dir, "db"))
	must(err)
	w.guard, err = guard.New(guard.Config{
		Actions: actions(), Log: unhurried{w.log, w}, DemoIssuer: issuer.LocalURL("test"),
		Approved: func(change pavise.Name, _ string, _ pavise.Name) bool { return change == approved },
		Facts: func(name pavise.Name) policy.Facts {
			return policy.Facts{Quarantined: w.Gateway != nil && w.Routes.Quarantined(name)}
		},
	})
	must(err)
	policies, err := guard.OpenPolicies(t.Context(), w.guard, w.db)
	must(err)
	if w.log.Size() == 0 {
		if err := policies.Seed(t.Context(), tenant, guard.Defaults()); pavise.KindOf(err) != pavise.Conflict {
			must(err)
		}
	}
	w.issuer, err = issuer.New(issuer.Config{Guard: w.guard, Seed: bytes.Repeat([]byte{7}, 32), Install: "test", Tenant: tenant, Now: time.Now})
	must(err)
	verifier, err := identity.NewVerifier(time.Now, w.issuer.Record())
	must(err)
	subjects, err := subject.Open(t.Context(), w.db, kek, time.Now)
	must(err)
	w.Gateway, err = New(t.Context(), Config{Guard: w.guard, Verifier: verifier, Store: w.db, Log: w.log, Subjects: subjects, KEK: kek})
	if err != nil {
		return w, err
	}
	token, err := w.issuer.Bootstrap(issuer.MintRequest{Subject: "app", Roles: []string{issuer.RoleCaller}})
	must(err)
	w.token = token.Value
	return w, nil
}

// open opens the sealed part of a record.
func (w *world) open(t *testing.T, r record.Record) ([]byte, error) {
	t.Helper()
	key, err := w.subjects.Key(t.Context(), tenant, r.Subject)
	if err != nil {
		return nil, err
	}
	return parts.Unseal(key, &r, w.log.Read)
}

func (w *world) close() {
	if w.log != nil {
		w.log.Close()
	}
	if w.db != nil {
		w.db.Close()
	}
}

func actions() []guard.Action {
	var list []guard.Action
	for verb, on := range map[string]string{
		"route.put": "route", "route.delete": "route", "issuer.mint": "issuer", "console.link": "console",
	} {
		list = append(list, guard.Action{Verb: verb, On: []string{on}})
	}
	for _, verb := range []string{"route.release", "route.rollback", "route.quarantine"} {
		list = append(list, guard.Action{Verb: verb, On: []string{"route"}, Safe: verb != "route.release", Consequential: true})
	}
	for verb, on := range map[string]string{
		"route.list": "route", "model.infer": "model", "model.describe": "model", "ledger.read": "ledger", "watermark.export": "model",
	} {
		list = append(list, guard.Action{Verb: verb, On: []string{on}, Class: guard.Pooled})
	}
	return list
}

// softmaxModel takes two numbers and gives three scores.
func softmaxModel() []byte {
	w := onnx.NewWriter("softmax")
	weights := w.Floats("w", []int{2, 3}, []float32{1, 0, -1, 0, 2, 0})
	w.Node("Softmax", "scores", []string{w.Node("MatMul", "z", []string{w.Input("x", 2), weights})})
	w.Output("scores", 3)
	return w.Bytes()
}

func (w *world) put(t *testing.T, edit func(*route.Spec)) {
	t.Helper()
	spec := route.Spec{Name: theModel.String(), ONNX: softmaxModel()}
	if edit != nil {
		edit(&spec)
	}
	if _, err := w.Routes.Put(t.Context(), operator, spec); err != nil {
		t.Fatal(err)
	}
}

const good = `{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[0.5,0.25]}]}`

// ask is a call of the model with a body.
func ask(body io.Reader) Call {
	return Call{Model: theModel, Protocol: tensor.OIP, Header: tensor.NoHeader, Body: body}
}

// recordHeader is where a reply of post names its record.
const recordHeader = "Record"

// post asks the model as a caller over HTTP would, edit included, and answers with the
// status that the kind of error has.
func (w *world) post(t *testing.T, body string, edit func(*http.Request)) (*http.Response, string) {
	t.Helper()
	req := httptest.NewRequest("POST", "/", nil)
	req.Header.Set("Authorization", "Bearer "+w.token)
	if edit != nil {
		edit(req)
	}
	who, err := w.Admit(t.Context(), identity.FromRequest(req), "192.0.2.1")
	var answer *Answer
	if err == nil {
		answer, err = w.Infer(t.Context(), who, ask(strings.NewReader(body)))
	}
	resp := &http.Response{StatusCode: 200, Header: http.Header{}}
	if err == nil {
		resp.Header.Set(recordHeader, strconv.FormatUint(answer.Record(), 10))
		return resp, string(answer.Body)
	}
	resp.StatusCode = pavise.KindOf(err).HTTPStatus()
	if r, ok := errors.AsType[*Refusal](err); ok {
		index, _ := r.Record()
		resp.Header.Set(recordHeader, strconv.FormatUint(index, 10))
		if resp.StatusCode == 429 {
			resp.Header.Set("Retry-After", r.Retry.String())
		}
	}
	msg, _ := Message(err)
	return resp, msg
}

// record is what the response's header names.
func (w *world) record(t *testing.T, resp *http.Response) record.Record {
	t.Helper()
	index, err := strconv.ParseUint(resp.Header.Get(recordHeader), 10, 64)
	if err != nil {
		t.Fatalf("the response names no record: %v", resp.Header)
	}
	r, err := w.log.Read(index)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAnswerHasItsRecord(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.put(t, nil)
	resp, body := w.post(t, good, nil)
	if want := `{"model_name":"m","outputs":[{"name":"scores","shape":[1,3],"datatype":"FP32","data":[0.4223,0.4223,0.1554]}]}`; resp.StatusCode != 200 || body != want {
		t.Fatalf("status %d, body %s", resp.StatusCode, body)
	}
	r := w.record(t, resp)
	var trail Trail
	if err := json.Unmarshal(r.Detail, &trail); err != nil {
		t.Fatal(err)
	}
	if r.Kind != "model.infer" || r.On != theModel || r.Who.ID != "app" || r.Outcome != pavise.Allow || r.Policy.Digest == "" ||
		trail.Rows != 1 || trail.Charged != 1 || trail.Shape != "rounded to 4 digits" || len(trail.Answer) != 1 {
		t.Errorf("record %+v, trail %+v", r, trail)
	}
	plain, err := w.open(t, r)
	if err != nil {
		t.Fatal(err)
	}
	var k kept
	if err := json.Unmarshal(plain, &k); err != nil {
		t.Fatal(err)
	}
	x := Exchange{kept: k}
	if got := x.commit([]byte(body)); got != trail.Output {
		t.Errorf("the commitment to the answer does not open: %s, want %s", got, trail.Output)
	}
	if bytes.Contains(r.Detail, []byte("0.42")) || bytes.Contains(r.Detail, []byte("0.25")) {
		t.Errorf("the record tells what was said: %s", r.Detail)
	}
}

// TestEndlessBody sends a body that never ends; it must be cut off at the limit.
func TestEndlessBody(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.put(t, nil)
	read := &endless{}
	who := pavise.Principal{Tenant: tenant, Kind: pavise.Workload, ID: "app", Issuer: issuer.LocalURL("test"), Roles: []string{"caller"}}
	_, err := w.Infer(t.Context(), who, ask(read))
	if pavise.KindOf(err) != pavise.Invalid {
		t.Errorf("endless body: %v", err)
	}
	if limit := tensor.DefaultLimits().MaxBody; read.n > limit+1<<20 {
		t.Errorf("%d bytes were read of a body limited to %d", read.n, limit)
	}
}

// endless is a JSON text of spaces.
type endless struct{ n int }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	e.n += len(p)
	return len(p), nil
}

func TestBudgetHolds(t *testing.T) {
	dir := t.TempDir()
	w := newWorld(t, dir)
	w.put(t, func(s *route.Spec) { s.Rate, s.Budget = "100000/1m", "5/24h" })
	var wg sync.WaitGroup
	var mu sync.Mutex
	counts := map[int]int{}
	for range 20 {
		wg.Go(func() {
			resp, _ := w.post(t, good, nil)
			mu.Lock()
			defer mu.Unlock()
			counts[resp.StatusCode]++
			if resp.StatusCode == 429 && resp.Header.Get("Retry-After") == "" {
				t.Error("429 without Retry-After")
			}
		})
	}
	wg.Wait()
	if counts[200] != 5 || counts[429] != 15 {
		t.Errorf("answers %v, want 5 of 200 and 15 of 429", counts)
	}
	// A killed gateway forgives nobody: no snapshot was taken, the records count.
	w.close()
	again := newWorld(t, dir)
	if resp, body := again.post(t, good, nil); resp.StatusCode != 429 {
		t.Errorf("after a restart: %d %s", resp.StatusCode, body)
	}
}

func TestBatchIsChargedByTheRow(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.put(t, func(s *route.Spec) { s.Rate, s.Budget = "100000/1m", "3/24h" })
	four := `{"inputs":[{"name":"x","shape":[4,2],"datatype":"FP32","data":[1,2,3,4,5,6,7,8]}]}`
	if resp, _ := w.post(t, four, nil); resp.StatusCode != 429 {
		t.Errorf("four rows on a budget of three: %d", resp.StatusCode)
	}
	if resp, _ := w.post(t, good, nil); resp.StatusCode != 200 {
		t.Errorf("a refused batch was charged: %d", resp.StatusCode)
	}
}

func TestObserveLetsPassAndSaysSo(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.put(t, func(s *route.Spec) { s.Observe, s.Budget, s.Rate = new(true), "1/24h", "100000/1m" })
	stranger, err := w.issuer.Bootstrap(issuer.MintRequest{Subject: "norole"})
	if err != nil {
		t.Fatal(err)
	}
	resp, body := w.post(t, good, func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+stranger.Value) })
	if resp.StatusCode != 200 {
		t.Fatalf("observed: %d %s", resp.StatusCode, body)
	}
	if r := w.record(t, resp); r.Policy == nil || !r.Policy.Observed {
		t.Errorf("record %+v does not say that it would have been denied", r)
	}
	w.post(t, good, nil)
	resp, _ = w.post(t, good, nil)
	found := false
	for _, v := range w.record(t, resp).Verdicts {
		found = found || v.Check == "budget" && v.Observed && v.Outcome == pavise.Deny
	}
	if resp.StatusCode != 200 || !found {
		t.Errorf("over budget while observing: %d, record %+v", resp.StatusCode, w.record(t, resp))
	}
}

func TestShapes(t *testing.T) {
	w := newWorld(t, t.TempDir())
	for _, tt := range []struct {
		shape     string
		alterable bool
		purpose   string
		want      pavise.Kind
		ok        bool
	}{
		{"label", false, "", pavise.Denied, false},
		{"topk:1", true, "security", pavise.Denied, false},
		{"round:2", false, "security", 0, true},
		{"label", true, "marketing", 0, true},
		{"sideways", false, "", pavise.Invalid, false},
		{"round:99", false, "", pavise.Invalid, false},
	} {
		_, err := w.Routes.Put(t.Context(), operator, route.Spec{Name: theModel.String(), ONNX: softmaxModel(), Shape: tt.shape, Alterable: &tt.alterable, Purpose: tt.purpose})
		if (err == nil) != tt.ok || err != nil && pavise.KindOf(err) != tt.want {
			t.Errorf("%s alterable %v purpose %q: %v", tt.shape, tt.alterable, tt.purpose, err)
		}
	}
	resp, body := w.post(t, good, nil) // the last good one: label
	if resp.StatusCode != 200 || !strings.Contains(body, `"data":[1,0,0]`) && !strings.Contains(body, `"data":[0,1,0]`) {
		t.Fatalf("label: %d %s", resp.StatusCode, body)
	}
	r := w.record(t, resp)
	var trail Trail
	json.Unmarshal(r.Detail, &trail)
	plain, err := w.open(t, r)
	if r.Outcome != pavise.Alter || !trail.Altered || err != nil || !bytes.Contains(plain, []byte("truth")) {
		t.Errorf("altered answer: outcome %s, trail %+v, kept %s, %v", r.Outcome, trail, plain, err)
	}
}

// TestUpstreamThatLies stands for a broken or hostile model server.
func TestUpstreamThatLies(t *testing.T) {
	var answer atomic.Pointer[func(http.ResponseWriter)]
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "GET" {
			fmt.Fprint(w, `{"name":"m","platform":"x","inputs":[{"name":"x","datatype":"FP32","shape":[-1,2]}],"outputs":[{"name":"s","datatype":"FP32","shape":[-1,2]}]}`)
			return
		}
		(*answer.Load())(w)
	}))
	defer upstream.Close()
	w := newWorld(t, t.TempDir())
	w.put(t, func(s *route.Spec) { s.ONNX, s.Upstream = nil, upstream.URL })
	say := func(text string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) { io.WriteString(w, text) }
	}
	tests := map[string]func(http.ResponseWriter){
		"undeclared output": say(`{"model_name":"m","outputs":[{"name":"s","datatype":"FP32","shape":[1,2],"data":[1,2]},{"name":"secret","datatype":"FP32","shape":[1],"data":[1]}]}`),
		"scores as text":    say(`{"model_name":"m","outputs":[{"name":"s","datatype":"BYTES","shape":[1,2],"data":["0.1:0","0.9:1"]}]}`),
		"other rows":        say(`{"model_name":"m","outputs":[{"name":"s","datatype":"FP32","shape":[2,2],"data":[1,2,3,4]}]}`),
		"html":              say(`<html>it works</html>`),
		"panic":             func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
	}
	for name, lie := range tests {
		answer.Store(&lie)
		resp, body := w.post(t, good, nil)
		if resp.StatusCode != 503 || strings.Contains(body, "secret") || strings.Contains(body, "html") {
			t.Errorf("%s: %d %s", name, resp.StatusCode, body)
		}
		r := w.record(t, resp)
		if r.Error == nil {
			t.Errorf("%s: the record says all went well", name)
		}
		if name == "html" && !strings.Contains(fmt.Sprint(r.Verdicts), "the model server's answer: ") {
			t.Errorf("the record does not say what was answered: %v", r.Verdicts)
		}
	}
	truth := say(`{"model_name":"evil-name","id":null,"outputs":[{"name":"s","datatype":"FP32","shape":[1,2],"data":[0.123456,0.9]}]}`)
	answer.Store(&truth)
	if resp, body := w.post(t, good, nil); resp.StatusCode != 200 || strings.Contains(body, "evil") || !strings.Contains(body, "0.1235") {
		t.Errorf("good answer: %d %s", resp.StatusCode, body)
	}
}

func TestRoutesSurviveRestart(t *testing.T) {
	dir := t.TempDir()
	w := newWorld(t, dir)
	w.put(t, func(s *route.Spec) { s.Shape = "round:1" })
	w.close()
	again := newWorld(t, dir)
	if resp, body := again.post(t, good, nil); resp.StatusCode != 200 || !strings.Contains(body, "0.4,0.4") {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	if err := again.Routes.Delete(t.Context(), operator, theModel); err != nil {
		t.Fatal(err)
	}
	if resp, _ := again.post(t, good, nil); resp.StatusCode != 404 {
		t.Errorf("deleted route answers %d", resp.StatusCode)
	}
	if err := again.Routes.Delete(t.Context(), operator, theModel); pavise.KindOf(err) != pavise.NotFound {
		t.Errorf("deleted twice: %v", err)
	}
}

func TestCallerCannotChangeRoutes(t *testing.T) {
	w := newWorld(t, t.TempDir())
	caller := pavise.Principal{Tenant: tenant, Kind: pavise.Workload, ID: "app", Roles: []string{"caller"}, Issuer: issuer.LocalURL("test")}
	_, err := w.Routes.Put(t.Context(), caller, route.Spec{Name: theModel.String(), ONNX: softmaxModel()})
	if pavise.KindOf(err) != pavise.Denied {
		t.Errorf("a caller put a route: %v", err)
	}
	if _, ok := errors.AsType[*guard.Denial](err); !ok {
		t.Errorf("the denial names no record: %v", err)
	}
}

func TestStoredModelIsChecked(t *testing.T) {
	dir := t.TempDir()
	w := newWorld(t, dir)
	w.put(t, nil)
	err := w.db.Update(t.Context(), func(tx *store.Tx) error {
		other := onnx.NewWriter("other")
		other.Node("Relu", "scores", []string{other.Input("x", 2)})
		other.Output("scores", 2)
		_, err := tx.Exec(`UPDATE gateway_models SET onnx = ?`, other.Bytes())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = route.Open(context.Background(), w.guard, w.db, firewall.NewMeter(10), infer.NewServers(), nil, nil)
	if pavise.KindOf(err) != pavise.Unverified {
		t.Errorf("a model swapped in the store: %v", err)
	}
}
