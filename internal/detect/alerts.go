package detect

import (
	"sync"
	"time"

	"github.com/pavise/pavise"
)

const (
	// alertAgain is after how long an alert of one caller, model and rule is noted again.
	alertAgain = time.Hour
	// maxAlerts bounds the alerts that are told apart at the models of one tenant: another's
	// callers take no room away. Of what is beyond, one note says so for each model.
	maxAlerts = 1 << 12
)

// Alerts are those that were noted lately: each is a record, and callers meet rules at will.
// It is safe for concurrent use.
type Alerts struct {
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

// Fresh returns the rules of which nothing was noted for the caller and the model lately, and
// notes that it is now. crowded says that there is no room to tell, and that this was not said
// lately.
func (a *Alerts) Fresh(now time.Time, model, who pavise.Name, rules []string) (fresh []string, crowded bool) {
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

// Lost has alerts be noted when they are next met: nobody took them. Without a caller, and with
// an empty rule, it is the one that there is no room.
func (a *Alerts) Lost(model, who pavise.Name, rules ...string) {
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
