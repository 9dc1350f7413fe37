package tier

import (
	"context"
	"fmt"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/store"
)

// Hold has a caller stand at a model as an operator says, until the word ends, is lifted,
// or another one is given: it counts more than what a detector sees meanwhile. Green is
// trust: the detector goes on looking, and what it sees counts once the word ends. also,
// which may be nil, is part of the same transaction. The error is of kind Invalid, or
// Unavailable when the book is full of words.
func (b *Book) Hold(ctx context.Context, w Word, also func(*store.Tx) error) (Standing, error) {
	now := b.now()
	if err := w.Validate(now); err != nil {
		return Standing{}, err
	}
	b.saving.Lock()
	defer b.saving.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	next := &entry{key: key{w.Model, w.Who}, word: &word{tier: w.Tier, since: now.UTC(), by: w.By, reason: w.Reason}}
	if !w.Until.IsZero() {
		next.word.ends = b.clock.passed(b.clock.ran()) + instant(w.Until.Sub(now))
	}
	was := b.find(next.key)
	if was != nil {
		next.seen = was.seen
	} else if !b.room() {
		return Standing{}, &pavise.Error{
			Kind: pavise.Unavailable, Msg: fmt.Sprintf("%d callers are held to an operator's word, and there is room for no more", b.most),
			Hint: "lift some of them",
		}
	}
	update := b.db.UpdateSafe
	if w.Tier == Green {
		update = b.db.Update
	}
	if err := update(ctx, func(tx *store.Tx) error { return b.keep(tx, next, also) }); err != nil {
		return Standing{}, err
	}
	b.put(next)
	s, _ := b.standing(next)
	return s, nil
}

// Lift lets a caller be green again at a model, whoever said otherwise: what the detector
// knows of the caller there is forgotten, and it looks anew. It returns how the caller
// stood. Of the word, the model, the caller, the operator and the reason count. also,
// which may be nil, is part of the same transaction. The error is of kind NotFound when
// nothing is to be lifted.
func (b *Book) Lift(ctx context.Context, w Word, also func(*store.Tx) error) (was Standing, err error) {
	w.Tier, w.Until = Green, b.now().Add(time.Hour)
	if err := w.Validate(b.now()); err != nil {
		return was, err
	}
	b.saving.Lock()
	defer b.saving.Unlock()
	b.watch.Lock() // so that the detector sees nothing of old between the two
	defer b.watch.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.find(key{w.Model, w.Who})
	if e != nil {
		was, _ = b.standing(e)
	}
	if was.Tier == Green && (e == nil || e.word == nil) {
		return was, &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("%s is green at %s", w.Who, w.Model), Hint: "there is nothing to lift"}
	}
	gone := &entry{key: e.key}
	err = b.db.Update(ctx, func(tx *store.Tx) error {
		if _, err := tx.Exec(`DELETE FROM tier_studies WHERE model = ? AND who = ?`, w.Model.String(), w.Who.String()); err != nil {
			return err
		}
		return b.keep(tx, gone, also)
	})
	if err != nil {
		return was, err
	}
	b.put(gone)
	b.forget(gone.key)
	return was, nil
}
