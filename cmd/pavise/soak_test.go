package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"

	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/issuer"
	"github.com/pavise/pavise/internal/porttest"
	"github.com/pavise/pavise/internal/route"
	"github.com/pavise/pavise/internal/tensor"
	"github.com/pavise/pavise/internal/tensor/oipgrpc"
	"github.com/pavise/pavise/internal/verbs"
)

// A soak is one running pavise, and those who ask it.
type soak struct {
	*storm
	*process
	token  atomic.Pointer[string] // a caller's
	grpc   *grpc.ClientConn
	health string   // where it tells of itself
	spares []string // addresses of further model servers
}

// A soaker is one kind of load. do does it once and says what was wrong.
type soaker struct {
	kind string
	rate float64 // how often a second
	do   func(s *soak, ctx context.Context, i int) error
}

// soakers are 350 requests a second, a tenth of which is refused, and a change every
// two seconds.
var soakers = []soaker{
	{"OIP, in the gateway", 70, func(s *soak, _ context.Context, i int) error { return s.tensors(stormModel, i) }},
	{"OIP, on a server", 70, func(s *soak, _ context.Context, i int) error { return s.tensors(stormServed, i) }},
	{"OIP, binary", 50, (*soak).binary},
	{"OIP, gRPC", 50, (*soak).overGRPC},
	{"predict, TorchServe, MLflow", 30, (*soak).older},
	{"chat", 30, (*soak).chats},
	{"stream", 10, (*soak).stream},
	{"stream that its caller leaves", 3, (*soak).leaves},
	{"connection of its own", 5, (*soak).alone},
	{"refused: out of shape", 15, (*soak).misshapen},
	{"refused: no such model", 5, (*soak).unknown},
	{"refused: no token", 5, (*soak).stranger},
	{"refused: a field twice", 5, (*soak).twice},
	{"refused: a denied path", 2, (*soak).bypass},
	{"change", 0.5, (*soak).changes},
}

// TestSoak has callers ask for as long as PAVISE_SOAK says, in the protocols of predictive
// models and of chat, well and badly, while routes and policies change. Everything is answered as it should be; and
// memory, goroutines and open files of the process stay flat.
func TestSoak(t *testing.T) {
	text := os.Getenv("PAVISE_SOAK")
	if text == "" {
		t.Skip("PAVISE_SOAK says for how long: make soak")
	}
	length, err := time.ParseDuration(text)
	if err != nil || length < 10*time.Second {
		t.Fatalf("PAVISE_SOAK is %q, and not a time of 10s or more", text)
	}
	s := startSoak(t)
	var done, wrong atomic.Int64
	var first sync.Once
	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	var callers sync.WaitGroup
	for _, k := range soakers {
		callers.Go(func() {
			pace := time.NewTicker(time.Duration(float64(time.Second) / k.rate))
			defer pace.Stop()
			for i := 0; ; i++ {
				select {
				case <-ctx.Done():
					return
				case <-pace.C:
				}
				done.Add(1)
				if err := k.do(s, t.Context(), i); err != nil {
					wrong.Add(1)
					first.Do(func() { t.Errorf("%s, number %d: %v", k.kind, i, err) })
				}
			}
		})
	}
	seen := s.watch(t, length, &done)
	callers.Wait()
	t.Logf("%d requests in %v", done.Load(), length)
	for _, what := range flat {
		what.judge(t, seen)
	}
	if wrong.Load() > 0 {
		t.Errorf("%d of %d requests were not answered as they should be", wrong.Load(), done.Load())
	}
	s.interrupt(t)
	if report := verify(t, s.data); len(report.Open) > 0 {
		t.Errorf("report %+v", report)
	}
}

// startSoak starts a pavise with the models that are asked.
func startSoak(t *testing.T) *soak {
	t.Helper()
	health := porttest.Address()
	s := &soak{storm: &storm{policies: map[string]int{}}, health: health}
	s.process = start(t, t.TempDir()+"/data", "--person", "another", "--health", health)
	s.begin(t, s.process)
	s.spares = []string{newModelServer(t).addr, newModelServer(t).addr}
	s.refresh(t)
	var err error
	s.grpc, err = grpc.NewClient(strings.TrimPrefix(s.Server, "http://"), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.ForceCodecV2(rawBytes{})))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.grpc.Close() })
	return s
}

// refresh has a new token for those who ask, before the last one ends.
func (s *soak) refresh(t *testing.T) {
	t.Helper()
	var token issuer.Token
	err := s.operator(t).Call(t.Context(), "issuer.mint", verbs.MintRequest{Subject: "app", Role: []string{issuer.RoleCaller}, Minutes: 60}, &token)
	if err != nil {
		t.Fatal(err)
	}
	s.token.Store(&token.Value)
}

// expect is an error unless an answer has a status and holds a text.
func expect(a answer, err error, status int, text string) error {
	if err != nil || a.status != status || !strings.Contains(a.body, text) {
		return fmt.Errorf("%+v, %v, want %d with %q", a, err, status, text)
	}
	return nil
}

func (s *soak) tensors(model string, i int) error {
	a, err := ask(s.Server, *s.token.Load(), model, asking(i%1000))
	want := ""
	if model == stormServed {
		want = fmt.Sprintf(`"data":[%d]`, i%1000)
	}
	return expect(a, err, http.StatusOK, want)
}

func (s *soak) misshapen(_ context.Context, i int) error {
	a, err := ask(s.Server, *s.token.Load(), []string{stormModel, stormServed}[i%2], strings.Replace(asking(i%1000), "[1,3]", "[1,4]", 1))
	return expect(a, err, http.StatusBadRequest, `"error"`)
}

func (s *soak) twice(_ context.Context, i int) error {
	a, err := ask(s.Server, *s.token.Load(), stormModel, strings.Replace(asking(i%1000), `"name"`, `"name":"x","name"`, 1))
	return expect(a, err, http.StatusBadRequest, `"error"`)
}

func (s *soak) unknown(_ context.Context, i int) error {
	a, err := ask(s.Server, *s.token.Load(), fmt.Sprint("nobody", i), asking(1))
	return expect(a, err, http.StatusNotFound, `"error"`)
}

func (s *soak) stranger(context.Context, int) error {
	a, err := ask(s.Server, "none", stormModel, asking(1))
	return expect(a, err, http.StatusUnauthorized, `"error"`)
}

// bypass asks a model server to do something else.
func (s *soak) bypass(_ context.Context, i int) error {
	a, err := s.post(fmt.Sprintf("/v2/repository/models/%s%d/unload", stormServed, i%2), "application/json", strings.NewReader("{}"), nil)
	if err == nil && a.status < 400 {
		err = fmt.Errorf("%+v", a)
	}
	return err
}

func (s *soak) alone(_ context.Context, i int) error {
	_, err := alone(strings.TrimPrefix(s.Server, "http://"), *s.token.Load(), stormServed, i)
	return err
}

// post posts with the token. edit may change the request.
func (s *soak) post(path, media string, body io.Reader, edit func(http.Header)) (a answer, err error) {
	req, err := http.NewRequest(http.MethodPost, s.Server+path, body)
	if err != nil {
		return a, err
	}
	req.Header.Set("Content-Type", media)
	req.Header.Set("Authorization", "Bearer "+*s.token.Load())
	if edit != nil {
		edit(req.Header)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return a, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return answer{status: resp.StatusCode, body: string(text)}, err
}

// binary asks with raw bytes behind the text.
func (s *soak) binary(_ context.Context, i int) error {
	const text = `{"inputs":[{"name":"payment","shape":[1,3],"datatype":"FP32","parameters":{"binary_data_size":12}}]}`
	raw := []byte(text)
	for _, v := range []float32{1, float32(i % 1000), 1} {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
	}
	a, err := s.post("/v2/models/"+stormServed+"/infer", "application/octet-stream", strings.NewReader(string(raw)), func(h http.Header) {
		h.Set("Inference-Header-Content-Length", strconv.Itoa(len(text)))
	})
	return expect(a, err, http.StatusOK, fmt.Sprintf(`"data":[%d]`, i%1000))
}

// rawBytes is a codec of grpc-go that leaves messages as they are.
type rawBytes struct{}

var _ encoding.CodecV2 = rawBytes{}

func (rawBytes) Name() string { return "proto" }
func (rawBytes) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}
func (rawBytes) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

// overGRPC asks with grpc-go's client.
func (s *soak) overGRPC(ctx context.Context, i int) error {
	r, err := tensor.ParseRequest([]byte(asking(i%1000)), tensor.DefaultLimits())
	if err != nil {
		return err
	}
	m, err := oipgrpc.Protocol.AppendRequest(oipgrpc.AppendModel(nil, stormServed, ""), r)
	if err != nil {
		return err
	}
	var out []byte
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+*s.token.Load())
	if err := s.grpc.Invoke(ctx, "/inference.GRPCInferenceService/ModelInfer", m.Body, &out); err != nil {
		return err
	}
	a, err := oipgrpc.Protocol.ParseResponse(tensor.Message{Body: out}, nil, tensor.Signature{}, tensor.DefaultLimits())
	if err == nil && a.Outputs[0].Data.Floats[0] != float64(i%1000) {
		err = fmt.Errorf("%+v", a)
	}
	return err
}

// older asks in the protocols of KServe v1 and TensorFlow Serving, TorchServe and MLflow.
func (s *soak) older(_ context.Context, i int) error {
	door := []struct{ path, body string }{
		{"/v1/models/%s:predict", `{"instances":[[1,%d,1]]}`},
		{"/predictions/%s", `[[1,%d,1]]`},
		{"/models/%s/invocations", `{"inputs":[[1,%d,1]]}`},
	}[i%3]
	a, err := s.post(fmt.Sprintf(door.path, stormServed), "application/json", strings.NewReader(fmt.Sprintf(door.body, i%1000)), nil)
	return expect(a, err, http.StatusOK, fmt.Sprint(i%1000))
}

func (s *soak) chats(ctx context.Context, i int) error {
	say := fmt.Sprint("number ", i)
	a, err := talk(ctx, s.Server, *s.token.Load(), stormChat, say, false)
	return expect(a, err, http.StatusOK, say)
}

func (s *soak) stream(ctx context.Context, i int) error {
	say := fmt.Sprint("number ", i)
	a, err := talk(ctx, s.Server, *s.token.Load(), stormChat, say, true)
	if err == nil && a.said != "echo "+say {
		err = fmt.Errorf("it said %q", a.said)
	}
	return expect(a, err, http.StatusOK, "")
}

// leaves goes away after the first event.
func (s *soak) leaves(ctx context.Context, i int) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	resp, err := chat(ctx, s.Server, *s.token.Load(), stormChat, "a long story", true)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := resp.Body.Read(make([]byte, 1)); err != nil || resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%d, %v", resp.StatusCode, err)
	}
	return nil
}

// changes changes the terms of a route, how its server is picked, or a policy; or releases
// it on another server.
func (s *soak) changes(ctx context.Context, i int) error {
	a, err := s.data.ReadAccess("")
	if err != nil {
		return err
	}
	operator := &api.Client{Base: a.Server, Token: a.Token}
	another, err := another(s.process)
	if err != nil {
		return err
	}
	spec := route.Spec{Name: "local/model/" + stormServed}
	switch i % 4 {
	case 0:
		spec.Rate = fmt.Sprintf("%d/1m", 10_000_000+i)
	case 1:
		spec.Balance = []string{"least-request", "round-robin"}[i/4%2]
	case 2:
		return release(ctx, operator, another, route.ReleaseSpec{Name: spec.Name, Upstream: s.spares[i/4%2], Remote: "storm"})
	case 3:
		if !s.change(ctx, operator, another) {
			err = errors.New("a policy could not be changed")
		}
		return err
	}
	return operator.Call(ctx, "route.put", spec, nil)
}

// A look is what was seen of the process at one moment.
type look struct {
	rss, heap         float64 // MB: resident, and at which the runtime will collect next
	goroutines, files float64
}

// looks is how often the process is looked at.
const looks = 240

// watch looks at the process again and again, and prints a quarter of it.
func (s *soak) watch(t *testing.T, length time.Duration, done *atomic.Int64) (seen []look) {
	t.Helper()
	t.Logf("%8s %10s %8s %8s %10s %6s", "after", "requests", "RSS MB", "heap MB", "goroutines", "files")
	began := time.Now()
	for i := range looks {
		time.Sleep(time.Until(began.Add(length * time.Duration(i) / looks)))
		s.refresh(t)
		l := s.look(t)
		seen = append(seen, l)
		if i%4 == 0 || i == looks-1 {
			t.Logf("%8s %10d %8.1f %8.1f %10.0f %6.0f", time.Since(began).Round(time.Second), done.Load(), l.rss, l.heap, l.goroutines, l.files)
		}
	}
	return seen
}

// look reads what the system and the process itself tell of it.
func (s *soak) look(t *testing.T) (l look) {
	t.Helper()
	of := func(text, name string) float64 {
		m := regexp.MustCompile(`(?m)^` + name + `:?\s+([0-9.e+]+)`).FindStringSubmatch(text)
		if m == nil {
			t.Fatalf("nothing tells %s: %s", name, text)
		}
		v, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	dir := fmt.Sprintf("/proc/%d/", s.cmd.Process.Pid)
	status, err := os.ReadFile(dir + "status")
	if err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(dir + "fd")
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Get("http://" + s.health + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	metrics, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return look{
		rss: of(string(status), "VmRSS") / 1e3, heap: of(string(metrics), "go_memory_gc_goal_bytes") / 1e6,
		goroutines: of(string(metrics), "go_goroutine_count"), files: float64(len(files)),
	}
}

// A flatness is what stays flat of a process: the median of the last quarter of the time
// is not above that of the second by more than a tenth and slack. The first quarter fills
// caches; a log's segment grows and is let go again, so that no two moments are alike.
type flatness struct {
	name  string
	of    func(look) float64
	slack float64
}

var flat = []flatness{
	{"resident memory, MB", func(l look) float64 { return l.rss }, 5},
	{"heap, MB", func(l look) float64 { return l.heap }, 3},
	{"goroutines", func(l look) float64 { return l.goroutines }, 20},
	{"open files", func(l look) float64 { return l.files }, 20},
}

func (f flatness) judge(t *testing.T, seen []look) {
	t.Helper()
	quarter := func(n int) float64 {
		var values []float64
		for _, l := range seen[len(seen)*(n-1)/4 : len(seen)*n/4] {
			values = append(values, f.of(l))
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	t.Logf("%s, medians of the quarters: %.1f %.1f %.1f %.1f", f.name, quarter(1), quarter(2), quarter(3), quarter(4))
	if quarter(4) > quarter(2)*1.1+f.slack {
		t.Errorf("%s: %.1f in the second quarter, %.1f in the last", f.name, quarter(2), quarter(4))
	}
}
