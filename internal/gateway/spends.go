package gateway

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/firewall"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/store"
)

// A snapshot is what callers had taken at one time, as the store keeps it.
type snapshot struct {
	records uint64           // of the log that the spends surely include
	signed  uint64           // of those, the ones that survive power loss
	spends  []firewall.Spend // as Meter.State returned them
}

// snapshotMeter keeps what callers have taken, with the number of records it
// surely includes: the log's size before the meter was read.
func (g *Gateway) snapshotMeter(ctx context.Context) error {
	signed, size := g.log.Head().Size, g.log.Size()
	spends, err := json.Marshal(g.meter.State(g.now()))
	if err != nil {
		return fmt.Errorf("encode what callers have taken: %w", err)
	}
	return g.db.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(`INSERT INTO gateway_spends (id, records, signed, spends) VALUES (0, ?, ?, ?)
			ON CONFLICT (id) DO UPDATE SET records = excluded.records, signed = excluded.signed, spends = excluded.spends`, size, signed, string(spends))
		return err
	})
}

// restoreMeter loads the last snapshot and takes again what the records behind
// it say was charged, so that a killed gateway forgives nobody. A log that does
// not hold what it held is no ground to stand on: the error is of kind
// Unverified, and nothing is answered.
func (g *Gateway) restoreMeter(ctx context.Context) error {
	last, err := g.lastSnapshot(ctx)
	if err != nil {
		return err
	}
	size := g.log.Size()
	if last.signed > size {
		return &pavise.Error{
			Kind: pavise.Unverified,
			Msg:  fmt.Sprintf("the evidence log holds %d records and held %d when what callers have taken was last kept: it was cut, replaced or rolled back", size, last.signed),
			Hint: "the log is older than the state database: restore a newer backup of it, with pavise ledger restore, or begin a new installation in another directory with --data",
		}
	}
	if err := g.meter.Restore(last.spends); err != nil {
		return err
	}
	if last.records > size {
		// Power loss took records that were not yet synced. The spends include
		// them; a snapshot that counts them would hide those to come.
		return g.snapshotMeter(ctx)
	}
	return g.replay(last.records, size)
}

// replay takes again what the records from one index up to another say was
// charged. A charge falls between the times at which its record begins and ends:
// at the later one the buckets hold at least what they held.
func (g *Gateway) replay(from, to uint64) error {
	next := from
	for index, r := range g.log.Records(from, to) {
		t, err := charged(r)
		if err != nil {
			return unreadable(index, err)
		}
		if t.Charged > 0 {
			g.meter.Take(r.At.Add(r.Took), r.Who.Name(), clusterOf(r.On, t.Cluster), r.On, cmp.Or(t.Rows, t.Charged), t.Charged)
		}
		next = index + 1
	}
	if next < to {
		_, err := g.log.Read(next)
		return unreadable(next, err)
	}
	return nil
}

// charged returns what a record says was charged: to its caller, and to the model and to the
// callers it is linked with.
func charged(r record.Record) (t Trail, err error) {
	if r.Kind != "model.infer" || r.Who == nil || len(r.Detail) == 0 {
		return t, nil
	}
	err = json.Unmarshal(r.Detail, &t)
	return t, err
}

// unreadable is the error of a record that cannot be charged again.
func unreadable(index uint64, err error) error {
	return &pavise.Error{
		Kind: pavise.Unverified,
		Msg:  fmt.Sprintf("record %d cannot be read, so what callers have taken is not known", index),
		Hint: "run pavise ledger verify on the ledger directory; if it fails, restore the evidence log from a backup",
		Err:  err,
	}
}

// lastSnapshot returns the snapshot in the store, or an empty one.
func (g *Gateway) lastSnapshot(ctx context.Context) (last snapshot, err error) {
	err = g.db.View(ctx, func(tx *store.Tx) error {
		rows, err := tx.Query(`SELECT records, signed, spends FROM gateway_spends`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var text string
			if err := rows.Scan(&last.records, &last.signed, &text); err != nil {
				return err
			}
			if err := json.Unmarshal([]byte(text), &last.spends); err != nil {
				return fmt.Errorf("read the snapshot of the meter: %w", err)
			}
		}
		return rows.Err()
	})
	return last, err
}
