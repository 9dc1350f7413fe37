package tier

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/store"
)

// exec changes the store behind the book's back.
func (s *shelf) exec(t testing.TB, query string, args ...any) {
	t.Helper()
	if err := s.db.Update(t.Context(), func(tx *store.Tx) error { _, err := tx.Exec(query, args...); return err }); err != nil {
		t.Fatal(err)
	}
}

// count is how many rows a query finds.
func (s *shelf) count(t testing.TB, query string, args ...any) (n int) {
	t.Helper()
	if err := s.db.View(t.Context(), func(tx *store.Tx) error { return tx.QueryRow(query, args...).Scan(&n) }); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestClusterSurvives: who is linked has a cluster of the same name after a kill, from the
// first request on, so a budget of linked callers does not begin anew.
func TestClusterSurvives(t *testing.T) {
	s := newShelf(t)
	s.cfg.Facts = ofNetwork
	b := s.watched(t)
	split(b, 3, honest(9))
	want := b.Cluster(model, caller("s0"))
	save(t, b)
	for range 3 {
		ask(b, caller("late"), honest(1)()) // after the last save: a kill loses it
		b = s.watched(t)
		if got := b.Cluster(model, caller("s0")); got != want || got == "" || b.Cluster(model, caller("s2")) != want {
			t.Errorf("it was in %q, and is in %q and %q", want, got, b.Cluster(model, caller("s2")))
		}
	}
	if b.Cluster(model, caller("late")) != "" {
		t.Error("what was not saved is known")
	}
	ask(b, caller("late"), honest(1)())
	ask(b, caller("s0"), honest(1)())
	b.models[model].crowd.Crowd.Settle(0)
	if got := b.Cluster(model, caller("late")); got != want {
		t.Errorf("who joins is in %q, and the others in %q", got, want)
	}
}

// TestPoolsSurvive: a stream of noise is split into names that are too young to be judged
// alone, with a kill after every few rows. It is said of all no later than if there had been
// none: at a start links are known at once.
func TestPoolsSurvive(t *testing.T) {
	rows := func(kill int) (at int, says string) {
		s := newShelf(t)
		s.cfg.Facts = ofNetwork
		b := s.watched(t)
		next := noise(5)
		for n := range 400 {
			if kill > 0 && n%kill == 0 {
				save(t, b)
				b = s.watched(t)
			}
			if says = ask(b, caller(fmt.Sprint("s", n%20)), next()); strings.Contains(says, "all stay green (network 192.0.2.0/24: ") {
				return n, says
			}
		}
		return 0, ""
	}
	at, says := rows(0)
	again, same := rows(17)
	if at == 0 || again == 0 || again > at {
		t.Errorf("without a kill it is found at %d, with kills at %d:\n%s\n%s", at, again, says, same)
	}
}

// TestAlikeSurvive: small changes of rows, split into names, are found though every name begins
// after a kill.
func TestAlikeSurvive(t *testing.T) {
	s := newShelf(t)
	b := s.watched(t)
	next, amber := near(5), 0
	for n := range 320 {
		if n%40 == 39 {
			save(t, b)
			b = s.watched(t)
		}
		ask(b, caller(fmt.Sprint("s", n%8)), next())
	}
	for i := range 8 {
		if b.Of(model, caller(fmt.Sprint("s", i))) == Amber {
			amber++
		}
	}
	if amber < 6 {
		t.Errorf("%d of 8 are amber", amber)
	}
}

// TestLinksOfOthers: links that somebody changed, cut off, made up, or moved to another caller
// are not used and are counted; those of another calibration are dropped, and so are those of
// who was lifted.
func TestLinksOfOthers(t *testing.T) {
	s := newShelf(t)
	s.cfg.Facts = ofNetwork
	b := s.watched(t)
	split(b, 3, honest(9))
	save(t, b)
	name := b.Cluster(model, caller("s0"))
	good := `SELECT links FROM tier_links WHERE who = '` + caller("s0").String() + `'`
	for what, change := range map[string]string{
		"another's": `UPDATE tier_links SET links = (` + good + `) WHERE who = '` + caller("s1").String() + `'`,
		"changed":   `UPDATE tier_links SET links = CAST(replace(CAST(links AS TEXT), '192.0.2.0', '192.0.3.0') AS BLOB) WHERE who = '` + caller("s1").String() + `'`,
		"cut off":   `UPDATE tier_links SET links = substr(links, 1, 20) WHERE who = '` + caller("s1").String() + `'`,
		"empty":     `UPDATE tier_links SET links = x'' WHERE who = '` + caller("s1").String() + `'`,
		"made up":   `UPDATE tier_links SET who = 'nobody' WHERE who = '` + caller("s1").String() + `'`,
	} {
		b = s.open(t)
		s.exec(t, `CREATE TABLE spare AS SELECT * FROM tier_links`)
		s.exec(t, change)
		if refused, err := b.Calibrate(t.Context(), model, watchOf(t)); err != nil || refused != 1 || b.Cluster(model, caller("s1")) != "" || b.Cluster(model, caller("s0")) != name {
			t.Errorf("%s: %d refused, %v; in %q", what, refused, err, b.Cluster(model, caller("s1")))
		}
		s.exec(t, `DELETE FROM tier_links`)
		s.exec(t, `INSERT INTO tier_links SELECT * FROM spare`)
		s.exec(t, `DROP TABLE spare`)
	}
	b = s.watched(t)
	hold(t, b, caller("s2"), Red, b.now().Add(AmberTime))
	if _, err := lift(b, caller("s2")); err != nil {
		t.Fatal(err)
	}
	if n := s.count(t, `SELECT count(*) FROM tier_links WHERE who = ?`, caller("s2").String()); n != 0 || b.Cluster(model, caller("s0")) == "" {
		t.Errorf("links of who was lifted are kept: %d", n)
	}
	other := watchOf(t)
	other.Digest = [32]byte{8}
	if refused, err := b.Calibrate(t.Context(), model, other); err != nil || refused != 0 || s.count(t, `SELECT count(*) FROM tier_links`) != 0 {
		t.Errorf("with another calibration: %d refused, %v, %d are left", refused, err, s.count(t, `SELECT count(*) FROM tier_links`))
	}
}

// TestForgottenLinksAreDropped: the store keeps the links of nobody who was forgotten for want
// of room.
func TestForgottenLinksAreDropped(t *testing.T) {
	s := newShelf(t)
	s.cfg.Facts = ofNetwork
	b := s.watched(t)
	for i := range 5 {
		ask(b, caller(i), honest(1)())
	}
	save(t, b)
	b.models[model].crowd.Crowd.Lost(caller(1)) // as when it makes room
	b.models[model].eyes.Lost("network 192.0.2.0/24")
	save(t, b)
	if n := s.count(t, `SELECT count(*) FROM tier_links`); n != 4 {
		t.Errorf("links of %d callers are kept", n)
	}
	if n := s.count(t, `SELECT count(*) FROM tier_studies WHERE who LIKE 'network%'`); n != 0 {
		t.Errorf("%d pools are kept", n)
	}
	if _, err := pavise.ParseName("network 192.0.2.0/24"); err == nil {
		t.Error("a pool may have a caller's name")
	}
}
