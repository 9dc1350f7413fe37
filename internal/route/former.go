package route

import (
	"context"
	"fmt"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/store"
)

// A Former is the model that a rollback would bring back, to be asked for comparison. Close ends
// it.
type Former struct {
	Is   string // what it is, as Live.Is says it
	live *Live
	Predictor
}

// Former starts the model that answered for a name before the present one, aside from the route:
// no caller gets what it says. The error is of kind NotFound where there is none of tensors.
//
// Unguarded: a room of the house asks it; no caller gets its answers.
func (t *Table) Former(ctx context.Context, model pavise.Name) (*Former, error) {
	_, will, _, _, err := t.wayBack(ctx, model)
	if err != nil {
		return nil, err
	}
	var live *Live
	err = t.db.View(ctx, func(tx *store.Tx) (err error) {
		live, err = t.startModel(tx, *will)
		return err
	})
	if err != nil {
		return nil, err
	}
	if live.Predictor == nil {
		live.stop()
		return nil, &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("%s was answered by a language model", model), Hint: "its answers are not compared"}
	}
	return &Former{Is: live.Is, live: live, Predictor: live.Predictor}, nil
}

// Close lets go of its server.
func (f *Former) Close() { f.live.stop() }
