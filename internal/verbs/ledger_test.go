package verbs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/evidence"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/record"
)

// fill writes n records of a kind.
func (w *world) fill(t *testing.T, kind string, n int) {
	t.Helper()
	const writers = 64
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			for range n/writers + min(1, max(0, n%writers-i)) {
				if _, err := w.Log.Append(t.Context(), &record.Record{Kind: kind, Phase: record.Note, Tenant: "local", At: time.Now().UTC()}, ledger.Written); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// TestListPages walks the log by pages of every sort of size, both ways, with and
// without conditions, and holds each walk against all records read one by one.
func TestListPages(t *testing.T) {
	w := newWorld(t)
	analyst := w.client(t, "analyst")
	w.fill(t, "test.a", 300)
	var mixed sync.WaitGroup
	mixed.Go(func() { w.fill(t, "test.b", 70) })
	mixed.Go(func() { w.fill(t, "other.c", 90) })
	mixed.Wait()
	size := w.Log.Size()
	for name, c := range map[string]evidence.Conditions{
		"all": {}, "one kind": {Kind: []string{"test.b"}}, "a room": {Kind: []string{"test"}}, "two": {Kind: []string{"test.b", "other"}}, "none": {Kind: []string{"te"}},
	} {
		filter := ledger.Filter{Tenant: "local", Kinds: c.Kind}
		var want []uint64
		for i, r := range w.Log.Records(0, size) {
			if filter.Matches(&r) {
				want = append(want, i)
			}
		}
		for _, limit := range []int{7, 100, 1000} {
			list := func(req evidence.ListRequest) (answer evidence.ListAnswer) {
				t.Helper()
				req.Conditions, req.Limit = c, limit
				if err := analyst.Call(t.Context(), "ledger.list", req, &answer); err != nil {
					t.Fatal(err)
				}
				return answer
			}
			var got []uint64
			for next, more := uint64(0), true; more; {
				a := list(evidence.ListRequest{After: &next, Before: &size})
				got = append(got, indexes(a)...)
				if more = a.More; more {
					next = got[len(got)-1] + 1
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s, forwards by %d: %d records, want %d", name, limit, len(got), len(want))
			}
			got = nil
			for before, more := size, true; more; {
				a := list(evidence.ListRequest{Before: &before})
				got = append(indexes(a), got...)
				if more = a.More; more {
					before = got[0]
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s, backwards by %d: %d records, want %d", name, limit, len(got), len(want))
			}
		}
	}
}

func indexes(a evidence.ListAnswer) (list []uint64) {
	for _, e := range a.Events {
		list = append(list, e.Index)
	}
	return list
}

// TestListRefuses is asked by people who mistype.
func TestListRefuses(t *testing.T) {
	w := newWorld(t)
	analyst := w.client(t, "analyst")
	for body, want := range map[string]string{
		`{"since":"yesterday"}`: "no time", `{"until":"-3h"}`: "no time", `{"ending":"fail"}`: "ending", `{"limit":1001}`: "limit", `{"knd":["a"]}`: "knd",
		`{"who":"garbage"}`: `who is "garbage", no name`, `{"who":"a/b/c/d"}`: "no name", `{"who":"/human/root"}`: "no name", `{"on":"model/ x"}`: "no name",
		`{"subject":"local/workload/demo"}`: "no pseudonym", `{"subject":"s-1"}`: "no pseudonym",
		`{"since":"2026-02-02","until":"2026-02-01"}`: "is after until", `{"since":"1h","until":"2h"}`: "is after until",
		`{"after":5,"before":5}`: "after, 5, is not below before, 5", `{"after":5,"before":0}`: "not below before",
	} {
		if resp, p := post(t, analyst, "ledger.list", body); p.Hint == "" || p.Title != "invalid" || !strings.Contains(p.Detail, want) {
			t.Errorf("%s: %d %+v", body, resp.StatusCode, p)
		}
	}
	far := uint64(1) << 63
	var a evidence.ListAnswer
	if err := analyst.Call(t.Context(), "ledger.list", evidence.ListRequest{After: &far}, &a); err != nil || len(a.Events) != 0 || a.More {
		t.Errorf("from far behind the end: %+v, %v", a, err)
	}
}

// TestListCompletesNames lists by a name as lists print it: its tenant is the caller's.
func TestListCompletesNames(t *testing.T) {
	w := newWorld(t)
	var whole, short evidence.ListAnswer
	for name, to := range map[string]*evidence.ListAnswer{"local/route/all": &whole, "route/all": &short} {
		if err := w.client(t, "operator").Call(t.Context(), "route.list", api.Empty{}, nil); err != nil {
			t.Fatal(err)
		}
		if err := w.client(t, "analyst").Call(t.Context(), "ledger.list", evidence.ListRequest{Limit: 1, Conditions: evidence.Conditions{On: name, Since: "1h", Until: "2100-01-01"}}, to); err != nil {
			t.Fatal(err)
		}
	}
	if len(whole.Events) != 1 || len(short.Events) != 1 {
		t.Errorf("%d and %d records", len(whole.Events), len(short.Events))
	}
}

// TestKindsAreBounded refuses more kinds than anybody means, in a search, in a feed and
// of a follower that would keep them.
func TestKindsAreBounded(t *testing.T) {
	w := newWorld(t)
	analyst := w.client(t, "analyst")
	many := func(n int) (kinds []string) {
		for i := range n {
			kinds = append(kinds, fmt.Sprint("test.k", i))
		}
		return kinds
	}
	refused := func(what string, err error) {
		t.Helper()
		e, ok := errors.AsType[*pavise.Error](err)
		if !ok || e.Kind != pavise.Invalid || e.Hint == "" || !strings.Contains(e.Msg, "kind") || !strings.Contains(e.Msg, "32") {
			t.Errorf("%s: %#v", what, err)
		}
	}
	var a evidence.ListAnswer
	refused("ledger.list", analyst.Call(t.Context(), "ledger.list", evidence.ListRequest{Conditions: evidence.Conditions{Kind: many(33)}}, &a))
	if err := analyst.Call(t.Context(), "ledger.list", evidence.ListRequest{Conditions: evidence.Conditions{Kind: many(32)}}, &a); err != nil {
		t.Errorf("32 kinds: %v", err)
	}
	ctx, giveUp := context.WithTimeout(t.Context(), 10*time.Second)
	defer giveUp()
	for _, name := range []string{"", "siem"} {
		var last error
		for _, err := range evidence.Follow(ctx, analyst, evidence.Following{Name: name, FollowConditions: evidence.FollowConditions{Kind: many(33)}}) {
			last = err
		}
		refused("ledger.follow "+name, last)
	}
	if backlogs, err := w.Feeds.Backlogs(t.Context(), "local"); err != nil || len(backlogs) != 0 {
		t.Errorf("%+v, %v", backlogs, err)
	}
}

// TestStatusKeys holds the answer to its documented keys.
func TestStatusKeys(t *testing.T) {
	w := newWorld(t)
	var answer map[string]any
	if err := w.client(t, "analyst").Call(t.Context(), "ledger.status", api.Empty{}, &answer); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"origin", "key", "fingerprint", "keys", "first", "records", "signed", "published", "protection", "segments", "bytes", "full"} {
		if _, ok := answer[key]; !ok {
			t.Errorf("no %s in %v", key, answer)
		}
	}
	if answer["origin"] != "test/api" || answer["records"].(float64) < 3 || len(answer) != 12 || answer["protection"] != "software" {
		t.Errorf("%v", answer)
	}
}
