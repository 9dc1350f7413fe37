package template

// Like returns the ID of the cluster that a line would be counted to, or 0 if it would be
// the first of a new one. Nothing is learnt of the line.
func (m *Miner) Like(line []byte) int {
	m.read(line)
	of := m.lengths[len(m.words)]
	if of == nil {
		return 0
	}
	if c := m.mostLike(of); c != nil {
		return c.ID
	}
	return 0
}
