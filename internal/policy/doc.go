// Package policy says what a set of policies decides: who may do which verb on which
// thing. It is pure: no clock, no disk, no record. Package guard asks it at the door
// and writes the answer down.
//
// It owns the vocabulary of policies (the [Schema], made from the table of verbs and
// the catalogue of acts that have no verb yet), the guardrails and the roles that are
// compiled in, and the [Set] of policies that decides for one tenant.
//
// # Two layers
//
// The guardrails (guardrails.cedar) are forbids that stand before every tenant's
// policies. No tenant can remove one, because in Cedar a forbid overrides every permit.
// The roles (roles.cedar) are ordinary policies that a tenant begins with and may
// change. A forbid that cannot be evaluated forbids: Cedar itself would skip it, and a
// guardrail must not be skipped.
//
// # The index
//
// cedar-go evaluates every policy for every question, on purpose, so that reasons and
// errors are complete. A [Set] keeps its policies by what their scopes ask for (verb,
// principal or role, resource or its type) and hands Cedar those alone that can match.
// Only a scope that cannot match drops a policy; whatever else a policy says is left to
// Cedar, so decisions, reasons and errors are those of the full scan ([Set.Scan]), which
// a fuzz test holds it to. What was decided is kept for the next same question, unless
// a policy looks at the time. A Set never changes, so what it keeps needs no
// invalidation: another set of policies is another Set, and other facts about a thing
// are another [Thing].
package policy
