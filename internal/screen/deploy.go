package screen

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/deploy"
)

func printTargets(w io.Writer, l deploy.Places) {
	if len(l.Targets) == 0 {
		fmt.Fprintln(w, "no targets")
		return
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row(tw, "TARGET", "KIND", "MODEL", "SINCE", "SETTINGS")
	for _, t := range l.Targets {
		row(tw, t.Name.ID, t.Kind, t.Deployment.ID, At(t.Since), settings(t.Settings))
	}
	tw.Flush()
}

// settings are those of a target in one line.
func settings(of map[string]string) string {
	var all []string
	for _, key := range slices.Sorted(maps.Keys(of)) {
		all = append(all, key+"="+strings.Map(shown, of[key]))
	}
	return strings.Join(all, " ")
}

func printTarget(w io.Writer, t deploy.Shown) {
	fmt.Fprintf(w, "%s is of kind %s: %s\n", t.Name.ID, t.Kind, settings(t.Settings))
	fmt.Fprintf(w, "  put by %s, %s, in %s\n", t.By, At(t.Since), t.Change.ID)
	if t.Admission != "" {
		fmt.Fprintf(w, "  the cluster itself can refuse what is not pinned: with --json, admission is a policy for it\n")
	}
	if t.Spot == nil {
		fmt.Fprintln(w, "  nothing of ours runs there")
		return
	}
	fmt.Fprintf(w, "  for %s\n", t.Deployment.ID)
	printSpot(w, t.Spot)
}

func printDeployments(w io.Writer, l deploy.List) {
	if len(l.Deployments) == 0 {
		fmt.Fprintln(w, "nothing is deployed")
		return
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row(tw, "MODEL", "STAGE", "READY", "VERSIONS", "SINCE", "BY")
	for _, v := range l.Deployments {
		row(tw, v.Name.ID, v.Stage, fmt.Sprintf("%d of %d", v.Ready, len(v.Spots)), versionsAt(v), At(v.At), v.By)
	}
	tw.Flush()
}

// versionsAt are the versions that are to run somewhere.
func versionsAt(v deploy.View) string {
	var all []string
	for _, s := range v.Spots {
		for _, h := range []*deploy.Held{s.Main, s.Beside} {
			if h != nil && !slices.Contains(all, fmt.Sprint(h.Version)) {
				all = append(all, fmt.Sprint(h.Version))
			}
		}
	}
	return strings.Join(all, ", ")
}

func printDeployment(w io.Writer, v deploy.View) {
	fmt.Fprintf(w, "%s is %s: what is wanted is at %d of %s, revision %d\n", v.Name.ID, v.Stage, v.Ready, Count(len(v.Spots), "target"), v.Revision)
	if v.Change.ID != "" {
		fmt.Fprintf(w, "  by %s, %s, in %s\n", v.By, At(v.At), v.Change.ID)
	}
	if a := v.Alarm; a != nil {
		fmt.Fprintf(w, "  %s ran %s, which nobody approved, %s, last seen %s: an approved release ends the alarm\n", a.Target.ID, strings.Map(shown, a.Ran), Count(a.Times, "time"), At(a.At))
	}
	for _, n := range slices.Sorted(maps.Keys(v.Withheld)) {
		fmt.Fprintf(w, "  version %d is %s, and was not taken back yet\n", n, strings.Map(shown, v.Withheld[n]))
	}
	for i := range v.Spots {
		fmt.Fprintf(w, "%s\n", v.Spots[i].Target.ID)
		printSpot(w, &v.Spots[i])
		printParts(w, v.Spots[i].Target, v.Gateways)
	}
	for _, t := range v.Barred {
		fmt.Fprintf(w, "version %d was taken back, %s: %s\n", t.Version, At(t.At), strings.Map(shown, t.Why))
	}
}

// printParts prints what each gateway of a target last said.
func printParts(w io.Writer, target pavise.Name, all []deploy.Part) {
	for _, p := range all {
		if p.Target != target {
			continue
		}
		var how []string
		if p.Barred {
			how = append(how, "in quarantine: nobody may ask it there")
		}
		if p.Away {
			how = append(how, "not heard of since: it may go on by this until its grace is over")
		}
		if p.Refuses {
			how = append(how, "it refuses everything: what it was told is too old")
		}
		if len(how) == 0 && !p.Has {
			how = append(how, "not yet what is wanted")
		}
		fmt.Fprintf(w, "  gateway  %s  %s, said %s", p.Gateway, strings.Map(shown, p.Words), At(p.Heard))
		if len(how) > 0 {
			fmt.Fprintf(w, " (%s)", strings.Join(how, "; "))
		}
		fmt.Fprintln(w)
	}
}

// artefact is what runs at a target, for people.
func artefact(digest string) string { return cmp.Or(strings.Map(shown, digest), "nothing") }

// printSpot prints what is wanted at a target, and what was seen.
func printSpot(w io.Writer, s *deploy.Spot) {
	if s.Main == nil {
		fmt.Fprintln(w, "  wanted   nothing")
	} else {
		fmt.Fprintf(w, "  wanted   version %d  %s\n", s.Main.Version, s.Main.Artefact)
	}
	switch {
	case s.Beside == nil:
	case s.Shadow:
		fmt.Fprintf(w, "  beside   version %d  %s, hears the calls\n", s.Beside.Version, s.Beside.Artefact)
	default:
		fmt.Fprintf(w, "  beside   version %d  %s, %d in 100 calls\n", s.Beside.Version, s.Beside.Artefact, s.Weight)
	}
	switch seen := s.Seen; {
	case seen == nil:
		fmt.Fprintln(w, "  seen     nobody has looked yet")
	case seen.Unproven != "":
		fmt.Fprintf(w, "  seen     %s  %s (unverified: %s)\n", At(seen.At), artefact(seen.Main), strings.Map(shown, seen.Unproven))
	default:
		fmt.Fprintf(w, "  seen     %s  %s\n", At(seen.At), artefact(seen.Main))
	}
	switch {
	case s.Problem != "":
		fmt.Fprintf(w, "  problem  since %s, %s: %s\n", At(s.Since), "tried "+Count(s.Tries, "time"), strings.Map(shown, s.Problem))
	case s.Applied != s.Revision:
		fmt.Fprintln(w, "  it is being brought there")
	}
	var before []string
	for _, h := range s.Before {
		before = append(before, fmt.Sprint(h.Version))
	}
	if len(before) > 0 {
		fmt.Fprintf(w, "  before   version %s\n", strings.Join(before, ", "))
	}
}
