package cases

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/config"
	"github.com/pavise/pavise/internal/plainfile"
	"github.com/pavise/pavise/internal/policy"
	"github.com/pavise/pavise/internal/verbs"
)

// tenant is whose things a case is about that names a kind alone.
const tenant = "local"

// Test is pavise policy test. Its fields are flags of the command line.
type Test struct {
	File     string `arg:"" name:"cases" help:"The file of cases (YAML)."`
	Policies string `help:"The policies: NAME.cedar files, one statement each (default: the built-in roles)." placeholder:"DIR"`
	Defaults bool   `help:"With --policies: begin with the built-in roles; a file takes the place of the role of its name."`
	Cover    bool   `help:"Also list the verbs and the roles that no case is about."`
}

// Help says how a file of cases is written. It is kong's hook for a command's help.
func (*Test) Help() string {
	return `A file of cases says who asks to do what, and what policies are to answer. The guardrails always count.

  cases:
  - name: analysts give out no tokens
    who: {kind: human, role: [analyst]}
    verb: issuer.mint
    on: issuer                     # a kind of thing, or tenant/kind/id
    expect: deny
  - name: what was approved is published
    who: {kind: workload, role: [publisher]}
    verb: model.publish
    on: local/model/fraud
    facts: {state: approved}       # risk, environment, quarantined, scrubbed
    approved: true                 # it is a change that others have approved
    at: 2026-11-26T03:00:00Z       # left out: now
    expect: allow
    by: publisher-publishes        # must be among the policies that decide

For example:

  pavise policy test cases.yaml --policies policies/

The exit code is 0 if all hold, 7 if one does not, and 2 if a file cannot be read.`
}

// Tested is what became of the cases.
type Tested struct {
	File      string     `json:"file"`
	Policies  int        `json:"policies"` // guardrails not counted
	Digest    string     `json:"digest"`   // guardrails counted
	Cases     int        `json:"cases"`
	Failures  []Failure  `json:"failures"`
	Untouched *Untouched `json:"untouched,omitempty"` // with --cover
	Recorded  bool       `json:"recorded"`            // this command leaves no record
}

// A Failure is one that does not hold.
type Failure struct {
	Line     int            `json:"line"`
	Name     string         `json:"name"`
	Expected pavise.Outcome `json:"expected"`
	By       string         `json:"by,omitempty"` // the policy that was expected to decide
	Was      pavise.Outcome `json:"was"`
	Decided  []string       `json:"decided"` // the policies that decided; none: no policy permits it
	Why      string         `json:"why"`
}

// Untouched is what no case is about.
type Untouched struct {
	Verbs []string `json:"verbs"`
	Roles []string `json:"roles"`
}

// Run reads the policies and the cases, and holds the ones to the others. What does not hold
// is in the result; the error is of kind Invalid for files that cannot be read, and for cases
// that ask for what there is not.
func (p *Test) Run(now time.Time) (*Tested, error) {
	text, err := plainfile.Read("cases", p.File, config.MaxSize)
	if err != nil {
		return nil, err
	}
	cases, err := config.ParseCases(p.File, text)
	if err != nil {
		return nil, err
	}
	set, err := p.compile()
	if err != nil {
		return nil, err
	}
	return p.check(set, cases, now)
}

// compile reads the policies and puts them behind the guardrails.
func (p *Test) compile() (*policy.Set, error) {
	texts := map[string]string{}
	if p.Policies == "" || p.Defaults {
		texts = policy.Defaults()
	}
	if p.Policies != "" {
		files, err := readPolicies(p.Policies)
		if err != nil {
			return nil, err
		}
		maps.Copy(texts, files)
	}
	schema, err := policy.NewSchema(verbs.Actions())
	if err != nil {
		return nil, err
	}
	return schema.Compile(tenant, texts, nil)
}

// readPolicies reads the policies in a directory, by id.
func readPolicies(dir string) (map[string]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("read the policies: %v", err), Hint: "name a directory with files NAME.cedar", Err: err}
	}
	texts := map[string]string{}
	for _, entry := range entries {
		id, is := strings.CutSuffix(entry.Name(), ".cedar")
		if !is {
			continue
		}
		text, err := plainfile.Read("policy", filepath.Join(dir, entry.Name()), policy.MaxText)
		if err != nil {
			return nil, err
		}
		texts[id] = string(text)
	}
	if len(texts) == 0 {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("there are no policies in %s", dir), Hint: "a policy is a file NAME.cedar with one Cedar statement"}
	}
	return texts, nil
}

// check asks what each case asks. Cases that ask for what there is not are told all at
// once, as the faults of a file are.
func (p *Test) check(set *policy.Set, cases []config.Case, now time.Time) (*Tested, error) {
	result := &Tested{File: p.File, Policies: set.Len(), Digest: set.Digest(), Cases: len(cases), Failures: []Failure{}}
	var asked []policy.Expectation
	var faults, hints []string
	for _, one := range cases {
		e, err := expectation(one, now)
		var d policy.Decision
		holds := false
		if err == nil {
			d, holds, err = set.Check(e)
		}
		if fault, ok := errors.AsType[*pavise.Error](err); ok {
			faults = append(faults, fmt.Sprintf("%s:%d: %s: %s", p.File, one.Line, one.Name, fault.Msg))
			hints = append(hints, fmt.Sprintf("line %d: %s", one.Line, fault.Hint))
			continue
		}
		if err != nil {
			return nil, err
		}
		if asked = append(asked, e); !holds {
			result.Failures = append(result.Failures, newFailure(one, d))
		}
	}
	if len(faults) > 0 {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: strings.Join(faults, "\n"), Hint: strings.Join(hints, "\n")}
	}
	if p.Cover {
		verbs, roles := set.Untouched(asked)
		result.Untouched = &Untouched{verbs, roles}
	}
	return result, nil
}

// expectation is a case as policies are asked it.
func expectation(c config.Case, now time.Time) (e policy.Expectation, err error) {
	e = policy.Expectation{Verb: c.Verb, Approved: c.Approved, Allow: c.Expect == string(pavise.Allow), By: c.By}
	if e.On, err = c.Thing(tenant); err != nil {
		return e, err
	}
	if e.At, err = c.Time(now); err != nil {
		return e, err
	}
	if f := c.Facts; f != nil {
		e.Facts = policy.Facts{State: f.State, Risk: f.Risk, Environment: f.Environment, Quarantined: f.Quarantined, Scrubbed: f.Scrubbed}
	}
	e.Who = pavise.Principal{Tenant: c.Who.Tenant, Kind: c.Who.Kind, ID: c.Who.ID, Issuer: c.Who.Issuer, Roles: c.Who.Role, Environment: c.Who.Environment, Proof: "asked"}
	if e.Who.Tenant == "" {
		e.Who.Tenant = e.On.Tenant
	}
	if e.Who.ID == "" {
		e.Who.ID = "somebody"
	}
	return e, nil
}

func newFailure(c config.Case, d policy.Decision) Failure {
	f := Failure{Line: c.Line, Name: c.Name, Expected: pavise.Outcome(c.Expect), By: c.By, Was: pavise.Deny, Decided: d.Reasons, Why: d.Why()}
	if d.Allow {
		f.Was, f.Why = pavise.Allow, "permitted by policy "+d.Reasons[0]
	}
	return f
}

// Print writes it for people.
func (t *Tested) Print(w io.Writer) {
	for _, f := range t.Failures {
		expected := string(f.Expected)
		if f.By != "" {
			expected += " by " + f.By
		}
		fmt.Fprintf(w, "%s:%d: %s: expected %s, is %s: %s\n", t.File, f.Line, f.Name, expected, f.Was, f.Why)
		if len(f.Decided) > 1 {
			fmt.Fprintf(w, "  decided by %s\n", strings.Join(f.Decided, ", "))
		}
	}
	if t.Untouched != nil {
		for _, part := range []struct {
			what string
			list []string
		}{{"verbs", t.Untouched.Verbs}, {"roles", t.Untouched.Roles}} {
			if len(part.list) > 0 {
				fmt.Fprintf(w, "%s that no case is about (%d): %s\n", part.what, len(part.list), strings.Join(part.list, ", "))
			}
		}
	}
	policies := "1 policy"
	if t.Policies != 1 {
		policies = fmt.Sprintf("%d policies", t.Policies)
	}
	fmt.Fprintf(w, "%d of %d cases hold, under %s and the guardrails; digest %.12s; recorded: false\n", t.Cases-len(t.Failures), t.Cases, policies, t.Digest)
}
