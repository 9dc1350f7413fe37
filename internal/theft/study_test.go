package theft

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pavise/pavise"
)

var studyKey, studyOf = [32]byte{1, 2, 3}, [32]byte{4, 5, 6}

// bound is an extraction whose studies can be kept.
func bound(c *Calibration) *Extraction {
	e := NewExtraction(c)
	e.Bind(studyKey, studyOf)
	return e
}

// TestStudyGoesOn breaks off in the middle of a thief's rows, and goes on with what was
// kept of it: it is seen at the same row, by the same, as one that was never broken off.
func TestStudyGoesOn(t *testing.T) {
	w, c := calibrated(t)
	for _, name := range []string{"jbda", "line", "one-feature", "noise-25"} {
		at, want := found(c, w, 500, thieves[name](w, clientRand(3, 1)))
		e, next := bound(c), thieves[name](w, clientRand(3, 1))
		for i := 1; i <= at; i++ {
			if i%37 == 0 {
				study, ok := e.AppendStudy([]byte("before"), "somebody")
				if !ok {
					t.Fatal("nothing was kept")
				}
				e = bound(c)
				if err := e.Restore("somebody", study[len("before"):]); err != nil {
					t.Fatal(err)
				}
			}
			s, ok := e.See(w.asked("somebody", next()))
			if ok != (i == at) || ok && s != want {
				t.Errorf("%s: at %d of %d: %v, and not %v", name, i, at, s, want)
			}
		}
	}
}

// TestStudyRemembersRepetitions: a row that was asked before the restart is none that is
// new after it.
func TestStudyRemembersRepetitions(t *testing.T) {
	w, c := calibrated(t)
	e, rng := bound(c), clientRand(8, 8)
	rows := make([][]float64, 40)
	for i := range rows {
		rows[i] = w.any(rng)
		e.See(w.asked("x", rows[i]))
	}
	study, _ := e.AppendStudy(nil, "x")
	e = bound(c)
	if err := e.Restore("x", study); err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		e.See(w.asked("x", row))
	}
	if s := e.clients["x"]; s.rows != 80 || s.fresh != 40 {
		t.Errorf("%d rows, %d of them fresh", s.rows, s.fresh)
	}
	before := e.clients["x"]
	if err := e.Restore("x", study); err != nil || e.clients["x"] != before {
		t.Errorf("a client who was heard is taken back to what was kept: %v", err)
	}
}

// TestStudyIsRefused changes every byte of a study, cuts it, and takes it to others.
func TestStudyIsRefused(t *testing.T) {
	w, c := calibrated(t)
	e, next := bound(c), noise(w, clientRand(1, 1))
	for range 70 {
		e.See(w.asked("x", next()))
	}
	study, _ := e.AppendStudy(nil, "x")
	if _, ok := e.AppendStudy(nil, "nobody"); ok {
		t.Error("something is kept of nobody")
	}
	refused := func(what string, e *Extraction, client string, study []byte) {
		t.Helper()
		want := pavise.Unverified
		if bytes.HasPrefix(study, []byte("pavise.study/3\n")) { // a version's number is no secret
			want = pavise.Invalid
		}
		if err := e.Restore(client, study); pavise.KindOf(err) != want || e.clients[client] != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	mine := bound(c)
	for i := range study {
		changed := slices.Clone(study)
		changed[i] ^= 1
		refused(fmt.Sprint("byte ", i), mine, "x", changed)
	}
	for n := 0; n < len(study); n += 7 {
		refused(fmt.Sprint("the first ", n), mine, "x", study[:n])
	}
	refused("another client", bound(c), "y", study)
	other := NewExtraction(c)
	other.Bind([32]byte{9}, studyOf)
	refused("another key", other, "x", study)
	other = NewExtraction(c)
	other.Bind(studyKey, [32]byte{9})
	refused("another calibration", other, "x", study)
	if err := bound(c).Restore("x", study); err != nil {
		t.Error(err)
	}
}

// TestEverySighting: with Again a client is sighted at each look that finds it unlike the
// others, so that what follows from it can end by itself once nothing does.
func TestEverySighting(t *testing.T) {
	w, c := calibrated(t)
	e, next := NewExtraction(c), noise(w, clientRand(2, 2))
	e.Again = true
	var at []int
	for i := 1; i <= 500; i++ {
		if _, ok := e.See(w.asked("x", next())); ok {
			at = append(at, i)
		}
	}
	if !slices.Equal(at, []int{50, 100, 150, 250, 500}) {
		t.Errorf("sighted at %v", at)
	}
	e.Forget("x")
	if e.Closest("x") != (Sighting{}) || len(e.oldest) != 0 {
		t.Error("it is not forgotten")
	}
}

// TestLost tells of clients who are forgotten for want of room.
func TestLost(t *testing.T) {
	w, c := calibrated(t)
	e, row, lost := NewExtraction(c), w.any(clientRand(6, 0)), []string(nil)
	e.Most, e.Lost = 3, func(client string) { lost = append(lost, client) }
	for i := range 5 {
		e.See(w.asked(fmt.Sprint(i), row))
	}
	if !slices.Equal(lost, []string{"0", "1"}) || len(e.clients) != 3 {
		t.Errorf("lost %v, kept %d", lost, len(e.clients))
	}
}

// FuzzStudy reads studies whose seal holds, as whoever has the key could make them.
func FuzzStudy(f *testing.F) {
	w, c, _ := small(f)
	e, next := bound(c), thieves["jbda"](w, clientRand(1, 1))
	for i := range 200 {
		e.See(w.asked("x", next()))
		if i%60 == 0 {
			study, _ := e.AppendStudy(nil, "x")
			f.Add(study[len(studyFormat)+32 : len(study)-32])
		}
	}
	f.Add([]byte{})
	f.Add([]byte(strings.Repeat("\xff", 400)))
	e.Forget("x")
	other := bound(c)
	f.Fuzz(func(t *testing.T, body []byte) {
		defer e.Forget("x")
		defer other.Forget("x")
		study := slices.Concat([]byte(studyFormat), studyOf[:], body)
		study = e.sign(study, study, "x")
		if e.Restore("x", study) != nil {
			return
		}
		again, ok := e.AppendStudy(nil, "x")
		if !ok {
			t.Fatal("it was not restored")
		}
		if err := other.Restore("x", again); err != nil {
			t.Fatal(err)
		}
		if third, _ := other.AppendStudy(nil, "x"); !bytes.Equal(third, again) {
			t.Error("it is written otherwise than it was read")
		}
		next := noise(w, clientRand(5, 5))
		for range 60 {
			e.See(w.asked("x", next()))
		}
	})
}
