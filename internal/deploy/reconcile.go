package deploy

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/store"
)

const (
	wake      = time.Minute     // how long Run sleeps at most: a clock that was set forward is noticed then
	within    = 2 * time.Minute // for one look at a target, with what is done there
	firstRest = time.Second     // until a target is tried again, and twice as long each time
	longRest  = 5 * time.Minute // at most
	patience  = 3               // tries, until that is a finding
	beside    = 16              // targets of a tenant that are looked at beside each other
)

// Run brings to each target what is wanted there, and looks again and again whether it is
// so, until ctx is done.
//
// Unguarded: nobody asks for it; who may say what is to run where was asked then, and what
// it finds is noted.
func (d *Deployments) Run(ctx context.Context) error {
	var looks sync.WaitGroup
	defer looks.Wait()
	said := false
	for ctx.Err() == nil {
		pause, err := d.round(ctx, &looks)
		if err != nil && ctx.Err() == nil && !said {
			d.cfg.Say("warning", fmt.Errorf("which targets are due cannot be read: %w", err))
		}
		said = err != nil
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-d.nudge:
		case <-ctx.Done():
		}
		timer.Stop()
	}
	return nil
}

// A due is a target whose time has come.
type due struct {
	name, target pavise.Name
	first        bool
}

// round begins to look at every target whose time has come, and returns how long to wait
// until the next. It waits for no look: a target that hangs keeps neither another one from
// being watched, nor a release from its gateways.
func (d *Deployments) round(ctx context.Context, looks *sync.WaitGroup) (time.Duration, error) {
	list, stirred, pause, err := d.due(ctx)
	if err != nil {
		return wake, err
	}
	for _, name := range stirred {
		looks.Go(func() { d.hold(ctx, name) })
	}
	for len(list) > 0 {
		name := list[0].name
		n := 1
		for n < len(list) && list[n].name == name {
			n++
		}
		batch := list[:n]
		list = list[n:]
		looks.Go(func() {
			defer d.soon() // they have another time now
			d.lookAll(ctx, name, batch)
		})
	}
	return pause, nil
}

// lookAll looks at targets of a deployment, those where calls are sent first, and then at
// what the registry says of its versions.
func (d *Deployments) lookAll(ctx context.Context, name pavise.Name, list []due) {
	slots := d.slotsOf(name.Tenant)
	for _, first := range []bool{true, false} {
		var group sync.WaitGroup
		for _, one := range list {
			if one.first != first {
				continue
			}
			group.Go(func() {
				defer func() { d.mu.Lock(); delete(d.away, one.target); d.mu.Unlock() }()
				slots <- struct{}{}
				defer func() { <-slots }()
				d.look(ctx, name, one.target)
			})
		}
		group.Wait()
	}
	d.hold(ctx, name)
}

// hold holds the versions of a deployment to the registry, and says so when it cannot.
func (d *Deployments) hold(ctx context.Context, name pavise.Name) {
	defer d.lock(name)() // or two would go back at once
	if err := d.judge(ctx, name); err != nil && ctx.Err() == nil {
		d.cfg.Say("warning", fmt.Errorf("the registry cannot be asked about %s: %w", name, err))
	}
}

func (d *Deployments) slotsOf(tenant string) chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.slots[tenant] == nil {
		d.slots[tenant] = make(chan struct{}, beside)
	}
	return d.slots[tenant]
}

// due returns what is due now, by deployment, of which deployments the registry says something
// else, and how long until something else will be due. What is due is looked at from now on.
func (d *Deployments) due(ctx context.Context) (list []due, stirred []pavise.Name, pause time.Duration, err error) {
	var deps []Deployment
	if err = d.cfg.Store.View(ctx, func(tx *store.Tx) error { deps, err = all[Deployment](tx, "deploy_deployments", ""); return err }); err != nil {
		return nil, nil, wake, err
	}
	d.mu.Lock()
	news := d.stirred
	d.stirred = map[pavise.Name]bool{}
	d.mu.Unlock()
	now, heard := d.cfg.Now(), news[pavise.Name{Kind: Kind}]
	pause = wake
	for i := range deps {
		if news[deps[i].Name] {
			stirred = append(stirred, deps[i].Name)
		}
		for _, s := range deps[i].Spots {
			wait, looked := d.waits(&s, now, news[deps[i].Name] || heard && s.Problem != "" && d.sends(ctx, s.Target))
			switch {
			case looked:
			case wait <= 0:
				list = append(list, due{deps[i].Name, s.Target, d.sends(ctx, s.Target)})
			default:
				pause = min(pause, wait)
			}
		}
	}
	return list, stirred, pause, err
}

// waits is how long until a spot is to be looked at. looked: it is being looked at. One that
// is to be now is taken to be from here on. early: it is to be looked at whenever its time is, and
// where it is being looked at, once more.
func (d *Deployments) waits(s *Spot, now time.Time, early bool) (wait time.Duration, looked bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	early = early || d.early[s.Target]
	if d.away[s.Target] {
		d.early[s.Target] = early
		return 0, true
	}
	wait = s.Next.Sub(now)
	if rest := time.Until(d.rests[s.Target]); rest > 0 {
		wait = rest
	}
	// One that is due later than it ever could be was put off by a clock that has been set
	// back since.
	if wait <= 0 || wait > max(d.cfg.Every, longRest)*2 || early {
		d.away[s.Target] = true
		delete(d.early, s.Target)
		return 0, false
	}
	return wait, false
}

// look looks at a target, does what is missing there, and keeps what came of it. That it
// cannot be kept is told once, and the target rests.
func (d *Deployments) look(ctx context.Context, name, target pavise.Name) {
	defer d.lock(target)()
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	err := d.bring(ctx, name, target)
	d.mu.Lock()
	_, said := d.rests[target]
	if delete(d.rests, target); err != nil {
		d.rests[target] = time.Now().Add(firstRest * 10)
	}
	d.mu.Unlock()
	if err != nil && !said && ctx.Err() == nil {
		d.cfg.Say("warning", fmt.Errorf("what was seen at %s cannot be kept: %w", target, err))
	}
}

// A finding is what a look found.
type finding struct {
	kind, severity, summary string
	noted
}

// A sight is what came of a look at a target.
type sight struct {
	state    State
	seen     bool // state is what was seen
	whole    bool // what is wanted is there
	problem  string
	findings []finding
	alarm    string // the digest of what ran and nobody approved
	alone    bool   // the target went back by itself
}

// bring does it, for what is wanted when it has the lock.
func (d *Deployments) bring(ctx context.Context, name, target pavise.Name) error {
	var dep *Deployment
	var p *Place
	err := d.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		if dep, err = deployment(tx, name); err == nil && dep != nil && dep.spot(target) != nil {
			p, err = PlaceOf(tx, target)
		}
		return err
	})
	if err != nil || p == nil {
		return err
	}
	s := *dep.spot(target)
	return d.conclude(ctx, name, s, d.see(ctx, dep, &s, p))
}

// see looks, applies what is missing, and looks again. What panics over a hostile answer is
// a target in trouble.
func (d *Deployments) see(ctx context.Context, dep *Deployment, s *Spot, p *Place) (got sight) {
	defer func() {
		if r := recover(); r != nil {
			got.problem = fmt.Sprintf("looking at it went wrong: %v", r)
		}
	}()
	t, _, err := d.open(p)
	if err != nil {
		got.problem = message(err)
		return got
	}
	want, err := d.wanted(ctx, dep, s)
	if err != nil {
		got.problem = message(err)
		if pavise.KindOf(err) == pavise.Unverified {
			got.findings = append(got.findings, finding{KindChanged, pavise.Critical, got.problem, noted{Target: s.Target}})
		}
		return got
	}
	state, err := t.Observe(ctx)
	if err == nil {
		got.state, got.seen = state, true
		d.strayed(dep, s, state, &got)
		if (!s.matches(state) || s.Applied != s.Revision) && !got.alone {
			if err = dep.withheld(s, want, state); err == nil {
				err = t.Apply(ctx, want)
			}
			if err == nil {
				got.state, err = t.Observe(ctx)
			}
		}
	}
	got.whole = err == nil && s.matches(got.state)
	switch {
	case err != nil:
		got.problem = message(err)
		if pavise.KindOf(err) == pavise.Unverified {
			got.findings = append(got.findings, finding{KindChanged, pavise.Critical, got.problem, noted{Target: s.Target}})
		}
	case got.alone:
		got.problem = got.state.Problem
	case !got.whole:
		got.problem = "it runs " + stateWords(got.state) + " still"
		if got.state.Problem != "" {
			got.problem += ": " + got.state.Problem
		}
	case !got.state.Healthy:
		got.problem = got.state.Problem
		if got.problem == "" {
			got.problem = "it says that it is not well"
		}
	}
	return got
}

// wanted is what is to run at a spot. What the registry no longer has as it was approved is
// an error of kind Unverified.
func (d *Deployments) wanted(ctx context.Context, dep *Deployment, s *Spot) (want Desired, err error) {
	want = Desired{Revision: s.Revision, Weight: s.Weight, Shadow: s.Shadow, Safe: s.Safe}
	for _, t := range dep.Barred {
		want.Barred = append(want.Barred, t.Digest)
	}
	for _, one := range []struct {
		held *Held
		to   **Version
	}{{s.Main, &want.Main}, {s.Beside, &want.Beside}} {
		if one.held == nil {
			continue
		}
		v, err := d.cfg.Versions.Resolve(ctx, dep.Model(), one.held.Version)
		if err != nil {
			return want, err
		}
		if v.Digest != one.held.Digest {
			return want, swapped(v, one.held.Digest)
		}
		if err := unaltered(v); err != nil { // on the way back, too: what it goes back to lies in the same database
			return want, err
		}
		*one.to = &v
	}
	return want, nil
}

// withheld refuses to bring to a target what the registry has barred since it was approved, or
// what was taken back elsewhere since, and what does not run there yet.
func (d *Deployment) withheld(s *Spot, want Desired, state State) error {
	for _, one := range []struct {
		v *Version
		h *Held
	}{{want.Main, s.Main}, {want.Beside, s.Beside}} {
		if one.v == nil || one.h == nil || one.h.Artefact == state.Main || one.h.Artefact == state.Beside {
			continue
		}
		why := one.v.State
		if d.tookBack(one.h.Digest) {
			why = "taken back"
		} else if !barred(*one.v) {
			continue
		}
		return &pavise.Error{
			Kind: pavise.Denied, Msg: fmt.Sprintf("version %d is %s by now, and is not brought there", one.v.Number, why),
			Hint: "pavise deploy rollback, or release another version",
		}
	}
	return nil
}

// stateWords say what runs at a target.
func stateWords(s State) string {
	short := func(digest string) string {
		if digest == "" {
			return "nothing"
		}
		return digest[:min(len(digest), 19)]
	}
	switch {
	case s.Beside == "":
		return short(s.Main)
	case s.Shadow:
		return short(s.Main) + ", heard by " + short(s.Beside)
	}
	return fmt.Sprintf("%s, and %s for %d in 100 calls", short(s.Main), short(s.Beside), s.Weight)
}

// strayed looks whether what runs is something else than what was last brought there.
func (d *Deployments) strayed(dep *Deployment, s *Spot, state State, got *sight) {
	for _, ran := range []string{state.Main, state.Beside} {
		if s.Main == nil && s.knows(ran) {
			continue // it came just before the orders that nothing is to run
		}
		if s.Applied != 0 && (!s.knows(ran) || !state.Alone && dep.bars(s, ran)) {
			got.alarm = ran
			summary := fmt.Sprintf("%s ran %s, which nobody approved, and %s is put back", s.Target.ID, ran, s.words())
			got.findings = append(got.findings, finding{KindUnapproved, pavise.Critical, summary, noted{Target: s.Target, Ran: ran}})
			return
		}
	}
	if s.Applied == 0 || s.Applied != s.Revision || s.matches(state) {
		return
	}
	if state.Alone && s.Main != nil && state.Main != s.Main.Artefact && state.Main != "" {
		got.alone = true
		summary := fmt.Sprintf("%s went back by itself, to %s: %s", s.Target.ID, stateWords(state), state.Problem)
		got.findings = append(got.findings, finding{KindRolledBack, pavise.Critical, summary, noted{Target: s.Target, Ran: state.Main, Version: s.Main.Version, Problem: state.Problem}})
		return
	}
	summary := fmt.Sprintf("%s ran %s, and %s is to run there", s.Target.ID, stateWords(state), s.words())
	got.findings = append(got.findings, finding{KindStrayed, pavise.Warning, summary, noted{Target: s.Target, Ran: state.Main}})
}

// conclude keeps what came of a look at a spot, if it is still what is wanted. The notes
// come first: what the log does not have has not been seen.
func (d *Deployments) conclude(ctx context.Context, name pavise.Name, was Spot, got sight) error {
	if ctx.Err() != nil && !got.seen && got.problem == "" {
		return nil
	}
	ctx = context.WithoutCancel(ctx) // what was done is kept
	tries, rest := was.Tries+1, was.Next.Sub(d.cfg.Now())
	early := was.Problem != "" && rest > 0 && rest <= longRest*2 // or the clock was ahead
	if early {
		tries-- // in between two, of which it is none
	}
	if was.Applied != was.Revision && got.whole {
		f := finding{KindSettled, "", "", noted{Target: was.Target, Reached: got.state.Reached, Of: got.state.Of}}
		if was.Main != nil {
			f.Version, f.Digest = was.Main.Version, was.Main.Digest
		}
		got.findings = append(got.findings, f)
	}
	tell := got.problem != "" && !was.Told && tries >= patience
	if tell {
		summary := fmt.Sprintf("%s does not have what is wanted there (%s): %s", was.Target.ID, was.words(), got.problem)
		got.findings = append(got.findings, finding{KindPartial, pavise.Warning, summary, noted{Target: was.Target, Problem: got.problem, Tries: tries, Reached: got.state.Reached, Of: got.state.Of}})
	}
	for _, f := range got.findings {
		if f.kind == KindChanged && was.Told {
			continue
		}
		if err := d.note(ctx, f.kind, f.severity, name, f.summary, f.noted); err != nil {
			return err
		}
		tell = tell || f.kind == KindChanged
	}
	return d.cfg.Store.UpdateSafe(ctx, func(tx *store.Tx) error {
		dep, err := deployment(tx, name)
		if err != nil || dep == nil {
			return err
		}
		s := dep.spot(was.Target)
		if s == nil {
			return nil
		}
		now := d.cfg.Now().UTC()
		if got.alarm != "" {
			dep.raise(was.Target, got.alarm, now)
		}
		if s.Revision == was.Revision {
			s.note(got, now, tell, early, d.cfg.Every)
			if got.alone {
				dep.At = now
				dep.yield(s, got.state)
			}
		}
		return put(tx, "deploy_deployments", name, dep)
	})
}

// raise notes that something ran that nobody approved.
func (d *Deployment) raise(target pavise.Name, ran string, now time.Time) {
	if d.Alarm == nil || d.Alarm.Ran != ran {
		d.Alarm = &Alarm{Target: target, Ran: ran, At: now}
	}
	d.Alarm.Times++
}

// note keeps what was seen at a spot, and says when it is looked at again; after an early look
// that is as it was.
func (s *Spot) note(got sight, now time.Time, told, early bool, every time.Duration) {
	if got.seen {
		got.state.At = now
		s.Seen = &got.state
	}
	if got.whole {
		s.Applied, s.Leaving = s.Revision, nil
	}
	if got.problem == "" {
		s.Problem, s.Since, s.Tries, s.Told = "", time.Time{}, 0, false
		s.Next = now.Add(every - every/10 + rand.N(every/5+1))
		return
	}
	if s.Problem == "" || s.Since.After(now) { // or the clock was ahead when it began
		s.Since = now
	}
	s.Problem, s.Told = got.problem[:min(len(got.problem), maxProblem)], s.Told || told
	if early {
		return
	}
	s.Next = now.Add(min(firstRest<<min(s.Tries, 16), longRest))
	s.Tries++
}

// yield takes over that a target went back by itself: it stays there until another release.
func (d *Deployment) yield(s *Spot, state State) {
	at := slices.IndexFunc(s.Before, func(h Held) bool { return h.Artefact == state.Main })
	if at < 0 || s.Main == nil {
		return
	}
	// The word of one machine bars no version that runs elsewhere.
	if !slices.ContainsFunc(d.Spots, func(o Spot) bool { return o.Target != s.Target && o.has(s.Main.Version) }) {
		d.takeBack(*s.Main, state.Problem)
	}
	h := s.Before[at]
	d.Revision++
	s.Main, s.Before = &h, slices.Clone(s.Before[at+1:])
	s.Beside, s.Weight, s.Shadow, s.Safe = nil, 0, false, true
	s.Revision = d.Revision
	s.Next = d.At
}
