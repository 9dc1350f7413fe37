package tier

import (
	"context"
	"fmt"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/store"
)

// Hold has a caller stand at a model as an operator says, until the word ends, is lifted,
// or a stricter one is given: it counts more than what a detector sees meanwhile. Green is
// trust: the detector goes on looking, and what it sees counts once the word ends. The error is of kind Invalid; Conflict
// where a word holds that is stricter or holds longer, for whoever may hold somebody may
// not let them go by it; or Unavailable where there are too many words of the tenant.
func (b *Book) Hold(ctx context.Context, w Word) (Standing, error) {
	return b.hold(ctx, w, false)
}

// Obey is Hold for what somebody else decided who knew what held: another word gives way.
func (b *Book) Obey(ctx context.Context, w Word) (Standing, error) {
	return b.hold(ctx, w, true)
}

func (b *Book) hold(ctx context.Context, w Word, decided bool) (Standing, error) {
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
	if err := b.laxer(was, next.word); err != nil && !decided {
		return Standing{}, err
	}
	if (was == nil || was.word == nil) && b.words(w.Model.Tenant) >= b.mostWords() {
		return Standing{}, &pavise.Error{
			Kind: pavise.Unavailable, Msg: fmt.Sprintf("%d callers of %s are held to somebody's word, and there is room for no more", b.mostWords(), w.Model.Tenant),
			Hint: "lift some of them: what detectors see needs the rest of the room",
		}
	}
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
	if err := update(ctx, func(tx *store.Tx) error { return b.keep(tx, next) }); err != nil {
		return Standing{}, err
	}
	b.put(next)
	s, _ := b.standing(next)
	return s, nil
}

// mostWords is how many words of one tenant there may be: a sixteenth of a large book. The
// rest is for what detectors see, which gives way to words.
func (b *Book) mostWords() int { return max(b.most/16, min(b.most, 64)) }

// words is how many callers of a tenant are held to somebody's word. b.mu is held.
func (b *Book) words(tenant string) (n int) {
	for i := range b.shards {
		m := b.shards[i].Load()
		if m == nil {
			continue
		}
		for k, e := range *m {
			if e.word != nil && k.model.Tenant == tenant {
				n++
			}
		}
	}
	return n
}

// laxer refuses, with kind Conflict, a word that would let a caller go whom another one
// still holds. One that is stricter lasts at least as long.
func (b *Book) laxer(e *entry, next *word) error {
	if e == nil {
		return nil
	}
	was, _ := e.holds(&b.clock)
	if was == nil || was.tier == Green || next.tier > was.tier {
		if was != nil && was.tier != Green && next.ends != 0 && (was.ends == 0 || was.ends > next.ends) {
			next.ends = was.ends // a stricter word for a shorter time lets nobody go early
		}
		return nil
	}
	if next.tier == was.tier && (next.ends == 0 || was.ends != 0 && next.ends >= was.ends) {
		return nil
	}
	return &pavise.Error{
		Kind: pavise.Conflict, Msg: fmt.Sprintf("%s is held to %s at %s by %s already, and not for less", e.who, was.tier, e.model, was.by),
		Hint: "hold to at least as much for at least as long; who may lift it lifts it first",
	}
}

// Unsay takes back what somebody said of a caller at a model, and leaves what the detector
// knows: that counts again. The error is that of the store; where nobody said anything
// there is none.
func (b *Book) Unsay(ctx context.Context, model, who pavise.Name) error {
	b.saving.Lock()
	defer b.saving.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.find(key{model, who})
	if e == nil || e.word == nil {
		return nil
	}
	next := &entry{key: e.key, seen: e.seen}
	if err := b.db.Update(ctx, func(tx *store.Tx) error { return b.keep(tx, next) }); err != nil {
		return err
	}
	b.put(next)
	return nil
}

// Lift lets a caller be green again at a model, whoever said otherwise: what the detector
// knows of the caller there is forgotten, and it looks anew. It returns how the caller
// stood. Of the word, the model, the caller, the operator and the reason count. The error is of kind NotFound when
// nothing is to be lifted.
func (b *Book) Lift(ctx context.Context, w Word) (was Standing, err error) {
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
		for _, links := range []bool{false, true} {
			if err := dropMemory(tx, remembered{w.Model, w.Who.String(), links}); err != nil {
				return err
			}
		}
		return b.keep(tx, gone)
	})
	if err != nil {
		return was, err
	}
	b.put(gone)
	b.forget(gone.key)
	return was, nil
}
