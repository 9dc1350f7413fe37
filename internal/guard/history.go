package guard

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"

	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/policy"
	"github.com/pavise/pavise/internal/record"
)

// A History is the evidence log as far as it tells which policies were ever in force.
type History interface {
	Select(ctx context.Context, f ledger.Filter, from, to uint64) iter.Seq2[ledger.Found, error]
	First() uint64
	Size() uint64
}

// policyHistory are the kinds of record by which a tenant's policies changed.
var policyHistory = []string{"policy.seeded", "policy.renewed", policy.VerbPut, policy.VerbDelete}

// formerly returns the set of policies of a tenant that a digest names, compiled from
// what the log says of every change; nil, and why, if it does not say it. The digest
// pins the texts and the guardrails, so that whatever is found is what was in force.
func (g *Guard) formerly(ctx context.Context, h History, tenant, digest string) (*policy.Set, string) {
	if h == nil {
		return nil, "there is no log to look up what was in force then"
	}
	if h.First() > 0 {
		return nil, "the records that say what was in force then may have been pruned"
	}
	texts := map[string]string{}
	for found, err := range h.Select(ctx, ledger.Filter{Tenant: tenant, Kinds: policyHistory}, 0, h.Size()) {
		if err != nil {
			return nil, fmt.Sprintf("what was in force then cannot be read: %v", err)
		}
		var change policyChange
		if found.Phase == record.Enter || found.Error != nil || json.Unmarshal(found.Detail, &change) != nil || change.After == "" {
			continue
		}
		if texts[found.On.ID] = change.Text; change.Text == "" {
			delete(texts, found.On.ID)
		}
		if change.After != digest || policy.Digest(texts) != digest {
			continue
		}
		set, err := g.words.Load().schema.Compile(tenant, texts, g.rules.Load().set(tenant))
		if err != nil {
			return nil, fmt.Sprintf("this build no longer reads what was in force then: %v", err)
		}
		return set, ""
	}
	return nil, "no policies that the log tells of have that digest: the guardrails were those of another build, or somebody should look"
}
