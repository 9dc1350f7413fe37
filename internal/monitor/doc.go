// Package monitor says whether models still answer what they answered: it holds what comes in
// and goes out, window by window, to baselines, and says what is the cause when it has moved.
//
// The gateway hands over each answered exchange without waiting; what is too much is dropped and
// counted. One goroutine counts what waits, in windows of five minutes, an hour and a day. Each
// window is held to the baseline in force and to the first that there ever was, so that one
// that is walked away step by step is found.
//
// A bad version and shifted traffic look alike in the outputs, and take opposite answers. A
// version is called bad, and the one before brought back, only when inputs are as they were,
// the outputs moved when it began to answer (or the one before, asked the same, answers as it
// did), and all that holds with those callers left out who make most of it. Inputs that moved
// are traffic: callers who make the shift are slowed down, people look at retraining, and no
// version is rolled back, or whoever shifts what they ask could downgrade a model at will.
//
// The package owns the baselines, which lie sealed in the store, the counts of the windows, and
// its verdicts. What it has done to routes and callers is others' to do: see House.
package monitor
