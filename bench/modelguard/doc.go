// Package modelguard holds the firewall's ModelGuard-W, which needs no solver, to one:
// the simplex method of gonum on the linear program that the paper states. It has tests
// only.
package modelguard
