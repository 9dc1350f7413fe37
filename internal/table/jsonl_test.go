package table

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func TestJSONL(t *testing.T) {
	f, err := NewReader(strings.NewReader("\ufeff"+`{"client":"a","input":[[1,2],[3,4]],"n":7}

{"client":"\u00e4\ud83d\ude00","time":"2026-01-01T00:00:00Z","input":[1e0, -2.50],"n":null,"more":{"x":[1,{"y":[]}],"z":"w"}}`+"\r\n"+
		`	{ "n" : 1.50 , "input" : [[[1,2],[3,4]],[[5,6],[7,8]]], "yes":true,"mixed":[1,"a"] }`), "traffic", Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := f.Columns(); !reflect.DeepEqual(got, []string{"client", "input", "n"}) {
		t.Errorf("columns of the first row: %q", got)
	}
	var got []string
	for row, err := range f.Rows() {
		if err != nil {
			t.Fatal(err)
		}
		client, _ := row.Text("client")
		n, _ := row.Text("n")
		numbers, rows, err := row.Batch(nil, "input")
		got = append(got, fmt.Sprint(row.Place(""), "|", client, "|", n, "|", numbers, rows, err, "|", has(row, "time"), has(row, "n"), has(row, "mixed")))
	}
	want := []string{
		"traffic, line 1|a|7|[1 2 3 4] 2 <nil>|false true false",
		"traffic, line 3|ä😀||[1 -2.5] 1 <nil>|true false false",
		"traffic, line 4||1.50|[1 2 3 4 5 6 7 8] 2 <nil>|false true true",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("rows:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if got := f.Columns(); !reflect.DeepEqual(got, []string{"client", "input", "n", "time", "more", "yes", "mixed"}) {
		t.Errorf("columns at the end: %q", got)
	}
}

func TestJSONLists(t *testing.T) {
	columns, rows, err := openAll("[1, \"x\", 2.50]\n[3,\"y\",4]\n", "t.jsonl", Options{})
	if want := [][]string{{"1", "x", "2.50"}, {"3", "y", "4"}}; err != nil || !reflect.DeepEqual(rows, want) || len(columns) != 3 || columns[2] != "2" {
		t.Errorf("%q %q %v", columns, rows, err)
	}
}

func TestHostileJSONL(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"no row", "\n \n", "t.jsonl: it holds no rows"},
		{"no object", `7`, "t.jsonl, line 1: it is no JSON object"},
		{"a key twice", `{"a":1,"a":2}`, `t.jsonl, line 1: the key "a" appears twice`},
		{"a key twice, and null", `{"a":null,"\u0061":2}`, `the key "a" appears twice`},
		{"a key twice, inside", `{"o":{"a":1,"a":2}}`, `t.jsonl, line 1, column "o": the key "a" appears twice`},
		{"no colon inside", `{"a":{"b" 1}}`, `t.jsonl, line 1, column "a": a colon is missing behind a key, at byte 11`},
		{"no key inside", `{"a":{1:2}}`, "a quote is missing, at byte 7"},
		{"cut off inside", `{"a":{"b":`, "the line ends too early"},
		{"no comma inside", `{"a":{"b":1 "c":2}}`, "a comma or the end is missing"},
		{"no value inside", `{"a":{"b":x}}`, "is no value of JSON"},
		{"all rows in one list", `[{"a":1},{"a":2}]`, "t.jsonl, line 1: it is a list of rows"},
		{"an empty row", `[]`, "t.jsonl, line 1: the list is empty"},
		{"no value in a list", `[1,x]`, `t.jsonl, line 1, column "1": "x]" is no value of JSON`},
		{"cut off", `{"a":1`, "t.jsonl, line 1: a comma or the end is missing, at byte 7"},
		{"cut off in a text", `{"a":"x`, `t.jsonl, line 1, column "a": a text does not end`},
		{"over two lines", "{\"a\":\n1}", "the line ends too early"},
		{"two rows in a line", `{"a":1}{"a":2}`, "something follows the end of the row, at byte 8"},
		{"a comma too many", `{"a":1,}`, "a quote is missing, at byte 8"},
		{"a list that ends in a comma", `{"a":[1,]}`, "no value of JSON, at byte 9"},
		{"no colon", `{"a" 1}`, "a colon is missing"},
		{"a leading zero", `{"a":01}`, "a number with a leading zero"},
		{"plus", `{"a":+1}`, "is no value of JSON"},
		{"beyond", `{"a":1e400}`, "1e400 is beyond what a number can be"},
		{"NaN", `{"a":[1,NaN]}`, `t.jsonl, line 1, column "a": NaN is no number of JSON`},
		{"minus infinity", `{"a":-Infinity}`, "-Infinity is no number of JSON"},
		{"a lone surrogate", `{"a":"\ud800"}`, "a lone surrogate"},
		{"NUL, escaped", `{"a":"\u0000"}`, "a text has NUL in it"},
		{"a tab in a text", "{\"a\":\"x\ty\"}", "a control character stands in a text"},
		{"not UTF-8", "{\"a\":\"\xff\"}", "t.jsonl, line 1: byte 7 is not UTF-8"},
		{"nesting", `{"a":` + strings.Repeat("[", 1000), "it is nested more than 32 deep"},
		{"nesting of objects", `{"a":` + strings.Repeat(`{"b":`, 1000), "it is nested more than 32 deep"},
		{"turns", "{\"a\":1}\n[1]", "t.jsonl, line 2: objects and lists take turns"},
		{"ragged lists", "[1,2]\n[1]", "t.jsonl, line 2: it has 1 values, and the first row has 2"},
		{"an array of objects", "[{\"a\":1},\n{\"a\":2}]", "the line ends too early"},
		{"a key that does not print", `{"a\u202e":1}`, "U+202E, which does not print"},
		{"a key without a name", `{"":1}`, "the name of a column is empty"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := NewReader(strings.NewReader(c.in), "t.jsonl", Options{Format: JSONL})
			for err == nil {
				var more bool
				if more, err = f.step(); !more {
					break
				}
			}
			refused(t, err, c.want)
		})
	}
}

// TestManyKeys reads rows that each have a key of their own.
func TestManyKeys(t *testing.T) {
	var many strings.Builder
	for i := range maxKeys + 1 {
		fmt.Fprintf(&many, "{\"k%d\":1}\n", i)
	}
	f, err := NewReader(strings.NewReader(many.String()), "t", Options{})
	for err == nil {
		for i := range 3 { // what other rows had is not there
			if there := has(Row{f}, fmt.Sprintf("k%d", i)); there != (f.now.at == int64(i+1)) {
				t.Fatalf("line %d has k%d: %v", f.now.at, i, there)
			}
		}
		_, err = f.step()
	}
	refused(t, err, "t, line 16385: there are more than 16384 different keys")
}

func TestWhatIsNoNumber(t *testing.T) {
	for _, c := range []struct{ cell, want string }{
		{`"x"`, `t, line 1, column "a": "x" is no number`},
		{`""`, `column "a": "" is no number: it is empty`},
		{`null`, `column "a": there is nothing`},
		{`[1,[2]]`, `column "a": it is neither a number nor a list of numbers`},
		{`[[1],[2,3]]`, `column "a": it is neither a number nor a list of numbers`},
		{`[]`, `column "a": the list is empty`},
		{`[[],[]]`, `column "a": the list is empty`},
		{`{}`, `column "a": it is neither a number nor a list of numbers`},
	} {
		f, err := NewReader(strings.NewReader(`{"a":`+c.cell+`,"b":1}`), "t", Options{Format: JSONL})
		if err != nil {
			t.Fatal(err)
		}
		for row, err := range f.Rows() {
			if err != nil {
				t.Fatal(err)
			}
			_, err = row.Append(nil, "b", "a")
			refused(t, err, c.want)
			_, err = row.Append(nil, "c")
			refused(t, err, `t: it has no column "c"`)
		}
	}
}

func TestNaN(t *testing.T) {
	f, err := NewReader(strings.NewReader("a,b\n1,2\n3,inf\n"), "t.csv", Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = Read(f, Selection{})
	refused(t, err, `t.csv, line 3, column "b": +Inf is no number to reckon with`)
}

// TestNumbers holds the numbers of many hands against what they mean.
func TestNumbers(t *testing.T) {
	for text, want := range map[string]float64{
		"1": 1, "-0.5": -0.5, "+2": 2, ".5": .5, "5.": 5, "007": 7, " 3 ": 3, "1E3": 1000, "-1e-3": -0.001, "1e-400": 0,
		"0.1": 0.1, "123456789012345678901234567890": 123456789012345678901234567890,
	} {
		if v, why := parse([]byte(text)); v != want || why != "" {
			t.Errorf("%q is %v, %q; want %v", text, v, why, want)
		}
	}
	for _, text := range []string{"", " ", "x", "0x10", "1_000", "1,5", "1e", "--1", "+-1", "1e400", "-1e400", "+1e400", "1 2", "１", "infinit", "nan1", strings.Repeat("1", 401)} {
		if v, why := parse([]byte(text)); why == "" {
			t.Errorf("%q is read as %v", text, v)
		}
	}
}

// FuzzJSONL holds what is read against encoding/json.
func FuzzJSONL(f *testing.F) {
	for _, s := range []string{
		`{"client":"a","input":[[1,2],[3,4]],"output":[0.5,1e-3]}`, "[1,2]\n[3,4]", `{"a":{"b":[1,{"c":null}]},"d":true}`,
		"{\"a\":\"\\ud83d\\ude00\\n\"}\r\n\n{\"b\":-0}", `{"a":[[[1]],[[2]]]}`, `{"a":[1,"x",null]}`, `{"a":1,"a":2}`, `[[`, `{"a":NaN}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		file, err := NewReader(bytes.NewReader(in), "t", Options{Format: JSONL})
		if err != nil {
			return
		}
		lines := bytes.Split(bytes.TrimPrefix(in, bom), []byte("\n"))
		for row, err := range file.Rows() {
			if err != nil {
				return
			}
			line := lines[file.now.at-1]
			values := map[string]any{}
			if file.names == nil {
				var list []any
				if err := json.Unmarshal(line, &list); err != nil {
					t.Fatalf("%q: %v", line, err)
				}
				for i, v := range list {
					values[file.columnName(i)] = v
				}
			} else if err := json.Unmarshal(line, &values); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			for _, name := range file.Columns() {
				same(t, row, name, values[name])
			}
		}
	})
}

// same compares a cell with what encoding/json has read.
func same(t *testing.T, row Row, name string, v any) {
	if has(row, name) != (v != nil && v != "") {
		t.Fatalf("%q is there: %v; encoding/json has %v", name, has(row, name), v)
	}
	switch v := v.(type) {
	case string:
		if got, err := row.Text(name); err != nil || got != v {
			t.Fatalf("%q is %q, %v; encoding/json has %q", name, got, err, v)
		}
	case float64:
		if got, err := row.Append(nil, name); err != nil || got[0] != v {
			t.Fatalf("%q is %v, %v; encoding/json has %v", name, got, err, v)
		}
	case []any:
		flat, ok := flatten(nil, v)
		got, rows, err := row.Batch(nil, name)
		if ok && err == nil && !reflect.DeepEqual(got, flat) || !ok && err == nil {
			t.Fatalf("%q is %v of %d rows, %v; encoding/json has %v", name, got, rows, err, v)
		}
	}
}

// flatten returns the numbers of nested lists; false when there is something else.
func flatten(dst []float64, list []any) ([]float64, bool) {
	ok := true
	for _, v := range list {
		switch v := v.(type) {
		case float64:
			dst = append(dst, v)
		case bool:
			n := 0.0
			if v {
				n = 1
			}
			dst = append(dst, n)
		case []any:
			dst, ok = flatten(dst, v)
		default:
			ok = false
		}
		if !ok {
			return dst, false
		}
	}
	return dst, true
}
