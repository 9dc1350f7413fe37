package gateway

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
	var a alerts
	now := time.Date(2026, 3, 4, 9, 30, 0, 0, time.UTC)
	who := func(i int) pavise.Name {
		return pavise.Name{Tenant: tenant, Kind: pavise.Workload, ID: fmt.Sprint("w", i)}
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
		if got, crowded := a.fresh(now, theModel, who(0), step.rules); !slices.Equal(got, step.want) || crowded {
			t.Errorf("%v later %q: %q, %v", step.after, step.rules, got, crowded)
		}
	}
	if got, _ := a.fresh(now, theModel, who(1), []string{"a"}); len(got) != 1 {
		t.Error("another caller's alert is not noted")
	}
	noted, said := 0, 0
	for i := range 3 * maxAlerts {
		got, crowded := a.fresh(now, theModel, who(10+i), []string{"a"})
		if noted += len(got); crowded {
			said++
		}
	}
	if noted > maxAlerts || said != 1 || len(a.all[tenant].last) > maxAlerts+1 {
		t.Errorf("%d noted, %d times it is said that there are more, %d kept", noted, said, len(a.all[tenant].last))
	}
	elsewhere := pavise.Name{Tenant: "other", Kind: "model", ID: theModel.ID}
	for range 2 { // the first is lost on its way
		if got, crowded := a.fresh(now, elsewhere, who(1), []string{"a"}); len(got) != 1 || crowded {
			t.Errorf("another tenant's alert, when one tenant has no room: %q, %v", got, crowded)
		}
		a.lost(elsewhere, who(1), "a")
	}
	a.lost(theModel, pavise.Name{}, "")
	if _, crowded := a.fresh(now, theModel, who(2_000_000), []string{"a"}); !crowded {
		t.Error("that there is no room was lost, and is not said again")
	}
	if got, _ := a.fresh(now.Add(alertAgain), theModel, who(1_000_000), []string{"a"}); len(got) != 1 || len(a.all[tenant].last) != 1 {
		t.Errorf("an hour later: %q, %d kept", got, len(a.all[tenant].last))
	}
}
