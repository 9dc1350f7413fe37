package upstream

import (
	"errors"
	"strings"
	"time"

	"github.com/pavise/pavise"
)

// A Reason says why a call brought no answer. It is a metric label.
type Reason int

// The reasons.
const (
	Unreachable Reason = iota // no connection came about, or its TLS did not
	Slow                      // a timeout passed
	Broken                    // the connection ended before the answer did
	Malformed                 // the answer is not the HTTP that is taken
	TooLarge                  // the answer is longer than the caller takes
	Full                      // a circuit breaker: too much is asked already
	Gone                      // the caller went away
	Closed                    // the cluster takes no calls any more
	Unwritable                // the request is none that can be written
	reasons                   // how many there are
)

// words are what a Reason is called, and what it says of the server, in the order
// of the reasons.
var words = [reasons]struct{ label, what string }{
	Unreachable: {"unreachable", "does not answer"},
	Slow:        {"slow", "did not answer in time"},
	Broken:      {"broken", "broke off its answer"},
	Malformed:   {"malformed", "answered in a form other than the protocol's"},
	TooLarge:    {"too_large", "answered with more bytes than are taken"},
	Full:        {"full", "has more requests waiting than it is given"},
	Gone:        {"gone", "was not waited for: the caller went away"},
	Closed:      {"closed", "is being taken out of service"},
	Unwritable:  {"unwritable", "was not asked"},
}

// String returns the metric label, for example "slow".
func (r Reason) String() string { return words[r].label }

// A Fault is the cause inside each error of this package: for our logs, and for
// who words the error anew. It never reaches a caller.
type Fault struct {
	Reason   Reason
	Endpoint string        // URL of the last one that was tried; may be empty
	Wait     time.Duration // when to come again: Retry-After; 0: not known
	Err      error         // may be nil
}

// Error says what happened, for logs.
func (f *Fault) Error() string {
	text := f.Reason.String()
	if f.Endpoint != "" {
		text += " at " + f.Endpoint
	}
	if f.Err != nil {
		text += ": " + f.Err.Error()
	}
	return text
}

// Unwrap returns the cause.
func (f *Fault) Unwrap() error { return f.Err }

// What says it of the server, for people: "does not answer".
func (f *Fault) What() string { return words[f.Reason].what }

// FaultOf returns the fault inside an error of this package, or nil.
func FaultOf(err error) *Fault {
	f, _ := errors.AsType[*Fault](err)
	return f
}

// fault is an error for the caller. What the server said is only in its cause.
func (c *Cluster) fault(f *Fault) error {
	c.faults[f.Reason].Add(1)
	if e, ok := errors.AsType[*pavise.Error](f.Err); ok && f.Reason == Unwritable {
		return e
	}
	e := &pavise.Error{
		Kind: pavise.Unavailable,
		Msg:  "the model server " + strings.TrimLeft(c.o.Name+" ", " ") + f.What(),
		Hint: "retry; if it stays so, the operator should look at the server behind the route",
		Err:  f,
	}
	if f.Reason == Full {
		e.Kind, e.Hint = pavise.Throttled, "wait as long as Retry-After says; the operator can raise the bounds of the route's servers"
	}
	return e
}

// failed makes a Fault of what went wrong at an endpoint.
func failed(r Reason, e *endpoint, err error) *Fault {
	f, ok := errors.AsType[*Fault](err)
	if !ok {
		f = &Fault{Reason: r, Err: err}
	}
	if e != nil {
		f.Endpoint = e.url
	}
	return f
}
