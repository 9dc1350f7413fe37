package extraction

import (
	"maps"
	"slices"
)

// A kind is what there is to know of an attack before it begins.
type kind struct {
	about  string
	scores bool // it cannot do with the top class alone
	begin  func() planner
}

// kinds are the attacks, by name.
var kinds = map[string]kind{
	"random":            {about: "rows drawn evenly from the ranges of the columns (Tramèr and others, 2016, as a baseline)", begin: func() planner { return &drawn{draw: uniform} }},
	"gaussian":          {about: "rows drawn from a normal distribution with the columns' means and deviations", begin: func() planner { return &drawn{draw: gaussian} }},
	"near-ood":          {about: "rows close to the data and not of it: blended, noisy and spliced ones", begin: func() planner { return &drawn{draw: near} }},
	"in-distribution":   {about: "the data themselves, each once: what nobody can tell from honest use", begin: func() planner { return &ordered{own: true} }},
	"knockoff-random":   {about: "rows of the pool, each once (Orekondy, Schiele and Fritz, Knockoff Nets, 2019, section 4.1.1)", begin: func() planner { return &ordered{} }},
	"knockoff-adaptive": {about: "rows of the pool from the groups that taught most (Knockoff Nets, section 4.1.2)", begin: func() planner { return &bandit{} }},
	"jbda":              {about: "few seeds, multiplied along the copy's own gradients (Papernot and others, 2017)", begin: func() planner { return &jacobian{} }},
	"jbda-tr":           {about: "the same towards random classes (Juuti and others, PRADA, 2019, section III)", begin: func() planner { return &jacobian{targeted: true} }},
	"line-search":       {about: "bisection between rows of different classes, down to the boundary (Lowd and Meek, 2005)", begin: func() planner { return &lines{} }},
	"equation-solving":  {about: "a linear or logistic model solved from as many scores as it has weights (Tramèr and others, 2016, section 4.1)", scores: true, begin: func() planner { return &equations{} }},
	"tree-path-finding": {about: "a tree's leaves found by searching along each column (Tramèr and others, 2016, section 4.2)", scores: true, begin: func() planner { return &paths{} }},
}

// Names returns the names of the attacks, sorted.
func Names() []string { return slices.Sorted(maps.Keys(kinds)) }

// About says in a line what the attack of a name does.
func About(name string) string { return kinds[name].about }
