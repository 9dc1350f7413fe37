package screen

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/pavise/pavise/internal/tier"
	"github.com/pavise/pavise/internal/verbs"
)

func printTiers(w io.Writer, l verbs.TierViews) {
	if len(l.Tiers) == 0 {
		fmt.Fprintln(w, "every caller is green at every model that was asked about")
	} else {
		tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		row(tw, "MODEL", "CALLER", "TIER", "SINCE", "UNTIL", "WHY")
		for _, v := range l.Tiers {
			row(tw, v.Model.ID, v.Who, v.Tier, At(v.Since), At(v.Until), v.Words)
		}
		tw.Flush()
	}
	if l.More > 0 {
		fmt.Fprintf(w, "and %d more: ask with --model or --caller\n", l.More)
	}
	if l.Pushed > 0 {
		fmt.Fprintf(w, "%s let go since the start, because there was no room for more\n", Count(l.Pushed, "standing"))
	}
	for _, u := range l.Unseen {
		fmt.Fprintf(w, "%s of %s since the start that no detector looked at\n", Count(u.Requests+u.Odd, "answered request"), u.Model)
	}
}

func printTier(w io.Writer, s verbs.TierShown) {
	fmt.Fprintf(w, "%s is %s at %s", s.Who, s.Tier, s.Model)
	if !s.Since.IsZero() && s.Tier != tier.Green {
		fmt.Fprintf(w, " since %s", At(s.Since))
	}
	if !s.Until.IsZero() {
		fmt.Fprintf(w, ", until %s", At(s.Until))
	}
	fmt.Fprintf(w, ": %s\n", s.Words)
	if len(s.Records) == 0 {
		return
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row(tw, "RECORD", "AT", "KIND", "SAYS")
	for _, r := range s.Records {
		row(tw, r.Index, At(r.At), r.Kind, r.Words)
	}
	tw.Flush()
}

func printHeld(w io.Writer, h verbs.TierHeld) {
	fmt.Fprintf(w, "%s is %s at %s until %s\n", h.Who, h.Tier, h.Model, At(h.Until))
	if !h.Seen {
		fmt.Fprintln(w, "nobody of that name has asked for anything since the start: is it spelled as pavise caller list has it?")
	}
}

func printLifted(w io.Writer, l verbs.TierLifted) {
	fmt.Fprintf(w, "%s is green at %s again; it was %s: %s\n", l.Was.Who, l.Was.Model, l.Was.Tier, l.Was.Words)
}
