package monitor

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/drift"
	"github.com/pavise/pavise/internal/drift/book"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/store"
)

// A Log is what this room reads of the evidence log: which books are in force. First is the index
// of the first record that was not pruned.
type Log interface {
	Select(ctx context.Context, f ledger.Filter, from, to uint64) iter.Seq2[ledger.Found, error]
	First() uint64
	Size() uint64
}

// A head is the detail of a note of the book in force.
type head struct {
	book.Head
	at time.Time
}

// heads are what the log says is in force, by model.
func heads(ctx context.Context, log Log) (map[pavise.Name]head, error) {
	all := map[pavise.Name]head{}
	for found, err := range log.Select(ctx, ledger.Filter{Kinds: []string{KindHeld}, Phase: "note"}, log.First(), log.Size()) {
		if err != nil {
			return nil, fmt.Errorf("read from the log which baselines are in force: %w", err)
		}
		h := head{at: found.At}
		if err := json.Unmarshal(found.Detail, &h); err != nil {
			return nil, fmt.Errorf("read record %d, which says what %s is held to: %w", found.Index, found.On, err)
		}
		if h.Serial >= all[found.On].Serial {
			all[found.On] = h
		}
	}
	return all, nil
}

// aad is what the text of a baseline is sealed with.
func aad(model pavise.Name, digest string) []byte {
	return fmt.Appendf(nil, "pavise drift baseline\n%s\n%s", model, digest)
}

// draft is the book that comes next, as the present one is but for its number. The original stays,
// also where the book that was kept is lost, as long as its text is there. m.mu is held.
func (m *Monitor) draft(w *watched) *book.Book {
	h := m.heads[w.model]
	b := book.New(w.model, h.Head, m.cfg.Now())
	if was := w.book; was != nil {
		b.Original, b.First, b.Pages = was.Original, was.First, was.Pages
	} else if w.texts[h.Original] != nil {
		b.Original, b.First = h.Original, h.Original
	}
	return b
}

// put keeps a book, in one transaction with mark, and says in the log that it is in force. Texts
// are those of the baselines that it names. m.writing is held.
func (m *Monitor) put(ctx context.Context, w *watched, b *book.Book, texts map[string]*drift.Baseline, mark func(*store.Tx) error) error {
	envelope, digest, err := b.Sign(m.cfg.Sign)
	if err != nil {
		return err
	}
	m.mu.Lock()
	order := w.Wait.In(m.cfg.Key(w.model.Tenant).MAC, w.model, digest)
	m.mu.Unlock()
	names, err := json.Marshal(b.Digests())
	if err != nil {
		return fmt.Errorf("name what %s is held to: %w", w.model, err)
	}
	err = m.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		for _, name := range b.Digests() {
			sealed := m.cfg.Key(w.model.Tenant).Seal(aad(w.model, name), texts[name].Text())
			if _, err := tx.Exec(`INSERT INTO monitor_texts (tenant, id, digest, sealed) VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET sealed = excluded.sealed`,
				w.model.Tenant, w.model.ID, name, sealed); err != nil {
				return err
			}
		}
		for _, q := range []string{
			`DELETE FROM monitor_texts WHERE tenant = ? AND id = ? AND digest NOT IN (SELECT value FROM json_each(?3))`,
			`INSERT INTO monitor_books (tenant, id, envelope) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET envelope = excluded.envelope`,
		} {
			last := string(names)
			if q[0] == 'I' {
				last = string(envelope)
			}
			if _, err := tx.Exec(q, w.model.Tenant, w.model.ID, last); err != nil {
				return err
			}
		}
		if order != nil {
			if _, err := tx.Exec(`UPDATE monitor_models SET doc = json_set(doc, '$.wait.proof', ?) WHERE tenant = ? AND id = ? AND json_type(doc, '$.wait') = 'object'`,
				base64.StdEncoding.EncodeToString(order.Proof), w.model.Tenant, w.model.ID); err != nil {
				return err
			}
		}
		return mark(tx)
	})
	if err != nil {
		return err
	}
	h := head{book.HeadOf(b, digest), b.At}
	m.mu.Lock()
	w.book, w.texts, w.Wait, m.heads[w.model] = b, texts, order, h
	for _, live := range []*watched{m.models[w.model], m.away[w.model]} {
		if live != nil { // its model takes something else meanwhile, or is away: another book would be written over this one
			live.book, live.texts = b, texts
		}
	}
	m.mu.Unlock()
	m.held(ctx, w.model, h)
	return nil
}

// refuse forgets orders that nobody approved, and calls somebody.
func (m *Monitor) refuse(ctx context.Context) {
	for _, model := range slices.SortedFunc(maps.Keys(m.models), compareNames) {
		w := m.models[model]
		if w.Wait.Proven(m.cfg.Key(model.Tenant).MAC, model, m.heads[model].Book) {
			continue
		}
		w.Wait = nil
		m.note(ctx, KindSwapped, pavise.Critical, model, w.Verdict, fmt.Sprintf("%s learns no baseline: what the store has it learn is not what others approved", model))
	}
}

// held says in the log which book is in force. One that cannot be noted is noted at the next start.
func (m *Monitor) held(ctx context.Context, model pavise.Name, h head) {
	if err := m.cfg.Guard.Note(ctx, KindHeld, nil, model, h); err != nil {
		m.cfg.Say("warning", fmt.Errorf("the log does not hear what %s is held to: %w", model, err))
	}
}

// notedAgain is after how long the log is told again which book is in force, so that it knows
// though its older records are pruned.
const notedAgain = 7 * 24 * time.Hour

// pages has a version that answers, and has no page of its own, be held to what the one before
// was, and tells the log again what is in force.
func (m *Monitor) pages(ctx context.Context, w *watched) error {
	m.writing.Lock()
	defer m.writing.Unlock()
	m.mu.Lock()
	h, b := m.heads[w.model], w.bases[now]
	inherits := w.book != nil && b != nil && w.Version != "" && w.book.Held(w.Version) == nil
	if !inherits {
		again := w.book != nil && m.cfg.Now().Sub(h.at) > notedAgain
		if again {
			h.at = m.cfg.Now()
			m.heads[w.model] = h
		}
		m.mu.Unlock()
		if again {
			m.held(ctx, w.model, h)
		}
		return nil
	}
	next, texts := m.draft(w), w.texts
	next.Put(book.Page{Version: w.Version, Baseline: b.Digest, At: next.At, Inherited: true}, w.Version)
	m.mu.Unlock()
	return m.put(ctx, w, next, next.Texts(texts), func(*store.Tx) error { return nil })
}

// load reads what is kept. A model is counted once something comes of it, for only then is it
// known what it takes and gives.
func (m *Monitor) load(ctx context.Context) (err error) {
	if m.heads, err = heads(ctx, m.cfg.Log); err != nil {
		return err
	}
	swapped := map[pavise.Name]error{}
	var unheard, old []pavise.Name
	err = m.cfg.Store.View(ctx, func(tx *store.Tx) error {
		if err := m.loadModels(tx); err != nil {
			return err
		}
		if err := m.loadTexts(tx); err != nil {
			return err
		}
		if unheard, err = m.loadBooks(tx, swapped); err != nil {
			return err
		}
		old, err = m.loadOld(tx, swapped)
		return err
	})
	if err != nil {
		return err
	}
	for model := range m.heads {
		if w := m.loaded(model); w.book == nil && swapped[model] == nil {
			swapped[model] = errors.New("it is gone")
		}
	}
	for _, model := range slices.SortedFunc(maps.Keys(swapped), compareNames) {
		m.distrust(ctx, model, swapped[model])
	}
	for _, model := range unheard {
		m.held(ctx, model, m.heads[model])
	}
	m.refuse(ctx)
	return m.adopt(ctx, old)
}

// Broken says that what is kept of a model's baselines cannot be trusted, and nothing is held to
// it.
const Broken Stage = "broken"

// distrust holds a model to nothing of which what was kept is not what was signed, and calls
// somebody.
func (m *Monitor) distrust(ctx context.Context, model pavise.Name, why error) {
	w := m.loaded(model)
	w.bases, w.book = [2]*based{}, nil
	m.broken[model] = "what is kept of its baselines is not what was signed"
	w.Verdict = Verdict{Stage: Broken, Words: m.broken[model] + ": put one anew, with pavise drift baseline"}
	m.note(ctx, KindSwapped, pavise.Critical, model, w.Verdict, fmt.Sprintf("%s is held to nothing: %s (%v)", model, m.broken[model], why))
}

// loadTexts reads those baselines that are what their digests say. What lacks is found where a
// book names it.
func (m *Monitor) loadTexts(tx *store.Tx) error {
	rows, err := tx.Query(`SELECT tenant, id, digest, sealed FROM monitor_texts`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		model, digest, sealed := pavise.Name{Kind: "model"}, "", []byte(nil)
		if err := rows.Scan(&model.Tenant, &model.ID, &digest, &sealed); err != nil {
			return err
		}
		text, err := m.cfg.Key(model.Tenant).Open(aad(model, digest), sealed)
		if err != nil {
			continue
		}
		if b, err := book.Baseline(text, digest); err == nil {
			w := m.loaded(model)
			if w.texts == nil {
				w.texts = map[string]*drift.Baseline{}
			}
			w.texts[digest] = b
		}
	}
	return rows.Err()
}

// loadBooks reads the books, and says which are not what is in force, and why, and of which the
// log has not heard, or not for long.
func (m *Monitor) loadBooks(tx *store.Tx, swapped map[pavise.Name]error) (unheard []pavise.Name, err error) {
	rows, err := tx.Query(`SELECT tenant, id, envelope FROM monitor_books ORDER BY tenant, id`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	public := m.cfg.Sign.Public().(ed25519.PublicKey)
	for rows.Next() {
		model, envelope := pavise.Name{Kind: "model"}, ""
		if err := rows.Scan(&model.Tenant, &model.ID, &envelope); err != nil {
			return nil, err
		}
		w := m.loaded(model)
		b, digest, err := book.Read(public, model, []byte(envelope))
		if err == nil {
			err = m.heads[model].Refuses(b, digest)
		}
		for _, name := range b.Digests() {
			if err == nil && w.texts[name] == nil {
				err = fmt.Errorf("the baseline %s is gone, or is another", name)
			}
		}
		if err != nil {
			swapped[model] = err
			continue
		}
		w.open(b)
		if h := m.heads[model]; b.Serial > h.Serial || m.cfg.Now().Sub(h.at) > notedAgain {
			m.heads[model] = head{book.HeadOf(b, digest), m.cfg.Now()}
			unheard = append(unheard, model)
		}
	}
	return unheard, rows.Err()
}

// open has the model be held to what its book says, once it is known what it takes.
func (w *watched) open(b *book.Book) {
	w.book = b
	p := b.Held(w.Version)
	if p == nil {
		p = &b.Pages[len(b.Pages)-1]
	}
	w.bases = [2]*based{{Baseline: w.texts[p.Baseline], Digest: p.Baseline}, nil}
	if b.First != p.Baseline {
		w.bases[first] = &based{Baseline: w.texts[b.First], Digest: b.First}
	}
}

// loadOld reads baselines as they were kept before they were signed, of models of which neither
// the store nor the log has a book.
func (m *Monitor) loadOld(tx *store.Tx, swapped map[pavise.Name]error) (old []pavise.Name, err error) {
	rows, err := tx.Query(`SELECT tenant, id, place, sealed FROM monitor_baselines ORDER BY tenant, id, place`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		model, place, sealed := pavise.Name{Kind: "model"}, 0, []byte(nil)
		if err := rows.Scan(&model.Tenant, &model.ID, &place, &sealed); err != nil {
			return nil, err
		}
		w := m.loaded(model)
		if _, known := m.heads[model]; known || w.book != nil || swapped[model] != nil {
			continue
		}
		text, err := m.cfg.Key(model.Tenant).Open(fmt.Appendf(nil, "pavise drift baseline\n%s\n%d", model, place), sealed)
		if err == nil {
			var b *drift.Baseline
			if b, err = drift.ParseBaseline(text); err == nil {
				w.bases[place&1] = &based{Baseline: b, Digest: b.Digest()}
			}
		}
		if err != nil {
			swapped[model] = err
		} else if place == now {
			old = append(old, model)
		}
	}
	return old, rows.Err()
}

// adopt signs baselines that were kept before they were signed.
func (m *Monitor) adopt(ctx context.Context, old []pavise.Name) error {
	m.writing.Lock()
	defer m.writing.Unlock()
	for _, model := range old {
		w := m.loaded(model)
		b, origin := w.bases[now], w.bases[first]
		if b == nil { // the other one was not what was sealed
			continue
		}
		if origin == nil {
			origin = b
		}
		next := m.draft(w)
		next.Original, next.First = origin.Digest, origin.Digest
		next.Put(book.Page{Version: w.Version, Baseline: b.Digest, At: next.At}, w.Version)
		err := m.put(ctx, w, next, map[string]*drift.Baseline{b.Digest: b.Baseline, origin.Digest: origin.Baseline}, func(tx *store.Tx) error {
			_, err := tx.Exec(`DELETE FROM monitor_baselines WHERE tenant = ? AND id = ?`, model.Tenant, model.ID)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
