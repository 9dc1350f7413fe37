package lineage

import (
	"cmp"
	"fmt"
	"slices"
)

// A Sureness is how sure it is that a run saw something.
type Sureness string

// How sure an exposure is.
const (
	Proven   Sureness = "proven"   // every step names a seal that holds
	Claimed  Sureness = "claimed"  // every read names a seal, and not every step one that is known here
	Possible Sureness = "possible" // some read goes by a dataset's name alone, or by a refuted claim
)

// weaker returns the weaker of two.
func weaker(a, b Sureness) Sureness {
	order := []Sureness{Proven, Claimed, Possible}
	return order[max(slices.Index(order, a), slices.Index(order, b))]
}

// An Exposed is something that came after bytes that were asked about: a run that read
// them, or a dataset or model that such a run wrote.
type Exposed struct {
	Run     *Run     `json:"run,omitempty"`
	Dataset *Dataset `json:"dataset,omitempty"`
	Root    string   `json:"root,omitempty"` // of the dataset as it was written, if that was said
	Model   bool     `json:"model,omitempty"`
	Steps   int      `json:"steps"` // runs on the shortest way here; 1: it read the bytes themselves
	Sure    Sureness `json:"sure"`  // on the surest way
	Why     string   `json:"why"`   // the last step of that way, in words
	From    string   `json:"from"`  // where that step began: a run's id, or a dataset
}

// An Exposure is all that came after bytes that were asked about.
type Exposure struct {
	Runs     []Exposed `json:"runs"`
	Models   []Exposed `json:"models"`
	Datasets []Exposed `json:"datasets"`
	More     bool      `json:"more,omitempty"` // there is more than was looked at, or is listed
}

// maxLooked bounds how many claims one question looks at: whoever tells of a dataset with
// thousands of roots, and of thousands that read it, must not keep others waiting.
const maxLooked = 1_000_000

// Exposed finds what came after datasets whose seals have one of the roots: the runs that
// read them, what those wrote, who read that, and so on.
//
// It errs towards more: a run that names no seal, or none that is known of the dataset,
// may have read any state of it, and is possible. Only a run that names another seal which
// was made of the dataset is left out: it says that it read other bytes, which were there.
//
// Bytes that lay at a dataset's place without a seal being made of them have no root that the
// graph knows: the holdings say of which dataset they were, and who read that by its name may
// have read them.
func (g *Graph) Exposed(roots []string, holdings ...Holding) Exposure {
	w := &walk{g: g, runs: map[string]Exposed{}, written: map[written]Exposed{}}
	for _, root := range roots {
		for _, d := range g.sealedAs[root] {
			w.next = append(w.next, tainted{written{d, root}, Proven, 0})
		}
		w.next = append(w.next, tainted{written{Root: root}, Claimed, 0})
		for _, k := range g.byRoot[root] { // whoever reads such a dataset by its name may have read that
			w.next = append(w.next, tainted{written{k.use.Dataset, root}, Claimed, 0})
		}
	}
	for _, h := range holdings {
		if h.Count > 0 && h.Of != (Dataset{}) && !slices.Contains(g.sealedAs[h.Root], h.Of) {
			w.next = append(w.next, tainted{written{h.Of, h.Root}, Claimed, 0})
		}
	}
	for len(w.next) > 0 {
		if w.looked > maxLooked {
			w.more = true
			break
		}
		at := w.next[0]
		w.next = w.next[1:]
		w.readers(at)
	}
	return w.result()
}

// written is a state of a dataset: its bytes, or "" for whatever they were.
type written struct {
	Dataset
	Root string
}

// tainted is a state of a dataset that came after the bytes.
type tainted struct {
	written
	sure  Sureness
	steps int
}

// A walk goes through the graph from bytes to what came after them. Whatever it reaches
// it goes through again only when the new way is surer.
type walk struct {
	g       *Graph
	next    []tainted
	runs    map[string]Exposed
	written map[written]Exposed
	looked  int  // claims
	more    bool // it gave up
}

// readers follows the runs that read a state of a dataset.
func (w *walk) readers(t tainted) {
	read := w.g.readsOf(t.written)
	w.looked += len(read)
	for _, c := range read {
		sure, why, did := w.g.saw(c, t.written)
		if !did {
			continue
		}
		e := Exposed{Steps: t.steps + 1, Sure: weaker(sure, t.sure), Why: why, From: c.Use.Dataset.String()}
		if known, was := w.runs[c.Run]; was && !better(e, known) {
			continue
		}
		e.Run = w.g.runs[c.Run]
		w.runs[c.Run] = e
		w.writes(e)
	}
}

// readsOf returns the claims to have read a dataset, or the bytes whatever the dataset is
// called.
func (g *Graph) readsOf(of written) []Claim {
	var keys []claimKey
	for _, k := range g.byData[of.Dataset] {
		if !k.writes {
			keys = append(keys, k)
		}
	}
	for _, k := range g.byRoot[of.Root] {
		if !k.writes && k.use.Dataset != of.Dataset {
			keys = append(keys, k)
		}
	}
	return g.claimsOf(keys)
}

// saw says whether a claim to have read is one to have seen a state of a dataset.
func (g *Graph) saw(c Claim, of written) (sure Sureness, why string, did bool) {
	standing, words := g.Judge(c.Use)
	switch {
	case c.Use.Root != "" && c.Use.Root == of.Root && standing == Sealed:
		return Proven, "it read this seal, which is one of the dataset", true
	case c.Use.Root != "" && c.Use.Root == of.Root:
		return Claimed, "it says that it read this seal; " + words, true
	case standing == Unsealed:
		return Possible, "it read the dataset and names no seal", true
	case standing == Refuted:
		return Possible, "it read the dataset, and what it says of the seal is refuted: " + words, true
	case standing == Unknown:
		return Possible, "it read the dataset and names a seal that nobody knows", true
	case of.Root == "":
		return Possible, "it read the dataset; which state was written before, nobody said", true
	}
	return "", "", false // other bytes
}

// better reports whether one way is worth going although another was gone.
func better(a, b Exposed) bool {
	if a.Sure != b.Sure {
		return weaker(a.Sure, b.Sure) == b.Sure
	}
	return a.Steps < b.Steps
}

// writes follows what an exposed run wrote.
func (w *walk) writes(run Exposed) {
	claims := w.g.claimsOf(w.g.byRun[run.Run.ID])
	w.looked += len(claims)
	for _, c := range claims {
		if !c.Writes {
			continue
		}
		standing, words := w.g.Judge(c.Use)
		e := Exposed{Steps: run.Steps, Sure: weaker(run.Sure, sureOf(standing)), From: run.Run.ID, Root: c.Use.Root,
			Why: fmt.Sprintf("an exposed run wrote it; %s", words), Model: w.g.types[c.Use.Dataset] == typeModel}
		state := written{c.Use.Dataset, c.Use.Root}
		if known, was := w.written[state]; was && !better(e, known) {
			continue
		}
		e.Dataset = &state.Dataset
		w.written[state] = e
		w.next = append(w.next, tainted{state, e.Sure, e.Steps})
	}
}

// sureOf is how sure it is that a run wrote what it says. One that names no seal of what it
// wrote wrote something under that name: who reads that goes by the name alone.
func sureOf(s Standing) Sureness {
	switch s {
	case Sealed:
		return Proven
	case Refuted:
		return Possible
	}
	return Claimed
}

func (w *walk) result() Exposure {
	out := Exposure{Runs: []Exposed{}, Models: []Exposed{}, Datasets: []Exposed{}, More: w.more}
	for _, e := range w.runs {
		out.Runs = append(out.Runs, e)
	}
	for _, e := range w.written {
		if e.Model {
			out.Models = append(out.Models, e)
		} else {
			out.Datasets = append(out.Datasets, e)
		}
	}
	for _, all := range [][]Exposed{out.Runs, out.Models, out.Datasets} {
		slices.SortFunc(all, exposedOrder)
	}
	return out
}

// exposedOrder is the surest first, then the nearest.
func exposedOrder(a, b Exposed) int {
	if a.Sure != b.Sure {
		if weaker(a.Sure, b.Sure) == b.Sure {
			return -1
		}
		return 1
	}
	return cmp.Or(cmp.Compare(a.Steps, b.Steps), cmp.Compare(a.key(), b.key()))
}

func (e Exposed) key() string {
	if e.Run != nil {
		return e.Run.ID
	}
	return e.Dataset.String() + " " + e.Root
}
