package gateway

import (
	"context"
	crand "crypto/rand"
	"math/rand/v2"
	"time"

	"github.com/pavise/pavise/internal/chat"
	"github.com/pavise/pavise/internal/ontime"
	"github.com/pavise/pavise/internal/pace"
)

// maxWaiting is from how many bytes on nothing more of a stream is read until the next
// beat.
const maxWaiting = 256 << 10

// A beating is a stream on a route with a pace: it is written to with each beat, and
// between them nothing leaves. Neither when the model said something, nor how much, shows
// but in the size class of a write. One goroutine owns it.
type beating struct {
	every   pace.Beat
	first   time.Time // when the first write leaves; zero: there is nothing to write yet
	end     time.Time // when the stream may end; zero: it has not come to its end
	why     error     // it comes to its end, once end is known
	begun   bool      // the first write has left
	at      time.Time // when the next write leaves
	waiting []byte    // for the next writes
	within  bool      // the last write ended within an event
	random  *rand.ChaCha8
}

// A said is an event of a stream, or why none comes any more.
type said struct {
	event *chat.Event
	err   error
	panic any // of whoever read it; nil: none
}

// A flow is a stream as it comes from a model server.
type flow interface{ Next() (*chat.Event, error) }

// paced is Stream on a route with a pace. done ends the question to the server.
func (s *streaming) paced(ctx context.Context, done func(), from flow) error {
	var seed [32]byte
	crand.Read(seed[:])
	b := &beating{every: s.x.route.Pace, random: rand.NewChaCha8(seed)}
	s.beat = b
	come := make(chan said)
	go read(ctx, from, come)
	defer func() { // the server's connection is closed behind this
		done()
		for range come {
		}
	}()
	timer := time.NewTimer(0)
	timer.Stop()
	defer timer.Stop()
	gone := ctx.Done()
	for {
		more := come
		if b.why != nil || len(b.waiting) > maxWaiting {
			more = nil
		}
		select {
		case next, open := <-more:
			if !open { // nobody reads any more: the caller has left
				next.err = ctx.Err()
			}
			if next.panic != nil {
				panic(next.panic)
			}
			s.hear(ctx, next)
			nothing := !s.sent && len(s.tail) == 0 // but a refusal
			if b.why != nil && (nothing || ctx.Err() != nil) {
				s.x.until(ctx, b.end)
				return s.over(ctx, b.why)
			}
			s.next(timer)
		case <-timer.C:
			if over, err := s.strike(ctx); over {
				return err
			}
			s.next(timer)
		case <-gone: // what waits is for nobody
			gone = nil
			if b.why != nil {
				return s.over(ctx, b.why)
			}
		}
	}
}

// read hands on what comes of a stream, up to its end.
func read(ctx context.Context, from flow, to chan<- said) {
	defer close(to)
	for {
		var next said
		func() {
			defer func() { next.panic = recover() }()
			next.event, next.err = from.Next()
		}()
		select {
		case to <- next:
		case <-ctx.Done(): // nobody listens
			return
		}
		if next.err != nil || next.panic != nil {
			return
		}
	}
}

// hear takes in what came of the stream.
func (s *streaming) hear(ctx context.Context, next said) {
	if next.err == nil {
		next.err = s.event(ctx, next.event)
	}
	b := s.beat
	if b.first.IsZero() && (s.sent || len(s.tail) > 0) {
		b.first = s.x.rung(time.Now())
		if s.x.route.Ladder.IsZero() || s.x.trail.Late {
			b.first = s.x.whole.Add(b.every.Next(time.Since(s.x.whole)))
		}
	}
	if next.err != nil { // what waits leaves beat by beat before the end, and that with the last of it
		from := time.Now()
		if !b.begun && b.first.After(from) {
			from = b.first
		}
		// 64 bytes are more than the comment takes that names the record
		left := b.every.Drain(len(b.waiting)+len(s.tail)+64) - time.Duration(b.every)
		b.why, b.end = next.err, s.x.rung(from.Add(left))
	}
}

// next sets the timer to the next write, of which all but the sending is done before its
// time, and a record begins when that says: how much that is shows in nothing.
func (s *streaming) next(timer *time.Timer) {
	s.beat.at = s.due()
	timer.Reset(time.Until(s.beat.at) - 2*ontime.Early)
}

// due is when something is to be written next: far away while nothing came.
func (s *streaming) due() time.Time {
	b := s.beat
	switch {
	case b.first.IsZero():
		return time.Now().Add(time.Hour)
	case !b.begun:
		return b.first
	}
	return b.first.Add(b.every.Next(time.Since(b.first)))
}

// strike makes the write of a beat, and reports whether it was the last.
func (s *streaming) strike(ctx context.Context) (over bool, err error) {
	b := s.beat
	if b.first.IsZero() {
		return false, nil
	}
	ontime.Last(b.at.Add(-ontime.Early))
	if over = b.why != nil && !b.at.Before(b.end); over {
		err = s.over(ctx, b.why)
	}
	if over && !b.begun && len(b.waiting) == 0 { // a refusal, which needs no stream
		b.wait()
		return over, err
	}
	s.x.seen.First()
	b.begun, s.sent = true, true
	size := pace.Write(len(b.waiting))
	if over { // nothing comes behind it
		size = pace.Class(len(b.waiting))
	}
	out := b.write(size)
	b.wait()
	if sent := s.send(out); sent != nil && !over {
		over, err = true, s.interrupted(ctx, wentAway(sent))
	}
	return over, err
}

// wait waits until the next write leaves, which is ready: a little after its time, if it was
// not ready then.
func (b *beating) wait() { ontime.Last(ontime.Next(b.at, ontime.Early)) }

// write takes a write of a size off what waits, padded if that is not enough: where an
// event begins, or behind the last one.
func (b *beating) write(size int) []byte {
	out, taken := pace.Fill(b.waiting, size, b.within, b.random.Uint64)
	b.waiting = append(b.waiting[:0], b.waiting[taken:]...)
	b.within = len(b.waiting) > 0
	return out
}
