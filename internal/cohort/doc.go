// Package cohort tells which of several like pods writes another log than its siblings: one
// whose lines are cut, wrapped twice or run together, or that lost a kind of line on the way.
// Pods of one service run one program, so their logs are made of the same templates in like
// shares; whatever is done to all of them at once it cannot see.
//
// It owns the templates and counts of each [Cohort], bounded as those of package template. It
// knows no files and no clock.
package cohort
