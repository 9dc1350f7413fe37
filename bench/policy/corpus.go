package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/bench/asked"
	"github.com/pavise/pavise/internal/policy"
)

const (
	tenant = "bench"
	seed   = 20261126 // of the questions
)

// now is the time at which every question is asked.
var now = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

// A source is one policy as a tenant writes it.
type source struct{ id, text string }

// kinds are those of the things that policies and questions are about here.
var kinds = []string{"dataset", "feature", "embedding", "pipeline", "model", "key", "gpu", "alert"}

// bans are the forbids of the whole tenant, ten of them. Most bear on questions that
// this corpus asks.
var bans = []string{
	`forbid (principal, action in [Action::"model.infer", Action::"model.pull"], resource is Model) when { resource.quarantined };`,
	`forbid (principal, action == Action::"model.approve", resource) unless { principal is Human };`,
	`forbid (principal, action in [Action::"key.rotate", Action::"key.revoke"], resource is Key) unless { principal is Human };`,
	`forbid (principal in Role::"suspended", action, resource);`,
	`forbid (principal, action in Action::"dataset", resource is Dataset) when { resource.quarantined && !(action == Action::"dataset.quarantine") };`,
	`forbid (principal is Node, action in Action::"model", resource) unless { action == Action::"model.throttle" };`,
	`forbid (principal in Role::"contractor", action in Action::"control", resource) when { context.now > datetime("2027-01-01") };`,
	`forbid (principal in Role::"red-team", action in [Action::"model.review", Action::"model.approve"], resource);`,
	`forbid (principal is Workload, action in [Action::"alert.decide", Action::"alert.close"], resource);`,
	`forbid (principal, action in Action::"gpu", resource == Gpu::"broken-0");`,
}

// unitPolicies are what a business unit permits, forty of them; % stands for the unit.
var unitPolicies = []string{
	`permit (principal in Role::"%-data-engineer", action in [Action::"dataset.ingest", Action::"dataset.label"], resource is Dataset);`,
	`permit (principal in Role::"%-data-engineer", action == Action::"dataset.read", resource is Dataset) unless { resource.quarantined };`,
	`permit (principal in Role::"%-data-steward", action in Action::"dataset", resource is Dataset);`,
	`permit (principal in Role::"%-scientist", action == Action::"dataset.read", resource is Dataset) when { principal.tenant == resource.tenant };`,
	`permit (principal in Role::"%-scientist", action == Action::"feature.read", resource is Feature);`,
	`permit (principal in Role::"%-feature-engineer", action in [Action::"feature.read", Action::"feature.write"], resource is Feature);`,
	`permit (principal is Human in Role::"%-feature-owner", action == Action::"feature.define", resource is Feature);`,
	`permit (principal in Role::"%-embedder", action in [Action::"embedding.upsert", Action::"embedding.delete"], resource is Embedding);`,
	`permit (principal in Role::"%-searcher", action in [Action::"embedding.query", Action::"embedding.export"], resource is Embedding);`,
	`permit (principal in Role::"%-scientist", action == Action::"embedding.query", resource is Embedding) when { principal.roles.contains("%-cleared") };`,
	`permit (principal in Role::"%-pipeliner", action in Action::"pipeline", resource is Pipeline);`,
	`permit (principal is Workload in Role::"%-runner", action == Action::"pipeline.run", resource is Pipeline);`,
	`permit (principal in Role::"%-trainer", action == Action::"model.train", resource is Model);`,
	`permit (principal in Role::"%-trainer", action == Action::"model.evaluate", resource is Model);`,
	`permit (principal in Role::"%-trainer", action == Action::"gpu.lease", resource is Gpu) when { context.now >= datetime("2026-01-01") && context.now < datetime("2027-01-01") };`,
	`permit (principal in Role::"%-trainer", action == Action::"model.propose", resource is Model);`,
	`permit (principal is Human in Role::"%-reviewer", action in [Action::"model.review", Action::"model.explain"], resource is Model);`,
	`permit (principal is Human in Role::"%-approver", action == Action::"model.approve", resource is Model);`,
	`permit (principal in Role::"%-puller", action == Action::"model.pull", resource is Model) unless { resource.quarantined };`,
	`permit (principal in Role::"%-operator", action in [Action::"model.rollback", Action::"model.quarantine", Action::"model.throttle"], resource is Model);`,
	`permit (principal in Role::"%-client", action == Action::"model.infer", resource is Model) unless { resource.quarantined };`,
	`permit (principal in Role::"%-client", action == Action::"model.describe", resource is Model);`,
	`permit (principal in Role::"%-prober", action == Action::"model.probe", resource is Model) when { principal.issuer like "https://*.example/*" };`,
	`permit (principal in Role::"%-drift", action == Action::"model.throttle", resource is Model) when { principal is Workload };`,
	`permit (principal in Role::"%-key-user", action == Action::"key.use", resource is Key);`,
	`permit (principal in Role::"%-key-custodian", action in [Action::"key.rotate", Action::"key.revoke"], resource is Key);`,
	`permit (principal in Role::"%-scrubber", action in [Action::"gpu.scrub", Action::"gpu.release"], resource is Gpu);`,
	`permit (principal in Role::"%-soc", action in [Action::"alert.read", Action::"alert.decide"], resource is Alert);`,
	`permit (principal in Role::"%-soc-lead", action in Action::"alert", resource is Alert);`,
	`permit (principal in Role::"%-auditor", action in Action::"pooled", resource is Dataset);`,
	`permit (principal in Role::"%-auditor", action in Action::"pooled", resource is Model) unless { action == Action::"model.infer" };`,
	`permit (principal == Human::"%-lead", action in Action::"model", resource is Model) unless { action == Action::"model.approve" };`,
	`permit (principal == Human::"%-temp", action == Action::"dataset.read", resource == Dataset::"%-claims") when { context.now < datetime("2026-12-24") };`,
	`permit (principal == Workload::"%-ci", action == Action::"pipeline.run", resource == Pipeline::"%-nightly");`,
	`permit (principal == Workload::"%-ci", action == Action::"model.pull", resource == Model::"%-fraud");`,
	`permit (principal in Role::"%-client", action == Action::"model.explain", resource == Model::"%-fraud");`,
	`permit (principal in Role::"partner", action == Action::"model.infer", resource == Model::"%-fraud") when { principal.roles.containsAny(["%-guest", "%-client"]) };`,
	`permit (principal, action == Action::"model.describe", resource == Model::"%-public");`,
	`permit (principal == Node::"%-gpu-0", action in [Action::"gpu.scrub", Action::"gpu.release"], resource == Gpu::"%-0");`,
	`permit (principal in Role::"%-client", action == Action::"embedding.query", resource == Embedding::"%-index") when { principal is Workload && !principal.demo };`,
}

// unit names a business unit.
func unit(n int) string { return fmt.Sprintf("u%03d", n) }

// corpus returns n policies: the tenant's bans, and then unit after unit. A smaller
// corpus is the beginning of a larger one.
func corpus(n int) []source {
	var all []source
	for i, text := range bans {
		all = append(all, source{fmt.Sprintf("ban-%02d", i), text})
	}
	for u := 0; len(all) < n; u++ {
		for i, text := range unitPolicies {
			all = append(all, source{fmt.Sprintf("%s-%02d", unit(u), i), strings.ReplaceAll(text, "%", unit(u))})
		}
	}
	return all[:n]
}

// facts are what is known about a thing of the corpus, by how its name ends.
func facts(on pavise.Name) policy.Facts {
	_, last, _ := strings.Cut(on.ID, "-")
	f := policy.Facts{State: states[last], Risk: "low", Environment: "dev", Quarantined: last == "held"}
	switch last {
	case "fraud", "claims":
		f.Risk, f.Environment, f.Scrubbed = "high", "prod", true
	case "0":
		f.Scrubbed = true
	}
	return f
}

// states are how far models have come, by how their names end.
var states = map[string]string{
	"fraud": "live", "public": "published", "claims": "proposed", "nightly": "reviewed", "index": "approved", "0": "draft", "held": "live",
}

// people are who asks, by unit: what they are, what they are called, and their roles.
// The last roles are those of the whole tenant.
var people = []struct{ kind, id, roles string }{
	{pavise.Human, "%-ada", "%-data-engineer %-feature-engineer"},
	{pavise.Human, "%-bea", "%-data-steward"},
	{pavise.Human, "%-cem", "%-scientist %-cleared"},
	{pavise.Human, "%-dov", "%-scientist %-trainer"},
	{pavise.Human, "%-eva", "%-feature-owner %-pipeliner"},
	{pavise.Workload, "%-embed", "%-embedder %-searcher"},
	{pavise.Workload, "%-run", "%-runner %-key-user"},
	{pavise.Workload, "%-train", "%-trainer %-key-user"},
	{pavise.Human, "%-fay", "%-reviewer"},
	{pavise.Human, "%-gil", "%-approver"},
	{pavise.Workload, "%-approve-bot", "%-approver"},
	{pavise.Workload, "%-serve", "%-puller %-key-user"},
	{pavise.Human, "%-hal", "%-operator"},
	{pavise.Workload, "%-app", "%-client"},
	{pavise.Workload, "%-web", "%-client %-guest partner"},
	{pavise.Workload, "%-probe", "%-prober red-team"},
	{pavise.Workload, "%-watch", "%-drift"},
	{pavise.Human, "%-ida", "%-key-custodian"},
	{pavise.Node, "%-gpu-0", "%-scrubber"},
	{pavise.Human, "%-jan", "%-soc"},
	{pavise.Human, "%-kit", "%-soc-lead %-auditor"},
	{pavise.Human, "%-lead", "%-lead"},
	{pavise.Human, "%-temp", "contractor"},
	{pavise.Workload, "%-ci", "%-builder"},
	{pavise.Human, "%-max", "%-scientist %-trainer suspended"},
}

// things are the names that each unit has of every kind; broken-0 is the tenant's.
var things = []string{"%-fraud", "%-public", "%-claims", "%-nightly", "%-index", "%-0", "%-held", "broken-0"}

// questions returns n questions of the first units, evenly over them. What somebody
// asks has mostly to do with their work: of four questions three are ones that some
// policy about them or their roles speaks of.
func questions(schema *policy.Schema, n, units int) []asked.Question {
	random := rand.New(rand.NewPCG(seed, uint64(units)))
	acts := slices.DeleteFunc(schema.Actions(), func(a policy.Action) bool { return !slices.Contains(kinds, a.On[0]) })
	all := make([]asked.Question, 0, n)
	for len(all) < n {
		u := unit(len(all) % units)
		p, act := people[random.IntN(len(people))], acts[random.IntN(len(acts))]
		who := pavise.Principal{
			Tenant: tenant, Kind: p.kind, ID: strings.ReplaceAll(p.id, "%", u), Issuer: "https://id.example/" + u,
			Roles: strings.Fields(strings.ReplaceAll(p.roles, "%", u)), Environment: "prod",
		}
		if len(all)%4 != 0 && !spokenOf(who, act.Verb, u) {
			continue
		}
		on := pavise.Name{Tenant: tenant, Kind: act.On[0], ID: strings.ReplaceAll(things[random.IntN(len(things))], "%", u)}
		all = append(all, asked.Question{Who: who, Act: act, On: on, Facts: facts(on), At: now, Approved: true})
	}
	return all
}

// spokenOf reports whether a unit's policies name the verb and the principal or one of
// their roles in one breath.
func spokenOf(who pavise.Principal, verb, u string) bool {
	room, _, _ := strings.Cut(verb, ".")
	for _, text := range unitPolicies {
		text = strings.ReplaceAll(text, "%", u)
		if !strings.Contains(text, `"`+verb+`"`) && !strings.Contains(text, `in Action::"`+room+`"`) {
			continue
		}
		if strings.Contains(text, `"`+who.ID+`"`) {
			return true
		}
		for _, role := range who.Roles {
			if strings.Contains(text, `Role::"`+role+`"`) {
				return true
			}
		}
	}
	return false
}
