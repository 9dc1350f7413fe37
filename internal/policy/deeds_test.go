package policy

import (
	"reflect"
	"slices"
	"testing"

	"github.com/pavise/pavise"
)

// TestDeeds holds what people are shown of the matrix to the matrix.
func TestDeeds(t *testing.T) {
	all := func(roles ...string) map[string][]string {
		return map[string][]string{pavise.Human: roles, pavise.Workload: roles, pavise.Node: roles}
	}
	rows := []Row{
		{Verb: "a.do", On: "a", Who: all("", "r")},
		{Verb: "m.run", On: "model", Who: all("r", "s")},
		{Verb: "m.run", On: "model", Facts: "quarantined=true", Who: map[string][]string{}},
		{Verb: "m.run", On: "model", Facts: "state=live", Who: map[string][]string{pavise.Human: {"r"}, pavise.Node: {"r"}, pavise.Workload: {"s"}}},
		{Verb: "m.run", On: "model", Facts: "state=canary", Who: map[string][]string{pavise.Human: {"r"}, pavise.Node: {"r"}, pavise.Workload: {"s"}}},
		{Verb: "m.run", On: "other", Who: map[string][]string{pavise.Human: {"r"}}},
	}
	deeds := Deeds(rows)
	if len(deeds) != 3 || len(deeds[1].States) != 4 || deeds[1].Room() != "m" || deeds[1].What() != "run" {
		t.Fatalf("%+v", deeds)
	}
	if !deeds[0].Anybody() || deeds[1].Anybody() || deeds[0].People() || !deeds[2].People() {
		t.Error("who may without a role, or people alone")
	}
	if got := deeds[1].When("s"); !slices.Equal(got, []string{"nothing is known", "state live", "state canary"}) {
		t.Errorf("s may when %q", got)
	}
	want := []Case{
		{"nothing is known", []Holders{{"", []string{"r", "s"}}}}, {"quarantined", nil},
		{"state live or canary", []Holders{{"human or node", []string{"r"}}, {"workload", []string{"s"}}}},
	}
	if got := deeds[1].Cases(); !reflect.DeepEqual(got, want) {
		t.Errorf("the cases are %+v", got)
	}
	if got := deeds[2].Cases(); len(got) != 1 || got[0].When != "in any state" || got[0].Who[0].Kinds != "human" {
		t.Errorf("one case is %+v", got)
	}
}

// TestGroups joins what differs in the kind of principal alone, and nothing else.
func TestGroups(t *testing.T) {
	ana := pavise.Name{Tenant: "t", Kind: "human", ID: "ana"}
	groups := Groups([]Holder{
		{Kind: "human", Role: "r", Policy: "p"}, {Kind: "human", Role: "s", Policy: "p"}, {Kind: "workload", Role: "r", Policy: "p"},
		{Kind: "node", Role: "r", Policy: "p"}, {Kind: "workload", Role: "s", Policy: "p", Change: true}, {Kind: "human", Name: ana, Policy: "p"}, {Kind: "human", Name: ana, Policy: "p", Change: true},
	})
	var whom []string
	for _, g := range groups {
		whom = append(whom, g.Whom())
	}
	if !slices.Equal(whom, []string{"anybody", "any human", "any workload", "any human", "any human"}) {
		t.Errorf("the groups are of %q", whom)
	}
	turns := Difference{Flips: []Flip{
		{Kind: "human", Role: "r", When: []string{"a"}}, {Kind: "node", Role: "r", When: []string{"a"}}, {Kind: "workload", Role: "r"}, {Kind: "human", Name: "ana", Role: "r"},
	}}.Turns()
	whom = nil
	for _, turn := range turns {
		whom = append(whom, turn.Whom())
	}
	if !slices.Equal(whom, []string{"any human or node", "any workload", "human ana"}) {
		t.Errorf("the turns are of %q", whom)
	}
}

func TestWords(t *testing.T) {
	for facts, want := range map[string]string{
		"": "", "quarantined=true&state=live": "quarantined, state live", "environment=prod%20eu": "environment prod eu", "nothing known": "nothing known", "%zz": "%zz",
	} {
		if got := Words(facts); got != want {
			t.Errorf("Words(%q) = %q, want %q", facts, got, want)
		}
	}
}
