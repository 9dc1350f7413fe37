package policy

import (
	_ "embed" // for the policies compiled in
	"slices"
)

var (
	//go:embed guardrails.cedar
	guardrails string
	//go:embed roles.cedar
	roles string
	//go:embed former.cedar
	former string
)

// A Text is one policy as it is written.
type Text struct {
	ID   string `json:"id"`
	Text string `json:"text"` // Cedar: one statement
}

// Defaults returns the tenant policies that an installation begins with, by id: one or
// two for each role.
func Defaults() map[string]string {
	texts := map[string]string{}
	for _, r := range mustSplit(roles) {
		texts[r.id] = r.text
	}
	return texts
}

// Former returns the default policies of earlier builds, where they were others.
func Former() []Text {
	var texts []Text
	for _, r := range mustSplit(former) {
		texts = append(texts, Text{r.id, r.text})
	}
	return texts
}

// Guardrails returns the guardrails as people see them.
func Guardrails() []Rule {
	var rules []Rule
	for _, r := range mustSplit(guardrails) {
		r.id = guardrailPrefix + r.id
		rules = append(rules, r.show())
	}
	return rules
}

// Roles returns the roles that the policies of a set speak of in their scopes, in order.
func (s *Set) Roles() []string {
	var names []string
	for _, r := range s.rules {
		if role, ok := r.roleOf(); ok {
			names = append(names, role)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
