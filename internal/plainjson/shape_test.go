package plainjson

import (
	"math"
	"strings"
	"testing"
)

// TestShapeOf counts what stands in a text, and looks no further than it must.
func TestShapeOf(t *testing.T) {
	for text, want := range map[string]Shape{
		``:                               {},
		`1`:                              {},
		`{}`:                             {1, 1, 1, 0},
		`{"a":1,"b":2}`:                  {1, 1, 2, 0},
		`[1,2,3]`:                        {1, 1, 3, 2},
		`{"a":[1,2],"b":{"c":[{},{}]}}`:  {4, 6, 9, 2},
		`{"a":"[{,","b":"\\\"[,"}`:       {1, 1, 2, 0},
		`]]],[`:                          {1, 1, 2, 0},
		strings.Repeat("[", MaxDepth+99): {MaxDepth + 1, MaxDepth + 1, MaxDepth + 1, 0},
	} {
		if got := ShapeOf([]byte(text)); got != want {
			t.Errorf("%.40s: %+v, want %+v", text, got, want)
		}
	}
}

// TestAny refuses what Read refuses, and keeps nothing.
func TestAny(t *testing.T) {
	for text, want := range cases {
		if err := Read([]byte(text), new(Any)); (err == nil) != want.read {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestText writes texts that are read as what they are.
func TestText(t *testing.T) {
	for text, want := range map[string]string{"": `""`, "a b": `"a b"`, "a\"\\\n<ü>": `"a\"\\\n<ü>"`, "\xff": "\"\uFFFD\""} {
		if got := string(Text([]byte(text))); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
	for f, want := range map[float64]string{2.5: "2.5", -0.1: "-0.1", 1e300: "1e+300", math.Inf(-1): `"-Inf"`} {
		if got := string(Number(f)); got != want {
			t.Errorf("%v: %s, want %s", f, got, want)
		}
	}
}
