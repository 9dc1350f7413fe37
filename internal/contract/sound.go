package contract

import (
	"errors"
	"fmt"
	"regexp/syntax"
	"time"
)

// What patterns may be, in instructions of the machines that they become: matching takes as
// many steps for each character at worst, and a contract may have thousands of patterns.
const (
	maxPattern  = 4_096
	maxPatterns = 65_536 // of a schema
)

// sound refuses promises that nobody can mean: bounds that no value keeps, by which all rows
// of a source would be held, and patterns that become more than they look.
func (s *Schema) sound() error {
	all := 0
	for i := range s.Properties {
		p := &s.Properties[i]
		err := p.room()
		for _, text := range p.patterns() {
			n := instructions(text)
			if all += n; err == nil && n > maxPattern {
				err = fmt.Errorf("pattern %.60q becomes %d instructions, and at most %d are matched: repeat less in it", text, n, maxPattern)
			}
			if err == nil && all > maxPatterns {
				err = fmt.Errorf("its patterns and those before become more than %d instructions: repeat less in them", maxPatterns)
			}
		}
		if err != nil {
			return fmt.Errorf("property %.80q: %w", p.Name, err)
		}
	}
	return nil
}

// room refuses bounds that leave none. What is wrong with a bound itself is said elsewhere.
func (p *Property) room() error {
	o := p.LogicalTypeOptions
	if o == nil {
		return nil
	}
	switch p.LogicalType {
	case "string":
		if o.MaxLength != nil && (*o.MaxLength < 0 || o.MinLength != nil && *o.MinLength > *o.MaxLength) {
			return errors.New("minLength and maxLength leave room for no text")
		}
	case "integer", "number":
		return roomBetween(o, numberOf, compare)
	case "date", "timestamp", "time":
		if layouts, err := layoutsOf(p.LogicalType, o.Format); err == nil {
			return roomBetween(o, whenIn(layouts), time.Time.Compare)
		}
	}
	return nil
}

func roomBetween[B any](o *Options, read func(any) (B, error), order func(a, b B) int) error {
	for _, p := range []struct {
		low, high any
		one       bool // whether a value may be both
	}{
		{o.Minimum, o.Maximum, true}, {o.Minimum, o.ExclusiveMaximum, false}, {o.ExclusiveMinimum, o.Maximum, false}, {o.ExclusiveMinimum, o.ExclusiveMaximum, false},
	} {
		if p.low == nil || p.high == nil {
			continue
		}
		low, err := read(p.low)
		high, err2 := read(p.high)
		if c := order(low, high); err == nil && err2 == nil && (c > 0 || c == 0 && !p.one) {
			return fmt.Errorf("its bounds %v and %v leave room for no value", p.low, p.high)
		}
	}
	return nil
}

// patterns are those that a property's values are held to.
func (p *Property) patterns() (all []string) {
	if p.LogicalTypeOptions != nil && p.LogicalTypeOptions.Pattern != "" {
		all = append(all, p.LogicalTypeOptions.Pattern)
	}
	for _, q := range p.Quality {
		if q.Arguments != nil && q.Arguments.Pattern != "" {
			all = append(all, q.Arguments.Pattern)
		}
	}
	return all
}

// instructions is how long the machine of a pattern is; one that cannot be read has none.
func instructions(text string) int {
	parsed, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return 0
	}
	machine, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return 0
	}
	return len(machine.Inst)
}
