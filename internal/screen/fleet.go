package screen

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/installation"
	"github.com/pavise/pavise/internal/issuer"
	"github.com/pavise/pavise/internal/verbs"
)

func printHolders(w io.Writer, l verbs.HolderList) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row(tw, "WHO", "ROLES", "BY", "CERTIFICATE", "STANDS")
	for _, h := range l.Holders {
		row(tw, h.Kind+"/"+h.ID, cmp.Or(strings.Join(h.Roles, " "), "-"), cmp.Or(h.By.ID, "-"), certificateOf(h), standsOf(h, l.Nodes))
	}
	tw.Flush()
}

// certificateOf says how far somebody has come to a certificate.
func certificateOf(h issuer.Holder) string {
	switch {
	case !h.Revoked.IsZero():
		return "revoked " + Second(h.Revoked)
	case !h.Invited.IsZero():
		return "invited until " + Second(h.Invited)
	}
	return "until " + Second(h.Expires)
}

// standsOf says how a machine stands, as it said last.
func standsOf(h issuer.Holder, nodes []verbs.NodeState) string {
	i := slices.IndexFunc(nodes, func(n verbs.NodeState) bool { return h.Kind == pavise.Node && n.ID == h.ID })
	if i < 0 {
		return ""
	}
	n := nodes[i]
	words := []string{n.Role, n.Version}
	if n.Serial > 0 {
		words = append(words, fmt.Sprintf("bundle %d, %s", n.Serial, Count(n.Records, "record")))
	}
	switch {
	case n.Away:
		words = append(words, "AWAY since "+Second(n.Seen))
	case n.Stale:
		words = append(words, "STALE: it refuses everything")
	case n.Trouble != "":
		words = append(words, clip(n.Trouble))
	}
	return strings.Join(words, ", ")
}

func printInvitation(w io.Writer, inv issuer.Invitation) { fmt.Fprintln(w, inv.Text) }

func printRoots(w io.Writer, l verbs.RootList) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row(tw, "ROOT", "STATE", "UNTIL")
	for _, r := range l.Roots {
		row(tw, r.Fingerprint, r.State, At(r.Expires))
	}
	tw.Flush()
}

func printBundleKeys(w io.Writer, l verbs.SigningKeys) {
	fmt.Fprintf(w, "gateways are told bundle %d, signed by\n\n", l.Serial)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row(tw, "KEY", "STATE")
	for _, k := range l.Keys {
		row(tw, k.Key, k.State)
	}
	tw.Flush()
}

// joinHint says what the machine that is invited does.
func joinHint(w io.Writer, inv issuer.Invitation) {
	how := fmt.Sprintf("%s gateway --join or %s agent --join", installation.Program(), installation.Program())
	if inv.Name.Kind == pavise.Workload {
		how = installation.Program() + " join"
	}
	fmt.Fprintf(w, "it lets %s join, once, until %s: %s, there\n", inv.Name.ID, At(inv.Expires), how)
}
