package infer

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/tensor"
	"github.com/pavise/pavise/internal/upstream"
)

const answer = `{"model_name":"m","outputs":[{"name":"y","datatype":"FP32","shape":[1],"data":[1]}]}`

// counted is a model server that counts what it was asked, by path.
func counted(t *testing.T) (url string, n *atomic.Int64) {
	n = new(atomic.Int64)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.Add(1)
		fmt.Fprint(w, answer)
	}))
	t.Cleanup(server.Close)
	return server.URL, n
}

// TestServersAreShared has models on the same servers share their connections, and
// others not.
func TestServersAreShared(t *testing.T) {
	one, _ := counted(t)
	two, _ := counted(t)
	s := NewServers()
	open := func(model string, o upstream.Options, urls ...string) *Upstream {
		var at []upstream.Endpoint
		for _, u := range urls {
			at = append(at, upstream.Endpoint{URL: u, Weight: 1})
		}
		u, err := s.Upstream(at, o, oipNamed(model), tensor.Signature{}, tensor.DefaultLimits())
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	a, b := open("a", upstream.Options{}, one, two), open("b", upstream.Options{}, two, one)
	other := open("c", upstream.Options{}, one)
	random := open("d", upstream.Options{Balance: upstream.LeastRequest}, one, two)
	if a.Cluster() != b.Cluster() || a.Cluster() == other.Cluster() || a.Cluster() == random.Cluster() {
		t.Error("clusters are not shared by what is alike")
	}
	if n := len(s.Stats()); n != 3 {
		t.Errorf("%d clusters", n)
	}
	a.Close()
	a.Close()
	if _, err := b.Infer(t.Context(), parsed(t)); err != nil || len(s.Stats()) != 3 {
		t.Errorf("%v, %d clusters", err, len(s.Stats()))
	}
	b.Close()
	if n := len(s.Stats()); n != 2 {
		t.Errorf("%d clusters", n)
	}
	// Who took the route just before it changed is still answered.
	if _, err := b.Infer(t.Context(), parsed(t)); err != nil {
		t.Error(err)
	}
}

// TestMoveLosesNothing changes weights and servers under load.
func TestMoveLosesNothing(t *testing.T) {
	one, ones := counted(t)
	two, twos := counted(t)
	s := NewServers()
	sets := [][]upstream.Endpoint{{{URL: one, Weight: 1}}, {{URL: one, Weight: 9}, {URL: two, Weight: 1}}, {{URL: two, Weight: 1}}}
	u, err := s.Upstream(sets[0], upstream.Options{}, oipNamed("m"), tensor.Signature{}, tensor.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	var wg sync.WaitGroup
	done := make(chan bool)
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if _, err := u.Infer(t.Context(), parsed(t)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for i := range 60 {
		before := ones.Load() + twos.Load()
		if err := u.Move(sets[i%3], upstream.Balance(i%2)); err != nil {
			t.Error(err)
		}
		for ones.Load()+twos.Load() < before+5 && !t.Failed() {
		}
	}
	close(done)
	wg.Wait()
	if ones.Load() == 0 || twos.Load() == 0 || len(s.Stats()) != 1 {
		t.Errorf("%d and %d, %d clusters", ones.Load(), twos.Load(), len(s.Stats()))
	}
}

func TestServersRefuse(t *testing.T) {
	s := NewServers()
	good := []upstream.Endpoint{{URL: "http://h", Weight: 1}}
	for name, try := range map[string]func() error{
		"no servers": func() error {
			_, err := s.Upstream(nil, upstream.Options{}, oipNamed("m"), tensor.Signature{}, tensor.DefaultLimits())
			return err
		},
		"path as name": func() error {
			_, err := s.Upstream(good, upstream.Options{}, oipNamed(".."), tensor.Signature{}, tensor.DefaultLimits())
			return err
		},
		"no weight": func() error {
			_, err := s.Upstream([]upstream.Endpoint{{URL: "http://h"}}, upstream.Options{}, oipNamed("m"), tensor.Signature{}, tensor.DefaultLimits())
			return err
		},
		"no such CA": func() error {
			_, err := s.Upstream(good, upstream.Options{TLS: upstream.TLS{CAFile: "/none"}}, oipNamed("m"), tensor.Signature{}, tensor.DefaultLimits())
			return err
		},
	} {
		if err := try(); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := len(s.Stats()); n != 0 {
		t.Errorf("%d clusters are left of what was refused", n)
	}
	u, err := s.Upstream(good, upstream.Options{}, oipNamed("m"), tensor.Signature{}, tensor.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	if err := u.Move(nil, upstream.RoundRobin); pavise.KindOf(err) != pavise.Invalid {
		t.Errorf("moved to nowhere: %v", err)
	}
	if u.Close(); u.Move(good, upstream.RoundRobin) == nil {
		t.Error("a closed model was moved")
	}
}

// oipNamed is a model of some name, by the Open Inference Protocol.
func oipNamed(model string) Place { return Place{Model: model, Protocol: tensor.NameOIP} }
