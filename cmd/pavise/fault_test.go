package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/edge"
	"github.com/pavise/pavise/internal/route"
)

// A modelServer answers every inference as the storm's model is asked, and badly when
// it is told to.
type modelServer struct {
	addr    string
	fault   atomic.Pointer[func(net.Conn)] // writes the answer in the place of a good one; the connection ends after it
	gate    atomic.Pointer[chan struct{}]  // closed: answers wait for that
	gated   string                         // only those to requests that hold this text wait
	bias    float64                        // what it adds to every answer
	waiting atomic.Int32                   // requests that have come to the gate
}

// newModelServer starts one on loopback. It writes its answers by hand, because a
// server of net/http could not answer as badly as models do.
func newModelServer(t *testing.T) *modelServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	m := &modelServer{addr: "http://" + l.Addr().String()}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go m.serve(c)
		}
	}()
	return m
}

func (m *modelServer) serve(c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	for {
		req, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		if req.Method == http.MethodGet {
			io.WriteString(c, spell(`{"name":"storm","inputs":[{"name":"payment","datatype":"FP32","shape":[-1,3]}],"outputs":[{"name":"p","datatype":"FP32","shape":[-1,1]}]}`))
			continue
		}
		if fault := m.fault.Load(); fault != nil {
			(*fault)(c)
			return
		}
		if gate := m.gate.Load(); gate != nil && strings.Contains(string(body), m.gated) {
			m.waiting.Add(1)
			<-*gate
		}
		io.WriteString(c, spell(scored(string(body), m.bias)))
	}
}

// spell is a whole response.
func spell(body string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// scored answers a request with its own second number and a bias, so that no answer passes for
// another request's.
func scored(request string, bias float64) string {
	var r struct{ Inputs []struct{ Data []float64 } }
	if json.Unmarshal([]byte(request), &r) != nil || len(r.Inputs) != 1 || len(r.Inputs[0].Data) != 3 {
		return `{"error":"no such request"}`
	}
	return fmt.Sprintf(`{"model_name":"storm","outputs":[{"name":"p","shape":[1,1],"datatype":"FP32","data":[%v]}]}`, r.Inputs[0].Data[1]+bias)
}

// asking is a request that holds a number, and answers reports whether an answer is to
// it.
func asking(i int) string {
	return fmt.Sprintf(`{"inputs":[{"name":"payment","shape":[1,3],"datatype":"FP32","data":[1,%d,1]}]}`, i)
}

func (a answer) answers(i int) bool {
	return a.status == http.StatusOK && strings.Contains(a.body, fmt.Sprintf(`"data":[%d]`, i))
}

// behind puts the model server behind the firewall of a running pavise, as a model that
// can be asked without end.
func (m *modelServer) behind(t *testing.T, p *process, model string) {
	t.Helper()
	plenty := "100000000/24h"
	err := p.operator(t).Call(t.Context(), "route.put", route.Spec{
		Name: "local/model/" + model, Upstream: m.addr, Remote: "storm", Rate: "10000000/1m", Budget: plenty, ModelBudget: plenty,
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
}

// TestUpstreamFaults has the model server do what a broken or hostile one does. Its
// callers get the protocol's error and a record of it; nobody gets another's answer; and
// the next request is answered.
func TestUpstreamFaults(t *testing.T) {
	p := start(t, t.TempDir()+"/data")
	m := newModelServer(t)
	m.behind(t, p, "broken")
	good := spell(scored(asking(7), 0))
	for name, fault := range map[string]func(net.Conn){
		"dies before it answers": func(c net.Conn) {},
		"dies in the head":       func(c net.Conn) { io.WriteString(c, good[:20]) },
		"dies mid-body":          func(c net.Conn) { io.WriteString(c, good[:len(good)-10]) },
		"resets mid-body":        func(c net.Conn) { io.WriteString(c, good[:len(good)-10]); c.(*net.TCPConn).SetLinger(0) },
		"dies mid-chunk": func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n{\"model")
		},
		"says too short a length": func(c net.Conn) {
			io.WriteString(c, strings.Replace(good, "Content-Length: ", "Content-Length: 0", 1)[:60])
		},
		"says two lengths": func(c net.Conn) {
			io.WriteString(c, strings.Replace(good, "\r\n\r\n", "\r\nContent-Length: 5\r\n\r\n", 1))
		},
		"says a length twice over": func(c net.Conn) {
			io.WriteString(c, strings.Replace(good, "\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n", 1))
		},
		"is no HTTP":          func(c net.Conn) { io.WriteString(c, "220 mail ready\r\n") },
		"has an endless head": func(c net.Conn) { endless(c, "HTTP/1.1 200 OK\r\n", "X-Fill: "+strings.Repeat("x", 1000)+"\r\n") },
		"has an endless body": func(c net.Conn) {
			endless(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "400\r\n"+strings.Repeat(" ", 1024)+"\r\n")
		},
		"answers an error": func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 6\r\n\r\nsecret")
		},
		"sends them elsewhere": func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n")
		},
		"answers another shape": func(c net.Conn) { io.WriteString(c, spell(strings.Replace(scored(asking(7), 0), "[1,1]", "[1,2]", 1))) },
	} {
		t.Run(name, func(t *testing.T) {
			m.fault.Store(&fault)
			a, err := ask(p.Server, p.Token, "broken", asking(7))
			m.fault.Store(nil)
			var said struct{ Error string }
			if err != nil || a.status != http.StatusServiceUnavailable && a.status != http.StatusBadGateway || json.Unmarshal([]byte(a.body), &said) != nil || said.Error == "" || strings.Contains(a.body, "secret") || a.record == 0 {
				t.Errorf("%+v, %v", a, err)
			}
			if err := m.recovers(p, 11); err != nil {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

// endless writes more and more, up to more than anybody should read.
func endless(c net.Conn, head, more string) {
	io.WriteString(c, head)
	for range 200_000 {
		if _, err := io.WriteString(c, more); err != nil {
			return
		}
	}
}

// recovers asks until it is answered well: a server that fails often is left alone for
// a while.
func (m *modelServer) recovers(p *process, i int) (err error) {
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		a, failed := ask(p.Server, p.Token, "broken", asking(i))
		if failed == nil && a.answers(i) {
			return nil
		}
		if err = errors.Join(failed, fmt.Errorf("%+v", a)); a.status == http.StatusOK {
			return err // somebody else's answer
		}
	}
	return err
}

// TestSmuggledAnswer has a model server send a second answer behind the first. It
// must not become the answer to the next request.
func TestSmuggledAnswer(t *testing.T) {
	p := start(t, t.TempDir()+"/data")
	m := newModelServer(t)
	m.behind(t, p, "broken")
	behind := func(c net.Conn) {
		io.WriteString(c, spell(scored(asking(1), 0))+spell(scored(asking(666), 0)))
		time.Sleep(50 * time.Millisecond) // the connection seems to be good for another request
	}
	for i := range 20 {
		m.fault.Store(&behind)
		ask(p.Server, p.Token, "broken", asking(1))
		m.fault.Store(nil)
		if err := m.recovers(p, 100+i); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSlowUpstream has a model server hang. Its callers may give up, which is
// recorded; others are answered meanwhile; and nothing stays taken.
func TestSlowUpstream(t *testing.T) {
	p := start(t, t.TempDir()+"/data")
	slow, quick := newModelServer(t), newModelServer(t)
	slow.behind(t, p, "broken")
	quick.behind(t, p, "quick")
	release := make(chan struct{})
	hang := func(net.Conn) { <-release }
	slow.fault.Store(&hang)
	var callers sync.WaitGroup
	gaveUp := make(chan error, 100)
	for range 100 { // fewer than one caller may have under way
		callers.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.Server+"/v2/models/broken/infer", strings.NewReader(asking(1)))
			if err != nil {
				gaveUp <- err
				return
			}
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("Authorization", "Bearer "+p.Token)
			resp, err := http.DefaultClient.Do(req)
			if err == nil {
				resp.Body.Close()
			}
			gaveUp <- err
		})
	}
	for i := range 20 {
		if a, err := ask(p.Server, p.Token, "quick", asking(i)); err != nil || !a.answers(i) {
			t.Errorf("beside a server that hangs: %+v, %v", a, err)
		}
	}
	callers.Wait()
	close(release)
	slow.fault.Store(nil)
	if err := slow.recovers(p, 5); err != nil {
		t.Errorf("once it hangs no more: %v", err)
	}
	for range 100 {
		if err := <-gaveUp; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a caller of a server that hangs got %v", err)
		}
	}
}

// TestConnectionStorm opens two thousand connections at once, each for one request. All
// of them are answered, or refused in the protocol's words with when to come back; every
// answer has its record; and then all is as before.
func TestConnectionStorm(t *testing.T) {
	const connections = 2000
	p := start(t, t.TempDir()+"/data")
	m := newModelServer(t)
	m.behind(t, p, "stormed")
	address := strings.TrimPrefix(p.Server, "http://")
	s := &storm{}
	statuses := map[int]int{}
	var all sync.WaitGroup
	for i := range connections {
		all.Go(func() {
			a, err := alone(address, p.Token, "stormed", i)
			s.mu.Lock()
			defer s.mu.Unlock()
			switch statuses[a.status]++; {
			case err != nil:
				t.Error(err)
			case a.status == http.StatusOK:
				s.answers = append(s.answers, a)
			}
		})
	}
	all.Wait()
	if statuses[200]+statuses[429]+statuses[503] != connections {
		t.Errorf("%d at once got %v", connections, statuses)
	}
	if a, err := ask(p.Server, p.Token, "stormed", asking(3)); err != nil || !a.answers(3) {
		t.Errorf("after the storm: %+v, %v", a, err)
	}
	if status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid)); err == nil { // on Linux
		_, rest, _ := strings.Cut(string(status), "VmHWM:")
		var peak int
		if fmt.Sscan(rest, &peak); peak == 0 || peak > instrumented*300<<10 {
			t.Errorf("the process took up to %d kB", peak)
		}
	}
	p.interrupt(t)
	log, subjects := evidenceOf(t, p.data)
	s.checkAnswers(t, log, subjects)
	t.Logf("%v", statuses)
}

// TestStormOnAHungServer opens more connections than one caller may have under way, to a
// server that answers none of them for now. All but those that the server is asked are
// refused in the protocol's words, with when to come back, before the server moves; each
// refusal is in the log, by itself or counted; and then those that it was asked are
// answered.
func TestStormOnAHungServer(t *testing.T) {
	const asked = 256 // what one server is asked at once
	connections := 2500
	if testing.Short() {
		connections = 1000 // which one caller may have
	}
	p := start(t, t.TempDir()+"/data")
	m := newModelServer(t)
	m.behind(t, p, "hung")
	gate := make(chan struct{})
	m.gate.Store(&gate)
	address := strings.TrimPrefix(p.Server, "http://")
	s := &storm{}
	refused := map[uint64]bool{} // records of refusals that name one
	var counted uint64           // other refusals
	var all sync.WaitGroup
	for i := range connections {
		all.Go(func() {
			a, err := alone(address, p.Token, "hung", i)
			s.mu.Lock()
			defer s.mu.Unlock()
			switch {
			case err != nil || a.status != http.StatusOK && a.status != http.StatusTooManyRequests:
				t.Errorf("%+v, %v", a, err)
			case a.status == http.StatusOK:
				s.answers = append(s.answers, a)
				return
			case a.record > 0:
				refused[a.record] = true
			default:
				counted++
			}
			if len(refused)+int(counted) == connections-asked {
				close(gate)
			}
		})
	}
	all.Wait()
	p.interrupt(t)
	if len(s.answers) != asked {
		t.Errorf("%d were answered, and %d refused with a record and %d without", len(s.answers), len(refused), counted)
	}
	log, subjects := evidenceOf(t, p.data)
	s.checkAnswers(t, log, subjects)
	for index := range refused {
		if r, err := log.Read(index); err != nil || r.Kind != "model.infer" || r.Error == nil || r.Error.Kind != pavise.Throttled.String() {
			t.Fatalf("%v, record %d: %+v", err, index, r)
		}
	}
	for _, r := range log.Records(0, log.Size()) {
		var detail struct{ Count uint64 }
		if r.Kind == "guard.refused" && json.Unmarshal(r.Detail, &detail) == nil {
			counted -= detail.Count
		}
	}
	if counted != 0 {
		t.Errorf("%d refusals without a record of their own are in no count", int64(counted))
	}
}

// alone asks over a connection of its own. The error is of an answer that is not whole,
// belongs to somebody else, or refuses in other words than the protocol's.
func alone(address, token, model string, i int) (a answer, err error) {
	c, err := net.DialTimeout("tcp", address, 20*time.Second)
	if err != nil {
		return a, err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(30 * time.Second))
	body := asking(i % 1000)
	fmt.Fprintf(c, "POST /v2/models/%s/infer HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", model, address, token, len(body), body)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return a, err
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return a, err
	}
	a = answer{model: model, status: resp.StatusCode, body: string(text)}
	if named := resp.Header.Get(edge.RecordHeader); named != "" || a.status == http.StatusOK {
		if a.record, err = strconv.ParseUint(named, 10, 64); err != nil {
			return a, err
		}
	}
	if a.status == http.StatusOK {
		if !a.answers(i % 1000) {
			return a, fmt.Errorf("request %d got %s with record %d", i, a.body, a.record)
		}
		return a, nil
	}
	var said struct{ Error string }
	if json.Unmarshal(text, &said) != nil || said.Error == "" || resp.Header.Get("Retry-After") == "" {
		return a, fmt.Errorf("request %d was refused with %d, Retry-After %q and %q", i, a.status, resp.Header.Get("Retry-After"), a.body)
	}
	return a, nil
}
