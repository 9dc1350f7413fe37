package figure

import (
	"fmt"
	"strings"
	"testing"
)

// nodesOf are nodes that are called by their letters.
func nodesOf(letters string) (nodes []FlowNode) {
	for _, l := range letters {
		nodes = append(nodes, FlowNode{Shape: "dataset", Title: string(l)})
	}
	return nodes
}

// edgesOf are edges between letters, as ab bc:refuted.
func edgesOf(letters, text string) (edges []FlowEdge) {
	for word := range strings.FieldsSeq(text) {
		word, kind, _ := strings.Cut(word, ":")
		edges = append(edges, FlowEdge{From: strings.Index(letters, word[:1]), To: strings.Index(letters, word[1:]), Kind: kind, Words: word})
	}
	return edges
}

// columns says which letters stand in which column, from the top.
func columns(f *Flow) string {
	var all []string
	at := map[int]int{}
	for _, b := range f.Boxes {
		if _, known := at[b.X]; !known {
			at[b.X] = len(all)
			all = append(all, "")
		}
		all[at[b.X]] += b.Title
	}
	return strings.Join(all, " ")
}

func TestFlow(t *testing.T) {
	for name, c := range map[string]struct{ letters, edges, middle, want string }{
		"in a row":          {"abc", "ab bc", "b", "a b c"},
		"seen from the end": {"abc", "ab bc", "c", "a b c"},
		"alone":             {"a", "", "a", "a"},
		"apart":             {"abx", "ab", "a", "a b"},
		"to itself":         {"ab", "aa ab", "a", "a b"},
		"in a circle":       {"abc", "ab bc ca", "a", "c a b"},
		"without crossing":  {"abcdxy", "ad bc xa xb cy dy", "x", "x ba cd y"},
		"no such node":      {"ab", "ab", "", ""},
	} {
		f := NewFlow(nodesOf(c.letters), edgesOf(c.letters, c.edges), place(c.letters, c.middle))
		if got := columns(f); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
		for _, b := range f.Boxes {
			if b.X < 0 || b.Y < 0 || b.X+b.Width > f.Width || b.Y+b.Height > f.Height {
				t.Errorf("%s: %s stands outside: %+v of %d by %d", name, b.Title, b, f.Width, f.Height)
			}
			if b.Middle != (b.Title == c.middle) {
				t.Errorf("%s: %s is in the middle: %v", name, b.Title, b.Middle)
			}
		}
	}
}

// place is that of a letter; -1 of none.
func place(letters, letter string) int {
	if letter == "" {
		return -1
	}
	return strings.Index(letters, letter)
}

// TestFlowLines joins what is alike, keeps what is not, and goes round where it goes back.
func TestFlowLines(t *testing.T) {
	f := NewFlow(nodesOf("ab"), append(edgesOf("ab", "ab:sealed ab:refuted ab:sealed ba:sealed"), FlowEdge{From: 0, To: 7}, FlowEdge{From: -1, To: 1}), 0)
	if len(f.Lines) != 3 || f.Lines[0].Words != "ab; and 1 more" || f.Lines[1].Kind != "refuted" {
		t.Fatalf("%+v", f.Lines)
	}
	paths := map[string]bool{}
	for _, l := range f.Lines {
		paths[l.Path] = true
		if l.MarkX < 0 || l.MarkY < 0 || l.MarkX > f.Width || l.MarkY > f.Height {
			t.Errorf("a mark outside: %+v", l)
		}
	}
	if len(paths) != 3 {
		t.Errorf("lines on top of each other: %v", paths)
	}
}

// TestFlowIsBounded draws the nearest of a thousand, the same each time.
func TestFlowIsBounded(t *testing.T) {
	var nodes []FlowNode
	var edges []FlowEdge
	for n := range 1000 {
		nodes = append(nodes, FlowNode{Title: fmt.Sprint(n)})
		edges = append(edges, FlowEdge{From: n, To: n / 2, Kind: "sealed"})
	}
	f := NewFlow(nodes, edges, 0)
	if len(f.Boxes) != maxFlow || f.Left != 1000-maxFlow || len(f.Lines) != maxFlow {
		t.Errorf("%d boxes, %d lines, %d left out", len(f.Boxes), len(f.Lines), f.Left)
	}
	if again := NewFlow(nodes, edges, 0); fmt.Sprint(again) != fmt.Sprint(f) {
		t.Error("the same list makes another picture")
	}
}

func TestShorten(t *testing.T) {
	for _, c := range []struct {
		text string
		n    int
		want string
	}{
		{"short", 10, "short"}, {"exactly_10", 10, "exactly_10"}, {"a_long_name_of_a_table", 10, "a_lon…able"},
		{"two\nlines", 20, "two lines"}, {"模型模型模型", 12, "模型模型模型"}, {"模型模型模型", 9, "模型…模型"}, {"", 5, ""},
	} {
		got := Shorten(c.text, c.n)
		if got != c.want || wide([]rune(got)) > c.n {
			t.Errorf("%q in %d: %q, want %q", c.text, c.n, got, c.want)
		}
	}
}
