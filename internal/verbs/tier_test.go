package verbs

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/detect"
	"github.com/pavise/pavise/internal/issuer"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/route"
	"github.com/pavise/pavise/internal/theft"
	"github.com/pavise/pavise/internal/tier"
)

var (
	scored  = pavise.Name{Tenant: "local", Kind: "model", ID: "scored"}
	scanner = pavise.Name{Tenant: "local", Kind: "workload", ID: "scanner"}
)

// holding puts a model in front of callers, and holds one of them to a tier.
func (w *world) holding(t *testing.T, to string) TierHold {
	t.Helper()
	if !w.Routes.Has(scored) {
		if err := w.client(t, "operator").Call(t.Context(), "route.put", route.Spec{Name: scored.String(), ONNX: networkOf(2, 3)}, nil); err != nil {
			t.Fatal(err)
		}
	}
	return TierHold{Model: scored, Caller: scanner, Tier: to, Reason: "unlike honest clients"}
}

// minted speaks as an identity that somebody had made.
func (w *world) minted(t *testing.T, by *api.Client, kind, id, role string) *api.Client {
	t.Helper()
	var token issuer.Token
	if err := by.Call(t.Context(), "issuer.mint", MintRequest{Subject: id, Kind: kind, Role: []string{role}}, &token); err != nil {
		t.Fatal(err)
	}
	return &api.Client{Base: w.server.URL, Token: token.Value}
}

// A caller is held by an analyst, is listed and shown with who said it, and an operator
// lets it go with a reason; every step is a record that says so.
func TestTierIsHeldAndLifted(t *testing.T) {
	w := newWorld(t)
	ana, ben := w.person(t, "ana", "analyst"), w.person(t, "ben", "operator")
	var held TierHeld
	if err := ana.Call(t.Context(), "tier.hold", w.holding(t, "red"), &held); err != nil || held.Tier != tier.Red || held.Seen || !strings.Contains(held.Words, "local/human/ana said so: unlike honest clients") {
		t.Fatalf("hold: %+v, %v", held, err)
	}
	if left := time.Until(held.Until); left < 23*time.Hour || left > 25*time.Hour {
		t.Errorf("held until %v, where a day is usual", held.Until)
	}
	if w.Tiers.Of(scored, scanner) != tier.Red {
		t.Error("the book has it otherwise")
	}
	var list TierViews
	if err := ana.Call(t.Context(), "tier.list", TierList{Model: scored, Caller: scanner, Tier: "red"}, &list); err != nil || len(list.Tiers) != 1 || list.Tiers[0].Who != scanner {
		t.Errorf("list: %+v, %v", list, err)
	}
	for _, other := range []TierList{{Tier: "amber"}, {Model: pavise.Name{Tenant: "local", Kind: "model", ID: "fraud"}}, {Caller: pavise.Name{Tenant: "local", Kind: "human", ID: "x"}}} {
		if err := ana.Call(t.Context(), "tier.list", other, &list); err != nil || len(list.Tiers) != 0 {
			t.Errorf("list %+v: %+v, %v", other, list, err)
		}
	}
	ref := TierRef{scored, scanner}
	if err := ana.Call(t.Context(), "tier.lift", TierLift{ref, "mine"}, nil); pavise.KindOf(err) != pavise.Denied {
		t.Errorf("an analyst lifts: %v", err)
	}
	var lifted TierLifted
	if err := ben.Call(t.Context(), "tier.lift", TierLift{ref, "it was our own test"}, &lifted); err != nil || lifted.Was.Tier != tier.Red || w.Tiers.Of(scored, scanner) != tier.Green {
		t.Fatalf("lift: %+v, %v", lifted, err)
	}
	if err := ben.Call(t.Context(), "tier.lift", TierLift{ref, "again"}, nil); pavise.KindOf(err) != pavise.NotFound {
		t.Errorf("lifted twice: %v", err)
	}
	var shown TierShown
	if err := ana.Call(t.Context(), "tier.show", ref, &shown); err != nil || shown.Tier != tier.Green || shown.Words != "nothing is known against it" || len(shown.Records) != 3 {
		t.Fatalf("show: %+v, %v", shown, err)
	}
	for i, want := range []string{"was refused", "local/human/ben lifted it: it was our own test", "local/human/ana held it to red: unlike honest clients"} {
		if r := shown.Records[i]; !strings.Contains(r.Words, want) {
			t.Errorf("record %d says %q, want %q", r.Index, r.Words, want)
		}
	}
	r, err := w.Log.Read(shown.Records[1].Index)
	var detail tierDetail
	if err != nil || json.Unmarshal(r.Detail, &detail) != nil || detail.Caller != scanner || detail.Reason != "it was our own test" || detail.Was == nil || detail.Was.Tier != tier.Red || detail.Was.By.ID != "ana" {
		t.Errorf("the record of the lift is %+v, %s, %v", r, r.Detail, err)
	}
}

// What a detector found is evidence of the caller alone whom it names.
func TestTierShowsWhatWasFound(t *testing.T) {
	w := newWorld(t)
	note := func(who pavise.Name, says string) {
		f := pavise.Finding{Kind: detect.KindSuspected, Severity: pavise.Warning, On: scored, Who: who, Summary: says, At: time.Now()}
		if err := w.Guard.Note(t.Context(), detect.KindSuspected, nil, scored, map[string]any{"finding": f, "detector": "extraction"}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range tierRecords + 5 {
		note(scanner, fmt.Sprint("it repeats itself ", i))
		note(pavise.Name{Tenant: "local", Kind: "workload", ID: "other"}, "another one")
	}
	var shown TierShown
	if err := w.client(t, "analyst").Call(t.Context(), "tier.show", TierRef{scored, scanner}, &shown); err != nil || len(shown.Records) != tierRecords {
		t.Fatalf("%d records, %v", len(shown.Records), err)
	}
	for i, r := range shown.Records {
		if want := fmt.Sprint("it repeats itself ", tierRecords+4-i); r.Words != want || r.Kind != detect.KindSuspected {
			t.Errorf("record %d says %q, want %q", r.Index, r.Words, want)
		}
	}
}

// Who may hold and lift, and what is refused.
func TestTierRefuses(t *testing.T) {
	w := newWorld(t)
	good := w.holding(t, "amber")
	ben := w.person(t, "ben", "operator")
	edit := func(change func(*TierHold)) TierHold { h := good; change(&h); return h }
	program := w.minted(t, ben, pavise.Workload, "watchdog", "analyst")
	for name, c := range map[string]struct {
		by   *api.Client
		hold TierHold
		kind pavise.Kind
	}{
		"a program holds to red":    {program, edit(func(h *TierHold) { h.Tier = "red" }), pavise.Denied},
		"a caller holds others":     {w.person(t, "kim", "caller"), good, pavise.Denied},
		"who calls and runs":        {w.person(t, "kay", "caller", "operator"), good, pavise.Denied},
		"green":                     {ben, edit(func(h *TierHold) { h.Tier = "green" }), pavise.Invalid},
		"no tier":                   {ben, edit(func(h *TierHold) { h.Tier = "" }), pavise.Invalid},
		"no reason":                 {ben, edit(func(h *TierHold) { h.Reason = "" }), pavise.Invalid},
		"a reason without an end":   {ben, edit(func(h *TierHold) { h.Reason = strings.Repeat("x", 1001) }), pavise.Invalid},
		"for no time":               {ben, edit(func(h *TierHold) { h.For = "0s" }), pavise.Invalid},
		"for ever":                  {ben, edit(func(h *TierHold) { h.For = "91d" }), pavise.Invalid},
		"for what is no time":       {ben, edit(func(h *TierHold) { h.For = "a while" }), pavise.Invalid},
		"no model":                  {ben, edit(func(h *TierHold) { h.Model.Kind = "route" }), pavise.Invalid},
		"a model that is not there": {ben, edit(func(h *TierHold) { h.Model.ID = "none" }), pavise.NotFound},
		"a caller of another house": {ben, edit(func(h *TierHold) { h.Caller.Tenant = "acme" }), pavise.Invalid},
		"a caller who is a thing":   {ben, edit(func(h *TierHold) { h.Caller.Kind = "model" }), pavise.Invalid},
		"another house's model":     {ben, edit(func(h *TierHold) { h.Model.Tenant, h.Caller.Tenant = "acme", "acme" }), pavise.Denied},
	} {
		if err := c.by.Call(t.Context(), "tier.hold", c.hold, nil); pavise.KindOf(err) != c.kind {
			t.Errorf("%s: %v, want %v", name, err, c.kind)
		}
	}
	if n := len(w.Tiers.List(tier.Filter{})); n != 0 {
		t.Fatalf("%d are held by what was refused", n)
	}
	if err := program.Call(t.Context(), "tier.hold", good, nil); err != nil {
		t.Errorf("a program may hold to amber: %v", err)
	}
}

// Nobody lifts what holds themselves, neither by their own name nor by that of another
// self that they had made, nor has a program do it. What holds a program of theirs they may.
func TestNobodyLiftsTheirOwn(t *testing.T) {
	w := newWorld(t)
	ben, kim := w.person(t, "ben", "operator"), w.person(t, "kim", "operator")
	bens := w.minted(t, ben, pavise.Human, "bens-other-self", "operator")
	made := w.minted(t, ben, pavise.Workload, "made", "caller")
	if err := made.Call(t.Context(), "issuer.whoami", api.Empty{}, nil); err != nil {
		t.Fatal(err)
	}
	name := func(kind, id string) pavise.Name { return pavise.Name{Tenant: "local", Kind: kind, ID: id} }
	for _, caller := range []pavise.Name{name("human", "ben"), name("human", "bens-other-self")} {
		hold := w.holding(t, "amber")
		hold.Caller = caller
		if err := kim.Call(t.Context(), "tier.hold", hold, nil); err != nil {
			t.Fatal(err)
		}
		lift := TierLift{TierRef{scored, caller}, "I need it"}
		for who, by := range map[string]*api.Client{"ben": ben, "whom ben made": bens} {
			if err := by.Call(t.Context(), "tier.lift", lift, nil); pavise.KindOf(err) != pavise.Denied || !strings.Contains(err.Error(), "nobody lifts what holds themselves") {
				t.Errorf("%s lifts %s: %v", who, caller, err)
			}
		}
		if err := w.minted(t, kim, pavise.Workload, "robot", "operator").Call(t.Context(), "tier.lift", lift, nil); pavise.KindOf(err) != pavise.Denied || !strings.Contains(err.Error(), "lifted-by-people") {
			t.Errorf("a program lifts %s: %v", caller, err)
		}
		if err := kim.Call(t.Context(), "tier.lift", lift, nil); err != nil {
			t.Errorf("another operator cannot lift %s: %v", caller, err)
		}
	}
	hold := w.holding(t, "amber")
	hold.Caller = name("workload", "made")
	if err := kim.Call(t.Context(), "tier.hold", hold, nil); err != nil {
		t.Fatal(err)
	}
	if err := ben.Call(t.Context(), "tier.lift", TierLift{TierRef{scored, hold.Caller}, "I need it"}, nil); err != nil {
		t.Errorf("ben cannot lift what holds a program of his: %v", err)
	}
	for _, r := range w.Log.Records(0, w.Log.Size()) {
		if r.Kind == "tier.lift" && r.Phase == record.Exit && !strings.Contains(string(r.Detail), "I need it") {
			t.Errorf("a record of a lift without its reason: %s", r.Detail)
		}
	}
}

// Who had an identity made is known after a restart, too: from the log.
func TestMakersAreKnownByTheLog(t *testing.T) {
	w := newWorld(t)
	ben, kim := w.person(t, "ben", "operator"), w.person(t, "kim", "operator")
	made := pavise.Principal{Tenant: "local", Kind: pavise.Human, ID: "made-before", By: pavise.Name{Tenant: "local", Kind: pavise.Human, ID: "ben"}}
	if _, err := w.Log.Append(t.Context(), &record.Record{Kind: "model.infer", Phase: record.Act, Tenant: "local", At: time.Now(), Who: &made, On: scored, Outcome: pavise.Allow}, ledger.Durable); err != nil {
		t.Fatal(err)
	}
	hold := w.holding(t, "amber")
	hold.Caller = made.Name()
	if err := kim.Call(t.Context(), "tier.hold", hold, nil); err != nil {
		t.Fatal(err)
	}
	lift := TierLift{TierRef{scored, made.Name()}, "I need it"}
	if err := ben.Call(t.Context(), "tier.lift", lift, nil); pavise.KindOf(err) != pavise.Denied || !strings.Contains(err.Error(), "nobody lifts what holds themselves") {
		t.Errorf("ben lifts whom ben had made: %v", err)
	}
	if err := kim.Call(t.Context(), "tier.lift", lift, nil); err != nil {
		t.Errorf("another operator: %v", err)
	}
}

// The words of a standing name whose word it is, and what was measured.
func TestTierWords(t *testing.T) {
	seen := &theft.Sighting{Rows: 250, Detector: "low-margin", Score: 3.14159, Threshold: 2.5, Evidence: "250 rows: 40% of its rows lie close to a border"}
	by := pavise.Name{Tenant: "local", Kind: "human", ID: "ana"}
	for want, s := range map[string]tier.Standing{
		"nothing is known against it": {},
		"a detector found it unlike honest clients: after 250 rows, 40% of its rows lie close to a border: 3.14 by the measure low-margin, where 2.50 is the most of honest clients": {Tier: tier.Amber, Evidence: seen},
		"local/human/ana said so: a theft": {Tier: tier.Red, By: by, Reason: "a theft"},
		"local/human/ana said so: a theft. A detector saw it, too: after 250 rows, 40% of its rows lie close to a border: 3.14 by the measure low-margin, where 2.50 is the most of honest clients": {Tier: tier.Red, By: by, Reason: "a theft.", Evidence: seen},
	} {
		if got := tierWords(s); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
