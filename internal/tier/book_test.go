package tier

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pavise/pavise"
)

func hold(t testing.TB, b *Book, who pavise.Name, tier Tier, until time.Time) Standing {
	t.Helper()
	s, err := b.Obey(context.Background(), Word{Model: model, Who: who, Tier: tier, Until: until, By: ann, Reason: "a look at the log"})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func lift(b *Book, who pavise.Name) (Standing, error) {
	return b.Lift(context.Background(), Word{Model: model, Who: who, By: ann, Reason: "it was a test"})
}

// TestWords gives words of operators over what the detector sees, in every order.
func TestWords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf(t)
		defer s.close()
		b := s.watched(t)
		eve := caller("eve")
		hour := func() time.Time { return time.Now().Add(time.Hour) }
		if n := steal(b, eve, noise(1), 300); n == 0 || n > 300 || b.Of(model, eve) != Amber {
			t.Fatalf("amber after %d rows: %v", n, b.Of(model, eve))
		}
		for _, step := range []struct {
			word Tier
			want Tier
		}{{Red, Red}, {Green, Green}, {Amber, Amber}, {Green, Green}, {Red, Red}} {
			got := hold(t, b, eve, step.word, hour())
			if b.Of(model, eve) != step.want || got.Tier != step.want || got.By != ann || got.Evidence == nil || got.Until != hour().UTC().Round(time.Second) {
				t.Errorf("after the word %v: %+v", step.word, got)
			}
		}
		time.Sleep(time.Hour)
		got, ok := b.Get(model, eve)
		if !ok || got.Tier != Amber || got.By != (pavise.Name{}) || got.Evidence == nil {
			t.Errorf("after the word ended: %+v", got)
		}
		hold(t, b, eve, Red, time.Time{})
		time.Sleep(10 * AmberTime)
		if got, _ := b.Get(model, eve); got.Tier != Red || !got.Until.IsZero() {
			t.Errorf("red without an end ended: %+v", got)
		}
		was, err := lift(b, eve)
		if err != nil || was.Tier != Red || b.Of(model, eve) != Green {
			t.Errorf("lifted: %+v, %v", was, err)
		}
		if _, err := lift(b, eve); pavise.KindOf(err) != pavise.NotFound {
			t.Errorf("lifted twice: %v", err)
		}
		hold(t, b, eve, Green, hour())
		if was, err := lift(b, eve); err != nil || was.Tier != Green || was.By != ann {
			t.Errorf("trust was not lifted: %+v, %v", was, err)
		}
	})
}

// TestWordsAreRefused gives words that mean nothing.
func TestWordsAreRefused(t *testing.T) {
	b := newShelf(t).open(t)
	good := Word{Model: model, Who: caller("x"), Tier: Red, By: ann, Reason: "because"}
	for name, change := range map[string]func(*Word){
		"no model":     func(w *Word) { w.Model = pavise.Name{} },
		"another kind": func(w *Word) { w.Model.Kind = "route" },
		"nobody":       func(w *Word) { w.Who = pavise.Name{} },
		"a bad name":   func(w *Word) { w.Who.ID = "x\n" },
		"nobody's":     func(w *Word) { w.By = pavise.Name{} },
		"no tier":      func(w *Word) { w.Tier = 3 },
		"no reason":    func(w *Word) { w.Reason = "" },
		"a long one":   func(w *Word) { w.Reason = strings.Repeat("x", maxReason+1) },
		"endless":      func(w *Word) { w.Tier = Green },
		"past":         func(w *Word) { w.Until = time.Now().Add(-time.Second) },
		"far":          func(w *Word) { w.Until = time.Now().Add(20 * 366 * 24 * time.Hour) },
	} {
		w := good
		change(&w)
		if _, err := b.Hold(t.Context(), w); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if _, err := b.Hold(stopped, good); !errors.Is(err, context.Canceled) || b.Of(model, good.Who) != Green {
		t.Errorf("it could not be kept, and the word holds: %v", err)
	}
	if _, err := b.Hold(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Lift(stopped, good); !errors.Is(err, context.Canceled) || b.Of(model, good.Who) != Red {
		t.Errorf("it could not be kept, and it is lifted: %v", err)
	}
}

// TestAmberEnds: by itself, a day after the last sighting.
func TestAmberEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf(t)
		defer s.close()
		b := s.watched(t)
		eve, next := caller("eve"), noise(1)
		first := steal(b, eve, next, 300)
		began := time.Now()
		time.Sleep(AmberTime - time.Hour)
		for range 500 - first { // on to the next looks
			if said := ask(b, eve, next()); said != "" {
				t.Error("said again:", said)
			}
		}
		if got, _ := b.Get(model, eve); got.Tier != Amber || !got.Since.Equal(began) || !got.Until.Equal(time.Now().Add(AmberTime).UTC().Round(time.Second)) {
			t.Errorf("a new sighting did not make it longer: %+v", got)
		}
		time.Sleep(AmberTime - time.Second)
		if b.Of(model, eve) != Amber {
			t.Error("it ended early")
		}
		time.Sleep(time.Second)
		if b.Of(model, eve) != Green || len(b.List(Filter{})) != 0 {
			t.Error("it did not end")
		}
		save(t, b)
		if b.count.Load() != 0 {
			t.Error("what has ended is still in the book")
		}
	})
}

// TestClockJumps sets the wall clock while the book runs, and while nothing runs.
func TestClockJumps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf(t)
		defer s.close()
		var off time.Duration
		s.cfg.Now = func() time.Time { return time.Now().Add(off).Round(0) }
		b := s.watched(t)
		eve, red := caller("eve"), caller("red")
		steal(b, eve, noise(1), 300)
		hold(t, b, red, Red, s.cfg.Now().Add(48*time.Hour))
		check := func(when string, tiers ...Tier) {
			t.Helper()
			if got := []Tier{b.Of(model, eve), b.Of(model, red)}; !slices.Equal(got, tiers) {
				t.Errorf("%s: %v, and not %v", when, got, tiers)
			}
		}
		off = 365 * 24 * time.Hour
		check("a year forward", Amber, Red)
		save(t, b)
		off = -365 * 24 * time.Hour
		check("a year back", Amber, Red)
		time.Sleep(time.Hour)
		save(t, b)
		off = 0
		time.Sleep(time.Hour)
		save(t, b)
		off = 20 * 366 * 24 * time.Hour // and it starts with a clock that is wrong
		b = s.watched(t)
		check("started in another age", Amber, Red)
		off = -20 * 366 * 24 * time.Hour
		save(t, b)
		b = s.watched(t)
		check("started in the past", Amber, Red)
		off = 0
		save(t, b)
		s.close()
		time.Sleep(30 * time.Hour) // nothing runs
		b = s.watched(t)
		check("after a pause", Amber, Red) // nobody looked: amber lasts
		time.Sleep(17 * time.Hour)
		check("two days less an hour and a half later", Amber, Green)
		time.Sleep(6 * time.Hour)
		check("a day of running later", Green, Green)
	})
}

// TestBookIsBounded: of too many the one who was amber longest is let go, told and
// counted; operators' words never are.
func TestBookIsBounded(t *testing.T) {
	s := newShelf(t)
	s.cfg.Most = 3
	b := s.watched(t)
	hold(t, b, caller("red"), Red, time.Time{})
	for i := range 4 {
		if n := steal(b, caller(i), noise(uint64(i)), 300); n == 0 {
			t.Fatal("not found")
		}
		if i == 1 {
			for range 500 { // so that 0 was seen after 1
				ask(b, caller(0), noise(7)())
			}
		}
	}
	var got []string
	for _, st := range b.List(Filter{}) {
		got = append(got, st.Who.ID+" "+st.Tier.String())
	}
	if b.Pushed() != 2 || !slices.Equal(got, []string{"red red", "2 amber", "3 amber"}) {
		t.Errorf("%d were let go; left are %v", b.Pushed(), got)
	}
	save(t, b)
	b = s.watched(t)
	if n := len(b.List(Filter{})); n != 3 {
		t.Errorf("%d after a restart", n)
	}
	hold(t, b, caller("red-2"), Red, time.Time{})
	hold(t, b, caller("red-3"), Red, time.Time{})
	if _, err := b.Hold(t.Context(), Word{Model: model, Who: caller("red-4"), Tier: Red, By: ann, Reason: "x"}); pavise.KindOf(err) != pavise.Unavailable {
		t.Errorf("a word too many: %v", err)
	}
	said := ""
	for next := noise(9); said == ""; {
		said = ask(b, caller("9"), next())
	}
	if !strings.Contains(said, "stays green: the book of tiers is full") || b.Of(model, caller("9")) != Green {
		t.Error(said)
	}
}

// TestFilter lists by tenant, model and caller.
func TestFilter(t *testing.T) {
	b := newShelf(t).open(t)
	other := pavise.Name{Tenant: "other", Kind: "model", ID: "m"}
	for _, m := range []pavise.Name{model, other} {
		for _, who := range []string{"a", "b"} {
			if _, err := b.Hold(t.Context(), Word{Model: m, Who: caller(who), Tier: Red, By: ann, Reason: "x"}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for want, f := range map[int]Filter{4: {}, 2: {Tenant: "other"}, 1: {Model: model, Who: caller("a")}, 0: {Tenant: "acme", Model: other}} {
		if got := b.List(f); len(got) != want {
			t.Errorf("%+v: %d", f, len(got))
		}
	}
	if got := b.List(Filter{Who: caller("b")}); len(got) != 2 || got[0].Model != model {
		t.Errorf("%+v", got)
	}
}

// TestManyAtOnce has readers, operators, the detector and the store meet; the race
// detector looks on.
func TestManyAtOnce(t *testing.T) {
	b := newShelf(t).watched(t)
	var all sync.WaitGroup
	for i := range 3 {
		all.Go(func() {
			for j := range 200 {
				b.Of(model, caller(j%7))
				b.List(Filter{})
				if j%20 == 0 {
					_, _ = b.Hold(t.Context(), Word{Model: model, Who: caller(j % 7), Tier: Red, By: ann, Reason: fmt.Sprint(i)})
					_, _ = lift(b, caller((j+1)%7))
				}
			}
		})
	}
	all.Go(func() {
		for i := range 7 {
			steal(b, caller(i), noise(uint64(i)), 120)
		}
	})
	all.Go(func() {
		for range 10 {
			if _, err := b.Save(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
	all.Wait()
}

// TestLookingCostsNothing: who is asked for on the way of each request is found without
// memory.
func TestLookingCostsNothing(t *testing.T) {
	b := newShelf(t).open(t)
	x := caller("x")
	if n := testing.AllocsPerRun(100, func() { b.Of(model, x) }); n != 0 {
		t.Errorf("%v allocations while all are green", n)
	}
	hold(t, b, x, Red, time.Now().Add(time.Hour))
	if n := testing.AllocsPerRun(100, func() { b.Of(model, x) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkOf(b *testing.B) {
	book := newShelf(b).open(b)
	x := caller("x")
	b.Run("green", func(b *testing.B) {
		for b.Loop() {
			book.Of(model, x)
		}
	})
	hold(b, book, caller("y"), Red, time.Time{})
	b.Run("another-red", func(b *testing.B) {
		for b.Loop() {
			book.Of(model, x)
		}
	})
	hold(b, book, x, Red, time.Now().Add(time.Hour))
	b.Run("red", func(b *testing.B) {
		for b.Loop() {
			book.Of(model, x)
		}
	})
}

// TestHoldLetsNobodyGo: who may hold callers cannot let one go by a word that is laxer or
// ends sooner, and a stricter one lasts as long as the one before.
func TestHoldLetsNobodyGo(t *testing.T) {
	s := newShelf(t)
	b := s.open(t)
	now, eve := time.Now(), caller("eve")
	say := func(to Tier, lasts time.Duration) error {
		_, err := b.Hold(t.Context(), Word{Model: model, Who: eve, Tier: to, Until: now.Add(lasts), By: ann, Reason: "x"})
		return err
	}
	if err := say(Amber, 24*time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := say(Red, time.Hour); err != nil {
		t.Fatal("a stricter word:", err)
	}
	if got, _ := b.Get(model, eve); got.Tier != Red || got.Until.Sub(now) < 23*time.Hour {
		t.Errorf("a stricter word for a shorter time: %+v", got)
	}
	for _, w := range []struct {
		to    Tier
		lasts time.Duration
	}{{Amber, time.Minute}, {Amber, 90 * 24 * time.Hour}, {Red, time.Minute}, {Green, 30 * 24 * time.Hour}} {
		if err := say(w.to, w.lasts); pavise.KindOf(err) != pavise.Conflict {
			t.Errorf("%v for %v: %v", w.to, w.lasts, err)
		}
	}
	if err := say(Red, 48*time.Hour); err != nil || b.Of(model, eve) != Red {
		t.Error("the same for longer:", err)
	}
	if err := b.Unsay(t.Context(), model, eve); err != nil || b.Of(model, eve) != Green {
		t.Error("it was taken back, and holds:", err)
	}
	if err := b.Unsay(t.Context(), model, caller("nobody")); err != nil {
		t.Error(err)
	}
}

// TestUnsaidStaysAmber: what a detector saw counts again when a word is taken back.
func TestUnsaidStaysAmber(t *testing.T) {
	s := newShelf(t)
	b := s.watched(t)
	eve := caller("eve")
	if steal(b, eve, noise(1), 300) == 0 {
		t.Fatal("the thief is not found")
	}
	if _, err := b.Hold(t.Context(), Word{Model: model, Who: eve, Tier: Red, Until: time.Now().Add(time.Hour), By: ann, Reason: "x"}); err != nil {
		t.Fatal(err)
	}
	if err := b.Unsay(t.Context(), model, eve); err != nil || b.Of(model, eve) != Amber {
		t.Errorf("%v, %v", b.Of(model, eve), err)
	}
	b = s.watched(t)
	if b.Of(model, eve) != Amber {
		t.Error("after a restart it is green")
	}
}
