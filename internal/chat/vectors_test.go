package chat

import (
	"errors"
	"strings"
	"testing"
)

// twoVectors is an answer of embeddings in a form.
func twoVectors(t *testing.T, form string, vectors ...string) *Answer {
	t.Helper()
	r, err := ParseRequest(Embeddings, []byte(`{"model":"m","input":["a","b"],"encoding_format":"`+form+`"}`), DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	text := `{"object":"list","model":"m","data":[{"object":"embedding","index":1,"embedding":` + vectors[0] + `},{"object":"embedding","index":0,"embedding":` + vectors[1] + `}]}`
	a, err := ParseAnswer(r, []byte(text), DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestEditVectors changes one vector of two, in both forms, and leaves the other to the
// digit.
func TestEditVectors(t *testing.T) {
	for form, c := range map[string]struct{ one, other, want string }{
		"float":  {`[1,-2.5]`, `[0.10000000000000001,1e-7]`, `[2,-5]`},
		"base64": {`"AACAPwAAIMA="`, `"AACAPwAAAMA="`, `"AAAAQAAAoMA="`},
	} {
		a := twoVectors(t, form, c.one, c.other)
		err := a.EditVectors(func(index int, v []float64) (bool, error) {
			if index == 1 && (v[0] != 1 || v[1] != -2.5) {
				t.Errorf("%s: vector %v", form, v)
			}
			v[0], v[1] = 2*v[0], 2*v[1]
			return index == 1, nil
		})
		if got := string(a.AppendJSON(nil)); err != nil || !strings.Contains(got, c.want) || !strings.Contains(got, strings.Trim(c.other, "[]")) && !strings.Contains(got, `[0.1,1e-07]`) {
			t.Errorf("%s: %s (%v)", form, got, err)
		}
	}
	wrong := errors.New("wrong")
	if err := twoVectors(t, "float", `[1]`, `[2]`).EditVectors(func(int, []float64) (bool, error) { return true, wrong }); err != wrong {
		t.Errorf("an error becomes %v", err)
	}
}

// TestInputDigests tells inputs apart, and no more than that.
func TestInputDigests(t *testing.T) {
	of := func(input string) [][32]byte {
		r, err := ParseRequest(Embeddings, []byte(`{"model":"m","input":`+input+`}`), DefaultLimits())
		if err != nil {
			t.Fatal(err)
		}
		if all := r.InputDigests(); len(all) == r.Prompts() {
			return all
		}
		t.Fatalf("%s: %d digests of %d inputs", input, len(r.InputDigests()), r.Prompts())
		return nil
	}
	if of(`"a"`)[0] != of(`["b","a"]`)[1] || of(`"\u0061"`)[0] != of(`"a"`)[0] || of(`[1,2]`)[0] != of(`[[3],[1,2]]`)[1] {
		t.Error("one input has two digests")
	}
	seen := map[[32]byte]string{}
	for _, input := range []string{`"a"`, `"b"`, `"1"`, `[1]`, `[1,2]`, `[12]`, `"[1]"`} {
		d := of(input)[0]
		if was, twice := seen[d]; twice {
			t.Errorf("%s and %s have one digest", was, input)
		}
		seen[d] = input
	}
}
