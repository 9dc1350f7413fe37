package tier

import (
	"context"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/detect"
	"github.com/pavise/pavise/internal/sybil"
	"github.com/pavise/pavise/internal/theft"
)

const (
	// MaxWatched bounds the models with a calibration. What each takes beside its calibration,
	// once it is asked, is some megabytes.
	MaxWatched = 512
	// MaxCalibrations bounds the bytes of the files of all calibrations together, of which those
	// that are the same count once. In memory they take no more.
	MaxCalibrations = 256 << 20
	// leastClients are remembered of each model, however many models there are.
	leastClients = 32
	// maxClients are remembered by the detectors of all models together, of some 15 KiB
	// each, and each model's remember as many as the others', and leastClients at least.
	maxClients = 8192
	// maxLost bounds the studies that are to be dropped while the store takes nothing. What
	// is beyond stays in it until its client is kept again, or the calibration is another.
	maxLost = 1 << 16
	// maxTold bounds the pools of which it is remembered that something was said.
	maxTold = 1 << 12
)

// watching is what a book knows of the models whose callers are looked at.
type watching struct {
	watch  sync.Mutex               // held by whoever looks, changes what is looked at, or keeps it
	models map[pavise.Name]*watched // guarded by watch
	lost   map[remembered]bool      // what is kept and is to be dropped; guarded by watch
	secret [32]byte                 // by which studies are told from what somebody made up; never changes
}

// A remembered is what is remembered of one client of a model, or of a pool of them: a study,
// or what links it to others.
type remembered struct {
	model  pavise.Name
	client string
	links  bool
}

// A watched model is one that has a calibration. Book.watch guards it.
type watched struct {
	Watch
	eyes  *theft.Extraction
	crowd *sybil.Watch       // through which eyes sees
	told  map[string]instant // pools that something was said of, and when
	dirty map[string]bool    // clients and pools that were asked by since they were last kept
	odd   uint64             // requests whose numbers do not lie as Lay says, since Odd was called
}

// A Watch says by what the callers of a model are looked at.
type Watch struct {
	Digest      [32]byte // SHA-256 of the calibration's file
	Size        int      // bytes of it
	Calibration *theft.Calibration
	Lay         Lay
}

// A Lay says how one row of a model lies in what detectors are told of it.
type Lay struct {
	Inputs int // numbers of a row of inputs
	Said   int // numbers of a row of the answer, all outputs together
	First  int // of those, where the scores begin; the class, where there are none
	Scores int // how many there are; 0: the answer is a class alone
}

// Calibrate has the callers of a model looked at by a calibration, or by none any more if
// w is nil. What the same one remembered, here or in the store, stays; refused is how many
// clients' kept studies somebody changed, with whom the detector begins anew. How callers
// stand stays in any case. The error is of kind Invalid when the calibration is not for
// such rows, or there is no room for one more, and nothing changes then.
//
// It waits for the store, so it is not called within one of its transactions.
func (b *Book) Calibrate(ctx context.Context, model pavise.Name, w *Watch) (refused int, err error) {
	b.saving.Lock()
	defer b.saving.Unlock()
	b.watch.Lock()
	defer b.watch.Unlock()
	if w == nil {
		if b.models[model] != nil {
			delete(b.models, model)
			b.share()
		}
		return 0, nil
	}
	if err := w.Calibration.Takes(nil, w.Lay.Inputs, w.Lay.Scores); err != nil {
		return 0, err
	}
	was := b.models[model]
	if was != nil && was.Digest == w.Digest {
		was.Lay = w.Lay
		return 0, nil
	}
	if err := b.admit(model, w); err != nil {
		return 0, err
	}
	next := &watched{Watch: *w, eyes: theft.NewExtraction(w.Calibration), dirty: map[string]bool{}}
	next.eyes.Again = true
	next.crowd, next.told = sybil.NewWatch(next.eyes, w.Calibration, maxClients), map[string]instant{}
	next.eyes.Bind(b.secret, w.Digest)
	next.eyes.Lost = func(client string) {
		delete(next.dirty, client)
		b.lose(remembered{model, client, false})
	}
	next.crowd.Crowd.Lost = func(who pavise.Name) { b.lose(remembered{model, who.String(), true}) }
	next.crowd.Pooled = func(pool string) { next.dirty[pool] = true }
	if refused, err = b.readStudies(ctx, model, next); err != nil {
		return 0, err
	}
	links, err := b.readLinks(ctx, model, next)
	if err != nil {
		return 0, err
	}
	refused += links
	b.models[model] = next
	b.share()
	return refused, nil
}

// admit sees that there is room for the calibration of a model, and has models with the same
// one share it in memory. b.watch is held.
func (b *Book) admit(model pavise.Name, w *Watch) error {
	sizes := map[[32]byte]int{w.Digest: w.Size}
	models := 1
	for name, other := range b.models {
		if name == model {
			continue
		}
		models++
		sizes[other.Digest] = other.Size
		if other.Digest == w.Digest {
			w.Calibration = other.Calibration
		}
	}
	return Room(models, sizes)
}

// Room reports, as an error of kind Invalid, that there is no room for the calibrations of so
// many models. sizes has the bytes of each different file, by whatever tells them apart.
func Room[K comparable](models int, sizes map[K]int) error {
	const hint = "take the calibration of another route away: pavise route put NAME --amber off"
	if models > MaxWatched {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the callers of %d models are looked at, and no more can be", MaxWatched), Hint: hint}
	}
	sum := 0
	for _, n := range sizes {
		sum += n
	}
	if sum > MaxCalibrations {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the calibrations of all models would have %d MiB, and %d at most can be", sum>>20, MaxCalibrations>>20), Hint: hint + ", or give models that are alike the same one"}
	}
	return nil
}

// lose has what is kept of somebody be dropped. b.watch is held.
func (b *Book) lose(r remembered) {
	if len(b.lost) < maxLost {
		b.lost[r] = true
	}
}

// Cluster is the name of the callers whom something links with one at a model; "" if
// nothing does, or nobody looks. It never waits.
func (b *Book) Cluster(model, who pavise.Name) string {
	if crowds := b.crowds.Load(); crowds != nil {
		if c := (*crowds)[model]; c != nil {
			return c.Cluster(who)
		}
	}
	return ""
}

// share parts the room for clients among the models, and shows their crowds. b.watch is
// held.
func (b *Book) share() {
	crowds := map[pavise.Name]*sybil.Crowd{}
	for model, w := range b.models {
		crowds[model] = w.crowd.Crowd
	}
	b.crowds.Store(&crowds)
	for _, w := range b.models {
		w.eyes.Most = max(maxClients/len(b.models), leastClients)
	}
}

// Name is what notes call the detector.
func (b *Book) Name() string { return "extraction" }

// See looks at an answered request, and has a caller be amber at the model whom it finds
// unlike honest clients. It says so when the caller was not so before. It is for the one
// goroutine of package detect.
func (b *Book) See(o *detect.Observation) string {
	b.watch.Lock()
	defer b.watch.Unlock()
	w := b.models[o.Model]
	if w == nil {
		return ""
	}
	lay, rows := &w.Lay, o.Rows
	if rows < 1 || len(o.Values)%rows != 0 || len(o.Values)/rows != lay.Inputs || len(o.Scores)%rows != 0 || len(o.Scores)/rows != lay.Said {
		w.odd++
		return ""
	}
	var asked theft.Asked
	w.dirty[o.Who.String()] = true
	var last theft.Sighting
	var pools []sybil.Found
	facts, at := b.factsOf(o.Who), time.Duration(b.clock.ran())
	for i := range rows {
		asked.Input = o.Values[i*lay.Inputs : (i+1)*lay.Inputs]
		said := o.Scores[i*lay.Said:]
		asked.Scores, asked.Class = nil, -1
		switch told := lay.Said > 0 && !math.IsNaN(said[lay.First]); { // or the caller did not ask for it
		case told && lay.Scores > 0:
			asked.Scores = said[lay.First : lay.First+lay.Scores]
		case told:
			asked.Class = int(said[lay.First])
		}
		s, found, together := w.crowd.See(at, o.Who, facts, &asked)
		if found {
			last = s
		}
		pools = append(pools, together...)
	}
	says := ""
	if last.Client != "" {
		says = b.sight(key{o.Model, o.Who}, last)
	}
	for _, p := range pools {
		says = strings.TrimPrefix(says+". "+b.together(w, o.Model, &p), ". ")
	}
	return strings.TrimSuffix(says, ". ")
}

// Odd returns how many requests at each model could not be looked at since it was last
// called, because their numbers do not lie as the calibration has them.
func (b *Book) Odd() map[pavise.Name]uint64 {
	b.watch.Lock()
	defer b.watch.Unlock()
	all := map[pavise.Name]uint64{}
	for model, w := range b.models {
		if w.odd > 0 {
			all[model], w.odd = w.odd, 0
		}
	}
	return all
}

// factsOf is what is known of a caller beside what it asks.
func (b *Book) factsOf(who pavise.Name) sybil.Facts {
	if b.facts == nil {
		return sybil.Facts{}
	}
	return b.facts(who)
}

// together says what was found of callers who were looked at as one. Those who are alike
// are amber for it. Whoever is linked otherwise stays green: it is for a person to look at,
// and is said once in AmberTime.
func (b *Book) together(w *watched, model pavise.Name, p *sybil.Found) string {
	if len(p.Alike) == 0 {
		now := b.clock.ran()
		if last, said := w.told[p.Pool]; said && now-last < instant(b.amber) {
			return ""
		}
		if len(w.told) >= maxTold {
			clear(w.told)
		}
		w.told[p.Pool] = now
		return fmt.Sprintf("is one of several who asked too little to be judged alone, and together ask unlike honest clients; all stay green (%s: %s)", p.Pool, p.Sighting.Evidence)
	}
	s, news := p.Sighting, 0
	s.Evidence = fmt.Sprintf("with %d others whose rows nearly repeat each other's, %s", len(p.Alike)-1, s.Evidence)
	for _, who := range p.Alike {
		s.Client = who.String()
		if b.sight(key{model, who}, s) != "" {
			news++
		}
	}
	if news == 0 {
		return ""
	}
	return fmt.Sprintf("is one of %d callers whose rows nearly repeat each other's and who together ask unlike honest clients: %d of them are amber now (%s)", len(p.Alike), news, p.Sighting.Evidence)
}

// sight has a caller be amber for a time, and says so if it is news.
func (b *Book) sight(k key, s theft.Sighting) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	was, pushed := b.find(k), b.pushed
	ran := b.clock.ran()
	next := &entry{key: k, seen: &seen{sighting: s, since: b.now().UTC(), ends: ran + instant(b.amber)}}
	news := true
	if was != nil {
		next.word = was.word
		if was.seen != nil && ran < was.seen.ends {
			next.seen.since, news = was.seen.since, false
		}
	} else if !b.room() {
		return fmt.Sprintf("is unlike honest clients, and stays green: the book of tiers is full of operators' words (%s)", s.Evidence)
	}
	b.put(next)
	b.unsaved[k] = true
	if !news {
		return ""
	}
	says := "is amber"
	if w, _ := next.holds(&b.clock); w != nil {
		says = fmt.Sprintf("stays %v by an operator's word", w.tier)
	}
	says = fmt.Sprintf("asks unlike honest clients, and %s: %s (%s: %.1f, where honest clients stay below %.1f)", says, s.Evidence, s.Detector, s.Score, s.Threshold)
	if n := b.pushed - pushed; n > 0 {
		says += fmt.Sprintf("; for want of room %d other became green", n)
	}
	return says
}

// forget forgets what the detector knows of a caller at a model. b.watch is held.
func (b *Book) forget(k key) {
	if w := b.models[k.model]; w != nil {
		w.eyes.Forget(k.who.String())
		w.crowd.Crowd.Forget(k.who)
		delete(w.dirty, k.who.String())
	}
}
