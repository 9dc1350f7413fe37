package main

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pavise/pavise/internal/learn"
	"github.com/pavise/pavise/internal/onnx"
)

// payments has so many numbers in a row.
const payments = 6

// payment draws a row, and says of which class it is: most are of the first.
func payment(rng *rand.Rand, row []float32) (class int) {
	for i := range row {
		row[i] = float32(rng.NormFloat64())
	}
	switch sum := row[0] + row[1]; {
	case sum > 1.8:
		return 2
	case sum > 0.7:
		return 1
	}
	return 0
}

// detector is an ONNX model that was trained on payments, with the labels moved on by so many.
func detector(t *testing.T, seed uint64, moved int) []byte {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	set := learn.Set{X: learn.NewMatrix(3000, payments), Y: make([]int, 3000)}
	for i := range set.Y {
		set.Y[i] = (payment(rng, set.X.Row(i)) + moved) % 3
	}
	train, held := set.Split(rng, 0.2)
	m, err := learn.Train(learn.Config{Hidden: []int{12}, Classes: 3, Epochs: 20, Batch: 32, Rate: 5e-3}, train, held, rng)
	if err != nil {
		t.Fatal(err)
	}
	w := onnx.NewWriter("payments")
	m.Emit(w, w.Input("payment", payments), "scores")
	w.Output("scores", 3)
	return w.Bytes()
}

// modelDirectory is what somebody who trains has: the model as MLflow lays it out, and the
// package in which a function runs it.
func modelDirectory(t *testing.T, model []byte) string {
	t.Helper()
	var packed bytes.Buffer
	z := zip.NewWriter(&packed)
	for _, f := range []struct{ name, text string }{{"handler.txt", "answers with model.onnx\n"}, {"model.onnx", string(model)}} {
		in, err := z.Create(f.name)
		if err == nil {
			_, err = io.WriteString(in, f.text)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, text := range map[string][]byte{"MLmodel": []byte("flavors:\n  onnx:\n    data: model.onnx\n"), "model.onnx": model, "function.zip": packed.Bytes()} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// rest registers a directory by the requests of MLflow's client.
func (l *lifecycle) rest(token string) func(top, root string) string {
	send := func(method, path string, body []byte, into any) string {
		req, err := http.NewRequest(method, l.Server+"/api/2.0/"+path, bytes.NewReader(body))
		if err != nil {
			l.t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		if into != nil {
			req.Header.Set("Content-Type", "application/json")
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			l.t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err == nil && into != nil && resp.StatusCode == http.StatusOK {
			err = json.Unmarshal(text, into)
		}
		if err != nil || resp.StatusCode != http.StatusOK && !bytes.Contains(text, []byte("RESOURCE_ALREADY_EXISTS")) {
			l.t.Fatalf("%s %s: %d %s %v", method, path, resp.StatusCode, text, err)
		}
		return string(text)
	}
	return func(top, root string) string {
		var made struct {
			Run struct {
				Info struct {
					ID string `json:"run_id"`
				}
			}
		}
		send("POST", "mlflow/registered-models/create", []byte(`{"name":"fraud","tags":[{"key":"pavise.risk","value":"high"}]}`), &struct{}{})
		send("POST", "mlflow/runs/create", []byte(`{}`), &made)
		for _, name := range []string{"MLmodel", "model.onnx", "function.zip"} {
			text, err := os.ReadFile(filepath.Join(top, name))
			if err != nil {
				l.t.Fatal(err)
			}
			send("PUT", "mlflow-artifacts/artifacts/runs/"+made.Run.Info.ID+"/model/"+name, text, nil)
		}
		ask := fmt.Sprintf(`{"name":"fraud","source":"runs:/%s/model","run_id":%q,"tags":[{"key":"pavise.dataset.payments","value":%q}]}`, made.Run.Info.ID, made.Run.Info.ID, root)
		return send("POST", "mlflow/model-versions/create", []byte(ask), &struct{}{})
	}
}

// A cloud is the API of AWS Lambda, as far as a function is published and an alias moved. Who
// signs, and how, is tested in internal/deploy/function.
type cloud struct {
	*httptest.Server
	mu       sync.Mutex // guards what follows
	code     []byte
	versions []map[string]string // from 1
	aliases  map[string]map[string]any
	revision int
}

func newCloud(t *testing.T) *cloud {
	c := &cloud{aliases: map[string]map[string]any{}}
	mux := http.NewServeMux()
	const at = "/2015-03-31/functions/fraud"
	mux.HandleFunc("GET "+at+"/configuration", c.answer(func(r *http.Request, _ map[string]any) any {
		n, _ := strconv.Atoi(r.URL.Query().Get("Qualifier"))
		if n == 0 {
			return c.latest()
		}
		return c.versions[n-1]
	}))
	mux.HandleFunc("GET "+at+"/versions", c.answer(func(*http.Request, map[string]any) any {
		return map[string]any{"Versions": append([]map[string]string{c.latest()}, c.versions...)}
	}))
	mux.HandleFunc("PUT "+at+"/code", c.answer(func(_ *http.Request, ask map[string]any) any {
		c.code, _ = base64.StdEncoding.DecodeString(ask["ZipFile"].(string))
		c.revision++
		return c.latest()
	}))
	mux.HandleFunc("POST "+at+"/versions", c.answer(func(*http.Request, map[string]any) any {
		v := c.latest()
		v["Version"] = strconv.Itoa(len(c.versions) + 1)
		c.versions = append(c.versions, v)
		return v
	}))
	mux.HandleFunc("GET "+at+"/aliases/{name}", c.answer(func(r *http.Request, _ map[string]any) any { return c.aliases[r.PathValue("name")] }))
	move := func(r *http.Request, ask map[string]any) any {
		if name := r.PathValue("name"); name != "" {
			ask["Name"] = name
		}
		c.revision++
		ask["RevisionId"] = strconv.Itoa(c.revision)
		c.aliases[ask["Name"].(string)] = ask
		return ask
	}
	mux.HandleFunc("POST "+at+"/aliases", c.answer(move))
	mux.HandleFunc("PUT "+at+"/aliases/{name}", c.answer(move))
	c.Server = httptest.NewServer(mux)
	t.Cleanup(c.Close)
	return c
}

// answer answers with what an act returns; nothing is 404.
func (c *cloud) answer(act func(*http.Request, map[string]any) any) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var ask map[string]any
		_ = json.NewDecoder(r.Body).Decode(&ask) // a GET has none
		c.mu.Lock()
		defer c.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		text, _ := json.Marshal(act(r, ask))
		if string(text) == "null" {
			w.WriteHeader(http.StatusNotFound)
			text = []byte(`{"Message":"there is none"}`)
		}
		w.Write(text)
	}
}

// latest is the function as it was sent last. mu is held.
func (c *cloud) latest() map[string]string {
	sum := sha256.Sum256(c.code)
	return map[string]string{"CodeSha256": base64.StdEncoding.EncodeToString(sum[:]), "Version": "$LATEST", "State": "Active", "LastUpdateStatus": "Successful", "RevisionId": strconv.Itoa(c.revision)}
}

// runs is the SHA-256 of the package that answers all calls, in hex.
func (c *cloud) runs() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := c.aliases["live"]
	if a == nil {
		return "nothing"
	}
	if routing, _ := a["RoutingConfig"].(map[string]any); routing != nil && len(routing["AdditionalVersionWeights"].(map[string]any)) > 0 {
		return "two versions"
	}
	n, _ := strconv.Atoi(a["FunctionVersion"].(string))
	sum, _ := base64.StdEncoding.DecodeString(c.versions[n-1]["CodeSha256"])
	return hex.EncodeToString(sum)
}

// A tracker is the issues of GitHub.
type tracker struct {
	*httptest.Server
	mu     sync.Mutex // guards what follows
	issues []issue
}

// An issue is one, with what was said on it.
type issue struct {
	Title, Body, State string
	said               []string
}

func newTracker(t *testing.T) *tracker {
	k := &tracker{}
	k.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		k.mu.Lock()
		defer k.mu.Unlock()
		var said issue
		_ = json.NewDecoder(r.Body).Decode(&said) // a GET has none
		w.Header().Set("Content-Type", "application/json")
		path := strings.Split(strings.TrimPrefix(r.URL.Path, "/repos/org/repo/issues"), "/")
		n := len(k.issues)
		if len(path) > 1 {
			n, _ = strconv.Atoi(path[1])
		}
		switch {
		case r.Method == http.MethodGet:
			fmt.Fprint(w, `[]`)
			return
		case len(path) > 2:
			k.issues[n-1].said = append(k.issues[n-1].said, said.Body)
		case r.Method == http.MethodPatch:
			k.issues[n-1].State = said.State
		default:
			k.issues = append(k.issues, said)
			n = len(k.issues)
		}
		fmt.Fprintf(w, `{"number":%d,"id":%d,"created_at":%q}`, n, n, time.Now().UTC().Format(time.RFC3339))
	}))
	t.Cleanup(k.Close)
	return k
}

// of is the issue of a change.
func (k *tracker) of(change string) (issue, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	i := slices.IndexFunc(k.issues, func(s issue) bool { return strings.Contains(s.Title+s.Body, change) })
	if i < 0 {
		return issue{}, false
	}
	return k.issues[i], true
}

// A crowd asks the gateway all the time: callers with the same rows, as far as chance goes, but
// for the last of them once it shifts what it asks.
type crowd struct {
	shift    atomic.Bool
	answered atomic.Int64
	refused  atomic.Int64
	stop     chan struct{}
	all      sync.WaitGroup
}

// callers is how many they are.
const callers = 8

func newCrowd(p *process, tokens []string) *crowd {
	c := &crowd{stop: make(chan struct{})}
	for who, token := range tokens {
		c.all.Go(func() { c.ask(p, who, token) })
	}
	return c
}

func (c *crowd) end() { close(c.stop); c.all.Wait() }

func (c *crowd) ask(p *process, who int, token string) {
	rng := rand.New(rand.NewPCG(uint64(who), 99))
	const rows = 24
	for {
		select {
		case <-c.stop:
			return
		case <-time.After(40 * time.Millisecond):
		}
		data := make([]float32, rows*payments)
		for i := range rows {
			row := data[i*payments:][:payments]
			payment(rng, row)
			if who == callers-1 && c.shift.Load() {
				row[0] += 3
			}
		}
		text, _ := json.Marshal(data)
		a, err := ask(p.Server, token, "fraud", fmt.Sprintf(`{"inputs":[{"name":"payment","shape":[%d,%d],"datatype":"FP32","data":%s}]}`, rows, payments, text))
		if err == nil && a.status == http.StatusOK {
			c.answered.Add(1)
		} else {
			c.refused.Add(1)
		}
	}
}
