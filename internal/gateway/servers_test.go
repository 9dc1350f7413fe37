package gateway

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/infer"
	"github.com/pavise/pavise/internal/route"
)

// A scorer is a model server that gives one row the scores it is told to, and counts
// questions and connections.
type scorer struct {
	*httptest.Server
	scores atomic.Pointer[string]
	status atomic.Int32
	asked  atomic.Int64
	opened atomic.Int64
	keys   sync.Map // what it was let in with
}

func newScorer(t testing.TB, scores string) *scorer {
	s := &scorer{}
	s.scores.Store(&scores)
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "GET" {
			io.WriteString(w, `{"name":"m","platform":"x","inputs":[{"name":"x","datatype":"FP32","shape":[-1,2]}],"outputs":[{"name":"s","datatype":"FP32","shape":[-1,2]}]}`)
			return
		}
		s.asked.Add(1)
		s.keys.Store(r.Header.Get("Authorization"), true)
		if n := s.status.Load(); n > 0 {
			w.WriteHeader(int(n))
			return
		}
		fmt.Fprintf(w, `{"model_name":"m","outputs":[{"name":"s","datatype":"FP32","shape":[1,2],"data":[%s]}]}`, *s.scores.Load())
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.opened.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// onServers puts a route to model servers, the first of them first.
func (w *world) onServers(t *testing.T, all []*scorer, edit func(*route.Spec)) {
	t.Helper()
	w.put(t, func(s *route.Spec) {
		s.ONNX, s.Upstream, s.Rate, s.Budget, s.ModelBudget = nil, all[0].URL, "10000000/1m", "10000000/1m", "10000000/1m"
		for _, more := range all[1:] {
			s.Replicas = append(s.Replicas, more.URL)
		}
		if edit != nil {
			edit(s)
		}
	})
}

// rewrite puts a change of the route that must be taken.
func (w *world) rewrite(t *testing.T, spec route.Spec) {
	t.Helper()
	spec.Name = theModel.String()
	if _, err := w.Routes.Put(t.Context(), operator, spec); err != nil {
		t.Error(err)
	}
}

// TestWeightsChangeUnderLoad changes weights, balance and terms while callers ask: none
// loses a call, no connection is made anew for it, and a server without a share is not
// asked.
func TestWeightsChangeUnderLoad(t *testing.T) {
	one, two := newScorer(t, "1,2"), newScorer(t, "1,2")
	w := newWorld(t, t.TempDir())
	w.onServers(t, []*scorer{one, two}, nil)
	const callers = 4
	var wg sync.WaitGroup
	done := make(chan bool)
	for range callers {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if resp, text := w.post(t, good, nil); resp.StatusCode != 200 {
					t.Errorf("%d %s", resp.StatusCode, text)
					return
				}
			}
		})
	}
	for i := range 40 {
		before := one.asked.Load() + two.asked.Load()
		w.rewrite(t, []route.Spec{
			{Weights: []string{one.URL + "=9"}}, {Balance: "least-request", Rate: fmt.Sprintf("%d/1m", 20_000_000+i)},
			{Weights: []string{one.URL + "=1", two.URL + "=7"}}, {Balance: "caller"}, {Balance: "round-robin"},
		}[i%5])
		for one.asked.Load()+two.asked.Load() < before+callers && !t.Failed() {
		}
	}
	w.rewrite(t, route.Spec{Weights: []string{one.URL + "=0"}})
	close(done)
	wg.Wait()
	if n := one.opened.Load(); n > 1+callers { // one described the model
		t.Errorf("%d connections for %d callers", n, callers)
	}
	before := one.asked.Load()
	for range 10 {
		w.post(t, good, nil)
	}
	if n := one.asked.Load() - before; n > 0 {
		t.Errorf("a server without a share was asked %d times", n)
	}
	if r := w.Routes.Standings()[0]; r.Weight == nil || *r.Weight != 0 || r.Replicas[0].Weight != 7 || r.Balance != "" {
		t.Errorf("%+v", r)
	}
}

// TestServersAreReleased brings other servers and a shadow behind a name: a put may not,
// a release does, a rollback takes them back with the shares that they had.
func TestServersAreReleased(t *testing.T) {
	one, two, three := newScorer(t, "1,2"), newScorer(t, "1,2"), newScorer(t, "1,2")
	w := newWorld(t, t.TempDir())
	w.onServers(t, []*scorer{one, two}, nil)
	name := theModel.String()
	for what, spec := range map[string]route.Spec{
		"another server": {Name: name, Replicas: []string{two.URL, three.URL}},
		"one less":       {Name: name, Replicas: []string{"none"}},
		"another one":    {Name: name, Replicas: []string{three.URL}},
		"first and last": {Name: name, Upstream: two.URL, Replicas: []string{one.URL}},
		"a shadow":       {Name: name, Shadow: three.URL},
	} {
		if _, err := w.Routes.Put(t.Context(), operator, spec); pavise.KindOf(err) != pavise.Conflict {
			t.Errorf("%s: %v", what, err)
		}
	}
	w.rewrite(t, route.Spec{Replicas: []string{two.URL}}) // it has them
	w.rewrite(t, route.Spec{Weights: []string{two.URL + "=5"}})

	spec := route.ReleaseSpec{Name: name, Replicas: []string{two.URL, three.URL}, Weights: []string{three.URL + "=1", one.URL + "=0", two.URL + "=0"}, Shadow: one.URL, ShadowName: "next"}
	plan, err := w.Routes.PlanRelease(t.Context(), spec)
	if err != nil || !strings.Contains(plan.Model, three.URL) || !strings.Contains(plan.Will.Heard(), "next at "+one.URL) {
		t.Fatalf("%+v, %v", plan, err)
	}
	if err := w.Routes.Release(t.Context(), changing(), spec, plan.Before, unmarked); err != nil {
		t.Fatal(err)
	}
	if resp, text := w.post(t, good, nil); resp.StatusCode != 200 || three.asked.Load() != 1 {
		t.Errorf("%d %s, asked %d times", resp.StatusCode, text, three.asked.Load())
	}
	if _, err := w.Routes.Put(t.Context(), operator, route.Spec{Name: name, Shadow: "none"}); pavise.KindOf(err) != pavise.Conflict {
		t.Errorf("a put takes the shadow away: %v", err)
	}
	if err := w.Routes.Rollback(t.Context(), changing(), theModel, w.leaving(t), unmarked); err != nil {
		t.Fatal(err)
	}
	w.close()
	w = newWorld(t, w.dir)
	got := w.Routes.Standings()[0].Route
	if want := []route.Replica{{URL: two.URL, Weight: 5}}; !slices.Equal(got.Replicas, want) || got.Weight != nil || got.Shadow != "" || got.ShadowRemote != "" {
		t.Errorf("rolled back to %+v", got)
	}
	if resp, _ := w.post(t, good, nil); resp.StatusCode != 200 || three.asked.Load() != 1 {
		t.Errorf("%d, and the server that was taken back was asked %d times", resp.StatusCode, three.asked.Load())
	}
}

// TestFailingServerIsLeftOut has one of three servers fail: no caller notices, and the
// list of routes says it.
func TestFailingServerIsLeftOut(t *testing.T) {
	all := []*scorer{newScorer(t, "1,2"), newScorer(t, "1,2"), newScorer(t, "1,2")}
	w := newWorld(t, t.TempDir())
	w.onServers(t, all, nil)
	all[1].CloseClientConnections()
	all[1].Close()
	for i := range 30 {
		if resp, text := w.post(t, good, nil); resp.StatusCode != 200 {
			t.Fatalf("call %d: %d %s", i, resp.StatusCode, text)
		}
	}
	list, err := w.Routes.List(t.Context(), operator, tenant)
	if err != nil || len(list[0].Servers) != 3 {
		t.Fatalf("%+v, %v", list, err)
	}
	for i, s := range list[0].Servers {
		if s.URL != all[i].URL || s.Weight != 1 || s.Out != (i == 1) || (s.Failures > 0) != (i == 1) || (s.Answers > 0) != (i != 1) {
			t.Errorf("server %d: %+v", i, s)
		}
	}
	resp, _ := w.post(t, good, nil)
	var trail Trail
	if err := json.Unmarshal(w.record(t, resp).Detail, &trail); err != nil || trail.Model != all[0].URL+" and 2 more" {
		t.Errorf("the record says that %q answered, %v", trail.Model, err)
	}
	totals := w.servers.Totals()
	if totals.Ejections != 1 || totals.Retries == 0 {
		t.Errorf("%+v", totals)
	}
	if err := w.Routes.Delete(t.Context(), operator, theModel); err != nil {
		t.Fatal(err)
	}
	if after := w.servers.Totals(); after != totals {
		t.Errorf("%+v of servers that are gone, were %+v", after, totals)
	}
}

// TestCallersStayOnTheirServer has one caller's calls meet on one of many servers, as soon
// as the route says so.
func TestCallersStayOnTheirServer(t *testing.T) {
	var all []*scorer
	for range 5 {
		all = append(all, newScorer(t, "1,2"))
	}
	w := newWorld(t, t.TempDir())
	w.onServers(t, all, nil)
	for _, c := range []struct {
		balance string
		servers int
	}{{"round-robin", 5}, {"caller", 1}, {"round-robin", 5}} {
		w.rewrite(t, route.Spec{Balance: c.balance})
		before := make([]int64, len(all))
		for i, s := range all {
			before[i] = s.asked.Load()
		}
		for range 20 {
			if resp, _ := w.post(t, good, nil); resp.StatusCode != 200 {
				t.Fatal(resp.StatusCode)
			}
		}
		asked := 0
		for i, s := range all {
			if s.asked.Load() > before[i] {
				asked++
			}
		}
		if asked != c.servers {
			t.Errorf("%s: %d servers were asked", c.balance, asked)
		}
	}
}

func TestServersRefused(t *testing.T) {
	one, two := newScorer(t, "1,2"), newScorer(t, "1,2")
	w := newWorld(t, t.TempDir())
	of := func(edit func(*route.Spec)) route.Spec {
		s := route.Spec{Name: theModel.String(), Upstream: one.URL, Replicas: []string{two.URL}}
		edit(&s)
		return s
	}
	refused := map[string]route.Spec{
		"twice":              of(func(s *route.Spec) { s.Replicas = []string{one.URL + "/"} }),
		"no address":         of(func(s *route.Spec) { s.Replicas = []string{"ftp://x"} }),
		"none among others":  of(func(s *route.Spec) { s.Replicas = []string{two.URL, "none"} }),
		"too many":           of(func(s *route.Spec) { s.Replicas = slices.Repeat([]string{two.URL}, 256) }),
		"empty":              of(func(s *route.Spec) { s.Replicas = []string{""} }),
		"external replica":   of(func(s *route.Spec) { s.Replicas = []string{infer.External} }),
		"balance":            of(func(s *route.Spec) { s.Balance = "hash" }),
		"weight of nobody":   of(func(s *route.Spec) { s.Weights = []string{"http://x=1"} }),
		"no weight":          of(func(s *route.Spec) { s.Weights = []string{two.URL} }),
		"a word":             of(func(s *route.Spec) { s.Weights = []string{two.URL + "=much"} }),
		"negative":           of(func(s *route.Spec) { s.Weights = []string{two.URL + "=-1"} }),
		"too heavy":          of(func(s *route.Spec) { s.Weights = []string{two.URL + "=10001"} }),
		"nobody is asked":    of(func(s *route.Spec) { s.Weights = []string{one.URL + "=0", two.URL + "=0"} }),
		"just a sign":        of(func(s *route.Spec) { s.Weights = []string{"="} }),
		"nothing":            of(func(s *route.Spec) { s.Weights = []string{""} }),
		"external shadow":    of(func(s *route.Spec) { s.Shadow = infer.External }),
		"shadow nowhere":     of(func(s *route.Spec) { s.Shadow = "localhost" }),
		"shadow without":     of(func(s *route.Spec) { s.ShadowName = "m" }),
		"shadow's name":      of(func(s *route.Spec) { s.Shadow, s.ShadowName = two.URL, ".." }),
		"beside a model":     {Name: theModel.String(), ONNX: softmaxModel(), Replicas: []string{two.URL}},
		"balance of a model": {Name: theModel.String(), ONNX: softmaxModel(), Balance: "least-request"},
		"beside a proxy":     {Name: theModel.String(), Upstream: infer.External, Replicas: []string{two.URL}, Signature: json.RawMessage(infer.SignatureExample)},
		"share of a proxy":   {Name: theModel.String(), Upstream: infer.External, Weights: []string{infer.External + "=2"}, Signature: json.RawMessage(infer.SignatureExample)},
		"language's shadow":  of(func(s *route.Spec) { s.Protocol, s.Shadow = "openai", two.URL }),
	}
	for name, spec := range refused {
		if _, err := w.Routes.Put(t.Context(), operator, spec); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.onServers(t, []*scorer{one, two}, nil)
	_, err := w.Routes.PlanRelease(t.Context(), route.ReleaseSpec{Name: theModel.String(), Upstream: "http://127.0.0.1:1"})
	if pavise.KindOf(err) != pavise.Invalid || !strings.Contains(err.Error(), "stay") {
		t.Errorf("another first server, and nothing said of the others: %v", err)
	}
	if _, err := w.Routes.PlanRelease(t.Context(), route.ReleaseSpec{Name: theModel.String(), Replicas: []string{"ftp://x"}}); pavise.KindOf(err) != pavise.Invalid {
		t.Errorf("a release of no address: %v", err)
	}
}

// TestAKeyGoesToItsServerAlone puts a language model on servers that do not have one key.
func TestAKeyGoesToItsServerAlone(t *testing.T) {
	one, two := newScorer(t, "1,2"), newScorer(t, "1,2")
	w := newWorld(t, t.TempDir())
	if _, err := w.servers.With(infer.Keys{one.URL: "secret"}); err != nil {
		t.Fatal(err)
	}
	spec := route.Spec{Name: theModel.String(), Upstream: one.URL, Replicas: []string{two.URL}, Protocol: "openai"}
	if _, err := w.Routes.Put(t.Context(), operator, spec); pavise.KindOf(err) != pavise.Invalid || strings.Contains(err.Error(), "secret") {
		t.Errorf("put: %v", err)
	}
	// A gateway has keys of its own, and adopts what was put elsewhere.
	elsewhere := newWorld(t, t.TempDir())
	if _, err := elsewhere.Routes.Put(t.Context(), operator, spec); err != nil {
		t.Fatal(err)
	}
	if err := w.Routes.Adopt(t.Context(), elsewhere.Routes.Standings(), 1, nil); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		x, err := w.BeginChat(t.Context(), somebody, asking(`{"model":"m","messages":[{"role":"user","content":"hi"}]}`))
		if err != nil {
			t.Fatal(err)
		}
		x.Answer(t.Context())
	}
	if n := one.asked.Load() * two.asked.Load(); n == 0 {
		t.Error("not both were asked")
	}
	for _, s := range []*scorer{one, two} {
		s.keys.Range(func(key, _ any) bool {
			if key != "" {
				t.Errorf("a server got %q", key)
			}
			return true
		})
	}
}

// TestAdoptedServersKeepTheirConnections lets a gateway follow shares that change at the
// control plane, and reads a route of a control plane that knows of none.
func TestAdoptedServersKeepTheirConnections(t *testing.T) {
	one, two := newScorer(t, "1,2"), newScorer(t, "1,2")
	from, to := newWorld(t, t.TempDir()), newWorld(t, t.TempDir())
	from.onServers(t, []*scorer{one, two}, nil)
	adopt := func() *route.Live {
		t.Helper()
		text, err := json.Marshal(from.Routes.Standings())
		var all []route.Standing
		if err == nil {
			err = json.Unmarshal(text, &all)
		}
		if err == nil {
			err = to.Routes.Adopt(t.Context(), all, 2, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
		l, err := to.Routes.Find(theModel)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	was := adopt()
	cluster := was.Predictor.(*infer.Upstream).Cluster()
	for range 4 {
		to.post(t, good, nil)
	}
	opened := one.opened.Load() + two.opened.Load()
	from.rewrite(t, route.Spec{Weights: []string{two.URL + "=0"}, Balance: "least-request"})
	now := adopt()
	if now == was || now.Predictor != was.Predictor || now.Predictor.(*infer.Upstream).Cluster() != cluster {
		t.Error("the route began anew")
	}
	before := two.asked.Load()
	for range 6 {
		if resp, text := to.post(t, good, nil); resp.StatusCode != 200 {
			t.Fatalf("%d %s", resp.StatusCode, text)
		}
	}
	if two.asked.Load() != before || one.opened.Load()+two.opened.Load() != opened {
		t.Errorf("a server without a share was asked %d times, with %d new connections", two.asked.Load()-before, one.opened.Load()+two.opened.Load()-opened)
	}

	// What an older control plane says has none of it.
	var older map[string]any
	text, _ := json.Marshal(from.Routes.Standings()[0])
	if err := json.Unmarshal(text, &older); err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{"weight", "replicas", "balance", "shadow", "shadow_remote"} {
		delete(older, field)
	}
	text, _ = json.Marshal(older)
	var s route.Standing
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	if err := to.Routes.Adopt(t.Context(), []route.Standing{s}, 2, nil); err != nil {
		t.Fatal(err)
	}
	if list, err := to.Routes.List(t.Context(), operator, tenant); err != nil || len(list[0].Servers) != 1 || list[0].Servers[0].Weight != 1 {
		t.Errorf("%+v, %v", list, err)
	}
	for name, edit := range map[string]func(*route.Standing){
		"balance":  func(s *route.Standing) { s.Balance = "x" },
		"nobody":   func(s *route.Standing) { s.Weight = new(0) },
		"twice":    func(s *route.Standing) { s.Replicas = []route.Replica{{URL: s.Upstream, Weight: 1}} },
		"shadow":   func(s *route.Standing) { s.Shadow = "x" },
		"a remote": func(s *route.Standing) { s.ShadowRemote = "x" },
	} {
		bad := s
		edit(&bad)
		if err := to.Routes.Adopt(t.Context(), []route.Standing{bad}, 2, nil); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestAsideIsForOneServer asks for something else than inference where nobody can say
// which of the servers is meant.
func TestAsideIsForOneServer(t *testing.T) {
	one, two := newScorer(t, "1,2"), newScorer(t, "1,2")
	w := newWorld(t, t.TempDir())
	w.onServers(t, []*scorer{one, two}, nil)
	hold := w.bodies.Begin(somebody.Name())
	defer hold.Free()
	call := AsideCall{Model: theModel.ID, Method: "POST", Protocols: []string{"oip"}, There: func(string, string) string { return "/v2/repository" }, Body: strings.NewReader("{}")}
	if _, err := w.aside(t.Context(), somebody, call, hold, &asideTrail{}); pavise.KindOf(err) != pavise.NotFound || !strings.Contains(err.Error(), "2 servers") {
		t.Errorf("%v", err)
	}
	if n := one.asked.Load() + two.asked.Load(); n > 0 {
		t.Errorf("they were asked %d times", n)
	}
}

// TestPutWarns puts a route to a server that is not there, and one that shows that the
// name is wrong: both are put, with a warning that the record has too.
func TestPutWarns(t *testing.T) {
	w := newWorld(t, t.TempDir())
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		fmt.Fprint(rw, `{"data":[{"id":"llama"}]}`)
	}))
	defer server.Close()
	for _, tt := range []struct{ id, url, want string }{
		{"llama", server.URL, ""}, {"lama", server.URL, `no model "lama"`}, {"away", "http://127.0.0.1:1", "does not answer"},
	} {
		spec := route.Spec{Name: "local/model/" + tt.id, Upstream: tt.url, Protocol: "openai"}
		placed, err := w.Routes.Put(t.Context(), operator, spec)
		if err != nil || (placed.Warning == "") != (tt.want == "") || !strings.Contains(placed.Warning, tt.want) {
			t.Errorf("%s: %v, warned %q, want %q", tt.id, err, placed.Warning, tt.want)
		}
		if again, err := w.Routes.Put(t.Context(), operator, route.Spec{Name: spec.Name, Rate: "7/1m"}); err != nil || again.Warning != "" {
			t.Errorf("%s, of which only the rate changes: %v, %q", tt.id, err, again.Warning)
		}
	}
}

// TestReleaseWarns releases a server that has no such model, and one that is not there.
// The plan, which is what others approve, says so, and so does the record of the release.
func TestReleaseWarns(t *testing.T) {
	w := newWorld(t, t.TempDir())
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		fmt.Fprint(rw, `{"data":[{"id":"llama"},{"id":"other"}]}`)
	}))
	defer server.Close()
	const name = "local/model/llama"
	if _, err := w.Routes.Put(t.Context(), operator, route.Spec{Name: name, Upstream: server.URL, Protocol: "openai"}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		spec route.ReleaseSpec
		want string
	}{
		{route.ReleaseSpec{Name: name, Upstream: server.URL, Remote: "lama"}, `no model "lama"`},
		{route.ReleaseSpec{Name: name, Upstream: "http://127.0.0.1:1"}, "does not answer"},
		{route.ReleaseSpec{Name: name, Upstream: server.URL, Remote: "other"}, ""},
	} {
		plan, err := w.Routes.PlanRelease(t.Context(), tt.spec)
		if err != nil || (plan.Warning == "") != (tt.want == "") || !strings.Contains(plan.Warning, tt.want) {
			t.Errorf("%+v: %v, warned %q, want %q", tt.spec, err, plan.Warning, tt.want)
		}
		if err := w.Routes.Release(t.Context(), changing(), tt.spec, plan.Before, unmarked); err != nil {
			t.Fatal(err)
		}
		if r, ok := w.log.Last(); !ok || tt.want != "" && !strings.Contains(string(r.Detail), `"warning":`) {
			t.Errorf("recorded as %s %s", r.Kind, r.Detail)
		}
	}
}
