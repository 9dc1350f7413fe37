package api

import (
	"context"
	"encoding/base64"
	"fmt"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/record"
)

// theLog is the name of a tenant's view of the evidence log.
func theLog(tenant string) pavise.Name {
	return pavise.Name{Tenant: tenant, Kind: "ledger", ID: "log"}
}

func ledgerVerbs() []Verb {
	onLog := []string{"ledger"}
	return []Verb{
		guarded(Verb{
			Name: "ledger.status", On: onLog, Class: guard.Pooled,
			Help:    "Show the state of the evidence log",
			About:   "Size, signed head, key and fingerprint, and what is wrong with the disk, if anything.",
			Example: "pavise ledger status",
		}, func(who pavise.Principal, _ Empty) pavise.Name { return theLog(who.Tenant) }, ledgerStatus),
		guarded(Verb{
			Name: "ledger.list", On: onLog, Class: guard.Pooled,
			Help:    "List records, newest last",
			About:   "Without --after it lists the newest. Only records of your own tenant are shown. One call looks at 65,536 records at most, and says where it stopped.",
			Example: "pavise ledger list --limit 5",
		}, func(who pavise.Principal, _ ListRequest) pavise.Name { return theLog(who.Tenant) }, ledgerList),
		guarded(Verb{
			Name: "ledger.read", On: onLog, Class: guard.Pooled,
			Help:    "Show one record whole, with its proof",
			About:   "The proof is an RFC 6962 inclusion proof under the newest signed checkpoint, checked before it is shown. A record of the last moments may not be covered yet.",
			Example: "pavise ledger read 0",
		}, func(who pavise.Principal, _ ReadRequest) pavise.Name { return theLog(who.Tenant) }, ledgerRead),
		{
			Name: "ledger.follow", On: onLog, Class: guard.Pooled,
			Help:     "Follow the evidence log live",
			About:    "GET, with ?after= for the first record wanted: one record a line (NDJSON), as they come, and an empty line now and then. The stream leaves one record, at its end.",
			register: registerFollow,
		},
	}
}

// ListRequest asks for records.
type ListRequest struct {
	After *uint64 `json:"after,omitempty" help:"begin with the record at this index" doc:"begin with the record at this index; absent: the newest"`
	Limit int     `json:"limit,omitempty" help:"how many (default 50, at most 1000)" doc:"how many; 50 when absent" minimum:"0" maximum:"1000"`
	Kind  string  `json:"kind,omitempty" help:"only records of this kind, for example model.infer" doc:"only records of this kind"`
}

// An Event is one record with its place in the log.
type Event struct {
	Index  uint64        `json:"index"`
	Record record.Record `json:"record"`
}

// ListAnswer holds records, oldest first. One call looks at 65,536 records at
// most, so that a rare kind does not read a whole history.
type ListAnswer struct {
	Events  []Event `json:"events"`
	Size    uint64  `json:"size"`              // of the log
	Reached *uint64 `json:"reached,omitempty"` // without after: the list was cut short here, and no record below this index was looked at
	Next    *uint64 `json:"next,omitempty"`    // with after: where to go on; absent at the log's end
}

// One call of ledger.list reads stride records at a time, which a bundle of the
// log holds some of, and at most maxLooked in all.
const (
	stride    = 1 << 10
	maxLooked = 1 << 16
)

func ledgerList(ctx context.Context, rooms *Rooms, who pavise.Principal, req ListRequest) (ListAnswer, error) {
	l := listing{log: rooms.Log, limit: req.Limit, size: rooms.Log.Size(), matches: func(r record.Record) bool {
		return r.Tenant == who.Tenant && (req.Kind == "" || r.Kind == req.Kind)
	}}
	if l.limit == 0 {
		l.limit = 50
	}
	if req.After != nil {
		return l.forward(ctx, *req.After)
	}
	return l.back(ctx)
}

// A listing looks for a caller's records.
type listing struct {
	log     *ledger.Log
	limit   int
	size    uint64 // of the log when the listing began
	matches func(record.Record) bool
}

// back returns the newest records that match.
func (l listing) back(ctx context.Context) (ListAnswer, error) {
	answer := ListAnswer{Events: []Event{}, Size: l.size}
	low, floor := l.size, l.size-min(l.size, maxLooked)
	for low > floor && len(answer.Events) < l.limit && ctx.Err() == nil {
		from := max(floor, low-min(low, stride))
		found, _, err := l.between(from, low, stride)
		if err != nil {
			return answer, err
		}
		answer.Events, low = append(found, answer.Events...), from
	}
	if more := len(answer.Events) - l.limit; more >= 0 {
		answer.Events = answer.Events[more:]
	} else if low > 0 {
		answer.Reached = &low
	}
	return answer, nil
}

// forward returns the oldest records that match, from an index on.
func (l listing) forward(ctx context.Context, next uint64) (ListAnswer, error) {
	answer := ListAnswer{Events: []Event{}, Size: l.size}
	next = min(next, l.size)
	end := next + min(l.size-next, maxLooked)
	for next < end && len(answer.Events) < l.limit && ctx.Err() == nil {
		found, upTo, err := l.between(next, next+min(end-next, stride), l.limit-len(answer.Events))
		if err != nil {
			return answer, err
		}
		answer.Events, next = append(answer.Events, found...), upTo
	}
	if next < l.size {
		answer.Next = &next
	}
	return answer, nil
}

// between returns the first of the records in [from, to) that match, up to so
// many, and the index up to which it looked for them.
func (l listing) between(from, to uint64, most int) (found []Event, next uint64, err error) {
	next = from
	for index, r := range l.log.Records(from, to) {
		next = index + 1
		if l.matches(r) {
			found = append(found, Event{index, r})
		}
		if len(found) == most {
			return found, next, nil
		}
	}
	if next < to {
		return nil, next, unreadable(l.log, next)
	}
	return found, next, nil
}

// unreadable says why the log's walk stopped at a record.
func unreadable(log *ledger.Log, index uint64) error {
	if _, err := log.Read(index); err != nil {
		return err
	}
	return &pavise.Error{Kind: pavise.Unavailable, Msg: fmt.Sprintf("record %d could not be read", index), Hint: "try again; pavise ledger verify says whether it was changed"}
}

// ReadRequest names a record.
type ReadRequest struct {
	Index uint64 `json:"index" arg:"" help:"the record's index" doc:"the record's index"`
}

// ReadAnswer is a record with its proof.
type ReadAnswer struct {
	Event
	Proof *Proof `json:"proof,omitempty"` // absent while no signed checkpoint covers the record
}

// A Proof shows that a record is in the log under a signed checkpoint.
type Proof struct {
	Leaf       string   `json:"leaf"`       // base64 SHA-256 of the entry (RFC 6962 leaf hash)
	Path       []string `json:"path"`       // base64 hashes, leaf to root
	Size       uint64   `json:"size"`       // of the tree
	Root       string   `json:"root"`       // base64
	Checkpoint string   `json:"checkpoint"` // the signed note
}

func ledgerRead(_ context.Context, rooms *Rooms, who pavise.Principal, req ReadRequest) (ReadAnswer, error) {
	r, err := rooms.Log.Read(req.Index)
	if err != nil {
		return ReadAnswer{}, err
	}
	if r.Tenant != who.Tenant {
		return ReadAnswer{}, &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("your tenant has no record %d", req.Index), Hint: "pavise ledger list shows those it has"}
	}
	answer := ReadAnswer{Event: Event{req.Index, r}}
	proof, err := rooms.Log.Prove(req.Index)
	if pavise.KindOf(err) == pavise.Unavailable {
		return answer, nil
	}
	if err != nil {
		return answer, err
	}
	answer.Proof = &Proof{
		Leaf: base64.StdEncoding.EncodeToString(proof.Leaf[:]), Path: []string{},
		Size: proof.Checkpoint.Size, Root: proof.Checkpoint.Root.String(), Checkpoint: string(proof.Checkpoint.Note),
	}
	for _, h := range proof.Path {
		answer.Proof.Path = append(answer.Proof.Path, base64.StdEncoding.EncodeToString(h[:]))
	}
	return answer, nil
}

// A LogStatus is the state of the evidence log.
type LogStatus struct {
	Origin      string `json:"origin"`            // the log's name
	Key         string `json:"key"`               // its verifier key (C2SP signed-note)
	Fingerprint string `json:"fingerprint"`       // hex SHA-256 of the key
	Records     uint64 `json:"records"`           // written
	Signed      uint64 `json:"signed"`            // of those, under the newest signed tree head
	Published   uint64 `json:"published"`         // of those, under the checkpoint file
	Protection  string `json:"protection"`        // what keeps the log's key: "software" for a file
	Segments    int    `json:"segments"`          // files
	Bytes       int64  `json:"bytes"`             // in all segments
	Full        bool   `json:"full"`              // the disk is full: safe verbs only
	Problem     string `json:"problem,omitempty"` // what is wrong, for people
}

func ledgerStatus(_ context.Context, rooms *Rooms, _ pavise.Principal, _ Empty) (LogStatus, error) {
	s := rooms.Log.Status()
	return LogStatus{
		Protection: rooms.Protection, Origin: s.Origin, Key: s.Keys[0].String(), Fingerprint: s.Keys[0].Fingerprint(), Records: s.Size, Signed: s.Signed, Published: s.Published,
		Segments: s.Segments, Bytes: s.Bytes, Full: s.Full, Problem: s.Problem,
	}, nil
}
