// Package kubernetes makes targets of what runs in Kubernetes clusters: a Deployment, or an
// InferenceService of KServe in either of its modes. A version is known there by the digest
// of the manifest of an OCI image or artefact: the manifest is a file of the version, so that
// its digest is among what was approved, and it names every byte below it. Nothing is brought
// anywhere by a tag.
//
// What runs is read from what the cluster made of the wish, and not from the wish: the replica
// sets that have replicas, the revisions that have a share of the traffic. What is wanted
// there and does not run yet counts as beside it, so that an unapproved wish is seen before
// it runs.
//
// Who steers stands in a Lease beside the object, with the highest revision that was brought.
// The object is changed only as it was before the Lease was looked at, by its resourceVersion:
// of two controllers the slower one is refused by the API server, looks again, and finds the
// Lease taken.
//
// The package owns no state. The objects are made by others; it sets fields of theirs.
package kubernetes

import (
	"cmp"
	"context"
	_ "embed" // the admission policy
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/deploy"
	"github.com/pavise/pavise/internal/kube"
)

// Admission is a ValidatingAdmissionPolicy, as YAML, for each kind of object that is steered:
// in namespaces with the label, nothing runs but what is pinned and says which version it is.
//
//go:embed admission.yaml
var Admission string

// manager is whose the fields are that are set. Of a Deployment each part has a manager of its
// own: what a manager does not apply again is taken away, and the image of a container that
// was steered before must stay.
const manager = "pavise"

// The annotations of what runs a version: NAME/N, and its digest in the registry.
const (
	noteVersion = "pavise.dev/version"
	noteDigest  = "pavise.dev/digest"
	noteSeen    = "pavise.dev/revision" // of a Lease: the highest that was brought
)

var (
	deployments = kube.Resource{Group: "apps", Version: "v1", Plural: "deployments", Kind: "Deployment"}
	replicaSets = kube.Resource{Group: "apps", Version: "v1", Plural: "replicasets", Kind: "ReplicaSet"}
	leases      = kube.Resource{Group: "coordination.k8s.io", Version: "v1", Plural: "leases", Kind: "Lease"}
	services    = kube.Resource{Group: "serving.kserve.io", Version: "v1beta1", Plural: "inferenceservices", Kind: "InferenceService"}
	revisions   = kube.Resource{Group: "serving.knative.dev", Version: "v1", Plural: "revisions", Kind: "Revision"}
)

// Config is what the driver is made of.
type Config struct {
	Origin string // which installation steers: it stands in Leases
	// Open opens the cluster of a context; nil: those of the operator's kubeconfig.
	Open     func(context string) (*kube.Cluster, error)
	Poll     time.Duration // how often a rollout is looked at; a second if 0
	Patience time.Duration // how long it is waited for, before the next look; half a minute if 0
}

// Driver makes targets in clusters.
func Driver(cfg Config) deploy.Driver {
	if cfg.Open == nil {
		cfg.Open = func(context string) (*kube.Cluster, error) { return kube.Open(kube.Config{Context: context}) }
	}
	cfg.Poll, cfg.Patience = cmp.Or(cfg.Poll, time.Second), cmp.Or(cfg.Patience, 30*time.Second)
	return deploy.Driver{
		Parts: true,
		Keys: []deploy.Setting{
			{Key: "form", Required: true, About: "deployment; or knative or standard: the mode of an InferenceService of KServe"},
			{Key: "namespace", Required: true, About: "where the object is"},
			{Key: "name", Required: true, About: "the object's name"},
			{Key: "repository", Required: true, About: "where the cluster pulls from, without a tag: registry.example/models/fraud"},
			{Key: "container", About: "of a Deployment: the container whose image is the version"},
			{Key: "volume", About: "of a Deployment: the image volume that is the version"},
			{Key: "manifest", About: "which file of a version is the manifest of its image; manifest.json if it is not said"},
			{Key: "context", About: "of the operator's kubeconfig, if not the current one"},
		},
		Open: func(name pavise.Name, set map[string]string) (deploy.Target, error) { return open(cfg, name, set) },
	}
}

var (
	label      = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)
	repository = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?(:[0-9]{1,5})?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+$`)
	pinned     = regexp.MustCompile(`^(oci(\+[a-z]+)?://)?[^@\s]+@(sha256:[0-9a-f]{64})$`)
)

// A target is an object in a cluster.
type target struct {
	cfg               Config
	name              pavise.Name
	context           string
	form              string
	namespace, object string
	repository        string
	container, volume string
	manifest          string

	cluster *kube.Cluster // nil until it is asked
}

func open(cfg Config, name pavise.Name, set map[string]string) (deploy.Target, error) {
	t := &target{
		cfg: cfg, name: name, context: set["context"], form: set["form"], namespace: set["namespace"], object: set["name"],
		repository: set["repository"], container: set["container"], volume: set["volume"], manifest: cmp.Or(set["manifest"], "manifest.json"),
	}
	wrong := func(msg, hint string) (deploy.Target, error) {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: msg, Hint: hint}
	}
	switch {
	case !slices.Contains([]string{"deployment", "knative", "standard"}, t.form):
		return wrong(fmt.Sprintf("%.40q is no form of a target in a cluster", t.form), "these are: deployment, knative, standard")
	case !label.MatchString(t.namespace) || !label.MatchString(t.object):
		return wrong(fmt.Sprintf("there is no object %.80q in a namespace %.80q", t.object, t.namespace), "small letters, digits and -, at most 63")
	case !repository.MatchString(t.repository):
		return wrong(fmt.Sprintf("%.200q is no repository", t.repository), "write registry.example/models/fraud, without a tag: the digest comes from the version")
	case t.form == "deployment" && (t.container == "") == (t.volume == ""):
		return wrong("a Deployment needs to be told what of it is the version", "--set container=NAME, or --set volume=NAME for an image volume")
	case t.form != "deployment" && t.container+t.volume != "":
		return wrong("an InferenceService takes its model by its storageUri", "leave container and volume out")
	}
	return t, nil
}

// Whole implements deploy.Undivided: replicas of a Deployment are no shares of calls.
func (t *target) Whole() bool { return t.form == "deployment" }

// Admission is what the cluster can be given to refuse what Pavise would find later.
func (t *target) Admission() string { return Admission }

// Takes implements deploy.Target: a version is known by the digest of its manifest.
func (t *target) Takes(v deploy.Version) (string, error) {
	at := slices.IndexFunc(v.Files, func(f deploy.File) bool { return f.Path == t.manifest })
	if at < 0 {
		return "", &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("version %d of %s has no file %.100q", v.Number, v.Model.ID, t.manifest), Hint: "it is the manifest of the image, byte for byte as the registry has it; the setting manifest of the target names another file"}
	}
	return v.Files[at].Digest, nil
}

// reference is what the cluster pulls.
func (t *target) reference(v deploy.Version) (string, error) {
	digest, err := t.Takes(v)
	return t.repository + "@" + digest, err
}

// artefactOf is the digest of what a reference pins; of one that pins nothing, words that
// were never approved.
func artefactOf(reference string) string {
	if reference == "" {
		return ""
	}
	if m := pinned.FindStringSubmatch(reference); m != nil {
		return m[3]
	}
	return "unpinned:" + reference[:min(len(reference), 200)]
}

// notes are the annotations of what runs a version.
func notes(v deploy.Version) map[string]any {
	return map[string]any{noteVersion: fmt.Sprintf("%s/%d", v.Model.ID, v.Number), noteDigest: v.Digest}
}

// connect opens the cluster.
func (t *target) connect() (err error) {
	if t.cluster == nil {
		t.cluster, err = t.cfg.Open(t.context)
	}
	return err
}

// Observe implements deploy.Target.
func (t *target) Observe(ctx context.Context) (s deploy.State, err error) {
	if err := t.connect(); err != nil {
		return s, err
	}
	why, err := t.cluster.Simulated(ctx)
	if err != nil {
		return s, err
	}
	var r run
	switch t.form {
	case "deployment":
		r, err = t.workload(ctx, t.object, t.imageOf)
	case "knative":
		r, err = t.knative(ctx)
	case "standard":
		r, err = t.standard(ctx)
	}
	if err != nil {
		return s, err
	}
	s = r.state()
	if why == "" && !r.moved {
		why = "the status of the object was never written by a controller"
	}
	if why != "" {
		s.Unproven = "simulated: " + why
	}
	return s, nil
}

// A run is what was seen of an object.
type run struct {
	shares  map[string]int64 // what runs, by artefact
	canary  string           // the artefact that is not the main one; empty: the one with the smaller share
	wanted  []string         // what is to run, and may not yet
	have    int64            // of so many replicas, so many are of what is wanted
	of      int64
	problem string // why it is not well; empty: it is
	moved   bool   // a controller has looked at the object
}

// state says it as deployments have it.
func (r run) state() deploy.State {
	s := deploy.State{Healthy: r.problem == "", Problem: r.problem, Reached: int(r.have), Of: int(r.of)}
	var total int64
	for _, n := range r.shares {
		total += n
	}
	list := slices.SortedFunc(maps.Keys(r.shares), func(a, b string) int {
		if (a == r.canary) != (b == r.canary) {
			return map[bool]int{true: 1, false: -1}[a == r.canary]
		}
		return cmp.Or(cmp.Compare(r.shares[b], r.shares[a]), cmp.Compare(a, b))
	})
	if len(list) > 0 {
		s.Main = list[0]
	}
	if len(list) > 1 {
		s.Beside, s.Weight = list[1], int((100*r.shares[list[1]]+total/2)/max(total, 1))
	}
	for _, artefact := range append(list[min(len(list), 2):], r.wanted...) {
		switch {
		case artefact == "" || artefact == s.Main || artefact == s.Beside:
		case s.Beside == "":
			s.Beside = artefact
		default:
			s.Beside += " and " + artefact
		}
	}
	return s
}

// Apply implements deploy.Target: step by step, until what is wanted runs or the patience is
// at its end. A step that somebody else was faster with is taken again.
func (t *target) Apply(ctx context.Context, d deploy.Desired) error {
	switch {
	case d.Main == nil:
		return &pavise.Error{Kind: pavise.Invalid, Msg: "an object in a cluster runs some version, and cannot be told to run none", Hint: "scale it to 0 there, and remove the target"}
	case d.Shadow || d.Beside != nil && t.Whole():
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the form %s cannot run a version so beside another", t.form), Hint: "an InferenceService takes a canary, and a gateway lets a version hear the calls"}
	}
	want, err := t.wish(d)
	if err != nil {
		return err
	}
	if err := t.connect(); err != nil {
		return err
	}
	for end := time.Now().Add(t.cfg.Patience); ; {
		err := t.step(ctx, d)
		if pavise.KindOf(err) == pavise.Conflict {
			// Whoever was faster may be another controller, which the Lease says, or anybody.
			if err := t.foreign(ctx, d.Revision); err != nil {
				return err
			}
		} else if err != nil {
			return err
		} else if there, problem, err := t.there(ctx, want); err != nil || there {
			return err
		} else {
			want.Problem = problem
		}
		if time.Now().After(end) {
			return &pavise.Error{Kind: pavise.Unavailable, Msg: fmt.Sprintf("%s/%s does not run it yet: %s", t.namespace, t.object, cmp.Or(want.Problem, "it is being brought there")), Hint: "it is looked at again", Err: err}
		}
		select {
		case <-time.After(t.cfg.Poll):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// there looks whether what is wanted runs, and says what is the matter.
func (t *target) there(ctx context.Context, want deploy.State) (bool, string, error) {
	s, err := t.Observe(ctx)
	return s.Main == want.Main && s.Beside == want.Beside && s.Weight == want.Weight && s.Healthy, s.Problem, err
}

// wish is the state that is to be seen.
func (t *target) wish(d deploy.Desired) (s deploy.State, err error) {
	if s.Main, err = t.Takes(*d.Main); err == nil && d.Beside != nil {
		s.Weight = d.Weight
		s.Beside, err = t.Takes(*d.Beside)
	}
	return s, err
}

// step brings the object nearer to what is wanted.
func (t *target) step(ctx context.Context, d deploy.Desired) error {
	res := services
	if t.form == "deployment" {
		res = deployments
	}
	is, err := t.cluster.Get(ctx, res, t.namespace, t.object)
	if err != nil {
		return err
	}
	if err := t.take(ctx, d.Revision); err != nil {
		return err
	}
	var next kube.Object
	switch t.form {
	case "deployment":
		next, err = t.template(is, d)
	case "knative":
		next, err = t.split(ctx, is, d)
	case "standard":
		next, err = t.variants(is, d)
	}
	if err != nil || is.Covers(next, "containers", "volumes") {
		return err
	}
	about := kube.Object{"namespace": t.namespace, "name": t.object, "resourceVersion": is.Text("metadata", "resourceVersion")}
	if about.Text("resourceVersion") == "" {
		return &pavise.Error{Kind: pavise.Unverified, Msg: fmt.Sprintf("%s/%s has no resourceVersion, and could not be changed as it was seen", t.namespace, t.object), Hint: "is it the API server of a Kubernetes cluster that answers there?"}
	}
	maps.Copy(about, next.At("metadata"))
	next["metadata"] = map[string]any(about)
	if res == services { // of which a cluster may have no schema
		_, err = t.cluster.Merge(ctx, res, manager, next)
	} else {
		whose := manager + "-container-" + t.container
		if t.volume != "" {
			whose = manager + "-volume-" + t.volume
		}
		_, err = t.cluster.Apply(ctx, res, whose[:min(len(whose), 128)], true, next)
	}
	return err
}

// steerer is what the Lease says of who steers.
func (t *target) steerer() string { return fmt.Sprintf("pavise %s %s", t.cfg.Origin, t.name) }

// lease is the name of the Lease.
func (t *target) lease() string { return "pavise-" + t.form + "-" + t.object }

// foreign refuses a Lease that somebody else has, or that has seen a higher
// revision.
func (t *target) foreign(ctx context.Context, revision uint64) error {
	_, err := t.held(ctx, revision)
	return err
}

// held is the Lease, if it is ours, or nobody's yet: nil.
func (t *target) held(ctx context.Context, revision uint64) (kube.Object, error) {
	is, err := t.cluster.Get(ctx, leases, t.namespace, t.lease())
	if pavise.KindOf(err) == pavise.NotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if by := is.Text("spec", "holderIdentity"); by != "" && by != t.steerer() {
		return nil, &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("somebody else steers %s/%s: %.200q", t.namespace, t.object, by), Hint: "two controllers for one object undo each other: take one away, and then the Lease " + t.lease()}
	}
	text := cmp.Or(is.Text("metadata", "annotations", noteSeen), "0")
	if seen, err := strconv.ParseUint(text, 10, 64); err != nil || seen > revision {
		return nil, &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("%s/%s is at revision %.40s already, and this is %d", t.namespace, t.object, text, revision), Hint: "was this installation put back from a backup? Look what runs there, and then delete the Lease " + t.lease()}
	}
	return is, nil
}

// take writes into the Lease who steers, and for which revision. The object was read before.
func (t *target) take(ctx context.Context, revision uint64) error {
	is, err := t.held(ctx, revision)
	if err != nil {
		return err
	}
	about := map[string]any{"namespace": t.namespace, "name": t.lease(), "annotations": map[string]any{noteSeen: strconv.FormatUint(revision, 10)}}
	next := kube.Object{"metadata": about, "spec": map[string]any{"holderIdentity": t.steerer()}}
	if is.Covers(next) {
		return nil
	}
	if version := is.Text("metadata", "resourceVersion"); version != "" {
		about["resourceVersion"] = version
	}
	// Two that make it at once are two managers of one field, and the second is refused.
	whose := manager + "-" + t.cfg.Origin
	_, err = t.cluster.Apply(ctx, leases, whose[:min(len(whose), 128)], false, next)
	return err
}
