package screen

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/pavise/pavise/internal/traffic"
)

// WriteReading says how the columns of recorded traffic were read.
func WriteReading(w io.Writer, r traffic.Reading) {
	row := func(what string, said string) { fmt.Fprintf(w, "  %-9s %s\n", what, said) }
	fmt.Fprintln(w, "read as:")
	row("client", cmp.Or(r.Client, "each file is one"))
	row("inputs", some(r.Inputs))
	switch {
	case r.Asked:
		row("answers", "the model's, asked anew")
	case len(r.Scores) > 0:
		row("answers", some(r.Scores)+" (scores)")
	case r.Answer != "":
		row("answers", r.Answer+" (a class: how near a row is to a border is not known)")
	default:
		row("answers", "none: classes and margins are not known")
	}
	if len(r.Ignored) > 0 {
		row("ignored", some(r.Ignored))
	}
}

// some says a list of names, or the ends of a long one.
func some(names []string) string {
	if len(names) > 8 {
		return fmt.Sprintf("%s … %s (%d)", strings.Join(names[:3], ", "), names[len(names)-1], len(names))
	}
	return strings.Join(names, ", ")
}

// WriteReplayed prints what detectors saw in recorded traffic: the amber clients, and the
// green ones nearest to it.
func WriteReplayed(w io.Writer, r *traffic.Replayed) {
	WriteReading(w, r.Read)
	clients := slices.Clone(r.Clients)
	slices.SortStableFunc(clients, func(a, b traffic.ReplayedClient) int {
		return cmp.Or(cmp.Compare(a.Tier, b.Tier), cmp.Compare(b.Score, a.Score))
	})
	const greens = 5
	shown := 0
	fmt.Fprintln(w)
	for _, client := range clients {
		if client.Tier == "amber" {
			fmt.Fprintf(w, "amber  %s after %d of %d rows, by %s: %.1f, and the threshold is %.1f\n       %s\n", client.Client, client.At, client.Rows, client.Detector, client.Score, client.Threshold, client.Evidence)
			continue
		}
		if shown++; shown <= greens {
			fmt.Fprintf(w, "green  %s, %d rows; nearest to amber by %s: %.1f of %.1f\n", client.Client, client.Rows, cmp.Or(client.Detector, "nothing yet"), client.Score, client.Threshold)
		}
	}
	if shown > greens {
		fmt.Fprintf(w, "green  %d more\n", shown-greens)
	}
	fmt.Fprintf(w, "\n%s; recorded: false\n", r.Words)
}
