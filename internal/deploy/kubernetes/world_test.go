package kubernetes

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/deploy"
	"github.com/pavise/pavise/internal/kube"
)

type fields = map[string]any

// A cluster is an API server as its reference has it, as far as it is asked here, with the
// controllers of Deployments, of KServe and of Knative, of which each request sees one step.
type cluster struct {
	t   testing.TB
	url string
	ca  string

	mu      sync.Mutex // guards what follows
	objects map[string]fields
	version string
	serial  int64
	stuck   bool // the controllers are away
	slow    int  // steps until a revision, or new replicas, are ready
	old     map[string]int
	fail    map[string]int // "METHOD plural/name" → status, once
	before  map[string]func()
	calls   []string
	served  []string // who had calls, step by step, where KServe says so
}

func newCluster(t testing.TB) *cluster {
	c := &cluster{
		t: t, objects: map[string]fields{}, old: map[string]int{}, fail: map[string]int{}, before: map[string]func(){},
		version: `{"gitVersion":"v1.36.3","gitCommit":"` + strings.Repeat("ab", 20) + `","platform":"linux/amd64"}`,
	}
	s := httptest.NewUnstartedServer(c)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	encoded, _ := json.Marshal(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
	c.url, c.ca = s.URL, string(encoded)
	return c
}

// open makes a target in the cluster, of an installation.
func (c *cluster) open(origin string, set map[string]string) deploy.Target {
	c.t.Helper()
	path := filepath.Join(c.t.TempDir(), "config")
	text := fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"one","contexts":[{"name":"one","context":{"cluster":"c","user":"u"}}],
"clusters":[{"name":"c","cluster":{"server":%q,"certificate-authority-data":%s}}],"users":[{"name":"u","user":{"token":"secret"}}]}`, c.url, c.ca)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
	all := map[string]string{"namespace": "ml", "name": "fraud", "repository": "registry.example/models/fraud"}
	maps.Copy(all, set)
	cfg := Config{Origin: origin, Poll: time.Millisecond, Patience: 3 * time.Second, Open: func(string) (*kube.Cluster, error) { return kube.Open(kube.Config{Path: path}) }}
	t, err := Driver(cfg).Open(pavise.Name{Tenant: "local", Kind: deploy.KindTarget, ID: "k8s"}, all)
	if err != nil {
		c.t.Fatal(err)
	}
	return t
}

func (c *cluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if r.Header.Get("Authorization") != "Bearer secret" {
		c.refuse(w, 401, "Unauthorized")
		return
	}
	if r.URL.Path == "/version" {
		io.WriteString(w, c.version)
		return
	}
	part := strings.Split(strings.TrimPrefix(r.URL.Path, "/apis/"), "/") // group version namespaces ml plural name
	if len(part) < 5 || part[3] != "ml" {
		c.refuse(w, 404, "NotFound")
		return
	}
	key := strings.Join(part[4:], "/")
	call := r.Method + " " + key
	c.calls = append(c.calls, call)
	if f := c.before[call]; f != nil {
		delete(c.before, call)
		f()
	}
	if status := c.fail[call]; status != 0 {
		delete(c.fail, call)
		c.refuse(w, status, map[int]string{409: "Conflict", 429: "TooManyRequests", 403: "Forbidden"}[status])
		return
	}
	switch {
	case len(part) == 5:
		list := fields{"apiVersion": "v1", "kind": "List", "metadata": fields{}, "items": []any{}}
		for _, k := range slices.Sorted(maps.Keys(c.objects)) {
			if strings.HasPrefix(k, part[4]+"/") {
				list["items"] = append(list["items"].([]any), c.objects[k])
			}
		}
		json.NewEncoder(w).Encode(list)
	case r.Method == "PATCH":
		c.patch(w, r, key)
		c.step()
	case c.objects[key] == nil:
		c.refuse(w, 404, "NotFound")
	default:
		c.step()
		json.NewEncoder(w).Encode(c.objects[key])
	}
}

func (c *cluster) refuse(w http.ResponseWriter, status int, reason string) {
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(fields{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": "as the test wants it", "code": status})
}

// patch is server-side apply, as far as one manager of fields needs it.
func (c *cluster) patch(w http.ResponseWriter, r *http.Request, key string) {
	var ask kube.Object
	q := r.URL.Query()
	if json.NewDecoder(r.Body).Decode(&ask) != nil || r.Header.Get("Content-Type") != "application/apply-patch+yaml" || q.Get("fieldManager") == "" || q.Get("fieldValidation") != "Strict" {
		c.refuse(w, 400, "BadRequest")
		return
	}
	is := kube.Object(c.objects[key])
	if is == nil && !strings.HasPrefix(key, "leases/") {
		c.refuse(w, 422, "Invalid") // it has no selector
		return
	}
	if v := ask.Text("metadata", "resourceVersion"); v != "" && v != is.Text("metadata", "resourceVersion") {
		c.refuse(w, 409, "Conflict")
		return
	}
	if q.Get("force") != "true" && is != nil && is.Text("manager") != q.Get("fieldManager") && is.Text("spec", "holderIdentity") != ask.Text("spec", "holderIdentity") {
		c.refuse(w, 409, "Conflict")
		return
	}
	delete(ask.At("metadata"), "resourceVersion")
	next := merged(is, ask)
	next["manager"] = q.Get("fieldManager")
	c.put(key, next)
	json.NewEncoder(w).Encode(c.objects[key])
}

// merged is an object with the fields of another: lists of named objects by name, but for
// canaries, and other lists whole.
func merged(under, over fields) fields {
	all := maps.Clone(under)
	if all == nil {
		all = fields{}
	}
	for key, v := range over {
		switch v := v.(type) {
		case fields:
			was, _ := all[key].(fields)
			all[key] = merged(was, v)
		case []any:
			if key != "containers" && key != "volumes" {
				all[key] = v
				continue
			}
			list, _ := all[key].([]any)
			list = slices.Clone(list)
			for _, one := range v {
				at := slices.IndexFunc(list, func(o any) bool { return o.(fields)["name"] == one.(fields)["name"] })
				if at < 0 {
					list = append(list, one)
					continue
				}
				list[at] = merged(list[at].(fields), one.(fields))
			}
			all[key] = list
		default:
			all[key] = v
		}
	}
	return all
}

// put keeps an object, with what the server writes on it.
func (c *cluster) put(key string, o fields) {
	about, _ := o["metadata"].(fields)
	about = maps.Clone(about)
	was := c.objects[key]
	generation := int64(1)
	if was != nil {
		generation = kube.Object(was).Int("metadata", "generation")
		if fmt.Sprint(was["spec"]) != fmt.Sprint(o["spec"]) {
			generation++
		}
	}
	c.serial++
	about["resourceVersion"], about["generation"], about["uid"] = fmt.Sprint(c.serial), generation, "uid-"+key
	o["metadata"] = about
	c.objects[key] = o
}

// edit changes an object as somebody does who is not Pavise.
func (c *cluster) edit(key, text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.change(key, text)
}

func (c *cluster) change(key, text string) {
	var with fields
	if err := json.Unmarshal([]byte(text), &with); err != nil {
		c.t.Fatal(err)
	}
	plural, name, _ := strings.Cut(key, "/")
	kind := map[string]string{"deployments": "Deployment", "inferenceservices": "InferenceService", "leases": "Lease", "revisions": "Revision"}[plural]
	c.put(key, merged(c.objects[key], merged(fields{"apiVersion": "v1", "kind": kind, "metadata": fields{"name": name, "namespace": "ml"}}, with)))
}

// get is an object as it is.
func (c *cluster) get(key string) kube.Object {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.objects[key]
}

// step has each controller do one thing.
func (c *cluster) step() {
	if c.stuck {
		return
	}
	for _, key := range slices.Sorted(maps.Keys(c.objects)) {
		if strings.HasPrefix(key, "inferenceservices/") {
			is := kube.Object(c.objects[key])
			if is.Text("metadata", "annotations", "serving.kserve.io/deploymentMode") == "Standard" {
				c.raw(is)
			} else {
				c.knative(is)
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(c.objects)) {
		if strings.HasPrefix(key, "deployments/") {
			c.roll(key)
		}
	}
}

// aged reports whether something was seen so often that it is ready.
func (c *cluster) aged(what string) bool {
	if c.old[what]++; c.old[what] > c.slow {
		c.old[what] = 1 << 40 // it stays so
	}
	return c.old[what] > c.slow
}

// roll is the controller of Deployments: one replica set has all replicas, the new one once
// it is ready.
func (c *cluster) roll(key string) {
	is := kube.Object(c.objects[key])
	template := is.At("spec", "template")
	text, _ := json.Marshal(template)
	name := fmt.Sprintf("%s-%x", strings.TrimPrefix(key, "deployments/"), len(c.old)+1)
	var mine []kube.Object
	found := false
	for k, o := range c.objects {
		set := kube.Object(o)
		if strings.HasPrefix(k, "replicasets/") && kube.Find(set.List("metadata", "ownerReferences"), "uid", is.Text("metadata", "uid")) != nil {
			mine = append(mine, set)
			was, _ := json.Marshal(set.At("spec", "template"))
			found = found || string(was) == string(text)
		}
	}
	replicas := is.Int("spec", "replicas")
	if !found {
		set := fields{"kind": "ReplicaSet", "metadata": fields{"name": name, "namespace": "ml", "ownerReferences": []any{fields{"uid": is.Text("metadata", "uid")}}}, "spec": fields{"template": fields(template)}, "status": fields{"replicas": int64(0)}}
		c.objects["replicasets/"+name] = set
		mine = append(mine, set)
	}
	ready := c.aged(key+string(text)) || len(mine) == 1
	updated, total := int64(0), int64(0)
	for _, set := range mine {
		was, _ := json.Marshal(set.At("spec", "template"))
		n := set.Int("status", "replicas")
		switch same := string(was) == string(text); {
		case same && ready:
			n = replicas
		case same:
			n = 1
		case ready:
			n = 0
		}
		set["status"] = fields{"replicas": n}
		if total += n; string(was) == string(text) {
			updated = n
		}
	}
	is["status"] = fields{"observedGeneration": is.Int("metadata", "generation"), "replicas": total, "updatedReplicas": updated, "availableReplicas": total}
}

// knative is KServe's controller with Knative's: a new template is a new revision, and calls
// go to the newest that is ready and the last that had all of them.
func (c *cluster) knative(is kube.Object) {
	p := is.At("spec", "predictor")
	status := fields{}
	maps.Copy(status, is.At("status", "components", "predictor"))
	s := kube.Object(status)
	uri := p.Text("model", "storageUri")
	text := uri + fmt.Sprint(p["annotations"])
	newest := s.Text("latestCreatedRevision")
	if kube.Object(c.objects["revisions/"+newest]).Text("of") != text {
		newest = fmt.Sprintf("fraud-predictor-%05d", len(c.old)+1)
		c.old[newest] = 0
		c.objects["revisions/"+newest] = fields{"kind": "Revision", "of": text, "metadata": fields{"name": newest, "namespace": "ml", "annotations": fields{source: uri}}}
	}
	status["latestCreatedRevision"] = newest
	ready := fields{"type": "Ready", "status": "True"}
	for _, key := range slices.Sorted(maps.Keys(c.objects)) {
		if name, ok := strings.CutPrefix(key, "revisions/"); ok && c.aged(name) {
			status["latestReadyRevision"] = name
		}
	}
	if status["latestReadyRevision"] != newest {
		ready = fields{"type": "Ready", "status": "Unknown", "message": "the newest revision is not ready"}
	}
	latest, full := s.Text("latestReadyRevision"), s.Text("latestRolledoutRevision")
	percent := int64(100)
	if p.Has("canaryTrafficPercent") && full != "" {
		percent = p.Int("canaryTrafficPercent")
	}
	var traffic []any
	if latest != "" {
		traffic = append(traffic, fields{"revisionName": latest, "latestRevision": true, "percent": percent})
	}
	if percent < 100 {
		traffic = append(traffic, fields{"revisionName": full, "latestRevision": false, "percent": 100 - percent, "tag": "prev"})
	} else if latest == newest && latest != full {
		status["previousRolledoutRevision"], status["latestRolledoutRevision"] = full, latest
	}
	status["traffic"] = traffic
	var who []string
	for _, part := range kube.Object(fields{"l": traffic}).List("l") {
		if n := part.Int("percent"); n > 0 {
			who = append(who, fmt.Sprintf("%d %s", n, artefactOf(sourceOf(c.objects["revisions/"+part.Text("revisionName")]))))
		}
	}
	c.served = append(c.served, strings.Join(who, ", "))
	is["status"] = fields{"conditions": []any{ready}, "components": fields{"predictor": status}}
}

// raw is KServe's controller in Standard mode: a Deployment for each predictor.
func (c *cluster) raw(is kube.Object) {
	make := func(name string, p kube.Object) kube.Object {
		key := "deployments/fraud-predictor"
		if name != "" {
			key = "deployments/fraud-" + name + "-predictor"
		}
		text, _ := json.Marshal(fields{"spec": fields{"replicas": 2, "selector": fields{"matchLabels": fields{"app": "fraud"}}, "template": fields{"metadata": fields{"annotations": merged(p.At("annotations"), fields{source: p.Text("model", "storageUri")})}}}})
		if was := kube.Object(c.objects[key]); was.Text("spec", "template", "metadata", "annotations", source) != p.Text("model", "storageUri") {
			c.change(key, string(text))
		}
		return c.objects[key]
	}
	make(is.Text("spec", "predictor", "name"), is.At("spec", "predictor"))
	var list []any
	for _, one := range is.List("spec", "canary") {
		name := one.Text("predictor", "name")
		d := make(name, one.At("predictor"))
		list = append(list, fields{"name": name, "ready": d.Int("status", "availableReplicas") > 0, "trafficPercent": one.Int("trafficPercent")})
	}
	is["status"] = fields{"conditions": []any{fields{"type": "Ready", "status": "True"}}, "canaryStatuses": list}
}

// versionOf is a version of fraud.
func versionOf(n int) deploy.Version {
	return deploy.Version{
		Model: pavise.Name{Tenant: "local", Kind: "model", ID: "fraud"}, Number: n, State: "published", Digest: digest(n + 100),
		Files: []deploy.File{{Path: "model.onnx", Digest: digest(n + 200)}, {Path: "manifest.json", Digest: digest(n)}},
	}
}

func digest(n int) string { return fmt.Sprintf("sha256:%064x", n) }

func reference(n int) string { return "registry.example/models/fraud@" + digest(n) }
