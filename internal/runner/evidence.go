package runner

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/archive"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/subject"
)

// shredRunner runs subject.shred.
func shredRunner(rooms *Rooms) change.Runner {
	return change.Runner{
		Plan: func(ctx context.Context, on pavise.Name, request json.RawMessage) (change.Plan, error) {
			if _, err := parse[Nothing](request); err != nil {
				return change.Plan{}, err
			}
			_, err := rooms.Subjects.Key(ctx, on.Tenant, on.ID)
			return change.Plan{Summary: fmt.Sprintf("shred the key of data subject %s: what the log keeps under it can never be opened again", on.ID)}, err
		},
		Run: func(ctx context.Context, act change.Act) error { return shred(ctx, rooms, act) },
	}
}

// retainRunner runs archive.retain.
func retainRunner(rooms *Rooms) change.Runner {
	return change.Runner{
		Plan: func(ctx context.Context, on pavise.Name, request json.RawMessage) (change.Plan, error) {
			c, err := parse[archive.Class](request)
			if err != nil {
				return change.Plan{}, err
			}
			if err := claimable(rooms, c); err != nil {
				return change.Plan{}, err
			}
			was, err := rooms.Archive.Plan(ctx, c)
			return change.Plan{
				Summary: "keep " + retention(c), Digests: map[string]string{"class before": was.Digest},
				Detail: map[string]any{"before": was.Class, "after": c},
			}, err
		},
		Run: func(ctx context.Context, act change.Act) error { return retain(ctx, rooms, act) },
	}
}

// A ShredReceipt is the detail of the record that says what was shredded.
type ShredReceipt struct {
	subject.Receipt
	Records uint64 `json:"records"` // that keep data of the subject, by the index
}

// shred runs subject.shred.
func shred(ctx context.Context, rooms *Rooms, act change.Act) (err error) {
	entry, err := rooms.Guard.Enter(ctx, act.Who, "subject.shred", act.On)
	if err != nil {
		return err
	}
	defer entry.Exit(&err)
	records, err := rooms.Log.Count(ledger.Filter{Tenant: act.On.Tenant, Subject: act.On.ID}, rooms.Log.First(), rooms.Log.Size())
	if err != nil {
		return err
	}
	receipt, err := rooms.Subjects.Shred(ctx, act.On.Tenant, act.On.ID, act.Mark)
	entry.Detail(ShredReceipt{receipt, records})
	return err
}

// claimable refuses a class that claims what no record is: a kind that is misspelled
// would leave the records that were meant to the default class.
func claimable(rooms *Rooms, c archive.Class) error {
	for _, kind := range c.Kinds {
		if !rooms.Known(kind) {
			return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the class %.60s claims %.60q, which is neither a verb, nor a room, nor a kind of note", c.Name, kind), Hint: "name a kind of record, model.infer, or a room, model; pavise ledger list shows kinds"}
		}
	}
	return nil
}

// retention says in words what a class means.
func retention(c archive.Class) string {
	what, here, there := "all other records", "for ever here", "in the archive without a lock"
	if len(c.Kinds) > 0 {
		what = "records of " + strings.Join(c.Kinds, ", ")
	}
	if c.Online > 0 {
		here = archive.Days(c.Online) + " here"
	}
	if c.Keep > 0 {
		there = archive.Days(c.Keep) + " in the archive"
	}
	return fmt.Sprintf("%s (class %s) %s, and %s", what, c.Name, here, there)
}

// retain runs archive.retain.
func retain(ctx context.Context, rooms *Rooms, act change.Act) (err error) {
	entry, err := rooms.Guard.Enter(ctx, act.Who, "archive.retain", act.On)
	if err != nil {
		return err
	}
	defer entry.Exit(&err)
	c, err := parse[archive.Class](act.Request)
	if err != nil {
		return err
	}
	if c.Name != act.On.ID {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the class is %s, and was proposed for %s", c.Name, act.On.ID)}
	}
	entry.Detail(c)
	return rooms.Archive.Retain(ctx, c, act.Mark)
}
