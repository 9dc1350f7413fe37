package gate

import (
	"cmp"
	"fmt"
	"math"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/anomaly"
	"github.com/pavise/pavise/internal/store"
)

const (
	// weeksRead is how far back the hours of a source are read when the gate opens: as far
	// as its watchers remember.
	weeksRead = 9
	// maxSequences bounds the writers of a source whose sequences are watched.
	maxSequences = 256
)

// hourOf is the hour of an instant, counted from 1970 as the world has it.
func hourOf(t time.Time) int64 { return t.Unix() / 3600 }

// A watcher watches what one source brings, by the hour. The source's mutex guards it. It
// holds nothing up: what it finds it says when the hour ends.
type watcher struct {
	hour      int64 // that is under way; 0: nothing ever came
	records   int
	bytes     int
	values    *anomaly.Distinct // nil: no column is watched
	volume    anomaly.Volume
	different anomaly.Volume
	sequences map[string]*anomaly.Sequence // by writer
	missing   uint64                       // of all sequences, as far as it was told
	replayed  uint64
}

func newWatcher(t *terms) *watcher {
	w := &watcher{sequences: map[string]*anomaly.Sequence{}}
	if t.spec.Distinct != "" {
		w.values = anomaly.NewDistinct()
	}
	return w
}

// turn ends the hours before now, and returns what there is to say of them. An hour in which
// nothing came ends like any other: silence is told, too.
func (w *watcher) turn(t *terms, now int64) (found []string) {
	if w.hour != 0 && now-w.hour > weeksRead*168 {
		w.hour = now - weeksRead*168 // a clock that leapt must not keep anybody waiting
	}
	for ; w.hour != 0 && w.hour < now; w.hour++ {
		until := time.Unix((w.hour+1)*3600, 0).UTC().Format("2006-01-02 15:04")
		say := func(off anomaly.Off, got float64, what string) {
			if off.Change != anomaly.NoChange {
				found = append(found, fmt.Sprintf("%s: %.0f %s in the hour to %s, where %.0f were expected", off.Change, got, what, until, off.Expected))
			}
		}
		say(w.volume.Observe(int(w.hour%168), float64(w.records)), float64(w.records), "records")
		if w.values != nil {
			n := w.values.Count()
			say(w.different.Observe(int(w.hour%168), n), n, "different values of "+t.spec.Distinct)
			w.values = anomaly.NewDistinct()
		}
		if missing, replayed := w.order(); missing > w.missing || replayed > w.replayed {
			found = append(found, fmt.Sprintf("by %s, to %s: %d records missing, and %d that came again", t.spec.Sequence, until, missing-min(missing, w.missing), replayed-min(replayed, w.replayed)))
			w.missing, w.replayed = missing, replayed
		}
		w.records, w.bytes = 0, 0
	}
	return found
}

// order is what is missing in all sequences, and what came again, since the start.
func (w *watcher) order() (missing, replayed uint64) {
	for _, s := range w.sequences {
		again, tooLate := s.Replayed()
		missing, replayed = missing+s.Missing(), replayed+again+tooLate
	}
	return missing, replayed
}

// see takes a batch that was let in. The hours before were ended.
func (w *watcher) see(j *judgement, writer string, bytes int, now int64) {
	w.hour = cmp.Or(w.hour, now)
	w.records, w.bytes = w.records+j.rows, w.bytes+bytes
	if len(j.numbers) == 0 {
		return
	}
	s := w.sequences[writer]
	if s == nil && len(w.sequences) < maxSequences {
		s = &anomaly.Sequence{}
		w.sequences[writer] = s
	}
	if s != nil {
		for _, n := range j.numbers {
			s.Observe(n)
		}
	}
}

// count takes the values of a batch that is about to count. If it comes to nothing and
// comes again, they are the same values.
func (w *watcher) count(j *judgement) {
	if w.values != nil {
		for i := range j.values.len() {
			w.values.Add(j.values.at(i))
		}
	}
}

// save keeps the hour that is under way, with a batch that counts from now on.
func (w *watcher) save(tx *store.Tx, name pavise.Name, hour int64, records, bytes int) error {
	different := 0.0
	if w.values != nil {
		different = w.values.Count()
	}
	_, err := tx.Exec(`INSERT INTO gate_hours (tenant, source, hour, records, bytes, different) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (tenant, source, hour) DO UPDATE SET records = records + ?4, bytes = bytes + ?5, different = max(different, ?6)`,
		name.Tenant, name.ID, hour, records, bytes, different)
	return err
}

// load brings back what a watcher saw, hour by hour. Hours in which no gate was open count
// as those in which nothing came, and are told by nobody.
func (w *watcher) load(tx *store.Tx, tenant, id string, now int64) error {
	rows, err := tx.Query(`SELECT hour, records, bytes, different FROM gate_hours WHERE tenant = ? AND source = ? AND hour > ? ORDER BY hour`, tenant, id, now-weeksRead*168)
	if err != nil {
		return err
	}
	defer rows.Close()
	observe := func(hour int64, records int, different float64) {
		w.volume.Observe(int(hour%168), float64(records))
		if w.values != nil {
			w.different.Observe(int(hour%168), different)
		}
	}
	next := int64(math.MaxInt64)
	for rows.Next() {
		var hour int64
		var records, bytes int
		var different float64
		if err := rows.Scan(&hour, &records, &bytes, &different); err != nil {
			return err
		}
		if hour > now {
			continue // the clock was ahead
		}
		for ; next < hour; next++ {
			observe(next, 0, 0)
		}
		if next = hour + 1; hour == now {
			w.hour, w.records, w.bytes = now, records, bytes
			continue
		}
		observe(hour, records, different)
	}
	for ; next < now; next++ {
		observe(next, 0, 0)
	}
	if next != math.MaxInt64 {
		w.hour = now
	}
	return rows.Err()
}
