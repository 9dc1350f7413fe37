package verbs

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/registry"
	"github.com/pavise/pavise/internal/runner"
)

// maxAddBody is the body of model.add: the digests of the most files, and a signature in
// base64.
const maxAddBody = 32 << 20

func (rooms *Rooms) modelVerbs() []api.Verb {
	return append(rooms.modelLife(), rooms.modelWords()...)
}

// modelLife are the verbs that take a version on.
func (rooms *Rooms) modelLife() []api.Verb {
	on := []string{registry.Kind}
	return []api.Verb{
		api.Do(api.Verb{
			Name: "model.create", On: on,
			Help:    "Have the server know a model, so that versions of it can be added",
			About:   "Its risk says what a wrong answer of it may do, and with that how many people approve a version: one, or two where it is high. Of medium and high risk, a version is evaluated and attacked before its review.",
			Example: "pavise model create fraud --risk medium --description card-payments",
		}, withModels(rooms, func(r *registry.Registry, ctx context.Context, who pavise.Principal, req ModelCreate) (*registry.Model, error) {
			return r.Create(ctx, who, registry.ModelSpec{Name: req.Name, Risk: registry.Risk(req.Risk), Description: req.Description, Tags: req.Tag})
		})),
		api.Do(api.Verb{
			Name: "model.add", On: on, MaxBody: maxAddBody, WireOnly: true, // the command hashes first, where the files are
			Help:  "Add a version to a model, as a draft, or give a draft its files",
			About: "The digests of its files are handed over, and not the files. They count once the files are here and were looked at, or somebody whom the server believes signed them.",
		}, withModels(rooms, modelAdd)),
		api.Do(api.Verb{
			Name: "model.propose", On: on,
			Help:    "Propose a draft for review",
			About:   "Its files were hashed and looked at by then. Who proposes a version, added it or gave it its files neither reviews nor approves it.",
			Example: "pavise model propose fraud/1 --reason retrained-on-july",
		}, onVersion(rooms, (*registry.Registry).Propose)),
		api.Do(api.Verb{
			Name: "model.evidence", On: on,
			Help:    "Hand in the result of an evaluation, or of an attack, of exactly one digest",
			About:   "It counts for the version as long as the version has that digest. The last result of a kind is what counts; one that did not pass keeps the version from its review.",
			Example: "pavise model evidence fraud/1 --kind evaluation --digest DIGEST --result pass --summary held-out-quarter --metric auc=0.97",
		}, withModels(rooms, modelEvidence)),
		api.Do(api.Verb{
			Name: "model.review", On: on,
			Help:    "Say that a proposed version is good, having looked at it",
			About:   "Give the digest that pavise model show shows, or its first eight digits: what is reviewed is a content. Nobody reviews what they had a hand in.",
			Example: "pavise model review fraud/2 --digest DIGEST --reason looked-at-all-slices",
		}, withModels(rooms, func(r *registry.Registry, ctx context.Context, who pavise.Principal, req ModelReview) (*registry.Version, error) {
			tenant, ref, err := req.ref(who)
			if err != nil {
				return nil, err
			}
			return r.Review(ctx, who, tenant, ref, req.Digest, req.Reason)
		})),
		api.Do(api.Verb{
			Name: "model.reject", On: on,
			Help:    "Say that a proposed version is not to be",
			About:   "Nothing becomes of it any more. What was mended is another version.",
			Example: "pavise model reject fraud/3 --reason overfits",
		}, onVersion(rooms, (*registry.Registry).Reject)),
		proposingVersion("model.publish", "Propose to publish a reviewed version",
			"Others approve exactly these files with exactly this evidence: when either changes, the approvals are dead. It takes one person, and two where the risk is high; who had a hand in the version does not count, nor, where the risk is high, who reviewed it. Who approves may do model.approve.",
			"pavise model publish fraud/2 --reason better-than-the-one-before"),
		api.Proposing(api.Verb{
			Name: "model.alias", On: on,
			Help:    "Propose that an alias of a model means another version",
			About:   "The version is published, or serves. Others approve it, as many as its risk asks for.",
			Example: "pavise model alias fraud champion 2 --reason the-best-so-far",
		}, func(_ context.Context, _ pavise.Principal, req ModelAlias) (pavise.Name, error) {
			return req.Name, nil
		}, func(req ModelAlias) (any, error) { return runner.AliasTo{Alias: req.Alias, Version: req.Version}, nil }),
		api.Proposing(api.Verb{
			Name: "model.unalias", On: on,
			Help:    "Propose that a model has an alias no more",
			About:   "Whoever asks for the model by it is told so from then on.",
			Example: "pavise model unalias fraud champion --reason nobody-uses-it",
		}, func(_ context.Context, _ pavise.Principal, req ModelUnalias) (pavise.Name, error) {
			return req.Name, nil
		}, func(req ModelUnalias) (any, error) { return runner.AliasOff{Alias: req.Alias}, nil }),
		api.Do(api.Verb{
			Name: "model.quarantine", On: on, Safe: true,
			Help:    "Take a version out, at once, whatever state it is in",
			About:   "It is neither pulled, published nor deployed until it is released. Where it is what serves, nobody asks the model until another version does.",
			Example: "pavise model quarantine fraud/2 --reason leaks-its-training-data",
		}, onVersion(rooms, (*registry.Registry).Quarantine)),
		proposingVersion("model.release", "Propose to let a version out of quarantine",
			"It is then what it was before, and serves nobody. Two people approve it, neither of whom had a hand in it.",
			"pavise model release fraud/2 --reason it-was-another-model"),
		proposingVersion("model.retire", "Propose to end the life of a version that serves nobody",
			"Another person approves it. Nothing becomes of it any more; what is known of it is kept.",
			"pavise model retire fraud/4 --reason nobody-needs-it"),
	}
}

// modelWords are the verbs that read, and that describe.
func (rooms *Rooms) modelWords() []api.Verb {
	on := []string{registry.Kind}
	return []api.Verb{
		api.Do(api.Verb{
			Name: "model.tag", On: on,
			Help:    "Describe a model or a version, in words and tags",
			About:   "Nothing rests on them. A tag without a value is taken away.",
			Example: "pavise model tag fraud/1 --tag framework=onnx --tag owner=risk",
		}, withModels(rooms, modelTag)),
		api.Do(api.Verb{
			Name: "model.list", On: on, Class: guard.Pooled,
			Help:    "List the models that the server knows",
			About:   "Each with its newest version, and those that serve or are in quarantine; or with those that are in the state that is asked for.",
			Example: "pavise model list --state live",
		}, withModels(rooms, func(r *registry.Registry, ctx context.Context, who pavise.Principal, req ModelList) (registry.List, error) {
			return r.List(ctx, who, registry.State(req.State))
		})),
		api.Do(api.Verb{
			Name: "model.show", On: on, Class: guard.Pooled,
			Help:    "Show a model with its versions, or all that is known of one version",
			About:   "Of a version: its state and who brought it there, its files, who signed them, what a look at them found, datasets, evidence and aliases. With --part signature and --part key it prints what pavise model verify takes.",
			Example: "pavise model show fraud/2",
		}, withModels(rooms, func(r *registry.Registry, ctx context.Context, who pavise.Principal, req ModelShow) (registry.Shown, error) {
			tenant, ref, err := modelOrVersion(req.Model, who)
			if err != nil {
				return registry.Shown{}, err
			}
			shown, err := r.ShowPart(ctx, who, tenant, ref, req.Part)
			if err == nil && ref.Version != 0 { // whole, and so it can be held to what was signed
				if altered := r.Altered(ctx, shown.Versions[0]); altered != "" {
					shown.Versions[0].Problem = altered
				}
			}
			return shown, err
		})),
		api.Do(api.Verb{
			Name: "model.history", On: on, Class: guard.Pooled,
			Help:    "Say what became of a model, and what served at a time",
			About:   "Every step of every version and alias, with who took it and the record of the log that says so. With --at, until then: what served, and what each alias meant.",
			Example: "pavise model history fraud --at 2026-07-01T12:00:00Z",
		}, withModels(rooms, func(r *registry.Registry, ctx context.Context, who pavise.Principal, req ModelHistory) (registry.History, error) {
			at, err := req.time()
			if err != nil {
				return registry.History{}, err
			}
			return r.History(ctx, who, req.Name, at)
		})),
		api.Do(api.Verb{
			Name: "model.bom", On: on, Class: guard.Pooled,
			Help:    "Print the bill of materials of a version (CycloneDX 1.6, JSON)",
			About:   "Made from what is known of it: files, datasets, evaluations, attacks, signature. The same knowledge is the same bytes, and approvals cover their digest.",
			Example: "pavise model bom fraud/2",
		}, withModels(rooms, func(r *registry.Registry, ctx context.Context, who pavise.Principal, req VersionRef) (ModelBill, error) {
			tenant, ref, err := req.ref(who)
			if err != nil {
				return ModelBill{}, err
			}
			bill, err := r.Bill(ctx, who, tenant, ref)
			return ModelBill{bill}, err
		})),
	}
}

// withModels does a verb on the models, where some are known.
func withModels[Req, Resp any](rooms *Rooms, do func(*registry.Registry, context.Context, pavise.Principal, Req) (Resp, error)) func(context.Context, pavise.Principal, Req) (Resp, error) {
	return func(ctx context.Context, who pavise.Principal, req Req) (none Resp, err error) {
		if rooms.Models == nil {
			return none, runner.ErrNoRegistry
		}
		return do(rooms.Models, ctx, who, req)
	}
}

// onVersion does a verb that takes a version and a reason.
func onVersion(rooms *Rooms, do func(*registry.Registry, context.Context, pavise.Principal, string, registry.Ref, string) (*registry.Version, error)) func(context.Context, pavise.Principal, VersionStep) (*registry.Version, error) {
	return withModels(rooms, func(r *registry.Registry, ctx context.Context, who pavise.Principal, req VersionStep) (*registry.Version, error) {
		tenant, ref, err := req.ref(who)
		if err != nil {
			return nil, err
		}
		return do(r, ctx, who, tenant, ref, req.Reason)
	})
}

// proposingVersion is the row of a verb that is done to a version as a change.
func proposingVersion(name, help, about, example string) api.Verb {
	return api.Proposing(api.Verb{Name: name, On: []string{registry.Kind}, Help: help, About: about, Example: example},
		func(_ context.Context, who pavise.Principal, req VersionStep) (pavise.Name, error) {
			tenant, ref, err := req.ref(who)
			return ref.Name(tenant), err
		}, func(VersionStep) (any, error) { return runner.Nothing{}, nil })
}

// A VersionRef names a version.
type VersionRef struct {
	Version string `json:"version" arg:"" help:"the version, as NAME/N: fraud/1" doc:"the version, as NAME/N, or tenant/model/NAME/N"`
}

// ref reads it.
func (r VersionRef) ref(who pavise.Principal) (tenant string, ref registry.Ref, err error) {
	tenant, text := parted(r.Version, who)
	ref, err = registry.ParseRef(text)
	return tenant, ref, err
}

// parted takes the tenant off a name of a model or version; who asks has it where it is left
// out.
func parted(text string, who pavise.Principal) (tenant, rest string) {
	if parts := strings.SplitN(text, "/", 3); len(parts) == 3 && parts[1] == registry.Kind {
		return parts[0], parts[2]
	}
	return who.Tenant, text
}

// modelOrVersion reads a model, whose version is 0, or a version.
func modelOrVersion(text string, who pavise.Principal) (tenant string, ref registry.Ref, err error) {
	tenant, text = parted(text, who)
	if strings.Contains(text, "/") {
		ref, err = registry.ParseRef(text)
		return tenant, ref, err
	}
	ref.Model = text
	return tenant, ref, ref.Of(tenant).Validate()
}

// A VersionStep takes a version on.
type VersionStep struct {
	VersionRef
	Reason string `json:"reason,omitempty" maxLength:"500" help:"why" doc:"why"`
}

// Why is the reason that goes with it.
func (r VersionStep) Why() string { return r.Reason }

// ModelCreate has the server know a model.
type ModelCreate struct {
	Name        pavise.Name       `json:"name" arg:"" help:"the model's name: its id, or tenant/model/id" doc:"the model's name, as tenant/model/id"`
	Risk        string            `json:"risk" required:"true" enum:"low,medium,high" placeholder:"RISK" help:"what a wrong answer of it may do: low, medium or high" doc:"what a wrong answer of it may do"`
	Description string            `json:"description,omitempty" help:"what it is" doc:"what it is"`
	Tag         map[string]string `json:"tags,omitempty" placeholder:"KEY=VALUE" help:"a tag; may be repeated" doc:"tags"`
}

// ModelAdd adds a version, or gives a draft its files.
type ModelAdd struct {
	Name        pavise.Name       `json:"name" doc:"the model, as tenant/model/id"`
	Version     int               `json:"version,omitempty" minimum:"0" doc:"the number of a version that is given these files; absent: a new one"`
	Files       []registry.File   `json:"files,omitempty" maxItems:"20000" doc:"its files"`
	Scan        *registry.Scan    `json:"scan,omitempty" doc:"what a look at them found, where they are"`
	Signature   []byte            `json:"signature,omitempty" doc:"their signature (OpenSSF Model Signing)"`
	Risk        string            `json:"risk,omitempty" enum:"low,medium,high," doc:"its risk, if it is more than the model's"`
	Datasets    []registry.Seal   `json:"datasets,omitempty" maxItems:"1000" doc:"what it was trained on"`
	Run         string            `json:"run,omitempty" doc:"the training run that it came of"`
	Source      string            `json:"source,omitempty" doc:"where it lies"`
	Description string            `json:"description,omitempty" doc:"what it is"`
	Tags        map[string]string `json:"tags,omitempty" doc:"tags"`
}

func modelAdd(r *registry.Registry, ctx context.Context, who pavise.Principal, req ModelAdd) (*registry.Version, error) {
	files := registry.FileSpec{Files: req.Files, Scan: req.Scan, Signature: req.Signature}
	if req.Version != 0 {
		return r.Fill(ctx, who, req.Name.Tenant, registry.Ref{Model: req.Name.ID, Version: req.Version}, files)
	}
	return r.Add(ctx, who, registry.AddSpec{
		Model: req.Name, FileSpec: files, Risk: registry.Risk(req.Risk), Datasets: req.Datasets, Run: req.Run, Source: req.Source,
		Description: req.Description, Tags: req.Tags,
	})
}

// ModelEvidence hands in a result.
type ModelEvidence struct {
	VersionRef
	Kind    string             `json:"kind" required:"true" enum:"evaluation,attack" placeholder:"KIND" help:"what it is of: evaluation or attack" doc:"what it is of"`
	Digest  string             `json:"digest" required:"true" minLength:"8" maxLength:"71" help:"the digest that it is of, or its first eight digits: pavise model show has it" doc:"the digest that it is of, or at least its first eight digits"`
	Result  string             `json:"result" required:"true" enum:"pass,fail" placeholder:"RESULT" help:"pass or fail" doc:"what came of it"`
	Summary string             `json:"summary" required:"true" minLength:"1" maxLength:"4096" help:"what was done, and what came of it, in words" doc:"what was done, and what came of it, in words"`
	Metric  map[string]float64 `json:"metrics,omitempty" placeholder:"NAME=NUMBER" help:"a number; may be repeated" doc:"numbers, by name"`
	Tool    string             `json:"tool,omitempty" maxLength:"250" help:"what it was made with" doc:"what it was made with"`
	Report  string             `json:"report,omitempty" help:"the SHA-256 of a report that is kept elsewhere, as sha256:HEX" doc:"the SHA-256 of a report that is kept elsewhere, as sha256: and 64 digits"`
}

func modelEvidence(r *registry.Registry, ctx context.Context, who pavise.Principal, req ModelEvidence) (*registry.Version, error) {
	tenant, ref, err := req.ref(who)
	if err != nil {
		return nil, err
	}
	spec := registry.EvidenceSpec{Kind: req.Kind, Digest: req.Digest, Result: registry.Result(req.Result), Summary: req.Summary, Metrics: req.Metric, Tool: req.Tool}
	if err := spec.Report.UnmarshalText([]byte(req.Report)); err != nil {
		return nil, err
	}
	return r.Evidence(ctx, who, tenant, ref, spec)
}

// ModelReview reviews a version.
type ModelReview struct {
	VersionStep
	Digest string `json:"digest" required:"true" minLength:"8" maxLength:"71" help:"the digest that you looked at, or its first eight digits: pavise model show has it" doc:"the digest that was looked at, or at least its first eight digits"`
}

// ModelAlias gives an alias to a version.
type ModelAlias struct {
	Name    pavise.Name `json:"name" arg:"" help:"the model's name: its id, or tenant/model/id" doc:"the model's name, as tenant/model/id"`
	Alias   string      `json:"alias" arg:"" help:"the alias: a word such as champion" doc:"the alias"`
	Version int         `json:"version" arg:"" minimum:"1" help:"the number of the version" doc:"the number of the version"`
	Reason  string      `json:"reason,omitempty" help:"why" doc:"why"`
}

// Why is the reason that goes with it.
func (r ModelAlias) Why() string { return r.Reason }

// ModelUnalias takes an alias away.
type ModelUnalias struct {
	Name   pavise.Name `json:"name" arg:"" help:"the model's name: its id, or tenant/model/id" doc:"the model's name, as tenant/model/id"`
	Alias  string      `json:"alias" arg:"" help:"the alias" doc:"the alias"`
	Reason string      `json:"reason,omitempty" help:"why" doc:"why"`
}

// Why is the reason that goes with it.
func (r ModelUnalias) Why() string { return r.Reason }

// ModelTag describes a model or a version.
type ModelTag struct {
	Model       string            `json:"model" arg:"" help:"the model, or a version as NAME/N" doc:"the model, or a version as NAME/N"`
	Description *string           `json:"description,omitempty" help:"what it is" doc:"what it is; absent: as it was"`
	Tag         map[string]string `json:"tags,omitempty" placeholder:"KEY=VALUE" help:"a tag; may be repeated; without a value it is taken away" doc:"tags; one with an empty value is taken away"`
}

func modelTag(r *registry.Registry, ctx context.Context, who pavise.Principal, req ModelTag) (api.Empty, error) {
	tenant, ref, err := modelOrVersion(req.Model, who)
	if err != nil {
		return api.Empty{}, err
	}
	words := registry.Words{Description: req.Description, Tags: map[string]*string{}}
	for key, value := range req.Tag {
		if words.Tags[key] = nil; value != "" {
			words.Tags[key] = &value
		}
	}
	return api.Empty{}, r.Tag(ctx, who, tenant, ref, words)
}

// ModelList asks for models.
type ModelList struct {
	State string `json:"state,omitempty" enum:"draft,proposed,reviewed,approved,published,canary,live,degraded,rolled_back,accepted,retired,rejected,quarantined," default:"" placeholder:"STATE" help:"only those with a version in this state: draft, proposed, reviewed, published, canary, live, degraded, rolled_back, accepted, retired, rejected or quarantined" doc:"only those with a version in this state"`
}

// ModelShow asks for a model or a version, or for a file of a version alone.
type ModelShow struct {
	Model string `json:"model" arg:"" help:"the model, or a version as NAME/N" doc:"the model, or a version as NAME/N"`
	Part  string `json:"part,omitempty" enum:"signature,producer,key," default:"" placeholder:"PART" help:"print this of a version alone: signature, the one by this server; key, by which that holds; or producer, the signature that was handed in" doc:"a file of the version besides: the signature by this server, the public key by which it holds, or the signature that was handed in"`
}

// ModelHistory asks what became of a model.
type ModelHistory struct {
	Name pavise.Name `json:"name" arg:"" help:"the model's name: its id, or tenant/model/id" doc:"the model's name, as tenant/model/id"`
	At   string      `json:"at,omitempty" placeholder:"TIME" help:"until then: 2026-07-01T12:00:00Z, or a day as 2026-07-01 (its end, UTC)" doc:"until then, RFC 3339, or a day, of which the end counts; absent: now"`
}

// time reads until when.
func (r ModelHistory) time() (at time.Time, err error) {
	if r.At == "" {
		return at, nil
	}
	if at, err = time.Parse(time.RFC3339, r.At); err == nil {
		return at, nil
	}
	if at, err = time.Parse(time.DateOnly, r.At); err == nil {
		return at.Add(24*time.Hour - time.Nanosecond), nil
	}
	return at, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%.60q is no time", r.At), Hint: "write 2026-07-01T12:00:00Z, or 2026-07-01", Err: err}
}

// ModelBill is the bill of materials of a version.
type ModelBill struct {
	Bill json.RawMessage `json:"bill" doc:"CycloneDX 1.6"`
}
