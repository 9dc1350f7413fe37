package monitor

import (
	"fmt"
	"math"
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
	project *drift.Projection // nil: its columns are features themselves
	at      int               // where its elements begin in a row's numbers, or texts
	first   int               // its first feature
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
		features = drift.Directions
		q.project = drift.NewProjection(seed(p.Name), q.width)
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

// same reports whether two layouts have the same features of the same elements.
func (l *layout) same(other *layout) bool {
	return l.numbers == other.numbers && l.texts == other.texts && slices.Equal(l.titles, other.titles)
}

// reads reports whether it finds in an exchange what another does: a version whose numbers are of
// another family has the same features, and a layout of the former one would find none of them.
func (l *layout) reads(other *layout) bool {
	return slices.EqualFunc(l.ports, other.ports, func(a, b port) bool {
		return a.Name == b.Name && a.output == b.output && a.width == b.width && a.Datatype.Family() == b.Datatype.Family()
	})
}

// A sink takes what the rows of a batch have of a feature.
type sink interface {
	numbers(b *batch, feature int, values []float64)   // NaN: nothing
	texts(b *batch, feature int, p *port, element int) // an element of a port of texts: see batch.text
}

// chunk is how many rows are told at once, feature by feature: bins stay near meanwhile.
const chunk = 64

// abreast is how many columns are copied out of rows at once.
const abreast = 8

// A batch is rows, of one exchange or of many, that are told together. It refers to their items.
type batch struct {
	layout *layout
	n      int
	items  [chunk]*item
	at     [chunk]int       // which of the item's rows
	rows   [chunk][]float64 // its numbers
	groups [chunk]uint8     // that of its caller
	nobody [chunk]uint8     // for what is not counted by callers
	places [chunk]uint8
	room   []float64 // for columns
	said   []byte    // and for a text
}

func newBatch(l *layout) *batch {
	columns := abreast
	if slices.ContainsFunc(l.ports, func(p port) bool { return p.project != nil }) {
		columns = drift.Directions
	}
	return &batch{layout: l, room: make([]float64, columns*chunk)}
}

// take takes rows of an item in, from one on, as many as there is room for, and returns how many.
func (b *batch) take(o *item, from int, group uint8) int {
	n := min(chunk-b.n, o.rows-from)
	for row := from; row < from+n; row++ {
		b.items[b.n], b.at[b.n], b.groups[b.n] = o, row, group
		b.rows[b.n] = o.numbers[row*b.layout.numbers:][:b.layout.numbers]
		b.n++
	}
	return n
}

// text is what a row has in an element of a port of texts, until the next one; of no bytes: nothing.
func (b *batch) text(row int, p *port, element int) []byte {
	o := b.items[row]
	b.said = o.text(b.said[:0], o.word(p, b.at[row], element))
	return b.said
}

// all tells what an item's rows have, of nobody knows whom.
func (b *batch) all(o *item, to sink) {
	for from := 0; from < o.rows; b.empty() {
		from += b.take(o, from, 0)
		b.tell(to)
	}
}

// tell tells what the rows have, feature by feature.
func (b *batch) tell(to sink) {
	for i := range b.layout.ports {
		if p := &b.layout.ports[i]; p.text {
			for c := range p.width {
				to.texts(b, p.first+c, p, c)
			}
		} else {
			p.tell(b, to)
		}
	}
}

// empty lets go of the rows.
func (b *batch) empty() {
	clear(b.items[:b.n])
	clear(b.rows[:b.n])
	b.n = 0
}

// tell tells what the rows have in a port of numbers.
func (p *port) tell(b *batch, to sink) {
	n, rows := b.n, b.rows[:b.n]
	if p.project != nil {
		p.project.Onto(p.at, rows, b.room)
		for i := range drift.Directions {
			to.numbers(b, p.first+i, b.room[i*n:][:n])
		}
		return
	}
	c := 0
	for room := (*[abreast * chunk]float64)(b.room); c+abreast <= p.width; c += abreast {
		for r, row := range rows { // each line of memory is read once
			v, r := (*[abreast]float64)(row[p.at+c:]), r%chunk
			room[r], room[chunk+r], room[2*chunk+r], room[3*chunk+r] = v[0], v[1], v[2], v[3]
			room[4*chunk+r], room[5*chunk+r], room[6*chunk+r], room[7*chunk+r] = v[4], v[5], v[6], v[7]
		}
		for i := range abreast {
			to.numbers(b, p.first+c+i, b.room[i*chunk:][:n])
		}
	}
	for ; c < p.width; c++ {
		for r, row := range rows {
			b.room[r] = row[p.at+c]
		}
		to.numbers(b, p.first+c, b.room[:n])
	}
	if !p.scores() {
		return
	}
	which, largest := b.room[:n], b.room[chunk:][:n]
	for r, row := range rows {
		row = row[p.at:][:p.width]
		at := 0
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
	to.numbers(b, p.first+p.width, which)
	to.numbers(b, p.first+p.width+1, largest)
}
