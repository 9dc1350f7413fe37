package kubernetes

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/deploy"
	"github.com/pavise/pavise/internal/kube"
)

// imageOf is the reference in a pod template that is the version.
func (t *target) imageOf(template kube.Object) string {
	if t.container != "" {
		return kube.Find(template.List("spec", "containers"), "name", t.container).Text("image")
	}
	return kube.Find(template.List("spec", "volumes"), "name", t.volume).Text("image", "reference")
}

// template is what a Deployment is to be told.
func (t *target) template(is kube.Object, d deploy.Desired) (kube.Object, error) {
	reference, err := t.reference(*d.Main)
	if err != nil {
		return nil, err
	}
	list, one, part := "containers", t.container, map[string]any{"name": t.container, "image": reference}
	if t.volume != "" {
		list, one, part = "volumes", t.volume, map[string]any{"name": t.volume, "image": map[string]any{"reference": reference}}
	}
	// Server-side apply would make one that is not there.
	there := kube.Find(is.List("spec", "template", "spec", list), "name", one)
	if there == nil || t.volume != "" && !there.Has("image") {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the Deployment %s/%s has no %s %q that is an image", t.namespace, t.object, strings.TrimSuffix(list, "s"), one), Hint: "make it there first: Pavise sets which version it is, and nothing else"}
	}
	return kube.Object{
		"metadata": map[string]any{"annotations": notes(*d.Main)},
		"spec": map[string]any{"template": map[string]any{
			"metadata": map[string]any{"annotations": notes(*d.Main)},
			"spec":     map[string]any{list: []any{part}},
		}},
	}, nil
}

// workload says what a Deployment runs: by its replica sets, of which each has the pod
// template that its pods were made of.
func (t *target) workload(ctx context.Context, name string, referenceOf func(template kube.Object) string) (r run, err error) {
	is, err := t.cluster.Get(ctx, deployments, t.namespace, name)
	if err != nil {
		return r, err
	}
	var pairs []string
	labels := is.At("spec", "selector", "matchLabels")
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		pairs = append(pairs, key+"="+labels.Text(key))
	}
	sets, err := t.cluster.List(ctx, replicaSets, t.namespace, strings.Join(pairs, ","))
	if err != nil {
		return r, err
	}
	uid := is.Text("metadata", "uid")
	r.shares = map[string]int64{}
	for _, set := range sets {
		n := min(set.Int("status", "replicas"), 1<<30) // no sum of them overflows
		if n > 0 && kube.Find(set.List("metadata", "ownerReferences"), "uid", uid) != nil {
			r.shares[cmp.Or(artefactOf(referenceOf(set.At("spec", "template"))), "unpinned:")] += n
		}
	}
	if want := is.At("spec", "template"); want != nil {
		r.wanted = []string{artefactOf(referenceOf(want))}
	}
	r.rollout(is)
	return r, nil
}

// rollout says how far a Deployment is, and why it is not further.
func (r *run) rollout(is kube.Object) {
	r.of, r.have = 1, is.Int("status", "updatedReplicas")
	if is.Has("spec", "replicas") {
		r.of = is.Int("spec", "replicas")
	}
	seen := is.Int("status", "observedGeneration")
	r.moved = is.Text("metadata", "uid") != "" && seen > 0
	available := is.Int("status", "availableReplicas")
	var why string
	for _, c := range is.List("status", "conditions") {
		if c.Text("type") == "Progressing" && c.Text("status") == "False" || c.Text("type") == "ReplicaFailure" && c.Text("status") == "True" {
			why = ": " + c.Text("message")
		}
	}
	switch {
	case r.of == 0:
		r.problem = "it is scaled to 0"
	case seen < is.Int("metadata", "generation"):
		r.problem = "no controller has seen what it was told"
	case is.True("spec", "paused") && r.have < r.of:
		r.problem = "its rollout is paused"
	case r.have < r.of:
		r.problem = fmt.Sprintf("%d of %d replicas have it%s", r.have, r.of, why)
	case is.Int("status", "replicas") > r.have:
		r.problem = "replicas of before run still" + why
	case available < r.of:
		r.problem = fmt.Sprintf("%d of %d replicas answer%s", available, r.of, why)
	}
	r.problem = r.problem[:min(len(r.problem), 300)]
}
