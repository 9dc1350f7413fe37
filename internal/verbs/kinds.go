package verbs

import (
	"slices"

	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/archive"
	"github.com/pavise/pavise/internal/catalog"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/deploy"
	"github.com/pavise/pavise/internal/gate"
	"github.com/pavise/pavise/internal/gateway"
	"github.com/pavise/pavise/internal/issuer"
	"github.com/pavise/pavise/internal/monitor"
	"github.com/pavise/pavise/internal/notary"
	"github.com/pavise/pavise/internal/openlineage"
	"github.com/pavise/pavise/internal/parts"
	"github.com/pavise/pavise/internal/receiver"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/registry"
	"github.com/pavise/pavise/internal/route"
	"github.com/pavise/pavise/internal/siem"
	"github.com/pavise/pavise/internal/subject"
	"github.com/pavise/pavise/internal/ticket"
	"github.com/pavise/pavise/internal/witness"
)

// notes are all kinds of note that the house writes.
var notes = []string{
	"identity.refused", "guard.refused", "guard.clock", "issuer.bootstrap", "policy.seeded", "policy.renewed", "ledger.recovered", "ledger.damaged", record.KindPruned,
	archive.KindKept, witness.KindCosigned, "witness.forked", "change.void", "change.unproven", "change.expired", "change.overdue", "change.contested", change.KindBroken, change.KindUnseen,
	subject.KindShredded, issuer.KindCopied, issuer.KindReinvited, siem.KindDisabled, siem.KindUnreachable, ticket.KindUnreachable, ticket.KindLost, ticket.KindRefused,
	"serve.began", "node.state", "node.away", "witness.trusted", "bundle.taken", "bundle.refused", "policy.adopted", "policy.dropped", "model.withdrawn", "model.restored", "drift.reported",
	"gateway.stale", "gateway.fresh", "drift.unheard", route.KindShadowed, "firewall.drifted", "firewall.suspected", "firewall.alerted", gateway.KindOverlooked, parts.Kind,
	route.KindForgot, route.KindUnwatched, "watermark.committed", openlineage.KindRefuted, gate.KindHeld, gate.KindOdd, gate.KindExpired,
	catalog.KindSealed, catalog.KindVerified, catalog.KindChanged, catalog.KindRestored, catalog.KindUnreachable, catalog.KindReachable, catalog.KindUnindexed, catalog.KindScreened, catalog.KindUnscreened,
	deploy.KindSettled, deploy.KindPartial, deploy.KindStrayed, deploy.KindUnapproved, deploy.KindUntraced, deploy.KindChanged, deploy.KindRolledBack, deploy.KindPaged, deploy.KindUnwatched,
	registry.KindMoved, registry.KindTaken, registry.KindHarmful, registry.KindOverdue, registry.KindSigned, registry.KindUnsigned, registry.KindVouched, registry.KindAltered, notary.KindKey,
	monitor.KindLearned, monitor.KindSuspected, monitor.KindConfirmed, monitor.KindActed, monitor.KindEnded, monitor.KindHeld, monitor.KindSwapped,
	receiver.KindSilent, receiver.KindUnreachable, receiver.KindReplaced, receiver.KindTruncated, receiver.KindGone, receiver.KindLost, receiver.KindContradicted, receiver.KindRefused, receiver.KindTerms,
}

// Known reports whether there may be records of this kind: it is a verb, a kind of note,
// or a room of either.
func Known(kind string) bool {
	is := func(name string) bool { return name == kind || record.Room(name) == kind }
	return slices.ContainsFunc(notes, is) || slices.ContainsFunc(Table(), func(v api.Verb) bool { return is(v.Name) })
}

// KindOf is the kind of thing that all verbs of a noun are done to; "" where there is not
// just one.
func KindOf(noun string) string {
	return map[string]string{
		"ingest": gate.KindSource, "dataset": catalog.Kind, "model": registry.Kind, "target": deploy.KindTarget, "deploy": deploy.Kind,
	}[noun]
}
