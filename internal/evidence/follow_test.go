package evidence

import (
	"net/url"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/ledger"
)

// What the verbs do is tested at the whole table, in package verbs.

// TestConditions reads them as people write them.
func TestConditions(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	for name, test := range map[string]struct {
		conditions Conditions
		want       ledger.Filter
	}{
		"none":        {Conditions{}, ledger.Filter{}},
		"names":       {Conditions{Who: "human/ana", On: "rival/model/m"}, ledger.Filter{Who: "local/human/ana", On: "rival/model/m"}},
		"a date":      {Conditions{Since: "2026-11-25", Until: "2026-11-26T10:00:00Z"}, ledger.Filter{Since: now.Add(-36 * time.Hour), Until: now.Add(-2 * time.Hour)}},
		"a span back": {Conditions{Since: "7d"}, ledger.Filter{Since: now.Add(-7 * 24 * time.Hour)}},
		"a kind":      {Conditions{Kind: []string{"model"}, Ending: "deny"}, ledger.Filter{Kinds: []string{"model"}, Ending: "deny"}},
	} {
		test.want.Tenant = "local"
		if got, err := test.conditions.filter("local", now); err != nil || !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	for _, c := range []Conditions{{Who: "ana"}, {On: "a/b/c/d"}, {Subject: "jane"}, {Since: "yesterday"}, {Until: "-3h"}, {Since: "1h", Until: "2h"}} {
		if _, err := c.filter("local", now); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// TestQuery writes what a follower wants as the server reads it.
func TestQuery(t *testing.T) {
	f := Following{After: 7, Name: "siem & co", FollowConditions: FollowConditions{Kind: []string{"model", "tier.hold"}, Who: "human/ana"}}
	q, err := url.ParseQuery(f.query())
	if err != nil || len(q) != 4 || q.Get("after") != "7" || q.Get("name") != f.Name || q.Get("who") != f.Who || !slices.Equal(q["kind"], f.Kind) {
		t.Errorf("%q, %v", f.query(), err)
	}
	if got := (Following{}).query(); got != "" {
		t.Errorf("of nothing: %q", got)
	}
}
