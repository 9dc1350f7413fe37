package evidence

import (
	"context"
	"fmt"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/feed"
	"github.com/pavise/pavise/internal/guard"
)

func (rooms *Rooms) feedVerbs() []api.Verb {
	onLog := []string{"ledger"}
	return []api.Verb{
		api.Guarded(api.Verb{
			Name: "ledger.followers", On: onLog, Class: guard.Pooled,
			Help:    "Show who follows the log under a name, and what each has before it",
			About:   "A follower that was named goes on where it was acknowledged. What it has not acknowledged is not pruned.",
			Example: "pavise ledger followers",
		}, onTheLog[api.Empty], func(ctx context.Context, who pavise.Principal, _ api.Empty) (FollowerList, error) {
			backlogs, err := rooms.Feeds.Backlogs(ctx, who.Tenant)
			return FollowerList{backlogs}, err
		}),
		api.Guarded(api.Verb{
			Name: "ledger.acknowledge", On: onLog, Class: guard.Pooled,
			Help:    "Say that a follower has done with all records before an index",
			About:   "The follower goes on there when it comes back. It never goes back: that is refused.",
			Example: "pavise ledger acknowledge siem 1",
		}, onTheLog[AcknowledgeRequest], func(ctx context.Context, who pavise.Principal, req AcknowledgeRequest) (api.Empty, error) {
			if err := anothers(req.Name); err != nil {
				return api.Empty{}, err
			}
			return api.Empty{}, rooms.Feeds.Acknowledge(ctx, who.Tenant, req.Name, req.Next)
		}),
		api.Guarded(api.Verb{
			Name: "ledger.unfollow", On: onLog,
			Help:    "Forget a follower, and where it was",
			About:   "A follower of the same name begins anew.",
			Example: "pavise ledger unfollow siem",
		}, onTheLog[UnfollowRequest], func(ctx context.Context, who pavise.Principal, req UnfollowRequest) (api.Empty, error) {
			if err := anothers(req.Name); err != nil {
				return api.Empty{}, err
			}
			return api.Empty{}, rooms.Feeds.Drop(ctx, who.Tenant, req.Name)
		}),
	}
}

// ours begins the names of the house's own followers: one shreds again what an older
// database brings back.
const ours = "pavise."

// anothers refuses to have somebody move the house's own followers.
func anothers(name string) error {
	if !strings.HasPrefix(name, ours) {
		return nil
	}
	return &pavise.Error{Kind: pavise.Denied, Msg: fmt.Sprintf("the follower %.60s is the house's own", name), Hint: "leave it as it is: it shreds again what an older database would bring back; a follower of yours takes another name"}
}

// FollowerList holds followers.
type FollowerList struct {
	Followers []feed.Backlog `json:"followers"`
}

// AcknowledgeRequest moves a follower on.
type AcknowledgeRequest struct {
	Name string `json:"name" arg:"" help:"the follower's name" doc:"the follower's name"`
	Next uint64 `json:"next" arg:"" help:"the first record that it has not done with" doc:"the first record that it has not done with"`
}

// UnfollowRequest names a follower.
type UnfollowRequest struct {
	Name string `json:"name" arg:"" help:"the follower's name" doc:"the follower's name"`
}
