package verbs

import (
	"strings"
	"testing"

	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/registry"
)

// TestWhatIsHeardFromTickets: a version of low risk may be published by a word on a ticket,
// one of high risk never; and nothing that gives rights, or keys, hears one.
func TestWhatIsHeardFromTickets(t *testing.T) {
	w := newWorld(t)
	for risk, want := range map[registry.Risk]string{registry.Low: "", registry.High: "the risk is high"} {
		v := w.version(t, risk, registry.Reviewed)
		var ch api.ChangeView
		if err := w.person(t, "pat", "operator").Call(t.Context(), "model.publish", VersionStep{VersionRef{v.Ref.String()}, ""}, &ch); err != nil {
			t.Fatal(err)
		}
		now, err := w.Changes.Look(t.Context(), ch.Name)
		if err != nil {
			t.Fatal(err)
		}
		if why := w.Changes.Hears(now); (why == "") != (want == "") || !strings.Contains(why, want) {
			t.Errorf("%s risk: %q", risk, why)
		}
	}
	for verb, r := range w.Runners() {
		if duty := duties[verb]; r.Outside && (duty == rights || r.Widens || strings.HasPrefix(verb, "ca.") || strings.HasPrefix(verb, "bundle.") || verb == "subject.shred" || verb == "archive.retain") {
			t.Errorf("%s is decided on from outside", verb)
		}
	}
}
