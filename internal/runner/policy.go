package runner

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/guard"
)

// policyRunner runs policy.put, and policy.delete.
func policyRunner(rooms *Rooms, put bool) change.Runner {
	text := func(request json.RawMessage) (string, error) {
		if !put {
			_, err := parse[Nothing](request)
			return "", err
		}
		p, err := parse[PolicyText](request)
		if err == nil && p.Text == "" {
			err = &pavise.Error{Kind: pavise.Invalid, Msg: "a policy has a text", Hint: `the request is {"text":"permit (…);"}`}
		}
		return p.Text, err
	}
	return change.Runner{
		Plan: func(ctx context.Context, on pavise.Name, request json.RawMessage) (change.Plan, error) {
			body, err := text(request)
			if err != nil {
				return change.Plan{}, err
			}
			preview, err := rooms.Policies.Preview(ctx, on, body)
			words := map[bool]string{true: "put in force the policy ", false: "take away the policy "}
			if preview.Was != "" && put {
				words[true] = "replace the policy "
			}
			return change.Plan{
				Summary: words[put] + on.ID,
				Digests: map[string]string{"policies before": preview.Before, "policies after": preview.After},
				Detail:  preview,
			}, err
		},
		Run: func(ctx context.Context, act change.Act) error {
			body, err := text(act.Request)
			if err != nil {
				return err
			}
			if put {
				return rooms.Policies.Put(ctx, act.Who, act.On.Tenant, act.On.ID, body, act.Mark)
			}
			return rooms.Policies.Delete(ctx, act.Who, act.On.Tenant, act.On.ID, act.Mark)
		},
	}
}

// PolicyText is the request of policy.put as its runner reads it.
type PolicyText struct {
	Text string `json:"text"`
}

// glassGrant is the longest grant that may be given before others approve it.
const glassGrant = time.Hour

// grantRunner runs grant.give.
func grantRunner(rooms *Rooms) change.Runner {
	return change.Runner{
		Plan: func(ctx context.Context, on pavise.Name, request json.RawMessage) (change.Plan, error) {
			spec, err := parse[guard.GrantSpec](request)
			if err != nil {
				return change.Plan{}, err
			}
			plan, err := rooms.Grants.Plan(ctx, on, spec)
			digests := map[string]string{"policies": rooms.Guard.Digest(on.Tenant)}
			for _, other := range plan.Other { // what it would be held beside
				digests["beside "+other] = "held"
			}
			return change.Plan{
				Summary: fmt.Sprintf("give %s the role %s for %s", plan.Holder, plan.Role, plan.For),
				Digests: digests, Detail: plan, Parties: []pavise.Name{plan.Holder},
			}, err
		},
		Run: func(ctx context.Context, act change.Act) error {
			spec, err := parse[guard.GrantSpec](act.Request)
			if err != nil {
				return err
			}
			return rooms.Grants.Give(ctx, act.Who, act.On, spec, act.Mark)
		},
		Breakable: func(_ pavise.Name, request json.RawMessage) error {
			spec, err := parse[guard.GrantSpec](request)
			if err != nil {
				return err
			}
			if lasts := time.Duration(spec.Minutes) * time.Minute; lasts > glassGrant {
				return &pavise.Error{Kind: pavise.Denied, Msg: fmt.Sprintf("a grant of %v waits for approval", lasts), Hint: "before others approve it, a role is given for an hour at most: --for 1h"}
			}
			return nil
		},
	}
}
