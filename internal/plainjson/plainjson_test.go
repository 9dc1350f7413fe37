package plainjson

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

type thing struct {
	A int   `json:"a"`
	B []any `json:"b"`
}

// cases are texts, and whether they are read, and known.
var cases = map[string]struct{ read, known bool }{
	`{}`:                         {true, true},
	`{"a":1,"b":[{"x":1}]}`:      {true, true},
	`{"a":1,"c":2}`:              {true, false},
	`{"A":1}`:                    {true, true}, // as encoding/json matches it
	`{"a":1,"a":2}`:              {false, false},
	`{"a":1,"A":2}`:              {false, false},
	`{"a":1,"\u0061":2}`:         {false, false},
	`{"b":[{"x":1,"X":2}]}`:      {false, false},
	`{"b":[{"\u212a":1,"k":2}]}`: {false, false}, // the sign of Kelvin is a k to encoding/json
	`{"b":[{"\u017f":1,"s":2}]}`: {false, false}, // and the long s an s
	`{"a":1} {"a":2}`:            {false, false},
	`{"a":1`:                     {false, false},
	"{\"b\":[\"caf\xe9\"]}":      {false, false}, // encoding/json reads another text
	``:                           {false, false},
}

// TestRead refuses what two parsers may read in two ways.
func TestRead(t *testing.T) {
	for text, want := range cases {
		err := Read([]byte(text), new(thing))
		_, unknown := ReadKnown[thing]([]byte(text))
		if (err == nil) != want.read || (unknown == nil) != want.known {
			t.Errorf("%s: %v; known: %v", text, err, unknown)
		}
	}
}

// FuzzRead never takes what encoding/json refuses, and reads what it takes to the same
// value once it was written anew.
func FuzzRead(f *testing.F) {
	for text := range cases {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		v, err := ReadKnown[thing](text)
		if err != nil {
			return
		}
		first, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ReadKnown[thing](first)
		if err != nil {
			t.Fatalf("%s, of %q: %v", first, text, err)
		}
		if second, err := json.Marshal(again); err != nil || !bytes.Equal(first, second) {
			t.Errorf("%s and %s, %v", first, second, err)
		}
	})
}

// FuzzCanonical writes JSON anew that somebody sent aside from inference: what is
// accepted is valid, means the same, and is its own canonical form.
func FuzzCanonical(f *testing.F) {
	for _, text := range []string{`{"a":[1.50,null,true],"b":"\u00e9<"}`, `{"a":1,"A":2}`, ` 1e400 `, `{"a":1}{}`, "\"\xff\"", `"\ud800"`, strings.Repeat("[", 20000)} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		out, err := Canonical(text)
		if err != nil {
			return
		}
		var was, is any
		if json.Unmarshal(text, &was) == nil && (json.Unmarshal(out, &is) != nil || !reflect.DeepEqual(was, is)) {
			t.Fatalf("%s became %s", text, out)
		}
		if again, err := Canonical(out); err != nil || string(again) != string(out) {
			t.Fatalf("%s became %s and then %s, %v", text, out, again, err)
		}
	})
}

// TestSpare makes no text much longer than it came, and has it say the same.
func TestSpare(t *testing.T) {
	text := `{"a":1.50,"x":"` + strings.Repeat("<&>", 1000) + `\\u003c\"\u0001"}`
	long, err := Canonical([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	short := Spare(long)
	again, err := Canonical(short)
	if err != nil || string(again) != string(long) || string(short) != text || len(long) < 5*len(text) {
		t.Errorf("%d bytes, then %d, then %d: %v", len(text), len(long), len(short), err)
	}
	if got := Spare([]byte("{")); string(got) != "{" {
		t.Errorf("no JSON is %q", got)
	}
}
