package verbs

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/deploy"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/runner"
)

func (rooms *Rooms) targetVerbs() []api.Verb {
	on := []string{deploy.KindTarget}
	return []api.Verb{
		api.Proposing(api.Verb{
			Name: "target.put", On: on,
			Help:    "Propose a target: a place where versions of one model run",
			About:   "gateway steers a route of the gateways: --set model=ID, and --set server=URL with {version} in it where versions are served at addresses of their own. function is one in the manner of AWS Lambda: --set function=, alias= and region=. edge is a machine that fetches what it is to run: --set agent=workload/ID. kubernetes is a Deployment, or an InferenceService of KServe: --set form=, namespace=, name= and repository=. docs/deploy.md has all settings. On a target that exists, what is wanted there is brought there anew.",
			Example: "pavise target put gateway --kind gateway --set model=threat-detector",
		}, func(_ context.Context, _ pavise.Principal, req TargetPut) (pavise.Name, error) {
			return req.Name, nil
		}, func(req TargetPut) (any, error) { return req.spec() }),
		api.Do(api.Verb{
			Name: "target.list", On: on, Class: guard.Pooled,
			Help:    "List the targets, and of which model versions run there",
			About:   "A target is for one model. What runs there says pavise deploy show.",
			Example: "pavise target list",
		}, withDeployments(rooms, func(d *deploy.Deployments, ctx context.Context, who pavise.Principal, _ api.Empty) (deploy.Places, error) {
			return d.Targets(ctx, who)
		})),
		api.Do(api.Verb{
			Name: "target.show", On: on, Class: guard.Pooled,
			Help:    "Show a target: its settings, what is wanted there, and what was seen",
			About:   "Of a machine at the edge it also shows whose word that machine is to take: with --json, trust is what pavise edge run wants in a file. Of an object in a cluster of Kubernetes, admission is a policy for that cluster.",
			Example: "pavise target show gateway",
		}, withDeployments(rooms, func(d *deploy.Deployments, ctx context.Context, who pavise.Principal, req TargetRef) (deploy.Shown, error) {
			return d.Target(ctx, who, req.Name)
		})),
		api.Do(api.Verb{
			Name: "target.remove", On: on,
			Help:    "Forget a target",
			About:   "What runs there goes on, and nobody looks at it any more, which is a finding.",
			Example: "pavise target remove gateway --reason it-was-sold",
		}, withDeployments(rooms, func(d *deploy.Deployments, ctx context.Context, who pavise.Principal, req TargetRemove) (api.Empty, error) {
			return api.Empty{}, d.Remove(ctx, who, req.Name, req.Reason)
		})),
		{
			Name: "target.pull", On: on, Class: guard.Pooled,
			Help:  "Fetch what a machine at the edge is to run",
			About: "At GET /v1/edge/{target}/v1/bundle, signed, and the parts of files below it: by the one agent that the target names.",
		},
		{
			Name: "target.report", On: on, Class: guard.Pooled,
			Help:  "Say what a machine at the edge runs",
			About: "At POST /v1/edge/{target}/report: by the one agent that the target names.",
		},
	}
}

func (rooms *Rooms) deployVerbs() []api.Verb {
	on := []string{deploy.Kind}
	return []api.Verb{
		api.Proposing(api.Verb{
			Name: "deploy.release", On: on,
			Help:    "Propose a version of a model for targets",
			About:   "Only a version that is published is deployed, and a version of high risk takes two approvals. With --canary it answers a share of the calls first, with --shadow it hears them and answers none; pavise deploy promote lets it answer all. What was approved is the version's content, what each target is, and what runs there: when one of them is another by then, nothing is done. Gateways move first. A target that is down has it later: pavise deploy show says which do not have it yet.",
			Example: "pavise deploy release threat-detector/1 --to gateway",
		}, func(_ context.Context, who pavise.Principal, req DeployRelease) (pavise.Name, error) {
			name, _, err := req.version(who.Tenant)
			return name, err
		}, func(req DeployRelease) (any, error) { return req.release() }),
		api.Proposing(api.Verb{
			Name: "deploy.promote", On: on,
			Help:    "Propose that the version beside another answers all calls",
			About:   "It is not possible while a target ran what nobody approved: an approved release ends that alarm.",
			Example: "pavise deploy promote threat-detector",
		}, func(_ context.Context, _ pavise.Principal, req DeployAct) (pavise.Name, error) {
			return req.Name, nil
		}, func(DeployAct) (any, error) { return api.Empty{}, nil }),
		api.Proposing(api.Verb{
			Name: "deploy.rollback", On: on, Safe: true,
			Help:    "Go back to the version that answered before, at once",
			About:   "It is done first, and approved afterwards: the safe direction never waits. Where a version is beside another, that one goes. Versions that are quarantined or were taken back are passed over. Gateways have moved when it answers.",
			Example: "pavise deploy rollback threat-detector --reason drift",
		}, func(_ context.Context, _ pavise.Principal, req DeployAct) (pavise.Name, error) {
			return req.Name, nil
		}, func(req DeployAct) (any, error) { return runner.Because{Why: req.Reason}, nil }),
		api.Do(api.Verb{
			Name: "deploy.list", On: on, Class: guard.Pooled,
			Help:    "List the models that run somewhere, and how far each is",
			About:   "rolling: some target does not have what is wanted yet; canary: a version has a share of the calls, or hears them; live; degraded: a target is in trouble; alarm: something ran that nobody approved.",
			Example: "pavise deploy list",
		}, withDeployments(rooms, func(d *deploy.Deployments, ctx context.Context, who pavise.Principal, _ api.Empty) (deploy.List, error) {
			return d.List(ctx, who)
		})),
		api.Do(api.Verb{
			Name: "deploy.show", On: on, Class: guard.Pooled,
			Help:    "Show where a model runs: what is wanted at each target, and what was seen",
			About:   "A digest that is somebody's word, because nobody could look at it, says so.",
			Example: "pavise deploy show threat-detector",
		}, withDeployments(rooms, func(d *deploy.Deployments, ctx context.Context, who pavise.Principal, req DeployRef) (deploy.View, error) {
			return d.Show(ctx, who, req.Name)
		})),
		api.Do(api.Verb{
			Name: "deploy.check", On: on,
			Help:    "Look at every target of a model now",
			About:   "What runs is compared with what was approved, by digest. What is missing is done.",
			Example: "pavise deploy check threat-detector",
		}, withDeployments(rooms, func(d *deploy.Deployments, ctx context.Context, who pavise.Principal, req DeployRef) (deploy.View, error) {
			return d.Check(ctx, who, req.Name)
		})),
	}
}

// withDeployments does a verb on what runs where, where that is known.
func withDeployments[Req, Resp any](rooms *Rooms, do func(*deploy.Deployments, context.Context, pavise.Principal, Req) (Resp, error)) func(context.Context, pavise.Principal, Req) (Resp, error) {
	return func(ctx context.Context, who pavise.Principal, req Req) (none Resp, err error) {
		if rooms.Deployments == nil {
			return none, runner.ErrNoDeployments
		}
		return do(rooms.Deployments, ctx, who, req)
	}
}

// TargetRef names a target.
type TargetRef struct {
	Name pavise.Name `json:"name" arg:"" help:"the target's name: its id, or tenant/target/id" doc:"the target's name, as tenant/target/id"`
}

// TargetPut proposes a target.
type TargetPut struct {
	TargetRef
	Kind   string   `json:"kind" required:"true" minLength:"1" placeholder:"KIND" help:"gateway, function, edge or kubernetes" doc:"gateway, function, edge or kubernetes"`
	Set    []string `json:"set,omitempty" sep:"none" placeholder:"KEY=VALUE" help:"a setting of such a target; may be repeated" doc:"settings of such a target, as KEY=VALUE"`
	Reason string   `json:"reason,omitempty" help:"why" doc:"why"`
}

// Why is the reason that goes with it.
func (r TargetPut) Why() string { return r.Reason }

func (r TargetPut) spec() (deploy.Spec, error) {
	spec := deploy.Spec{Kind: r.Kind, Settings: map[string]string{}}
	for _, text := range r.Set {
		key, value, ok := strings.Cut(text, "=")
		if _, twice := spec.Settings[key]; !ok || key == "" || twice {
			return spec, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%.80q is no setting, or is said twice", text), Hint: "--set KEY=VALUE, each once"}
		}
		spec.Settings[key] = value
	}
	return spec, nil
}

// TargetRemove forgets a target.
type TargetRemove struct {
	TargetRef
	Reason string `json:"reason" required:"true" minLength:"1" maxLength:"1000" help:"why" doc:"why, for people"`
}

// DeployRelease proposes a version for targets.
type DeployRelease struct {
	Version string   `json:"version" arg:"" help:"the version: MODEL/NUMBER" doc:"the version, as MODEL/NUMBER"`
	To      []string `json:"to,omitempty" placeholder:"TARGET" help:"where it is to run; several are separated by commas (default: everywhere where versions of the model run)" doc:"ids of targets; absent: every target of the model" maxItems:"64"`
	Canary  int      `json:"canary,omitempty" placeholder:"N" help:"so many of a hundred calls it answers first" doc:"so many of a hundred calls it answers first" minimum:"0" maximum:"99"`
	Shadow  bool     `json:"shadow,omitempty" help:"it hears the calls first, and answers none" doc:"it hears the calls first, and answers none"`
	Reason  string   `json:"reason,omitempty" help:"why" doc:"why"`
}

// Why is the reason that goes with it.
func (r DeployRelease) Why() string { return r.Reason }

// version reads which version of which model is meant.
func (r DeployRelease) version(tenant string) (pavise.Name, int, error) {
	id, text, ok := strings.Cut(r.Version, "/")
	number, err := strconv.Atoi(text)
	name := pavise.Name{Tenant: tenant, Kind: deploy.Kind, ID: id}
	if !ok || err != nil || number < 1 || strconv.Itoa(number) != text || name.Validate() != nil {
		return name, 0, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%.100q is no version", r.Version), Hint: "write MODEL/NUMBER, for example fraud/3"}
	}
	return name, number, nil
}

func (r DeployRelease) release() (runner.Released, error) {
	_, number, err := r.version("any")
	return runner.Released{Version: number, To: r.To, Canary: r.Canary, Shadow: r.Shadow}, err
}

// DeployRef names a deployment by its model.
type DeployRef struct {
	Name pavise.Name `json:"name" arg:"" help:"the model: its id, or tenant/deployment/id" doc:"the deployment, as tenant/deployment/id of the model"`
}

// DeployAct proposes an act on a deployment.
type DeployAct struct {
	DeployRef
	Reason string `json:"reason,omitempty" help:"why" doc:"why"`
}

// Why is the reason that goes with it.
func (r DeployAct) Why() string { return r.Reason }
