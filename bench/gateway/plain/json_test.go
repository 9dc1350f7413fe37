package main

import (
	"encoding/json"
	"testing"
)

func TestRewrite(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{`{"outputs":[{"name":"scores","shape":[1,2],"data":[0.03128,-0.15234,5,1e-2,0.123456789012345678]}],"x":0.123456}`,
			`{"outputs":[{"name":"scores","shape":[1,2],"data":[0.0313,-0.1523,5,0.01,0.1235]}],"x":0.123456}`},
		{` { "a\"" : [ ] , "b" : { } , "c" : [true,false,null] } `, ` { "a\"" : [ ] , "b" : { } , "c" : [true,false,null] } `},
		{`0`, `0`},
	} {
		got, err := rewrite(nil, []byte(c.text), true)
		if err != nil || string(got) != c.want {
			t.Errorf("%s became %s (%v), want %s", c.text, got, err, c.want)
		}
	}
}

func FuzzRewrite(f *testing.F) {
	for _, text := range []string{`{"a":[1,-2.5e3,"x\u00e9"]}`, `[01]`, `[1.]`, `[1e]`, `{"a":1,}`, `"\x"`, "\"\n\"", `[-]`, `{"a" 1}`, `[1 2]`, `tru`, ``, `1 2`, `{"data":[1e300]}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		out, err := rewrite(nil, text, true)
		if err == nil && (!json.Valid(text) || !json.Valid(out)) {
			t.Errorf("%q was taken, and became %q", text, out)
		}
	})
}
