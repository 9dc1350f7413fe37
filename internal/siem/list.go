package siem

import (
	"context"

	"github.com/pavise/pavise"
)

const (
	// maxListed is how many findings one list has at most, and maxScanned how many
	// records it looks at for them.
	maxListed  = 1000
	maxScanned = 20000
)

// A Listing says which findings are wanted.
type Listing struct {
	Limit  int      // 1 to 1000; 0: 50
	Before *uint64  // only of records before this one; nil: the newest
	Least  Severity // only as bad as this, or worse; 0: all
}

// A List holds findings, the newest first.
type List struct {
	Findings []Finding `json:"findings"`
	More     bool      `json:"more,omitempty"`   // there may be older ones
	Before   uint64    `json:"before,omitempty"` // of records before this one, if there are more
}

// Findings returns what there is to look at, from the log: the verb finding.list.
// Refusals of one sort within one minute are one, with their count.
func (w *Wires) Findings(ctx context.Context, who pavise.Principal, want Listing) (list List, err error) {
	entry, err := w.cfg.Guard.Enter(ctx, who, "finding.list", pavise.Name{Tenant: who.Tenant, Kind: "ledger", ID: "log"})
	if err != nil {
		return list, err
	}
	defer entry.Exit(&err)
	limit := min(want.Limit, maxListed)
	if limit <= 0 {
		limit = 50
	}
	to := w.cfg.Log.Size()
	if want.Before != nil {
		to = min(to, *want.Before)
	}
	list.Findings = []Finding{}
	same := map[string]int{} // sort and minute → place in the list
	scanned := 0
	for found, err := range w.back(ctx, who.Tenant, w.cfg.Log.First(), to) {
		if err != nil {
			return list, err
		}
		f, ok := Worth(found.Index, &found.Record)
		if scanned++; scanned > maxScanned {
			list.More, list.Before = true, found.Index+1
			return list, nil
		}
		if !ok || f.Severity < want.Least {
			continue
		}
		sort, folds := f.sort()
		sort += f.At.Truncate(stretch).String()
		if i, known := same[sort]; folds && known {
			list.Findings[i].earlier(f)
			continue
		}
		if len(list.Findings) == limit {
			list.More, list.Before = true, found.Index+1
			return list, nil
		}
		same[sort] = len(list.Findings)
		list.Findings = append(list.Findings, f)
	}
	return list, nil
}

// earlier takes in an earlier finding of the same sort.
func (f *Finding) earlier(e Finding) {
	if f.Last.IsZero() {
		f.Last = f.At
	}
	e.Count, e.Last = e.Count+f.Count, f.Last
	*f = e
}
