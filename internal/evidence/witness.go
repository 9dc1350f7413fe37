package evidence

import (
	"context"
	"fmt"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/proof"
	"github.com/pavise/pavise/internal/witness"
)

func (rooms *Rooms) witnessVerbs() []api.Verb {
	onLog := []string{"log"}
	all := func(who pavise.Principal) pavise.Name { return pavise.Name{Tenant: who.Tenant, Kind: "log", ID: "all"} }
	return []api.Verb{
		api.Guarded(api.Verb{
			Name: "witness.list", On: onLog, Class: guard.Pooled,
			Help:    "List the logs that this installation is a witness of, and its own keys as one",
			About:   "Each checkpoint that it cosigns is a record here: this log is the log of those logs. The keys go into the witness policy of whoever wants to be watched.",
			Example: "pavise witness list",
		}, func(who pavise.Principal, _ api.Empty) pavise.Name { return all(who) }, rooms.witnessList),
		api.Guarded(api.Verb{
			Name: "witness.trust", On: onLog,
			Help:    "Be a witness of another log, by its verifier key",
			About:   "pavise ledger status prints a log's keys. Give each key that the log signs with; they add up.",
			Example: "pavise witness trust example.com/log+702f3c70+AepKbGPinFIKvvVQexMuxfmVR3auvr57kkIe6mkURtIs",
		}, func(who pavise.Principal, req TrustRequest) pavise.Name {
			key, err := proof.ParseKey(req.Key)
			if err != nil {
				return all(who)
			}
			return witness.Name(who.Tenant, key.Name())
		}, func(ctx context.Context, _ pavise.Principal, req TrustRequest) (api.Empty, error) {
			key, err := proof.ParseKey(req.Key)
			if err != nil {
				return api.Empty{}, err
			}
			return api.Empty{}, rooms.Witness.Trust(ctx, key)
		}),
		api.Guarded(api.Verb{
			Name: "witness.forget", On: onLog,
			Help:    "Be a witness of a log no more",
			About:   "What was seen of it is forgotten, but for the records.",
			Example: "pavise witness forget example.com/log",
		}, func(who pavise.Principal, req OriginRequest) pavise.Name { return witness.Name(who.Tenant, req.Origin) },
			func(ctx context.Context, _ pavise.Principal, req OriginRequest) (api.Empty, error) {
				return api.Empty{}, rooms.Witness.Forget(ctx, req.Origin)
			}),
		api.Guarded(api.Verb{
			Name: "witness.prove", On: onLog, Class: guard.Pooled,
			Help:    "Write a file that proves which tree of another log was cosigned here",
			About:   "With it, a record of that log is proved under this log's key alone: pavise ledger verify FILE --fleet THIS. --size names the checkpoint; without, it is the newest.",
			Example: "pavise witness prove ORIGIN",
		}, func(who pavise.Principal, req FleetRequest) pavise.Name { return witness.Name(who.Tenant, req.Origin) }, rooms.witnessProve),
	}
}

// TrustRequest names a log by its key.
type TrustRequest struct {
	Key string `json:"key" arg:"" help:"the log's verifier key: name+id+base64" doc:"the log's verifier key: name+id+base64"`
}

// OriginRequest names a log.
type OriginRequest struct {
	Origin string `json:"origin" arg:"" help:"the log's name, as in its checkpoints" doc:"the log's name, as in its checkpoints"`
}

// FleetRequest asks for the proof of a checkpoint.
type FleetRequest struct {
	Origin string `json:"origin" arg:"" help:"the log's name, as in its checkpoints" doc:"the log's name, as in its checkpoints"`
	Size   uint64 `json:"size,omitempty" help:"of how many records (default: the newest)" doc:"the checkpoint of so many records; absent: the newest"`
	Out    string `json:"-" placeholder:"FILE" help:"write it there (default: to the terminal)"`
}

// WitnessList is what this installation witnesses.
type WitnessList struct {
	URL  string        `json:"url"`  // where it is asked, C2SP tlog-witness
	Keys []LogKey      `json:"keys"` // it cosigns with these
	Logs []witness.Log `json:"logs"`
}

func (rooms *Rooms) witnessList(ctx context.Context, _ pavise.Principal, _ api.Empty) (WitnessList, error) {
	list := WitnessList{URL: rooms.WitnessURL, Keys: logKeys(rooms.Witness.Keys()), Logs: []witness.Log{}}
	logs, err := rooms.Witness.Logs(ctx)
	list.Logs = append(list.Logs, logs...)
	return list, err
}

func (rooms *Rooms) witnessProve(ctx context.Context, who pavise.Principal, req FleetRequest) (ProofFile, error) {
	filter := ledger.Filter{Tenant: who.Tenant, Kinds: []string{witness.KindCosigned}, On: witness.Name(who.Tenant, req.Origin).String()}
	for found, err := range rooms.Log.SelectBack(ctx, filter, rooms.Log.First(), rooms.Log.Size()) {
		if err != nil {
			return ProofFile{}, err
		}
		cp, err := witness.Cosigned(&found.Record)
		if err != nil || cp.Origin != req.Origin || req.Size != 0 && cp.Size != req.Size {
			continue
		}
		return rooms.ledgerProve(ctx, who, ProveRequest{Index: found.Index})
	}
	return ProofFile{}, &pavise.Error{
		Kind: pavise.NotFound, Msg: fmt.Sprintf("no such checkpoint of the log %.120s was cosigned here", req.Origin),
		Hint: "pavise witness list shows the logs; the records of kind " + witness.KindCosigned + " hold every checkpoint",
	}
}
