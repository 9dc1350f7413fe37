package mlflow

import (
	"strings"
	"testing"

	"github.com/pavise/pavise"
)

// TestFilters holds filters as clients write them to what they find.
func TestFilters(t *testing.T) {
	texts := map[string]string{"name": "Fraud_2", "run_id": "abc", "source_path": "runs:/abc/model"}
	numbers := map[string]int64{"version_number": 7}
	tags := map[string]string{"team": "risk", "a b": "it's", "dot.ted": "1"}
	for filter, want := range map[string]bool{
		``:                           true,
		`  `:                         true,
		`name = 'Fraud_2'`:           true,
		`name="Fraud_2"`:             true,
		`name = 'fraud_2'`:           false,
		`name != 'x'`:                true,
		`attribute.name = 'Fraud_2'`: true,
		`name LIKE 'Fraud%'`:         true,
		`name like 'fraud%'`:         false,
		`name ILIKE 'fraud__'`:       true,
		`name LIKE 'Fraud'`:          false,
		`name LIKE '%aud%2%'`:        true,
		`name LIKE '%'`:              true,
		`name IN ('a', 'Fraud_2')`:   true,
		`name NOT IN ('a','b')`:      true,
		`run_id IN ("abc")`:          true,
		`source_path LIKE 'runs:/%'`: true,
		`version_number > 6`:         true,
		`version_number<=6`:          false,
		`version_number = '7'`:       true,
		`version_number >= 7 AND version_number < 8 and version_number != 9`: true,
		`tags.team = 'risk'`:                      true,
		`tag.team != 'sales'`:                     true,
		`tags.other != 'x'`:                       false,
		"tags.`a b` = 'it''s'":                    true,
		`tags."a b" LIKE 'it%'`:                   true,
		`tags.dot.ted = '1'`:                      true,
		"tag.`mlflow.prompt.is_prompt` != 'true'": true,
		"tag.`mlflow.prompt.is_prompt` = 'true'":  false,
		`name = 'Fraud_2' AND tags.team = 'x'`:    false,
	} {
		clauses, err := ofVersions.parseFilter(filter)
		if err != nil || holdAll(clauses, texts, numbers, tags) != want {
			t.Errorf("%s: %v, want %v; %v", filter, !want, want, err)
		}
	}
}

// TestBadFilters refuses filters that say nothing, or nothing that can be found by.
func TestBadFilters(t *testing.T) {
	for _, filter := range []string{
		`name`, `name =`, `name = x`, `name = 'x`, `= 'x'`, `name = 'x' OR name = 'y'`, `name = 'x' AND`, `name = 'x' name = 'y'`, `name > 'x'`, `name IN 'x'`,
		`name IN ()`, `name IN ('a'`, `name IN ('a',)`, `source_path IN ('a')`, `tags.a IN ('b')`, `version_number LIKE '7'`, `version_number = 7.5`,
		`version_number = 99999999999999999999`, `user = 'x'`, `metrics.auc > 1`, `tags. = 'x'`, "tags.`a = 'x'", `name NOT LIKE 'x'`, `name == 'x'`, `(name = 'x')`,
		"name = '\xff'", strings.Repeat(`name = 'x' AND `, maxClauses) + `name = 'x'`, `name = '` + strings.Repeat("x", maxFilter) + `'`, `; DROP TABLE mlflow_runs`,
		`name LIKE '` + strings.Repeat("%a", maxPattern/2) + `b'`,
	} {
		if clauses, err := ofVersions.parseFilter(filter); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%.60s: %+v, %v", filter, clauses, err)
		}
	}
	if _, err := ofModels.parseFilter(`run_id = 'x'`); pavise.KindOf(err) != pavise.Invalid {
		t.Errorf("models have no run: %v", err)
	}
	for _, by := range []string{"", "x", "name UP", "name ASC DESC", "version_number"} {
		if _, err := ofModels.parseOrder([]string{by}); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("ordered by %q: %v", by, err)
		}
	}
}

// TestLikeEnds has a pattern that other matchers take for ever.
func TestLikeEnds(t *testing.T) {
	if like(strings.Repeat("%a", 50)+"b", strings.Repeat("a", 5000)) {
		t.Error("there is no b")
	}
}

// FuzzFilter reads filters, which are taken or refused with kind Invalid, and are asked.
func FuzzFilter(f *testing.F) {
	for _, seed := range []string{`name LIKE 'f%' AND tags.team != 'x'`, "tag.`a``b` ILIKE '_'", `run_id NOT IN ('a',"b")`, `version_number >= '7'`, `name = 'it''s'`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, filter string) {
		clauses, err := ofVersions.parseFilter(filter)
		if err != nil && pavise.KindOf(err) != pavise.Invalid || len(clauses) > maxClauses {
			t.Fatalf("%d clauses, %v", len(clauses), err)
		}
		holdAll(clauses, map[string]string{"name": filter}, map[string]int64{"version_number": 1}, map[string]string{"a": filter})
	})
}
