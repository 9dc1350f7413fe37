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
	Signature tensor.Signature
	MaxRows   int // rows in one request; zero allows none
}

// Check reports whether the request is one that the model takes: exactly its
// inputs, each of the right datatype and shape, all with the same number of rows
// and every value within bounds, and only outputs that exist. A Deny names the
// first thing that is wrong, for the caller.
func (g Gate) Check(r *tensor.Request) pavise.Verdict {
	why := match("input", g.Signature.Inputs, r.Inputs)
	if why == "" {
		why = g.rows(r)
	}
	if why == "" {
		why = g.wanted(r)
	}
	for i := 0; why == "" && i < len(r.Inputs); i++ {
		why = outside(g.port(i, r.Inputs[i].Name), &r.Inputs[i])
	}
	return gateVerdict(why)
}

// CheckAnswer reports whether the model's answer is one that its signature
// promises: exactly the outputs asked for, with one row for each row of the
// request. It closes the ways around [Shape.Apply]: an output that nobody
// declared, and scores sent as text.
func (g Gate) CheckAnswer(r *tensor.Request, answer *tensor.Response) pavise.Verdict {
	ports := g.Signature.Outputs
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
	lim.MaxRows = min(lim.MaxRows, g.MaxRows)
	lim.MaxTensors = min(lim.MaxTensors, max(len(g.Signature.Inputs), len(g.Signature.Outputs)))
	total, texts := 0, false
	for i := range g.Signature.Inputs {
		p := &g.Signature.Inputs[i]
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

// port returns the input with the given name, which match has found, most of the time
// at the same place as in the request.
func (g *Gate) port(i int, name string) *tensor.Port {
	if i < len(g.Signature.Inputs) && g.Signature.Inputs[i].Name == name {
		return &g.Signature.Inputs[i]
	}
	return &g.Signature.Inputs[find(g.Signature.Inputs, name)]
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
	if first.Rows() > g.MaxRows {
		return fmt.Sprintf("%d rows in one request; the limit is %d", first.Rows(), g.MaxRows)
	}
	return ""
}

// wanted says which output asked for does not exist, or "".
func (g Gate) wanted(r *tensor.Request) string {
	for _, name := range r.Outputs {
		if find(g.Signature.Outputs, name) < 0 {
			return fmt.Sprintf("unknown output %.40q; the model has %s", name, portNames(g.Signature.Outputs))
		}
	}
	return ""
}

// outside says which value is out of its column's bounds, or "".
func outside(p *tensor.Port, t *tensor.Tensor) string {
	switch t.Datatype.Family() {
	case tensor.Unsigned:
		return beyond(p, t.Data.Uints)
	case tensor.Signed:
		return beyond(p, t.Data.Ints)
	case tensor.Floating:
		return beyond(p, t.Data.Floats)
	}
	return ""
}

// beyond compares values as float64, which Column.fault has made exact. A NaN
// is outside every bound. Almost always all are within, which is found out in the order
// of memory; only then is the one that is out looked for, column by column.
func beyond[T int64 | uint64 | float64](p *tensor.Port, list []T) string {
	if within(p.Columns, list) {
		return ""
	}
	for j, c := range p.Columns {
		lo, hi := math.Inf(-1), math.Inf(1)
		if c.Min != nil {
			lo = *c.Min
		}
		if c.Max != nil {
			hi = *c.Max
		}
		for at := j; at < len(list); at += len(p.Columns) {
			if v := float64(list[at]); !(lo <= v && v <= hi) {
				return fmt.Sprintf("input %q row %d column %d (%s): %v is outside %v to %v", p.Name, at/len(p.Columns), j, c.Name, list[at], lo, hi)
			}
		}
	}
	return ""
}

// within reports whether every value of rows is within its column's bounds.
func within[T int64 | uint64 | float64](columns []tensor.Column, list []T) bool {
	for len(columns) > 0 && len(list) > 0 {
		row := list[:min(len(columns), len(list))]
		for i := range row {
			c, v := &columns[i], float64(row[i])
			if c.Min != nil && v < *c.Min || c.Max != nil && v > *c.Max || v != v {
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
