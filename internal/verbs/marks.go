package verbs

import (
	"context"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/gateway"
)

// Marks is what knows the marks that callers were given.
type Marks interface {
	// MarksOf returns those of a model, by key. It enters as watermark.export on the model.
	MarksOf(ctx context.Context, who pavise.Principal, model pavise.Name) ([]gateway.Marked, error)
}

// MarksRequest names a model.
type MarksRequest struct {
	Model pavise.Name `json:"model" arg:"" help:"the model's name: its id, or tenant/model/id" doc:"the model's name, as tenant/model/id"`
}

// MarksGiven are the marks of a model, by key.
type MarksGiven struct {
	Model pavise.Name      `json:"model"`
	Keys  []gateway.Marked `json:"keys"`
}

func (rooms *Rooms) markVerbs() []api.Verb {
	return []api.Verb{api.Do(api.Verb{
		Name: "watermark.export", On: []string{"model"},
		Help:    "Give out what a copy of a model is known by: keys, and the marks that callers were given",
		About:   "With --json, each key has the files key and marks, which pavise watermark verify takes. Whoever has a key can tell marked answers from true ones: keep it for a dispute. The commitment of each was in the log before its first mark, as a note watermark.committed, and each mark in the record of its answer. A gateway of a fleet has its own: this is what was marked at the server that is asked.",
		Example: "pavise watermark export threat-detector",
	}, func(ctx context.Context, who pavise.Principal, req MarksRequest) (MarksGiven, error) {
		if rooms.Marks == nil {
			return MarksGiven{}, &pavise.Error{Kind: pavise.Unavailable, Msg: "nobody is answered here, and no answer is marked", Hint: "ask where the model is answered"}
		}
		keys, err := rooms.Marks.MarksOf(ctx, who, req.Model)
		return MarksGiven{Model: req.Model, Keys: keys}, err
	})}
}
