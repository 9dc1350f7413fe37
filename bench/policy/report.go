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
	t := result.NewTable("policies", "engine", "CPU ns, median", "min", "B", "allocations", "against Pavise's median")
	for _, c := range tables {
		for _, e := range c.engines {
			s := c.samples[e.Name()]
			median, least, bytes, allocs := summary(s)
			t.Row(fmt.Sprint(c.policies), e.Name(), fmt.Sprintf("%.0f", median), fmt.Sprintf("%.0f", least),
				fmt.Sprintf("%.0f", bytes), fmt.Sprintf("%.0f", allocs), fmt.Sprintf("%.1f ×", median/c.median(c.engines[0].Name())))
		}
	}
	fmt.Fprintf(&b, "%s\n", t)
	for _, c := range tables {
		name, best := c.bestOPA()
		fmt.Fprintf(&b, "%d policies: OPA at its best (%s) takes **%.1f ×** what Pavise does.\n", c.policies, name, best/c.median(c.engines[0].Name()))
	}
	fmt.Fprintf(&b, "\n%s\nConditions:\n\n%s", meaning(tables), conditions)
	return b.String()
}

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

// bestOPA returns the style in which OPA was fastest, and its median.
func (c *comparison) bestOPA() (name string, median float64) {
	for _, e := range c.engines {
		if _, ok := e.(*opa); !ok {
			continue
		}
		if m := c.median(e.Name()); name == "" || m < median {
			name, median = e.Name(), m
		}
	}
	return name, median
}

func meaning(tables []*comparison) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d questions, the same for every number of policies", asks)
	for _, c := range tables {
		fmt.Fprintf(&b, "; of %d policies, and %d guardrails before them, %d are allowed", c.policies, c.fences, c.allowed)
	}
	b.WriteString(". Every engine gave each the same answer before anything was timed.\n\n")
	b.WriteString("Pavise is given the principal, the verb and the name, looks its entities up and builds what is asked; " +
		"cedar-go and OPA get entities and inputs that were made beforehand. Pavise, cedar-go and OPA's first style know which policies decided, " +
		"OPA's other styles the decision alone.\n")
	return b.String()
}
