package main

import (
	"fmt"
	"slices"
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
			median, least, bytes, allocs := summary(c.samples[e.Name()])
			t.Row(fmt.Sprint(c.policies), e.Name(), fmt.Sprintf("%.0f", median), fmt.Sprintf("%.0f", least), fmt.Sprintf("%.0f", bytes),
				fmt.Sprintf("%.0f", allocs), fmt.Sprintf("%.1f", median/c.median(keeps)), fmt.Sprintf("%.1f", median/c.median(forgets)))
		}
	}
	fmt.Fprintf(&b, "%s\n%s\n%s\nConditions:\n\n%s", t, verdict(tables), meaning(tables), conditions)
	return b.String()
}

// verdict compares Pavise with OPA at its best, and with itself over fewer policies.
func verdict(tables []*comparison) string {
	t := result.NewTable("policies", "OPA at its best", "× Pavise: medians", "minima", "× Pavise, nothing kept: medians", "minima", "Pavise against fewest policies")
	for _, c := range tables {
		name, best, least := c.bestOPA()
		kept, keptLeast, _, _ := summary(c.samples[keeps])
		fresh, freshLeast, _, _ := summary(c.samples[forgets])
		t.Row(fmt.Sprint(c.policies), name, times(best/kept), times(least/keptLeast), times(best/fresh), times(least/freshLeast),
			fmt.Sprintf("%.2f, nothing kept %.2f", kept/tables[0].median(keeps), fresh/tables[0].median(forgets)))
	}
	return t.String()
}

func times(ratio float64) string { return fmt.Sprintf("**%.1f**", ratio) }

// summary returns the medians of what was measured, and the least processor time.
func summary(samples []sample) (median, least, bytes, allocs float64) {
	var cpu, size, count []float64
	for _, s := range samples {
		cpu, size, count = append(cpu, s.cpu), append(size, s.bytes), append(count, s.allocs)
	}
	return result.Median(cpu), slices.Min(cpu), result.Median(size), result.Median(count)
}

func (c *comparison) median(name string) float64 {
	median, _, _, _ := summary(c.samples[name])
	return median
}

// bestOPA returns the style in which OPA's median was the least, and its least time.
func (c *comparison) bestOPA() (name string, median, least float64) {
	for _, e := range c.engines {
		if _, ok := e.(*opa); !ok {
			continue
		}
		if m, l, _, _ := summary(c.samples[e.Name()]); name == "" || m < median {
			name, median, least = e.Name(), m, l
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
		"unless a policy looks at the time. **Nothing kept** is its index alone, as at the first question of each kind. " +
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
