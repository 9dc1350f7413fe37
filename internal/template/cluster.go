package template

import "slices"

// A cluster is a Cluster as it is held.
type cluster struct {
	Cluster
	hashes       []hash   // of the template's words
	words        []string // the words themselves, those that vary by now among them
	varying      int      // of the words
	weight       int      // of those that do not vary
	bytes        int
	seen         int // the number of the line that was counted to it last
	in           *leaf
	newer, older *cluster // in the miner's list
}

// ofCluster and ofWord are the bytes that a cluster and a word take beside their text.
const (
	ofCluster = 200
	ofWord    = 24
)

// newCluster makes a cluster of one line, whose text it copies.
func newCluster(id int, words []word) *cluster {
	c := &cluster{Cluster: Cluster{ID: id}, hashes: make([]hash, len(words)), words: make([]string, len(words))}
	var text []byte
	for _, w := range words {
		text = append(text, w.text...)
	}
	all := string(text)
	for i, w := range words {
		c.hashes[i], c.words[i], all = w.hash, all[:len(w.text)], all[len(w.text):]
		if w.hash == varies {
			c.varying++
		} else {
			c.weight += w.hash.weight()
		}
	}
	c.bytes = ofCluster + len(text) + ofWord*len(words)
	return c
}

// common returns the weight of the words that a line has in common with the template, or -1 as
// soon as it is clear that it is less than what is asked for.
func (c *cluster) common(line []hash, asked int) int {
	may := c.weight
	if may < asked {
		return -1
	}
	line = line[:len(c.hashes)]
	for i, h := range c.hashes {
		if h != line[i] && h != varies {
			if may -= h.weight(); may < asked {
				return -1
			}
		}
	}
	return may
}

// learn has the template vary where a line differs from it.
func (c *cluster) learn(line []hash) {
	for i, h := range c.hashes {
		if h != line[i] && h != varies {
			c.hashes[i] = varies
			c.varying, c.weight = c.varying+1, c.weight-h.weight()
		}
	}
}

// link puts a cluster in front of the list.
func (m *Miner) link(c *cluster) {
	m.lines++
	c.seen = m.lines
	c.newer, c.older = nil, m.newest
	if m.newest != nil {
		m.newest.newer = c
	} else {
		m.oldest = c
	}
	m.newest = c
}

// unlink takes it out.
func (m *Miner) unlink(c *cluster) {
	if c.newer != nil {
		c.newer.older = c.older
	} else {
		m.newest = c.older
	}
	if c.older != nil {
		c.older.newer = c.newer
	} else {
		m.oldest = c.newer
	}
}

// drop has a cluster give way.
func (m *Miner) drop(c *cluster) {
	m.unlink(c)
	at := slices.Index(c.in.clusters, c)
	c.in.clusters = slices.Delete(c.in.clusters, at, at+1)
	if len(c.in.clusters) == 0 {
		delete(c.in.of.leaves, c.in.first)
	}
	m.held, m.bytes = m.held-1, m.bytes-c.bytes
	if m.gone != nil {
		m.gone(c.told())
	}
}

// stalest returns the cluster that was not seen for longest.
func (l *leaf) stalest() *cluster {
	return slices.MinFunc(l.clusters, func(a, b *cluster) int { return a.seen - b.seen })
}
