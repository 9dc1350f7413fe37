package firewall

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/tensor"
)

// A Gate holds requests to a model's signature, and its answers too. The
// signature must be valid; the zero Gate lets nothing pass.
type Gate struct {
	signature tensor.Signature
	maxRows   int      // rows in one request; zero allows none
	spans     [][]span // of the columns of each input, in order
}

// NewGate returns the gate before a model of a signature, which takes so many rows in one
// request.
func NewGate(s tensor.Signature, maxRows int) Gate {
	g := Gate{signature: s, maxRows: maxRows, spans: make([][]span, len(s.Inputs))}
	for i, p := range s.Inputs {
		for _, c := range p.Columns {
			g.spans[i] = append(g.spans[i], spanOf(c))
		}
	}
	return g
}

// A span is what the values of a column lie in, bounds included: an infinite one bounds
// nothing. A profile of rows of 512 numbers showed more time in going from column to bound
// than in comparing, so spans lie side by side.
type span struct{ least, most float64 }

func spanOf(c tensor.Column) span {
	s := span{math.Inf(-1), math.Inf(1)}
	if c.Min != nil {
		s.least = *c.Min
	}
	if c.Max != nil {
		s.most = *c.Max
	}
	return s
}

// has reports whether the value is within, which a NaN never is.
func (s *span) has(v float64) bool { return s.least <= v && v <= s.most }

// Check reports whether the request is one that the model takes: exactly its
// inputs, each of the right datatype and shape, all with the same number of rows
// and every value within bounds, and only outputs that exist. A Deny names the
// first thing that is wrong, for the caller.
func (g Gate) Check(r *tensor.Request) pavise.Verdict {
	why := match("input", g.signature.Inputs, r.Inputs)
	if why == "" {
		why = g.rows(r)
	}
	if why == "" {
		why = g.wanted(r)
	}
	for i := 0; why == "" && i < len(r.Inputs); i++ {
		at := g.port(i, r.Inputs[i].Name)
		why = outside(&g.signature.Inputs[at], g.spans[at], &r.Inputs[i])
	}
	return gateVerdict(why)
}

// CheckAnswer reports whether the model's answer is one that its signature
// promises: exactly the outputs asked for, with one row for each row of the
// request. It closes the ways around [Shape.Apply]: an output that nobody
// declared, and scores sent as text.
func (g Gate) CheckAnswer(r *tensor.Request, answer *tensor.Response) pavise.Verdict {
	ports := g.signature.Outputs
	if len(r.Outputs) > 0 {
		ports = slices.Clone(ports)
		ports = slices.DeleteFunc(ports, func(p tensor.Port) bool { return !slices.Contains(r.Outputs, p.Name) })
	}
	why := match("output", ports, answer.Outputs)
	for i := 0; why == "" && i < len(answer.Outputs); i++ {
		if t := &answer.Outputs[i]; t.Rows() != r.Rows() {
			why = fmt.Sprintf("output %q has %d rows for a request of %d", t.Name, t.Rows(), r.Rows())
		}
	}
	return gateVerdict(why)
}

// Limits narrows most to what a request that passes can need, so that no more
// is read of one that cannot: the rows and elements of its inputs, as many
// tensors as the model has, and a text of 64 bytes for each number, which leaves
// room for indentation.
func (g Gate) Limits(most tensor.Limits) tensor.Limits {
	lim := most
	lim.MaxRows = min(lim.MaxRows, g.maxRows)
	lim.MaxTensors = min(lim.MaxTensors, max(len(g.signature.Inputs), len(g.signature.Outputs)))
	total, texts := 0, false
	for i := range g.signature.Inputs {
		p := &g.signature.Inputs[i]
		total += p.Elements(lim.MaxRows, most.MaxElements)
		texts = texts || p.Datatype == tensor.Bytes
	}
	lim.MaxElements = min(lim.MaxElements, total)
	if !texts {
		lim.MaxBody = min(lim.MaxBody, 64<<10+64*lim.MaxElements)
	}
	return lim
}

func gateVerdict(why string) pavise.Verdict {
	if why == "" {
		return pavise.Verdict{Check: "gate", Outcome: pavise.Allow}
	}
	return pavise.Verdict{Check: "gate", Outcome: pavise.Deny, Reason: why}
}

// port returns the place of the input with the given name, which match has found, most of
// the time at the same place as in the request.
func (g *Gate) port(i int, name string) int {
	if i < len(g.signature.Inputs) && g.signature.Inputs[i].Name == name {
		return i
	}
	return find(g.signature.Inputs, name)
}

// find returns the place of the port of that name, or -1. Ports are large to copy.
func find(ports []tensor.Port, name string) int {
	for i := range ports {
		if ports[i].Name == name {
			return i
		}
	}
	return -1
}

// match says how the tensors differ from the ports, or "".
func match(what string, ports []tensor.Port, list []tensor.Tensor) string {
	if why, ok := matchInOrder(what, ports, list); ok {
		return why
	}
	seen := make(map[string]bool, len(list))
	for i := range list {
		t := &list[i]
		at := find(ports, t.Name)
		if at < 0 {
			return fmt.Sprintf("unexpected %s %.40q; the model has %s", what, t.Name, portNames(ports))
		}
		if why := differs(&ports[at], t); why != "" {
			return fmt.Sprintf("%s %q %s", what, t.Name, why)
		}
		if seen[t.Name] {
			return fmt.Sprintf("%s %q is given twice", what, t.Name)
		}
		seen[t.Name] = true
	}
	for _, p := range ports {
		if !seen[p.Name] {
			return fmt.Sprintf("%s %q is missing", what, p.Name)
		}
	}
	return ""
}

// matchInOrder is match for tensors that are the ports in their order, as almost all
// are. ok is false for others.
func matchInOrder(what string, ports []tensor.Port, list []tensor.Tensor) (why string, ok bool) {
	if len(list) != len(ports) {
		return "", false
	}
	for i := range list {
		if list[i].Name != ports[i].Name {
			return "", false
		}
	}
	for i := range list {
		if why := differs(&ports[i], &list[i]); why != "" {
			return fmt.Sprintf("%s %q %s", what, list[i].Name, why), true
		}
	}
	return "", true
}

// differs says how the tensor's type differs from the port's, or "".
func differs(p *tensor.Port, t *tensor.Tensor) string {
	if t.Datatype != p.Datatype {
		return fmt.Sprintf("is %s; the model has %s", t.Datatype, p.Datatype)
	}
	if len(t.Shape) != len(p.Shape) {
		return fmt.Sprintf("has %d dimensions; the model has %d", len(t.Shape), len(p.Shape))
	}
	for i, dim := range p.Shape {
		if dim != -1 && t.Shape[i] != dim {
			return fmt.Sprintf("has the shape %d; the model has %d, where -1 is any size", t.Shape, p.Shape)
		}
	}
	return ""
}

// rows says what is wrong with the row counts of the inputs, or "".
func (g Gate) rows(r *tensor.Request) string {
	if len(r.Inputs) == 0 {
		return "no inputs"
	}
	first := &r.Inputs[0]
	for i := range r.Inputs {
		if t := &r.Inputs[i]; t.Rows() != first.Rows() {
			return fmt.Sprintf("input %q has %d rows and input %q has %d", first.Name, first.Rows(), t.Name, t.Rows())
		}
	}
	if first.Rows() > g.maxRows {
		return fmt.Sprintf("%d rows in one request; the limit is %d", first.Rows(), g.maxRows)
	}
	return ""
}

// wanted says which output asked for does not exist, or "".
func (g Gate) wanted(r *tensor.Request) string {
	for _, name := range r.Outputs {
		if find(g.signature.Outputs, name) < 0 {
			return fmt.Sprintf("unknown output %.40q; the model has %s", name, portNames(g.signature.Outputs))
		}
	}
	return ""
}

// outside says which value is out of its column's bounds, or "".
func outside(p *tensor.Port, spans []span, t *tensor.Tensor) string {
	switch t.Datatype.Family() {
	case tensor.Unsigned:
		return beyond(p, spans, t.Data.Uints)
	case tensor.Signed:
		return beyond(p, spans, t.Data.Ints)
	case tensor.Floating:
		return beyond(p, spans, t.Data.Floats)
	}
	return ""
}

// beyond compares values as float64, which Column.fault has made exact. Almost always all
// are within, which is found out in the order of memory; only then is the one that is out
// looked for, column by column.
func beyond[T int64 | uint64 | float64](p *tensor.Port, spans []span, list []T) string {
	if within(spans, list) {
		return ""
	}
	for j := range spans {
		for at := j; at < len(list); at += len(spans) {
			if !spans[j].has(float64(list[at])) {
				return fmt.Sprintf("input %q row %d column %d (%s): %v is outside %v to %v", p.Name, at/len(spans), j, p.Columns[j].Name, list[at], spans[j].least, spans[j].most)
			}
		}
	}
	return ""
}

// within reports whether every value of rows is within its column's bounds.
func within[T int64 | uint64 | float64](spans []span, list []T) bool {
	for len(spans) > 0 && len(list) > 0 {
		row := list[:min(len(spans), len(list))]
		for i, v := range row {
			if !spans[i].has(float64(v)) {
				return false
			}
		}
		list = list[len(row):]
	}
	return true
}

func portNames(ports []tensor.Port) string {
	names := make([]string, len(ports))
	for i, p := range ports {
		names[i] = fmt.Sprintf("%q", p.Name)
	}
	return strings.Join(names, ", ")
}
