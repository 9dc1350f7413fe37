// Package sybil tells which callers of a model may be one behind several names.
//
// A [Crowd] is the callers of one model. Four things link them: that one person had their
// identities made, that their issuer says they are of one organisation, that they call from
// one network, and that their rows nearly repeat each other's more often than chance has
// it. Those linked in any way are a cluster: it may have a budget of its own. Those linked
// by what they ask are alike: only that is evidence of one hand, for people of one house
// and behind one address are many and honest. Callers too young to be judged alone are
// judged together, in pools: one for each thing that links them.
//
// Links fade when nothing renews them. A crowd is bounded, whoever calls and however much,
// and everything in it is decided by what it is told, in the order in which it is told.
//
// The package is pure: time is what its caller says. A Crowd owns what it was told, and is
// for one goroutine; what [Crowd.Cluster] answers from is for all.
package sybil
