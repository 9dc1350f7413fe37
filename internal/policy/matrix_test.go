package policy

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/pavise/pavise"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestGoldenMatrix compares who may do what, role by role and state by state, with the
// matrix that was reviewed. A change of it is a change of what people are trusted with:
// read the difference before you write it anew with -update.
func TestGoldenMatrix(t *testing.T) {
	s, err := NewSchema(nil)
	if err != nil {
		t.Fatal(err)
	}
	set, err := s.Compile("local", Defaults(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	rows, _ := set.Matrix(epoch, Part{})
	for _, row := range rows {
		what := row.Verb + " " + row.On
		if row.Facts != "" {
			what += " (" + row.Facts + ")"
		}
		if row.Change {
			what += " as a change"
		}
		fmt.Fprintln(&b, what)
		for _, kind := range slices.Sorted(maps.Keys(row.Who)) {
			fmt.Fprintf(&b, "\t%s: %s\n", kind, strings.Join(row.Who[kind], " "))
		}
	}
	const golden = "testdata/matrix.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	got, lines := strings.Split(b.String(), "\n"), strings.Split(string(want), "\n")
	for i := range max(len(got), len(lines)) {
		if i >= len(got) || i >= len(lines) || got[i] != lines[i] {
			t.Fatalf("the matrix differs from %s in line %d:\n%q", golden, i+1, got[min(i, len(got)-1)])
		}
	}
}

// TestNobodyWithoutARole: no default policy lets anybody in who has no role, but to
// what everybody may do with what is their own: exchange a proof, use an invitation,
// renew a certificate.
func TestNobodyWithoutARole(t *testing.T) {
	s := newTestSchema(t)
	set, err := s.Compile("local", Defaults(), nil)
	if err != nil {
		t.Fatal(err)
	}
	rows, _ := set.Matrix(epoch, Part{})
	for _, row := range rows {
		for kind, roles := range row.Who {
			if slices.Contains(roles, "") && !slices.Contains([]string{VerbExchange, "issuer.whoami", "node.join", "node.renew"}, row.Verb) {
				t.Errorf("any %s may do %s on a %s", kind, row.Verb, row.On)
			}
		}
	}
}

// TestDiff lists the decisions that a change of policies turns, and no others.
func TestDiff(t *testing.T) {
	s := newTestSchema(t)
	compile := func(edit func(map[string]string)) *Set {
		texts := Defaults()
		edit(texts)
		set, err := s.Compile("local", texts, nil)
		if err != nil {
			t.Fatal(err)
		}
		return set
	}
	base := compile(func(map[string]string) {})
	for name, test := range map[string]struct {
		edit func(map[string]string)
		want []string
	}{
		"nothing":   {func(map[string]string) {}, nil},
		"a comment": {func(m map[string]string) { m["labeler-labels"] += " // as agreed" }, nil},
		"a right taken away": {func(m map[string]string) { delete(m, "red-teamer-probes") }, []string{
			"human red-teamer model.describe model allow→deny ", "human red-teamer model.evidence model allow→deny ", "human red-teamer model.list model allow→deny ", "human red-teamer model.probe model allow→deny ", "human red-teamer model.show model allow→deny ",
			"node red-teamer model.describe model allow→deny ", "node red-teamer model.evidence model allow→deny ", "node red-teamer model.list model allow→deny ", "node red-teamer model.probe model allow→deny ", "node red-teamer model.show model allow→deny ",
			"workload red-teamer model.describe model allow→deny ", "workload red-teamer model.evidence model allow→deny ", "workload red-teamer model.list model allow→deny ", "workload red-teamer model.probe model allow→deny ", "workload red-teamer model.show model allow→deny ",
		}},
		"one person, one model, one state": {func(m map[string]string) {
			m["x"] = `permit (principal == Human::"ana", action == Action::"model.probe", resource == Model::"fraud") when { resource.state == "live" };`
		}, []string{"human ana model.probe model/fraud state=live deny→allow x"}},
		"one person, in a condition": {func(m map[string]string) {
			m["x"] = `permit (principal, action == Action::"model.probe", resource is Model) when { principal == Human::"mall\u{6f}ry" };`
		}, []string{"human mallory model.probe model deny→allow x"}},
		"a forbid in quarantine": {func(m map[string]string) {
			m["x"] = `forbid (principal is Workload, action == Action::"dataset.ingest", resource) when { resource.quarantined };`
		}, []string{"workload data-engineer dataset.ingest dataset quarantined=true allow→deny x", "workload data-steward dataset.ingest dataset quarantined=true allow→deny x"}},
		"a new role": {func(m map[string]string) {
			m["x"] = `permit (principal is Human in Role::"chief", action == Action::"alert.close", resource);`
		}, []string{"human chief alert.close alert deny→allow x"}},
		"production": {func(m map[string]string) {
			m["x"] = `permit (principal is Node in Role::"edge", action == Action::"gpu.scrub", resource) when { principal.environment == "prod" };`
		}, []string{"node edge prod gpu.scrub gpu deny→allow x"}},
	} {
		t.Run(name, func(t *testing.T) {
			d := base.Diff(compile(test.edit), epoch)
			var got []string
			for _, f := range d.Flips {
				if f.Name != "" && f.Role != "" && f.Will == pavise.Allow {
					continue // whoever is named is named with every role, too
				}
				words := []string{f.Kind, f.Role, f.Name, f.Environment, f.Verb, f.On, strings.Join(f.When, "|"), string(f.Was) + "→" + string(f.Will)}
				words = slices.DeleteFunc(words, func(s string) bool { return s == "" })
				policy := f.Policy
				if policy != "" {
					policy = " " + policy
				} else {
					policy = " "
				}
				got = append(got, strings.Join(words, " ")+policy)
			}
			slices.Sort(got)
			conditions := name == "one person, one model, one state" || name == "one person, in a condition" || name == "a forbid in quarantine" || name == "production"
			if d.Conditions != conditions {
				t.Errorf("conditions: %t", d.Conditions)
			}
			if !slices.Equal(got, test.want) || d.Total < len(got) || d.Partial {
				t.Errorf("%d flips:\n%s\nwant:\n%s", d.Total, strings.Join(got, "\n"), strings.Join(test.want, "\n"))
			}
		})
	}
}

// TestWhoCan answers for roles, for people that policies name, and for those who hold a
// grant.
func TestWhoCan(t *testing.T) {
	s := newTestSchema(t)
	texts := Defaults()
	texts["x"] = `permit (principal == Human::"zoe", action == Action::"model.publish", resource);`
	set, err := s.Compile("local", texts, nil)
	if err != nil {
		t.Fatal(err)
	}
	on := func(state string) *Thing {
		return s.Thing(pavise.Name{Tenant: "local", Kind: "model", ID: "fraud"}, Facts{State: state})
	}
	ana := Known{Who: pavise.Principal{Tenant: "local", Kind: pavise.Human, ID: "ana"}, Granted: []string{"publisher"}}
	act, _ := s.Act("model.publish")
	var got []string
	for _, h := range set.WhoCan(act, on("approved"), epoch, []Known{ana}) {
		got = append(got, fmt.Sprintf("%s %s %s %v %v", h.Kind, h.Role, h.Name, h.Granted, h.Change))
	}
	want := []string{"human operator  [] true", "human publisher  [] true", "workload operator  [] true", "workload publisher  [] true", "node operator  [] true", "node publisher  [] true", "human  local/human/zoe [] true", "human  local/human/ana [publisher] true"}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if who := set.WhoCan(act, on("draft"), epoch, []Known{ana}); len(who) != 0 {
		t.Errorf("a draft can be published by %+v", who)
	}
}
