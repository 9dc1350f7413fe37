package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/config"
	"github.com/pavise/pavise/internal/fleet"
	"github.com/pavise/pavise/internal/role"
	"github.com/pavise/pavise/internal/verbs"
)

// A house is a role that runs.
type house interface {
	Run(context.Context) error
	Close() error
}

// A benchFleet is a control plane with two operators, a caller, and two gateways.
type benchFleet struct {
	running  sync.WaitGroup
	dir      string
	ana, bob *api.Client
	caller   *http.Client
	gateways []*role.Gateway
}

// newFleet starts everything in a directory, with a model under the sample's name. The first gateway
// watches for drift as it is told; nil: as usual. It returns what it has started also when something
// fails.
func newFleet(ctx context.Context, dir string, onnx []byte, drift *config.Drift) (*benchFleet, error) {
	f := &benchFleet{dir: dir}
	model := filepath.Join(dir, "model.onnx")
	if err := os.WriteFile(model, onnx, 0o600); err != nil {
		return f, err
	}
	s, err := role.NewServe(ctx, role.ServeConfig{Now: time.Now, Say: say, Serve: config.Serve{
		Data: f.path("serve"), Tenant: "acme", TrustDomain: "acme.example", Listen: "127.0.0.1:0", Fleet: "127.0.0.1:0", Names: []string{"localhost"}, Grace: time.Hour,
		Bootstrap: &config.Bootstrap{
			People: []config.Person{{ID: "ana", Roles: []string{"operator"}}, {ID: "bob", Roles: []string{"operator"}}},
			Routes: []config.Route{{Name: "acme/model/" + role.Sample, ONNX: model}},
		},
	}})
	if err != nil {
		return f, err
	}
	f.start(ctx, s)
	for i, client := range []**api.Client{&f.ana, &f.bob} {
		id, err := fleet.Join(ctx, f.path(fmt.Sprint("person", i)), s.Invitations()[i].Text, time.Now)
		if err != nil {
			return f, err
		}
		*client = id.Client()
	}
	return f, errors.Join(f.startGateways(ctx, s.FleetURL(), drift), f.call(ctx))
}

func (f *benchFleet) path(name string) string { return filepath.Join(f.dir, name) }

// say tells what goes wrong meanwhile.
func say(word string, err error) { fmt.Fprintf(os.Stderr, "bench/fleet: %s: %v\n", word, err) }

// start runs a role until ctx is done.
func (f *benchFleet) start(ctx context.Context, h house) {
	f.running.Go(func() {
		if err := errors.Join(h.Run(ctx), h.Close()); err != nil {
			say("error", err)
		}
	})
}

// wait returns when everything has stopped.
func (f *benchFleet) wait() { f.running.Wait() }

func (f *benchFleet) startGateways(ctx context.Context, server string, drift *config.Drift) error {
	for i, id := range []string{"gw-1", "gw-2"} {
		if i > 0 {
			drift = nil
		}
		line, err := f.invite(ctx, verbs.InviteRequest{ID: id, DNS: []string{"localhost"}})
		if err != nil {
			return err
		}
		g, err := role.NewGateway(ctx, role.GatewayConfig{Now: time.Now, Say: say, Invitation: line, Gateway: config.Gateway{
			Data: f.path(id), Server: server, Listen: "127.0.0.1:0", Health: "127.0.0.1:0", Names: []string{"localhost"}, Grace: time.Hour, Drift: drift,
		}})
		if err != nil {
			return err
		}
		f.start(ctx, g)
		f.gateways = append(f.gateways, g)
	}
	return nil
}

// call lets a program join that may ask the model.
func (f *benchFleet) call(ctx context.Context) error {
	line, err := f.invite(ctx, verbs.InviteRequest{ID: "app", Kind: pavise.Workload})
	if err != nil {
		return err
	}
	app, err := fleet.Join(ctx, f.path("app"), line, time.Now)
	if err != nil {
		return err
	}
	f.caller = app.Dial()
	return f.change(ctx, "node.roles", verbs.RolesRequest{ID: "app", Kind: pavise.Workload, Role: []string{"caller"}}, func() {})
}

func (f *benchFleet) invite(ctx context.Context, req verbs.InviteRequest) (string, error) {
	var inv struct {
		Text string `json:"invitation"`
	}
	err := f.ana.Call(ctx, "node.invite", req, &inv)
	return inv.Text, err
}

// change proposes as ana and approves as bob. It calls approving before the approval is
// sent.
func (f *benchFleet) change(ctx context.Context, verb string, request any, approving func()) error {
	var ch api.ChangeView
	if err := f.ana.Call(ctx, verb, request, &ch); err != nil {
		return err
	}
	approving()
	if err := f.bob.Call(ctx, "change.approve", verbs.VoteRequest{ID: ch.Name.ID, Digest: ch.Digest}, &ch); err != nil {
		return err
	}
	if ch.State != change.Done {
		return fmt.Errorf("%s is %s: %s", verb, ch.State, ch.Outcome)
	}
	return nil
}

// measure approves changes, each of which forbids what both gateways answer, and returns
// how long each took to hold at both.
func (f *benchFleet) measure(ctx context.Context, changes int) (took []time.Duration, err error) {
	forbid := verbs.PolicyPut{ID: "closed", Text: `forbid (principal in Role::"caller", action == Action::"model.infer", resource);`}
	for i := range changes {
		if err := f.both(ctx, http.StatusOK); err != nil {
			return nil, err
		}
		var began time.Time
		if err := f.change(ctx, "policy.put", forbid, func() { began = time.Now() }); err != nil {
			return nil, err
		}
		if err := f.both(ctx, http.StatusForbidden); err != nil {
			return nil, err
		}
		took = append(took, time.Since(began))
		fmt.Fprintf(os.Stderr, "change %d holds after %v\n", i+1, took[i].Round(time.Millisecond))
		if err := f.change(ctx, "policy.delete", verbs.PolicyDelete{ID: "closed"}, func() {}); err != nil {
			return nil, err
		}
	}
	return took, nil
}

// both waits until each gateway answers with a status.
func (f *benchFleet) both(ctx context.Context, status int) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	faults := make([]error, len(f.gateways))
	var all sync.WaitGroup
	for i, g := range f.gateways {
		all.Go(func() {
			for {
				got, err := f.ask(ctx, g.URL())
				if err == nil && got == status {
					return
				}
				select {
				case <-time.After(2 * time.Millisecond):
				case <-ctx.Done():
					faults[i] = fmt.Errorf("%s answers %d, %v, and not %d", g.Name().ID, got, err, status)
					return
				}
			}
		})
	}
	all.Wait()
	return errors.Join(faults...)
}

// ask asks a gateway's model.
func (f *benchFleet) ask(ctx context.Context, url string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/v2/models/"+role.Sample+"/infer", bytes.NewReader(role.SampleRow(0)))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := f.caller.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}
