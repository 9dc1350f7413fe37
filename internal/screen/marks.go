package screen

import (
	"fmt"
	"io"

	"github.com/pavise/pavise/internal/verbs"
)

// printMarks says what there is to prove a copy with. The files themselves are for --json.
func printMarks(w io.Writer, g verbs.MarksGiven) {
	if len(g.Keys) == 0 {
		fmt.Fprintf(w, "no answer of %s was ever marked here; pavise route put --mark has callers in amber be given marks\n", g.Model)
	}
	for _, k := range g.Keys {
		fmt.Fprintf(w, "key %s: %s and controls", k.Commitment, Count(k.Rows, "mark"))
		if k.Erased > 0 {
			fmt.Fprintf(w, ", and %s whose marks went with the keys of people", Count(k.Erased, "answer"))
		}
		if k.Unread > 0 {
			fmt.Fprintf(w, ", and %s whose marks lay in records that are not here any more", Count(k.Unread, "answer"))
		}
		if k.More {
			fmt.Fprint(w, ", and more than one file holds")
		}
		fmt.Fprintln(w)
	}
}
