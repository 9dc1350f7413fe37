package monitor

import (
	"context"
	"slices"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/drift"
	"github.com/pavise/pavise/internal/tensor"
)

// The bounds of what is asked again.
const (
	sampleRows    = 512
	sampleNumbers = 1 << 17
	leastReplayed = 200 // rows, below which nothing is said
	replayRows    = 256 // in one request
	replayTime    = 500 * time.Millisecond
)

// A sample is rows of a window, each with the same chance, with what was answered: so that the
// version before can be asked the same. It is never kept on a disk.
type sample struct {
	layout *layout
	drawn  drift.Reservoir
	rows   []sampled
}

// A sampled is one row.
type sampled struct {
	numbers []float64
	texts   [][]byte
}

// see takes rows in.
func (s *sample) see(o *item) {
	s.layout = o.layout
	if !o.layout.replays {
		return
	}
	room := min(sampleRows, sampleNumbers/max(o.layout.numbers+o.layout.texts, 1))
	if s.drawn.Pass(o.rows) {
		return
	}
	for row := range o.rows {
		at := s.drawn.Keep(room)
		if at < 0 {
			continue
		}
		if at == len(s.rows) {
			s.rows = append(s.rows, sampled{})
		}
		to := &s.rows[at]
		to.numbers = append(to.numbers[:0], o.numbers[row*o.layout.numbers:][:o.layout.numbers]...)
		to.texts = to.texts[:0]
		for i := range o.layout.ports {
			if p := &o.layout.ports[i]; p.text {
				for c := range p.width {
					to.texts = append(to.texts, o.text(nil, o.word(p, row, c)))
				}
			}
		}
	}
}

// request asks for some of the rows again.
func (s *sample) request(rows []sampled) *tensor.Request {
	r := &tensor.Request{}
	for i := range s.layout.ports {
		p := &s.layout.ports[i]
		if p.output {
			continue
		}
		t := tensor.Tensor{Name: p.Name, Datatype: p.Datatype, Shape: slices.Clone(p.Shape)}
		t.Shape[0] = int64(len(rows))
		for _, row := range rows {
			p.put(&t.Data, &row)
		}
		r.Inputs = append(r.Inputs, t)
	}
	return r
}

// put appends what a row has in the port.
func (p *port) put(d *tensor.Data, row *sampled) {
	for i := range p.width {
		switch p.Datatype.Family() {
		case tensor.Octets:
			d.Bytes = append(d.Bytes, append([]byte{}, row.texts[p.at+i]...))
		case tensor.Floating:
			d.Floats = append(d.Floats, row.numbers[p.at+i])
		case tensor.Signed:
			d.Ints = append(d.Ints, int64(row.numbers[p.at+i]))
		case tensor.Unsigned:
			d.Uints = append(d.Uints, uint64(row.numbers[p.at+i]))
		case tensor.Boolean:
			d.Bools = append(d.Bools, row.numbers[p.at+i] != 0)
		}
	}
}

// item is rows as they are counted, with what they were answered.
func (s *sample) item(rows []sampled) *item {
	o := &item{layout: s.layout, rows: len(rows)}
	for _, row := range rows {
		o.numbers = append(o.numbers, row.numbers...)
	}
	for i := range s.layout.ports {
		for _, row := range rows {
			if p := &s.layout.ports[i]; p.text {
				for _, text := range row.texts[p.at:][:p.width] {
					o.say(text)
				}
			}
		}
	}
	return o
}

// askElder asks the version before what the present one was asked, and says how it answers, in
// features that are confirmed to have moved.
func (m *Monitor) askElder(ctx context.Context, model pavise.Name, s *sample, held []ruler, features []int) drift.Elder {
	if m.cfg.House == nil || s == nil || s.layout == nil || len(s.rows) < leastReplayed || len(features) == 0 {
		return drift.Unasked
	}
	ctx, stop := context.WithTimeout(ctx, replayTime)
	defer stop()
	n := len(s.layout.titles)
	before, present, b := drift.NewCounts(n), drift.NewCounts(n), newBatch(s.layout)
	before.Open(0)
	present.Open(0)
	for rows := range slices.Chunk(s.rows, replayRows) {
		asked := s.request(rows)
		said, err := m.cfg.House.Ask(ctx, model, asked)
		if err != nil {
			return drift.Unasked // its server may be gone
		}
		o := &item{layout: s.layout, rows: len(rows)}
		o.copy(&Exchange{Asked: asked, Said: said}, len(rows), 0)
		b.all(o, &tally{held: held, into: before})
		b.all(s.item(rows), &tally{held: held, into: present})
	}
	moved := func(all *drift.Counts) (k int) {
		for _, f := range features {
			if o := held[f].hold(all.Total(f, 0)); o.Moved() {
				k++
			}
		}
		return k
	}
	switch was, is := moved(before), moved(present); {
	case 2*was >= len(features):
		return drift.Alike
	case was == 0 && 2*is >= len(features):
		return drift.Fine
	}
	return drift.Unasked
}
