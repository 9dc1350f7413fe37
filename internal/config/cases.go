package config

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/pavise/pavise"
)

// A Case is one case of a file for pavise policy test: who asks to do what, and what
// policies are to answer.
type Case struct {
	Line int // where it stands in its file
	CaseSpec
}

// A CaseSpec is a case as it is written.
type CaseSpec struct {
	Name     string     `yaml:"name" need:"true" example:"analysts give out no tokens"` // one of its own
	Who      CaseWho    `yaml:"who" need:"true" example:"{kind: human, role: [analyst]}"`
	Verb     string     `yaml:"verb" need:"true" example:"issuer.mint"`
	On       string     `yaml:"on" need:"true" example:"issuer"` // a kind of thing, or tenant/kind/id
	Facts    *CaseFacts `yaml:"facts"`
	Approved bool       `yaml:"approved"` // it is a change that others have approved
	At       string     `yaml:"at"`       // RFC 3339; "": now
	Expect   string     `yaml:"expect" need:"true" example:"deny"`
	By       string     `yaml:"by"` // a policy that has to be among those that decide
}

// A CaseWho is who asks in a case.
type CaseWho struct {
	Kind        string   `yaml:"kind" need:"true" example:"human"` // human, workload or node
	Tenant      string   `yaml:"tenant"`                           // "": that of the thing
	ID          string   `yaml:"id"`                               // "": somebody whom no policy knows
	Role        []string `yaml:"role"`
	Issuer      string   `yaml:"issuer"`
	Environment string   `yaml:"environment"`
}

// CaseFacts are what is known of the thing in a case.
type CaseFacts struct {
	State       string `yaml:"state"`
	Risk        string `yaml:"risk"`
	Environment string `yaml:"environment"`
	Quarantined bool   `yaml:"quarantined"`
	Scrubbed    bool   `yaml:"scrubbed"`
}

// casesBegin is where a good file of cases is to be seen.
const casesBegin = "pavise policy test --help shows a file to begin with"

// ParseCases reads a file of cases, as strictly as Parse reads pavise.yaml. name is what
// faults call it. The error is of kind Invalid and names every fault. Whether there are
// such verbs, roles and facts is for package policy to say.
func ParseCases(name string, text []byte) ([]Case, error) {
	if len(text) > MaxSize {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s is %d bytes long, more than %d", name, len(text), MaxSize), Hint: "spread the cases over several files"}
	}
	var file struct {
		Cases []CaseSpec `yaml:"cases" need:"true" example:"[{name: …, who: …, verb: …, on: …, expect: …}]"`
	}
	f, err := read(name, text, &file, "a file of cases", casesBegin)
	if err != nil {
		return nil, err
	}
	seen := map[string]int{}
	cases := make([]Case, len(file.Cases))
	for i, spec := range file.Cases {
		at := f.in("cases").in(strconv.Itoa(i))
		cases[i] = Case{Line: f.lines[at.field], CaseSpec: spec}
		if before, twice := seen[spec.Name]; twice {
			at.add("name", fmt.Sprintf("is that of the case in line %d", before), "give each case a name of its own")
		}
		seen[spec.Name] = cases[i].Line
		spec.check(at)
	}
	return cases, f.err(name)
}

func (c CaseSpec) check(f *faults) {
	if kinds := []string{pavise.Human, pavise.Workload, pavise.Node}; !slices.Contains(kinds, c.Who.Kind) {
		f.in("who").add("kind", strconv.Quote(clip(c.Who.Kind))+" is no kind of caller", "write human, workload or node")
	}
	f.in("who").label("tenant", c.Who.Tenant)
	f.in("who").label("id", c.Who.ID)
	for _, role := range c.Who.Role {
		f.in("who").label("role", role)
	}
	if _, err := c.Thing(""); err != nil {
		f.add("on", strconv.Quote(clip(c.On))+" is neither a kind of thing nor the name of one", "write model, or local/model/fraud")
	}
	if _, err := c.Time(time.Time{}); err != nil {
		f.add("at", strconv.Quote(clip(c.At))+" is no time", "write it as 2026-11-26T03:00:00Z")
	}
	if c.Expect != string(pavise.Allow) && c.Expect != string(pavise.Deny) {
		f.add("expect", strconv.Quote(clip(c.Expect))+" is no answer", "write allow or deny")
	}
}

// Thing returns what the case is about: of a kind alone, any of the tenant.
func (c CaseSpec) Thing(tenant string) (pavise.Name, error) {
	if name, err := pavise.ParseName(c.On); err == nil {
		return name, nil
	}
	name := pavise.Name{Tenant: tenant, Kind: c.On, ID: "any"}
	return name, pavise.Name{Tenant: "any", Kind: c.On, ID: "any"}.Validate()
}

// Time returns when the case happens, which is now if it does not say.
func (c CaseSpec) Time(now time.Time) (time.Time, error) {
	if c.At == "" {
		return now, nil
	}
	return time.Parse(time.RFC3339, c.At)
}
