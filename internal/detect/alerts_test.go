package detect

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/pavise/pavise"
)

// TestAlertsAreBounded: an alert of one caller, model and rule is noted once an hour, whatever
// the clock does; of more than there is room for one note says so, for each model.
func TestAlertsAreBounded(t *testing.T) {
	var a Alerts
	now := time.Date(2026, 3, 4, 9, 30, 0, 0, time.UTC)
	who := func(i int) pavise.Name {
		return pavise.Name{Tenant: model.Tenant, Kind: pavise.Workload, ID: fmt.Sprint("w", i)}
	}
	for _, step := range []struct {
		after time.Duration
		rules []string
		want  []string
	}{
		{0, []string{"a", "b"}, []string{"a", "b"}}, {time.Minute, []string{"a", "b", "c"}, []string{"c"}}, {58 * time.Minute, []string{"a"}, nil},
		{time.Minute, []string{"a", "b", "c"}, []string{"a", "b"}}, {-24 * time.Hour, []string{"a"}, []string{"a"}}, {time.Minute, []string{"a"}, nil},
	} {
		now = now.Add(step.after)
		if got, crowded := a.Fresh(now, model, who(0), step.rules); !slices.Equal(got, step.want) || crowded {
			t.Errorf("%v later %q: %q, %v", step.after, step.rules, got, crowded)
		}
	}
	if got, _ := a.Fresh(now, model, who(1), []string{"a"}); len(got) != 1 {
		t.Error("another caller's alert is not noted")
	}
	noted, said := 0, 0
	for i := range 3 * maxAlerts {
		got, crowded := a.Fresh(now, model, who(10+i), []string{"a"})
		if noted += len(got); crowded {
			said++
		}
	}
	if noted > maxAlerts || said != 1 || len(a.all[model.Tenant].last) > maxAlerts+1 {
		t.Errorf("%d noted, %d times it is said that there are more, %d kept", noted, said, len(a.all[model.Tenant].last))
	}
	elsewhere := pavise.Name{Tenant: "other", Kind: "model", ID: model.ID}
	for range 2 { // the first is lost on its way
		if got, crowded := a.Fresh(now, elsewhere, who(1), []string{"a"}); len(got) != 1 || crowded {
			t.Errorf("another tenant's alert, when one tenant has no room: %q, %v", got, crowded)
		}
		a.Lost(elsewhere, who(1), "a")
	}
	a.Lost(model, pavise.Name{}, "")
	if _, crowded := a.Fresh(now, model, who(2_000_000), []string{"a"}); !crowded {
		t.Error("that there is no room was lost, and is not said again")
	}
	if got, _ := a.Fresh(now.Add(alertAgain), model, who(1_000_000), []string{"a"}); len(got) != 1 || len(a.all[model.Tenant].last) != 1 {
		t.Errorf("an hour later: %q, %d kept", got, len(a.all[model.Tenant].last))
	}
}
