package firewall

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pavise/pavise"
)

// Terms are what one model's callers may take. A zero Rate sets no limit.
type Terms struct {
	Rate        Rate `json:"rate"`         // of each caller
	Budget      Rate `json:"budget"`       // of each caller; see PerWindow
	ModelRate   Rate `json:"model_rate"`   // of all callers together
	ModelBudget Rate `json:"model_budget"` // of all callers together: accounts are cheap, and an attacker may have many
}

// Validate reports, as an error of kind Invalid, which rate is wrong.
func (t Terms) Validate() error {
	for _, r := range []struct {
		name string
		rate Rate
	}{{"rate", t.Rate}, {"budget", t.Budget}, {"model_rate", t.ModelRate}, {"model_budget", t.ModelBudget}} {
		if err := r.rate.Validate(); err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
	}
	return nil
}

// A Meter counts rows, by caller and model, against the terms of each model. It
// counts rows and not requests, because a batch of a thousand teaches a thief as
// much as a thousand calls. It is safe for concurrent use.
//
// A charge stands even when the model then fails: the rows may have been
// computed, and a caller who could make a model fail would otherwise ask for
// nothing. A refused request charges nothing.
//
// The meter's clock is the latest instant it was ever given. When the caller's
// clock steps back, buckets stop draining until it has caught up, and nothing
// that was forgotten comes back.
type Meter struct {
	max int // accounts that may be open

	mu       sync.Mutex
	terms    map[pavise.Name]Terms // by model; guarded by mu
	accounts map[account]buckets   // guarded by mu
	latest   instant               // guarded by mu
	full     instant               // no account closes before this; guarded by mu
}

// An account is one caller at one model, or, without a caller, the model itself.
type account struct{ who, model pavise.Name }

// buckets are what an account holds.
type buckets struct{ rate, budget instant }

// drained reports whether the buckets are as good as new.
func (b buckets) drained(now instant) bool { return b.rate <= now && b.budget <= now }

// NewMeter returns a meter with no terms, which refuses everything. It keeps at
// most the given number of accounts, of a few hundred bytes each. An account is open
// while its buckets hold anything; when all are open, new ones are refused, and
// only proven callers can open any.
func NewMeter(accounts int) *Meter {
	return &Meter{max: accounts, terms: make(map[pavise.Name]Terms), accounts: make(map[account]buckets)}
}

// SetTerms sets the terms of one model, which may be in use already: what callers
// have taken so far stays taken. The error is of kind Invalid.
func (m *Meter) SetTerms(model pavise.Name, t Terms) error {
	if err := model.Validate(); err != nil {
		return err
	}
	if err := t.Validate(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.terms[model] = t
	return nil
}

// DropTerms forgets the terms of a model, which is refused from then on.
func (m *Meter) DropTerms(model pavise.Name) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.terms, model)
}

// Accounts is how many callers at models, and models, are being counted.
func (m *Meter) Accounts() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.accounts)
}

// Charge takes rows off every limit that holds for the caller and the model, or
// off none: a Deny charges nothing. With a Deny comes the time after which the
// same request may pass if nothing else is charged, or 0 when waiting will not
// help.
func (m *Meter) Charge(now time.Time, who, model pavise.Name, rows int) (pavise.Verdict, time.Duration) {
	if who == (pavise.Name{}) {
		return refused("budget", "no caller to charge"), 0
	}
	if rows < 1 {
		return refused("budget", "no rows to charge"), 0
	}
	if y := now.Year(); y < 2000 || y > 2200 {
		return refused("budget", fmt.Sprintf("the clock says %d, which cannot be right", y)), 0
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	terms, ok := m.terms[model]
	if !ok {
		return refused("budget", fmt.Sprintf("no terms are set for %s", model)), 0
	}
	given := instantOf(now)
	m.latest = max(m.latest, given)
	mine, all := account{who, model}, account{pavise.Name{}, model}
	c := charge{now: m.latest, rows: rows}
	own := buckets{
		rate:   c.take("rate", "your rate at this model", terms.Rate, m.accounts[mine].rate),
		budget: c.take("budget", "your budget at this model", terms.Budget, m.accounts[mine].budget),
	}
	shared := buckets{
		rate:   c.take("rate", "the model's rate for all callers", terms.ModelRate, m.accounts[all].rate),
		budget: c.take("budget", "the model's budget for all callers", terms.ModelBudget, m.accounts[all].budget),
	}
	if c.verdict.Outcome == pavise.Deny {
		if c.wait > 0 {
			c.wait += time.Duration(m.latest - given)
		}
		return c.verdict, c.wait
	}
	if !m.open(mine, own, all, shared) {
		return refused("budget", "too many callers are being counted; try again later"), time.Duration(max(m.full-given, 0))
	}
	return pavise.Verdict{Check: "budget", Outcome: pavise.Allow}, 0
}

// Take fills the buckets of the caller and the model with rows that were charged
// before, as a log remembers them: it asks nothing and never refuses. A bucket
// that the rows overfill is full, and no fuller; one that was fuller already
// stays so. So what is taken again, in any order and at a later time than it was
// charged, gives nothing back. It may open more accounts than the meter keeps,
// and is then all the slower to open new ones.
//
// The terms are those that hold now: a model without any has no buckets. A time
// outside the years 2000 to 2200, at which nothing was ever charged, counts as the
// latest instant the meter was given.
func (m *Meter) Take(now time.Time, who, model pavise.Name, rows int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	terms, ok := m.terms[model]
	if !ok || rows < 1 || who == (pavise.Name{}) {
		return
	}
	if y := now.Year(); y >= 2000 && y <= 2200 {
		m.latest = max(m.latest, instantOf(now))
	}
	mine, all := account{who, model}, account{pavise.Name{}, model}
	own := buckets{
		rate:   terms.Rate.fill(m.accounts[mine].rate, m.latest, rows),
		budget: terms.Budget.fill(m.accounts[mine].budget, m.latest, rows),
	}
	shared := buckets{
		rate:   terms.ModelRate.fill(m.accounts[all].rate, m.latest, rows),
		budget: terms.ModelBudget.fill(m.accounts[all].budget, m.latest, rows),
	}
	if !m.open(mine, own, all, shared) {
		m.put(mine, own)
		m.put(all, shared)
	}
}

// A charge is one request on its way through the limits that hold for it.
type charge struct {
	now     instant
	rows    int
	verdict pavise.Verdict // the first Deny
	wait    time.Duration  // the longest wait; 0 once some limit can never pass
	never   bool
}

// take asks one limit, and returns the bucket as it is after the charge.
func (c *charge) take(check, whose string, r Rate, full instant) instant {
	next, early := r.take(full, c.now, c.rows)
	if early == 0 {
		return next
	}
	if c.verdict.Outcome != pavise.Deny {
		c.verdict = refused(check, fmt.Sprintf("%s more than %s has left (%v)", areRows(c.rows), whose, r))
	}
	if early < 0 && !c.never {
		c.never = true
		c.verdict = refused(check, fmt.Sprintf("%s more than %s ever lets pass at once (%v); send fewer", areRows(c.rows), whose, r))
	}
	c.wait = max(c.wait, early)
	if c.never {
		c.wait = 0
	}
	return full
}

func refused(check, reason string) pavise.Verdict {
	return pavise.Verdict{Check: check, Outcome: pavise.Deny, Reason: reason}
}

// open stores both accounts, or neither when there is no room. m.mu is held.
func (m *Meter) open(mine account, own buckets, all account, shared buckets) bool {
	if (m.opens(mine, own) || m.opens(all, shared)) && len(m.accounts)+2 > m.max && !m.sweep() {
		return false
	}
	m.put(mine, own)
	m.put(all, shared)
	return true
}

// opens reports whether storing b needs a new place. m.mu is held.
func (m *Meter) opens(a account, b buckets) bool {
	_, known := m.accounts[a]
	return !known && !b.drained(m.latest)
}

// put stores what an account holds, if it holds anything. m.mu is held.
func (m *Meter) put(a account, b buckets) {
	switch {
	case b.drained(m.latest):
		delete(m.accounts, a)
	case m.opens(a, b):
		// The caller's name may be part of a large token; keep only the name.
		m.accounts[account{cloneName(a.who), cloneName(a.model)}] = b
	default:
		m.accounts[a] = b
	}
}

func cloneName(n pavise.Name) pavise.Name {
	return pavise.Name{Tenant: strings.Clone(n.Tenant), Kind: strings.Clone(n.Kind), ID: strings.Clone(n.ID)}
}

// sweep forgets every account that is as good as new, which changes no
// decision, and reports whether there is room for two more. Buckets only ever
// fill, so until the first account drains another sweep would find nothing; and
// it waits at least a second, so that a full meter stays cheap. m.mu is held.
func (m *Meter) sweep() bool {
	if m.latest < m.full {
		return false
	}
	next := instant(math.MaxInt64)
	for a, b := range m.accounts {
		if b.drained(m.latest) {
			delete(m.accounts, a)
			continue
		}
		next = min(next, max(b.rate, b.budget))
	}
	if len(m.accounts)+2 <= m.max {
		return true
	}
	m.full = max(next, m.latest+instant(time.Second))
	return false
}

// A Spend is what one caller has taken at one model, as the instants at which its
// buckets will have drained. A Spend without a caller is the model's own.
type Spend struct {
	Who    pavise.Name `json:"who,omitzero"`
	Model  pavise.Name `json:"model"`
	Rate   time.Time   `json:"rate"`
	Budget time.Time   `json:"budget"`
}

// State returns what has been taken and not yet drained at now, ordered by model
// and caller, for keeping across a restart.
func (m *Meter) State(now time.Time) []Spend {
	m.mu.Lock()
	defer m.mu.Unlock()
	at := max(m.latest, instantOf(now))
	var list []Spend
	for a, b := range m.accounts {
		if !b.drained(at) {
			list = append(list, Spend{a.who, a.model, time.Unix(0, int64(b.rate)).UTC(), time.Unix(0, int64(b.budget)).UTC()})
		}
	}
	slices.SortFunc(list, func(a, b Spend) int {
		return cmp.Or(cmp.Compare(a.Model.String(), b.Model.String()), cmp.Compare(a.Who.String(), b.Who.String()))
	})
	return list
}

// Restore puts back what State returned. Where the meter knows more, the fuller
// bucket counts, so that restoring never gives anything back. The error, of kind
// Invalid, says that there are more accounts than the meter keeps; nothing is
// restored then.
func (m *Meter) Restore(list []Spend) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	merged := make(map[account]buckets, len(m.accounts)+len(list))
	maps.Copy(merged, m.accounts)
	for _, s := range list {
		a := account{s.Who, s.Model}
		b := merged[a]
		merged[a] = buckets{max(b.rate, instantOf(s.Rate)), max(b.budget, instantOf(s.Budget))}
	}
	if len(merged) > m.max {
		return &pavise.Error{
			Kind: pavise.Invalid,
			Msg:  fmt.Sprintf("%d spends to restore, and room for %d accounts", len(list), m.max),
			Hint: "raise the number of accounts the meter keeps",
		}
	}
	m.accounts = merged
	return nil
}

// areRows counts rows in words.
func areRows(n int) string {
	if n == 1 {
		return "1 row is"
	}
	return fmt.Sprintf("%d rows are", n)
}
