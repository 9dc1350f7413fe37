package screen

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/pavise/pavise/internal/registry"
	"github.com/pavise/pavise/internal/verbs"
)

func printModel(w io.Writer, m registry.Model) {
	fmt.Fprintf(w, "%s is known, of %s risk: add a version with pavise model add %s DIR\n", m.Name, m.Risk, m.Name.ID)
}

func printModels(w io.Writer, l registry.List) {
	if len(l.Models) == 0 {
		fmt.Fprintln(w, "no models")
		return
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row(tw, "MODEL", "RISK", "VERSION", "STATE", "SINCE", "DIGEST", "ALIASES")
	for _, m := range l.Models {
		if len(m.Versions) == 0 {
			row(tw, m.Name.ID, m.Risk, "", "", "", "", "")
		}
		for _, v := range m.Versions {
			row(tw, m.Name.ID, v.Risk, v.Ref.Version, stateOf(v), At(v.Since), short(v.Digest), strings.Join(v.Aliases, ", "))
		}
	}
	tw.Flush()
	if l.More > 0 {
		fmt.Fprintf(w, "and %d more: ask with --state\n", l.More)
	}
}

// stateOf is a version's state, with how far its files are while that matters.
func stateOf(v *registry.Version) string {
	if v.Intake != registry.Ready {
		return string(v.State) + ", files " + string(v.Intake)
	}
	return string(v.State)
}

// short is a digest as people repeat it.
func short(d registry.Digest) string {
	text := d.String()
	return text[:min(len(text), len("sha256:")+12)]
}

func printVersion(w io.Writer, v registry.Version) { Version(w, &v) }

// Version says how a version stands.
func Version(w io.Writer, v *registry.Version) {
	fmt.Fprintf(w, "%s is %s, of %s risk", v.Ref, v.State, v.Risk)
	if v.Digest != (registry.Digest{}) {
		fmt.Fprintf(w, ": %s, %s", Count(v.Count, "file"), v.Digest)
	}
	fmt.Fprintln(w)
	if v.Intake != registry.Ready {
		fmt.Fprintf(w, "  its files are %s: %s\n", v.Intake, strings.Map(shown, v.Problem))
	} else if v.Problem != "" {
		fmt.Fprintf(w, "  CHANGED: %s\n", strings.Map(shown, v.Problem))
	}
	if !v.Due.IsZero() {
		fmt.Fprintf(w, "  somebody is told when nothing came of it by %s\n", At(v.Due))
	}
}

func printShownModel(w io.Writer, req *verbs.ModelShow, s registry.Shown) {
	if req.Part != "" {
		w.Write(s.Part) // a file, as it is
		return
	}
	if len(s.Versions) == 1 && strings.HasSuffix(req.Model, s.Versions[0].Ref.String()) {
		printWholeVersion(w, s.Versions[0])
		return
	}
	fmt.Fprintf(w, "%s, of %s risk, since %s by %s\n", s.Name, s.Risk, At(s.Created), s.By)
	if s.Description != "" {
		fmt.Fprintf(w, "  %s\n", strings.Map(shown, s.Description))
	}
	printTags(w, s.Tags)
	if len(s.Versions) == 0 {
		fmt.Fprintln(w, "  it has no version")
		return
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row(tw, "VERSION", "STATE", "SINCE", "DIGEST", "FILES", "BY", "ALIASES")
	for _, v := range s.Versions {
		row(tw, v.Ref.Version, stateOf(v), At(v.Since), short(v.Digest), v.Count, v.Creator, strings.Join(v.Aliases, ", "))
	}
	tw.Flush()
	if s.Older > 0 {
		fmt.Fprintf(w, "and %d older ones\n", s.Older)
	}
}

func printTags(w io.Writer, tags map[string]string) {
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		fmt.Fprintf(w, "  %s: %s\n", strings.Map(shown, key), strings.Map(shown, tags[key]))
	}
}

// maxShownFiles is how many files of a version people are shown.
const maxShownFiles = 50

// printWholeVersion prints all that is known of a version.
func printWholeVersion(w io.Writer, v *registry.Version) {
	Version(w, v)
	say := func(what, format string, args ...any) {
		fmt.Fprintf(w, "  %-10s  %s\n", what, strings.Map(shown, fmt.Sprintf(format, args...)))
	}
	say("added", "%s by %s", At(v.Created), v.Creator)
	if v.Proposer.ID != "" {
		say("proposed", "by %s", v.Proposer)
	}
	for _, by := range v.Reviewers {
		say("reviewed", "by %s", by)
	}
	for _, by := range v.Approvers {
		say("approved", "by %s, in %s", by, v.Change.ID)
	}
	if v.Was != "" {
		say("before", "it was %s", v.Was)
	}
	if v.Description != "" {
		say("what", "%s", v.Description)
	}
	if len(v.Aliases) > 0 {
		say("aliases", "%s", strings.Join(v.Aliases, ", "))
	}
	printVouchers(say, v)
	printMaking(say, v)
	printEvidence(say, "evaluated", v.Evaluations)
	printEvidence(say, "attacked", v.Attacks)
	printTags(w, v.Tags)
	for i, f := range v.Files {
		if i == maxShownFiles {
			say("file", "and %d more", len(v.Files)-i)
			break
		}
		say("file", "%s, %d bytes, %s", f.Path, f.Size, f.Digest)
	}
}

// A sayer prints a line of what there is to say of a version, under a word.
type sayer func(what, format string, args ...any)

// printVouchers prints who looked at the files of a version, and who signed them.
func printVouchers(say sayer, v *registry.Version) {
	if s := v.Scan; s != nil {
		by := "this server"
		if s.By.ID != "" {
			by = s.By.String()
		}
		say("looked at", "%s, %s by %s", s.Verdict, At(s.At), by)
		for _, f := range s.Findings {
			say("", "%s", f)
		}
		if s.More > 0 {
			say("", "and %d more", s.More)
		}
	}
	if s := v.Signature; s != nil {
		over := ""
		if s.Over != (registry.Digest{}) {
			over = ", over the manifest with which its files were pushed"
		}
		say("signed", "by %s, whom this server calls %s (%s)%s", s.By, s.Signer, s.Mode, over)
	}
	if h := v.House; h != nil {
		say("vouched", "by this server, with the key %.12s: %s", h.Key, h.Says)
	}
}

// printMaking prints what a version was made of.
func printMaking(say sayer, v *registry.Version) {
	for _, d := range v.Datasets {
		known := "as the catalog has it"
		if !d.Known {
			known = "which the catalog does not know"
		}
		say("trained on", "%s %.12s, %s", d.Name, d.Root, known)
	}
	if v.Run != "" {
		say("run", "%s", v.Run)
	}
}

func printEvidence(say sayer, what string, all []registry.Evidence) {
	for _, e := range all {
		text := fmt.Sprintf("%s, %s by %s, record %d: %s", e.Result, At(e.At), e.By, e.Record, e.Summary)
		for _, name := range slices.Sorted(maps.Keys(e.Metrics)) {
			text += fmt.Sprintf(", %s %g", name, e.Metrics[name])
		}
		if e.Stale {
			text += " (of other files: it does not count)"
		}
		say(what, "%s", text)
	}
}

func printHistory(w io.Writer, h registry.History) {
	fmt.Fprintf(w, "%s at %s:", h.Model, Second(h.At))
	if len(h.Serving) == 0 {
		fmt.Fprint(w, " nothing served")
	}
	for i, s := range h.Serving {
		if i > 0 {
			fmt.Fprint(w, ",")
		}
		fmt.Fprintf(w, " version %d was %s (%s)", s.Version, s.To, short(s.Digest))
	}
	fmt.Fprintln(w)
	for _, alias := range slices.Sorted(maps.Keys(h.Aliases)) {
		fmt.Fprintf(w, "  %s meant version %d\n", strings.Map(shown, alias), h.Aliases[alias])
	}
	if h.Earlier > 0 {
		fmt.Fprintf(w, "after %d earlier steps\n", h.Earlier)
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row(tw, "AT", "VERSION", "STEP", "BY", "RECORD", "WHY")
	for _, s := range h.Steps {
		what, version, by, record := string(s.To), fmt.Sprint(s.Version), s.By.String(), ""
		if s.Alias != "" {
			what = s.Alias + " given"
			if s.Version == 0 {
				what, version = s.Alias+" taken away", ""
			}
		}
		if by == "" {
			by = "a deployment"
		}
		if s.Change.ID != "" {
			by = s.Change.ID + ", proposed by " + by // and approved by others, whom the change names
		}
		if s.Record > 0 {
			record = fmt.Sprint(s.Record)
		}
		row(tw, Second(s.At), version, what, by, record, s.Why)
	}
	tw.Flush()
}

func printBill(w io.Writer, b verbs.ModelBill) { fmt.Fprintln(w, strings.TrimSpace(string(b.Bill))) }
