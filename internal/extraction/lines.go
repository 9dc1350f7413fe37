package extraction

import (
	"github.com/pavise/pavise/internal/learn"
)

// lines walks to the boundary: it takes rows of the data that the victim puts into
// different classes and halves the way between them (Lowd and Meek, "Adversarial
// Learning", 2005), several pairs at a time.
type lines struct {
	low, high learn.Matrix // ends of each search
	class     []int        // of each low end
	step      int          // halvings done of this round; 0: the ends are being asked
}

const (
	searches = 16
	halvings = 10
)

func (l *lines) plan(a *Attack, room int) (learn.Matrix, error) {
	switch {
	case l.step == 0 && l.class == nil:
		l.class = []int{}
		return l.ends(a), nil
	case l.step == 0:
		l.pair(a)
	default:
		l.halve(a)
	}
	if l.step == halvings || l.low.Rows == 0 {
		l.step = 0
		return l.ends(a), nil
	}
	l.step++
	return l.middles(a), nil
}

// ends are rows to begin new searches from.
func (l *lines) ends(a *Attack) learn.Matrix {
	m := learn.NewMatrix(2*searches, a.data.Rows.Cols)
	for i := range m.Rows {
		copy(m.Row(i), a.some())
	}
	return m
}

// pair makes searches of the last ends: each with the next one of another class.
func (l *lines) pair(a *Attack) {
	n := min(2*searches, a.asked.Rows)
	first := a.asked.Rows - n
	top := a.answers.ArgMax()[first:]
	l.low, l.high, l.class = learn.Matrix{Cols: a.asked.Cols}, learn.Matrix{Cols: a.asked.Cols}, []int{}
	taken := make([]bool, n)
	for i := range n {
		for j := i + 1; j < n && !taken[i]; j++ {
			if !taken[j] && top[i] != top[j] {
				taken[i], taken[j] = true, true
				grow(&l.low, a.asked.Row(first+i))
				grow(&l.high, a.asked.Row(first+j))
				l.class = append(l.class, top[i])
			}
		}
	}
}

// halve keeps, of each search, the half with the boundary in it.
func (l *lines) halve(a *Attack) {
	n := min(l.low.Rows, a.asked.Rows)
	first := a.asked.Rows - n
	top := a.answers.ArgMax()[first:]
	for i := range n {
		end := l.high
		if top[i] == l.class[i] {
			end = l.low
		}
		copy(end.Row(i), a.asked.Row(first+i))
	}
}

func (l *lines) middles(a *Attack) learn.Matrix {
	m := learn.NewMatrix(l.low.Rows, l.low.Cols)
	for i := range m.Rows {
		for j, c := range a.column {
			m.Row(i)[j] = c.fit((float64(l.low.Row(i)[j]) + float64(l.high.Row(i)[j])) / 2)
		}
	}
	return m
}

func (l *lines) code(c *coder, a *Attack) {
	begun := l.class != nil
	c.flag(&begun)
	c.matrix(&l.low, a.data.Rows.Cols, searches)
	c.matrix(&l.high, a.data.Rows.Cols, searches)
	c.counts(&l.class, searches, a.cfg.Classes-1)
	c.count(&l.step, halvings)
	if c.reading && begun && l.class == nil {
		l.class = []int{}
	}
	c.check(l.low.Rows == l.high.Rows && len(l.class) == l.low.Rows)
}
