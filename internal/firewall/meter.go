package firewall

import (
	"cmp"
	"fmt"
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
	// ClusterBudget is of callers together whom something links; see package sybil.
	ClusterBudget Rate `json:"cluster_budget,omitzero"`
}

// Validate reports, as an error of kind Invalid, which rate is wrong.
func (t Terms) Validate() error {
	for _, r := range []struct {
		name string
		rate Rate
	}{{"rate", t.Rate}, {"budget", t.Budget}, {"model_rate", t.ModelRate}, {"model_budget", t.ModelBudget}, {"cluster_budget", t.ClusterBudget}} {
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
// clock steps back, buckets stop draining until it has caught up, or until Rewind says
// that it is right now, and nothing that was forgotten comes back.
type Meter struct {
	max int // accounts that may be open

	mu     sync.Mutex
	books  map[pavise.Name]*book // by model: those that have terms or open accounts; guarded by mu
	open   int                   // accounts in all books; guarded by mu
	latest instant               // guarded by mu
	full   instant               // no account closes before this; guarded by mu
}

// A book is what a meter keeps of one model. A profile of small requests showed the
// hashing of names above all else, so accounts are found by one name and changed in
// place. The meter's lock guards books, too.
type book struct {
	terms   Terms
	served  bool                     // terms hold; else the model is refused
	all     *buckets                 // the model's own account; nil: it is not open
	callers map[pavise.Name]*buckets // the open accounts of its callers
}

// buckets are what an account holds.
type buckets struct{ rate, budget instant }

// drained reports whether the buckets are as good as new.
func (b buckets) drained(now instant) bool { return b.rate <= now && b.budget <= now }

// held is what an account holds: nothing when it is not open.
func (b *buckets) held() buckets {
	if b == nil {
		return buckets{}
	}
	return *b
}

// account returns the account of a caller, or of the model itself without one; nil when
// it is not open.
func (b *book) account(who pavise.Name) *buckets {
	if who == (pavise.Name{}) {
		return b.all
	}
	return b.callers[who]
}

// NewMeter returns a meter with no terms, which refuses everything. It keeps at
// most the given number of accounts, of a few hundred bytes each. An account is open
// while its buckets hold anything; when all are open, new ones are refused, and
// only proven callers can open any.
func NewMeter(accounts int) *Meter {
	return &Meter{max: accounts, books: make(map[pavise.Name]*book)}
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
	if t.Bits() {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the terms of %s count bits, and a meter counts rows", model), Hint: "give them as Terms.InRows says them"}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.book(model)
	b.terms, b.served = t, true
	return nil
}

// book returns the book of a model, a new one if need be. m.mu is held.
func (m *Meter) book(model pavise.Name) *book {
	b, ok := m.books[model]
	if !ok {
		b = &book{callers: make(map[pavise.Name]*buckets)}
		m.books[cloneName(model)] = b
	}
	return b
}

// DropTerms forgets the terms of a model, which is refused from then on.
func (m *Meter) DropTerms(model pavise.Name) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if b, ok := m.books[model]; ok {
		b.terms, b.served = Terms{}, false
		m.close(model, b)
	}
}

// Accounts is how many callers at models, and models, are being counted.
func (m *Meter) Accounts() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.open
}

// Charge takes rows off every limit that holds for the caller and the model, or off none: a
// Deny charges nothing. The caller has one of so many equal parts of its own rate and budget;
// of a caller who is one of a cluster of linked callers the rows are taken off the cluster's
// budget, too. A cluster has an account under its name, which is nobody's; the zero name is no
// cluster. With a Deny comes the time after which the same request may pass if nothing else is
// charged, or 0 when waiting will not help.
func (m *Meter) Charge(now time.Time, who, cluster, model pavise.Name, rows, parts int) (pavise.Verdict, time.Duration) {
	if why := unchargeable(now, who, rows); why != "" {
		return refused("budget", why), 0
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.books[model]
	if !ok || !b.served {
		return refused("budget", fmt.Sprintf("no terms are set for %s", model)), 0
	}
	given := instantOf(now)
	m.latest = max(m.latest, given)
	c := charge{now: m.latest, rows: rows}
	due := b.bill(&c, who, cluster, parts)
	if c.verdict.Outcome == pavise.Deny {
		if c.wait > 0 {
			c.wait += time.Duration(m.latest - given)
		}
		return c.verdict, c.wait
	}
	if !m.roomFor(b, &due) {
		return refused("budget", "too many callers are being counted; try again later"), time.Duration(max(m.full-given, 0))
	}
	m.put(b, who, due.mine, due.own)
	m.putAll(b, due.shared)
	if due.clustered {
		m.put(b, cluster, due.ours, due.linked)
	}
	return pavise.Verdict{Check: "budget", Outcome: pavise.Allow}, 0
}

// unchargeable says why nobody can be charged, or "".
func unchargeable(now time.Time, who pavise.Name, rows int) string {
	switch {
	case who == (pavise.Name{}):
		return "no caller to charge"
	case rows < 1:
		return "no rows to charge"
	case !plausible(now):
		return fmt.Sprintf("the clock says %d, which cannot be right", now.Year())
	}
	return ""
}

// A bill is what the accounts of a charge hold after it.
type bill struct {
	who, cluster pavise.Name
	clustered    bool     // the cluster has a budget of its own
	mine, ours   *buckets // the accounts of the caller and of the cluster, where they are open
	own          buckets
	shared       buckets // the model's
	linked       buckets // the cluster's
}

// bill asks the limits that hold for a caller, and leaves the accounts as they are.
func (b *book) bill(c *charge, who, cluster pavise.Name, parts int) bill {
	due := bill{who: who, cluster: cluster, mine: b.callers[who], shared: b.all.held()}
	due.own = due.mine.held()
	rate, budget := b.terms.Rate.Part(parts), b.terms.Budget.Part(parts)
	due.own.rate = c.take("rate", "your rate at this model", &rate, due.own.rate)
	due.own.budget = c.take("budget", "your budget at this model", &budget, due.own.budget)
	due.shared.rate = c.take("rate", "the model's rate for all callers", &b.terms.ModelRate, due.shared.rate)
	due.shared.budget = c.take("budget", "the model's budget for all callers", &b.terms.ModelBudget, due.shared.budget)
	if due.clustered = cluster != (pavise.Name{}) && b.terms.ClusterBudget != (Rate{}); due.clustered {
		due.ours = b.callers[cluster]
		due.linked = due.ours.held()
		due.linked.budget = c.take("budget", "the budget of the callers whom yours is linked with", &b.terms.ClusterBudget, due.linked.budget)
	}
	return due
}

// roomFor reports whether the accounts of a bill can be kept. It may close others. m.mu is
// held.
func (m *Meter) roomFor(b *book, due *bill) bool {
	need := 2
	if due.clustered {
		need = 3
	}
	if opens := m.opens(due.mine, due.own, b, due.shared) || due.clustered && due.ours == nil; !opens || m.open+need <= m.max {
		return true
	}
	if !m.sweep(need) {
		return false
	}
	if due.mine = b.callers[due.who]; due.clustered {
		due.ours = b.callers[due.cluster]
	}
	return true
}

// Take fills the buckets of a caller, of the cluster that it was one of, and of the model with
// rows that were charged before, as a log remembers them: it asks nothing and never refuses.
// Of a caller who had a part of its own rate and budget it took own, a multiple of the rows. A
// bucket that the rows overfill is full, and no fuller; one that was fuller already
// stays so. So what is taken again, in any order and at a later time than it was
// charged, gives nothing back. It may open more accounts than the meter keeps,
// and is then all the slower to open new ones.
//
// The terms are those that hold now: a model without any has no buckets. A time
// outside the years 2000 to 2200, at which nothing was ever charged, counts as the
// latest instant the meter was given.
func (m *Meter) Take(now time.Time, who, cluster, model pavise.Name, rows, own int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.books[model]
	if !ok || !b.served || rows < 1 || who == (pavise.Name{}) {
		return
	}
	if plausible(now) {
		m.latest = max(m.latest, instantOf(now))
	}
	mine := b.callers[who]
	held, shared := mine.held(), b.all.held()
	held.rate = b.terms.Rate.fill(held.rate, m.latest, own)
	held.budget = b.terms.Budget.fill(held.budget, m.latest, own)
	shared.rate = b.terms.ModelRate.fill(shared.rate, m.latest, rows)
	shared.budget = b.terms.ModelBudget.fill(shared.budget, m.latest, rows)
	if m.opens(mine, held, b, shared) && m.open+2 > m.max {
		m.sweep(2)
		mine = b.callers[who]
	}
	m.put(b, who, mine, held)
	m.putAll(b, shared)
	if cluster != (pavise.Name{}) {
		linked := b.callers[cluster].held()
		linked.budget = b.terms.ClusterBudget.fill(linked.budget, m.latest, rows)
		m.put(b, cluster, b.callers[cluster], linked)
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
func (c *charge) take(check, whose string, r *Rate, full instant) instant {
	next, early := r.take(full, c.now, c.rows)
	if early == 0 {
		return next
	}
	if c.verdict.Outcome != pavise.Deny {
		c.verdict = refused(check, fmt.Sprintf("%s more than %s has left (%v)", areRows(c.rows), whose, *r))
	}
	if early < 0 && !c.never {
		c.never = true
		c.verdict = refused(check, fmt.Sprintf("%s more than %s ever lets pass at once (%v); send fewer", areRows(c.rows), whose, *r))
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

// opens reports whether storing what two accounts hold needs a new place. m.mu is held.
func (m *Meter) opens(mine *buckets, own buckets, b *book, shared buckets) bool {
	return mine == nil && !own.drained(m.latest) || b.all == nil && !shared.drained(m.latest)
}

// put stores what the account of a caller holds, if it holds anything. at is where it
// stood. m.mu is held.
func (m *Meter) put(b *book, who pavise.Name, at *buckets, v buckets) {
	switch drained := v.drained(m.latest); {
	case at != nil && !drained:
		*at = v
	case at != nil:
		delete(b.callers, who)
		m.open--
	case !drained:
		// The caller's name may be part of a large token; keep only the name.
		b.callers[cloneName(who)] = &buckets{v.rate, v.budget}
		m.open++
	}
}

// putAll is put for the account of the model itself.
func (m *Meter) putAll(b *book, v buckets) {
	switch drained := v.drained(m.latest); {
	case b.all != nil && !drained:
		*b.all = v
	case b.all != nil:
		b.all = nil
		m.open--
	case !drained:
		b.all = &buckets{v.rate, v.budget}
		m.open++
	}
}

// Rewind has the meter's clock, and every instant at which a bucket will have drained, so much
// earlier: the clock that it was given was ahead, and was put right. What was taken before it was
// ahead has drained then, as it had when the clock stepped forward.
func (m *Meter) Rewind(by time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	earlier := func(at instant) instant { return max(at-instant(max(by, 0)), 0) }
	m.latest, m.full = earlier(m.latest), 0
	for _, b := range m.books {
		for _, own := range b.callers {
			own.rate, own.budget = earlier(own.rate), earlier(own.budget)
		}
		if b.all != nil {
			b.all.rate, b.all.budget = earlier(b.all.rate), earlier(b.all.budget)
		}
	}
}

// close forgets a book in which there is nothing. m.mu is held.
func (m *Meter) close(model pavise.Name, b *book) {
	if !b.served && b.all == nil && len(b.callers) == 0 {
		delete(m.books, model)
	}
}

func cloneName(n pavise.Name) pavise.Name {
	return pavise.Name{Tenant: strings.Clone(n.Tenant), Kind: strings.Clone(n.Kind), ID: strings.Clone(n.ID)}
}

// sweep forgets every account that is as good as new, which changes no
// decision, and reports whether there is room for so many more. Buckets only ever
// fill, so until the first account drains another sweep would find nothing; and
// it waits at least a second, so that a full meter stays cheap. m.mu is held.
func (m *Meter) sweep(need int) bool {
	if m.latest < m.full {
		return false
	}
	next := instant(math.MaxInt64)
	for model, b := range m.books {
		for who, at := range b.callers {
			if m.put(b, who, at, *at); !at.drained(m.latest) {
				next = min(next, max(at.rate, at.budget))
			}
		}
		if m.putAll(b, b.all.held()); b.all != nil {
			next = min(next, max(b.all.rate, b.all.budget))
		}
		m.close(model, b)
	}
	if m.open+need <= m.max {
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
	add := func(who, model pavise.Name, b buckets) {
		if !b.drained(at) {
			list = append(list, Spend{who, model, time.Unix(0, int64(b.rate)).UTC(), time.Unix(0, int64(b.budget)).UTC()})
		}
	}
	for model, b := range m.books {
		add(pavise.Name{}, model, b.all.held())
		for who, own := range b.callers {
			add(who, model, *own)
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
	fresh := make(map[[2]pavise.Name]bool)
	for _, s := range list {
		if b := m.books[s.Model]; b == nil || b.account(s.Who) == nil {
			fresh[[2]pavise.Name{s.Who, s.Model}] = true
		}
	}
	if m.open+len(fresh) > m.max {
		return &pavise.Error{
			Kind: pavise.Invalid,
			Msg:  fmt.Sprintf("%d spends to restore, and room for %d accounts", len(list), m.max),
			Hint: "raise the number of accounts the meter keeps",
		}
	}
	for _, s := range list {
		b := m.book(s.Model)
		at := b.account(s.Who)
		if at == nil {
			at = new(buckets)
			m.open++
			if s.Who == (pavise.Name{}) {
				b.all = at
			} else {
				b.callers[cloneName(s.Who)] = at
			}
		}
		at.rate, at.budget = max(at.rate, instantOf(s.Rate)), max(at.budget, instantOf(s.Budget))
	}
	return nil
}

// areRows counts rows in words.
func areRows(n int) string {
	if n == 1 {
		return "1 row is"
	}
	return fmt.Sprintf("%d rows are", n)
}
