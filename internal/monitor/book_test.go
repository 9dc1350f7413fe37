package monitor

import (
	"crypto/ed25519"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/drift"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/store"
)

// exec changes the state database behind the monitor's back.
func (w *world) exec(query string, args ...any) {
	w.t.Helper()
	if err := w.db.Update(w.t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(query, args...)
		return err
	}); err != nil {
		w.t.Fatal(err)
	}
}

// keptRows are what the state database has of baselines.
type keptRows struct {
	envelope string
	texts    map[string][]byte
}

func (w *world) kept() (k keptRows) {
	w.t.Helper()
	k.texts = map[string][]byte{}
	if err := w.db.View(w.t.Context(), func(tx *store.Tx) error {
		if err := tx.QueryRow(`SELECT envelope FROM monitor_books`).Scan(&k.envelope); err != nil {
			return err
		}
		rows, err := tx.Query(`SELECT digest, sealed FROM monitor_texts`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			digest, sealed := "", []byte(nil)
			if err := rows.Scan(&digest, &sealed); err != nil {
				return err
			}
			k.texts[digest] = sealed
		}
		return rows.Err()
	}); err != nil {
		w.t.Fatal(err)
	}
	return k
}

// putBack has the state database hold what it once held, all of it rightly sealed and signed.
func (w *world) putBack(k keptRows) {
	w.t.Helper()
	w.exec(`UPDATE monitor_books SET envelope = ?`, k.envelope)
	for digest, sealed := range k.texts {
		w.exec(`INSERT INTO monitor_texts (tenant, id, digest, sealed) VALUES ('local', 'scorer', ?, ?) ON CONFLICT DO NOTHING`, digest, sealed)
	}
}

// TestBaselinesInTheStore: whatever is done to what the store has of baselines is found at the next
// start, told, and not used; and the original is kept all the same, as long as it is there.
func TestBaselinesInTheStore(t *testing.T) {
	t.Parallel()
	other := ed25519.NewKeyFromSeed([]byte("another installation's, 32 bytes"))
	for name, c := range map[string]struct {
		why string
		do  func(w *world, before, is keptRows)
	}{
		"an earlier one": {"was put since", func(w *world, before, _ keptRows) { w.putBack(before) }},
		"tampered": {"has not signed", func(w *world, _, is keptRows) {
			text := []byte(is.envelope)
			if at := strings.Index(is.envelope, `"payload":"`) + 40; text[at] == 'A' { // within the word of its format
				text[at] = 'B'
			} else {
				text[at] = 'A'
			}
			w.exec(`UPDATE monitor_books SET envelope = ?`, string(text))
		}},
		"of another key": {"has not signed", func(w *world, _, _ keptRows) {
			envelope, _, err := w.models[scorer].book.Sign(other)
			if err != nil {
				w.t.Fatal(err)
			}
			w.exec(`UPDATE monitor_books SET envelope = ?`, string(envelope))
		}},
		"of another model": {"another model", func(w *world, _, _ keptRows) {
			b := *w.models[scorer].book
			b.Model.ID = "other"
			envelope, _, err := b.Sign(testKey)
			if err != nil {
				w.t.Fatal(err)
			}
			w.exec(`UPDATE monitor_books SET envelope = ?`, string(envelope))
		}},
		"of its number, and not it": {"another one by its number", func(w *world, _, _ keptRows) {
			b := *w.models[scorer].book
			b.At = b.At.Add(time.Second)
			envelope, _, err := b.Sign(testKey)
			if err != nil {
				w.t.Fatal(err)
			}
			w.exec(`UPDATE monitor_books SET envelope = ?`, string(envelope))
		}},
		"another version's": {"is gone, or is another", func(w *world, _, is keptRows) {
			b := w.models[scorer].book
			if b.Pages[0].Baseline == b.Pages[1].Baseline {
				w.t.Fatal("both versions have the same")
			}
			w.exec(`UPDATE monitor_texts SET sealed = ? WHERE digest = ?`, is.texts[b.Pages[0].Baseline], b.Pages[1].Baseline)
		}},
		"without its book":  {"is gone", func(w *world, _, _ keptRows) { w.exec(`DELETE FROM monitor_books`) }},
		"without its texts": {"is gone, or is another", func(w *world, _, _ keptRows) { w.exec(`DELETE FROM monitor_texts`) }},
		"sealed as they once were": {"is gone", func(w *world, _, _ keptRows) {
			sealed := w.cfg.Key("local").Seal([]byte("pavise drift baseline\nlocal/model/scorer\n0"), w.inForce().Text())
			w.exec(`DELETE FROM monitor_books`)
			w.exec(`INSERT INTO monitor_baselines (tenant, id, place, sealed) VALUES ('local', 'scorer', 0, ?)`, sealed)
		}},
	} {
		in(t, func(t *testing.T) {
			w := newWorld(t)
			w.learn()
			original := w.stands().Baseline
			before := w.kept()
			w.version = "v2"
			w.shift = func(_ int, row []float64) { row[0] += 1 }
			if w.windows(1); w.approved(Ask{Learn: 600}) != nil {
				t.Fatal("it is not learnt anew")
			}
			w.windows(2)
			v := w.stands()
			if v.Baseline == original || v.First != original || len(w.notes(KindSwapped)) > 0 {
				t.Fatalf("%s: %+v", name, v)
			}
			w.stop()
			c.do(w, before, w.kept())
			w.run()
			w.windows(1)
			found := w.notes(KindSwapped)
			if v := w.stands(); v.Verdict.Stage != Broken || v.Baseline != "" || len(found) != 1 || found[0].Severity != pavise.Critical {
				t.Fatalf("%s: %+v, %+v", name, v, found)
			}
			contains(t, found[0].Summary, c.why)
			if err := w.approved(Ask{Learn: 600}); err != nil {
				t.Fatal(err)
			}
			w.windows(2)
			want := original
			if strings.HasPrefix(name, "without its texts") {
				want = ""
			}
			if v := w.stands(); v.Baseline == "" || v.First != want {
				t.Errorf("%s: after another was learnt: %+v", name, v)
			}
			w.stop()
			w.run()
			if w.windows(1); w.stands().Verdict.Stage == Broken {
				t.Errorf("%s: what was learnt since is not believed", name)
			}
		})
	}
}

// TestVersionsHaveTheirOwn: a version is held to its own baseline, also when it comes back, and one
// that has none to that of the version before; and all of it outlives the process.
func TestVersionsHaveTheirOwn(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		w := newWorld(t)
		w.learn()
		one := w.stands().Baseline
		w.version, w.model = "v2", worse
		w.windows(1)
		if v := w.stands(); v.Baseline != one {
			t.Fatalf("a version that has none is held to %s, and not to that of the version before", v.Baseline)
		}
		if err := w.approved(Ask{Learn: 600}); err != nil {
			t.Fatal(err)
		}
		w.windows(2)
		two := w.stands().Baseline
		for _, at := range []struct {
			version string
			model   func(float64) float64
			want    string
		}{{"v1", steady, one}, {"v2", worse, two}, {"v3", worse, two}, {"v1", steady, one}, {"v3", worse, two}} {
			w.version, w.model = at.version, at.model
			w.windows(4)
			if v := w.stands(); v.Baseline != at.want || at.version == "v1" && v.Verdict.Stage == Confirmed {
				t.Errorf("%s is held to %s, and not to %s: %+v", at.version, v.Baseline, at.want, v.Verdict)
			}
			w.stop()
			w.run()
		}
		w.windows(1)
		s, err := w.Show(t.Context(), ana, scorer)
		if err != nil || len(s.Versions) != 3 || s.Versions[0].Inherited || !s.Versions[2].Inherited || s.Versions[2].Version != "v3" || s.Serial != 4 {
			t.Errorf("%+v, number %d: %v", s.Versions, s.Serial, err)
		}
		if len(w.house.rolled()) > 0 {
			t.Errorf("%v was rolled back", w.house.rolled())
		}
	})
}

// TestBaselineBesideARelease: a version's baseline is put before it answers, and holds from its
// first answer on.
func TestBaselineBesideARelease(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		w := newWorld(t)
		w.learn()
		one := w.stands().Baseline
		meant := *w.inForce()
		for i, p := range meant.Features {
			if p.Side == string(Output) && p.Kind == drift.Number { // of scores that lie elsewhere
				p.Edges = []float64{-1e9, 1e9}
				p.Counts = []uint32{0, 1500, 0}
				meant.Features[i] = p
			}
		}
		if err := w.approved(Ask{File: meant.Text(), Version: "v2"}); err != nil {
			t.Fatal(err)
		}
		if v := w.stands(); v.Baseline != one {
			t.Fatal("it holds for the version before")
		}
		w.version = "v2"
		w.windows(1)
		w.stop()
		w.run()
		w.windows(1)
		if v := w.stands(); v.Baseline != meant.Digest() || v.First != one {
			t.Errorf("%+v", v)
		}
		if _, err := w.PlanBaseline(t.Context(), onIt, Ask{Model: scorer, Learn: 1000, Version: "v3"}); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("learnt of a version that does not answer: %v", err)
		}
		if _, err := w.PlanBaseline(t.Context(), onIt, Ask{Model: scorer, File: meant.Text(), Version: "v3", Anew: true}); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("the first one of a version that does not answer: %v", err)
		}
	})
}

// TestAwayAndBack: a model that nobody asked for long, and for which there was no room, is held to
// what it was when it comes back.
func TestAwayAndBack(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		w := newWorld(t)
		w.learn()
		one := w.stands().Baseline
		w.mu.Lock()
		for i := range mostModels {
			name := pavise.Name{Tenant: "local", Kind: "model", ID: fmt.Sprint("m", i)}
			w.models[name] = &watched{model: name}
		}
		w.mu.Unlock()
		time.Sleep(idle + 2*w.cfg.Window + time.Hour)
		w.mu.Lock()
		_, there := w.models[scorer]
		clear(w.models)
		w.mu.Unlock()
		if there {
			t.Fatal("it is watched still")
		}
		w.windows(1)
		if v := w.stands(); v.Baseline != one || len(w.notes(KindLearned)) != 1 {
			t.Errorf("%+v", v)
		}
	})
}

// TestNotedLater: a book that the log has not heard of, since the process ended before, is believed
// and noted; and one that was noted long ago is noted again.
func TestNotedLater(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		w := newWorld(t)
		w.learn()
		w.windows(1)
		w.stop()
		held := func() (n int) {
			for _, r := range w.log.Records(0, w.log.Size()) {
				if r.Phase == record.Note && r.Kind == KindHeld {
					n++
				}
			}
			return n
		}
		if held() != 1 {
			t.Fatalf("%d notes", held())
		}
		b := *w.models[scorer].book
		b.Serial++
		envelope, _, err := b.Sign(testKey)
		if err != nil {
			t.Fatal(err)
		}
		w.exec(`UPDATE monitor_books SET envelope = ?`, string(envelope))
		w.run()
		if held() != 2 || len(w.notes(KindSwapped)) > 0 {
			t.Errorf("%d notes of what is held, %v", held(), w.notes(KindSwapped))
		}
		w.windows(1)
		time.Sleep(notedAgain + time.Hour)
		w.windows(1)
		if held() != 3 {
			t.Errorf("%d notes after a week", held())
		}
	})
}

// TestOldBaselinesAreSigned: what was sealed before baselines were signed is signed once.
func TestOldBaselinesAreSigned(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(w *world){"": nil, "swapped": func(w *world) { w.exec(`UPDATE monitor_baselines SET sealed = x'00' WHERE place = 1`) }} {
		in(t, func(t *testing.T) {
			w := newWorld(t)
			w.learn()
			now, was := *w.inForce(), *w.inForce()
			now.Rows++
			w.stop()
			w.exec(`DELETE FROM monitor_books`)
			w.exec(`DELETE FROM monitor_texts`)
			for place, b := range []drift.Baseline{now, was} {
				w.exec(`INSERT INTO monitor_baselines (tenant, id, place, sealed) VALUES ('local', 'elder', ?, ?)`, place,
					w.cfg.Key("local").Seal(fmt.Appendf(nil, "pavise drift baseline\nlocal/model/elder\n%d", place), b.Text()))
			}
			if spoil != nil {
				spoil(w)
			}
			w.run()
			elder := w.models[pavise.Name{Tenant: "local", Kind: "model", ID: "elder"}]
			switch {
			case spoil != nil && (elder.book != nil || elder.Verdict.Stage != Broken):
				t.Errorf("%s: %+v", name, elder.book)
			case spoil == nil && (elder.book == nil || elder.book.Original != was.Digest() || elder.book.First != was.Digest() || elder.bases[0].Digest != now.Digest()):
				t.Errorf("%+v", elder.book)
			}
			left := 0
			if err := w.db.View(t.Context(), func(tx *store.Tx) error {
				return tx.QueryRow(`SELECT count(*) FROM monitor_baselines`).Scan(&left)
			}); err != nil || (left == 0) != (spoil == nil) {
				t.Errorf("%s: %d are left: %v", name, left, err)
			}
		})
	}
}

// TestCanaryIsHeldToTheFirst: two models that share the calls are held to what the first of them is
// now, also after a restart and where another version has answered since; the second is held to its
// own once it answers alone.
func TestCanaryIsHeldToTheFirst(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		w := newWorld(t)
		w.learn()
		one := w.stands().Baseline
		meant := *w.inForce()
		meant.Rows++ // which makes it another
		if err := w.approved(Ask{File: meant.Text(), Version: "v2"}); err != nil {
			t.Fatal(err)
		}
		held := func(version, want string) {
			t.Helper()
			w.version = version
			w.windows(1)
			before := w.stands().Baseline
			w.stop()
			w.run()
			w.windows(1)
			if after := w.stands().Baseline; before != want || after != want {
				t.Errorf("%s is held to %.15s, and after a restart to %.15s, not to %.15s", version, before, after, want)
			}
		}
		held("v1 beside v2", one)
		held("v2", meant.Digest())
		held("v1 beside v2", one)
		anew := meant
		anew.Rows++
		if err := w.approved(Ask{File: anew.Text(), Version: "v1"}); err != nil {
			t.Fatal(err)
		}
		if v := w.stands(); v.Baseline != anew.Digest() {
			t.Error("what the first is held to by now holds once it answers alone")
		}
		held("v1 beside v2", anew.Digest())
		s, err := w.Show(t.Context(), ana, scorer)
		if err != nil || len(s.Versions) != 2 {
			t.Errorf("it takes a page of the book: %+v %v", s.Versions, err)
		}
		own := anew
		own.Rows++
		if err := w.approved(Ask{File: own.Text()}); err != nil {
			t.Fatal(err)
		}
		held("v1 beside v2", own.Digest())
		held("v1", anew.Digest())
		held("v1 beside v2", own.Digest())
	})
}
