package blob

import (
	"errors"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/pavise/pavise"
)

// told is a list as a store has it; at "!" it breaks off.
func told(keys string) iter.Seq2[Version, error] {
	return func(yield func(Version, error) bool) {
		for _, key := range strings.Fields(keys) {
			var err error
			if key == "!" {
				err = errors.New("broken off")
			}
			if !yield(Version{Key: key}, err) {
				return
			}
		}
	}
}

// TestListsInAnyOrder puts lists in order, as long as few enough are held, and takes longer
// ones that are in order.
func TestListsInAnyOrder(t *testing.T) {
	for _, c := range []struct {
		name, list, want string
		refused          bool
	}{
		{"in order", "a b c", "a b c", false},
		{"directories first", "a/b a-b a.b b", "a-b a.b a/b b", false},
		{"twice", "b a b a", "a b", false},
		{"long and in order", "a b c d e f", "a b c d e f", false},
		{"long, out of order where it is held", "b a c d e f", "b", true},
		{"long, out of order behind", "a b c d f e", "a b c d f", true},
		{"a circle", "a b c d e a b c d e", "a b c d e", true},
		{"nothing", "", "", false},
	} {
		var got []string
		var failed error
		for v, err := range inOrder(told(c.list), 4) {
			if err != nil {
				failed = err
				continue
			}
			got = append(got, v.Key)
		}
		if strings.Join(got, " ") != c.want || (failed != nil) != c.refused || failed != nil && pavise.KindOf(failed) != pavise.Conflict {
			t.Errorf("%s: %q, %v", c.name, got, failed)
		}
	}
	var got []string
	for v, err := range inOrder(told("b a !"), 4) {
		if got = append(got, v.Key); err == nil {
			t.Errorf("%s of a list that breaks off", v.Key)
		}
	}
	for v := range inOrder(told("b a"), 4) {
		got = append(got, v.Key)
		break
	}
	if !slices.Equal(got, []string{"", "a"}) {
		t.Errorf("%q", got)
	}
}
