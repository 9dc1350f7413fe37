package tier

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/detect"
	"github.com/pavise/pavise/internal/store"
)

// TestAmberSurvives: who is amber is so after a restart, with the evidence.
func TestAmberSurvives(t *testing.T) {
	s := newShelf(t)
	b := s.watched(t)
	eve := caller("eve")
	steal(b, eve, noise(1), 300)
	save(t, b)
	want, _ := b.Get(model, eve)
	for _, open := range []func(testing.TB) *Book{s.open, s.watched} {
		b = open(t)
		if got, ok := b.Get(model, eve); !ok || got.Tier != Amber || *got.Evidence != *want.Evidence || !got.Since.Equal(want.Since) {
			t.Errorf("after the restart: %+v, and before %+v", got, want)
		}
	}
	if _, err := lift(b, eve); err != nil {
		t.Fatal(err)
	}
	b = s.watched(t) // without a save: a lift is kept at once
	if b.Of(model, eve) != Green || b.models[model].eyes.Closest(eve.String()).Rows != 0 {
		t.Error("what was lifted came back")
	}
}

// slow is a thief whom neither 50 nor 100 rows give away, but 150: the first one that is.
func slow(t *testing.T, b *Book) func() func() []float64 {
	t.Helper()
	for i := range uint64(400) {
		seed, share := i/8, 0.04+0.02*float64(i%8)
		begin := func() func() []float64 { return mixed(seed, share, noise(seed)) }
		if steal(b, caller(i), begin(), 150) == 150 {
			return begin
		}
	}
	t.Fatal("no thief is found at 150 rows")
	return nil
}

// TestLookAcrossARestart: 120 rows before a restart and 40 after it reach the look at 150.
func TestLookAcrossARestart(t *testing.T) {
	s := newShelf(t)
	b := s.watched(t)
	slow := slow(t, b)
	eve, next := caller("eve"), slow()
	if n := steal(b, eve, next, 120); n != 0 {
		t.Fatal("found at", n)
	}
	save(t, b)
	for range 3 { // after the snapshot; a kill loses them
		ask(b, eve, honest(77)())
	}
	b = s.watched(t)
	if n := steal(b, eve, next, 40); n != 30 || b.Of(model, eve) != Amber {
		t.Errorf("after the restart it is found at %d more rows", n)
	}
}

// TestStudiesOfOthers: what was kept by another calibration, or changed, is not used, and
// what was changed is counted.
func TestStudiesOfOthers(t *testing.T) {
	s := newShelf(t)
	b := s.watched(t)
	for _, who := range []string{"a", "b"} {
		for next, i := noise(1), 0; i < 40; i++ {
			ask(b, caller(who), next())
		}
	}
	save(t, b)
	rows := func(b *Book, who string) int {
		study, _ := b.models[model].eyes.AppendStudy(nil, caller(who).String())
		if study == nil {
			return 0
		}
		return int(study[len("pavise.study/1\n")+32])
	}
	exec := func(query string, args ...any) {
		t.Helper()
		if err := s.db.Update(t.Context(), func(tx *store.Tx) error { _, err := tx.Exec(query, args...); return err }); err != nil {
			t.Fatal(err)
		}
	}
	exec(`UPDATE tier_studies SET study = (SELECT study FROM tier_studies WHERE who = ?) WHERE who = ?`, caller("a").String(), caller("b").String())
	b = s.open(t)
	if refused, err := b.Calibrate(t.Context(), model, watchOf(t)); err != nil || refused != 1 {
		t.Errorf("%d refused, %v", refused, err)
	}
	if rows(b, "a") != 40 || rows(b, "b") != 0 {
		t.Errorf("a has %d rows, b %d", rows(b, "a"), rows(b, "b"))
	}
	exec(`UPDATE tier_studies SET study = CAST('pavise.study/1' || char(10) || 'as it was then' AS BLOB) WHERE who = ?`, caller("b").String())
	b = s.open(t)
	if refused, err := b.Calibrate(t.Context(), model, watchOf(t)); err != nil || refused != 0 || rows(b, "a") != 40 || rows(b, "b") != 0 {
		t.Errorf("a study of another version is taken for a changed one: %d refused, %v", refused, err)
	}
	save(t, b)
	if n := s.count(t, `SELECT count(*) FROM tier_studies WHERE who = ?`, caller("b").String()); n != 0 {
		t.Errorf("%d studies of another version stay", n)
	}
	other := watchOf(t)
	other.Digest = [32]byte{8}
	if refused, err := b.Calibrate(t.Context(), model, other); err != nil || refused != 0 || rows(b, "a") != 0 {
		t.Errorf("%d refused, %v", refused, err)
	}
	if refused, err := b.Calibrate(t.Context(), model, watchOf(t)); err != nil || refused != 0 || rows(b, "a") != 0 {
		t.Errorf("what another calibration has dropped is back: %d, %v", refused, err)
	}
}

// TestChangedStandings: a book of which a row cannot be read is not opened.
func TestChangedStandings(t *testing.T) {
	for what, query := range map[string]string{
		"no JSON":   `UPDATE tier_standings SET standing = '{'`,
		"no name":   `UPDATE tier_standings SET who = 'eve'`,
		"no tier":   `UPDATE tier_standings SET standing = '{"word": {"tier": "blue"}}'`,
		"no secret": `UPDATE tier_secret SET secret = x'00'`,
	} {
		s := newShelf(t)
		hold(t, s.open(t), caller("x"), Red, time.Time{})
		if err := s.db.Update(t.Context(), func(tx *store.Tx) error { _, err := tx.Exec(query); return err }); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(context.Background(), Config{Store: s.db}); pavise.KindOf(err) != pavise.Unverified {
			t.Errorf("%s: %v", what, err)
		}
		s.close()
	}
}

// TestCalibrationsThatDoNotFit are refused, and what was there stays.
func TestCalibrationsThatDoNotFit(t *testing.T) {
	b := newShelf(t).watched(t)
	for want, l := range map[string]Lay{"5 inputs": {Inputs: 5, Said: 2, Scores: 2}, "3 scores": {Inputs: columns, Said: 3, Scores: 3}} {
		w := watchOf(t)
		w.Lay = l
		if _, err := b.Calibrate(t.Context(), model, w); pavise.KindOf(err) != pavise.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v", l, err)
		}
	}
	if n := steal(b, caller("eve"), noise(1), 300); n == 0 {
		t.Error("nobody looks any more")
	}
	for i := range MaxWatched - 1 {
		other := pavise.Name{Tenant: "acme", Kind: "model", ID: strings.Repeat("n", i+1)}
		if _, err := b.Calibrate(t.Context(), other, watchOf(t)); err != nil {
			t.Fatal(err)
		}
	}
	last := pavise.Name{Tenant: "acme", Kind: "model", ID: "last"}
	if _, err := b.Calibrate(t.Context(), last, watchOf(t)); pavise.KindOf(err) != pavise.Invalid {
		t.Errorf("one too many: %v", err)
	}
	if _, err := b.Calibrate(t.Context(), model, nil); err != nil {
		t.Fatal(err)
	}
	if n := steal(b, caller("bob"), noise(1), 300); n != 0 {
		t.Error("somebody looks still")
	}
	if _, err := b.Calibrate(t.Context(), last, watchOf(t)); err != nil {
		t.Error(err)
	}
}

// TestRoomForCalibrations: what different files take together is bounded, and the same file
// counts once and is in memory once, however many models have it.
func TestRoomForCalibrations(t *testing.T) {
	b := newShelf(t).watched(t)
	name := func(i int) pavise.Name {
		return pavise.Name{Tenant: "acme", Kind: "model", ID: fmt.Sprintf("big-%d", i)}
	}
	big := func(kind byte) *Watch {
		w := watchOf(t)
		own := *w.Calibration
		w.Calibration = &own
		w.Digest, w.Size = [32]byte{kind}, MaxCalibrations/2-1<<20
		return w
	}
	for i := range 6 {
		if _, err := b.Calibrate(t.Context(), name(i), big(byte(i%2+1))); err != nil {
			t.Fatal(err)
		}
	}
	if b.models[name(0)].Calibration != b.models[name(4)].Calibration || b.models[name(0)].Calibration == b.models[name(1)].Calibration {
		t.Error("models with the same file do not share it")
	}
	if _, err := b.Calibrate(t.Context(), name(0), big(3)); pavise.KindOf(err) != pavise.Invalid || !strings.Contains(err.Error(), "MiB") {
		t.Errorf("a third file: %v", err)
	}
	if _, err := b.Calibrate(t.Context(), name(6), big(1)); err != nil {
		t.Errorf("a file that is here: %v", err)
	}
}

// TestOddRequests: rows that do not lie as the model's do are counted, and not looked at.
func TestOddRequests(t *testing.T) {
	b := newShelf(t).watched(t)
	for _, o := range []detect.Observation{
		{Rows: 0}, {Rows: -1}, {Rows: 1}, {Rows: 2, Values: make([]float64, columns), Scores: make([]float64, 3)},
		{Rows: 1, Values: make([]float64, columns), Scores: make([]float64, 2)},
		{Rows: 1 << 40, Values: make([]float64, columns), Scores: make([]float64, 3)},
	} {
		o.Who, o.Model = caller("odd"), model
		if said := b.See(&o); said != "" {
			t.Error(said)
		}
	}
	if odd, again := b.Odd(), b.Odd(); odd[model] != 6 || len(again) != 0 {
		t.Errorf("%v counted, and then %v", odd, again)
	}
}

// TestUnseenIsSummed adds up what detectors did not see, for one tenant apart from others,
// and of more models than are counted each it knows the sum.
func TestUnseenIsSummed(t *testing.T) {
	b := newShelf(t).open(t)
	b.Missed(Unseen{Model: model, Requests: 3})
	b.Missed(Unseen{Model: model, Requests: 4, Odd: 1, Findings: 2})
	if got := b.Unseen("acme"); len(got) != 1 || got[0] != (Unseen{model, 7, 1, 2}) || len(b.Unseen("other")) != 0 {
		t.Errorf("%+v", got)
	}
	for i := range mostUnseen + 10 {
		b.Missed(Unseen{Model: pavise.Name{Tenant: "acme", Kind: "model", ID: fmt.Sprint(i)}, Requests: 1})
	}
	if got := b.Unseen("acme"); len(got) != mostUnseen || b.Unseen("")[0].Requests != 11 {
		t.Errorf("%d models, and %+v beyond", len(got), b.Unseen(""))
	}
}
