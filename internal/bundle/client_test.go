package bundle

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pavise/pavise"
)

// A fleet is a publisher that runs behind a server, and one reader that follows.
type fleet struct {
	*world
	*Publisher
	client *Client
	used   chan *Bundle
	told   chan error
	stop   func()
}

// newFleet starts both. In between lies what spoil makes of the publisher's handler.
func newFleet(t *testing.T, spoil func(*Publisher, http.Handler) http.Handler, refuse func(*Bundle) error) *fleet {
	t.Helper()
	w := newWorld(t)
	f := &fleet{world: w, used: make(chan *Bundle, 64), told: make(chan error, 64)}
	f.Publisher = w.publisher(t, func(cfg *PublisherConfig) {
		cfg.Blob = func(_ context.Context, digest string) (io.ReadCloser, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			content, ok := w.blobs[digest]
			if !ok {
				return nil, errors.New("no such blob")
			}
			return io.NopCloser(strings.NewReader(content)), nil
		}
	})
	publish(t, f.Publisher)
	handler := f.Handler()
	if spoil != nil {
		handler = spoil(f.Publisher, handler)
	}
	server := httptest.NewServer(handler)
	client, err := NewClient(ClientConfig{
		URL: server.URL + "/", Store: openStore(t, w.storeConfig(f.Publisher, "reader")), Now: w.clock,
		Use: func(_ context.Context, b *Bundle) error {
			if refuse != nil {
				if err := refuse(b); err != nil {
					return err
				}
			}
			f.used <- b
			return nil
		},
		Report: func(err error) { f.told <- err },
	})
	if err != nil {
		t.Fatal(err)
	}
	f.client = client
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { f.Publisher.Run(ctx) })
	wg.Go(func() { client.Run(ctx) })
	f.stop = sync.OnceFunc(func() { cancel(); wg.Wait(); server.Close() })
	t.Cleanup(f.stop)
	return f
}

// next waits for the next bundle that is used.
func (f *fleet) next(t *testing.T) *Bundle {
	t.Helper()
	select {
	case b := <-f.used:
		return b
	case <-time.After(20 * time.Second):
		t.Fatalf("no bundle came: %+v", f.client.State())
		return nil
	}
}

// settled waits until a bundle is in use, which Use itself comes before.
func (f *fleet) settled(t *testing.T, serial uint64) State {
	t.Helper()
	for range 2000 {
		if s := f.client.State(); s.Serial == serial && s.Trouble == "" {
			return s
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("bundle %d is not in use: %+v", serial, f.client.State())
	return State{}
}

// trouble waits until the client tells of a certain trouble.
func (f *fleet) trouble(t *testing.T, kind pavise.Kind, why error) {
	t.Helper()
	for {
		select {
		case err := <-f.told:
			if err == nil || why != nil && !errors.Is(err, why) || pavise.KindOf(err) != kind {
				continue
			}
			return
		case <-time.After(20 * time.Second):
			t.Fatalf("no trouble of kind %v, %v: %+v", kind, why, f.client.State())
		}
	}
}

// TestFollow pushes changes through a long poll.
func TestFollow(t *testing.T) {
	f := newFleet(t, nil, nil)
	if b := f.next(t); b.Serial != 1 {
		t.Errorf("begins with %d", b.Serial)
	}
	for i := range uint64(5) {
		f.set("policies", fmt.Sprintf(`{"a":%d}`, i+100))
		began := time.Now()
		f.Nudge()
		if b := f.next(t); b.Serial != i+2 || string(b.Sections["policies"]) != fmt.Sprintf(`{"a":%d}`, i+100) {
			t.Errorf("bundle %+v", b)
		}
		t.Logf("a change is in use after %v", time.Since(began).Round(100*time.Microsecond))
	}
	if s := f.settled(t, 6); s.Held != 6 || !s.Confirmed.Equal(noon) || s.Stale(noon.Add(time.Hour)) != time.Hour {
		t.Errorf("state %+v", s)
	}
}

// TestBlobsComeAfterwards uses a bundle at once, and once more when its blob is there,
// however slowly that comes; meanwhile others go by.
func TestBlobsComeAfterwards(t *testing.T) {
	gate := make(chan struct{})
	f := newFleet(t, func(_ *Publisher, next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Path, "/blob/") {
				<-gate
			}
			next.ServeHTTP(w, r)
		})
	}, nil)
	f.next(t)
	digest := f.addBlob("a model")
	f.Nudge()
	if b := f.next(t); b.Serial != 2 {
		t.Fatalf("bundle %d", b.Serial)
	}
	if _, err := f.client.cfg.Store.Blob(digest); pavise.KindOf(err) != pavise.NotFound {
		t.Errorf("the blob: %v", err)
	}
	f.set("policies", `{"revoked":true}`)
	f.Nudge()
	if b := f.next(t); b.Serial != 3 {
		t.Fatalf("a revocation waits for a blob: %d", b.Serial)
	}
	close(gate)
	if b := f.next(t); b.Serial != 3 {
		t.Errorf("with its blob, bundle %d", b.Serial)
	}
	if got, err := f.client.cfg.Store.Blob(digest); err != nil || string(got) != "a model" {
		t.Errorf("the blob: %q, %v", got, err)
	}
}

// TestHostileServers is a table of servers, or people in between, that do not do what
// they should. None of them gets anything into use.
func TestHostileServers(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(w http.ResponseWriter, r *http.Request, signed []byte)
		kind pavise.Kind
		why  error
	}{
		{"cut in the middle", func(w http.ResponseWriter, _ *http.Request, signed []byte) {
			w.Header().Set("Content-Length", fmt.Sprint(len(signed)))
			w.Write(signed[:len(signed)/2])
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, pavise.Unavailable, io.ErrUnexpectedEOF},
		{"shorter than it says", func(w http.ResponseWriter, _ *http.Request, signed []byte) {
			w.Header().Set("Content-Length", fmt.Sprint(len(signed)+9))
			w.Write(signed)
		}, pavise.Unavailable, io.ErrUnexpectedEOF},
		{"longer than allowed, it says", func(w http.ResponseWriter, _ *http.Request, signed []byte) {
			w.Header().Set("Content-Length", fmt.Sprint(MaxBundle+1))
			w.Write(signed)
		}, pavise.Unverified, ErrMalformed},
		{"endless", func(w http.ResponseWriter, _ *http.Request, signed []byte) {
			for range MaxBundle/(1<<20) + 2 {
				if _, err := w.Write(make([]byte, 1<<20)); err != nil {
					return
				}
			}
		}, pavise.Unverified, ErrMalformed},
		{"a bit flipped", func(w http.ResponseWriter, _ *http.Request, signed []byte) {
			changed := append([]byte(nil), signed...)
			changed[len(changed)-5] ^= 1
			w.Write(changed)
		}, pavise.Unverified, ErrForged},
		{"packed", func(w http.ResponseWriter, _ *http.Request, signed []byte) {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			z.Write(signed)
			z.Close()
		}, pavise.Unverified, ErrMalformed},
		{"a page", func(w http.ResponseWriter, _ *http.Request, _ []byte) {
			w.Header().Set("Content-Type", "text/html")
			io.WriteString(w, "<h1>Sign in</h1>")
		}, pavise.Unverified, ErrMalformed},
		{"a redirect", func(w http.ResponseWriter, r *http.Request, signed []byte) {
			if r.URL.Path == "/elsewhere" {
				w.Write(signed)
				return
			}
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(http.StatusTemporaryRedirect)
		}, pavise.Unavailable, nil},
		{"an error of its own", func(w http.ResponseWriter, _ *http.Request, _ []byte) { w.WriteHeader(500) }, pavise.Unavailable, nil},
		{"it does not know us", func(w http.ResponseWriter, _ *http.Request, _ []byte) { w.WriteHeader(403) }, pavise.Denied, nil},
		{"no common format", func(w http.ResponseWriter, _ *http.Request, _ []byte) { w.WriteHeader(406) }, pavise.Unavailable, ErrFormat},
		{"not found", func(w http.ResponseWriter, _ *http.Request, _ []byte) { w.WriteHeader(404) }, pavise.Unavailable, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()

			f := newFleet(t, func(p *Publisher, _ http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Content-Type", MediaType(1))
					tt.do(w, r, p.edition().frames[1])
				})
			}, nil)
			f.trouble(t, tt.kind, tt.why)
			if s := f.client.State(); s.Serial != 0 || s.Held != 0 || s.Trouble == "" || s.Stale(noon) < time.Hour {
				t.Errorf("state %+v", s)
			}
		})
	}
}

// TestRollbackIsReported has a control plane go back, with and without its key.
func TestRollbackIsReported(t *testing.T) {
	var old atomic.Pointer[[]byte]
	f := newFleet(t, func(_ *Publisher, next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if b := old.Load(); b != nil {
				w.Header().Set("Content-Type", MediaType(1))
				w.Write(*b)
				return
			}
			next.ServeHTTP(w, r)
		})
	}, nil)
	f.next(t)
	first := f.edition().frames[1]
	f.set("policies", `{"a":2}`)
	f.Nudge()
	f.next(t)
	old.Store(&first)
	f.set("policies", `{"a":3}`)
	f.Nudge() // ends a poll that is under way
	f.trouble(t, pavise.Conflict, ErrRollback)
	if s := f.client.State(); s.Serial < 2 {
		t.Errorf("state %+v", s)
	}
}

// TestServerThatIsBehind is restored from a backup: it says so itself.
func TestServerThatIsBehind(t *testing.T) {
	f := newFleet(t, nil, nil)
	f.next(t)
	f.stop()
	w := newWorld(t)
	behind := w.publisher(t)
	publish(t, behind)
	server := httptest.NewServer(behind.Handler())
	defer server.Close()
	store := f.client.cfg.Store
	store.mu.Lock()
	store.seen.Serial = 7
	store.mu.Unlock()
	c, err := NewClient(ClientConfig{URL: server.URL, Store: store, Use: func(context.Context, *Bundle) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.poll(t.Context())
	wantRefusal(t, err, pavise.Conflict, ErrRollback)
}

// TestServerPutBackToTheSameNumber says something else under the number that the reader
// holds: the reader is shown it at once, and does not take "nothing newer" for a word.
func TestServerPutBackToTheSameNumber(t *testing.T) {
	f := newFleet(t, nil, nil)
	f.next(t)
	f.stop()
	store, before := f.client.cfg.Store, f.client.State().Confirmed
	store.mu.Lock()
	store.seen.Digest = digestOf([]byte("another one"))
	store.mu.Unlock()
	server := httptest.NewServer(f.Handler())
	defer server.Close()
	c, err := NewClient(ClientConfig{URL: server.URL, Store: store, Now: f.clock, Use: func(context.Context, *Bundle) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.poll(t.Context())
	wantRefusal(t, err, pavise.Conflict, ErrEquivocation)
	if s := c.State(); s.Confirmed.After(before) {
		t.Errorf("it was confirmed all the same: %+v", s)
	}
}

// TestUseThatRefuses keeps the bundle before in use, and says how stale that is.
func TestUseThatRefuses(t *testing.T) {
	var bad atomic.Bool
	f := newFleet(t, nil, func(b *Bundle) error {
		if bad.Load() && b.Serial == 2 {
			return &pavise.Error{Kind: pavise.Invalid, Msg: "policy night-shift names an unknown type"}
		}
		return nil
	})
	f.next(t)
	bad.Store(true)
	f.set("policies", `{"a":2}`)
	f.Nudge()
	f.trouble(t, pavise.Invalid, nil)
	if s := f.client.State(); s.Serial != 1 || s.Held != 2 || s.Trouble != "policy night-shift names an unknown type" {
		t.Errorf("state %+v", s)
	}
	f.set("policies", `{"a":3}`)
	f.Nudge()
	if b := f.next(t); b.Serial != 3 {
		t.Errorf("bundle %d", b.Serial)
	}
	f.settled(t, 3)
}

// TestUseThatFailsOnce has a bundle be refused for something that passes: it is used soon, and not
// when a poll has waited its time.
func TestUseThatFailsOnce(t *testing.T) {
	var failed atomic.Bool
	f := newFleet(t, nil, func(*Bundle) error {
		if failed.CompareAndSwap(false, true) {
			return &pavise.Error{Kind: pavise.Unavailable, Msg: "the disk is full"}
		}
		return nil
	})
	if b := f.next(t); b.Serial != 1 {
		t.Errorf("bundle %d", b.Serial)
	}
	f.settled(t, 1)
}

// TestHandler asks the handler what no client of ours would.
func TestHandler(t *testing.T) {
	w := newWorld(t)
	p := w.publisher(t)
	ask := func(path string, header ...string) *http.Response {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond) // ends long polls
		defer cancel()
		r := httptest.NewRequest("GET", path, nil).WithContext(ctx)
		for i := 0; i < len(header); i += 2 {
			r.Header.Add(header[i], header[i+1])
		}
		rec := httptest.NewRecorder()
		p.Handler().ServeHTTP(rec, r)
		return rec.Result()
	}
	if got := ask("/v1/bundle"); got.StatusCode != 503 {
		t.Errorf("before anything is published: %d", got.StatusCode)
	}
	signed := publish(t, p)
	for _, tt := range []struct {
		path   string
		header []string
		status int
	}{
		{"/v1/bundle", nil, 200},
		{"/v1/bundle?after=0", nil, 200},
		{"/v1/bundle?after=1", nil, 204},
		{"/v1/bundle?after=2", nil, 409},
		{"/v1/bundle", []string{"If-None-Match", `"` + digestOf(signed) + `"`}, 304},
		{"/v1/bundle", []string{"Accept", "text/html"}, 406},
		{"/v1/bundle?after=-1", nil, 400},
		{"/v1/bundle?after=01", nil, 400},
		{"/v1/bundle?after=", nil, 400},
		{"/v1/bundle?after=1&after=2", nil, 400},
		{"/v1/bundle?before=1", nil, 400},
		{"/v1/bundle?after=99999999999999999999", nil, 400},
		{"/v1/bundle?%zz", nil, 400},
		{"/v1/bundle/blob/" + digestOf([]byte("no such")), nil, 404},
		{"/v1/bundle/blob/..%2f..%2fkek", nil, 404},
	} {
		if got := ask(tt.path, tt.header...); got.StatusCode != tt.status {
			t.Errorf("%s %v: %d, want %d", tt.path, tt.header, got.StatusCode, tt.status)
		}
	}
}

// TestNobodyWaits has one too many come, and then the end: neither is made to wait,
// which would take 25 seconds of the bubble's time.
func TestNobodyWaits(t *testing.T) {
	w := newWorld(t)
	p := w.publisher(t)
	publish(t, p)
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		ask := func(when string) {
			rec := httptest.NewRecorder()
			p.Handler().ServeHTTP(rec, httptest.NewRequest("GET", "/v1/bundle?after=1", nil))
			if rec.Code != 204 || time.Since(began) != 0 {
				t.Errorf("%s: %d after %v", when, rec.Code, time.Since(began))
			}
		}
		p.waiters.Store(maxWaiters)
		ask("one too many")
		p.waiters.Store(0)
		p.stop()
		ask("after the end")
	})
}

// unreachable returns a client of a server that cannot be reached, and counts how often it asks.
func unreachable(t *testing.T, store *Store, asked *int) *Client {
	t.Helper()
	c, err := NewClient(ClientConfig{
		URL: "https://control.example", Store: store, Use: func(context.Context, *Bundle) error { return nil },
		HTTP: &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
			*asked++
			return nil, errors.New("no route to host")
		})},
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestBackoff asks a server that is away, in a bubble of time: less and less often, and
// at most every 30 seconds.
func TestBackoff(t *testing.T) {
	w := newWorld(t)
	p := w.publisher(t)
	cfg := w.storeConfig(p, "reader")
	store := openStore(t, cfg)
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		c := unreachable(t, store, &asked)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		c.Run(ctx)
		if asked < 120 || asked > 260 {
			t.Errorf("asked %d times in an hour", asked)
		}
		if s := c.State(); !strings.Contains(s.Trouble, "does not answer") {
			t.Errorf("state %+v", s)
		}
	})
}

// TestWake has a server be away for ten minutes: once its reader hears otherwise, it is asked at once.
func TestWake(t *testing.T) {
	w := newWorld(t)
	p := w.publisher(t)
	store := openStore(t, w.storeConfig(p, "reader"))
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		c := unreachable(t, store, &asked)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); c.Run(ctx) }()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		before := asked
		c.Wake()
		synctest.Wait()
		if asked != before+1 {
			t.Errorf("asked %d times once it was woken", asked-before)
		}
		cancel()
		<-done
	})
}

// TestServerThatDoesNotWait answers every poll at once with nothing new: it is not
// asked again at once.
func TestServerThatDoesNotWait(t *testing.T) {
	w := newWorld(t)
	p := w.publisher(t)
	store := openStore(t, w.storeConfig(p, "reader"))
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		c, err := NewClient(ClientConfig{
			URL: "https://control.example", Store: store, Use: func(context.Context, *Bundle) error { return nil },
			HTTP: &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
				asked++
				return &http.Response{StatusCode: 204, Body: http.NoBody, Header: http.Header{}}, nil
			})},
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		c.Run(ctx)
		if asked < 30 || asked > 60 {
			t.Errorf("asked %d times in a minute", asked)
		}
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestClientAddresses(t *testing.T) {
	store := openStore(t, func() StoreConfig { w := newWorld(t); return w.storeConfig(w.publisher(t), "reader") }())
	for _, bad := range []string{"", "control.example", "ftp://control.example", "https://", "https://me:secret@control.example", "https://control.example?x=1"} {
		if _, err := NewClient(ClientConfig{URL: bad, Store: store}); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
