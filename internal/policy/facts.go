package policy

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// String spells the facts, or "" for none, as a record keeps them: a query string of
// those that are not zero.
func (f Facts) String() string {
	v := url.Values{}
	set := func(name, value string) {
		if value != "" && value != "false" {
			v.Set(name, value)
		}
	}
	set("quarantined", strconv.FormatBool(f.Quarantined))
	set("state", f.State)
	set("risk", f.Risk)
	set("environment", f.Environment)
	set("scrubbed", strconv.FormatBool(f.Scrubbed))
	return v.Encode()
}

// ParseFacts reads what String spells.
func ParseFacts(s string) (f Facts, err error) {
	v, err := url.ParseQuery(s)
	if err != nil {
		return f, fmt.Errorf("read facts %.80q: %w", s, err)
	}
	return Facts{
		Quarantined: v.Get("quarantined") == "true", State: v.Get("state"), Risk: v.Get("risk"),
		Environment: v.Get("environment"), Scrubbed: v.Get("scrubbed") == "true",
	}, nil
}

// Words spells facts for people, from what String spells; "" of none. It shows what it
// cannot read as it is.
func Words(facts string) string {
	v, err := url.ParseQuery(facts)
	if err != nil {
		return facts
	}
	var words []string
	for _, name := range slices.Sorted(maps.Keys(v)) {
		words = append(words, strings.TrimSpace(name+" "+strings.TrimPrefix(v.Get(name), "true")))
	}
	return strings.Join(words, ", ")
}
