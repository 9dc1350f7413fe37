package ticket

import (
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/cdevents"
	"github.com/pavise/pavise/internal/change"
)

// types are the types of the messages of all steps of a change, as an event tool gets them.
func types(ch *change.Change) (all []string) {
	for _, s := range withServed(stepsOf(ch, ""), ch) {
		for _, m := range spellEvents("/pavise/local", s.Key, s) {
			kind, _ := m.body.(map[string]any)["type"].(string)
			parts := strings.Split(strings.TrimPrefix(kind, "dev.cdevents."), ".")
			all = append(all, parts[0]+"."+parts[1])
		}
	}
	return all
}

// TestEventsTellWhatCameOfIt: a service is told to be another where the act was done, and once;
// an incident is opened where somebody should look, and resolved only where there was one.
func TestEventsTellWhatCameOfIt(t *testing.T) {
	route := pavise.Name{Tenant: "local", Kind: "route", ID: "fraud"}
	glass := &change.Glass{Ticket: "INC-1", Reason: "now", At: epoch}
	for name, c := range map[string]struct {
		ch   change.Change
		want string // services and incidents, in order
	}{
		"released":          {change.Change{Verb: "route.release", State: change.Done, Ended: epoch}, "service.upgraded"},
		"released, waits":   {change.Change{Verb: "route.release", State: change.Open}, ""},
		"release denied":    {change.Change{Verb: "route.release", State: change.Denied, Ended: epoch}, ""},
		"release failed":    {change.Change{Verb: "route.release", State: change.Failed, Ended: epoch}, ""},
		"back":              {change.Change{Verb: "route.rollback", State: change.Ran}, "service.rolledback"},
		"back, contested":   {change.Change{Verb: "route.rollback", State: change.Contested, Ended: epoch}, "service.rolledback incident.detected"},
		"out":               {change.Change{Verb: "route.quarantine", State: change.Done, Ended: epoch}, "service.removed"},
		"in again":          {change.Change{Verb: "route.release", State: change.Done, Ended: epoch, Plan: change.Plan{Detail: map[string]any{"was": map[string]any{"quarantined": true}}}}, "service.deployed"},
		"broken":            {change.Change{Verb: "route.release", State: change.Ran, Glass: glass}, "incident.reported service.upgraded"},
		"broken, approved":  {change.Change{Verb: "route.release", State: change.Done, Glass: glass, Ended: epoch}, "incident.reported service.upgraded incident.resolved"},
		"unseen":            {change.Change{Verb: "policy.put", State: change.Open, Unseen: epoch}, "incident.detected"},
		"unseen, expired":   {change.Change{Verb: "policy.put", State: change.Expired, Unseen: epoch, Ended: epoch}, "incident.detected incident.resolved"},
		"seen, and expired": {change.Change{Verb: "policy.put", State: change.Expired, Ended: epoch}, ""},
	} {
		c.ch.Name, c.ch.On = pavise.Name{Tenant: "local", Kind: "change", ID: "c-one"}, route
		var got []string
		for _, one := range types(&c.ch) {
			if strings.HasPrefix(one, "service.") || strings.HasPrefix(one, "incident.") {
				got = append(got, one)
			}
		}
		if text := strings.Join(got, " "); text != c.want {
			t.Errorf("%s: %q, want %q", name, text, c.want)
		}
	}
}

// TestAServiceIsToldOnce: the step is there when a rollback has run, and is not told again
// when somebody has approved it.
func TestAServiceIsToldOnce(t *testing.T) {
	ch := change.Change{Name: pavise.Name{Tenant: "local", Kind: "change", ID: "c-one"}, Verb: "route.rollback", On: pavise.Name{Tenant: "local", Kind: "route", ID: "fraud"}, State: change.Ran, Proposed: epoch}
	keys := map[string]bool{}
	for _, state := range []change.State{change.Ran, change.Done} {
		if ch.State = state; state == change.Done {
			ch.Ended = epoch.Add(time.Hour)
		}
		for _, s := range withServed(stepsOf(&ch, ""), &ch) {
			if s.Sort == stepServed {
				keys[s.Key] = true
				if !s.At.Equal(epoch) {
					t.Errorf("it was run at %v", s.At)
				}
			}
		}
	}
	if len(keys) != 1 {
		t.Errorf("told as %v", keys)
	}
	if got := cdevents.Model("fraud/v 2", "sha256:ab12"); got != "pkg:generic/fraud%2Fv%202?checksum=sha256:ab12" {
		t.Errorf("%s", got)
	}
}
