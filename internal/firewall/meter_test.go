package firewall

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pavise/pavise"
)

var (
	start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	ann   = pavise.Name{Tenant: "acme", Kind: "human", ID: "ann"}
	bob   = pavise.Name{Tenant: "acme", Kind: "human", ID: "bob"}
	fraud = pavise.Name{Tenant: "acme", Kind: "model", ID: "fraud"}
	spam  = pavise.Name{Tenant: "acme", Kind: "model", ID: "spam"}
)

func newMeter(t *testing.T, accounts int, terms Terms) *Meter {
	t.Helper()
	m := NewMeter(accounts)
	for _, model := range []pavise.Name{fraud, spam} {
		if err := m.SetTerms(model, terms); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// A step of a script: who charges how much, when, and what comes of it.
type step struct {
	at    time.Duration
	who   pavise.Name
	model pavise.Name
	rows  int
	check string // "" for allow, else the check that refuses
	wait  time.Duration
}

func TestMeterCharge(t *testing.T) {
	for name, tt := range map[string]struct {
		terms Terms
		steps []step
	}{
		"no limits": {Terms{}, []step{{0, ann, fraud, 1 << 30, "", 0}}},
		"burst then rate": {Terms{Rate: Rate{Count: 2, Per: time.Second, Burst: 3}}, []step{
			{0, ann, fraud, 1, "", 0},
			{0, ann, fraud, 2, "", 0},
			{0, ann, fraud, 1, "rate", 500 * time.Millisecond},
			{499 * time.Millisecond, ann, fraud, 1, "rate", time.Millisecond},
			{500 * time.Millisecond, ann, fraud, 1, "", 0},
			{time.Hour, ann, fraud, 4, "rate", 0}, // never fits
			{time.Hour, ann, fraud, 3, "", 0},     // an idle hour saves up one burst, not more
			{time.Hour, ann, fraud, 1, "rate", 500 * time.Millisecond},
		}},
		"a price that is no whole nanosecond": {Terms{Rate: Rate{Count: 3, Per: time.Second, Burst: 3}}, []step{
			{0, ann, fraud, 1, "", 0}, {0, ann, fraud, 1, "", 0}, {0, ann, fraud, 1, "", 0},
			{0, ann, fraud, 1, "rate", 333333334},
		}},
		"each caller and model apart": {Terms{Rate: Rate{Count: 1, Per: time.Second, Burst: 1}}, []step{
			{0, ann, fraud, 1, "", 0},
			{0, ann, spam, 1, "", 0},
			{0, bob, fraud, 1, "", 0},
			{0, bob, fraud, 1, "rate", time.Second},
		}},
		"budget": {Terms{Budget: PerWindow(24, 24*time.Hour)}, []step{
			{0, ann, fraud, 24, "", 0},
			{time.Hour - 1, ann, fraud, 1, "budget", 1},
			{time.Hour, ann, fraud, 1, "", 0},
			{24 * time.Hour, ann, fraud, 24, "budget", time.Hour},
		}},
		"many accounts share the model's limit": {Terms{Rate: Rate{Count: 10, Per: time.Second, Burst: 10}, ModelBudget: PerWindow(3, time.Hour)}, []step{
			{0, ann, fraud, 2, "", 0},
			{0, bob, fraud, 2, "budget", 20 * time.Minute},
			{0, bob, fraud, 1, "", 0},
			{0, ann, fraud, 1, "budget", 20 * time.Minute},
			{0, ann, spam, 1, "", 0},
		}},
		"a refusal charges nothing anywhere": {Terms{Rate: Rate{Count: 1, Per: time.Second, Burst: 10}, Budget: PerWindow(5, time.Hour), ModelRate: Rate{Count: 1, Per: time.Second, Burst: 7}}, []step{
			{0, ann, fraud, 6, "budget", 0},
			{0, ann, fraud, 6, "budget", 0},
			{0, ann, fraud, 5, "", 0},
			{0, bob, fraud, 2, "", 0}, // all that the model had left
			{0, bob, fraud, 1, "rate", time.Second},
		}},
		"the longest wait counts": {Terms{Rate: Rate{Count: 1, Per: time.Second, Burst: 1}, Budget: PerWindow(1, time.Hour)}, []step{
			{0, ann, fraud, 1, "", 0},
			{0, ann, fraud, 1, "rate", time.Hour},
			{2 * time.Second, ann, fraud, 1, "budget", time.Hour - 2*time.Second},
		}},
		"a clock that steps back gives nothing back": {Terms{Rate: Rate{Count: 1, Per: time.Second, Burst: 2}}, []step{
			{time.Hour, ann, fraud, 2, "", 0},
			{0, ann, fraud, 1, "rate", time.Hour + time.Second},
			{time.Hour, ann, fraud, 1, "rate", time.Second},
			{time.Hour + time.Second, ann, fraud, 1, "", 0},
		}},
		"time counts once, however often it passes": {Terms{Rate: Rate{Count: 1, Per: time.Second, Burst: 2}}, []step{
			{0, ann, fraud, 2, "", 0},
			{time.Hour, bob, fraud, 1, "", 0},
			{0, ann, fraud, 2, "", 0}, // the hour that passed
			{time.Hour, ann, fraud, 1, "rate", time.Second},
		}},
		"no rows":         {Terms{}, []step{{0, ann, fraud, 0, "budget", 0}, {0, ann, fraud, -1, "budget", 0}}},
		"no caller":       {Terms{}, []step{{0, pavise.Name{}, fraud, 1, "budget", 0}}},
		"no terms":        {Terms{}, []step{{0, ann, ann, 1, "budget", 0}}},
		"huge":            {Terms{Rate: Rate{Count: 1, Per: time.Second, Burst: 1}}, []step{{0, ann, fraud, math.MaxInt, "rate", 0}}},
		"impossible time": {Terms{}, []step{{-30 * 365 * 24 * time.Hour, ann, fraud, 1, "budget", 0}, {250 * 365 * 24 * time.Hour, ann, fraud, 1, "budget", 0}}},
	} {
		m := newMeter(t, 100, tt.terms)
		for i, s := range tt.steps {
			v, wait := m.Charge(start.Add(s.at), s.who, pavise.Name{}, s.model, s.rows, 1)
			check := ""
			if v.Outcome == pavise.Deny {
				check = v.Check
			}
			if check != s.check || wait != s.wait || (v.Reason == "") != (check == "") {
				t.Errorf("%s, step %d: got %+v and %v, want %q and %v", name, i, v, wait, s.check, s.wait)
			}
		}
	}
}

// Whatever a caller does, the stated bound holds over every span of time, and one
// who waits as told is let through.
func TestMeterBound(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	rate := Rate{Count: 7, Per: time.Second, Burst: 20}
	m := newMeter(t, 10, Terms{Rate: rate})
	type charge struct {
		at   time.Duration
		rows int
	}
	var passed []charge
	at := time.Duration(0)
	for range 3000 {
		at += time.Duration(rng.Int64N(int64(2 * time.Second)))
		rows := 1 + rng.IntN(20)
		v, wait := m.Charge(start.Add(at), ann, pavise.Name{}, fraud, rows, 1)
		if v.Outcome == pavise.Deny {
			at += wait
			if v, _ = m.Charge(start.Add(at), ann, pavise.Name{}, fraud, rows, 1); v.Outcome == pavise.Deny {
				t.Fatalf("refused after waiting %v as told: %+v", wait, v)
			}
		}
		passed = append(passed, charge{at, rows})
	}
	for i := range passed {
		sum := 0
		for _, c := range passed[i:min(i+50, len(passed))] {
			sum += c.rows
			if most := float64(rate.Burst) + float64(rate.Count)*(c.at-passed[i].at).Seconds(); float64(sum) > most+1e-6 {
				t.Fatalf("%d rows in %v, more than %v", sum, c.at-passed[i].at, most)
			}
		}
	}
}

// Strangers' names are never charged, but many proven callers may come: the
// meter stays within its bound, fails closed, and recovers.
func TestMeterFull(t *testing.T) {
	m := newMeter(t, 10, Terms{Rate: Rate{Count: 1, Per: time.Second, Burst: 1}, ModelRate: Rate{Count: 1000, Per: time.Second, Burst: 1000}})
	who := func(i int) pavise.Name {
		return pavise.Name{Tenant: "acme", Kind: "workload", ID: fmt.Sprint("w", i)}
	}
	allowed := 0
	for i := range 100 {
		if v, wait := m.Charge(start, who(i), pavise.Name{}, fraud, 1, 1); v.Outcome == pavise.Allow {
			allowed++
		} else if !strings.Contains(v.Reason, "too many callers") || wait <= 0 || wait > 2*time.Second {
			t.Fatalf("refused with %+v, %v", v, wait)
		}
	}
	if allowed == 0 || allowed > 9 || m.Accounts() > 10 {
		t.Errorf("%d callers passed and %d accounts are open", allowed, m.Accounts())
	}
	if v, _ := m.Charge(start, who(0), pavise.Name{}, fraud, 1, 1); v.Check != "rate" {
		t.Errorf("a full meter forgot what it knew: %+v", v)
	}
	if v, _ := m.Charge(start.Add(2*time.Second), who(99), pavise.Name{}, fraud, 1, 1); v.Outcome != pavise.Allow {
		t.Errorf("a drained meter refuses: %+v", v)
	}
	if v, _ := m.Charge(start.Add(2*time.Second), who(0), pavise.Name{}, fraud, 1, 1); v.Outcome != pavise.Allow {
		t.Errorf("a drained caller is refused: %+v", v)
	}
}

// Sweeping must change no decision: a small meter that sweeps and a large one
// that never needs to must agree, but for refusals for want of room.
func TestMeterSweepChangesNothing(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	terms := Terms{Rate: Rate{Count: 5, Per: time.Second, Burst: 8}, Budget: PerWindow(100, time.Minute)}
	small, large := newMeter(t, 12, terms), newMeter(t, 1000, terms)
	at, full := time.Duration(0), 0
	for range 5000 {
		at += time.Duration(rng.Int64N(int64(2*time.Second))) - time.Second/2
		who := pavise.Name{Tenant: "acme", Kind: "human", ID: fmt.Sprint("u", rng.IntN(15))}
		rows := 1 + rng.IntN(8)
		got, gotWait := small.Charge(start.Add(at), who, pavise.Name{}, fraud, rows, 1)
		if strings.Contains(got.Reason, "too many callers") {
			full++
			continue
		}
		if want, wantWait := large.Charge(start.Add(at), who, pavise.Name{}, fraud, rows, 1); got != want || gotWait != wantWait {
			t.Fatalf("at %v: small %+v %v, large %+v %v", at, got, gotWait, want, wantWait)
		}
	}
	if full == 0 {
		t.Error("the small meter was never full: nothing was tested")
	}
}

func TestMeterState(t *testing.T) {
	terms := Terms{Rate: Rate{Count: 1, Per: time.Second, Burst: 2}, Budget: PerWindow(10, time.Hour), ModelBudget: PerWindow(12, time.Hour)}
	m := newMeter(t, 10, terms)
	m.Charge(start, ann, pavise.Name{}, fraud, 2, 1)
	m.Charge(start, bob, pavise.Name{}, spam, 1, 1)
	state := m.State(start)
	if len(state) != 4 || state[0].Model != fraud || state[0].Who != (pavise.Name{}) || state[1].Who != ann {
		t.Fatalf("state %+v", state)
	}
	text, err := json.Marshal(state)
	if err != nil {
		t.Fatal(err)
	}
	var kept []Spend
	if err := json.Unmarshal(text, &kept); err != nil || !reflect.DeepEqual(kept, state) {
		t.Fatalf("%s reads as %+v, %v", text, kept, err)
	}

	again := newMeter(t, 10, terms)
	if err := again.Restore(kept); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(again.State(start), state) {
		t.Errorf("restored to %+v", again.State(start))
	}
	if v, _ := again.Charge(start, ann, pavise.Name{}, fraud, 1, 1); v.Check != "rate" || v.Outcome != pavise.Deny {
		t.Errorf("a restart gave the burst back: %+v", v)
	}
	again.Charge(start.Add(time.Second), ann, pavise.Name{}, fraud, 1, 1)
	if err := again.Restore(kept); err != nil {
		t.Fatal(err)
	}
	if got := again.State(start)[1]; !got.Budget.Equal(start.Add(18*time.Minute)) || !got.Rate.Equal(start.Add(3*time.Second)) {
		t.Errorf("restoring an old state gave something back: %+v", got)
	}
	if got := again.State(start.Add(2 * time.Hour)); len(got) != 0 {
		t.Errorf("drained accounts are kept: %+v", got)
	}
	if err := newMeter(t, 3, terms).Restore(kept); pavise.KindOf(err) != pavise.Invalid {
		t.Errorf("4 accounts fit in 3: %v", err)
	}
}

// Instants beyond any clock, as from a damaged file, refuse and never wrap.
func TestMeterRestoreExtremes(t *testing.T) {
	m := newMeter(t, 10, Terms{Rate: Rate{Count: 1, Per: time.Second, Burst: 2}, Budget: PerWindow(10, time.Hour)})
	far := time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
	if err := m.Restore([]Spend{{Who: ann, Model: fraud, Rate: far}, {Who: bob, Model: fraud}}); err != nil {
		t.Fatal(err)
	}
	if v, wait := m.Charge(start, ann, pavise.Name{}, fraud, 1, 1); v.Outcome != pavise.Deny || wait <= 0 {
		t.Errorf("got %+v, %v", v, wait)
	}
	if v, _ := m.Charge(start, bob, pavise.Name{}, fraud, 2, 1); v.Outcome != pavise.Allow {
		t.Errorf("got %+v", v)
	}
}

func TestMeterTerms(t *testing.T) {
	m := newMeter(t, 10, Terms{Rate: Rate{Count: 1, Per: time.Hour, Burst: 5}})
	m.Charge(start, ann, pavise.Name{}, fraud, 5, 1)
	if err := m.SetTerms(fraud, Terms{Rate: Rate{Count: 1, Per: time.Hour, Burst: 6}}); err != nil {
		t.Fatal(err)
	}
	if v, _ := m.Charge(start, ann, pavise.Name{}, fraud, 2, 1); v.Outcome != pavise.Deny {
		t.Error("new terms forgot what was taken under the old")
	}
	if v, _ := m.Charge(start, ann, pavise.Name{}, fraud, 1, 1); v.Outcome != pavise.Allow {
		t.Error("new terms do not hold")
	}
	m.DropTerms(fraud)
	if v, _ := m.Charge(start, bob, pavise.Name{}, fraud, 1, 1); v.Outcome != pavise.Deny {
		t.Error("a model without terms lets rows pass")
	}
	if err := m.SetTerms(pavise.Name{}, Terms{}); pavise.KindOf(err) != pavise.Invalid {
		t.Errorf("terms for no model: %v", err)
	}
	for _, r := range []Rate{
		{Count: 0, Per: time.Second, Burst: 1}, {Count: 1, Per: 0, Burst: 1}, {Count: 1, Per: time.Second, Burst: 0}, {Count: -1, Per: -time.Second, Burst: -1}, {Count: 1, Per: -time.Second, Burst: 1},
		{Count: 2_000_000, Per: time.Second, Burst: 1}, {Count: 1, Per: 20 * 366 * 24 * time.Hour, Burst: 1}, {Count: 1, Per: time.Hour, Burst: math.MaxInt}, {Count: math.MaxInt, Per: math.MaxInt64, Burst: math.MaxInt},
		{Count: 5, Per: time.Hour, Burst: 5, Bits: true},
	} {
		for _, terms := range []Terms{{Rate: r}, {Budget: r}, {ModelRate: r}, {ModelBudget: r}, {ClusterBudget: r}} {
			if err := m.SetTerms(fraud, terms); pavise.KindOf(err) != pavise.Invalid {
				t.Errorf("%+v: %v", terms, err)
			}
		}
	}
}

// TestMeterTake replays charges, late and in disorder, into a meter that was
// never asked; it must never hold less than the one that was.
func TestMeterTake(t *testing.T) {
	terms := Terms{
		Rate: Rate{Count: 5, Per: time.Second, Burst: 8}, Budget: PerWindow(60, time.Minute),
		ModelRate: Rate{Count: 9, Per: time.Second, Burst: 12}, ModelBudget: PerWindow(200, time.Minute),
	}
	rng := rand.New(rand.NewPCG(11, 12))
	asked, told := newMeter(t, 100, terms), newMeter(t, 100, terms)
	type charged struct {
		end  time.Duration // when its record was written, some time after the charge
		who  pavise.Name
		rows int
	}
	var log []charged
	at := time.Duration(0)
	for range 2000 {
		at += time.Duration(rng.Int64N(int64(time.Second)))
		c := charged{at + time.Duration(rng.Int64N(int64(3*time.Second))), []pavise.Name{ann, bob}[rng.IntN(2)], 1 + rng.IntN(8)}
		if v, _ := asked.Charge(start.Add(at), c.who, pavise.Name{}, fraud, c.rows, 1); v.Outcome == pavise.Allow {
			log = append(log, c)
		}
	}
	slices.SortStableFunc(log, func(a, b charged) int { return cmp.Compare(a.end, b.end) })
	for _, c := range log {
		told.Take(start.Add(c.end), c.who, pavise.Name{}, fraud, c.rows, c.rows)
	}
	replayed := map[pavise.Name]Spend{}
	for _, s := range told.State(start) {
		replayed[s.Who] = s
	}
	for _, s := range asked.State(start) {
		if got := replayed[s.Who]; got.Rate.Before(s.Rate) || got.Budget.Before(s.Budget) {
			t.Errorf("replay gave something back: %+v, want %+v or fuller", got, s)
		}
	}
}

// TestMeterTakeFills takes what no admission would let pass.
func TestMeterTakeFills(t *testing.T) {
	rate := Rate{Count: 1, Per: time.Second, Burst: 3}
	far := time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		take func(*Meter)
		want time.Duration // how long ann's bucket needs to drain
	}{
		"some":               {func(m *Meter) { m.Take(start, ann, pavise.Name{}, fraud, 2, 2) }, 2 * time.Second},
		"more than ever fit": {func(m *Meter) { m.Take(start, ann, pavise.Name{}, fraud, math.MaxInt, math.MaxInt) }, 3 * time.Second},
		"more than is left": {func(m *Meter) {
			m.Take(start, ann, pavise.Name{}, fraud, 2, 2)
			m.Take(start, ann, pavise.Name{}, fraud, 2, 2)
		}, 3 * time.Second},
		"earlier than the last": {func(m *Meter) {
			m.Take(start, ann, pavise.Name{}, fraud, 1, 1)
			m.Take(start.Add(-time.Hour), ann, pavise.Name{}, fraud, 1, 1)
		}, 2 * time.Second},
		"at a time that is none": {func(m *Meter) {
			m.Take(start, ann, pavise.Name{}, fraud, 1, 1)
			m.Take(far, ann, pavise.Name{}, fraud, 1, 1)
			m.Take(time.Time{}, ann, pavise.Name{}, fraud, 1, 1)
		}, 3 * time.Second},
		"no rows": {func(m *Meter) {
			m.Take(start, ann, pavise.Name{}, fraud, 0, 0)
			m.Take(start, ann, pavise.Name{}, fraud, -1, -1)
		}, 0},
		"nobody":                {func(m *Meter) { m.Take(start, pavise.Name{}, pavise.Name{}, fraud, 1, 1) }, 0},
		"a model without terms": {func(m *Meter) { m.Take(start, ann, pavise.Name{}, ann, 1, 1) }, 0},
		"beyond a fuller bucket": {func(m *Meter) {
			m.Restore([]Spend{{Who: ann, Model: fraud, Rate: start.Add(time.Hour)}})
			m.Take(start, ann, pavise.Name{}, fraud, 1, 1)
		}, time.Hour},
	} {
		m := newMeter(t, 10, Terms{Rate: rate})
		tt.take(m)
		var got time.Duration
		for _, s := range m.State(start) {
			if s.Who == ann {
				got = s.Rate.Sub(start)
			}
		}
		if got != tt.want {
			t.Errorf("%s: drains in %v, want %v", name, got, tt.want)
		}
	}
	small := newMeter(t, 2, Terms{Rate: rate})
	for i := range 10 {
		small.Take(start, pavise.Name{Tenant: "acme", Kind: "human", ID: fmt.Sprint("u", i)}, pavise.Name{}, fraud, 3, 3)
	}
	if v, _ := small.Charge(start, pavise.Name{Tenant: "acme", Kind: "human", ID: "u9"}, pavise.Name{}, fraud, 1, 1); v.Check != "rate" || v.Outcome != pavise.Deny {
		t.Errorf("what a full meter took is forgotten: %+v", v)
	}
	if v, _ := small.Charge(start, ann, pavise.Name{}, fraud, 1, 1); v.Outcome != pavise.Deny {
		t.Error("an overfull meter opens new accounts")
	}
}

// Many callers at once never pass more than the limit between them.
func TestMeterConcurrent(t *testing.T) {
	m := newMeter(t, 100, Terms{Rate: Rate{Count: 1, Per: time.Hour, Burst: 30}, ModelRate: Rate{Count: 1, Per: time.Hour, Burst: 100}})
	var passed atomic.Int64
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			who := pavise.Name{Tenant: "acme", Kind: "human", ID: fmt.Sprint("u", i)}
			for range 200 {
				if v, _ := m.Charge(start, who, pavise.Name{}, fraud, 1, 1); v.Outcome == pavise.Allow {
					passed.Add(1)
				}
				m.State(start)
			}
		})
	}
	wg.Wait()
	if passed.Load() != 100 {
		t.Errorf("%d rows passed a limit of 100", passed.Load())
	}
}

func BenchmarkMeterCharge(b *testing.B) {
	m := NewMeter(1000)
	rate := Rate{Count: 1_000_000, Per: time.Second, Burst: 1_000_000}
	if err := m.SetTerms(fraud, Terms{Rate: rate, Budget: rate, ModelRate: rate, ModelBudget: rate}); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	now := start
	for b.Loop() {
		now = now.Add(time.Microsecond)
		m.Charge(now, ann, pavise.Name{}, fraud, 1, 1)
	}
}

// The years that the meter knows in seconds are those of the calendar.
func TestYears(t *testing.T) {
	for year, at := range map[int]int64{2000: year2000, 2201: year2201, 2262: year2262} {
		if want := time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC).Unix(); at != want {
			t.Errorf("%d begins at %d, and is said to at %d", year, want, at)
		}
	}
}
