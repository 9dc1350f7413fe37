package learn

import "fmt"

// A Confusion counts predictions: Confusion[t][p] is the number of rows of
// class t that were taken for class p.
type Confusion [][]int

// Confuse counts the predicted class of each row against its true one. Both
// slices hold class indices below classes and have one length; otherwise the
// error is of kind Invalid.
func Confuse(classes int, truth, predicted []int) (Confusion, error) {
	if len(truth) != len(predicted) {
		return nil, invalid(fmt.Sprintf("%d true classes for %d predictions", len(truth), len(predicted)), "")
	}
	c := make(Confusion, classes)
	for t := range c {
		c[t] = make([]int, classes)
	}
	for i, t := range truth {
		p := predicted[i]
		if min(t, p) < 0 || max(t, p) >= classes {
			return nil, invalid(fmt.Sprintf("row %d: class %d predicted as %d, of %d classes", i, t, p, classes), "")
		}
		c[t][p]++
	}
	return c, nil
}

// Accuracy returns the share of rows predicted right, in [0, 1]; 0 of none.
func (c Confusion) Accuracy() float64 {
	right, all := 0, 0
	for t, row := range c {
		right += row[t]
		for _, n := range row {
			all += n
		}
	}
	return share(right, all)
}

// Precision returns the share of rows taken for class k that are of it, in
// [0, 1]; 0 of none.
func (c Confusion) Precision(k int) float64 {
	taken := 0
	for _, row := range c {
		taken += row[k]
	}
	return share(c[k][k], taken)
}

// Recall returns the share of rows of class k that were taken for it, in
// [0, 1]; 0 of none.
func (c Confusion) Recall(k int) float64 {
	there := 0
	for _, n := range c[k] {
		there += n
	}
	return share(c[k][k], there)
}

// F1 returns the harmonic mean of precision and recall of class k, in [0, 1];
// 0 where both are.
func (c Confusion) F1(k int) float64 {
	p, r := c.Precision(k), c.Recall(k)
	if p+r == 0 {
		return 0
	}
	return 2 * p * r / (p + r)
}

// MacroF1 returns the plain mean of F1 over the classes, in [0, 1], so that
// rare classes weigh as much as common ones.
func (c Confusion) MacroF1() float64 {
	sum := 0.0
	for k := range c {
		sum += c.F1(k)
	}
	return sum / float64(max(len(c), 1))
}

func share(part, whole int) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}
