package kubetest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// A Hand does in a cluster what is not the client's: as the people who own the objects do, as
// a kubelet does, and as KServe's controller. Its account may do all.
type Hand struct {
	t      testing.TB
	base   *url.URL
	client *http.Client
}

// Real asks the cluster of a kubeconfig, in a namespace that is made for it and taken away at
// the end; one that is there already is left alone, and fails the test. The hand has the
// rights of the kubeconfig; who asks by the handler has those of the service account "pavise"
// of the namespace alone.
func Real(t testing.TB, kubeconfig, namespace string) (*Hand, http.Handler) {
	set, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	set.QPS, set.WarningHandler = -1, rest.NoWarnings{}
	base, _, err := rest.DefaultServerUrlFor(set)
	if err != nil {
		t.Fatal(err)
	}
	all, err := rest.HTTPClientFor(set)
	if err != nil {
		t.Fatal(err)
	}
	as := rest.CopyConfig(set)
	as.Impersonate = rest.ImpersonationConfig{UserName: "system:serviceaccount:" + namespace + ":pavise", Groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + namespace, "system:authenticated"}}
	one, err := rest.HTTPClientFor(as)
	if err != nil {
		t.Fatal(err)
	}
	h := &Hand{t: t, base: base, client: all}
	h.Do("POST", "/api/v1/namespaces", map[string]any{"metadata": map[string]any{"name": namespace}})
	t.Cleanup(func() {
		h.Do("DELETE", "/api/v1/namespaces/"+namespace, nil)
		h.Until("the namespace has gone", func() bool {
			status, _ := h.Try("GET", "/api/v1/namespaces/"+namespace, nil)
			return status == http.StatusNotFound
		})
	})
	return h, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		to := *base
		to.Path, to.RawQuery = r.URL.Path, r.URL.RawQuery
		ask, err := http.NewRequestWithContext(r.Context(), r.Method, to.String(), bytes.NewReader(body))
		if err != nil {
			t.Error(err)
			return
		}
		for _, key := range []string{"Accept", "Content-Type", "User-Agent"} {
			ask.Header.Set(key, r.Header.Get(key))
		}
		answer, err := one.Do(ask)
		if err != nil {
			t.Error(err)
			return
		}
		defer answer.Body.Close()
		w.Header().Set("Content-Type", answer.Header.Get("Content-Type"))
		w.WriteHeader(answer.StatusCode)
		if _, err := io.Copy(w, answer.Body); err != nil {
			t.Error(err)
		}
	})
}

// Grant gives the account of the namespace rights in it.
func (h *Hand) Grant(namespace string, rules ...any) {
	h.t.Helper()
	const at = "/apis/rbac.authorization.k8s.io/v1/namespaces/"
	h.Do("POST", at+namespace+"/roles", map[string]any{"metadata": map[string]any{"name": "pavise"}, "rules": rules})
	h.Do("POST", at+namespace+"/rolebindings", map[string]any{
		"metadata": map[string]any{"name": "pavise"},
		"roleRef":  map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "pavise"},
		"subjects": []any{map[string]any{"kind": "ServiceAccount", "name": "pavise", "namespace": namespace}},
	})
}

// Do asks for something that must not be refused, and returns the answer. A PATCH is a JSON
// merge patch.
func (h *Hand) Do(method, path string, body any) map[string]any {
	h.t.Helper()
	status, answer := h.Try(method, path, body)
	if status > 299 {
		h.t.Fatalf("%s %s: %d %v", method, path, status, answer["message"])
	}
	return answer
}

// Try asks for something that may be refused.
func (h *Hand) Try(method, path string, body any) (status int, answer map[string]any) {
	h.t.Helper()
	to := *h.base
	path, to.RawQuery, _ = strings.Cut(path, "?")
	to.Path = path
	text, err := json.Marshal(body)
	if err != nil {
		h.t.Fatal(err)
	}
	ask, err := http.NewRequest(method, to.String(), bytes.NewReader(text))
	if err != nil {
		h.t.Fatal(err)
	}
	ask.Header.Set("User-Agent", "somebody")
	ask.Header.Set("Content-Type", map[bool]string{true: "application/merge-patch+json", false: "application/json"}[method == "PATCH"])
	got, err := h.client.Do(ask)
	if err != nil {
		h.t.Fatal(err)
	}
	defer got.Body.Close()
	text, err = io.ReadAll(got.Body)
	if err != nil {
		h.t.Fatalf("%s %s: %d %v", method, path, got.StatusCode, err)
	}
	if json.Unmarshal(text, &answer) != nil { // a path that is not served has an answer in words
		answer = map[string]any{"message": string(text)}
	}
	return got.StatusCode, answer
}

// Until waits for something, for two minutes at most.
func (h *Hand) Until(what string, is func() bool) {
	h.t.Helper()
	for range 2400 {
		if is() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	h.t.Fatalf("%s: not in two minutes", what)
}

// Settle waits until each Deployment of a namespace has what it was told, and no controller
// changes anything any more. In the place of kubelets it says of pods that they are ready.
func (h *Hand) Settle(namespace string) {
	h.t.Helper()
	was, still := "", 0
	h.Until("the Deployments of "+namespace+" have what they were told", func() bool {
		h.kubelet(namespace)
		is, done := h.rolled(namespace)
		if still++; !done || is != was {
			still = 0
		}
		was = is
		return still == 8
	})
}

// kubelet says of pods that they are ready.
func (h *Hand) kubelet(namespace string) {
	at := "/api/v1/namespaces/" + namespace + "/pods"
	for _, pod := range list(h.Do("GET", at, nil)) {
		if words(pod, "metadata", "deletionTimestamp") == "<nil>" && words(pod, "status", "phase") != "Running" {
			h.Try("PATCH", at+"/"+words(pod, "metadata", "name")+"/status", map[string]any{"status": map[string]any{"phase": "Running", "conditions": []any{map[string]any{"type": "Ready", "status": "True"}}}})
		}
	}
}

// rolled reports whether each Deployment has what it was told, and at which versions they and
// their replica sets are.
func (h *Hand) rolled(namespace string) (versions string, done bool) {
	done = true
	at := "/apis/apps/v1/namespaces/" + namespace
	for _, d := range list(h.Do("GET", at+"/deployments", nil)) {
		versions += words(d, "metadata", "resourceVersion") + " "
		want := words(d, "spec", "replicas")
		done = done && words(d, "status", "observedGeneration") == words(d, "metadata", "generation")
		for _, key := range []string{"replicas", "updatedReplicas", "availableReplicas"} {
			done = done && (words(d, "status", key) == want || want == "0" && words(d, "status", key) == "<nil>")
		}
	}
	for _, set := range list(h.Do("GET", at+"/replicasets", nil)) {
		versions += words(set, "metadata", "resourceVersion") + " "
		done = done && words(set, "status", "replicas") == words(set, "spec", "replicas")
	}
	return versions, done
}

func list(answer map[string]any) (all []map[string]any) {
	items, _ := answer["items"].([]any)
	for _, one := range items {
		if o, ok := one.(map[string]any); ok {
			all = append(all, o)
		}
	}
	return all
}

// words is what lies at a path, in words.
func words(o map[string]any, path ...string) string {
	var v any = o
	for _, key := range path {
		in, _ := v.(map[string]any)
		v = in[key]
	}
	return fmt.Sprint(v)
}
