package gateway

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/chat"
	"github.com/pavise/pavise/internal/firewall"
	"github.com/pavise/pavise/internal/telemetry"
)

// maxTail bounds what is held back of a stream until its record is written, in bytes.
const maxTail = 1 << 20

// A streaming is the sending side of a streamed answer. One goroutine owns it.
type streaming struct {
	x    *ChatExchange
	send func([]byte) error
	sum  hash.Hash // of all that is sent: the salt, and the events
	seq  int64     // of the next event of a response
	tail []byte    // what is held back
	sent bool      // something was
	beat *beating  // on a route with a pace; nil: events go as they come
	look *overseer // reads what is answered; nil: nobody does
}

// Stream asks the model for a streamed answer, hands its events to send as they come,
// and ends the exchange. The events with which the answer is whole are held back until
// the record is written; before them a comment names the record. Its error is a
// *Refusal. What was begun then ends with an event that says so; if nothing was sent
// before it, nothing is, and the caller can be told otherwise.
//
// Unguarded: BeginChat has entered.
func (x *ChatExchange) Stream(ctx context.Context, send func([]byte) error) error {
	defer x.broken()
	done := func() {}
	if x.route.Pace != 0 { // else the flow's end is enough, and a context takes half a kilobyte
		ctx, done = context.WithCancel(ctx)
		defer done()
	}
	flow, err := x.route.Chat.Stream(x.calling(ctx), x.ask, x.body)
	if err != nil {
		x.await(ctx)
		return x.Abort(x.blame(ctx, err))
	}
	defer flow.Close()
	x.body = nil                                                     // the request is with the model server
	_ = x.hold.Set(min(x.hold.Held(), x.ask.Size()+x.prints.Size())) // less is never refused
	s := &streaming{x: x, send: send, sum: sha256.New(), look: x.overseer()}
	s.sum.Write(x.kept.Salt)
	if x.route.Pace != 0 {
		return s.paced(ctx, done, flow)
	}
	for {
		event, err := flow.Next()
		if err == nil {
			err = s.event(ctx, event)
		}
		if err != nil {
			return s.over(ctx, err)
		}
	}
}

// over ends a stream for a reason, which is io.EOF when it is whole.
func (s *streaming) over(ctx context.Context, why error) error {
	s.rung(ctx)
	if errors.Is(why, io.EOF) {
		if why = s.rest(ctx); why == nil {
			return s.finish(ctx)
		}
	}
	return s.interrupted(ctx, why)
}

// rung has the first that leaves wait for its rung, up to the lead, if the route has a ladder.
// With a pace the beats see to that.
func (s *streaming) rung(ctx context.Context) {
	if s.sent || s.beat != nil || s.x.route.Ladder.IsZero() {
		return
	}
	s.x.seen.Enter(telemetry.Hold)
	s.x.until(ctx, s.x.rung(time.Now()))
	s.x.seen.Enter(telemetry.Infer)
}

// event passes one event on, as far as it is for the caller.
func (s *streaming) event(ctx context.Context, e *chat.Event) error {
	s.x.took(&e.Document)
	removed := s.x.route.Fields.Outbound(s.x.said.Tier, &e.Document)
	if e.Thought() && s.x.said.Tier == firewall.Untrusted {
		s.x.changes.Remove([]string{"reasoning"})
		return nil
	}
	s.x.changes.Remove(removed)
	if e.Empty() {
		return nil
	}
	if e.Name != "" {
		e.SetInt("sequence_number", s.seq)
		s.seq++
	}
	s.x.said.Events++
	if s.look != nil {
		if err := s.look.read(e); err != nil {
			return err
		}
	}
	if !e.Closing && len(s.tail) == 0 {
		if s.look == nil || s.look.passes() {
			return s.pass(ctx, e.AppendSSE(nil))
		}
		s.look.hold(e.AppendSSE(nil))
		return s.cleared(ctx)
	}
	if len(s.tail) == 0 {
		if err := s.rest(ctx); err != nil {
			return err
		}
	}
	if s.tail = e.AppendSSE(s.tail); len(s.tail) > maxTail {
		return &pavise.Error{Kind: pavise.Unavailable, Msg: "the model server does not come to an end"}
	}
	return nil
}

// cleared sends the events that hold nothing which must wait.
func (s *streaming) cleared(ctx context.Context) error {
	for b := range s.look.free() {
		if err := s.pass(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

// rest reads the answer's texts to their end, and sends what waited for that.
func (s *streaming) rest(ctx context.Context) error {
	if s.look == nil {
		return nil
	}
	if err := s.look.end(); err != nil {
		return err
	}
	return s.cleared(ctx)
}

// pass sends bytes and counts them among what the caller got. The first wait for their
// rung, if the route has a ladder.
func (s *streaming) pass(ctx context.Context, b []byte) error {
	s.rung(ctx)
	s.sum.Write(b)
	s.sent = true
	s.x.answered += len(b)
	s.x.leave.Wait()
	if err := s.out(b); err != nil {
		return wentAway(err)
	}
	return nil
}

// wentAway says of a write that came to nothing why.
func wentAway(err error) error {
	return &pavise.Error{Kind: pavise.Unavailable, Msg: "the caller went away before the answer ended", Err: err}
}

// out sends bytes, or has them sent with the next beat.
func (s *streaming) out(b []byte) error {
	if s.beat != nil {
		s.beat.waiting = append(s.beat.waiting, b...)
		return nil
	}
	s.x.seen.First()
	return s.send(b)
}

// finish writes the record, and lets go of what was held back.
func (s *streaming) finish(ctx context.Context) error {
	s.sum.Write(s.tail)
	s.x.answered += len(s.tail)
	s.x.entry.Verdict(s.x.changes.Verdict())
	s.look.tell()
	s.x.trail.Output = hex.EncodeToString(s.sum.Sum(nil))
	if err := s.x.end(s.x.keep(ctx, nil, false)); err != nil {
		s.fail(err)
		return &Refusal{entry: s.x.entry, err: err}
	}
	index, _ := s.x.entry.Record()
	last := append(fmt.Appendf(nil, ": pavise-record %d\n\n", index), s.tail...)
	s.x.leave.Wait()
	if err := s.out(last); err != nil {
		return &Refusal{entry: s.x.entry, err: err} // the record says what they could have had
	}
	return nil
}

// interrupted ends a stream that did not come to its end. Its record commits to what
// the caller got.
func (s *streaming) interrupted(ctx context.Context, err error) error {
	err = s.x.blame(ctx, err)
	s.x.said.Events -= s.look.unsent()
	s.x.entry.Verdict(pavise.Verdict{Check: "stream", Outcome: pavise.Deny, Reason: fmt.Sprintf("interrupted after %d events: %s", s.x.said.Events, err)})
	s.x.entry.Verdict(s.x.changes.Verdict())
	s.look.tell()
	if s.sent {
		s.x.trail.Output = hex.EncodeToString(s.sum.Sum(nil))
		if unkept := s.x.keep(ctx, nil, false); unkept != nil {
			err = errors.Join(err, unkept)
		}
	}
	refusal := s.x.Abort(err)
	s.fail(err)
	return refusal
}

// fail tells the caller of a stream that has begun that it breaks off.
func (s *streaming) fail(err error) {
	if !s.sent {
		return
	}
	msg, _ := Message(err)
	// Whoever went away reads nothing, and the record is written.
	class, code := "server_error", "interrupted"
	if _, ok := errors.AsType[*Withheld](err); ok {
		class, code = "permission_error", ContentFilter
	}
	_ = s.out(chat.Failure(s.x.ask.API, msg, class, code, s.seq).AppendSSE(nil))
}
