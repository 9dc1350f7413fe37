package table

import (
	"fmt"
	"strconv"
	"strings"
)

// A header is what NPY says of its array.
type header struct {
	descr   string
	fortran bool
	shape   []uint64
}

// maxDimensions is NumPy's own bound.
const maxDimensions = 64

// parseHeader reads the dictionary of an NPY header, {'descr': '<f4', 'fortran_order':
// False, 'shape': (3, 4), }, as Python writes it and no more, or says what is wrong.
func parseHeader(s string) (h header, why string) {
	p := &headerParser{rest: strings.TrimRight(s, " \n")}
	p.want("{")
	seen := map[string]bool{}
	for p.why == "" && !p.take("}") {
		key := p.text()
		if seen[key] {
			p.fail(fmt.Sprintf("says %.40q twice", key))
		}
		seen[key] = true
		p.want(":")
		switch key {
		case "descr":
			h.descr = p.descr()
		case "fortran_order":
			h.fortran = p.truth()
		case "shape":
			h.shape = p.shape()
		default:
			p.fail(fmt.Sprintf("says %.40q, which no array has", key))
		}
		if !p.take(",") {
			p.want("}")
			break
		}
	}
	switch {
	case p.why != "":
		return h, p.why
	case p.rest != "":
		return h, "goes on behind its end"
	case len(seen) != 3:
		return h, "says not all of descr, fortran_order and shape"
	}
	return h, ""
}

// A headerParser reads from rest until something is wrong.
type headerParser struct {
	rest string
	why  string // the first thing that is wrong
}

func (p *headerParser) fail(why string) {
	if p.why == "" {
		p.why = why
	}
}

// take takes a token if it is next.
func (p *headerParser) take(token string) bool {
	rest, ok := strings.CutPrefix(strings.TrimLeft(p.rest, " "), token)
	if ok {
		p.rest = rest
	}
	return ok && p.why == ""
}

func (p *headerParser) want(token string) {
	if !p.take(token) {
		p.fail(fmt.Sprintf("is not what NumPy writes: %q is missing before %.20q", token, p.rest))
	}
}

// text reads a string in single or double quotes, without escapes.
func (p *headerParser) text() string {
	quote := "'"
	if !p.take(quote) {
		quote = `"`
		p.want(quote)
	}
	s, rest, ok := strings.Cut(p.rest, quote)
	if !ok || strings.ContainsAny(s, "\\\n") {
		p.fail("has a text that does not end")
		return ""
	}
	p.rest = rest
	return s
}

// descr reads the type of the values.
func (p *headerParser) descr() string {
	if p.take("[") {
		p.fail("says that it holds records of several types: save each column as an array")
		return ""
	}
	return p.text()
}

func (p *headerParser) truth() bool {
	yes := p.take("True")
	if !yes {
		p.want("False")
	}
	return yes
}

// shape reads a tuple of sizes.
func (p *headerParser) shape() (shape []uint64) {
	p.want("(")
	for p.why == "" && !p.take(")") {
		p.rest = strings.TrimLeft(p.rest, " ")
		end := 0
		for end < len(p.rest) && '0' <= p.rest[end] && p.rest[end] <= '9' {
			end++
		}
		n, err := strconv.ParseUint(p.rest[:end], 10, 63)
		if err != nil {
			p.fail(fmt.Sprintf("has a size that is none before %.20q", p.rest))
			return nil
		}
		p.rest = strings.TrimPrefix(p.rest[end:], "L") // as Python 2 wrote it
		if shape = append(shape, n); len(shape) > maxDimensions {
			p.fail(fmt.Sprintf("has more than %d dimensions", maxDimensions))
		}
		if !p.take(",") {
			p.want(")")
			break
		}
	}
	return shape
}
