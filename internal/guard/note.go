package guard

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/record"
)

// Note records, durably, what the house itself did where nobody asked for a
// verb: the token that a process begins with, a tenant's first policies. The
// note is in who's name unless who is nil, and belongs to the tenant of on, or,
// when on is the zero name, to the guard's own. Detail is marshalled as JSON; nil
// leaves none. The error is of kind Unavailable when the note cannot be written,
// and then what it tells of may not count as done.
func (g *Guard) Note(ctx context.Context, kind string, who *pavise.Principal, on pavise.Name, detail any) error {
	return g.note(ctx, ledger.Durable, kind, who, on, detail)
}

// note records a note, as durably as how says.
func (g *Guard) note(ctx context.Context, how ledger.Durability, kind string, who *pavise.Principal, on pavise.Name, detail any) error {
	r := &record.Record{Kind: kind, Phase: record.Note, Tenant: on.Tenant, At: g.clock.stamp(), Who: who, On: on}
	if on == (pavise.Name{}) {
		r.Tenant = g.tenant
	}
	if detail != nil {
		body, err := json.Marshal(detail)
		if err != nil {
			return fmt.Errorf("encode %s: %w", kind, err)
		}
		r.Detail = body
	}
	_, err := g.append(ctx, r, how)
	return err
}

// Keep records what did not fit into the record of an act that comes behind it: detail, as
// JSON, and an envelope of package seal under the key of the subject with a pseudonym. It is
// a note, and as durable as records of exchanges are: whoever has the act's record has it.
// The error is as that of Note.
func (g *Guard) Keep(ctx context.Context, kind string, on pavise.Name, detail []byte, pseudonym string, envelope []byte) (index uint64, err error) {
	r := &record.Record{Kind: kind, Phase: record.Note, Tenant: on.Tenant, At: g.clock.stamp(), On: on, Detail: detail, Subject: pseudonym, Sealed: envelope}
	receipt, err := g.append(ctx, r, ledger.Written)
	return receipt.Index, err
}
