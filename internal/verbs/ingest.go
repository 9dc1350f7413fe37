package verbs

import (
	"context"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/gate"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/runner"
)

// maxTerms is the body of ingest.put: a contract of 1 MiB in base64, and the rest.
const maxTerms = 3 << 20

func (rooms *Rooms) ingestVerbs() []api.Verb {
	onSource := []string{gate.KindSource}
	return []api.Verb{
		{
			Name: "ingest.push", On: onSource,
			Help:  "Bring a batch of records for a source",
			About: "At the door: POST /v1/ingest/{source}, as NDJSON, CSV, lines, STIX or bytes; or POST /v1/logs, in OTLP. pavise ingest push sends a file there.",
		},
		api.Do(api.Verb{
			Name: "ingest.put", On: onSource, MaxBody: maxTerms,
			Help:    "Declare a source of records, and what its batches are held to",
			About:   "What keeps the source's contract, is signed by its signers, written by its writers and like what came before is let in; everything else goes into quarantine, with the reason. What a source is held to changes only when others have approved: pavise ingest revise. That holds for a name that was deleted, too.",
			Example: "pavise ingest put payments --form csv --quota-mb 100",
		}, func(ctx context.Context, who pavise.Principal, req gate.Spec) (gate.Source, error) {
			g, err := runner.WithGate(rooms.Gate)
			if err != nil {
				return gate.Source{}, err
			}
			return g.Put(ctx, who, req)
		}),
		api.Proposing(api.Verb{
			Name: "ingest.revise", On: onSource, MaxBody: maxTerms,
			Help:    "Propose other terms for a source: another contract, other signers or writers",
			About:   "Takes what pavise ingest put takes; what is left out is no longer held to. The plan says what would be looser. What is in quarantine stays there.",
			Example: "pavise ingest revise payments --form csv --quota-mb 200",
		}, func(_ context.Context, _ pavise.Principal, req SourceRevision) (pavise.Name, error) {
			return req.Source, nil
		}, func(req SourceRevision) (any, error) { return req.Spec, nil }),
		api.Do(api.Verb{
			Name: "ingest.list", On: onSource, Class: guard.Pooled,
			Help:    "List the sources of your tenant",
			About:   "With how many batches of each were let in and how many are in quarantine.",
			Example: "pavise ingest list",
		}, func(ctx context.Context, who pavise.Principal, _ api.Empty) (SourceList, error) {
			g, err := runner.WithGate(rooms.Gate)
			if err != nil {
				return SourceList{}, err
			}
			all, err := g.List(ctx, who)
			return SourceList{all}, err
		}),
		api.Do(api.Verb{
			Name: "ingest.show", On: onSource, Class: guard.Pooled,
			Help:    "Show one source: what it is held to, what is watched, and how late that is told",
			About:   "Who wrote what was let in stands there, too: the list of writers begins with it.",
			Example: "pavise ingest show payments",
		}, func(ctx context.Context, who pavise.Principal, req SourceRef) (gate.Source, error) {
			g, err := runner.WithGate(rooms.Gate)
			if err != nil {
				return gate.Source{}, err
			}
			return g.Show(ctx, who, req.Source)
		}),
		api.Do(api.Verb{
			Name: "ingest.held", On: onSource, Class: guard.Pooled,
			Help:    "Show what is in quarantine, and why",
			About:   "The oldest first. With a batch, by the first eight digits of its SHA-256 or more, its bytes are written to --out.",
			Example: "pavise ingest held",
		}, func(ctx context.Context, who pavise.Principal, req HeldRequest) (gate.HeldList, error) {
			g, err := runner.WithGate(rooms.Gate)
			if err != nil {
				return gate.HeldList{}, err
			}
			return g.Held(ctx, who, req.Source, req.Batch)
		}),
		api.Proposing(api.Verb{
			Name: "ingest.release", On: onSource,
			Help:    "Propose to let a batch out of quarantine",
			About:   "What is approved is its SHA-256: these bytes and no others. Whoever brought the batch counts no more than who proposes it.",
			Example: "pavise ingest release payments BATCH",
		}, func(_ context.Context, _ pavise.Principal, req BatchRef) (pavise.Name, error) {
			return req.Source, nil
		}, func(req BatchRef) (any, error) { return runner.HeldBatch{Batch: req.Batch}, nil }),
		api.Do(api.Verb{
			Name: "ingest.discard", On: onSource,
			Help:    "Take a batch out of quarantine for good",
			About:   "Its bytes are gone; that it came, why it was held and who discarded it stays in the log. The same bytes are not let in again.",
			Example: "pavise ingest discard payments BATCH --reason poison",
		}, func(ctx context.Context, who pavise.Principal, req BatchRef) (gate.HeldBatch, error) {
			g, err := runner.WithGate(rooms.Gate)
			if err != nil {
				return gate.HeldBatch{}, err
			}
			return g.Discard(ctx, who, req.Source, req.Batch, req.Reason)
		}),
		api.Do(api.Verb{
			Name: "ingest.delete", On: onSource,
			Help:    "Take a source away",
			About:   "Nothing is let in for it any more. What was let in stays where it is, and what the source was held to is remembered: with other terms the name comes back only as a change.",
			Example: "pavise ingest delete payments",
		}, func(ctx context.Context, who pavise.Principal, req SourceRef) (api.Empty, error) {
			g, err := runner.WithGate(rooms.Gate)
			if err != nil {
				return api.Empty{}, err
			}
			return api.Empty{}, g.Delete(ctx, who, req.Source)
		}),
	}
}

// SourceList holds sources.
type SourceList struct {
	Sources []gate.Source `json:"sources"`
}

// SourceRef names a source.
type SourceRef struct {
	Source pavise.Name `json:"source" arg:"" help:"the source's name: its id, or tenant/source/id" doc:"the source's name, as tenant/source/id"`
}

// SourceRevision proposes other terms.
type SourceRevision struct {
	gate.Spec
	Reason string `json:"reason,omitempty" help:"why" doc:"why"`
}

// Why is the reason that goes with it.
func (r SourceRevision) Why() string { return r.Reason }

// HeldRequest asks for what is in quarantine.
type HeldRequest struct {
	Source pavise.Name `json:"source,omitzero" arg:"" optional:"" help:"of this source alone" doc:"of this source alone, as tenant/source/id"`
	Batch  string      `json:"batch,omitempty" arg:"" optional:"" help:"this batch, by its SHA-256 or eight digits of it at least" doc:"this batch, by its SHA-256 or eight digits of it at least, with its bytes"`
	Out    string      `json:"-" placeholder:"FILE" help:"write the batch to this file, which must not be there"`
}

// BatchRef names a batch in quarantine.
type BatchRef struct {
	Source pavise.Name `json:"source" arg:"" help:"the source's name: its id, or tenant/source/id" doc:"the source's name, as tenant/source/id"`
	Batch  string      `json:"batch" arg:"" help:"the batch's SHA-256, or eight digits of it at least" doc:"the batch's SHA-256, or eight digits of it at least"`
	Reason string      `json:"reason,omitempty" help:"why" doc:"why"`
}

// Why is the reason that goes with it.
func (r BatchRef) Why() string { return r.Reason }

// gateDoors are the doors where batches come in, by their patterns.
func gateDoors(s *api.Server, g *gate.Gate) {
	door := gate.Door{Admit: s.Admit, Refuse: api.Refuse}
	s.Beside("POST /v1/ingest/{source}", g.PushDoor(door))
	s.Beside("POST /v1/logs", g.LogsDoor(door))
}
