package premises

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/drift/book"
	"github.com/pavise/pavise/internal/edgetest"
	"github.com/pavise/pavise/internal/issuer"
	"github.com/pavise/pavise/internal/monitor"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/registry"
	"github.com/pavise/pavise/internal/route"
	"github.com/pavise/pavise/internal/store"
	"github.com/pavise/pavise/internal/tier"
)

// A plane is a data plane that is watched, with callers who ask all the time.
type plane struct {
	*edgetest.World
	t     *testing.T
	house *House

	mu    sync.Mutex
	shift func(who int, row []float64) // what a caller does to a row; guarded by mu
	by    string                       // what the record of the last answer says answered; guarded by mu
	back  time.Time                    // when the first model was seen to answer again; guarded by mu
	old   string                       // the first model's digest; guarded by mu
}

// windows are so short in these tests.
const tested = 250 * time.Millisecond

func newPlane(t *testing.T) *plane {
	t.Helper()
	p := &plane{t: t, house: &House{Tenant: edgetest.Tenant, Now: time.Now}}
	p.World = edgetest.NewMonitored(t, monitor.Config{House: drifting{p.house}, Window: tested, Learn: 2000, Say: func(_ string, err error) { t.Log(err) }})
	p.house.Guard, p.house.Gateway, p.house.Changes = p.Guard, p.Gateway, p.Changes
	p.Put(t, func(s *route.Spec) {
		s.Rate, s.Budget, s.ModelBudget = "1000000/1m burst 100000", "100000000/24h", "100000000/24h"
	})
	live, err := p.Routes.Find(edgetest.Model)
	if err != nil {
		t.Fatal(err)
	}
	p.old = live.Is
	var callers sync.WaitGroup
	stop := make(chan struct{})
	for who := range 8 {
		token := p.Mint(t, fmt.Sprint("caller-", who), issuer.RoleCaller)
		callers.Go(func() { p.ask(who, token, stop) })
	}
	t.Cleanup(func() { close(stop); callers.Wait() })
	p.until("a baseline is learnt", func() bool { return len(p.notes(monitor.KindLearned)) > 0 })
	return p
}

// ask asks for rows until it is told to stop.
func (p *plane) ask(who int, token string, stop <-chan struct{}) {
	rng := rand.New(rand.NewPCG(uint64(who), 7))
	for {
		select {
		case <-stop:
			return
		case <-time.After(5 * time.Millisecond):
		}
		p.mu.Lock()
		shift := p.shift
		p.mu.Unlock()
		var data []float64
		const rows = 24
		for range rows {
			row := []float64{rng.NormFloat64(), rng.NormFloat64()}
			if shift != nil {
				shift(who, row)
			}
			data = append(data, row...)
		}
		text, _ := json.Marshal(data)
		resp, _ := p.Post(p.t, "/v2/models/m/infer", fmt.Sprintf(`{"inputs":[{"name":"x","shape":[%d,2],"datatype":"FP32","data":%s}]}`, rows, text), func(r *http.Request) {
			r.Header.Set("Authorization", "Bearer "+token)
		})
		if resp.StatusCode != http.StatusOK {
			continue
		}
		live, err := p.Routes.Find(edgetest.Model)
		if err == nil {
			p.mu.Lock()
			if p.by != "" && p.by != live.Is && live.Is == p.old {
				p.back = time.Now()
			}
			p.by = live.Is
			p.mu.Unlock()
		}
	}
}

// shifts has callers shift what they ask.
func (p *plane) shifts(by func(who int, row []float64)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shift = by
}

// until waits until something holds.
func (p *plane) until(what string, holds func() bool) {
	p.t.Helper()
	for end := time.Now().Add(time.Minute); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			list, _ := p.Monitor.List(p.t.Context(), edgetest.Operator, "")
			p.t.Fatalf("it does not come to it that %s: %+v", what, list)
		}
	}
}

// notes are the findings of a kind.
func (p *plane) notes(kind string) (all []pavise.Finding) {
	for _, r := range p.Log.Records(0, p.Log.Size()) {
		var d struct{ Finding pavise.Finding }
		if r.Phase == record.Note && r.Kind == kind && json.Unmarshal(r.Detail, &d) == nil {
			all = append(all, d.Finding)
		}
	}
	return all
}

// TestBadVersionGoesBack: through the whole data plane, a version whose answers move when it is
// released is answered for by the one before, as a change that people look at afterwards.
func TestBadVersionGoesBack(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	p.Release(t, edgetest.SoftmaxOf(-1, 0, 3, 2, 0, 1))
	p.until("the version before answers again", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return !p.back.IsZero()
	})
	p.mu.Lock()
	back := p.back
	p.mu.Unlock()
	for _, f := range p.notes(monitor.KindConfirmed) {
		t.Logf("%v after it was confirmed", back.Sub(f.At).Round(time.Millisecond))
	}
	p.until("it is told", func() bool { // small windows of a busy machine may call somebody before
		return slices.ContainsFunc(p.notes(monitor.KindActed), func(f pavise.Finding) bool {
			return strings.Contains(f.Summary, "rolled back, and is answered by "+p.old)
		})
	})
	emergency := false
	for _, r := range p.Log.Records(0, p.Log.Size()) {
		emergency = emergency || r.Kind == "change.emergency" && r.Who != nil && r.Who.ID == "drift-monitor" && r.Phase == record.Exit && r.Error == nil
	}
	if !emergency {
		t.Error("no change says that it was rolled back")
	}
}

// TestShiftedTrafficCannotDowngrade: callers who shift what they ask at the moment of a release,
// so that the answers move with it, bring no old version back. Those who are few are held to
// amber.
func TestShiftedTrafficCannotDowngrade(t *testing.T) {
	t.Parallel()
	for name, evil := range map[string]int{"many": 8, "few": 2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlane(t)
			live, err := p.Routes.Find(edgetest.Model)
			if err != nil {
				t.Fatal(err)
			}
			p.Release(t, edgetest.SoftmaxOf(1, 0, -1, 0, 2, 0.001)) // answers as the one before, nearly
			p.shifts(func(who int, row []float64) {
				if who < evil {
					row[0] += 3
				}
			})
			p.until("something is done", func() bool { return len(p.notes(monitor.KindActed)) > 0 })
			time.Sleep(4 * tested)
			after, err := p.Routes.Find(edgetest.Model)
			if err != nil {
				t.Fatal(err)
			}
			if after.Is == live.Is {
				t.Fatal("who shifts what is asked had the version before answer again")
			}
			held := func() []tier.Standing {
				return p.Tiers.List(tier.Filter{Tenant: edgetest.Tenant, Model: edgetest.Model})
			}
			if name == "few" { // once one of them is alone in a group: those are drawn anew each twelve windows
				p.until("somebody is slowed down", func() bool { return len(held()) > 0 })
			}
			for _, s := range held() {
				if s.Tier != tier.Amber || s.Who.ID != "caller-0" && s.Who.ID != "caller-1" {
					t.Errorf("%+v", s)
				}
			}
		})
	}
}

// TestRollbackThatCannotBe: a version that may not answer again, or that another one has taken
// the place of, is not brought back.
func TestRollbackThatCannotBe(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	ctx := t.Context()
	if _, err := (drifting{p.house}).Rollback(ctx, edgetest.Model, p.old, "test"); pavise.KindOf(err) != pavise.NotFound {
		t.Errorf("without one before: %v", err)
	}
	p.Release(t, edgetest.SoftmaxOf(-1, 0, 3, 2, 0, 1))
	if _, err := (drifting{p.house}).Rollback(ctx, edgetest.Model, p.old, "test"); pavise.KindOf(err) != pavise.Conflict {
		t.Errorf("of a version that does not answer: %v", err)
	}
	live, err := p.Routes.Find(edgetest.Model)
	if err != nil {
		t.Fatal(err)
	}
	p.house.Unfit = func(_ context.Context, tenant, version string) error {
		if tenant == edgetest.Tenant && version == p.old {
			return &pavise.Error{Kind: pavise.Denied, Msg: "it is in quarantine"}
		}
		return nil
	}
	if _, err := (drifting{p.house}).Rollback(ctx, edgetest.Model, live.Is, "test"); pavise.KindOf(err) != pavise.Denied {
		t.Errorf("to a version in quarantine: %v", err)
	}
	p.house.Unfit, p.house.Changes = nil, nil
	if _, err := (drifting{p.house}).Rollback(ctx, edgetest.Model, live.Is, "test"); pavise.KindOf(err) != pavise.Unavailable {
		t.Errorf("at a gateway of a fleet: %v", err)
	}
}

// TestPeopleAreAskedOfTheirModels: where what is asked of a model has moved, the house proposes that
// it is as usual, if the model is in the registry; nobody decides on one that is not.
func TestPeopleAreAskedOfTheirModels(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	db, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	models, err := registry.Open(t.Context(), registry.Config{Guard: p.Guard, Store: db, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	p.shifts(func(_ int, row []float64) { row[0] += 3 })
	p.until("something is done", func() bool { return len(p.notes(monitor.KindActed)) > 0 })
	ask := monitor.Ask{Model: edgetest.Model, Learn: 2000, Review: true}
	house := drifting{&House{Tenant: edgetest.Tenant, Now: time.Now, Guard: p.Guard, Gateway: p.Gateway, Changes: p.Changes, Models: models}}
	if name, _, err := house.Review(t.Context(), ask, "it has moved"); name != (pavise.Name{}) || err != nil {
		t.Errorf("%s is proposed of a model that nobody has: %v", name, err)
	}
	if _, err := models.Create(t.Context(), edgetest.Operator, registry.ModelSpec{Name: edgetest.Model, Risk: registry.Low}); err != nil {
		t.Fatal(err)
	}
	name, until, err := house.Review(t.Context(), ask, "it has moved")
	if err != nil || name.Kind != "change" || until.Before(time.Now()) {
		t.Errorf("%s until %s: %v", name, until, err)
	}
}

// TestLongNamesGoBack: a version whose name is so long that the monitor has its digest goes back as
// any other.
func TestLongNamesGoBack(t *testing.T) {
	t.Parallel()
	w := edgetest.New(t)
	r := route.Route{Model: edgetest.Model, Upstream: "http://127.0.0.1:1/" + strings.Repeat("x", 5000), Remote: "m", MaxRows: 1}
	w.Put(t, func(*route.Spec) {})
	live, err := w.Routes.Find(edgetest.Model)
	if err != nil {
		t.Fatal(err)
	}
	r.Signature, r.Terms, r.Shape = live.Signature, live.Terms, live.Shape
	if err := w.Routes.Adopt(t.Context(), []route.Standing{{Route: r}}, 1, nil); err != nil {
		t.Fatal(err)
	}
	h := drifting{&House{Tenant: edgetest.Tenant, Now: time.Now, Gateway: w.Gateway, Changes: new(change.Changes)}}
	if live, err = w.Routes.Find(edgetest.Model); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Rollback(t.Context(), edgetest.Model, book.Known(live.Is), "drift"); pavise.KindOf(err) != pavise.NotFound { // adopted routes have none before them
		t.Errorf("it is not looked at what would come back: %v", err)
	}
}
