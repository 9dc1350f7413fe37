package tier

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/store"
	"github.com/pavise/pavise/internal/sybil"
)

// savedAtOnce is of how many clients one Save keeps the studies, some 16 MiB, and what links
// as many to others.
const savedAtOnce = 1024

// linksFormat begins what the tag of a caller's links is made of.
const linksFormat = "pavise.links/1\n"

// readStudies takes up what the store has of a model's clients, and drops from it what was
// kept by another calibration, or by a version that wrote it otherwise: those two nobody
// changed, and refused counts neither. b.saving and b.watch are held.
func (b *Book) readStudies(ctx context.Context, model pavise.Name, w *watched) (refused int, err error) {
	b.dropOthers(ctx, "tier_studies", model, w)
	err = b.readMemory(ctx, `SELECT who, study FROM tier_studies WHERE model = ? AND calibration = ?`, model, w, func(who string, study []byte) {
		switch err := w.eyes.Restore(who, study); {
		case err == nil:
		case pavise.KindOf(err) == pavise.Invalid:
			b.lose(remembered{model, who, false})
		default:
			refused++
		}
	})
	return refused, err
}

// readLinks takes up what the store has of what links a model's callers, and drops from it
// what was kept by another calibration: rows that nearly repeat each other are so by one. b.saving and
// b.watch are held.
func (b *Book) readLinks(ctx context.Context, model pavise.Name, w *watched) (refused int, err error) {
	b.dropOthers(ctx, "tier_links", model, w)
	var list []sybil.Kept
	err = b.readMemory(ctx, `SELECT who, links FROM tier_links WHERE model = ? AND calibration = ?`, model, w, func(client string, links []byte) {
		who, err := pavise.ParseName(client)
		body := len(links) - sha256.Size
		if err != nil || body < 0 || !hmac.Equal(b.tagLinks(nil, links[:body], model, w, who), links[body:]) {
			refused++
			return
		}
		list = append(list, sybil.Kept{Who: who, What: links[:body]})
	})
	if err != nil {
		return 0, err
	}
	refused += w.crowd.Crowd.Restore(time.Duration(b.clock.ran()), list)
	for _, one := range list {
		if _, ok := w.crowd.Crowd.Keep(one.Who); !ok { // there was no room, or it cannot be read
			b.lose(remembered{model, one.Who.String(), true})
		}
	}
	return refused, nil
}

// tagLinks appends the tag of what links a caller of a model to others.
func (b *Book) tagLinks(dst, links []byte, model pavise.Name, w *watched, who pavise.Name) []byte {
	mac := hmac.New(sha256.New, b.secret[:])
	fmt.Fprintf(mac, "%s%x\n%s\n%s\n", linksFormat, w.Digest, model, who)
	mac.Write(links)
	return mac.Sum(dst)
}

// dropOthers drops what was kept by another calibration. A store that takes nothing keeps it
// until it does: it is not read.
func (b *Book) dropOthers(ctx context.Context, table string, model pavise.Name, w *watched) {
	_ = b.db.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(`DELETE FROM `+table+` WHERE model = ? AND calibration <> ?`, model.String(), fmt.Sprintf("%x", w.Digest))
		return err
	})
}

// readMemory calls each with what was kept of a model's clients by its calibration.
func (b *Book) readMemory(ctx context.Context, query string, model pavise.Name, w *watched, each func(who string, what []byte)) error {
	return b.db.View(ctx, func(tx *store.Tx) error {
		rows, err := tx.Query(query, model.String(), fmt.Sprintf("%x", w.Digest))
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var who string
			var what []byte
			if err := rows.Scan(&who, &what); err != nil {
				return err
			}
			each(who, what)
		}
		return rows.Err()
	})
}

// A memory is what is remembered, on its way to the store.
type memory struct {
	remembered
	calibration string
	what        []byte
}

// Save keeps what is new since it was last called, or of the detectors what some thousand
// clients did of it; more says that others wait. A process that is killed has lost what
// was not kept.
func (b *Book) Save(ctx context.Context) (more bool, err error) {
	b.saving.Lock()
	defer b.saving.Unlock()
	memories, lost, more := b.memories()
	entries := b.changed()
	err = b.db.Update(ctx, func(tx *store.Tx) error {
		for _, e := range entries {
			if err := b.keepEntry(tx, e); err != nil {
				return err
			}
		}
		for _, k := range lost {
			if err := dropMemory(tx, k); err != nil {
				return err
			}
		}
		for i := range memories {
			if err := memories[i].keep(tx); err != nil {
				return err
			}
		}
		return b.keepClock(tx)
	})
	if err != nil {
		b.again(memories, lost, entries)
	}
	return more, err
}

// Close keeps all that is new.
func (b *Book) Close(ctx context.Context) error {
	for {
		if more, err := b.Save(ctx); err != nil || !more {
			return err
		}
	}
}

// keep stores what is remembered.
func (m *memory) keep(tx *store.Tx) error {
	query := `INSERT INTO tier_studies VALUES (?, ?, ?, ?) ON CONFLICT (model, who) DO UPDATE SET calibration = excluded.calibration, study = excluded.study`
	if m.links {
		query = `INSERT INTO tier_links VALUES (?, ?, ?, ?) ON CONFLICT (model, who) DO UPDATE SET calibration = excluded.calibration, links = excluded.links`
	}
	_, err := tx.Exec(query, m.model.String(), m.client, m.calibration, m.what)
	return err
}

// dropMemory takes out of the store what was remembered.
func dropMemory(tx *store.Tx, r remembered) error {
	query := `DELETE FROM tier_studies WHERE model = ? AND who = ?`
	if r.links {
		query = `DELETE FROM tier_links WHERE model = ? AND who = ?`
	}
	_, err := tx.Exec(query, r.model.String(), r.client)
	return err
}

// memories takes what is to be kept, and what is to be dropped. What was lost and is known
// again is dropped first.
func (b *Book) memories() (list []memory, lost []remembered, more bool) {
	b.watch.Lock()
	defer b.watch.Unlock()
	for k := range b.lost {
		lost = append(lost, k)
	}
	clear(b.lost)
	studies, links := savedAtOnce, savedAtOnce // for which there is room yet
	for model, w := range b.models {
		digest := fmt.Sprintf("%x", w.Digest)
		for client := range w.dirty {
			if studies--; studies < 0 {
				more = true
				break
			}
			delete(w.dirty, client)
			if study, ok := w.eyes.AppendStudy(nil, client); ok {
				list = append(list, memory{remembered{model, client, false}, digest, study})
			}
		}
		linked, others := w.crowd.Crowd.Unkept(links)
		links, more = links-len(linked), more || others
		for _, who := range linked {
			if kept, ok := w.crowd.Crowd.Keep(who); ok {
				list = append(list, memory{remembered{model, who.String(), true}, digest, b.tagLinks(kept, kept, model, w, who)})
			}
		}
	}
	return list, lost, more
}

// changed takes the entries that the store has otherwise.
func (b *Book) changed() (list []*entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sweep()
	for k := range b.unsaved {
		e := b.find(k)
		if e == nil {
			e = &entry{key: k}
		}
		list = append(list, e)
	}
	clear(b.unsaved)
	return list
}

// again has what could not be kept be kept the next time.
func (b *Book) again(memories []memory, lost []remembered, entries []*entry) {
	b.watch.Lock()
	for i := range memories {
		m := &memories[i]
		switch w := b.models[m.model]; {
		case w == nil:
		case !m.links:
			w.dirty[m.client] = true
		default:
			if who, err := pavise.ParseName(m.client); err == nil {
				w.crowd.Crowd.Unkeep(who)
			}
		}
	}
	for _, k := range lost {
		b.lost[k] = true
	}
	b.watch.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range entries {
		b.unsaved[e.key] = true
	}
}
