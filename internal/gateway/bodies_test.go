package gateway

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/infer"
	"github.com/pavise/pavise/internal/intake"
	"github.com/pavise/pavise/internal/issuer"
	"github.com/pavise/pavise/internal/route"
	"github.com/pavise/pavise/internal/tensor"
)

// A stalled body holds a whole body but its last byte, and then says nothing
// until it is released.
type stalled struct {
	left    int
	arrived chan<- struct{}
	release <-chan struct{}
}

func (s *stalled) Read(p []byte) (int, error) {
	if s.left == 0 {
		s.arrived <- struct{}{}
		<-s.release
		return 0, io.ErrUnexpectedEOF
	}
	n := min(len(p), s.left)
	copy(p, strings.Repeat(" ", n))
	s.left -= n
	return n, nil
}

// TestHeldBodies lets one caller hold bodies, as many as it likes, one after
// the other: bodies that grow at the same moment may all be refused.
func TestHeldBodies(t *testing.T) {
	w := newWorld(t, t.TempDir())
	free := infer.SignatureText(tensor.Signature{
		Inputs:  []tensor.Port{{Name: "x", Datatype: tensor.FP32, Shape: []int64{-1, -1}}},
		Outputs: []tensor.Port{{Name: "y", Datatype: tensor.FP32, Shape: []int64{-1, -1}}},
	})
	w.put(t, func(s *route.Spec) { s.ONNX, s.Upstream, s.Signature = nil, "http://127.0.0.1:1", free })
	who := pavise.Principal{Tenant: tenant, Kind: pavise.Workload, ID: "app", Issuer: issuer.LocalURL("test"), Roles: []string{"caller"}}
	const bodies = 8
	arrived, release, ended := make(chan struct{}), make(chan struct{}), make(chan error)
	held := 0
	for range bodies {
		go func() {
			_, err := w.Infer(context.WithoutCancel(t.Context()), who, ask(&stalled{w.limits.MaxBody - 1, arrived, release}))
			ended <- err
		}()
		select {
		case <-arrived:
			held++
		case err := <-ended:
			if _, ok := errors.AsType[*Refusal](err); !ok || pavise.KindOf(err) != pavise.Throttled {
				t.Errorf("a body too many: %v", err)
			}
		}
	}
	if most := intake.MaxEach / w.limits.MaxBody; held == 0 || held > most {
		t.Errorf("%d bodies are held, want at most %d", held, most)
	}
	close(release)
	for range held {
		<-ended
	}
	if all, _ := w.bodies.Held(); all != 0 {
		t.Errorf("%d bytes are left behind", all)
	}
}

// TestRouteLimitsTheBody sends a body far larger than the route's rows need: it
// must not be read to the general limit.
func TestRouteLimitsTheBody(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.put(t, func(s *route.Spec) { s.MaxRows = 10 })
	who := pavise.Principal{Tenant: tenant, Kind: pavise.Workload, ID: "app", Issuer: issuer.LocalURL("test"), Roles: []string{"caller"}}
	read := &endless{}
	if _, err := w.Infer(t.Context(), who, ask(read)); pavise.KindOf(err) != pavise.Invalid || read.n > 128<<10 {
		t.Errorf("%d bytes were read of a body of ten rows: %v", read.n, err)
	}
	_, body := w.post(t, `{"inputs":[{"name":"x","shape":[1,1000000],"datatype":"FP64","data":[5e-324]}]}`, nil)
	if !strings.Contains(body, "more elements than the limit of 20 in all") {
		t.Errorf("a million elements for a model of two: %s", body)
	}
	w.put(t, func(s *route.Spec) { s.MaxRows, s.Observe = 1, new(true) })
	two := `{"inputs":[{"name":"x","shape":[2,2],"datatype":"FP32","data":[1,2,3,4]}]}`
	if resp, body := w.post(t, two, nil); resp.StatusCode != 200 {
		t.Errorf("an observed route refuses rows: %d %s", resp.StatusCode, body)
	}
}
