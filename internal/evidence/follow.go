package evidence

import (
	"context"
	"fmt"
	"iter"
	"net/url"
	"strconv"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/ledger"
)

// Following says what a feed is to tell.
type Following struct {
	After uint64 `query:"after" doc:"begin with the record at this index"`
	Name  string `query:"name" doc:"go on where the follower of this name was acknowledged; a new one begins at after"`
	FollowConditions
}

// FollowConditions are those of a feed: all that are given must hold.
type FollowConditions struct {
	Kind    []string `query:"kind,explode" maxItems:"32" help:"Only records of this kind, model.infer, or of this room, model; may be repeated." doc:"only records of these kinds (model.infer) or rooms (model)"`
	Who     string   `query:"who" placeholder:"NAME" help:"Only what this principal did, as tenant/kind/id or kind/id." doc:"only what this principal did, as tenant/kind/id"`
	On      string   `query:"on" placeholder:"NAME" help:"Only what was done to this thing, as tenant/kind/id or kind/id." doc:"only what was done to this thing, as tenant/kind/id"`
	Subject string   `query:"subject" placeholder:"PSEUDONYM" help:"Only records that keep data of this subject, by its pseudonym." doc:"only records that keep data of this subject, by its pseudonym"`
	Ending  string   `query:"ending" enum:"deny,alter,failed," placeholder:"ENDING" default:"" help:"Only what ended so: deny, alter, or failed, which denied ones are too." doc:"only what ended so: deny, alter, or failed, which denied ones are too"`
}

// query writes what is wanted into an address.
func (f Following) query() string {
	q := url.Values{}
	for key, value := range map[string]string{"name": f.Name, "who": f.Who, "on": f.On, "subject": f.Subject, "ending": f.Ending} {
		if value != "" {
			q.Set(key, value)
		}
	}
	if f.After > 0 {
		q.Set("after", strconv.FormatUint(f.After, 10))
	}
	for _, kind := range f.Kind {
		q.Add("kind", kind)
	}
	return q.Encode()
}

// filter is what the follower wants, of one tenant.
func (f Following) filter(tenant string) (ledger.Filter, error) {
	c := Conditions{Kind: f.Kind, Who: f.Who, On: f.On, Subject: f.Subject, Ending: f.Ending}
	return c.filter(tenant, time.Time{}) // no condition is a time
}

// Follow yields the records that are wanted of a server's log, as they come, until the
// context ends or the stream breaks; then it yields the error.
func Follow(ctx context.Context, client *api.Client, what Following) iter.Seq2[Event, error] {
	return api.Stream[Event](ctx, client, "ledger.follow", what.query())
}

// ledgerFollow begins to tell a follower the records that it wants.
func (rooms *Rooms) ledgerFollow(ctx context.Context, who pavise.Principal, in Following) (api.Events[Event], error) {
	filter, from, err := rooms.begin(ctx, who, in)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) iter.Seq2[Event, error] {
		return func(yield func(Event, error) bool) {
			for found, err := range rooms.Feeds.Live(ctx, filter, from) {
				if !yield(Event{found.Index, found.Record}, err) {
					return
				}
			}
		}
	}, nil
}

// begin says which records a stream has, and at which it begins.
func (rooms *Rooms) begin(ctx context.Context, who pavise.Principal, in Following) (ledger.Filter, uint64, error) {
	filter, err := in.filter(who.Tenant)
	if err != nil || in.Name == "" {
		return filter, in.After, err
	}
	if err := anothers(in.Name); err != nil {
		return filter, 0, err
	}
	cursor, err := rooms.Feeds.Begin(ctx, who.Tenant, in.Name, filter, in.After)
	if err == nil && in.After > cursor.Next { // it would pass over what the follower has not done with
		err = &pavise.Error{
			Kind: pavise.Conflict, Msg: fmt.Sprintf("the follower %s goes on at %d, and after, %d, is for a new one", in.Name, cursor.Next, in.After),
			Hint: fmt.Sprintf("leave after out, or say that it has done with those before: pavise ledger acknowledge %s %d", in.Name, in.After),
		}
	}
	return filter, cursor.Next, err
}
