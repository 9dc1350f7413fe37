package kubernetes

import (
	"cmp"
	"context"
	"fmt"
	"maps"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/deploy"
	"github.com/pavise/pavise/internal/kube"
)

// source is the annotation by which KServe tells the pods what model they are to fetch.
const source = "internal.serving.kserve.io/storage-initializer-sourceuri"

// canary is the name of the variant that runs beside the main one.
const canary = "pavise-canary"

func sourceOf(o kube.Object) string { return o.Text("metadata", "annotations", source) }

// predictor is what KServe is told of a version.
func (t *target) predictor(v deploy.Version) (kube.Object, error) {
	reference, err := t.reference(v)
	return kube.Object{"annotations": notes(v), "model": map[string]any{"storageUri": "oci://" + reference}}, err
}

// fits refuses an InferenceService that takes its model otherwise.
func (t *target) fits(is kube.Object) error {
	p := is.At("spec", "predictor")
	if p.At("model") == nil || p.Has("model", "storage") || p.Has("model", "storageUris") || p.Has("storageUris") {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the InferenceService %s/%s has no predictor that takes one model by a storageUri", t.namespace, t.object), Hint: "write spec.predictor.model with a modelFormat and a storageUri of oci://"}
	}
	return nil
}

// split is the next step in Knative mode. There one template makes revisions: of the newest
// one that is ready, and the last one that had all calls, the field canaryTrafficPercent says
// who has how much. A new template has none, until the newest ready revision is of it:
// before, the share would go to whatever was tried last.
func (t *target) split(ctx context.Context, is kube.Object, d deploy.Desired) (kube.Object, error) {
	if err := t.fits(is); err != nil {
		return nil, err
	}
	status := is.At("status", "components", "predictor")
	full, err := t.revision(ctx, status.Text("latestRolledoutRevision"))
	if err != nil {
		return nil, err
	}
	ready, err := t.revision(ctx, status.Text("latestReadyRevision"))
	if err != nil {
		return nil, err
	}
	main, err := t.Takes(*d.Main)
	if err != nil {
		return nil, err
	}
	newest, share := *d.Main, int64(100)
	if d.Beside != nil && full == main {
		newest, share = *d.Beside, int64(d.Weight)
	} // else main is brought whole first: what has the rest of the calls must be it
	next, err := t.predictor(newest)
	if err != nil {
		return nil, err
	}
	wants := artefactOf(next.Text("model", "storageUri"))
	// One that was begun before may be ready later than the newest, and be the newest then.
	whole := status.Text("latestReadyRevision") == status.Text("latestCreatedRevision")
	if full != "" && (ready != wants || !whole || artefactOf(is.Text("spec", "predictor", "model", "storageUri")) != wants) {
		share = 0 // on the way back, all calls go to where they were before at once
	}
	next["canaryTrafficPercent"] = share
	return kube.Object{"spec": map[string]any{"predictor": map[string]any(next)}}, nil
}

// revision is the artefact that a revision of Knative was made of; empty: there is no
// revision of that name.
func (t *target) revision(ctx context.Context, name string) (string, error) {
	if name == "" {
		return "", nil
	}
	is, err := t.cluster.Get(ctx, revisions, t.namespace, name)
	if pavise.KindOf(err) == pavise.NotFound {
		return "", nil
	}
	return artefactOf(sourceOf(is)), err
}

// knative says what runs in Knative mode: which revisions have a share of the calls.
func (t *target) knative(ctx context.Context) (r run, err error) {
	is, err := t.cluster.Get(ctx, services, t.namespace, t.object)
	if err != nil {
		return r, err
	}
	status := is.At("status", "components", "predictor")
	r.shares = map[string]int64{}
	for _, part := range status.List("traffic") {
		n := part.Int("percent")
		if n <= 0 || n > 100 {
			continue
		}
		artefact, err := t.revision(ctx, part.Text("revisionName"))
		if err != nil {
			return r, err
		}
		artefact = cmp.Or(artefact, "unpinned:"+part.Text("revisionName"))
		if r.shares[artefact] += n; part.True("latestRevision") && n < 100 {
			r.canary = artefact
		}
	}
	r.wanted = []string{artefactOf(is.Text("spec", "predictor", "model", "storageUri"))}
	r.moved = is.Text("metadata", "uid") != "" && status.Text("latestReadyRevision") != ""
	r.problem = unready(is)
	return r, nil
}

// unready says why an InferenceService is not well; empty: it is.
func unready(is kube.Object) string {
	c := kube.Find(is.List("status", "conditions"), "type", "Ready")
	if c.Text("status") == "True" {
		return ""
	}
	why := cmp.Or(c.Text("message"), c.Text("reason"), "its condition Ready is not True")
	return why[:min(len(why), 300)]
}

// variants is the step in Standard mode: the main predictor, and a whole second one that has
// a share of the calls.
func (t *target) variants(is kube.Object, d deploy.Desired) (kube.Object, error) {
	if err := t.fits(is); err != nil {
		return nil, err
	}
	next, err := t.predictor(*d.Main)
	if err != nil {
		return nil, err
	}
	spec := map[string]any{"predictor": map[string]any(next)}
	if is.Has("spec", "canary") { // KServe has had the field since July 2026
		spec["canary"] = []any{}
	}
	if d.Beside != nil {
		beside, err := t.predictor(*d.Beside)
		if err != nil {
			return nil, err
		}
		second := maps.Clone(is.At("spec", "predictor"))
		// KServe runs a canary on a fixed number of replicas of its own.
		for _, not := range []string{"maxReplicas", "minReplicas", "scaleTarget", "scaleMetric", "scaleMetricType", "autoScaling", "workerSpec", "canaryTrafficPercent"} {
			delete(second, not)
		}
		model := maps.Clone(second.At("model"))
		// KServe's schema has a canary say the name of its container, and the main one not.
		model["name"], model["storageUri"] = cmp.Or(model.Text("name"), "kserve-container"), beside.Text("model", "storageUri")
		second["name"], second["model"], second["annotations"] = canary, map[string]any(model), map[string]any(merge(second.At("annotations"), beside.At("annotations")))
		spec["canary"] = []any{map[string]any{"predictor": map[string]any(second), "trafficPercent": int64(d.Weight)}}
	}
	return kube.Object{"spec": spec}, nil
}

func merge(under, over kube.Object) kube.Object {
	all := kube.Object{}
	maps.Copy(all, under)
	maps.Copy(all, over)
	return all
}

// standard says what runs in Standard mode: what the Deployments run that KServe made.
func (t *target) standard(ctx context.Context) (r run, err error) {
	is, err := t.cluster.Get(ctx, services, t.namespace, t.object)
	if err != nil {
		return r, err
	}
	if r, err = t.variant(ctx, is.Text("spec", "predictor", "name")); err != nil {
		return r, err
	}
	r.wanted = append(r.wanted, artefactOf(is.Text("spec", "predictor", "model", "storageUri")))
	if r.problem == "" {
		r.problem = unready(is)
	}
	var total int64
	for _, n := range r.shares {
		total += n
	}
	shares := map[string]int64{}
	rest := int64(100)
	for _, c := range is.List("spec", "canary") {
		name := c.Text("predictor", "name")
		r.wanted = append(r.wanted, artefactOf(c.Text("predictor", "model", "storageUri")))
		status := kube.Find(is.List("status", "canaryStatuses"), "name", name)
		if status == nil || !label.MatchString(name) {
			r.problem = cmp.Or(r.problem, fmt.Sprintf("KServe says nothing of the canary %.63s", name))
			continue
		}
		if !status.True("ready") { // it has no calls
			r.problem = cmp.Or(r.problem, fmt.Sprintf("the canary %s is not ready", name))
			continue
		}
		second, err := t.variant(ctx, name)
		if err != nil {
			return r, err
		}
		r.problem = cmp.Or(r.problem, second.problem)
		n := min(max(status.Int("trafficPercent"), 0), rest)
		rest -= n
		for artefact := range second.shares {
			shares[artefact] += n
			r.canary = artefact
		}
	}
	for artefact, n := range r.shares {
		shares[artefact] += n * rest / max(total, 1)
	}
	r.shares = shares
	return r, nil
}

// variant says what the Deployment of a predictor runs; nothing, if KServe has made none yet.
func (t *target) variant(ctx context.Context, name string) (run, error) {
	deployment := t.object + "-predictor"
	if name != "" {
		deployment = t.object + "-" + name + "-predictor"
	}
	r, err := t.workload(ctx, deployment, sourceOf)
	if pavise.KindOf(err) == pavise.NotFound {
		return run{problem: "KServe has not made the Deployment " + deployment}, nil
	}
	return r, err
}
