package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/monitor"
	"github.com/pavise/pavise/internal/role"
	"github.com/pavise/pavise/internal/tensor"
	"github.com/pavise/pavise/internal/ticket"
)

// ticketExamples have a tool that hears votes.
func (r *running) ticketExamples(t *testing.T, x *examples) {
	x.before["ticket.map"] = func() {
		if _, err := r.Rooms().Tickets.Put(t.Context(), r.Operator(), ticket.Put{
			Name: "work", Kind: "github", URL: "http://127.0.0.1:9", Project: "acme/models", Secret: "s",
		}); err != nil {
			t.Fatal(err)
		}
	}
	x.before["ticket.pass"] = func() {
		tool := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			one := `{"id":4711,"ref":"main","sha":"` + strings.Repeat("ab", 20) + `","status":"blocked","environment":{"name":"production"}}`
			if !strings.HasSuffix(r.URL.Path, "/4711") {
				one = "[" + one + "]"
			}
			fmt.Fprint(w, one)
		}))
		t.Cleanup(tool.Close)
		desk := r.Rooms().Tickets
		if _, err := desk.Put(t.Context(), r.Operator(), ticket.Put{Name: "pipelines", Kind: "gitlab-deployments", URL: tool.URL, Project: "acme/models", Secret: "s"}); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			if s, err := desk.Show(t.Context(), r.Operator(), "pipelines"); err == nil && len(s.Deployments) == 1 && s.Deployments[0].State == "proposed" {
				return
			}
		}
		t.Fatal("nobody looks at the deployment that waits")
	}
}

// driftExamples have a model whose rows move away from those that it is held to.
func (r *running) driftExamples(t *testing.T, x *examples, drifter string) {
	moves := func() {
		rng, model := rand.New(rand.NewPCG(8, 9)), pavise.Name{Tenant: role.Tenant, Kind: "model", ID: drifter}
		r.asked(t, rng, model, 0, monitor.Stable)
		r.asked(t, rng, model, 2, monitor.Confirmed)
	}
	x.before["drift.verdict"], x.before["drift.dismiss"] = moves, moves
}

// asked has a model asked for rows of a mean, until it stands so.
func (r *running) asked(t *testing.T, rng *rand.Rand, model pavise.Name, mean float64, until monitor.Stage) {
	t.Helper()
	signature := tensor.Signature{
		Inputs:  []tensor.Port{{Name: "x", Datatype: tensor.FP64, Shape: []int64{-1}}},
		Outputs: []tensor.Port{{Name: "y", Datatype: tensor.FP64, Shape: []int64{-1}}},
	}
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		const rows = 64
		x := tensor.Tensor{Name: "x", Datatype: tensor.FP64, Shape: []int64{rows}}
		for range rows {
			x.Data.Floats = append(x.Data.Floats, rng.NormFloat64()+mean)
		}
		y := x
		y.Name = "y"
		r.Rooms().Monitor.Hear(monitor.Exchange{
			At: time.Now(), Who: pavise.Name{Tenant: role.Tenant, Kind: pavise.Workload, ID: "app"}, Model: model, Version: "v1", Signature: &signature,
			Asked: &tensor.Request{Inputs: []tensor.Tensor{x}}, Said: &tensor.Response{Outputs: []tensor.Tensor{y}},
		})
		list, err := r.Rooms().Monitor.List(t.Context(), r.Operator(), until)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range list.Models {
			if v.Model == model && v.Baseline != "" {
				return
			}
		}
	}
	t.Fatalf("%s does not come to be %s", model, until)
}
