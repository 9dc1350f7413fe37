package compare

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/pavise/pavise/internal/drift"
	"github.com/pavise/pavise/internal/figure"
)

// percent writes a share.
func percent(share float64) string {
	switch p := 100 * share; {
	case p > 0 && p < 0.1:
		return "under 0.1 %"
	case p < 10:
		return strconv.FormatFloat(p, 'f', 1, 64) + " %"
	default:
		return strconv.FormatFloat(p, 'f', 0, 64) + " %"
	}
}

// chance writes a probability, of which the smallest are beyond what numbers can be.
func chance(p float64) string {
	if p < 1e-300 {
		return "under 1e-300"
	}
	return strconv.FormatFloat(p, 'g', 2, 64)
}

// words says in a sentence how a feature is other than it was.
func words(c *column, f *Feature) string {
	base, now := float64(c.base.Rows()), float64(c.now.Rows())
	switch {
	case !f.Enough:
		return fmt.Sprintf("%d rows now, and %d before: too few", uint64(now), uint64(base))
	case c.kind == kindNothing && f.Odd == 0:
		return "there was nothing in it, and there is nothing"
	case c.kind == kindNothing:
		return fmt.Sprintf("%s of it holds something, where there was nothing", percent(f.Odd))
	case f.Cause == drift.ByNulls && f.Effect > 0:
		return fmt.Sprintf("%s of it is missing or no number; %s was", percent(f.Nulls), percent(f.Before))
	case f.Cause == drift.ByKind:
		return fmt.Sprintf("%s of it is of another kind than %s; %s was", percent(f.Odd), c.kind, percent(float64(c.base.Odd)/base))
	case f.Cause == drift.ByUnseen && c.kind == drift.Number:
		edges := c.references.Edges()
		return fmt.Sprintf("%s of its numbers are outside of %s to %s, where all were", percent(f.Unseen), short(above(edges[0])), short(edges[len(edges)-1]))
	case f.Cause == drift.ByUnseen:
		return fmt.Sprintf("%s of its values are such as the baseline never had", percent(f.Unseen))
	case c.kind == drift.Number:
		return shifted(c)
	case c.kind == drift.Category:
		return swapped(c)
	}
	return "it is as it was"
}

func above(x float64) float64 { return math.Nextafter(x, math.Inf(1)) }

func short(x float64) string { return strconv.FormatFloat(x, 'g', 4, 64) }

// shifted says where the distribution functions of a column of numbers are farthest apart.
func shifted(c *column) string {
	n, m := float64(c.base.Held()), float64(c.now.Held())
	if n == 0 || m == 0 {
		return "it is as it was"
	}
	edges := c.references.Edges()
	var x, y, was, is float64
	at := 0
	for i := range edges {
		x, y = x+float64(c.base.Bins[i])/n, y+float64(c.now.Bins[i])/m
		if i == 0 || math.Abs(x-y) > math.Abs(was-is) {
			was, is, at = x, y, i
		}
	}
	return fmt.Sprintf("%s of its numbers are at most %s; %s were", percent(is), short(edges[at]), percent(was))
}

// swapped says which category changed its share most.
func swapped(c *column) string {
	n, m := float64(c.base.Held()), float64(c.now.Held())
	if n == 0 || m == 0 || len(c.categories.Names) == 0 {
		return "it is as it was"
	}
	most, at := -1.0, 0
	for i := range c.categories.Names {
		if d := math.Abs(float64(c.base.Bins[i])/n - float64(c.now.Bins[i])/m); d > most {
			most, at = d, i
		}
	}
	return fmt.Sprintf("%q is %s of its values, and was %s", figure.Clip(c.categories.Names[at], 40), percent(float64(c.now.Bins[at])/m), percent(float64(c.base.Bins[at])/n))
}

// steps is how many bars a picture has.
const steps = 16

// bars are the shares of the bins of both files, put together to a few.
func bars(c *column) (was, is []float64) {
	bins := c.bins()
	if c.kind == drift.Category {
		bins = min(len(c.categories.Names), steps-2)
	} else if c.kind != drift.Number {
		return nil, nil
	}
	n, m := max(float64(c.base.Held()), 1), max(float64(c.now.Held()), 1)
	groups := min(bins, steps)
	if groups == 0 {
		return nil, nil
	}
	was, is = make([]float64, groups), make([]float64, groups)
	for i := range bins {
		was[i*groups/bins] += float64(c.base.Bins[i]) / n
		is[i*groups/bins] += float64(c.now.Bins[i]) / m
	}
	if c.kind == drift.Category { // the rest, and what is new, have a bar each
		rest := func(h *drift.Histogram, all float64) (rest, fresh float64) {
			for _, k := range h.Bins[bins : drift.MaxBins-1] {
				rest += float64(k) / all
			}
			return rest, float64(h.Bins[drift.MaxBins-1]) / all
		}
		a, b := rest(&c.base, n)
		x, y := rest(&c.now, m)
		was, is = append(was, a, b), append(is, x, y)
	}
	return was, is
}

// shownStable is how many features that did not move are listed.
const shownStable = 5

// Print implements what commands print.
func (r *Result) Print(w io.Writer) {
	fmt.Fprintf(w, "%s: %s\n", r.Verdict, r.Why)
	fmt.Fprintf(w, "  baseline  %s, %s rows\n  now       %s, %s rows\n", figure.OneLine(r.Baseline.File, 200), figure.Thousands(r.Baseline.Rows),
		figure.OneLine(r.Current.File, 200), figure.Thousands(r.Current.Rows))
	stable := 0
	for i := range r.Features {
		f := &r.Features[i]
		if f.Verdict != Moved {
			if stable++; stable > shownStable {
				continue
			}
		}
		name := figure.OneLine(f.Name, 60)
		if f.Label {
			name += " (label)"
		}
		fmt.Fprintf(w, "\n  %-10s  %s\n", f.Verdict, name)
		if f.Enough {
			most := 0.0
			for i := range f.Was {
				most = max(most, f.Was[i], f.Is[i])
			}
			if most > 0 {
				fmt.Fprintf(w, "              was │%s│\n              is  │%s│\n", figure.Spark(f.Was, most), figure.Spark(f.Is, most))
			}
			fmt.Fprintf(w, "              p %s, q %s, effect %.2f of what matters (js %.3f", chance(f.P), chance(f.Q), f.Effect, f.JS)
			if f.Kind == drift.Number {
				fmt.Fprintf(w, ", ks %.3f", f.KS)
			}
			fmt.Fprintf(w, ", psi %.3f)\n", f.PSI)
		}
		fmt.Fprintf(w, "              %s\n", figure.OneLine(f.Words, 300))
	}
	if more := stable - shownStable; more > 0 {
		fmt.Fprintf(w, "\n  and %s more that did not move\n", figure.Count(more, "column"))
	}
	for _, named := range []struct {
		names []string
		what  string
	}{{r.Missing, "missing"}, {r.Added, "new"}} {
		if len(named.names) > 0 {
			fmt.Fprintf(w, "\n  %-10s  %s\n", named.what, figure.OneLine(strings.Join(named.names, ", "), 400))
		}
	}
	fmt.Fprintf(w, "\n%d of %d columns moved; recorded: false\n", r.Moved, len(r.Features))
}
