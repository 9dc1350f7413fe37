package cohort

import (
	"fmt"
	"maps"
	"math"
	"slices"
)

// What is too little to judge by.
const (
	MinPods  = 4  // pods of one service, with lines enough
	MinLines = 50 // lines of one pod
)

// From where on a pod is odd.
const (
	Threshold  = 5.0   // robust z-scores
	floor      = 0.004 // nats: healthy pods are that far from each other at least
	lostLines  = 14    // lines of a template that the pod would have printed as its siblings do, and has none of
	lostLeast  = 6     // and that it would have printed as the one that prints fewest does
	twice      = 0.4   // of the lines of a pod that prints each line twice, one in two is the one before
	quietFloor = 0.05  // what logarithms of healthy pods' volumes scatter by at least
)

// The verdicts.
const (
	Alike     = "alike"
	Odd       = "odd"
	TooLittle = "too little"
)

// A Judgement is what is said of one pod.
type Judgement struct {
	Pod      string     `json:"pod"`
	Verdict  string     `json:"verdict"` // Alike, Odd or TooLittle
	Lines    int        `json:"lines"`
	Z        float64    `json:"z"`                // how far its templates are from its siblings', in their own scatter
	Distance float64    `json:"distance"`         // the Jensen-Shannon divergence from them, 0 to ln 2
	LengthZ  float64    `json:"length_z"`         // how far the lengths of its lines are from its siblings', likewise
	Repeats  float64    `json:"repeats"`          // the share of its lines that are the line before once more
	Why      string     `json:"why,omitempty"`    // in words
	Has      []Contrast `json:"has,omitempty"`    // what an odd pod prints more of, the most telling first
	Lacks    []Contrast `json:"lacks,omitempty"`  // what it prints less of
	Volume   string     `json:"volume,omitempty"` // quiet or loud, if it prints far less or more than its siblings; no verdict rests on it
}

// A Contrast is one template, and how much of the lines it is.
type Contrast struct {
	Template string  `json:"template"`
	Share    float64 `json:"share"`    // of the pod's lines
	Siblings float64 `json:"siblings"` // of its siblings' lines, each sibling counting alike
}

// Judge compares each pod with all others, and says what it is like, in the order of the names.
func (c *Cohort) Judge() []Judgement {
	all := make([]Judgement, len(c.pods))
	var pods []*pod
	var of []*Judgement
	for i, p := range c.pods {
		all[i] = Judgement{Pod: p.name, Lines: p.lines, Verdict: TooLittle}
		if p.lines < MinLines {
			all[i].Why = fmt.Sprintf("it has %d lines; %d are the least", p.lines, MinLines)
			continue
		}
		pods, of = append(pods, p), append(of, &all[i])
	}
	if len(pods) < MinPods {
		for _, j := range of {
			j.Why = fmt.Sprintf("%d pods have lines enough; %d are the least", len(pods), MinPods)
		}
		return all
	}
	templates := sum(pods, func(p *pod) counts { return p.templates })
	lengths := sum(pods, func(p *pod) counts { return p.lengths })
	for i, d := range templates.distances() {
		of[i].Z, of[i].Distance = d.z, d.divergence
		of[i].Verdict = verdict(d.z > Threshold || templates.losesAny(i))
	}
	for i, d := range lengths.distances() {
		if of[i].LengthZ = d.z; d.z > Threshold {
			of[i].Verdict = Odd
		}
	}
	doubles := make([]string, len(pods))
	repeats := sum(pods, func(p *pod) counts { return p.repeats })
	for i, d := range repeats.distances() {
		lines, siblings := repeats.again(i)
		if of[i].Repeats = lines; d.z > Threshold && lines >= twice && siblings < lines/2 {
			of[i].Verdict = Odd
			doubles[i] = fmt.Sprintf("%s of its lines are the line before once more, and %s of its siblings'", percent(lines), percent(siblings))
		}
	}
	volumes(pods, of)
	texts := c.templates()
	for i, j := range of {
		if j.Verdict == Odd {
			templates.explain(i, j, texts)
			j.Why = words(j, cutAt(pods, i), doubles[i])
		}
	}
	return all
}

func verdict(odd bool) string {
	if odd {
		return Odd
	}
	return Alike
}

// templates returns the templates that are held.
func (c *Cohort) templates() map[int]string {
	texts := map[int]string{rare: "(lines of templates that are rare)"}
	for t := range c.miner.Clusters() {
		texts[t.ID] = t.Template
	}
	return texts
}

// A summary is what all pods print, by something that lines have in common: their key.
type summary struct {
	pods   []*pod
	of     func(*pod) counts
	keys   []int
	total  []float64 // by key: the pods' shares, added
	lowest [][2]low  // by key: the pods with the least shares
}

type low struct {
	share float64
	pod   int
}

// sum adds the pods up.
func sum(pods []*pod, of func(*pod) counts) *summary {
	seen := map[int]bool{}
	for _, p := range pods {
		for key := range of(p) {
			seen[key] = true
		}
	}
	s := &summary{pods: pods, of: of, keys: slices.Sorted(maps.Keys(seen))}
	s.total, s.lowest = make([]float64, len(s.keys)), make([][2]low, len(s.keys))
	for k := range s.keys {
		least := [2]low{{math.Inf(1), -1}, {math.Inf(1), -1}}
		for i := range pods {
			share := s.share(i, k)
			s.total[k] += share
			switch {
			case share < least[0].share:
				least = [2]low{{share, i}, least[0]}
			case share < least[1].share:
				least[1] = low{share, i}
			}
		}
		s.lowest[k] = least
	}
	return s
}

// share is how much of the pod's lines have key k.
func (s *summary) share(pod, k int) float64 {
	p := s.pods[pod]
	return float64(s.of(p)[s.keys[k]]) / float64(p.lines)
}

// again returns how much of a pod's lines repeats the line before, and how much of its siblings'.
func (s *summary) again(pod int) (lines, siblings float64) {
	if k := slices.Index(s.keys, again); k >= 0 {
		return s.share(pod, k), s.siblings(pod, k)
	}
	return 0, 0
}

// siblings is the share of key k among the lines of the others, each pod counting alike: a
// flood of one cannot hide what the rest are like.
func (s *summary) siblings(pod, k int) float64 {
	rest := s.total[k] - s.share(pod, k)
	if rest < 1e-12 { // what is left of subtracting equal numbers
		return 0
	}
	return rest / float64(len(s.pods)-1)
}

// loses says whether the pod prints no line of key k, and would have printed many if it were as
// its siblings, and some if it were as the one that prints fewest.
func (s *summary) loses(pod, k int) bool {
	if s.share(pod, k) > 0 {
		return false
	}
	least := s.lowest[k][0]
	if least.pod == pod {
		least = s.lowest[k][1]
	}
	lines := float64(s.pods[pod].lines)
	return s.siblings(pod, k)*lines >= lostLines && least.share*lines >= lostLeast
}

// losesAny says whether the pod loses any key.
func (s *summary) losesAny(pod int) bool {
	for k := range s.keys {
		if s.loses(pod, k) {
			return true
		}
	}
	return false
}

// A distance is how far a pod is from its siblings.
type distance struct {
	divergence float64
	z          float64 // less what chance makes of as many lines, in the scatter of all pods
}

// distances returns them by pod.
func (s *summary) distances() []distance {
	all := make([]distance, len(s.pods))
	beyond, scatter := make([]float64, len(s.pods)), make([]float64, len(s.pods))
	for i, p := range s.pods {
		byChance := 0.0
		for k := range s.keys {
			q := s.siblings(i, k)
			all[i].divergence += part(s.share(i, k), q)
			byChance += chance(q, p.lines)
		}
		all[i].divergence = max(0, all[i].divergence)
		beyond[i], scatter[i] = all[i].divergence-byChance, spread(byChance, p.lines)
	}
	median, deviation := robust(beyond)
	for i := range all {
		all[i].z = (beyond[i] - median) / (max(deviation, scatter[i]) + floor)
	}
	return all
}

// volumes notices who prints far less or more than the others.
func volumes(pods []*pod, of []*Judgement) {
	volumes := make([]float64, len(pods))
	for i, p := range pods {
		volumes[i] = math.Log(float64(p.lines))
	}
	median, deviation := robust(volumes)
	for i, j := range of {
		switch z := (volumes[i] - median) / max(deviation, quietFloor); {
		case z < -Threshold:
			j.Volume = "quiet"
		case z > Threshold:
			j.Volume = "loud"
		}
	}
}
