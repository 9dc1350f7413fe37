package verbs

import (
	"context"
	"encoding/json"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/drift"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/monitor"
	"github.com/pavise/pavise/internal/runner"
)

func (rooms *Rooms) driftVerbs() []api.Verb {
	on := []string{monitor.Kind}
	return []api.Verb{
		api.Proposing(api.Verb{
			Name: "drift.baseline", On: on, MaxBody: 2 * drift.MaxBaseline,
			Help:    "Propose what a model's windows are held to from now on",
			About:   "From a file, as pavise drift profile writes it of rows that are as they should be: features that it names take the place of what there was, and all others stay. Or learnt anew from the next rows that are asked. It is of the version that answers, or of the one that --version names; a version without its own is held to that of the one before. Others approve it, by its digest. The first baseline stays besides, and windows are held to both, so that one that is led away step by step is found; with --anew the new one takes its place, and the original is kept aside.",
			Example: "pavise drift baseline threat-detector --learn 2000 --reason a-new-customer",
		}, func(_ context.Context, _ pavise.Principal, req DriftBaseline) (pavise.Name, error) {
			return monitor.Of(req.Model), nil
		}, func(req DriftBaseline) (any, error) {
			return monitor.Ask{Model: req.Model, File: req.File, Learn: req.Learn, Version: req.Version, Anew: req.Anew}, nil
		}),
		api.Do(api.Verb{
			Name: "drift.list", On: on, Class: guard.Pooled,
			Help:    "List the models that are watched for drift, and how they stand",
			About:   "Those that moved first. learning: there is no baseline yet; suspected: a window found that something moved; confirmed: three of the last five windows of one length did; broken: what is kept of baselines is not what was signed, or not the newest. In a fleet gateways watch what they answer, and their findings are in their own logs.",
			Example: "pavise drift list --stage confirmed",
		}, withMonitor(rooms, func(m *monitor.Monitor, ctx context.Context, who pavise.Principal, req DriftList) (monitor.List, error) {
			return m.List(ctx, who, monitor.Stage(req.Stage))
		})),
		api.Do(api.Verb{
			Name: "drift.show", On: on, Class: guard.Pooled,
			Help:    "Show how a model drifts: its windows, its features, the verdict and what it stands on",
			About:   "Features that moved most first, each with the chance that nothing moved and the sizes of it, for the last window of each length. With --json everything is there that a picture takes: the shares of baseline and now, and a day of windows.",
			Example: "pavise drift show threat-detector",
		}, withMonitor(rooms, func(m *monitor.Monitor, ctx context.Context, who pavise.Principal, req DriftRef) (monitor.Shown, error) {
			return m.Show(ctx, who, req.Model)
		})),
		api.Do(api.Verb{
			Name: "drift.verdict", On: on,
			Help:    "Say why a model has moved, where it has",
			About:   "Your word stands beside what the windows say, and nothing more is done by itself until they are quiet. Only people say it. To bring the version before back: pavise route rollback.",
			Example: "pavise drift verdict threat-detector --cause traffic --reason a-new-customer",
		}, withMonitor(rooms, func(m *monitor.Monitor, ctx context.Context, who pavise.Principal, req DriftVerdict) (monitor.View, error) {
			return m.Judge(ctx, who, monitor.Said{Model: req.Model, Cause: monitor.Cause(req.Cause), Reason: req.Reason})
		})),
		api.Do(api.Verb{
			Name: "drift.dismiss", On: on,
			Help:    "Say that what was found of a model is no drift",
			About:   "The features that it names are looked at again once they were as the baseline has them, or another version answers. Only people dismiss. What a model is held to stays: for rows that are to be usual from now on, pavise drift baseline.",
			Example: "pavise drift dismiss threat-detector --reason a-test-of-ours",
		}, withMonitor(rooms, func(m *monitor.Monitor, ctx context.Context, who pavise.Principal, req DriftDismiss) (monitor.View, error) {
			return m.Dismiss(ctx, who, monitor.Said{Model: req.Model, Reason: req.Reason})
		})),
	}
}

// withMonitor does a verb on the drift of models, where some answer.
func withMonitor[Req, Resp any](rooms *Rooms, do func(*monitor.Monitor, context.Context, pavise.Principal, Req) (Resp, error)) func(context.Context, pavise.Principal, Req) (Resp, error) {
	return func(ctx context.Context, who pavise.Principal, req Req) (none Resp, err error) {
		if rooms.Monitor == nil {
			return none, runner.ErrNoMonitor
		}
		return do(rooms.Monitor, ctx, who, req)
	}
}

// DriftRef names a model.
type DriftRef struct {
	Model pavise.Name `json:"model" arg:"" help:"the model's name: its id, or tenant/model/id" doc:"the model's name, as tenant/model/id"`
}

// DriftBaseline proposes what a model is held to.
type DriftBaseline struct {
	DriftRef
	File  json.RawMessage `json:"file,omitzero" type:"filecontent" placeholder:"FILE" help:"a baseline, as pavise drift profile writes it" doc:"a baseline: docs/formats/drift-baseline.md"`
	Learn int             `json:"learn,omitempty" placeholder:"ROWS" help:"learn it from so many rows that are asked from then on" doc:"learn it from so many rows that are asked from then on" minimum:"0" maximum:"1048576"`
	// Version is whose it is.
	Version string `json:"version,omitempty" placeholder:"VERSION" help:"whose baseline it is, as drift show names it (the version that answers); one from a file may be put before its version answers" doc:"whose baseline it is, as a release's plan names it; the version that answers, if absent. Of another one it comes from a file"`
	Anew    bool   `json:"anew,omitempty" help:"windows are held to the first baseline no more: this one is it" doc:"windows are held to the first baseline no more, and this one is it"`
	Reason  string `json:"reason,omitempty" help:"why" doc:"why"`
}

// Why is the reason that goes with it.
func (r DriftBaseline) Why() string { return r.Reason }

// DriftList asks for models.
type DriftList struct {
	Stage string `json:"stage,omitempty" enum:"learning,stable,suspected,confirmed,dismissed,broken," default:"" placeholder:"STAGE" help:"only those that are learning, stable, suspected, confirmed, dismissed or broken" doc:"only those that stand so"`
}

// DriftVerdict says why a model moved.
type DriftVerdict struct {
	DriftRef
	Cause  string `json:"cause" required:"true" enum:"bad-version,traffic,callers,walked,unclear" help:"bad-version, traffic, callers, walked or unclear" doc:"bad-version, traffic, callers, walked or unclear"`
	Reason string `json:"reason" required:"true" minLength:"1" maxLength:"1000" help:"why" doc:"why, for people"`
}

// DriftDismiss says that a model has not moved.
type DriftDismiss struct {
	DriftRef
	Reason string `json:"reason" required:"true" minLength:"1" maxLength:"1000" help:"why" doc:"why, for people"`
}
