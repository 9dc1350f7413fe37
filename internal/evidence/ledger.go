package evidence

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/archive"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/parts"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/subject"
	"github.com/pavise/pavise/internal/witness"
)

// theLog is the name of a tenant's view of the evidence log.
func theLog(tenant string) pavise.Name {
	return pavise.Name{Tenant: tenant, Kind: "ledger", ID: "log"}
}

func (rooms *Rooms) ledgerVerbs() []api.Verb {
	onLog := []string{"ledger"}
	return []api.Verb{
		api.Guarded(api.Verb{
			Name: "ledger.status", On: onLog, Class: guard.Pooled,
			Help:    "Show the state of the evidence log",
			About:   "Size, signed head, keys and fingerprints, how the witnesses fare, and what is wrong with the disk, if anything.",
			Example: "pavise ledger status",
		}, onTheLog[api.Empty], rooms.ledgerStatus),
		api.Guarded(api.Verb{
			Name: "ledger.list", On: onLog, Class: guard.Pooled,
			Help:    "List or search records, newest last",
			About:   "Without --after it lists the newest. Only records of your own tenant are shown. Conditions add up; --kind may be repeated, and takes a whole room, such as model. The search reads an index, and every record that it names.",
			Example: "pavise ledger list --limit 5 --kind route",
		}, onTheLog[ListRequest], rooms.ledgerList),
		api.Guarded(api.Verb{
			Name: "ledger.read", On: onLog, Class: guard.Pooled,
			Help:    "Show one record whole, with its proof",
			About:   "The proof is an RFC 6962 inclusion proof under the newest signed checkpoint, checked before it is shown. A record of the last moments may not be covered yet.",
			Example: "pavise ledger read 0",
		}, onTheLog[ReadRequest], rooms.Read),
		api.Guarded(api.Verb{
			Name: "ledger.prove", On: onLog, Class: guard.Pooled,
			Help:    "Write a file that proves one record to a stranger, offline",
			About:   "A C2SP tlog-proof: the record, its inclusion proof and the signed checkpoint, with the cosignatures of witnesses if a quorum has seen it. pavise ledger verify takes it on any machine; docs/formats/proof.md says how to check it without pavise. --witnessed waits until a quorum has.",
			Example: "pavise ledger prove 0",
		}, onTheLog[ProveRequest], rooms.ledgerProve),
		api.Guarded(api.Verb{
			Name: "ledger.unseal", On: onLog, Class: guard.Pooled,
			Help:    "Show what a record keeps sealed",
			About:   "The salt that opens the record's commitments, and the model's own answer where the caller got another. Nobody can, once the key of whose data it is was shredded.",
			Example: "pavise ledger unseal RECORD",
		}, onTheLog[ReadRequest], rooms.ledgerUnseal),
		api.Feed(api.Verb{
			Name: "ledger.follow", On: onLog, Class: guard.Pooled,
			Help:  "Follow the evidence log live",
			About: "GET, with the conditions of ledger.list and ?after= for the first record wanted: one record a line (NDJSON), as they become durable, and an empty line now and then. With ?name= it goes on where the follower of that name was acknowledged. The stream leaves one record, at its end.",
		}, func(who pavise.Principal) pavise.Name { return theLog(who.Tenant) }, rooms.ledgerFollow),
	}
}

// onTheLog is the thing that a verb on a tenant's view of the log is on.
func onTheLog[Req any](who pavise.Principal, _ Req) pavise.Name { return theLog(who.Tenant) }

// Conditions are those of a search: all that are given must hold.
type Conditions struct {
	Kind    []string `json:"kind,omitempty" maxItems:"32" help:"only records of this kind, model.infer, or of this room, model; may be repeated" doc:"only records of these kinds (model.infer) or rooms (model)"`
	Who     string   `json:"who,omitempty" placeholder:"NAME" help:"only what this principal did, as tenant/kind/id or kind/id" doc:"only what this principal did, as tenant/kind/id"`
	On      string   `json:"on,omitempty" placeholder:"NAME" help:"only what was done to this thing, as tenant/kind/id or kind/id" doc:"only what was done to this thing, as tenant/kind/id"`
	Subject string   `json:"subject,omitempty" placeholder:"PSEUDONYM" help:"only records that keep data of this subject, by its pseudonym" doc:"only records that keep data of this subject, by its pseudonym"`
	Ending  string   `json:"ending,omitempty" enum:"deny,alter,failed," placeholder:"ENDING" default:"" help:"only what ended so: deny, alter, or failed, which denied ones are too" doc:"only what ended so: deny, alter, or failed, which denied ones are too"`
	Since   string   `json:"since,omitempty" placeholder:"TIME" help:"only records from this time on: 2026-11-26, 2026-11-26T10:00:00Z, or 7d for the last week" doc:"only records from this time on: a date, an RFC 3339 time, or a duration back from now"`
	Until   string   `json:"until,omitempty" placeholder:"TIME" help:"only records up to this time" doc:"only records up to this time"`
}

// filter reads the conditions, for one tenant.
func (c Conditions) filter(tenant string, now time.Time) (f ledger.Filter, err error) {
	f = ledger.Filter{Tenant: tenant, Kinds: c.Kind, Subject: c.Subject, Ending: c.Ending}
	if f.Who, err = whole("who", c.Who, tenant); err != nil {
		return f, err
	}
	if f.On, err = whole("on", c.On, tenant); err != nil {
		return f, err
	}
	if c.Subject != "" && !subject.IsPseudonym(c.Subject) {
		return f, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("subject is %.80q, no pseudonym: s- and 32 hex digits", c.Subject), Hint: "pavise subject find NAME tells under which pseudonym the log knows somebody"}
	}
	if f.Since, err = moment("since", c.Since, now); err != nil {
		return f, err
	}
	if f.Until, err = moment("until", c.Until, now); err == nil && !f.Until.IsZero() && f.Since.After(f.Until) {
		err = &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("since, %s, is after until, %s", f.Since.Format(time.RFC3339), f.Until.Format(time.RFC3339)), Hint: "no record is from this time on and up to that one: exchange the two"}
	}
	return f, err
}

// whole reads the name in a condition. One of two parts is of the caller's own tenant,
// as lists print it.
func whole(field, text, tenant string) (string, error) {
	if text == "" {
		return "", nil
	}
	full := text
	if strings.Count(text, "/") == 1 {
		full = tenant + "/" + text
	}
	if _, err := pavise.ParseName(full); err != nil {
		return "", &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s is %.80q, no name", field, text), Hint: "write tenant/kind/id, or kind/id, for example human/root or model/threat-detector", Err: err}
	}
	return full, nil
}

// moment reads a date, a time, or a duration back from now.
func moment(field, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly, "2006-01-02 15:04", "2006-01-02T15:04:05"} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	if back, err := archive.ParseSpan(text); err == nil && back > 0 {
		return now.Add(-back), nil
	}
	return time.Time{}, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s is %.40q, no time", field, text), Hint: "write 2026-11-26, 2026-11-26T10:00:00Z, or 7d for the last week"}
}

// ListRequest asks for records.
type ListRequest struct {
	After  *uint64 `json:"after,omitempty" help:"begin with the record at this index" doc:"begin with the record at this index; absent: the newest"`
	Limit  int     `json:"limit,omitempty" help:"how many (default 50, at most 1000)" doc:"how many; 50 when absent" minimum:"0" maximum:"1000"`
	Before *uint64 `json:"before,omitempty" help:"end before the record at this index" doc:"end before the record at this index"`
	Conditions
}

// An Event is one record with its place in the log.
type Event struct {
	Index  uint64        `json:"index"`
	Record record.Record `json:"record"`
}

// ListAnswer holds records, oldest first.
type ListAnswer struct {
	Events []Event `json:"events"`
	Size   uint64  `json:"size"`            // of the log
	First  uint64  `json:"first,omitempty"` // the first record on this machine: those before it were pruned
	More   bool    `json:"more,omitempty"`  // there are others, in the direction in which it was listed
}

func (rooms *Rooms) ledgerList(ctx context.Context, who pavise.Principal, req ListRequest) (ListAnswer, error) {
	answer := ListAnswer{Events: []Event{}, Size: rooms.Log.Size(), First: rooms.Log.First()}
	filter, err := req.filter(who.Tenant, time.Now())
	if err != nil {
		return answer, err
	}
	if req.After != nil && req.Before != nil && *req.After >= *req.Before {
		return answer, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("after, %d, is not below before, %d", *req.After, *req.Before), Hint: "after is the first record wanted, and before the one behind the last"}
	}
	limit := cmp.Or(req.Limit, 50)
	from, to := answer.First, answer.Size
	if req.Before != nil {
		to = min(to, *req.Before)
	}
	found := rooms.Log.SelectBack(ctx, filter, from, to)
	if req.After != nil {
		found = rooms.Log.Select(ctx, filter, *req.After, to)
	}
	for r, err := range found {
		if err != nil {
			return answer, err
		}
		if answer.More = len(answer.Events) == limit; answer.More {
			break
		}
		answer.Events = append(answer.Events, Event{r.Index, r.Record})
	}
	if req.After == nil {
		slices.Reverse(answer.Events)
	}
	return answer, nil
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

// Read shows one record of the tenant of whoever asks, with its proof. It is for those who
// have entered through the guard: as ledger.read, or with a question about a record.
func (rooms *Rooms) Read(_ context.Context, who pavise.Principal, req ReadRequest) (ReadAnswer, error) {
	r, err := rooms.ownRecord(who, req.Index)
	if err != nil {
		return ReadAnswer{}, err
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

// ProveRequest asks for a proof file.
type ProveRequest struct {
	Index     uint64 `json:"index" arg:"" name:"record" help:"the record's index" doc:"the record's index"`
	Witnessed bool   `json:"witnessed,omitempty" help:"wait until a quorum of witnesses has seen the record" doc:"wait until a quorum of witnesses has seen the record"`
	Out       string `json:"-" placeholder:"FILE" help:"write it there (default: to the terminal)"`
}

// A ProofFile proves one record.
type ProofFile struct {
	Index     uint64 `json:"index"`
	Witnessed bool   `json:"witnessed"` // a quorum of witnesses has cosigned its checkpoint
	File      string `json:"file"`      // C2SP tlog-proof
}

// proveWithin is how long ledger.prove waits for a checkpoint, or for witnesses.
const proveWithin = 20 * time.Second

func (rooms *Rooms) ledgerProve(ctx context.Context, who pavise.Principal, req ProveRequest) (ProofFile, error) {
	if _, err := rooms.ownRecord(who, req.Index); err != nil {
		return ProofFile{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, proveWithin)
	defer cancel()
	if req.Witnessed && rooms.Quorum == nil {
		return ProofFile{}, &pavise.Error{Kind: pavise.Conflict, Msg: "this log asks no witnesses", Hint: "start pavise with --witnesses FILE"}
	}
	if req.Witnessed {
		if err := rooms.Quorum.Await(ctx, req.Index); err != nil {
			return ProofFile{}, err
		}
	}
	if err := rooms.Log.AwaitPublished(ctx, req.Index); err != nil {
		return ProofFile{}, err
	}
	text, err := rooms.Log.ProofFile(req.Index)
	return ProofFile{Index: req.Index, Witnessed: rooms.Log.Witnessed().Size > req.Index, File: string(text)}, err
}

// ownRecord returns a record of the caller's tenant.
func (rooms *Rooms) ownRecord(who pavise.Principal, index uint64) (record.Record, error) {
	r, err := rooms.Log.Read(index)
	if err != nil {
		return r, err
	}
	if r.Tenant != who.Tenant {
		return record.Record{}, &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("your tenant has no record %d", index), Hint: "pavise ledger list shows those it has"}
	}
	return r, nil
}

// Unsealed is what a record keeps sealed.
type Unsealed struct {
	Index   uint64          `json:"index"`
	Subject string          `json:"subject,omitempty"` // under whose key it was
	Kept    json.RawMessage `json:"kept"`
}

func (rooms *Rooms) ledgerUnseal(ctx context.Context, who pavise.Principal, req ReadRequest) (Unsealed, error) {
	r, err := rooms.ownRecord(who, req.Index)
	if err != nil {
		return Unsealed{}, err
	}
	if len(r.Sealed) == 0 {
		return Unsealed{}, &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("record %d keeps nothing sealed", req.Index), Hint: "records of answered requests do"}
	}
	key := rooms.KEK.Tenant(r.Tenant)
	if r.Subject != "" {
		if key, err = rooms.Subjects.Key(ctx, r.Tenant, r.Subject); err != nil {
			return Unsealed{}, err
		}
	}
	plain, err := parts.Unseal(key, &r, func(index uint64) (record.Record, error) { return rooms.ownRecord(who, index) })
	return Unsealed{Index: req.Index, Subject: r.Subject, Kept: plain}, err
}

// A LogStatus is the state of the evidence log.
type LogStatus struct {
	Origin      string     `json:"origin"`              // the log's name
	Key         string     `json:"key"`                 // its verifier key (C2SP signed-note), the log's identity
	Fingerprint string     `json:"fingerprint"`         // hex SHA-256 of that key
	Keys        []LogKey   `json:"keys"`                // all that sign its checkpoints
	First       uint64     `json:"first"`               // the first record on this machine: those before it were pruned
	Records     uint64     `json:"records"`             // written
	Signed      uint64     `json:"signed"`              // of those, under the newest signed tree head
	Published   uint64     `json:"published"`           // of those, under the checkpoint file
	Witnessed   *Witnessed `json:"witnessed,omitempty"` // what witnesses have seen; absent: none is asked
	Protection  string     `json:"protection"`          // what keeps the log's keys: "software" for files
	Segments    int        `json:"segments"`            // files
	Bytes       int64      `json:"bytes"`               // in all segments
	Full        bool       `json:"full"`                // the disk is full: safe verbs only
	Problem     string     `json:"problem,omitempty"`   // what is wrong, for people
	Archive     string     `json:"archive,omitempty"`   // what is wrong with archiving, for people
}

// A LogKey is a key that signs the log's checkpoints.
type LogKey struct {
	Key         string `json:"key"`
	Algorithm   string `json:"algorithm"`
	Fingerprint string `json:"fingerprint"`
}

// Witnessed says what witnesses have seen of a log.
type Witnessed struct {
	Records   uint64           `json:"records"`     // under the newest checkpoint that a quorum has cosigned
	At        time.Time        `json:"at,omitzero"` // by then they had
	Witnesses []witness.Status `json:"witnesses"`
}

func (rooms *Rooms) ledgerStatus(_ context.Context, _ pavise.Principal, _ api.Empty) (LogStatus, error) {
	s := rooms.Log.Status()
	status := LogStatus{
		Protection: rooms.Protection, Origin: s.Origin, Key: s.Keys[0].String(), Fingerprint: s.Keys[0].Fingerprint(), First: s.First,
		Records: s.Size, Signed: s.Signed, Published: s.Published, Segments: s.Segments, Bytes: s.Bytes, Full: s.Full, Problem: s.Problem,
	}
	status.Keys = logKeys(s.Keys)
	if rooms.Quorum != nil {
		status.Witnessed = &Witnessed{}
		status.Witnessed.Witnesses, status.Witnessed.Records, status.Witnessed.At = rooms.Quorum.Status()
	}
	if err := rooms.Archive.Problem(); err != nil {
		status.Archive = err.Error()
	}
	return status, nil
}
