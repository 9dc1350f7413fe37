package telemetry

import (
	"net/http"
	"strings"
	"sync"
	"time"
)

// A door is one series of HTTP requests.
type door struct {
	route  string // a pattern of the code's own; empty: none matched
	method int
	status int
}

// Served counts an HTTP request that was answered. pattern is the one of the server's
// own that it matched, as http.ServeMux has it; empty: none did. Bodies of unknown
// length have a negative one, and are not counted by size.
func (m *Meter) Served(pattern, method string, status int, took time.Duration, in, out int64) {
	if m == nil {
		return
	}
	m.passing(pattern, method, status).observe(int64(took), Evidence{}, 0)
	if in > 0 {
		m.in.observe(in, Evidence{}, 0)
	}
	if out > 0 {
		m.out.observe(out, Evidence{}, 0)
	}
}

// A passage is a series of requests as it is asked for.
type passage struct {
	pattern, method string
	status          int
	*histogram
}

// passing is door, by what a request has. It remembers the last ones: cutting the pattern
// and hashing what is left took as long as all the counting. Only words of the code's own
// are remembered.
func (m *Meter) passing(pattern, method string, status int) *histogram {
	slot := &m.passed[(len(pattern)+5*len(method)+status)%len(m.passed)]
	if p := slot.Load(); p != nil && p.pattern == pattern && p.method == method && p.status == status {
		return p.histogram
	}
	_, route, found := strings.Cut(pattern, " ")
	if !found {
		route = pattern
	}
	at := place(methods[:], method)
	h := m.door(door{route, at, status})
	if methods[at] == method {
		slot.Store(&passage{pattern, methods[at], status, h})
	}
	return h
}

// door returns what counts for a series of requests.
func (m *Meter) door(d door) *histogram {
	if h, ok := (*m.http.Load())[d]; ok {
		return h
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := *m.http.Load()
	if len(now) >= maxDoors {
		d = door{route: other, method: len(methods) - 1, status: 0}
	}
	if h, ok := now[d]; ok {
		return h
	}
	next := make(map[door]*histogram, len(now)+1)
	for k, v := range now {
		next[k] = v
	}
	h := newHistogram(httpDuration)
	next[d] = h
	m.http.Store(&next)
	return h
}

// HTTP wraps the handler of a door: its requests are counted by route, method and
// status, and traced where they are to be.
func (m *Meter) HTTP(inner http.Handler) http.Handler {
	if m == nil {
		return inner
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := beganOf(w)
		m.doors.Add(1)
		defer m.doors.Add(-1)
		ctx, trace := m.Trace(r.Context(), r.Header[TraceparentHeader])
		if trace != nil {
			r = r.WithContext(ctx)
		}
		seen := writers.Get().(*writer)
		*seen = writer{ResponseWriter: w}
		ended := false
		defer func() {
			if !ended { // it panics: net/http breaks the connection off
				seen.status = http.StatusInternalServerError
			}
			m.Served(r.Pattern, r.Method, seen.code(), time.Since(began), r.ContentLength, seen.bytes)
			m.traces.end(trace, r, seen.code(), began)
			seen.ResponseWriter = nil
			writers.Put(seen)
		}()
		inner.ServeHTTP(seen, r)
		ended = true
	})
}

// beganOf is when a request's head was read, if its server says so: it has read the clock.
func beganOf(w http.ResponseWriter) time.Time {
	if s, ok := w.(interface{ Began() time.Time }); ok {
		return s.Began()
	}
	return time.Now()
}

// writers are those that no request uses.
var writers = sync.Pool{New: func() any { return new(writer) }}

// A writer sees the status and the length of an answer.
type writer struct {
	http.ResponseWriter
	status int
	bytes  int64
}

// WriteHeader keeps the first status that is final.
func (w *writer) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Reply passes a whole answer on, if what is below takes one: see package http1.
func (w *writer) Reply(status int, lines string, number uint64, body []byte) bool {
	r, ok := w.ResponseWriter.(interface {
		Reply(status int, lines string, number uint64, body []byte) bool
	})
	if !ok || w.status != 0 || !r.Reply(status, lines, number, body) {
		return false
	}
	w.status, w.bytes = status, int64(len(body))
	return true
}

// Write counts what is answered.
func (w *writer) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

// Flush sends on what was written: streams do.
func (w *writer) Flush() { _ = http.NewResponseController(w.ResponseWriter).Flush() }

// Unwrap is what http.ResponseController looks for.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// code is the status of the answer, which net/http makes 200 when nobody says.
func (w *writer) code() int {
	if w.status == 0 {
		return http.StatusOK
	}
	return w.status
}
