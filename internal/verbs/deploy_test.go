package verbs

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/deploy"
)

// place and other are targets, and onM is where the model m runs.
var (
	place = pavise.Name{Tenant: "local", Kind: deploy.KindTarget, ID: "place"}
	other = pavise.Name{Tenant: "local", Kind: deploy.KindTarget, ID: "other"}
	onM   = DeployRef{pavise.Name{Tenant: "local", Kind: deploy.Kind, ID: "m"}}
)

// Sites are where versions run, each of which does what it is told, and a registry of three
// versions, of which the third is of high risk.
type sites struct {
	mu   sync.Mutex
	runs map[pavise.Name]deploy.State
}

func (s *sites) Resolve(_ context.Context, model pavise.Name, number int) (deploy.Version, error) {
	if number > 3 {
		return deploy.Version{}, &pavise.Error{Kind: pavise.NotFound, Msg: "there is no such version"}
	}
	risk := map[bool]string{true: "high", false: "low"}[number == 3]
	return deploy.Version{Model: model, Number: number, State: "published", Risk: risk, Digest: fmt.Sprint("sha256:", number)}, nil
}

func (s *sites) Moved(context.Context, pavise.Name, int, string, string) error { return nil }

func (s *sites) drivers() map[string]deploy.Driver {
	return map[string]deploy.Driver{"gateway": {Parts: true, First: true, Keys: []deploy.Setting{{Key: "model", About: "the model"}}, Open: func(name pavise.Name, _ map[string]string) (deploy.Target, error) {
		return &site{s, name}, nil
	}}}
}

// A site is one of them.
type site struct {
	*sites
	name pavise.Name
}

func (s *site) Takes(v deploy.Version) (string, error) { return v.Digest, nil }

func (s *site) Observe(context.Context) (deploy.State, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	state := s.runs[s.name]
	state.Healthy = true
	return state, nil
}

func (s *site) Apply(_ context.Context, d deploy.Desired) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.runs == nil {
		s.runs = map[pavise.Name]deploy.State{}
	}
	state := deploy.State{Main: d.Main.Digest, Weight: d.Weight}
	if d.Beside != nil {
		state.Beside = d.Beside.Digest
	}
	s.runs[s.name] = state
	return nil
}

// placed puts a target, if there is none.
func (w *world) placed(t *testing.T, name pavise.Name) {
	t.Helper()
	var shown deploy.Shown
	if err := w.client(t, "operator").Call(t.Context(), "target.show", TargetRef{name}, &shown); err == nil {
		return
	}
	w.done(t, "target.put", TargetPut{TargetRef: TargetRef{name}, Kind: "gateway"})
}

// deployed releases a version of m to place.
func (w *world) deployed(t *testing.T, version, canary int) {
	t.Helper()
	w.done(t, "deploy.release", DeployRelease{Version: fmt.Sprint("m/", version), To: []string{"place"}, Canary: canary})
	if _, err := w.Deployments.Check(t.Context(), operatorOf("ana"), onM.Name); err != nil {
		t.Fatal(err)
	}
}

func operatorOf(id string) pavise.Principal {
	return pavise.Principal{Tenant: "local", Kind: pavise.Human, ID: id, Roles: []string{"operator"}, Proof: "test"}
}

// TestDeployTakesApprovals has a version of low risk deployed with one approval, and one of
// high risk with two, none of them of who proposed it.
func TestDeployTakesApprovals(t *testing.T) {
	w := newWorld(t)
	w.placed(t, place)
	w.deployed(t, 1, 0)
	var ch api.ChangeView
	ask := DeployRelease{Version: "m/3"}
	if err := w.client(t, "operator").Call(t.Context(), "deploy.release", ask, &ch); err != nil {
		t.Fatal(err)
	}
	if ch.Rule.Need != 2 || ch.State != change.Open || ch.Plan.Digests["version"] != "sha256:3" || ch.Plan.Digests["target place"] == "" {
		t.Errorf("%+v", ch)
	}
	vote := VoteRequest{ID: ch.Name.ID, Digest: ch.Digest}
	if err := w.client(t, "operator").Call(t.Context(), "change.approve", vote, &ch); pavise.KindOf(err) != pavise.Denied {
		t.Errorf("who proposed it approves: %v", err)
	}
	for n, id := range []string{"ben", "ben", "cid"} {
		err := w.person(t, id, "operator").Call(t.Context(), "change.approve", vote, &ch)
		if want := n == 1; want != (err != nil) || ch.State == change.Done != (n == 2) {
			t.Errorf("vote %d of %s: %v, %s", n, id, err, ch.State)
		}
	}
	if v, err := w.Deployments.Show(t.Context(), operatorOf("ana"), onM.Name); err != nil || v.Spots[0].Main.Version != 3 {
		t.Errorf("%+v %v", v, err)
	}
}

// TestReplayedApproval brings the approval of one release to another, and has it be of what
// runs no longer.
func TestReplayedApproval(t *testing.T) {
	w := newWorld(t)
	w.placed(t, place)
	w.deployed(t, 1, 0)
	var first, second api.ChangeView
	ana, ben := w.client(t, "operator"), w.person(t, "ben", "operator")
	for _, ch := range []*api.ChangeView{&first, &second} {
		if err := ana.Call(t.Context(), "deploy.release", DeployRelease{Version: "m/2"}, ch); err != nil {
			t.Fatal(err)
		}
	}
	if err := ben.Call(t.Context(), "change.approve", VoteRequest{ID: second.Name.ID, Digest: first.Digest}, nil); err == nil {
		t.Error("the digest of another change is taken")
	}
	if err := ben.Call(t.Context(), "change.approve", VoteRequest{ID: first.Name.ID, Digest: first.Digest}, nil); err != nil {
		t.Fatal(err)
	}
	var ch api.ChangeView
	if err := ben.Call(t.Context(), "change.approve", VoteRequest{ID: second.Name.ID, Digest: second.Digest}, &ch); pavise.KindOf(err) != pavise.Conflict {
		t.Errorf("it is done twice: %v, %s", err, ch.State)
	}
}

// TestDeployRequests reads what is asked for.
func TestDeployRequests(t *testing.T) {
	for _, text := range []string{"", "m", "m/", "m/0", "m/01", "m/-1", "m/1/2", "/1", "m m/1", "m/1e3"} {
		if _, _, err := (DeployRelease{Version: text}).version("local"); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, set := range [][]string{{"a"}, {"=b"}, {"a=1", "a=2"}} {
		if _, err := (TargetPut{Set: set}).spec(); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%q: %v", set, err)
		}
	}
	spec, err := TargetPut{Kind: "gateway", Set: []string{"server=http://a/{version}?x=1"}}.spec()
	if err != nil || spec.Settings["server"] != "http://a/{version}?x=1" {
		t.Errorf("%+v %v", spec, err)
	}
}
