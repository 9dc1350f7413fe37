package theft

import (
	"math"
	"slices"
)

// Traits are what is looked at of each row. What counts of a client is how the traits of
// its rows are spread.
const (
	traitSurprise = iota // the answer could not be foretold
	traitMadeUp          // the row looks as if made of others
	traitMargin          // the row is close to a border of the model
	traitResidual        // it sticks out of what rows differ in
	traitOutside         // it is far from all that were seen
	traits
)

const (
	traitBins  = 32 // into which a trait of a row falls
	traitLeast = -3 // units from the middle: what is further counts as much
	traitMost  = 6
	traitSpan  = traitMost - traitLeast
	traitUnit  = 0.01 // the unit, at least
	traitTells = 6    // numbers that are kept of a trait: its mean, how much so many rows have, and how unlike they are in it
	traitApart = 5    // the place of the last of them
)

// traitShares are the shares of rows that have less of a trait than is kept of it.
var traitShares = [traitApart - 1]float64{0.25, 0.5, 0.75, 0.9}

// A Trait says how much of it known rows of a group have.
type Trait struct {
	Middle float32 `json:"middle"` // half of them have more
	Unit   float32 `json:"unit"`   // so much more has one in ten, at least; above 0
}

// A spread is how much of each trait a client's rows have.
type spread struct {
	sum  [traits]float64
	bins [traits][traitBins]uint16
}

// traits sets dst to what a row has of each, as it is.
func (c *Calibration) traits(dst *[traits]float64, g *glance, a *Asked) {
	dst[traitSurprise], dst[traitMadeUp] = c.Guess.of(c.inputs(g), g.group, &g.room)
	dst[traitMargin] = -math.Log(max(0, marginOf(a.Scores)) + guessLeast)
	dst[traitResidual] = c.Residual.doublings(g.residual)
	dst[traitOutside] = c.Outside.doublings(c.Centers[g.group].Outside(g.point))
}

// fitTraits learns how much of each the rows of the reference have, by group. The unit of a
// group is half of that of all rows at least: where the model is sure of a class, a little
// doubt is still a little.
func (t *trainer) fitTraits(list []*sampledRow, groups []int) {
	c := t.c
	c.Traits = make([][traits]Trait, len(c.Groups)+1)
	of := make([][traits]float64, len(list))
	var g glance
	for i, a := range list {
		c.place(&g, &a.Asked)
		c.traits(&of[i], &g, &a.Asked)
		of[i][traitMargin] = -math.Log(max(0, a.margin) + guessLeast) // the scores themselves were not kept
	}
	for k := range traits {
		byGroup, all := make([][]float64, len(c.Traits)), make([]float64, 0, len(of))
		for i, v := range of {
			byGroup[groups[i]], all = append(byGroup[groups[i]], v[k]), append(all, v[k])
		}
		slices.Sort(all)
		known := traitOf(all)
		for group, own := range byGroup {
			c.Traits[group][k] = known
			if len(own) >= calibrationSample {
				slices.Sort(own)
				c.Traits[group][k] = traitOf(own)
				c.Traits[group][k].Unit = max(c.Traits[group][k].Unit, known.Unit/2)
			}
		}
	}
}

// traitOf is how much of a trait rows have, whose values are in order.
func traitOf(sorted []float64) Trait {
	middle := sorted[len(sorted)/2]
	return Trait{float32(middle), float32(max(sorted[len(sorted)*9/10]-middle, traitUnit))}
}

// add counts the traits of a row.
func (s *spread) add(of *[traits]float64, known *[traits]Trait) {
	for k, v := range of {
		v = (v - float64(known[k].Middle)) / float64(known[k].Unit)
		if !(v > traitLeast) {
			v = traitLeast
		}
		v = min(v, traitMost)
		s.sum[k] += v
		s.bins[k][min(traitBins-1, int((v-traitLeast)*traitBins/traitSpan))]++
	}
}

// tell sets dst to what is kept of the traits of n rows. How unlike they are is the mean square of
// how far they are from the middle: of rows of two kinds it is large, whichever kind is more.
func (s *spread) tell(dst *[traits * traitTells]float64, n float64) {
	for k := range traits {
		out := dst[k*traitTells:][:traitTells]
		out[0] = s.sum[k] / n
		bin, below := 0, 0.0
		for i, share := range traitShares {
			for bin < traitBins-1 && below+float64(s.bins[k][bin]) < share*n {
				below += float64(s.bins[k][bin])
				bin++
			}
			part := (share*n - below) / max(1, float64(s.bins[k][bin]))
			out[1+i] = traitLeast + (float64(bin)+min(1, max(0, part)))*traitSpan/traitBins
		}
		out[traitApart] = 0
		for i, rows := range s.bins[k] {
			apart := traitLeast + (float64(i)+0.5)*traitSpan/traitBins - out[2]
			out[traitApart] += float64(rows) * apart * apart / n
		}
	}
}

// traitBody are the numbers of all traits that say what most of a client's rows are like,
// and traitTold those of which one wants to know whether they follow from that: an honest
// client may have odder rows than others, and then it has them more or less all the time.
// traitMeans are looked at as they are, too: who asks odd rows alone has them all the time.
var traitBody, traitTold, traitMeans = func() (body, told, means []int) {
	for k := range traits {
		body = append(body, k*traitTells+1, k*traitTells+2)
		told = append(told, k*traitTells, k*traitTells+traitApart)
		means = append(means, k*traitTells)
	}
	return body, told, means
}()
