package evidence

import (
	"context"
	"fmt"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/archive"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/record"
)

func (rooms *Rooms) archiveVerbs() []api.Verb {
	onArchive := []string{"archive"}
	return []api.Verb{
		api.Guarded(api.Verb{
			Name: "archive.list", On: onArchive, Class: guard.Pooled,
			Help:    "Show what of the log was archived, where, and how long records are kept",
			About:   "Segments go to the archive by themselves once they grow no more (pavise up --archive). Without a class that says otherwise, records are kept for ever.",
			Example: "pavise archive list",
		}, onTheArchive[api.Empty], rooms.archiveList),
		api.Guarded(api.Verb{
			Name: "archive.keep", On: onArchive,
			Help:    "Archive now what can be",
			About:   "Every segment that grows no more. It happens by itself each minute; this says at once what is wrong, if something is.",
			Example: "pavise archive keep",
		}, onTheArchive[api.Empty], func(ctx context.Context, _ pavise.Principal, _ api.Empty) (SegmentList, error) {
			kept, err := rooms.Archive.Keep(ctx)
			if err == nil {
				err = rooms.Archive.Check(ctx)
			}
			return SegmentList{append([]archive.Segment{}, kept...)}, err
		}),
		api.Guarded(api.Verb{
			Name: "archive.prune", On: onArchive, Safe: true,
			Help:    "Take away here what is archived and no longer wanted on this machine",
			About:   "By the classes of retention, and no further than the slowest follower. Every byte is read back from the archive first. The hashes stay, so every proof still holds.",
			Example: "pavise archive prune",
		}, onTheArchive[api.Empty], func(ctx context.Context, who pavise.Principal, _ api.Empty) (Pruned, error) {
			p, err := rooms.Archive.Prune(ctx, &who)
			return Pruned{p}, err
		}),
		api.Proposing(api.Verb{
			Name: "archive.retain", On: onArchive,
			Help:    "Propose how long records of some kinds are kept",
			About:   "--online is how long on this machine, --keep how long in the archive, where that can enforce it. A time that is left out, or 0, means for ever, or no lock. The class default has the kinds that no other claims. Somebody else approves it.",
			Example: "pavise archive retain inference --kind model --online 30d --keep 730d",
		}, func(_ context.Context, who pavise.Principal, req RetainRequest) (pavise.Name, error) {
			name := pavise.Name{Tenant: who.Tenant, Kind: "archive", ID: req.Class}
			return name, name.Validate()
		}, func(req RetainRequest) (any, error) {
			c := archive.Class{Name: req.Class, Kinds: req.Kind}
			for _, t := range []struct {
				field, text string
				to          *time.Duration
			}{{"online", req.Online, &c.Online}, {"keep", req.Keep, &c.Keep}} {
				if t.text == "" {
					continue
				}
				d, err := archive.ParseSpan(t.text)
				if err != nil {
					return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s is %.40q, no time", t.field, t.text), Hint: "write 30d, or 12h"}
				}
				*t.to = d
			}
			return c, nil
		}),
	}
}

// onTheArchive is the thing that a verb on a tenant's view of the archive is on.
func onTheArchive[Req any](who pavise.Principal, _ Req) pavise.Name {
	return pavise.Name{Tenant: who.Tenant, Kind: "archive", ID: "segments"}
}

// SegmentList holds segments.
type SegmentList struct {
	Segments []archive.Segment `json:"segments"`
}

// ArchiveList is what was archived, and how long records are kept.
type ArchiveList struct {
	Place    string            `json:"place"` // where; empty: nowhere
	Lock     string            `json:"lock"`  // what enforces how long: compliance, governance or none
	Classes  []archive.Class   `json:"classes"`
	Segments []archive.Segment `json:"segments"`
	Problem  string            `json:"problem,omitempty"`
}

// Pruned is what was taken away.
type Pruned struct{ record.Pruning }

func (rooms *Rooms) archiveList(ctx context.Context, _ pavise.Principal, _ api.Empty) (ArchiveList, error) {
	list := ArchiveList{Lock: "none"}
	if rooms.Archive.Bucket != nil {
		place := rooms.Archive.Bucket.Place()
		list.Place, list.Lock = place.URL, place.Lock
	}
	if err := rooms.Archive.Problem(); err != nil {
		list.Problem = err.Error()
	}
	classes, err := rooms.Archive.Classes(ctx)
	if err != nil {
		return list, err
	}
	for i, c := range classes {
		classes[i].Kinds = append([]string{}, c.Kinds...) // the default class has none, which is not null
	}
	segments, err := rooms.Archive.Segments(ctx)
	list.Classes, list.Segments = append([]archive.Class{}, classes...), append([]archive.Segment{}, segments...)
	return list, err
}

// RetainRequest proposes a class of retention.
type RetainRequest struct {
	Class  string   `json:"class" arg:"" help:"the class's name" doc:"the class's name"`
	Kind   []string `json:"kind,omitempty" help:"a kind of record, model.infer, or a room, model; may be repeated" doc:"kinds of record (model.infer) or rooms (model)"`
	Online string   `json:"online,omitempty" placeholder:"TIME" help:"how long on this machine (default, and 0: for ever)" doc:"how long on this machine; absent or 0: for ever"`
	Keep   string   `json:"keep,omitempty" placeholder:"TIME" help:"how long in the archive, under its lock (default, and 0: no lock)" doc:"how long in the archive, under its lock; absent or 0: no lock"`
	Reason string   `json:"reason,omitempty" help:"why" doc:"why"`
}

// Why is the reason that goes with it.
func (r RetainRequest) Why() string { return r.Reason }
