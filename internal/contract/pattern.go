package contract

import (
	"fmt"
	"regexp"
	"regexp/syntax"
)

// What patterns may be, in instructions of the machines that they become: matching takes as
// many steps for each character at worst, and a contract may have thousands of patterns.
const (
	maxPattern  = 4_096
	maxPatterns = 65_536 // of a schema
)

// patterns refuses patterns that become more than they look.
func (s *Schema) patterns() error {
	all := 0
	for i := range s.Properties {
		p := &s.Properties[i]
		for _, text := range p.patterns() {
			n, err := instructions(text)
			if all += n; err == nil && n > maxPattern {
				err = fmt.Errorf("pattern %.60q becomes %d instructions, and at most %d are matched: repeat less in it", text, n, maxPattern)
			}
			if err == nil && all > maxPatterns {
				err = fmt.Errorf("its patterns and those before become more than %d instructions: repeat less in them", maxPatterns)
			}
			if err != nil {
				return fmt.Errorf("property %.80q: %w", p.Name, err)
			}
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

// instructions is how long the machine of a pattern is.
func instructions(text string) (int, error) {
	parsed, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return 0, noRE2(text, err)
	}
	machine, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return 0, noRE2(text, err)
	}
	return len(machine.Inst), nil
}

// readPattern reads a pattern.
func readPattern(text string) (*regexp.Regexp, error) {
	pattern, err := regexp.Compile(text)
	if err != nil {
		return nil, noRE2(text, err)
	}
	return pattern, nil
}

func noRE2(text string, err error) error {
	return fmt.Errorf("pattern %.60q is none that RE2 reads: %w", text, err)
}
