package kubernetes

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/deploy"
)

const workload = `{"metadata":{"labels":{"app":"fraud"}},"spec":{"replicas":3,"selector":{"matchLabels":{"app":"fraud"}},"template":{"spec":{
"containers":[{"name":"sidecar","image":"proxy:1"},{"name":"model","image":"registry.example/models/fraud:latest"}],
"volumes":[{"name":"tmp"},{"name":"weights","image":{"reference":"registry.example/models/fraud:latest"}}]}}}}`

var asImage = map[string]string{"form": "deployment", "container": "model"}

func apply(t *testing.T, f deploy.Target, d deploy.Desired) {
	t.Helper()
	if err := f.Apply(t.Context(), d); err != nil {
		t.Fatal(err)
	}
}

// expect looks at a target.
func expect(t *testing.T, f deploy.Target, main, beside string, weight int) deploy.State {
	t.Helper()
	s, err := f.Observe(t.Context())
	if err != nil || s.Main != main || s.Beside != beside || s.Weight != weight {
		t.Fatalf("%+v %v, want %s %s %d", s, err, main, beside, weight)
	}
	return s
}

// TestDeployment brings versions to a Deployment, as an image and as a volume, and back:
// nothing else of it is touched, and a revision alone rolls nothing.
func TestDeployment(t *testing.T) {
	for _, set := range []map[string]string{asImage, {"form": "deployment", "volume": "weights"}} {
		c := newCluster(t)
		c.edit("deployments/fraud", workload)
		f := c.open("here", set)
		one, two := versionOf(1), versionOf(2)
		apply(t, f, deploy.Desired{Revision: 1, Main: &one})
		s := expect(t, f, digest(1), "", 0)
		if !s.Healthy || s.Unproven != "" || s.Reached != 3 || s.Of != 3 {
			t.Errorf("%+v", s)
		}
		c.slow = 4
		apply(t, f, deploy.Desired{Revision: 2, Main: &two})
		expect(t, f, digest(2), "", 0)
		generation := c.get("deployments/fraud").Int("metadata", "generation")
		apply(t, f, deploy.Desired{Revision: 3, Main: &two})
		is := c.get("deployments/fraud")
		if is.Int("metadata", "generation") != generation || c.get("leases/pavise-deployment-fraud").Text("metadata", "annotations", noteSeen) != "3" {
			t.Errorf("%v %v", is, c.get("leases/pavise-deployment-fraud"))
		}
		template := is.At("spec", "template")
		if template.Text("metadata", "annotations", noteVersion) != "fraud/2" || template.Text("metadata", "annotations", noteDigest) != digest(102) || is.Text("metadata", "annotations", noteDigest) != digest(102) ||
			template.List("spec", "containers")[0].Text("image") != "proxy:1" || len(template.List("spec", "volumes")) != 2 {
			t.Errorf("%v", template)
		}
		apply(t, f, deploy.Desired{Revision: 4, Main: &one, Safe: true})
		expect(t, f, digest(1), "", 0)
	}
}

// TestDeploymentHalfway sees replicas of two versions, a rollout that does not go on, and the
// process that brought it killed: the next one goes on.
func TestDeploymentHalfway(t *testing.T) {
	c := newCluster(t)
	c.edit("deployments/fraud", workload)
	f := c.open("here", asImage)
	one, two := versionOf(1), versionOf(2)
	apply(t, f, deploy.Desired{Revision: 1, Main: &one})
	c.slow = 1 << 30
	f.(*target).cfg.Patience = 20 * time.Millisecond
	if err := f.Apply(t.Context(), deploy.Desired{Revision: 2, Main: &two}); pavise.KindOf(err) != pavise.Unavailable || !strings.Contains(err.Error(), "1 of 3 replicas have it") {
		t.Errorf("%v", err)
	}
	if s := expect(t, f, digest(1), digest(2), 25); s.Healthy || s.Reached != 1 {
		t.Errorf("%+v", s)
	}
	c.slow = 0
	apply(t, c.open("here", asImage), deploy.Desired{Revision: 2, Main: &two})
	c.stuck = true
	for text, want := range map[string]string{
		`{"status":{"conditions":[{"type":"Progressing","status":"False","message":"the deadline is over"}],"updatedReplicas":2}}`: "2 of 3 replicas have it: the deadline is over",
		`{"status":{"updatedReplicas":3,"replicas":4}}`:                         "replicas of before run still",
		`{"status":{"updatedReplicas":3,"replicas":3,"availableReplicas":1}}`:   "1 of 3 replicas answer",
		`{"status":{"updatedReplicas":3,"replicas":3,"observedGeneration":-1}}`: "no controller has seen",
		`{"spec":{"replicas":0}}`:                                               "scaled to 0",
	} {
		was := c.get("deployments/fraud")
		c.edit("deployments/fraud", text)
		if s, err := f.Observe(t.Context()); err != nil || s.Healthy || !strings.Contains(s.Problem, want) {
			t.Errorf("%s: %+v %v", text, s, err)
		}
		c.objects["deployments/fraud"] = was
	}
}

// TestUnapprovedIsSeen has somebody else change what runs, by a tag, by another digest, and
// by a wish that is not carried out yet; and a server that contradicts itself.
func TestUnapprovedIsSeen(t *testing.T) {
	c := newCluster(t)
	c.edit("deployments/fraud", workload)
	f := c.open("here", asImage)
	one := versionOf(1)
	apply(t, f, deploy.Desired{Revision: 1, Main: &one})
	evil := `{"spec":{"template":{"spec":{"containers":[{"name":"model","image":"evil.example/fraud@` + digest(66) + `"}]}}}}`
	c.stuck = true
	c.edit("deployments/fraud", evil)
	expect(t, f, digest(1), digest(66), 0)
	c.stuck = false
	expect(t, f, digest(66), "", 0)
	apply(t, f, deploy.Desired{Revision: 1, Main: &one})
	expect(t, f, digest(1), "", 0)
	c.edit("deployments/fraud", strings.Replace(evil, "@"+digest(66), ":v1", 1))
	expect(t, f, "unpinned:evil.example/fraud:v1", "", 0)
	apply(t, f, deploy.Desired{Revision: 1, Main: &one})
	// Replica sets of other Deployments, with the same labels, are not looked at.
	c.objects["replicasets/other"] = fields{"kind": "ReplicaSet", "metadata": fields{"labels": fields{"app": "fraud"}, "ownerReferences": []any{fields{"uid": "another"}}}, "status": fields{"replicas": int64(9)}}
	expect(t, f, digest(1), "", 0)
	// The status says that all is well, and a replica set of something else has replicas.
	c.stuck = true
	c.objects["replicasets/hidden"] = fields{"kind": "ReplicaSet", "metadata": fields{"labels": fields{"app": "fraud"}, "ownerReferences": []any{fields{"uid": "uid-deployments/fraud"}}}, "spec": fields{"template": fields{"spec": fields{"containers": []any{fields{"name": "model", "image": "evil.example/x"}}}}}, "status": fields{"replicas": int64(1)}}
	expect(t, f, digest(1), "unpinned:evil.example/x", 25)
}

// TestTwoControllers has another installation steer the object, this one at a lower revision,
// two at the same moment, and somebody change the object between the look and the act.
func TestTwoControllers(t *testing.T) {
	c := newCluster(t)
	c.edit("deployments/fraud", workload)
	here, there := c.open("here", asImage), c.open("there", asImage)
	one, two := versionOf(1), versionOf(2)
	apply(t, here, deploy.Desired{Revision: 7, Main: &one})
	for what, d := range map[string]struct {
		f        deploy.Target
		revision uint64
	}{"another": {there, 9}, "a lower revision": {here, 6}} {
		if err := d.f.Apply(t.Context(), deploy.Desired{Revision: d.revision, Main: &two}); pavise.KindOf(err) != pavise.Conflict {
			t.Errorf("%s: %v", what, err)
		}
	}
	expect(t, here, digest(1), "", 0)

	// Changed between the look and the act: it is looked at again.
	c.before["PATCH deployments/fraud"] = func() { c.change("deployments/fraud", `{"metadata":{"annotations":{"x":"y"}}}`) }
	apply(t, here, deploy.Desired{Revision: 8, Main: &two})
	if n := len(slices.DeleteFunc(slices.Clone(c.calls), func(s string) bool { return s != "PATCH deployments/fraud" })); n != 3 {
		t.Errorf("it was changed %d times", n)
	}

	// A faster one takes the Lease and the object in between.
	c.before["PATCH deployments/fraud"] = func() {
		c.change("leases/pavise-deployment-fraud", `{"metadata":{"annotations":{"pavise.dev/revision":"20"}}}`)
		c.change("deployments/fraud", `{"metadata":{"annotations":{"x":"z"}}}`)
	}
	if err := here.Apply(t.Context(), deploy.Desired{Revision: 9, Main: &one}); pavise.KindOf(err) != pavise.Conflict || !strings.Contains(err.Error(), "revision 20") {
		t.Errorf("%v", err)
	}
	expect(t, here, digest(2), "", 0)

	// Two make the Lease at once.
	delete(c.objects, "leases/pavise-deployment-fraud")
	c.before["PATCH leases/pavise-deployment-fraud"] = func() {
		c.change("leases/pavise-deployment-fraud", `{"manager":"pavise-there","spec":{"holderIdentity":"pavise there local/target/k8s"}}`)
	}
	if err := here.Apply(t.Context(), deploy.Desired{Revision: 9, Main: &one}); pavise.KindOf(err) != pavise.Conflict || !strings.Contains(err.Error(), "somebody else") {
		t.Errorf("%v", err)
	}
	expect(t, here, digest(2), "", 0)
}

// TestRefusals asks for what cannot be, of servers that refuse.
func TestRefusals(t *testing.T) {
	c := newCluster(t)
	c.edit("deployments/fraud", workload)
	f := c.open("here", asImage)
	one := versionOf(1)
	for _, d := range []deploy.Desired{{}, {Main: &one, Shadow: true}, {Main: &one, Beside: &one, Weight: 10}, {Main: &deploy.Version{}}} {
		if err := f.Apply(t.Context(), d); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%+v: %v", d, err)
		}
	}
	for _, set := range []map[string]string{{"form": "deployment", "container": "none"}, {"form": "deployment", "volume": "tmp"}} {
		if err := c.open("here", set).Apply(t.Context(), deploy.Desired{Main: &one}); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%v: %v", set, err)
		}
	}
	for status, kind := range map[int]pavise.Kind{429: pavise.Throttled, 500: pavise.Unavailable, 403: pavise.Denied} {
		for _, call := range []string{"GET deployments/fraud", "GET leases/pavise-deployment-fraud", "PATCH leases/pavise-deployment-fraud", "PATCH deployments/fraud", "GET replicasets"} {
			delete(c.objects, "leases/pavise-deployment-fraud")
			c.edit("deployments/fraud", workload)
			c.fail[call] = status
			if err := f.Apply(t.Context(), deploy.Desired{Revision: 1, Main: &one}); pavise.KindOf(err) != kind {
				t.Errorf("%s %d: %v", call, status, err)
			}
		}
	}
	delete(c.objects, "deployments/fraud")
	if _, err := f.Observe(t.Context()); pavise.KindOf(err) != pavise.NotFound {
		t.Errorf("%v", err)
	}
	for _, set := range []map[string]string{
		{"form": "pod"}, {"form": "deployment"}, {"form": "deployment", "container": "a", "volume": "b"}, {"form": "knative", "container": "a"},
		{"form": "knative", "namespace": "../x"}, {"form": "knative", "name": "A"}, {"form": "knative", "repository": "registry.example/fraud:latest"},
		{"form": "knative", "repository": "registry.example/fraud@" + digest(1)}, {"form": "knative", "repository": "fraud"},
	} {
		all := map[string]string{"namespace": "ml", "name": "fraud", "repository": "registry.example/models/fraud"}
		for k, v := range set {
			all[k] = v
		}
		if _, err := Driver(Config{}).Open(pavise.Name{}, all); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%v: %v", set, err)
		}
	}
}

// TestSimulated says so when what answers is of no release, or when no controller moves.
func TestSimulated(t *testing.T) {
	c := newCluster(t)
	c.edit("deployments/fraud", workload)
	f := c.open("here", asImage)
	c.stuck = true
	if s := expect(t, f, "", "unpinned:registry.example/models/fraud:latest", 0); !strings.HasPrefix(s.Unproven, "simulated: the status") {
		t.Errorf("%+v", s)
	}
	c.stuck = false
	if s, err := f.Observe(t.Context()); err != nil || s.Unproven != "" {
		t.Errorf("%+v %v", s, err)
	}
	c.version = `{"gitVersion":"v1.36.3"}`
	if s, err := f.Observe(t.Context()); err != nil || !strings.HasPrefix(s.Unproven, "simulated: what answers") {
		t.Errorf("%+v %v", s, err)
	}
}

// FuzzObserve has objects say anything of themselves, in each form.
func FuzzObserve(f *testing.F) {
	for _, text := range []string{
		`{}`, `{"spec":{"replicas":-1,"selector":{"matchLabels":{"a":3}}},"status":{"replicas":9223372036854775807,"conditions":[{"type":"Ready","status":"True"}]}}`,
		`{"spec":{"template":{"spec":{"containers":[{"name":"model","image":"x"}]}}},"status":{"replicas":4000000000000000000}}`,
		`{"spec":{"canary":[{"predictor":{"name":"a"},"trafficPercent":100}]},"status":{"canaryStatuses":[{"name":"a","ready":true,"trafficPercent":-9}]}}`,
		`{"status":{"components":{"predictor":{"latestReadyRevision":"a","traffic":[{"revisionName":"../x","percent":50},{"percent":50,"latestRevision":true}]}}}}`, workload, service,
	} {
		f.Add(text)
	}
	c := newCluster(f)
	c.stuck = true
	one := versionOf(1)
	var targets []*target
	for _, set := range []map[string]string{asImage, {"form": "knative"}, {"form": "standard"}} {
		t := c.open("here", set).(*target)
		t.cfg.Patience = time.Nanosecond
		targets = append(targets, t)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var with fields
		if json.Unmarshal([]byte(text), &with) != nil || with == nil {
			return
		}
		c.mu.Lock()
		c.objects = map[string]fields{}
		for key, kind := range map[string]string{"deployments/fraud": "Deployment", "deployments/fraud-predictor": "Deployment", "inferenceservices/fraud": "InferenceService", "revisions/a": "Revision", "replicasets/a": "ReplicaSet", "replicasets/b": "ReplicaSet"} {
			o := maps.Clone(with)
			_, name, _ := strings.Cut(key, "/")
			o["kind"], o["apiVersion"], o["metadata"] = kind, "v1", fields{"name": name, "namespace": "ml", "uid": "u", "ownerReferences": []any{fields{"uid": "u"}}}
			c.objects[key] = o
		}
		c.objects["replicasets/b"]["spec"] = fields{}
		c.mu.Unlock()
		for _, target := range targets {
			if s, err := target.Observe(t.Context()); err == nil && (s.Weight < 0 || s.Weight > 100) {
				t.Errorf("%+v", s)
			}
			is, _ := target.cluster.Get(t.Context(), services, "ml", "fraud")
			_, _ = target.template(is, deploy.Desired{Main: &one})
			_, _ = target.variants(is, deploy.Desired{Main: &one, Beside: &one})
			_, _ = target.split(t.Context(), is, deploy.Desired{Main: &one, Beside: &one})
		}
	})
}
