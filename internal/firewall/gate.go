package firewall

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/pavise/pavise"
)

// A Signature says what a model takes and gives.
type Signature struct {
	Inputs  []Port `json:"inputs"`
	Outputs []Port `json:"outputs"`
}

// A Port is one input or output of a model.
type Port struct {
	Name     string   `json:"name"`
	Datatype Datatype `json:"datatype"`
	Shape    []int64  `json:"shape"` // -1 takes any size; dimension 0 counts rows
	// Columns, when given, names each column of a port with two dimensions
	// and may bound its values.
	Columns []Column `json:"columns,omitempty"`
}

// A Column is one column of a port. A nil bound bounds nothing; both bounds are
// themselves allowed values.
type Column struct {
	Name string   `json:"name"`
	Min  *float64 `json:"min,omitempty"`
	Max  *float64 `json:"max,omitempty"`
}

// Validate reports, as an error of kind Invalid, what is wrong with the
// signature itself. A Gate takes only valid signatures.
func (s Signature) Validate() error {
	for _, side := range []struct {
		what  string
		ports []Port
	}{{"input", s.Inputs}, {"output", s.Outputs}} {
		if len(side.ports) == 0 {
			return &pavise.Error{Kind: pavise.Invalid, Msg: "the signature has no " + side.what, Hint: "list every " + side.what + " of the model"}
		}
		for i, p := range side.ports {
			why := p.fault()
			if slices.ContainsFunc(side.ports[:i], func(q Port) bool { return q.Name == p.Name }) {
				why = "is listed twice"
			}
			if why != "" {
				return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s %q %s", side.what, p.Name, why), Hint: "correct the model's signature"}
			}
		}
	}
	return nil
}

// fault says what is wrong with the port, or "".
func (p Port) fault() string {
	switch {
	case p.Name == "":
		return "has no name"
	case !p.Datatype.Valid():
		return fmt.Sprintf("has the unknown datatype %q", p.Datatype)
	case len(p.Shape) == 0:
		return "has no shape"
	case slices.ContainsFunc(p.Shape, func(dim int64) bool { return dim < 1 && dim != -1 }):
		return fmt.Sprintf("has a dimension that is neither -1 nor at least 1 in %d", p.Shape)
	case len(p.Columns) == 0:
		return ""
	case len(p.Shape) != 2 || p.Shape[1] != int64(len(p.Columns)):
		return fmt.Sprintf("has %d columns and the shape %d", len(p.Columns), p.Shape)
	}
	for _, c := range p.Columns {
		if why := c.fault(p.Datatype.family()); why != "" {
			return fmt.Sprintf("has a column %q that %s", c.Name, why)
		}
	}
	return ""
}

// fault says what is wrong with the column, or "". Bounds on integers stay below
// 2^53, which makes comparing them as float64 exact for every int64 and uint64.
func (c Column) fault(kind family) string {
	for _, bound := range []*float64{c.Min, c.Max} {
		switch {
		case bound == nil:
		case kind == boolean || kind == octets:
			return "is bounded, but does not hold numbers"
		case math.IsNaN(*bound) || math.IsInf(*bound, 0):
			return "has a bound that is no finite number"
		case kind != floating && math.Abs(*bound) >= 1<<53:
			return "has a bound of 2^53 or more on integers"
		}
	}
	if c.Min != nil && c.Max != nil && *c.Min > *c.Max {
		return fmt.Sprintf("is bounded to nothing, from %v to %v", *c.Min, *c.Max)
	}
	return ""
}

// A Gate holds requests to a model's signature, and its answers too. The
// signature must be valid; the zero Gate lets nothing pass.
type Gate struct {
	Signature Signature
	MaxRows   int // rows in one request; zero allows none
}

// Check reports whether the request is one that the model takes: exactly its
// inputs, each of the right datatype and shape, all with the same number of rows
// and every value within bounds, and only outputs that exist. A Deny names the
// first thing that is wrong, for the caller.
func (g Gate) Check(r *Request) pavise.Verdict {
	why := match("input", g.Signature.Inputs, r.Inputs)
	if why == "" {
		why = g.rows(r)
	}
	if why == "" {
		why = g.wanted(r)
	}
	for i := 0; why == "" && i < len(r.Inputs); i++ {
		why = g.Signature.port(r.Inputs[i].Name).outside(&r.Inputs[i])
	}
	return gateVerdict(why)
}

// CheckAnswer reports whether the model's answer is one that its signature
// promises: exactly the outputs asked for, with one row for each row of the
// request. It closes the ways around [Shape.Apply]: an output that nobody
// declared, and scores sent as text.
func (g Gate) CheckAnswer(r *Request, answer *Response) pavise.Verdict {
	ports := g.Signature.Outputs
	if len(r.Outputs) > 0 {
		ports = slices.Clone(ports)
		ports = slices.DeleteFunc(ports, func(p Port) bool { return !slices.Contains(r.Outputs, p.Name) })
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
func (g Gate) Limits(most Limits) Limits {
	lim := most
	lim.MaxRows = min(lim.MaxRows, g.MaxRows)
	lim.MaxTensors = min(lim.MaxTensors, max(len(g.Signature.Inputs), len(g.Signature.Outputs)))
	total, texts := 0, false
	for _, p := range g.Signature.Inputs {
		total += p.elements(lim.MaxRows, most.MaxElements)
		texts = texts || p.Datatype == Bytes
	}
	lim.MaxElements = min(lim.MaxElements, total)
	if !texts {
		lim.MaxBody = min(lim.MaxBody, 64<<10+64*lim.MaxElements)
	}
	return lim
}

// elements is how many elements the port takes with so many rows, at most: most,
// when it does not say.
func (p Port) elements(rows, most int) int {
	total := int64(rows)
	for _, dim := range p.Shape[1:] {
		if dim == -1 || total > int64(most)/dim {
			return most
		}
		total *= dim
	}
	return int(total)
}

func gateVerdict(why string) pavise.Verdict {
	if why == "" {
		return pavise.Verdict{Check: "gate", Outcome: pavise.Allow}
	}
	return pavise.Verdict{Check: "gate", Outcome: pavise.Deny, Reason: why}
}

// port returns the input with the given name, which match has found.
func (s Signature) port(name string) Port {
	return s.Inputs[slices.IndexFunc(s.Inputs, func(p Port) bool { return p.Name == name })]
}

// match says how the tensors differ from the ports, or "".
func match(what string, ports []Port, list []Tensor) string {
	seen := make(map[string]bool, len(list))
	for i := range list {
		t := &list[i]
		at := slices.IndexFunc(ports, func(p Port) bool { return p.Name == t.Name })
		if at < 0 {
			return fmt.Sprintf("unexpected %s %.40q; the model has %s", what, t.Name, portNames(ports))
		}
		if why := ports[at].differs(t); why != "" {
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

// differs says how the tensor's type differs from the port's, or "".
func (p Port) differs(t *Tensor) string {
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
func (g Gate) rows(r *Request) string {
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
func (g Gate) wanted(r *Request) string {
	for _, name := range r.Outputs {
		if !slices.ContainsFunc(g.Signature.Outputs, func(p Port) bool { return p.Name == name }) {
			return fmt.Sprintf("unknown output %.40q; the model has %s", name, portNames(g.Signature.Outputs))
		}
	}
	return ""
}

// outside says which value is out of its column's bounds, or "".
func (p Port) outside(t *Tensor) string {
	switch t.Datatype.family() {
	case unsigned:
		return outside(p, t.Data.Uints)
	case signed:
		return outside(p, t.Data.Ints)
	case floating:
		return outside(p, t.Data.Floats)
	}
	return ""
}

// outside compares values as float64, which Column.fault has made exact. A NaN
// is outside every bound.
func outside[T int64 | uint64 | float64](p Port, list []T) string {
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

func portNames(ports []Port) string {
	names := make([]string, len(ports))
	for i, p := range ports {
		names[i] = fmt.Sprintf("%q", p.Name)
	}
	return strings.Join(names, ", ")
}
