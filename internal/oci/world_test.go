package oci

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/depot"
	"github.com/pavise/pavise/internal/disk"
	"github.com/pavise/pavise/internal/disk/disktest"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/identity"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/policy"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/seal"
	"github.com/pavise/pavise/internal/store"
	"github.com/pavise/pavise/internal/store/blob"
)

// testKey is a log key that guards nothing.
var testKey = ed25519.NewKeyFromSeed([]byte("pavise oci test key, of 32 bytes"))

// A world is a registry behind its door, with a guard before it, and models in memory.
type world struct {
	t   *testing.T
	log *ledger.Log
	cfg Config
	*Registry
	server *httptest.Server
	models *models

	mu  sync.Mutex // guards what follows
	now time.Time
}

func newWorld(t *testing.T) *world {
	t.Helper()
	t.Parallel()
	w := &world{t: t, now: time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC), models: &models{of: map[pavise.Name]*model{}, changes: map[string]string{}}}
	var err error
	w.log, err = ledger.Open(ledger.Options{Disk: disktest.New(), Origin: "example.test/log", Key: testKey, Tenant: "local"})
	w.must(err)
	t.Cleanup(func() { w.log.Close() })
	db, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "db"))
	w.must(err)
	t.Cleanup(func() { db.Close() })
	all := []guard.Action{}
	for _, verb := range []string{VerbPush, VerbPull, VerbInspect} {
		all = append(all, guard.Action{Verb: verb, On: []string{KindModel}, Class: guard.Pooled})
	}
	g, err := guard.New(guard.Config{Actions: all, Log: w.log, Facts: w.models.facts})
	w.must(err)
	for _, tenant := range []string{"local", "acme"} {
		w.must(g.Load(tenant, map[string]string{
			"push": `permit (principal in Role::"engineer", action in [Action::"model.push", Action::"model.pull", Action::"model.inspect"], resource is Model);`,
			"pull": `permit (principal in Role::"deployer", action == Action::"model.pull", resource is Model);`,
			"bot":  `permit (principal in Role::"pusher", action == Action::"model.push", resource is Model);`,
		}))
	}
	kek, err := seal.OpenFileKEK(filepath.Join(t.TempDir(), "kek"))
	w.must(err)
	stage := t.TempDir()
	bucket, err := blob.Open(t.Context(), t.TempDir())
	w.must(err)
	at, ok := bucket.(depot.Bucket)
	if !ok {
		t.Fatal("a directory is no bucket of a depot")
	}
	files, err := depot.Open(t.Context(), depot.Config{Bucket: at, Stage: disk.Dir{Path: stage}, Store: db, KEK: kek, Now: w.clock})
	w.must(err)
	w.cfg = Config{Guard: g, Store: db, Depot: files, Versions: w.models, Signatures: w.models, Aliases: w.models, Base: "http://registry.test", Now: w.clock, Say: func(word string, err error) { t.Logf("%s: %v", word, err) }}
	w.server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.Registry.NewDoor(admit).ServeHTTP(rw, r)
	}))
	t.Cleanup(w.server.Close)
	w.open()
	w.models.create("fraud")
	return w
}

// open opens the registry anew, as the next process does.
func (w *world) open() {
	w.t.Helper()
	var err error
	w.Registry, err = Open(w.t.Context(), w.cfg)
	w.must(err)
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(time.Millisecond)
	return w.now
}

func (w *world) wait(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// admit knows the tokens ROLE and ROLE@TENANT.
func admit(r *http.Request) (pavise.Principal, error) {
	token, err := identity.FromHeader(r.Header.Values("Authorization"))
	if err != nil {
		return pavise.Principal{}, err
	}
	role, tenant, other := strings.Cut(token, "@")
	if !other {
		tenant = "local"
	}
	if role != "engineer" && role != "deployer" && role != "pusher" && role != "nobody" && role != "engineer2" {
		return pavise.Principal{}, &pavise.Error{Kind: pavise.Unverified, Msg: "nobody knows the token"}
	}
	return pavise.Principal{Tenant: tenant, Kind: pavise.Workload, ID: role, Roles: []string{strings.TrimSuffix(role, "2")}, Proof: "test"}, nil
}

// models are the versions and aliases of a test.
type models struct {
	signed  []Signing    // that were held to whoever is believed
	lists   atomic.Int64 // how often the files of a version were read
	mu      sync.Mutex   // guards what follows
	of      map[pavise.Name]*model
	added   int
	unfit   error             // what a look at the next files finds
	changes map[string]string // open ones, by what they ask for
}

type model struct {
	versions []Version
	aliases  map[string]int
}

func (m *models) create(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.of[pavise.Name{Tenant: "local", Kind: KindModel, ID: id}] = &model{aliases: map[string]int{}}
}

func (m *models) find(name pavise.Name) (*model, error) {
	if found := m.of[name]; found != nil {
		return found, nil
	}
	return nil, &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("there is no model %s", name), Hint: "create it"}
}

func (m *models) Add(_ context.Context, _ pavise.Principal, name pavise.Name, d Draft) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	found, err := m.find(name)
	if err != nil {
		return 0, err
	}
	m.added++
	v := Version{Number: len(found.versions) + 1, State: "draft", Sum: stampOf(d.Files), Files: m.list(d.Files), Created: time.Unix(1e9, 0)}
	if m.unfit != nil {
		v.Barred = "its files do harm"
	}
	found.versions = append(found.versions, v)
	return len(found.versions), m.unfit
}

// list reads the files of a version, and counts that.
func (m *models) list(files []File) func(context.Context) ([]File, error) {
	return func(context.Context) ([]File, error) {
		m.lists.Add(1)
		return files, nil
	}
}

func (m *models) Version(_ context.Context, name pavise.Name, number int) (Version, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	found, err := m.find(name)
	if err != nil || number < 1 || number > len(found.versions) {
		return Version{}, &pavise.Error{Kind: pavise.NotFound, Msg: "there is no such version"}
	}
	return found.versions[number-1], nil
}

// Signed takes "good" for a signature that holds.
func (m *models) Signed(_ context.Context, _ pavise.Principal, _ pavise.Name, s Signing) (counts bool, why string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.signed = append(m.signed, s)
	switch string(s.Bundle) {
	case "good":
		return true, "", nil
	case "late":
		return false, "", &pavise.Error{Kind: pavise.Conflict, Msg: "it is at its end"}
	case "broken":
		return false, "", &pavise.Error{Kind: pavise.Unavailable, Msg: "the disk is full"}
	}
	return false, "somebody \"else\" signed\r\nit", nil
}

func (m *models) Names(_ context.Context, name pavise.Name) (map[string]int, int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	found, err := m.find(name)
	if err != nil {
		return nil, 0, err
	}
	return maps.Clone(found.aliases), len(found.versions), nil
}

func (m *models) Propose(_ context.Context, _ pavise.Principal, name pavise.Name, alias string, number int) (string, string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := fmt.Sprint(name, " ", alias, " ", number)
	if m.changes[key] == "" {
		m.changes[key] = fmt.Sprintf("CHG%d", len(m.changes)+1)
	}
	return m.changes[key], "https://registry.test/changes/" + m.changes[key], nil
}

func (m *models) facts(on pavise.Name) policy.Facts {
	id, number, is := strings.Cut(on.ID, "@")
	if !is {
		return policy.Facts{}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	on.ID = id
	var n int
	_, _ = fmt.Sscan(number, &n)
	if found := m.of[on]; found != nil && n <= len(found.versions) {
		return policy.Facts{State: found.versions[n-1].State, Quarantined: found.versions[n-1].State == "quarantined"}
	}
	return policy.Facts{}
}

// become changes a version of the model fraud.
func (m *models) become(number int, state string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v := &m.of[pavise.Name{Tenant: "local", Kind: KindModel, ID: "fraud"}].versions[number-1]
	v.State, v.Published, v.Barred = state, state == "published", ""
	if state == "quarantined" {
		v.Barred = "it is in quarantine"
	}
}

// An answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// code is the code of an answer that is no.
func (a answer) code() string {
	var said struct {
		Errors []struct{ Code, Message string }
	}
	if json.Unmarshal(a.body, &said) != nil || len(said.Errors) != 1 {
		return ""
	}
	return said.Errors[0].Code
}

// ask sends one request. headers are names and values.
func (w *world) ask(token, method, at string, body io.Reader, headers ...string) answer {
	w.t.Helper()
	if !strings.HasPrefix(at, "http") {
		at = w.server.URL + at
	}
	r, err := http.NewRequestWithContext(w.t.Context(), method, at, body)
	w.must(err)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	got, err := w.server.Client().Do(r)
	w.must(err)
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	w.must(err)
	return answer{got.StatusCode, got.Header, text}
}

// want is ask with the status that is to come, and the code of a refusal.
func (w *world) want(status int, code code, token, method, at string, body io.Reader, headers ...string) answer {
	w.t.Helper()
	a := w.ask(token, method, at, body, headers...)
	if a.status != status || a.code() != string(code) && method != "HEAD" {
		w.t.Fatalf("%s %s: %d %s, want %d %s", method, at, a.status, a.body, status, code)
	}
	return a
}

// blobOf uploads a content in one request, and returns its descriptor.
func (w *world) blobOf(media string, content []byte) descriptor {
	w.t.Helper()
	d := descriptor{MediaType: media, Digest: digestOf(content), Size: int64(len(content))}
	w.want(201, "", "engineer", "POST", "/v2/fraud/blobs/uploads/?digest="+d.Digest, bytes.NewReader(content))
	return d
}

// A packing is a model as a test packs it: layers, with what they unpack to.
type packing struct {
	layers []descriptor
	diffs  []string
}

// raw adds a file as it is.
func (w *world) raw(p *packing, name string, content []byte) {
	w.t.Helper()
	l := w.blobOf(layerPrefix+"weight.v1.raw", content)
	l.Annotations = map[string]string{annotationPath: name}
	p.layers, p.diffs = append(p.layers, l), append(p.diffs, l.Digest)
}

// packedAs adds a layer of a form, which unpacks to text.
func (w *world) packedAs(p *packing, form string, text []byte) {
	w.t.Helper()
	p.layers = append(p.layers, w.blobOf(layerPrefix+"weight.v1."+form, compressed(form, text)))
	p.diffs = append(p.diffs, digestOf(text))
}

func compressed(form string, text []byte) []byte {
	if form == formTar || form == formRaw {
		return text
	}
	var out bytes.Buffer
	z := compressor(form, &out)
	_, _ = z.Write(text)
	_ = z.Close()
	return out.Bytes()
}

func compressor(form string, out io.Writer) io.WriteCloser {
	if form == formGzip {
		return gzip.NewWriter(out)
	}
	z, _ := zstd.NewWriter(out)
	return z
}

// archive is a tar of files; a name that ends in a slash is a directory.
func archive(files ...string) []byte {
	var out bytes.Buffer
	t := tar.NewWriter(&out)
	for i := 0; i < len(files); i += 2 {
		h := &tar.Header{Name: files[i], Mode: 0o644, Size: int64(len(files[i+1])), Typeflag: tar.TypeReg}
		if strings.HasSuffix(files[i], "/") {
			h.Typeflag = tar.TypeDir
		}
		_ = t.WriteHeader(h)
		_, _ = io.WriteString(t, files[i+1])
	}
	_ = t.Close()
	return out.Bytes()
}

// manifestOf makes the manifest of a packing, and uploads its configuration.
func (w *world) manifestText(p packing) []byte {
	w.t.Helper()
	config, _ := json.Marshal(map[string]any{"descriptor": map[string]any{"name": "fraud"}, "config": map[string]any{}, "modelfs": map[string]any{"type": "layers", "diffIds": p.diffs}})
	m := manifest{SchemaVersion: 2, MediaType: mediaManifest, ArtifactType: modelManifest, Config: w.blobOf(modelConfig, config), Layers: p.layers}
	text, err := json.Marshal(m)
	w.must(err)
	return text
}

// push pushes a model of one file under a tag or digest, and returns its manifest.
func (w *world) push(ref, content string) []byte {
	w.t.Helper()
	var p packing
	w.raw(&p, "model.bin", []byte(content))
	text := w.manifestText(p)
	if ref == "" {
		ref = digestOf(text)
	}
	w.want(201, "", "engineer", "PUT", "/v2/fraud/manifests/"+ref, bytes.NewReader(text), "Content-Type", mediaManifest)
	return text
}

// records are those of a verb that ended.
func (w *world) records(verb string) (all []record.Record) {
	for _, r := range w.log.Records(0, w.log.Size()) {
		if r.Kind == verb {
			all = append(all, r)
		}
	}
	return all
}
