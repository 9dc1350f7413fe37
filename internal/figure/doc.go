// Package figure is how pages write and draw: texts that attackers chose made safe for
// a line, numbers and times as people read them, the difference of two texts, Cedar in
// colours, the picture of a proof, and what comes from what.
//
// It is pure: it knows no page, no clock and no disk, and owns no state.
package figure
