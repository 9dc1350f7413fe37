package config

import (
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
)

const goodCases = `cases:
- name: one
  who: {kind: human, id: ana, role: [analyst], environment: prod}
  verb: issuer.mint
  on: issuer
  at: 2026-11-26T03:00:00Z
  expect: deny
- name: two
  who: {kind: node}
  verb: model.infer
  on: local/model/m
  facts: {state: live, quarantined: true}
  approved: true
  expect: allow
  by: guardrail/x
`

func TestParseCases(t *testing.T) {
	cases, err := ParseCases("c.yaml", []byte(goodCases))
	if err != nil || len(cases) != 2 {
		t.Fatalf("%+v, %v", cases, err)
	}
	if one := cases[0]; one.Line != 2 || one.Who.ID != "ana" || one.Who.Role[0] != "analyst" || one.Facts != nil || one.Approved {
		t.Errorf("%+v", one)
	}
	on, _ := cases[0].Thing("t")
	at, _ := cases[0].Time(time.Time{})
	if on != (pavise.Name{Tenant: "t", Kind: "issuer", ID: "any"}) || at.Hour() != 3 {
		t.Errorf("on %s at %s", on, at)
	}
	on, _ = cases[1].Thing("t")
	if two := cases[1]; two.Line != 8 || !two.Approved || two.Facts.State != "live" || !two.Facts.Quarantined || on.ID != "m" || two.By != "guardrail/x" {
		t.Errorf("%+v on %s", two, on)
	}
}

// TestCaseFaults says of each fault where it is. The keys are what is said.
func TestCaseFaults(t *testing.T) {
	with := func(old, with string) string { return strings.Replace(goodCases, old, with, 1) }
	for want, text := range map[string]string{
		"c.yaml is empty":                                                      "",
		"c.yaml:1: cases is missing":                                           "cases: []\n",
		"c.yaml:1: case is no field of a file of cases":                        "case: []\n",
		"c.yaml:1: cases is a block of fields, not a list":                     "cases: {}\n",
		"c.yaml:2: cases.0 is \"x\", not a block of fields":                    "cases:\n- x\n",
		"c.yaml:8: cases.1.name is that of the case in line 2":                 with("name: two", "name: one"),
		"c.yaml:2: cases.0.verb is missing":                                    with("  verb: issuer.mint\n", ""),
		"c.yaml:7: cases.0.expect \"maybe\" is no answer":                      with("expect: deny", "expect: maybe"),
		"c.yaml:8: cases.0.bye is no field of a file of cases":                 with("expect: deny", "expect: deny\n  bye: x"),
		"c.yaml:3: cases.0.who.kind \"robot\" is no kind of caller":            with("kind: human", "kind: robot"),
		"c.yaml:3: cases.0.who.roles is no field of a file of cases":           with("role: [analyst]", "roles: [analyst]"),
		"c.yaml:3: cases.0.who.role is \"analyst\", not a list":                with("role: [analyst]", "role: analyst"),
		"c.yaml:3: cases.0.who.id \"a/b\" cannot be part of a name":            with("id: ana", "id: a/b"),
		"c.yaml:5: cases.0.on \"a/b\" is neither a kind of thing nor the name": with("on: issuer", "on: a/b"),
		"c.yaml:6: cases.0.at \"today\" is no time":                            with("2026-11-26T03:00:00Z", "today"),
		"c.yaml:12: cases.1.facts.state is a list, not a text":                 with("state: live", "state: [live]"),
		"c.yaml:13: cases.1.approved is \"yes\", not true or false":            with("approved: true", "approved: yes"),
		"c.yaml:2: cases.0.name uses an anchor or an alias":                    with("name: one", "name: &a one"),
		"c.yaml is 1048577 bytes long":                                         strings.Repeat("#", MaxSize+1),
	} {
		if _, err := ParseCases("c.yaml", []byte(text)); pavise.KindOf(err) != pavise.Invalid || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("is told as %v\n want      %s", err, want)
		}
	}
}

// FuzzParseCases never panics, and what it accepts can be asked.
func FuzzParseCases(f *testing.F) {
	f.Add([]byte(goodCases))
	f.Add([]byte("cases: [{name: a, who: {kind: node}, verb: a.b, on: a, expect: deny}]"))
	f.Add([]byte("cases: &a [*a]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		cases, err := ParseCases("f", text)
		if err != nil {
			if pavise.KindOf(err) != pavise.Invalid {
				t.Errorf("kind %v: %v", pavise.KindOf(err), err)
			}
			return
		}
		for _, c := range cases {
			on, err := c.Thing("t")
			if err != nil || on.Validate() != nil || c.Line < 1 || c.Verb == "" {
				t.Errorf("it accepts %+v, on %s: %v", c, on, err)
			}
			if _, err := c.Time(time.Time{}); err != nil {
				t.Errorf("it accepts the time %q", c.At)
			}
		}
	})
}
