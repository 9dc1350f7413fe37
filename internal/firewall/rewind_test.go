package firewall

import (
	"testing"
	"time"

	"github.com/pavise/pavise"
)

// TestRewind has a clock that was ahead for a while: once it is put right, who asked meanwhile
// waits as long as their terms say, also after a restart, and gets no more than that.
func TestRewind(t *testing.T) {
	who, model := pavise.Name{Tenant: "acme", Kind: "workload", ID: "app"}, pavise.Name{Tenant: "acme", Kind: "model", ID: "fraud"}
	terms := Terms{Rate: Rate{Count: 60, Per: time.Minute, Burst: 10}, Budget: PerWindow(1000, 24*time.Hour), ModelBudget: PerWindow(10000, 24*time.Hour)}
	now := time.Date(2026, 11, 28, 6, 0, 0, 0, time.UTC)
	const ahead = 5 * 24 * time.Hour
	for _, restarted := range []bool{false, true} {
		m := NewMeter(100)
		if err := m.SetTerms(model, terms); err != nil {
			t.Fatal(err)
		}
		ask := func(at time.Time, rows int) pavise.Outcome {
			v, _ := m.Charge(at, who, pavise.Name{}, model, rows, 1)
			return v.Outcome
		}
		if ask(now.Add(ahead), 10) != pavise.Allow {
			t.Fatal("the bucket is empty, and does not hold its burst")
		}
		if restarted {
			kept := m.State(now.Add(ahead))
			m = NewMeter(100)
			if err := m.SetTerms(model, terms); err != nil {
				t.Fatal(err)
			}
			if err := m.Restore(kept); err != nil {
				t.Fatal(err)
			}
		}
		m.Rewind(ahead)
		if ask(now, 1) != pavise.Deny {
			t.Errorf("restarted %v: the bucket was full, and lets another row pass", restarted)
		}
		if ask(now.Add(10*time.Second), 10) != pavise.Allow || ask(now.Add(10*time.Second), 1) != pavise.Deny {
			t.Errorf("restarted %v: the bucket does not drain by the clock that is right", restarted)
		}
		m.Rewind(-ahead) // nobody's clock is that
		if ask(now.Add(20*time.Second), 10) != pavise.Allow {
			t.Errorf("restarted %v: it was set forward", restarted)
		}
	}
}
