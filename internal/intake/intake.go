// Package intake counts the memory that requests under way take: their Bodies, and what
// is read from them. It owns what all callers, and each of them, may take at once.
package intake

import (
	"errors"
	"io"
	"sync"
	"time"

	"github.com/pavise/pavise"
)

// What bodies under way may take, with what is read from them.
const (
	Max        = 128 << 20 // of all callers
	MaxEach    = 16 << 20  // of one caller with more than one request under way
	firstChunk = 2 << 10   // read before a body has shown that it is longer
)

// Bodies counts the memory of requests under way. Callers hold it as long as
// they like to take with sending a body, so it is bounded where it is taken: by
// the byte, as bytes arrive, and not by what a caller announces. The zero value
// is ready.
type Bodies struct {
	mu    sync.Mutex // guards what follows
	all   int
	each  map[pavise.Name]*held
	spare []*held // some that are no caller's now, all zero
}

// maxSpare bounds those that are kept for the next callers.
const maxSpare = 64

// held is what one caller's requests take.
type held struct{ requests, bytes int }

// BodyTime is how long a body may take to arrive. It is shorter than what a server
// grants a whole request, because a body takes memory meanwhile.
const BodyTime = 10 * time.Second

// A Hold is one request's share of the memory. One goroutine owns it.
type Hold struct {
	of    *Bodies
	who   pavise.Name
	mine  *held // of.each[who], found once
	bytes int
}

// Begin returns a hold of nothing yet. It must be let go.
func (b *Bodies) Begin(who pavise.Name) *Hold {
	h := new(Hold)
	b.BeginIn(h, who)
	return h
}

// BeginIn is Begin in memory that the caller has: h, which nobody holds anything with.
func (b *Bodies) BeginIn(h *Hold, who pavise.Name) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.each == nil {
		b.each = map[pavise.Name]*held{}
	}
	mine := b.each[who]
	if mine == nil {
		mine = b.take()
		b.each[who] = mine
	}
	mine.requests++
	*h = Hold{of: b, who: who, mine: mine}
}

// take returns what a caller's requests take so far: nothing. b.mu is held.
func (b *Bodies) take() *held {
	n := len(b.spare) - 1
	if n < 0 {
		return &held{}
	}
	mine := b.spare[n]
	b.spare = b.spare[:n]
	return mine
}

// Set makes the hold one of n bytes. A larger one may be refused: with kind
// Throttled, when the caller's requests together take too much, and with kind
// Unavailable, when everybody's do. A caller's only request is never too large
// for its caller.
func (h *Hold) Set(n int) error {
	h.of.mu.Lock()
	defer h.of.mu.Unlock()
	mine, more := h.mine, n-h.bytes
	switch {
	case more > 0 && mine.requests > 1 && mine.bytes+more > MaxEach:
		return &pavise.Error{Kind: pavise.Throttled, Msg: "your requests under way are too large together", Hint: "send fewer at once, or smaller ones"}
	case more > 0 && h.of.all+more > Max:
		return &pavise.Error{Kind: pavise.Unavailable, Msg: "the requests under way are too large together", Hint: "try again"}
	}
	h.bytes, mine.bytes, h.of.all = n, mine.bytes+more, h.of.all+more
	return nil
}

// Free gives everything back. A nil hold has nothing.
func (h *Hold) Free() {
	if h == nil {
		return
	}
	h.of.mu.Lock()
	defer h.of.mu.Unlock()
	mine := h.mine
	h.of.all -= h.bytes
	mine.bytes -= h.bytes
	if mine.requests--; mine.requests == 0 {
		delete(h.of.each, h.who)
		if len(h.of.spare) < maxSpare {
			h.of.spare = append(h.of.spare, mine)
		}
	}
	h.mine, h.bytes = nil, 0
}

// Read reads a body up to one byte more than limit, which tells that it is too
// long. It takes memory as the body fills it.
func (h *Hold) Read(body io.Reader, limit int) ([]byte, error) { return h.ReadIn(nil, body, limit) }

// misframed is an error of a body that is not as HTTP has it (package http1).
type misframed interface {
	error
	Misframed() string
}

// ReadIn is Read into a buffer, as long as the body fits.
func (h *Hold) ReadIn(buf []byte, body io.Reader, limit int) ([]byte, error) {
	text := buf[:0:min(cap(buf), limit+1)]
	if err := h.Set(cap(text)); err != nil {
		return nil, err
	}
	for {
		if len(text) > limit {
			return text, nil
		}
		if len(text) == cap(text) {
			size := max(firstChunk, 2*cap(text))
			if 2*size > limit {
				size = limit + 1
			}
			if err := h.Set(cap(text) + size); err != nil { // both, while one is copied
				return nil, err
			}
			text = append(make([]byte, 0, size), text...)
			if err := h.Set(size); err != nil {
				return nil, err
			}
		}
		n, err := body.Read(text[len(text):cap(text)])
		text = text[:len(text)+n]
		if err == io.EOF {
			return text, nil
		}
		if _, said := errors.AsType[*pavise.Error](err); said { // whoever carries the body knows better
			return nil, err
		}
		if m, is := errors.AsType[misframed](err); is {
			return nil, &pavise.Error{Kind: pavise.Invalid, Msg: "the request's body cannot be read: " + m.Misframed(), Hint: "send it with its length, or in chunks without extensions and trailers", Err: err}
		}
		if err != nil {
			return nil, &pavise.Error{Kind: pavise.Invalid, Msg: "the request's body broke off", Hint: "send the whole body within " + BodyTime.String(), Err: err}
		}
	}
}

// Held is how many bytes the hold has.
func (h *Hold) Held() int {
	h.of.mu.Lock()
	defer h.of.mu.Unlock()
	return h.bytes
}

// Held is how many bytes all requests have, and of how many callers.
func (b *Bodies) Held() (all, callers int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all, len(b.each)
}
