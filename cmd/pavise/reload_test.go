package main

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/route"
	"github.com/pavise/pavise/internal/verbs"
)

// A turning is a name behind which servers change, and those who ask it meanwhile.
type turning struct {
	turn  atomic.Int64 // even: the first server answers, or the second, in turn; odd: nobody knows
	asked atomic.Int64
}

// ask asks once. do returns which of the two servers has answered. While no release is
// under way that can only be one.
func (u *turning) ask(s *storm, do func() (a answer, second bool, err error)) {
	before := u.turn.Load()
	a, second, err := do()
	after := u.turn.Load()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil || before == after && before%2 == 0 && second != (before/2%2 == 1) {
		s.faults = append(s.faults, fmt.Sprintf("in turn %d: %+v, %v", before, a, err))
		return
	}
	s.answers = append(s.answers, a)
	u.asked.Add(1)
}

// await waits until many were answered on what stands now.
func (u *turning) await(t *testing.T) {
	t.Helper()
	const many = 10
	deadline := time.Now().Add(time.Minute)
	for before := u.asked.Load(); u.asked.Load() < before+many; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nobody is answered any more")
		}
	}
}

// A reload is a running pavise whose routes change while callers ask.
type reload struct {
	*process
	*storm
	operator, another *api.Client
	tensors, language turning
	servers           [3]*modelServer // the third is the second's twin
	chats             [2]*chatServer
	waiting           atomic.Int32   // streams that have begun, and are held
	did               map[string]int // acts that succeeded, by verb
}

const (
	liveModel = "live"
	liveChat  = "live-chat"
	heldAsk   = 999 // what one caller asks whom the first server lets wait
	bias      = 1000
)

// TestReloadUnderLoad has two people change everything of a route while callers ask for
// tensors, chat and take streams: its servers, their weights, a shadow, terms and
// policies. No request fails, and none is answered by a server that is not to answer
// any more; what was under way to the server of before ends there; every answer has its
// record, and every change its own.
func TestReloadUnderLoad(t *testing.T) {
	r := startReload(t)
	stop := make(chan struct{})
	var callers sync.WaitGroup
	for n := range 6 {
		callers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				r.asks(t.Context(), n, i%heldAsk)
			}
		})
	}
	var held sync.WaitGroup
	held.Go(func() { r.asksAndWaits(t) })
	held.Go(func() { r.streamsAndWaits(t) })
	for r.servers[0].waiting.Load()+r.waiting.Load() < 2 {
		time.Sleep(time.Millisecond)
	}
	rounds := 2
	if testing.Short() {
		rounds = 1
	}
	for round := range rounds {
		r.toSecond(t)
		if round == 0 { // who waits began before that
			close(*r.servers[0].gate.Load())
			close(r.chats[0].gate)
			held.Wait()
		}
		r.meanwhile(t, round)
		r.toFirst(t)
	}
	close(stop)
	callers.Wait()
	r.interrupt(t)
	if len(r.faults) > 0 {
		t.Errorf("%d requests were not answered as they should be: %.1000q", len(r.faults), r.faults)
	}
	verify(t, r.data)
	r.checkRecords(t)
}

func startReload(t *testing.T) *reload {
	t.Helper()
	r := &reload{storm: &storm{}, did: map[string]int{}}
	r.process = start(t, t.TempDir()+"/data", "--person", "another")
	r.operator = r.process.operator(t)
	var err error
	if r.another, err = another(r.process); err != nil {
		t.Fatal(err)
	}
	for i := range r.servers {
		r.servers[i] = newModelServer(t)
	}
	r.servers[1].bias, r.servers[2].bias = bias, bias
	gate := make(chan struct{})
	r.servers[0].gated = fmt.Sprintf("[1,%d,1]", heldAsk)
	r.servers[0].gate.Store(&gate)
	r.chats = [2]*chatServer{newChatServer(t, "first", time.Millisecond), newChatServer(t, "second", time.Millisecond)}
	r.servers[0].behind(t, r.process, liveModel)
	chatBehind(t, r.process, liveChat, r.chats[0].URL)
	r.did["route.put"] = 2
	return r
}

// asks asks once: for tensors, chat or a stream.
func (r *reload) asks(ctx context.Context, caller, i int) {
	if caller%3 == 0 {
		r.tensors.ask(r.storm, func() (a answer, second bool, err error) {
			a, err = ask(r.Server, r.Token, liveModel, asking(i))
			if second = a.answers(i + bias); err == nil && !second && !a.answers(i) {
				err = fmt.Errorf("no answer to %d", i)
			}
			return a, second, err
		})
		return
	}
	r.language.ask(r.storm, func() (a answer, second bool, err error) {
		a, err = talk(ctx, r.Server, r.Token, liveChat, fmt.Sprint(i), caller%3 == 1)
		if second = a.said == fmt.Sprint("second ", i); err == nil && !second && a.said != fmt.Sprint("first ", i) {
			err = fmt.Errorf("no answer to %d", i)
		}
		return a, second, err
	})
}

// asksAndWaits asks what the first server lets wait.
func (r *reload) asksAndWaits(t *testing.T) {
	a, err := ask(r.Server, r.Token, liveModel, asking(heldAsk))
	r.keep(t, a, err, a.answers(heldAsk))
}

// streamsAndWaits takes a stream that the first server holds in its middle.
func (r *reload) streamsAndWaits(t *testing.T) {
	resp, err := chat(t.Context(), r.Server, r.Token, liveChat, holds, true)
	if err != nil {
		t.Error(err)
		return
	}
	r.waiting.Add(1)
	a, err := hear(resp, liveChat, true)
	r.keep(t, a, err, a.said == "first "+holds)
}

// keep notes the answer of one who has waited, which must be the first server's.
func (r *reload) keep(t *testing.T, a answer, err error, first bool) {
	if err != nil || !first {
		t.Errorf("who was under way to the server of before got %+v, %v", a, err)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answers = append(r.answers, a)
}

// toSecond releases both names on their second servers.
func (r *reload) toSecond(t *testing.T) {
	t.Helper()
	r.turns(t, &r.tensors, route.ReleaseSpec{Name: "local/model/" + liveModel, Upstream: r.servers[1].addr, Remote: "storm", Replicas: []string{r.servers[2].addr}})
	r.turns(t, &r.language, route.ReleaseSpec{Name: "local/model/" + liveChat, Upstream: r.chats[1].URL, Remote: "echo", Protocol: "openai"})
}

// toFirst releases both names on their first servers.
func (r *reload) toFirst(t *testing.T) {
	t.Helper()
	r.turns(t, &r.tensors, route.ReleaseSpec{Name: "local/model/" + liveModel, Upstream: r.servers[0].addr, Remote: "storm", Replicas: []string{"none"}})
	r.turns(t, &r.language, route.ReleaseSpec{Name: "local/model/" + liveChat, Upstream: r.chats[0].URL, Remote: "echo", Protocol: "openai"})
}

// turns releases a name on its other server.
func (r *reload) turns(t *testing.T, u *turning, spec route.ReleaseSpec) {
	t.Helper()
	u.await(t)
	u.turn.Add(1)
	r.releases(t, spec)
	u.turn.Add(1)
	u.await(t)
}

func (r *reload) releases(t *testing.T, spec route.ReleaseSpec) {
	t.Helper()
	if err := release(t.Context(), r.operator, r.another, spec); err != nil {
		t.Fatal(err)
	}
	r.did["route.release"]++
}

// meanwhile changes all else, while the second servers answer.
func (r *reload) meanwhile(t *testing.T, round int) {
	t.Helper()
	name := "local/model/" + liveModel
	for _, spec := range []route.Spec{
		{Name: name, Weights: []string{r.servers[1].addr + "=0"}},
		{Name: name, Balance: "least-request", Rate: fmt.Sprintf("%d/1m", 10_000_000+round)},
		{Name: name, Weights: []string{r.servers[1].addr + "=1", r.servers[2].addr + "=7"}, Shape: []string{"full", "round:4"}[round%2]},
	} {
		if err := r.operator.Call(t.Context(), "route.put", spec, nil); err != nil {
			t.Fatal(err)
		}
		r.did["route.put"]++
		r.tensors.await(t)
	}
	for _, shadow := range []string{r.servers[0].addr, "none"} {
		r.releases(t, route.ReleaseSpec{Name: name, Shadow: shadow})
		r.tensors.await(t)
	}
	var ch api.ChangeView
	put := verbs.PolicyPut{ID: "reload", Text: fmt.Sprintf("@doc(\"%d\")\nforbid (principal in Role::\"nobody\", action, resource);", round)}
	if err := r.operator.Call(t.Context(), "policy.put", put, &ch); err != nil {
		t.Fatal(err)
	}
	if err := r.another.Call(t.Context(), "change.approve", verbs.VoteRequest{ID: ch.Name.ID, Digest: ch.Digest}, &ch); err != nil || ch.State != change.Done {
		t.Fatalf("%+v, %v", ch, err)
	}
	r.did["policy.put"]++
	r.tensors.await(t)
	r.language.await(t)
}

// checkRecords finds the record of each answer and of each change.
func (r *reload) checkRecords(t *testing.T) {
	t.Helper()
	log, subjects := evidenceOf(t, r.data)
	r.checkAnswers(t, log, subjects)
	found := map[string]int{}
	for _, rec := range log.Records(0, log.Size()) {
		_, counts := r.did[rec.Kind]
		if counts && rec.Phase == record.Exit && rec.Error == nil && (rec.Kind == "policy.put" || strings.HasPrefix(rec.On.ID, liveModel)) {
			found[rec.Kind]++
		}
	}
	if !maps.Equal(found, r.did) {
		t.Errorf("the log has %v, and %v were done", found, r.did)
	}
}
