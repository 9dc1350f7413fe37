package registry

import (
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/policy"
)

// facts are what policies may ask of models and versions, in memory: the guard asks at every
// request.
type facts struct {
	mu       sync.RWMutex                   // guards what follows
	versions map[pavise.Name]policy.Facts   // by version
	models   map[pavise.Name]map[int]served // by model: of the versions that serve, or were put in quarantine while they did
	kept     map[pavise.Name]Ref            // by version: those of which nobody gets the files
	turn     uint64                         // goes up when one of those is told of

	barred atomic.Pointer[map[pavise.Name]bool] // the models that nobody asks; few, and asked for at every inference
}

// A served is a version that serves, or was put in quarantine while it did and never released.
type served struct {
	quarantined bool
	since       time.Time
}

// tell takes in versions as they are kept.
func (f *facts) tell(all ...*Version) {
	if len(all) == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.versions == nil {
		f.versions, f.models, f.kept = map[pavise.Name]policy.Facts{}, map[pavise.Name]map[int]served{}, map[pavise.Name]Ref{}
	}
	bars := map[pavise.Name]bool{}
	for _, v := range all {
		f.versions[v.Name()] = policy.Facts{Quarantined: v.Barred(), State: string(v.State), Risk: string(v.Risk)}
		f.keep(v)
		model := v.Ref.Of(v.Tenant)
		of := f.models[model]
		if of == nil {
			of = map[int]served{}
		}
		delete(of, v.Ref.Version)
		switch {
		case alone(v.State):
			of[v.Ref.Version] = served{false, v.Since}
		case v.Barred() && alone(v.Was):
			of[v.Ref.Version] = served{true, v.barredSince()}
		}
		if f.models[model] = of; len(of) == 0 {
			delete(f.models, model)
		}
		bars[model] = bar(of)
	}
	f.bar(bars)
}

// keep notes whether a version is one of which nobody gets the files. f.mu is held.
func (f *facts) keep(v *Version) {
	if _, was := f.kept[v.Name()]; !was && !v.Barred() {
		return
	}
	f.turn++
	if delete(f.kept, v.Name()); v.Barred() {
		f.kept[v.Name()] = v.Ref
	}
}

// alone reports whether a version in the state is what a model's name means.
func alone(s State) bool { return s.Serves() && s != Canary }

// bar reports whether a model is not to be asked: what its name meant is in quarantine, and
// nothing has taken its place since.
func bar(of map[int]served) bool {
	var quarantined, serves time.Time
	for _, s := range of {
		switch {
		case s.quarantined && s.since.After(quarantined):
			quarantined = s.since
		case !s.quarantined && s.since.After(serves):
			serves = s.since
		}
	}
	return quarantined.After(serves)
}

// bar sets which of some models are not to be asked.
func (f *facts) bar(set map[pavise.Name]bool) {
	was := map[pavise.Name]bool{}
	if p := f.barred.Load(); p != nil {
		was = *p
	}
	now := maps.Clone(was)
	for model, is := range set {
		if delete(now, model); is {
			now[model] = true
		}
	}
	if !maps.Equal(was, now) {
		f.barred.Store(&now)
	}
}

// Facts are what policies may ask of a version, tenant/model/NAME@N, and whether a model is
// in quarantine as a whole: the version that served is, and none was put in its place since.
//
// Unguarded: the guard asks.
func (r *Registry) Facts(name pavise.Name) policy.Facts {
	if name.Kind != Kind {
		return policy.Facts{}
	}
	if strings.IndexByte(name.ID, at) < 0 {
		barred := r.facts.barred.Load()
		return policy.Facts{Quarantined: barred != nil && (*barred)[name]}
	}
	r.facts.mu.RLock()
	defer r.facts.mu.RUnlock()
	return r.facts.versions[name]
}
