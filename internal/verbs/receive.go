package verbs

import (
	"context"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/gate"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/receiver"
)

func (rooms *Rooms) receiveVerbs() []api.Verb {
	onSource := []string{gate.KindSource}
	return []api.Verb{
		api.Do(api.Verb{
			Name: "ingest.receive", On: onSource,
			Help:    "Have records of a source fetched: from a file, a bucket, NATS JetStream or a TAXII feed",
			About:   "From below a root, or from a server, that receive: in pavise.yaml has: file:///var/log/app/app.log is followed as it grows, file:///var/drop/ and s3://BUCKET/PREFIX/ (gs://, az://) are watched for what comes, nats://SERVER/STREAM/SUBJECT and taxii://SERVER/ROOT/collections/ID are read. Each batch passes the gate. A source that was fetched from there before goes on where it was.",
			Example: "pavise ingest receive app --from file:///var/log/app/app.log",
		}, func(ctx context.Context, who pavise.Principal, req ReceiveRequest) (receiver.Standing, error) {
			r, err := rooms.receivers()
			if err != nil {
				return receiver.Standing{}, err
			}
			return r.Receive(ctx, who, receiver.Order{
				Source: req.Source, From: req.From, Every: time.Duration(req.Every) * time.Second, Silence: time.Duration(req.Silence) * time.Second, Retake: req.Retake,
			})
		}),
		api.Do(api.Verb{
			Name: "ingest.stop", On: onSource,
			Help:    "Fetch no more records of a source",
			About:   "How far it was is kept, and pavise ingest receive goes on there; with --forget it is not, and neither is which objects were seen.",
			Example: "pavise ingest stop app",
		}, func(ctx context.Context, who pavise.Principal, req StopRequest) (api.Empty, error) {
			r, err := rooms.receivers()
			if err != nil {
				return api.Empty{}, err
			}
			return api.Empty{}, r.Stop(ctx, who, req.Source, req.Forget)
		}),
		api.Do(api.Verb{
			Name: "ingest.receivers", On: onSource, Class: guard.Pooled,
			Help:    "Show what is fetched from where, how far it is, and what is wrong with it",
			About:   "One line for each source. What was found is with the findings: pavise finding list.",
			Example: "pavise ingest receivers",
		}, func(ctx context.Context, who pavise.Principal, _ api.Empty) (StandingList, error) {
			r, err := rooms.receivers()
			if err != nil {
				return StandingList{}, err
			}
			all, err := r.List(ctx, who)
			return StandingList{all}, err
		}),
	}
}

// receivers are those of the house, if it has any.
func (rooms *Rooms) receivers() (*receiver.Receivers, error) {
	if rooms.Receivers == nil {
		return nil, &pavise.Error{Kind: pavise.Unavailable, Msg: "this installation fetches no records", Hint: "pavise serve and pavise up do"}
	}
	return rooms.Receivers, nil
}

// ReceiveRequest has records fetched.
type ReceiveRequest struct {
	Source  pavise.Name `json:"source" arg:"" help:"the source's name: its id, or tenant/source/id" doc:"the source's name, as tenant/source/id"`
	From    string      `json:"from" required:"true" placeholder:"ADDRESS" help:"where from" doc:"where from: a file, a bucket, a stream or a feed that pavise.yaml allows"`
	Every   int         `json:"every,omitempty" minimum:"0" maximum:"86400" placeholder:"SECONDS" help:"how often to look, in seconds (default 1 for files and NATS, 60 for buckets and feeds)" doc:"how often to look, in seconds; as before, or as is usual, when absent"`
	Silence int         `json:"silence,omitempty" minimum:"0" maximum:"7776000" placeholder:"SECONDS" help:"after how many seconds without anything that is a finding (default never)" doc:"after how many seconds without anything that is a finding; as before, or never, when absent"`
	Retake  bool        `json:"retake,omitempty" help:"when an object that was taken is replaced, take the new one as well; it is a finding in any case" doc:"take what an object was replaced with, too"`
}

// StopRequest ends the fetching.
type StopRequest struct {
	Source pavise.Name `json:"source" arg:"" help:"the source's name: its id, or tenant/source/id" doc:"the source's name, as tenant/source/id"`
	Forget bool        `json:"forget,omitempty" help:"forget how far it was, and which objects were seen" doc:"forget how far it was, and which objects were seen"`
}

// StandingList holds what is fetched.
type StandingList struct {
	Receivers []receiver.Standing `json:"receivers"`
}
