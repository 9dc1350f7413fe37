// Package result is what the measuring programs share: the conditions a number
// was taken under, quantiles, costs, and the file that keeps the numbers. It owns
// RESULTS.md, of which each program replaces its own section and no other.
package result

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
)

// File is where results are kept, relative to the bench module's root.
const File = "RESULTS.md"

// Write replaces the section with the given name in the file, or appends it. The
// markers around a section are comments, invisible in rendered Markdown.
func Write(file, name, text string) error {
	have, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read results: %w (run this from the bench directory)", err)
	}
	begin, end := marker("begin", name), marker("end", name)
	section := fmt.Appendf(nil, "%s\n%s\n%s\n", begin, strings.TrimSpace(text), end)
	before, rest, found := bytes.Cut(have, []byte(begin+"\n"))
	if !found {
		return os.WriteFile(file, slices.Concat(have, []byte("\n"), section), 0o644)
	}
	_, after, closed := bytes.Cut(rest, []byte(end+"\n"))
	if !closed {
		return fmt.Errorf("%s: %q has no matching %q", file, begin, end)
	}
	return os.WriteFile(file, slices.Concat(before, section, after), 0o644)
}

func marker(edge, name string) string { return fmt.Sprintf("<!-- %s %s -->", edge, name) }

// Quantile returns the value below which the share q, from 0 to 1, of sorted
// values lies (nearest rank), or zero if there are none.
func Quantile[T cmp.Ordered](sorted []T, q float64) T {
	if len(sorted) == 0 {
		var zero T
		return zero
	}
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

// Median returns the middle of the values, in any order, or the mean of the two
// in the middle, or zero if there are none.
func Median[T ~int64 | ~float64](values []T) T {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// Met says in a table whether a goal was met.
func Met(is bool) string {
	if is {
		return "met"
	}
	return "**not met**"
}

// A Table is a Markdown table.
type Table struct{ b strings.Builder }

// NewTable begins a table with the given heads.
func NewTable(heads ...string) *Table {
	t := &Table{}
	t.Row(heads...)
	t.Row(slices.Repeat([]string{"---"}, len(heads))...)
	return t
}

// Row adds a row.
func (t *Table) Row(cells ...string) {
	fmt.Fprintf(&t.b, "| %s |\n", strings.Join(cells, " | "))
}

// String returns the table.
func (t *Table) String() string { return t.b.String() }
