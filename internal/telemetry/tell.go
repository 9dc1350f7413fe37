package telemetry

import (
	"math"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// provider is the format in which language models are asked, by GenAI's name for it.
const provider = "openai"

// A Family is a metric with all that was counted of it.
type Family struct {
	*Metric
	Series []Series
}

// A Series is one combination of labels.
type Series struct {
	Labels   []string // values, as Metric.Labels has the names
	Value    float64  // of a counter or a gauge
	Exemplar *Exemplar
	Buckets  []Bucket // of a histogram, lowest first
	Sum      float64
}

// A Bucket counts the values of a histogram up to a bound, and above the one before.
type Bucket struct {
	Bound    float64 // inclusive; +Inf for the last
	Count    uint64
	Exemplar *Exemplar
}

// Families returns all that was counted, as of now. Metrics of which nothing was are
// left out.
func (m *Meter) Families() (all []Family) {
	if m == nil {
		return nil
	}
	models := m.allModels()
	all = append(all, m.pipeline(models)...)
	all = append(all, m.web()...)
	all = append(all, m.languages(models)...)
	all = append(all, m.read()...)
	all = append(all, m.traces.families()...)
	all = append(all, Family{build, []Series{{Labels: []string{m.cfg.Version, m.cfg.Role, runtime.Version()}, Value: 1}}})
	all = append(all, readRuntime()...)
	return slices.DeleteFunc(all, func(f Family) bool { return len(f.Series) == 0 })
}

// pipeline tells what the exchanges were.
func (m *Meter) pipeline(models []*Model) []Family {
	ended, took, parts, said := Family{Metric: requests}, Family{Metric: duration}, Family{Metric: partDuration}, Family{Metric: verdicts}
	asked, charged, in, out := Family{Metric: rowsAsked}, Family{Metric: rowsCharged}, Family{Metric: bytesIn}, Family{Metric: bytesOut}
	above := Family{Metric: late}
	for _, model := range models {
		for p := range model.requests {
			for o := range model.requests[p] {
				ended.count(&model.requests[p][o], model.id, protocols[p], outcomeName(o))
			}
		}
		asked.count(&model.asked, model.id)
		charged.count(&model.charged, model.id)
		in.count(&model.in, model.id)
		out.count(&model.out, model.id)
		above.count(&model.late, model.id)
	}
	for p, h := range m.durations {
		took.histogram(h, protocols[p])
	}
	for p, h := range m.parts {
		parts.histogram(h, partNames[p])
	}
	for c := range m.verdicts {
		for w := range m.verdicts[c] {
			said.count(&m.verdicts[c][w], checks[c], words[w])
		}
	}
	now := Family{active, []Series{{Value: float64(m.active.Load())}}}
	return []Family{ended, now, took, parts, said, asked, charged, in, out, above, m.shared()}
}

// shared tells which of several models answered. Routes of two tenants may have one id, and
// then count as one.
func (m *Meter) shared() Family {
	f := Family{Metric: versions}
	how := m.versions.Load()
	if how == nil {
		return f
	}
	(*how)(func(model, version string, answers uint64) {
		labels := []string{model, version}
		at := slices.IndexFunc(f.Series, func(s Series) bool { return slices.Equal(s.Labels, labels) })
		switch {
		case at >= 0:
			f.Series[at].Value += float64(answers)
		case len(f.Series) < maxVersions:
			f.Series = append(f.Series, Series{Labels: labels, Value: float64(answers)})
		}
	})
	slices.SortFunc(f.Series, func(a, b Series) int { return slices.Compare(a.Labels, b.Labels) })
	return f
}

// web tells what the HTTP doors did.
func (m *Meter) web() []Family {
	took, in, out, synced := Family{Metric: httpDuration}, Family{Metric: httpIn}, Family{Metric: httpOut}, Family{Metric: logSync}
	for d, h := range *m.http.Load() {
		route, status := d.route, strconv.Itoa(d.status)
		if route == "" {
			route = none
		}
		if d.status == 0 {
			status = other
		}
		took.histogram(h, methods[d.method], route, status)
	}
	slices.SortFunc(took.Series, func(a, b Series) int { return slices.Compare(a.Labels, b.Labels) })
	in.histogram(m.in)
	out.histogram(m.out)
	synced.histogram(m.sync)
	return []Family{took, {httpActive, []Series{{Value: float64(m.doors.Load())}}}, in, out, synced}
}

// languages tells what language models did.
func (m *Meter) languages(models []*Model) []Family {
	server, firsts, nexts := Family{Metric: genaiServer}, Family{Metric: genaiFirst}, Family{Metric: genaiNext}
	client, used := Family{Metric: genaiClient}, Family{Metric: genaiTokens}
	for _, model := range models {
		for i := range model.genai {
			l := model.genai[i].Load()
			if l == nil {
				continue
			}
			for o := range l.server {
				bad := outcomeName(o)
				if o == 0 {
					bad = "" // the conventions have no error.type then
				}
				server.histogram(l.server[o], operations[i], provider, model.id, bad)
				client.histogram(l.client[o], operations[i], provider, model.id, bad)
			}
			firsts.histogram(l.first, operations[i], provider, model.id)
			nexts.histogram(l.next, operations[i], provider, model.id)
			used.histogram(l.tokens[0], operations[i], provider, model.id, "input")
			used.histogram(l.tokens[1], operations[i], provider, model.id, "output")
		}
	}
	return []Family{server, firsts, nexts, client, used}
}

// read asks for what others keep.
func (m *Meter) read() (all []Family) {
	for r := range m.ask {
		f := Family{Metric: readings[r]}
		if how := m.ask[r].Load(); how != nil {
			if v := (*how)(); !math.IsNaN(v) && !math.IsInf(v, 0) {
				f.Series = []Series{{Value: v}}
			}
		}
		all = append(all, f)
	}
	return all
}

// count adds a counter that has counted.
func (f *Family) count(c *counter, labels ...string) {
	if n := c.n.Load(); n > 0 {
		f.Series = append(f.Series, Series{Labels: labels, Value: float64(n), Exemplar: c.get()})
	}
}

// histogram adds a histogram that has counted.
func (f *Family) histogram(h *histogram, labels ...string) {
	s := Series{Labels: labels, Sum: float64(h.sum.Load()) / h.metric.scale}
	total := uint64(0)
	for i := range h.counts {
		b := Bucket{Bound: math.Inf(1), Count: h.counts[i].n.Load(), Exemplar: h.counts[i].get()}
		if i < len(h.metric.bounds) {
			b.Bound = h.metric.bounds[i]
		}
		total += b.Count
		s.Buckets = append(s.Buckets, b)
	}
	if total > 0 {
		f.Series = append(f.Series, s)
	}
}

// Count is how many values a histogram's series counts.
func (s *Series) Count() (n uint64) {
	for _, b := range s.Buckets {
		n += b.Count
	}
	return n
}

// pairs are the labels of a series with their names. Empty ones are left out: they
// stand for none in both protocols.
func (f *Family) pairs(s *Series, each func(name, value string)) {
	for i, value := range s.Labels {
		if value != "" {
			each(f.Labels[i], strings.ToValidUTF8(value, "�"))
		}
	}
}
