package telemetry

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"strings"
)

// A TraceID names a trace; all zeros name none.
type TraceID [16]byte

// A SpanID names one span of a trace; all zeros name none.
type SpanID [8]byte

// String returns the id as W3C Trace Context spells it.
func (id TraceID) String() string { return hex.EncodeToString(id[:]) }

// TraceparentHeader carries a caller's trace to us, and ours to model servers.
const TraceparentHeader = "Traceparent"

// A Parent is what a caller says of the trace that it is in.
type Parent struct {
	Trace TraceID
	Span  SpanID
}

// maxTraceparent bounds the header, in bytes: later versions may append to it.
const maxTraceparent = 256

// ParseTraceparent reads a traceparent header as W3C Trace Context (section 3.2) has it:
// lower case, no id of zeros, no version ff. Of a later version it reads what this one
// has. The caller's word on sampling is not taken. What is none is no error: the caller
// is then in no trace.
func ParseTraceparent(text string) (p Parent, ok bool) {
	if len(text) < 55 || len(text) > maxTraceparent || text[2] != '-' || text[35] != '-' || text[52] != '-' {
		return p, false
	}
	if len(text) > 55 && (text[:2] == "00" || text[55] != '-') {
		return p, false
	}
	var version, flags [1]byte
	for _, part := range []struct {
		into []byte
		text string
	}{{version[:], text[:2]}, {p.Trace[:], text[3:35]}, {p.Span[:], text[36:52]}, {flags[:], text[53:55]}} {
		if !fromHex(part.into, part.text) {
			return Parent{}, false
		}
	}
	if version[0] == 0xff || p.Trace == (TraceID{}) || p.Span == (SpanID{}) {
		return Parent{}, false
	}
	return p, true
}

// fromHex decodes lower-case hex digits.
func fromHex(into []byte, text string) bool {
	if strings.ToLower(text) != text {
		return false
	}
	_, err := hex.Decode(into, []byte(text))
	return err == nil
}

// A Trace is the trace that one request is in. A nil one is none. One goroutine owns it.
type Trace struct {
	ID      TraceID
	own     SpanID // of the door, under which all others are
	call    SpanID // of our call of the model's server
	caller  Parent // what the caller said, if it did
	sampled bool
	linked  bool   // the caller's trace is another one than this
	spans   []span // that have ended
}

// sampledNow reports whether the trace is kept.
func (t *Trace) sampledNow() bool { return t != nil && t.sampled }

// traceKey is the context's key for a *Trace.
type traceKey struct{}

// traceOf returns the trace of a context, or nil.
func traceOf(ctx context.Context) *Trace {
	t, _ := ctx.Value(traceKey{}).(*Trace)
	return t
}

// Trace begins a trace for a request, if it is to have one, of what its caller says of
// theirs. The context is as it was where there is none.
func (m *Meter) Trace(ctx context.Context, traceparents []string) (context.Context, *Trace) {
	if m == nil || m.traces == nil && !m.cfg.Continue {
		return ctx, nil
	}
	t := Trace{sampled: m.traces.sample()}
	if len(traceparents) == 1 {
		if p, ok := ParseTraceparent(traceparents[0]); ok {
			t.caller, t.linked = p, !m.cfg.Continue
		}
	}
	theirs := t.caller != Parent{} && m.cfg.Continue
	if !t.sampled && !theirs {
		return ctx, nil
	}
	begun := t // only now on the heap
	begun.draw(theirs)
	return context.WithValue(ctx, traceKey{}, &begun), &begun
}

// draw gives a trace its ids. Whoever could guess them could only add to a trace that
// is not believed anyway.
func (t *Trace) draw(theirs bool) {
	if t.ID = t.caller.Trace; !theirs {
		binary.BigEndian.PutUint64(t.ID[:8], rand.Uint64())
		binary.BigEndian.PutUint64(t.ID[8:], rand.Uint64()|1)
	}
	t.own, t.call = newSpanID(), newSpanID()
	if !t.sampled {
		t.call = t.caller.Span // we add no span of our own between theirs and the server's
	}
}

func newSpanID() (id SpanID) {
	binary.BigEndian.PutUint64(id[:], rand.Uint64()|1)
	return id
}

// Traceparent returns the header for a call that is made for the request of a context,
// encoded anew and with our own word on sampling; empty: it is in no trace. A caller's
// tracestate goes nowhere.
func Traceparent(ctx context.Context) string {
	t := traceOf(ctx)
	if t == nil {
		return ""
	}
	flags := "00"
	if t.sampled {
		flags = "01"
	}
	return "00-" + t.ID.String() + "-" + hex.EncodeToString(t.call[:]) + "-" + flags
}
