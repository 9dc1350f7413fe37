package main

import (
	"fmt"
	"strings"

	"github.com/pavise/pavise/bench/result"
)

// report puts the run into words.
func report(tables []*comparison, rounds, millis int, sizes, conditions string) string {
	var b strings.Builder
	b.WriteString("## Authorization: one decision\n\n")
	fmt.Fprintf(&b, "Made by `cd bench && go run ./policy --rounds %d --millis %d --sizes %s --write`.\n\n", rounds, millis, sizes)
	t := result.NewTable("policies", "engine", "CPU ns, median", "min", "B", "allocations", "× Pavise", "× Pavise, nothing kept")
	for _, c := range tables {
		for _, e := range c.engines {
			median, least := result.Summary(c.samples[e.Name()])
			t.Row(fmt.Sprint(c.policies), e.Name(), fmt.Sprintf("%.0f", median.CPU), fmt.Sprintf("%.0f", least), fmt.Sprintf("%.0f", median.Bytes),
				fmt.Sprintf("%.0f", median.Allocs), fmt.Sprintf("%.1f", median.CPU/c.median(keeps)), fmt.Sprintf("%.1f", median.CPU/c.median(forgets)))
		}
	}
	fmt.Fprintf(&b, "%s\n%s\n%s\n%s\nConditions:\n\n%s", t, verdict(tables), judged(tables), meaning(tables), conditions)
	return b.String()
}

// verdict compares Pavise with OPA at its best, and with itself over fewer policies.
func verdict(tables []*comparison) string {
	t := result.NewTable("policies", "OPA at its best", "× Pavise: medians", "minima", "× Pavise, nothing kept: medians", "minima", "Pavise against fewest policies")
	for _, c := range tables {
		name, best, least := c.bestOPA()
		kept, keptLeast := result.Summary(c.samples[keeps])
		fresh, freshLeast := result.Summary(c.samples[forgets])
		t.Row(fmt.Sprint(c.policies), name, times(best/kept.CPU), times(least/keptLeast), times(best/fresh.CPU), times(least/freshLeast),
			fmt.Sprintf("%.2f, nothing kept %.2f", kept.CPU/tables[0].median(keeps), fresh.CPU/tables[0].median(forgets)))
	}
	return t.String()
}

// goal is how many times faster than OPA at its best a decision is to be.
const goal = 10

// judged says for both of Pavise's rows whether the goal was met.
func judged(tables []*comparison) string {
	var parts []string
	for _, name := range []string{keeps, forgets} {
		met := "met"
		var ratios []string
		for _, c := range tables {
			_, best, _ := c.bestOPA()
			ratio := best / c.median(name)
			if ratio < goal {
				met = "**not met**"
			}
			ratios = append(ratios, fmt.Sprintf("%.1f", ratio))
		}
		parts = append(parts, fmt.Sprintf("%s: %s, %s", name, strings.Join(ratios, ", "), met))
	}
	return fmt.Sprintf("Goal: ≥ %d × OPA at its best, by medians. %s.\n", goal, strings.Join(parts, ". "))
}

func times(ratio float64) string { return fmt.Sprintf("**%.1f**", ratio) }

func (c *comparison) median(name string) float64 {
	median, _ := result.Summary(c.samples[name])
	return median.CPU
}

// bestOPA returns the style in which OPA's median was the least, and its least time.
func (c *comparison) bestOPA() (name string, median, least float64) {
	for _, e := range c.engines {
		if _, ok := e.(*opa); !ok {
			continue
		}
		if m, l := result.Summary(c.samples[e.Name()]); name == "" || m.CPU < median {
			name, median, least = e.Name(), m.CPU, l
		}
	}
	return name, median, least
}

func meaning(tables []*comparison) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d questions of one business unit, the same for every number of policies", asks)
	for _, c := range tables {
		fmt.Fprintf(&b, "; under %d policies and %d guardrails %d are allowed", c.policies, c.fences, c.allowed)
	}
	b.WriteString(". Every engine gave each the same answer before anything was timed.\n\n" +
		"**Pavise** decides as the guard does: it keeps decisions, by who asks, the verb and the thing with all that is known of it, " +
		"unless a policy looks at the time; these questions all fit into what it keeps. **Nothing kept** is its index alone, as at the first question of each kind. " +
		"Both are given the principal, the verb and the name, and look up what policies see of them; " +
		"cedar-go and OPA get entities and inputs that were made beforehand. Pavise, cedar-go and the first of OPA's styles know which policies decided; " +
		"the others of OPA know the decision alone.\n")
	for _, c := range tables {
		if len(c.skipped) > 0 {
			fmt.Fprintf(&b, "\nNot tried with %d policies, since to prepare it takes minutes: OPA, %s.\n", c.policies, strings.Join(c.skipped, "; OPA, "))
		}
	}
	return b.String()
}
