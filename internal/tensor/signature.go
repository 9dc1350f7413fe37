package tensor

import (
	"fmt"
	"math"
	"slices"

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
		if why := c.fault(p.Datatype.Family()); why != "" {
			return fmt.Sprintf("has a column %q that %s", c.Name, why)
		}
	}
	return ""
}

// fault says what is wrong with the column, or "". Bounds on integers stay below
// 2^53, which makes comparing them as float64 exact for every int64 and uint64.
func (c Column) fault(kind Family) string {
	for _, bound := range []*float64{c.Min, c.Max} {
		switch {
		case bound == nil:
		case kind == Boolean || kind == Octets:
			return "is bounded, but does not hold numbers"
		case math.IsNaN(*bound) || math.IsInf(*bound, 0):
			return "has a bound that is no finite number"
		case kind != Floating && math.Abs(*bound) >= 1<<53:
			return "has a bound of 2^53 or more on integers"
		}
	}
	if c.Min != nil && c.Max != nil && *c.Min > *c.Max {
		return fmt.Sprintf("is bounded to nothing, from %v to %v", *c.Min, *c.Max)
	}
	return ""
}

// Elements is how many elements the port takes with so many rows, at most: most,
// when it does not say.
func (p *Port) Elements(rows, most int) int {
	total := int64(rows)
	for _, dim := range p.Shape[1:] {
		if dim == -1 || total > int64(most)/dim {
			return most
		}
		total *= dim
	}
	return int(total)
}

// Texts reports whether an input holds BYTES.
func (s Signature) Texts() bool {
	return slices.ContainsFunc(s.Inputs, func(p Port) bool { return p.Datatype == Bytes })
}
