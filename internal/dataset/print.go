package dataset

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/pavise/pavise/internal/rowseal"
)

// fact prints a line of what was found.
func fact(w io.Writer, name, format string, args ...any) {
	fmt.Fprintf(w, "%-10s %s\n", name, fmt.Sprintf(format, args...))
}

func unrecorded(w io.Writer) { fact(w, "recorded", "false (this command leaves no record)") }

// counted is a number of things in words: 1 row, 2 rows.
func counted(n uint64, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return strconv.FormatUint(n, 10) + " " + thing + "s"
}

// shownRuns is how many runs of numbers a line has.
const shownRuns = 12

// runs writes numbers, which rise, as runs: 3, 7 to 12.
func runs(numbers []uint64, all uint64) string {
	var parts []string
	for i := 0; i < len(numbers); {
		to := i
		for to+1 < len(numbers) && numbers[to+1] == numbers[to]+1 {
			to++
		}
		if len(parts) == shownRuns {
			return strings.Join(parts, ", ") + fmt.Sprintf(" and more, %d in all", all)
		}
		if to == i {
			parts = append(parts, strconv.FormatUint(numbers[i], 10))
		} else {
			parts = append(parts, fmt.Sprintf("%d to %d", numbers[i], numbers[to]))
		}
		i = to + 1
	}
	if uint64(len(numbers)) < all {
		return strings.Join(parts, ", ") + fmt.Sprintf(" and more, %d in all", all)
	}
	return strings.Join(parts, ", ")
}

// rowsOr is "row" or "rows".
func rowsOr(n uint64, thing string) string {
	if n == 1 {
		return thing
	}
	return thing + "s"
}

// printDifferences prints what became of files. One that was sealed alone has the name one.
func printDifferences(w io.Writer, list []Difference, one string) {
	const most = 200
	for i := range list {
		if i == most {
			fmt.Fprintf(w, "  and %d more (--json prints all)\n", len(list)-most)
			return
		}
		list[i].print(w, one)
	}
}

func (d *Difference) print(w io.Writer, one string) {
	name := d.File
	if name == "." {
		name = one
	}
	fmt.Fprintf(w, "  %-8s %s", d.What, rowseal.Shown(name))
	if d.To != "" {
		fmt.Fprintf(w, " to %s", rowseal.Shown(d.To))
	}
	fmt.Fprintln(w)
	line := func(format string, args ...any) { fmt.Fprintf(w, "           %s\n", fmt.Sprintf(format, args...)) }
	if c := d.Counts; c != nil {
		if c.Changed > 0 {
			line("%s changed: %s", rowsOr(c.Changed, "row"), runs(d.Changed, c.Changed))
		}
		if d.ChangedNow != nil {
			line("         now: %s", runs(d.ChangedNow, c.Changed))
		}
		if c.Removed > 0 {
			line("%s removed: %s", rowsOr(c.Removed, "row"), runs(d.Removed, c.Removed))
		}
		if c.Added > 0 {
			line("%s added: %s", rowsOr(c.Added, "row"), runs(d.Added, c.Added))
		}
		if c.Moved > 0 {
			line("of these, %d only moved", c.Moved)
		}
	}
	if d.BlockCount > 0 {
		line("%s of 64 KiB changed: %s", rowsOr(d.BlockCount, "block"), runs(d.Blocks, d.BlockCount))
	}
	if d.Note != "" {
		line("%s", d.Note)
	}
}
