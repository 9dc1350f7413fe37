// Package guard is the door: may they, and write down that they asked.
//
// [Guard.Enter] asks Cedar whether a principal may do a verb on a name and
// records the question with its answer; [Entry.Exit] records how the act
// ended. The package owns the policies in force, the generated schema they are
// validated against, and the set of acts that are under way. It owns no
// storage: records go to a [Recorder], and tenants' policies live in package
// store, through [Policies].
//
// # Two layers of policy
//
// The guardrails are forbids compiled into the binary (guardrails.cedar); no
// tenant can remove one, because in Cedar a forbid overrides every permit.
// Tenant policies come on top, validated against the schema that the list of
// actions generates. A question about a thing is decided under the policies of
// the tenant that owns the thing. A forbid that cannot be evaluated forbids:
// Cedar itself would skip it, and a guardrail must not be skipped.
//
// A record belongs to the tenant that owns the thing, and so does the refusal of
// a stranger who asked for it. What a refusal counts against is the stranger.
//
// # Two classes of verb
//
// A [Control] verb is durable before it acts: one record at Enter, one at Exit.
// A [Pooled] verb leaves one record at Exit, written but not synced, and holds
// one of a bounded number of slots while it acts. What the house does where
// nobody asked for a verb is a durable [Guard.Note].
//
// # Fail closed
//
// The guard refuses when:
//
//   - no policy is loaded for the tenant that owns the thing;
//   - the question, the answer or the ending cannot be recorded;
//   - the caller of a Control verb is gone before it begins;
//   - all slots are taken, or the principal holds its share, an eighth of them:
//     one caller's slow requests must not close the door for the others;
//   - the clock has stepped back by more than two seconds (verbs in the safe
//     direction pass, and while it is behind records carry the newest time seen);
//   - a forbid cannot be evaluated;
//   - the verb is unknown, does not apply to the thing, or the caller or the
//     thing has no proper name.
//
// Signed policy bundles and attestation do not exist in this build, so their
// absence is not checked here.
//
// Nobody must be able to close the door by knocking, nor fill the log with
// refusals. Those of unauthenticated callers are counted, and recorded once per
// source, reason and second ([Guard.Refuse], [Guard.Run]). The first 20 denials
// of a principal within a second are recorded one by one, and the further ones
// counted in the same way, under the principal's name, in the notes of the
// guard's own tenant. So is every refusal for want of a slot or a good clock, and
// of a caller who is gone; and every act of which no record could be written, once
// records can be written again. Sources, and the reasons of one source, are bounded;
// what is beyond is counted as "others" and "other".
package guard
