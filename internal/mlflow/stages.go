package mlflow

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/registry"
)

// The stages of MLflow.
const (
	stageNone       = "None"
	stageStaging    = "Staging"
	stageProduction = "Production"
	stageArchived   = "Archived"
)

// production is the alias of the version that a model's users are to have: its stage is
// Production, also before it is deployed.
const production = "production"

// parseStage reads a stage, in whatever case. The error is of kind Invalid.
func parseStage(text string) (string, error) {
	for _, stage := range []string{stageNone, stageStaging, stageProduction, stageArchived} {
		if strings.EqualFold(stage, text) {
			return stage, nil
		}
	}
	return "", &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%.40q is no stage", text), Hint: "the stages are None, Staging, Production and Archived"}
}

// stageOf is what MLflow calls how far a version is in its life.
func stageOf(v *registry.Version) string {
	switch v.State {
	case registry.Draft, registry.Proposed, registry.Reviewed, registry.Approved:
		return stageNone
	case registry.Published, registry.Canary:
		if slices.Contains(v.Aliases, production) {
			return stageProduction
		}
		return stageStaging
	case registry.Live, registry.Degraded, registry.Accepted:
		return stageProduction
	}
	return stageArchived
}

func (s *Server) transition(ctx context.Context, who pavise.Principal, req transition) (any, error) {
	stage, err := parseStage(req.Stage)
	if err != nil {
		return nil, err
	}
	if req.Archive == nil {
		return nil, missing("archive_existing_versions")
	}
	k, v, err := s.find(ctx, who, req.Name, req.Version)
	if err != nil {
		return nil, err
	}
	if stageOf(v) != stage {
		if err := s.move(ctx, who, k, v, stage); err != nil {
			return nil, err
		}
	}
	return s.getVersion(ctx, who, ofVersion{req.Name, req.Version})
}

// move brings a version to another stage than it has, or says what has to happen first.
func (s *Server) move(ctx context.Context, who pavise.Principal, k known, v *registry.Version, stage string) error {
	switch stage {
	case stageArchived:
		return s.archive(ctx, who, v)
	case stageNone:
		return &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("version %d of %s is %s, and nothing leads back from there to None", v.Ref.Version, v.Ref.Model, v.State), Hint: "register its files as another version"}
	}
	if err := s.publish(ctx, who, k, v); err != nil {
		return err
	}
	switch {
	case stage == stageProduction:
		return s.giveAlias(ctx, who, k, production, v.Ref.Version)
	case stageOf(v) == stageProduction && (v.State == registry.Published || v.State == registry.Canary):
		return s.giveAlias(ctx, who, k, production, 0)
	case stageOf(v) == stageProduction:
		return &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("version %d of %s is %s: it answers requests", v.Ref.Version, v.Ref.Model, v.State), Hint: "deploy another version, or roll this one back"}
	}
	return nil
}

// publish has a version be published, or be on its way there, which is an error that says what
// it waits for.
func (s *Server) publish(ctx context.Context, who pavise.Principal, k known, v *registry.Version) error {
	if status, problem := k.status(v); status != ready {
		return &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("version %d of %s is %s: %s", v.Ref.Version, v.Ref.Model, status, problem), Hint: "ask again once it is READY"}
	}
	switch v.State {
	case registry.Draft:
		if _, err := s.cfg.Registry.Propose(ctx, who, who.Tenant, v.Ref, "asked for with MLflow"); err != nil {
			return err
		}
		return unreviewed(v)
	case registry.Proposed:
		return unreviewed(v)
	case registry.Reviewed:
		return s.propose(ctx, who, "model.publish", v.Name(), struct{}{})
	case registry.Published, registry.Canary, registry.Live, registry.Degraded, registry.Accepted:
		return nil
	}
	return &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("version %d of %s is %s", v.Ref.Version, v.Ref.Model, v.State), Hint: "register its files as another version"}
}

// unreviewed says that a version waits for a review.
func unreviewed(v *registry.Version) error {
	return &pavise.Error{Kind: pavise.Denied, Msg: fmt.Sprintf("version %d of %s is proposed, and awaits review", v.Ref.Version, v.Ref.Model), Hint: fmt.Sprintf("somebody else reviews it: pavise model review %s --digest %s", v.Ref, v.Digest)}
}

// archive ends the life of a version, or has it be on its way there, which is an error that
// says what it waits for.
func (s *Server) archive(ctx context.Context, who pavise.Principal, v *registry.Version) error {
	switch v.State {
	case registry.Proposed, registry.Reviewed:
		_, err := s.cfg.Registry.Reject(ctx, who, who.Tenant, v.Ref, "archived with MLflow")
		return err
	case registry.RolledBack, registry.Draft, registry.Published:
		return s.propose(ctx, who, "model.retire", v.Name(), struct{}{})
	}
	return &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("version %d of %s is %s, and is not archived from there", v.Ref.Version, v.Ref.Model, v.State), Hint: "deploy another version first, or release it from quarantine"}
}

func (s *Server) setAlias(ctx context.Context, who pavise.Principal, req aliasRequest) (any, error) {
	k, v, err := s.find(ctx, who, req.Name, req.Version)
	if err == nil {
		err = checkAlias(req.Alias)
	}
	if err != nil {
		return nil, err
	}
	if k.Aliases[req.Alias] == v.Ref.Version {
		return nothing{}, nil
	}
	if err := s.publish(ctx, who, k, v); err != nil {
		return nil, err
	}
	return nothing{}, s.giveAlias(ctx, who, k, req.Alias, v.Ref.Version)
}

// checkAlias refuses what MLflow has no alias of.
func checkAlias(alias string) error {
	word := func(r rune) bool {
		return r != '_' && r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}
	number, versioned := strings.CutPrefix(strings.ToLower(alias), "v")
	versioned = versioned && number != "" && strings.Trim(number, "0123456789") == ""
	if alias == "" || len(alias) > 255 || strings.ContainsFunc(alias, word) || strings.EqualFold(alias, "latest") || versioned {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%.60q is no alias", alias), Hint: "an alias has letters, digits, _ and -, and is neither latest nor v and a number"}
	}
	return nil
}

func (s *Server) deleteAlias(ctx context.Context, who pavise.Principal, req aliasRequest) (any, error) {
	k, err := s.know(ctx, who, req.Name, 0)
	if err == nil {
		err = checkAlias(req.Alias)
	}
	if err != nil {
		return nil, err
	}
	if k.Aliases[req.Alias] == 0 {
		return nothing{}, nil
	}
	return nothing{}, s.giveAlias(ctx, who, k, req.Alias, 0)
}

func (s *Server) byAlias(ctx context.Context, who pavise.Principal, req aliasRequest) (any, error) {
	k, err := s.know(ctx, who, req.Name, 0)
	if err != nil {
		return nil, err
	}
	number := k.Aliases[req.Alias]
	if number == 0 {
		// MLflow's clients tell an alias that is not there from a model by these words.
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("Registered model alias %.80s not found", req.Alias), Hint: req.Name + " has no such alias"}
	}
	return s.getVersion(ctx, who, ofVersion{req.Name, text(strconv.Itoa(number))})
}

// giveAlias gives an alias to a version, or with 0 takes it away, as a change that others
// approve.
func (s *Server) giveAlias(ctx context.Context, who pavise.Principal, k known, alias string, number int) error {
	if number == 0 {
		return s.propose(ctx, who, "model.unalias", k.Name, struct {
			Alias string `json:"alias"`
		}{alias})
	}
	return s.propose(ctx, who, "model.alias", k.Name, struct {
		Alias   string `json:"alias"`
		Version int    `json:"version"`
	}{alias, number})
}

// propose proposes an act, unless it is proposed already, and returns nil if it was done.
func (s *Server) propose(ctx context.Context, who pavise.Principal, verb string, on pavise.Name, request any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("encode a proposal of %s: %w", verb, err)
	}
	what := fmt.Sprintf("%s %s %s", verb, on, body)
	before, err := s.asked(ctx, who.Tenant, what)
	if err != nil {
		return err
	}
	if before != (pavise.Name{}) {
		if c, err := s.cfg.Changes.Show(ctx, who, before); err == nil && (c.State.Waits() || c.State == change.Approved || c.State == change.Running) {
			return s.awaits(c.Name)
		}
	}
	c, err := s.cfg.Changes.Propose(ctx, who, change.Proposal{Verb: verb, On: on, Request: body, Reason: "asked for with MLflow"})
	if err != nil {
		return err
	}
	switch c.State {
	case change.Done, change.Ran:
		return nil
	case change.Failed, change.Void:
		return &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("change %s came to nothing: %s", c.Name.ID, c.Outcome), Hint: s.cfg.Address(c.Name)}
	}
	if err := s.proposed(ctx, who.Tenant, what, c.Name); err != nil {
		return err
	}
	return s.awaits(c.Name)
}

// awaits says that a change waits for others.
func (s *Server) awaits(c pavise.Name) error {
	return &pavise.Error{Kind: pavise.Denied, Msg: fmt.Sprintf("change %s awaits approval: %s", c.ID, s.cfg.Address(c)), Hint: "ask again once it is approved"}
}
