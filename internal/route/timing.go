package route

import (
	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/pace"
)

// timing fills in what the words say of when answers leave. It comes when it is known
// what the route leads to.
func (s Spec) timing(r *Route) (err error) {
	switch s.Ladder {
	case "":
	case nothing:
		r.Ladder = pace.Ladder{}
	default:
		if r.Ladder, err = pace.ParseLadder(s.Ladder); err != nil {
			return err
		}
	}
	switch s.Pace {
	case "":
	case nothing:
		r.Pace = 0
	default:
		if r.Pace, err = pace.ParseBeat(s.Pace); err != nil {
			return err
		}
	}
	if !r.Language() && s.Pace == "" { // it was one of a language model before
		r.Pace = 0
	}
	return r.checkTiming()
}

// checkTiming looks at when answers leave on a route that came from elsewhere.
func (r Route) checkTiming() error {
	if err := r.Ladder.Validate(); err != nil {
		return err
	}
	if r.Pace != 0 && !r.Language() {
		return &pavise.Error{Kind: pavise.Invalid, Msg: "a pace is of streams, and this route leads to no language model", Hint: "leave it out; --ladder says when whole answers leave"}
	}
	return r.Pace.Validate()
}
