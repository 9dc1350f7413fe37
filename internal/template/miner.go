package template

import (
	"hash/maphash"
	"iter"
	"math"
	"strings"
)

// The constants of Drain, as Drain3 has them. Its depth, 4, is in the shape of the tree: number
// of words, first word, clusters.
const (
	similarity  = 0.4 // the least share of words that a line has in common with its template
	maxChildren = 100 // first words by which lines of one length are parted
)

// Bounds on what a miner holds.
const (
	DefaultClusters = 50_000   // where nothing else is asked for
	maxBytes        = 64 << 20 // of all clusters
	maxLeaf         = 512      // clusters with which one line is compared
)

// Options say how lines are mined. The zero value suits most.
type Options struct {
	Unmasked bool          // leave values in lines as they are; then clusters are those of Drain3
	Clusters int           // that are held, at most; 0: DefaultClusters
	Gone     func(Cluster) // gets each cluster that gives way, once; nil: nobody wants them
}

// A Cluster is the lines that one template describes.
type Cluster struct {
	ID       int    // 1, 2, 3 … as they came up
	Template string // with <*> where lines differ, and one space between words; may be no UTF-8, if lines were none
	Lines    int    // that were counted to it
}

// A Miner finds templates. It is for one goroutine.
type Miner struct {
	seed           maphash.Seed
	mask           bool
	most           int // clusters
	gone           func(Cluster)
	lengths        [maxWords + 2]*length // by the number of words
	newest, oldest *cluster              // of a list in the order in which they were last seen
	held           int                   // clusters
	bytes          int                   // of them
	made           int                   // clusters ever
	lines          int                   // that were added
	words          []word                // of the line that is looked at
	hashes         []hash                // of the words
	scratch        []byte                // masked words of it
}

// A length holds the clusters of lines with so many words.
type length struct {
	least  int // weight that a line must have in common with a template
	leaves map[hash]*leaf
}

// A leaf holds clusters with which lines are compared, in the order in which they were made.
type leaf struct {
	of       *length
	first    hash // the first word; varies: any
	clusters []*cluster
}

// New returns a miner without clusters.
func New(o Options) *Miner {
	if o.Clusters <= 0 {
		o.Clusters = DefaultClusters
	}
	return &Miner{seed: maphash.MakeSeed(), mask: !o.Unmasked, most: o.Clusters, gone: o.Gone}
}

// Add counts a line to the cluster that it is most like, or to a new one, and returns the
// cluster's ID. The line is not kept.
func (m *Miner) Add(line []byte) int {
	m.read(line)
	of := m.lengths[len(m.words)]
	if of == nil {
		of = &length{least: leastWeight(len(m.words)), leaves: map[hash]*leaf{}}
		m.lengths[len(m.words)] = of
	}
	c := m.mostLike(of)
	if c == nil {
		c = m.begin(of)
	} else {
		c.learn(m.hashes)
		m.unlink(c)
	}
	c.Lines++
	m.link(c)
	for m.held > m.most || m.bytes > maxBytes {
		m.drop(m.oldest)
	}
	return c.ID
}

// leastWeight returns the least weight of n words that is similarity enough.
func leastWeight(n int) int {
	full := float64(2 * n)
	least := int(math.Ceil(similarity * full))
	if least > 0 && float64(least-1)/full >= similarity { // rounding
		least--
	}
	return least
}

// mostLike returns the cluster that the line is like, or nil. Of two that it is equally like
// the one that varies more is taken, of those the older.
func (m *Miner) mostLike(of *length) *cluster {
	in := of.leaves[m.first()]
	if in == nil {
		in = of.leaves[varies]
	}
	if in == nil {
		return nil
	}
	var best *cluster
	most := of.least
	for _, c := range in.clusters {
		common := c.common(m.hashes, most)
		if common > most || common == most && (best == nil || c.varying > best.varying) {
			best, most = c, common
		}
	}
	return best
}

// first is what leaves are told apart by: the first word, if others follow.
func (m *Miner) first() hash {
	if len(m.words) < 2 {
		return varies
	}
	return m.words[0].hash
}

// begin makes a cluster of the line.
func (m *Miner) begin(of *length) *cluster {
	m.made++
	c := newCluster(m.made, m.words)
	c.in = m.leaf(of)
	if len(c.in.clusters) == maxLeaf {
		m.drop(c.in.stalest())
	}
	c.in.clusters = append(c.in.clusters, c)
	of.leaves[c.in.first] = c.in // again, if it was empty meanwhile
	m.held, m.bytes = m.held+1, m.bytes+c.bytes
	return c
}

// leaf returns where a new cluster goes: by its first word, unless that has a digit or there
// are too many.
func (m *Miner) leaf(of *length) *leaf {
	first := m.first()
	if of.leaves[first] == nil && first != varies {
		room := maxChildren - 1 // one is for any word
		if of.leaves[varies] != nil {
			room = maxChildren
		}
		if m.words[0].digit || len(of.leaves) >= room {
			first = varies
		}
	}
	in := of.leaves[first]
	if in == nil {
		in = &leaf{of: of, first: first}
		of.leaves[first] = in
	}
	return in
}

// Clusters returns the clusters that are held, the one that was seen last first.
func (m *Miner) Clusters() iter.Seq[Cluster] {
	return func(yield func(Cluster) bool) {
		for c := m.newest; c != nil; c = c.older {
			if !yield(c.told()) {
				return
			}
		}
	}
}

// Made returns how many clusters there have ever been.
func (m *Miner) Made() int { return m.made }

// Held returns how many clusters are held.
func (m *Miner) Held() int { return m.held }

// told writes the template.
func (c *cluster) told() Cluster {
	var b strings.Builder
	for i, h := range c.hashes {
		if i > 0 {
			b.WriteByte(' ')
		}
		if h == varies {
			b.WriteString(placeholder)
		} else {
			b.WriteString(c.words[i])
		}
	}
	told := c.Cluster
	told.Template = b.String()
	return told
}
