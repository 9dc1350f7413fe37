package deploy

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/store"
)

// The kinds of note that the room leaves.
const (
	KindSettled    = "deploy.settled"     // a target has what is wanted
	KindPartial    = "deploy.partial"     // a target does not, and was tried
	KindStrayed    = "deploy.strayed"     // a target ran another version that was approved once, or other shares
	KindUnapproved = "deploy.unapproved"  // a target ran what nobody approved
	KindUntraced   = "deploy.untraced"    // nobody can say what a version was trained on
	KindChanged    = "deploy.changed"     // the version is no longer the one that was approved
	KindRolledBack = "deploy.rolled-back" // the house went back by itself, or a machine at the edge did
	KindPaged      = "deploy.paged"       // the house would have to go back again, and asks somebody
	KindUnwatched  = "deploy.unwatched"   // a target is no longer looked at
)

// Config is what deployments are made of. All is required but Every and Say.
type Config struct {
	Guard    *guard.Guard
	Store    *store.DB
	Versions Versions
	Drivers  map[string]Driver // by the kind of target
	Now      func() time.Time
	Every    time.Duration                // how often a target is looked at; a minute if 0
	Say      func(word string, err error) // tells the operator what goes wrong; nil: nobody
}

// Deployments are those of an installation. They are safe for concurrent use.
type Deployments struct {
	cfg   Config
	nudge chan struct{} // something may be due sooner

	telling sync.Mutex // held while the registry is told

	mu      sync.Mutex                  // guards what follows
	busy    map[pavise.Name]*sync.Mutex // by target: held while it is looked at or changed
	rests   map[pavise.Name]time.Time   // targets of which what was seen could not be kept, and until when they rest
	away    map[pavise.Name]bool        // targets that Run is looking at
	slots   map[string]chan struct{}    // by tenant: how many targets it looks at beside each other
	stirred map[pavise.Name]bool        // deployments whose versions the registry says something else of; see Heard
	early   map[pavise.Name]bool        // targets that are looked at before their time
}

// Open returns the deployments that are in the store. Nothing is done before Run, but for
// what is in the safe direction.
func Open(ctx context.Context, cfg Config) (*Deployments, error) {
	if err := cfg.Store.Migrate(ctx, "deploy", steps); err != nil {
		return nil, err
	}
	if cfg.Say == nil {
		cfg.Say = func(string, error) {}
	}
	cfg.Every = cmp.Or(cfg.Every, time.Minute)
	return &Deployments{
		cfg: cfg, nudge: make(chan struct{}, 1), busy: map[pavise.Name]*sync.Mutex{},
		rests: map[pavise.Name]time.Time{}, away: map[pavise.Name]bool{}, slots: map[string]chan struct{}{},
		stirred: map[pavise.Name]bool{}, early: map[pavise.Name]bool{},
	}, nil
}

// soon has Run look again at what is due.
func (d *Deployments) soon() {
	select {
	case d.nudge <- struct{}{}:
	default:
	}
}

// Stir has the versions of a model that run somewhere held to the registry, and all its targets
// looked at, now and not when their time has come: the registry says something else of one.
func (d *Deployments) Stir(model pavise.Name) {
	d.mu.Lock()
	d.stirred[pavise.Name{Tenant: model.Tenant, Kind: Kind, ID: model.ID}] = true
	d.mu.Unlock()
	d.soon()
}

// Heard has the targets where calls are sent looked at now that did not have what is wanted: what
// a gateway of a fleet says of itself is something else than before.
func (d *Deployments) Heard() { d.Stir(pavise.Name{}) }

// lock keeps all others from a target until it is released.
func (d *Deployments) lock(target pavise.Name) (release func()) {
	d.mu.Lock()
	m := d.busy[target]
	if m == nil {
		m = &sync.Mutex{}
		d.busy[target] = m
	}
	d.mu.Unlock()
	m.Lock()
	return m.Unlock
}

// open makes the target that a place describes.
func (d *Deployments) open(p *Place) (Target, Driver, error) {
	driver, ok := d.cfg.Drivers[p.Kind]
	if !ok {
		return nil, driver, &pavise.Error{
			Kind: pavise.Invalid, Msg: fmt.Sprintf("%.40q is no kind of target", p.Kind),
			Hint: "these are: " + strings.Join(slices.Sorted(maps.Keys(d.cfg.Drivers)), ", "),
		}
	}
	if err := driver.check(p.Settings); err != nil {
		return nil, driver, err
	}
	t, err := driver.Open(p.Name, p.Settings)
	return t, driver, err
}

// maxSetting bounds the value of a setting, in bytes.
const maxSetting = 2048

// check refuses settings that the driver does not take, and the lack of those that it needs.
func (dr Driver) check(settings map[string]string) error {
	var takes []string
	for _, k := range dr.Keys {
		takes = append(takes, k.Key+" ("+k.About+")")
		if k.Required && settings[k.Key] == "" {
			return &pavise.Error{Kind: pavise.Invalid, Msg: "such a target needs the setting " + k.Key + ": " + k.About, Hint: "--set " + k.Key + "=…"}
		}
	}
	for key, value := range settings {
		if !slices.ContainsFunc(dr.Keys, func(k Setting) bool { return k.Key == key }) {
			return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("such a target has no setting %.40q", key), Hint: "it takes " + strings.Join(takes, "; ")}
		}
		if len(value) > maxSetting {
			return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the setting %s has %d bytes, more than %d", key, len(value), maxSetting)}
		}
	}
	return nil
}

// A noted is the detail of the room's notes.
type noted struct {
	Finding *pavise.Finding `json:"finding,omitempty"`
	Target  pavise.Name     `json:"target,omitzero"`
	Version int             `json:"version,omitempty"`
	Digest  string          `json:"digest,omitempty"`
	Ran     string          `json:"ran,omitempty"` // what was seen there
	Problem string          `json:"problem,omitempty"`
	Tries   int             `json:"tries,omitempty"`
	Reached int             `json:"reached,omitempty"`
	Of      int             `json:"of,omitempty"`
}

// note leaves a note, which is a finding unless severity is empty.
func (d *Deployments) note(ctx context.Context, kind, severity string, on pavise.Name, summary string, n noted) error {
	if severity != "" {
		n.Finding = &pavise.Finding{Kind: kind, Severity: severity, On: on, Summary: summary, At: d.cfg.Now().UTC()}
	}
	return d.cfg.Guard.Note(ctx, kind, nil, on, n)
}

// message is what an error says to people.
func message(err error) string {
	text := err.Error()
	if e, ok := err.(*pavise.Error); ok {
		text = e.Msg
	}
	return text[:min(len(text), maxProblem)]
}

// maxProblem bounds what is kept of what went wrong, in bytes.
const maxProblem = 500
