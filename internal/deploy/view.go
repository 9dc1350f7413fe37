package deploy

import (
	"fmt"
	"slices"
	"time"

	"github.com/pavise/pavise"
)

// A Spec says what a target is: the request of target.put.
type Spec struct {
	Kind     string            `json:"kind"`
	Settings map[string]string `json:"settings,omitempty"`
}

// A Place is a target that the installation knows.
type Place struct {
	Name pavise.Name `json:"name"` // tenant/target/id
	Spec
	By         pavise.Name `json:"by"`
	Since      time.Time   `json:"since"`
	Change     pavise.Name `json:"change,omitzero"`     // in which it was approved
	Deployment pavise.Name `json:"deployment,omitzero"` // what runs there; zero: nothing of ours
}

// A Held is a version at a target.
type Held struct {
	Version  int       `json:"version"`
	Digest   string    `json:"digest"`
	Artefact string    `json:"artefact"` // by which the target knows it
	Since    time.Time `json:"since"`    // when somebody wanted it there
}

// A Spot is what is wanted at one target, and what was seen there.
type Spot struct {
	Target   pavise.Name `json:"target"`
	Main     *Held       `json:"main,omitempty"`   // nil: nothing is to run
	Beside   *Held       `json:"beside,omitempty"` // nil: none
	Weight   int         `json:"weight,omitempty"`
	Shadow   bool        `json:"shadow,omitempty"`
	Before   []Held      `json:"before,omitempty"`  // what was main before, the newest first
	Leaving  []string    `json:"leaving,omitempty"` // artefacts that may be seen there until what is wanted is there
	Revision uint64      `json:"revision"`          // at which this was wanted
	Safe     bool        `json:"safe,omitempty"`    // it is the way back

	Applied uint64    `json:"applied"` // the revision that was last seen there whole; 0: none was
	Seen    *State    `json:"seen,omitempty"`
	Problem string    `json:"problem,omitempty"` // why it is not as it is wanted; empty: it is, or nobody has looked yet
	Since   time.Time `json:"since,omitzero"`    // of the problem
	Tries   int       `json:"tries,omitempty"`   // that came to nothing
	Told    bool      `json:"told,omitempty"`    // the problem is a finding
	Next    time.Time `json:"next,omitzero"`     // when it is looked at again
}

// An Alarm is that something ran that nobody approved.
type Alarm struct {
	Target pavise.Name `json:"target"`
	Ran    string      `json:"ran"` // its digest
	At     time.Time   `json:"at"`
	Times  int         `json:"times"`
}

// A Taken is a version that was taken back.
type Taken struct {
	Version int       `json:"version"`
	Digest  string    `json:"digest"`
	Why     string    `json:"why"`
	At      time.Time `json:"at"`
}

// A Deployment is a model where it runs.
type Deployment struct {
	Name      pavise.Name `json:"name"` // tenant/deployment/id of the model
	Revision  uint64      `json:"revision"`
	Spots     []Spot      `json:"spots"` // by target
	Change    pavise.Name `json:"change,omitzero"`
	By        pavise.Name `json:"by"`
	At        time.Time   `json:"at"`
	Alarm     *Alarm      `json:"alarm,omitempty"`         // it bars everything but a release and the way back
	Automatic time.Time   `json:"last_automatic,omitzero"` // when the house last went back by itself
	Barred    []Taken     `json:"taken_back,omitempty"`    // until they are released again
	// Told is what the registry was last told of each version, and Untraced of which versions
	// it was told that nobody can say what they were trained on.
	Told     map[int]string `json:"told,omitempty"`
	Untraced []int          `json:"untraced,omitempty"`
	Paged    uint64         `json:"paged,omitempty"` // the revision at which somebody was asked to go back
}

// A Stage is how far a deployment is.
type Stage string

// The stages.
const (
	StageRolling  Stage = "rolling"  // some target does not have what is wanted yet
	StageCanary   Stage = "canary"   // every one has, and a version has a share of the calls, or hears them
	StageLive     Stage = "live"     // every one has
	StageDegraded Stage = "degraded" // a target is in trouble, or the registry bars what is to run
	StageAlarm    Stage = "alarm"    // something ran that nobody approved
	StageStopped  Stage = "stopped"  // nothing is to run
)

// Model is the model that it is of.
func (d *Deployment) Model() pavise.Name {
	return pavise.Name{Tenant: d.Name.Tenant, Kind: "model", ID: d.Name.ID}
}

// Stage is how far it is.
func (d *Deployment) Stage() Stage {
	stage := StageStopped
	for i := range d.Spots {
		if s := &d.Spots[i]; s.Beside != nil {
			stage = StageCanary
		} else if s.Main != nil && stage == StageStopped {
			stage = StageLive
		}
	}
	switch {
	case d.Alarm != nil:
		return StageAlarm
	case slices.ContainsFunc(d.Spots, func(s Spot) bool { return s.Told }):
		return StageDegraded
	case slices.ContainsFunc(d.Spots, func(s Spot) bool { return s.Applied != s.Revision || s.Problem != "" }):
		return StageRolling
	}
	return stage
}

// spot finds what is wanted at a target; nil: nothing.
func (d *Deployment) spot(target pavise.Name) *Spot {
	at := slices.IndexFunc(d.Spots, func(s Spot) bool { return s.Target == target })
	if at < 0 {
		return nil
	}
	return &d.Spots[at]
}

// standing is how far each version has come here, as the registry is to be told.
func (d *Deployment) standing() map[int]string {
	at := map[int]string{}
	for version := range d.Told {
		at[version] = "published" // it serves nobody here, unless what follows says so
	}
	for _, t := range d.Barred {
		at[t.Version] = "rolled_back"
	}
	tell := func(h *Held, state string, there bool) {
		switch {
		case h == nil:
		case there:
			at[h.Version] = state
		case at[h.Version] == "published": // it is on its way, or still there
			delete(at, h.Version)
		}
	}
	for i := range d.Spots {
		s := &d.Spots[i]
		tell(s.Beside, "canary", s.Applied == s.Revision)
	}
	for i := range d.Spots {
		s := &d.Spots[i]
		tell(s.Main, "live", s.Applied == s.Revision)
	}
	return at
}

// A View is a deployment as it is shown.
type View struct {
	Deployment
	Stage Stage `json:"stage"`
	Ready int   `json:"ready"` // so many targets have what is wanted
	// Withheld are the versions that are to run and that the registry bars by now, with the
	// states that it says: they were not taken back yet.
	Withheld map[int]string `json:"withheld,omitempty"`
	// Gateways is what each gateway of a fleet last said that it asks; a list of deployments
	// leaves it out.
	Gateways []Part `json:"gateways,omitempty"`
}

func viewOf(d *Deployment) View {
	v := View{Deployment: *d, Stage: d.Stage()}
	for _, s := range d.Spots {
		if s.Applied == s.Revision && s.Problem == "" {
			v.Ready++
		}
	}
	return v
}

// said are the parts of a target, in words. known are the numbers of versions that were taken
// back, by what the target knows them by.
func (s *Spot) said(t Spread, known map[string]int) []Part {
	name := func(artefact string) string {
		for _, h := range s.ever() {
			if h.Artefact == artefact {
				return fmt.Sprintf("version %d", h.Version)
			}
		}
		if n, ok := known[artefact]; ok {
			return fmt.Sprintf("version %d", n)
		}
		return artefact[:min(len(artefact), 80)]
	}
	parts := t.Parts()
	for i := range parts {
		p := &parts[i]
		p.Target = s.Target
		switch {
		case p.Main == "":
			p.Words = "it does not say which"
		case p.Beside == "":
			p.Words = name(p.Main)
		case p.Shadow:
			p.Words = fmt.Sprintf("%s, heard by %s", name(p.Main), name(p.Beside))
		default:
			p.Words = fmt.Sprintf("%s, and %s for %d in 100 calls", name(p.Main), name(p.Beside), p.Weight)
		}
	}
	return parts
}

// A List holds deployments by name.
type List struct {
	Deployments []View `json:"deployments"`
}

// Places holds targets by name.
type Places struct {
	Targets []Place `json:"targets"`
}

// words say what is wanted at a spot.
func (s *Spot) words() string {
	switch {
	case s.Main == nil:
		return "nothing"
	case s.Beside == nil:
		return fmt.Sprintf("version %d", s.Main.Version)
	case s.Shadow:
		return fmt.Sprintf("version %d, heard by version %d", s.Main.Version, s.Beside.Version)
	}
	return fmt.Sprintf("version %d, and version %d for %d in 100 calls", s.Main.Version, s.Beside.Version, s.Weight)
}

// matches reports whether what was seen is what is wanted, but for how it does.
func (s *Spot) matches(seen State) bool {
	want := State{Weight: s.Weight, Shadow: s.Shadow}
	if s.Main != nil {
		want.Main = s.Main.Artefact
	}
	if s.Beside != nil {
		want.Beside = s.Beside.Artefact
	}
	return seen.Main == want.Main && seen.Beside == want.Beside && seen.Weight == want.Weight && seen.Shadow == want.Shadow
}

// knows reports whether a digest is of something that was approved for the spot.
func (s *Spot) knows(artefact string) bool {
	if artefact == "" || s.Main != nil && s.Main.Artefact == artefact || s.Beside != nil && s.Beside.Artefact == artefact {
		return true
	}
	return slices.Contains(s.Leaving, artefact) || slices.ContainsFunc(s.Before, func(h Held) bool { return h.Artefact == artefact })
}

// has reports whether a version is to run at the spot.
func (s *Spot) has(version int) bool {
	return s.Main != nil && s.Main.Version == version || s.Beside != nil && s.Beside.Version == version
}

// bars reports whether an artefact is that of a version which ran at a spot once and was taken
// back since, and of none that is to run there or is on its way out.
func (d *Deployment) bars(s *Spot, artefact string) bool {
	if slices.Contains(s.Leaving, artefact) || s.Main != nil && s.Main.Artefact == artefact || s.Beside != nil && s.Beside.Artefact == artefact {
		return false
	}
	return slices.ContainsFunc(s.Before, func(h Held) bool {
		return h.Artefact == artefact && d.tookBack(h.Digest)
	})
}

// artefacts are what may be seen at a spot now.
func (s *Spot) artefacts() (list []string) {
	for _, h := range []*Held{s.Main, s.Beside} {
		if h != nil {
			list = append(list, h.Artefact)
		}
	}
	if s.Applied != s.Revision {
		list = append(list, s.Leaving...)
	}
	slices.Sort(list)
	return slices.Compact(list)
}
