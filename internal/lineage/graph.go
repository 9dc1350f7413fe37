package lineage

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/pavise/pavise"
)

// A Seal is one that was made of a dataset: what its bytes were, and when.
type Seal struct {
	Dataset Dataset
	Root    string    // 64 hex digits
	Rows    int64     // 0: they were not counted
	At      time.Time // when it was made
}

// A Run is one run of a job, as who told of it first has it: what others say of the same
// run is among the claims, and changes nothing here.
type Run struct {
	ID     string      `json:"run"` // a UUID
	Job    Dataset     `json:"job"`
	Parent string      `json:"parent,omitempty"`
	By     pavise.Name `json:"by"`               // who told of it first, as received
	Others int         `json:"others,omitempty"` // so many others told of it, too: a run has one teller
	State  string      `json:"state"`            // the last event's type by its own time
	Begun  time.Time   `json:"begun"`            // the first event's time
	Told   time.Time   `json:"told"`             // the last event's time
}

// A Claim is that a run read or wrote a dataset.
type Claim struct {
	Run    string      `json:"run"`
	Writes bool        `json:"writes"`
	Use    Use         `json:"use"`
	By     pavise.Name `json:"by"` // who claims it
	At     time.Time   `json:"at"` // when, by the clock of who claims it
}

// A Graph is what claims and seals say together. It is the same whatever the order in
// which they came. The zero Graph is empty. It is not for use by several goroutines.
type Graph struct {
	runs     map[string]*Run
	claims   map[claimKey]Claim // the earliest of those that say the same
	byRun    map[string][]claimKey
	byData   map[Dataset][]claimKey
	byRoot   map[string][]claimKey
	tellers  map[string]map[pavise.Name]*telling // of a run
	seals    map[Dataset][]Seal
	sealedAs map[string][]Dataset // by root
	types    map[Dataset]string   // TABLE, MODEL …, as somebody said
}

// typeModel is the type of a dataset that is a model.
const typeModel = "MODEL"

// A claimKey is what makes two claims the same one.
type claimKey struct {
	run    string
	writes bool
	use    Use
	by     pavise.Name
}

// Add takes an event as the claim of whoever sent it, when it was received by a clock of
// ours: a run is told of by who told first, and senders' clocks say what they like.
func (g *Graph) Add(e Event, by pavise.Name, received time.Time) {
	g.init()
	for _, u := range slices.Concat(e.Inputs, e.Outputs) {
		if known := g.types[u.Dataset]; u.Type == typeModel || known != typeModel && u.Type > known {
			g.types[u.Dataset] = u.Type // the same whichever comes first; what anybody calls a model is one
		}
	}
	if e.Run == "" {
		return // what jobs and datasets are in general is no use of bytes
	}
	g.tell(e, by, received)
	for _, u := range e.Inputs {
		g.claim(Claim{Run: e.Run, Use: u, By: by, At: e.At})
	}
	for _, u := range e.Outputs {
		g.claim(Claim{Run: e.Run, Writes: true, Use: u, By: by, At: e.At})
	}
}

// AddSeal takes a seal that was made of a dataset.
func (g *Graph) AddSeal(s Seal) {
	g.init()
	if slices.Contains(g.seals[s.Dataset], s) {
		return
	}
	g.seals[s.Dataset] = append(g.seals[s.Dataset], s)
	slices.SortFunc(g.seals[s.Dataset], func(a, b Seal) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Root, b.Root))
	})
	if !slices.Contains(g.sealedAs[s.Root], s.Dataset) {
		g.sealedAs[s.Root] = append(g.sealedAs[s.Root], s.Dataset)
		slices.SortFunc(g.sealedAs[s.Root], byName)
	}
}

// Sealed returns the graph with these seals and no others. Both share what was told, so
// neither may be added to while the other is used.
func (g *Graph) Sealed(seals []Seal) *Graph {
	g.init()
	sealed := *g
	sealed.seals, sealed.sealedAs = map[Dataset][]Seal{}, map[string][]Dataset{}
	for _, s := range seals {
		sealed.AddSeal(s)
	}
	return &sealed
}

// Datasets returns the datasets that runs read or wrote, in order.
func (g *Graph) Datasets() []Dataset {
	return slices.SortedFunc(maps.Keys(g.byData), byName)
}

func (g *Graph) init() {
	if g.runs != nil {
		return
	}
	g.runs, g.claims = map[string]*Run{}, map[claimKey]Claim{}
	g.byRun, g.byData = map[string][]claimKey{}, map[Dataset][]claimKey{}
	g.byRoot = map[string][]claimKey{}
	g.tellers = map[string]map[pavise.Name]*telling{}
	g.seals, g.sealedAs, g.types = map[Dataset][]Seal{}, map[string][]Dataset{}, map[Dataset]string{}
}

// A telling is what one teller says of a run.
type telling struct {
	since  time.Time // when they first told of it, as received
	job    Dataset   // of their event with the earliest time
	parent string
	state  string // of their event with the latest time
	begun  time.Time
	told   time.Time
}

// tell has an event say what it says of its run. Each teller's words are kept apart, so
// that nobody renames, ends or begins a run that somebody else told of first.
func (g *Graph) tell(e Event, by pavise.Name, received time.Time) {
	tellers := g.tellers[e.Run]
	if tellers == nil {
		tellers = map[pavise.Name]*telling{}
		g.tellers[e.Run], g.runs[e.Run] = tellers, &Run{ID: e.Run}
	}
	t := tellers[by]
	if t == nil {
		t = &telling{since: received, job: e.Job, begun: e.At, told: e.At}
		tellers[by] = t
	}
	if received.Before(t.since) {
		t.since = received
	}
	if e.At.Before(t.begun) || e.At.Equal(t.begun) && byName(e.Job, t.job) < 0 {
		t.begun, t.job = e.At, e.Job
	}
	if state := cmp.Or(e.Type, "OTHER"); e.At.After(t.told) || e.At.Equal(t.told) && state > t.state {
		t.told, t.state = e.At, state
	}
	t.parent = max(t.parent, e.Parent)
	who := first(tellers)
	t = tellers[who]
	*g.runs[e.Run] = Run{
		ID: e.Run, Job: t.job, Parent: t.parent, By: who, Others: len(tellers) - 1, State: t.state, Begun: t.begun, Told: t.told,
	}
}

// first is who told first.
func first(tellers map[pavise.Name]*telling) pavise.Name {
	return slices.MinFunc(slices.Collect(maps.Keys(tellers)), func(a, b pavise.Name) int {
		return cmp.Or(tellers[a].since.Compare(tellers[b].since), cmp.Compare(a.String(), b.String()))
	})
}

func (g *Graph) claim(c Claim) {
	key := claimKey{c.Run, c.Writes, c.Use, c.By}
	kept, known := g.claims[key]
	if !known {
		g.byRun[c.Run] = append(g.byRun[c.Run], key)
		g.byData[c.Use.Dataset] = append(g.byData[c.Use.Dataset], key)
		if c.Use.Root != "" {
			g.byRoot[c.Use.Root] = append(g.byRoot[c.Use.Root], key)
		}
	}
	if !known || c.At.Before(kept.At) {
		g.claims[key] = c
	}
}

// A Standing is what a claim is worth beside the seals that there are.
type Standing string

// The standings of a claim.
const (
	Sealed   Standing = "sealed"   // it names a seal that was made of that dataset
	Unsealed Standing = "unsealed" // it names none
	Unknown  Standing = "unknown"  // it names one, and none is known of that dataset
	Refuted  Standing = "refuted"  // it names one that the dataset never had, or not so
)

// Standings returns all that there are, the best first.
func Standings() []Standing { return []Standing{Sealed, Unsealed, Unknown, Refuted} }

// Grave is how bad a standing is: the place in Standings.
func (s Standing) Grave() int { return slices.Index(Standings(), s) }

// Words say what a standing means, of a claim.
func (s Standing) Words() string {
	return map[Standing]string{
		Sealed: "names a seal of the dataset", Unsealed: "names no seal", Unknown: "names a seal, and none is known of the dataset",
		Refuted: "names one that the dataset never had",
	}[s]
}

// Judge says what a claim is worth, and why in words.
//
// A claim with a seal that is known for the dataset is as good as who makes it: those
// bytes were there, and the run could have read them. A claim with another seal than the
// dataset ever had is refuted, and kept. That a run which names no seal read what it says
// is anybody's word.
func (g *Graph) Judge(u Use) (Standing, string) {
	if u.Root == "" {
		return Unsealed, "it names no seal"
	}
	seals := g.seals[u.Dataset]
	at := slices.IndexFunc(seals, func(s Seal) bool { return s.Root == u.Root })
	others := g.sealedAs[u.Root]
	switch {
	case at >= 0 && u.Rows > 0 && seals[at].Rows > 0 && u.Rows != seals[at].Rows:
		return Refuted, fmt.Sprintf("it says %d rows, and the seal is of %d", u.Rows, seals[at].Rows)
	case at >= 0:
		return Sealed, "the seal was made of this dataset"
	case len(seals) > 0 && len(others) > 0:
		return Refuted, fmt.Sprintf("the seal is one of %s, and this dataset never had it", others[0])
	case len(seals) == 1:
		return Refuted, "this dataset has one seal, and that is not it"
	case len(seals) > 0:
		return Refuted, fmt.Sprintf("this dataset has %d seals, and that is none of them", len(seals))
	case len(others) == 1 && others[0] == Dataset{}:
		return Unknown, "the seal is known, and nobody says of which dataset it is"
	case len(others) > 0:
		return Unknown, fmt.Sprintf("the seal is one of %s, and none is known of this dataset", others[0])
	}
	return Unknown, "no seal of this dataset is known"
}

// claimsOf returns the claims under the keys in an order of their own.
func (g *Graph) claimsOf(keys []claimKey) []Claim {
	all := make([]Claim, 0, len(keys))
	for _, k := range keys {
		all = append(all, g.claims[k])
	}
	slices.SortFunc(all, claimOrder)
	return all
}

// claimOrder is an order of claims. It looks at one thing after the other, for long lists are
// sorted again and again.
func claimOrder(a, b Claim) int {
	if c := cmp.Compare(a.Run, b.Run); c != 0 {
		return c
	}
	if c := boolFirst(a.Writes, b.Writes); c != 0 {
		return c
	}
	if c := byName(a.Use.Dataset, b.Use.Dataset); c != 0 {
		return c
	}
	return cmp.Or(cmp.Compare(a.Use.Root, b.Use.Root), cmp.Compare(a.Use.Version, b.Use.Version),
		cmp.Compare(a.Use.Type, b.Use.Type), cmp.Compare(a.Use.Rows, b.Use.Rows), cmp.Compare(a.By.String(), b.By.String()))
}

func byName(a, b Dataset) int {
	return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
}

// boolFirst orders false before true: reads before writes.
func boolFirst(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}
