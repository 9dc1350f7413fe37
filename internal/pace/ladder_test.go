package pace

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/pavise/pavise"
)

func TestLadderWords(t *testing.T) {
	for text, want := range map[string]string{
		"50ms..2s":          "50ms..2s",
		"50ms .. 2s":        "50ms..2s",
		"5ms x1.25 to 2s":   "5ms..2s",
		"5ms x2 to 80ms":    "5ms x2 to 80ms",
		"5ms x2..80ms":      "5ms x2 to 80ms",
		"300ms":             "300ms",
		"1ms x1000 to 10m":  "1ms x1000 to 10m0s",
		"1.5ms x1.05 to 9s": "1.5ms x1.05 to 9s",
	} {
		l, err := ParseLadder(text)
		if err != nil || l.String() != want {
			t.Errorf("%q is %q (%v), want %q", text, l, err, want)
		}
		again, err := ParseLadder(l.String())
		if err != nil || again != l {
			t.Errorf("%q reads as %+v (%v), was %+v", l, again, err, l)
		}
	}
	for _, text := range []string{
		"", "none", "50", "50ms..", "..2s", "2s..50ms", "0s..2s", "-1s..2s", "1us..2s", "50ms..11m", "50ms x1 to 2s", "50ms x1.01 to 2s",
		"50ms xNaN to 2s", "50ms xInf to 2s", "50ms x0x1p4 to 2s", "50ms x1_0 to 2s", "50ms x2", "50ms to 1s to 2s", "50ms x2 x3 to 2s", "50ms..2s..3s",
	} {
		if l, err := ParseLadder(text); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%q is %v (%v)", text, l, err)
		}
	}
}

func TestLadderJSON(t *testing.T) {
	type route struct {
		Ladder Ladder `json:"ladder,omitzero"`
		Pace   Beat   `json:"pace,omitempty"`
	}
	for _, r := range []route{{}, {Ladder{50 * time.Millisecond, 2 * time.Second, 1.25}, Beat(50 * time.Millisecond)}} {
		text, err := json.Marshal(r)
		var again route
		if err == nil {
			err = json.Unmarshal(text, &again)
		}
		if err != nil || again != r {
			t.Errorf("%s reads as %+v (%v)", text, again, err)
		}
	}
	for _, bad := range []string{`{"ladder":"2s..1s"}`, `{"ladder":5}`, `{"pace":"1h"}`, `{"pace":50}`} {
		if err := json.Unmarshal([]byte(bad), new(route)); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}

func TestRungs(t *testing.T) {
	l, err := ParseLadder("5ms..2s")
	if err != nil {
		t.Fatal(err)
	}
	rungs := l.Rungs()
	if n := len(rungs); n != 28 || rungs[0] != l.First || rungs[n-1] != l.Top {
		t.Errorf("%d rungs: %v", n, rungs)
	}
	low := time.Duration(-1)
	for _, rung := range rungs {
		for _, took := range []time.Duration{low + 1, (low + rung) / 2, rung} {
			if at, late := l.Rung(took); at != rung || late {
				t.Errorf("an answer after %v leaves at %v (%v), not at %v", took, at, late, rung)
			}
		}
		low = rung
	}
	if at, late := l.Rung(l.Top + 1); at != l.Top+1 || !late {
		t.Errorf("above the top it leaves at %v (%v)", at, late)
	}
	if at, late := (Ladder{}).Rung(7); at != 7 || late {
		t.Errorf("without a ladder it leaves at %v (%v)", at, late)
	}
	finest := Ladder{minFirst, maxTop, minFactor}
	if n := len(finest.Rungs()); n > 300 {
		t.Errorf("the finest ladder has %d rungs", n)
	}
}

func FuzzParseLadder(f *testing.F) {
	f.Add("50ms..2s", int64(5e6))
	f.Add("50ms x2 to 2s", int64(5e9))
	f.Fuzz(func(t *testing.T, text string, took int64) {
		l, err := ParseLadder(text)
		if err != nil {
			return
		}
		if again, err := ParseLadder(l.String()); err != nil || again != l {
			t.Fatalf("%q is %q, which reads as %q (%v)", text, l, again, err)
		}
		at, late := l.Rung(time.Duration(took))
		if at < time.Duration(took) || !late && (at < l.First || at > l.Top) {
			t.Fatalf("%v: %v leaves at %v (%v)", l, time.Duration(took), at, late)
		}
		if n := len(l.Rungs()); n < 1 || n > 300 {
			t.Fatalf("%v has %d rungs", l, n)
		}
	})
}

func BenchmarkRung(b *testing.B) {
	l := Ladder{5 * time.Millisecond, 2 * time.Second, 1.25}
	for b.Loop() {
		l.Rung(1900 * time.Millisecond)
	}
}

func TestLead(t *testing.T) {
	for first, want := range map[time.Duration]time.Duration{
		0: 0, time.Millisecond: 250 * time.Microsecond, 5 * time.Millisecond: 1250 * time.Microsecond, 8 * time.Millisecond: 2 * time.Millisecond, time.Second: 2 * time.Millisecond,
	} {
		if got := (Ladder{First: first}).Lead(); got != want {
			t.Errorf("before a first rung of %v the lead is %v, not %v", first, got, want)
		}
	}
}
