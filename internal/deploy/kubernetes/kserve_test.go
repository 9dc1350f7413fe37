package kubernetes

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/deploy"
	"github.com/pavise/pavise/internal/kube"
)

const service = `{"metadata":{"annotations":{"serving.kserve.io/deploymentMode":"MODE"}},"spec":{"predictor":{"minReplicas":2,"maxReplicas":5,"annotations":{"mine":"stays"},
"model":{"modelFormat":{"name":"sklearn"},"storageUri":"oci://registry.example/models/fraud:latest"}}}}`

// TestKnative brings versions to an InferenceService in Knative mode: whole, as a canary, on
// from there and back. No step gives calls to what should have none.
func TestKnative(t *testing.T) {
	c := newCluster(t)
	c.slow = 40
	c.edit("inferenceservices/fraud", strings.Replace(service, "MODE", "Knative", 1))
	f := c.open("here", map[string]string{"form": "knative"})
	one, two, three := versionOf(1), versionOf(2), versionOf(3)
	only := func(what string, allowed ...string) {
		t.Helper()
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, who := range c.served {
			found := false
			for _, a := range allowed {
				found = found || who == a
			}
			if !found {
				t.Errorf("%s: calls went to %q", what, who)
			}
		}
		c.served = nil
	}
	apply(t, f, deploy.Desired{Revision: 1, Main: &one})
	if s := expect(t, f, digest(1), "", 0); !s.Healthy || s.Unproven != "" {
		t.Errorf("%+v", s)
	}
	c.served = nil

	apply(t, f, deploy.Desired{Revision: 2, Main: &one, Beside: &two, Weight: 10})
	expect(t, f, digest(1), digest(2), 10)
	apply(t, f, deploy.Desired{Revision: 3, Main: &one, Beside: &two, Weight: 60})
	expect(t, f, digest(1), digest(2), 60)
	is := c.get("inferenceservices/fraud").At("spec", "predictor")
	if is.Text("annotations", noteDigest) != digest(102) || is.Text("annotations", "mine") != "stays" || is.Text("model", "storageUri") != "oci://"+reference(2) || is.Text("model", "modelFormat", "name") != "sklearn" {
		t.Errorf("%v", is)
	}
	v1, v2 := " "+digest(1), " "+digest(2)
	only("a canary", "100"+v1, "100"+v1+", 0"+v2, "10"+v2+", 90"+v1, "60"+v2+", 40"+v1)

	// The way back is at once, long before its own revision is ready; the newest ready one is
	// still what was taken back when the next release comes.
	f.(*target).cfg.Patience = 5 * time.Millisecond
	if err := f.Apply(t.Context(), deploy.Desired{Revision: 4, Main: &one, Safe: true}); pavise.KindOf(err) != pavise.Unavailable {
		t.Errorf("%v", err)
	}
	expect(t, f, digest(1), "", 0)
	c.mu.Lock()
	if c.served = c.served[slices.Index(c.served, "100"+v1):]; strings.Contains(strings.Join(c.served, "\n"), digest(2)) {
		t.Errorf("what was taken back had calls: %q", c.served)
	}
	if ready := kube.Object(c.objects["inferenceservices/fraud"]).Text("status", "components", "predictor", "latestReadyRevision"); sourceOf(c.objects["revisions/"+ready]) != "oci://"+reference(2) {
		t.Error("the newest ready revision is another already")
	}
	c.old[kube.Object(c.objects["inferenceservices/fraud"]).Text("status", "components", "predictor", "latestCreatedRevision")] = -1000 // it is never ready
	c.served = nil
	c.mu.Unlock()
	f.(*target).cfg.Patience = 3 * time.Second
	apply(t, f, deploy.Desired{Revision: 5, Main: &three})
	expect(t, f, digest(3), "", 0)
	only("a whole release", "100"+v1, "100 "+digest(3))
	apply(t, f, deploy.Desired{Revision: 6, Main: &three, Beside: &two, Weight: 5})
	apply(t, f, deploy.Desired{Revision: 7, Main: &two})
	expect(t, f, digest(2), "", 0)
	only("a promotion", "100 "+digest(3), "5"+v2+", 95 "+digest(3), "100"+v2)
	apply(t, f, deploy.Desired{Revision: 8, Main: &three, Safe: true})
	expect(t, f, digest(3), "", 0)
	only("a rollback of a whole release", "100"+v2, "100 "+digest(3))
	apply(t, f, deploy.Desired{Revision: 9, Main: &one, Beside: &two, Weight: 10})
	expect(t, f, digest(1), digest(2), 10)
	only("another version with a canary", "100 "+digest(3), "100"+v1, "10"+v2+", 90"+v1)

	// A canary is taken back before it is ready, and is ready before the way back is.
	apply(t, f, deploy.Desired{Revision: 10, Main: &one})
	c.served = nil
	f.(*target).cfg.Patience = 5 * time.Millisecond
	if err := f.Apply(t.Context(), deploy.Desired{Revision: 11, Main: &one, Beside: &three, Weight: 10}); pavise.KindOf(err) != pavise.Unavailable {
		t.Errorf("%v", err)
	}
	f.(*target).cfg.Patience = 3 * time.Second
	apply(t, f, deploy.Desired{Revision: 12, Main: &one, Safe: true})
	expect(t, f, digest(1), "", 0)
	only("taken back before it is ready", "100"+v1)

	// No controller has seen the wish yet: what is ready is of the wish before.
	c.mu.Lock()
	c.stuck = true
	c.mu.Unlock()
	f.(*target).cfg.Patience = 20 * time.Millisecond
	if err := f.Apply(t.Context(), deploy.Desired{Revision: 13, Main: &three}); pavise.KindOf(err) != pavise.Unavailable {
		t.Errorf("%v", err)
	}
	if p := c.get("inferenceservices/fraud").At("spec", "predictor"); p.Text("model", "storageUri") != "oci://"+reference(3) || p.Int("canaryTrafficPercent") != 0 {
		t.Errorf("%v", p)
	}
}

// TestKnativeIsWatched shows what somebody else brings, and what KServe says is not well.
func TestKnativeIsWatched(t *testing.T) {
	c := newCluster(t)
	c.edit("inferenceservices/fraud", strings.Replace(service, "MODE", "Knative", 1))
	f := c.open("here", map[string]string{"form": "knative"})
	one := versionOf(1)
	apply(t, f, deploy.Desired{Revision: 1, Main: &one})
	c.slow = 1 << 30
	c.edit("inferenceservices/fraud", `{"spec":{"predictor":{"model":{"storageUri":"s3://evil/model"}}}}`)
	if s := expect(t, f, digest(1), "unpinned:s3://evil/model", 0); s.Healthy || !strings.Contains(s.Problem, "newest revision is not ready") {
		t.Errorf("%+v", s)
	}
	c.slow = 0
	expect(t, f, "unpinned:s3://evil/model", "", 0)
	apply(t, f, deploy.Desired{Revision: 1, Main: &one})
	expect(t, f, digest(1), "", 0)
	c.stuck = true
	c.edit("inferenceservices/fraud", `{"status":{"components":{"predictor":{"traffic":[{"revisionName":"a","percent":50},{"revisionName":"b","percent":30},{"revisionName":"c","percent":20},{"percent":900}]}}}}`)
	s, err := f.Observe(t.Context())
	if err != nil || s.Main != "unpinned:a" || s.Beside != "unpinned:b and unpinned:c and "+digest(1) {
		t.Errorf("%+v %v", s, err)
	}
	c.edit("inferenceservices/fraud", `{"spec":{"predictor":{"model":{"storage":{"key":"x"}}}}}`)
	if err := f.Apply(t.Context(), deploy.Desired{Revision: 2, Main: &one}); pavise.KindOf(err) != pavise.Invalid {
		t.Errorf("%v", err)
	}
}

// TestStandard brings versions to an InferenceService in Standard mode: whole, as a second
// predictor with a share of the calls, on from there and back.
func TestStandard(t *testing.T) {
	c := newCluster(t)
	c.edit("inferenceservices/fraud", strings.Replace(service, "MODE", "Standard", 1))
	f := c.open("here", map[string]string{"form": "standard"})
	one, two := versionOf(1), versionOf(2)
	apply(t, f, deploy.Desired{Revision: 1, Main: &one})
	if s := expect(t, f, digest(1), "", 0); !s.Healthy || s.Unproven != "" {
		t.Errorf("%+v", s)
	}
	if c.get("inferenceservices/fraud").Has("spec", "canary") {
		t.Error("a field that KServe may not have was set, and is not needed")
	}
	c.slow = 3
	apply(t, f, deploy.Desired{Revision: 2, Main: &one, Beside: &two, Weight: 70})
	expect(t, f, digest(1), digest(2), 70)
	second := c.get("inferenceservices/fraud").List("spec", "canary")[0]
	if p := second.At("predictor"); p.Has("maxReplicas") || p.Has("minReplicas") || p.Text("name") != canary || p.Text("model", "name") != "kserve-container" || p.Text("model", "modelFormat", "name") != "sklearn" ||
		p.Text("model", "storageUri") != "oci://"+reference(2) || p.Text("annotations", noteDigest) != digest(102) || p.Text("annotations", "mine") != "stays" {
		t.Errorf("%v", second)
	}
	apply(t, f, deploy.Desired{Revision: 3, Main: &two})
	expect(t, f, digest(2), "", 0)
	apply(t, f, deploy.Desired{Revision: 4, Main: &two, Beside: &one, Weight: 5})
	apply(t, f, deploy.Desired{Revision: 5, Main: &two, Safe: true})
	expect(t, f, digest(2), "", 0)

	// A canary that is not ready has no calls; one that KServe does not know of is not there.
	apply(t, f, deploy.Desired{Revision: 6, Main: &two, Beside: &one, Weight: 5})
	c.stuck = true
	was := c.get("inferenceservices/fraud")["status"].(fields)
	for list, want := range map[string]string{`[{"name":"pavise-canary","ready":false,"trafficPercent":5}]`: "is not ready", `[]`: "says nothing of the canary"} {
		c.edit("inferenceservices/fraud", `{"status":{"canaryStatuses":`+list+`}}`)
		if s := expect(t, f, digest(2), digest(1), 0); s.Healthy || !strings.Contains(s.Problem, want) {
			t.Errorf("%+v", s)
		}
	}
	c.objects["inferenceservices/fraud"]["status"] = was
	// Somebody adds a canary of their own.
	c.edit("inferenceservices/fraud", `{"spec":{"canary":[{"predictor":{"name":"evil","model":{"storageUri":"oci://evil.example/x"}},"trafficPercent":100}]}}`)
	if s, err := f.Observe(t.Context()); err != nil || s.Healthy || s.Beside != "unpinned:oci://evil.example/x" {
		t.Errorf("%+v %v", s, err)
	}
	c.stuck = false
	apply(t, f, deploy.Desired{Revision: 7, Main: &two})
	expect(t, f, digest(2), "", 0)
	delete(c.objects, "deployments/fraud-predictor")
	c.stuck = true
	if s, err := f.Observe(t.Context()); err != nil || s.Healthy || s.Main != "" {
		t.Errorf("%+v %v", s, err)
	}
}

// TestRealCluster steers a Deployment of a real cluster, where somebody names one. Its
// namespace is not looked after: name one of a cluster that is for tests.
func TestRealCluster(t *testing.T) {
	path, name := os.Getenv("PAVISE_KUBECONFIG"), os.Getenv("PAVISE_KUBE_DEPLOYMENT")
	if path == "" || name == "" {
		t.Skip("PAVISE_KUBECONFIG and PAVISE_KUBE_DEPLOYMENT (NAMESPACE/NAME/CONTAINER/REPOSITORY@DIGEST) name none: no real cluster was asked")
	}
	t.Setenv("KUBECONFIG", path)
	part := strings.SplitN(name, "/", 4)
	if len(part) != 4 {
		t.Fatalf("%q is not NAMESPACE/NAME/CONTAINER/REPOSITORY@DIGEST", name)
	}
	repository, pin, _ := strings.Cut(part[3], "@")
	f, err := Driver(Config{Origin: "test", Patience: 2 * time.Minute}).Open(pavise.Name{Tenant: "local", Kind: deploy.KindTarget, ID: "real"}, map[string]string{"form": "deployment", "namespace": part[0], "name": part[1], "container": part[2], "repository": repository})
	if err != nil {
		t.Fatal(err)
	}
	v := versionOf(1)
	v.Files[1].Digest = pin
	apply(t, f, deploy.Desired{Revision: uint64(time.Now().Unix()), Main: &v})
	if s := expect(t, f, pin, "", 0); !s.Healthy || s.Unproven != "" {
		t.Errorf("%+v", s)
	}
}
