package filter

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/pavise/pavise"
)

// The grammars of the tests: of what params and metrics are logged to, and of what is not.
var (
	everything = Grammar{Texts: []string{"name", "run_id", "source_path"}, Numbers: []string{"version_number"}, Lists: []string{"name", "run_id"}, Ordered: []string{"name", "version_number"}, Logged: true}
	names      = Grammar{Texts: []string{"name"}, Ordered: []string{"name"}}
)

// TestFilters holds filters as clients write them to what they find.
func TestFilters(t *testing.T) {
	subject := Subject{
		Texts:   map[string]string{"name": "Fraud_2", "run_id": "abc", "source_path": "runs:/abc/model"},
		Numbers: map[string]int64{"version_number": 7},
		Tags:    map[string]string{"team": "risk", "a b": "it's", "dot.ted": "1"},
		Params:  map[string]string{"depth": "3"},
		Metrics: map[string]float64{"auc": 0.97, "a/b": -2e10, "odd": math.NaN()},
	}
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
		`tags.team = 'risk'`:                             true,
		`tag.team != 'sales'`:                            true,
		`tags.other != 'x'`:                              false,
		"tags.`a b` = 'it''s'":                           true,
		`tags."a b" LIKE 'it%'`:                          true,
		`tags.dot.ted = '1'`:                             true,
		"tag.`mlflow.prompt.is_prompt` != 'true'":        true,
		"tag.`mlflow.prompt.is_prompt` = 'true'":         false,
		`name = 'Fraud_2' AND tags.team = 'x'`:           false,
		`params.depth = '3'`:                             true,
		`parameter.depth LIKE '_'`:                       true,
		`params.width != '3'`:                            false,
		`metrics.auc > 0.9`:                              true,
		`metric.auc <= 9.7e-1 AND metrics.auc >= "0.97"`: true,
		"metrics.`a/b` < -1E+10":                         true,
		`metrics."a/b" = +7`:                             false,
		`metrics.loss != 1`:                              false,
		`metrics.odd >= 0`:                               false,
	} {
		clauses, err := everything.Parse(filter)
		if err != nil || Hold(clauses, subject) != want {
			t.Errorf("%s: %v, want %v; %v", filter, !want, want, err)
		}
	}
}

// TestBadFilters refuses filters that say nothing, or nothing that can be found by.
func TestBadFilters(t *testing.T) {
	for _, filter := range []string{
		`name`, `name =`, `name = x`, `name = 'x`, `= 'x'`, `name = 'x' OR name = 'y'`, `name = 'x' AND`, `name = 'x' name = 'y'`, `name > 'x'`, `name IN 'x'`,
		`name IN ()`, `name IN ('a'`, `name IN ('a',)`, `source_path IN ('a')`, `tags.a IN ('b')`, `version_number LIKE '7'`, `version_number = 7.5`,
		`version_number = 99999999999999999999`, `user = 'x'`, `metrics.auc > x`, `metrics.auc > NaN`, `metrics.auc > 1e999`, `metrics.auc LIKE '1'`, `metrics. > 1`, `params.depth > 3`, `params.depth IN ('3')`, `other.name = 'x'`, `tags. = 'x'`, "tags.`a = 'x'", `name NOT LIKE 'x'`, `name == 'x'`, `(name = 'x')`,
		"name = '\xff'", strings.Repeat(`name = 'x' AND `, maxClauses) + `name = 'x'`, `name = '` + strings.Repeat("x", maxFilter) + `'`, `; DROP TABLE mlflow_runs`,
		`name LIKE '` + strings.Repeat("%a", maxPattern/2) + `b'`, strings.Repeat(`name LIKE '`+strings.Repeat("a", maxPattern/2)+`' AND `, 2) + `name LIKE 'a'`,
	} {
		if clauses, err := everything.Parse(filter); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%.60s: %+v, %v", filter, clauses, err)
		}
	}
	for _, filter := range []string{`run_id = 'x'`, `metrics.auc > 1`, `params.depth = '3'`} {
		if _, err := names.Parse(filter); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%s: there is no such thing: %v", filter, err)
		}
	}
	for _, by := range []string{"", "x", "name UP", "name ASC DESC", "version_number", "metrics.auc", "tags.team", "`name", "name, x"} {
		if _, err := names.Orders([]string{by}); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("ordered by %q: %v", by, err)
		}
	}
	if _, err := names.Orders(slices.Repeat([]string{"name"}, maxClauses+1)); pavise.KindOf(err) != pavise.Invalid {
		t.Errorf("ordered by too much: %v", err)
	}
}

// TestOrders sorts by what clients ask for: what has nothing to be sorted by comes last.
func TestOrders(t *testing.T) {
	all := []Subject{
		{Texts: map[string]string{"name": "a"}, Numbers: map[string]int64{"version_number": 2}, Metrics: map[string]float64{"auc": 0.5}},
		{Texts: map[string]string{"name": "b"}, Numbers: map[string]int64{"version_number": 1}},
		{Texts: map[string]string{"name": "c"}, Numbers: map[string]int64{"version_number": 3}, Metrics: map[string]float64{"auc": math.NaN()}},
		{Texts: map[string]string{"name": "d"}, Numbers: map[string]int64{"version_number": 3}, Metrics: map[string]float64{"auc": 0.7}, Tags: map[string]string{"a b": "1"}},
	}
	for by, want := range map[string]string{
		"name DESC": "dcba", "`name`": "abcd", "attribute.name asc": "abcd", "version_number desc|name desc": "dcab",
		"metrics.auc": "adbc", "metrics.auc DESC": "dabc", "tags.`a b` DESC|name DESC": "dcba",
	} {
		orders, err := everything.Orders(strings.Split(by, "|"))
		if err != nil {
			t.Fatal(err)
		}
		sorted, got := slices.Clone(all), ""
		slices.SortStableFunc(sorted, func(a, b Subject) int { return Compare(a, b, orders) })
		for _, s := range sorted {
			got += s.Texts["name"]
		}
		if got != want {
			t.Errorf("by %s: %s, want %s", by, got, want)
		}
	}
}

// FuzzFilter reads filters, which are taken or refused with kind Invalid, and are asked.
func FuzzFilter(f *testing.F) {
	for _, seed := range []string{`name LIKE 'f%' AND tags.team != 'x'`, "tag.`a``b` ILIKE '_'", `run_id NOT IN ('a',"b")`, `version_number >= '7'`, `name = 'it''s'`, `metrics.m > -1e+3 AND params.a != 'x'`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, filter string) {
		clauses, err := everything.Parse(filter)
		if err != nil && pavise.KindOf(err) != pavise.Invalid || len(clauses) > maxClauses {
			t.Fatalf("%d clauses, %v", len(clauses), err)
		}
		Hold(clauses, Subject{Texts: map[string]string{"name": filter}, Numbers: map[string]int64{"version_number": 1}, Tags: map[string]string{"a": filter}, Metrics: map[string]float64{"m": 1}})
	})
}
