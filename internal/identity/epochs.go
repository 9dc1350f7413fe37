package identity

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pavise/pavise"
)

// MaxEpochs is how many revocations there may be. When they are used up, what an
// issuer or a tenant has given out can still be revoked as a whole.
const MaxEpochs = 1 << 16

// maxIssuers is how many a tenant may have of issuers: more than it ever trusts, and
// few enough that names of none fill neither memory nor bundles.
const maxIssuers = 1 << 10

// An Epoch refuses what was given out before a time: tokens by when they were issued,
// certificates by when they begin. It is of one principal, of one issuer or trust
// domain, or, if neither is named, of the whole tenant. A principal's epoch is also
// that of whoever acts for it and of what it had made; an issuer's also that of what was
// exchanged for its proofs, the subject's or an actor's.
type Epoch struct {
	Tenant    string      `json:"tenant"`
	Principal pavise.Name `json:"principal,omitzero"`
	Issuer    string      `json:"issuer,omitempty"`
	Before    time.Time   `json:"before"` // whole seconds
}

// Check says what is wrong with an epoch. The error is of kind Invalid.
func (e Epoch) Check() error {
	var why string
	switch {
	case (pavise.Name{Tenant: e.Tenant, Kind: "x", ID: "x"}).Validate() != nil:
		why = "has no tenant"
	case e.Principal != (pavise.Name{}) && e.Issuer != "":
		why = "names a principal and an issuer"
	case e.Principal != (pavise.Name{}) && (e.Principal.Validate() != nil || e.Principal.Tenant != e.Tenant || !isKind(e.Principal.Kind)):
		why = "names a principal that is no caller of its tenant"
	case len(e.Issuer) > maxIssuer:
		why = "names an issuer in more than 1024 bytes"
	case e.Before.Unix() <= 0 || e.Before.Year() > 9999:
		why = "has no time"
	default:
		return nil
	}
	return &pavise.Error{Kind: pavise.Invalid, Msg: "the revocation " + why, Hint: "name a principal as tenant/kind/id, or an issuer by its URL, or neither for all of the tenant; and a time"}
}

// maxIssuer bounds the name of an issuer in an epoch, in bytes.
const maxIssuer = 1024

// Epochs are the revocations in force. They only grow: an epoch never goes back. Its
// methods may be called at the same time.
type Epochs struct {
	mu  sync.Mutex               // serialises writers
	set atomic.Pointer[epochSet] // replaced whole, never changed
}

// An epochKey is what an epoch is of.
type epochKey struct {
	tenant, issuer string
	principal      pavise.Name
}

// An epochSet is the revocations at a time.
type epochSet struct {
	revision uint64             // at least 1; another one has others
	before   map[epochKey]int64 // seconds since 1970
}

// NewEpochs returns revocations of nothing.
func NewEpochs() *Epochs {
	e := &Epochs{}
	e.set.Store(&epochSet{revision: 1, before: map[epochKey]int64{}})
	return e
}

// Revoke puts an epoch in force, for the next request. An earlier one of the same
// stays if it refuses more. The error is of kind Invalid, or Unavailable when there
// are MaxEpochs of principals, or very many of issuers.
func (e *Epochs) Revoke(epoch Epoch) error {
	if err := epoch.Check(); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	old := e.set.Load()
	if _, known := old.before[epoch.key()]; !known && old.full(epoch) {
		return tooMany(len(old.before) + 1)
	}
	next := &epochSet{revision: old.revision + 1, before: maps.Clone(old.before)}
	next.before[epoch.key()] = max(next.before[epoch.key()], epoch.Before.Unix())
	e.set.Store(next)
	return nil
}

// Merge puts many epochs in force at once, as a gateway does with those of a bundle.
// None is taken back: what a bundle leaves out stays. The error is of kind Invalid or
// Unavailable, and nothing has changed then.
func (e *Epochs) Merge(epochs []Epoch) error {
	if len(epochs) > 2*MaxEpochs {
		return tooMany(len(epochs))
	}
	for _, epoch := range epochs {
		if err := epoch.Check(); err != nil {
			return err
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	old := e.set.Load()
	next := &epochSet{revision: old.revision + 1, before: maps.Clone(old.before)}
	for _, epoch := range epochs {
		next.before[epoch.key()] = max(next.before[epoch.key()], epoch.Before.Unix())
	}
	if len(next.before) > 2*MaxEpochs {
		return tooMany(len(next.before))
	}
	e.set.Store(next)
	return nil
}

// full reports whether there is no room for another epoch of such a kind. For a whole
// tenant there always is.
func (s *epochSet) full(e Epoch) bool {
	if e.Principal != (pavise.Name{}) {
		return len(s.before) >= MaxEpochs
	}
	issuers := 0
	for k := range s.before {
		if k.tenant == e.Tenant && k.issuer != "" {
			issuers++
		}
	}
	return e.Issuer != "" && issuers >= maxIssuers
}

func tooMany(n int) error {
	return &pavise.Error{
		Kind: pavise.Unavailable, Msg: fmt.Sprintf("there are %d revocations, which is more than there may be", n),
		Hint: "revoke all that an issuer has given out, or all of a tenant's",
	}
}

// Snapshot returns the epochs in force, in a fixed order.
func (e *Epochs) Snapshot() []Epoch {
	set := e.set.Load()
	out := make([]Epoch, 0, len(set.before))
	for k, before := range set.before {
		out = append(out, Epoch{Tenant: k.tenant, Principal: k.principal, Issuer: k.issuer, Before: time.Unix(before, 0).UTC()})
	}
	slices.SortFunc(out, func(a, b Epoch) int {
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Issuer, b.Issuer), cmp.Compare(a.Principal.String(), b.Principal.String()))
	})
	return out
}

// admit refuses a proof that was given out too early. What stood against the
// revocations of now is not looked up again.
func (e *Epochs) admit(k *verified) error {
	set := e.set.Load()
	if k.epoch.Load() == set.revision {
		return nil
	}
	if set.revoked(&k.Proof) {
		return refuse(Revoked)
	}
	k.epoch.Store(set.revision)
	return nil
}

// revoked reports whether one of those that stand behind the proof is revoked.
func (s *epochSet) revoked(p *Proof) bool {
	issued, tenant := p.Issued.Unix(), p.Principal.Tenant
	if len(s.before) == 0 {
		return false
	}
	early := func(k epochKey) bool { return issued < s.before[k] }
	if early(epochKey{tenant: tenant}) ||
		early(epochKey{tenant: tenant, issuer: p.Principal.Issuer}) ||
		p.Origin != "" && early(epochKey{tenant: tenant, issuer: p.Origin}) {
		return true
	}
	for _, voucher := range p.Vouchers {
		if voucher != "" && early(epochKey{tenant: tenant, issuer: voucher}) {
			return true
		}
	}
	for _, name := range append([]pavise.Name{p.Principal.Name(), p.Principal.By, p.Subject}, p.Actors...) {
		if early(epochKey{tenant: tenant, principal: name}) {
			return true
		}
	}
	return false
}

func (e Epoch) key() epochKey {
	return epochKey{tenant: e.Tenant, issuer: e.Issuer, principal: e.Principal}
}

// Refuses reports whether a principal who was let in at a time is refused by now: what
// stands for it was revoked since.
func (e *Epochs) Refuses(who pavise.Principal, since time.Time) bool {
	return e.set.Load().revoked(&Proof{Principal: who, Issued: since})
}
