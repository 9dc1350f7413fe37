package anomaly

import (
	"math"
	"slices"
)

// What a Volume remembers.
const (
	weekHours    = 7 * 24
	weeksKept    = 8             // of each hour of the week
	weeksLearnt  = 2             // before anything is said
	residuals    = 2 * weekHours // of which the scatter is taken
	leastScatter = 0.05          // of logarithms: an hour is 5 % off without a reason
)

// From where on a Volume speaks, in robust standard deviations.
const (
	suddenly  = 7.0 // of one hour
	smoothing = 0.3 // the weight of the newest hour among those before it
	lately    = 6.0 // of the smoothed hours
	slack     = 1.0 // that an hour may be off and count nothing towards a creep
	creeping  = 12.0
)

// A Change says in what way a feed changed.
type Change string

// The changes, with the hours that it takes until they are told. Nothing is told in the first
// two weeks; what lasts for five is the new rule.
const (
	NoChange Change = ""
	Burst    Change = "burst"     // far more at once: within the hour
	Silence  Change = "silence"   // nothing, or far less, at once: within the hour
	Rise     Change = "rise"      // more, and it stays: within some three hours
	Fall     Change = "fall"      // less, likewise
	CreepUp  Change = "creep up"  // a little more each day: within two weeks, for two in a hundred a day
	CreepOff Change = "creep off" // a little less, likewise
)

// A Volume watches how much a feed brings each hour: records, bytes, or different values of a
// field. It knows each hour of the week by the median of eight weeks, holds the hour to it by
// its logarithm, smooths what is left (EWMA; Roberts, Technometrics 1959), and adds it up for
// what creeps (CUSUM; Page, Biometrika 1954). It is for one goroutine.
type Volume struct {
	weeks    [weekHours][]float64 // logarithms, the newest last
	hours    int
	off      []float64 // what the last hours were off, in what chance makes, the newest last
	scatter  float64   // of them, as it was at the last midnight
	smooth   float64
	up, down float64 // what crept so far
}

// An Off says how an hour compares with what was expected.
type Off struct {
	Change   Change
	Expected float64
	Score    float64 // robust standard deviations, of the hour, smoothed, or added up
}

// Observe takes what one hour brought; hours follow each other, and one in which nothing came
// is 0. The hour of the week is from 0 to 167, in the feed's own reckoning.
func (v *Volume) Observe(hourOfWeek int, amount float64) Off {
	slot := &v.weeks[((hourOfWeek%weekHours)+weekHours)%weekHours]
	said := Off{}
	if !(amount > 0) { // what is no amount is none
		amount = 0
	}
	seen := math.Log1p(min(amount, 1e300))
	if len(*slot) > 0 {
		said = v.judge(*slot, seen)
	}
	if *slot = append(*slot, seen); len(*slot) > weeksKept {
		*slot = slices.Delete(*slot, 0, 1)
	}
	if v.hours++; v.hours <= weeksLearnt*weekHours {
		v.smooth, v.up, v.down = 0, 0, 0
		said.Change, said.Score = NoChange, 0
	}
	return said
}

// judge compares an hour with the same hours of other weeks.
func (v *Volume) judge(slot []float64, seen float64) Off {
	usual := medianOf(slot)
	expected := math.Expm1(usual)
	chance := max(leastScatter, 1/math.Sqrt(expected+1)) * math.Sqrt(1+math.Pi/2/float64(len(slot)))
	off := (seen - usual) / chance
	if len(v.off) >= weekHours && v.hours%24 == 0 { // it changes slowly, and takes sorting
		v.scatter = max(1, 1.4826*medianDistance(v.off))
	}
	if v.off = append(v.off, off); len(v.off) > residuals {
		v.off = slices.Delete(v.off, 0, 1)
	}
	z := off / max(1, v.scatter)
	clipped := max(-suddenly, min(suddenly, z))
	v.smooth += smoothing * (clipped - v.smooth)
	v.up, v.down = max(0, v.up+min(clipped, 3)-slack), max(0, v.down-max(clipped, -3)-slack)
	return v.say(expected, z)
}

// say names what is furthest off.
func (v *Volume) say(expected, z float64) Off {
	smooth := v.smooth / math.Sqrt(smoothing/(2-smoothing))
	switch {
	case z > suddenly:
		return Off{Burst, expected, z}
	case z < -suddenly:
		return Off{Silence, expected, z}
	case smooth > lately:
		return Off{Rise, expected, smooth}
	case smooth < -lately:
		return Off{Fall, expected, smooth}
	case v.up > creeping:
		score := v.up
		v.up = 0
		return Off{CreepUp, expected, score}
	case v.down > creeping:
		score := v.down
		v.down = 0
		return Off{CreepOff, expected, -score}
	}
	return Off{Expected: expected}
}

// medianOf is the middle of the values, in any order.
func medianOf(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// medianDistance is the median distance from the median.
func medianDistance(values []float64) float64 {
	middle := medianOf(values)
	away := make([]float64, len(values))
	for i, x := range values {
		away[i] = math.Abs(x - middle)
	}
	return medianOf(away)
}
