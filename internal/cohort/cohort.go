package cohort

import (
	"bytes"
	"math/bits"

	"github.com/pavise/pavise/internal/template"
)

// rare is the template of lines whose own gave way to others.
const rare = 0

// A Cohort is the pods of one service. Each line is shown to it twice: to Learn, and when all of
// all pods were, to Count; so that a template is the same for the first pod as for the last. It
// is for one goroutine.
type Cohort struct {
	pods  []*pod
	miner *template.Miner
}

// A pod is one of a Cohort.
type pod struct {
	name      string
	lines     int
	templates counts
	lengths   counts // by bucket
	repeats   counts // by whether a line is the one before once more: anew or again
	last      []byte // line
	longest   int    // bytes of a line
}

// The keys of what repeats.
const (
	anew  = 0
	again = 1
)

// counts are lines, by what they have in common.
type counts map[int]int

// New returns a cohort of pods with these names.
func New(names []string) *Cohort {
	c := &Cohort{}
	c.miner = template.New(template.Options{Gone: c.gone})
	for _, name := range names {
		c.pods = append(c.pods, &pod{name: name, templates: counts{}, lengths: counts{}, repeats: counts{}})
	}
	return c
}

// gone counts the lines of a template that gives way as rare ones.
func (c *Cohort) gone(gone template.Cluster) {
	for _, p := range c.pods {
		if n := p.templates[gone.ID]; n > 0 {
			p.templates[rare] += n
			delete(p.templates, gone.ID)
		}
	}
}

// Learn takes a line of any pod.
func (c *Cohort) Learn(line []byte) { c.miner.Add(line) }

// Count takes a line of the pod with this index.
func (c *Cohort) Count(index int, line []byte) {
	id := c.miner.Add(line)
	p := c.pods[index]
	if p.lines > 0 && bytes.Equal(p.last, line) {
		p.repeats[again]++
	} else {
		p.repeats[anew]++
		p.last = append(p.last[:0], line...)
	}
	p.lines++
	p.templates[id]++
	p.lengths[bucket(len(line))]++
	p.longest = max(p.longest, len(line))
}

// bucket groups lengths, an eighth of an octave each.
func bucket(n int) int {
	octave := max(0, bits.Len(uint(n))-4)
	return octave<<4 | n>>octave
}
