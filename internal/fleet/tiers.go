package fleet

import (
	"context"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/tier"
)

// A TierOrder is what an operator says of a caller at a model, to all gateways. Green is
// the word that lifts what held before it was given.
type TierOrder struct {
	tier.Word
	Since time.Time `json:"since"` // when it was given, by the control plane's clock
}

// TierOrders are the words that operators gave at a control plane and that still hold, in
// the book's order. A word's end is told to the minute: as a book tells it, it moves with
// the clock by a second, and each move would be another bundle.
func TierOrders(book *tier.Book, tenant string) []TierOrder {
	all := []TierOrder{}
	for _, s := range book.List(tier.Filter{Tenant: tenant}) {
		if s.By == (pavise.Name{}) {
			continue
		}
		o := TierOrder{tier.Word{Model: s.Model, Who: s.Who, Tier: s.Tier, By: s.By, Reason: s.Reason}, s.Since}
		if !s.Until.IsZero() {
			o.Until = s.Since.Add(s.Until.Sub(s.Since).Round(time.Minute))
		}
		all = append(all, o)
	}
	return all
}

// ObeyTiers has a gateway's book say what the control plane's operators said. What its own
// detectors saw stays, but for callers who were lifted since. An order that has ended by this
// machine's clock, or makes no sense, is passed over: what held by it ends as the book counts
// time. The same orders again change nothing.
func ObeyTiers(ctx context.Context, book *tier.Book, orders []TierOrder, now time.Time) error {
	type at struct{ model, who pavise.Name }
	held := map[at]bool{}
	for _, o := range orders {
		if o.Tier != tier.Green {
			held[at{o.Model, o.Who}] = true
		}
		if o.Validate(now) != nil {
			continue
		}
		s, known := book.Get(o.Model, o.Who)
		if o.Tier == tier.Green {
			if known && s.Since.Before(o.Since) {
				if _, err := book.Lift(ctx, o.Word); err != nil && pavise.KindOf(err) != pavise.NotFound {
					return err
				}
			}
			continue
		}
		if known && s.By == o.By && s.Tier == o.Tier && s.Reason == o.Reason && s.Until.Sub(o.Until).Abs() < 2*time.Minute {
			continue
		}
		if _, err := book.Obey(ctx, o.Word); err != nil {
			return err
		}
	}
	for _, s := range book.List(tier.Filter{}) {
		if s.By == (pavise.Name{}) || held[at{s.Model, s.Who}] {
			continue
		}
		if err := book.Unsay(ctx, s.Model, s.Who); err != nil {
			return err
		}
	}
	return nil
}
