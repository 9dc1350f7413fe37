package gateway

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/chat"
	"github.com/pavise/pavise/internal/firewall"
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
	flow, err := x.route.Chat.Stream(x.calling(ctx), x.ask, x.body)
	if err != nil {
		return x.Abort(x.blame(ctx, err))
	}
	defer flow.Close()
	x.body = nil                                     // the request is with the model server
	_ = x.hold.Set(min(x.hold.Held(), x.ask.Size())) // less is never refused
	s := &streaming{x: x, send: send, sum: sha256.New()}
	s.sum.Write(x.kept.Salt)
	for {
		event, err := flow.Next()
		if errors.Is(err, io.EOF) {
			return s.finish(ctx)
		}
		if err == nil {
			err = s.event(event)
		}
		if err != nil {
			return s.interrupted(ctx, err)
		}
	}
}

// event passes one event on, as far as it is for the caller.
func (s *streaming) event(e *chat.Event) error {
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
	if !e.Closing && len(s.tail) == 0 {
		return s.pass(e.AppendSSE(nil))
	}
	if s.tail = e.AppendSSE(s.tail); len(s.tail) > maxTail {
		return &pavise.Error{Kind: pavise.Unavailable, Msg: "the model server does not come to an end"}
	}
	return nil
}

// pass sends bytes and counts them among what the caller got.
func (s *streaming) pass(b []byte) error {
	s.sum.Write(b)
	s.sent = true
	s.x.seen.First()
	s.x.answered += len(b)
	if err := s.send(b); err != nil {
		return &pavise.Error{Kind: pavise.Unavailable, Msg: "the caller went away before the answer ended", Err: err}
	}
	return nil
}

// finish writes the record, and lets go of what was held back.
func (s *streaming) finish(ctx context.Context) error {
	s.sum.Write(s.tail)
	s.x.answered += len(s.tail)
	s.x.entry.Verdict(s.x.changes.Verdict())
	s.x.trail.Output = hex.EncodeToString(s.sum.Sum(nil))
	if err := s.x.end(s.x.keep(ctx, nil, false)); err != nil {
		s.fail(err)
		return &Refusal{entry: s.x.entry, err: err}
	}
	index, _ := s.x.entry.Record()
	if err := s.send(append(fmt.Appendf(nil, ": pavise-record %d\n\n", index), s.tail...)); err != nil {
		return &Refusal{entry: s.x.entry, err: err} // the record says what they could have had
	}
	return nil
}

// interrupted ends a stream that did not come to its end. Its record commits to what
// the caller got.
func (s *streaming) interrupted(ctx context.Context, err error) error {
	err = s.x.blame(ctx, err)
	s.x.entry.Verdict(pavise.Verdict{Check: "stream", Outcome: pavise.Deny, Reason: fmt.Sprintf("interrupted after %d events: %s", s.x.said.Events, err)})
	s.x.entry.Verdict(s.x.changes.Verdict())
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
	_ = s.send(chat.Failure(s.x.ask.API, msg, "server_error", "interrupted", s.seq).AppendSSE(nil))
}
