package kubernetes

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/deploy"
	"github.com/pavise/pavise/internal/kube"
	"github.com/pavise/pavise/internal/kube/kubetest"
)

// space is the namespace of the scenes.
const space = "pavise-recorded"

// A stage is where a scene is played: in a real cluster, from a recording of that, or in the
// cluster of these tests.
type stage struct {
	t      *testing.T
	s      *kubetest.Server
	do     func(method, path string, body any) // what somebody does who is not Pavise
	settle func()                              // the controllers do what they have to
	policy func(on bool)                       // the admission policy is there, and holds for the namespace
}

const (
	core   = "/api/v1/namespaces/" + space + "/"
	apps   = "/apis/apps/v1/namespaces/" + space + "/"
	kserve = "/apis/serving.kserve.io/v1beta1/namespaces/" + space + "/inferenceservices"
	knat   = "/apis/serving.knative.dev/v1/namespaces/" + space + "/revisions"
	locks  = "/apis/coordination.k8s.io/v1/namespaces/" + space + "/leases"
)

// open makes a target of an installation, that looks once and waits for nothing.
func (p *stage) open(origin string, set map[string]string) *target {
	p.t.Helper()
	all := map[string]string{"namespace": space, "name": "fraud", "repository": "registry.example/models/fraud"}
	maps.Copy(all, set)
	cfg := Config{Origin: origin, Poll: time.Millisecond, Patience: 1, Open: func(string) (*kube.Cluster, error) { return kube.Open(kube.Config{Path: p.s.Kubeconfig}) }}
	f, err := Driver(cfg).Open(pavise.Name{Tenant: "local", Kind: deploy.KindTarget, ID: "k8s"}, all)
	if err != nil {
		p.t.Fatal(err)
	}
	return f.(*target)
}

// sees looks at a target, which is settled.
func (p *stage) sees(step string, f *target, main, beside string, weight int) {
	p.t.Helper()
	p.s.Step("look: " + step)
	s, err := f.Observe(p.t.Context())
	if err != nil || s.Main != main || s.Beside != beside || s.Weight != weight || !s.Healthy || s.Unproven != "" {
		p.t.Errorf("%s: %+v %v, want %s %s %d", step, s, err, main, beside, weight)
	}
}

// tells tells a target what is wanted, once. That it is not so yet is no failure.
func (p *stage) tells(step string, f *target, d deploy.Desired) {
	p.t.Helper()
	p.s.Step(step)
	if err := f.Apply(p.t.Context(), d); err != nil && !strings.Contains(err.Error(), "does not run it yet") {
		p.t.Errorf("%s: %v", step, err)
	}
}

// keeps looks whether an InferenceService still has what others wrote into it.
func (p *stage) keeps(f *target) {
	p.t.Helper()
	is, err := f.cluster.Get(p.t.Context(), services, space, "fraud")
	was := is.At("spec", "predictor")
	if err != nil || was.Text("model", "modelFormat", "name") != "sklearn" || was.Int("maxReplicas") != 5 || was.Text("annotations", "mine") != "stays" {
		p.t.Errorf("%v %v", is["spec"], err)
	}
}

// refused tells a target what the cluster, or the Lease in it, does not take.
func (p *stage) refused(step string, f *target, d deploy.Desired, kind pavise.Kind, words string) {
	p.t.Helper()
	p.s.Step(step)
	if err := f.Apply(p.t.Context(), d); pavise.KindOf(err) != kind || !strings.Contains(err.Error(), words) {
		p.t.Errorf("%s: %v, want %v: %s", step, err, kind, words)
	}
}

// object reads one of the tests' texts, with a name.
func object(t testing.TB, text, apiVersion, kind, name string) fields {
	t.Helper()
	var o fields
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		t.Fatal(err)
	}
	about, _ := o["metadata"].(fields)
	o["apiVersion"], o["kind"], o["metadata"] = apiVersion, kind, merged(about, fields{"name": name})
	return o
}

const owned = `{"spec":{"replicas":2,"selector":{"matchLabels":{"app":"fraud"}},"template":{"metadata":{"labels":{"app":"fraud"}},"spec":{
"containers":[{"name":"sidecar","image":"proxy:1"},{"name":"model","image":"registry.example/models/fraud:latest"}],
"volumes":[{"name":"tmp","emptyDir":{}},{"name":"weights","image":{"reference":"registry.example/models/fraud:latest"}}]}}}}`

// sceneDeployment brings versions to a Deployment and back, as an image, and then to another
// part of it, as a volume.
func sceneDeployment(p *stage) {
	p.do("POST", apps+"deployments", object(p.t, owned, "apps/v1", "Deployment", "fraud"))
	p.settle()
	one, two := versionOf(1), versionOf(2)
	f, weights := p.open("here", asImage), p.open("here", map[string]string{"form": "deployment", "volume": "weights"})
	p.sees("before anything", f, "unpinned:registry.example/models/fraud:latest", "", 0)
	p.tells("the first version", f, deploy.Desired{Revision: 1, Main: &one})
	p.settle()
	p.sees("the first version", f, digest(1), "", 0)
	p.tells("a revision alone", f, deploy.Desired{Revision: 2, Main: &one})
	p.tells("the second version", f, deploy.Desired{Revision: 3, Main: &two})
	p.settle()
	p.sees("the second version", f, digest(2), "", 0)
	p.tells("back", f, deploy.Desired{Revision: 4, Main: &one, Safe: true})
	p.settle()
	p.sees("back", f, digest(1), "", 0)

	p.tells("another part of it", weights, deploy.Desired{Revision: 5, Main: &one})
	p.settle()
	p.sees("another part of it", weights, digest(1), "", 0)
}

// sceneOthers has others change what Pavise set, before it and at the same moment.
func sceneOthers(p *stage) {
	p.do("POST", apps+"deployments", object(p.t, owned, "apps/v1", "Deployment", "fraud"))
	p.settle()
	one, two := versionOf(1), versionOf(2)
	here, there := p.open("here", asImage), p.open("there", asImage)
	p.tells("here", here, deploy.Desired{Revision: 7, Main: &one})
	p.settle()
	p.refused("there", there, deploy.Desired{Revision: 9, Main: &two}, pavise.Conflict, "somebody else steers")
	p.refused("a lower revision", here, deploy.Desired{Revision: 6, Main: &two}, pavise.Conflict, "at revision 7 already")

	evil := fields{"spec": fields{"template": fields{"spec": fields{"containers": []any{fields{"name": "model", "image": "evil.example/fraud:v1"}, fields{"name": "sidecar", "image": "proxy:1"}}}}}}
	p.do("PATCH", apps+"deployments/fraud", evil)
	p.settle()
	p.sees("another image", here, "unpinned:evil.example/fraud:v1", "", 0)
	p.tells("put back", here, deploy.Desired{Revision: 7, Main: &one})
	p.settle()
	p.sees("put back", here, digest(1), "", 0)

	p.s.Before("PATCH", apps+"deployments/fraud", func() {
		p.do("PATCH", apps+"deployments/fraud", fields{"metadata": fields{"annotations": fields{"x": "y"}}})
	})
	p.refused("changed between the look and the act", here, deploy.Desired{Revision: 8, Main: &two}, pavise.Unavailable, "it is being brought there")
	p.settle()
	p.tells("again", here, deploy.Desired{Revision: 8, Main: &two})
	p.settle()
	p.sees("again", here, digest(2), "", 0)

	p.do("DELETE", locks+"/pavise-deployment-fraud", nil)
	p.s.Before("PATCH", locks+"/pavise-deployment-fraud", func() {
		p.do("POST", locks+"?fieldManager=pavise-there", fields{"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": fields{"name": "pavise-deployment-fraud", "annotations": fields{noteSeen: "9"}}, "spec": fields{"holderIdentity": "pavise there local/target/k8s"}})
	})
	p.refused("two make the Lease at once", here, deploy.Desired{Revision: 9, Main: &one}, pavise.Conflict, "somebody else steers")
	p.s.Step("nothing there")
	if _, err := p.open("here", map[string]string{"form": "deployment", "container": "model", "name": "none"}).Observe(p.t.Context()); pavise.KindOf(err) != pavise.NotFound {
		p.t.Errorf("%v", err)
	}
	p.s.Step("a namespace in which it has no rights")
	if _, err := p.open("here", map[string]string{"form": "deployment", "container": "model", "namespace": "default"}).Observe(p.t.Context()); pavise.KindOf(err) != pavise.Denied {
		p.t.Errorf("%v", err)
	}
	p.s.Step("a field that is none")
	lease := kube.Object{"metadata": fields{"namespace": space, "name": "pavise-deployment-fraud"}, "spec": fields{"nothing": "x"}}
	if _, err := here.cluster.Apply(p.t.Context(), leases, manager, true, lease); pavise.KindOf(err) != pavise.Invalid {
		p.t.Errorf("%v", err)
	}
}

// sceneAdmission has the API server refuse what is not pinned.
func sceneAdmission(p *stage) {
	one := versionOf(1)
	p.do("POST", apps+"deployments", object(p.t, owned, "apps/v1", "Deployment", "fraud"))
	p.do("POST", kserve, object(p.t, strings.Replace(service, "MODE", "Standard", 1), "serving.kserve.io/v1beta1", "InferenceService", "fraud"))
	p.settle()
	p.policy(true)
	f, s := p.open("here", asImage), p.open("here", map[string]string{"form": "standard"})
	p.refused("a sidecar that is not pinned", f, deploy.Desired{Revision: 1, Main: &one}, pavise.Invalid, "every container has an image that is pinned by its digest")
	p.tells("a model that is", s, deploy.Desired{Revision: 1, Main: &one})
	p.policy(false)
	p.do("PATCH", apps+"deployments/fraud", fields{"spec": fields{"template": fields{"spec": fields{
		"containers": []any{fields{"name": "sidecar", "image": "proxy@" + digest(9)}, fields{"name": "model", "image": "registry.example/models/fraud:latest"}},
		"volumes":    []any{fields{"name": "tmp", "emptyDir": fields{}}},
	}}}})
	p.settle()
	p.policy(true)
	p.tells("all of it pinned", f, deploy.Desired{Revision: 1, Main: &one})
	p.settle()
	p.sees("all of it pinned", f, digest(1), "", 0)
	p.policy(false)
}

// play is KServe's controller with Knative's: it makes revisions, and writes the status.
func (p *stage) knative(newest int, uri string, traffic ...fields) {
	name := fmt.Sprintf("fraud-predictor-%05d", newest)
	if uri != "" {
		p.do("POST", knat, fields{"apiVersion": "serving.knative.dev/v1", "kind": "Revision", "metadata": fields{"name": name, "annotations": fields{source: uri}}})
	}
	full := ""
	var list []any
	for _, part := range traffic {
		if list = append(list, part); len(traffic) == 1 || part["latestRevision"] == nil {
			full, _ = part["revisionName"].(string)
		}
	}
	p.do("PATCH", kserve+"/fraud/status", fields{"status": fields{
		"conditions": []any{fields{"type": "Ready", "status": "True"}},
		"components": fields{"predictor": fields{"latestCreatedRevision": name, "latestReadyRevision": name, "latestRolledoutRevision": full, "traffic": list}},
	}})
}

// calls is the share of a revision.
func calls(revision, percent int, latest bool) fields {
	part := fields{"revisionName": fmt.Sprintf("fraud-predictor-%05d", revision), "percent": percent}
	if latest {
		part["latestRevision"] = true
	}
	return part
}

// sceneKnative brings versions to an InferenceService in Knative mode: whole, as a canary,
// and back.
func sceneKnative(p *stage) {
	p.do("POST", kserve, object(p.t, strings.Replace(service, "MODE", "Knative", 1), "serving.kserve.io/v1beta1", "InferenceService", "fraud"))
	p.knative(1, "oci://registry.example/models/fraud:latest", calls(1, 100, true))
	one, two := versionOf(1), versionOf(2)
	f := p.open("here", map[string]string{"form": "knative"})
	p.sees("before anything", f, "unpinned:oci://registry.example/models/fraud:latest", "", 0)
	p.tells("a version, without calls", f, deploy.Desired{Revision: 1, Main: &one})
	p.knative(2, "oci://"+reference(1), calls(2, 0, true), calls(1, 100, false))
	p.tells("all calls", f, deploy.Desired{Revision: 1, Main: &one})
	p.knative(2, "", calls(2, 100, true))
	p.sees("all calls", f, digest(1), "", 0)
	p.keeps(f)
	p.tells("a canary, without calls", f, deploy.Desired{Revision: 2, Main: &one, Beside: &two, Weight: 10})
	p.knative(3, "oci://"+reference(2), calls(3, 0, true), calls(2, 100, false))
	p.tells("a canary with a share", f, deploy.Desired{Revision: 2, Main: &one, Beside: &two, Weight: 10})
	p.knative(3, "", calls(3, 10, true), calls(2, 90, false))
	p.sees("a canary with a share", f, digest(1), digest(2), 10)
	p.tells("back", f, deploy.Desired{Revision: 3, Main: &one, Safe: true})
	p.knative(4, "oci://"+reference(1), calls(4, 0, true), calls(2, 100, false))
	p.sees("back", f, digest(1), "", 0)
	p.do("PATCH", kserve+"/fraud", fields{"spec": fields{"predictor": fields{"model": fields{"storageUri": nil, "storage": fields{"key": "x"}}}}})
	p.refused("a model that comes otherwise", f, deploy.Desired{Revision: 4, Main: &one}, pavise.Invalid, "no predictor that takes one model by a storageUri")
}

// made is a Deployment as KServe makes it in Standard mode.
func made(t testing.TB, name, uri string) fields {
	return object(t, `{"spec":{"replicas":2,"selector":{"matchLabels":{"app":"`+name+`"}},"template":{"metadata":{"labels":{"app":"`+name+`"},"annotations":{"`+source+`":"`+uri+`"}},
"spec":{"containers":[{"name":"kserve-container","image":"kserve/sklearnserver:latest"}]}}}}`, "apps/v1", "Deployment", name)
}

// sceneStandard brings versions to an InferenceService in Standard mode: whole, as a second
// predictor, and back.
func sceneStandard(p *stage) {
	p.do("POST", kserve, object(p.t, strings.Replace(service, "MODE", "Standard", 1), "serving.kserve.io/v1beta1", "InferenceService", "fraud"))
	p.do("POST", apps+"deployments", made(p.t, "fraud-predictor", "oci://registry.example/models/fraud:latest"))
	p.settle()
	ready := fields{"conditions": []any{fields{"type": "Ready", "status": "True"}}}
	p.do("PATCH", kserve+"/fraud/status", fields{"status": ready})
	one, two := versionOf(1), versionOf(2)
	f := p.open("here", map[string]string{"form": "standard"})
	p.sees("before anything", f, "unpinned:oci://registry.example/models/fraud:latest", "", 0)
	p.tells("a version", f, deploy.Desired{Revision: 1, Main: &one})
	p.do("PATCH", apps+"deployments/fraud-predictor", fields{"spec": fields{"template": fields{"metadata": fields{"annotations": fields{source: "oci://" + reference(1)}}}}})
	p.settle()
	p.sees("a version", f, digest(1), "", 0)
	p.tells("a canary", f, deploy.Desired{Revision: 2, Main: &one, Beside: &two, Weight: 30})
	p.do("POST", apps+"deployments", made(p.t, "fraud-"+canary+"-predictor", "oci://"+reference(2)))
	p.settle()
	p.do("PATCH", kserve+"/fraud/status", fields{"status": merged(ready, fields{"canaryStatuses": []any{fields{"name": canary, "ready": true, "trafficPercent": 30}}})})
	p.sees("a canary", f, digest(1), digest(2), 30)
	p.keeps(f)
	p.tells("back", f, deploy.Desired{Revision: 3, Main: &one, Safe: true})
	p.do("DELETE", apps+"deployments/fraud-"+canary+"-predictor?propagationPolicy=Background", nil)
	p.do("PATCH", kserve+"/fraud/status", fields{"status": fields{"canaryStatuses": nil}})
	p.sees("back", f, digest(1), "", 0)
}

var scenes = map[string]func(*stage){
	"deployment": sceneDeployment, "others": sceneOthers, "admission": sceneAdmission, "knative": sceneKnative, "standard": sceneStandard,
}

func recording(scene string) string { return filepath.Join("testdata", "recorded", scene+".jsonl") }

// TestRecorded plays the scenes from recordings of a real API server: the requests are those
// that it was sent, and its answers are read as they were meant.
func TestRecorded(t *testing.T) {
	for name, scene := range scenes {
		t.Run(name, func(t *testing.T) {
			was := kubetest.Read(t, recording(name))
			s := kubetest.New(t, kubetest.Play(t, was))
			scene(&stage{t: t, s: s, do: func(string, string, any) {}, settle: func() {}, policy: func(bool) {}})
			if n := len(s.Exchanges()); n != len(was) {
				t.Errorf("%d of %d requests were made", n, len(was))
			}
		})
	}
}

// TestRecord plays the scenes in a real cluster, with the rights that docs/deploy.md lists and
// no others, and keeps what was said in a directory. The cluster must be for tests: it gets
// a namespace, which is taken away again, and kinds of KServe and Knative and the admission
// policy, if it has none. The tests do there what kubelets and KServe do.
func TestRecord(t *testing.T) {
	path, dir := os.Getenv("PAVISE_KUBECONFIG"), os.Getenv("PAVISE_KUBE_RECORD")
	if path == "" || dir == "" {
		t.Skip("PAVISE_KUBECONFIG and PAVISE_KUBE_RECORD name no cluster and no directory: nothing was recorded")
	}
	for _, name := range slices.Sorted(maps.Keys(scenes)) {
		t.Run(name, func(t *testing.T) {
			hand, account := kubetest.Real(t, path, space)
			prepare(t, hand)
			s := kubetest.New(t, account)
			p := &stage{t: t, s: s, settle: func() { hand.Settle(space) }}
			p.do = func(method, path string, body any) { hand.Do(method, path, body) }
			p.policy = func(on bool) { hold(t, hand, on) }
			scenes[name](p)
			kubetest.Write(t, filepath.Join(dir, name+".jsonl"), kubetest.Clean(t, s.Exchanges()))
		})
	}
	t.Run("verdicts", func(t *testing.T) {
		hand, _ := kubetest.Real(t, path, space)
		prepare(t, hand)
		hold(t, hand, true)
		verdicts := map[string]string{}
		for name, c := range admitted(t) {
			at := apps + "deployments?dryRun=All"
			if c.policy != "pavise-deployments" {
				at = kserve + "?dryRun=All"
			}
			if status, answer := hand.Try("POST", at, c.object); status != http.StatusCreated {
				verdicts[name] = fmt.Sprint(answer["message"])
			} else {
				verdicts[name] = ""
			}
		}
		text, _ := json.MarshalIndent(verdicts, "", "\t")
		if err := os.WriteFile(filepath.Join(dir, "verdicts.json"), append(text, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	})
}

// prepare gives Pavise's account its rights, and the cluster the kinds that it may lack.
func prepare(t *testing.T, hand *kubetest.Hand) {
	var rules []any
	for _, r := range rights(t) {
		rules = append(rules, fields{"apiGroups": []any{r.group}, "resources": []any{r.plural}, "verbs": r.verbs})
	}
	hand.Grant(space, rules...)
	for _, kind := range documents(t, filepath.Join("testdata", "kinds.yaml")) {
		const at = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
		name := kube.Object(kind).Text("metadata", "name")
		if status, _ := hand.Try("GET", at+"/"+name, nil); status == http.StatusNotFound {
			hand.Do("POST", at, kind)
			spec := kube.Object(kind).At("spec")
			hand.Until(name+" is served", func() bool {
				status, _ := hand.Try("GET", "/apis/"+spec.Text("group")+"/"+spec.List("versions")[0].Text("name")+"/"+spec.Text("names", "plural"), nil)
				return status == http.StatusOK
			})
		}
	}
	for _, o := range documents(t, "admission.yaml") {
		at := "/apis/admissionregistration.k8s.io/v1/" + map[string]string{"ValidatingAdmissionPolicy": "validatingadmissionpolicies", "ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings"}[o["kind"].(string)]
		if status, answer := hand.Try("POST", at, o); status != http.StatusCreated && status != http.StatusConflict {
			t.Fatal(answer["message"])
		}
	}
}

// hold has the policy hold for the namespace, or not, and waits until it does.
func hold(t *testing.T, hand *kubetest.Hand, on bool) {
	hand.Do("PATCH", "/api/v1/namespaces/"+space, fields{"metadata": fields{"labels": fields{"pavise.dev/models": map[bool]any{true: "true"}[on]}}})
	probes := map[string]fields{apps + "deployments": made(t, "probe", "x"), kserve: {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", "metadata": fields{"name": "probe"}, "spec": fields{"predictor": fields{"model": fields{"modelFormat": fields{"name": "sklearn"}}}}}}
	hand.Until("the admission policy holds", func() bool {
		for at, o := range probes {
			if status, _ := hand.Try("POST", at+"?dryRun=All", o); (status == http.StatusCreated) == on {
				return false
			}
		}
		return true
	})
}

// documents reads the objects of a file of YAML.
func documents(t testing.TB, path string) (list []fields) {
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for dec := yaml.NewDecoder(f); ; {
		var o fields
		if dec.Decode(&o) != nil {
			return list
		}
		text, err := json.Marshal(o) // as JSON has it
		if err != nil {
			t.Fatal(err)
		}
		o = nil
		if err := json.Unmarshal(text, &o); err != nil {
			t.Fatal(err)
		}
		list = append(list, o)
	}
}

// A right is what an account may do with one kind.
type right struct {
	plural, group string
	verbs         []string
}

// rights are those that docs/deploy.md lists.
func rights(t testing.TB) (list []right) {
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "deploy.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "| resources | verbs |\n|---|---|\n")
	for line := range strings.Lines(table) {
		cell := strings.Split(strings.TrimSpace(line), "|")
		if len(cell) != 4 {
			break
		}
		verbs := strings.Split(strings.TrimSpace(cell[2]), ", ")
		for i, name := range strings.Split(cell[1], "`") {
			if plural, group, _ := strings.Cut(name, "."); i%2 == 1 {
				list = append(list, right{plural, group, verbs})
			}
		}
	}
	if len(list) < 5 {
		t.Fatalf("docs/deploy.md lists %v", list)
	}
	return list
}

// TestRights holds the rights that docs/deploy.md lists to what was asked in the recordings,
// under these rights alone: each is needed.
func TestRights(t *testing.T) {
	used := map[string]bool{}
	for name := range scenes {
		for _, e := range kubetest.Read(t, recording(name)) {
			part := strings.Split(strings.Trim(e.Path, "/"), "/")
			if len(part) < 6 || part[4] != space || e.Status == http.StatusForbidden {
				continue
			}
			verb := cmp.Or(map[bool]string{true: "list"}[e.Method == "GET" && len(part) == 6], strings.ToLower(e.Method))
			used[part[5]+"."+part[1]+" "+verb] = true
			if e.Status == http.StatusCreated {
				used[part[5]+"."+part[1]+" create"] = true
			}
		}
	}
	var listed []string
	for _, r := range rights(t) {
		for _, verb := range r.verbs {
			listed = append(listed, r.plural+"."+r.group+" "+verb)
		}
	}
	slices.Sort(listed)
	if is := slices.Sorted(maps.Keys(used)); !slices.Equal(slices.Compact(listed), is) {
		t.Errorf("docs/deploy.md lists\n%q, and asked were\n%q", listed, is)
	}
}

// TestRecordingsAreClean looks for what must not be kept of a cluster: credentials, and what
// is another each time. All recordings have 300 kB at most.
func TestRecordingsAreClean(t *testing.T) {
	paths, _ := filepath.Glob(filepath.Join("testdata", "recorded", "*"))
	others, _ := filepath.Glob(filepath.Join("..", "..", "kube", "testdata", "recorded", "*"))
	total := 0
	for _, path := range append(paths, others...) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		total += len(text)
		for _, found := range regexp.MustCompile(`(?i)bearer|"token|secret|BEGIN |\d{4}-\d\d-\d\dT[0-9:]+|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-`).FindAllString(string(text), -1) {
			if !strings.HasPrefix(found, "1970-") && found != "2026-01-01T00:00:00" {
				t.Errorf("%s has %q", path, found)
			}
		}
	}
	if len(paths)+len(others) != len(scenes)+2 || total > 300_000 {
		t.Errorf("%d recordings of %d bytes", len(paths)+len(others), total)
	}
}
