package monitor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/drift"
)

const (
	// backAgain is how long after a rollback the house makes no other of the same model.
	backAgain = 30 * time.Minute
	// suspectedAgain is after how long it is said again that something is suspected.
	suspectedAgain = time.Hour
	// askedAgain is after how long people are asked whom nobody could ask.
	askedAgain = time.Hour
)

// next is the verdict after a window: of what is confirmed still, with what was done and said.
func (w *watched) next(e *evidence, at time.Time) Verdict {
	was := w.Verdict
	e.suspected = slices.DeleteFunc(e.suspected, func(f int) bool { return slices.Contains(w.Quiet, w.layout.key(f)) })
	v := w.verdict(e, at)
	switch {
	case was.Stage == Broken && v.Stage == Learning:
		return was
	case len(w.Quiet) > 0 && v.Stage != Confirmed:
		was.Stage = Dismissed
		return was
	case v.Stage == was.Stage && v.Cause == was.Cause:
		v.Since, v.Done, v.Change, v.By, v.Person, v.Reason = was.Since, was.Done, was.Change, was.By, was.Person, was.Reason
	case v.Stage == Confirmed && was.Stage == Confirmed:
		v.By, v.Person, v.Reason = was.By, was.Person, was.Reason
	}
	return v
}

// tell notes what a window changed, and has done what follows.
func (m *Monitor) tell(ctx context.Context, w *watched, was, is Verdict) {
	switch {
	case is.Stage == Confirmed && (was.Stage != Confirmed || was.Cause != is.Cause):
		severity := pavise.Warning
		if is.Cause == drift.BadVersion {
			severity = pavise.Critical
		}
		m.note(ctx, KindConfirmed, severity, w.model, is, fmt.Sprintf("%s has moved (%s): %s", w.model, listed(is.Features, is.More), is.Words))
		if is.Cause == drift.BadVersion {
			select {
			case m.found <- struct{}{}:
			default: // nobody has looked yet
			}
		}
		if is.Person == "" { // people have said what it is
			m.act(ctx, w, is)
		}
	case is.Stage == Confirmed && is.Person == "" && is.Cause != drift.BadVersion && is.Cause != drift.Unclear:
		if again := m.review(ctx, w, is, true); again != "" { // their time is over, and it stands
			m.note(ctx, KindActed, pavise.Warning, w.model, is, fmt.Sprintf("%s has moved still%s", w.model, again))
		}
	case was.Stage == Confirmed && is.Stage != Confirmed && is.Stage != Dismissed:
		m.note(ctx, KindEnded, pavise.Info, w.model, is, fmt.Sprintf("%s is as its baseline has it again", w.model))
	case is.Stage == Suspected && was.Stage != Suspected:
		if since := m.cfg.Now().Sub(w.said); since >= 0 && since < suspectedAgain {
			return
		}
		w.said = m.cfg.Now() // of the goroutine that ends windows alone
		m.note(ctx, KindSuspected, pavise.Info, w.model, is, fmt.Sprintf("%s: %s", w.model, is.Words))
	}
}

// act does what a cause asks for, once, and says what was done.
func (m *Monitor) act(ctx context.Context, w *watched, v Verdict) {
	severity, done := pavise.Warning, ""
	switch v.Cause {
	case drift.BadVersion:
		severity, done = m.goBack(ctx, w, v)
	case drift.Callers:
		done = m.slow(ctx, w, v) + m.review(ctx, w, v, false)
	case drift.Traffic:
		done = "somebody should look at retraining: nobody is slowed down, for nobody alone makes it" + m.review(ctx, w, v, false)
	case drift.Walked:
		done = "somebody should look at the baselines, and at retraining" + m.review(ctx, w, v, false)
	default:
		severity, done = pavise.Critical, "nothing was done: somebody has to look at it"
	}
	m.mu.Lock()
	w.Verdict.Done = done
	v.Done = done
	m.mu.Unlock()
	m.note(ctx, KindActed, severity, w.model, v, fmt.Sprintf("%s: %s", w.model, done))
}

// review has people decide on a model that has moved by no version's fault, once until their time
// for it is over, and says so. Where it was led away from the first baseline, that one is what is
// asked about. Again: only if they were asked, and have had nothing be learnt.
func (m *Monitor) review(ctx context.Context, w *watched, v Verdict, again bool) string {
	m.mu.Lock()
	waits := w.Asked.After(m.cfg.Now()) || again && (w.Asked.IsZero() || w.Wait != nil)
	m.mu.Unlock()
	if m.cfg.Review == nil || waits {
		return ""
	}
	change, until, err := m.cfg.Review(ctx, Ask{Model: w.model, Learn: max(m.cfg.Learn, leastLearn), Anew: v.Cause == drift.Walked, Review: true}, "drift: "+v.Words)
	said := fmt.Sprintf(". People decide until %s: pavise change show %s", until.UTC().Format("2006-01-02 15:04 UTC"), change.ID)
	switch {
	case err != nil:
		until, said = m.cfg.Now().Add(askedAgain), fmt.Sprintf(". Nobody could be asked to decide on it: %v", err)
	case change == pavise.Name{}:
		return ""
	}
	m.mu.Lock()
	w.Asked, w.Verdict.Change = until.UTC(), change
	m.mu.Unlock()
	return said
}

// goBack has the version before answer again, or says why somebody has to look.
func (m *Monitor) goBack(ctx context.Context, w *watched, v Verdict) (severity, done string) {
	m.mu.Lock()
	at := m.cfg.Now()
	if w.Back.After(at) { // by a clock that was set back since: as if it were now, and not until then
		w.Back = at.UTC()
	}
	back := w.Back
	m.mu.Unlock()
	if since := at.Sub(back); !back.IsZero() && since < backAgain {
		return pavise.Critical, fmt.Sprintf("it was rolled back at %s already, and is not twice in %v: somebody has to look at it", back.Format("15:04 UTC"), backAgain)
	}
	if m.cfg.House == nil {
		return pavise.Critical, "nobody here rolls back: somebody has to, with pavise route rollback " + w.model.ID
	}
	now, err := m.cfg.House.Rollback(ctx, w.model, v.Version, "drift: "+v.Words)
	if errors.Is(err, ErrElsewhere) {
		return pavise.Warning, err.Error()
	}
	if err != nil {
		return pavise.Critical, fmt.Sprintf("it was not rolled back: %v: somebody has to look at it", err)
	}
	m.mu.Lock()
	w.Back = at.UTC()
	m.mu.Unlock()
	return pavise.Warning, "it was rolled back, and is answered by " + now
}

// slow slows down who makes a shift.
func (m *Monitor) slow(ctx context.Context, w *watched, v Verdict) string {
	var slowed []pavise.Name
	var why error
	for _, who := range v.Callers {
		if m.cfg.House == nil {
			break
		}
		if err := m.cfg.House.Slow(ctx, w.model, who, "drift: they make what comes in move away from the baseline"); err != nil {
			why = err
			continue
		}
		slowed = append(slowed, who)
	}
	done := "nobody was slowed down"
	if len(slowed) > 0 {
		done = "slowed down: " + names(slowed)
	}
	if why != nil {
		done += fmt.Sprintf(" (%v)", why)
	}
	return done + ". Somebody should look at what they ask, and at retraining"
}

// note leaves a finding. One that cannot be written is lost with a log that takes nothing, and
// then nothing is answered either.
func (m *Monitor) note(ctx context.Context, kind, severity string, model pavise.Name, v Verdict, summary string) {
	f := pavise.Finding{Kind: kind, Severity: severity, On: model, Summary: summary, At: m.cfg.Now().UTC()}
	if len(v.Callers) == 1 {
		f.Who = v.Callers[0]
	}
	err := m.cfg.Guard.Note(ctx, kind, nil, model, struct {
		Finding pavise.Finding `json:"finding"`
		Verdict Verdict        `json:"verdict"`
	}{f, v})
	if err != nil {
		m.cfg.Say("warning", err)
	}
}
