package evidence

import (
	"context"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/ledger"
)

func (rooms *Rooms) subjectVerbs() []api.Verb {
	onSubject := []string{"subject"}
	return []api.Verb{
		api.Guarded(api.Verb{
			Name: "subject.list", On: onSubject, Class: guard.Pooled,
			Help:    "Show how many people's data the log keeps, and how many were forgotten",
			About:   "A subject is whoever a request names in its header Pavise-Subject, or its caller. The log knows it by a pseudonym.",
			Example: "pavise subject list",
		}, func(who pavise.Principal, _ api.Empty) pavise.Name {
			return pavise.Name{Tenant: who.Tenant, Kind: "subject", ID: "all"}
		}, func(ctx context.Context, who pavise.Principal, _ api.Empty) (SubjectCount, error) {
			keys, shredded, err := rooms.Subjects.Count(ctx, who.Tenant)
			return SubjectCount{keys, shredded}, err
		}),
		api.Guarded(api.Verb{
			Name: "subject.find", On: onSubject,
			Help:    "Say under which pseudonym the log knows somebody",
			About:   "pavise ledger list --subject shows what it keeps of them. The question itself is recorded, without the name.",
			Example: "pavise subject find local/workload/demo",
		}, func(who pavise.Principal, _ FindRequest) pavise.Name {
			return pavise.Name{Tenant: who.Tenant, Kind: "subject", ID: "any"}
		}, func(ctx context.Context, who pavise.Principal, req FindRequest) (SubjectFound, error) {
			id, err := rooms.Subjects.Find(ctx, who.Tenant, req.Subject)
			if err != nil {
				return SubjectFound{}, err
			}
			records, err := rooms.Log.Count(ledger.Filter{Tenant: who.Tenant, Subject: id}, rooms.Log.First(), rooms.Log.Size())
			return SubjectFound{id, records}, err
		}),
		api.Proposing(api.Verb{
			Name: "subject.shred", On: onSubject,
			Help:    "Propose to forget somebody: shred the key of what the log keeps of them",
			About:   "Name them as requests did, or by their pseudonym. Records and proofs stay as they are; what they keep sealed can never be opened again. The receipt is a record, and pavise ledger prove writes it to a file. Somebody else approves it.",
			Example: "pavise subject shred local/workload/demo",
		}, func(ctx context.Context, who pavise.Principal, req ShredRequest) (pavise.Name, error) {
			id, err := rooms.Subjects.Find(ctx, who.Tenant, req.Subject)
			return pavise.Name{Tenant: who.Tenant, Kind: "subject", ID: id}, err
		}, func(ShredRequest) (any, error) { return api.Empty{}, nil }),
	}
}

// SubjectCount says how many subjects there are.
type SubjectCount struct {
	Keys     int `json:"keys"`     // subjects with a key
	Shredded int `json:"shredded"` // subjects that were forgotten
}

// FindRequest names a subject.
type FindRequest struct {
	Subject string `json:"subject" arg:"" help:"the subject's name, as in Pavise-Subject, or the caller's tenant/kind/id" doc:"the subject's name, as in the header Pavise-Subject, or the caller's tenant/kind/id"`
}

// SubjectFound says what the log knows of a subject.
type SubjectFound struct {
	ID      string `json:"id"`      // its pseudonym
	Records uint64 `json:"records"` // that keep data of it
}

// ShredRequest names a subject to be forgotten.
type ShredRequest struct {
	Subject string `json:"subject" arg:"" help:"the subject's name, as in Pavise-Subject, or its pseudonym" doc:"the subject's name, as in the header Pavise-Subject, or its pseudonym"`
	Reason  string `json:"reason,omitempty" help:"why; do not name the person" doc:"why; do not name the person"`
}

// Why is the reason that goes with it.
func (r ShredRequest) Why() string { return r.Reason }
