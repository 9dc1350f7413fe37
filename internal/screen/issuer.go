package screen

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/pavise/pavise/internal/issuer"
	"github.com/pavise/pavise/internal/verbs"
)

func printWhoami(w io.Writer, who verbs.Whoami) {
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "%-12s %s\n", name, value)
		}
	}
	line("you are", who.Name.String())
	if who.Root != who.Name {
		line("for", who.Root.String())
	}
	line("roles", strings.Join(who.Roles, ", "))
	line("issuer", who.Issuer)
	line("environment", who.Environment)
	line("known by", who.Proof)
	line("until", Second(who.Expires))
}

// whoseRevoked says what a revocation is of.
func whoseRevoked(r issuer.Revocation) string {
	return cmp.Or(r.Principal.String(), r.Issuer, "all of "+r.Tenant)
}

func printRevoked(w io.Writer, r issuer.Revocation) {
	fmt.Fprintf(w, "what was given to %s before %s is refused from now on\n", whoseRevoked(r), Second(r.Before))
}

func printRevocations(w io.Writer, list verbs.RevocationList) {
	if len(list.Revocations) == 0 {
		fmt.Fprintln(w, "nothing was revoked")
		return
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "REFUSED\tGIVEN OUT BEFORE\tBY\tREASON")
	for _, r := range list.Revocations {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", whoseRevoked(r), Second(r.Before), r.Who, r.Reason)
	}
	table.Flush()
}
