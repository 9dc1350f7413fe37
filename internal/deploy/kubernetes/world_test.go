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
	"strconv"
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
	space   string // the namespace in which Pavise has rights
	stuck   bool   // the controllers are away
	slow    int    // steps until a revision, or new replicas, are ready
	old     map[string]int
	fail    map[string]int // "METHOD plural/name" → status, once
	before  map[string]func()
	applied map[string]kube.Object // what a manager applied last, by the object and the manager
	calls   []string
	served  []string // who had calls, step by step, where KServe says so
	// The admission policies that hold for the namespace; nil: none does.
	policies map[string][]rule
}

func newCluster(t testing.TB) *cluster {
	c := &cluster{
		t: t, space: "ml", objects: map[string]fields{}, old: map[string]int{}, fail: map[string]int{}, before: map[string]func(){}, applied: map[string]kube.Object{},
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
		c.refuse(w, 401, "Unauthorized", "Unauthorized")
		return
	}
	if r.URL.Path == "/version" {
		io.WriteString(w, c.version)
		return
	}
	part := strings.Split(strings.TrimPrefix(r.URL.Path, "/apis/"), "/") // group version namespaces ml plural name
	if len(part) < 5 {
		c.refuse(w, 404, "NotFound", "the server could not find the requested resource")
		return
	}
	if part[3] != c.space {
		verb := map[string]string{"GET": "get", "PATCH": "patch"}[r.Method]
		c.refuse(w, 403, "Forbidden", fmt.Sprintf("%s.%s %q is forbidden: User \"system:serviceaccount:%s:pavise\" cannot %s resource %q in API group %q in the namespace %q", part[4], part[0], part[len(part)-1], c.space, verb, part[4], part[0], part[3]))
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
		c.refuse(w, status, map[int]string{409: "Conflict", 429: "TooManyRequests", 403: "Forbidden"}[status], "as the test wants it")
		return
	}
	switch {
	case len(part) == 5:
		c.list(w, part[0]+"/"+part[1], part[4], r.URL.Query().Get("labelSelector"))
	case r.Method == "PATCH":
		c.patch(w, r, part[0], key)
		c.step()
	case c.objects[key] == nil:
		c.refuse(w, 404, "NotFound", fmt.Sprintf("%s.%s %q not found", part[4], part[0], part[5]))
	default:
		c.step()
		json.NewEncoder(w).Encode(c.objects[key])
	}
}

func (c *cluster) refuse(w http.ResponseWriter, status int, reason, message string) {
	w.WriteHeader(status)
	is := fields{"kind": "Status", "apiVersion": "v1", "metadata": fields{}, "status": "Failure", "message": message, "code": status}
	if reason != "" {
		is["reason"] = reason
	}
	json.NewEncoder(w).Encode(is)
}

// list answers with the objects that have labels. What is in a list does not say its kind.
func (c *cluster) list(w http.ResponseWriter, version, plural, selector string) {
	items := []any{}
	for _, key := range slices.Sorted(maps.Keys(c.objects)) {
		labels, found := kube.Object(c.objects[key]).At("metadata", "labels"), strings.HasPrefix(key, plural+"/")
		for _, pair := range strings.Split(selector, ",") {
			name, value, _ := strings.Cut(pair, "=")
			found = found && labels.Text(name) == value
		}
		if found {
			one := maps.Clone(c.objects[key])
			delete(one, "kind")
			delete(one, "apiVersion")
			items = append(items, one)
		}
	}
	kind := map[string]string{"replicasets": "ReplicaSetList"}[plural]
	json.NewEncoder(w).Encode(fields{"apiVersion": version, "kind": kind, "metadata": fields{"resourceVersion": fmt.Sprint(c.serial)}, "items": items})
}

// patch is server-side apply, as far as one manager of fields needs it, and JSON merge patch.
func (c *cluster) patch(w http.ResponseWriter, r *http.Request, group, key string) {
	var ask kube.Object
	q := r.URL.Query()
	plural, name, _ := strings.Cut(key, "/")
	apply := r.Header.Get("Content-Type") == "application/apply-patch+yaml"
	if json.NewDecoder(r.Body).Decode(&ask) != nil || !apply && r.Header.Get("Content-Type") != "application/merge-patch+json" || q.Get("fieldManager") == "" || q.Get("fieldValidation") != "Strict" {
		c.refuse(w, 400, "BadRequest", "as the test wants it")
		return
	}
	is := kube.Object(c.objects[key])
	if is == nil && !apply {
		c.refuse(w, 404, "NotFound", fmt.Sprintf("%s.%s %q not found", plural, group, name))
		return
	}
	if is == nil && plural != "leases" {
		c.refuse(w, 422, "Invalid", "it has no selector")
		return
	}
	if ask.Has("spec", "nothing") { // of fields that no kind has, the tests use this one
		c.refuse(w, 500, "", fmt.Sprintf("failed to create typed patch object (%s/%s; %s, Kind=%s): .spec.nothing: field not declared in schema", c.space, name, ask.Text("apiVersion"), ask.Text("kind")))
		return
	}
	if v := ask.Text("metadata", "resourceVersion"); v != "" && v != is.Text("metadata", "resourceVersion") {
		c.refuse(w, 409, "Conflict", fmt.Sprintf("Operation cannot be fulfilled on %s.%s %q: the object has been modified; please apply your changes to the latest version and try again", plural, group, name))
		return
	}
	if q.Get("force") != "true" && is != nil && is.Text("manager") != q.Get("fieldManager") && is.Text("spec", "holderIdentity") != ask.Text("spec", "holderIdentity") {
		by := strconv.Quote(is.Text("manager"))
		if c.applied[key+" "+is.Text("manager")] == nil {
			by += " using " + is.Text("apiVersion")
		}
		c.refuse(w, 409, "Conflict", "Apply failed with 1 conflict: conflict with "+by+": .spec.holderIdentity")
		return
	}
	delete(ask.At("metadata"), "resourceVersion")
	next := patched(is, ask)
	if apply {
		next = merged(is, ask)
		if plural == "inferenceservices" { // of which a cluster may have no schema
			next["spec"] = ask["spec"]
		}
		// What a manager applied once and does not apply again is taken away.
		once := key + " " + q.Get("fieldManager")
		for i, one := range kube.Object(next).List("spec", "template", "spec", "containers") {
			list := ask.List("spec", "template", "spec", "containers")
			if kube.Find(c.applied[once].List("spec", "template", "spec", "containers"), "name", one.Text("name")) != nil && kube.Find(list, "name", one.Text("name")) == nil {
				c.refuse(w, 422, "Invalid", fmt.Sprintf("%s.%s %q is invalid: spec.template.spec.containers[%d].image: Required value", is.Text("kind"), group, name, i))
				return
			}
		}
		c.applied[once] = ask
	}
	for i, one := range kube.Object(next).List("spec", "canary") {
		if !one.Has("predictor", "model", "name") {
			c.refuse(w, 422, "Invalid", fmt.Sprintf("%s.%s %q is invalid: spec.canary[%d].predictor.model.name: Required value", is.Text("kind"), group, name, i))
			return
		}
	}
	if why := denied(c.policies["pavise-"+plural], next); why != "" {
		c.refuse(w, 422, "Invalid", fmt.Sprintf("%s.%s %q is forbidden: ValidatingAdmissionPolicy 'pavise-%[1]s' with binding 'pavise-%[1]s' denied request: %[4]s", plural, group, name, why))
		return
	}
	next["manager"] = q.Get("fieldManager")
	c.put(key, next)
	if is == nil {
		w.WriteHeader(http.StatusCreated)
	}
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
		annotated := strings.HasPrefix(key, "deployments/") && fmt.Sprint(kube.Object(was).At("metadata")["annotations"]) != fmt.Sprint(about["annotations"])
		if annotated || fmt.Sprint(was["spec"]) != fmt.Sprint(o["spec"]) {
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
		set := fields{"kind": "ReplicaSet", "metadata": fields{"name": name, "namespace": c.space, "labels": fields(is.At("spec", "selector", "matchLabels")), "ownerReferences": []any{fields{"uid": is.Text("metadata", "uid")}}}, "spec": fields{"template": fields(template)}, "status": fields{"replicas": int64(0)}}
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
	is["status"] = fields{"observedGeneration": is.Int("metadata", "generation"), "replicas": total, "updatedReplicas": updated, "availableReplicas": total, "conditions": []any{fields{"type": "Available", "status": "True"}, fields{"type": "Progressing", "status": "True"}}}
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
