package gateway

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/prompt"
)

// KindAlerted is the kind of the note that says that a request to a language model, or its
// answer, met a rule that is an alert.
const KindAlerted = "firewall.alerted"

const (
	// alertAgain is after how long an alert of one caller, model and rule is noted again.
	alertAgain = time.Hour
	// maxAlerts bounds the alerts that are told apart at the models of one tenant: another's
	// callers take no room away. Of what is beyond, one note says so for each model.
	maxAlerts = 1 << 12
)

// alerts are those that were noted lately: each is a record, and callers meet rules at will.
// It is safe for concurrent use.
type alerts struct {
	mu  sync.Mutex
	all map[string]*tenantAlerts // by the tenant of the model: as many as have routes; guarded by mu
}

// tenantAlerts are those at the models of one tenant.
type tenantAlerts struct {
	last map[alert]time.Time
	full time.Time // until a minute later nothing is swept
}

// An alert is one rule that a caller met at a model. Without a caller and a rule it is all that
// there is no room for.
type alert struct {
	model, who pavise.Name
	rule       string
}

// fresh returns the rules of which nothing was noted for the caller and the model lately, and
// notes that it is now. crowded says that there is no room to tell, and that this was not said
// lately.
func (a *alerts) fresh(now time.Time, model, who pavise.Name, rules []string) (fresh []string, crowded bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	own := a.all[model.Tenant]
	if own == nil {
		own = &tenantAlerts{last: map[alert]time.Time{}}
		if a.all == nil {
			a.all = map[string]*tenantAlerts{}
		}
		a.all[model.Tenant] = own
	}
	for _, rule := range rules {
		one := alert{model, who, rule}
		if own.lately(now, one) {
			continue
		}
		if !own.room(now, one) {
			one = alert{model: model}
			if !own.lately(now, one) {
				own.last[one], crowded = now, true
			}
			continue
		}
		own.last[one], fresh = now, append(fresh, rule)
	}
	return fresh, crowded
}

// lost has alerts be noted when they are next met: nobody took them. Without a caller, and with
// an empty rule, it is the one that there is no room.
func (a *alerts) lost(model, who pavise.Name, rules ...string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	own := a.all[model.Tenant]
	if own == nil {
		return
	}
	for _, rule := range rules {
		delete(own.last, alert{model, who, rule})
	}
}

// lately reports whether an alert was noted within the hour. A clock that was set back has
// noted nothing.
func (a *tenantAlerts) lately(now time.Time, one alert) bool {
	last, noted := a.last[one]
	return noted && !now.Before(last) && now.Sub(last) < alertAgain
}

// room reports whether there is room for an alert, after it has forgotten those of before.
func (a *tenantAlerts) room(now time.Time, one alert) bool {
	if _, known := a.last[one]; known || len(a.last) < maxAlerts {
		return true
	}
	if since := now.Sub(a.full); since >= 0 && since < time.Minute {
		return false // a sweep costs a caller's time, and callers fill the room at will
	}
	a.full = now
	for k := range a.last {
		if !a.lately(now, k) {
			delete(a.last, k)
		}
	}
	return len(a.last) < maxAlerts
}

// alert notes, off the way of the exchange, that rules which are alerts were met in what: a
// request or an answer. It says which, and nothing of what was said.
func (x *ChatExchange) alert(what string, told []prompt.Told) {
	var rules []string
	for _, t := range told {
		if t.Action == prompt.Alert && !slices.Contains(rules, t.Rule) {
			rules = append(rules, t.Rule)
		}
	}
	if len(rules) == 0 {
		return
	}
	now := x.gateway.now()
	fresh, crowded := x.gateway.alerts.fresh(now, x.call.Model, x.who.Name(), rules)
	f := pavise.Finding{Kind: KindAlerted, Severity: pavise.Warning, On: x.call.Model, Who: x.who.Name(), At: now.UTC()}
	if len(fresh) > 0 {
		f.Summary = fmt.Sprintf("%s met what would be refused if it were no alert: %s", what, strings.Join(fresh, ", "))
		if !x.gateway.suspects.Tell(f) {
			x.gateway.alerts.lost(x.call.Model, x.who.Name(), fresh...)
		}
	}
	if crowded {
		f.Who, f.Summary = pavise.Name{}, "more callers meet rules that are alerts than can be told apart: their records say which"
		if !x.gateway.suspects.Tell(f) {
			x.gateway.alerts.lost(x.call.Model, pavise.Name{}, "")
		}
	}
}
