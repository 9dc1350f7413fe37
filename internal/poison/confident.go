package poison

import (
	"fmt"
	"math"
	"slices"
)

// Confident returns which labels are issues by confident learning (Northcutt, Jiang and
// Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", 2021): rows that
// are, by probabilities of a model that did not see them, confidently of another class. A
// class is confident from the mean probability on that its own rows have of it. The shares
// are by row, classes numbers each.
func Confident(label []int, shares []float32, classes int) []bool {
	limits := confidence(label, shares, classes)
	issues := make([]bool, len(label))
	for i, y := range label {
		p := shares[i*classes : (i+1)*classes]
		guess, n, top := -1, 0, 0
		for k, s := range p {
			if float64(s) >= limits[k]-1e-6 {
				if n++; guess < 0 {
					guess = k
				}
			}
			if s > p[top] {
				top = k
			}
		}
		if n > 1 {
			guess = top
		}
		issues[i] = guess >= 0 && guess != y && top != y
	}
	return issues
}

// confidence returns the mean probability of each class among its own rows.
func confidence(label []int, shares []float32, classes int) []float64 {
	sum, n := make([]float64, classes), make([]float64, classes)
	for i, y := range label {
		sum[y] += float64(shares[i*classes+y])
		n[y]++
	}
	for k := range sum {
		sum[k] = max(sum[k]/max(n[k], 1), 2e-6)
	}
	return sum
}

// Bounds on what a label is held to.
const (
	fewRows   = 20   // of a class: of fewer no model learns what it is
	muchAlike = 0.25 // share of a class that is nearly one row: what did not see it did not see the class
)

// fair takes back what evidence against labels owes to the class and not to the row: that
// of classes with few rows, that of rows of which a large share of the class are twins, and
// as much as half of the class have, where it is hard to tell from others.
func (v *View) fair(evidence []float32) {
	for _, rows := range v.members {
		if len(rows) == 0 {
			continue
		}
		own := make([]float32, len(rows))
		twins := map[int32]int{}
		for k, i := range rows {
			own[k] = evidence[i]
			twins[v.twin[i]]++
		}
		slices.Sort(own)
		usual := max(own[len(own)/2], 0)
		for _, i := range rows {
			if len(rows) < fewRows || float64(twins[v.twin[i]]) >= muchAlike*float64(len(rows)) {
				evidence[i] = 0
			} else {
				evidence[i] -= usual
			}
		}
	}
}

// labels is the screen of labels by confident learning.
func (v *View) labels() Finding {
	const screen = "labels"
	if len(v.classes) < 2 || len(v.features) == 0 || v.all < 20 {
		return silent(screen, "it takes two classes and 20 rows")
	}
	target := make([]int32, v.all)
	for i, y := range v.label {
		target[i] = int32(y)
	}
	classes := len(v.classes)
	shares := heldOut(v, target, classes, 2, nil, v.rng(screen))
	f := Finding{Screen: screen, Evidence: make([]float32, v.all), Bounded: true, Odds: true, Limit: 3.2}
	guess := make([]int, v.all)
	for i, y := range v.label {
		p := shares[i*classes : (i+1)*classes]
		top := -1
		for k, s := range p {
			if k != y && (top < 0 || s > p[top]) {
				top = k
			}
		}
		const least = 0.5 / treesHeld
		guess[i] = top
		f.Evidence[i] = float32(math.Log(float64(p[top])+least) - math.Log(float64(p[y])+least))
	}
	v.fair(f.Evidence)
	issues := 0
	for _, issue := range Confident(v.label, shares, classes)[:v.rows] {
		if issue {
			issues++
		}
	}
	f.Remarks = append(f.Remarks, fmt.Sprintf("by the rule of confident learning alone, %d labels would be issues", issues))
	f.Reason = func(i int) string {
		return fmt.Sprintf("rows like it are %q: a model that did not see it gives that %.0f %%, and %q, which it is called, %.0f %%",
			v.classes[guess[i]], 100*shares[i*classes+guess[i]], v.classes[v.label[i]], 100*shares[i*classes+v.label[i]])
	}
	return f
}
