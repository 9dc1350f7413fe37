// Package pace says when answers leave and in what sizes, so that neither tells what the
// model did: a ladder of deadlines for answers, and a beat with size classes for streams.
//
// The package is pure: no clock, no disk, no network, no goroutine. It owns nothing.
package pace
