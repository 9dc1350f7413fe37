package monitor

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/pavise/pavise/internal/drift"
	"github.com/pavise/pavise/internal/tensor"
)

// A Side is where a feature is of an exchange.
type Side string

// The sides. Inputs and embeddings are what callers choose; outputs and confidences are what a
// model makes of it.
const (
	Input      Side = "input"
	Embedding  Side = "embedding" // a projection of an input with many columns
	Output     Side = "output"
	Confidence Side = "confidence" // the largest score of a row
)

// Asked reports whether callers choose the feature.
func (s Side) Asked() bool { return s == Input || s == Embedding }

// The bounds of what is watched of one model.
const (
	mostColumns = 256 // of a port: each is a feature. More are seen by projections
	projections = 32  // of a port that has more columns
	mostWidth   = 1 << 14
)

// A title names a feature.
type title struct {
	name string
	side Side
	text bool // its values are texts
}

// A port is an input or output of which every row has as many elements.
type port struct {
	tensor.Port
	width   int
	output  bool
	text    bool
	project [][]float64 // nil: its columns are features themselves
	at      int         // where its elements begin in a row's numbers, or texts
	first   int         // its first feature
}

// A layout says which elements of an exchange are looked at, and which features they are. It
// never changes.
type layout struct {
	ports    []port
	titles   []title
	numbers  int      // of a row
	texts    int      // of a row
	replays  bool     // all inputs are looked at, so that a row can be asked again
	passed   []string // ports that are not looked at
	features map[title]int
}

// newLayout lays out what a model takes and gives. seed draws the projections: who does not
// know it cannot move an embedding between them.
func newLayout(sig *tensor.Signature, seed func(port string) [32]byte) *layout {
	l := &layout{replays: true, features: map[title]int{}}
	for _, side := range []struct {
		ports  []tensor.Port
		output bool
	}{{sig.Inputs, false}, {sig.Outputs, true}} {
		named := map[string]int{} // columns, and ports without: who gives rows knows them by these names
		for _, p := range side.ports {
			named[p.Name] += 2
			for _, c := range p.Columns {
				named[c.Name]++
			}
		}
		for _, p := range side.ports {
			if l.add(p, side.output, named, seed) {
				continue
			}
			l.passed = append(l.passed, p.Name)
			l.replays = l.replays && side.output
		}
	}
	for i, t := range l.titles {
		l.features[t] = i
	}
	return l
}

// add takes a port in, if its rows have one form and there is room.
func (l *layout) add(p tensor.Port, output bool, named map[string]int, seed func(string) [32]byte) bool {
	q := port{Port: p, width: 1, output: output, text: p.Datatype.Family() == tensor.Octets, first: len(l.titles)}
	for _, dim := range p.Shape[1:] {
		if dim < 1 || q.width > mostWidth/int(min(dim, mostWidth)) {
			return false
		}
		q.width *= int(dim)
	}
	features := q.width
	if q.width > mostColumns {
		if !p.Datatype.IsFloat() {
			return false
		}
		features = projections
		q.project = directions(seed(p.Name), q.width)
	}
	if len(l.titles)+features+2 > drift.MaxFeatures {
		return false
	}
	side := Input
	switch {
	case output:
		side = Output
	case q.project != nil:
		side = Embedding
	}
	for i := range features {
		l.titles = append(l.titles, title{q.column(i, named), side, q.text})
	}
	if q.scores() {
		l.titles = append(l.titles, title{p.Name + ", which is largest", Output, false}, title{p.Name + ", the largest", Confidence, false})
	}
	if q.text {
		q.at, l.texts = l.texts, l.texts+q.width
	} else {
		q.at, l.numbers = l.numbers, l.numbers+q.width
	}
	l.ports = append(l.ports, q)
	return true
}

// scores reports whether the port has a score for each of several classes.
func (p *port) scores() bool {
	return p.output && p.project == nil && p.width > 1 && p.Datatype.IsFloat()
}

// column names a feature of the port: a column by its own name where no other has it.
func (p *port) column(i int, named map[string]int) string {
	switch {
	case p.project != nil:
		return fmt.Sprintf("%s, direction %d", p.Name, i+1)
	case len(p.Columns) == p.width && named[p.Columns[i].Name] == 1:
		return p.Columns[i].Name
	case len(p.Columns) == p.width:
		return p.Name + "." + p.Columns[i].Name
	case p.width == 1:
		return p.Name
	}
	return fmt.Sprintf("%s[%d]", p.Name, i)
}

// directions draws the directions onto which rows of a width are projected: signs, with the
// length of one (Achlioptas, Database-friendly random projections, 2003).
func directions(seed [32]byte, width int) [][]float64 {
	draw := rand.NewChaCha8(seed)
	size := 1 / math.Sqrt(float64(width))
	all := make([][]float64, projections)
	for i := range all {
		all[i] = make([]float64, width)
		var bits uint64
		for j := range all[i] {
			if j%64 == 0 {
				bits = draw.Uint64()
			}
			all[i][j] = size
			if bits>>(j%64)&1 == 0 {
				all[i][j] = -size
			}
		}
	}
	return all
}

// same reports whether two layouts have the same features of the same elements.
func (l *layout) same(other *layout) bool {
	return l.numbers == other.numbers && l.texts == other.texts && slices.Equal(l.titles, other.titles)
}

// A sink takes what rows have of a feature.
type sink interface {
	numbers(feature int, values []float64) // NaN: nothing
	text(feature int, v []byte)            // nil: nothing
}

// chunk is how many rows are told at once, feature by feature: bins stay near meanwhile.
const chunk = 64

// A scratch is where columns lie while they are told.
type scratch [3 * chunk]float64

// each tells what the rows of an item have, feature by feature.
func (l *layout) each(o *item, to sink, room *scratch) {
	for i := range l.ports {
		p := &l.ports[i]
		if p.text {
			for row := range o.rows {
				for c := range p.width {
					to.text(p.first+c, o.text(row*l.texts+p.at+c))
				}
			}
			continue
		}
		for row := 0; row < o.rows; row += chunk {
			n := min(chunk, o.rows-row)
			p.each(o.numbers[row*l.numbers+p.at:], l.numbers, n, to, room)
		}
	}
}

// each tells what n rows, which lie so far apart, have in a port of numbers.
func (p *port) each(rows []float64, stride, n int, to sink, room *scratch) {
	column := room[:n]
	for i, direction := range p.project {
		for r := range column {
			sum := 0.0
			for j, v := range rows[r*stride:][:p.width] {
				sum += v * direction[j]
			}
			column[r] = sum
		}
		to.numbers(p.first+i, column)
	}
	if p.project != nil {
		return
	}
	for c := range p.width {
		for r := range column {
			column[r] = rows[r*stride+c]
		}
		to.numbers(p.first+c, column)
	}
	if !p.scores() {
		return
	}
	which, largest := room[chunk:][:n], room[2*chunk:][:n]
	for r := range which {
		row, at := rows[r*stride:][:p.width], 0
		for c, v := range row {
			if v > row[at] {
				at = c
			}
		}
		which[r], largest[r] = float64(at), row[at]
		if row[at] != row[at] {
			which[r] = math.NaN()
		}
	}
	to.numbers(p.first+p.width, which)
	to.numbers(p.first+p.width+1, largest)
}
