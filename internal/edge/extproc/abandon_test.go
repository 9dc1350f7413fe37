package extproc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	proc "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"

	"github.com/pavise/pavise/internal/edge/extproc"
	"github.com/pavise/pavise/internal/edgetest"
	"github.com/pavise/pavise/internal/issuer"
	"github.com/pavise/pavise/internal/route"
)

// waitFor waits until a condition holds.
func waitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for range 1000 {
		if holds() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("%s did not come", what)
}

// TestAbandonedAnywhere breaks streams off after each of their messages, in every mode, by
// an end and by a reset. Each leaves one record, in which rows are charged if the model was
// asked, and its place and its memory are free again.
func TestAbandonedAnywhere(t *testing.T) {
	w := newWorld(t, nil, extproc.Config{MaxOpen: 4}) // far fewer than are broken off
	w.Put(t, func(s *route.Spec) { external(s); s.Rate, s.MaxRows = "100000/1m", 10_000 })
	padded := spaced + strings.Repeat(" ", 900<<10) // far less than the caller has room for, and more together
	for _, m := range []modeOf{buffered, streamed, duplex} {
		put := []step{head(m, m, nil), recv, part(padded, true, true), recv, ok(), recv}
		asked, heard := 4, 2
		if m == duplex {
			put, asked, heard = []step{head(m, m, nil), part(padded, true, true), recv, recv, ok()}, 3, 3
		}
		for n := 1; n <= len(put); n++ {
			for _, reset := range []bool{true, false} {
				if n < heard && reset {
					continue // nobody may have read of it
				}
				t.Run(fmt.Sprint(m, n, reset), func(t *testing.T) {
					size := w.Log.Size()
					w.abandon(t, put[:n], reset)
					r := w.lastRecord(t, size)
					trail := trailOf(t, r)
					if r.Kind != "model.infer" || r.Error == nil || trail.Output != "" || n >= asked && trail.Charged != 1 || n < asked-1 && trail.Charged != 0 {
						t.Errorf("%+v, %+v", r, trail)
					}
					got := envoy{request: m, response: m, model: answering(200, scores)}.do(t, w.conn, w.asking(nil))
					if got.status != 200 || got.err != nil {
						t.Errorf("%+v", got)
					}
					if n := w.inferences(t, size); n != 2 {
						t.Errorf("%d records tell of two exchanges", n)
					}
				})
			}
		}
	}
}

// abandon does the steps and breaks the stream off: by a reset, or by its end.
func (w *world) abandon(t *testing.T, steps []step, reset bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	stream, err := proc.NewExternalProcessorClient(w.conn).Process(ctx)
	if err != nil {
		t.Fatal(err)
	}
	s := &script{t: t, w: w, stream: stream}
	for _, step := range steps {
		step(s)
	}
	if s.err != nil || s.last.GetImmediateResponse() != nil {
		t.Fatalf("before it was broken off came %v, %v", s.last, s.err)
	}
	if reset {
		cancel()
	}
	stream.CloseSend()
	for s.err == nil {
		recv(s)
	}
	if errors.Is(s.err, io.EOF) {
		t.Errorf("the stream ended well after %v", s.last)
	}
}

// TestUnwritable has the log fail before a request, and while the model is asked: nothing of
// an answer goes to the caller, and nobody gets leave to ask unseen.
func TestUnwritable(t *testing.T) {
	for _, m := range []modeOf{buffered, streamed, duplex} {
		for _, early := range []bool{true, false} {
			t.Run(fmt.Sprint(m, early), func(t *testing.T) {
				w := newWorld(t, nil, extproc.Config{})
				w.Put(t, func(s *route.Spec) { external(s); s.Shape = "full" })
				if early {
					w.Log.Close()
				}
				e := envoy{request: m, response: m, model: func(up message) message {
					w.Log.Close()
					return answering(200, scores)(up)
				}}
				got := e.do(t, w.conn, w.asking(nil))
				all := string(got.body) + strings.Join(got.parts, "")
				if got.err != nil || got.status != 503 || !got.immediate || strings.Contains(all, "0.42") {
					t.Errorf("%+v %s", got, got.body)
				}
				a, err := auth.NewAuthorizationClient(w.conn).Check(t.Context(), w.question(nil))
				if err == nil && (a.GetOkResponse() != nil || a.GetDeniedResponse().GetStatus().GetCode() != 503) {
					t.Errorf("%v, %v", a, err)
				}
			})
		}
	}
}

// TestIdleStreams holds a thousand exchanges open whose bodies do not come, and finds that
// each takes little, and that all of them leave their records when they go.
func TestIdleStreams(t *testing.T) {
	const n = 1000
	w := newWorld(t, nil, extproc.Config{})
	w.Put(t, external)
	used := func() int {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapInuse + m.StackInuse)
	}
	size, before := w.Log.Size(), used()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var all sync.WaitGroup
	for i := range 8 { // one caller may have 128 requests under way
		token := w.Mint(t, fmt.Sprint("app", i), issuer.RoleCaller)
		all.Go(func() {
			for range n / 8 {
				stream, err := proc.NewExternalProcessorClient(w.conn).Process(ctx)
				if err != nil {
					t.Error(err)
					return
				}
				s := &script{t: t, w: w, stream: stream}
				head(streamed, streamed, setting("authorization", "Bearer "+token))(s)
				if recv(s); s.last.GetRequestHeaders() == nil {
					t.Errorf("%v, %v", s.last, s.err)
				}
			}
		})
	}
	all.Wait()
	if took := (used() - before) / n; took > 80<<10 { // this test's own side of the streams is in it
		t.Errorf("an idle exchange takes %d bytes", took)
	}
	cancel()
	waitFor(t, "a record of each", func() bool { return w.Log.Size() >= size+n })
	if got := w.inferences(t, size); got != n {
		t.Errorf("%d records tell of %d exchanges", got, n)
	}
	if got := (envoy{request: duplex, response: duplex, model: answering(200, scores)}).do(t, w.conn, w.asking(nil)); string(got.body) != edgetest.Answer {
		t.Errorf("%+v", got)
	}
}
