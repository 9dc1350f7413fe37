package extraction

import (
	"math/rand/v2"

	"github.com/pavise/pavise/internal/learn"
)

// batch is how many rows are planned at once where answers do not matter to it.
const batch = 256

// drawn asks rows that it draws, one like the other.
type drawn struct {
	draw func(a *Attack, row []float32)
}

func (d *drawn) plan(a *Attack, room int) (learn.Matrix, error) {
	m := learn.NewMatrix(min(room, batch), a.data.Rows.Cols)
	for i := range m.Rows {
		d.draw(a, m.Row(i))
	}
	return m, nil
}

func (*drawn) code(*coder, *Attack) {}

func uniform(a *Attack, row []float32) {
	for j, c := range a.column {
		row[j] = c.fit(c.min + a.rng.Float64()*c.span())
	}
}

func gaussian(a *Attack, row []float32) {
	for j, c := range a.column {
		row[j] = c.fit(c.mean + a.rng.NormFloat64()*c.std)
	}
}

// near draws a row that is no row of the data, in one of three ways: between two of them,
// beside one, or with the columns of one up to a place and those of another behind it.
func near(a *Attack, row []float32) {
	x, y := a.some(), a.some()
	way, share, cut := a.rng.IntN(3), 0.3+0.4*a.rng.Float64(), 1+a.rng.IntN(max(len(row)-1, 1))
	for j, c := range a.column {
		v := float64(x[j])
		switch {
		case way == 0:
			v += share * (float64(y[j]) - v)
		case way == 1:
			v += 0.5 * c.std * a.rng.NormFloat64()
		case j >= cut:
			v = float64(y[j])
		}
		row[j] = c.fit(v)
	}
}

// some is a row of the data.
func (a *Attack) some() []float32 { return a.data.Rows.Row(a.rng.IntN(a.data.Rows.Rows)) }

// ordered asks rows that there are, each once, in a random order.
type ordered struct {
	own  bool // rows of the data, not of the pool
	next int
}

func (o *ordered) plan(a *Attack, room int) (learn.Matrix, error) {
	from := a.data.Pool
	if o.own {
		from = a.data.Rows
	}
	order := rand.New(rand.NewPCG(a.cfg.Seed, orderStream)).Perm(from.Rows)
	order = order[o.next:min(o.next+min(room, batch), from.Rows)]
	o.next += len(order)
	return pick(from, order), nil
}

func (o *ordered) code(c *coder, a *Attack) {
	c.count(&o.next, max(a.data.Pool.Rows, a.data.Rows.Rows))
	if o.own {
		c.check(o.next <= a.data.Rows.Rows)
		return
	}
	c.check(o.next <= a.data.Pool.Rows)
}

// pick returns the rows of m at the given places, copied.
func pick(m learn.Matrix, rows []int) learn.Matrix {
	p := learn.NewMatrix(len(rows), m.Cols)
	for i, r := range rows {
		copy(p.Row(i), m.Row(r))
	}
	return p
}
