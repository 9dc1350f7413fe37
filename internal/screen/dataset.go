package screen

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/pavise/pavise/internal/catalog"
	"github.com/pavise/pavise/internal/figure"
	"github.com/pavise/pavise/internal/lineage"
	"github.com/pavise/pavise/internal/progress"
)

func printDatasets(w io.Writer, l catalog.List) {
	if len(l.Datasets) == 0 {
		fmt.Fprintln(w, "no datasets")
		return
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row(tw, "DATASET", "STATE", "VERSION", "ROOT", "ROWS", "LOOKED AT", "NEXT", "FROM")
	for _, v := range l.Datasets {
		version, root, rows, from := "", "", "", "handed over"
		if n := v.Newest; n != nil {
			version, root, rows = fmt.Sprint(n.Number), n.Root.String()[:12], fmt.Sprint(n.Rows)
		}
		if v.Watch != nil {
			from = v.Watch.URL
		}
		row(tw, v.Name.ID, v.State, version, root, rows, lookedAt(v), At(v.Next), from)
	}
	tw.Flush()
	if l.More > 0 {
		fmt.Fprintf(w, "and %d more: ask with --state\n", l.More)
	}
}

// lookedAt is when a dataset was last seen.
func lookedAt(v catalog.View) string {
	if v.Last == nil {
		return ""
	}
	return At(v.Last.Ended)
}

func versionsOf(v catalog.View) string {
	if v.Newest == nil {
		return "versions"
	}
	return Count(v.Newest.Number, "version")
}

func printWatched(w io.Writer, v catalog.View) {
	fmt.Fprintf(w, "%s is watched: %s, every %s, and everything is read each %d looks\n", v.Name.ID, strings.Map(shown, v.Watch.URL), figure.Span(v.Watch.Every), v.Watch.Full)
	if v.Watch.Screen != nil {
		fmt.Fprintf(w, "what is new is screened for poison, by the class in %.80q\n", v.Watch.Screen.Label)
	}
	if v.Newest == nil {
		fmt.Fprintln(w, "what is found first is the dataset")
		return
	}
	fmt.Fprintf(w, "it is to be %s, version %d\n", v.Newest.Root, v.Newest.Number)
}

// printDataset prints how a dataset stands.
func printDataset(w io.Writer, v catalog.View) {
	fmt.Fprintf(w, "%s is %s", v.Name.ID, v.State)
	if v.Looking {
		fmt.Fprint(w, ", and is being looked at")
	}
	if n := v.Newest; n != nil {
		fmt.Fprintf(w, ": version %d, %s, %s, %s", n.Number, Count(n.Files, "file"), Count(n.Rows, "row"), n.Root)
	}
	fmt.Fprintln(w)
	if s := v.Silent; s != nil {
		fmt.Fprintf(w, "  it cannot be looked at since %s: %s\n", At(s.Since), strings.Map(shown, s.Why))
	}
	if f := v.Found; f != nil {
		printFound(w, v, f)
	}
	if l := v.Last; l != nil {
		pass := "a fast look"
		if l.Full {
			pass = "everything was read"
			if l.Resumed > 0 {
				pass += fmt.Sprintf(", %s of it by a look that was cut off", Count(l.Resumed, "file"))
			}
		}
		fmt.Fprintf(w, "  looked at %s: %s (%s)\n", At(l.Ended), pass, strings.Map(shown, l.Why))
	}
	if !v.Next.IsZero() {
		fmt.Fprintf(w, "  next look %s\n", At(v.Next))
	}
}

func printFound(w io.Writer, v catalog.View, f *catalog.Finding) {
	switch {
	case f.Would != nil:
		fmt.Fprintf(w, "  found since %s: %s, %s, %s\n", At(f.Since), Count(f.Would.Files, "file"), Count(f.Would.Rows, "row"), f.Root)
	default:
		fmt.Fprintf(w, "  found since %s: what cannot be sealed: %s\n", At(f.Since), strings.Map(shown, f.Why))
	}
	printDiffers(w, f.Differ)
	if f.Would != nil {
		fmt.Fprintf(w, "  if this is to be the dataset: pavise dataset accept %s --root %s\n", v.Name.ID, f.Root.String()[:12])
	}
}

// printDiffers prints what differs between two contents.
func printDiffers(w io.Writer, differ catalog.Differences) {
	if differ.Why != "" {
		fmt.Fprintf(w, "    what differs cannot be said: %s\n", strings.Map(shown, differ.Why))
	}
	for _, d := range differ.Files {
		fmt.Fprintf(w, "    %-8s  %s%s\n", d.What, fileShown(d.File), differs(d))
	}
	if differ.More > 0 {
		fmt.Fprintf(w, "    and %d more files\n", differ.More)
	}
}

// printComparedDataset prints what lies between two versions.
func printComparedDataset(w io.Writer, c catalog.Compared) {
	fmt.Fprintf(w, "%s, version %d (%s, %s) and version %d (%s, %s):", c.Name.ID, c.From.Number, c.From.Root.String()[:12], Count(c.From.Rows, "row"), c.To.Number, c.To.Root.String()[:12], Count(c.To.Rows, "row"))
	if len(c.Differ.Files) == 0 && c.Differ.Why == "" {
		fmt.Fprintln(w, " the same content")
		return
	}
	fmt.Fprintln(w)
	printDiffers(w, c.Differ)
}

// fileShown is a file of a dataset; of one that is a file, it has no name.
func fileShown(file string) string {
	if file == "." {
		return "the file"
	}
	return strings.Map(shown, file)
}

// differs says what differs in a file.
func differs(d catalog.Difference) (text string) {
	if d.To != "" {
		text = " to " + strings.Map(shown, d.To)
	}
	for _, list := range []struct {
		what string
		of   []uint64
	}{{"row changed", d.Changed}, {"row removed", d.Removed}, {"row added", d.Added}, {"block changed", d.Blocks}} {
		if len(list.of) > 0 {
			text += fmt.Sprintf(", %s: %s", list.what, strings.Trim(strings.ReplaceAll(fmt.Sprint(list.of), " ", ", "), "[]"))
		}
	}
	if listed := len(d.Changed) + len(d.Removed) + len(d.Added); uint64(listed) < d.Rows {
		text += fmt.Sprintf(", %d rows in all", d.Rows)
	}
	if d.Note != "" {
		text += " (" + strings.Map(shown, d.Note) + ")"
	}
	return text
}

// indexOf says whether rows of a version can be asked about.
func indexOf(v catalog.Version) string {
	switch {
	case v.Indexed:
		return "kept"
	case !v.Dropped.IsZero():
		return "dropped " + Second(v.Dropped)
	}
	return "none"
}

func printShownDataset(w io.Writer, s catalog.Shown) {
	printDataset(w, s.View)
	if s.Called != (lineage.Dataset{}) {
		fmt.Fprintf(w, "  OpenLineage calls it %s\n", strings.Map(shown, s.Called.String()))
	}
	if s.Watch != nil {
		fmt.Fprintf(w, "  watched by %s since %s: %s, every %s\n", s.Watch.By, At(s.Watch.Since), strings.Map(shown, s.Watch.URL), figure.Span(s.Watch.Every))
	}
	if s.Screening != nil {
		fmt.Fprintf(w, "  screened for poison: %s\n", screened(s.Screening, s.Said))
	}
	fmt.Fprintf(w, "  kept of it: %s, of %s in its tenant (%s at most) and %s in all (%s at most)\n", progress.Size(s.Kept.Dataset), progress.Size(s.Kept.Tenant), progress.Size(s.Kept.TenantBound), progress.Size(s.Kept.All), progress.Size(s.Kept.AllBound))
	if len(s.Versions) == 0 {
		return
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row(tw, "VERSION", "SINCE", "BY", "HOW", "ROOT", "FILES", "ROWS", "INDEX", "MADE OF")
	for _, v := range s.Versions {
		var of []string
		for _, p := range v.Parents {
			if of = append(of, p.Root.String()[:12]); p.Dataset.ID != "" {
				of[len(of)-1] = p.Dataset.ID + " " + of[len(of)-1]
			}
		}
		row(tw, v.Number, Second(v.At), v.By, v.How, v.Root, v.Files, v.Rows, indexOf(v), strings.Join(of, ", "))
	}
	tw.Flush()
	if s.Older > 0 {
		fmt.Fprintf(w, "and %d older ones\n", s.Older)
	}
}

// Code is the exit code of a verb that looks for something, by its answer: 1 where it found
// something, 2 where it could not look, or has not looked to the end, and 0 otherwise.
func Code(verb string, answer json.RawMessage) int {
	if verb != "dataset.check" {
		return 0
	}
	var v catalog.View
	switch err := json.Unmarshal(answer, &v); {
	case err != nil, v.Looking, v.State == catalog.StateUnreachable, v.State == catalog.StateChecking:
		return 2
	case v.State == catalog.StateChanged:
		return 1
	}
	return 0
}
