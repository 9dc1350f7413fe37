package lineage

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/pavise/pavise/internal/figure"
)

// Print prints it for people, or as a picture for Graphviz.
func (t *Traced) Print(w io.Writer) {
	switch {
	case t.Picture == nil:
		for _, d := range t.Datasets {
			fmt.Fprintf(w, "%s/%s\n", d.Namespace, d.Name)
		}
		if t.Unlisted > 0 {
			fmt.Fprintf(w, "and %d more\n", t.Unlisted)
		}
	case t.DOT:
		t.WriteDOT(w)
		return
	default:
		t.printPicture(w)
	}
	t.print(w, t.Note)
}

func (t *Traced) printPicture(w io.Writer) {
	jobs := map[string]string{}
	for _, n := range t.Nodes {
		if n.Run != nil {
			jobs[n.Run.ID] = n.Run.Job.Name
		}
	}
	fmt.Fprintf(w, "%s/%s: %s and %s, told by %s\n\n", t.Of.Namespace, t.Of.Name, figure.Count(len(jobs), "run"), figure.Count(len(t.Nodes)-len(jobs), "dataset"), figure.Count(t.Events, "event"))
	columns := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, e := range t.Edges {
		did := "read"
		if e.Claim.Writes {
			did = "wrote"
		}
		fmt.Fprintf(columns, "  %.8s\t%s\t%s\t%s/%s\t%s\n", e.Claim.Run, jobs[e.Claim.Run], did, e.Claim.Use.Namespace, e.Claim.Use.Name, e.Standing)
	}
	columns.Flush()
	for _, e := range t.Edges {
		if e.Standing == Refuted {
			fmt.Fprintf(w, "\nrefuted: run %s and %s: %s\n", e.Claim.Run, e.Claim.Use.Dataset, e.Why)
		}
	}
	if t.More {
		fmt.Fprintln(w, "\nThere is more than a picture holds; --depth bounds it.")
	}
}

// Print prints it for people.
func (s *Sightings) Print(w io.Writer) {
	named := map[string]int{}
	for _, h := range s.Holdings {
		named[h.Seal]++
	}
	for _, h := range s.Holdings {
		what := h.Seal
		if h.Root != "" && named[h.Seal] > 1 {
			what = fmt.Sprintf("%s (root %.12s…)", h.Seal, h.Root)
		}
		switch {
		case h.Count == 0 && h.Unsure != "":
			fmt.Fprintf(w, "%s cannot be looked into: %s\n", what, h.Unsure)
		case h.Count == 0 && h.Root == "":
			fmt.Fprintf(w, "%s had contents that are not kept\n", what)
		case h.Count == 0:
			fmt.Fprintf(w, "%s has no such row\n", what)
		case len(h.Places) == 0:
			fmt.Fprintf(w, "%s has it%s\n", what, more(h.Count))
		default:
			fmt.Fprintf(w, "%s has it in %s, row %d%s\n", what, h.Places[0].File, h.Places[0].Row, more(h.Count))
		}
	}
	fmt.Fprintf(w, "\n%s, %s and %s came after it, told by %s\n", figure.Count(len(s.Runs), "run"), figure.Count(len(s.Models), "model"), figure.Count(len(s.Datasets), "dataset"), figure.Count(s.Events, "event"))
	columns := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, list := range []struct {
		kind string
		all  []Exposed
	}{{"model", s.Models}, {"run", s.Runs}, {"dataset", s.Datasets}} {
		for i, x := range list.all {
			if i == 0 {
				fmt.Fprintln(columns)
			}
			what := ""
			if x.Run != nil {
				what = x.Run.ID + " of " + x.Run.Job.Name
			} else {
				what = x.Dataset.Namespace + "/" + x.Dataset.Name
			}
			fmt.Fprintf(columns, "  %s\t%s\t%s\t%d away\t%s\n", x.Sure, list.kind, what, x.Steps, x.Why)
		}
	}
	columns.Flush()
	for _, why := range s.Unsure {
		fmt.Fprintf(w, "\nThere may be more: %s.\n", why)
	}
	s.print(w, s.Note)
}

// more says how often a row stands there, if that is more than once.
func more(count uint64) string {
	if count == 1 {
		return ""
	}
	return fmt.Sprintf(", and %d times in all", count)
}

// print tells of the events that could not be read, and what else is to be known of them.
func (r *Reading) print(w io.Writer, note string) {
	for _, u := range r.Unread {
		fmt.Fprintf(w, "not read: %s, %d: %s\n", u.File, u.At, u.Why)
	}
	if more := r.Refused - len(r.Unread); more > 0 {
		fmt.Fprintf(w, "not read: %d more\n", more)
	}
	if note != "" {
		fmt.Fprintf(w, "\n%s.\n", note)
	}
}
