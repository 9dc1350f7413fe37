package kube

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/kube/kubetest"
)

const (
	space     = "pavise-leases"
	recording = "testdata/recorded/leases.jsonl"
)

var leases = Resource{"coordination.k8s.io", "v1", "leases", "Lease"}

// lease is a Lease that somebody has.
func lease(name, version, holder string, more map[string]any) Object {
	about, spec := map[string]any{"namespace": space, "name": name}, map[string]any{"holderIdentity": holder}
	if version != "" {
		about["resourceVersion"] = version
	}
	for k, v := range more {
		spec[k] = v
	}
	return Object{"metadata": about, "spec": spec}
}

// scene asks for all that the room can ask for, and for what is refused.
func scene(t *testing.T, s *kubetest.Server) {
	c, err := Open(Config{Path: s.Kubeconfig})
	if err != nil {
		t.Fatal(err)
	}
	kind := func(step string, err error, want pavise.Kind) {
		t.Helper()
		if pavise.KindOf(err) != want {
			t.Errorf("%s: %v, want %v", step, err, want)
		}
	}
	taken := func(step string, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", step, err)
		}
	}
	s.Step("which release")
	if why, err := c.Simulated(t.Context()); err != nil || why != "" {
		t.Errorf("%q %v", why, err)
	}
	s.Step("one is made")
	first, err := c.Apply(t.Context(), leases, "pavise-a", false, lease("one", "", "a", nil))
	taken("made", err)
	s.Step("another manager of the same field")
	_, err = c.Apply(t.Context(), leases, "pavise-b", false, lease("one", "", "b", nil))
	kind("another manager", err, pavise.Conflict)
	s.Step("another manager takes the field")
	version := first.Text("metadata", "resourceVersion")
	second, err := c.Apply(t.Context(), leases, "pavise-b", true, lease("one", version, "b", nil))
	taken("taken", err)
	if second.Text("spec", "holderIdentity") != "b" || second.Text("metadata", "resourceVersion") == version {
		t.Errorf("%v", second)
	}
	s.Step("changed since it was seen")
	_, err = c.Apply(t.Context(), leases, "pavise-b", true, lease("one", version, "c", nil))
	kind("changed since", err, pavise.Conflict)
	s.Step("a field that is none")
	_, err = c.Apply(t.Context(), leases, "pavise-b", true, lease("one", "", "b", map[string]any{"nothing": "x"}))
	kind("no field", err, pavise.Invalid)
	s.Step("a field of another type")
	_, err = c.Apply(t.Context(), leases, "pavise-b", true, lease("one", "", "b", map[string]any{"leaseDurationSeconds": "long"}))
	kind("another type", err, pavise.Invalid)
	s.Step("a value that is not allowed")
	_, err = c.Apply(t.Context(), leases, "pavise-b", true, lease("one", "", "b", map[string]any{"leaseDurationSeconds": -1}))
	kind("not allowed", err, pavise.Invalid)
	s.Step("merged")
	third, err := c.Merge(t.Context(), leases, "pavise-c", lease("one", second.Text("metadata", "resourceVersion"), "c", nil))
	taken("merged", err)
	if third.Text("spec", "holderIdentity") != "c" {
		t.Errorf("%v", third)
	}
	s.Step("merged, and changed since it was seen")
	_, err = c.Merge(t.Context(), leases, "pavise-c", lease("one", version, "d", nil))
	kind("merged, changed since", err, pavise.Conflict)
	s.Step("merged, a field that is none")
	_, err = c.Merge(t.Context(), leases, "pavise-c", lease("one", "", "c", map[string]any{"nothing": "x"}))
	if kind("merged, no field", err, pavise.Invalid); err != nil && !strings.HasSuffix(err.Error(), `unknown field "spec.nothing"`) {
		t.Error(err)
	}
	s.Step("merged, one that is not there")
	_, err = c.Merge(t.Context(), leases, "pavise-c", lease("none", "", "c", nil))
	kind("merged, not there", err, pavise.NotFound)
	s.Step("one that is looked at")
	is, err := c.Get(t.Context(), leases, space, "one")
	taken("looked at", err)
	if is.Text("spec", "holderIdentity") != "c" {
		t.Errorf("%v", is)
	}
	s.Step("one that is not there")
	_, err = c.Get(t.Context(), leases, space, "none")
	kind("not there", err, pavise.NotFound)
	s.Step("a namespace without rights")
	_, err = c.Get(t.Context(), leases, "default", "one")
	kind("no rights", err, pavise.Denied)
	s.Step("a list in pages")
	c.page = 2
	list, err := c.List(t.Context(), leases, space, "app=fraud")
	taken("pages", err)
	if len(list) != 3 || list[2].Text("metadata", "name") != "two" || list[2].Text("kind") != "Lease" {
		t.Errorf("%v", list)
	}
	s.Step("a list of none")
	list, err = c.List(t.Context(), leases, space, "app=none")
	if taken("none", err); len(list) != 0 {
		t.Errorf("%v", list)
	}
	s.Step("a selector that is none")
	_, err = c.List(t.Context(), leases, space, "app=,,x==")
	kind("no selector", err, pavise.Invalid)
}

// TestRecorded plays the scene from a recording of a real API server: the requests are those
// that it was sent, and its answers are read as they were meant.
func TestRecorded(t *testing.T) {
	was := kubetest.Read(t, recording)
	s := kubetest.New(t, kubetest.Play(t, was))
	scene(t, s)
	if n := len(s.Exchanges()); n != len(was) {
		t.Errorf("%d of %d requests were made", n, len(was))
	}
}

// TestRecord plays the scene in a real cluster, which is for tests, and keeps what was said in
// a directory.
func TestRecord(t *testing.T) {
	path, dir := os.Getenv("PAVISE_KUBECONFIG"), os.Getenv("PAVISE_KUBE_RECORD")
	if path == "" || dir == "" {
		t.Skip("PAVISE_KUBECONFIG and PAVISE_KUBE_RECORD name no cluster and no directory: nothing was recorded")
	}
	hand, account := kubetest.Real(t, path, space)
	hand.Grant(space, map[string]any{"apiGroups": []any{leases.Group}, "resources": []any{leases.Plural}, "verbs": []any{"get", "list", "create", "patch"}})
	for _, name := range []string{"two", "three", "four"} {
		o := lease(name, "", "somebody", nil)
		o.At("metadata")["labels"] = map[string]any{"app": "fraud"}
		hand.Do(http.MethodPost, "/apis/coordination.k8s.io/v1/namespaces/"+space+"/leases", o)
	}
	s := kubetest.New(t, account)
	scene(t, s)
	kubetest.Write(t, filepath.Join(dir, filepath.Base(recording)), kubetest.Clean(t, s.Exchanges()))
}
