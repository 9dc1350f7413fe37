package monitor

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/drift"
	"github.com/pavise/pavise/internal/store"
)

// steps make the room's tables. monitor_baselines is how baselines were kept before books were
// signed, in force at place 0 and the first one at place 1: see adopt.
var steps = []string{
	`CREATE TABLE monitor_models (
		tenant TEXT NOT NULL, id TEXT NOT NULL, doc TEXT NOT NULL, counts BLOB NOT NULL,
		PRIMARY KEY (tenant, id)
	) STRICT, WITHOUT ROWID;
	CREATE TABLE monitor_baselines (
		tenant TEXT NOT NULL, id TEXT NOT NULL, place INTEGER NOT NULL, sealed BLOB NOT NULL,
		PRIMARY KEY (tenant, id, place)
	) STRICT, WITHOUT ROWID`,
	`CREATE TABLE monitor_books (
		tenant TEXT NOT NULL, id TEXT NOT NULL, envelope TEXT NOT NULL,
		PRIMARY KEY (tenant, id)
	) STRICT, WITHOUT ROWID;
	CREATE TABLE monitor_texts (
		tenant TEXT NOT NULL, id TEXT NOT NULL, digest TEXT NOT NULL, sealed BLOB NOT NULL,
		PRIMARY KEY (tenant, id, digest)
	) STRICT, WITHOUT ROWID`,
}

// A stored is what the store has of a model.
type stored struct {
	kept
	Basis string           `json:"basis"` // digest of the features and baselines that counts and votes are of
	Ended int              `json:"ended"` // windows
	Last  time.Time        `json:"last"`
	Votes [2][]drift.Votes `json:"votes"`
	Past  []Window         `json:"past"`

	counts []byte
}

// loadModels reads what is kept of models beside their baselines.
func (m *Monitor) loadModels(tx *store.Tx) error {
	rows, err := tx.Query(`SELECT tenant, id, doc, counts FROM monitor_models`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		model, doc := pavise.Name{Kind: "model"}, ""
		s := &stored{}
		if err := rows.Scan(&model.Tenant, &model.ID, &doc, &s.counts); err != nil {
			return err
		}
		if err := json.Unmarshal([]byte(doc), s); err != nil {
			return fmt.Errorf("read the drift of %s: %w", model, err)
		}
		w := m.loaded(model)
		w.kept, w.past, w.last, w.ended, w.store = s.kept, s.Past, s.Last, s.Ended, s
	}
	return rows.Err()
}

// loaded returns a model of which something is kept.
func (m *Monitor) loaded(model pavise.Name) *watched {
	w := m.models[model]
	if w == nil {
		w = &watched{model: model, began: m.cfg.Now(), last: m.cfg.Now(), kept: kept{Verdict: Verdict{Stage: Stable, Words: "nothing has come since the start"}}}
		m.models[model] = w
	}
	return w
}

// fit takes what was kept of a model for a layout: counts and votes where they are of the same
// features, and baselines that name some of them.
func (w *watched) fit(l *layout) error {
	was, keep, ended := w.store, w.kept, w.ended
	w.layout, w.store, w.batch = l, nil, newBatch(l)
	for _, b := range w.bases {
		if b == nil {
			continue
		}
		held, err := rulers(l, b.Baseline)
		if err != nil {
			return err
		}
		b.held = held
	}
	w.empty()
	if was == nil || was.Basis != w.basis() {
		return nil
	}
	if err := w.decode(was.counts); err != nil {
		w.empty() // windows that are lost are begun anew
	}
	w.kept, w.ended = keep, ended
	for i, b := range w.bases {
		if b != nil && len(was.Votes[i]) == len(b.votes) {
			copy(b.votes, was.Votes[i])
		}
	}
	return nil
}

// basis tells features and baselines from others.
func (w *watched) basis() string {
	h := sha256.New()
	for _, t := range w.layout.titles {
		fmt.Fprintf(h, "%q %q %v\n", t.side, t.name, t.text)
	}
	for _, b := range w.bases {
		if b != nil {
			fmt.Fprintln(h, b.Digest)
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// encode spells the counts of all windows: of each the rows, and the features'.
func (w *watched) encode() (b []byte) {
	for s := range w.windows {
		b = binary.AppendUvarint(b, uint64(w.windows[s].all()))
		for i := range w.layout.titles {
			b = w.windows[s].Append(b, i)
			if origin := w.bases[first]; origin != nil {
				b = origin.walk[s].Append(b, i)
			}
		}
	}
	return b
}

var errCounts = errors.New("the counts are cut, or of other features")

// decode reads the counts again, as of nobody knows which callers.
func (w *watched) decode(b []byte) error {
	for s := range w.windows {
		rows, n := binary.Uvarint(b)
		if n <= 0 || rows > 1<<48 {
			return errCounts
		}
		b, w.windows[s].rows[rest] = b[n:], int(rows)
		for i := range w.layout.titles {
			ok := false
			if b, ok = w.windows[s].Read(b, i, rest); ok && w.bases[first] != nil {
				b, ok = w.bases[first].walk[s].Read(b, i, 0)
			}
			if !ok {
				return errCounts
			}
		}
	}
	if len(b) > 0 {
		return errCounts
	}
	return nil
}

// save keeps what is known of a model.
func (m *Monitor) save(ctx context.Context, model pavise.Name) error {
	m.writing.Lock() // what it keeps is not older than the book that another keeps meanwhile
	defer m.writing.Unlock()
	m.mu.Lock()
	w := m.models[model]
	if w == nil || w.layout == nil {
		m.mu.Unlock()
		return nil
	}
	doc, counts, err := w.document()
	m.mu.Unlock()
	if err != nil {
		return err
	}
	return m.cfg.Store.Update(ctx, func(tx *store.Tx) error { return keepModel(tx, model, doc, counts) })
}

// document is what is kept of a model beside its baselines; of one of which nothing has come
// since the start, what was kept before. m.mu is held.
func (w *watched) document() (doc, counts []byte, err error) {
	s := stored{Last: w.last.UTC()}
	switch {
	case w.layout != nil:
		s = stored{Basis: w.basis(), Ended: w.ended, Last: w.last.UTC(), Past: w.past, counts: w.encode()}
		for i, b := range w.bases {
			if b != nil {
				s.Votes[i] = b.votes
			}
		}
	case w.store != nil:
		s = *w.store
	}
	s.kept = w.kept
	doc, err = json.Marshal(s)
	return doc, s.counts, err
}

func keepModel(tx *store.Tx, model pavise.Name, doc, counts []byte) error {
	if counts == nil {
		counts = []byte{}
	}
	_, err := tx.Exec(`INSERT INTO monitor_models (tenant, id, doc, counts) VALUES (?, ?, ?, ?)
		ON CONFLICT (tenant, id) DO UPDATE SET doc = excluded.doc, counts = excluded.counts`, model.Tenant, model.ID, string(doc), counts)
	return err
}

// saveAll keeps what is known of all models.
func (m *Monitor) saveAll(ctx context.Context) error {
	m.mu.Lock()
	var models []pavise.Name
	for name := range m.models {
		models = append(models, name)
	}
	m.mu.Unlock()
	var errs []error
	for _, name := range models {
		errs = append(errs, m.save(ctx, name))
	}
	return errors.Join(errs...)
}
