package infer

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// FuzzCanonical writes JSON anew that somebody sent aside from inference: what is
// accepted is valid, means the same, and is its own canonical form.
func FuzzCanonical(f *testing.F) {
	for _, text := range []string{`{"a":[1.50,null,true],"b":"\u00e9<"}`, `{"a":1,"A":2}`, ` 1e400 `, `{"a":1}{}`, "\"\xff\"", `"\ud800"`, strings.Repeat("[", 20000)} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		out, err := Canonical(text, false)
		if err != nil {
			return
		}
		var was, is any
		if json.Unmarshal(text, &was) == nil && (json.Unmarshal(out, &is) != nil || !reflect.DeepEqual(was, is)) {
			t.Fatalf("%s became %s", text, out)
		}
		if again, err := Canonical(out, false); err != nil || string(again) != string(out) {
			t.Fatalf("%s became %s and then %s, %v", text, out, again, err)
		}
	})
}
