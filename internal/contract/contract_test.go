package contract

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pavise/pavise/internal/table"
)

// contract is one of a single schema, whose properties and rules are given.
func contract(properties string) string {
	return "apiVersion: v3.1.0\nkind: DataContract\nid: payments\nversion: 1.2.0\nstatus: active\nschema:\n- name: rows\n" + properties
}

// check holds rows to a contract.
func check(t *testing.T, contract, file, rows string) Report {
	t.Helper()
	c, err := Parse("contract.yaml", []byte(contract))
	if err != nil {
		t.Fatal(err)
	}
	checker, err := NewChecker(&c.Schema[0])
	if err != nil {
		t.Fatal(err)
	}
	f, err := table.NewReader(strings.NewReader(rows), file, table.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if f.Format() == table.JSONL {
		checker.Typed()
	}
	for row, err := range f.Rows() {
		if err != nil {
			t.Fatal(err)
		}
		checker.Columns(f.Columns())
		checker.Row(row)
	}
	return checker.Report()
}

// broken is a report as tests write it: property rule rows.
func broken(r Report) string {
	var all []string
	for _, b := range r.Breaches {
		all = append(all, fmt.Sprintf("%s %s %d", b.Property, b.Rule, b.Rows))
	}
	return strings.Join(all, ", ")
}

func TestCheck(t *testing.T) {
	for name, c := range map[string]struct{ properties, rows, want string }{
		"all is well":          {"  properties:\n  - {name: a, logicalType: integer, required: true}\n  - {name: b, logicalType: string}\n", "a,b\n1,x\n2,y\n", ""},
		"nothing there":        {"  properties:\n  - {name: a, required: true}\n  - {name: b}\n", "a,b\n,x\n2,\n", "a required 1"},
		"a column more":        {"  properties:\n  - {name: a}\n", "a,b\n1,2\n", "b column 0"},
		"a column less":        {"  properties:\n  - {name: a}\n  - {name: b, required: true}\n", "a\n1\n2\n", "b required 2"},
		"by another name":      {"  properties:\n  - {name: amount, physicalName: amt, logicalType: integer}\n", "amt\nx\n", "amount type 1"},
		"integers":             {"  properties:\n  - {name: a, logicalType: integer}\n", "a\n1\n1.5\n-7\n1e3\nx\nInf\n0x10\n7.0\n", "a type 4"},
		"numbers":              {"  properties:\n  - {name: a, logicalType: number}\n", "a\n1\n1.5\nNaN\n\"\"\nx\n1_000\n", "a type 3"},
		"booleans":             {"  properties:\n  - {name: a, logicalType: boolean}\n", "a\ntrue\nFALSE\n1\nyes\n", "a type 2"},
		"bounds":               {"  properties:\n  - {name: a, logicalType: number, logicalTypeOptions: {minimum: 0, exclusiveMaximum: 10}}\n", "a\n0\n10\n-0.1\n9.99\n", "a exclusiveMaximum 1, a minimum 1"},
		"multiples":            {"  properties:\n  - {name: a, logicalType: number, logicalTypeOptions: {multipleOf: 0.1}}\n", "a\n0.3\n0.35\n-1.2\n", "a multipleOf 1"},
		"widths":               {"  properties:\n  - {name: a, logicalType: integer, logicalTypeOptions: {format: i8}}\n", "a\n127\n128\n-128\n-129\n", "a format 2"},
		"widths beyond 2^53":   {"  properties:\n  - {name: a, logicalType: integer, logicalTypeOptions: {format: u64}}\n", "a\n18446744073709551615\n18446744073709551616\n-1\n", "a format 2"},
		"values":               {"  properties:\n  - {name: a, enum: [{value: DE, label: x}, {value: 7}]}\n", "a\nDE\n7.0\nde\n", "a enum 1"},
		"lengths":              {"  properties:\n  - {name: a, logicalType: string, logicalTypeOptions: {minLength: 2, maxLength: 3}}\n", "a\nä\nää\näääää\n", "a maxLength 1, a minLength 1"},
		"pattern":              {"  properties:\n  - {name: a, logicalType: string, logicalTypeOptions: {pattern: '^[A-Z]{2}$'}}\n", "a\nCH\nch\nCHF\n", "a pattern 2"},
		"formats":              {"  properties:\n  - {name: a, logicalType: string, logicalTypeOptions: {format: ipv4}}\n  - {name: b, logicalType: string, logicalTypeOptions: {format: email}}\n", "a,b\n1.2.3.4,a@b.ch\n1.2.3,Anna <a@b.ch>\n", "a format 1, b format 1"},
		"dates":                {"  properties:\n  - {name: a, logicalType: date, logicalTypeOptions: {minimum: 2026-01-01}}\n", "a\n2026-02-28\n2026-02-30\n2025-12-31\n28.2.2026\n", "a minimum 1, a type 2"},
		"dates of Java":        {"  properties:\n  - {name: a, logicalType: timestamp, logicalTypeOptions: {format: \"dd.MM.yyyy'T'HH:mm\"}}\n", "a\n28.02.2026T10:30\n2026-02-28T10:30\n", "a type 1"},
		"timestamps":           {"  properties:\n  - {name: a, logicalType: timestamp}\n", "a\n2026-02-28T10:30:00Z\n2026-02-28 10:30:00.5\nyesterday\n", "a type 1"},
		"unique":               {"  properties:\n  - {name: a, unique: true}\n", "a\n1\n1.0\n2\n\"\"\n\"\"\n", "a unique 1"},
		"texts and unique":     {"  properties:\n  - {name: a, logicalType: string, unique: true, quality: [{metric: invalidValues, mustBe: 0, arguments: {validValues: [7, '1e3']}}]}\n", "a\n7\n007\n1e3\n1000\n", "a invalidValues 2"},
		"dates that are valid": {"  properties:\n  - {name: a, quality: [{metric: invalidValues, mustBe: 0, arguments: {validValues: [2026-01-01, 2026-01-02T03:04:05Z]}}]}\n", "a\n2026-01-01\n2026-01-02T03:04:05Z\n2026-01-03\n", "a invalidValues 1"},
		"large and unique":     {"  properties:\n  - {name: a, unique: true}\n", "a\n9007199254740992\n9007199254740993\n", ""},
		"primary key":          {"  properties:\n  - {name: a, primaryKey: true}\n  - {name: b, primaryKey: true}\n", "a,b\n1,1\n1,2\n1,1\n,1\n", " primaryKey 1, a required 1"},
		"no nulls":             {"  properties:\n  - {name: a, quality: [{metric: nullValues, mustBeLessThan: 30, unit: percent}]}\n  - {name: b}\n", "a,b\n,1\n1,1\n2,1\n", "a nullValues 1"},
		"missing":              {"  properties:\n  - {name: a, quality: [{metric: missingValues, mustBe: 0, arguments: {missingValues: [null, '', 'N/A', 999]}}]}\n  - {name: b}\n", "a,b\nN/A,1\n999.0,1\n2,1\n,1\n", "a missingValues 3"},
		"valid":                {"  properties:\n  - {name: a, quality: [{metric: invalidValues, mustBe: 0, arguments: {validValues: [tcp, udp, 6]}}]}\n", "a\ntcp\nicmp\n6.0\n", "a invalidValues 1"},
		"valid by pattern":     {"  properties:\n  - {name: a, quality: [{metric: invalidValues, mustBeLessOrEqualTo: 1, arguments: {pattern: '^x'}}]}\n", "a\nx1\ny\nz\n", "a invalidValues 2"},
		"duplicates":           {"  properties:\n  - {name: a, quality: [{metric: duplicateValues, mustBe: 0}]}\n", "a\nx\ny\nx\nx\n", "a duplicateValues 2"},
		"duplicates of two":    {"  properties:\n  - {name: a}\n  - {name: b}\n  quality:\n  - {metric: duplicateValues, mustBe: 0, arguments: {properties: [a, b]}}\n", "a,b\nx,y\nx,z\nx,y\nxy,\n", " duplicateValues 1"},
		"how many rows":        {"  properties:\n  - {name: a}\n  quality:\n  - {metric: rowCount, mustBeBetween: [3, 5]}\n", "a\n1\n2\n", " rowCount 0"},
		"not so many":          {"  properties:\n  - {name: a}\n  quality:\n  - {metric: rowCount, mustNotBeBetween: [1, 5]}\n", "a\n1\n2\n", " rowCount 0"},
	} {
		r := check(t, contract(c.properties), "rows.csv", c.rows)
		if got := broken(r); got != c.want || r.Kept != (c.want == "") {
			t.Errorf("%s: %q (kept: %v), want %q\n%+v", name, got, r.Kept, c.want, r.Breaches)
		}
	}
}

// TestCheckJSON has rows whose cells have types of their own, and columns that come late.
func TestCheckJSON(t *testing.T) {
	r := check(t, contract(`  properties:
  - {name: id, logicalType: integer, required: true, unique: true}
  - {name: ok, logicalType: boolean}
  - {name: text, logicalType: string}
  - {name: list, logicalType: array}
  - {name: inner, logicalType: object}
`), "rows.jsonl", `{"id":1,"ok":true,"text":"","list":[1,2],"inner":{"a":1}}
{"id":1.0,"ok":"true","text":7,"list":"no","inner":[1]}
{"id":"3","ok":1,"text":null,"late":1}
{"ok":false,"list":[{"a":1}],"inner":null}
`)
	if got, want := broken(r), "id required 1, id type 1, id unique 1, inner type 1, late column 0, list type 1, ok type 2, text type 1"; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	for _, b := range r.Breaches {
		if b.Property == "id" && b.Rule == "required" && !slices.Equal(b.First, []uint64{4}) {
			t.Errorf("%+v", b)
		}
	}
}

func TestRowsAreNamed(t *testing.T) {
	var rows strings.Builder
	rows.WriteString("a\n")
	for i := range 100 {
		fmt.Fprintln(&rows, i%2)
	}
	r := check(t, contract("  properties:\n  - {name: a, logicalType: integer, logicalTypeOptions: {maximum: 0}}\n"), "rows.csv", rows.String())
	if b := r.Breaches[0]; b.Rows != 50 || len(b.First) != maxFirst || b.First[0] != 2 || b.First[9] != 20 {
		t.Errorf("%+v", b)
	}
}

func TestUnchecked(t *testing.T) {
	r := check(t, contract(`  properties:
  - name: a
    logicalType: string
    logicalTypeOptions: {format: password}
    quality:
    - {type: sql, query: SELECT 1, mustBe: 0, name: the query}
    - {type: text, description: be nice}
    - {type: custom, engine: soda, implementation: x}
    - {metric: nullValues, mustBe: 0, unit: bananas}
    - {rule: duplicateCount, mustBe: 0}
    relationships: [{to: other.id}]
  - {name: o, logicalType: object, properties: [{name: x}]}
  quality:
  - {metric: nullValues, mustBe: 0}
`), "rows.csv", "a\nx\n")
	if len(r.Unchecked) != 9 || !r.Kept {
		t.Errorf("%q", r.Unchecked)
	}
}

// TestNewerContracts reads what 3.1 and 3.2 have beside 3.0: ids everywhere, and values, maps
// and vectors.
func TestNewerContracts(t *testing.T) {
	text := strings.Replace(contract(`  id: rows-1
  deprecated: false
  synonyms: [{synonym: lines}]
  context: said by hand
  properties:
  - name: a
    id: a-1
    semanticType: country
    enum: [{value: DE, id: de-1}, {value: FR}]
    quality:
    - {id: q-1, metric: nullValues, mustBe: 0}
  - {name: m, logicalType: map, map: {key: {logicalType: string}, value: {logicalType: integer}}}
  - {name: v, logicalType: vector, logicalTypeOptions: {dimensions: 3, distanceMetric: cosine}}
`), "v3.1.0", "v3.2.0", 1) + "context: {instructions: read it}\n"
	r := check(t, text, "rows.jsonl", `{"a":"DE","m":{"x":1},"v":[1,2,3]}`+"\n"+`{"a":"IT","m":2,"v":[]}`+"\n"+`{"a":"FR"}`+"\n")
	if got := broken(r); got != "a enum 1, m type 1" || len(r.Unchecked) != 2 {
		t.Errorf("%q, %q", got, r.Unchecked)
	}
	one := property(t, contract("  properties:\n  - {name: a, logicalType: number, logicalTypeOptions: {minimum: 5, maximum: 5}}\n"))
	if one.LogicalTypeOptions == nil {
		t.Error("bounds for one value are none")
	}
}

// many is a line again and again, with numbers.
func many(line string, times int) string {
	var b strings.Builder
	for i := range times {
		fmt.Fprintf(&b, line, i)
	}
	return b.String()
}

// property is the first one of a contract, which is good.
func property(t *testing.T, text string) Property {
	t.Helper()
	c, err := Parse("c.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c.Schema[0].Properties[0]
}

func TestParseRefuses(t *testing.T) {
	good := contract("  properties:\n  - {name: a, logicalType: integer}\n")
	property := func(p string) string { return contract("  properties:\n  - " + p + "\n") }
	for name, c := range map[string]struct{ text, says string }{
		"nothing":               {"", "empty"},
		"no YAML":               {"a: [", "line 1"},
		"two documents":         {good + "---\n" + good, "more than one document"},
		"an alias":              {strings.Replace(good, "id: payments", "id: &x payments\nname: *x", 1), "anchors"},
		"a bomb":                {"a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]\n", "anchors"},
		"too long":              {good + strings.Repeat("#", MaxSize), "1 MiB"},
		"an unknown field":      {good + "requried: true\n", "requried"},
		"a misspelled promise":  {property("{name: a, requried: true}"), "requried"},
		"a field twice":         {good + "id: other\n", "id"},
		"another standard":      {strings.Replace(good, "v3.1.0", "v4.0.0", 1), "apiVersion"},
		"another kind":          {strings.Replace(good, "DataContract", "Deployment", 1), "kind"},
		"no id":                 {strings.Replace(good, "id: payments", "id: ''", 1), "an id"},
		"no name":               {property("{logicalType: integer}"), "a name of its own"},
		"a name twice":          {contract("  properties:\n  - {name: a}\n  - {name: b, physicalName: a}\n"), "a name of its own"},
		"two schemas alike":     {good + "- name: rows\n", "a name of its own"},
		"no such type":          {property("{name: a, logicalType: float}"), "float"},
		"an option of others":   {property("{name: a, logicalType: integer, logicalTypeOptions: {minLength: 3}}"), "minLength"},
		"a bound that is none":  {property("{name: a, logicalType: integer, logicalTypeOptions: {minimum: low}}"), "minimum"},
		"a bound of nothing":    {property("{name: a, logicalType: number, logicalTypeOptions: {maximum: .nan}}"), "maximum"},
		"no room":               {property("{name: a, logicalType: number, logicalTypeOptions: {minimum: 10, maximum: 5}}"), "leave room for no value"},
		"no room at the end":    {property("{name: a, logicalType: number, logicalTypeOptions: {minimum: 5, exclusiveMaximum: 5}}"), "leave room for no value"},
		"no room between":       {property("{name: a, logicalType: date, logicalTypeOptions: {exclusiveMinimum: 2026-02-01, maximum: 2026-01-01}}"), "leave room for no value"},
		"no room for a text":    {property("{name: a, logicalType: string, logicalTypeOptions: {minLength: 3, maxLength: 2}}"), "leave room for no text"},
		"less than no text":     {property("{name: a, logicalType: string, logicalTypeOptions: {maxLength: -1}}"), "leave room for no text"},
		"none of its values":    {property("{name: a, enum: []}"), "no values"},
		"a value that is none":  {property("{name: a, enum: [{label: x}]}"), "without a value"},
		"multiples of nothing":  {property("{name: a, logicalType: number, logicalTypeOptions: {multipleOf: 0}}"), "multipleOf"},
		"a pattern of Perl":     {property("{name: a, logicalType: string, logicalTypeOptions: {pattern: '(?=x)'}}"), "RE2"},
		"a pattern that grows":  {property("{name: a, logicalType: string, logicalTypeOptions: {pattern: '(a|aa|b|bb|ab|ba){900}'}}"), "repeat less"},
		"a rule that grows":     {property("{name: a, quality: [{metric: invalidValues, mustBe: 0, arguments: {pattern: '(a|aa|b|bb|ab|ba){900}'}}]}"), "repeat less"},
		"patterns that grow":    {contract("  properties:\n" + many("  - {name: a%d, logicalType: string, logicalTypeOptions: {pattern: '\\pL{500}'}}\n", 200)), "and those before"},
		"no such width":         {property("{name: a, logicalType: integer, logicalTypeOptions: {format: i7}}"), "i128"},
		"an unknown date":       {property("{name: a, logicalType: date, logicalTypeOptions: {format: QQ}}"), "QQ"},
		"a date bound":          {property("{name: a, logicalType: date, logicalTypeOptions: {minimum: soon}}"), "soon"},
		"no comparison":         {property("{name: a, quality: [{metric: nullValues}]}"), "needs one"},
		"two comparisons":       {property("{name: a, quality: [{metric: nullValues, mustBe: 0, mustBeLessThan: 3}]}"), "needs one"},
		"between what":          {property("{name: a, quality: [{metric: nullValues, mustBeBetween: [3, 1]}]}"), "smaller one first"},
		"compared with a text":  {property("{name: a, quality: [{metric: nullValues, mustBe: none}]}"), "no number"},
		"no such metric":        {property("{name: a, quality: [{metric: freshness, mustBe: 0}]}"), "freshness"},
		"no such rule":          {property("{name: a, quality: [{type: magic}]}"), "magic"},
		"missing without one":   {property("{name: a, quality: [{metric: missingValues, mustBe: 0}]}"), "stand for nothing"},
		"rows in percent":       {contract("  properties: []\n  quality:\n  - {metric: rowCount, mustBe: 3, unit: percent}\n"), "percent"},
		"valid without a list":  {property("{name: a, quality: [{metric: invalidValues, mustBe: 0}]}"), "neither"},
		"duplicates of whom":    {contract("  properties:\n  - {name: a}\n  quality:\n  - {metric: duplicateValues, mustBe: 0, arguments: {properties: [b]}}\n"), `"b"`},
		"duplicates of nothing": {contract("  properties:\n  - {name: a}\n  quality:\n  - {metric: duplicateValues, mustBe: 0}\n"), "no properties"},
	} {
		if _, err := Parse("c.yaml", []byte(c.text)); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, and it should say %q", name, err, c.says)
		}
	}
}

// TestInferHolds drafts a contract of rows, writes it, reads it again and finds that it
// holds for them; and that it does not for rows that are otherwise.
func TestInferHolds(t *testing.T) {
	var rows strings.Builder
	rows.WriteString("id,code,proto,amount,at,day,ok,note\n")
	for i := range 200 {
		fmt.Fprintf(&rows, "%d,%04d,%s,%d.5,2026-11-27T10:00:%02dZ,2026-11-%02d,%v,free text %d\n", i, 60*i, []string{"tcp", "udp"}[i%2], i-100, i%60, i%28+1, i%3 == 0, i*i)
	}
	f, err := table.NewReader(strings.NewReader(rows.String()), "rows.csv", table.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := Infer("rows", f)
	if err != nil {
		t.Fatal(err)
	}
	types := map[string]string{}
	for _, p := range c.Schema[0].Properties {
		types[p.Name] = p.LogicalType
	}
	want := map[string]string{"id": "integer", "code": "string", "proto": "string", "amount": "number", "at": "timestamp", "day": "date", "ok": "boolean", "note": "string"}
	if !maps.Equal(types, want) {
		t.Errorf("%v\nwant %v", types, want)
	}
	var text bytes.Buffer
	if err := c.Write(&text); err != nil {
		t.Fatal(err)
	}
	if r := check(t, text.String(), "rows.csv", rows.String()); !r.Kept {
		t.Errorf("the draft does not hold for its own rows: %+v\n%s", r.Breaches, text.String())
	}
	poison := rows.String() + "1e9,12345,icmp,-1,never,2026-11-31,maybe,\n"
	if got := broken(check(t, text.String(), "rows.csv", poison)); got != "at type 1, day type 1, id maximum 1, note required 1, ok type 1, proto invalidValues 1" {
		t.Errorf("the poisoned rows break: %s", got)
	}
}

func TestCheckingFiles(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	rows := put("rows.csv", "a,b\n1,2\n3,4\n")
	made, err := (&Drafting{File: rows, Out: filepath.Join(dir, "c.yaml")}).Run(t.Context())
	if err != nil || made.ID != "rows" {
		t.Fatal(made, err)
	}
	if _, err := (&Drafting{File: rows, Out: filepath.Join(dir, "c.yaml")}).Run(t.Context()); err == nil {
		t.Error("a contract was written over")
	}
	good, err := (&Checking{File: rows, Contract: filepath.Join(dir, "c.yaml")}).Run(t.Context())
	if err != nil || !good.Kept || good.Rows != 2 {
		t.Error(good, err)
	}
	ragged, err := (&Checking{File: put("ragged.csv", "a,b\n1,2\n3\n1,2\n"), Contract: filepath.Join(dir, "c.yaml")}).Run(t.Context())
	if err != nil || ragged.Kept || broken(ragged.Report) != " readable 1" || ragged.Breaches[0].First[0] != 2 {
		t.Errorf("%+v, %v", ragged, err)
	}
	if _, err := (&Checking{File: rows, Contract: put("none.yaml", strings.Split(contract(""), "schema:")[0])}).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "no schema") {
		t.Error(err)
	}
	two := put("two.yaml", contract("  properties: []\n")+"- name: more\n")
	if _, err := (&Checking{File: rows, Contract: two}).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "2 schemas") {
		t.Error(err)
	}
	if r, err := (&Checking{File: rows, Contract: two, Schema: "more"}).Run(t.Context()); err != nil || broken(r.Report) != "a column 0, b column 0" {
		t.Error(r, err)
	}
}

// FuzzParse holds that a contract which is read can be written, is read again, and can be
// held to rows.
func FuzzParse(f *testing.F) {
	f.Add([]byte(contract("  properties:\n  - {name: a, logicalType: integer, logicalTypeOptions: {minimum: 1}, quality: [{metric: nullValues, mustBe: 0}]}\n")))
	f.Add([]byte(contract("  properties:\n  - {name: a, logicalType: date, logicalTypeOptions: {format: yyyy-MM-dd, minimum: 2026-01-01}}\n")))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := Parse("c", text)
		if err != nil {
			return
		}
		var out bytes.Buffer
		if err := c.Write(&out); err != nil {
			t.Fatal(err)
		}
		again, err := Parse("c", out.Bytes())
		if err != nil {
			t.Fatalf("%v\n%s", err, out.Bytes())
		}
		for i := range again.Schema {
			checker, err := NewChecker(&again.Schema[i])
			if err != nil {
				t.Fatal(err)
			}
			rows, err := table.NewReader(strings.NewReader("a,b\n1,x\n,\n2026-01-01,1e999\n"), "rows.csv", table.Options{})
			if err != nil {
				t.Fatal(err)
			}
			for row, err := range rows.Rows() {
				if err != nil {
					t.Fatal(err)
				}
				checker.Columns(rows.Columns())
				checker.Row(row)
			}
			checker.Report()
		}
	})
}

// BenchmarkRow is a row of 12 columns held to a drafted contract.
func BenchmarkRow(b *testing.B) {
	var text strings.Builder
	text.WriteString("a,b,c,d,e,f,g,h,i,j,k,l\n")
	for i := range 2000 {
		fmt.Fprintf(&text, "%d,tcp,%d.25,2026-11-27T10:00:00Z,x%d,true,%d,%d,%d,%d,udp,some words of a log\n", i, i, i, i%7, i%9, i%11, i%13)
	}
	open := func() *table.File {
		f, err := table.NewReader(strings.NewReader(text.String()), "rows.csv", table.Options{})
		if err != nil {
			b.Fatal(err)
		}
		return f
	}
	c, err := Infer("rows", open())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for rows := 0; rows < b.N; {
		checker, err := NewChecker(&c.Schema[0])
		if err != nil {
			b.Fatal(err)
		}
		f := open()
		checker.Columns(f.Columns())
		for row := range f.Rows() {
			checker.Row(row)
			if rows++; rows > b.N {
				break
			}
		}
	}
}
