package console

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/catalog"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/deploy"
	"github.com/pavise/pavise/internal/evidence"
	feeds "github.com/pavise/pavise/internal/feed"
	"github.com/pavise/pavise/internal/gateway"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/lineage"
	"github.com/pavise/pavise/internal/monitor"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/registry"
	"github.com/pavise/pavise/internal/route"
	"github.com/pavise/pavise/internal/session"
	"github.com/pavise/pavise/internal/siem"
	"github.com/pavise/pavise/internal/tier"
	"github.com/pavise/pavise/internal/verbs"
)

// A fakeAPI answers as the API server does, over records held in memory under a
// true Merkle tree.
type fakeAPI struct {
	mu       sync.Mutex // guards what follows
	events   []evidence.Event
	hashes   []tlog.Hash
	grew     chan struct{} // closed and replaced when a record is added
	signed   uint64        // records under the checkpoint; later ones have no proof
	problems map[string]api.Problem
	calls    map[string]int
	followed []uint64 // where each stream began
	listed   []evidence.ListRequest
	most     int    // records that a list answers with; 0: as many as it is asked for
	first    uint64 // the first record on this machine

	token     string // that is taken
	changes   []api.ChangeView
	votes     []cast
	found     siem.List
	datasets  catalog.List
	wanted    verbs.FindingRequest // the last that were asked for
	followers []feeds.Backlog
	archive   evidence.ArchiveList
	witness   evidence.WitnessList
	subjects  evidence.SubjectCount

	status   evidence.LogStatus
	routes   []route.Standing
	policies verbs.PolicyList
	explain  guard.Explanation

	matrix  verbs.Matrix
	whoCan  verbs.WhoCan
	asked   []verbs.ExplainRequest // that arrived
	grants  []guard.Grant
	callers []guard.Caller
	revoked []verbs.GrantRef // that arrived
	tiers   verbs.TierViews
	records []verbs.TierRecord
	holds   []verbs.TierHold // that arrived
	lifts   []verbs.TierLift // that arrived
	told    lineage.Graph
	models  registry.List
	shown   map[string]registry.Shown // by what was asked for
	life    registry.History
	since   verbs.ModelHistory // that arrived last
	runs    *deploy.View       // nil: it runs nowhere
	drifts  monitor.List
	drift   monitor.Shown
	judged  []string // that arrived
}

// A cast is a vote that arrived, or a withdrawal.
type cast struct {
	verb string
	verbs.VoteRequest
}

const fakeToken = "token-of-the-session"

func newFakeAPI() *fakeAPI {
	return &fakeAPI{token: fakeToken, grew: make(chan struct{}), problems: map[string]api.Problem{}, calls: map[string]int{}}
}

// add appends records and signs them.
func (f *fakeAPI) add(records ...record.Record) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range records {
		index := uint64(len(f.events))
		f.events = append(f.events, evidence.Event{Index: index, Record: r})
		body, err := json.Marshal(r)
		if err != nil {
			panic(err)
		}
		hashes, err := tlog.StoredHashes(int64(index), body, tlog.HashReaderFunc(f.read))
		if err != nil {
			panic(err)
		}
		f.hashes = append(f.hashes, hashes...)
	}
	f.signed = uint64(len(f.events))
	close(f.grew)
	f.grew = make(chan struct{})
}

func (f *fakeAPI) read(indexes []int64) ([]tlog.Hash, error) {
	var all []tlog.Hash
	for _, i := range indexes {
		all = append(all, f.hashes[i])
	}
	return all, nil
}

// prove returns the proof of a record. The caller holds mu.
func (f *fakeAPI) prove(index uint64) *evidence.Proof {
	size := int64(f.signed)
	if index >= f.signed {
		return nil
	}
	path, err := tlog.ProveRecord(size, int64(index), tlog.HashReaderFunc(f.read))
	if err != nil {
		panic(err)
	}
	root, err := tlog.TreeHash(size, tlog.HashReaderFunc(f.read))
	if err != nil {
		panic(err)
	}
	leaf := f.hashes[tlog.StoredHashIndex(0, int64(index))]
	p := &evidence.Proof{
		Leaf: base64.StdEncoding.EncodeToString(leaf[:]), Path: []string{}, Size: f.signed, Root: root.String(),
		Checkpoint: fmt.Sprintf("pavise.local/log\n%d\n%s\n\n— pavise.local/log Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n", size, root),
	}
	for _, h := range path {
		p.Path = append(p.Path, base64.StdEncoding.EncodeToString(h[:]))
	}
	return p
}

// ServeHTTP answers the verbs the console uses and refuses all others.
func (f *fakeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	verb := strings.TrimPrefix(r.URL.Path, "/v1/")
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls[verb]++
	if r.Header.Get("Authorization") != "Bearer "+f.token {
		f.say(w, api.Problem{Status: 401, Title: "unverified", Detail: "the token is not one of ours"})
		return
	}
	if p, ok := f.problems[verb]; ok {
		f.say(w, p)
		return
	}
	switch verb {
	case "ledger.follow":
		f.follow(w, r)
	case "ledger.list":
		f.list(w, r)
	case "ledger.read":
		var req evidence.ReadRequest
		json.NewDecoder(r.Body).Decode(&req)
		if req.Index >= uint64(len(f.events)) {
			f.say(w, api.Problem{Status: 404, Title: "notfound", Detail: fmt.Sprintf("your tenant has no record %d", req.Index), Hint: "pavise ledger list shows those it has"})
			return
		}
		json.NewEncoder(w).Encode(evidence.ReadAnswer{Event: f.events[req.Index], Proof: f.prove(req.Index)})
	case "ledger.status":
		json.NewEncoder(w).Encode(f.status)
	case "route.list":
		json.NewEncoder(w).Encode(verbs.RouteList{Routes: f.routes})
	case "policy.list":
		json.NewEncoder(w).Encode(f.policies)
	case "policy.explain":
		var req verbs.ExplainRequest
		json.NewDecoder(r.Body).Decode(&req)
		f.asked = append(f.asked, req)
		json.NewEncoder(w).Encode(f.explain)
	default:
		f.more(w, r, verb)
	}
}

// more answers the verbs about changes and about what looks after the log.
func (f *fakeAPI) more(w http.ResponseWriter, r *http.Request, verb string) {
	switch verb {
	case "ledger.followers":
		json.NewEncoder(w).Encode(evidence.FollowerList{Followers: f.followers})
	case "archive.list":
		json.NewEncoder(w).Encode(f.archive)
	case "witness.list":
		json.NewEncoder(w).Encode(f.witness)
	case "subject.list":
		json.NewEncoder(w).Encode(f.subjects)
	case "change.list":
		var req verbs.ChangeListRequest
		json.NewDecoder(r.Body).Decode(&req)
		list := verbs.ChangeList{Changes: []api.ChangeView{}}
		for _, v := range f.changes {
			if !req.Waiting || v.State.Waits() {
				list.Changes = append(list.Changes, v)
			}
		}
		json.NewEncoder(w).Encode(list)
	case "change.show", "change.approve", "change.deny", "change.withdraw":
		var req verbs.VoteRequest
		json.NewDecoder(r.Body).Decode(&req)
		i := slices.IndexFunc(f.changes, func(v api.ChangeView) bool { return v.Name.ID == req.ID })
		if i < 0 {
			f.say(w, api.Problem{Status: 404, Title: "notfound", Detail: "there is no change " + req.ID, Hint: "pavise change list shows those there are"})
			return
		}
		if verb != "change.show" {
			f.vote(verb, req, &f.changes[i])
		}
		json.NewEncoder(w).Encode(f.changes[i])
	default:
		f.access(w, r, verb)
	}
}

// access answers the verbs about who may do what.
func (f *fakeAPI) access(w http.ResponseWriter, r *http.Request, verb string) {
	switch verb {
	case "policy.matrix":
		json.NewEncoder(w).Encode(f.matrix)
	case "policy.who-can":
		json.NewEncoder(w).Encode(f.whoCan)
	case "grant.list":
		json.NewEncoder(w).Encode(verbs.GrantList{Grants: f.grants})
	case "caller.list":
		json.NewEncoder(w).Encode(verbs.CallerList{Callers: f.callers})
	case "grant.revoke":
		var req verbs.GrantRef
		json.NewDecoder(r.Body).Decode(&req)
		f.revoked = append(f.revoked, req)
		json.NewEncoder(w).Encode(api.Empty{})
	case "dataset.lineage":
		var q lineage.Question
		json.NewDecoder(r.Body).Decode(&q)
		traced, err := f.told.Trace(q.Dataset, q.Depth)
		if err != nil {
			api.Refuse(w, err)
			return
		}
		traced.Events, traced.Note = 3, "events are kept for 400 days"
		json.NewEncoder(w).Encode(traced)
	default:
		f.tier(w, r, verb)
	}
}

// tier answers the verbs about tiers.
func (f *fakeAPI) tier(w http.ResponseWriter, r *http.Request, verb string) {
	switch verb {
	case "dataset.list":
		json.NewEncoder(w).Encode(f.datasets)
	case "finding.list":
		f.wanted = verbs.FindingRequest{}
		json.NewDecoder(r.Body).Decode(&f.wanted)
		json.NewEncoder(w).Encode(f.found)
	case "tier.list":
		json.NewEncoder(w).Encode(f.tiers)
	case "tier.show":
		var req verbs.TierRef
		json.NewDecoder(r.Body).Decode(&req)
		shown := verbs.TierShown{TierView: verbs.TierView{Standing: tier.Standing{Model: req.Model, Who: req.Caller}, Words: "nothing is known against it"}, Records: f.records}
		for _, v := range f.tiers.Tiers {
			if v.Model == req.Model && v.Who == req.Caller {
				shown.TierView = v
			}
		}
		json.NewEncoder(w).Encode(shown)
	case "tier.hold":
		var req verbs.TierHold
		json.NewDecoder(r.Body).Decode(&req)
		f.holds = append(f.holds, req)
		json.NewEncoder(w).Encode(verbs.TierHeld{})
	case "tier.lift":
		var req verbs.TierLift
		json.NewDecoder(r.Body).Decode(&req)
		f.lifts = append(f.lifts, req)
		json.NewEncoder(w).Encode(verbs.TierLifted{})
	default:
		f.model(w, r, verb)
	}
}

// model answers the verbs about models, where they run and how they drift.
func (f *fakeAPI) model(w http.ResponseWriter, r *http.Request, verb string) {
	missing := func() { f.say(w, api.Problem{Status: 404, Title: "notfound", Detail: "no such thing"}) }
	switch verb {
	case "model.list":
		json.NewEncoder(w).Encode(f.models)
	case "model.show":
		var req verbs.ModelShow
		json.NewDecoder(r.Body).Decode(&req)
		if shown, ok := f.shown[req.Model]; ok {
			json.NewEncoder(w).Encode(shown)
		} else {
			missing()
		}
	case "model.history":
		json.NewDecoder(r.Body).Decode(&f.since)
		json.NewEncoder(w).Encode(f.life)
	case "deploy.show":
		if f.runs == nil {
			missing()
			return
		}
		json.NewEncoder(w).Encode(f.runs)
	case "drift.list":
		json.NewEncoder(w).Encode(f.drifts)
	case "drift.show":
		var req verbs.DriftRef
		json.NewDecoder(r.Body).Decode(&req)
		if f.drift.Model != req.Model {
			missing()
			return
		}
		json.NewEncoder(w).Encode(f.drift)
	case "drift.verdict", "drift.dismiss":
		var req verbs.DriftVerdict
		json.NewDecoder(r.Body).Decode(&req)
		f.judged = append(f.judged, verb+" "+req.Model.ID+" "+req.Cause+" "+req.Reason)
		json.NewEncoder(w).Encode(f.drift.View)
	default:
		f.say(w, api.Problem{Status: 404, Title: "notfound", Detail: "no such verb"})
	}
}

// vote does what was decided.
func (f *fakeAPI) vote(verb string, req verbs.VoteRequest, v *api.ChangeView) {
	f.votes = append(f.votes, cast{verb, req})
	v.State = map[string]change.State{"change.approve": change.Done, "change.deny": change.Denied, "change.withdraw": change.Withdrawn}[verb]
	v.Outcome, v.Ended = "it ended by "+verb, began
}

func (f *fakeAPI) say(w http.ResponseWriter, p api.Problem) {
	w.WriteHeader(p.Status)
	json.NewEncoder(w).Encode(p)
}

// list answers as the API does: the newest, or with After the oldest.
func (f *fakeAPI) list(w http.ResponseWriter, r *http.Request) {
	var req evidence.ListRequest
	json.NewDecoder(r.Body).Decode(&req)
	f.listed = append(f.listed, req)
	filter := ledger.Filter{Kinds: req.Kind, Who: req.Who, On: req.On, Subject: req.Subject, Ending: req.Ending}
	for text, at := range map[string]*time.Time{req.Since: &filter.Since, req.Until: &filter.Until} {
		var err error
		if *at, err = time.Parse(time.RFC3339, text); text != "" && err != nil {
			f.say(w, api.Problem{Status: 400, Title: "invalid", Detail: fmt.Sprintf("since is %.40q, no time", text), Hint: "write 2026-11-26"})
			return
		}
	}
	answer := evidence.ListAnswer{Events: []evidence.Event{}, Size: uint64(len(f.events)), First: f.first}
	from, to, limit := f.first, answer.Size, cmp.Or(req.Limit, 50)
	if f.most > 0 {
		limit = min(limit, f.most)
	}
	if req.Before != nil {
		to = min(to, *req.Before)
	}
	if req.After != nil {
		from = max(from, *req.After)
	}
	for i := from; i < to; i++ {
		e := f.events[i]
		if req.After == nil {
			e = f.events[to-1-(i-from)]
		}
		if !filter.Matches(&e.Record) {
			continue
		}
		if answer.More = len(answer.Events) == limit; answer.More {
			break
		}
		answer.Events = append(answer.Events, e)
	}
	if req.After == nil {
		slices.Reverse(answer.Events)
	}
	json.NewEncoder(w).Encode(answer)
}

// follow streams without mu held while it waits.
func (f *fakeAPI) follow(w http.ResponseWriter, r *http.Request) {
	next, _ := strconv.ParseUint(r.URL.Query().Get("after"), 10, 64)
	f.followed = append(f.followed, next)
	out := json.NewEncoder(w)
	for {
		for ; next < uint64(len(f.events)); next++ {
			out.Encode(f.events[next])
		}
		grew := f.grew
		f.mu.Unlock()
		http.NewResponseController(w).Flush()
		select {
		case <-grew:
		case <-r.Context().Done():
		}
		f.mu.Lock()
		if r.Context().Err() != nil {
			return
		}
	}
}

// A clock is set by the test.
type clock struct {
	mu sync.Mutex // guards at
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// A stand is a console over a fake API, as a browser meets it.
type stand struct {
	*testing.T
	api     *fakeAPI
	backend *httptest.Server
	console *Console
	token   session.Token // of the sessions that links open
	server  *httptest.Server
	clock   *clock
	cookie  *http.Cookie
}

var began = time.Date(2026, 3, 4, 9, 30, 0, 0, time.UTC)

// newStand starts both servers. Nobody is signed in.
func newStand(t *testing.T) *stand {
	t.Helper()
	s := &stand{T: t, api: newFakeAPI(), clock: &clock{at: began}}
	s.backend = httptest.NewServer(s.api)
	t.Cleanup(s.backend.Close)
	s.server = httptest.NewUnstartedServer(nil)
	host := s.server.Listener.Addr().String()
	console, err := New(Config{
		API: s.backend.URL, Host: []string{host}, Now: s.clock.now, Hint: "curl it", Verify: "pavise ledger verify /var/lib/pavise/log --key 8f3a",
	})
	if err != nil {
		t.Fatal(err)
	}
	s.token = func(context.Context) (string, time.Time, error) {
		return s.api.token, s.clock.now().Add(30 * time.Minute), nil
	}
	s.console, s.server.Config.Handler = console, console.Handler()
	s.server.Start()
	t.Cleanup(func() { // streams end before the server waits for them
		s.clock.add(48 * time.Hour)
		looks := httptest.NewRequest(http.MethodGet, "/", nil)
		looks.AddCookie(&http.Cookie{Name: "pavise_session", Value: "anybody"})
		console.find(looks) // which ends those whose time is up
		s.server.Close()
	})
	return s
}

// link returns a fresh link.
func (s *stand) link() string { return s.console.Link(s.token) }

// signIn takes a link, and keeps its cookie for what follows.
func (s *stand) signIn() *stand {
	s.Helper()
	resp, _ := s.get(s.link())
	if resp.StatusCode != http.StatusOK || len(resp.Cookies()) != 1 {
		s.Fatalf("login: status %d, cookies %v", resp.StatusCode, resp.Cookies())
	}
	s.cookie = resp.Cookies()[0]
	return s
}

func (s *stand) get(path string, headers ...string) (*http.Response, string) {
	s.Helper()
	return s.do(http.MethodGet, path, headers...)
}

// do sends a request with the session's cookie and headers given as name, value
// pairs; the name Host sets the host. Redirects are not followed.
func (s *stand) do(method, path string, headers ...string) (*http.Response, string) {
	s.Helper()
	req := s.request(method, path, headers...)
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		s.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.Fatal(err)
	}
	return resp, string(body)
}

// post sends a form, as a browser does from a page of the console unless the headers
// say otherwise.
func (s *stand) post(path string, form url.Values, headers ...string) (*http.Response, string) {
	s.Helper()
	all := append([]string{"Content-Type", "application/x-www-form-urlencoded", "Origin", s.server.URL, "body", form.Encode()}, headers...)
	return s.do(http.MethodPost, path, all...)
}

// request makes a request. The name body, which is no header, sets the body, and an
// empty value takes a header away.
func (s *stand) request(method, path string, headers ...string) *http.Request {
	s.Helper()
	req, err := http.NewRequestWithContext(s.Context(), method, s.server.URL+path, nil)
	if err != nil {
		s.Fatal(err)
	}
	if s.cookie != nil {
		req.AddCookie(s.cookie)
	}
	for i := 0; i < len(headers); i += 2 {
		switch name, value := headers[i], headers[i+1]; {
		case name == "Host":
			req.Host = value
		case name == "body":
			req.Body, req.ContentLength = io.NopCloser(strings.NewReader(value)), int64(len(value))
		case value == "":
			req.Header.Del(name)
		default:
			req.Header.Set(name, value)
		}
	}
	return req
}

// infer returns the record of a model's answer.
func infer(at time.Time, who string, rows int, change func(*record.Record)) record.Record {
	detail, err := json.Marshal(gateway.Trail{
		ID: "9f86d081884c7d659a2feaa0c55ad015", Model: "sha256:6b51d431df5d7f141cbececcf79edf3dd861c3b4069f0b11661a3eefacbba918",
		Rows: rows, Charged: rows, Shape: "rounded to 4 digits",
		Input:  "d7a8fbb307d7809469ca9abcb0082e4f8d5651e46d3cdb762d02d0bf37c9e592",
		Output: "ef537f25c895bfa782526529a9b63d97aa631564d5d789c2b765448c8635fb6c",
		Answer: []gateway.Output{{Name: "probabilities", Datatype: "FP32", Shape: []int64{int64(rows), 2}}},
	})
	if err != nil {
		panic(err)
	}
	r := record.Record{
		Kind: "model.infer", Phase: record.Act, Tenant: "local", At: at,
		Who: &pavise.Principal{Tenant: "local", Kind: pavise.Workload, ID: who, Issuer: "urn:pavise:local:k3v9", Roles: []string{"caller"}, Proof: "bearer", Expires: at.Add(12 * time.Minute)},
		On:  pavise.Name{Tenant: "local", Kind: "model", ID: "threat-detector"}, Outcome: pavise.Allow,
		Policy: &record.Policy{Digest: "4e07408562bedb8b60ce05c1decfe3ad16b72230967de01f640b7e4729b49fce", Reasons: []string{"caller-uses-models"}},
		Verdicts: []pavise.Verdict{
			{Check: "gate", Outcome: pavise.Allow}, {Check: "budget", Outcome: pavise.Allow},
			{Check: "gate", Outcome: pavise.Allow}, {Check: "shape", Outcome: pavise.Allow, Reason: "rounded to 4 digits"},
		},
		Took: 1840 * time.Microsecond, Detail: detail,
	}
	if change != nil {
		change(&r)
	}
	return r
}
