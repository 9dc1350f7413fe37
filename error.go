package pavise

import (
	"errors"
	"net/http"
)

// A Kind says what sort of failure an Error is. There are eight, and one table
// maps each to its HTTP status, exit code and metric label.
type Kind int

// The kinds. Internal is the zero value: what nobody classified is our fault.
const (
	Internal    Kind = iota // a bug or a broken invariant of ours
	Invalid                 // the request cannot be understood or is out of bounds
	Denied                  // understood, and not allowed
	NotFound                // no such thing, or none that the caller may know of
	Conflict                // the thing changed, or exists already
	Throttled               // too much, too fast; later may work
	Unverified              // a proof is missing or failed
	Unavailable             // cannot be done now: full, closed, away, not writable
)

// kinds is the one table. Index: Kind.
var kinds = [...]struct {
	label  string
	status int
	exit   int
}{
	Internal:    {"internal", http.StatusInternalServerError, 1},
	Invalid:     {"invalid", http.StatusBadRequest, 2},
	Denied:      {"denied", http.StatusForbidden, 3},
	NotFound:    {"notfound", http.StatusNotFound, 4},
	Conflict:    {"conflict", http.StatusConflict, 5},
	Throttled:   {"throttled", http.StatusTooManyRequests, 6},
	Unverified:  {"unverified", http.StatusUnauthorized, 7},
	Unavailable: {"unavailable", http.StatusServiceUnavailable, 8},
}

// String returns the metric label, for example "denied".
func (k Kind) String() string { return kinds[k.known()].label }

// HTTPStatus returns the status an HTTP answer of this kind carries.
func (k Kind) HTTPStatus() int { return kinds[k.known()].status }

// ExitCode returns the code a command that fails this way exits with, 1 to 8.
func (k Kind) ExitCode() int { return kinds[k.known()].exit }

func (k Kind) known() Kind {
	if k < 0 || int(k) >= len(kinds) {
		return Internal
	}
	return k
}

// ParseKind returns the kind with the given label, or Internal.
func ParseKind(label string) Kind {
	for k, row := range kinds {
		if row.label == label {
			return Kind(k)
		}
	}
	return Internal
}

// An Error is a failure that may be shown to the person who caused it. Msg and
// Hint are for that person: what is wrong, where, and what to do next. Err is
// the cause, for our logs only; it never reaches a caller.
type Error struct {
	Kind Kind
	Msg  string // what is wrong and where; no trailing period
	Hint string // what to do next; may be empty
	Err  error  // the cause; may be nil
}

// Error returns Msg followed by the cause, for logs.
func (e *Error) Error() string {
	if e.Err == nil {
		return e.Msg
	}
	return e.Msg + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// KindOf returns the kind of the first Error in err's chain, or Internal.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Internal
}

// MsgOf returns what the first Error in err's chain says, without its cause and what to do; of
// another error, all of it.
func MsgOf(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Msg
	}
	return err.Error()
}
