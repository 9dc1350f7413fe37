package change

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/store"
)

// verbRule is the verb by which rules change: itself done as a change.
const verbRule = "change.rule"

// A Rule says what it takes to run a verb.
type Rule struct {
	Need int      `json:"need"`         // how many people must approve; who proposes is none of them
	Of   []string `json:"of,omitempty"` // ids of the people who count; none: all who may do the verb
	// Days is how long votes count after the proposal.
	Days int `json:"days"`
}

// Standard is the rule of a verb that has none of its own: one other person, within
// three days.
func Standard() Rule { return Rule{Need: 1, Days: 3} }

// Bounds of a rule.
const (
	maxNeed = 16
	maxDays = 90
	maxOf   = 64 // so that a proposal's record, which holds the rule, is never too long
)

// validate refuses a rule that means nothing. The rule of rules always takes
// somebody else, or one person could have their way with two steps.
func (r Rule) validate(verb string) error {
	bad := func(why string) error {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the rule for %s: %s", verb, why), Hint: "for example: pavise change rule policy.put --need 2 --days 3"}
	}
	switch {
	case r.Need < 0 || r.Need > maxNeed:
		return bad(fmt.Sprintf("it takes 0 to %d approvals, not %d", maxNeed, r.Need))
	case r.Need == 0 && verb == verbRule:
		return bad("somebody else must approve a change of rules")
	case r.Days < 1 || r.Days > maxDays:
		return bad(fmt.Sprintf("votes count for 1 to %d days, not %d", maxDays, r.Days))
	case len(r.Of) > maxOf:
		return bad(fmt.Sprintf("it names %d people, more than %d", len(r.Of), maxOf))
	case len(r.Of) > 0 && len(r.Of) < r.Need:
		return bad(fmt.Sprintf("%d approvals are to come from %d people", r.Need, len(r.Of)))
	}
	for i, id := range r.Of {
		if (pavise.Name{Tenant: "t", Kind: pavise.Human, ID: id}).Validate() != nil || slices.Contains(r.Of[:i], id) {
			return bad(fmt.Sprintf("%.60q is no person's id, or stands there twice", id))
		}
	}
	return nil
}

// counts reports whether somebody is among those whose approval the rule asks for. It is
// who answers for an identity that counts: whoever mints could call theirs by any name.
func (r Rule) counts(who pavise.Principal) bool {
	root := who.Root()
	return len(r.Of) == 0 || root.Kind == pavise.Human && slices.Contains(r.Of, root.ID)
}

// until is when votes on something proposed now cease to count.
func (r Rule) until(now time.Time) time.Time { return now.Add(time.Duration(r.Days) * 24 * time.Hour) }

// A VerbRule is a rule with its verb.
type VerbRule struct {
	Verb string `json:"verb"`
	Safe bool   `json:"safe,omitempty"` // it runs first, and is approved afterwards
	Rule
}

// rule returns the rule of a verb in a tenant.
func rule(tx *store.Tx, tenant, verb string) (Rule, error) {
	r := Standard()
	var text string
	err := tx.QueryRow(`SELECT rule FROM change_rules WHERE tenant = ? AND verb = ?`, tenant, verb).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return r, nil
	}
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return r, fmt.Errorf("read the rule for %s: %w", verb, err)
	}
	if verb == verbRule {
		r.Need = max(r.Need, 1) // whoever wrote what stands there
	}
	return r, nil
}

// RuleFor returns the rule that a proposal is under, of which it reads the verb, the thing
// and the plan. Another rule for a verb takes what the verb takes, and whoever counts there:
// fewer people, or others, could first lower what keeps them from it. What lets somebody new
// decide takes as many as any verb does. runners are those of the installation, and kept is
// the rule that its tenant has for a verb, whose errors come back as they are.
func RuleFor(ch *Change, runners map[string]Runner, kept func(verb string) (Rule, error)) (Rule, error) {
	own, err := kept(ch.Verb)
	if err != nil {
		return own, err
	}
	own.Need = max(own.Need, ch.Plan.Need)
	if ch.Plan.Days > 0 {
		own.Days = min(own.Days, ch.Plan.Days)
	}
	switch {
	case ch.Verb == verbRule:
		of, err := kept(ch.On.ID)
		if err != nil {
			return own, err
		}
		own.Need = max(own.Need, of.Need)
		if len(of.Of) > 0 {
			own.Of = of.Of
		}
	case runners[ch.Verb].Widens:
		for verb := range runners {
			of, err := kept(verb)
			if err != nil {
				return own, err
			}
			own.Need = max(own.Need, of.Need)
		}
	}
	return own, nil
}

// Rules returns the rules of a tenant, by verb: the verb change.rules.
func (c *Changes) Rules(ctx context.Context, who pavise.Principal, tenant string) (rules []VerbRule, err error) {
	entry, err := c.guard.Enter(ctx, who, "change.rules", pavise.Name{Tenant: tenant, Kind: "change", ID: "rules"})
	if err != nil {
		return nil, err
	}
	defer entry.Exit(&err)
	err = c.db.View(ctx, func(tx *store.Tx) error {
		for _, verb := range c.Verbs() {
			r, err := rule(tx, tenant, verb)
			if err != nil {
				return err
			}
			rules = append(rules, VerbRule{Verb: verb, Safe: c.runners[verb].Safe, Rule: r})
		}
		return nil
	})
	return rules, err
}

// parseRule reads the request of change.rule.
func (c *Changes) parseRule(on pavise.Name, request json.RawMessage) (VerbRule, error) {
	var r VerbRule
	if err := json.Unmarshal(request, &r); err != nil {
		return r, &pavise.Error{Kind: pavise.Invalid, Msg: "this is no rule", Err: err}
	}
	if _, err := c.runner(r.Verb); err != nil {
		return r, err
	}
	if on.ID != r.Verb {
		return r, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the rule is for %s, and was proposed for %s", r.Verb, on.ID)}
	}
	return r, r.Rule.validate(r.Verb)
}

// planRule says what a new rule would come to.
func (c *Changes) planRule(ctx context.Context, on pavise.Name, request json.RawMessage) (Plan, error) {
	r, err := c.parseRule(on, request)
	if err != nil {
		return Plan{}, err
	}
	var was Rule
	err = c.db.View(ctx, func(tx *store.Tx) error {
		was, err = rule(tx, on.Tenant, r.Verb)
		return err
	})
	if err != nil {
		return Plan{}, err
	}
	if was.same(r.Rule) {
		return Plan{}, &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("%s takes %s already", r.Verb, was.words()), Hint: "pavise change rules shows what each verb takes"}
	}
	before, err := json.Marshal(was)
	if err != nil {
		return Plan{}, fmt.Errorf("encode a rule: %w", err)
	}
	sum := sha256.Sum256(before)
	return Plan{
		Summary: fmt.Sprintf("let %s take %s, where it takes %s now", r.Verb, r.Rule.words(), was.words()),
		Digests: map[string]string{"rule before": hex.EncodeToString(sum[:])},
		Detail:  map[string]Rule{"before": was, "after": r.Rule},
	}, nil
}

// same reports whether two rules ask for the same, in whatever order they name people.
func (r Rule) same(other Rule) bool {
	return r.Need == other.Need && r.Days == other.Days && slices.Equal(slices.Sorted(slices.Values(r.Of)), slices.Sorted(slices.Values(other.Of)))
}

// maxNamed is how many of the people that a rule names its words say; the plan has all.
const maxNamed = 4

// words say what a rule asks for.
func (r Rule) words() string {
	who := "other people"
	if r.Need == 1 {
		who = "other person"
	}
	if named := r.Of[:min(len(r.Of), maxNamed)]; len(named) > 0 {
		who = "of " + strings.Join(named, ", ")
		if more := len(r.Of) - len(named); more > 0 {
			who += fmt.Sprintf(" and %d more", more)
		}
	}
	return fmt.Sprintf("%d %s within %d days", r.Need, who, r.Days)
}

// runRule puts a rule in force: the verb change.rule.
func (c *Changes) runRule(ctx context.Context, act Act) (err error) {
	entry, err := c.guard.Enter(ctx, act.Who, verbRule, act.On)
	if err != nil {
		return err
	}
	defer entry.Exit(&err)
	r, err := c.parseRule(act.On, act.Request)
	if err != nil {
		return err
	}
	entry.Detail(r)
	text, err := json.Marshal(r.Rule)
	if err != nil {
		return fmt.Errorf("encode a rule: %w", err)
	}
	return c.db.Update(ctx, func(tx *store.Tx) error {
		if err := act.Mark(tx); err != nil {
			return err
		}
		_, err := tx.Exec(`INSERT INTO change_rules (tenant, verb, rule) VALUES (?, ?, ?) ON CONFLICT (tenant, verb) DO UPDATE SET rule = excluded.rule`, act.On.Tenant, r.Verb, string(text))
		return err
	})
}
