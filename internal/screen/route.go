package screen

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/figure"
	"github.com/pavise/pavise/internal/firewall"
	"github.com/pavise/pavise/internal/route"
	"github.com/pavise/pavise/internal/tensor"
	"github.com/pavise/pavise/internal/verbs"
)

// routeColumns are the heads of the table of routes.
var routeColumns = []string{"MODEL", "PROTOCOL", "BEHIND IT", "ANSWERS", "BASELINE", "EACH CALLER", "BUDGET", "MODEL BUDGET", "MODE"}

// printRoutes prints a line for each route, or, where the terminal is too narrow for that,
// a few lines.
func printRoutes(w io.Writer, l verbs.RouteList) {
	var table strings.Builder
	tw := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	head := make([]any, len(routeColumns))
	for i, name := range routeColumns {
		head[i] = name
	}
	row(tw, head...)
	for _, r := range l.Routes {
		row(tw, routeCells(r)...)
	}
	tw.Flush()
	if most := columnsOf(w); most == 0 || widest(table.String()) <= most {
		io.WriteString(w, table.String())
		return
	}
	for _, r := range l.Routes {
		cells := routeCells(r)
		row(w, cells[0])
		tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for i, cell := range cells[1:] {
			row(tw, "  "+strings.ToLower(routeColumns[i+1]), cell)
		}
		tw.Flush()
	}
}

func routeCells(r route.Standing) []any {
	protocol, answers := cmp.Or(r.Protocol, tensor.NameOIP), fmt.Sprint(r.Shape)
	if r.ONNX != "" {
		protocol = "-"
	}
	if r.Protocol == tensor.NameOpenAI {
		answers = "by tier"
	}
	return []any{
		r.Model, protocol, behindAll(r), answers, baseline(r.Route),
		limit(r.Terms.Rate), limit(r.Terms.Budget), limit(r.Terms.ModelBudget), standing(r),
	}
}

// baseline says whether the inputs of a route are held to one, and what follows.
func baseline(r route.Route) string {
	if r.Drift == nil {
		return "none"
	}
	return Count(len(r.Drift.Features), "column") + ", " + r.Drift.Then
}

// widest is how many characters the longest line has.
func widest(text string) (most int) {
	for line := range strings.SplitSeq(text, "\n") {
		most = max(most, len([]rune(strings.TrimRight(line, " "))))
	}
	return most
}

func printRoute(w io.Writer, p route.Placed) {
	r := p.Route
	fmt.Fprintf(w, "%s: %s, answers %s, %s, budget %s, %s", r.Model, behindAll(route.Standing{Route: r}), r.Shape, limit(r.Terms.Rate), budget(r), bounds(r))
	if r.Calibration != "" {
		fmt.Fprintf(w, ", callers held to the calibration %.19s, in amber %s", r.Calibration, r.Amber)
	}
	if m := mode(r); m != enforced {
		fmt.Fprintf(w, ", %s", m)
	}
	fmt.Fprintln(w)
}

func printDeleted(w io.Writer, req *verbs.RouteDelete, _ api.Empty) {
	fmt.Fprintf(w, "%s: no route leads to it any more\n", req.Name)
}

// bounds says whether the gate knows which values an input may have.
func bounds(r route.Route) string {
	if r.Protocol == tensor.NameOpenAI {
		return "a language model: fields by the tier of the caller"
	}
	n := 0
	for _, port := range r.Signature.Inputs {
		for _, c := range port.Columns {
			if c.Min != nil || c.Max != nil {
				n++
			}
		}
	}
	if n == 0 {
		return "no bounds on values"
	}
	return "bounds on " + Count(n, "column")
}

// budget is that of each caller; of one in bits it says how many rows those are.
func budget(r route.Route) string {
	text := limit(r.Terms.Budget)
	if limits, err := r.Limits(); err == nil && r.Terms.Budget.Bits {
		text += ", which is " + Count(limits.Budget.Count, "row")
	}
	return text
}

// limit is a rate as route put takes it: 1200/1m burst 300. A burst of the whole
// Count goes without saying.
func limit(r firewall.Rate) string {
	if r.Count == 0 {
		return "none"
	}
	text := fmt.Sprintf("%d/%s", r.Count, figure.Span(r.Per))
	if r.Bits {
		text = fmt.Sprintf("%d bits/%s", r.Count, figure.Span(r.Per))
	}
	if r.Burst != r.Count {
		text += fmt.Sprintf(" burst %d", r.Burst)
	}
	return text
}

func behind(r route.Route) string {
	if r.ONNX != "" {
		return "onnx " + r.ONNX[:min(len(r.ONNX), 19)] + r.Aside()
	}
	return r.Upstream
}

// fewServers is how many servers of a route a list names.
const fewServers = 3

// behindAll says what answers on a route in a list: its servers if they are few, else how
// many there are, how many of them are out, and whether a shadow hears it.
func behindAll(r route.Standing) string {
	text, out := behind(r.Route), 0
	few := len(r.Replicas) < fewServers
	for _, s := range r.Replicas {
		if few {
			text += " " + s.URL
		}
	}
	for _, s := range r.Servers {
		if s.Out && !s.Leaving {
			out++
		}
	}
	if n := len(r.Replicas); n > 0 {
		text += fmt.Sprintf(", %d servers", n+1)
	}
	if out > 0 {
		text += fmt.Sprintf(", %d out", out)
	}
	if r.Remote != "" && r.Remote != r.Model.ID {
		text = r.Remote + " at " + text
	}
	if r.Shadow != "" || r.ShadowONNX != "" {
		text += ", with a shadow"
	}
	return text
}

// enforced is the mode of a route that nobody made otherwise.
const enforced = "enforce"

func mode(r route.Route) string {
	words := []string{enforced}
	if r.Observe {
		words[0] = "observe"
	}
	if r.Durable {
		words = append(words, "durable")
	}
	if r.Alterable {
		words = append(words, "alterable")
	}
	if !r.Ladder.IsZero() {
		words = append(words, "ladder "+r.Ladder.String())
	}
	if r.Pace != 0 {
		words = append(words, "pace "+r.Pace.String())
	}
	if !r.Embeddings.IsZero() {
		words = append(words, "embeddings "+r.Embeddings.String())
	}
	return strings.Join(words, ", ")
}
