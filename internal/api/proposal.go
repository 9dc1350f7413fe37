package api

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/change"
)

// A Reasoned request says why it is made, or says nothing.
type Reasoned interface{ Why() string }

// A ChangeView is a change as it is shown.
type ChangeView struct {
	change.Change
	Have int `json:"have"` // approvals it has
	Need int `json:"need"` // and those it takes
}

// View shows a change.
func View(ch *change.Change) ChangeView {
	v := ChangeView{Change: *ch}
	v.Have, v.Need = ch.Approvals()
	return v
}

// Viewed shows the change that an act on it came to, if it came to one.
func Viewed(ch *change.Change, err error) (ChangeView, error) {
	if ch == nil {
		return ChangeView{}, err
	}
	return View(ch), err
}

// propose proposes a verb with the request that its runner reads.
func (s *Server) propose(ctx context.Context, who pavise.Principal, verb string, on pavise.Name, request any, reason string) (ChangeView, error) {
	body, err := json.Marshal(request)
	if err != nil {
		return ChangeView{}, fmt.Errorf("encode a proposal of %s: %w", verb, err)
	}
	return Viewed(s.changes.Propose(ctx, who, change.Proposal{Verb: verb, On: on, Request: body, Reason: reason}))
}
