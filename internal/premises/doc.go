// Package premises is what every role with an evidence log of its own stands on: the log
// and what stands around it, the state database, the door, the data plane, where findings
// go, and what says how it all fares. A [House] is opened from the ground up, by the role,
// which knows what it is to be; it keeps running what every house has running, and is
// closed in the order that loses nothing.
//
// It owns the order in which a log is confronted with the clock, with its witnesses and
// with the state database before the first record is written.
package premises
