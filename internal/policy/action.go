package policy

import (
	"slices"

	"github.com/pavise/pavise"
)

// A Class says when a verb's record must be safe.
type Class int

// The two classes.
const (
	// Control: the question is durable before the act, the ending after it.
	Control Class = iota
	// Pooled: one record, written but not synced, at the end.
	Pooled
)

// String returns the name of the Cedar action group of the class.
func (c Class) String() string {
	if c == Pooled {
		return "pooled"
	}
	return "control"
}

// An Action is a verb that policies may speak of.
type Action struct {
	Verb  string   // room.what, for example "model.infer"
	On    []string // the kinds of thing it applies to, for example "model"
	Class Class
	Safe  bool // safe direction or recovery: may use the ledger's emergency reserve
	// Consequential: done only as a change that others have approved.
	Consequential bool
	// Declared: no room serves it yet. Who does it elsewhere asks with policy.check.
	Declared bool
}

// The verbs that this package's own guardrails and checks speak of.
const (
	VerbPut     = "policy.put"
	VerbDelete  = "policy.delete"
	VerbList    = "policy.list"
	VerbExplain = "policy.explain"
	VerbSchema  = "policy.schema"
	VerbPropose = "change.propose"
	VerbApprove = "change.approve"
	VerbDeny    = "change.deny"
	VerbBreak   = "change.break"
	VerbClock   = "clock.accept"
	VerbInfer   = "model.infer"
	VerbAgree   = "model.approve" // to publish a version: a vote on the change that does

	VerbExchange = "issuer.exchange"
	VerbGive     = "grant.give"
	VerbRevoke   = "grant.revoke"
)

// The kinds of thing that the guardrails speak of by name.
const (
	KindPolicy = "policy"
	KindChange = "change"
	KindGrant  = "grant"
	KindHolder = "holder" // of a certificate
	KindSource = "source" // of records that come in
	KindTier   = "tier"   // of the callers of a model, under the model's id

	KindDataset = "dataset"
	KindDrift   = "drift" // of a model, under the model's id

	KindTarget     = "target"     // where versions of models run
	KindDeployment = "deployment" // of a model, under its id
	KindModel      = "model"
	KindTicket     = "ticket" // a tool that changes are told to
)

// asideOn is what a model server is asked about aside from inference: one of its models,
// or itself.
var asideOn = []string{"model", "server"}

// Named returns the served actions that every schema has, because the guardrails or
// the roles name them.
func Named() []Action { return slices.Concat(ofHouse(), ofAssets(), ofDoors()) }

// ofHouse are those on policies, changes and grants, and on what callers are answered by.
func ofHouse() []Action {
	return []Action{
		{Verb: VerbPut, On: []string{KindPolicy}, Consequential: true},
		{Verb: VerbDelete, On: []string{KindPolicy}, Consequential: true},
		{Verb: VerbList, On: []string{KindPolicy}, Class: Pooled},
		{Verb: VerbExplain, On: []string{KindPolicy}, Class: Pooled},
		{Verb: VerbSchema, On: []string{KindPolicy}, Class: Pooled},
		{Verb: "policy.who-can", On: []string{KindPolicy}, Class: Pooled},
		{Verb: "policy.diff", On: []string{KindPolicy}, Class: Pooled},
		{Verb: "policy.matrix", On: []string{KindPolicy}, Class: Pooled},
		{Verb: "caller.list", On: []string{"caller"}, Class: Pooled},
		{Verb: VerbPropose, On: []string{KindChange}},
		{Verb: "change.emergency", On: []string{KindChange}, Safe: true},
		{Verb: VerbApprove, On: []string{KindChange}},
		{Verb: VerbDeny, On: []string{KindChange}},
		{Verb: VerbBreak, On: []string{KindChange}},
		{Verb: "change.withdraw", On: []string{KindChange}},
		{Verb: "change.list", On: []string{KindChange}, Class: Pooled},
		{Verb: "change.show", On: []string{KindChange}, Class: Pooled},
		{Verb: "change.rules", On: []string{KindChange}, Class: Pooled},
		{Verb: "change.rule", On: []string{KindChange}, Consequential: true},
		{Verb: VerbGive, On: []string{KindGrant}, Consequential: true},
		{Verb: VerbRevoke, On: []string{KindGrant}, Safe: true},
		{Verb: "grant.list", On: []string{KindGrant}, Class: Pooled},
		{Verb: "route.list", On: []string{"route"}, Class: Pooled},
		{Verb: "route.rollback", On: []string{"route"}, Safe: true, Consequential: true},
		{Verb: "route.quarantine", On: []string{"route"}, Safe: true, Consequential: true},
		{Verb: "tier.hold", On: []string{KindTier}, Safe: true},
		{Verb: "tier.list", On: []string{KindTier}, Class: Pooled},
		{Verb: "tier.show", On: []string{KindTier}, Class: Pooled},
		{Verb: "tier.lift", On: []string{KindTier}},
	}
}

// ofAssets are those on datasets, models and where models run.
func ofAssets() []Action {
	return []Action{
		{Verb: "dataset.seal", On: []string{KindDataset}},
		{Verb: "dataset.watch", On: []string{KindDataset}},
		{Verb: "dataset.check", On: []string{KindDataset}},
		{Verb: "dataset.screen", On: []string{KindDataset}},
		{Verb: "dataset.report", On: []string{KindDataset}},
		{Verb: "dataset.accept", On: []string{KindDataset}, Consequential: true},
		{Verb: "dataset.list", On: []string{KindDataset}, Class: Pooled},
		{Verb: "dataset.show", On: []string{KindDataset}, Class: Pooled},
		{Verb: "dataset.compare", On: []string{KindDataset}, Class: Pooled},
		{Verb: "dataset.prove", On: []string{KindDataset}},
		{Verb: "dataset.unwatch", On: []string{KindDataset}},
		{Verb: "drift.baseline", On: []string{KindDrift}, Consequential: true},
		{Verb: "drift.list", On: []string{KindDrift}, Class: Pooled},
		{Verb: "drift.show", On: []string{KindDrift}, Class: Pooled},
		{Verb: "drift.verdict", On: []string{KindDrift}},
		{Verb: "drift.dismiss", On: []string{KindDrift}},
		{Verb: "target.put", On: []string{KindTarget}, Consequential: true},
		{Verb: "target.list", On: []string{KindTarget}, Class: Pooled},
		{Verb: "target.show", On: []string{KindTarget}, Class: Pooled},
		{Verb: "target.remove", On: []string{KindTarget}},
		{Verb: "target.pull", On: []string{KindTarget}, Class: Pooled},
		{Verb: "target.report", On: []string{KindTarget}, Class: Pooled},
		{Verb: "deploy.release", On: []string{KindDeployment}, Consequential: true},
		{Verb: "deploy.promote", On: []string{KindDeployment}, Consequential: true},
		{Verb: "deploy.rollback", On: []string{KindDeployment}, Safe: true, Consequential: true},
		{Verb: "deploy.list", On: []string{KindDeployment}, Class: Pooled},
		{Verb: "deploy.show", On: []string{KindDeployment}, Class: Pooled},
		{Verb: "deploy.check", On: []string{KindDeployment}},
		{Verb: "model.create", On: []string{KindModel}},
		{Verb: "model.add", On: []string{KindModel}},
		{Verb: "model.push", On: []string{KindModel}, Class: Pooled},
		{Verb: "model.pull", On: []string{KindModel}, Class: Pooled},
		{Verb: "model.tag", On: []string{KindModel}},
		{Verb: "model.propose", On: []string{KindModel}},
		{Verb: "model.evidence", On: []string{KindModel}},
		{Verb: "model.review", On: []string{KindModel}},
		{Verb: "model.reject", On: []string{KindModel}},
		{Verb: "model.publish", On: []string{KindModel}, Consequential: true},
		{Verb: "model.alias", On: []string{KindModel}, Consequential: true},
		{Verb: "model.unalias", On: []string{KindModel}, Consequential: true},
		{Verb: "model.quarantine", On: []string{KindModel}, Safe: true},
		{Verb: "model.release", On: []string{KindModel}, Consequential: true},
		{Verb: "model.retire", On: []string{KindModel}, Consequential: true},
		{Verb: "model.list", On: []string{KindModel}, Class: Pooled},
		{Verb: "model.show", On: []string{KindModel}, Class: Pooled},
		{Verb: "model.history", On: []string{KindModel}, Class: Pooled},
		{Verb: "model.bom", On: []string{KindModel}, Class: Pooled},
		{Verb: "model.inspect", On: []string{KindModel}, Class: Pooled},
		{Verb: "run.log", On: []string{"run"}},
		{Verb: "run.show", On: []string{"run"}, Class: Pooled},
	}
}

// ofDoors are those on the evidence, on what comes in, and on what model servers are asked.
func ofDoors() []Action {
	return []Action{
		{Verb: "watermark.export", On: []string{"model"}},
		{Verb: "witness.list", On: []string{"log"}, Class: Pooled},
		{Verb: "archive.list", On: []string{"archive"}, Class: Pooled},
		{Verb: "finding.list", On: []string{"ledger"}, Class: Pooled},
		{Verb: "lineage.emit", On: []string{"lineage"}},
		{Verb: "dataset.lineage", On: []string{"lineage"}, Class: Pooled},
		{Verb: "dataset.exposed", On: []string{"lineage"}, Class: Pooled},
		{Verb: "siem.list", On: []string{"siem"}, Class: Pooled},
		{Verb: "siem.put", On: []string{"siem"}},
		{Verb: "ticket.list", On: []string{KindTicket}, Class: Pooled},
		{Verb: "ticket.show", On: []string{KindTicket}, Class: Pooled},
		{Verb: "ticket.put", On: []string{KindTicket}},
		{Verb: "ticket.map", On: []string{KindTicket}, Consequential: true},
		{Verb: "ticket.pass", On: []string{KindTicket}, Consequential: true},
		{Verb: "ticket.unmap", On: []string{KindTicket}, Safe: true},
		{Verb: "subject.shred", On: []string{"subject"}, Consequential: true},
		{Verb: "ledger.read", On: []string{"ledger"}, Class: Pooled},
		{Verb: "issuer.mint", On: []string{"issuer"}},
		{Verb: "issuer.whoami", On: []string{"issuer"}, Class: Pooled},
		{Verb: VerbExchange, On: []string{"issuer"}, Class: Pooled},
		{Verb: "console.link", On: []string{"console"}},
		{Verb: "node.list", On: []string{KindHolder}, Class: Pooled},
		{Verb: "node.invite", On: []string{KindHolder}},
		{Verb: "node.join", On: []string{KindHolder}},
		{Verb: "node.renew", On: []string{KindHolder}, Class: Pooled},
		{Verb: "person.invite", On: []string{KindHolder}, Consequential: true},
		{Verb: "ca.list", On: []string{"ca"}, Class: Pooled},
		{Verb: "bundle.list", On: []string{"bundle"}, Class: Pooled},
		{Verb: "bundle.rotate", On: []string{"bundle"}, Consequential: true},
		{Verb: "bundle.revoke", On: []string{"bundle"}, Consequential: true},
		{Verb: "ingest.push", On: []string{KindSource}},
		{Verb: "ingest.put", On: []string{KindSource}},
		{Verb: "ingest.revise", On: []string{KindSource}, Consequential: true},
		{Verb: "ingest.list", On: []string{KindSource}, Class: Pooled},
		{Verb: "ingest.show", On: []string{KindSource}, Class: Pooled},
		{Verb: "ingest.held", On: []string{KindSource}, Class: Pooled},
		{Verb: "ingest.release", On: []string{KindSource}, Consequential: true},
		{Verb: "ingest.discard", On: []string{KindSource}},
		{Verb: "ingest.delete", On: []string{KindSource}},
		{Verb: "ingest.receive", On: []string{KindSource}},
		{Verb: "ingest.stop", On: []string{KindSource}},
		{Verb: "ingest.receivers", On: []string{KindSource}, Class: Pooled},
		{Verb: VerbClock, On: []string{"clock"}, Safe: true},
		{Verb: VerbInfer, On: []string{"model"}, Class: Pooled},
		{Verb: "model.describe", On: []string{"model"}, Class: Pooled},
		{Verb: "model.control", On: asideOn},
		{Verb: "model.memory", On: asideOn},
		{Verb: "model.trace", On: asideOn},
		{Verb: "model.logging", On: asideOn},
		{Verb: "model.weights", On: asideOn},
		{Verb: "model.tokenize", On: asideOn, Class: Pooled},
		{Verb: "model.metrics", On: asideOn, Class: Pooled},
		{Verb: "model.other", On: asideOn, Class: Pooled},
	}
}

// Catalogue returns the acts on an organisation's AI estate that no room of Pavise
// serves yet. Policies and roles speak of them today, and whatever does them (a feature
// store, a trainer, a scheduler) asks with policy.check. A verb of the table with the
// same name takes its place.
func Catalogue() []Action {
	var all []Action
	on := func(kind string, actions ...Action) {
		for _, a := range actions {
			a.On, a.Declared = []string{kind}, true
			all = append(all, a)
		}
	}
	on("dataset",
		Action{Verb: "dataset.read", Class: Pooled}, Action{Verb: "dataset.ingest"}, Action{Verb: "dataset.label"},
		Action{Verb: "dataset.export", Consequential: true},
		Action{Verb: "dataset.quarantine", Safe: true}, Action{Verb: "dataset.release", Consequential: true})
	on("feature",
		Action{Verb: "feature.read", Class: Pooled}, Action{Verb: "feature.write"}, Action{Verb: "feature.define"})
	on("embedding",
		Action{Verb: "embedding.query", Class: Pooled}, Action{Verb: "embedding.upsert"}, Action{Verb: "embedding.delete"},
		Action{Verb: "embedding.export", Consequential: true})
	on("pipeline",
		Action{Verb: "pipeline.read", Class: Pooled}, Action{Verb: "pipeline.run"}, Action{Verb: "pipeline.edit", Consequential: true})
	on("model",
		Action{Verb: "model.train"}, Action{Verb: "model.retrain", Consequential: true}, Action{Verb: "model.evaluate"},
		Action{Verb: VerbAgree},
		Action{Verb: "model.deploy", Consequential: true}, Action{Verb: "model.rollback", Safe: true},
		Action{Verb: "model.explain", Class: Pooled}, Action{Verb: "model.throttle", Safe: true}, Action{Verb: "model.probe"})
	on("key",
		Action{Verb: "key.use"}, Action{Verb: "key.rotate"}, Action{Verb: "key.revoke", Safe: true})
	on("gpu",
		Action{Verb: "gpu.lease"}, Action{Verb: "gpu.scrub", Safe: true}, Action{Verb: "gpu.release", Safe: true})
	on("alert",
		Action{Verb: "alert.read", Class: Pooled}, Action{Verb: "alert.decide"}, Action{Verb: "alert.close"})
	return all
}

// Facts are what the rooms know of a thing and a policy may ask. The zero value says
// that nobody knows anything, which the guardrails take as the unsafe answer.
type Facts struct {
	Quarantined bool
	State       string // of models, datasets, pipelines and alerts: how far it has come in its life
	Risk        string // of models and datasets: low, medium or high
	Environment string // of keys: where it may be used
	Scrubbed    bool   // of GPUs: nothing of the last tenant is left in its memory
}

// extras are the attributes that things of a kind have beside those that all have.
var extras = map[string][]string{
	"model":    {"state", "risk"},
	"dataset":  {"state", "risk"},
	"pipeline": {"state"},
	"alert":    {"state"},
	"key":      {"environment"},
	"gpu":      {"scrubbed"},
}

// Conflicts are the pairs of roles that nobody may hold both: no grant makes one, and
// the guardrail conflicting-roles bars every control verb to who holds one all the
// same. Each pair is in alphabetical order.
var Conflicts = [][2]string{
	{"auditor", "operator"},           // who runs the house does not audit it
	{"data-steward", "labeler"},       // who labels data does not release it
	{"key-custodian", "tenant-admin"}, // who keeps keys does not say who may use them
	{"model-approver", "publisher"},   // who approves a model does not publish it
	{"model-approver", "retrainer"},   // nor who retrains it
}

// Conflicting returns the first pair of conflicting roles in a list.
func Conflicting(roles []string) (pair [2]string, found bool) {
	for _, pair := range Conflicts {
		if slices.Contains(roles, pair[0]) && slices.Contains(roles, pair[1]) {
			return pair, true
		}
	}
	return pair, false
}

// kinds of principal, in the order in which they are shown.
var kinds = []string{pavise.Human, pavise.Workload, pavise.Node}
