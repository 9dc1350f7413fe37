package figure

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// said writes a difference as text.
func said(all []DiffLine) string {
	var b strings.Builder
	for _, l := range all {
		if l.Skipped > 0 {
			fmt.Fprintf(&b, "…%d|", l.Skipped)
			continue
		}
		fmt.Fprintf(&b, "%s%s|", l.Sign, l.Text)
	}
	return b.String()
}

// A difference shows what is taken away before what comes, and a line's end that is
// there on one side alone.
func TestDiff(t *testing.T) {
	for _, c := range []struct{ before, after, want string }{
		{"", "", ""}, {"a\n", "a\n", "a|"}, {"", "a\nb\n", "+a|+b|"}, {"a\nb\n", "", "−a|−b|"}, {"", "\n", "+|"}, {"a\n\n", "a\n", "a|−|"},
		{"a\nb\nc\n", "a\nx\nc\n", "a|−b|+x|c|"}, {"a\nb\nc", "b\nc\nd", "−a|b|c|+d|"}, {"a\nb\n", "a\nb", "a|b|−|"}, {"a", "a\n", "a|+|"},
		{"a\na\nb\n", "a\nb\nb\n", "a|−a|+b|b|"}, {"1\nx\n2\n3\n", "0\n1\n2\ny\n3\n", "+0|1|−x|2|+y|3|"}, {"a\r\n", "a\n", "−a\r|+a|"},
	} {
		if got := said(Diff(c.before, c.after)); got != c.want {
			t.Errorf("%q to %q is %s, want %s", c.before, c.after, got, c.want)
		}
	}
}

// What is far from every difference is left out, if that is worth it.
func TestFold(t *testing.T) {
	lines := func(n int, changed ...int) (before, after string) {
		for i := range n {
			before += fmt.Sprintf("%d\n", i)
			if len(changed) > 0 && changed[0] == i {
				changed = changed[1:]
				after += "x"
			}
			after += fmt.Sprintf("%d\n", i)
		}
		return before, after
	}
	for _, c := range []struct {
		n       int
		changed []int
		want    string
	}{
		{3, nil, "…3|"}, {1, nil, "0|"}, {0, nil, ""},
		{9, []int{4}, "0|1|2|3|−4|+x4|5|6|7|8|"}, // one line to leave out on each side saves none
		{10, []int{5}, "…2|2|3|4|−5|+x5|6|7|8|9|"},
		{30, []int{5, 20}, "…2|2|3|4|−5|+x5|6|7|8|…8|17|18|19|−20|+x20|21|22|23|…6|"},
	} {
		if got := said(Fold(Diff(lines(c.n, c.changed...)))); got != c.want {
			t.Errorf("%d lines with %v others are %s, want %s", c.n, c.changed, got, c.want)
		}
	}
}

// Texts that have too much between them are shown whole, one after the other, and
// what they begin and end with alike is still the same.
func TestDiffOfLongTexts(t *testing.T) {
	long := func(word string) string {
		lines := make([]string, 2000)
		for i := range lines {
			lines[i] = fmt.Sprint(word, i)
		}
		return strings.Join(append(append([]string{"first"}, lines...), "shared", "last"), "\n")
	}
	all := Diff(long("a"), long("b"))
	if len(all) != 4003 || all[0].Sign != Same || all[2000].Sign != Out || all[2001].Sign != In || all[4002].Text != "last" {
		t.Errorf("%d lines", len(all))
	}
	checkDiff(t, long("a"), strings.ReplaceAll(long("b"), "\nshared", "\nshared\nb"))
}

// checkDiff fails unless both texts can be read off their difference, nothing is said
// to be the same and other, and no line too many is.
func checkDiff(t *testing.T, before, after string) {
	t.Helper()
	all := Diff(before, after)
	both := whole(before) && whole(after)
	var a, b []string
	same := 0
	for _, l := range all {
		switch l.Sign {
		case Out:
			a = append(a, l.Text)
		case In:
			b = append(b, l.Text)
		default:
			a, b, same = append(a, l.Text), append(b, l.Text), same+1
		}
	}
	if fmt.Sprintf("%q", a) != fmt.Sprintf("%q", lines(before, both)) || fmt.Sprintf("%q", b) != fmt.Sprintf("%q", lines(after, both)) {
		t.Errorf("%q and %q cannot be read off their difference: %s", before, after, said(all))
	}
	if (before == after) != (same == len(all)) {
		t.Errorf("of %q and %q, %d of %d lines are the same", before, after, same, len(all))
	}
	shown := 0
	for _, l := range Fold(all) {
		shown += max(l.Skipped, 1)
	}
	if shown != len(all) {
		t.Errorf("%d lines are folded to %d", len(all), shown)
	}
}

// TestDiffIsShortest compares with all ways to pick common lines, for short texts.
func TestDiffIsShortest(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 11))
	text := func() []string {
		all := make([]string, random.IntN(7))
		for i := range all {
			all[i] = string(rune('a' + random.IntN(3)))
		}
		return all
	}
	for range 2000 {
		a, b := text(), text()
		same := 0
		for _, l := range Diff(strings.Join(a, "\n"), strings.Join(b, "\n")) {
			if l.Sign == Same {
				same++
			}
		}
		if want := longest(a, b); same != want {
			t.Fatalf("seed 7, 11: %v and %v share %d lines, and %d are shown as the same", a, b, want, same)
		}
	}
}

// longest is how many lines two texts have in common, in order, tried out.
func longest(a, b []string) int {
	if len(a) == 0 || len(b) == 0 {
		return 0
	}
	if a[0] == b[0] {
		return 1 + longest(a[1:], b[1:])
	}
	return max(longest(a[1:], b), longest(a, b[1:]))
}

func FuzzDiff(f *testing.F) {
	f.Add("a\nb\nc\n", "a\nx\nc\n")
	f.Add("", "\n")
	f.Add("a\n\n\nb", "a\r\n\nb\n")
	f.Add("<script>\n", "\u202e\n<script>\n")
	f.Fuzz(func(t *testing.T, before, after string) { checkDiff(t, before, after) })
}
