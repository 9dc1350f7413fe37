package tier

import (
	"strings"
	"testing"
)

// TestTimersAreAmber asks two rows in turns, as who times a model does, with a kill between;
// beside it a monitor asks one row all day, and stays green.
func TestTimersAreAmber(t *testing.T) {
	s := newShelf(t)
	b := s.watched(t)
	next, monitor, eve := honest(70), caller("monitor"), caller("eve")
	rows := [][]float64{next(), next()}
	says, asked := "", 0
	for says == "" && asked < 300 {
		if asked == 60 {
			save(t, b)
			b = s.watched(t)
		}
		says = ask(b, eve, rows[asked%2])
		asked++
		for range 3 {
			if said := ask(b, monitor, rows[0]); said != "" {
				t.Fatal(said)
			}
		}
	}
	if b.Of(model, eve) != Amber || asked > 110 || !strings.Contains(says, "is amber: ") || !strings.Contains(says, "again and again") && !strings.Contains(says, "in turns") {
		t.Errorf("after %d rows %v: %s", asked, b.Of(model, eve), says)
	}
	if got, _ := b.Get(model, eve); got.Evidence == nil || got.Evidence.Rows != asked {
		t.Errorf("the evidence is %+v", got.Evidence)
	}
	if b.Of(model, monitor) != Green {
		t.Error("the monitor is not green")
	}
}
